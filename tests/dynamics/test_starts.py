"""Where runs start: teacher, weights, opposite encodings (docs: notation, sections 2 and 3).

Statistical tests: RATE each, fixed seeds.
"""

from __future__ import annotations

from typing import Any

import catalogue
import laws
import numpy as np
import pytest
from helpers import assert_close, core_simulation
from laws import assert_plausible
from scipy import stats

pytestmark = pytest.mark.weights

RATE = 1e-4
RUNS = 3000
SPHERES = ("shared", "rows", "global")


def start(dynamics: str, L: int = 2, **settings: Any) -> Any:
    task = catalogue.task(
        catalogue.named_link("sum", L), catalogue.network("relu", L), "half_square"
    )[0]
    return core_simulation(task, dynamics, **settings)


def uniform_component(x: Any, d: int) -> float:
    """p-value of one coordinate of uniform unit vectors of dimension d: (1 + x) / 2 is Beta((d -
    1)/2, (d - 1)/2).
    """
    return laws.kolmogorov_smirnov(
        np.sort(stats.beta.cdf((1 + np.asarray(x)) / 2, (d - 1) / 2, (d - 1) / 2))
    )


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sphere", SPHERES)
@pytest.mark.parametrize("m0", [0.0, 0.3, -0.7, 1.0, -1.0, 1e-8])
@pytest.mark.parametrize("d", [2, 3, 17, 100, 3000])
def test_a_given_overlap_is_met_exactly(
    d: int, m0: float, sphere: str, dtype: str, dynamics: str
) -> None:
    core = start(dynamics, d=d, m0=m0, weights=sphere, dtype=dtype, runs=4)
    n = 1 if sphere == "shared" else 2
    eps = 1e-14 if dtype == "float64" else 3e-7
    assert_close(core.order_parameters()["m"], np.full((4, n), m0), eps)
    assert_close(core.order_parameters()["q"], np.ones((4, n)), eps)
    assert_close(np.linalg.norm(core.weights(), axis=-1) / np.sqrt(d), np.ones((4, n)), eps)
    assert_close(np.linalg.norm(core.teacher(), axis=-1) / np.sqrt(d), np.ones(4), eps)
    assert_close(
        np.einsum("rnd,rd->rn", core.weights(), core.teacher()) / d, np.full((4, n), m0), eps
    )
    assert np.array_equal(core.records()["m"][:, 0], core.order_parameters()["m"])
    assert (
        np.isnan(core.records()["loss"]).all() and np.isnan(core.order_parameters()["loss"]).all()
    )


def test_one_dimension(dynamics: str) -> None:
    core = start(dynamics, d=1, m0=1.0, runs=50)
    assert np.array_equal(core.weights()[:, 0], core.teacher()) and set(core.teacher().ravel()) == {
        -1.0,
        1.0,
    }
    assert np.array_equal(start(dynamics, d=1, m0=-1.0, runs=50).weights()[:, 0], -core.teacher())
    free = start(dynamics, d=1, init="uniform", m0=0.0, runs=50)
    assert set(free.order_parameters()["m"].ravel()) == {-1.0, 1.0}
    with pytest.raises(ValueError, match="^m0: "):
        start(dynamics, d=1, m0=0.5)


@pytest.mark.parametrize("m0", [1.5, -1.001, np.nan, np.inf])
def test_impossible_overlaps_are_refused(m0: float, dynamics: str) -> None:
    with pytest.raises(ValueError, match="^m0: "):
        start(dynamics, m0=m0)


@pytest.mark.parametrize("d", [2, 3, 10, 33, 200])
def test_directions_are_uniform(d: int, dynamics: str) -> None:
    """3000 runs: coordinates of w*, of w given its overlap, of w uniform, and the overlaps
    themselves.
    """
    given = start(dynamics, d=d, m0=0.4, runs=RUNS, seed=1)
    free = start(dynamics, d=d, init="uniform", m0=0.0, runs=RUNS, seed=2)
    p = [
        uniform_component(unit(x)[:, j], d)
        for x in (given.teacher(), given.weights()[:, 0], free.teacher(), free.weights()[:, 0])
        for j in (0, d // 2, d - 1)
    ]
    p.append(uniform_component(free.order_parameters()["m"][:, 0], d))
    if (
        d > 2
    ):  # what is left of w without its part along w* is uniform in the other d - 1 dimensions
        rest = unit(given.weights()[:, 0] - 0.4 * given.teacher())
        axis = unit(np.random.default_rng(0).standard_normal((RUNS, d)))
        axis = unit(
            axis - unit(given.teacher()) * (axis * unit(given.teacher())).sum(-1, keepdims=True)
        )
        p.append(uniform_component((rest * axis).sum(-1), d - 1))
    assert_plausible(p, RATE)


@pytest.mark.parametrize("init", ["overlap", "uniform"])
@pytest.mark.parametrize("sphere", ["rows", "global"])
def test_untied_rows_are_independent(sphere: str, init: str, dynamics: str) -> None:
    """3000 runs: the rest of each row is uniform given the rests of the others."""
    d, L, m0 = 9, 3, 0.4 if init == "overlap" else 0.0
    core = start(dynamics, L, d=d, m0=m0, init=init, weights=sphere, runs=RUNS)
    w, p = core.weights(), []
    if init == "overlap":
        w = w - m0 * core.teacher()[:, None]
    w = unit(w)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        p.append(uniform_component((w[:, a] * w[:, b]).sum(-1), d - 1 if init == "overlap" else d))
    assert_plausible(p, RATE)


def test_random_signs(dynamics: str) -> None:
    """3000 runs: m0 or -m0 with equal odds, all rows alike, not tied to anything of the teacher,
    and independent between runs.
    """
    for sphere in SPHERES:
        core = start(dynamics, d=10, m0=0.3, random_sign=True, weights=sphere, runs=RUNS)
        m = core.order_parameters()["m"]
        assert_close(np.abs(m), np.full_like(m, 0.3), 1e-14)
        assert (np.sign(m) == np.sign(m[:, :1])).all()
        s = np.sign(m[:, 0])
        agree = [
            (s * x > 0).sum()
            for x in (
                np.ones(RUNS),
                core.teacher()[:, 0],
                core.teacher()[:, 9],
                np.roll(s, 1),
                np.roll(s, 2),
            )
        ]
        assert_plausible([stats.binomtest(int(a), RUNS).pvalue for a in agree], RATE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("init", ["overlap", "uniform"])
@pytest.mark.parametrize("sphere", SPHERES)
@pytest.mark.parametrize("d", [4, 5, 33, 1000])
def test_opposite_encodings(d: int, sphere: str, init: str, dtype: str, dynamics: str) -> None:
    """p_1 = -p_2, of unit length, orthogonal to w* and to all initial weights, and uniform among
    such.
    """
    runs = 500 if d < 100 else 20
    core = start(
        dynamics,
        d=d,
        position="opposite",
        weights=sphere,
        init=init,
        m0=0.2,
        runs=runs,
        dtype=dtype,
    )
    eps = 1e-14 if dtype == "float64" else 1e-6
    P = core.positions()
    assert P.shape == (runs, 2, d) and np.array_equal(P[:, 0], -P[:, 1])
    assert_close(np.linalg.norm(P, axis=-1), np.ones((runs, 2)), eps)
    assert_close((P[:, 0] * core.teacher()).sum(-1) / np.sqrt(d), np.zeros(runs), eps)
    assert_close(
        np.einsum("rld,rnd->rln", P, core.weights()) / np.sqrt(d),
        np.zeros((runs, 2, core.weights().shape[1])),
        eps,
    )
    assert_close(core.order_parameters()["e"], np.zeros((runs, 2)), eps)
    assert_plausible([uniform_component(P[:, 0, j], d) for j in (0, d - 1)], RATE / 10)


@pytest.mark.parametrize(("sphere", "least"), [("shared", 3), ("rows", 4), ("global", 4)])
def test_opposite_encodings_need_room(sphere: str, least: int, dynamics: str) -> None:
    with pytest.raises(ValueError, match="^d: "):
        start(dynamics, d=least - 1, m0=0.2, position="opposite", weights=sphere)
    core = start(dynamics, d=least, m0=0.2, position="opposite", weights=sphere)
    assert_close(core.order_parameters()["e"][0], np.zeros(2), 1e-14)
    aligned = start(
        dynamics, d=least, m0=1.0, position="opposite", weights=sphere
    )  # w along w*: fewer directions to avoid
    assert_close(aligned.order_parameters()["e"][0], np.zeros(2), 1e-14)
    assert_close(np.linalg.norm(aligned.positions()[0], axis=-1), np.ones(2), 1e-14)


@pytest.mark.parametrize("sphere", SPHERES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_given_matrix_is_kept(rank: int, sphere: str, dynamics: str) -> None:
    """Of any rank and size, the same in all runs; e is what it should be."""
    L, d = 3, 11
    rng = np.random.default_rng(rank)
    P = (
        rng.standard_normal((L, rank))
        @ rng.standard_normal((rank, d))
        * 10.0 ** rng.integers(-2, 3)
    )
    core = start(dynamics, L, d=d, position="matrix", P=P, weights=sphere, runs=2)
    size = np.abs(P).max()
    for got in core.positions():
        assert_close(got / size, P / size, 1e-14)
    assert_close(
        core.order_parameters()["e"] / size, (P * core.weights()).sum(-1) / np.sqrt(d) / size, 1e-13
    )


def test_a_matrix_of_zeros(dynamics: str) -> None:
    """No encoding at all, spelt out."""
    plain, zero = (
        start(dynamics, 2, lr=0.2, **k)
        for k in ({}, {"position": "matrix", "P": np.zeros((2, 24))})
    )
    for core in (plain, zero):
        core.advance(50, None)
    assert_close(zero.weights(), plain.weights(), 1e-12)
    assert np.array_equal(zero.order_parameters()["e"], np.zeros((1, 2)))
