"""Chi-square draws of the reduced dynamics: exact in law at every number of degrees of freedom.

RATE by Holm in each test; seeds are fixed.
"""

from __future__ import annotations

import math
from typing import Any

import laws
import numpy as np
import pytest
from laws import assert_plausible
from scipy import special, stats
from seqsgd import _core

RATE = 1e-4
N = 1_000_003  # no multiple of the lanes
DOF = (1, 2, 3, 10, 13, 14, 71, 72, 1000, 10**9)  # from 14 and from 72 on by other methods


def cumulants(dof: int, order: int) -> list[float]:
    """kappa_k = 2^(k - 1) (k - 1)! dof, of the standardised draw."""
    return [
        2 ** (k - 1) * math.factorial(k - 1) * dof / (2 * dof) ** (k / 2)
        for k in range(1, order + 1)
    ]


def central_moments(dof: int, order: int) -> list[float]:
    """E ((x - dof) / sqrt(2 dof))^k, k = 0 ... order, from the cumulants."""
    kappa = cumulants(dof, order)
    kappa[0] = 0.0
    mu = [1.0]
    for n in range(1, order + 1):
        mu.append(sum(math.comb(n - 1, k - 1) * kappa[k - 1] * mu[n - k] for k in range(1, n + 1)))
    return mu


def law(x: Any, dof: int) -> list[float]:
    """Kolmogorov-Smirnov and Anderson-Darling against scipy's chi2, and moments 1 to 4 of the
    standardised draw against their exact standard errors.
    """
    x = np.sort(x)
    chi2 = stats.chi2(dof)
    p = [
        laws.kolmogorov_smirnov(chi2.cdf(x)),
        laws.anderson_darling(np.log(chi2.cdf(x)), np.log(chi2.sf(x))),
    ]
    u, mu = (x - dof) / math.sqrt(2 * dof), central_moments(dof, 8)
    for k in range(1, 5):
        p.append(
            float(
                laws.two_sided(
                    (np.mean(u**k) - mu[k]) / math.sqrt((mu[2 * k] - mu[k] ** 2) / len(x))
                )
            )
        )
    return p


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dof", DOF)
def test_the_law(dof: int, dtype: str) -> None:
    """10^6 draws each."""
    assert_plausible(law(_core.chi_square(dof, 1, N, dtype), dof), RATE, f"dof = {dof}")


@pytest.mark.parametrize("dof", [2, 3, 5, 10])
def test_tails(dof: int) -> None:
    """Where a first draw is not accepted on sight: numbers below and above quantiles of 10^-2 ...
    10^-6 among 8 * 10^6, exact binomial tests.
    """
    n, p = 8_000_000, []
    x = _core.chi_square(dof, 2, n)
    for level in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        p.append(stats.binomtest(int((x < stats.chi2.ppf(level, dof)).sum()), n, level).pvalue)
        p.append(stats.binomtest(int((x > stats.chi2.isf(level, dof)).sum()), n, level).pvalue)
    assert_plausible(p, RATE)


@pytest.mark.parametrize("dof", [1, 2, 3, 10])
def test_independence(dof: int) -> None:
    """Of draws side by side and one after the other: normal scores uncorrelated up to lag 64, and
    so their squares.
    """
    u = special.ndtri(np.clip(stats.chi2.cdf(_core.chi_square(dof, 3, N), dof), 1e-12, 1 - 1e-12))
    assert_plausible(
        np.concatenate([laws.autocorrelation(u, 64), laws.autocorrelation(laws.squares(u), 64)]),
        RATE,
    )


def normals(most: float) -> np.ndarray:
    return np.linspace(-most, most, 2001).astype(np.float32).astype(np.float64)


def expansion(z: np.ndarray, dof: int) -> np.ndarray:
    """(chi^2 - dof) / sqrt(2 dof) to third order in s = (dof / 2)^(-1/2)."""
    s = math.sqrt(2 / dof)
    return (
        z
        + s * (z**2 - 1) / 3
        + s**2 * (z**3 - 7 * z) / 36
        - s**3 * (3 * z**4 + 7 * z**2 - 16) / 810
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dof", [72, 73, 98, 300, 998, 9998])
def test_function_of_one_normal(dof: int, dtype: str) -> None:
    """The increasing map between the two laws, at every normal that is drawn: quantiles and
    probabilities of scipy.
    """
    single = dtype == "float32"
    z, sd = normals(6.76 if single else 8.57), math.sqrt(2 * dof)
    x = _core.chi_square_of_normals(dof, z, dtype)
    below = z < 0
    exact = 2 * np.where(
        below,
        special.gammaincinv(dof / 2, special.ndtr(z)),
        special.gammainccinv(dof / 2, special.ndtr(-z)),
    )
    rounding = dof * 2.0 ** -(23 if single else 50) / sd
    near = np.abs(z) <= (5.0 if single else 6.2)
    assert np.abs(x - exact)[near].max() / sd < rounding + (1e-6 if single else 1e-12)
    assert np.abs(x - exact).max() / sd < rounding + (2e-4 if single else 4e-8)
    p = np.where(
        below,
        special.gammainc(dof / 2, x / 2) - special.ndtr(z),
        special.gammaincc(dof / 2, x / 2) - special.ndtr(-z),
    )
    assert np.abs(p).max() < 0.4 * rounding + (4e-7 if single else 4e-13)
    assert (np.diff(x) > 0).all()


@pytest.mark.parametrize("dof", [10**6, 10**9, 10**12])
def test_function_of_one_normal_at_many_degrees_of_freedom(dof: int) -> None:
    """Where scipy's quantiles are right to few digits only: the expansion, whose next term is of
    order s^4 z^5 / 500.
    """
    z, sd = normals(8.57), math.sqrt(2 * dof)
    for dtype, precision, error in (("float32", 23, 1e-6), ("float64", 50, 1e-12)):
        off = np.abs((_core.chi_square_of_normals(dof, z, dtype) - dof) / sd - expansion(z, dof))
        assert off.max() < dof * 2.0**-precision / sd + error + (2 / dof) ** 2 * 8.57**5 / 500


@pytest.mark.slow
def test_power() -> None:
    """The same tests reject one degree of freedom too many, the usual normal approximation, and the
    first proposal of Marsaglia and Tsang unrejected.
    """
    normal = np.random.default_rng(0).standard_normal(N)
    for dof in (2, 3, 10, 1000):
        assert laws.holm(law(_core.chi_square(dof + 1, 1, N), dof), RATE)
    assert laws.holm(law(np.abs(1000 + math.sqrt(2000) * normal), 1000), RATE)
    a = 5 / 2 - 1 / 3
    assert laws.holm(law(2 * a * np.abs(1 + normal / math.sqrt(9 * a)) ** 3, 5), RATE)


def test_nothing_left_and_refusals() -> None:
    assert not _core.chi_square(0, 1, 100).any()
    assert _core.chi_square(3, 1, 0).shape == (0,)
    assert np.array_equal(_core.chi_square(3, 1, 50), _core.chi_square(3, 1, 1000)[:50])
    assert not np.array_equal(_core.chi_square(3, 1, 50), _core.chi_square(3, 2, 50))
    with pytest.raises(ValueError, match="^dof: expected at least 72"):
        _core.chi_square_of_normals(71, np.zeros(1), "float64")
    for bad, match in (((-1, 1, 3), "^dof: "), ((3, 1, 3, "float16"), "^dtype: ")):
        with pytest.raises(ValueError, match=match):
            _core.chi_square(*bad)
