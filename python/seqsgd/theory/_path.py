"""Integration of the flow in steps or in time, through changes of the learning rate, with weak
recovery as an event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import Float64
from .._lazy import scipy
from ..models.rates import Schedule
from ._drift import Drift

Array = Any
RTOL, ATOL = 1e-9, 1e-12
BEYOND = 1e-6  # how far beyond the sphere the errors of a solution may lie


@dataclass
class Path:
    """A solution at the points of a grid, on or inside the sphere; NaN beyond `reached`."""

    states: Float64  # (grid, n)
    integral: Float64  # of R along the clock, (grid,)
    passage: float  # where the norm passed eta, NaN if it did not
    reached: float
    finite: bool
    end: Float64  # the last state and integral


def norm(drift: Drift) -> Callable[[Array], Array]:
    """Return ||(e, m)|| of states (..., n); for untied weights ||m|| / sqrt L (docs: "The model and
    its letters", What is measured).
    """
    s = drift.setup
    inverse = np.linalg.pinv(drift.K, rcond=1e-10) if s.tied else np.zeros((s.ne, s.ne))
    share = 1 if s.tied else s.L

    def of(x: Array) -> Array:
        a, m = x[..., : s.ne], x[..., s.ne : s.ne + s.nm]
        return np.sqrt(
            np.square(m).sum(axis=-1) / share + np.einsum("...i,ij,...j->...", a, inverse, a)
        )

    return of


def attainable(drift: Drift, eta: float) -> bool:
    """Return whether a start below eta can reach it.

    A flow from inside tends to the sphere, ||(e, m)|| = 1, but never reaches it. With P not
    orthogonal to w* the norm has other bounds.
    """
    return eta < 1 or bool(drift.setup.tied and drift.estar.any())


def inside(drift: Drift, x: Array) -> Array:
    """Project states (n, names) that errors of the integration have carried out of the sphere back
    onto it.

    All numbers of one weight vector get a common factor. States farther out than such errors can
    explain are left, so that they are noticed.
    """
    s, out = drift.setup, np.array(x, dtype=np.float64)
    ne, nm = s.ne, s.nm
    if s.tied:
        gram = np.block([[np.eye(1), drift.estar[None, :]], [drift.estar[:, None], drift.K]])
        parts = np.concatenate([out[:, ne : ne + 1], out[:, :ne]], axis=1)
        size = np.sqrt(np.einsum("ni,ij,nj->n", parts, np.linalg.pinv(gram, rcond=1e-10), parts))
        out[:, : ne + nm] /= _excess(size)[:, None]
        return out
    m, q = out[:, ne : ne + nm], np.ones((len(out), s.L))
    if drift.common or drift.rows:
        q = out[:, ne + nm : ne + nm + s.L]
    square = m**2
    if ne:  # of each row the part along w*, and along the rest of p_l
        orthogonal = np.diag(drift.K) - drift.estar**2
        across = (out[:, :ne] - m * drift.estar) ** 2
        square = square + np.divide(
            across, orthogonal, out=np.zeros_like(across), where=orthogonal > 1e-10
        )
    factor = _excess(np.sqrt(square / q))
    out[:, ne : ne + nm] /= factor
    if ne:
        out[:, :ne] /= factor
    return out


def _excess(size: Array) -> Array:
    """Return the divisor that makes a norm just above 1 at most 1; 1 for other norms."""
    return np.where((size > 1) & (size < 1 + BEYOND), size * (1 + 4 * np.finfo(float).eps), 1.0)


def integrate(
    drift: Drift,
    start: Array,
    grid: Array,
    schedule: Schedule | None,
    d: float,
    *,
    eta: float | None,
    halt: bool,
    begin: float = 0.0,
    integral: float = 0.0,
) -> Path:
    """Integrate the flow from `begin` through an ascending grid.

    The clock is the step tau, with gamma(tau) from the schedule, or (schedule None) the time t at
    the drift's own learning rate.
    """

    n, size = len(start), norm(drift)
    x = np.append(np.asarray(start, dtype=np.float64), integral)
    states, integrals = np.full((len(grid), n), np.nan), np.full(len(grid), np.nan)
    passage, now, end = np.nan, float(begin), float(grid[-1])

    def rate(clock: float, value: float) -> float:
        assert schedule is not None
        return value * (1 + clock / schedule.t0) ** -schedule.power if schedule.power else value

    def note(clocks: Array, values: Array) -> None:
        where = np.searchsorted(grid, clocks)
        states[where], integrals[where] = inside(drift, values[:-1].T), values[-1]

    at_start = grid == now
    states[at_start], integrals[at_start] = x[:-1], x[-1]
    watch = eta is not None and attainable(drift, eta)
    if eta is not None and (watch or now == 0) and size(x[:-1]) >= eta:
        passage, watch = now, False
        if halt:
            return Path(states, integrals, passage, now, True, x)
    edges = [0.0] if schedule is None else [float(e) for e in schedule.steps]
    rates = [0.0] if schedule is None else list(schedule.values)
    for value, low, high in zip(rates, edges, [*edges[1:], np.inf], strict=True):
        stop = min(high, end)
        if stop <= now:
            continue

        def right(clock: float, y: Array, value: float = value) -> Array:
            gamma = drift.lr if schedule is None else rate(clock, value)
            speed = 1.0 if schedule is None else gamma / d
            dx, R = drift.rates(y[None, :-1], gamma)
            return np.append(dx[0] * speed, R[0])

        def event(clock: float, y: Array) -> float:
            return float(size(y[:-1])) - (eta or 0.0)

        event.terminal = halt  # type: ignore[attr-defined]
        event.direction = 1  # type: ignore[attr-defined]
        points = grid[(grid > now) & (grid <= stop)]
        wanted = points if len(points) and points[-1] == stop else np.append(points, stop)
        tolerance = np.append(np.full(n, ATOL), 1e-9)
        watched = [event] if watch else None
        done = scipy.integrate.solve_ivp(
            right,
            (max(low, now), stop),
            x,
            method="LSODA",
            t_eval=wanted,
            events=watched,
            rtol=RTOL,
            atol=tolerance,
        )
        # lists, and empty ones, where it ends before the first of the points
        clocks = np.asarray(done.t, dtype=np.float64)
        values = np.reshape(np.asarray(done.y, dtype=np.float64), (n + 1, -1))
        recorded = clocks <= (points[-1] if len(points) else -np.inf)
        note(clocks[recorded], values[:, recorded])
        if watch and done.t_events[0].size:
            passage, watch = float(done.t_events[0][0]), False
        if done.status == 1 and halt:
            x = done.y_events[0][0]
            return Path(states, integrals, passage, passage, True, x)
        if done.status < 0 or not np.isfinite(values).all():
            last = float(clocks[-1]) if clocks.size else max(low, now)
            return Path(states, integrals, passage, last, False, x)
        x, now = values[:, -1], stop
    return Path(states, integrals, passage, now, True, x)


__all__ = ["Path", "attainable", "inside", "integrate", "norm"]
