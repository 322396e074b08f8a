"""Symmetric tensors of any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import _checks
from . import norms
from .entries import Entries
from .norms import NormBounds
from .odeco import Odeco
from .odeco import odeco as decompose


@dataclass(frozen=True, eq=False, repr=False)
class SymmetricTensor(Entries):
    """A symmetric tensor of order k on R^L. Entries that are not listed are zero.

    Attributes
    ----------
    L, order : int
    index : (n, order) int64
        Ascending rows of tokens, counted from 0 as the axes of `dense()`, no row twice.
    value : (n,) float64
        The entry at each of these places, and at their permutations.
    error : (n,) float64
        Bound of the rounding if the tensor is analytic. Otherwise an estimate, since the function
        is a black box: one standard error if `dof` > 0, meant as a bound if `dof` is 0.
    dof : int
        Degrees of freedom of a statistical error; 0 if it is not statistical.
    """

    def operator_norm(self, rng: int = 0) -> NormBounds:
        """Bound the maximum over unit vectors of |<C, x^(x)k>|: exact if known, certified bounds
        otherwise (`seqsgd.theory.tensors.norms`).
        """
        return norms.operator_norm(
            self, np.random.default_rng(_checks.integer("rng", rng, 0, unbounded=True))
        )

    def odeco(self, tol: float = 1e-9) -> Odeco:
        """Decompose the tensor orthogonally, C = sum_i lambda_i v_i^(x)k with orthonormal v_i,
        within `tol` relative to its norm.
        """
        return decompose(self, _checks.number("tol", tol, 0))


__all__ = ["SymmetricTensor"]
