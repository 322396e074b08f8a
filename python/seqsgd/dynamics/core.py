"""Dynamics of the compiled core: convert arguments to its settings, and label its records."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import _core, _memory
from .._seed import Seed
from ..models import Position, Schedule, Stop
from ..models.recording import Steps
from ..models.simulation import Run
from ..models.tokens import law_keywords
from .labels import labelled
from .protocol import Arrays, Variable, Watch

Simulation = _core.Sampled | _core.Reduced


def settings(run: Run, seed: Seed, grid: Steps) -> _core.Settings:
    """Return the core's settings of a run: all its arguments except the task."""
    student, s = run.task.student, _core.Settings()
    s.d, s.seed = run.d, seed.value
    tied, together = student.weights == "shared", student.spheres == "one"
    s.fields = _core.FieldMap.shared(run.L) if tied else _core.FieldMap.per_token(run.L)
    weights = s.fields.weights
    s.spheres = _core.Spheres.one(weights) if together else _core.Spheres.own(weights)
    s.projected = run.step == "projected"
    s.lr = rate(run.schedule)
    s.record = grid
    for name, value in {
        **(student.position or Position())._keywords(run.L),
        **run.init._keywords(run.d),
        **law_keywords(run.tokens),
        **(run.stop or Stop())._keywords(),
    }.items():
        setattr(s, name, value)
    return s


def rate(schedule: Schedule) -> _core.LearningRate:
    """Convert a learning rate to the core's class."""
    steps, values = np.array(schedule.steps, dtype=np.int64), np.array(schedule.values)
    return _core.LearningRate(values, steps, schedule.t0, schedule.power)


def _arguments(run: Run, seed: Seed, grid: Steps) -> tuple[Any, ...]:
    """Return the arguments of the core's classes, and of their `bytes`."""
    task, made = run.task._compiled(), settings(run, seed, grid)
    return task, made, run.runs, run.first_run, run.workers, run.dtype


def allocate(kind: type[Simulation], run: Run, seed: Seed, grid: Steps) -> Any:
    """Create the core's object of this class. Raises MemoryError if it does not fit."""
    arguments = _arguments(run, seed, grid)
    _memory.check(
        run.size,
        int(kind.bytes(*arguments)) + run.record_bytes(len(grid)) + run.description_bytes(),
    )
    return kind(*arguments)


class Compiled:
    """Base of the core's simulations, with labels on their records."""

    kind: ClassVar[type[Simulation]]  # the core's class

    def __init__(self, run: Run, seed: Seed, grid: Steps) -> None:
        self._run, self._grid = run, grid
        self._core = allocate(self.kind, run, seed, grid)

    @classmethod
    def memory(cls, run: Run, grid: Steps) -> int:
        """Return the bytes of the core's object and of the result, a copy of its records."""
        return (
            int(cls.kind.bytes(*_arguments(run, Seed(0), grid)))
            + run.record_bytes(len(grid))
            + run.description_bytes()
        )

    def advance(self, watch: Watch) -> bool:
        return bool(self._core.advance(self._run.steps, watch))

    def steps_done(self) -> npt.NDArray[np.int64]:
        steps: npt.NDArray[np.int64] = self._core.status()["step"]
        return steps

    def nonfinite(self) -> npt.NDArray[np.int64]:
        steps: npt.NDArray[np.int64] = self._core.status()["nonfinite"]
        return steps

    def variables(self) -> dict[str, Variable]:
        records, status = self._core.records(), self._core.status()
        return labelled(
            self._run,
            records["m"],
            records["q"],
            records["e"],
            records["loss"],
            "mean one-pass loss since the record before",
            status["passage"],
            status["nonfinite"],
            status["step"],
        )

    def state(self) -> Arrays:
        state: Arrays = self._core.state()
        return state

    def restore(self, state: Arrays) -> None:
        runs, count = self._run.runs, len(self._grid)
        adapted = dict(state)
        for key, old in state.items():
            # Flat (runs, records, ...), recorded on a grid that may have another end.
            if key.startswith("record_"):
                old_count = state["record_loss"].size // runs
                there = old.reshape(runs, old_count, old.size // (runs * old_count))
                here = np.full((runs, count, there.shape[2]), np.nan)
                kept = min(count, old_count)
                here[:, :kept] = there[:, :kept]
                adapted[key] = here.reshape(-1)
        self._core.set_state(adapted)


class Sampled(Compiled):
    """Dynamics that draws sequences X and moves w (docs: "The model and its letters", Step)."""

    kind = _core.Sampled


class Reduced(Compiled):
    """Dynamics of the overlaps with w* and P, exact in law (docs: "The reduced dynamics").

    The state is float64; `dtype` is the type of the normals.
    """

    kind = _core.Reduced
