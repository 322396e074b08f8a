"""`seqsgd sweep`, as a user's shell sees it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

import pytest
import seqsgd as sq
import xarray as xr
from seqsgd.cli.main import example_path
from seqsgd.sweeps import progress
from sweeping import files, same, until

FILE = """
title = "A small one"
store = "out.sweep"
rng = 0

[base]
d = 30
steps = 200
lr = 0.3
runs = 3

[base.task]
teacher = { type = "SSI", link = "sum", L = 2 }
student = { type = "Tied" }

[grid]
task.teacher.L = [1, 2]
"d, steps" = [{ range = [20, 41, 10] }, [100, 200, 300]]
lr = { geomspace = [0.1, 0.4, 3] }
"""


def seqsgd(*arguments, cwd, **rest):
    return subprocess.run(
        [sys.executable, "-m", "seqsgd", "sweep", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        **rest,
    )


def write(folder, text):
    (folder / "job.toml").write_text(text)
    return "job.toml"


def test_a_sweep_from_a_file(tmp_path):
    write(tmp_path, FILE)
    dry = seqsgd("job.toml", "--dry-run", cwd=tmp_path)
    assert (
        dry.returncode == 0
        and dry.stderr == ""
        and dry.stdout.startswith("18 cells; 1.08e+04 run-steps; about 0.")
        and files(tmp_path) == ["job.toml"]
    )
    done = seqsgd("job.toml", "--output", "out.nc", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "wrote out.sweep and out.nc\n")
    assert (
        done.stderr.startswith("seqsgd: 18 cells; 1.08e+04 run-steps; about ")
        and done.stderr.count("\n") == 1
    )
    assert files(tmp_path) == ["job.toml", "out.nc", "out.sweep"]
    r = sq.open_sweep(tmp_path / "out.sweep")
    assert (
        r.dims == ("L", "d", "lr")
        and r.cells_done == 18
        and r.dataset.steps.values.tolist() == [100, 200, 300]
    )
    same(xr.load_dataset(tmp_path / "out.nc", engine="h5netcdf"), r.dataset)
    cell = r.cell(L=2, d=30, lr=0.2)
    assert sq.simulate(**cell.arguments).m.equals(cell.m) and cell.arguments["steps"] == 200
    again = seqsgd("job.toml", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (
        0,
        "wrote out.sweep\n",
        "seqsgd: 18 cells, all stored\n",
    )


@pytest.mark.slow
def test_workers_and_options(tmp_path):
    write(tmp_path, FILE)
    for i, words in enumerate((["--workers", "2"], [], ["--set", "rng=1"], ["--set", "runs=4"])):
        done = seqsgd("job.toml", "--store", f"{i}.sweep", "--quiet", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    r = [sq.open_sweep(tmp_path / f"{i}.sweep") for i in range(4)]
    same(r[0], r[1])
    assert not r[2].m.equals(r[1].m)
    same(r[3].dataset.sel(run=slice(0, 2)), r[1].dataset)


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (
            FILE,
            ["--set", "d=5"],
            "base.d: the grid sets this key, so --set would change nothing",
        ),
        (FILE, ["--set", "colour=1"], "base.colour: unknown key"),
        (FILE, ["--set", "runs=0"], "base.runs: expected an integer in [1, 4294967296], got 0"),
        (
            FILE,
            ["--set", "grid.lr=[1]"],
            "grid.lr: --set reaches title, store, output, rng, workers, checkpoint_every and the "
            "keys of base only",
        ),
        (
            FILE.replace("\nlr = {", "\nlrr = {"),
            [],
            "grid.lrr: unknown key, expected one of task, d, ",
        ),
        (
            FILE.replace("geomspace", "geomspice"),
            [],
            "grid.lr.geomspice: base.lr is 0.3 and has no 'geomspice', nor is it one of values, "
            "linspace, geomspace, range, labels; did you mean 'geomspace'?",
        ),
        (
            FILE.replace("[100, 200, 300]", "[100, 200]"),
            [],
            "grid.d, steps: expected lists of equal length, got 3 values of d, 2 values of steps",
        ),
        (
            FILE.replace("[1, 2]", "[]"),
            [],
            "grid.task.teacher.L: expected at least one value, got an empty list",
        ),
        (
            FILE.replace("[1, 2]", "[1, 2.5]"),
            [],
            "grid.task.teacher.L: expected an integer in [1, 2147483647], got 2.5",
        ),
        (
            FILE.replace("0.4, 3]", "0.4, 1_000_000]"),
            [],
            "grid: expected at most 1000000 cells, got 2 x 3 x 1000000 = 6000000",
        ),
        (
            FILE.replace("[1, 2]", "{ range = [1_000_000_000_000] }"),
            [],
            "grid.task.teacher.L: expected at most 1000000 values, got 1000000000000",
        ),
        (FILE.replace("[grid]", "[grit]"), [], "grit: unknown key, expected one of title, store, "),
        (FILE.replace("rng = 0", 'rng = "x"'), [], "rng: expected an integer >= 0, got 'x'"),
        (FILE.replace("rng = 0", "workers = 0"), [], "workers: expected an integer >= 1, got 0"),
        (
            FILE,
            ["--output", "data.csv"],
            "output: expected a name that ends in .nc or .zarr, got 'data.csv'",
        ),
        (FILE, ["--output", "no/data.nc"], "output: the folder 'no' does not exist"),
        (FILE, ["--store", "no/s"], "store: the folder 'no' does not exist"),
        (
            FILE,
            ["--store", "job.toml"],
            "store: 'job.toml': file is not a database; it is not a store of sweeps, or was "
            "damaged",
        ),
        (
            FILE,
            ["--dask", "tcp://127.0.0.1:1", "--workers", "2"],
            "--dask: cannot be combined with --workers",
        ),
        (
            FILE,
            ["--example"],
            "sweep: expected a FILE, or --example for the one that comes with the package",
        ),
        ("[base", [], "job.toml: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_runs(
    tmp_path, typed, text, arguments, said
):
    write(tmp_path, text)
    code, out, err = typed("sweep", "job.toml", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"seqsgd: {said}") and err.count("\n") == 1
    assert files(tmp_path) == ["job.toml"]


@pytest.mark.slow
def test_the_example(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-m", "seqsgd", "example", "transition"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == example_path("transition.toml").read_text()
    done = seqsgd(
        "--example", "--set", "d=20", "--set", "steps=100", "--set", "runs=2", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "wrote transition.sweep and transition.nc\n")
    r = sq.open_sweep(tmp_path / "transition.sweep")
    assert r.dims == ("omega",) and r.shape == (41,) and r["e"].dims == ("omega", "run", "step")


@pytest.mark.slow
def test_ctrl_c_and_on(tmp_path):
    write(tmp_path, FILE)
    words = ["job.toml", "--set", "task.student.sigma=relu", "--set", "runs=200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "seqsgd", "sweep", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def some():
        try:
            return sq.open_sweep(tmp_path / "out.sweep").cells_done >= 2
        except sq.StoreError:
            return False

    until(some)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    done = sq.open_sweep(tmp_path / "out.sweep").cells_done
    assert process.returncode == 130 and out == "" and 2 <= done < 18
    assert (
        err.splitlines()[-1]
        == (
            f"seqsgd: interrupted after {done} of 18 cells, which are in 'out.sweep'; the same "
            "command continues from there"
        )
        and err.count("\n") == 2
    )
    resumed = seqsgd(*words, cwd=tmp_path)
    assert resumed.returncode == 0 and resumed.stderr.startswith(
        f"seqsgd: 18 cells, {done} of them stored; "
    )
    seqsgd(*words, "--store", "whole.sweep", cwd=tmp_path)
    same(sq.open_sweep(tmp_path / "out.sweep"), sq.open_sweep(tmp_path / "whole.sweep"))
    assert files(tmp_path) == ["job.toml", "out.sweep", "whole.sweep"]


@pytest.mark.slow
def test_a_bar_where_somebody_watches(tmp_path):
    write(tmp_path, FILE)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "seqsgd",
            "sweep",
            "job.toml",
            "--workers",
            "2",
            "--set",
            "runs=2000",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 1000):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.stdout.close()
    assert process.wait() == 0 and b"/18 cells" in said and b" left]" in said and b"steps/s" in said


def test_a_line_a_minute_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE", 0.0)
    p = progress.Progress(10, 1000, 2, 200, 8.0, 1, None)
    p.piece(100, 1.0)
    p.cell()
    p.in_flight(50)
    p.close()
    said = capsys.readouterr().err
    assert (
        said.startswith("seqsgd: 3/10 cells, 350/1e+03 run-steps, ")
        and said.endswith(" left\n")
        and said.count("\n") == 1
    )
    quiet = progress.Progress(10, 1000, 2, 200, 8.0, 1, False)
    quiet.in_flight(50)
    assert capsys.readouterr().err == ""
