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
from helpers import crowd
from seqsgd.cli import main as main_module
from seqsgd.cli.main import example_path
from seqsgd.plots import drawing

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
TWO = (
    FILE
    + """
[[case]]
label = "L = {L}"
grid = { "task.teacher.L" = [1, 2] }
"""
)


def seqsgd(*arguments, cwd, **rest):
    return subprocess.run(
        [sys.executable, "-m", "seqsgd", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        **rest,
    )


def write(folder, text):
    (folder / "job.toml").write_text(text)
    return "job.toml"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.slow
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
    assert not sq.load(tmp_path / "out.nc").m.equals(r.m) and names(tmp_path) == [
        "job.toml",
        "out.nc",
        "out.png",
    ]


@pytest.mark.slow
def test_several_cases_are_a_set(tmp_path):
    done = seqsgd(
        "run",
        write(tmp_path, TWO),
        "--set",
        "d=25",
        "--set",
        "base.runs=2",
        "--output",
        tmp_path / "x",
        "--quiet",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(tmp_path) == ["job.toml", "x.nc", "x.png"]
    s = sq.load(tmp_path / "x.nc")
    assert list(s) == ["L = 1", "L = 2"] and s.title == "Two cases"
    assert s["L = 2"].arguments["d"] == 25 and s["L = 2"].m.sizes["run"] == 2
    assert s["L = 2"].m.equals(sq.simulate(**s["L = 2"].arguments).m)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["run", "job.toml", "--set", "d=0"],
            "base.d: expected an integer in [1, 1099511627776], got 0",
        ),
        (
            ["run", "job.toml", "--set", "task.student.sigmaa=relu"],
            "base.task.student.sigmaa: unknown key, expected one of sigma, position",
        ),
        (
            ["run", "job.toml", "--set", "lr=fast"],
            "base.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'fast'",
        ),
        (
            ["run", "job.toml", "--set", "d=100000000", "--set", "runs=10000000"],
            "runs = 10000000, L = 1, d = 100000000, steps = 200 need ",
        ),
        (["run", "job.toml", "--output", "no/where"], "output: the folder 'no' does not exist"),
        (["run", "none.toml"], "none.toml: No such file or directory"),
        (["run"], "run: expected a FILE, or --example for the one that comes with the package"),
        (
            ["run", "job.toml", "--example"],
            "run: expected a FILE, or --example for the one that comes with the package",
        ),
        (["run", "job.toml", "--sett", "d=1"], "No such option '--sett'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(tmp_path, typed, arguments, said):
    write(tmp_path, TWO)
    code, out, err = typed(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"seqsgd: {said}") and err.count("\n") == 1 and err.endswith("\n")
    assert names(tmp_path) == ["job.toml"]


def test_a_shell_sees_the_same_line(tmp_path, typed):
    words = ["run", write(tmp_path, TWO), "--set", "d=0"]
    done = seqsgd(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == typed(*words)


def test_without_a_command_the_help_is_shown(tmp_path):
    """As click does: on stderr, with exit code 2; in lines, not in one."""
    done = seqsgd(cwd=tmp_path)
    shown = seqsgd("--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and shown.returncode == 0
    assert (
        done.stderr == shown.stdout
        and done.stderr.startswith("Usage: seqsgd ")
        and "\n  run " in done.stderr
    )


def completed(words, cwd):
    said = seqsgd(
        cwd=cwd,
        env=os.environ
        | {
            "_SEQSGD_COMPLETE": "bash_complete",
            "COMP_WORDS": f"seqsgd {words}",
            "COMP_CWORD": str(len(words.split(" "))),
        },
    )
    assert (said.returncode, said.stderr) == (0, "")
    return [line.split(",")[1] for line in said.stdout.splitlines()]


@pytest.mark.slow
def test_the_shell_completes_names(tmp_path):
    assert completed("s", tmp_path) == ["sweep"]
    assert completed("figure 1", tmp_path) == ["1", *map(str, range(10, 14))]
    assert completed("figure scaling s", tmp_path) == [
        "staircase",
        "sharpening",
    ] and "all" in completed("figure ", tmp_path)
    assert completed("example tr", tmp_path) == ["transition"]
    assert (
        "_SEQSGD_COMPLETE"
        in seqsgd(cwd=tmp_path, env=os.environ | {"_SEQSGD_COMPLETE": "zsh_source"}).stdout
    )


@pytest.mark.parametrize(
    ("output", "stem"), [("o.nc", "o"), ("o.png", "o"), ("there/", "there/job"), ("there", "there")]
)
def test_where_the_files_go(tmp_path, typed, output, stem):
    (tmp_path / "there").mkdir()
    said = typed("run", write(tmp_path, FILE), "--output", output)
    assert said == (0, f"wrote {stem}.nc and {stem}.png\n", "")
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        [tmp_path / "job.toml", tmp_path / f"{stem}.nc", tmp_path / f"{stem}.png"]
    )


def test_files_that_are_not_to_be_replaced(tmp_path):
    write(tmp_path, FILE)
    for name, mode, said in (
        ("out.nc", 0o644, "'out.nc' exists and is not a netCDF file; it is not replaced"),
        ("out.png", 0o444, "the file 'out.png' is read-only"),
    ):
        (tmp_path / name).write_text("mine")
        (tmp_path / name).chmod(mode)
        done = seqsgd("run", "job.toml", "--set", "steps=1000000000", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"seqsgd: output: {said}\n")
        assert names(tmp_path) == sorted(["job.toml", name])
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    too_long = "x" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 3)
    done = seqsgd(
        "run", "job.toml", "--set", "steps=1000000000", "--output", too_long, cwd=tmp_path
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith("seqsgd: output: expected a name of at most ")
        and names(tmp_path) == ["job.toml"]
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others do not take any bytes for a name")
def test_names_of_any_bytes(tmp_path):
    """Of files; a title of such bytes could not be written to one."""
    os.rename(
        tmp_path / write(tmp_path, FILE.replace('output = "out"\n', "")),
        os.path.join(os.fsencode(tmp_path), b"caf\xe9.toml"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "seqsgd", "run", b"caf\xe9.toml"],
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, b"") and sorted(
        os.listdir(os.fsencode(tmp_path))
    ) == [b"caf\xe9.nc", b"caf\xe9.png", b"caf\xe9.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "seqsgd", "run", b"caf\xe9.toml", "--set", b"title=\xe9"],
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (
        2,
        b"seqsgd: title: expected a string without NUL and surrogate characters, got '\\udce9'\n",
    )


def test_a_figure_folder_that_is_a_file(tmp_path):
    done = seqsgd(
        "figure", "4", "--set", "cells=8", "--output", write(tmp_path, FILE), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (
        2,
        "seqsgd: folder: expected a folder, got 'job.toml' (File exists)\n",
    )


@pytest.mark.slow
def test_a_set_that_cases_say_otherwise(tmp_path):
    done = seqsgd("run", write(tmp_path, TWO), "--set", "task.teacher.L=3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "seqsgd: --set task.teacher.L overrides case[0].grid.task.teacher.L\n",
    )
    r = sq.load(tmp_path / "out.nc")
    assert isinstance(r, sq.Result) and r.task.teacher.L == 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_a_backend_of_a_notebook(tmp_path, backend):
    environment = os.environ | {"MPLBACKEND": backend}
    for words in (
        ["run", write(tmp_path, FILE)],
        ["figure", "4", "--output", "f", "--set", "cells=8", "--quiet"],
    ):
        done = seqsgd(*words, cwd=tmp_path, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.png").is_file() and (tmp_path / "f" / "figure-4.png").is_file()


@pytest.mark.slow
def test_texts_that_matplotlib_cannot_draw(tmp_path):
    """Mathematics that is none, and characters that its font lacks: said in lines like all others,
    each once.
    """
    text = TWO.replace("Two cases", "set $x_{1$ of \u65e5 for $5 to $6").replace(
        "L = {L}", "$\\\\omega_{{$ {L}"
    )
    done = seqsgd("run", write(tmp_path, text), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "wrote out.nc and out.png\n")
    assert done.stderr == (
        "seqsgd: warning: Glyph 26085 (\\N{CJK UNIFIED IDEOGRAPH-65E5}) missing from font(s) "
        "DejaVu Sans.\n"
    )
    assert list(sq.load(tmp_path / "out.nc")) == [r"$\omega_{$ 1", r"$\omega_{$ 2"]


@pytest.mark.slow
def test_a_style_that_cannot_be_drawn_costs_no_data(tmp_path):
    write(tmp_path, FILE)
    (tmp_path / "matplotlibrc").write_text("text.usetex: true\nfont.family: no such font\n")
    (tmp_path / "bin").mkdir()
    done = seqsgd(
        "run", "job.toml", cwd=tmp_path, env=os.environ | {"PATH": str(tmp_path / "bin")}
    )  # no latex there
    assert (done.returncode, done.stdout) == (1, "") and names(tmp_path) == [
        "bin",
        "job.toml",
        "matplotlibrc",
        "out.nc",
    ]
    *warned, last = done.stderr.splitlines()
    assert last.startswith("seqsgd: wrote out.nc, but not out.png: ") and all(
        line.startswith("seqsgd: warning: ") for line in warned
    )


LIMITED = """
import resource
from seqsgd.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
main(["run", "job.toml"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "there", "said"),
    [
        (10, ["job.toml", "out.nc"], "wrote out.nc, but not out.png: File too large"),
        (10**5, ["job.toml"], "File too large: out.nc"),
    ],
)
def test_a_full_disk(tmp_path, steps, there, said):
    """As far as a limit of the process stands for it: one line, nothing half-written, and no
    crash.
    """
    write(
        tmp_path,
        FILE.replace("steps = 200", f"steps = {steps}").replace(
            '{ type = "LogSpaced", n = 4 }', '{ type = "Every", n = 10 }'
        ),
    )
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"seqsgd: {said}\n") and names(
        tmp_path
    ) == there


def test_a_reader_who_has_seen_enough(tmp_path):
    command = (
        f"{sys.executable} -m seqsgd example | true; {sys.executable} -m seqsgd figure list | "
        "head -1"
    )
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.stderr == "" and done.stdout.startswith("1 ")


def test_a_wrong_case_is_found_before_the_first_runs(tmp_path):
    text = TWO + '[[case]]\nlabel = "late"\nset = { "task.teacher.link" = "z1*z2*z3" }\n'
    started = time.monotonic()
    done = seqsgd("run", write(tmp_path, text), "--set", "steps=1000000000", cwd=tmp_path)
    assert done.returncode == 2 and time.monotonic() - started < 20
    assert done.stderr == (
        "seqsgd: base.task.teacher.L: link z1*z2*z3 needs at least 3 tokens, got 2 (in the "
        "case 'late')\n"
    )


@pytest.mark.slow
def test_warnings_are_one_line(tmp_path):
    done = seqsgd("run", write(tmp_path, FILE), "--set", "lr=1e-7", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(
        r"seqsgd: warning: dtype: float32 rounds away .*; use dtype='float64'\n", done.stderr
    )


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    assert seqsgd("example", cwd=tmp_path).stdout == example_path().read_text()
    done = seqsgd(
        "run", "--example", "--set", "d=20", "--set", "steps=50", "--set", "runs=2", cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "wrote learning_curves.nc and learning_curves.png\n",
        "",
    )
    s = sq.load(tmp_path / "learning_curves.nc")
    assert len(s) == 9 and len(set(s.panels.values())) == 3


def test_info(tmp_path):
    done = seqsgd("info", cwd=tmp_path)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {"seqsgd", "python", "numpy", "compiler", "eigen", "instruction set", "cores"} <= set(
        said
    )
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


@pytest.mark.slow
def test_ctrl_c_keeps_what_there_is_and_goes_on_from_it(tmp_path):
    text = TWO.replace("d = 30", 'd = 30\ncheckpoint = "c.npz"\ncheckpoint_every = 0.1')
    write(tmp_path, text)
    for name in ("out.nc", "out.png"):  # of an earlier run
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\ncomplete")
    process = subprocess.Popen(
        [sys.executable, "-m", "seqsgd", "run", "job.toml", "--set", "steps=50000000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for((tmp_path / "c-000.npz").exists)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    first = process.stderr.readline()
    seconds = time.monotonic() - sent
    out, err = process.communicate(timeout=60)
    print(f"first word after {seconds:.3f} s, exit after {time.monotonic() - sent:.3f} s")
    assert process.returncode == 130 and out == "" and seconds < crowd()
    assert first == "seqsgd: interrupted, writing what was recorded ...\n"
    assert err == (
        "seqsgd: interrupted; wrote what was recorded to out-interrupted.nc and "
        "out-interrupted.png; 'c.npz' is kept, the same command continues from it\n"
    )
    assert names(tmp_path) == [
        "c-000.npz",
        "job.toml",
        "out-interrupted.nc",
        "out-interrupted.png",
        "out.nc",
        "out.png",
    ]
    assert (tmp_path / "out.nc").read_bytes() == b"\x89HDF\r\n\x1a\ncomplete" and (
        tmp_path / "out.png"
    ).read_bytes() == b"\x89HDF\r\n\x1a\ncomplete"
    partial = sq.load(tmp_path / "out-interrupted.nc")
    assert list(partial) == ["L = 1"] and partial.title == "Two cases (interrupted in case 1 of 2)"
    assert not partial["L = 1"].complete and "interrupted after " in repr(partial)
    reached = int(partial["L = 1"].dataset["steps_done"].max())
    done = seqsgd("run", "job.toml", "--set", f"steps={reached + 10}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    s = sq.load(tmp_path / "out.nc")
    assert s["L = 1"].m.equals(sq.simulate(**s["L = 1"].arguments).m)


@pytest.mark.slow
def test_a_checkpoint_of_another_job_is_named(tmp_path):
    write(tmp_path, FILE.replace("d = 30", 'd = 30\ncheckpoint = "c.npz"'))
    assert seqsgd("run", "job.toml", cwd=tmp_path).returncode == 0
    done = seqsgd("run", "job.toml", "--set", "lr=0.5", cwd=tmp_path)
    assert (
        done.returncode == 2
        and done.stderr
        == "seqsgd: checkpoint: 'c.npz' belongs to another run: lr is 0.3 there and 0.5 here\n"
    )


@pytest.mark.slow
def test_progress_where_somebody_watches(tmp_path):
    write(tmp_path, TWO)
    for quiet in (False, True):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        command = [
            sys.executable,
            "-m",
            "seqsgd",
            "run",
            "job.toml",
            "--set",
            "steps=300000",
            *(["--quiet"] if quiet else []),
        ]
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
        assert (
            (said == b"")
            if quiet
            else (b"L = 1" in said and b"L = 2" in said and b"steps/s" in said)
        )


def test_panels_of_a_picture_have_room(tmp_path, monkeypatch):
    """The caller of ResultSet.plot chooses size and layout; for a command that is us."""
    drawn = []
    real = drawing.agg_figure
    monkeypatch.setattr(drawing, "agg_figure", lambda **o: drawn.append(real(**o)) or drawn[-1])
    task = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
    results = {c: sq.simulate(task, d=20, steps=9, lr=0.1, rng=0, record=[0, 9]) for c in "abc"}
    panels = {c: f"a long title {c}" for c in "abc"}
    main_module._draw(sq.ResultSet(results, panels=panels), str(tmp_path / "p.png"), True)
    assert drawn[0].get_size_inches()[0] == pytest.approx(3 * 4.4)
    assert drawn[0].get_layout_engine() is not None
