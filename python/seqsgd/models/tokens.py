"""Laws of the token entries: mean 0, variance 1/d (X in R^{L x d})."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import _checks
from ._base import Model

NAMES = ("gaussian", "rademacher", "uniform")


class Tokens(Model):
    """Base of token laws with parameters."""

    def check(self, L: int) -> None:
        """Raise ValueError if the sequence length L does not fit."""

    def _keywords(self) -> dict[str, Any]:
        """Return the core's settings `tokens`, `nu` and `covariance`."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class StudentT(Tokens):
    """Independent entries with Student's t distribution, scaled to the variance 1/d.

    Parameters
    ----------
    nu : float > 2
        Degrees of freedom.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    nu: float

    _positional: ClassVar[tuple[str, ...]] = ("nu",)

    def __post_init__(self) -> None:
        self._set(nu=_checks.number("nu", self.nu, 2, open_low=True))

    def _keywords(self) -> dict[str, Any]:
        return law_keywords("student_t") | {"nu": self.nu}


@dataclass(frozen=True, eq=False, repr=False)
class Correlated(Tokens):
    """Gaussian tokens with E[x_l x_k^T] = C_lk I_d / d.

    Parameters
    ----------
    C : (L, L) array
        Symmetric, positive semi-definite matrix (copied). Its diagonal has the variance of each
        token, which is 1 in the paper.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    C: Any

    _positional: ClassVar[tuple[str, ...]] = ("C",)

    def __post_init__(self) -> None:
        C = _checks.array("C", self.C, ("L", "L"))
        if C.shape[0] != C.shape[1]:
            raise ValueError(
                f"C: expected a matrix of shape (L, L), got shape {_checks.letters(C.shape)}"
            )
        size = max(float(np.abs(C).max()), 1e-300)
        if np.abs(C - C.T).max() > 1e-12 * size:
            raise ValueError("C: expected a symmetric matrix")
        lowest = float(np.linalg.eigvalsh(C)[0])
        if lowest < -1e-10 * size:
            raise ValueError(
                f"C: expected a positive semi-definite matrix, got the eigenvalue {lowest:.3g}"
            )
        self._set(C=C)

    def _keywords(self) -> dict[str, Any]:
        return law_keywords("correlated") | {"covariance": self.C}

    def check(self, L: int) -> None:
        if len(self.C) != L:
            raise ValueError(
                f"tokens: expected C of shape (L, L) with L = {L}, got shape "
                f"{_checks.letters(self.C.shape)}"
            )


def law_keywords(tokens: str | Tokens) -> dict[str, Any]:
    """Return the core's settings `tokens`, `nu` and `covariance` for a token law, given as a name
    or a model.
    """
    if isinstance(tokens, Tokens):
        return tokens._keywords()
    return {"tokens": tokens, "nu": 0.0, "covariance": np.empty((0, 0))}
