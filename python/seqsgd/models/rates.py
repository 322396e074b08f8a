"""Learning rates: a number, a scaling law in d and L, or a schedule in the step tau."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _checks
from ._base import Model


class Schedule(NamedTuple):
    """Learning rate gamma(tau) = values[i] (1 + tau / t0)^-power in piece i, which starts at
    steps[i].

    Attributes
    ----------
    steps : tuple of int
        First step of each piece, ascending from 0.
    values : tuple of float
    t0 : float
        In steps.
    power : float
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]
    t0: float = 1.0
    power: float = 0.0

    def integral(self, tau: npt.NDArray[Any]) -> _checks.Float64:
        """Return the integral of gamma from 0 to each tau (n,), float64."""
        edges = np.append(np.array(self.steps, dtype=np.float64), np.inf)
        out = np.zeros(len(tau))
        for value, start, end in zip(self.values, edges[:-1], edges[1:], strict=True):
            out += value * np.maximum(
                self._primitive(np.minimum(tau, end)) - self._primitive(np.minimum(tau, start)), 0.0
            )
        return out

    def _primitive(self, tau: npt.ArrayLike) -> _checks.Float64:
        x = np.asarray(tau, dtype=np.float64)
        if self.power == 0:
            return x
        if self.power == 1:
            return self.t0 * np.log1p(x / self.t0)
        return self.t0 / (1 - self.power) * np.expm1((1 - self.power) * np.log1p(x / self.t0))

    def least(self, steps: int) -> float:
        """Return the smallest positive rate within `steps` steps, or 0 if none is positive."""
        met = [
            v for v, s in zip(self.values, self.steps, strict=True) if v > 0 and s < max(steps, 1)
        ]
        return float(min(met, default=0.0) * (1 + max(steps - 1, 0) / self.t0) ** -self.power)


class Rate(Model, ABC):
    """Base of learning rates that are more than a number."""

    @abstractmethod
    def schedule(self, d: int, L: int) -> Schedule:
        """Return the rate at d and L. Raises ValueError if it overflows."""


@dataclass(frozen=True, eq=False, repr=False)
class PowerLaw(Rate):
    """Constant learning rate c d^a L^b, written `PowerLaw(c, d=a, L=b)`.

    For the exponents see docs: "What is known without a simulation", Sample complexity.

    Parameters
    ----------
    c : float >= 0
        Factor.
    d, L : float
        Exponents a and b.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    c: float
    d: float = 0.0
    L: float = 0.0

    _positional: ClassVar[tuple[str, ...]] = ("c",)

    def __post_init__(self) -> None:
        self._set(
            c=_checks.number("c", self.c, 0),
            d=_checks.number("d", self.d),
            L=_checks.number("L", self.L),
        )

    def schedule(self, d: int, L: int) -> Schedule:
        try:
            value = self.c * float(d) ** self.d * float(L) ** self.L
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise ValueError(f"lr: {self!r} overflows at d = {d}, L = {L}")
        return Schedule((0,), (value,))


@dataclass(frozen=True, eq=False, repr=False)
class Decay(Rate):
    """Decaying learning rate gamma(tau) = lr (1 + tau / t0)^-power, where tau is the step.

    Parameters
    ----------
    lr : float >= 0 or PowerLaw
        Rate at step 0.
    t0 : float > 0
        In steps.
    power : float >= 0

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    lr: float | PowerLaw
    t0: float
    power: float

    _positional: ClassVar[tuple[str, ...]] = ("lr", "t0", "power")

    def __post_init__(self) -> None:
        if not isinstance(self.lr, PowerLaw):
            self._set(lr=_checks.number("lr", self.lr, 0))
        self._set(
            t0=_checks.number("t0", self.t0, 0, open_low=True),
            power=_checks.number("power", self.power, 0),
        )

    def schedule(self, d: int, L: int) -> Schedule:
        return Schedule((0,), (constant(self.lr, d, L),), self.t0, self.power)


@dataclass(frozen=True, eq=False, repr=False)
class Piecewise(Rate):
    """Piecewise constant learning rate.

    Parameters
    ----------
    pieces : sequence of (step, lr)
        `Piecewise([(0, lr0), (step, lr1), ...])`: the rate is lr1 from that step on. Steps ascend
        from 0. Each lr is a number >= 0 or a PowerLaw.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    pieces: Any

    _positional: ClassVar[tuple[str, ...]] = ("pieces",)

    def __post_init__(self) -> None:
        wanted = "pieces: expected a list of (step, lr)"
        if isinstance(self.pieces, (str, dict)) or not hasattr(self.pieces, "__iter__"):
            raise TypeError(f"{wanted}, got {_checks.short(self.pieces)}")
        checked: list[tuple[int, float | PowerLaw]] = []
        for i, piece in enumerate(self.pieces):
            if not isinstance(piece, (tuple, list)) or len(piece) != 2:
                raise TypeError(f"{wanted}, got {_checks.short(piece)} at {i}")
            step = _checks.integer(f"pieces[{i}] step", piece[0], 0)
            rate = (
                piece[1]
                if isinstance(piece[1], PowerLaw)
                else _checks.number(f"pieces[{i}] lr", piece[1], 0)
            )
            if step <= checked[-1][0] if checked else step != 0:
                raise ValueError(
                    f"pieces[{i}] step: expected "
                    f"{f'more than {checked[-1][0]}' if checked else 0}, got {step}"
                )
            checked.append((step, rate))
        if not checked:
            raise ValueError(f"{wanted}, got an empty one")
        self._set(pieces=tuple(checked))

    def __repr__(self) -> str:
        return f"Piecewise({list(self.pieces)!r})"

    def schedule(self, d: int, L: int) -> Schedule:
        return Schedule(
            tuple(s for s, _ in self.pieces), tuple(constant(r, d, L) for _, r in self.pieces)
        )


def constant(lr: float | PowerLaw, d: int, L: int) -> float:
    """Return a rate that is a number, or the value of a PowerLaw at d and L."""
    return lr.schedule(d, L).values[0] if isinstance(lr, PowerLaw) else lr


def schedule(lr: float | Rate, d: int, L: int) -> Schedule:
    """Return any learning rate as a schedule."""
    return lr.schedule(d, L) if isinstance(lr, Rate) else Schedule((0,), (lr,))
