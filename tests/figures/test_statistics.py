"""Intervals, exponents and verdicts of figures against cases whose answer is known."""

import numpy as np
import pytest
from scipy import stats

import seqsgd as sq
from seqsgd.figures.statistics import Measured, against, crossing, fitted, median, passage, same_law, share, slope


def test_shares_have_wilsons_interval():
    """Wilson (1927): the p with (x/n - p)^2 = z^2 p (1 - p) / n, solved here as a quadratic."""
    x, n, z = 7, 40, stats.norm.ppf(0.975)
    roots = np.sort(np.roots([1 + z * z / n, -(2 * x / n + z * z / n), (x / n) ** 2]))
    np.testing.assert_allclose(share(x, n), [x / n, *roots], rtol=1e-10)


def test_passage_keeps_censoring():
    p = passage([10.0, np.nan, 30.0, np.nan], [10, 50, 30, np.nan])
    assert p.runs == 3 and p.number_reached == 2 and p.median == 30
    assert np.isinf(median(passage([np.nan, 5.0, np.nan], [9, 5, 9])).value)


def test_slope_of_a_power_law():
    """Lognormal passages with medians x^1.7: the interval holds the exponent and has the size that the spread implies."""
    rng, x, n = np.random.default_rng(0), np.array([1, 2, 4, 8, 16]), 400
    ps = [sq.FirstPassage(np.rint(1e5 * v**1.7 * rng.lognormal(0, 0.3, n)).astype(int), np.ones(n, bool)) for v in x]
    found = slope(x.tolist(), ps)
    error = 1.2533 * 0.3 / np.sqrt(n) / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert found.holds(1.7) and 2 < (found.high - found.low) / error < 6
    flat = slope(x.tolist(), ps, ps[::-1])
    assert abs(flat.value - 3.4) < 6 * error


def test_slope_leaves_out_what_was_not_reached():
    late = sq.FirstPassage([100] * 8, [False] * 8)
    early = [sq.FirstPassage([v] * 8, [True] * 8) for v in (10, 20)]
    assert np.isnan(slope([1, 2], [early[0], late]).value)
    np.testing.assert_allclose(slope([1, 2, 4], [*early, late]).value, 1.0)
    assert np.isnan(fitted(np.log([1.0, 2.0]), np.array([[np.inf, np.inf], [1.0, 1.0]])).value)


def test_crossing_of_a_logistic_share():
    rng, x, n = np.random.default_rng(1), np.linspace(0, 1, 21), 100
    found = [crossing(x, rng.binomial(n, 1 / (1 + np.exp(25 * (x - 0.63)))), n, seed=i) for i in range(40)]
    missed = sum(not f.holds(0.63) for f in found)
    assert missed <= 8  # binomial(40, 0.05): above with probability 2e-4
    assert np.isnan(crossing(x, np.full(21, n), n).value) and np.isnan(crossing(x, np.zeros(21), n).value)


def test_same_law_refuses_a_shift_and_seldom_else():
    rng = np.random.default_rng(2)
    verdicts = [same_law("c", [(rng.normal(size=200), rng.normal(size=100)) for _ in range(3)]).verdict for _ in range(200)]
    assert verdicts.count("disagree") <= 3  # at 1e-3 each: above with probability 2e-5
    shifted = same_law("c", [(rng.normal(size=200), rng.normal(size=100)), (rng.normal(size=200), 0.8 + rng.normal(size=100))])
    assert shifted.verdict == "disagree" and "200 against 100" in shifted.why


@pytest.mark.parametrize(
    ("value", "predicted", "tolerance", "verdict"),
    [
        (Measured(1.0, 0.9, 1.1), 1.05, 0.0, "agree"),
        (Measured(1.0, 0.9, 1.1), 1.2, 0.0, "disagree"),
        (Measured(1.0, 0.9, 1.1), 1.2, 0.1, "agree"),
        (Measured(1.0, 0.2, 2.0), 1.2, 0.0, "cannot tell"),
        (Measured(np.inf, 0.2, np.inf), 1.2, 0.0, "cannot tell"),
        (Measured(np.nan, np.nan, np.nan), 1.2, 0.0, "cannot tell"),
    ],
)
def test_verdicts(value, predicted, tolerance, verdict):
    assert against("c", value, predicted, tolerance=tolerance).verdict == verdict


def test_numbers_are_written_with_the_digits_that_count():
    assert str(Measured(1.0003, 0.9998, 1.0009)) == "1.0003 (0.9998 to 1.0009)"
    assert str(Measured(123456, 98765, 150000)) == "1.23e5 (9.88e4 to 1.5e5)"
    assert str(Measured(np.nan, 0, 0)) == "not reached"
