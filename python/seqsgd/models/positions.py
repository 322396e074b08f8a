"""Positional encodings of the students (docs: "The model and its letters", Students).

Row p_l enters as x_l + p_l / sqrt(d), so z_l = x_l . w + e_l with e_l = p_l . w / sqrt(d).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import _checks
from ._base import Model


class Position(Model):
    """Base of positional encodings."""

    def check(self, L: int, d: int | None = None, weights: int = 1) -> None:
        """Raise ValueError if the sequence length L, the token dimension d or the number of weight
        vectors does not fit.
        """

    def _keywords(self, L: int) -> dict[str, Any]:
        """Return the core's settings `position`, `P` and `c`."""
        return {"position": "none", "P": np.empty((0, 0)), "c": np.empty(0)}


@dataclass(frozen=True, eq=False, repr=False)
class Opposite(Position):
    """Encoding of L = 2 tokens with p_1 = -p_2 = p, ||p|| = 1.

    p is orthogonal to w* and to the initial weights, which needs d >= 3, or d >= 4 with untied
    weights.
    """

    def check(self, L: int, d: int | None = None, weights: int = 1) -> None:
        if L != 2:
            raise ValueError(f"position: Opposite needs L = 2, got L = {L}")
        if d is not None and d < 2 + weights:
            raise ValueError(
                f"d: Opposite needs d >= {2 + weights} (p is orthogonal to w* and to the initial "
                f"weights), got {d}"
            )

    def _keywords(self, L: int) -> dict[str, Any]:
        return super()._keywords(L) | {"position": "opposite"}


@dataclass(frozen=True, eq=False, repr=False)
class Positions(Position):
    """Encoding by any matrix P, whose row l is p_l.

    Parameters
    ----------
    P : (L, d) array
        Copied as float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    P: Any

    _positional: ClassVar[tuple[str, ...]] = ("P",)

    def __post_init__(self) -> None:
        self._set(P=_checks.array("P", self.P, ("L", "d")))

    def check(self, L: int, d: int | None = None, weights: int = 1) -> None:
        rows, columns = self.P.shape
        if rows != L:
            raise ValueError(
                f"position: expected P of shape (L, d) with L = {L}, got shape "
                f"{_checks.letters(self.P.shape)}"
            )
        if d is not None and columns != d:
            raise ValueError(f"d: expected {columns}, the columns of P, got {d}")

    def _keywords(self, L: int) -> dict[str, Any]:
        return super()._keywords(L) | {"position": "matrix", "P": self.P}


@dataclass(frozen=True, eq=False, repr=False)
class Injected(Position):
    """Constant c_l added to the field z_l = x_l . w + c_l.

    It has no direction of its own: the gradient is G = sum_l delta_l x_l.

    Parameters
    ----------
    c : float or (L,) array
        One constant for all tokens, or one for each (copied).

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    c: Any

    _positional: ClassVar[tuple[str, ...]] = ("c",)

    def __post_init__(self) -> None:
        scalar = isinstance(self.c, (bool, str)) or np.ndim(self.c) == 0
        self._set(c=_checks.number("c", self.c) if scalar else _checks.array("c", self.c, ("L",)))

    def check(self, L: int, d: int | None = None, weights: int = 1) -> None:
        if np.ndim(self.c) == 1 and len(self.c) != L:
            raise ValueError(f"position: expected c of length L = {L}, got {len(self.c)}")

    def _keywords(self, L: int) -> dict[str, Any]:
        c = np.broadcast_to(np.asarray(self.c, dtype=np.float64), (L,))
        return super()._keywords(L) | {"position": "injected", "c": np.ascontiguousarray(c)}
