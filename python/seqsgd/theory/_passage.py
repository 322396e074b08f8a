"""Times at which the flow passes a threshold: by one integral if the state is only m, along
solutions of the flow otherwise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import models
from .._checks import Float64
from .._lazy import scipy
from ..models.recording import Start
from ._drift import Drift
from ._path import attainable, norm
from .expectation.network import NetworkEngine

Array = Any
NODES = 8


def line_times(rate: Callable[[Float64], Float64], m0: Float64, eta: float) -> Float64:
    """Compute the times from each m0 (n,) to |m| = eta under dm/dt = rate(m): T = int dm / |rate|.
    A time is inf if a zero of the rate lies between, and 0 if |m0| >= eta.
    """
    inside = m0[np.abs(m0) < eta]
    out = np.zeros(len(m0))
    if len(inside) == 0:
        return out
    least = max(float(np.abs(inside).min()), 1e-14 * eta)
    grid = np.geomspace(least, eta, 40 + int(20 * math.log10(eta / least)))
    edges = np.unique(np.concatenate([inside, grid, -grid, [-eta, 0.0, eta]]))
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2
    at = edges[:-1, None] + half * (x + 1)
    F = rate(at.ravel()).reshape(at.shape)
    with np.errstate(divide="ignore"):
        crossing = (half * w / np.abs(F)).sum(axis=1)
    right = np.where((F > 0).all(axis=1), crossing, np.inf)
    left = np.where((F < 0).all(axis=1), crossing, np.inf)
    middle, sides = float(np.abs(rate(np.zeros(1))[0])), np.abs(rate(np.array([-least, least])))
    rest = middle < max(0.5 * float(sides.min()), 1e-15 * float(np.abs(F).max()))
    if rest:  # a zero of even order at 0 does not show as a change of sign
        zero = int(np.searchsorted(edges, 0.0))
        right[zero - 1] = left[zero] = np.inf
    to_right = np.append(np.cumsum(right[::-1])[::-1], 0.0)
    to_left = np.append(0.0, np.cumsum(left))
    where = np.searchsorted(edges, inside)
    times = np.minimum(to_right[where], to_left[where])
    out[np.abs(m0) < eta] = np.where((rate(inside) == 0) | ((inside == 0) & rest), np.inf, times)
    return out


def path_time(drift: Drift, start: Float64, eta: float, longest: float = 1e9) -> float:
    """Compute the time from one start along a solution.

    It is inf if the solution stops below eta, or is still below it after `longest` times its first
    time scale.
    """

    size = norm(drift)

    def event(t: float, x: Array) -> float:
        return float(size(x)) - eta

    event.terminal, event.direction = True, 1  # type: ignore[attr-defined]
    if event(0.0, start) >= 0:
        return 0.0
    large, speed = float(np.linalg.norm(start)), float(np.linalg.norm(drift(start)))
    if speed == 0:
        return math.inf
    scale = max(large, 1e-3) / speed
    now, span, x = 0.0, scale, start
    while now < longest * scale:
        done = scipy.integrate.solve_ivp(
            lambda t, x: drift(x),
            (now, now + span),
            x,
            method="LSODA",
            events=[event],
            rtol=1e-8,
            atol=1e-9 * max(large, 1e-6),
        )
        if done.status == 1:
            return float(done.t_events[0][0])
        if done.status < 0 or not np.isfinite(done.y).all():
            return math.nan
        x, now = done.y[:, -1], now + span
        if float(np.linalg.norm(drift(x))) * now < 1e-7:
            return math.inf
        span = 3 * now
    return math.inf


def line_rate(drift: Drift) -> Callable[[Float64], Float64]:
    """Return dm/dt as a function of m, if the state is only m."""
    exact = drift
    if isinstance(
        drift.field.engine, NetworkEngine
    ):  # cheap, and good to relative accuracy next to m = 0, where an interpolant is not
        exact = copy.copy(drift)
        exact.field = copy.copy(drift.field)
        exact.field.series = None
    return lambda m: np.asarray(exact(m[:, None])[:, 0])


def times(drift: Drift, starts: Float64, eta: float) -> Float64:
    """Compute the times from each of the starts (n, names)."""
    if not attainable(drift, eta):
        return np.where(norm(drift)(starts) >= eta, 0.0, np.inf)
    if drift.names == ("m",):
        return line_times(line_rate(drift), starts[:, 0], eta)
    return np.array([path_time(drift, x, eta) for x in starts])


def sphere_quantiles(d: int, u: Float64) -> Float64:
    """Return quantiles of one coordinate of a uniform point of the unit sphere in R^d: its square
    is Beta(1/2, (d-1)/2).
    """

    if d == 1:
        return np.where(u < 0.5, -1.0, 1.0)
    if d > 10**7:
        return np.asarray(scipy.special.ndtri(u) / math.sqrt(d))
    return np.asarray(
        np.sign(u - 0.5) * np.sqrt(scipy.stats.beta.ppf(np.abs(2 * u - 1), 0.5, (d - 1) / 2))
    )


def random_starts(
    drift: Drift, init: Start, d: int, samples: int, rng: np.random.Generator
) -> Float64:
    """Return equally likely states, (n, names), of a start: quantiles if only m is random, draws
    otherwise.

    `Opposite` starts at e = 0, since its p is orthogonal to the initial weights; rows of another P
    at e ~ N(0, (1 - m^2) P P^T / d). If overlaps between rows matter, rows have nothing in common
    except m and e.
    """
    s = drift.setup
    n = samples
    if isinstance(init, models.Overlap):
        m0 = init.value(d)
        signs = np.array([1.0, -1.0]) if init.random_sign else np.ones(1)
        n = 1 if s.ne == 0 or isinstance(s.task.student.position, models.Opposite) else samples
        m = np.repeat(m0 * signs, n)[:, None] * np.ones(s.nm)
    elif s.nm == 1:
        m = sphere_quantiles(d, (np.arange(n) + 0.5) / n)[:, None]
    else:
        m = sphere_quantiles(d, rng.uniform(size=(n, s.nm)))
    a = np.zeros((len(m), s.ne))
    if s.ne and not isinstance(s.task.student.position, models.Opposite):
        K = (
            drift.K if s.tied else np.diag(np.diag(drift.K))
        )  # rows of an untied network are independent
        root = np.linalg.cholesky(K + 1e-14 * np.trace(K) * np.eye(s.ne))
        a = rng.standard_normal((len(m), s.ne)) @ root.T * np.sqrt((1 - m**2) / d)
    return drift.states(a, m, None)
