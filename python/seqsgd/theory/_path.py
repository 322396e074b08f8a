"""Integration of the flow in steps or in time, through changes of the learning rate, with weak recovery as an event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import Float64
from ..models.rates import Schedule
from ._drift import Drift

Array = Any
RTOL, ATOL = 1e-9, 1e-12


@dataclass
class Path:
    """A solution at the points of a grid; NaN beyond `reached`."""

    states: Float64  # (grid, n)
    integral: Float64  # of R along the clock, (grid,)
    passage: float  # where the norm passed eta, NaN if it did not
    reached: float
    finite: bool
    end: Float64  # the last state and integral


def norm(drift: Drift) -> Callable[[Array], Array]:
    """||(e, m)|| of states (..., n); untied ||m|| / sqrt L (docs: "The model and its letters", What is measured)."""
    s = drift.setup
    inverse = np.linalg.pinv(drift.K, rcond=1e-10) if s.tied else np.zeros((s.ne, s.ne))
    share = 1 if s.tied else s.L

    def of(x: Array) -> Array:
        a, m = x[..., : s.ne], x[..., s.ne : s.ne + s.nm]
        return np.sqrt(np.square(m).sum(axis=-1) / share + np.einsum("...i,ij,...j->...", a, inverse, a))

    return of


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
    """Follow the flow from `begin` through an ascending grid.

    The clock is the step tau, with gamma(tau) from the schedule, or (schedule None) the time t at the drift's own learning rate.
    """
    from scipy.integrate import solve_ivp

    n, size = len(start), norm(drift)
    x = np.append(np.asarray(start, dtype=np.float64), integral)
    states, integrals = np.full((len(grid), n), np.nan), np.full(len(grid), np.nan)
    passage, now, end = np.nan, float(begin), float(grid[-1])

    def rate(clock: float, value: float) -> float:
        assert schedule is not None
        return value * (1 + clock / schedule.t0) ** -schedule.power if schedule.power else value

    def note(clocks: Array, values: Array) -> None:
        where = np.searchsorted(grid, clocks)
        states[where], integrals[where] = values[:-1].T, values[-1]

    at_start = grid == now
    states[at_start], integrals[at_start] = x[:-1], x[-1]
    if eta is not None and size(x[:-1]) >= eta:
        passage = now
        if halt:
            return Path(states, integrals, passage, now, True, x)
    edges = [0.0] if schedule is None else [float(e) for e in schedule.steps]
    values = [0.0] if schedule is None else list(schedule.values)
    for value, low, high in zip(values, edges, [*edges[1:], np.inf], strict=True):
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
        watched = [event] if eta is not None else None
        done = solve_ivp(right, (max(low, now), stop), x, method="LSODA", t_eval=wanted, events=watched, rtol=RTOL, atol=tolerance)
        inside = done.t <= (points[-1] if len(points) else -np.inf)
        note(done.t[inside], done.y[:, inside])
        if eta is not None and np.isnan(passage) and done.t_events[0].size:
            passage = float(done.t_events[0][0])
        if done.status == 1 and halt:
            x = done.y_events[0][0]
            return Path(states, integrals, passage, passage, True, x)
        if done.status < 0 or not np.isfinite(done.y).all():
            return Path(states, integrals, passage, float(done.t[-1]) if done.t.size else max(low, now), False, x)
        x, now = done.y[:, -1], stop
    return Path(states, integrals, passage, now, True, x)


__all__ = ["Path", "integrate", "norm"]
