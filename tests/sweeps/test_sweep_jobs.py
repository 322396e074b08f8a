"""Jobs of a batch system as workers, tried through submitit's executor of this machine."""

import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor

import pytest
import seqsgd as sq
from seqsgd.sweeps.jobs import JobExecutor, JobLost
from sweeping import BASE, GRID, HEAVY, same, until

submitit = pytest.importorskip("submitit")


@pytest.fixture
def local(tmp_path):
    """An executor of submitit that starts its jobs on this machine."""
    executor = submitit.AutoExecutor(tmp_path / "logs", cluster="local")
    executor.update_parameters(timeout_min=5, slurm_array_parallelism=2)
    return executor


def test_a_sweep_by_jobs_gives_the_same_bits(local, tmp_path):
    r = sq.sweep(BASE, GRID, rng=0, executor=local)
    same(r, sq.sweep(BASE, GRID, rng=0))
    assert not [p for p in (tmp_path / "logs").iterdir() if p.is_dir()]  # nothing but its logs


def test_the_plan_of_a_sweep_by_jobs(local):
    assert sq.plan(sq.Sweep(BASE, GRID, rng=0), executor=local).workers == 2


def test_jobs_serve_several_sweeps(local):
    with JobExecutor(local, workers=2) as jobs:
        assert jobs.num_workers == 2
        for grid in (GRID, HEAVY):
            same(sq.sweep(BASE, grid, rng=0, executor=jobs), sq.sweep(BASE, grid, rng=0))
        assert len(jobs._jobs) <= 2
        running = list(jobs._jobs.values())
    until(lambda: all(job.done() for job in running))
    with pytest.raises(RuntimeError, match="after shutdown"):
        jobs.submit(os.getpid)


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.mark.slow
def test_a_killed_job_loses_its_task_and_no_other(local, tmp_path):
    with JobExecutor(local, workers=1) as jobs:
        first = jobs.submit(die_once, str(tmp_path / "flag"))
        others = [jobs.submit(pow, 2, k) for k in range(3)]
        with pytest.raises(JobLost, match="ended without a result"):
            first.result(60)
        assert [f.result(60) for f in others] == [1, 2, 4]  # by the job that took its place
        assert jobs.submit(die_once, str(tmp_path / "flag")).result(60) == "done"


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_jobs_that_always_die_are_given_up(local):
    with JobExecutor(local, workers=1) as jobs:
        for _ in range(3):
            with pytest.raises(JobLost):
                jobs.submit(die, 0).result(60)
        with pytest.raises(BrokenExecutor, match="3 jobs in a row ended without a result"):
            jobs.submit(pow, 2, 3)


def test_what_a_task_raises_and_what_is_local(local):
    factor = 3
    with JobExecutor(local, workers=1) as jobs:
        with pytest.raises(ZeroDivisionError):
            jobs.submit(divmod, 1, 0).result(60)
        assert jobs.submit(lambda x: factor * x, 2).result(60) == 6  # functions of a notebook too


@pytest.mark.slow
def test_interrupting_a_sweep_ends_its_jobs(local, tmp_path):
    long = BASE | {"d": 400, "steps": 10**8, "runs": 1, "record": [0, 10**8]}

    def interrupt():
        until(lambda: list((tmp_path / "logs").glob("seqsgd-*/taken/*")))
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    with pytest.raises(sq.SweepInterrupted, match="interrupted after 0 of 6 cells"):
        sq.sweep(long, {"lr": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]}, rng=0, executor=local)
    thread.join()
    assert time.monotonic() - started < 30
    until(lambda: not list((tmp_path / "logs").glob("seqsgd-*")))


def test_the_number_of_jobs(local):
    with pytest.raises(TypeError, match="^executor: expected a submitit executor, got 3"):
        JobExecutor(3)
    with pytest.raises(ValueError, match="^workers: expected an integer in"):
        JobExecutor(local, workers=0)
