"""Hermite tensors of polynomial links by algebra: C_k at the multi-index n is n! times the
coefficient of prod_l He_{n_l}(z_l).
"""

from __future__ import annotations

import numpy as np

from ... import models
from ..._checks import Float64
from ..tensors.entries import Int64, check_count, degrees, factorials
from ..tensors.symmetric import SymmetricTensor
from .link_terms import Factors, raw_terms

Part = tuple[Int64, Float64]  # rows of ascending tokens (n, k), coefficients (n,)


class Expansion:
    """A polynomial link as a list of (coefficient, {token: Hermite coefficients}), tokens from
    0.
    """

    def __init__(self, L: int, raw: list[tuple[float, Factors]]) -> None:
        self.L, self.raw = L, raw

    @property
    def degree(self) -> int:
        """No order above this one has entries."""
        return max((sum(len(c) - 1 for c in f.values()) for _, f in self.raw), default=0)

    def tensor(self, order: int) -> SymmetricTensor:
        """C_k, its error a bound of the rounding: entries that cancel keep the error of what was
        summed.
        """
        check_count(sum(_count(f, order) for _, f in self.raw), f"C_{order} of this link")
        parts = [(c, _part(sorted(f.items()), order)) for c, f in self.raw]
        index = np.concatenate(
            [np.zeros((0, order), dtype=np.int64), *(rows for _, (rows, _) in parts)]
        )
        terms = np.concatenate([np.zeros(0), *(c * v for c, (_, v) in parts)])
        terms = terms * np.prod(factorials(order)[degrees(index)[1]], axis=1)
        places, where = np.unique(index, axis=0, return_inverse=True)
        where = where.ravel()
        value = np.bincount(where, terms, minlength=len(places)).astype(np.float64)
        error = np.bincount(where, np.abs(terms), minlength=len(places)) * (
            2.0**-52 * (order + 2.0 + np.bincount(where, minlength=len(places)))
        )
        return SymmetricTensor(self.L, order, places, value, error)


def expansion(teacher: models.Teacher) -> Expansion | None:
    """The expansion of a polynomial link; None for other links."""
    raw = raw_terms(teacher)
    return None if raw is None else Expansion(teacher.L, raw)


def _count(factors: Factors, order: int) -> int:
    """How many monomials of this order a product has."""
    ways = [1] + [0] * order
    for c in factors.values():
        present = [j for j in np.flatnonzero(c).tolist() if j <= order]
        ways = [sum(ways[k - j] for j in present if j <= k) for k in range(order + 1)]
    return ways[order]


def _part(factors: list[tuple[int, Float64]], order: int) -> Part:
    return _parts(factors, order)[order]


def _parts(factors: list[tuple[int, Float64]], order: int) -> list[Part]:
    """The monomials of every order up to `order` of a product of one-token series, halves first:
    the cost is that of the outcome.
    """
    if not factors:
        return [(np.zeros((1, 0), dtype=np.int64), np.ones(1))] + [
            (np.zeros((0, k), dtype=np.int64), np.zeros(0)) for k in range(1, order + 1)
        ]
    if len(factors) == 1:
        ((token, c),) = factors
        known = [float(c[k]) if k < len(c) else 0.0 for k in range(order + 1)]
        return [
            (np.full((1, k), token, dtype=np.int64), np.array([v]))
            if v
            else (np.zeros((0, k), dtype=np.int64), np.zeros(0))
            for k, v in enumerate(known)
        ]
    half = len(factors) // 2
    left, right = _parts(factors[:half], order), _parts(factors[half:], order)
    out = []
    for k in range(order + 1):
        rows, values = [], []
        for j in range(k + 1):
            (a, x), (b, y) = left[j], right[k - j]
            rows.append(
                np.concatenate([np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1))], axis=1)
            )
            values.append(np.outer(x, y).ravel())
        out.append((np.concatenate(rows), np.concatenate(values)))
    return out
