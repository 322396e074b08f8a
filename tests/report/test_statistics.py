"""Intervals and exponents of figures against cases whose answer is known, and what they lack where
there are too few data.
"""

import numpy as np
import pytest
import seqsgd as sq
from scipy import stats
from seqsgd.report.statistics import (
    Measured,
    columns,
    crossing,
    fitted,
    median,
    middle,
    passage,
    power,
    ratio,
    share,
    slope,
)


def test_shares_have_wilsons_interval():
    """Wilson (1927): the p with (x/n - p)^2 = z^2 p (1 - p) / n, solved here as a quadratic."""
    x, n, z = 7, 40, stats.norm.ppf(0.975)
    roots = np.sort(np.roots([1 + z * z / n, -(2 * x / n + z * z / n), (x / n) ** 2]))
    np.testing.assert_allclose(np.ravel(columns([share(x, n)])), [x / n, *roots], rtol=1e-10)


def test_passage_keeps_censoring():
    p = passage([10.0, np.nan, 30.0, np.nan], [10, 50, 30, np.nan])
    assert p.runs == 3 and p.number_reached == 2 and p.median == 30
    assert np.isinf(median(passage([np.nan, 5.0, np.nan], [9, 5, 9])).value)


def test_slope_of_a_power_law():
    """Lognormal passages with medians x^1.7: the interval holds the exponent and has the size that
    the spread implies.
    """
    rng, x, n = np.random.default_rng(0), np.array([1, 2, 4, 8, 16]), 400
    ps = [
        sq.FirstPassage(
            np.rint(1e5 * v**1.7 * rng.lognormal(0, 0.3, n)).astype(int), np.ones(n, bool)
        )
        for v in x
    ]
    found = slope(x.tolist(), ps)
    error = 1.2533 * 0.3 / np.sqrt(n) / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert found.holds(1.7) and 2 < (found.high - found.low) / error < 6
    flat = slope(x.tolist(), ps, ps[::-1])
    assert abs(flat.value - 3.4) < 6 * error


def test_slope_leaves_out_what_was_not_reached():
    late = sq.FirstPassage([100] * 8, [False] * 8)
    early = [sq.FirstPassage([v] * 8, [True] * 8) for v in (10, 20)]
    assert (
        slope([1, 2], [early[0], None]).missing == "reached at 1 of 2 places, 8 of 8 runs arrived"
    )
    assert np.isnan(slope([1, 2], [early[0], late]).value)
    np.testing.assert_allclose(slope([1, 2, 4], [*early, late]).value, 1.0)
    assert np.isnan(fitted(np.log([1.0, 2.0]), np.array([[np.inf, np.inf], [1.0, 1.0]]), 8).value)


@pytest.mark.slow
def test_crossing_of_a_logistic_share():
    rng, x, n = np.random.default_rng(1), np.linspace(0, 1, 21), 100
    found = [
        crossing(x, rng.binomial(n, 1 / (1 + np.exp(25 * (x - 0.63)))), n, seed=i, draws=100)
        for i in range(40)
    ]
    missed = sum(not f.holds(0.63) for f in found)
    assert missed <= 8  # binomial(40, 0.05): above with probability 2e-4
    assert np.isnan(crossing(x, np.full(21, n), n).value) and np.isnan(
        crossing(x, np.zeros(21), n).value
    )


def test_numbers_are_written_with_the_digits_that_count():
    assert str(Measured(1.0003, 0.9998, 1.0009)) == "1.0003 (0.9998 to 1.0009)"
    assert str(Measured(123456, 98765, 150000)) == "1.23e5 (9.88e4 to 1.5e5)"
    assert (
        str(Measured(np.inf, 0, 0)) == "not reached"
        and str(Measured(np.nan, 0, 0)) == "not measured"
    )
    assert str(Measured(2.0)) == "2 (no interval)"


def test_a_power_law_needs_three_places_and_six_runs():
    rng = np.random.default_rng(0)

    def places(xs, n):
        return slope(
            xs,
            [
                sq.FirstPassage(np.rint(1000 * x * rng.lognormal(0, 0.2, n)), np.ones(n, bool))
                for x in xs
            ],
        )

    assert places([1, 2, 4], 8).missing == ""
    assert places([1, 2], 8).missing == "reached at 2 of 2 places, and any two lie on a power law"
    one = places([1, 2, 4], 1)
    assert (
        one.missing == "1 run, and a 95 % interval needs 6"
        and np.isnan(one.low)
        and np.isfinite(one.value)
    )
    assert slope(
        [1, 2, 4], [sq.FirstPassage([10 * x] * 8, [True] * 8) for x in (1, 2, 4)]
    ).missing.startswith("no interval of any width")


def test_medians_of_passages_say_how_many_arrived():
    late = passage([np.nan] * 5 + [7.0] * 3, [9.0] * 5 + [7.0] * 3)
    assert median(late).missing == "3 of 8 runs arrived" and np.isinf(median(late).value)
    assert (
        median(passage([np.inf] * 64, [9.0] * 64)).missing == "0 of 64 runs arrived"
    )  # inf is censored as NaN is
    assert passage([np.nan], [np.nan]) is None and median(None).missing == "0 runs"
    start = sq.FirstPassage([0.0] * 8, [True] * 8)
    assert ratio(start, start).missing == "the median step below the line is 0"
    some = sq.FirstPassage([5.0] * 8, [True] * 8)
    assert ratio(some, some).missing == "all runs of both took the same number of steps"
    assert ratio(some, None).missing == "8 of 8 runs arrived over 0 runs"


def test_medians_of_numbers_leave_nobody_out():
    assert middle([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]).missing == "1 of 6 runs without a number"
    assert middle(np.arange(5.0)).missing == "5 runs, and a 95 % interval needs 6"
    late = middle([1.0, 2.0, np.inf, 3.0, 4.0, np.inf])
    assert (late.value, late.low, late.high) == (3.5, 1.0, np.inf) or late.value == 4.0
    assert (
        middle([1.0] + [np.inf] * 6).missing == "1 of 7 runs arrived"
        and middle([]).missing == "0 runs"
    )


@pytest.mark.slow
def test_a_jump_between_two_points_is_known_no_better():
    """All runs, then none: the interval has both neighbours, whatever the fit."""
    found = crossing([0.0, 0.5, 1.0], [16, 16, 0], 16)
    assert (found.low, found.high) == (0.5, 1.0) and found.missing == ""
    assert crossing([0.0, 0.5, 1.0], [1, 0, 0], 1).missing == "1 run, and a 95 % interval needs 6"
    rising = crossing([0.0, 0.5, 1.0], [0, 8, 16], 16)
    assert np.isnan(rising.value) and "does not fall through 1/2" in rising.missing
    assert (
        crossing([0.0], [8], 16).missing
        and crossing([0.0, 1.0], [0, 0], 0).missing == "0 runs, and a 95 % interval needs 6"
    )


def test_power_of_known_numbers():
    assert power([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert (
        np.isnan(power([2], [3]))
        and np.isnan(power([1, 2], [np.nan, 3]))
        and np.isnan(power([1, 2], [0, 3]))
    )


def test_a_median_of_no_steps_is_no_ratio_and_says_so():
    at_once = sq.FirstPassage(np.zeros(8), np.ones(8, dtype=bool))
    found = slope([1, 2, 4], [at_once] * 3, [at_once] * 3)
    assert np.isnan(found.value)
    assert found.lacking.startswith("no ratio where half of the runs start above eta (reached at 0")
