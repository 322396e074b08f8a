"""Hermite tensors of any function of the fields by numerical integration, with an error estimate.

Few tokens: a trapezoidal rule on a ball. For functions analytic in a strip about R^L its error falls geometrically in 1/h, which Gauss-Hermite rules
do not do next to the poles of a softmax. The error is twice the largest difference to two coarser rules: far too much for such functions, enough for
those with kinks and jumps.
More tokens: scrambled Sobol points, the error from independent scrambles.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import Float64
from ._gaussian import hermite_table
from ._symmetric import Int64, SymmetricTensor, check_count, count, degrees, multi_indices

Function = Callable[[Float64], Float64]  # (n, L) -> (n, outputs)

COARSER = (1.0, 1.2, 1.45)  # spacings of the three rules, relative
REPLICATES = 32
ENTRIES = 50_000
WORK = 4e10  # multiplications


@dataclass(frozen=True)
class Rule:
    """How to integrate over N(0, I_L): a trapezoidal rule of spacing h, or Sobol points (h = 0)."""

    L: int
    points: int
    h: float
    radius: float

    @property
    def method(self) -> str:
        return f"trapezoidal rule, spacing {self.h:.3g}" if self.h else f"{REPLICATES} scrambled Sobol sets of {self.points // REPLICATES} points"


def rule(L: int, order: int, outputs: int, points: int | None, slow: bool, entries: int | None = None) -> Rule:
    """The rule for about so many points; a slow function (one that calls Python) gets fewer by default. `entries`: how many are wanted, None for all."""
    entries = count(L, order) if entries is None else max(entries, 1)
    check_count(entries, f"C_{order} of a function of {L} tokens", ENTRIES)
    radius = 9.0 + 0.3 * max(order - 8, 0)
    grids = 3 if slow else 4  # tokens up to which a grid is worth it
    if points is None:
        points = 2**17 if slow else 2**19 if L != 4 else 2**21
        points = min(points, int(WORK / (entries * outputs)))
        if points < 2**13:
            raise ValueError(f"order: C_{order} of {outputs} functions of {L} tokens takes long to integrate; give `points` (at least 2^13) to have it")
    if grids >= L:
        volume = math.pi ** (L / 2) / math.gamma(L / 2 + 1) * radius**L
        return Rule(L, points, max((volume / points) ** (1 / L), 0.06), radius)
    return Rule(L, REPLICATES * 2 ** max(int(math.log2(points / REPLICATES)), 4), 0.0, radius)


def integrate(f: Function, outputs: int, of: Rule, order: int, seed: int, index: Int64 | None = None) -> list[SymmetricTensor]:
    """E[f(z) H_k(z)], one tensor for each output; only the entries at `index` (n, order) if it is given."""
    L = of.L
    index = multi_indices(L, order) if index is None else index
    tokens, powers = degrees(index)

    def total(points: Iterator[tuple[Float64, Float64]]) -> tuple[Float64, Float64]:
        out, size = np.zeros((len(index), outputs)), np.zeros((len(index), outputs))
        for z, w in points:
            y = f(z)
            if not np.isfinite(y).all():
                raise ValueError(f"link: expected finite values, got {y[~np.isfinite(y)][0]} at z* = {z[~np.isfinite(y).all(axis=1)][0].tolist()}")
            he = hermite_table(z, order)  # (k + 1, n, L)
            phi = np.ones((len(index), len(z)))
            for j in range(order):
                some = powers[:, j] > 0
                phi[some] *= he[powers[some, j], :, tokens[some, j]]
            wy = w[:, None] * y
            out += phi @ wy
            size += np.abs(phi) @ np.abs(wy)
        return out, size

    chunk = max(min(2**14, 2**22 // len(index)), 16)
    if of.h:
        sums = [total(_ball(L, of.h * c, of.radius, chunk)) for c in COARSER]
        value = sums[0][0]
        error = 2 * np.maximum(*(np.abs(value - s) for s, _ in sums[1:])) + 2.0**-50 * sums[0][1]
        dof = 0
    else:
        seeds = np.random.SeedSequence(seed).spawn(REPLICATES)
        several = np.stack([total(_sobol(L, of.points // REPLICATES, chunk, s))[0] for s in seeds])
        value, error, dof = several.mean(axis=0), several.std(axis=0, ddof=1) / math.sqrt(REPLICATES), REPLICATES - 1
    return [SymmetricTensor(L, order, index, value[:, i], error[:, i], dof) for i in range(outputs)]


def _ball(L: int, h: float, radius: float, chunk: int) -> Iterator[tuple[Float64, Float64]]:
    """Points of the lattice h Z^L in a ball and their Gaussian weights."""
    n = int(radius / h)
    x = h * np.arange(-n, n + 1)
    log_norm = L * (math.log(h) - 0.5 * math.log(2 * math.pi))
    tail = np.stack(np.meshgrid(*[x] * (L - 1), indexing="ij"), axis=-1).reshape(-1, L - 1) if L > 1 else np.zeros((1, 0))
    square = np.sum(tail**2, axis=1)
    for first in x:
        here = tail[square <= radius**2 - first**2]
        for start in range(0, len(here), chunk):
            rest = here[start : start + chunk]
            z = np.concatenate([np.full((len(rest), 1), first), rest], axis=1)
            yield z, np.exp(log_norm - 0.5 * np.sum(z**2, axis=1))


def sobol(L: int, seed: Any) -> Any:
    """A scrambled Sobol sequence in L dimensions (SciPy has renamed its argument)."""
    from scipy.stats import qmc

    name = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"
    return qmc.Sobol(L, scramble=True, **{name: np.random.default_rng(seed)})


def _sobol(L: int, points: int, chunk: int, seed: Any) -> Iterator[tuple[Float64, Float64]]:
    from scipy.special import ndtri

    sequence = sobol(L, seed)
    chunk = min(2 ** int(math.log2(chunk)), points)
    for _ in range(points // chunk):
        u = sequence.random(chunk) + 2.0**-31  # its numbers are multiples of 2^-30, 0 among them
        yield ndtri(u), np.full(chunk, 1 / points)
