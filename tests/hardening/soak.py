"""Sweeps under fire: `python tests/hardening/soak.py --minutes 30`.

One mixed sweep after another (tasks, dynamics, precisions, executors; short cells and long ones
with checkpoints) is begun in a process of its own and killed at random moments, SIGKILL to the
parent, to a worker or to all, until it gets through; then its results must equal those of the same
sweep in one go, bit for bit, and nothing may be left behind but the store. Prints a line for each
sweep, and the seed, with which the same moments come again (the machine's timing does not).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import seqsgd as sq
import sweeping

NETWORK = sq.Task(sq.SSI("sum", L=3, scale="1/sqrt(L)"), sq.Tied("relu"))
UNTIED = sq.Task(sq.SSI("sum", L=2), sq.Untied("tanh"))
CHILD = """
import pickle, sys
import seqsgd as sq
if __name__ == "__main__":
    w = pickle.load(open(sys.argv[1], "rb"))
    sq.sweep(w["base"], w["grid"], rng=w["rng"], store=sys.argv[2], executor=w["executor"], checkpoint_every=0.05, progress=False)
"""


WORK = {"sampled": 10_000_000, "reduced": 100_000_000}  # run-steps that take a core a few seconds


def drawn(r: random.Random) -> dict[str, Any]:
    """A sweep of a few seconds, whose cells take a hundredth of it or a quarter."""
    task, dynamics = r.choice([sweeping.TASK, NETWORK, UNTIED]), r.choice(["sampled", "reduced"])
    runs, points = r.choice([1, 3, 8]), r.choice([2, 10, 60])
    steps = 1000 * round(WORK[dynamics] * r.choice([0.3, 1, 2]) / (2 * points * runs) / 1000)
    base: dict[str, Any] = {
        "task": task,
        "d": r.choice([20, 60]),
        "runs": runs,
        "dtype": r.choice(["float32", "float64"]),
        "dynamics": dynamics,
    }
    base |= {
        "init": {"type": "Overlap"},
        "record": sq.Every(steps // r.choice([2, 50])),
        "steps": steps,
    }
    if r.random() < 0.2:
        base["stop"] = sq.WeakRecovery(0.99)
    grid = {"init.m0": {"linspace": [0.01, 0.3, points]}, "lr": [0.05, 0.1]}
    return {"base": base, "grid": grid, "rng": r.randrange(100), "executor": r.choice([None, 1, 2])}


def children(pid: int) -> list[int]:
    """Processes below one, by /proc."""
    found = []
    for p in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = p.read_text().rsplit(")", 1)[1].split()
            if int(words[1]) == pid:
                found.append(int(p.parent.name))
    return found + [c for f in found for c in children(f)]


def signs(store: Path) -> Any:
    """What there is of a sweep: pieces stored, checkpoints."""
    with (
        contextlib.suppress(sqlite3.Error, OSError),
        contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5)) as db,
    ):
        return db.execute("SELECT count(*) FROM pieces").fetchone(), sorted(
            (p.name, p.stat().st_mtime_ns) for p in store.with_name("s-work").glob("*.npz")
        )
    return None


def attempt(command: list[str], store: Path, r: random.Random, longest: float) -> str:
    """One start of a sweep, and what ended it: a kill at any moment, mostly once it has got
    somewhere. Only a kill may: an end with an error is one. Workers of a killed parent may still be
    there when the next attempt begins.
    """
    what = r.choice(["parent", "worker", "all"])
    with tempfile.TemporaryFile("w+") as said:
        p = subprocess.Popen(
            command, process_group=0, stderr=said
        )  # the group only: a new session would have another priority
        before, somewhere = signs(store), r.random() < 0.8
        while somewhere and p.poll() is None and signs(store) in (before, None):
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.wait(r.uniform(0.0, longest))
        if p.poll() is None:
            below = children(p.pid)
            if what == "worker" and below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(r.choice(below), signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    p.wait(30)  # it goes on without
            else:
                what = "all" if what == "all" else "parent"
                (os.killpg if what == "all" else os.kill)(p.pid, signal.SIGKILL)
                p.wait()
                return what
        else:
            what = "done"
        if p.poll() is None:
            p.kill()
            p.wait()
        elif p.returncode:
            said.seek(0)
            raise AssertionError(
                f"a sweep ended by itself with {p.returncode} ({what}): {said.read()[-3000:]}"
            )
    return what


def soaked(r: random.Random) -> tuple[str, dict[str, int]]:
    """One sweep, killed until it gets through. Raises AssertionError."""
    w = drawn(r)
    ends: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "child.py").write_text(CHILD)
        (Path(folder) / "sweep").write_bytes(pickle.dumps(w))
        store = Path(folder) / "store" / "s"
        store.parent.mkdir()
        command, longest = (
            [sys.executable, f"{folder}/child.py", f"{folder}/sweep", str(store)],
            1.0,
        )
        for _ in range(12):
            end = attempt(command, store, r, longest)
            ends[end] = ends.get(end, 0) + 1
            if end == "done":
                break
            longest *= 1.3
        else:
            subprocess.run(command, check=True)
        with contextlib.closing(sqlite3.connect(store)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        there, whole = (
            sq.open_sweep(store),
            sq.sweep(w["base"], w["grid"], rng=w["rng"], progress=False),
        )
        assert there.cells_done == whole.cells_done == w["grid"]["init.m0"]["linspace"][2] * 2
        sweeping.same(there, whole)
        deadline = (
            time.monotonic() + 60
        )  # orphans of a killed parent notice within seconds, of their own processor time
        while (left := sweeping.files(store.parent)) != ["s"] and time.monotonic() < deadline:
            time.sleep(0.2)
        if left != ["s"]:  # a kill while a folder was made: it goes with the next call
            print(
                f"left behind until the next call: {left}, "
                f"{sorted(p.name for p in store.parent.glob('s-work/*'))}",
                flush=True,
            )
            subprocess.run(command, check=True)
            left = sweeping.files(store.parent)
        assert left == ["s"], left
    return (
        f"{w['base']['dynamics']}, {w['base']['dtype']}, "
        f"{w['grid']['init.m0']['linspace'][2] * 2} cells of {w['base']['runs']} x "
        f"{w['base']['steps']}, executor {w['executor']}",
        ends,
    )


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--minutes", type=float, default=30)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    o = p.parse_args()
    print(f"seed {o.seed}", flush=True)
    r, end, count, kills = random.Random(o.seed), time.monotonic() + 60 * o.minutes, 0, 0
    while time.monotonic() < end:
        text, ends = soaked(r)
        count, kills = (
            count + 1,
            kills + sum(n for what, n in ends.items() if what in ("parent", "worker", "all")),
        )
        print(f"{text}: {ends}; the same bit for bit", flush=True)
    print(f"{count} sweeps, {kills} kills, nothing lost, nothing different")
    return 0


if __name__ == "__main__":
    sys.exit(main())
