"""Polynomial links of correlated fields: E[y(z* + v)], z* ~ N(0, C), is a polynomial in v, and with
v = x r, r = E[z* u], it acts as the link does for independent tokens,

    E[y h(u)] = sum_k p_k E[h^(k)(u)],    sum_k p_k x^k = E[y(z* + x r)].

A product of He_{k_l}(z*_l) is prod_l v_l^{k_l} for C = I; for another C, exp((1/2) sum_ij (C -
I)_ij d_i d_j) is applied to that.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .link_terms import Factors, LinkTerms

Array = Any
Monomials = dict[
    tuple[tuple[int, int], ...], float
]  # ((token, power), ...) by ascending token -> coefficient
MOST = 20_000  # monomials


class ProjectedLink:
    """p_k(r) and its derivatives.

    Parameters
    ----------
    monomials : E[y(z* + v)] as a polynomial in v
    """

    def __init__(self, L: int, monomials: Monomials) -> None:
        self.L = L
        self.degree = max((sum(n for _, n in key) for key in monomials), default=0)
        self.parts: list[
            tuple[Array, Array]
        ] = []  # of each order k: tokens (n, k) and coefficients (n,)
        for k in range(self.degree + 1):
            keys = [key for key in monomials if sum(n for _, n in key) == k]
            tokens = np.array(
                [[t for t, n in key for _ in range(n)] for key in keys], dtype=int
            ).reshape(len(keys), k)
            self.parts.append((tokens, np.array([monomials[key] for key in keys])))

    def __call__(self, r: Array) -> Array:
        """Return p at r (n, L): (n, degree + 1)."""
        return np.stack([r[:, tokens].prod(axis=2) @ c for tokens, c in self.parts], axis=1)

    def slope(self, r: Array) -> Array:
        """Return dp / dr_l at r (n, L): (n, L, degree + 1)."""
        out = np.zeros((len(r), self.L, self.degree + 1))
        for k, (tokens, c) in enumerate(self.parts):
            for j in range(k):
                rest = c * r[:, np.delete(tokens, j, axis=1)].prod(axis=2)
                for row, part in zip(out[..., k], rest, strict=True):
                    row += np.bincount(tokens[:, j], part, minlength=self.L)
        return out


def moved(terms: LinkTerms, C: Array) -> tuple[ProjectedLink, ProjectedLink] | None:
    """For y and for y^2; None if they have too many monomials."""
    first = _monomials(terms)
    if first is None or len(first) ** 2 / 2 > MOST:
        return None
    second: Monomials = {}
    for (a, x), (b, y) in itertools.combinations_with_replacement(first.items(), 2):
        _accumulate(second, _product(a, b), x * y * (1 if a == b else 2))
    D = C - np.eye(len(C))
    return ProjectedLink(terms.L, _smoothed(first, D)), ProjectedLink(terms.L, _smoothed(second, D))


def _accumulate(out: Monomials, part: Monomials, scale: float) -> None:
    for key, c in part.items():
        out[key] = out.get(key, 0.0) + scale * c


def _monomials(terms: LinkTerms) -> Monomials | None:
    """Return the link in products of Hermite polynomials."""
    out: Monomials = {(): terms.constant}
    for t in np.flatnonzero(terms.singles.any(axis=1)).tolist():
        _accumulate(out, _expanded({t: terms.singles[t]}), 1.0)
    for c, factors in terms.products:
        if math.prod(int(np.count_nonzero(f)) for f in factors.values()) > MOST:
            return None
        _accumulate(out, _expanded(factors), c)
    return {key: c for key, c in out.items() if c}


def _expanded(factors: Factors) -> Monomials:
    tokens = sorted(factors)
    powers = [np.flatnonzero(factors[t]).tolist() for t in tokens]
    return {
        tuple((t, n) for t, n in zip(tokens, ns, strict=True) if n): math.prod(
            float(factors[t][n]) for t, n in zip(tokens, ns, strict=True)
        )
        for ns in itertools.product(*powers)
    }


def _product(a: tuple[tuple[int, int], ...], b: tuple[tuple[int, int], ...]) -> Monomials:
    """Expand prod He_n prod He_k in Hermite polynomials: He_n He_k = sum_j C(n, j) C(k, j) j! He_{n
    + k - 2 j}, token by token.
    """
    left, right = dict(a), dict(b)
    factors: dict[int, Array] = {}
    for t in left.keys() | right.keys():
        n, k = left.get(t, 0), right.get(t, 0)
        factors[t] = np.zeros(n + k + 1)
        for j in range(min(n, k) + 1):
            factors[t][n + k - 2 * j] = math.comb(n, j) * math.comb(k, j) * math.factorial(j)
    return _expanded(factors)


def _smoothed(p: Monomials, D: Array) -> Monomials:
    """Apply exp((1/2) sum_ij D_ij d_i d_j) to p."""
    out, term, n = dict(p), p, 0
    while term:
        n, term = n + 1, _contracted(term, D, 1 / (n + 1))
        _accumulate(out, term, 1.0)
    return {key: c for key, c in out.items() if c}


def _contracted(p: Monomials, D: Array, scale: float) -> Monomials:
    """Apply scale (1/2) sum_ij D_ij d_i d_j to p."""
    out: Monomials = {}
    for key, c in p.items():
        for (i, n), (j, k) in itertools.combinations_with_replacement(key, 2):
            ways = n * (n - 1) / 2 if i == j else n * k
            if D[i, j] * ways:
                powers = dict(key)
                powers[i] -= 1
                powers[j] -= 1
                left = tuple((t, s) for t, s in powers.items() if s)
                out[left] = out.get(left, 0.0) + scale * c * float(D[i, j]) * ways
    return out


__all__ = ["ProjectedLink", "moved"]
