"""Estimate the cost of cells from a few short trials and a power law in d L between them.

Only the trials depend on the dynamics.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import models
from .._seed import Seed
from .._signals import signalled
from ..models import Model
from ..models.simulation import Run
from ..simulate import Execution
from .owner import name
from .piece import Outcome, Piece, encode
from .scratch import Folder
from .store import Store

TRIAL = 0.03  # seconds of a trial
KINDS = 12  # trials at most, in all, but at least one for each kind of cell
SIDE_BY_SIDE = 16  # runs that a core may compute side by side, for less than each alone


class Cost(NamedTuple):
    """The cost of a cell.

    Attributes
    ----------
    seconds : float
        Per run-step on one core; 0 for a cell that failed in its trial.
    split : bool
        Whether its runs can be computed separately.
    least : int
        Number of runs that cost about as much as a single one.
    each : float
        Seconds to build, encode and store one piece, in addition to the steps.
    """

    seconds: float
    split: bool
    least: int = 1
    each: float = 0.0


def estimate(runs: Sequence[Run]) -> list[Cost]:
    """Estimate the cost of every cell. This takes a few hundredths of a second for each kind of
    cell.
    """
    kinds: dict[Any, dict[float, Run]] = {}
    words = [_kind(run) for run in runs]
    for kind, run in zip(words, runs, strict=True):
        kinds.setdefault(kind, {}).setdefault(_size(run), run)
    trials = {
        kind: _trials(sizes, max(1, min(3, KINDS // len(kinds)))) for kind, sizes in kinds.items()
    }
    storing = _storing() if kinds else 0.0
    trials = {
        kind: {size: c._replace(each=c.each + storing) for size, c in found.items()}
        for kind, found in trials.items()
    }
    return [_between(trials[kind], _size(run)) for kind, run in zip(words, runs, strict=True)]


def _kind(run: Run) -> Any:
    """Return types and names without numbers: cells of a kind differ only in sizes."""

    def words(value: Any) -> Any:
        if isinstance(value, Model):
            return (type(value).__name__, *(words(v) for v in value._values().values()))
        return value if isinstance(value, str) else type(value).__name__

    return words(dataclasses.replace(run, record=None, threads=None)), min(run.runs, SIDE_BY_SIDE)


def _size(run: Run) -> float:
    return float(run.d) * run.L


def _trials(sizes: dict[float, Run], count: int) -> dict[float, Cost]:
    """Measure costs at the smallest and largest size, and between."""
    ordered = sorted(sizes)
    chosen = {ordered[round(i * (len(ordered) - 1) / max(count - 1, 1))] for i in range(count)}
    return {size: _trial(sizes[size]) for size in sorted(chosen)}


def _trial(run: Run) -> Cost:
    """Time a single run; if that is short, also several runs together."""
    alone = _timed(run, 1, 32)
    runs = min(run.runs, SIDE_BY_SIDE)
    if runs == 1 or not alone.split or alone.seconds * runs * min(32, run.steps) > TRIAL:
        return alone
    several = _timed(run, runs, int(TRIAL / (alone.seconds * runs)))
    return several._replace(
        least=runs if 3 * several.seconds < alone.seconds else 1
    )  # between about 1, and 1 / 8 and less in lanes


def _timed(run: Run, runs: int, steps: int) -> Cost:
    seconds, split = math.inf, True
    try:
        while steps <= run.steps or math.isinf(seconds):
            steps = min(steps, run.steps)
            short = dataclasses.replace(
                run,
                runs=runs,
                steps=steps,
                threads=1,
                record=models.At((0, steps) if steps else (0,)),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                execution = Execution(short, Seed(0), None, math.inf, False, lambda *_: True)
                started = time.perf_counter()
                execution.advance()
                taken = time.perf_counter() - started
            split = any("run" in v.dims for v in execution.engine.variables().values())
            done = max(int(execution.engine.steps_done().sum()), 1)
            seconds = taken / done
            if taken > TRIAL or done < runs * steps or steps >= run.steps:
                break
            steps = max(2 * steps, int(0.7 * steps * TRIAL / max(taken, 1e-6)))
            steps = min(steps, 64 * max(done // runs, 32))
        return Cost(max(seconds, 1e-12), split, 1, _beside(short))
    except Exception as e:  # the cell itself will tell when its turn comes
        if signalled(e):
            raise
        return Cost(0.0, False)


def _beside(run: Run) -> float:
    """Measure the seconds to build a piece and to encode its records; the least of three."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            execution = Execution(run, Seed(0), None, math.inf, False, lambda *_: True)
            encode(
                execution.engine.variables(), execution.grid, run.schedule.integral(execution.grid)
            )
        taken.append(time.perf_counter() - started)
        if taken[-1] > TRIAL:
            break
    return min(taken)


def _storing() -> float:
    """Measure the seconds to claim and to store one piece, in a temporary store."""
    try:
        folder = Folder()
    except OSError:
        return 5e-4
    run = Run(models.Task(models.SSI("sum", L=1), models.Tied()), 1, 0, 0.1)
    with contextlib.closing(Store(folder.path / "sweep", durable=False)) as store:
        taken = []
        for i in range(5):
            piece = Piece(0, bytes([i]) * 32, run, Seed(0), 0.0)
            started = time.perf_counter()
            store.claim([piece], name(), 1.0)
            store.there([piece.key])
            store.put(
                [Outcome(0, piece.key, 0, 1, 0.0, "[]", bytes(200), bytes(4000))],
                {piece.key: json.dumps(run.to_plain())},
            )
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _between(trials: dict[float, Cost], size: float) -> Cost:
    """Interpolate with a power law between neighbouring trials."""
    at = sorted(trials)
    if size <= at[0] or len(at) == 1:
        return trials[at[0]]
    if size >= at[-1]:
        return trials[at[-1]]
    i = next(i for i in range(1, len(at)) if size <= at[i])
    a, b = trials[at[i - 1]], trials[at[i]]
    t = math.log(size / at[i - 1]) / math.log(at[i] / at[i - 1])
    if a.seconds == 0 or b.seconds == 0:  # either may fail
        return b if a.seconds == 0 else a
    seconds = math.exp((1 - t) * math.log(a.seconds) + t * math.log(b.seconds))
    return Cost(seconds, a.split and b.split, min(a.least, b.least), (1 - t) * a.each + t * b.each)


def duration(seconds: float) -> str:
    """Format a duration in words."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


__all__ = ["Cost", "duration", "estimate"]
