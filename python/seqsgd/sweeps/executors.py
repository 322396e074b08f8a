"""Properties of executors: the number of workers, where they run, and how to replace an executor
that a worker's death broke.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pickle
import sys
import time
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from numbers import Real
from pathlib import Path
from typing import Any

from .. import _checks
from .._signals import deferred, signalled
from ..errors import SweepError
from ..models.simulation import cores
from . import owner
from .jobs import JobExecutor, is_submitit
from .worker import Job, compute, compute_packed, initialize

LARGEST = 4096  # workers
STUCK = 2.0  # seconds in which an executor should have noticed that a worker died
START = 1.0  # seconds to start processes of our own
ENDING = 10.0  # seconds until our workers are killed; before that they may write checkpoints
INSTEAD = "use executor=None or a ThreadPoolExecutor"
HURRY = 1.0  # the same after a second Ctrl-C


def check(executor: object) -> None:
    """Refuse what is neither an executor nor a number, and say where its library provides one."""
    if isinstance(executor, Executor) or is_submitit(executor):
        return
    if isinstance(executor, Real):
        _checks.integer("executor", executor, 1, LARGEST)
        return
    kind = executor if isinstance(executor, str) else type(executor).__module__.split(".")[0]
    if kind in ("distributed", "dask") or hasattr(executor, "get_executor"):
        hint = "; with dask.distributed: client.get_executor(pure=False)"
    elif kind in ("joblib", "loky"):
        hint = "; with joblib: joblib.externals.loky.get_reusable_executor(2)"
    else:
        hint = ""
    raise TypeError(
        "executor: expected None, a number of processes or a concurrent.futures.Executor, "
        f"got {_checks.short(executor)}{hint}"
    )


class Pool:
    """An executor with the interface that a sweep uses.

    Parameters
    ----------
    executor : concurrent.futures.Executor, submitit executor or int
        A number starts that many processes (spawn). An executor of submitit submits jobs as
        workers.
    """

    _jobs: JobExecutor | None = None

    def __init__(self, executor: Any) -> None:
        check(executor)
        if is_submitit(executor):
            executor = self._jobs = JobExecutor(executor)
        self._ours = not isinstance(executor, Executor)
        self._died: float | None = None
        self.hurry = False  # whether workers that do not stop are killed soon
        self._executor = (
            executor
            if isinstance(executor, Executor)
            else _processes(_checks.integer("executor", executor, 1, LARGEST))
        )

    @property
    def workers(self) -> int:
        """Number of simultaneous tasks."""
        client = getattr(self._executor, "_client", None)
        if client is not None and hasattr(
            client, "nthreads"
        ):  # dask.distributed: workers may come and go
            return max(1, sum(int(n) for n in client.nthreads().values()))
        for name in ("_max_workers", "num_workers"):
            n = getattr(self._executor, name, None)
            if isinstance(n, int) and n > 0:
                return n
        return cores()

    @property
    def start(self) -> float:
        """Seconds until its workers have started."""
        return START if self._ours else 0.0

    @property
    def local(self) -> bool:
        """Whether the workers are threads or processes of this machine."""
        return (
            isinstance(self._executor, (ThreadPoolExecutor, ProcessPoolExecutor))
            or self._loky is not None
        )

    @property
    def _loky(self) -> Any:
        module = type(self._executor).__module__
        return (
            importlib.import_module(module)
            if "loky" in module and module.endswith("reusable_executor")
            else None
        )

    def submit(self, job: Job) -> Future[Any]:
        """Submit a job. Errors become a SweepError, unless the executor is broken."""
        try:
            if not isinstance(self._executor, ProcessPoolExecutor):
                return self._executor.submit(compute, job)  # with its own way to pickle, or none
            packed = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
            starts = deferred() if self._ours else contextlib.nullcontext()
            with starts:  # processes, the first few times
                return self._executor.submit(compute_packed, packed)
        except BrokenExecutor:
            raise
        except Exception as e:
            if signalled(e):
                raise
            if not lost(e):
                raise unsent(e) from None
            text = " ".join(str(e).split()) or type(e).__name__
            raise SweepError(f"executor: {text}") from None

    @property
    def guard(self) -> bool:
        """Whether the workers are child processes that do not yet end with their parent."""
        return isinstance(self._executor, ProcessPoolExecutor) or self._loky is not None

    def free(self) -> None:
        """Break an executor that waits for a killed worker.

        A worker killed while it sends a result leaves half a message and a lock, for which its
        executor would wait forever.
        """
        if self._killed(self._children()):
            self._unblock()

    def _unblock(self) -> None:
        with contextlib.suppress(Exception):
            parts: Any = self._executor
            # The last one that is open: its reader now sees the end.
            parts._result_queue._writer.close()

    def _children(self) -> list[Any]:
        processes = getattr(self._executor, "_processes", None) if self.guard else None
        return list(processes.values()) if processes else []

    def _killed(self, processes: list[Any]) -> bool:
        """Return whether one of these workers died some time ago; then kill all others."""
        if all((p.exitcode or 0) == 0 for p in processes):
            self._died = None
        elif self._died is None:
            self._died = time.monotonic()
        elif time.monotonic() - self._died > STUCK:
            for p in processes:
                p.kill()
            self._died = None
            return True
        return False

    def revive(self) -> None:
        """Return a new executor of the same kind after a worker's death, if the old one cannot
        continue.
        """
        self._died = None
        old: Any = self._executor
        if self._loky is not None:
            self._executor = self._loky.get_reusable_executor(
                max_workers=old._max_workers, reuse="auto", kill_workers=False
            )
        elif isinstance(old, ProcessPoolExecutor):
            parts: Any = old  # the parts needed have no public names
            workers, context, initializer, initargs = (
                parts._max_workers,
                parts._mp_context,
                parts._initializer,
                parts._initargs,
            )
            old.shutdown(wait=False, cancel_futures=True)
            self._executor = ProcessPoolExecutor(
                workers, mp_context=context, initializer=initializer, initargs=initargs
            )
            self._ours = True

    def close(self) -> None:
        """End the jobs and processes that this object started.

        A process killed just before may have held the lock on jobs, for which another would wait
        forever.
        """
        if self._jobs is not None:
            self._jobs.shutdown(wait=False, cancel_futures=True)
        if not self._ours:
            return
        processes = self._children()
        self._executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + (HURRY if self.hurry else ENDING)
        try:
            while any(p.is_alive() for p in processes) and time.monotonic() < deadline:
                self._killed(processes)
                time.sleep(0.01)
        finally:  # also at another Ctrl-C
            if left := [p for p in processes if p.is_alive()]:
                for p in left:
                    p.kill()
                self._unblock()


def check_processes() -> None:
    """Refuse process pools where processes cannot be started or could not import what they need."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        raise SweepError(
            "executor: this module is being imported by a worker of the sweep it starts; put the "
            "call under `if __name__ == '__main__':`"
        )
    if process.daemon:
        raise SweepError(
            "executor: this is a daemonic process (a worker of multiprocessing.Pool, of dask, ...)"
            f", which may not start processes; {INSTEAD}"
        )
    method = multiprocessing.get_start_method(allow_none=True)
    if method not in (None, *multiprocessing.get_all_start_methods()):
        raise SweepError(
            f"executor: this is a worker process of {method}, which may not start other "
            f"processes; {INSTEAD}"
        )
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if (
        path is not None
        and getattr(main, "__spec__", None) is None
        and not getattr(sys, "frozen", False)
        and Path(path).stem != "ipython"
        and not os.path.exists(path)
    ):
        raise SweepError(
            f"executor: worker processes import the main program again, and {path!r} is no file; "
            f"put it into one, or {INSTEAD}"
        )


def _processes(n: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        n,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=initialize,
        initargs=(owner.name(),),
    )


def one_line(error: BaseException) -> str:
    """Return an exception as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def unsent(error: BaseException) -> SweepError:
    """Return the error to raise if a job does not reach a worker."""
    return SweepError(
        f"executor: a cell or its result cannot be sent to a worker ({one_line(error)}); "
        "functions of your own must be in a module (a file) that workers can import, not in a "
        "notebook or within a function; or use a ThreadPoolExecutor, or joblib's "
        "get_reusable_executor()"
    )


def lost(error: BaseException) -> bool:
    """Return whether a future's exception means that a worker was lost.

    Otherwise the job or its result could not be sent, and would fail again.
    """
    if isinstance(error, CancelledError):
        return True
    if isinstance(error, (pickle.PicklingError, AttributeError, TypeError, ImportError)):
        return False
    return not any(
        word in f"{type(error).__name__} {error}".lower() for word in ("pickl", "serializ")
    )


__all__ = ["Pool", "check", "check_processes", "lost", "one_line", "unsent"]
