"""One-dimensional Gaussian building blocks: Hermite polynomials, panels that end at kinks, and the
smoothing of a function by a Gaussian of any width.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..._checks import Float64

Array = Any

TAIL = 8.8  # beyond this many standard deviations a Gaussian weighs 1e-18


def hermite_table(x: Array, order: int) -> Float64:
    """Return He_0 ... He_order (probabilists') at x: (order + 1, *x.shape)."""
    x = np.asarray(x, dtype=np.float64)
    out = np.empty((order + 1, *x.shape))
    out[0] = 1
    if order:
        out[1] = x
    for k in range(1, order):
        out[k + 1] = x * out[k] - k * out[k - 1]
    return out


def density(x: Array) -> Float64:
    """Return the standard normal density."""
    return np.asarray(np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi))


@functools.lru_cache(maxsize=64)
def legendre(n: int) -> tuple[Float64, Float64]:
    """Return the Gauss-Legendre rule on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


@functools.lru_cache(maxsize=64)
def gauss_hermite(n: int) -> tuple[Float64, Float64]:
    """Return a rule for E over N(0, 1), exact to degree 2 n - 1."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    return x, w / w.sum()


def trapezoid(h: float, width: float = TAIL, shift: float = 0.0) -> tuple[Float64, Float64]:
    """Return the trapezoidal rule for E over N(0, 1), whose error is geometric in the width of the
    strip in which the integrand is analytic.

    `shift` moves its nodes, in units of h.
    """
    n = math.ceil(width / h)
    x: Float64 = np.asarray(h * (np.arange(-n, n + 1) + shift), dtype=np.float64)
    return x, h * density(x)


def panels(cuts: Array, n: int, width: float, tail: float) -> tuple[Float64, Float64]:
    """Return composite Gauss-Legendre rules for E over N(0, 1), one for each row of places that
    must be edges of panels.

    Parameters
    ----------
    cuts : (r, k), or (r,) for one each
        Jumps, kinks and other places at which panels must end.
    n : nodes in a panel
    width : of a panel at most
    tail : where to cut off

    Returns
    -------
    nodes, weights : (r, number of nodes)
    """
    cuts = np.atleast_1d(np.asarray(cuts, dtype=np.float64))
    cuts = cuts[:, None] if cuts.ndim == 1 else cuts
    inside = (np.abs(cuts) < tail).any(axis=0)
    cuts = cuts[:, inside]
    edges = np.linspace(-tail, tail, 2 * math.ceil(tail / width) + 1)
    all_edges = np.sort(
        np.concatenate(
            [np.broadcast_to(edges, (len(cuts), len(edges))), np.clip(cuts, -tail, tail)], axis=1
        ),
        axis=1,
    )
    x, w = legendre(n)
    length = np.diff(all_edges, axis=1)[..., None]
    nodes = (all_edges[:, :-1, None] + length * x).reshape(len(cuts), -1)
    weights = (length * w).reshape(len(cuts), -1) * density(nodes)
    return nodes, weights


def kernel(sources: Float64, centres: Float64, s: float, order: int) -> Float64:
    """Return weights A of shape (order + 1, centres, sources) with sum_j A[k, i, j] y(x_j) =
    E[y^(k)(c_i + s eta)], eta ~ N(0, 1), for equally spaced sources x.

    By Stein's lemma no derivative of y is needed. The rule is trapezoidal: s must be larger than
    the spacing.
    """
    t = (sources[None, :] - centres[:, None]) / s
    base = density(t) * ((sources[1] - sources[0]) / s)
    signs = hermite_table(t, order)
    return np.stack([base * signs[k] / s**k for k in range(order + 1)])


def local_rule(s: float, least: float, n: int, order: int) -> tuple[Float64, Float64]:
    """Return offsets x (n,) and weights (order + 1, n) with sum_j w[k, j] y(c + x_j) = E[y^(k)(c +
    s eta)], for any s >= 0.

    y is interpolated at Gauss-Hermite nodes of scale max(s, least); the interpolant's expectation
    under N(0, s^2) is exact. For s >= least this is the Gauss-Hermite rule with Stein's weights;
    for smaller s it stays as well conditioned as at `least`.
    """
    scale = max(s, least)
    t, w = gauss_hermite(n)
    he = hermite_table(t, n - 1)
    shrink = (s / scale) ** 2 - 1
    out = np.zeros((order + 1, n))
    for k in range(order + 1):
        q = 0
        while k + 2 * q < n and (q == 0 or shrink != 0):
            out[k] += shrink**q / (2**q * math.factorial(q)) * he[k + 2 * q]
            q += 1
        out[k] *= w / scale**k
    return t * scale, out
