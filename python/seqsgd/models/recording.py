"""Where a run starts, which steps it records, and when it stops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import _checks
from ._base import Model

Steps = npt.NDArray[np.int64]


class Start(Model):
    """Base of initial conditions."""

    def check(self, d: int) -> None:
        """Raise ValueError if the token dimension d does not fit."""

    def _keywords(self, d: int) -> dict[str, Any]:
        """Return the core's settings `init`, `m0` and `random_sign`."""
        return {"init": "uniform", "m0": 0.0, "random_sign": False}


@dataclass(frozen=True, eq=False, repr=False)
class Overlap(Start):
    """Start at a given overlap m_0 = w . w* / d; the component of w orthogonal to w* is uniform.

    With untied weights each row starts at m_0.

    Parameters
    ----------
    m0 : float in [-1, 1], optional
        Overlap. None is 1 / sqrt(d).
    random_sign : bool
        Whether to draw the sign of m_0 for each run.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    m0: float | None = None
    random_sign: bool = False

    def __post_init__(self) -> None:
        if self.m0 is not None:
            self._set(m0=_checks.number("m0", self.m0, -1, 1))
        self._set(random_sign=_checks.boolean("random_sign", self.random_sign))

    def value(self, d: int) -> float:
        """Return m_0 as a number."""
        return 1 / math.sqrt(d) if self.m0 is None else self.m0

    def check(self, d: int) -> None:
        if d == 1 and abs(self.value(d)) != 1:
            raise ValueError(f"init: at d = 1 an overlap is 1 or -1, got {self.m0}")

    def _keywords(self, d: int) -> dict[str, Any]:
        return {"init": "overlap", "m0": self.value(d), "random_sign": self.random_sign}


@dataclass(frozen=True, eq=False, repr=False)
class Uniform(Start):
    """Start at a w that is uniform on the sphere and independent of w*."""


class Record(Model, ABC):
    """Base of rules for which steps are recorded."""

    @abstractmethod
    def count(self, steps: int) -> int:
        """Return an upper bound on the number of records, without computing the grid."""

    @abstractmethod
    def grid(self, steps: int) -> Steps:
        """Return the recorded steps, ascending, int64."""


def _with_ends(grid: Steps, steps: int) -> Steps:
    return np.unique(
        np.concatenate([[0], grid[(grid >= 0) & (grid <= steps)], [steps]]).astype(np.int64)
    )


@dataclass(frozen=True, eq=False, repr=False)
class Every(Record):
    """Record every n steps from 0 on, and the last step.

    Parameters
    ----------
    n : int >= 1

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    n: int

    _positional: ClassVar[tuple[str, ...]] = ("n",)

    def __post_init__(self) -> None:
        self._set(n=_checks.integer("n", self.n, 1))

    def count(self, steps: int) -> int:
        return steps // self.n + 2

    def grid(self, steps: int) -> Steps:
        return _with_ends(np.arange(0, steps + 1, self.n, dtype=np.int64), steps)


@dataclass(frozen=True, eq=False, repr=False)
class LogSpaced(Record):
    """Record n steps per factor of ten, evenly spaced in the logarithm; also the first and last.

    The steps of a longer run include those of a shorter one, apart from the last.

    Parameters
    ----------
    n : int >= 1

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    n: int

    _positional: ClassVar[tuple[str, ...]] = ("n",)

    def __post_init__(self) -> None:
        self._set(n=_checks.integer("n", self.n, 1))

    def count(self, steps: int) -> int:
        return math.ceil(math.log10(max(steps, 1)) * self.n) + 2

    def grid(self, steps: int) -> Steps:
        exponents = np.arange(self.count(steps) - 1) / self.n
        return _with_ends(np.rint(10.0**exponents).astype(np.int64), steps)


@dataclass(frozen=True, eq=False, repr=False)
class At(Record):
    """Record exactly these steps. `record=[0, 10, 100]` is the same as `record=At([0, 10, 100])`.

    Parameters
    ----------
    steps : iterable of int >= 0
        In any order; repeated steps count once.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    steps: Iterable[int]

    _positional: ClassVar[tuple[str, ...]] = ("steps",)

    def __post_init__(self) -> None:
        given = np.asarray(self.steps).tolist() if hasattr(self.steps, "__array__") else self.steps
        if isinstance(given, (str, dict)) or not isinstance(given, Iterable):
            raise TypeError(f"steps: expected a list of integers, got {_checks.short(given)}")
        numbers = {_checks.integer(f"steps[{i}]", s, 0) for i, s in enumerate(given)}
        if not numbers:
            raise ValueError("steps: expected at least one step, got an empty list")
        self._set(steps=tuple(sorted(numbers)))

    def count(self, steps: int) -> int:
        return len(tuple(self.steps))

    def grid(self, steps: int) -> Steps:
        grid = np.array(self.steps, dtype=np.int64)
        if grid[-1] > steps:
            raise ValueError(f"record: expected steps up to steps = {steps}, got {grid[-1]}")
        return grid


class Stop(Model):
    """Base of rules that find an event in each run, and may stop the run there."""

    def _keywords(self) -> dict[str, Any]:
        """Return the core's settings `eta` and `halt`."""
        return {"eta": 0.0, "halt": False}


@dataclass(frozen=True, eq=False, repr=False)
class WeakRecovery(Stop):
    """Find the first step at which ||(e, m)|| >= eta, or ||m|| / sqrt L >= eta for untied weights.

    Every step counts, not only recorded ones (docs: "The model and its letters", What is measured).

    Parameters
    ----------
    eta : float in (0, 1]
        Threshold. With dynamics="sampled", 1 is reached at best up to rounding; the flow only tends
        to 1.
    halt : bool
        Whether each run stops at that step. This saves time if you only need the steps of recovery.
        Records of a run after its stop are NaN, so means over runs are then means over the runs
        that have not recovered (docs: "First passages", What halting does to means).

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    eta: float
    halt: bool = False

    _positional: ClassVar[tuple[str, ...]] = ("eta",)

    def __post_init__(self) -> None:
        self._set(
            eta=_checks.number("eta", self.eta, 0, 1, open_low=True),
            halt=_checks.boolean("halt", self.halt),
        )

    def _keywords(self) -> dict[str, Any]:
        return {"eta": self.eta, "halt": self.halt}
