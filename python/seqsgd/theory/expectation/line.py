"""Gaussian integrals of a function of one variable that may have jumps and kinks, and the mesh that
they need.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._checks import Float64
from .gaussian import density, hermite_table, legendre
from .pieces import LEAST, MOST_PANELS, SPACING, Function, partitions


def rule(edges: Float64, nodes: int) -> tuple[Float64, Float64]:
    """Return the composite Gauss-Legendre rule as one list of nodes."""
    x, w = legendre(nodes)
    width = np.diff(edges)[:, None]
    return np.ascontiguousarray((edges[:-1, None] + width * x).ravel()), (width * w).ravel()


def orthonormal(u: Any, order: int) -> tuple[Float64, Float64]:
    """Return He_k(u) / sqrt(k!) and sqrt(k!)."""
    root = np.sqrt([float(math.factorial(k)) for k in range(order + 1)])
    return hermite_table(u, order) / root.reshape(-1, *[1] * np.ndim(u)), root


def finite(f: Function, name: str) -> Function:
    """Wrap a function so that values that are not finite raise a one-line error."""

    def checked(u: Float64) -> Float64:
        y = f(u)
        if not np.isfinite(y).all():
            i = int(np.flatnonzero(~np.isfinite(y).all(axis=1))[0])
            raise ValueError(
                f"{name}: expected finite values, got {y[i][~np.isfinite(y[i])][0]} at "
                f"{float(u[i])!r}"
            )
        return y

    return checked


class Mesh:
    """Panel edges over the argument u = ubar + s tau of your own activation and its derivative,
    computed when a range is needed.

    `noise`: see `Partition`; of everything that was sampled.
    """

    def __init__(self, f: Function, name: str = "sigma") -> None:
        self._f, self.noise, self.breaks = finite(f, name), 0.0, np.zeros(0)
        self._low, self._high, self._spacing = math.inf, -math.inf, math.inf
        self._edges = np.zeros(0)

    def edges(self, low: float, high: float, spread: float) -> Float64:
        """Return ascending edges, (k,), for low <= u <= high, if sigma is smoothed by a Gaussian of
        standard deviation `spread` or more.
        """
        spacing = min(
            max(SPACING * min(spread, 1.0), (high - low) / (MOST_PANELS / 4)),
            SPACING * max(spread, 1.0),
        )
        if low < self._low or high > self._high or spacing < 0.7 * self._spacing:
            low, high, spacing = (
                min(low, self._low),
                max(high, self._high),
                min(spacing, self._spacing),
            )
            low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
            both = partitions(
                self._f, low, high, (low, high), max(spacing, (high - low) / (MOST_PANELS / 4))
            )
            self._low, self._high, self._spacing = low, high, spacing
            self.breaks, self.noise = both[0].breaks, max(p.noise for p in both)
            finest = both[0] if len(both[0].edges) <= len(both[1].edges) else both[1]
            self._edges = finest.edges[1:-1]
        return self._edges


class Line:
    """A function of u ~ N(centre, 1), for integrals against Hermite polynomials of u - centre:
    E[f(u) He_k(u - centre)].

    Parameters
    ----------
    f : callable
        (n,) -> (n, values).
    order : int
        The largest k.
    centre : float
    spacing : float
        Width of the first panels, within eight standard deviations.
    name : str
        For messages.
    """

    def __init__(
        self,
        f: Function,
        order: int,
        centre: float = 0.0,
        spacing: float = SPACING,
        name: str = "sigma",
    ) -> None:
        self.order, self.width = (
            order,
            9 + 2 * math.sqrt(order),
        )  # He_k exp(-u^2/4) decays beyond 2 sqrt k

        f = finite(f, name)
        low, high = centre - self.width, centre + self.width
        both = partitions(f, low, high, (centre - 8, centre + 8), spacing)
        self.breaks, self.resolved = both[0].breaks, both[0].resolved
        self.noise = max(p.noise for p in both)
        self._rules = []
        for p, nodes in zip(both, (20, 24), strict=True):
            u, w = rule(p.edges, nodes)
            small = np.repeat(
                np.diff(p.edges) < 64 * LEAST * np.maximum(1.0, np.abs(p.edges[1:])), nodes
            )
            outer = np.zeros(len(u), dtype=bool)
            outer[:nodes] = outer[-nodes:] = True
            self._rules.append((u - centre, w, w * density(u - centre), f(u), small | outer))

    def coefficients(self, order: int | None = None) -> tuple[Float64, Float64]:
        """Compute E[f He_k] for k = 0 .. order, (order + 1, values), and the error of each.

        The error includes the difference of the two partitions, the rounding (also of the places of
        breaks), the function's own noise, and the contribution of the smallest and of the outermost
        panels.
        """
        order = self.order if order is None else order
        sums = []
        for u, length, w, y, doubtful in self._rules:
            he, root = orthonormal(u, order)
            parts = he[:, :, None] * (w[:, None] * y)
            peak = np.abs(parts / length[:, None]).max(axis=1)
            sums.append(
                (
                    parts.sum(axis=1),
                    np.abs(parts).sum(axis=1) + len(self.breaks) * peak,
                    np.abs(parts[:, doubtful]).sum(axis=1),
                )
            )
        (one, size, loose), (two, _, loose2) = sums
        error = 2 * np.abs(one - two) + (2.0**-48 + self.noise) * size + loose + loose2
        return one * root[:, None], error * root[:, None]

    @property
    def method(self) -> str:
        """How it was computed."""
        return f"piecewise Gauss-Legendre, {described(self.breaks, self.resolved)} (estimate)"


def described(breaks: Float64, resolved: bool = True) -> str:
    """Return the breaks in words."""
    if not resolved:
        return "not resolved"
    if not len(breaks):
        return "no breaks found"
    if len(breaks) > 4:
        return f"{len(breaks)} breaks from {breaks[0]:.4g} to {breaks[-1]:.4g}"
    return f"break{'s' if len(breaks) > 1 else ''} at {', '.join(f'{x:.4g}' for x in breaks)}"


__all__ = ["Line", "Mesh", "described", "finite", "orthonormal", "rule"]
