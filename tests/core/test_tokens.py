"""Laws of the tokens and of label noise, as a run meets them.

With lr = 0 and w = w* (m0 = 1), a link 100 + z_l + u and the student f = u = sum_k z_k / sqrt L,
the loss of a step is (100 + z_l)^2 / 2: every field of every step can be read from records. With d
= 1 the field is the entry of X, up to the sign of w*, which no law here sees. False alarms: RATE
for each test, by Holm; seeds are fixed.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import catalogue
import laws
import numpy as np
import pytest
from helpers import assert_close, core_simulation, steps
from laws import assert_plausible
from scipy import special, stats
from seqsgd import _core

pytestmark = pytest.mark.weights

RATE = 1e-4
DTYPES = ("float32", "float64")
STEPS = 100_000
CORRELATED = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.5], [0.0, -0.5, 1.0]])

LAWS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "rademacher": {"tokens": "rademacher"},
    "uniform": {"tokens": "uniform"},
    "student_t 2.5": {"tokens": "student_t", "nu": 2.5},
    "student_t 9": {"tokens": "student_t", "nu": 9.0},
    "correlated": {"tokens": "correlated", "covariance": CORRELATED},
}
CDF: dict[str, Any] = {
    "gaussian": special.ndtr,
    "correlated": special.ndtr,
    "uniform": lambda x: (1 + x / math.sqrt(3)) / 2,
    "student_t 2.5": lambda x: stats.t.cdf(x * math.sqrt(2.5 / 0.5), 2.5),
    "student_t 9": lambda x: stats.t.cdf(x * math.sqrt(9 / 7), 9),
}
EXCESS_KURTOSIS = {
    "gaussian": 0.0,
    "correlated": 0.0,
    "rademacher": -2.0,
    "uniform": -1.2,
    "student_t 9": 6 / 5,
}


def fields(
    dynamics: str,
    law: str,
    token: int,
    d: int,
    L: int = 3,
    runs: int = 1,
    n: int = STEPS,
    dtype: str = "float32",
    noise: float = 0.0,
    **more: Any,
) -> Any:
    """z of one token at every step, (runs, n)."""
    terms = [(100.0, [], []), (1.0, [token], [1])] + [(L**-0.5, [k], [1]) for k in range(L)]
    link = _core.link_hermite(
        L,
        1.0,
        np.array([c for c, _, _ in terms]),
        [t for _, t, _ in terms],
        [k for _, _, k in terms],
    )
    task = _core.Task(link, catalogue.network("identity", L)[0], "half_square", noise)
    core = core_simulation(
        task,
        dynamics,
        d=d,
        runs=runs,
        lr=0.0,
        m0=1.0,
        dtype=dtype,
        record=np.arange(n + 1),
        **(LAWS[law] | more),
    )
    assert core.advance(n, None)
    return np.sqrt(2 * core.records()["loss"][:, 1:]) - 100


def law_test(x: Any, law: str) -> list[float]:
    """p-values of a sample against a law."""
    if law == "rademacher":
        assert np.abs(np.abs(x) - 1).max() < 1e-4
        return [stats.binomtest(int((x > 0).sum()), len(x)).pvalue]
    return [
        laws.kolmogorov_smirnov(np.sort(CDF[law](x))),
        laws.two_sided(x.mean() * math.sqrt(len(x))),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_entries_have_their_law(law: str, dtype: str, dynamics: str) -> None:
    """10^5 steps of three tokens at d = 1: law of each, no correlation in time (also of squares),
    the right one between tokens.
    """
    z = [fields(dynamics, law, token, 1, dtype=dtype)[0] for token in range(3)]
    p: list[Any] = [law_test(x, law) for x in z]
    heavy = law.startswith("student_t 2")
    bounded = [np.clip(x, -3, 3) for x in z]
    for x in bounded:
        p.append(laws.autocorrelation((x - x.mean()) / x.std(), 500))
        if law != "rademacher":
            p.append(laws.autocorrelation((x**2 - (x**2).mean()) / (x**2).std(), 500))
    C = CORRELATED if law == "correlated" else np.eye(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        x, y = (bounded if heavy else z)[a], (bounded if heavy else z)[b]
        p.append([laws.two_sided((np.mean(x * y) - C[a, b]) * math.sqrt(len(x)) / np.std(x * y))])
        p.append(
            [laws.two_sided(np.mean(x[1:] * y[:-1]) * math.sqrt(len(x)) / np.std(x[1:] * y[:-1]))]
        )
    assert_plausible(np.concatenate([np.ravel(q) for q in p]), RATE)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 31, 32, 33, 40, 100])
@pytest.mark.parametrize("law", LAWS)
def test_fields_have_their_moments(law: str, d: int, dynamics: str) -> None:
    """Variance 1, fourth moment 3 + k sum_j (w_j / sqrt d)^4, k the entries' excess kurtosis: 20
    runs of 5000 steps.
    """
    z = fields(dynamics, law, 1, d, runs=20, n=5000)
    if law == "student_t 2.5":
        z = np.clip(z, -3, 3)  # no fourth moment: only centred and uncorrelated
    task = catalogue.task(
        catalogue.named_link("sum", 3), catalogue.network("identity", 3), "half_square"
    )[0]
    w = core_simulation(task, dynamics, d=d, runs=20, m0=1.0, dtype="float32").teacher()
    sums = [
        laws.two_sided(z.mean(1) * math.sqrt(5000) / z.std(1)),
        *(laws.autocorrelation((x - x.mean()) / x.std(), 300) for x in z),
    ]
    if law in EXCESS_KURTOSIS:
        fourth = 3 + EXCESS_KURTOSIS[law] * (w**4).sum(1) / d**2
        sums.append(laws.two_sided(((z**2).mean(1) - 1) / (z**2).std(1) * math.sqrt(5000)))
        if law != "student_t 9":  # its eighth moment hardly exists
            sums.append(
                laws.two_sided(((z**4).mean() - fourth.mean()) / (z**4).std() * math.sqrt(z.size))
            )
    if law in ("gaussian", "correlated"):
        sums.append(law_test(z.ravel(), law))
    assert_plausible(np.concatenate([np.ravel(s) for s in sums]), RATE)


def test_power_of_the_moments() -> None:
    """A variance 3 % off, and Gaussian fields where rademacher entries at d = 2 were asked for, are
    rejected at that size and rate.
    """
    z = np.random.default_rng(0).standard_normal((20, 5000))
    variance = laws.two_sided(((1.015 * z) ** 2 - 1).mean() / (z**2).std() * math.sqrt(z.size))
    fourth = laws.two_sided(((z**4).mean() - 1.8) / (z**4).std() * math.sqrt(z.size))
    assert laws.holm([variance, *[0.5] * 500], RATE) and laws.holm([fourth, *[0.5] * 500], RATE)


@pytest.mark.parametrize("law", LAWS)
def test_first_steps_do_not_know_the_start(law: str, dynamics: str) -> None:
    """First and second fields of 4000 runs at d = 5, where X, w* and w(0) come from streams of the
    same run.
    """
    first = fields(dynamics, law, 0, 5, L=3, runs=4000, n=2)
    p = [laws.two_sided(x.mean() / x.std() * math.sqrt(len(x))) for x in first.T]
    if law in ("gaussian", "correlated"):
        p += law_test(first[:, 0], law) + law_test(first[:, 1], law)
    p.append(laws.two_sided(np.corrcoef(np.clip(first, -3, 3).T)[0, 1] * math.sqrt(len(first))))
    assert_plausible(p, RATE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_drawn_entries(law: str, dtype: str) -> None:
    """The generator of tokens by itself: 3 x 10^5 entries of (n, L, d) = (1000, 3, 100), units
    1/sqrt(d), columns uncorrelated.
    """
    if law == "gaussian":
        return
    settings = {"tokens": "", "nu": 0.0, "covariance": np.empty((0, 0))} | LAWS[law]
    X = (
        _core.tokens(
            settings["tokens"], settings["nu"], settings["covariance"], 3, 100, 5, 0, 0, 1000, dtype
        ).astype(np.float64)
        * 10
    )
    assert X.shape == (1000, 3, 100)
    p = [law_test(X[:, l].ravel(), law) for l in range(3)]
    y = np.clip(X, -3, 3)
    p += [laws.autocorrelation(y[:, l].ravel() / y[:, l].std(), 300) for l in range(3)]
    C = CORRELATED if law == "correlated" else np.eye(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        prod = y[:, a] * y[:, b] if not law.startswith("student") else np.sign(y[:, a] * y[:, b])
        p.append(
            np.array(
                [
                    laws.two_sided(
                        (prod.mean() - (C[a, b] if law == "correlated" else 0))
                        * math.sqrt(prod.size)
                        / prod.std()
                    )
                ]
            )
        )
    if law == "correlated":  # clipping at 3 takes 0.5 % of the variance: compare unclipped
        p = p[:6] + [
            laws.two_sided(
                ((X[:, a] * X[:, b]).mean() - C[a, b]) * math.sqrt(1e5) / (X[:, a] * X[:, b]).std()
            )
            for a, b in ((0, 1), (0, 2), (1, 2))
        ]
    assert_plausible(np.concatenate([np.ravel(q) for q in p]), RATE)


@pytest.mark.parametrize(
    "C",
    [
        np.ones((2, 2)),
        np.array([[1.0, -1.0], [-1.0, 1.0]]),
        np.array([[4.0, 1.0], [1.0, 0.25]]),
        np.diag([1.0, 0.0]),
        np.zeros((2, 2)),
    ],
)
def test_singular_covariances(C: Any, dynamics: str) -> None:
    """Tokens that determine each other do so exactly."""
    X = _core.tokens("correlated", 0.0, C, 2, 50, 1, 0, 0, 2000, "float64") * math.sqrt(50)
    assert_close(np.einsum("nld,nkd->lk", X, X) / (2000 * 50), C, 0.03)
    values, vectors = np.linalg.eigh(C)
    for value, v in zip(values, vectors.T, strict=True):
        if abs(value) < 1e-12:
            assert np.abs(np.einsum("l,nld->nd", v, X)).max() < 1e-7
    task = catalogue.task(
        catalogue.named_link("sum", 2), catalogue.network("relu", 2), "half_square"
    )[0]
    core = core_simulation(task, dynamics, tokens="correlated", covariance=C, lr=0.1)
    assert core.advance(100, None) and np.isfinite(core.weights()).all()


@pytest.mark.parametrize(
    "C",
    [
        np.array([[1.0, 2.0], [2.0, 1.0]]),
        np.array([[-1.0, 0.0], [0.0, 1.0]]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.full((2, 2), np.nan),
    ],
)
def test_impossible_covariances_are_refused(C: Any, dynamics: str) -> None:
    task = catalogue.task(
        catalogue.named_link("sum", 2), catalogue.network("relu", 2), "half_square"
    )[0]
    with pytest.raises(ValueError, match="^covariance: "):
        core_simulation(task, dynamics, tokens="correlated", covariance=C)


@pytest.mark.parametrize("law", LAWS)
def test_runs_that_share_a_thread_cost_no_more(law: str, dynamics: str) -> None:
    """Two runs take about twice as long as one, not a thousand times as when each slice of work
    begins by drawing a block again.
    """
    L = 8
    task = catalogue.task(
        catalogue.named_link("sum", L), catalogue.network("relu", L), "half_square", 0.1
    )[0]
    seconds = []
    for runs in (1, 2):
        core = core_simulation(
            task,
            dynamics,
            d=1,
            m0=1.0,
            runs=runs,
            **(LAWS[law] | ({"covariance": np.eye(L)} if law == "correlated" else {})),
        )
        core.advance(1, None)
        begin = time.perf_counter()
        core.advance(12_000, lambda steps, begin=begin: time.perf_counter() - begin > 5)
        seconds.append(time.perf_counter() - begin)
    assert seconds[1] < 0.05 + 20 * seconds[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("Delta", [0.01, 4.0])
def test_label_noise(Delta: float, dtype: str, dynamics: str) -> None:
    """At w = w* and y = f all loss is noise: 2 loss / Delta is chi-square with k degrees,
    independent between steps (10^5) and runs.
    """
    L = 2
    scalar = catalogue.task(
        catalogue.named_link("sum", L, L**-0.5),
        catalogue.network("identity", L),
        "half_square",
        Delta,
    )[0]
    matrix = _core.Task(
        _core.link_attention("none", np.zeros(L), np.zeros(L), np.ones(L), np.zeros(L)),
        catalogue.attention("none", L)[0],
        "half_square",
        Delta,
    )
    p: list[Any] = []
    for task, k in ((scalar, 1), (matrix, L * L)):
        core = core_simulation(
            task,
            dynamics,
            d=9,
            lr=0.0,
            m0=1.0,
            dtype=dtype,
            record=np.arange(STEPS // 2 + 1),
            runs=2,
        )
        assert core.advance(STEPS // 2, None)
        x = 2 * core.records()["loss"][:, 1:] / Delta
        for series in x:
            p.append(laws.kolmogorov_smirnov(np.sort(stats.chi2.cdf(series, k))))
            p.append(laws.two_sided((series.mean() - k) / math.sqrt(2 * k / len(series))))
            p.append(laws.autocorrelation((series - k) / math.sqrt(2 * k), 500))
        p.append(laws.correlation(*((x - k) / math.sqrt(2 * k))))
    assert_plausible(np.concatenate([np.ravel(q) for q in p]), RATE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_independent_of_tokens(dtype: str, dynamics: str) -> None:
    """At d = 1: 10^5 steps of a token with and without noise tell both apart; no correlation at
    lags -64 ... 64, nor of squares.
    """
    z = fields(dynamics, "gaussian", 0, 1, L=1, dtype=dtype)[0]
    n = fields(dynamics, "gaussian", 0, 1, L=1, dtype=dtype, noise=1.0)[0] - z
    p = law_test(n, "gaussian")
    for a, b in ((n, z), (laws.squares(n), laws.squares(z))):
        p += [float(laws.correlation(a[64:-64], np.roll(b, k)[64:-64])) for k in range(-64, 65)]
    assert_plausible(p, RATE)


@pytest.mark.parametrize("law", LAWS)
def test_runs_draw_tokens_of_their_own(law: str, dynamics: str) -> None:
    """At d = 1, entry by entry: 20 000 steps of five runs, their entries (bounded by 3) and squares
    uncorrelated.
    """
    z = np.clip(fields(dynamics, law, 0, 1, runs=5, n=20_000), -3, 3)
    p = []
    for i, j in itertools.combinations(range(5), 2):
        p.append(
            laws.correlation((z[i] - z[i].mean()) / z[i].std(), (z[j] - z[j].mean()) / z[j].std())
        )
        assert np.mean(np.abs(np.abs(z[i]) - np.abs(z[j])) < 1e-4) < (
            2 if law == "rademacher" else 0.05
        )
        if law != "rademacher":
            a, b = z[i] ** 2, z[j] ** 2
            p.append(laws.correlation((a - a.mean()) / a.std(), (b - b.mean()) / b.std()))
    assert_plausible(p, RATE)


def test_noise_leaves_the_data_as_they_are(dynamics: str) -> None:
    """Two runs that differ by label noise alone see the same tokens: with an lr too small to matter
    their noiseless parts agree.
    """
    L = 2
    losses = []
    for Delta in (0.0, 1e-16):
        task = catalogue.task(
            catalogue.named_link("z1*z2", L), catalogue.network("tanh", L), "half_square", Delta
        )[0]
        core = core_simulation(task, dynamics, lr=0.0, record=np.arange(301), d=50)
        core.advance(300, None)
        losses.append(core.records()["loss"][0, 1:])
    assert_close(losses[0], losses[1], 1e-6)
    assert not np.array_equal(*losses)


def test_noise_moves_the_weights(dynamics: str) -> None:
    task = catalogue.task(
        catalogue.named_link("sum", 2, 2**-0.5),
        catalogue.network("identity", 2),
        "half_square",
        0.5,
    )[0]
    core = core_simulation(task, dynamics, m0=1.0, lr=0.1, record=steps(0, 10))
    core.advance(10, None)
    assert core.order_parameters()["m"][0, 0] < 1 - 1e-4
