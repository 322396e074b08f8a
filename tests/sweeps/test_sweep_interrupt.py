"""Ctrl-C and other signals during a sweep: seconds; what was finished is kept."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import seqsgd as sq
from helpers import crowd, environment
from seqsgd._signals import signalled
from seqsgd.sweeps import drive, executors, run, worker
from seqsgd.sweeps.cost import Cost
from seqsgd.sweeps.owner import name, near
from seqsgd.sweeps.store import Store
from sweeping import BASE, press, until

ENDLESS = BASE | {"steps": 10**12, "runs": 1, "record": [0]}
SECONDS = 10.0  # wanted: about one; workers that start and a busy machine take longer


@pytest.mark.parametrize("workers", ["a thread", "processes"])
def test_a_cell_that_fails_ends_all_at_once_where_that_is_asked_for(workers):
    """What failed when its cost was tried goes first, and the endless cells are not waited for."""
    links = {"a": "z1", "b": "z1+z2", "bad": failing, "c": "sum", "d": "sum_h2"}
    base = ENDLESS | {"task": sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))}
    started = time.monotonic()
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(sq.SweepError, match="^link = bad: ValueError: not today"),
    ):
        sq.sweep(
            base,
            {"task.teacher.link": {"labels": links}},
            rng=0,
            executor=2 if workers == "processes" else pool,
            errors="raise",
        )
    assert time.monotonic() - started < 2 * SECONDS * crowd()


def failing(z):
    raise ValueError("not today")


SCRIPT = """
import sys
import seqsgd as sq
from sweeping import TASK
if __name__ == "__main__":
    print("begun", flush=True)
    base = {"task": TASK, "d": 20, "lr": 0.1, "steps": 10**12, "record": [0]}
    try:
        sq.sweep(base, {"task.teacher.omega": {"linspace": [0.0, 1.0, 6]}}, rng=0, executor=2)
    except sq.SweepInterrupted:
        sys.exit(130)
"""


@pytest.mark.slow
def test_while_workers_start_nothing_is_said_and_nothing_stays(tmp_path):
    """Ctrl-C as a terminal sends it, to all processes of the group, and once more."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    process.stdout.readline()
    time.sleep(1.0)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    _, err = process.communicate(timeout=4 * SECONDS)
    assert (process.returncode, err) == (130, "")
    until(lambda: not there(process.pid), 10)


def there(group):
    """Whether a group has processes left (multiprocessing's resource tracker ends a bit later)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def asleep(z):
    time.sleep(300)
    return z[0]


def test_a_worker_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    """A user function that takes minutes does not look for orders to stop."""
    monkeypatch.setattr(executors, "ENDING", 0.5)
    monkeypatch.setattr(drive, "PATIENCE", 0.5)
    monkeypatch.setattr(run, "estimate", lambda runs: [Cost(1.0, False)] * len(runs))
    base = {"task": sq.Task(sq.SSI(asleep, L=1), sq.Tied()), "d": 10, "steps": 3, "lr": 0.1}
    pressed = press(lambda: list(tmp_path.glob("s-work/life-*/*.progress")))
    with pytest.raises(sq.SweepInterrupted):
        sq.sweep(base, {"lr": [0.1, 0.2]}, rng=0, executor=1, store=tmp_path / "s")
    assert time.monotonic() - pressed[0] < SECONDS * crowd()


def order(life, owner=None, guard=True):
    (cell,) = sq.Sweep(BASE, {"lr": [0.1]}, rng=0).cells()
    piece = worker.Piece(0, cell.key, cell.run, cell.seed, 0.0)
    return worker.Job(
        1, 0, (piece,), str(life.parent), str(life), owner or name(), 60.0, 15.0, guard
    )


def test_an_order_taken_up_after_the_end_is_not_begun(tmp_path):
    life = tmp_path / "life-x"
    assert (
        worker.compute(order(life)) == [] and worker.compute(order(life, guard=False)) == []
    )  # not even its folder is there
    life.mkdir()
    assert worker.compute(order(life)) == []
    (life / "go").touch()
    assert len(worker.compute(order(life))) == 1
    elsewhere = order(tmp_path / "no folder", "another-host:1:2", guard=False)
    assert (
        not near(elsewhere.owner) and near(name()) and len(worker.compute(elsewhere)) == 1
    )  # it has other files, and cannot know


class TimeLimit(Exception):
    pass


def over(*_):
    raise TimeLimit("over")


class Handler:
    def __call__(self, *_):
        raise TimeLimit("over")

    def method(self, *_):
        raise TimeLimit("over")


@pytest.mark.parametrize(
    "handler", [over, Handler(), Handler().method], ids=["function", "object", "method"]
)
@pytest.mark.parametrize("where", ["here", "a link", "threads"])
def test_an_exception_of_a_signal_handler_ends_the_sweep(handler, where, tmp_path):
    """It is no failure of the cell that it struck; what was done before is stored."""
    base = (
        BASE
        if where != "a link"
        else {
            "task": sq.Task(sq.SSI(lambda z: z[0], L=1), sq.Tied()),
            "d": 10,
            "lr": 0.1,
            "record": [0],
        }
    )
    grid = {"steps": [10, 10**12]}

    def one_is_stored():
        try:
            return sq.open_sweep(tmp_path / "s").cells_done == 1
        except sq.StoreError:  # not yet made
            return False

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with ThreadPoolExecutor(2) as pool, pytest.raises(TimeLimit, match="^over$"):
            press(one_is_stored, signal.SIGALRM)
            sq.sweep(
                base | {"record": [0], "runs": 1},  # or the parts of the long cell keep all workers
                grid,
                rng=0,
                store=tmp_path / "s",
                executor=pool if where == "threads" else None,
            )
    finally:
        signal.signal(signal.SIGALRM, before)
    r = sq.open_sweep(tmp_path / "s")
    assert r.errors == {} and r.cells_done == 1


def test_whose_exception_it_is():
    def caught(raises):
        try:
            raises()
        except Exception as e:
            return e

    def wrapped():
        try:
            over()
        except TimeLimit:
            raise ValueError("something else") from None

    before = signal.signal(signal.SIGALRM, over)
    try:
        assert (
            signalled(caught(over))
            and signalled(caught(wrapped))
            and not signalled(caught(Handler()))
            and not signalled(ValueError("x"))
        )
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_store_that_fails_under_way_is_no_failure_of_a_cell(tmp_path, monkeypatch):
    def full(self, *_):
        raise sq.StoreError("store: full")

    monkeypatch.setattr("seqsgd.sweeps.scratch.BEAT", 0.0)
    monkeypatch.setattr(Store, "renew", full)
    with pytest.raises(sq.StoreError, match="full"):
        sq.sweep(ENDLESS, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert sq.open_sweep(tmp_path / "s").errors == {}


def test_finished_cells_of_an_order_under_way_are_kept(tmp_path, monkeypatch):
    """Short cells and an endless one in one order: the worker hands in the short ones."""
    base = {k: v for k, v in ENDLESS.items() if k != "steps"}
    costs = {10: 4e-3, 20: 3e-3, 30: 2e-3, 10**12: 1e-3}
    monkeypatch.setattr(
        run, "estimate", lambda runs: [Cost(costs[r.steps] / r.steps, False) for r in runs]
    )

    def well_on():
        return any(
            int(p.read_text() or 0) > 10_000 for p in tmp_path.glob("s-work/life-*/*.progress")
        )

    press(well_on)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(sq.SweepInterrupted, match="^interrupted after 3 of 4 cells"):
            sq.sweep(base, {"steps": list(costs)}, rng=0, executor=pool, store=tmp_path / "s")
    kept = sq.open_sweep(tmp_path / "s").dataset.sel(steps=[10, 20, 30]).m
    assert kept.equals(sq.sweep(base, {"steps": [10, 20, 30]}, rng=0).m)
