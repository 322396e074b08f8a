"""Simulations as values: all checked arguments of `simulate` that decide what is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from .. import _checks, _memory, _stderr
from ..errors import PrecisionWarning
from ._base import Model
from .dynamics import TRAITS, check_tokens, too_coarse
from .positions import Opposite, Positions
from .rates import Rate, Schedule, schedule
from .recording import At, Every, Overlap, Record, Start, Steps, Stop
from .task import Task
from .tokens import NAMES, Tokens

DTYPES = ("float32", "float64")
STEPS = ("normalized", "projected")
DEFAULT_RECORDS = 200


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False, repr=False)
class Run(Model):
    """Checked arguments of :func:`seqsgd.simulate`, which describes them.

    `rng` and arguments that do not change what is computed (`checkpoint`, `progress`, `callback`)
    are not among them.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    task: Task
    d: int
    steps: int
    lr: float | Rate
    runs: int = 1
    dynamics: str = "sampled"
    init: Start = Overlap()  # noqa: RUF009 (frozen)
    record: Record | Iterable[int] | None = None
    stop: Stop | None = None
    dtype: str = "float32"
    threads: int | None = None
    step: str = "normalized"
    tokens: str | Tokens = "gaussian"
    first_run: int = 0

    def __post_init__(self) -> None:
        c = _checks
        c.instance("task", self.task, Task, "a Task")
        self._set(
            d=c.integer("d", self.d, 1, 2**40),
            steps=c.integer("steps", self.steps, 0, 2**53),
            runs=c.integer("runs", self.runs, 1, 2**32),
            dynamics=c.choice("dynamics", self.dynamics, tuple(TRAITS)),
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
        if not isinstance(self.lr, Rate):
            if not isinstance(self.lr, (int, float)) and not hasattr(self.lr, "__float__"):
                raise TypeError(
                    "lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got "
                    f"{c.short(self.lr)}"
                )
            self._set(lr=c.number("lr", self.lr, 0))
        self.schedule
        c.instance("init", self.init, Start, "Overlap or Uniform")
        c.instance("stop", self.stop, (Stop, type(None)), "WeakRecovery or None")
        if isinstance(self.tokens, Tokens):
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
        if self.record is not None and not isinstance(self.record, Record):
            if isinstance(self.record, str) or not isinstance(self.record, Iterable):
                raise TypeError(
                    "record: expected Every, LogSpaced, a list of steps or None, got "
                    f"{c.short(self.record)}"
                )
            try:
                self._set(record=At(self.record))
            except (TypeError, ValueError) as e:
                raise type(e)(f"record: {e}") from None
        if isinstance(self.record, At):
            self.record.grid(self.steps)
        check_tokens(self.dynamics, self.tokens)

    def replaced(self, **changes: object) -> Run:
        """Return a copy in which these arguments have other values, checked."""
        return Run(**self._values() | changes)

    @property
    def L(self) -> int:
        """Sequence length."""
        return self.task.L

    @property
    def schedule(self) -> Schedule:
        """Learning rate at this d and L."""
        return schedule(self.lr, self.d, self.L)

    @property
    def workers(self) -> int:
        """Number of threads to use, at most one per run."""
        if self.threads is not None:
            return min(self.threads, self.runs)
        return min(self.runs, cores())

    def grid(self) -> Steps:
        """Return the steps to record, ascending, int64.

        Raises MemoryError if their records do not fit into memory.
        """
        rule = (
            self.record
            if isinstance(self.record, Record)
            else Every(max(1, self.steps // DEFAULT_RECORDS))
        )
        count = rule.count(self.steps)
        # Twice the records, as the result is a copy; the grid needs a few arrays of its own size.
        _memory.check(str(self.size), 2 * self.record_bytes(count) + 4 * 8 * count)
        grid: Steps = rule.grid(self.steps)
        return grid

    @property
    def size(self) -> str:
        """Text for messages: the numbers that decide how much memory is needed."""
        return f"runs = {self.runs}, L = {self.L}, d = {self.d}, steps = {self.steps}"

    def record_bytes(self, count: int) -> int:
        """Return the bytes of the records at `count` steps.

        These are m and q of each weight vector, the loss and, with vectors of positions, e of each
        token.
        """
        student = self.task.student
        weights = 1 if student.weights == "shared" else self.L
        positional = self.L if isinstance(student.position, (Opposite, Positions)) else 0
        return 8 * count * self.runs * (2 * weights + positional + 1)

    def description_bytes(self) -> int:
        """Return the bytes that the arguments need while they are converted to text for the result.

        Only a matrix of positions is large. Each entry is a float in a list, and its digits.
        """
        position = self.task.student.position
        return 57 * int(position.P.size) if isinstance(position, Positions) else 0

    def warn(self, stacklevel: int) -> None:
        """Issue a PrecisionWarning if dtype is too coarse for the steps of this dynamics."""
        message = too_coarse(self.dynamics, self.dtype, self.schedule, self.d, self.steps)
        if message is not None:
            _stderr.warn(message, PrecisionWarning, stacklevel=stacklevel + 1)
