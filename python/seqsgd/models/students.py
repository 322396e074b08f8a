"""Students: functions of the fields z in R^L (docs: "The model and its letters", Students)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import _checks, _core
from ._base import Model
from .functions import CActivation, HermiteSeries, Named, PyActivation, compiled_activation
from .positions import Position

Function = Callable[[float], float]
Sigma = str | HermiteSeries | CActivation | PyActivation | tuple[Function | Named, Function | Named]


@dataclass(frozen=True, eq=False, repr=False)
class Bilinear(Model):
    """Reduction a^T S b of an attention matrix S (L, L).

    Parameters
    ----------
    a, b : (L,) arrays
        Copied.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    a: Any
    b: Any

    _positional: ClassVar[tuple[str, ...]] = ("a", "b")

    def __post_init__(self) -> None:
        a, b = (_checks.array(name, getattr(self, name), ("L",)) for name in ("a", "b"))
        if len(a) != len(b):
            raise ValueError(f"b: expected length {len(a)} as a, got {len(b)}")
        self._set(a=a, b=b)


def check_reduction(reduction: object, L: int | None = None) -> str | Bilinear:
    """Return the reduction, or raise if it is not "none", "trace" or a Bilinear that fits L."""
    if isinstance(reduction, Bilinear):
        if L is not None and len(reduction.a) != L:
            raise ValueError(
                f"reduction: expected a and b of length L = {L}, got {len(reduction.a)}"
            )
        return reduction
    if not isinstance(reduction, str):
        raise TypeError(
            f"reduction: expected 'none', 'trace' or Bilinear(a, b), got {_checks.short(reduction)}"
        )
    return _checks.choice("reduction", reduction, ("none", "trace"))


def compiled_reduction(reduction: object, L: int) -> tuple[str, _checks.Float64, _checks.Float64]:
    """Return the core's arguments `reduction`, `a` and `b`."""
    if isinstance(reduction, Bilinear):
        return "bilinear", reduction.a, reduction.b
    return str(reduction), np.zeros(L), np.zeros(L)


def check_sigma(sigma: object) -> object:
    """Return the activation, or raise if it is not a name, data or functions. A pair of callables
    becomes a PyActivation.
    """
    if isinstance(sigma, (HermiteSeries, CActivation, PyActivation)):
        return sigma
    if isinstance(sigma, (tuple, list)) and len(sigma) == 2:
        return PyActivation(*sigma)
    if not isinstance(sigma, str):
        words = "a name, HermiteSeries, CActivation or a pair of functions (sigma, its derivative)"
        raise TypeError(f"sigma: expected {words}, got {_checks.short(sigma)}")
    try:
        _core.activation_named(sigma)
    except ValueError:
        known = ", ".join(repr(n) for n in _core.activation_names())
        raise ValueError(
            f"sigma: expected one of {known}, 'He0' to 'He30', got {_checks.short(sigma)}"
        ) from None
    return str.__str__(sigma)


class Student(Model, ABC):
    """Base of students. `position` is the positional encoding."""

    position: Position | None

    @property
    def weights(self) -> str:
        """Which weight vector a token sees: "shared" (one for all) or "per_token"."""
        return "shared"

    @property
    def spheres(self) -> str:
        """Which weight vectors share a sphere: "own" (none, each has its own) or "one" (all)."""
        return "own"

    def outputs(self, L: int) -> int:
        """Return the output dimension k."""
        return 1

    def check(self, L: int, d: int | None = None) -> None:
        """Raise ValueError if the sequence length L or the token dimension d does not fit."""
        if self.position is not None:
            self.position.check(L, d, 1 if self.weights == "shared" else L)

    def _check_position(self) -> None:
        _checks.instance(
            "position",
            self.position,
            (Position, type(None)),
            "Opposite, Positions, Injected or None",
        )

    @abstractmethod
    def _compiled(self, L: int) -> _core.Student:
        """Return the core's student for L tokens."""


class Network(Student):
    """Base of students f = sigma((1/sqrt L) sum_l z_l)."""

    @property
    @abstractmethod
    def sigma(self) -> Any:
        """Activation."""

    def _compiled(self, L: int) -> _core.Student:
        return _core.student_network(compiled_activation(self.sigma), L)


@dataclass(frozen=True, eq=False, repr=False)
class Tied(Network):
    """Student f = sigma(u), u = (1/sqrt L) sum_l z_l, with one weight vector w for all tokens.

    The fields are z_l = x_l . w + e_l (docs: "The model and its letters", Students).

    Parameters
    ----------
    sigma : str, HermiteSeries, CActivation, PyActivation or a pair of callables
        Activation. `seqsgd.activations()` lists the names. A pair is (sigma, its derivative).
    position : Opposite, Positions, Injected or None
        Positional encoding.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    sigma: Sigma = "relu"
    position: Position | None = None

    _positional: ClassVar[tuple[str, ...]] = ("sigma",)

    def __post_init__(self) -> None:
        self._set(sigma=check_sigma(self.sigma))
        self._check_position()


@dataclass(frozen=True, eq=False, repr=False)
class Untied(Network):
    """Student f = sigma(u), u = (1/sqrt L) sum_l z_l, with a weight vector w_l for each token.

    The fields are z_l = x_l . w_l + e_l (docs: "The model and its letters", Students). This is the
    baseline that does not know that tokens share a hidden direction.

    Parameters
    ----------
    sigma : str, HermiteSeries, CActivation, PyActivation or a pair of callables
        Activation, as in :class:`Tied`.
    normalization : "rows" or "global"
        What is normalized after each step: each w_l to ||w_l||^2 = d, or all weights together to
        sum_l ||w_l||^2 = L d.
    position : Opposite, Positions, Injected or None
        Positional encoding.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    sigma: Sigma = "relu"
    normalization: str = "rows"
    position: Position | None = None

    _positional: ClassVar[tuple[str, ...]] = ("sigma",)

    def __post_init__(self) -> None:
        self._set(
            sigma=check_sigma(self.sigma),
            normalization=_checks.choice("normalization", self.normalization, ("rows", "global")),
        )
        self._check_position()

    @property
    def weights(self) -> str:
        return "per_token"

    @property
    def spheres(self) -> str:
        return "one" if self.normalization == "global" else "own"


@dataclass(frozen=True, eq=False, repr=False)
class LinearAttention(Network):
    """Linear attention f = ((1/sqrt L) sum_l z_l)^2, which is `Tied("square")`.

    Parameters
    ----------
    position : Opposite, Positions, Injected or None
        Positional encoding.

    Raises
    ------
    TypeError
        If the position is none of these.
    """

    position: Position | None = None

    def __post_init__(self) -> None:
        self._check_position()

    @property
    def sigma(self) -> str:
        """Activation of the equivalent tied network."""
        return "square"


@dataclass(frozen=True, eq=False, repr=False)
class Attention(Student):
    """Softmax attention S(z)_lk = exp(z_l z_k) / sum_j exp(z_l z_j), or a reduction of it.

    Parameters
    ----------
    reduction : "none", "trace" or Bilinear
        Output: the matrix S itself (k = L^2), (1/sqrt L) sum_l S_ll (k = 1), or a^T S b (k = 1).
    position : Opposite, Positions, Injected or None
        Positional encoding.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    reduction: str | Bilinear = "none"
    position: Position | None = None

    _positional: ClassVar[tuple[str, ...]] = ("reduction",)

    def __post_init__(self) -> None:
        self._set(reduction=check_reduction(self.reduction))
        self._check_position()

    def outputs(self, L: int) -> int:
        return L * L if isinstance(self.reduction, str) and self.reduction == "none" else 1

    def check(self, L: int, d: int | None = None) -> None:
        super().check(L, d)
        check_reduction(self.reduction, L)

    def _compiled(self, L: int) -> _core.Student:
        return _core.student_attention(L, *compiled_reduction(self.reduction, L))
