"""Orthogonally decomposable ("odeco") tensors: C = sum_i lambda_i v_i^(x)k with orthonormal v_i."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..._checks import Float64
from .entries import Entries, count, multi_indices, multiplicities


@dataclass(frozen=True, eq=False)
class Odeco:
    """An orthogonal decomposition sum_i values_i vectors_i^(x)k, and its distance from the tensor.

    Attributes
    ----------
    holds : bool
        Whether residual <= tol.
    values : (r,) float64, vectors : (r, L) float64, orthonormal rows
    residual, tol : float
        ||C - sum|| / ||C|| in the Frobenius norm, and the tolerance.
    """

    holds: bool
    values: Float64
    vectors: Float64
    residual: float
    tol: float

    def __bool__(self) -> bool:
        return self.holds


def odeco(C: Entries, tol: float) -> Odeco:
    """Decompose C, if possible.

    If C is odeco, the v_i are the eigenvectors of C contracted k - 2 times with a random vector.
    The test is the size of the remainder.
    """
    if C.order < 2:
        raise ValueError(f"order: an orthogonal decomposition needs order >= 2, got {C.order}")
    values: list[float] = []
    vectors: list[Float64] = []
    left = 0.0
    for tokens, B in C.blocks():
        if len(B.value) == 1 and B.L == 1:
            lam, V, missed = np.array([float(B.value[0])]), np.ones((1, 1)), 0.0
        elif B.L > 512:
            lam, V, missed = np.empty(0), np.empty((0, B.L)), B.norm**2
        else:
            lam, V, missed = _decompose(B)
        left += missed
        keep = np.abs(lam) > 1e-14 * max(C.norm, 1e-300)
        wide = np.zeros((int(keep.sum()), C.L))
        wide[:, tokens] = V[keep]
        values.extend(lam[keep].tolist())
        vectors.extend(wide)
    residual = math.sqrt(left) / C.norm if C.norm else 0.0
    return Odeco(
        residual <= tol,
        np.array(values),
        np.array(vectors).reshape(len(values), C.L),
        residual,
        tol,
    )


def _decompose(B: Entries) -> tuple[Float64, Float64, float]:
    """Return candidates of one block, and the squared Frobenius norm of the remainder."""
    rng = np.random.default_rng(B.L * 1000 + B.order)
    best: tuple[Float64, Float64, float] | None = None
    for _ in range(2 if B.order > 2 else 1):
        w = rng.standard_normal(B.L)
        V = np.linalg.eigh(_to_matrix(B, w / np.linalg.norm(w)))[1].T
        lam = B(V)
        missed = _left(B, lam, V)
        if best is None or missed < best[2]:
            best = lam, V, missed
    assert best is not None
    return best


def _to_matrix(B: Entries, w: Float64) -> Float64:
    """Return C(w, .., w, ., .), (L, L), from the entries' rows with two of their tokens kept."""
    M = np.zeros((B.L, B.L))
    k = B.order
    weight = B.multiplicity * B.value / (k * (k - 1))
    for i in range(k):
        for j in range(k):
            if i != j:
                rest = [n for n in range(k) if n not in (i, j)]
                np.add.at(
                    M, (B.index[:, i], B.index[:, j]), weight * np.prod(w[B.index[:, rest]], axis=1)
                )
    return (M + M.T) / 2


def _left(B: Entries, lam: Float64, V: Float64) -> float:
    if count(B.L, B.order) * B.L > 20_000_000:
        return (
            max(B.norm**2 - float(lam @ lam), 0.0) + 1e-15 * B.norm**2
        )  # orthonormal: Pythagoras, good to the square root of rounding
    index = multi_indices(B.L, B.order)
    key = B.L ** np.arange(B.order, dtype=np.int64)[::-1]
    value = np.zeros(len(index))
    value[np.searchsorted(index @ key, B.index @ key)] = B.value
    for a, v in zip(lam, V, strict=True):
        value -= a * np.prod(v[index], axis=1)
    return float(multiplicities(index) @ value**2)


__all__ = ["Odeco", "odeco"]
