"""Hermite tensors of any function of the fields by numerical integration, with an error *estimate*:
a black box can always hide features narrower than the sampling.

One token: the line is cut at jumps and kinks (`pieces.py`).

Few tokens: a trapezoidal rule on a ball. For functions analytic in a strip about R^L its error
falls geometrically in 1/h; that of Gauss-Hermite rules does not, next to the poles of a softmax.
Twelve coarser lattices at random shifts estimate the error: each is unbiased for any
square-integrable function, and seven times their spread is far more than the error of the finer
rule.

If that is large, as at jumps, or with more tokens: scrambled Sobol points, with the error from
independent scrambles. They are drawn from a wider Gaussian and weighted, since otherwise a rare
region without points would be missed with an error of 0.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._checks import Float64
from ..._lazy import scipy
from ..tensors.entries import Int64, check_count, count, degrees, multi_indices
from ..tensors.symmetric import SymmetricTensor
from .gaussian import hermite_table
from .line import Line

Function = Callable[[Float64], Float64]  # (n, L) -> (n, outputs)

SHIFTED = 12  # lattices at random shifts
COARSER = {2: 2.0, 3: 1.9, 4: 1.7}  # their spacing, relative
SAFETY = 7.0  # standard deviations of theirs
ROUGH = {
    2: 3e-8,
    3: 1e-6,
    4: 1e-5,
}  # beyond this relative error Sobol points take the place of the lattice ...
HOPELESS = 1e-3  # (from here on without looking further)
# ... unless the error that it states is so much smaller than theirs: the smaller of two alike may
# be so by luck
BETTER = 0.1
SCRAMBLES = 5.0  # standard errors of theirs there
REPLICATES = 32  # of Sobol points
LEAST_POINTS = 6.0  # one standard error is that of so many points at least
ROUNDING = 2.0**-46  # of sums of so many points, relative to that of their sizes
LINE, SAMPLES = (
    2**15,
    33,
)  # evaluations of the first look at a function of one token, and how many of them fall on a panel
ENTRIES = 50_000
WORK = 4e10  # multiplications


@dataclass(frozen=True)
class Rule:
    """A rule of integration over N(0, I_L): trapezoidal of spacing h (one token: in pieces, h is
    the spacing of the first samples), or Sobol points (h = 0).
    """

    L: int
    points: int
    h: float
    radius: float

    @property
    def method(self) -> str:
        if self.L == 1:
            return "piecewise Gauss-Legendre (estimate)"
        if self.h:
            return f"trapezoidal rule, spacing {self.h:.3g} (estimate: {SHIFTED} shifted lattices)"
        return f"{REPLICATES} scrambled Sobol sets of {self.replicate} points"

    @property
    def replicate(self) -> int:
        """Number of points of a Sobol set, a power of two."""
        return int(2 ** max(int(math.log2(self.points / REPLICATES)), 4))


def rule(
    L: int, order: int, outputs: int, points: int | None, slow: bool, entries: int | None = None
) -> Rule:
    """Choose the rule for about `points` points; a slow function (one that calls Python) gets fewer
    by default.

    `entries` is how many are wanted, None for all.
    """
    entries = count(L, order) if entries is None else max(entries, 1)
    check_count(entries, f"C_{order} of a function of {L} tokens", ENTRIES)
    radius = 9.0 + 0.3 * max(order - 8, 0)
    grids = 3 if slow else 4  # tokens up to which a grid is worth it
    if L == 1:
        if order > 150:
            raise ValueError(
                f"order: expected at most 150 for a link that is integrated, got {order}"
            )
        return Rule(L, points or LINE, 16 * SAMPLES / (points or LINE), radius)
    if points is None:
        points = 2**17 if slow else 2**19 if L != 4 else 2**21
        points = min(points, int(WORK / (entries * outputs)))
        if points < 2**13:
            raise ValueError(
                f"order: C_{order} of {outputs} functions of {L} tokens takes long to integrate; "
                "pass `points` (at least 2^13) to have it"
            )
    if grids >= L:
        volume = math.pi ** (L / 2) / math.gamma(L / 2 + 1) * radius**L
        return Rule(L, points, max((volume / points) ** (1 / L), 0.06), radius)
    return Rule(L, points, 0.0, radius)


def integrate(
    f: Function, outputs: int, of: Rule, order: int, seed: int, index: Int64 | None = None
) -> tuple[tuple[SymmetricTensor, ...], str]:
    """Compute E[f(z) H_k(z)], one tensor for each output, and the method; only the entries at
    `index` (n, order) if it is given.
    """
    L = of.L
    if L == 1:
        whole = line(f, of, order)
        return on_line(whole, outputs, order), whole.method
    index = multi_indices(L, order) if index is None else index
    tokens, powers = degrees(index)

    def total(
        points: Iterator[tuple[Float64, Float64]],
        values: list[Float64] | None = None,
        power: int = 1,
    ) -> tuple[Float64, Float64]:
        """The integral, and the sum of the sizes of its terms to a power."""
        out, size = np.zeros((len(index), outputs)), np.zeros((len(index), outputs))
        for z, w in points:
            y = f(z)
            if values is not None:
                values.append(y)
            if not np.isfinite(y).all():
                raise ValueError(
                    f"link: expected finite values, got {y[~np.isfinite(y)][0]} at z* = "
                    f"{z[~np.isfinite(y).all(axis=1)][0].tolist()}"
                )
            he = hermite_table(z, order)  # (k + 1, n, L)
            phi = np.ones((len(index), len(z)))
            for j in range(order):
                some = powers[:, j] > 0
                phi[some] *= he[powers[some, j], :, tokens[some, j]]
            wy = w[:, None] * y
            out += phi @ wy
            size += np.abs(phi) ** power @ np.abs(wy) ** power
        return out, size

    chunk = max(min(2**14, 2**22 // len(index)), 16)

    def tensors(
        value: Float64, error: Float64, dof: int, how: str
    ) -> tuple[tuple[SymmetricTensor, ...], str]:
        return tuple(
            SymmetricTensor(L, order, index, value[:, i], error[:, i], dof) for i in range(outputs)
        ), how

    def scrambled() -> tuple[Float64, Float64]:
        seeds = np.random.SeedSequence(seed).spawn(REPLICATES)
        wide = _wider(L) if of.h else 1.0
        sums, fourth = (
            np.stack(x)
            for x in zip(
                *(total(_sobol(L, of.replicate, chunk, s, wide), power=4) for s in seeds),
                strict=True,
            )
        )
        # a jump along an axis can put a point on one side in nearly all sets: some of the spread
        # may not show
        least = (fourth.mean(axis=0) / of.replicate) ** 0.25 * LEAST_POINTS / REPLICATES
        return sums.mean(axis=0), np.hypot(sums.std(axis=0, ddof=1) / math.sqrt(REPLICATES), least)

    if not of.h:
        return tensors(*scrambled(), REPLICATES - 1, of.method)
    values: list[Float64] = []
    value, size = total(
        _ball(L, of.h, of.radius, chunk, np.full(L, 0.5)), values
    )  # symmetric, and 0, where jumps like to be, is no point of it
    if _parity(np.concatenate(values)) == -((-1) ** order):
        return tensors(np.zeros_like(value), ROUNDING * size, 0, of.method)
    largest = float(size.max(initial=0.0))
    sums: list[Float64] = []
    for shift in _shifts(L, seed):
        sums.append(total(_ball(L, of.h * COARSER[L], of.radius, chunk, shift))[0])
        n = len(sums)
        # squares about the mean only grow with more lattices: what all of them would say at least
        if (
            n > 1
            and SAFETY
            * math.sqrt((n - 1) / (SHIFTED - 1))
            * np.std(sums, axis=0, ddof=1).max(initial=0.0)
            > HOPELESS * largest
        ):
            error = np.full_like(value, math.inf)
            break
    else:
        spread, gap = np.std(sums, axis=0, ddof=1), np.abs(np.mean(sums, axis=0) - value)
        error = np.maximum(SAFETY * spread, 2 * gap) + ROUNDING * size
        if error.max(initial=0.0) <= ROUGH[L] * largest:
            return tensors(value, error, 0, of.method)
    other, standard = scrambled()
    if error.max(initial=0.0) < BETTER * SCRAMBLES * standard.max(initial=0.0):
        return tensors(value, error, 0, of.method)
    how = (
        f"{REPLICATES} scrambled Sobol sets of {of.replicate} points (estimate: {SCRAMBLES:g} "
        "standard errors)"
    )
    return tensors(other, SCRAMBLES * standard + ROUNDING * size, 0, how)


def line(f: Function, of: Rule, order: int) -> Line:
    """Prepare a function of one token for all orders up to `order`."""
    return Line(lambda u: f(u[:, None]), order, spacing=of.h, name="link")


def on_line(of: Line, outputs: int, order: int) -> tuple[SymmetricTensor, ...]:
    """Compute the tensors of one order, of one entry each."""
    value, error = (x[order] for x in of.coefficients(order))
    return tuple(
        SymmetricTensor(
            1, order, np.zeros((1, order), dtype=np.int64), value[i : i + 1], error[i : i + 1]
        )
        for i in range(outputs)
    )


def _parity(y: Float64) -> int:
    """Return 1 or -1 if the function is even or odd, as far as its values (n, outputs) on a
    symmetric lattice show, otherwise 0.

    The points are ordered so that -z is z backwards.
    """
    size = 2.0**-50 * np.abs(y).max(initial=0.0)
    for sign in (1, -1):
        if bool((np.abs(y - sign * y[::-1]) <= size).all()):
            return sign
    return 0


def _shifts(L: int, seed: int) -> Float64:
    """Return shifts of lattices in units of their spacing, (SHIFTED, L): random, but stratified
    along every axis.
    """
    rng = np.random.default_rng([seed, L, 417])
    return np.stack(
        [(rng.permutation(SHIFTED) + rng.uniform(size=SHIFTED)) / SHIFTED for _ in range(L)], axis=1
    )


def _ball(
    L: int, h: float, radius: float, chunk: int, shift: Float64
) -> Iterator[tuple[Float64, Float64]]:
    """Return the points of the lattice h (Z^L + shift) in a ball and their Gaussian weights."""
    n = int(radius / h) + 1
    axes = [h * (np.arange(-n, n + 1) + s) for s in shift]
    x = axes[0][np.abs(axes[0]) <= radius]
    log_norm = L * (math.log(h) - 0.5 * math.log(2 * math.pi))
    tail = np.stack(np.meshgrid(*axes[1:], indexing="ij"), axis=-1).reshape(-1, L - 1)
    square = np.sum(tail**2, axis=1)
    parts: list[Float64] = []
    held = 0
    for first in x:
        here = tail[square <= radius**2 - first**2]
        parts.append(np.concatenate([np.full((len(here), 1), first), here], axis=1))
        held += len(here)
        if held >= chunk or first == x[-1]:
            z = np.concatenate(parts)
            parts, held = [], 0
            for start in range(0, len(z), chunk):
                part = z[start : start + chunk]
                yield part, np.exp(log_norm - 0.5 * np.sum(part**2, axis=1))


def sobol(L: int, seed: Any) -> Any:
    """Return a scrambled Sobol sequence in L dimensions (SciPy has renamed its argument)."""

    name = "rng" if "rng" in inspect.signature(scipy.stats.qmc.Sobol).parameters else "seed"
    return scipy.stats.qmc.Sobol(L, scramble=True, **{name: np.random.default_rng(seed)})


def _wider(L: int) -> float:
    """Return the standard deviation of Gaussian points that reach rare regions, such that the mean
    square of their weights is 2.
    """
    x = 2 ** (2 / L)  # (s^2 / sqrt(2 s^2 - 1))^L = 2
    return math.sqrt(x + math.sqrt(x * x - x))


def _sobol(
    L: int, points: int, chunk: int, seed: Any, wide: float = 1.0
) -> Iterator[tuple[Float64, Float64]]:
    """Return points of N(0, wide^2 I) and their weights for N(0, I)."""

    sequence = sobol(L, seed)
    chunk = min(2 ** int(math.log2(chunk)), points)
    for _ in range(points // chunk):
        x = scipy.special.ndtri(
            sequence.random(chunk) + 2.0**-31
        )  # its numbers are multiples of 2^-30, 0 among them
        yield wide * x, wide**L / points * np.exp(-0.5 * (wide**2 - 1) * np.sum(x * x, axis=1))
