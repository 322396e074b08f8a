"""The noise of one-pass SGD during an exponential escape, as a Gaussian spread of the start (an unstable Ornstein-Uhlenbeck process, integrated).

Next to (e, m) = 0 the state obeys dx = A x dt + sqrt((gamma/d) S) dB, S the covariance of what a sample contributes to a step. Along a growing direction
x(t) = exp(A t) (x_0 + xi), with xi Gaussian of covariance (gamma/d) int_0^inf exp(-A s) S exp(-A^T s) ds: the flow, from a start widened by xi.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import models
from .._checks import Float64
from ._drift import Drift
from ._setup import Setup

Array = Any
POINTS = 2**17


def linear(right: Drift) -> Float64:
    """A: the flow's matrix at the origin, parameters in the order of `names`."""
    s = right.setup
    best, error = right.field.engine.moments(np.zeros((1, s.ne)), np.zeros((1, 1)), None, 2)
    assert best.hessian is not None
    metric = np.eye(s.ne + 1)
    metric[: s.ne, : s.ne] = right.K
    if (np.abs(metric @ best.gradient[0]) > np.maximum(10 * np.abs(metric) @ error.gradient[0], 1e-10)).any():
        raise ValueError("noise: expected a task whose uninformative point is left exponentially (k = 2), but the gradient at (e, m) = 0 does not vanish")
    return np.asarray(-metric @ best.hessian[0] - right.lr / 2 * best.V[0] * np.eye(s.ne + 1))


def covariance(setup: Setup, K: Array, generator: np.random.Generator) -> Float64:
    """S at (e, m) = 0, from samples of the compiled task: m moves by -(gamma/d) sum_l delta_l z*_l, e_k by -(gamma/d) sum_l delta_l (xi_l + p_l) . p_k."""
    L, task, ne = setup.L, setup.task, setup.ne
    root = np.linalg.cholesky(setup.C + 1e-14 * np.eye(L))
    zstar, z = (generator.standard_normal((POINTS, L)) @ root.T for _ in range(2))
    y = setup.core.target(zstar) + math.sqrt(task.noise) * generator.standard_normal((POINTS, task.k))
    delta = setup.core.evaluate_labels(y, np.ascontiguousarray(z + setup.c))[1]
    m = np.sum(delta * zstar, axis=1, keepdims=True)
    rows = np.array([[1.0, -1.0]]) if isinstance(task.student.position, models.Opposite) else K
    along = delta @ rows.T if ne else np.zeros((POINTS, 0))
    S = np.atleast_2d(np.cov(np.concatenate([along, m], axis=1), rowvar=False, bias=True))
    S[:ne, :ne] += float(np.mean(np.einsum("nl,lk,nk->n", delta, setup.C, delta))) * K
    return np.asarray(S)


def widening(A: Array, S: Array) -> Float64:
    """F (n, growing directions) with F F^T = int_0^inf exp(-A s) S exp(-A^T s) ds on the growing directions of A; no column if there are none."""
    values, modes = np.linalg.eig(A)
    values, modes = values.real, modes.real  # A is a product of two symmetric matrices, one of them positive
    grows = values > 1e-10
    back = np.linalg.inv(modes)[grows]
    xi = back @ S @ back.T / (values[grows][:, None] + values[grows][None, :])
    return np.asarray(modes[:, grows] @ np.linalg.cholesky(xi)) if grows.any() else np.zeros((len(A), 0))


def spread(right: Drift, starts: Float64, d: int, samples: int, generator: np.random.Generator) -> Float64:
    """Equally likely starts of the flow that stand for `starts` and the noise: quantiles where m alone is random, draws otherwise."""
    s = right.setup
    if not s.tied:
        raise ValueError("noise: expected a student with one weight for all tokens")
    F = widening(linear(right), covariance(s, right.K, generator)) * math.sqrt(right.lr / d)
    if F.shape[1] == 0:
        raise ValueError("noise: expected a task and a learning rate at which the uninformative point is left exponentially (k = 2), but no direction grows")
    if right.names == ("m",):
        from scipy.special import ndtri

        width = abs(float(F[0, 0]))
        q = ndtri((np.arange(samples) + 0.5) / samples)
        if len(starts) <= 2:  # one start, or one and its opposite
            return np.concatenate([x + width * q for x in starts[:, 0]])[:, None]
        return np.asarray(q * math.sqrt(width**2 + float(np.mean(starts**2))))[:, None]
    which = starts[np.arange(samples) % len(starts)]
    return np.asarray(which + generator.standard_normal((samples, F.shape[1])) @ F.T)


__all__ = ["covariance", "linear", "spread", "widening"]
