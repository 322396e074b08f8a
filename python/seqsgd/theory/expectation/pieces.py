"""A function of one variable cut into smooth pieces, by sampling it.

The function is a black box: an activation or a link of one token. It is sampled on irregular
panels, and on each panel an interpolant is checked at further samples. If it misses them, the panel
is halved, down to machine precision at a jump or a kink (of the function or of its derivative).
These breaks become edges of panels. What remains is halved until it is resolved; next to
singularities worse than a kink the panels become ever smaller. All of this is done twice, on
independent partitions; the breaks found by either serve both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._checks import Float64
from .gaussian import legendre

Array = Any
Function = Callable[[Float64], Float64]  # (n,) -> (n, values)

SPACING = 0.02  # of the panels of the first look
COARSE = 0.5  # of the panels where a function is smooth
NODES = (16, 8)  # of an interpolant: of a panel of the first levels, and of deep ones
DEEP = 5  # levels
MOST_BREAKS = 1000
MOST_PANELS = 6_000
TOLERANCES = (
    2e-13,
    1e-10,
    1e-7,
    1e-4,
)  # a function with noise of its own is resolved no better than that
SHARP = 2e-5  # a place where panels must be narrower than this is reported as a break
LEAST = 4e-16  # width of a panel, relative to its place and to 1
SEED = 20250602


@dataclass(frozen=True)
class Partition:
    """Edges between which a function is smooth.

    Attributes
    ----------
    edges : (n + 1,) ascending
    breaks : (k,) places of jumps and kinks among them
    miss : largest error of the panels' interpolants, relative to the size of the function there;
        inf if it is not resolved
    """

    edges: Float64
    breaks: Float64
    miss: float

    @property
    def resolved(self) -> bool:
        return math.isfinite(self.miss)

    @property
    def noise(self) -> float:
        """Return the effect of the function's own noise on an integral, relative to the integral of
        its absolute value; 0 if there is only rounding.
        """
        return 0.0 if self.miss <= TOLERANCES[0] else min(2 * self.miss, 1.0)


@functools.lru_cache(maxsize=8)
def _interpolation(nodes: int, ends: bool) -> tuple[Float64, Float64, Float64]:
    """Return Gauss-Legendre nodes on (0, 1), places between them (with the ends 0 and 1, or close
    to them), and the matrix from values at the nodes to those of the interpolant at the places.
    """
    x = legendre(nodes)[0]
    jitter = np.random.default_rng(nodes).uniform(0.35, 0.65, nodes - 1)
    inner = x[:-1] + jitter * np.diff(x)
    outer = np.array([0.0, 1.0]) if ends else np.array([0.2 * x[0], 1 - 0.2 * x[0]])
    at = np.concatenate([outer[:1], inner, outer[1:]])
    gaps = x[:, None] - x
    np.fill_diagonal(gaps, 1.0)
    weights = 1 / np.prod(4 * gaps, axis=1)
    terms = weights / (at[:, None] - x)
    return x, at, terms / terms.sum(axis=1, keepdims=True)


def _misses(f: Function, a: Float64, b: Float64, nodes: int, ends: bool, floor: Float64) -> Float64:
    """Return the error of the interpolant on each panel (a, b), relative to the size of the
    function there.

    The effect of rounding the places, a few of their last digits times the slope, is subtracted.
    """
    x, at, matrix = _interpolation(nodes, ends)
    width = (b - a)[:, None]
    places = np.concatenate(
        [a[:, None] + width * x, np.where(at == 1, b[:, None], a[:, None] + width * at)], axis=1
    )
    y = f(np.ascontiguousarray(places.ravel()))
    y = y.reshape(*places.shape, -1)
    inside, between = y[:, :nodes], y[:, nodes:]
    with np.errstate(invalid="ignore"):
        off = np.abs(np.einsum("ij,pjv->piv", matrix, inside) - between).max(axis=1)
        slope = np.ptp(y, axis=1) / width
        off = off - LEAST * np.maximum(np.abs(a), np.abs(b))[:, None] * slope
        size = np.maximum(np.abs(y).max(axis=1), floor)
        out = np.where(
            off > 0, off / np.where(size > 0, size, 1.0), np.where(off <= 0, 0.0, np.inf)
        ).max(axis=1)
    return np.where(np.isfinite(out), out, np.inf)


def _deep(level: int) -> int:
    return NODES[0] if level < DEEP else NODES[1]


def find_breaks(f: Function, edges: Float64, floor: Float64, tolerance: float) -> Float64 | None:
    """Return the intervals (k, 2) that bisection finds; None if there are so many that they are
    noise.
    """
    a, b = edges[:-1], edges[1:]
    leaves: list[tuple[Float64, Float64, int]] = []
    level = 0
    while len(a):
        bad = _misses(f, a, b, _deep(level), True, floor) > tolerance
        small = (b - a) <= LEAST * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
        done = ~bad | small
        leaves.append((a[done], b[done], level))
        a, b = a[~done], b[~done]
        if (level > 6 and len(a) > 4 * MOST_BREAKS) or len(a) > MOST_PANELS or level > 80:
            return None
        middle = (a + b) / 2
        a, b = np.stack([a, middle], axis=1).ravel(), np.stack([middle, b], axis=1).ravel()
        level += 1
    low = np.concatenate([x for x, _, _ in leaves])
    high = np.concatenate([x for _, x, _ in leaves])
    depth = np.concatenate([np.full(len(x), n) for x, _, n in leaves])
    order = np.argsort(low, kind="stable")
    low, high, depth = low[order], high[order], depth[order]
    # plateaus of depth that are deeper than both their neighbours
    change = np.flatnonzero(np.diff(depth)) + 1
    starts, ends = np.append(0, change), np.append(change, len(depth))
    padded = np.concatenate([[-1], depth[starts], [-1]])
    peak = (padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:]) & (depth[starts] >= 4)
    if peak.sum() > MOST_BREAKS:
        return None
    return np.stack([low[starts[peak]], high[ends[peak] - 1]], axis=1)


def resolve(f: Function, edges: Float64, floor: Float64, tolerance: float) -> tuple[Float64, float]:
    """Halve panels until the function is smooth on each; return the edges and the largest remaining
    error, inf if there are too many.
    """
    a, b = edges[:-1], edges[1:]
    kept, total, worst = [edges], len(a), 0.0
    while len(a):
        miss = _misses(f, a, b, NODES[0], False, floor)
        bad = miss > tolerance
        worst = max(worst, float(miss[~bad].max(initial=0.0)))
        wide = (b - a) > 4 * LEAST * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
        a, b = a[bad & wide], b[bad & wide]
        total += len(a)
        if total > MOST_PANELS:
            return np.unique(np.concatenate(kept)), math.inf
        middle = (a + b) / 2
        kept.append(middle)
        a, b = np.stack([a, middle], axis=1).ravel(), np.stack([middle, b], axis=1).ravel()
    return np.unique(np.concatenate(kept)), worst


def irregular(low: float, high: float, spacing: float, seed: int) -> Float64:
    """Return edges from `low` to `high` with about the given spacing, random but always the
    same.
    """
    n = max(math.ceil((high - low) / spacing), 2)
    inner = np.arange(1, n) + np.random.default_rng([SEED, seed]).uniform(-0.3, 0.3, n - 1)
    return np.concatenate([[low], low + (high - low) * inner / n, [high]])


def partitions(
    f: Function, low: float, high: float, dense: tuple[float, float], spacing: float = SPACING
) -> list[Partition]:
    """Return two partitions of (low, high) that share only the breaks, which are those of both.

    `dense` is the interval in which panels have the width `spacing`; outside, they are eight times
    as wide.
    """
    near = max(low, min(dense[0], high)), min(high, max(dense[1], low))
    looks = []
    for seed in range(2):
        parts = [irregular(low, near[0], 8 * spacing, 3 * seed)] if near[0] > low else []
        parts += [irregular(*near, spacing, 3 * seed + 1)] if near[1] > near[0] else []
        parts += [irregular(near[1], high, 8 * spacing, 3 * seed + 2)] if high > near[1] else []
        edges = np.unique(np.concatenate(parts))
        if seed and len(edges) > 4:  # no edge in common but the ends
            inner = edges[1:-1] + 0.11 * spacing * np.sin(1 + np.arange(len(edges) - 2))
            edges = np.unique(np.concatenate([edges[:1], np.clip(inner, low, high), edges[-1:]]))
        looks.append(edges)
    sample = np.abs(f(np.ascontiguousarray(looks[0])))
    floor = 1e-3 * np.median(sample, axis=0)
    floor = np.where(np.isfinite(floor), floor, 0.0)
    for tolerance in TOLERANCES:
        found: list[Float64] = []
        for edges in looks:
            intervals = find_breaks(f, edges, floor, tolerance)
            if intervals is None:
                break
            found.append(intervals)
        if len(found) < len(looks):
            continue
        places, width = _together(np.concatenate(found))
        out = []
        for seed in range(2):
            edges = irregular(low, high, COARSE * (1.0 if seed else 0.83), 7 + seed)
            edges, miss = resolve(f, np.unique(np.concatenate([edges, places])), floor, tolerance)
            out.append(Partition(edges, places[width < SHARP], miss))
        if all(p.resolved for p in out):
            return out
    return [
        Partition(
            irregular(low, high, spacing * (1 + 0.3 * seed), 11 + seed), np.zeros(0), math.inf
        )
        for seed in range(2)
    ]


def _together(intervals: Float64) -> tuple[Float64, Float64]:
    """Return middles and widths of intervals; overlapping intervals (the same break found twice)
    become one, the narrowest.
    """
    places: list[float] = []
    widths: list[float] = []
    for low, high in intervals[np.argsort(intervals[:, 1] - intervals[:, 0], kind="stable")]:
        middle, width = (low + high) / 2, high - low
        if all(abs(middle - x) > width + w for x, w in zip(places, widths, strict=True)):
            places.append(middle)
            widths.append(width)
    order = np.argsort(places)
    return np.array(places)[order], np.array(widths)[order]


__all__ = ["Partition", "find_breaks", "irregular", "partitions", "resolve"]
