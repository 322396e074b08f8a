"""What has to be known of executors: how many workers, where they are, and how to have a new one when a worker's death broke it."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import pickle
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from .. import _checks
from .._run import cores
from ..errors import SweepError
from . import owner
from .jobs import JobExecutor, is_submitit
from .worker import Order, compute, initialize

LARGEST = 4096  # workers
STUCK = 2.0  # seconds in which an executor should have noticed that a worker died


class Pool:
    """An executor as a sweep uses it.

    Parameters
    ----------
    executor : concurrent.futures.Executor, submitit executor or int
        A number: that many processes of our own, started afresh (spawn). Of submitit: jobs of our
        own that it submits.
    """

    _jobs: JobExecutor | None = None

    def __init__(self, executor: Any) -> None:
        if is_submitit(executor):
            executor = self._jobs = JobExecutor(executor)
        self._ours = not isinstance(executor, Executor)
        self._died: float | None = None
        self._executor = executor if isinstance(executor, Executor) else _processes(_checks.integer("executor", executor, 1, LARGEST))

    @property
    def workers(self) -> int:
        """How many tasks are worked on at a time."""
        client = getattr(self._executor, "_client", None)
        if client is not None and hasattr(client, "nthreads"):  # dask.distributed: workers may come and go
            return max(1, sum(int(n) for n in client.nthreads().values()))
        for name in ("_max_workers", "num_workers"):
            n = getattr(self._executor, name, None)
            if isinstance(n, int) and n > 0:
                return n
        return cores()

    @property
    def local(self) -> bool:
        """Whether the workers are threads or processes of this machine."""
        return isinstance(self._executor, (ThreadPoolExecutor, ProcessPoolExecutor)) or self._loky is not None

    @property
    def _loky(self) -> Any:
        module = type(self._executor).__module__
        return importlib.import_module(module) if "loky" in module and module.endswith("reusable_executor") else None

    def submit(self, order: Order) -> Future[Any]:
        """Send an order off."""
        future: Future[Any] = self._executor.submit(compute, order)
        return future

    @property
    def guard(self) -> bool:
        """Whether the workers are child processes without a guard of their own."""
        return isinstance(self._executor, ProcessPoolExecutor) or self._loky is not None

    def free(self) -> None:
        """A worker killed while it sends a result leaves half a message and a lock, for which its executor waits for ever: after a while, break what is broken."""
        if self._killed(self._children()):
            with contextlib.suppress(Exception):
                parts: Any = self._executor
                parts._result_queue._writer.close()  # the last one that is open: its reader now sees the end

    def _children(self) -> list[Any]:
        processes = getattr(self._executor, "_processes", None) if self.guard else None
        return list(processes.values()) if processes else []

    def _killed(self, processes: list[Any]) -> bool:
        """Whether one of these workers died a while ago; all others are killed then."""
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
        """After a worker's death: an executor of the same kind, where the old one does not go on by itself."""
        self._died = None
        old: Any = self._executor
        if self._loky is not None:
            self._executor = self._loky.get_reusable_executor(max_workers=old._max_workers, reuse="auto", kill_workers=False)
        elif isinstance(old, ProcessPoolExecutor):
            parts: Any = old  # what is asked for has no public name
            workers, context, initializer, initargs = parts._max_workers, parts._mp_context, parts._initializer, parts._initargs
            old.shutdown(wait=False, cancel_futures=True)
            self._executor = ProcessPoolExecutor(workers, mp_context=context, initializer=initializer, initargs=initargs)
            self._ours = True

    def close(self) -> None:
        """End the jobs and processes that are ours. One that was killed just before may have held the lock on orders, for which another would wait for ever."""
        if self._jobs is not None:
            self._jobs.shutdown(wait=False, cancel_futures=True)
        if self._ours:
            processes = self._children()
            self._executor.shutdown(wait=False, cancel_futures=True)
            while any(p.is_alive() for p in processes):
                self._killed(processes)
                time.sleep(0.01)


def _processes(n: int) -> ProcessPoolExecutor:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SweepError("executor: this module is being imported by a worker of the sweep it starts; put the call under `if __name__ == '__main__':`")
    return ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn"), initializer=initialize, initargs=(owner.name(),))


def lost(error: BaseException) -> bool:
    """Whether a future's exception means that a worker was lost; else the order could not be sent, or its answer, and would fail again."""
    if isinstance(error, CancelledError):
        return True
    if isinstance(error, (pickle.PicklingError, AttributeError, TypeError, ImportError)):
        return False
    return not any(word in f"{type(error).__name__} {error}".lower() for word in ("pickl", "serializ"))


__all__ = ["Pool", "lost"]
