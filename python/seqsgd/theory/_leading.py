"""The flow near the uninformative point to leading order, dr/dt = b r^(k-1) - (gamma/2) V r, and
the resulting times.

Without positional vectors E[y . f] = sum_k (m^k / k!) <C_k(g), C_k(f)> (C_k(f) of the student as a
function of its fields), and nothing else in the risk depends on m. A tied network has C_k(f) = c_k
L^(-k/2) 1^(x)k. For the half square loss (twice b and four times V for the square):

    tied       r = m                 b = c_k L^(-k/2) <C_k, 1^(x)k> / (k-1)!
    attention  r = m                 b = <C_k(g), C_k(f)> / (k-1)!
    untied     r = ||m|| / sqrt L    b = c_k ||C_k||_op / (L (k-1)!), V / L in place of V, once m
    points along the maximiser of <C_k, m^(x)k>
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import _checks, models
from .._checks import Float64
from .._lazy import scipy
from .expectation import cubature
from .expectation.activation import Coefficients, coefficients
from .hermite import HermiteTensors, hermite
from .tensors.symmetric import SymmetricTensor

MAX_ORDER = 12
SIGMAS = 6.0


class BestRate(NamedTuple):
    """The learning rate with the fewest steps, and the number of steps; (nan, inf) if there is
    none.
    """

    lr: float
    steps: float

    def __repr__(self) -> str:
        return f"BestRate(lr={self.lr:.6g}, steps={self.steps:.6g})"


def checked_start(r0: object, eta: object) -> tuple[float, float]:
    """Check the start and the end of a passage."""
    return _checks.number("r0", r0, 0, 1), _checks.number("eta", eta, 0, 1, open_low=True)


@dataclass(frozen=True)
class LeadingOrder:
    """dr/dt = b r^(k-1) - lr noise r / 2 in t = gamma tau / d, for r > 0."""

    k: int
    b: float
    noise: float

    def time(self, lr: float, r0: float, eta: float) -> float:
        """Time from r0 to eta at lr >= 0, in closed form; inf if eta is never reached, 0 if r0 is
        beyond it.
        """
        r0, eta = checked_start(r0, eta)
        return self._time(_checks.number("lr", lr, 0), r0, eta)

    def _time(self, lr: float, r0: float, eta: float) -> float:
        k, b, g = self.k, self.b, lr * self.noise / 2
        if r0 >= eta:
            return 0.0
        if k == 2:
            return math.log(eta / r0) / (b - g) if b > g and r0 > 0 else math.inf
        if k == 1:  # du/dt = b - g u with u = r
            power, start, end = 1, r0, eta
        elif r0 > 0:  # du/dt = -(k-2) (b - g u) with u = r^-(k-2)
            power, start, end = k - 2, eta ** (2 - k), r0 ** (2 - k)
        else:
            return math.inf
        if b <= g * end:
            return math.inf
        if g * (end - start) < 1e-8 * b:
            return (end - start) / (power * b)
        return math.log1p(g * (end - start) / (b - g * end)) / (power * g)

    def steps(self, d: float, lr: float, r0: float, eta: float) -> float:
        """Steps from r0 to eta."""
        d, lr = _checks.number("d", d, 1), _checks.number("lr", lr, 0, open_low=True)
        return self.time(lr, r0, eta) * d / lr

    def largest_lr(self, r0: float, eta: float) -> float:
        """Learning rate from which on eta is not reached."""
        r0, eta = checked_start(r0, eta)
        if self.b <= 0 or self.noise <= 0:
            return 0.0 if self.b <= 0 else math.inf
        return 2 * self.b / self.noise * (1 / eta if self.k == 1 else r0 ** (self.k - 2))

    def best_lr(self, r0: float, eta: float) -> float:
        """Learning rate with the fewest steps; gamma V / (2 b) is 1/2 of its largest value for k =
        2, about 0.72 for k = 1 and for k >= 3.
        """

        r0, eta = checked_start(r0, eta)
        top = self.largest_lr(r0, eta)
        if not 0 < top < math.inf or r0 >= eta:
            return math.nan
        found = scipy.optimize.minimize_scalar(
            lambda x: math.log(self._time(x * top, r0, eta) / x),
            bounds=(1e-6, 1 - 1e-9),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(found.x) * top


@dataclass(frozen=True)
class Pairing:
    """<C_k(g), C_k(f)> of a task at one order; `exact` up to rounding."""

    k: int
    value: float
    error: float
    exact: bool

    @property
    def nonzero(self) -> bool:
        """Whether the pairing differs from zero beyond doubt."""
        return abs(self.value) > (1 if self.exact else SIGMAS) * self.error


def student_coefficients(task: models.Task, order: int) -> Coefficients | None:
    """Return c_k of a network, an injected constant included; None for softmax attention."""
    student = task.student
    if isinstance(student, models.Attention):
        return None
    c = student.position.c if isinstance(student.position, models.Injected) else 0.0
    return coefficients(
        student.sigma,  # type: ignore[attr-defined]
        order,
        float(np.sum(np.broadcast_to(np.asarray(c, dtype=np.float64), (task.L,))))
        / math.sqrt(task.L),
    )


def pairing(
    task: models.Task,
    k: int,
    points: int | None = None,
    rng: int = 0,
    c: Coefficients | None = None,
) -> Pairing:
    """Compute <C_k(g), C_k(f)> at e = 0, summed over outputs. For untied weights with equal m_l it
    equals the tied one.

    `c` has the coefficients of the student, if they are known.
    """
    c = student_coefficients(task, k) if c is None else c
    if c is not None:
        if not c.nonzero(k):
            return Pairing(k, 0.0, 0.0, c.error[k] == 0)
        C = hermite(task, k, points=points, rng=rng)
        scale = task.L ** (-k / 2)
        error = abs(c[k]) * C[0].ones_error + abs(C[0].ones) * c.error[k]
        return Pairing(k, c[k] * scale * C[0].ones, scale * error, C.exact)
    if k % 2 and not isinstance(task.student.position, models.Injected):  # softmax(z z^T) is even
        return Pairing(k, 0.0, 0.0, True)
    g = hermite(task, k, points=points, rng=rng)
    f = _student_tensors(task, k, g, points, rng)
    value = error = 0.0
    for a, b in zip(g, f, strict=True):
        value += float(a.multiplicity @ (a.value * b.value))
        error += float(
            a.multiplicity
            @ (np.abs(a.value) * b.error + a.error * np.abs(b.value) + a.error * b.error)
        )
    return Pairing(k, value, error, all(len(a.value) == 0 for a in g))


def _student_tensors(
    task: models.Task, k: int, g: HermiteTensors, points: int | None, rng: int
) -> tuple[SymmetricTensor, ...]:
    """Return C_k(f) of an attention student, at the entries where C_k(g) has any."""
    core, shift = task._compiled(), task._injected()
    index = g[0].index
    if len(index) == 0:
        return g.components
    rule = cubature.rule(task.L, k, task.k, points, False, len(index))
    return cubature.integrate(
        lambda z: core.output(np.ascontiguousarray(z + shift)), task.k, rule, k, rng + 1, index
    )[0]


def equal_rows(C: SymmetricTensor, sign: float, fastest: Float64) -> tuple[float | None, float]:
    """Return sign <C, v^(x)k> at v = 1 / sqrt L (for odd k its absolute value), and the component
    of v along the growing direction.

    The first is None if equal rows do not stay equal.
    """
    L, k = C.L, C.order
    v = np.full(L, 1 / math.sqrt(L))
    w = C.contract(v[None])[0]
    along = float(w @ v)
    off, size = float(np.linalg.norm(w - along * v)), float(np.linalg.norm(w))
    if size > 1e-9 * C.norm and off <= 1e-9 * size + 6 * C.norm_error:
        return abs(along) if k % 2 else sign * along, 1.0
    if k == 2 and L <= 2000:  # there may be several directions that grow alike
        values, vectors = np.linalg.eigh(sign * C.dense())
        share = float(
            np.linalg.norm(v @ vectors[:, values >= values[-1] - 1e-9 * np.abs(values).max()])
        )
    else:
        share = abs(float(v @ fastest))
    return None, share if share > 1e-12 else 0.0


__all__ = [
    "BestRate",
    "LeadingOrder",
    "Pairing",
    "checked_start",
    "equal_rows",
    "pairing",
    "student_coefficients",
]
