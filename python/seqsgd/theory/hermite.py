"""Hermite tensors of links, Hermite coefficients of activations, and the sequence information
exponent (docs: "What is known without a simulation", Hermite tensors and exponents).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import _checks, models
from .._checks import Float64
from .._lazy import scipy
from ..models.students import check_sigma
from .expectation import cubature
from .expectation.activation import ORDER, Coefficients, coefficients
from .expectation.expansion import expansion
from .expectation.line import Line
from .tensors.norms import NormBounds
from .tensors.odeco import Odeco
from .tensors.symmetric import SymmetricTensor


@dataclass(frozen=True, eq=False)
class HermiteTensors:
    """C_k(g) = E[g(z) H_k(z)], one symmetric tensor for each output of g.

    Attributes
    ----------
    order : int
    components : tuple of SymmetricTensor
        The tensors, by output; a matrix target is in row-major order. Indexing and iterating give
        them too.
    exact : bool
        Whether the tensors are analytic and their errors bound the rounding. Otherwise the errors
        are estimates.
    method : str
    """

    order: int
    components: tuple[SymmetricTensor, ...]
    exact: bool
    method: str

    def __len__(self) -> int:
        return len(self.components)

    def __getitem__(self, output: int) -> SymmetricTensor:
        return self.components[output]

    def __iter__(self) -> Iterator[SymmetricTensor]:
        return iter(self.components)

    @property
    def norm(self) -> float:
        """Frobenius norm over all outputs."""
        return math.hypot(*(c.norm for c in self))

    @property
    def norm_error(self) -> float:
        """Frobenius norm of the errors."""
        return math.hypot(*(c.norm_error for c in self))

    def dense(self) -> Float64:
        """Return all entries, shape (outputs, L, ..., L) with k axes of length L.

        Refused if there are more than 2^24 numbers.
        """
        return np.stack([c.dense() for c in self])

    def sigmas(self) -> float:
        """Distance of the tensors from zero: the largest entry over its error.

        If the error is statistical, it is the equivalent number of Gaussian standard deviations for
        the largest of so many entries. It is inf for analytic tensors that are not zero.
        """
        worst = 0.0
        for c in self:
            if self.exact:
                worst = max(worst, math.inf if bool((np.abs(c.value) > c.error).any()) else 0.0)
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = float(
                    np.nan_to_num(np.abs(c.value) / c.error, nan=0.0, posinf=1e300).max(initial=0.0)
                )
            worst = max(
                worst, _gaussian(ratio, c.dof, len(self) * len(c.value)) if c.dof else ratio
            )
        return worst

    def __repr__(self) -> str:
        error = "" if self.exact else f" +- {self.norm_error:.1g}"
        return (
            f"HermiteTensors(order={self.order}, L={self[0].L}, outputs={len(self)}, "
            f"norm={self.norm:.6g}{error}, {self.method})"
        )


def _gaussian(t: float, dof: int, tries: int) -> float:
    """Return the number of Gaussian standard deviations as unlikely as the largest of `tries`
    Student variables reaching t (Bonferroni).
    """

    p = min(tries * 2 * float(scipy.stats.t.sf(t, dof)), 1.0)
    return float(scipy.stats.norm.isf(p / 2)) if p > 0 else math.inf


def teacher_of(link: Any) -> models.Teacher:
    """Return the teacher of a link, a teacher or a task."""
    if isinstance(link, models.Task):
        return link.teacher
    if isinstance(link, models.Hermite):
        return models.SSI(link, link.tokens)
    if isinstance(link, str):
        raise TypeError(
            f"link: a name needs its length, expected SSI({link!r}, L=...), got {link!r}"
        )
    teacher: models.Teacher = _checks.instance(
        "link", link, models.Teacher, "a teacher, a Task or Hermite data"
    )
    return teacher


def _even(teacher: models.Teacher) -> bool:
    """Return whether g(-z) = g(z) is known: softmax(t t^T) at t = weights z."""
    return isinstance(teacher, models.PositionalSemantic) or (
        isinstance(teacher, models.AttentionTarget) and not np.any(teacher.offset)
    )


def zeros(L: int, order: int, outputs: int) -> tuple[SymmetricTensor, ...]:
    """Return tensors without entries."""
    return (
        SymmetricTensor(L, order, np.zeros((0, order), dtype=np.int64), np.zeros(0), np.zeros(0)),
    ) * outputs


def hermite(link: Any, order: int, *, points: int | None = None, rng: int = 0) -> HermiteTensors:
    """Compute the Hermite tensor C_k(g) = E[g(z) H_k(z)] = E[grad^k g(z)], z ~ N(0, I_L).

    Named links and Hermite data are exact, at any L; only nonzero entries are listed. Other links
    are compiled and integrated: in smooth pieces for one token, by a trapezoidal rule up to 4
    tokens (3 for Python functions), by randomised quasi-Monte Carlo beyond. Each entry has an
    error, which is an estimate: the function is unknown between the points where it is evaluated.

    Parameters
    ----------
    link : SSI, PositionalSemantic, AttentionTarget, Task or Hermite
        For a task its teacher is used; Hermite data use the shortest sequence that fits.
    order : int >= 0
        k.
    points : int, optional
        Approximate number of evaluations of a link that is integrated. With one token it is the
        number of first samples, 2^15 by default; two jumps closer than about 30 / points may be
        missed.
    rng : int
        Seed of the quasi-Monte Carlo scrambles.

    Returns
    -------
    HermiteTensors
        g = sum_k <C_k, H_k> / k!. Entry n of C_k is n! times the coefficient of prod_l
        He_{n_l}(z_l) in g.

    Raises
    ------
    ValueError
        If there are too many entries to store or to integrate, or the link has values that are not
        finite.

    Examples
    --------
    >>> import seqsgd as sq
    >>> C = sq.theory.hermite(sq.SSI("sum_h2", L=1000), 2)
    >>> len(C[0].value), round(C[0].ones / 1000, 12)
    (1000, 1.414213562373)
    """
    teacher = teacher_of(link)
    order = _checks.integer("order", order, 0)
    seed, points = _checked(rng, points)
    return _tensors(teacher, order, points, seed, None)


def _checked(rng: int, points: int | None) -> tuple[int, int | None]:
    seed = _checks.integer("rng", rng, 0, unbounded=True)
    return seed, None if points is None else _checks.integer("points", points, 2**9)


def _tensors(
    teacher: models.Teacher, order: int, points: int | None, seed: int, line: Line | None
) -> HermiteTensors:
    """Compute the tensors; `line` is a link of one token that was sampled before."""
    L, outputs = teacher.L, teacher.outputs
    polynomial = expansion(teacher)
    if polynomial is not None:
        return HermiteTensors(order, (polynomial.tensor(order),), True, "Hermite algebra")
    if order % 2 == 1 and _even(teacher):
        return HermiteTensors(order, zeros(L, order, outputs), True, "zero, since the link is even")
    core = teacher._compiled()
    rule = cubature.rule(L, order, outputs, points, core.calls_python)
    if L == 1:
        line = cubature.line(core, rule, order) if line is None or line.order < order else line
        return HermiteTensors(order, cubature.on_line(line, outputs, order), False, line.method)
    components, how = cubature.integrate(core, outputs, rule, order, seed)
    return HermiteTensors(order, components, False, how)


def hermite_coefficients(sigma: Any, order: int = ORDER) -> Coefficients:
    """Compute c_k(sigma) = E[sigma(u) He_k(u)] for k = 0 .. order, u ~ N(0, 1): sigma = sum_k (c_k
    / k!) He_k.

    Polynomials, relu and erf have closed forms; tanh and sigmoid use a trapezoidal rule. Your own
    functions are sampled, cut at their jumps and kinks (found by bisection) and integrated piece by
    piece. Their errors are estimates, which miss features narrower than 0.001.

    Parameters
    ----------
    sigma : str, HermiteSeries, CActivation, PyActivation or a pair of functions
        As for `Tied`.
    order : int in [0, 60]

    Returns
    -------
    Coefficients
        `value` and `error`, each (order + 1,) float64.
    """
    return coefficients(check_sigma(sigma), _checks.integer("order", order, 0, 60))


class Below(NamedTuple):
    """An order that was examined before, and the bound on its tensor."""

    order: int
    bound: float

    def __repr__(self) -> str:
        return f"Below(order={self.order}, bound={self.bound:.3g})"


@dataclass(frozen=True, eq=False)
class Exponent:
    """The sequence information exponent, min{k >= 1 : C_k(g) != 0}, and how certain it is.

    Attributes
    ----------
    value : int or None
        The first order found different from zero; None if there is none up to the largest order
        tried.
    verdict : str
        "certain": by algebra or symmetry. "beyond doubt": C_value is not zero at `sigmas` standard
        deviations (or times the quadrature's error estimate), and the orders below are zero within
        the tolerance. "undecided": otherwise; `int()` then refuses.
    sigmas : float
        Distance of C_value from zero in errors; inf if certain.
    norm, norm_error : float
        Frobenius norm of C_value over all outputs, and its error.
    below : tuple of (order, bound)
        For each lower order, 0 if ||C_k|| is zero by algebra or symmetry, otherwise its norm plus
        `sigmas` times its error estimate.
    tol : float
        Tolerance: ||C_k|| <= tol sqrt(k! Var g) counted as zero. Not used if the tensors are exact.
    """

    value: int | None
    verdict: str
    sigmas: float
    norm: float
    norm_error: float
    below: tuple[Below, ...]
    tol: float

    def __int__(self) -> int:
        if self.value is None or self.verdict == "undecided":
            raise ValueError(
                f"the exponent is undecided: {self!r}; more `points` or a larger `tol` may decide "
                "it"
            )
        return self.value

    __index__ = __int__

    def __repr__(self) -> str:
        below = "".join(f", ||C_{k}|| {'= 0' if b == 0 else f'<= {b:.2g}'}" for k, b in self.below)
        if self.value is None:
            return f"Exponent(undecided{below})"
        sure = (
            self.verdict
            if math.isinf(self.sigmas)
            else f"{self.verdict}, not zero at {self.sigmas:.3g} sigma"
        )
        return (
            f"Exponent({self.value}: {sure}, ||C_{self.value}|| = {self.norm:.6g} +- "
            f"{self.norm_error:.1g}{below})"
        )


def sie(
    link: Any,
    *,
    tol: float = 1e-9,
    sigmas: float = 6.0,
    max_order: int = 12,
    points: int | None = None,
    rng: int = 0,
) -> Exponent:
    """Find the sequence information exponent, the smallest k >= 1 with C_k(g) != 0 in some output.

    Parameters
    ----------
    link, points, rng : as for `hermite`
    tol : float > 0
        An order whose tensor is certainly at most tol sqrt(k! Var g) counts as zero. Only for links
        that are integrated; quasi-Monte Carlo (many tokens) needs about 1e-3.
    sigmas : float > 0
        Number of standard deviations from which an order counts as nonzero; for quadrature,
        multiples of its error estimate.
    max_order : int >= 1
        Largest order that is tried, for links that are integrated.

    Raises
    ------
    ValueError
        If the link is constant.
    """
    teacher = teacher_of(link)
    tol = _checks.number("tol", tol, 0, open_low=True)
    sigmas = _checks.number("sigmas", sigmas, 0, open_low=True)
    max_order = _checks.integer("max_order", max_order, 1)
    seed, points = _checked(rng, points)
    polynomial = expansion(teacher)
    last, scale = (
        (polynomial.degree, 0.0)
        if polynomial is not None
        else (max_order, _deviation(teacher, points, seed))
    )
    line = None
    if polynomial is None and teacher.L == 1:
        core = teacher._compiled()
        line = cubature.line(
            core, cubature.rule(1, max_order, teacher.outputs, points, core.calls_python), max_order
        )
    below: list[Below] = []
    sure = True
    for k in range(1, last + 1):
        C = _tensors(teacher, k, points, seed, line)
        far = C.sigmas()
        if C.exact:
            bound = 0.0
            zero, found = far == 0, far > 0
        else:
            bound = C.norm + sigmas * C.norm_error
            zero = bound <= tol * scale * math.sqrt(math.factorial(k))
            found = not zero and far > sigmas
        if found:
            verdict = (
                ("certain" if C.exact and all(b == 0 for _, b in below) else "beyond doubt")
                if sure
                else "undecided"
            )
            return Exponent(k, verdict, far, C.norm, C.norm_error, tuple(below), tol)
        sure = sure and zero
        below.append(Below(k, bound))
    if polynomial is not None:
        raise ValueError(
            f"link: expected one that depends on z*, got a constant, {_checks.short(teacher)}"
        )
    return Exponent(None, "undecided", 0.0, 0.0, 0.0, tuple(below), tol)


def _deviation(teacher: models.Teacher, points: int | None, rng: int) -> float:
    """Return sqrt(Var g) over all outputs of an integrated link; refuse a constant."""
    core = teacher._compiled()
    rule = cubature.rule(teacher.L, 0, 1, points, core.calls_python)
    origin = core(
        np.zeros((1, teacher.L))
    )  # differences to g(0), so that a constant cancels exactly
    square = cubature.integrate(
        lambda z: np.sum((core(z) - origin) ** 2, axis=1, keepdims=True), 1, rule, 0, rng
    )[0][0]
    mean = cubature.integrate(lambda z: core(z) - origin, teacher.outputs, rule, 0, rng)[0]
    variance = float(square.value[0]) - sum(float(c.value[0]) ** 2 for c in mean)
    if square.value[0] == 0 or variance <= 1e-14 * square.value[0]:
        raise ValueError(
            f"link: expected one that depends on z*, got a constant, {_checks.short(teacher)}"
        )
    return math.sqrt(variance)


__all__ = [
    "Coefficients",
    "Exponent",
    "HermiteTensors",
    "NormBounds",
    "Odeco",
    "SymmetricTensor",
    "hermite",
    "hermite_coefficients",
    "sie",
]
