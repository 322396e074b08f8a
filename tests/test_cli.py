"""The command line, as a user's shell sees it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

import seqsgd as sq
from seqsgd.cli import example_path

FILE = """
title = "Two cases"
output = "out"
[base]
d = 30
steps = 200
lr = 0.3
runs = 3
rng = 0
record = { type = "LogSpaced", n = 4 }
[base.task]
teacher = { type = "SSI", link = "sum", L = 2 }
student = { type = "Tied" }
"""
TWO = FILE + """
[[case]]
label = "L = {L}"
grid = { "task.teacher.L" = [1, 2] }
"""


def seqsgd(*arguments, cwd, **rest):
    return subprocess.run([sys.executable, "-m", "seqsgd", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100, **rest)


def write(folder, text):
    (folder / "job.toml").write_text(text)
    return "job.toml"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_one_case_is_a_result(tmp_path):
    done = seqsgd("run", write(tmp_path, FILE), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote out.nc and out.png\n", "")
    assert names(tmp_path) == ["job.toml", "out.nc", "out.png"]
    r = sq.load(tmp_path / "out.nc")
    again = sq.simulate(**r.arguments)
    assert isinstance(r, sq.Result) and again.m.equals(r.m) and r.m.sizes["run"] == 3
    assert (tmp_path / "out.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    # once more over the same files
    assert seqsgd("run", "job.toml", "--set", "rng=1", cwd=tmp_path).returncode == 0
    assert not sq.load(tmp_path / "out.nc").m.equals(r.m) and names(tmp_path) == ["job.toml", "out.nc", "out.png"]


def test_several_cases_are_a_set(tmp_path):
    done = seqsgd("run", write(tmp_path, TWO), "--set", "d=25", "--set", "base.runs=2", "--output", tmp_path / "x", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(tmp_path) == ["job.toml", "x.nc", "x.png"]
    s = sq.load(tmp_path / "x.nc")
    assert list(s) == ["L = 1", "L = 2"] and s.title == "Two cases"
    assert s["L = 2"].arguments["d"] == 25 and s["L = 2"].m.sizes["run"] == 2
    assert s["L = 2"].m.equals(sq.simulate(**s["L = 2"].arguments).m)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "job.toml", "--set", "d=0"], "base.d: expected an integer in [1, 1099511627776], got 0"),
        (["run", "job.toml", "--set", "task.student.sigmaa=relu"], "base.task.student.sigmaa: unknown key, expected one of sigma, position"),
        (["run", "job.toml", "--set", "lr=fast"], "base.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'fast'"),
        (["run", "job.toml", "--set", "d=100000000", "--set", "runs=10000000"], "runs = 10000000, L = 1, d = 100000000, steps = 200 need "),
        (["run", "job.toml", "--output", "no/where"], "output: the folder 'no' does not exist"),
        (["run", "none.toml"], "none.toml: No such file or directory"),
        (["run"], "run: expected a FILE, or --example for the one that comes with the package"),
        (["run", "job.toml", "--example"], "run: expected a FILE, or --example for the one that comes with the package"),
        (["run", "job.toml", "--sett", "d=1"], "No such option '--sett'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(tmp_path, arguments, said):
    write(tmp_path, TWO)
    done = seqsgd(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"seqsgd: {said}") and done.stderr.count("\n") == 1 and done.stderr.endswith("\n")
    assert names(tmp_path) == ["job.toml"]


def test_a_wrong_case_is_found_before_the_first_runs(tmp_path):
    text = TWO + '[[case]]\nlabel = "late"\nset = { "task.teacher.link" = "z1*z2*z3" }\n'
    started = time.monotonic()
    done = seqsgd("run", write(tmp_path, text), "--set", "steps=1000000000", cwd=tmp_path)
    assert done.returncode == 2 and time.monotonic() - started < 20
    assert done.stderr == "seqsgd: base.task.teacher.L: link z1*z2*z3 needs at least 3 tokens, got 2 (in the case 'late')\n"


def test_warnings_are_one_line(tmp_path):
    done = seqsgd("run", write(tmp_path, FILE), "--set", "lr=1e-7", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(r"seqsgd: warning: dtype: float32 rounds away .*; use dtype='float64'\n", done.stderr)


def test_the_example_runs(tmp_path):
    assert seqsgd("example", cwd=tmp_path).stdout == example_path().read_text()
    done = seqsgd("run", "--example", "--set", "d=20", "--set", "steps=50", "--set", "runs=2", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote learning_curves.nc and learning_curves.png\n", "")
    s = sq.load(tmp_path / "learning_curves.nc")
    assert len(s) == 9 and len(set(s.panels.values())) == 3


def test_info(tmp_path):
    done = seqsgd("info", cwd=tmp_path)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {"seqsgd", "python", "numpy", "compiler", "eigen", "instruction set", "cores"} <= set(said)
    assert "SEQSGD_SIMD" in said["instruction set"] and int(said["cores"]) >= 1
    forced = seqsgd("info", cwd=tmp_path, env=os.environ | {"SEQSGD_SIMD": "baseline"})
    assert "instruction set: baseline" in forced.stdout


def test_version_and_help(tmp_path):
    assert seqsgd("--version", cwd=tmp_path).stdout == f"seqsgd {sq.__version__}\n"
    done = seqsgd("run", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--set" in done.stdout


def wait_for(check):
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_keeps_what_there_is_and_goes_on_from_it(tmp_path):
    text = TWO.replace("d = 30", 'd = 30\ncheckpoint = "c.npz"\ncheckpoint_every = 0.1')
    write(tmp_path, text)
    for name in ("out.nc", "out.png"):  # of an earlier run
        (tmp_path / name).write_bytes(b"complete")
    process = subprocess.Popen(
        [sys.executable, "-m", "seqsgd", "run", "job.toml", "--set", "steps=50000000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for((tmp_path / "c-000.npz").exists)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    first = process.stderr.readline()
    seconds = time.monotonic() - sent
    out, err = process.communicate(timeout=60)
    print(f"first word after {seconds:.3f} s, exit after {time.monotonic() - sent:.3f} s")
    assert process.returncode == 130 and out == "" and seconds < 1
    assert first == "seqsgd: interrupted, writing what was recorded ...\n"
    assert err == "seqsgd: interrupted; wrote what was recorded to out-interrupted.nc and out-interrupted.png; 'c.npz' is kept, the same command continues from it\n"
    assert names(tmp_path) == ["c-000.npz", "job.toml", "out-interrupted.nc", "out-interrupted.png", "out.nc", "out.png"]
    assert (tmp_path / "out.nc").read_bytes() == b"complete" and (tmp_path / "out.png").read_bytes() == b"complete"
    partial = sq.load(tmp_path / "out-interrupted.nc")
    assert list(partial) == ["L = 1"] and partial.title == "Two cases (interrupted in case 1 of 2)"
    assert not partial["L = 1"].complete and "interrupted after " in repr(partial)
    reached = int(partial["L = 1"].dataset["steps_done"].max())
    done = seqsgd("run", "job.toml", "--set", f"steps={reached + 10}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    s = sq.load(tmp_path / "out.nc")
    assert s["L = 1"].m.equals(sq.simulate(**s["L = 1"].arguments).m)


def test_a_checkpoint_of_another_job_is_named(tmp_path):
    write(tmp_path, FILE.replace("d = 30", 'd = 30\ncheckpoint = "c.npz"'))
    assert seqsgd("run", "job.toml", cwd=tmp_path).returncode == 0
    done = seqsgd("run", "job.toml", "--set", "lr=0.5", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == "seqsgd: checkpoint: 'c.npz' belongs to another run: lr is 0.3 there and 0.5 here\n"


def test_progress_where_somebody_watches(tmp_path):
    write(tmp_path, TWO)
    for quiet in (False, True):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        command = [sys.executable, "-m", "seqsgd", "run", "job.toml", "--set", "steps=300000", *(["--quiet"] if quiet else [])]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 1000):
                said += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        process.stdout.close()
        assert process.wait() == 0
        assert (said == b"") if quiet else (b"L = 1" in said and b"L = 2" in said and b"steps/s" in said)
