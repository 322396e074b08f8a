"""One simulation as a value: every argument of `simulate` that decides what is computed, checked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from . import _checks, _dynamics, _memory, _stderr, models
from .errors import PrecisionWarning
from .models.course import Steps
from .models.rates import schedule
from .models.tokens import NAMES

DTYPES = ("float32", "float64")
STEPS = ("normalized", "projected")
DEFAULT_RECORDS = 200


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False, repr=False)
class Run(models.Model):
    """The checked arguments of :func:`seqsgd.simulate`, which describes them, apart from `rng` and
    those of mere convenience.
    """

    task: models.Task
    d: int
    steps: int
    lr: float | models.Rate
    runs: int = 1
    dynamics: str = "sampled"
    init: models.Start = models.Overlap()
    record: models.Record | Iterable[int] | None = None
    stop: models.Stop | None = None
    dtype: str = "float32"
    threads: int | None = None
    step: str = "normalized"
    tokens: str | models.Tokens = "gaussian"
    first_run: int = 0

    def __post_init__(self) -> None:
        c = _checks
        c.instance("task", self.task, models.Task, "a Task")
        self._set(
            d=c.integer("d", self.d, 1, 2**40),
            steps=c.integer("steps", self.steps, 0, 2**53),
            runs=c.integer("runs", self.runs, 1, 2**32),
            dynamics=c.choice("dynamics", self.dynamics, tuple(_dynamics.names())),
            dtype=c.dtype("dtype", self.dtype, DTYPES),
            step=c.choice("step", self.step, STEPS),
            first_run=c.integer("first_run", self.first_run, 0, 2**32 - 1),
        )
        if self.first_run + self.runs > 2**32:
            raise ValueError(
                f"first_run: expected first_run + runs <= 2^32, got {self.first_run + self.runs}"
            )
        if self.threads is not None:
            self._set(threads=c.integer("threads", self.threads, 1, 4096))
        self._check_models()

    def _check_models(self) -> None:
        c = _checks
        if not isinstance(self.lr, models.Rate):
            if not isinstance(self.lr, (int, float)) and not hasattr(self.lr, "__float__"):
                raise TypeError(
                    "lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got "
                    f"{c.short(self.lr)}"
                )
            self._set(lr=c.number("lr", self.lr, 0))
        self.schedule
        c.instance("init", self.init, models.Start, "Overlap or Uniform")
        c.instance("stop", self.stop, (models.Stop, type(None)), "WeakRecovery or None")
        if isinstance(self.tokens, models.Tokens):
            self.tokens.check(self.L)
        elif isinstance(self.tokens, str):
            self._set(tokens=c.choice("tokens", self.tokens, NAMES))
        else:
            raise TypeError(
                f"tokens: expected one of {', '.join(map(repr, NAMES))}, StudentT or Correlated, "
                f"got {c.short(self.tokens)}"
            )
        self.init.check(self.d)
        self.task.student.check(self.L, self.d)
        if self.record is not None and not isinstance(self.record, models.Record):
            if isinstance(self.record, str) or not isinstance(self.record, Iterable):
                raise TypeError(
                    "record: expected Every, LogSpaced, a list of steps or None, got "
                    f"{c.short(self.record)}"
                )
            try:
                self._set(record=models.At(self.record))
            except (TypeError, ValueError) as e:
                raise type(e)(f"record: {e}") from None
        if isinstance(self.record, models.At):
            self.record.grid(self.steps)
        _dynamics.find(self.dynamics).check(self)

    def replaced(self, **changes: object) -> Run:
        """The same with other arguments, checked."""
        return Run(**self._values() | changes)

    @property
    def L(self) -> int:
        """Sequence length."""
        return self.task.L

    @property
    def schedule(self) -> models.Schedule:
        """The learning rate at this d and L."""
        return schedule(self.lr, self.d, self.L)

    @property
    def workers(self) -> int:
        """Threads to use: never more than runs."""
        if self.threads is not None:
            return min(self.threads, self.runs)
        return min(self.runs, cores())

    def grid(self) -> Steps:
        """The steps to be recorded."""
        rule = (
            self.record
            if isinstance(self.record, models.Record)
            else models.Every(max(1, self.steps // DEFAULT_RECORDS))
        )
        count = rule.count(self.steps)
        _memory.check(
            self, 2 * _memory.records(self, count) + 4 * 8 * count
        )  # the result is a copy; the grid is made in a few
        grid: Steps = rule.grid(self.steps)
        return grid

    def check_memory(self) -> None:
        """Refuse what does not fit, before anything is allocated."""
        _memory.check(self, _dynamics.find(self.dynamics).memory(self, self.grid()))

    def warn(self, stacklevel: int) -> None:
        """Say when dtype is too coarse for this dynamics."""
        if (message := _dynamics.find(self.dynamics).precision(self)) is not None:
            _stderr.warn(message, PrecisionWarning, stacklevel=stacklevel + 1)
