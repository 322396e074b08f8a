"""Jobs of a batch system (Slurm, through submitit) as the workers of an executor.

A job waits in a queue for seconds or hours; a task of a sweep takes seconds. So each job is a
worker that takes task after task from a folder on the shared file system.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

from .. import _checks
from ..models.simulation import cores
from . import owner

TURN = 0.2  # seconds between looks at the folder
SILENCE = 120.0  # seconds without a sign of life after which the other side is taken for dead
BEAT = 10.0  # seconds between signs of life
LOSSES = 3  # jobs in a row that end without a result before the executor is given up


class JobLost(RuntimeError):
    """A job ended (killed, preempted, out of time) while it worked on a task."""


class JobExecutor(Executor):
    """Jobs of submitit as the workers of a :mod:`concurrent.futures` executor.

    :func:`seqsgd.sweep` makes one if its `executor` is a submitit executor. Make it yourself to
    choose the number of jobs. All machines must see the folder of the submitit executor.

    Parameters
    ----------
    executor : submitit executor
        Set its time limit, memory and partition by `update_parameters`. A job that reaches its time
        limit is replaced; long cells continue from their checkpoints.
    workers : int, optional
        Number of simultaneous jobs. None uses its `slurm_array_parallelism` if that is set,
        otherwise the number of cores of this machine.
    """

    def __init__(self, executor: Any, workers: int | None = None) -> None:
        if not is_submitit(executor):
            raise TypeError(
                f"executor: expected a submitit executor, got {_checks.short(executor)}"
            )
        workers = jobs_of(executor) if workers is None else workers
        self.num_workers = _checks.integer("workers", workers, 1, 4096)
        folder = Path(str(executor.folder).split("%j")[0])
        folder.mkdir(parents=True, exist_ok=True)
        self._executor = executor
        self._folder = Path(tempfile.mkdtemp(prefix="seqsgd-", dir=folder))
        for name in ("orders", "taken", "answers"):
            (self._folder / name).mkdir()
        self._go = self._folder / "go"
        self._go.write_text(owner.name())
        self._lock = threading.Lock()
        self._futures: dict[str, Future[Any]] = {}
        self._jobs: dict[str, Any] = {}
        self._made = self._lost = 0
        self._closed = False
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="seqsgd-jobs")
        self._watcher.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Put a call where the next free job finds it."""
        text = _dumps((fn, args, kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._lost >= LOSSES:
                raise BrokenExecutor(f"{LOSSES} jobs in a row ended without a result")
            future: Future[Any] = Future()
            name = f"{self._made:09d}"
            self._made += 1
            self._futures[name] = future
            _write(self._folder / "orders" / name, text)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the jobs: after their present task (wait), or cancelled."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                for future in self._futures.values():
                    future.cancel()
        if not wait:
            self._end()
        elif threading.current_thread() is not self._watcher:
            self._watcher.join()

    def _watch(self) -> None:
        """Move answers into futures, replace lost jobs, and renew the heartbeat."""
        beaten = time.monotonic()
        while not (self._closed and not self._futures):
            if not self._go.exists():
                return
            if time.monotonic() - beaten > BEAT:
                beaten = time.monotonic()
                with contextlib.suppress(OSError):
                    os.utime(self._go)
            try:
                with self._lock:
                    self._look()
            except Exception as e:
                self._fail(e)
                return
            time.sleep(TURN)
        self._end()

    def _look(self) -> None:
        for name, future in list(self._futures.items()):
            answer = self._folder / "answers" / name
            if answer.exists():
                good, value = pickle.loads(answer.read_bytes())
                answer.unlink()
                self._lost = 0
                self._settle(name, value if good else None, None if good else value)
            elif future.cancelled():
                with contextlib.suppress(OSError):
                    (self._folder / "orders" / name).unlink()
                del self._futures[name]
            elif not (self._folder / "orders" / name).exists() and not future.running():
                future.set_running_or_notify_cancel()
        ended = [number for number, job in self._jobs.items() if job.done()]
        for number in ended:
            self._jobs.pop(number)
            lost = [p.name.split(".")[0] for p in (self._folder / "taken").glob(f"*.{number}")]
            lost = [n for n in lost if n in self._futures]
            lost = [n for n in lost if not (self._folder / "answers" / n).exists()]
            self._lost += bool(lost)
            for name in lost:
                self._settle(name, None, JobLost("its job ended without a result"))
        waiting = len(self._futures)
        while len(self._jobs) < min(self.num_workers, waiting) and self._lost < LOSSES:
            number = f"{time.time_ns():x}"
            self._jobs[number] = self._executor.submit(
                serve, str(self._folder), number, list(sys.path)
            )

    def _settle(self, name: str, value: Any, error: BaseException | None) -> None:
        future = self._futures.pop(name)
        if future.cancelled() or (
            not future.running() and not future.set_running_or_notify_cancel()
        ):
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def _fail(self, error: Exception) -> None:
        """Fail all calls: the batch system does not accept jobs, or the folder is gone."""
        self._lost = LOSSES
        for name in list(self._futures):
            self._settle(
                name, None, BrokenExecutor(" ".join(f"{type(error).__name__}: {error}".split()))
            )

    def _end(self) -> None:
        self._go.unlink(missing_ok=True)
        for job in self._left():
            with contextlib.suppress(Exception):
                job.cancel()
        self._left()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _left(self) -> list[Any]:
        """Return the jobs that have not ended after a few seconds."""
        deadline = time.monotonic() + 3
        while (
            left := [j for j in self._jobs.values() if not j.done()]
        ) and time.monotonic() < deadline:
            time.sleep(TURN / 4)
        return left


def serve(folder: str, number: str, path: list[str]) -> int:
    """Work on calls in their order until the executor is gone; return how many were done."""
    sys.path += [entry for entry in path if entry not in sys.path]  # for the user's modules
    root = Path(folder)
    go, done = root / "go", 0
    beat, heard = 0.0, time.monotonic()
    while True:
        try:
            now, waiting = go.stat().st_mtime, go.read_text()
        except OSError:
            return done
        if now != beat:
            beat, heard = now, time.monotonic()
        if time.monotonic() - heard > SILENCE or not owner.alive(waiting):
            return done
        name = _take(root, number)
        if name is None:
            time.sleep(TURN)
            continue
        taken = root / "taken" / f"{name}.{number}"
        try:
            fn, args, kwargs = pickle.loads(taken.read_bytes())
            answer = _dumps((True, fn(*args, **kwargs)))
        except Exception as e:
            answer = _dumps((False, e))
        with contextlib.suppress(OSError):  # nobody waits any more
            _write(root / "answers" / name, answer)
            taken.unlink()
        done += 1


def _take(root: Path, number: str) -> str | None:
    """Claim a call by renaming its file, which succeeds for one worker only."""
    with contextlib.suppress(OSError):
        for path in sorted((root / "orders").iterdir()):
            if not path.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                path.rename(root / "taken" / f"{path.name}.{number}")
                return path.name
    return None


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _dumps(value: Any) -> bytes:
    try:
        import cloudpickle  # comes with submitit; takes functions of notebooks and scripts too
    except ImportError:
        return pickle.dumps(value)
    data: bytes = cloudpickle.dumps(value)
    return data


def jobs_of(executor: Any) -> int:
    """Return the default number of simultaneous jobs of a submitit executor."""
    inner = getattr(executor, "_executor", executor)
    return int(inner.parameters.get("array_parallelism") or cores())


def is_submitit(executor: object) -> bool:
    """Return whether this is an executor of submitit, without importing submitit."""
    return any(
        t.__module__.startswith("submitit.") and t.__name__ == "Executor"
        for t in type(executor).__mro__
    )


__all__ = ["JobExecutor", "JobLost", "is_submitit", "jobs_of"]
