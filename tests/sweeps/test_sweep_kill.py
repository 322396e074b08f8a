"""kill -9 at any moment, Ctrl-C, long cells with checkpoints: what was finished stays, and the rest
comes out the same bit for bit.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import seqsgd as sq
from helpers import environment
from seqsgd.sweeps import worker
from sweeping import BASE, TASK, files, same, until

# A process that forks children, each of which sweeps and is killed; no child outlives its moment,
# and each goes on where the one before was stopped.
KILLS = """
import contextlib, json, multiprocessing, os, random, signal, sqlite3, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import xarray
import seqsgd as sq
from seqsgd.sweeps import tasks
from sweeping import TASK

def stored(path):
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute("SELECT count(*) FROM pieces").fetchone()[0]
    except sqlite3.Error:
        return 0


path, kind, kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
arguments = json.loads(sys.argv[5])
base = {"task": TASK, **arguments["base"]}
tasks.LEAST, tasks.MOST = 0.01, 0.03  # little is lost at a time: twenty kills leave something to do
moments = random.Random(seed)
done, last, groups = [], 0, []
while len(done) < kills:
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) if kind == "processes" else None
        sq.sweep(base, arguments["grid"], rng=0, store=path, executor=executor, checkpoint_every=0.02)
        os._exit(0)
    before = stored(path)
    wait = arguments["wait"] and moments.random() < 0.8  # now and then at once, else when it is well under way
    gone, status = 0, 0
    while wait and not gone and stored(path) == before:
        gone, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)
    if not gone:
        time.sleep(moments.uniform(0.0, arguments["longest"]))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    groups.append(pid)
    if status != signal.SIGKILL:  # a fast machine: everything is done
        assert status == 0
        break
    if path.exists() and path.stat().st_size:
        try:
            done.append(sq.open_sweep(path).cells_done)
        except sq.StoreError as e:  # killed while it was made
            assert "is empty" in str(e) or "contains no sweep" in str(e), e
            done.append(0)
        assert done[-1] >= last, "a finished cell was lost"
        last = done[-1]
    else:
        done.append(0)
for group in groups:  # workers of an executor of the caller's that had not begun anything know of no parent
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
print(json.dumps(done))
"""


def killed(folder, kind, kills, base, grid, longest, wait=True):
    arguments = json.dumps(
        {
            "base": {k: v for k, v in base.items() if k not in ("task", "record")},
            "grid": grid,
            "longest": longest,
            "wait": wait,
        }
    )
    command = [
        sys.executable,
        "-c",
        KILLS,
        str(folder / "s"),
        kind,
        str(kills),
        str(random.SystemRandom().randrange(10**6)),
        arguments,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    print(f"cells there after each kill, seed {command[-2]}: {done.stdout.strip()}")
    return json.loads(done.stdout)


def intact(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["here", "processes"])
def test_killed_at_twenty_random_moments(kind, tmp_path):
    """Many short cells: kills between, within and while storing them; fewer than twenty if all is
    done before.
    """
    base = {"task": TASK, "d": 30, "steps": 4000, "lr": 0.1, "runs": 3}
    base["init"] = {"type": "Overlap"}
    grid = {"task.teacher.omega": [0.0, 0.5, 1.0], "init.m0": {"linspace": [0.01, 0.5, 120]}}
    there = killed(tmp_path, kind, 20, base, grid, 0.03)
    intact(tmp_path / "s")
    resumed = sq.sweep(base, grid, rng=0, store=tmp_path / "s")
    same(resumed, sq.sweep(base, grid, rng=0))
    assert len(there) >= 5 and 0 < max(there) and resumed.cells_done == 360
    assert files(tmp_path) == ["s"]


@pytest.mark.slow
def test_killed_in_long_cells(tmp_path):
    """Few long cells with checkpoints fifty times a second: kills while these are written."""
    base = {"task": TASK, "d": 30, "steps": 6_000_000, "lr": 0.1, "runs": 1}
    grid = {"task.teacher.omega": [0.2, 0.8]}
    killed(tmp_path, "here", 8, base, grid, 0.2, wait=False)
    resumed = sq.sweep(base, grid, rng=0, store=tmp_path / "s", checkpoint_every=0.02)
    same(resumed, sq.sweep(base, grid, rng=0))
    assert files(tmp_path) == ["s"]


LONG = BASE | {"steps": 3_000_000, "runs": 1, "record": sq.Every(100_000)}


def test_a_checkpoint_is_used(tmp_path, monkeypatch):
    """Stopped half-way and begun again, the second call does the second half only."""
    monkeypatch.setattr(worker, "SHORT", 0.0)
    seen = []

    class Stop(Exception):
        pass

    real = worker.Execution

    class Execution(real):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            if self.run.runs == 1 and self.saved is not None:
                seen.append(int(self.engine.steps_done().sum()))

    monkeypatch.setattr(worker, "Execution", Execution)
    from seqsgd.sweeps import drive

    def stop(self, run_steps):
        if run_steps > 1_000_000:
            signal.raise_signal(signal.SIGINT)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(drive.Drive, "_watch", stop)
        with pytest.raises(
            sq.SweepInterrupted,
            match=r"^interrupted after 0 of 1 cells; they are in '.*', and the same call continues$",
        ) as caught:
            sq.sweep(LONG, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert isinstance(caught.value, KeyboardInterrupt) and caught.value.result.cells_done == 0
    (left,) = (tmp_path / "s-work").iterdir()
    assert left.suffix == ".npz"
    resumed = sq.sweep(LONG, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert seen[0] == 0 and seen[-1] > 1_000_000
    same(resumed, sq.sweep(LONG, {"lr": [0.1]}, rng=0))
    assert files(tmp_path) == ["s"]


def test_a_damaged_checkpoint_costs_only_time(tmp_path):
    r = sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    (key,) = r.provenance()["key"].values
    (tmp_path / "t-work").mkdir()
    (tmp_path / "t-work" / f"{key[:32]}-0-5.npz").write_bytes(b"PK\x03\x04 no checkpoint")
    same(sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=tmp_path / "t"), r)


@pytest.mark.parametrize(
    "there", [[], ["go"], ["7.progress"]], ids=["nothing in it", "an empty go", "only progress"]
)
def test_a_folder_half_made_or_half_taken_away_goes(there, tmp_path):
    """By a kill between the folder and the name in it; one that is new may be that of a sweep which
    begins or ends just now.
    """
    old, new = (tmp_path / "s-work" / f"life-{name}" for name in ("old", "new"))
    for life in (old, new):
        life.mkdir(parents=True)
        for name in there:
            (life / name).write_text("")
    os.utime(old, (time.time() - 60,) * 2)
    sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert files(tmp_path) == ["s", "s-work"] and files(tmp_path / "s-work") == ["life-new"]
    os.utime(new, (time.time() - 60,) * 2)
    sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert files(tmp_path) == ["s"]


def test_a_piece_that_was_ended_is_no_outcome(monkeypatch):
    """Even if the core looks again before its threads have paused: half a piece was stored as a
    whole one.
    """
    from seqsgd.sweeps import drive

    pieces = []

    def noted(piece, *rest):
        pieces.append(piece)
        return worker.compute_piece(piece, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(drive, "compute_piece", noted)
        sq.sweep(BASE, {"lr": [0.1]}, rng=0)

    class Slow(worker.Execution):
        def advance(self):
            assert [self.callback(1, self.total), self.callback(2, self.total)] == [True, True]

    monkeypatch.setattr(worker, "Execution", Slow)
    assert worker.compute_piece(pieces[0], None, 60.0, lambda done: done == 1) is None


PRESSED = """
import sys
import seqsgd as sq
from seqsgd.sweeps import worker
from sweeping import TASK

worker.SHORT = 0.0
if __name__ == "__main__":
    base = {"task": TASK, "d": 20, "steps": 20_000, "lr": 0.1, "runs": 2}
    grid = {"task.teacher.omega": {"linspace": [0.0, 1.0, 300]}}
    executor = None if sys.argv[2] == "here" else int(sys.argv[2])
    try:
        sq.sweep(base, grid, rng=0, store=sys.argv[1], executor=executor)
    except sq.SweepInterrupted as e:
        print(e, flush=True)
        sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["here", "2"])
@pytest.mark.parametrize("to", ["the parent", "all"])
def test_ctrl_c(executor, to, tmp_path):
    """As sent by `kill -INT`, and as a terminal sends it to the whole group."""
    (tmp_path / "script.py").write_text(PRESSED)
    path = tmp_path / "s"
    process = subprocess.Popen(
        [sys.executable, "script.py", "s", executor], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=environment(),
    )  # fmt: skip

    def some():
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=5)) as db:
                return db.execute("SELECT count(*) FROM pieces").fetchone()[0] > 3
        except sqlite3.Error:
            return False

    until(some)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT) if to == "the parent" else os.killpg(
        process.pid, signal.SIGINT
    )
    out, err = process.communicate(timeout=30)
    print(f"ended after {time.monotonic() - pressed:.2f} s")
    done = sq.open_sweep(path).cells_done
    assert process.returncode == 130 and err == ""
    assert (
        out
        == (
            f"interrupted after {done} of 300 cells; they are in 's', and the same call continues\n"
        )
        and 3 < done < 300
    )
    intact(path)
    before = sq.open_sweep(path).dataset.dropna("omega", how="any", subset=["steps_done"])
    before["steps_done"] = before["steps_done"].astype(int)
    base = {"task": TASK, "d": 20, "steps": 20_000, "lr": 0.1, "runs": 2}
    points = before.omega.values[:5].tolist()
    same(sq.sweep(base, {"task.teacher.omega": points}, rng=0), before.sel(omega=points))
    assert files(tmp_path) == ["s", "script.py"] or [
        p.suffix for p in (tmp_path / "s-work").iterdir()
    ] == [".npz"] * len(files(tmp_path / "s-work"))
