"""The core's random streams: known answers, the normal law, and independence of what has different
addresses.

False alarms: every test here spends RATE = 1e-3 / 20 and there are fewer than 20 of them, so that
all of them together would reject a perfect generator with a fresh seed once in a thousand times.
Within a test, Holm's procedure bounds the family.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import laws
import numpy as np
import pytest
from laws import assert_plausible
from seqsgd import _core

RATE = 1e-3 / 20
TEN_MILLION = 10_000_000
DTYPES = ("float32", "float64")
TEACHER, INIT, POSITION, DATA, NOISE = STREAMS = (1, 2, 3, 4, 5)


def normals(seed: int, n: int, dtype: str, stream: int = DATA, run: int = 0, block: int = 0) -> Any:
    """The first n normals of a block, as float64."""
    x = _core.normals(seed, stream, run, block, n, dtype)
    assert x.dtype == dtype and x.shape == (n,)
    return x.astype(np.float64)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: Any, key: Any, answer: Any) -> None:
    """Random123, kat_vectors (Salmon, Moraes, Dror, Shaw, SC 2011)."""
    assert tuple(_core.philox(list(counter), list(key))) == answer


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_and_fit(dtype: str) -> None:
    """10^7 draws of one block: moments to order 8, Kolmogorov-Smirnov, Anderson-Darling."""
    x = normals(1, TEN_MILLION, dtype)
    assert_plausible(
        np.concatenate([laws.normal_moments(x), laws.normal_fit(x)]), RATE, "moments 1-8, KS, AD"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_short_blocks(dtype: str) -> None:
    """10^6 draws from the first 1000 of each of 1000 blocks: what a run really uses."""
    x = np.concatenate([normals(2, 1000, dtype, block=b) for b in range(1000)])
    firsts = np.concatenate([normals(2, 1, dtype, run=r) for r in range(20_000)])
    assert_plausible(
        np.concatenate(
            [
                laws.normal_moments(x),
                laws.normal_fit(x),
                laws.normal_moments(firsts),
                laws.normal_fit(firsts),
            ]
        ),
        RATE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_tails(dtype: str) -> None:
    """10^8 draws: numbers beyond 3, 4, 5 and 6 on either side (3167, 28.7 and 0.1 expected beyond
    4, 5 and 6), exact binomial tests.
    """
    levels, n = (3.0, 4.0, 5.0, 6.0), 10 * TEN_MILLION
    counts = dict.fromkeys(levels, (0, 0))
    for block in range(10):
        for s, (low, high) in laws.tail_counts(
            _core.normals(3, DATA, 0, block, TEN_MILLION, dtype), levels
        ).items():
            counts[s] = (counts[s][0] + low, counts[s][1] + high)
    assert_plausible(laws.normal_tails(counts, n), RATE, f"tails {counts}")
    assert counts[5.0][0] > 5 and counts[5.0][1] > 5


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_correlation_within_a_block(dtype: str) -> None:
    """2^21 draws: autocorrelation at lags 1 ... 1024 of x, x^2 and sign(x), and of x against
    x^2.
    """
    x = normals(4, 1 << 21, dtype)
    p = [laws.autocorrelation(y, 1024) for y in (x, laws.squares(x), np.sign(x))]
    p.append([laws.correlation(x[k:], laws.squares(x[:-k])) for k in range(1, 65)])
    p.append([laws.correlation(x[:-k], laws.squares(x[k:])) for k in range(1, 65)])
    assert_plausible(np.concatenate(p), RATE)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_pairs_are_independent(dtype: str) -> None:
    """2^21 draws on a 32 x 32 grid at lags 1 ... 64: sees what correlations do not, as in the pairs
    of Box and Muller.
    """
    x = normals(5, 1 << 21, dtype)
    assert_plausible(
        [
            laws.independent_pairs(x[k:], x[:-k])
            for k in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64)
        ],
        RATE,
    )


def neighbours() -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """Addresses that differ in one part, by one bit or by one."""
    home = {"seed": 6, "stream": DATA, "run": 0, "block": 0}
    for other in STREAMS:
        if other != DATA:
            yield home, home | {"stream": other}
    for part, bits in (("seed", 64), ("run", 32), ("block", 56)):
        for bit in {0, 1, 2, 5, 15, 16, 31, 32, 33, 47, bits - 1}:
            if bit < bits:
                yield home, home | {part: home[part] ^ (1 << bit)}
        for k in range(1, 6):
            yield home | {part: k + 100}, home | {part: k + 101}
    yield home | {"run": 1}, home | {"block": 1}
    yield home | {"run": 1, "block": 2}, home | {"run": 2, "block": 1}
    yield home | {"seed": 1, "run": 6}, home | {"run": 1}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbouring_streams_are_independent(dtype: str) -> None:
    """2^17 draws of each of some 50 pairs of neighbouring addresses: correlation at lags -64 ... 64
    of x and x^2, no draw in common.
    """
    p, n, lags = [], 1 << 17, 64
    for a, b in neighbours():
        x, y = (normals(n=n + lags, dtype=dtype, **address) for address in (a, b))
        assert np.mean(x[:n] == y[:n]) < 0.01
        for f, g in ((x, y), (laws.squares(x), laws.squares(y)), (x, laws.squares(y))):
            for k in range(lags + 1):
                p += [laws.correlation(f[:n], g[k : n + k]), laws.correlation(f[k : n + k], g[:n])]
    assert_plausible(p, RATE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_over_blocks_and_runs(dtype: str) -> None:
    """Draw number i of 4096 blocks (runs) in a row, for 64 i's: each is a sequence without
    autocorrelation.
    """
    for part in ("block", "run", "seed"):
        home = {"seed": 7, "run": 3, "block": 0}
        x = np.stack([normals(n=64, dtype=dtype, **(home | {part: k})) for k in range(4096)])
        p = [laws.autocorrelation(x[:, i], 16) for i in range(64)] + [
            laws.autocorrelation(laws.squares(x[:, i]), 16) for i in range(64)
        ]
        assert_plausible(np.concatenate(p), RATE / 3, part)


def test_addresses_are_all_distinct() -> None:
    """No two of 60 000 addresses begin with the same four draws."""
    heads = [
        normals(seed, 4, "float64", stream, run, block)
        for seed in (0, 1, 2**63)
        for stream in STREAMS
        for run in range(20)
        for block in range(200)
    ]
    assert len(np.unique(np.array(heads), axis=0)) == len(heads)


def test_a_block_is_a_function_of_its_address() -> None:
    for dtype in DTYPES:
        whole = normals(8, 10_000, dtype)
        assert np.array_equal(whole, normals(8, 10_000, dtype))
        assert np.array_equal(whole[:777], normals(8, 777, dtype))
        assert np.isfinite(whole).all()


# --- the tests of laws themselves
# --------------------------------------------------------------------------------------------------


def test_anderson_darling_critical_values() -> None:
    """Known quantiles of the asymptotic law (Lewis 1961; Marsaglia and Marsaglia 2004)."""
    for level, z in ((0.10, 1.9330), (0.05, 2.4924), (0.01, 3.8781)):
        assert abs(laws.anderson_darling_sf(z) / level - 1) < 2e-3
    assert laws.anderson_darling_sf(6.0) < 2e-3 < laws.anderson_darling_sf(5.0) < 5e-3


def test_p_values_are_uniform_under_the_null() -> None:
    """200 honest samples of 20 000 NumPy normals: each statistic's p-values pass a
    Kolmogorov-Smirnov test at 1e-4.
    """
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        x = rng.standard_normal(20_000)
        p.append(
            [
                *laws.normal_moments(x, 4),
                *laws.normal_fit(x),
                laws.autocorrelation(x, 3)[2],
                laws.correlation(x[1:], x[:-1]),
                laws.independent_pairs(x[::2], x[1::2], 8),
            ]
        )
    for column in np.array(p).T:
        assert laws.kolmogorov_smirnov(np.sort(column)) > 1e-4


def test_holm() -> None:
    assert laws.holm([0.01, 0.5, 0.02, 0.9], 0.05) == [0]
    assert laws.holm([0.001, 0.5, 0.012, 0.9], 0.05) == [0, 2]
    assert laws.holm([0.5, 0.9], 0.05) == [] and laws.holm([1e-9, 1e-8], 0.05) == [0, 1]


WRONG = {
    "scale 0.3 % wrong": lambda x, rng: 1.003 * x,
    "mean 0.002 wrong": lambda x, rng: x + 0.002,
    "rounded to sixteenths": lambda x, rng: np.round(x * 16) / 16,
    "Student t with 300 degrees": lambda x, rng: (
        x / np.sqrt(rng.chisquare(300, len(x)) / 300) * np.sqrt(298 / 300)
    ),
    "sum of twelve uniforms": lambda x, rng: rng.random((12, len(x))).sum(0) - 6,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_wrong_laws_are_rejected(name: str) -> None:
    """Power of the moments and fits at their own size and rate, on NumPy's normals (10^7; the last
    on 2 * 10^6).
    """
    rng = np.random.default_rng(1)
    x = WRONG[name](
        rng.standard_normal(TEN_MILLION if name != "sum of twelve uniforms" else 2_000_000), rng
    )
    p = np.concatenate([laws.normal_moments(x), laws.normal_fit(x)])
    assert laws.holm(p, RATE)


def test_truncated_tails_are_rejected() -> None:
    """A generator that ends at 4.8, or that has a quarter fewer draws beyond 4, fails the tail
    counts at their own size and rate.
    """
    n = 10 * TEN_MILLION
    right = {s: round(n * float(laws.special.ndtr(-s))) for s in (3.0, 4.0, 5.0, 6.0)}
    assert not laws.holm(laws.normal_tails({s: (c, c) for s, c in right.items()}, n), RATE)
    for wrong in ({5.0: 0, 6.0: 0}, {4.0: int(right[4.0] * 0.9)}, {6.0: 7}):
        assert laws.holm(
            laws.normal_tails({s: (c, c) for s, c in (right | wrong).items()}, n), RATE
        ), wrong


@pytest.mark.slow
def test_dependence_is_rejected() -> None:
    """A correlation of 1 %, shared radii, and copies: each is seen at the size and rate of the
    tests above.
    """
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1 << 21) + 64)
    n = 1 << 21
    assert laws.holm(
        np.concatenate([laws.autocorrelation(x[64:] + 0.01 * x[:-64], 1024) for _ in range(3)]),
        RATE,
    )
    radius = np.repeat(np.sqrt(rng.chisquare(2, n // 2)), 2)
    signs = radius * rng.choice([-1.0, 1.0], n) / np.sqrt(2)
    assert laws.holm(laws.autocorrelation(laws.squares(signs), 1024), RATE)
    assert laws.holm([laws.independent_pairs(signs[::2], signs[1::2])] * 15, RATE)
    assert laws.holm([laws.independent_pairs(x[1:] * (1 + 0.02 * x[:-1]), x[:-1])] * 15, RATE)
    y = rng.standard_normal(1 << 17)
    p = [laws.correlation(y + 0.03 * x[: 1 << 17], x[: 1 << 17])] + [0.5] * 60_000
    assert laws.holm(p, RATE)
