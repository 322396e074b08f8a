"""Critical points of the flow without noise on the ball: isolated points, and sets along which R is
constant, distinguished by a tolerance.

R is analytic inside, so the zeros of its gradient are isolated points, curves, or all of the ball.
On the sphere, the zeros of its slope are isolated or all of it. On a curve the Hessian has a null
direction, and the curve is long. An isolated zero of higher order (a sum of He_4 at the origin) has
a null direction too, but the set that is zero within the tolerance around it is short.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._lazy import scipy
from .expectation.interpolation import Chebyshev

Array = Any
NEAR = 1e-3  # zeros closer than this are one
LINK = 0.12  # degenerate zeros closer than this are of one set: twice the distance of the starts
LONG = 0.3  # a set at least this long is a curve


@dataclass
class Zeros:
    """Result of a search: isolated points, curves (n, p) in order, and whether all of the ball
    (`everywhere`) or of the sphere (`rim`) is flat.
    """

    inside: list[Array] = field(default_factory=list)
    sphere: list[Array] = field(default_factory=list)
    curves: list[Array] = field(default_factory=list)
    everywhere: bool = False
    rim: bool = False


def search(near: Chebyshev, p: int, slack: float, doubt: float) -> Zeros:
    """Find zeros of the gradient inside and of the slope along the sphere.

    Parameters
    ----------
    near : series of R, its gradient and V
    p : 1 or 2
    slack : a slope below it is zero
    doubt : a rate below it is zero
    """
    starts = _starts(p)
    if np.linalg.norm(near(starts)[:, 1 : 1 + p], axis=1).max() <= slack:
        return Zeros(everywhere=True)
    found = Zeros()
    found.sphere, found.rim = _sphere(near, p, slack)
    # from where Newton's method ends that does not move along null directions, and where one ends
    # that takes weak rates at their word
    tries = [_newton(near, p, slack, doubt, cut, starts) for cut in {doubt, 100 * slack}]
    zeros, degenerate = (np.concatenate(parts) for parts in zip(*tries, strict=True))
    for x in zeros[~degenerate]:
        _add(found.inside, x)
    for group in _groups(zeros[degenerate]):
        if (
            p == 1 or np.ptp(group, axis=0).max() < LONG
        ):  # on a line what is not flat everywhere is isolated
            _add(found.inside, group[0])
        else:
            found.curves.append(group)
    found.inside = [
        x for x in found.inside if all(np.linalg.norm(x - y) > NEAR for y in found.sphere)
    ]
    for i, curve in enumerate(
        found.curves
    ):  # what lies on the sphere and ends a curve is a part of it
        ends = [
            x
            for x in found.sphere
            if np.linalg.norm(curve - x, axis=1).min() < LINK
            and np.linalg.norm(near(x[None])[0, 1 : 1 + p]) <= slack
        ]
        found.sphere = [x for x in found.sphere if not any(x is y for y in ends)]
        found.curves[i] = _in_order(np.array([*curve, *ends]))
    return found


def _starts(p: int) -> Array:
    grid = np.stack(
        [
            g.reshape(-1)
            for g in np.meshgrid(
                *[np.linspace(-0.97, 0.97, 31 if p > 1 else 200)] * p, indexing="ij"
            )
        ],
        axis=-1,
    )
    return np.concatenate([grid[np.linalg.norm(grid, axis=1) < 0.98], np.zeros((1, p))])


def _newton(
    near: Chebyshev, p: int, slack: float, doubt: float, cut: float, x: Array
) -> tuple[Array, Array]:
    """Find zeros of the gradient in the open ball, and whether each has a null direction, a rate
    below `doubt`.

    The origin, which is a start, comes first, then the others by accuracy. The method does not move
    along rates below `cut`.
    """
    slopes = [near.slope(i) for i in range(p)]

    def hessians(y: Array) -> tuple[Array, Array]:
        H = np.stack([s(y)[:, 1 : 1 + p] for s in slopes], axis=2)
        values, vectors = np.linalg.eigh((H + np.swapaxes(H, 1, 2)) / 2)
        return values, vectors

    x, last = x.copy(), np.full(len(x), np.inf)
    for _ in range(60):
        going = np.flatnonzero(last > 1e-10)
        if not going.size:
            break
        g = near(x[going])[:, 1 : 1 + p]
        values, vectors = hessians(x[going])
        inverse = np.where(np.abs(values) > cut, 1 / np.where(values == 0, 1, values), 0)
        step = np.einsum("nij,nj,nkj,nk->ni", vectors, inverse, vectors, g)
        step *= np.minimum(1, 0.1 / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-300))
        x[going], last[going] = np.clip(x[going] - step, -1, 1), np.linalg.norm(step, axis=1)
    size = np.linalg.norm(near(x)[:, 1 : 1 + p], axis=1)
    good = (size <= slack) & (last < 1e-5) & (np.linalg.norm(x, axis=1) < 1 - 1e-6)
    x, size = np.where(np.abs(x) < 1e-7, 0.0, x)[good], size[good]
    order = np.lexsort((size, x.any(axis=1)))
    return x[order], np.abs(hessians(x[order])[0]).min(axis=1, initial=np.inf) <= doubt


def _add(points: list[Array], x: Array) -> None:
    if all(np.linalg.norm(x - y) > 1e-4 for y in points):
        points.append(x)


def _groups(x: Array) -> list[Array]:
    """Group points (n, p), best first, by links shorter than LINK; thin each group and keep its
    order.
    """

    if not len(x):
        return []
    kept = []
    while len(x):
        kept.append(x[0])
        x = x[np.linalg.norm(x - x[0], axis=1) > 0.02]
    thin = np.array(kept)
    gaps = np.linalg.norm(thin[:, None] - thin, axis=2)
    count, label = scipy.sparse.csgraph.connected_components(gaps < LINK, directed=False)
    return [thin[label == i] for i in range(count)]


def _in_order(x: Array) -> Array:
    """Order points along a curve: from one end, each time to the nearest point left."""
    axis = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
    left = list(range(len(x)))
    order = [left.pop(int(np.argmin(x @ axis)))]
    while left:
        order.append(left.pop(int(np.argmin(np.linalg.norm(x[left] - x[order[-1]], axis=1)))))
    return x[order]


def _sphere(near: Chebyshev, p: int, slack: float) -> tuple[list[Array], bool]:
    """Find zeros of the slope along the sphere, also without a change of sign; true if it is zero
    everywhere.
    """
    if p == 1:
        return [np.array([-1.0]), np.array([1.0])], False

    def along(theta: Array) -> Array:
        theta = np.atleast_1d(theta)
        x = np.stack([np.cos(theta), np.sin(theta)], axis=1)
        g = near(x)[:, 1:3]
        return -x[:, 1] * g[:, 0] + x[:, 0] * g[:, 1]

    theta = np.linspace(0, 2 * np.pi, 721)[:-1] + 0.001
    values = along(theta)
    if np.abs(values).max() <= slack:
        return [], True
    clear = np.flatnonzero(np.abs(values) > slack)
    out: list[Array] = []
    for i, j in zip(
        clear, np.roll(clear, -1), strict=True
    ):  # neighbours but for what is zero within the tolerance
        low, high = theta[i], theta[j] + (2 * np.pi if j <= i else 0)
        if values[i] * values[j] < 0:
            at = scipy.optimize.brentq(lambda t: along(t)[0], low, high, xtol=1e-12)
        elif j != (i + 1) % len(theta):
            at = (low + high) / 2
        elif np.abs(values[i]) <= min(
            np.abs(values[i - 1]), np.abs(values[j])
        ):  # the lowest of three
            best = scipy.optimize.minimize_scalar(
                lambda t: abs(along(t)[0]),
                bounds=(low - 0.01, high),
                method="bounded",
                options={"xatol": 1e-9},
            )
            if best.fun > slack:
                continue
            at = best.x
        else:
            continue
        x = np.array([np.cos(at), np.sin(at)])
        x[np.abs(x) < 1e-6] = (
            0  # poles are critical by symmetry; the root finder knows them to its tolerance
        )
        _add(out, x / np.linalg.norm(x))
    return out, False


__all__ = ["LINK", "Zeros", "search"]
