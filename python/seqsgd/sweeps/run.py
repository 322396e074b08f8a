"""sweep: simulate a grid of tasks on any executor, and keep the results."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _checks, _stderr
from .._seed import Rng, Seed
from ..errors import NonFiniteWarning, StoreError, SweepInterrupted, SweepWarning
from ..models.simulation import cores
from .cost import duration, estimate
from .definition import Cell, Sweep
from .drive import Drive
from .executors import START, Pool, check, check_processes
from .jobs import is_submitit, jobs_of
from .piece import Piece, gaps, pack
from .progress import Progress
from .reader import Reader
from .result import SweepResult
from .scratch import Folder, Scratch
from .store import Store
from .tasks import StoredRuns, in_order, pieces, tasks

MANY = 2000  # cells that take a second or more to check

Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class Plan:
    """Size and estimated time of a sweep.

    Attributes
    ----------
    cells, cells_done : int
    run_steps, run_steps_left : int
    seconds : float
        Estimated time for the rest, from trials on one core of this machine: the steps, the fixed
        cost of a cell, and the start of processes.
    workers : int
        Cores that share it.
    """

    cells: int
    cells_done: int
    run_steps: int
    run_steps_left: int
    seconds: float
    workers: int

    def __str__(self) -> str:
        done = f", {self.cells_done} of them stored" if self.cells_done else ""
        left = (
            f", {self.run_steps_left:.4g} of them left"
            if self.run_steps_left not in (0, self.run_steps)
            else ""
        )
        if self.cells_done == self.cells:
            return f"{self.cells} cells, all stored"
        return (
            f"{self.cells} cells{done}; {self.run_steps:.4g} run-steps{left}; about "
            f"{duration(self.seconds)} on {self.workers} core{'s' * (self.workers > 1)}"
        )


def sweep(
    base: Mapping[str, Any] | Sweep,
    grid: Mapping[Any, Any] | None = None,
    *,
    executor: Executor | int | None = None,
    store: Path_ | None = None,
    rng: Rng = None,
    errors: str = "record",
    checkpoint_every: float = 60.0,
    progress: bool | None = None,
) -> SweepResult:
    """Simulate every cell of a grid that the store does not have yet.

    Parameters
    ----------
    base : mapping or Sweep
        Arguments of :func:`seqsgd.simulate` that all cells share, or a Sweep, which is a checked
        base with a grid.
    grid : mapping
        Dotted names of arguments and their values; see :class:`seqsgd.Sweep`.
    executor : concurrent.futures.Executor, int or None
        None uses this process, with threads inside the core; a number starts that many processes.
        Other executors are ProcessPoolExecutor, ThreadPoolExecutor, joblib's and loky's
        `get_reusable_executor()`, `dask.distributed.Client.get_executor()`,
        `mpi4py.futures.MPIPoolExecutor`, or an executor of submitit (Slurm), whose jobs become the
        workers. With an executor, a cell uses one thread, or `threads` of the base (on one machine,
        workers times threads is at most the number of cores). Results do not depend on the
        executor. Workers that die are replaced and their cells tried again.
    store : path or None
        One file, created if it does not exist. It contains every finished cell at any moment, and
        the same call continues from it. Several processes may use one store and share the cells.
        None uses a temporary file that vanishes with the result.
    rng : int, numpy SeedSequence, numpy Generator or None
        See :class:`seqsgd.Sweep`.
    errors : "record" or "raise"
        "record" records the error of a failed cell (`result.errors`) and continues; the next call
        tries the cell again. "raise" stops the sweep.
    checkpoint_every : float
        Seconds between checkpoints of long cells, from which they continue bit for bit. The files
        are in a folder next to the store.
    progress : bool, optional
        Whether to show a progress bar on stderr. None shows a bar on a terminal and prints a line a
        minute elsewhere.

    Returns
    -------
    SweepResult

    Raises
    ------
    ConfigError, TypeError, ValueError, MemoryError
        If the base, the grid or the store (StoreError) is wrong: one line, before anything runs.
    SweepError
        If a cell failed with errors="raise", or the executor cannot be used: its workers cannot
        start, or cannot read what they receive.
    SweepInterrupted
        On Ctrl-C. It is a KeyboardInterrupt with a `result`; finished cells are stored.

    Warns
    -----
    SweepWarning, NonFiniteWarning, PrecisionWarning
        Once for all cells.
    """
    if isinstance(base, Sweep):
        if grid is not None or rng is not None:
            raise TypeError("grid: a Sweep has its grid and rng already")
        definition = base
    elif grid is None:
        raise TypeError("grid: missing")
    else:
        definition = Sweep(base, grid, rng=rng)
    return carry_out(
        definition,
        executor=executor,
        store=store,
        errors=errors,
        checkpoint_every=checkpoint_every,
        progress=progress,
        announce=_announce(progress),
    )


def _announce(progress: bool | None) -> Callable[[Plan], None]:
    """Print the plan on a terminal."""
    watched = _stderr.watched() if progress is None else progress
    return lambda plan: _stderr.say(f"seqsgd: {plan}") if watched else None


def carry_out(
    definition: Sweep,
    *,
    executor: Executor | int | None,
    store: Path_ | None,
    errors: str = "record",
    checkpoint_every: float = 60.0,
    progress: bool | None,
    announce: Callable[[Plan], None],
) -> SweepResult:
    """Run a checked sweep; calls `announce` with the plan before anything runs."""
    _checks.choice("errors", errors, ("record", "raise"))
    every = _checks.number("checkpoint_every", checkpoint_every, 0)
    if progress is not None:
        _checks.boolean("progress", progress)
    if executor is not None:
        check(executor)
        if not isinstance(executor, Executor) and not is_submitit(executor):
            executor = _checks.integer("executor", executor, 1)
            check_processes()
    folder = Folder() if store is None else None
    with contextlib.closing(
        Store(folder.path / "sweep" if folder else store or "", durable=folder is None)
    ) as opened:
        if len(definition) >= MANY and (_stderr.watched() if progress is None else progress):
            _stderr.say(f"seqsgd: checking {len(definition)} cells")
        cells = definition.cells(
            opened.entropy() if definition.needs_entropy else None, loose=folder is not None
        )
        there = opened.there()
        todo = _todo(cells, there)
        definition.check_memory(todo)
        opened.begin(definition.definition(), pack(cells))
        result = SweepResult(opened.path, _owner=folder)
        _warn_precision([cells[i] for i in todo])
        with (
            _interrupts(result, len(cells), None if folder else opened.path),
            contextlib.ExitStack() as stack,
        ):
            drive = _drive(
                definition,
                cells,
                todo,
                there,
                opened,
                executor,
                errors,
                every,
                progress,
                announce,
                stack,
            )
    _warn(definition, drive)
    return result


def _drive(
    definition: Sweep,
    cells: Sequence[Cell],
    todo: Sequence[int],
    there: StoredRuns,
    store: Store,
    executor: Executor | int | None,
    errors: str,
    every: float,
    wanted: bool | None,
    announce: Callable[[Plan], None],
    stack: contextlib.ExitStack,
) -> Drive:
    try:
        scratch = Scratch(store.path)
    except OSError as e:
        raise StoreError(
            f"store: the folder next to {str(store.path)!r} for checkpoints cannot be made "
            f"({e.strerror or e})"
        ) from None
    stack.callback(_leave, scratch, store)
    found = pieces(cells, todo, estimate([cells[i].run for i in todo]), there, scratch.work)
    pool = (
        None
        if executor is None or not todo
        else stack.enter_context(contextlib.closing(Pool(executor)))
    )
    planned = _plan(
        definition, cells, todo, found, None if pool is None else (pool.workers, pool.start)
    )
    announce(planned)
    seconds = sum(p.seconds for p, _ in found)
    bar = Progress(
        planned.cells,
        planned.run_steps,
        planned.cells_done,
        planned.run_steps - planned.run_steps_left,
        seconds,
        planned.seconds,
        wanted if todo else False,
    )
    stack.callback(bar.close)
    drive = Drive(
        definition,
        cells,
        in_order(found) if pool is None else tasks(found, planned.workers),
        store,
        scratch,
        bar,
        errors,
        every,
    )
    stack.callback(_release, store, drive.owner)
    if pool is None:
        drive.here()
    else:
        drive.away(pool)
    return drive


def _plan(
    definition: Sweep,
    cells: Sequence[Cell],
    todo: Sequence[int],
    found: Sequence[tuple[Piece, int]],
    pool: tuple[int, float] | None,
) -> Plan:
    """Return the plan. `pool` has the number of workers and the seconds until they have started."""
    left = sum(p.run_steps for p, _ in found)
    total, fixed = sum(p.seconds for p, _ in found), sum(p.each for p, _ in found)
    if pool is not None and todo:
        workers, start = pool
        seconds = start + total / workers
    else:  # threads share the steps of a cell only
        workers = _width(cells, todo)
        seconds = (total - fixed) / workers + fixed
    return Plan(len(cells), len(cells) - len(todo), definition.run_steps, left, seconds, workers)


def _leave(scratch: Scratch, store: Store) -> None:
    with contextlib.suppress(OSError, StoreError, sqlite3.Error):
        if scratch.left():
            scratch.tidy(store.there())
    scratch.close()


def _release(store: Store, owner: str) -> None:
    with contextlib.suppress(StoreError, sqlite3.Error):
        store.release(owner)


def _todo(cells: Sequence[Cell], there: Mapping[bytes, Any]) -> list[int]:
    return [
        i for i, c in enumerate(cells) if gaps(c.run.first_run, c.run.runs, there.get(c.key, []))
    ]


def _width(cells: Sequence[Cell], todo: Sequence[int]) -> int:
    return max(1, min(cores(), max((cells[i].run.workers for i in todo), default=1)))


def plan(
    definition: Sweep, store: Path_ | None = None, executor: Executor | int | None = None
) -> Plan:
    """Return what `sweep` would have to do, without writing. An existing store is read."""
    if executor is not None:
        check(executor)
    there: StoredRuns = {}
    root = Seed(0)
    if store is not None and Path(store).exists():
        reader = Reader(store)
        there, root = reader.there(), reader.entropy() or root
    cells = definition.cells(root, loose=store is None)
    todo = _todo(cells, there)
    definition.check_memory(todo)
    found = pieces(
        cells, todo, estimate([cells[i].run for i in todo]), there, Path(f"{store}-work")
    )
    pool = None
    if executor is not None:
        if is_submitit(executor):
            pool = jobs_of(executor), 0.0
        elif isinstance(executor, Executor):
            pool = Pool(executor).workers, 0.0
        else:
            pool = int(executor), START
    return _plan(definition, cells, todo, found, pool)


@contextlib.contextmanager
def _interrupts(result: SweepResult, cells: int, path: Path | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        done = result.cells_done
        how = (
            f"they are in {str(path)!r}, and the same call continues"
            if path is not None
            else "with store=FILE the same call would continue"
        )
        raise SweepInterrupted(
            f"interrupted after {done} of {cells} cells; {how}", result
        ) from None


def _warn_precision(cells: Sequence[Cell]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for cell in cells:
            cell.run.warn(stacklevel=1)
    if caught:
        more = f" (and {len(caught) - 1} more cells)" if len(caught) > 1 else ""
        _stderr.warn(f"{caught[0].message}{more}", caught[0].category, stacklevel=4)


def _warn(definition: Sweep, drive: Drive) -> None:
    if drive.nonfinite:
        _stderr.warn(
            f"values were not finite in {drive.nonfinite} runs, which stopped there "
            "(`nonfinite_step` says where); a smaller lr may help",
            NonFiniteWarning,
            stacklevel=3,
        )
    if drive.failed:
        first = drive.failed[0]
        n = len({o.cell for o in drive.failed})
        _stderr.warn(
            f"{n} of {len(definition)} cells failed, the first at "
            f"{definition.locate(first.cell)}: {first.error} (all of them: `result.errors`; the "
            "same call tries them again)",
            SweepWarning,
            stacklevel=3,
        )
