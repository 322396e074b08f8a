"""The same bits from every executor; workers that die, cells that kill, and what cannot be sent."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import seqsgd as sq
from helpers import crowd, environment
from seqsgd.sweeps import drive, executors
from sweeping import BASE, GRID, HEAVY, press, same, until

LONG = BASE | {"steps": 40_000, "runs": 2}  # some hundredths of a second each
MANY = {"task.teacher.omega": {"linspace": [0.0, 1.0, 12]}, "lr": [0.1, 0.2]}


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A client of a scheduler with two worker processes, each started as one does on a cluster."""
    pytest.importorskip("distributed")
    from distributed import Client

    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": file.parent,
        "env": environment("sweeps", PYTHONWARNINGS="ignore"),
    }
    words = [
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        ]
    ]
    words += [
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            "--host",
            "127.0.0.1",
            "--nthreads",
            "1",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        ]
    ] * 2
    processes = [subprocess.Popen(w, **quiet) for w in words]
    try:
        until(file.exists)
        with Client(
            scheduler_file=str(file), timeout=30, set_as_default=False
        ) as client:  # (as the default it outlives its shutdown)
            client.wait_for_workers(2, timeout=60)
            yield client
            client.shutdown()
    finally:
        for p in processes:
            try:
                p.wait(timeout=5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


KINDS = ["one thread", "three threads", "fork", "spawn", "our own", "loky", "dask"]


@pytest.fixture(params=KINDS)
def executor(request):
    """Executors of every kind."""
    kind = request.param
    if kind.endswith(("thread", "threads")):
        with ThreadPoolExecutor(1 if kind.startswith("one") else 3) as e:
            yield e
    elif kind in ("fork", "spawn"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind)) as e:
            yield e
    elif kind == "our own":
        yield 2
    elif kind == "loky":
        loky = pytest.importorskip("joblib.externals.loky")
        yield loky.get_reusable_executor(2)
        loky.get_reusable_executor(2).shutdown(kill_workers=True)
    else:
        yield request.getfixturevalue("dask").get_executor(pure=False)


@pytest.fixture(scope="module")
def here():
    """What this process computes."""
    return {
        "light": sq.sweep(BASE, GRID, rng=0),
        "heavy": sq.sweep(BASE, HEAVY, rng=0),
        "many": sq.sweep(LONG, MANY, rng=0),
    }


pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("executors"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning"
    ),  # of dask's and loky's own sockets and pipes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_same_bits(executor, here):
    same(sq.sweep(BASE, GRID, rng=0, executor=executor), here["light"])
    same(sq.sweep(BASE, HEAVY, rng=0, executor=executor), here["heavy"])


def test_in_another_order(executor, here):
    backwards = {"lr": GRID["lr"][::-1], "task.teacher.omega": [1.0, 0.0]}
    r = sq.sweep(BASE, backwards, rng=0, executor=executor)
    same(
        r.dataset.sortby(["lr", "omega"]).transpose("omega", "lr", ...),
        here["light"].dataset.sel(omega=[0.0, 1.0]),
    )


def test_ctrl_c_ends_in_seconds_with_cells_queued(executor, tmp_path):
    """Those that an executor cannot take back end as soon as a worker has them: it is free."""
    base = BASE | {"steps": 10**12, "runs": 1, "record": [0]}
    pressed = press(lambda: list(tmp_path.glob("s-work/life-*/*.progress")))
    with pytest.raises(sq.SweepInterrupted, match="^interrupted after 0 of 6 cells"):
        sq.sweep(
            base,
            {"task.teacher.omega": {"linspace": [0.0, 1.0, 6]}},
            rng=0,
            executor=executor,
            store=tmp_path / "s",
        )
    ended = time.monotonic()
    if executor != 2:
        executor.submit(len, ()).result(timeout=60)
    print(
        f"ended after {ended - pressed[0]:.1f} s, "
        f"the executor was free {time.monotonic() - ended:.1f} s later"
    )
    assert (
        time.monotonic() - pressed[0] < 10 * crowd()
    )  # wanted: about one; a busy machine takes longer


def workers_of(executor, request):
    """Process numbers of workers."""
    if executor == 2:
        return [p.pid for p in multiprocessing.active_children()]
    if "dask" in request.node.callspec.id:
        return list(request.getfixturevalue("dask").run(os.getpid).values())
    return list(executor._processes)


def stored(path):
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as db:
            return db.execute("SELECT count(*) FROM pieces").fetchone()[0]
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize("executor", ["fork", "spawn", "our own", "loky", "dask"], indirect=True)
def test_a_killed_worker_costs_only_its_cells_in_flight(executor, here, request, tmp_path):
    path = tmp_path / "s"
    killed = []

    def kill():
        until(lambda: stored(path) >= 2)
        pid = workers_of(executor, request)[0]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    r = sq.sweep(LONG, MANY, rng=0, executor=executor, store=path)
    thread.join()
    assert killed and r.errors == {}
    same(r, here["many"])
    if isinstance(
        executor, ProcessPoolExecutor
    ):  # shut down before it has seen a death it may wait for ever
        until(lambda: executor._broken or executor._shutdown_thread)


@pytest.mark.slow
def test_a_worker_killed_at_the_very_end_keeps_nobody_waiting():
    """It may hold the lock on orders; without a word from us the other then waits for it, and its
    executor for the other.
    """
    from seqsgd.sweeps.executors import Pool

    for _ in range(6):
        pool = Pool(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")))
        pool._ours = True
        list(pool._executor.map(time.sleep, [0.05] * 4))
        victim, other = pool._executor._processes.values()
        os.kill(victim.pid, signal.SIGKILL)
        pool.close()
        assert not victim.is_alive() and not other.is_alive()


def murderer(z):
    os.kill(os.getpid(), signal.SIGKILL)


def first(z):
    return z[0]


def failing(z):
    raise ValueError("not today")


PYTHON = {
    "task": sq.Task(sq.SSI(first, L=1), sq.Tied()),
    "d": 10,
    "steps": 100,
    "lr": 0.1,
    "runs": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["our own", "loky"], indirect=True)
def test_a_cell_that_kills_its_worker_is_found_out(executor):
    grid = {"task.teacher.link": {"labels": {"good": first, "deadly": murderer}}, "lr": [0.1, 0.2]}
    with pytest.warns(sq.SweepWarning, match="2 of 4 cells failed"):
        r = sq.sweep(PYTHON, grid, rng=0, executor=executor)
    assert list(r.errors) == ["link = deadly, lr = 0.1", "link = deadly, lr = 0.2"] and all(
        e.startswith("its worker was lost, 3 times (") for e in r.errors.values()
    )
    alone = sq.sweep(
        PYTHON, {"task.teacher.link": {"labels": {"good": first}}, "lr": [0.1, 0.2]}, rng=0
    )
    same(r.dataset.sel(link=["good"])[["m", "loss"]], alone.dataset[["m", "loss"]])


def test_a_cell_that_fails_leaves_the_others_alone(executor):
    grid = {"task.teacher.link": {"labels": {"good": "z1", "bad": failing}}, "lr": [0.1, 0.2, 0.3]}
    with pytest.warns(
        sq.SweepWarning,
        match="3 of 6 cells failed, the first at link = bad, lr = 0.[123]: ValueError: not today",
    ):
        r = sq.sweep(PYTHON, grid, rng=0, executor=executor)
    assert (
        len(r.errors) == 3
        and r.cells_done == 3
        and "in failing" in r.tracebacks["link = bad, lr = 0.1"]
    )
    with pytest.raises(sq.SweepError, match="^link = bad, lr = 0.[123]: ValueError: not today"):
        sq.sweep(PYTHON, grid, rng=0, executor=executor, errors="raise")


@pytest.mark.parametrize("executor", ["spawn", "our own"], indirect=True)
def test_what_cannot_be_sent_is_said(executor):
    with pytest.raises(
        sq.SweepError,
        match=r"^executor: a cell or its result cannot be sent to a worker \(.*[pP]ickl",
    ) as caught:
        sq.sweep(
            PYTHON,
            {"task.teacher.link": {"labels": {"local": lambda z: z[0]}}},
            rng=0,
            executor=executor,
        )
    assert "\n" not in str(caught.value)


def test_an_executor_that_was_shut_down():
    e = ThreadPoolExecutor(1)
    e.shutdown()
    with pytest.raises(
        sq.SweepError, match="^executor: cannot schedule new futures after shutdown"
    ):
        sq.sweep(BASE, GRID, executor=e)


def test_workers_times_threads_are_no_more_than_cores(monkeypatch):
    sent = []
    submit = executors.Pool.submit

    def noted(self, order):
        sent.extend(p.run.threads for p in order.pieces)
        return submit(self, order)

    monkeypatch.setattr(executors.Pool, "submit", noted)
    monkeypatch.setattr(drive, "cores", lambda: 6)
    with ThreadPoolExecutor(2) as e:
        for given, used in ((None, 1), (1, 1), (2, 2), (3, 3), (4, 3), (64, 3)):
            sent.clear()
            sq.sweep(BASE | {"threads": given}, {"lr": [0.1]}, executor=e)
            assert set(sent) == {used}


def test_few_large_tasks(monkeypatch):
    orders = []
    submit = executors.Pool.submit
    monkeypatch.setattr(
        executors.Pool, "submit", lambda self, order: orders.append(order) or submit(self, order)
    )
    with ThreadPoolExecutor(2) as e:
        sq.sweep(BASE | {"steps": 10, "record": [10]}, {"rng": range(500)}, executor=e)
    assert len(orders) < 60 and sum(len(o.pieces) for o in orders) == 500


GUARDLESS = """
import seqsgd as sq
task = sq.Task(sq.SSI("sum", L=2), sq.Tied())
sq.sweep({"task": task, "d": 10, "steps": 10, "lr": 0.1}, {"rng": [0, 1]}, executor=2)
"""


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    (tmp_path / "script.py").write_text(GUARDLESS)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert "if __name__ == '__main__'" in done.stderr


ORPHANS = """
import multiprocessing, os, sys, threading, time
import seqsgd as sq

def tell():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    time.sleep(0.7)
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)

if __name__ == "__main__":
    threading.Thread(target=tell, daemon=True).start()
    task = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
    sq.sweep({"task": task, "d": 50, "lr": 0.01, "record": [0]}, {"steps": [10, 10**12]}, executor=2, store=sys.argv[1])
"""


IN_VAIN = """
import sys
import seqsgd as sq
base = {"task": sq.Task(sq.SSI("sum", L=2), sq.Tied()), "d": 10, "steps": 10, "lr": 0.1}
try:
    sq.sweep(base, {"rng": list(range(int(sys.argv[1])))}, executor=2)
except sq.SweepError as e:
    if "imported by a worker" in str(e):
        raise
    print(e)
"""


@pytest.mark.parametrize("cells", [1, 20])
def test_workers_that_cannot_start_are_found_out_however_few_cells_there_are(cells, tmp_path):
    (tmp_path / "script.py").write_text(IN_VAIN)
    done = subprocess.run(
        [sys.executable, "script.py", str(cells)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (
        done.stdout.startswith(
            "executor: its workers die before they begin anything (BrokenProcessPool: "
        )
        and done.stdout.count("\n") == 1
    )


def test_a_program_that_is_no_file_is_refused_at_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-", "2"],
        input=IN_VAIN,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (
        done.stdout.startswith(
            "executor: worker processes import the main program again, and '<stdin>' is no file; "
        )
        and done.stderr == ""
    )


NOTEBOOK = """
import seqsgd as sq
def link(z):
    return z[0]
base = {"task": sq.Task(sq.SSI(link, L=1), sq.Tied()), "d": 10, "steps": 10, "lr": 0.1}
try:
    sq.sweep(base, {"rng": [0, 1]}, executor=2)
except sq.SweepError as e:
    print(e)
"""


def test_a_function_of_a_notebook_is_told_so(tmp_path):
    """It has no file: worker processes cannot find it. One line, and no tracebacks of theirs."""
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (
        "Can't get attribute 'link'" in done.stdout
        and "functions of your own must be in a module" in done.stdout
    )
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def nested(_):
    try:
        return sq.sweep(BASE, {"lr": [0.1]}, rng=0, executor=2).cells_done
    except sq.SweepError as e:
        return str(e)


@pytest.mark.parametrize("kind", ["pool", "loky"])
def test_where_processes_may_not_be_started(kind):
    if kind == "pool":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            said = pool.apply(nested, (0,))
        assert said.startswith(
            "executor: this is a daemonic process (a worker of multiprocessing.Pool, of dask, ...)"
            ", which may not start processes; "
        )
    else:
        loky = pytest.importorskip("joblib.externals.loky").get_reusable_executor(1)
        assert (
            loky.submit(nested, 0)
            .result(timeout=60)
            .startswith("executor: this is a worker process of loky, ")
        )
        loky.shutdown(kill_workers=True)


def test_the_executors_of_others_may_refuse_too():
    class Refuses(ThreadPoolExecutor):
        def submit(self, *_):
            raise AssertionError("daemonic processes are not allowed to have children")

    with (
        Refuses(1) as e,
        pytest.raises(
            sq.SweepError, match="^executor: daemonic processes are not allowed to have children$"
        ),
    ):
        sq.sweep(BASE, GRID, executor=e)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks into /proc")
def test_workers_of_a_killed_parent_end(tmp_path):
    """One is busy, the other idle."""
    (tmp_path / "script.py").write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, "script.py", "s"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = [int(x) for x in process.stdout.readline().split()]
    assert len(pids) == 2 and all(map(alive, pids))
    process.kill()
    killed = time.monotonic()
    until(lambda: not any(map(alive, pids)), 15)
    print(f"all gone after {time.monotonic() - killed:.1f} s")
    process.communicate()


MPI = """
import json, sys
from mpi4py.futures import MPIPoolExecutor
import seqsgd as sq
from sweeping import BASE, GRID, HEAVY, same

if __name__ == "__main__":
    with MPIPoolExecutor() as e:
        for grid in (GRID, HEAVY):
            same(sq.sweep(BASE, grid, rng=0, executor=e), sq.sweep(BASE, grid, rng=0))
        print(json.dumps(e.num_workers))
"""


def test_mpi(tmp_path):
    """Where mpi4py and mpiexec are installed (`pip install mpi4py mpich`)."""
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec") or shutil.which(
        "mpiexec", path=os.path.dirname(sys.executable)
    )
    if mpiexec is None:
        pytest.skip("no mpiexec")
    (tmp_path / "script.py").write_text(MPI)
    path = os.pathsep.join([os.path.dirname(mpiexec), os.environ["PATH"]])
    done = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment("sweeps", PATH=path),
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout) == 2, done.stderr
