"""Independent ways to the numbers of seqsgd.theory: Mehler's expansion for attention, adaptive
nested quadrature for networks, plain Monte Carlo for all.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import seqsgd as sq
from numpy.polynomial.hermite_e import hermeval
from reference import positional_semantic, softmax_rows
from scipy import integrate

Array = Any


class Mehler:
    """R(e, m) of L = 2 matrix attention with opposite positions, half-square loss: E T(z*) .

    S(z) = sum_b m^|b| E[T He_b] . E[S_e He_b] / b!.

    Converges like m^order; all integrals on a Gauss-Legendre grid of the plane.
    """

    def __init__(
        self, omega: float, a: float = 1.0, order: int = 60, nodes: int = 220, width: float = 9.0
    ) -> None:
        x, w = np.polynomial.legendre.leggauss(nodes)
        x, w = width * x, width * w * np.exp(-((width * x) ** 2) / 2) / math.sqrt(2 * math.pi)
        self.x, self.order = x, order
        # Hermite functions normalised by sqrt(k!), which do not overflow
        self.he = np.empty((order + 3, nodes))
        self.he[0], self.he[1] = 1, x
        for k in range(1, order + 2):
            self.he[k + 1] = (x * self.he[k] - math.sqrt(k) * self.he[k - 1]) / math.sqrt(k + 1)
        self.weighted = self.he * w
        z = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
        T = positional_semantic(omega, a)(z)
        self.target = self._coefficients(T)
        self.target_square = np.einsum("i,j,ijk->", w, w, T**2)

    def _coefficients(self, values: Array) -> Array:
        return np.einsum("bi,cj,ijk->bck", self.weighted, self.weighted, values, optimize=True)

    def derivatives(self, e: float, m: float) -> tuple[float, Array, Array]:
        """Value, gradient and Hessian in (e, m)."""
        z = np.stack(np.meshgrid(self.x + e, self.x - e, indexing="ij"), axis=-1)
        S = softmax_rows(z[..., :, None] * z[..., None, :]).reshape(*z.shape[:2], 4)
        s, square = self._coefficients(S), self._coefficients((S**2).sum(-1, keepdims=True))[..., 0]
        n = self.order
        k = np.add.outer(np.arange(n + 1), np.arange(n + 1))
        root = np.sqrt(np.arange(n + 3))

        def along(c: Array) -> Array:
            """E[f_e He_b] differentiated in e: the first coordinate moves by e, the second by
            -e.
            """
            return (
                root[1 : c.shape[0], None, None] * c[1:, : c.shape[1] - 1]
                - root[None, 1 : c.shape[1], None] * c[: c.shape[0] - 1, 1:]
            )

        s0, s1, s2 = s, along(s), along(along(s))
        q0, q1, q2 = square[..., None], along(square[..., None]), along(along(square[..., None]))

        def K(c: Array, power: Array) -> float:
            return float(
                np.einsum(
                    "bck,bck,bc->",
                    self.target[: n + 1, : n + 1],
                    c[: n + 1, : n + 1],
                    np.where(k <= n, power, 0),
                )
            )

        powers = [
            m**k,
            np.where(k > 0, k * m ** np.maximum(k - 1, 0), 0),
            np.where(k > 1, k * (k - 1) * m ** np.maximum(k - 2, 0), 0),
        ]
        value = 0.5 * self.target_square - K(s0, powers[0]) + 0.5 * q0[0, 0, 0]
        gradient = np.array([-K(s1, powers[0]) + 0.5 * q1[0, 0, 0], -K(s0, powers[1])])
        mixed = -K(s1, powers[1])
        hessian = np.array(
            [[-K(s2, powers[0]) + 0.5 * q2[0, 0, 0], mixed], [mixed, -K(s0, powers[2])]]
        )
        return value, gradient, hessian


def network_risk(
    conditional: Any,
    label_square: float,
    sigma: Any,
    ubar: float,
    m: float,
    kinks: tuple[float, ...] = (),
) -> float:
    """R of a tied network from G(t) = E[y | t], t = sum z*_l / sqrt L, by nested adaptive
    quadrature over (u, t).
    """
    s = math.sqrt(1 - m * m)
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()

    def inner(tau: float) -> float:  # E[G(t) | u], a polynomial in t: the rule is exact
        return float(w @ conditional(m * tau + s * x))

    def integrand(tau: float) -> float:
        f = sigma(ubar + tau)
        return (0.5 * f * f - f * inner(tau)) * math.exp(-tau * tau / 2) / math.sqrt(2 * math.pi)

    edges = [-9.5, *sorted(k - ubar for k in kinks), 9.5]
    parts = [
        integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12, limit=300)[0]
        for a, b in itertools.pairwise(edges)
    ]
    return 0.5 * label_square + sum(parts)


def stencil(f: Any, x: Array, h: float = 0.02) -> tuple[Array, Array]:
    """Gradient and Hessian by central differences of sixth order."""
    offsets, first = np.array([-3, -2, -1, 1, 2, 3]), np.array([-1, 9, -45, 45, -9, 1]) / 60
    second, centre = np.array([2, -27, 270, 270, -27, 2]) / 180, -490 / 180
    unit = np.eye(len(x))
    gradient = np.array(
        [sum(c * f(x + o * h * u) for c, o in zip(first, offsets, strict=True)) / h for u in unit]
    )
    hessian = np.empty((len(x), len(x)))
    middle = f(x)
    for i, u in enumerate(unit):
        hessian[i, i] = (
            centre * middle
            + sum(c * f(x + o * h * u) for c, o in zip(second, offsets, strict=True))
        ) / h**2
        for j in range(i):
            v = unit[j]
            cross = sum(
                a * b * f(x + h * (o * u + p * v))
                for a, o in zip(first, offsets, strict=True)
                for b, p in zip(first, offsets, strict=True)
            )
            hessian[i, j] = hessian[j, i] = cross / h**2
    return gradient, hessian


def monte_carlo(
    task: sq.Task,
    mean: Array,
    m: Array,
    q: Array,
    C: Array,
    numbers: float,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Expectations of loss and delta^T C delta with their standard errors, from about `numbers`
    normals drawn in blocks; the task's public evaluation, label noise added by hand.
    """
    L, block = task.L, 20_000
    root = np.linalg.cholesky(C + 1e-15 * np.eye(L))
    spread = np.sqrt(np.maximum(q - m**2, 0))
    sums, squares, n = np.zeros(2), np.zeros(2), 0
    core = task._compiled()
    while n * 2 * L < numbers:
        zstar, rest = (rng.standard_normal((block, L)) @ root.T for _ in range(2))
        y = core.target(zstar) + math.sqrt(task.noise) * rng.standard_normal((block, task.k))
        loss, delta = core.evaluate_labels(
            y, np.ascontiguousarray(mean + m * zstar + spread * rest)
        )
        both = np.stack([loss, np.einsum("nl,lk,nk->n", delta, C, delta)])
        sums, squares, n = sums + both.sum(axis=1), squares + (both**2).sum(axis=1), n + block
    average = sums / n
    return average, np.sqrt(np.maximum(squares / n - average**2, 0) / n)


def he(k: int, x: Array) -> Array:
    """He_k."""
    return hermeval(x, [0.0] * k + [1.0])
