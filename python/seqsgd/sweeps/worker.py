"""The work of a worker: compute a few pieces, write checkpoints at intervals, and check whether the
results are still needed.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .. import _core
from .._signals import signalled
from ..dynamics.protocol import Resumable
from ..models.recording import Steps
from ..results import provenance
from ..results.checkpoint import Checkpoint
from ..simulate import Execution
from .fingerprint import check
from .owner import alive, near
from .piece import Outcome, Piece, encode

Watch = Callable[[int], bool]

SHORT = 5.0  # seconds: what took less is not worth a checkpoint when it ends
SILENCE = 120.0  # seconds without a sign of life after which the parent is taken for dead
LOOK = 0.2  # seconds between looks at the files


class DeferredCheckpoint(Checkpoint):
    """A checkpoint that is first written after `every` seconds, so that short pieces leave no
    files.
    """

    every = 60.0
    trusting = True  # it belongs to one cell of one sweep

    def save(self, engine: Resumable, grid: Steps, wall_time: float) -> None:
        if wall_time >= min(self.every, SHORT):
            super().save(engine, grid, wall_time)


def compute_piece(piece: Piece, work: Path | None, every: float, watch: Watch) -> Outcome | None:
    """Compute one piece, from its checkpoint if there is one; None if `watch(run_steps)` ended it.

    Errors of the cell are in the outcome. Other errors are raised: exceptions of `watch` and of
    signal handlers (a time limit).
    """
    ended = False
    watching: list[BaseException] = []

    def callback(done: int, total: int) -> bool:
        nonlocal ended
        try:
            ended = ended or watch(
                done
            )  # for good: threads that are slow to pause leave time for another look
        except BaseException as e:
            watching.append(e)
            raise
        return ended

    started = time.monotonic()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    place = (piece.cell, piece.key, piece.run.first_run, piece.run.runs)
    try:
        check(piece.run, piece.seed, piece.key)
        execution = _execution(piece, work, every, callback)
        try:
            execution.advance()
        except BaseException:
            execution.save()
            raise
        if ended:
            return None
        header, grid, data = encode(
            execution.engine.variables(),
            execution.grid,
            piece.run.schedule.integral(execution.grid) / piece.run.d,
        )
        nonfinite = int((np.asarray(execution.engine.nonfinite()) >= 0).sum())
        return Outcome(*place, execution.wall_time(), header, grid, data, _origin(), now, nonfinite)
    except Exception as e:
        if e in watching or signalled(e):
            raise
        text = " ".join(f"{type(e).__name__}: {e}".split())
        return Outcome(
            *place,
            time.monotonic() - started,
            error=text,
            traceback=traceback.format_exc(),
            created=now,
        )


def _execution(
    piece: Piece, work: Path | None, every: float, callback: Callable[[int, int], bool]
) -> Execution:
    if work is None or not work.is_dir():
        return Execution(piece.run, piece.seed, None, every, False, callback)
    saved = DeferredCheckpoint(work / f"{piece.stem}.npz", piece.run, piece.seed)
    saved.every = every
    if saved.exists():
        try:
            saved.load(adopt=False)
            return Execution(piece.run, piece.seed, saved, every, False, callback)
        except ValueError as e:  # of another version or instruction set, or damaged: computed again
            if signalled(e):
                raise
            saved.path.unlink(missing_ok=True)
            return _execution(piece, work, every, callback)
    return Execution(piece.run, piece.seed, saved, every, False, callback)


def _origin() -> str:
    return json.dumps({"simd": _core.level, "versions": provenance.versions()})


@dataclass(frozen=True)
class Job:
    """A task for a worker.

    Attributes
    ----------
    number, attempt : int
    pieces : tuple of Piece
    work : str
        Folder of the checkpoints.
    life : str
        Folder whose file `go` exists and is fresh as long as the results are needed.
    owner : str
        The process that waits.
    every : float
        Seconds between checkpoints.
    limit : float
        Seconds after which no further piece is started.
    guard : bool
        Whether the worker is a process that should end with the one that waits.
    """

    number: int
    attempt: int
    pieces: tuple[Piece, ...]
    work: str
    life: str
    owner: str
    every: float
    limit: float
    guard: bool


def compute(job: Job) -> list[Outcome]:
    """Compute the outcomes of a job. Pieces without an outcome were not finished."""
    started = time.monotonic()
    outcomes: list[Outcome] = []
    life = _Heartbeat(job)
    with _undisturbed(job.guard, job.owner):
        for piece in job.pieces:
            if life.watch(0) or (outcomes and time.monotonic() - started > job.limit):
                break
            try:
                outcome = compute_piece(piece, Path(job.work), job.every, life.watch)
            except (KeyboardInterrupt, Exception):
                break  # a signal to this worker: no fault of the cell, which is sent again
            if outcome is None:
                break
            outcomes.append(outcome)
            life.done(piece.run_steps)
    return outcomes


def compute_packed(job: bytes) -> list[Outcome]:
    """Compute a pickled job.

    A worker process of an executor that cannot unpickle its input would die.
    """
    try:
        unpacked = pickle.loads(job)
    except Exception as e:
        raise pickle.UnpicklingError(" ".join(f"{type(e).__name__}: {e}".split())) from None
    return compute(unpacked)


class _Heartbeat:
    """Checks at intervals whether the results are still needed, and reports the progress of the
    job.
    """

    def __init__(self, job: Job) -> None:
        self.owner = job.owner
        self.go = Path(job.life, "go")
        self.progress = Path(job.life, f"{job.number}.progress")
        # Without `go` a worker on another machine, with other files, knows nothing. One on this
        # machine knows that nobody waits: its job was queued when the sweep ended.
        self.shared = job.guard or near(job.owner) or self.go.exists()
        self.before = 0
        self.beat, self.heard = 0.0, time.monotonic()
        self.next = 0.0

    def done(self, run_steps: int) -> None:
        self.before += run_steps

    def watch(self, run_steps: int) -> bool:
        """Return whether the results are no longer needed; checks the files at the beginning and at
        intervals.
        """
        now = time.monotonic()
        if now < self.next or not self.shared:
            return False
        self.next = now + LOOK
        with contextlib.suppress(OSError):
            self.progress.write_text(str(self.before + run_steps))
        try:
            beat = self.go.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a network file system that is away for a moment
            beat = self.beat
        if beat != self.beat:
            self.beat, self.heard = beat, now
        return now - self.heard > SILENCE or not alive(self.owner)


@contextlib.contextmanager
def _undisturbed(guard: bool, owner: str) -> Iterator[None]:
    """Ignore Ctrl-C in a worker process, since the parent handles it, and watch for the parent's
    death.
    """
    if not guard or multiprocessing.parent_process() is None:
        yield
        return
    _end_with_parent(owner)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_guards: list[threading.Thread] = []


def _end_with_parent(owner: str) -> None:
    """End idle workers of a killed parent, which would wait forever."""
    if _guards and _guards[0].is_alive():
        return

    def wait() -> None:
        while alive(owner):
            time.sleep(0.5)
        time.sleep(2)  # a checkpoint may be under way
        os._exit(1)

    _guards[:] = [threading.Thread(target=wait, daemon=True, name="seqsgd-parent")]
    _guards[0].start()


def initialize(owner: str) -> None:
    """Initialise a worker process that a sweep started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent(owner)
