"""Polynomial links of correlated tokens, projected on t = (sum_l z*_l) / its standard deviation:
E[y | t] and E[y^2 | t] in Hermite polynomials of t, exactly.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermeval

from .gaussian import gauss_hermite, hermite_table
from .link_terms import Factors, LinkTerms

Array = Any
MOST_TOKENS, MOST_PAIRS = 4, 20_000  # of a product, and of products to be squared


def projections(terms: LinkTerms, C: Array) -> tuple[Array, Array] | None:
    """Return the coefficients a_k of sum_k a_k He_k(t) for y and for y^2; None if products of too
    many tokens, or too many products, occur.
    """
    total = float(C.sum())
    if total <= 1e-12:
        return None
    along = C.sum(axis=1) / math.sqrt(total)
    rest = C - np.outer(along, along)
    parts: list[tuple[float, Factors]] = [(terms.constant, {})]
    parts += [
        (1.0, {t: terms.singles[t]}) for t in np.flatnonzero(terms.singles.any(axis=1)).tolist()
    ]
    parts += terms.products
    if len(parts) ** 2 / 2 > MOST_PAIRS:
        return None
    K = terms.degree
    first, second = np.zeros(K + 1), np.zeros(2 * K + 1)
    for a, f in parts:
        if len(f) > MOST_TOKENS:
            return None
        first += a * _mean(f, {}, along, rest, K)
    for i, j in itertools.combinations_with_replacement(range(len(parts)), 2):
        (a, f), (b, g) = parts[i], parts[j]
        if len(f.keys() | g.keys()) > MOST_TOKENS:
            return None
        second += (1 if i == j else 2) * a * b * _mean(f, g, along, rest, 2 * K)
    return first, second


def _mean(f: Factors, g: Factors, along: Array, rest: Array, degree: int) -> Array:
    """Return the coefficients, to `degree`, of E[prod f prod g | t], by rules that are exact for
    polynomials.
    """
    tokens = sorted(f.keys() | g.keys())
    out = np.zeros(degree + 1)
    if not tokens:
        out[0] = 1
        return out
    here = sum(len(c) - 1 for part in (f, g) for c in part.values())
    t, w = gauss_hermite(here + 1)
    variance, directions = np.linalg.eigh(rest[np.ix_(tokens, tokens)])
    keep = variance > 1e-14
    root = directions[:, keep] * np.sqrt(variance[keep])
    eta, v = gauss_hermite(here // 2 + 1)
    grid = np.array(list(itertools.product(eta, repeat=root.shape[1]))).reshape(-1, root.shape[1])
    weights = np.array([math.prod(p) for p in itertools.product(v, repeat=root.shape[1])])
    z = t[:, None, None] * along[tokens] + grid @ root.T  # (t, grid, tokens)
    values = np.ones(z.shape[:2])
    for part in (f, g):
        for token, c in part.items():
            values *= hermeval(z[..., tokens.index(token)], c)
    he = hermite_table(t, here)
    out[: here + 1] = (
        he @ (w * (values @ weights)) / np.array([math.factorial(k) for k in range(here + 1)])
    )
    return out


__all__ = ["projections"]
