"""Expectations on [-1, 1] or [-1, 1]^2 as Chebyshev series, refined until their highest orders are
below a tolerance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

Array = Any


class Chebyshev:
    """Chebyshev series of several functions of one or two variables.

    Parameters
    ----------
    function : callable
        (n, dims) -> (n, values).
    dims : 1 or 2
    tolerance : float
        Bound for `error`: the larger of ten times the highest coefficients and, if there is a
        coarser series, the square of its error at the new nodes over the size of the values (the
        rate of decay does not fall when the order doubles).
    orders : degrees to try, each twice the one before
    """

    def __init__(
        self,
        function: Callable[[Array], Array],
        dims: int,
        tolerance: float,
        orders: tuple[int, ...] = (16, 32, 64),
    ) -> None:
        self.dims = dims
        known: Any = None
        gap = np.inf
        for n in orders:
            x = np.cos(np.pi * np.arange(n, -1, -1) / n)
            grid = np.stack(
                [g.reshape(-1) for g in np.meshgrid(*[x] * dims, indexing="ij")], axis=-1
            )
            old = np.zeros([n + 1] * dims, dtype=bool)
            if known is not None:
                old[np.ix_(*[np.arange(0, n + 1, 2)] * dims)] = True
            fresh = function(grid[~old.reshape(-1)])
            values = np.empty((*[n + 1] * dims, fresh.shape[1]))
            values[~old] = fresh
            if known is not None:
                values[old] = known.reshape(-1, fresh.shape[1])
                gap = float(np.abs(self(grid[~old.reshape(-1)]) - fresh).max())
            known, size = values, float(np.abs(values).max()) or 1.0
            transform = np.linalg.inv(chebyshev.chebvander(x, n))
            for axis in range(dims):
                values = np.moveaxis(np.tensordot(transform, values, axes=(1, axis)), 0, axis)
            self.coefficients = values
            tail = max(
                float(np.abs(np.take(values, [n - 1, n], axis=axis)).max()) for axis in range(dims)
            )
            self.error = max(10 * tail, gap**2 / size)
            if self.error <= tolerance:
                break
        self.converged = self.error <= tolerance

    def slope(self, axis: int) -> Chebyshev:
        """Return the derivatives along one axis."""
        out = copy.copy(self)
        c = chebyshev.chebder(self.coefficients, axis=axis)
        out.coefficients = np.concatenate([c, np.zeros_like(np.take(c, [0], axis=axis))], axis=axis)
        return out

    def __call__(self, x: Array) -> Array:
        """Evaluate at points: (n, dims) -> (n, values)."""
        n = self.coefficients.shape[0] - 1
        first = chebyshev.chebvander(x[:, 0], n)
        if self.dims == 1:
            return np.einsum("ni,iv->nv", first, self.coefficients)
        second = chebyshev.chebvander(x[:, 1], n)
        return np.einsum("nj,njv->nv", second, np.tensordot(first, self.coefficients, axes=(1, 0)))
