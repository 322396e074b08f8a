"""The gain of one weight for all tokens over one weight for each token (docs: "What is known
without a simulation", Tied against untied).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import models
from ..models.students import check_sigma
from ._leading import MAX_ORDER, SIGMAS
from .expectation.activation import Coefficients, coefficients
from .expectation.expansion import expansion
from .hermite import Exponent, HermiteTensors, hermite, sie, teacher_of
from .tensors.norms import NormBounds, one_sided


class Bounds(NamedTuple):
    """Lower and upper bound of a number."""

    lower: float
    upper: float

    def __repr__(self) -> str:
        return f"Bounds(lower={self.lower:.6g}, upper={self.upper:.6g})"


@dataclass(frozen=True, eq=False)
class Gain:
    """Ratio of the steps until weak recovery, untied over tied network, for a link and an
    activation, to leading order for d -> infinity.

    Let k be the first order that link and activation have in common, and rho = |<C_k, 1^(x)k>| /
    ||C_k||_op. The tied network starts at m = 1/sqrt d, the untied one at the overlap 1/sqrt d with
    the direction along which it grows. (Rows that all start at 1/sqrt d, the default of `simulate`,
    do so if all rows are equal in that direction.) All gains are 0 if the tied network cannot
    learn.

    Attributes
    ----------
    L, k : int
    sie : Exponent
        Exponent of the link; k is larger if c_sie = 0.
    c : float
        Coefficient c_k of the activation.
    ones, ones_error : float
        <C_k, 1^(x)k>. For integrated links the error is an estimate, five standard errors if it is
        statistical.
    norm : NormBounds
        ||C_k||_op; for even k the maximum of sign(c_k) <C_k, v^(x)k>, which drives the untied
        network.
    tied_learns, untied_learns : bool
        Whether order k drives the student away from m = 0.
    pathology : str
        Why the tied network (or both) cannot learn at order k; "" if it can.
    doubt : str
        Why a lower order than k may matter: the link's exponent or a coefficient of the activation
        is undecided; "" if none is.
    """

    L: int
    k: int
    sie: Exponent
    c: float
    ones: float
    ones_error: float
    norm: NormBounds
    tied_learns: bool
    untied_learns: bool
    pathology: str
    doubt: str = ""

    @property
    def rho(self) -> float:
        """|<C_k, 1^(x)k>| / ||C_k||_op, the middle of `rho_bounds`; 0 if the tied network cannot
        learn.
        """
        return sum(self.rho_bounds) / 2

    @property
    def rho_bounds(self) -> Bounds:
        """Bounds of rho from those of the operator norm and the tensor: certain for analytic
        tensors, otherwise from error estimates.
        """
        if not self.tied_learns:
            return Bounds(0.0, 0.0)
        size = abs(self.ones)
        return Bounds(
            max(size - self.ones_error, 0.0) / self.norm.upper,
            (size + self.ones_error) / self.norm.lower if self.norm.lower > 0 else math.inf,
        )

    @property
    def equal_lr(self) -> float:
        """Gain at equal learning rates, small enough for both: rho, times sqrt L if k = 1."""
        return self.rho * self._root

    @property
    def lr_ratio_paper(self) -> float:
        """Ratio of best learning rates, tied over untied, in the paper: rho."""
        return self.rho

    @property
    def best_lr_paper(self) -> float:
        """Gain at the best learning rates with the paper's ratio: rho^2, times sqrt L if k = 1."""
        return self.rho**2 * self._root

    @property
    def lr_ratio_derived(self) -> float:
        """The same ratio if a row's inhibitive term is L times smaller than the tied one: rho / L,
        or rho / sqrt L if k = 1 (the threshold of ||m||).
        """
        return self.rho / self.L * self._root

    @property
    def best_lr_derived(self) -> float:
        """Gain at the best learning rates with that ratio: rho^2 / L, or rho^2 if k = 1."""
        return self.equal_lr * self.lr_ratio_derived

    @property
    def _root(self) -> float:
        return math.sqrt(self.L) if self.k == 1 else 1.0

    def __repr__(self) -> str:
        doubt = f", {self.doubt}" if self.doubt else ""
        if self.pathology:
            return f"Gain(L={self.L}, k={self.k}: {self.pathology}{doubt})"
        low, high = self.rho_bounds
        rho = f"{self.rho:.6g}" if high - low < 1e-9 * high else f"{low:.6g} to {high:.6g}"
        best = f"{self.best_lr_paper:.6g} (paper), {self.best_lr_derived:.6g} (derived){doubt}"
        return (
            f"Gain(L={self.L}, k={self.k}, rho={rho}: {self.equal_lr:.6g} at equal lr; at the "
            f"best lr {best})"
        )


def gain(
    link: Any,
    sigma: Any = "relu",
    *,
    max_order: int = MAX_ORDER,
    points: int | None = None,
    rng: int = 0,
) -> Gain:
    """Compute the gain of tied over untied weights in steps until weak recovery, at equal and at
    best learning rates, and find pathologies.

    There are two predictions of the gain at the best rates: `best_lr_paper` from the paper's ratio
    of learning rates, `best_lr_derived` from the inhibitive terms of the two flows.

    Parameters
    ----------
    link : SSI with one output, Hermite or Task
    sigma : as for `Tied`
        Only the zeros among the c_k, and the sign of c_k for even k, matter.
    max_order, points, rng : as for `sie`

    Returns
    -------
    Gain

    Raises
    ------
    ValueError
        If the link has more than one output, or link and activation have no common order.
    """
    teacher = teacher_of(link)
    if teacher.outputs != 1:
        raise ValueError(f"link: expected one output, as networks have, got {teacher.outputs}")
    exponent = sie(teacher, max_order=max_order, points=points, rng=rng)
    polynomial = expansion(teacher)
    last = polynomial.degree if polynomial is not None else max_order
    if isinstance(sigma, models.Student):
        its = "pass its sigma" if hasattr(sigma, "sigma") else "attention has none, and no gain"
        raise TypeError(
            "sigma: expected the activation of tied and untied networks, got the student "
            f"{sigma!r}; {its}"
        )
    c = coefficients(check_sigma(sigma), last)
    first = exponent.value or 1
    k, tensors = _common(teacher, c, first, last, points, rng)
    C = tensors[0]
    sign = float(np.sign(c[k]))
    norm = one_sided(C, sign, np.random.default_rng(rng))
    tied, untied = abs(C.ones) > (1 if tensors.exact else SIGMAS) * C.ones_error, norm.lower > 0
    why = ""
    if not tied:
        why = (
            f"<C_{k}, 1^(x){k}> = 0: the tied network does not depend on order {k}, "
            f"{'the untied one does' if untied else 'nor does the untied one learn'}"
        )
    elif k % 2 == 0 and sign * C.ones < 0:
        tied = False
        why = (
            f"c_{k} and <C_{k}, 1^(x){k}> have opposite signs: m = 0 attracts the tied "
            f"network{'' if untied else ' and the untied one'}"
        )
    return Gain(
        teacher.L,
        k,
        exponent,
        c[k],
        C.ones,
        (5.0 if C.dof else 1.0) * C.ones_error,
        norm,
        tied,
        untied,
        why,
        doubts(exponent, c, first, k),
    )


def doubts(exponent: Exponent, c: Coefficients | None, first: int, k: int) -> str:
    """Return in words what is undecided about the orders below k; "" if nothing is."""
    parts = ["the exponent of the link is undecided"] if exponent.verdict == "undecided" else []
    if c is not None and (unsure := [j for j in range(first, min(k, len(c))) if c.doubtful(j)]):
        parts.append(
            f"c_{unsure[0]} of the activation is 0 only within {6 * c.error[unsure[0]]:.1g}"
        )
    return ", ".join(parts)


def _common(
    teacher: models.Teacher, c: Coefficients, first: int, last: int, points: int | None, rng: int
) -> tuple[int, HermiteTensors]:
    """Return the first order at which neither the link nor the activation vanishes."""
    for k in range(first, last + 1):
        if c.nonzero(k):
            C = hermite(teacher, k, points=points, rng=rng)
            if C.sigmas() > (0 if C.exact else SIGMAS):
                return k, C
    unsure = [k for k in range(first, last + 1) if c.doubtful(k)]
    why = f": c_{unsure[0]} is 0 only within {6 * c.error[unsure[0]]:.1g}" if unsure else ""
    raise ValueError(
        "sigma: expected an activation with an order in common with the link, found none up to "
        f"{last}{why}"
    )


__all__ = ["Bounds", "Gain", "doubts", "gain"]
