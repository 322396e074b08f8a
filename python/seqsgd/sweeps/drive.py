"""Carry out a sweep: send tasks to workers, receive outcomes, and store them from this process
only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from datetime import UTC, datetime
from typing import Any

from ..errors import SweepError
from ..models.simulation import cores
from . import owner
from .definition import Cell, Sweep
from .executors import Pool, lost, one_line, unsent
from .piece import Outcome, Piece, gaps
from .progress import Progress
from .scratch import Scratch
from .store import Store
from .worker import SHORT, Job, compute_piece

CLAIM = 60.0  # seconds that a claim outlives the last sign of life of its owner
ATTEMPTS = 3  # deaths of workers that a piece may be near, the last one alone
USELESS = 2  # sets of workers of which none begins anything, until the executor is given up
PATIENCE = 3.0  # seconds to wait for workers after the order to stop
LIMIT = 15.0  # seconds after which a worker hands in what it has
TURN = 0.25  # seconds between looks around

Task = tuple[Piece, ...]


class Drive:
    """The state of a running sweep."""

    def __init__(
        self,
        sweep: Sweep,
        cells: Sequence[Cell],
        tasks: Iterable[Task],
        store: Store,
        scratch: Scratch,
        progress: Progress,
        errors: str,
        every: float,
    ) -> None:
        self.sweep, self.cells, self.store, self.scratch, self.progress, self.errors, self.every = (
            sweep,
            cells,
            store,
            scratch,
            progress,
            errors,
            every,
        )
        self.tasks = deque(tasks)
        self.deferred: list[Piece] = []  # another process is at them
        self.parts = Counter(p.cell for task in self.tasks for p in task)
        self.owner = owner.name()
        self.failed: list[Outcome] = []
        self.nonfinite = 0
        store.release()

    # what both ways share

    def take(self) -> Task | None:
        """Return the next task that this process may compute; None if there is none at the
        moment.
        """
        while self.tasks:
            task = self.tasks.popleft()
            mine = self.store.claim(task, self.owner, CLAIM)
            self.deferred += [p for p, ok in zip(task, mine, strict=True) if not ok]
            left = self._missing([p for p, ok in zip(task, mine, strict=True) if ok])
            if left:
                return left
        return None

    def _missing(self, pieces: Sequence[Piece]) -> Task:
        """Return a task without the pieces that other processes have stored in the meantime."""
        there = self.store.there({p.key for p in pieces})
        left = []
        for p in pieces:
            if gaps(p.run.first_run, p.run.runs, there.get(p.key, [])):
                left.append(p)
            else:
                self._count(p)
        return tuple(left)

    def wait_for_others(self) -> None:
        """Check again the pieces that other processes had claimed: they are stored, still claimed,
        or free.
        """
        self.store.release()
        self.tasks.extend((p,) for p in self._missing(self.deferred))
        self.deferred = []

    def finish(self, outcomes: Sequence[tuple[Piece, Outcome]]) -> None:
        """Store the outcomes of a task."""
        if not outcomes:
            return
        self.store.put(
            [o for _, o in outcomes], {p.key: self.cells[p.cell].input() for p, _ in outcomes}
        )
        for p, o in outcomes:
            self._count(p)
            self.nonfinite += o.nonfinite
            if o.error:
                self.failed.append(o)
            if o.seconds >= min(self.every, SHORT):
                self.scratch.forget(p.stem)
        if self.failed and self.errors == "raise":
            raise SweepError(f"{self.sweep.locate(self.failed[0].cell)}: {self.failed[0].error}")

    def _count(self, p: Piece) -> None:
        self.progress.piece(p.run_steps, p.seconds)
        self.parts[p.cell] -= 1
        if self.parts[p.cell] == 0:
            self.progress.cell()

    def beat(self) -> None:
        """Renew the heartbeat for workers and the claims for other processes."""
        if self.scratch.beat():
            self.store.renew(self.owner, CLAIM)

    # in this process

    def here(self) -> None:
        """Compute all tasks in sequence, with threads within the core."""
        while self.tasks or self.deferred:
            while task := self.take():
                for piece in task:
                    outcome = compute_piece(piece, self.scratch.work, self.every, self._watch)
                    assert outcome is not None
                    self.finish([(piece, outcome)])
                    self.progress.in_flight(0)
            if self.deferred:
                time.sleep(TURN)
                self.beat()
                self.wait_for_others()

    def _watch(self, run_steps: int) -> bool:
        self.progress.in_flight(run_steps)
        self.beat()
        return False

    # by an executor

    def away(self, pool: Pool) -> None:
        """Compute all tasks by the workers of an executor."""
        ExecutorRunner(self, pool).go()


class ExecutorRunner:
    """Tasks submitted to an executor."""

    def __init__(self, drive: Drive, pool: Pool) -> None:
        self.drive, self.pool = drive, pool
        self.in_flight: dict[Future[Any], Job] = {}
        self.tries: Counter[str] = Counter()
        self.alone: list[Piece] = []  # of those that saw workers die more than once: one at a time
        self.number = 0
        self.losses_in_a_row = 0  # sets of workers that were lost since an outcome came
        self.idle = 0  # those of them that had begun nothing
        self.begun = False  # whether the present ones have begun anything
        self.why = ""

    def go(self) -> None:
        d = self.drive
        try:
            while d.tasks or d.deferred or self.alone or self.in_flight:
                self._send()
                if self.in_flight:
                    done, _ = wait(self.in_flight, timeout=TURN, return_when=FIRST_COMPLETED)
                    self._receive(done)
                elif d.deferred:
                    time.sleep(TURN)
                    d.wait_for_others()
                self.pool.free()
                d.beat()
                d.progress.in_flight(d.scratch.progress(o.number for o in self.in_flight.values()))
        except BaseException:
            self._stop()
            raise

    def _send(self) -> None:
        window = 2 * self.pool.workers
        while len(self.in_flight) < window and (task := self.drive.take()):
            self._submit(task)
        if not self.in_flight and self.alone:
            self._submit((self.alone.pop(),))

    def _submit(self, task: Task) -> None:
        self.number += 1
        d = self.drive
        task = tuple(p._replace(run=self._threads(p)) for p in task)
        attempt = max(self.tries[p.stem] for p in task)
        job = Job(
            self.number,
            attempt,
            task,
            str(d.scratch.work),
            str(d.scratch.life),
            d.owner,
            d.every,
            LIMIT,
            self.pool.guard,
        )
        try:
            self.in_flight[self.pool.submit(job)] = job
        except BrokenExecutor:
            d.tasks.appendleft(task)
            self._broken()

    def _threads(self, p: Piece) -> Any:
        """Limit workers times threads to the number of cores."""
        threads = p.run.threads or 1
        if threads > 1 and self.pool.local:
            threads = max(1, min(threads, cores() // self.pool.workers))
        return p.run if p.run.threads == threads else dataclasses.replace(p.run, threads=threads)

    def _receive(self, done: Iterable[Future[Any]]) -> None:
        finished: list[tuple[Piece, Outcome]] = []
        dead: list[Job] = []
        broken = False
        done = list(done)
        for future in done:
            job = self.in_flight[future]
            error = _error(future)
            if error is not None and not lost(error):
                self.drive.finish(finished)
                raise unsent(error)
            got = [] if error is not None else _outcomes(future, job)
            if not got:
                dead.append(job)
                if error is not None:
                    self.why = one_line(error)
                    broken = broken or isinstance(error, BrokenExecutor)
                continue
            finished += got
            rest = job.pieces[len(got) :]
            if rest:
                self.drive.tasks.appendleft(rest)
            self.losses_in_a_row = self.idle = 0
            self.begun = True
        self.drive.finish(finished)
        for future in done:  # not before: at a Ctrl-C what is in_flight is looked at once more
            del self.in_flight[future]
        for job in dead:
            self._on_worker_lost(job)
        if broken:
            self._broken()

    def _broken(self) -> None:
        """Replace a broken executor and send its tasks again."""
        if self.in_flight:
            done, late = wait(self.in_flight, timeout=PATIENCE)
            for future in late:
                self._on_worker_lost(self.in_flight.pop(future))
            self._receive_last(done)
        self.losses_in_a_row += 1
        self.idle = 0 if self.begun else self.idle + 1
        self.begun = False
        why = f" ({self.why})" if self.why else ""
        if self.idle >= USELESS:
            raise SweepError(
                f"executor: its workers die before they begin anything{why}; does the script start "
                "the sweep under `if __name__ == '__main__':`, and is it a file?"
            )
        if self.losses_in_a_row > ATTEMPTS and not self.drive.progress.cells_done:
            raise SweepError(f"executor: its workers die before they have done anything{why}")
        self.pool.revive()

    def _receive_last(self, done: Iterable[Future[Any]]) -> None:
        """Receive what a broken executor still has: results, or the news that there are none."""
        for future in done:
            if _error(future) is not None:
                self._on_worker_lost(self.in_flight.pop(future))
            else:
                self._receive([future])

    def _on_worker_lost(self, job: Job) -> None:
        """Send the pieces of a lost worker again, one by one; give up those that lose their worker
        too often.
        """
        begun = not self.pool.guard or self.drive.scratch.begun(job.number)
        self.begun = self.begun or begun
        for p in job.pieces:
            self.tries[p.stem] += begun  # one that lay in the queue has killed nobody
            if self.tries[p.stem] >= ATTEMPTS:
                error = (
                    f"its worker was lost, {self.tries[p.stem]} "
                    f"times{f' ({self.why})' if self.why else ''}"
                )
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self.drive.finish(
                    [
                        (
                            p,
                            Outcome(
                                p.cell,
                                p.key,
                                p.run.first_run,
                                p.run.runs,
                                0.0,
                                error=error,
                                created=now,
                            ),
                        )
                    ]
                )
            elif self.tries[p.stem] == ATTEMPTS - 1:
                self.alone.append(p)
            else:
                self.drive.tasks.appendleft((p,))

    def _stop(self) -> None:
        """Stop: submit nothing more, tell running jobs to stop, store what is finished."""
        d = self.drive
        d.scratch.stop()
        # What has begun hands in its finished pieces; cancelled, it would lose them.
        running = [
            f for f, job in self.in_flight.items() if d.scratch.begun(job.number) or not f.cancel()
        ]
        try:
            wait(running, timeout=PATIENCE)
        except KeyboardInterrupt:  # once more
            self.pool.hurry = True
        finally:
            self._collect(running)

    def _collect(self, running: Iterable[Future[Any]]) -> None:
        """Store finished outcomes; give up the rest."""
        d = self.drive
        finished: list[tuple[Piece, Outcome]] = []
        for future in running:
            if not future.done():
                future.cancel()
            elif _error(future) is None:
                finished += _outcomes(future, self.in_flight[future])
        d.errors = "record"
        with contextlib.suppress(Exception):  # the store may be what failed
            d.finish(finished)


def _error(future: Future[Any]) -> BaseException | None:
    """Return what a finished future has raised."""
    return CancelledError() if future.cancelled() else future.exception()


def _outcomes(future: Future[Any], job: Job) -> list[tuple[Piece, Outcome]]:
    """Return the outcomes of a job."""
    outcomes = {(o.key, o.first, o.runs): o for o in future.result()}
    return [(p, o) for p in job.pieces if (o := outcomes.get((p.key, p.run.first_run, p.run.runs)))]
