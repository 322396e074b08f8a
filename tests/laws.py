"""Tests of laws: each function takes a sample and returns p-values, so that a test can put a bound
on its false alarms (Holm).

Sizes and false-alarm rates are stated where these functions are used; seeds are fixed, so a test
that passes once passes always.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from scipy import integrate, interpolate, special, stats

Array = Any


def holm(p_values: Array, rate: float) -> list[int]:
    """Which of these p-values are rejected when any false rejection at all may have the given
    probability (Holm, 1979).
    """
    p = np.ravel(p_values)
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1 + 1e-12)).all()
    order = np.argsort(p)
    fails = p[order] > rate / (len(p) - np.arange(len(p)))
    return order[: int(np.argmax(fails)) if fails.any() else len(p)].tolist()


def assert_plausible(p_values: Array, rate: float, what: str = "") -> None:
    """Nothing rejected at this family-wise rate."""
    p = np.ravel(p_values)
    rejected = holm(p, rate)
    assert not rejected, (
        f"{what}: p = {p[rejected[0]]:.1e}, number {rejected[0]} of {len(p)}, is below {rate:.1e} "
        "by Holm"
    )


def two_sided(z: Array) -> Array:
    """p-value of standard scores."""
    return special.erfc(np.abs(z) / math.sqrt(2))


def double_factorial(k: int) -> int:
    """k!! = k (k - 2) ... 1, and 1 below."""
    return math.prod(range(k, 0, -2))


def normal_moments(x: Array, order: int = 8) -> Array:
    """E x^k = (k - 1)!! for k = 1 ... order, each against its exact standard error."""
    p = []
    y = np.ones(len(x))
    for k in range(1, order + 1):
        y = y * x
        mean = double_factorial(k - 1) if k % 2 == 0 else 0
        p.append(
            two_sided(
                (y.mean() - mean) / math.sqrt((double_factorial(2 * k - 1) - mean**2) / len(x))
            )
        )
    return np.array(p)


def kolmogorov_smirnov(u: Array) -> float:
    """p-value of sorted values that should be uniform on (0, 1)."""
    n = len(u)
    i = np.arange(n)
    D = max((u - i / n).max(), ((i + 1) / n - u).max())
    return float(
        stats.kstwo.sf(D, n)
        if n < 10_000
        else special.kolmogorov(D * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)))
    )


def anderson_darling(log_cdf: Array, log_sf: Array) -> float:
    """p-value from log F and log(1 - F) at the sorted sample, F fully specified."""
    n = len(log_cdf)
    A2 = -n - ((2 * np.arange(1, n + 1) - 1) * (log_cdf + log_sf[::-1])).sum() / n
    return anderson_darling_sf(float(A2))


def anderson_darling_sf(A2: float) -> float:
    """P(A^2 > z) as n -> infinity: one minus the series of Anderson and Darling (1952), by
    quadrature.
    """
    z = max(A2, 1e-3)
    return (
        float(np.clip(_anderson_darling_table()(z), 0, 1)) if z < 12 else math.exp(-z)
    )  # beyond, the tail falls about as e^-z: far below any rate


@functools.cache
def _anderson_darling_table() -> Any:
    z = np.concatenate([np.linspace(1e-3, 0.3, 60), np.linspace(0.305, 12.5, 400)])
    return interpolate.PchipInterpolator(z, [1 - _anderson_darling_cdf(x) for x in z])


def _anderson_darling_cdf(z: float) -> float:
    total = 0.0
    for j in range(12):
        t = (4 * j + 1) ** 2 * math.pi**2 / 8
        if t / z > 700:
            break
        area = integrate.quad(
            lambda w, t=t: math.exp(z / (8 * (w * w + 1)) - t * w * w / z),
            0,
            math.inf,
            epsabs=1e-14,
            epsrel=1e-12,
        )[0]
        total += float(special.binom(-0.5, j)) * (4 * j + 1) * math.exp(-t / z) * area
    return math.sqrt(2 * math.pi) / z * total


def normal_fit(x: Array) -> Array:
    """Kolmogorov-Smirnov and Anderson-Darling against N(0, 1)."""
    x = np.sort(x.astype(np.float64))
    return np.array(
        [
            kolmogorov_smirnov(special.ndtr(x)),
            anderson_darling(special.log_ndtr(x), special.log_ndtr(-x)),
        ]
    )


def normal_tails(counts: dict[float, tuple[int, int]], n: int) -> Array:
    """Numbers below -s and above s, {s: (low, high)}, among n draws: exact binomial tests."""
    return np.array(
        [stats.binomtest(c, n, special.ndtr(-s)).pvalue for s, both in counts.items() for c in both]
    )


def tail_counts(x: Array, levels: Array) -> dict[float, tuple[int, int]]:
    """Numbers of draws below -s and above s."""
    return {s: (int((x < -s).sum()), int((x > s).sum())) for s in levels}


def autocorrelation(x: Array, lags: int) -> Array:
    """p-values of the correlations at lags 1 ... lags of a centred sequence with known unit
    variance.
    """
    size = 1 << (len(x) + lags - 1).bit_length()
    spectrum = np.fft.rfft(x, size)
    sums = np.fft.irfft(spectrum * spectrum.conj(), size)[1 : lags + 1]
    return two_sided(sums / np.sqrt(len(x) - np.arange(1, lags + 1)))


def correlation(x: Array, y: Array) -> Array:
    """p-value of the correlation of two centred samples of unit variance."""
    return two_sided((x * y).sum() / math.sqrt(len(x)))


def squares(x: Array) -> Array:
    """x^2, centred and of unit variance for a standard normal x."""
    return (x * x - 1) / math.sqrt(2)


def independent_pairs(x: Array, y: Array, cells: int = 32) -> float:
    """Chi-square of counts on a grid of equal probability, x and y independent standard normals."""
    i, j = (np.minimum((special.ndtr(a) * cells).astype(np.int64), cells - 1) for a in (x, y))
    counts = np.bincount(i * cells + j, minlength=cells * cells)
    expected = len(x) / cells**2
    return float(stats.chi2.sf(((counts - expected) ** 2).sum() / expected, cells**2 - 1))


def same_means(a: Array, b: Array) -> Array:
    """Welch's t-test along the first axis."""
    return stats.ttest_ind(a, b, axis=0, equal_var=False).pvalue
