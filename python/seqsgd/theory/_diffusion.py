"""The noise of one-pass SGD during the escape from (e, m) = 0. There dx = F(x) dt + sqrt((lr / d)
S) dB, where S is the covariance of the contribution of one sample.

Exponential escape (k = 2, F = A x): along a growing direction x(t) = exp(A t) (x_0 + xi), with xi
Gaussian of covariance (lr / d) int_0^inf exp(-A s) S exp(-A^T s) ds: the flow, from a start widened
by xi.

Otherwise (one overlap m): paths are drawn by Euler's rule until the drift dominates, |m F(m)| > 50
times the diffusion, and then follow the flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import models
from .._checks import Float64
from .._lazy import scipy
from ._drift import Drift
from ._passage import line_rate, line_times, times
from .expectation.setup import Setup

Array = Any
POINTS = 2**17


def linear(right: Drift) -> Float64 | None:
    """Return A, the flow's matrix at the origin, with parameters in the order of `names`; None if
    the origin is not a fixed point.
    """
    s = right.setup
    best, error = right.field.engine.moments(
        np.zeros((1, s.ne)), np.zeros((1, s.nm)), None if s.tied else np.ones((1, s.L)), 2
    )
    assert best.hessian is not None
    metric = np.eye(s.ne + s.nm)
    metric[: s.ne, : s.ne] = right.K
    if (
        np.abs(metric @ best.gradient[0])
        > np.maximum(10 * np.abs(metric) @ error.gradient[0], 1e-10)
    ).any():
        return None
    return np.asarray(
        -metric @ best.hessian[0]
        - right.lr / 2 * best.V[0] / (1 if s.tied else s.L) * np.eye(s.ne + s.nm)
    )


def covariance(setup: Setup, K: Array, generator: np.random.Generator) -> Float64:
    """Compute S at (e, m) = 0, from samples of the compiled task: m moves by -(lr/d) sum_l delta_l
    z*_l, e_k by -(lr/d) sum_l delta_l (xi_l + p_l) . p_k; a row's m_l by -(lr/d) delta_l z*_l
    alone.
    """
    L, task, ne = setup.L, setup.task, setup.ne
    root = np.linalg.cholesky(setup.C + 1e-14 * np.eye(L))
    zstar, z = (generator.standard_normal((POINTS, L)) @ root.T for _ in range(2))
    y = setup.core.target(zstar) + math.sqrt(task.noise) * generator.standard_normal(
        (POINTS, task.k)
    )
    delta = setup.core.evaluate_labels(y, np.ascontiguousarray(z + setup.c))[1]
    m = np.sum(delta * zstar, axis=1, keepdims=True) if setup.tied else delta * zstar
    rows = np.array([[1.0, -1.0]]) if isinstance(task.student.position, models.Opposite) else K
    along = delta @ rows.T if ne else np.zeros((POINTS, 0))
    S = np.atleast_2d(np.cov(np.concatenate([along, m], axis=1), rowvar=False, bias=True))
    S[:ne, :ne] += float(np.mean(np.einsum("nl,lk,nk->n", delta, setup.C, delta))) * K
    return np.asarray(S)


def widening(A: Array, S: Array) -> Float64:
    """Return F (n, growing directions) with F F^T = int_0^inf exp(-A s) S exp(-A^T s) ds on the
    growing directions of A; without columns if there are none.
    """
    values, modes = np.linalg.eig(A)
    values, modes = (
        values.real,
        modes.real,
    )  # A is a product of two symmetric matrices, one of them positive
    grows = values > 1e-10
    back = np.linalg.inv(modes)[grows]
    xi = back @ S @ back.T / (values[grows][:, None] + values[grows][None, :])
    return (
        np.asarray(modes[:, grows] @ np.linalg.cholesky(xi))
        if grows.any()
        else np.zeros((len(A), 0))
    )


def spread(
    right: Drift, starts: Float64, d: int, samples: int, generator: np.random.Generator
) -> Float64 | None:
    """Return equally likely starts of the flow that represent `starts` and the noise.

    They are quantiles if only m is random, draws otherwise; None if no direction grows
    exponentially at lr = 0.
    """
    A = linear(right)
    s = right.setup
    if A is None or float(np.linalg.eigvals(A).real.max()) + right.lr / 2 * _noise(right) <= 1e-9:
        return None
    F = widening(A, covariance(s, right.K, generator)) * math.sqrt(right.lr / d)
    if F.shape[1] == 0:
        raise ValueError(
            "noise: expected a learning rate at which the uninformative point is unstable, but it "
            "attracts"
        )
    if right.names == ("m",):
        width = abs(float(F[0, 0]))
        q = scipy.special.ndtri((np.arange(samples) + 0.5) / samples)
        if len(starts) <= 2:  # one start, or one and its opposite
            return np.concatenate([x + width * q for x in starts[:, 0]])[:, None]
        return np.asarray(q * math.sqrt(width**2 + float(np.mean(starts**2))))[:, None]
    which = starts[np.arange(samples) % len(starts)]
    return np.asarray(which + generator.standard_normal((samples, F.shape[1])) @ F.T)


def noisy_times(
    right: Drift, starts: Float64, d: int, eta: float, samples: int, generator: np.random.Generator
) -> tuple[Float64, str]:
    """Return equally likely times until eta, and in words how they were found."""
    if right.rows:
        raise ValueError(
            "noise: expected independent tokens where every token has a weight of its own, got "
            "Correlated"
        )
    if right.common:
        raise ValueError(
            "noise: expected a student whose weights keep their norms, got normalization='global'"
        )
    wide = spread(right, starts, d, samples, generator)
    if wide is not None:
        return times(right, wide, eta), "flow from a start widened by the diffusion"
    if right.names != ("m",):
        raise ValueError(
            "noise: expected a task whose uninformative point is left exponentially (k = 2), or "
            "one whose state is only m"
        )
    D = right.lr / (2 * d) * float(covariance(right.setup, right.K, generator)[0, 0])
    rate, m0 = line_rate(right), starts[np.arange(samples) % len(starts), 0]
    t, m = line_paths(rate, m0, D, eta, generator)
    return t + np.where(
        np.isinf(t), 0.0, line_times(rate, m, eta)
    ), "paths with diffusion, then the flow"


def _noise(right: Drift) -> float:
    """Return V, for untied weights V / L, at the origin."""
    s = right.setup
    V = right.field.engine.estimate(
        np.zeros((1, s.ne)), np.zeros((1, s.nm)), None if s.tied else np.ones((1, s.L)), 1
    ).V
    return float(V[0]) / (1 if s.tied else s.L)


def line_paths(
    rate: Callable[[Float64], Float64],
    starts: Float64,
    D: float,
    eta: float,
    generator: np.random.Generator,
    most: int = 200_000,
) -> tuple[Float64, Float64]:
    """Draw paths of dm = rate(m) dt + sqrt(2 D) dB from `starts` (n,) until the drift dominates.

    Returns times and places, (n,) each; inf if a path takes more than `most` steps.
    """
    grid = np.geomspace(1e-6 * eta, eta, 1200)
    table = np.concatenate([-grid[::-1], [0.0], grid])
    F = rate(table)
    ends = []
    for side in (F[: len(grid)][::-1] * -grid, F[len(grid) + 1 :] * grid):
        slow = np.flatnonzero(side <= 50 * D)
        ends.append(float(grid[min(slow[-1] + 1, len(grid) - 1)]) if len(slow) else float(grid[0]))
    low, high, takes_over = -ends[0], ends[1], min(ends)
    # steps: 2 % of the local time scales of the drift, and 5 % of the distance in which the drift
    # takes over
    slope = np.maximum(
        np.abs(np.gradient(F, table)), np.abs(F) / np.maximum(np.abs(table), takes_over)
    )
    fast = np.maximum(slope, float(slope[np.abs(table) <= takes_over].max()))
    dt = np.minimum(0.02 / fast, (0.05 * np.maximum(np.abs(table), takes_over)) ** 2 / (2 * D))
    t, m = np.zeros(len(starts)), starts.copy()
    alive = (m > low) & (m < high)
    for _ in range(most):
        if not alive.any():
            break
        here = m[alive]
        step = np.interp(here, table, dt)
        m[alive] = (
            here
            + np.interp(here, table, F) * step
            + np.sqrt(2 * D * step) * generator.standard_normal(len(here))
        )
        t[alive] += step
        alive = (m > low) & (m < high)
    t[alive] = np.inf
    return t, m


__all__ = ["covariance", "line_paths", "linear", "noisy_times", "spread", "widening"]
