"""Teachers: labels y = g(z*) of the fields z* = X w* in R^L (docs: "The model and its letters",
Data).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import _checks, _core
from ._base import Model
from .functions import CLink, Hermite, Named, bare
from .students import Bilinear, check_reduction, compiled_reduction

SCALES: dict[str, Callable[[int], float]] = {
    "1": lambda L: 1.0,
    "sqrt(L)": math.sqrt,
    "1/sqrt(L)": lambda L: 1 / math.sqrt(L),
    "L": float,
    "1/L": lambda L: 1 / L,
}


class Teacher(Model, ABC):
    """Base of targets, with sequence length `L` and output dimension `outputs`."""

    L: int

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Output dimension k."""

    @abstractmethod
    def _compiled(self) -> _core.Link:
        """Return the core's link."""


@dataclass(frozen=True, eq=False, repr=False)
class SSI(Teacher):
    """Sequence single-index target y = scale * g(z*).

    Parameters
    ----------
    link : str, Hermite, CLink, callable or Named
        The function g: a name (`seqsgd.links()` lists them), Hermite data, a C function, or a
        Python function that takes z* (L,) float64 and returns a number or (k,). Python functions
        are slow: each step takes the interpreter's lock, so threads do not help.
    L : int
        Sequence length.
    scale : float or str
        A number, or "1", "1/sqrt(L)", "1/L", "sqrt(L)", "L". Your own functions must contain their
        scale.
    k : int
        Output dimension of a Python function. Links with a name and Hermite links have 1; a CLink
        has its own k.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    link: str | Hermite | CLink | Named | Callable[[_checks.Float64], Any]
    L: int
    scale: float | str = 1.0
    k: int = 1

    _positional: ClassVar[tuple[str, ...]] = ("link",)
    _functions: ClassVar[tuple[str, ...]] = ("link",)

    def __post_init__(self) -> None:
        L = _checks.integer("L", self.L, 1, _checks.INT32)
        k = _checks.integer("k", self.k, 1, _checks.INT32)
        if isinstance(self.scale, str):
            scale: float | str = _checks.choice("scale", self.scale, tuple(SCALES))
        else:
            scale = _checks.number("scale", self.scale)
        self._set(L=L, scale=scale, k=k)
        if isinstance(self.link, str):
            self._set(link=_checks.choice("link", self.link, _core.link_names()))
            _core.link_named(self.link, L, 1.0)  # raises if L is too small for this link
        elif isinstance(self.link, Hermite):
            if self.link.tokens > L:
                raise ValueError(
                    f"link: expected tokens between 1 and L = {L}, got {self.link.tokens}"
                )
        elif not isinstance(self.link, CLink) and (
            isinstance(self.link, type) or not callable(bare(self.link))
        ):
            raise TypeError(
                "link: expected a name, Hermite, CLink or a function, got "
                f"{_checks.short(self.link)}"
            )
        if isinstance(self.link, (str, Hermite)):
            if k != 1:
                raise ValueError(f"k: named and Hermite links have one output, got {k}")
        elif self.scale_value != 1:
            raise ValueError(
                f"scale: expected 1 for a function of your own (scale inside it), got {scale!r}"
            )
        if isinstance(self.link, CLink):
            if k not in (1, self.link.k):
                raise ValueError(f"k: expected {self.link.k} as the CLink, got {k}")
            self._set(k=self.link.k)

    @property
    def scale_value(self) -> float:
        """Scale as a number."""
        return SCALES[self.scale](self.L) if isinstance(self.scale, str) else self.scale

    @property
    def outputs(self) -> int:
        return self.k

    def _compiled(self) -> _core.Link:
        g = self.link
        if isinstance(g, str):
            return _core.link_named(g, self.L, self.scale_value)
        if isinstance(g, Hermite):
            return g._compiled(self.L, self.scale_value)
        if isinstance(g, CLink):
            return g._compiled(self.L)
        return _core.link_python(self.L, self.k, bare(g))


@dataclass(frozen=True, eq=False, repr=False)
class PositionalSemantic(Teacher):
    """Matrix target (1 - omega) softmax(z* z*^T) + omega A, with the softmax by rows (docs: "The
    model and its letters", Data).

    Parameters
    ----------
    omega : float in [0, 1]
        Weight of the positional part A.
    a : float in (0, 1]
        Defines A if no matrix is given: L = 2 and A = softmax([[a^2, -a^2], [-a^2, a^2]]).
    A : (L, L) array, optional
        Positional part, a matrix whose rows are >= 0 and sum to 1 (copied). It replaces `a` and
        decides L.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    omega: float
    a: float = 1.0
    A: Any = None

    _positional: ClassVar[tuple[str, ...]] = ("omega",)

    def __post_init__(self) -> None:
        self._set(
            omega=_checks.number("omega", self.omega, 0, 1),
            a=_checks.number("a", self.a, 0, 1, open_low=True),
        )
        if self.A is None:
            return
        A = _checks.array("A", self.A, ("L", "L"))
        if A.shape[0] != A.shape[1]:
            raise ValueError(
                f"A: expected a matrix of shape (L, L), got shape {_checks.letters(A.shape)}"
            )
        if (A < 0).any() or np.abs(A.sum(axis=1) - 1).max() > 1e-9:
            raise ValueError("A: expected rows that are >= 0 and sum to 1")
        if self.a != 1.0:
            raise ValueError("a: has no meaning when A is given")
        self._set(A=A)

    @property
    def L(self) -> int:  # type: ignore[override]
        """Sequence length."""
        return 2 if self.A is None else len(self.A)

    @property
    def matrix(self) -> _checks.Float64:
        """Positional part A, (L, L) float64."""
        if self.A is not None:
            return np.array(self.A)
        p = 1 / (1 + math.exp(-2 * self.a**2))
        return np.array([[p, 1 - p], [1 - p, p]])

    @property
    def outputs(self) -> int:
        return self.L**2

    def _compiled(self) -> _core.Link:
        return _core.link_positional_semantic(self.omega, self.matrix)


@dataclass(frozen=True, eq=False, repr=False)
class AttentionTarget(Teacher):
    """Attention target R(softmax(t t^T)) with t = weights * z* + offset (docs: "The model and its
    letters", Data).

    Parameters
    ----------
    L : int
        Sequence length.
    reduction : "none", "trace" or Bilinear
        Reduction R of the attention matrix, as in :class:`Attention`.
    weights : float or (L,) array
        Factor of each token.
    offset : float or (L,) array
        Positional part inside the softmax.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    L: int
    reduction: str | Bilinear = "none"
    weights: Any = 1.0
    offset: Any = 0.0

    def __post_init__(self) -> None:
        self._set(L=_checks.integer("L", self.L, 1, _checks.INT32))
        self._set(reduction=check_reduction(self.reduction, self.L))
        for name in ("weights", "offset"):
            value = getattr(self, name)
            scalar = isinstance(value, (bool, str)) or np.ndim(value) == 0
            self._set(
                **{
                    name: _checks.number(name, value)
                    if scalar
                    else _checks.array(name, value, (self.L,))
                }
            )

    @property
    def outputs(self) -> int:
        return self.L**2 if isinstance(self.reduction, str) and self.reduction == "none" else 1

    def _compiled(self) -> _core.Link:
        weights, offset = (
            np.ascontiguousarray(np.broadcast_to(np.asarray(x, dtype=np.float64), (self.L,)))
            for x in (self.weights, self.offset)
        )
        name, a, b = compiled_reduction(self.reduction, self.L)
        return _core.link_attention(name, a, b, weights, offset)


__all__ = ["SCALES", "SSI", "AttentionTarget", "PositionalSemantic", "Teacher"]
