"""Symmetric tensors of any order as lists of entries, so that sum_l h2(z_l) needs L numbers and not
L^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Self

import numpy as np
import numpy.typing as npt

from ... import _checks
from ..._checks import Float64
from ..._lazy import scipy

Int64 = npt.NDArray[np.int64]

DENSE_ENTRIES = 2**24  # 128 MB
SPARSE_ENTRIES = 4_000_000


def count(L: int, order: int) -> int:
    """Return the number of different entries of a symmetric tensor: multi-indices of the given
    order over L tokens.
    """
    return math.comb(L + order - 1, order)


def multi_indices(L: int, order: int) -> Int64:
    """Return all multi-indices, (count, order), each row ascending, tokens counted from 0."""
    rows = list(combinations_with_replacement(range(L), order))
    return np.array(rows, dtype=np.int64).reshape(len(rows), order)


def check_count(n: int, what: str, limit: int = SPARSE_ENTRIES) -> None:
    """Refuse tensors that would not fit into memory."""
    if n > limit:
        raise ValueError(
            f"order: {what} has {n} different entries, more than the {limit} that are stored; use "
            "a lower order or a smaller L"
        )


def degrees(index: Int64) -> tuple[Int64, Int64]:
    """Return rows of ascending tokens as (tokens, degrees), each (n, order): run lengths, padded
    with degree 0 at token 0.
    """
    n, order = index.shape
    tokens, powers = np.zeros((n, order), dtype=np.int64), np.zeros((n, order), dtype=np.int64)
    if order == 0:
        return tokens, powers
    run = np.concatenate(
        [np.zeros((n, 1), dtype=np.int64), np.cumsum(index[:, 1:] != index[:, :-1], axis=1)], axis=1
    )
    rows = np.arange(n)[:, None]
    np.add.at(powers, (rows, run), 1)
    tokens[rows, run] = index
    return tokens, powers


def factorials(order: int) -> Float64:
    """Return 0! .. order!."""
    return np.array([math.factorial(i) for i in range(order + 1)], dtype=np.float64)


def multiplicities(index: Int64) -> Float64:
    """Return k! / prod n_l! of each row, the number of its different orders."""
    table = factorials(index.shape[1])
    return np.asarray(table[-1] / np.prod(table[degrees(index)[1]], axis=1), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of a symmetric tensor; :class:`SymmetricTensor` says what its attributes are."""

    L: int
    order: int
    index: Int64
    value: Float64
    error: Float64
    dof: int = 0

    def __repr__(self) -> str:
        return (
            f"SymmetricTensor(L={self.L}, order={self.order}, entries={len(self.value)}, "
            f"norm={self.norm:.6g} +- {self.norm_error:.1g})"
        )

    @cached_property
    def multiplicity(self) -> Float64:
        """Number of places of each entry in the dense tensor, k! / prod n_l!; (n,)."""
        return multiplicities(self.index)

    @cached_property
    def norm(self) -> float:
        """Frobenius norm."""
        return float(np.sqrt(self.multiplicity @ self.value**2))

    @cached_property
    def norm_error(self) -> float:
        """Frobenius norm of the entries' errors, which bounds the error of the norm as far as they
        do.
        """
        return float(np.sqrt(self.multiplicity @ self.error**2))

    @property
    def slack(self) -> float:
        """Uncertainty of a norm: `norm_error`, or five times that if it is one standard error."""
        return (5.0 if self.dof else 1.0) * self.norm_error

    @cached_property
    def ones(self) -> float:
        """<C, 1^(x)k>, the sum of all entries of the dense tensor, on which a tied network
        depends.
        """
        return math.fsum(self.multiplicity * self.value)

    @cached_property
    def ones_error(self) -> float:
        """Sum of the errors of all entries of the dense tensor, plus rounding; an estimate if they
        are estimates.
        """
        return math.fsum(self.multiplicity * self.error) + 2.0**-52 * math.fsum(
            np.abs(self.multiplicity * self.value)
        )

    def __call__(self, x: npt.ArrayLike) -> Float64:
        """Return <C, x^(x)k> of vectors x (..., L); shape (...)."""
        X = np.asarray(x, dtype=np.float64)
        if X.ndim < 1 or X.shape[-1] != self.L:
            raise ValueError(
                f"x: expected shape (..., L) with L = {self.L}, got shape "
                f"{_checks.letters(X.shape)}"
            )
        flat, weight = X.reshape(-1, self.L), self.multiplicity * self.value
        out = np.zeros(len(flat))
        for rows in _chunks(len(flat), len(weight)):
            product = np.ones((len(flat[rows]), len(weight)))
            for j in range(self.order):
                product *= flat[rows][:, self.index[:, j]]
            out[rows] = product @ weight
        return out.reshape(X.shape[:-1])

    def contract(self, x: Float64) -> Float64:
        """Return C x^(k-1), the gradient of `self(x)` over k, of vectors x (p, L); shape (p, L).

        Needs order >= 1.
        """
        weight = self.multiplicity * self.value / self.order
        out = np.zeros_like(x)
        for rows in _chunks(len(x), len(weight) * (self.order + 1)):
            factors = x[rows][:, self.index]  # (p, n, k)
            before = np.concatenate(
                [np.ones_like(factors[..., :1]), np.cumprod(factors[..., :-1], axis=2)], axis=2
            )
            after = np.concatenate(
                [
                    np.cumprod(factors[..., :0:-1], axis=2)[..., ::-1],
                    np.ones_like(factors[..., :1]),
                ],
                axis=2,
            )
            terms = weight[:, None] * before * after
            for p in range(len(terms)):
                out[rows.start + p] = np.bincount(
                    self.index.ravel(), terms[p].ravel(), minlength=self.L
                )
        return out

    def dense(self) -> Float64:
        """Return the whole array, shape (L,) * order. Refused beyond 2^24 entries."""
        if self.L**self.order > DENSE_ENTRIES:
            n = len(self.value)
            raise ValueError(
                f"dense: expected L^k <= {DENSE_ENTRIES}, got L = {self.L}, k = {self.order}; "
                f"`index` and `value` hold the {n} entries"
            )
        out = np.zeros((self.L,) * self.order)
        for row, v in zip(self.index.tolist(), self.value, strict=True):
            for place in _permutations(row):
                out[place] = v
        return out

    def blocks(self) -> list[tuple[Int64, Self]]:
        """Split the tensor into a direct sum: (tokens, tensor on them) for each set of tokens that
        entries connect, without zero entries.
        """

        keep = self.value != 0
        index = self.index[keep]
        if len(index) == 0 or self.order == 0:
            return []
        ties = (
            np.repeat(index[:, 0], self.order).astype(np.int32),
            index.ravel().astype(np.int32),
        )  # SciPy 1.11's graphs take no other indices
        label = np.asarray(
            scipy.sparse.csgraph.connected_components(
                scipy.sparse.coo_array((np.ones(index.size), ties), shape=(self.L, self.L)),
                directed=False,
            )[1]
        )
        owner = label[index[:, 0]]
        order, by_token = np.argsort(owner, kind="stable"), np.argsort(label, kind="stable")
        out = []
        for rows in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
            first, end = np.searchsorted(label[by_token], [owner[rows[0]], owner[rows[0]] + 1])
            tokens = np.sort(by_token[first:end])
            inside = np.searchsorted(tokens, index[rows])
            out.append(
                (
                    tokens,
                    type(self)(
                        len(tokens),
                        self.order,
                        inside,
                        self.value[keep][rows],
                        self.error[keep][rows],
                        self.dof,
                    ),
                )
            )
        return out


def _chunks(n: int, width: int) -> list[slice]:
    step = max(1, 2**21 // max(width, 1))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _permutations(row: list[int]) -> list[tuple[int, ...]]:
    """Yield the different orders of a row (itertools would repeat those of equal tokens)."""
    if not row:
        return [()]
    return [
        (head, *tail)
        for i, head in enumerate(row)
        if head not in row[:i]
        for tail in _permutations(row[:i] + row[i + 1 :])
    ]


__all__ = [
    "Entries",
    "check_count",
    "count",
    "degrees",
    "factorials",
    "multi_indices",
    "multiplicities",
]
