"""The scaling experiment of docs/scaling.md: its formulas, its fits, and a shorter version of
it.
"""

import importlib.util
import math
import sys

import numpy as np
import pytest
import seqsgd as sq
from helpers import ROOT

pytestmark = pytest.mark.xdist_group("scaling")

PATH = ROOT / "docs" / "examples" / "scaling.py"
_spec = importlib.util.spec_from_file_location("scaling", PATH)
scaling = importlib.util.module_from_spec(_spec)
sys.modules["scaling"] = scaling  # dataclasses look their module up
_spec.loader.exec_module(scaling)


@pytest.mark.parametrize("k", [2, 3])
def test_the_task_has_this_information_exponent(k):
    """y = He_k(u*)/sqrt(k!), u* = (z_1 + z_2)/sqrt 2, f = a He_k(u)/sqrt(k!): losses of a simulator
    with w = w*, with its labels and with zeros.
    """
    he = {2: lambda x: (x**2 - 1) / math.sqrt(2), 3: lambda x: (x**3 - 3 * x) / math.sqrt(6)}[k]
    sim = sq.Simulator(scaling.task(k), d=5, lr=0.0, rng=1, dtype="float64", init=sq.Overlap(1.0))
    X = np.random.default_rng(1).standard_normal((30, 2, 5)) / math.sqrt(5)
    u = (X @ sim.w).sum(axis=1) / math.sqrt(2)
    np.testing.assert_allclose(
        sim.observe(X), ((1 - scaling.AMPLITUDE[k]) * he(u)) ** 2 / 2, atol=1e-12
    )
    np.testing.assert_allclose(
        sim.observe(X, np.zeros(30)), (scaling.AMPLITUDE[k] * he(u)) ** 2 / 2, atol=1e-12
    )


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("m", [0.02, 0.3, 0.7])
def test_drift_is_the_mean_increment_of_one_step(k, m):
    """Against a Monte Carlo of the exact step at d = 10^6, where d (m' - m) / gamma has this mean
    to 1e-6: 250000 runs, four standard errors.
    """
    d = 10**6
    gamma = scaling.rate(k).schedule(d, 2).values[0]
    r = sq.simulate(
        scaling.task(k),
        d,
        1,
        scaling.rate(k),
        runs=250_000,
        rng=k,
        dynamics="reduced",
        dtype="float64",
        init=sq.Overlap(m),
        record=[0, 1],
    )
    increments = (r.m.values[:, 1] - r.m.values[:, 0]) * d / gamma
    error = increments.std() / 500
    assert (
        abs(increments.mean() - scaling.drift(k, d, np.array([m]))[0]) < 4 * error
        and error < 0.1 * scaling.drift(2, d, np.array([0.3]))[0]
    )


def test_constants_by_hand():
    """V at m = 0: k a^2 (1 + a^2 c_k), c_2 = E[(u^2 - 1)^2 u^2]/2 = 5 and c_3 = 31 from the moments
    of a normal; the growth at SIE 2, 2 gamma a - gamma V / 2 per step and 1/d.
    """
    assert scaling.second_moment(2, np.zeros(1))[0] == pytest.approx(2 * 0.2**2 * (1 + 5 * 0.2**2))
    assert scaling.second_moment(3, np.zeros(1))[0] == pytest.approx(3 * 0.1**2 * (1 + 31 * 0.1**2))
    assert scaling.growth() == pytest.approx(0.2 * (2 - 0.2 * (1 + 5 * 0.2**2)))
    few, many = (scaling.flow(2, d, 1 / math.sqrt(d)) / d for d in (10**8, 10**10))
    assert many - few == pytest.approx(math.log(100) / (2 * scaling.growth()), rel=1e-3), (
        "d log d / (2 growth)"
    )
    few, many = (scaling.flow(3, d, 2.5 / math.sqrt(d)) / d**2 for d in (10**8, 10**10))
    inhibition = (
        0.5 * 0.6 * 3 * 1.31
        # of mu = m sqrt d: d mu / ds = 3 mu^2 - inhibition mu, from 2.5 to infinity, and T = d^2 s
        # /
        # 0.6
    )
    assert many == pytest.approx(few, rel=1e-3)
    assert many == pytest.approx(
        -math.log(1 - inhibition / (3 * 2.5)) / (inhibition * 0.6), rel=1e-3
    )


def points(law, dims, n=400, spread=0.3):
    """Runs whose logarithms of tau have a median law(d) and a normal spread."""
    rng = np.random.default_rng(5)
    return [
        scaling.Point(
            d,
            sq.FirstPassage(
                np.rint(law(d) * np.exp(spread * rng.standard_normal(n))), np.ones(n, dtype=bool)
            ),
            0,
            0.0,
        )
        for d in dims
    ]


def test_fits_find_the_exponents_and_their_errors():
    dims = [10**i for i in range(2, 8)]
    pure = scaling.fit(points(lambda d: 3 * d**1.5, dims))
    assert pure.exponent == pytest.approx(
        1.5, abs=4 * pure.error
    ) and pure.prefactor == pytest.approx(3, rel=0.1)
    expected = (
        0.3 * math.sqrt(math.pi / 2 / 400) / math.sqrt(np.var(np.log(dims)) * len(dims))
    )  # from the asymptotic error of a median
    assert pure.error == pytest.approx(expected, rel=0.3) and pure.chi2 < 15 and pure.dof == 4
    logarithmic = points(lambda d: 2 * d * math.log(d), dims)
    assert scaling.fit(logarithmic, math.log).exponent == pytest.approx(1, abs=0.01)
    assert scaling.fit(logarithmic).exponent > 1.05
    assert scaling.logarithm(logarithmic)[0] == pytest.approx(
        2, abs=4 * scaling.logarithm(logarithmic)[1]
    )
    bent = points(lambda d: 3 * d**1.5 * math.exp(-50 / d), dims, spread=0.05)
    corrected = scaling.fit(bent, orders=(1.0,))
    assert corrected.exponent == pytest.approx(
        1.5, abs=4 * corrected.error
    ) and corrected.corrections[1.0] == pytest.approx(-50, rel=0.1)
    assert scaling.fit(bent).chi2 > 100 > 20 > corrected.chi2


PREDICTED = {(2, False): 1.0, (3, False): 2.0, (2, True): 1.0, (3, True): 1.5}


@pytest.fixture(scope="module")
def measured():
    """About 7e8 run-steps."""
    decades = {
        (2, False): (2.5, 3, 3.5, 4, 4.5),
        (3, False): (2.5, 2.75, 3, 3.25),
        (2, True): (3, 3.5, 4),
        (3, True): (3, 3.25, 3.5),
    }
    return {
        key: scaling.measure(key[0], [round(10**x) for x in at], 3e7, fixed=key[1], most=2048)
        for key, at in decades.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("key", PREDICTED)
def test_exponents(measured, key):
    """The exponent of d over the flow's factor within three standard errors (a false alarm in 1 of
    370), which are small enough to mean something.
    """
    found = scaling.fit(measured[key], scaling.factor(*key))
    assert scaling.power_law(*key) == PREDICTED[key]
    assert abs(found.exponent - PREDICTED[key]) < 3 * found.error, str(found)
    assert found.error < {2: 0.006, 3: 0.05}[key[0]] and found.chi2 < 20
    if key == (2, False):
        plain = scaling.fit(measured[key])
        assert plain.exponent > 1 + 10 * plain.error, "the logarithm is there"


@pytest.mark.slow
def test_report_and_picture(measured, tmp_path, capsys):
    scaling.report(2, False, measured[2, False])
    said = capsys.readouterr().out
    assert "| 10000 |" in said and "predicted 1;" in said and "local exponents:" in said
    scaling.draw(measured, str(tmp_path / "s.png"))
    assert 20_000 < (tmp_path / "s.png").stat().st_size < 150_000
