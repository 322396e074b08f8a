"""Hermite coefficients c_k(sigma) = E[sigma(u) He_k(u)], u ~ N(0, 1): closed forms, and quadrature
of the compiled activation for the rest.

Your own function is a black box, which may have jumps and kinks anywhere. It is cut there
(`pieces.py`), and its error is an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import models
from ..._checks import Float64
from ...models.functions import compiled_activation
from .gaussian import trapezoid
from .line import Line, orthonormal

ORDER = 30


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Hermite coefficients c_0 .. c_order of an activation: sigma = sum_k (c_k / k!) He_k.

    Attributes
    ----------
    value, error : (order + 1,) float64
        The error bounds the rounding if the method is a closed form; for tanh and sigmoid it
        follows from analyticity. For your own function it is an *estimate*, from two partitions
        that share only the jumps and kinks that were found; features narrower than 0.001 can be
        missed.
    method : str
        How they were computed; for your own function, where it was cut.
    """

    value: Float64
    error: Float64
    method: str

    def __getitem__(self, k: int) -> float:
        return float(self.value[k])

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        root = np.sqrt([float(math.factorial(k)) for k in range(len(self))])
        return (
            f"Coefficients(c_0 .. c_{len(self) - 1}, c_k / sqrt(k!) to "
            f"{(self.error / root).max():.1g}, {self.method})"
        )

    def nonzero(self, k: int) -> bool:
        """Return whether each c_k differs from 0 by more than six times its error."""
        return bool(abs(self.value[k]) > 6 * self.error[k])

    def doubtful(self, k: int) -> bool:
        """Return whether each c_k may be 0 only because its error is large, more than 1e-9 of the
        largest c_j / sqrt(j!).
        """
        root = np.sqrt([float(math.factorial(j)) for j in range(len(self))])
        size = float(np.abs(self.value / root).max())
        return not self.nonzero(k) and bool(self.error[k] / root[k] > 1e-9 * size)


def coefficients(sigma: Any, order: int, shift: float = 0.0) -> Coefficients:
    """Compute the coefficients of u -> sigma(u + shift) for a checked activation
    (`seqsgd.models.students.check_sigma`).
    """
    if shift:
        return _piecewise(sigma, order, shift)
    closed = _series(sigma, order)
    if closed is None and isinstance(sigma, str) and sigma in _CLOSED:
        closed = np.array([_CLOSED[sigma](k) for k in range(order + 1)])
    if closed is not None:
        return Coefficients(closed, 2.0**-49 * np.abs(closed), "closed form")
    if isinstance(sigma, str):
        return _trapezoidal(sigma, order)
    return _piecewise(sigma, order)


def _series(sigma: Any, order: int) -> Float64 | None:
    """Convert polynomials: c_k = k! times the coefficient of He_k."""
    if isinstance(sigma, models.HermiteSeries):
        a = list(sigma.coefficients)
    elif isinstance(sigma, str) and sigma.startswith("He"):
        a = [0.0] * int(sigma[2:]) + [1.0]
    else:
        known = {
            "identity": [0.0, 1.0],
            "square": [1.0, 0.0, 1.0],
            "h2": [0.0, 0.0, math.sqrt(0.5)],
        }
        if sigma not in known:
            return None
        a = known[sigma]
    return np.array([a[k] * math.factorial(k) if k < len(a) else 0.0 for k in range(order + 1)])


def _relu(k: int) -> float:
    """Coefficients of relu: relu'' is a delta at 0, so c_k = He_{k-2}(0) / sqrt(2 pi) for k >= 2;
    computed with integers and rounded once.
    """
    if k < 2:
        return 0.5 if k else 1 / math.sqrt(2 * math.pi)
    j, odd = divmod(k - 2, 2)
    return 0.0 if odd else (-1) ** j * math.prod(range(1, 2 * j, 2)) / math.sqrt(2 * math.pi)


def _erf(k: int) -> float:
    """Coefficients of erf: E erf(u + x) = erf(x / sqrt 3), and c_k is its k-th derivative at 0."""
    j, even = divmod(k - 1, 2)
    return (
        0.0
        if k == 0 or even
        else 2
        / math.sqrt(math.pi)
        * (-1) ** j
        * (math.factorial(2 * j) // math.factorial(j))
        * 3.0 ** (-k / 2)
    )


_CLOSED = {"relu": _relu, "erf": _erf}


def _trapezoidal(sigma: str, order: int) -> Coefficients:
    """Coefficients of tanh and sigmoid, analytic in a strip: the rule converges geometrically; the
    rest of the error is rounding.
    """
    f = compiled_activation(sigma)
    width = 9 + 2 * math.sqrt(order)  # He_k exp(-u^2/4) decays beyond 2 sqrt k
    rules = []
    for h in (0.05, 0.07):
        u, w = trapezoid(h, width)
        he, root = orthonormal(u, order)
        terms = he * (w * f(u)[0])
        rules.append((np.array([math.fsum(t) for t in terms]), np.abs(terms).sum(axis=1)))
    (fine, size), (coarse, _) = rules
    error = np.abs(fine - coarse) + 2.0**-51 * size
    if sigma in ("tanh", "sigmoid"):  # odd functions, but for sigmoid(0) = 1/2
        fine[::2] = error[::2] = 0.0
        fine[0] = f(np.zeros(1))[0][0]
    return Coefficients(fine * root, error * root, "trapezoidal rule")


def _piecewise(sigma: Any, order: int, shift: float = 0.0) -> Coefficients:
    f = compiled_activation(sigma)
    line = Line(lambda u: f(u)[0][:, None], order, shift)
    value, error = line.coefficients()
    return Coefficients(value[:, 0], error[:, 0], line.method)
