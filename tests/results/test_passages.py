"""First passages: Kaplan-Meier summaries against counts by hand in exact fractions, published
numbers and the laws they estimate.
"""

import math
import pickle
from fractions import Fraction

import matplotlib
import numpy as np
import pytest
import seqsgd as sq
from scipy import special, stats
from seqsgd.results.passages import Interval

matplotlib.use("Agg")

# (steps, whether reached): ties of passages, of censored runs, of both; ends that are reached or
# censored; a passage at step 0
SAMPLES = {
    "ties": ([3, 1, 1, 3, 3, 6, 8, 5], [1, 1, 0, 1, 0, 1, 0, 1]),
    "all reached": ([4, 2, 9, 2, 7], [1, 1, 1, 1, 1]),
    "none reached": ([10, 10, 4], [0, 0, 0]),
    "last reached": ([5, 3, 9], [0, 1, 1]),
    "one": ([12], [1]),
    "one, censored": ([12], [0]),
    "start above eta": ([0, 0, 5, 7], [1, 1, 1, 0]),
    "tie at the end": ([2, 6, 6], [1, 1, 0]),
    "halves": ([1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1]),
}

# remission times in weeks of Freireich et al., Blood 21 (1963) 699: treated with 6-MP, and placebo;
# curve and test as printed in textbooks since
TREATED = (
    [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
    [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
)
PLACEBO = ([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], [1] * 21)


def passage(sample, **rest):
    return sq.FirstPassage(sample[0], np.array(sample[1], dtype=bool), **rest)


def by_hand(step, reached):
    """{step: P(tau > step)} at each passage, by the definition: a run censored at a step was at
    risk there.
    """
    survival, out = Fraction(1), {}
    for t in sorted({s for s, r in zip(step, reached, strict=True) if r}):
        events = sum(1 for s, r in zip(step, reached, strict=True) if r and s == t)
        survival *= 1 - Fraction(events, sum(s >= t for s in step))
        out[t] = survival
    return out


def at(curve, t):
    """The value of {step: value} at t."""
    return next((v for s, v in sorted(curve.items(), reverse=True) if s <= t), Fraction(1))


@pytest.mark.parametrize("name", SAMPLES)
def test_curve_and_quantiles_by_hand(name):
    step, reached = SAMPLES[name]
    f, hand = passage(SAMPLES[name]), by_hand(step, reached)
    curve = f.curve()
    assert curve.step[0] == 0 and (np.diff(curve.step) > 0).all() and set(curve.step) == {0, *step}
    np.testing.assert_allclose(curve.survival, [float(at(hand, t)) for t in curve.step], rtol=1e-14)
    assert (
        (curve.low <= curve.survival).all()
        and (curve.survival <= curve.high).all()
        and np.isfinite(curve.high).all()
    )
    for p in (Fraction(1, 10), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1)):
        wanted = next((t for t, s in sorted(hand.items()) if s <= 1 - p), math.inf)
        assert f.quantile(float(p)) == wanted
    assert f.median == f.quantile(0.5) == f.quantile([[0.2, 0.5]])[0, 1]
    assert (f.runs, f.number_reached, f.number_censored) == (
        len(step),
        sum(reached),
        len(step) - sum(reached),
    )


def test_a_median_that_was_not_seen_is_never_a_number():
    f = passage(([5, 6, 7, 100, 100, 100, 100], [1, 1, 1, 0, 0, 0, 0]))
    assert f.median == math.inf and f.interval().high == math.inf and f.quantile(3 / 7) == 7
    assert repr(f).splitlines()[2] == "  median step not reached (95 % interval from 5)"
    assert np.median(f.step[f.reached]) == 6  # what forgetting the censored runs would say
    exactly_half = passage(([5, 6, 100, 100], [1, 1, 0, 0]))
    assert exactly_half.median == 6
    early = passage(
        ([5, 9, 9, 9, 2, 2, 2, 2], [1, 0, 0, 0, 0, 0, 0, 0])
    )  # censoring at 2 leaves 4 at risk: 3/4 at step 5
    assert early.curve().survival[-1] == 0.75 and early.median == math.inf


@pytest.mark.parametrize("name", SAMPLES)
def test_restricted_mean_by_hand(name):
    step, reached = SAMPLES[name]
    f, hand = passage(SAMPLES[name]), by_hand(step, reached)
    for h in (0, 1, 2, 4, max(step)):
        if h > max(step):
            continue
        area = sum((at(hand, t) for t in range(h)), Fraction(0))  # the curve jumps at integers only
        variance = Fraction(0)
        for t in hand:
            events, risk = (
                sum(1 for s, r in zip(step, reached, strict=True) if r and s == t),
                sum(s >= t for s in step),
            )
            if events < risk:
                variance += sum((at(hand, u) for u in range(t, h)), Fraction(0)) ** 2 * Fraction(
                    events, risk * (risk - events)
                )
        value, error = f.restricted_mean(h)
        assert value == pytest.approx(float(area), rel=1e-13, abs=1e-13) and error == pytest.approx(
            math.sqrt(variance), rel=1e-12, abs=1e-13
        )
    assert f.restricted_mean() == f.restricted_mean(max(step))
    if all(reached):
        assert f.restricted_mean(1000).value == pytest.approx(np.mean(step))
        assert f.restricted_mean(1000).error == pytest.approx(np.std(step) / math.sqrt(len(step)))
    elif hand.get(max(step)) != 0:
        with pytest.raises(
            ValueError,
            match=rf"^horizon: expected at most {max(step)}, the step of the longest run, got "
            r"1000$",
        ):
            f.restricted_mean(1000)


def test_published_trial():
    treated, placebo = passage(TREATED), passage(PLACEBO)
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    curve = treated.curve()
    for t, s in printed.items():
        assert curve.survival[curve.step == t][0] == pytest.approx(s, abs=6e-4)
    assert (treated.median, placebo.median) == (23, 8)
    compared = treated.compare(placebo)
    assert compared.pvalue == pytest.approx(
        special.erfc(math.sqrt(16.79 / 2)), rel=0.01
    )  # chi2 = 16.79, one degree of freedom
    assert compared.ratio == 23 / 8 and 1 < compared.low < compared.ratio < compared.high
    swapped = placebo.compare(treated)
    assert swapped.ratio == 8 / 23 and swapped.pvalue == pytest.approx(compared.pvalue)


def test_band_is_the_exponential_greenwood_one():
    step, reached = TREATED
    f, z = passage(TREATED), special.ndtri(0.95)
    curve = f.curve(0.9)
    for i, t in enumerate(curve.step):
        s = curve.survival[i]
        if s == 1:
            assert (curve.low[i], curve.high[i]) == (1, 1)
            continue
        greenwood = 0.0
        for u in by_hand(step, reached):
            if u <= t:
                risk, events = (
                    sum(x >= u for x in step),
                    sum(x == u and r for x, r in zip(step, reached, strict=True)),
                )
                greenwood += events / (risk * (risk - events))
        width = z * math.sqrt(greenwood) / abs(math.log(s))
        assert curve.low[i] == pytest.approx(s ** math.exp(width)) and curve.high[
            i
        ] == pytest.approx(s ** math.exp(-width))
    wanted = Interval(
        *(min(curve.step[side <= 0.5], default=math.inf) for side in (curve.low, curve.high))
    )
    assert f.interval(0.5, 0.9) == wanted and wanted.low < 23 < wanted.high == math.inf


def test_band_where_the_curve_ends_at_zero():
    curve = passage(([2, 4], [1, 1])).curve()
    assert curve.survival[-1] == curve.low[-1] == 0 and curve.high[-1] == curve.high[-2] < 1
    assert passage(([3, 3], [1, 1])).interval() == (3, math.inf), "two runs say little"


def geometric(rng, n, rate, horizon):
    """tau geometric, some runs censored before at random, all at the horizon."""
    tau, end = rng.geometric(rate, n), np.minimum(rng.geometric(rate / 2, n), horizon)
    return sq.FirstPassage(np.minimum(tau, end), tau <= end)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    """1000 samples of 80 runs: 90 % intervals of the median and 1.645 standard errors of the
    restricted mean hold the truth in 90 % (allowed: 87 to 93; three deviations are 2.8).
    """
    rng, rate, horizon = np.random.default_rng(1), 0.01, 150
    median = math.ceil(math.log(0.5) / math.log1p(-rate))
    mean = sum((1 - rate) ** t for t in range(horizon))
    covered, within = [], []
    for _ in range(1000):
        f = geometric(rng, 80, rate, horizon + 1)
        low, high = f.interval(0.5, 0.9)
        covered.append(low <= median <= high)
        if f.curve().step[-1] >= horizon:
            value, error = f.restricted_mean(horizon)
            within.append(abs(value - mean) <= 1.645 * error)
    assert len(within) > 990
    assert 0.87 < np.mean(covered) < 0.93 and 0.87 < np.mean(within) < 0.93


def test_comparison_has_its_level_and_power():
    """300 pairs of 60 runs of one law: p-values uniform (Kolmogorov-Smirnov, rate 0.001), ratio 1
    in about 90 % of intervals. 100 pairs whose rates differ twofold: mostly rejected.
    """
    rng = np.random.default_rng(2)
    same = [
        geometric(rng, 60, 0.01, 120).compare(
            geometric(rng, 60, 0.01, 120), confidence=0.9, resamples=200, rng=rng
        )
        for _ in range(300)
    ]
    assert stats.kstest([c.pvalue for c in same], "uniform").pvalue > 0.001
    assert 0.86 < np.mean([c.low <= 1 <= c.high for c in same]) < 0.96
    other = [
        geometric(rng, 60, 0.02, 120).compare(geometric(rng, 60, 0.01, 120), resamples=200, rng=rng)
        for _ in range(100)
    ]
    assert (
        np.mean([c.pvalue < 0.05 for c in other]) > 0.7
        and np.mean([c.high < 1 for c in other]) > 0.5
    )
    assert np.mean([c.low <= 0.5 <= c.high for c in other]) > 0.9


def test_log_rank_by_hand():
    a, b = SAMPLES["ties"], SAMPLES["halves"]
    observed = expected = variance = Fraction(0)
    for t in {s for s, r in zip(a[0] + b[0], a[1] + b[1], strict=True) if r}:
        risk, of_a = sum(s >= t for s in a[0] + b[0]), sum(s >= t for s in a[0])
        events = sum(1 for s, r in zip(a[0] + b[0], a[1] + b[1], strict=True) if r and s == t)
        observed += sum(1 for s, r in zip(*a, strict=True) if r and s == t)
        expected += Fraction(events * of_a, risk)
        if risk > 1:
            variance += Fraction(
                events * of_a * (risk - of_a) * (risk - events), risk**2 * (risk - 1)
            )
    z = float(observed - expected) / math.sqrt(variance)
    assert passage(a).compare(passage(b)).pvalue == pytest.approx(
        special.erfc(abs(z) / math.sqrt(2))
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_medians_of_resamples_are_kaplan_meier_medians(name, monkeypatch):
    """Drawn again by repeating runs, with the same numbers of times, and put through the whole
    machinery.
    """
    monkeypatch.setattr("seqsgd.results.passages._CHUNK", 40)
    f = passage(SAMPLES[name])
    order = np.lexsort((~f.reached, f.step))
    rows = 40 // f.runs
    fast, rng, slow = (
        np.concatenate(list(f._medians(60, np.random.default_rng(3)))),
        np.random.default_rng(3),
        [],
    )
    for done in range(0, 60, rows):
        for drawn in rng.multinomial(
            f.runs, np.full(f.runs, 1 / f.runs), size=min(rows, 60 - done)
        ):
            slow.append(
                sq.FirstPassage(
                    np.repeat(f.step[order], drawn), np.repeat(f.reached[order], drawn)
                ).median
            )
    assert len(fast) == 60 and fast.tolist() == slow


def test_ratio_of_medians_that_were_not_reached():
    never, soon = passage(([100] * 20, [0] * 20)), passage((list(range(1, 21)), [1] * 20))
    compared = never.compare(soon)
    assert (
        compared.pvalue < 1e-6
        and math.isnan(compared.ratio)
        and compared.low == compared.high == math.inf
    )
    compared = soon.compare(never)
    assert math.isnan(compared.ratio) and compared.low == compared.high == 0
    nothing = never.compare(never)
    assert (
        math.isnan(nothing.pvalue)
        and math.isnan(nothing.ratio)
        and (nothing.low, nothing.high) == (0, math.inf)
    )
    assert (
        soon.compare(soon, rng=np.random.default_rng(4))
        == soon.compare(soon, rng=4)
        != soon.compare(soon, rng=5)
    )


# --- from results

TASK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
RUN = {"d": 40, "steps": 80, "lr": 0.3, "runs": 64, "rng": 1, "record": sq.Every(1), "threads": 1}


@pytest.mark.parametrize("halt", [True, False])
def test_passages_of_a_simulation(dynamics, halt, tmp_path):
    r = sq.simulate(TASK, **RUN, dynamics=dynamics, stop=sq.WeakRecovery(0.5, halt=halt))
    there = np.abs(r.m.values) >= 0.5  # every step is recorded
    reached = there.any(axis=1)
    assert 5 < reached.sum() < 60, "some pass and some do not"
    f = r.passage
    assert (
        f.reached.tolist() == reached.tolist()
        and f.step.tolist() == np.where(reached, there.argmax(axis=1), 80).tolist()
    )
    assert f.eta == 0.5 and f.nonfinite == 0
    word = f"{f.median:.0f}" if math.isfinite(f.median) else "not reached"
    assert f"{reached.sum()} of 64 runs reached eta = 0.5, median step {word}" in repr(r)
    r.save(tmp_path / "r.nc")
    again = sq.load(tmp_path / "r.nc").passage
    assert (
        repr(again) == repr(f)
        and again.step.tolist() == f.step.tolist()
        and again.reached.tolist() == f.reached.tolist()
    )


def test_runs_that_were_interrupted_count_for_as_long_as_they_went():
    r = sq.simulate(
        TASK,
        **RUN | {"steps": 10**10, "d": 10**9, "record": [0], "dynamics": "reduced"},
        stop=sq.WeakRecovery(0.9),
        callback=lambda done, total: True,
    )
    f = r.passage
    assert (
        f.number_reached == 0
        and f.step.tolist() == r.dataset["steps_done"].values.tolist()
        and f.median == math.inf
    )
    assert f.step.max() > 0


def test_untied_rows_and_starts_above_eta():
    untied = sq.simulate(
        sq.Task(sq.SSI("sum", L=3), sq.Untied("relu")), **RUN, stop=sq.WeakRecovery(0.5)
    ).passage
    assert untied.runs == 64 and untied.step.shape == (64,)
    above = sq.simulate(TASK, **RUN, init=sq.Overlap(0.8), stop=sq.WeakRecovery(0.7)).passage
    assert (
        above.median == 0
        and above.curve().step.tolist() == [0]
        and above.restricted_mean() == (0, 0)
        and above.restricted_mean(10) == (0, 0)
    )


def test_without_a_stop_there_are_none():
    with pytest.raises(
        AttributeError,
        match=r"^weak_recovery: this result has none \(it was not recorded; pass "
        r"stop=WeakRecovery\(eta\)\)$",
    ):
        sq.simulate(TASK, **RUN).passage


def test_runs_that_blow_up_are_censored_and_told_of():
    calls = {"n": 0}

    def link(z):
        calls["n"] += 1
        return math.nan if calls["n"] == 25 else z[0]

    with pytest.warns(sq.NonFiniteWarning):
        r = sq.simulate(
            sq.Task(sq.SSI(link, 1), sq.Tied("identity")),
            **RUN | {"runs": 3},
            stop=sq.WeakRecovery(0.99),
        )
    with pytest.warns(
        sq.NonFiniteWarning,
        match="^1 of 3 runs stopped at values that are not finite before eta; they count as "
        "censored "
        "there",
    ) as caught:
        f = r.passage
    assert caught[0].filename == __file__
    bad = np.isfinite(r.dataset["nonfinite_step"].values)
    assert not f.reached[bad].any() and f.step[bad] == r.dataset["nonfinite_step"].values[bad] - 1
    assert f.nonfinite == 1 and f.number_censored >= 1
    assert "1 of the censored runs stopped at values that are not finite" in repr(f)
    assert "1 of 3 runs stopped at values that are not finite, and have no records" in repr(
        r
    )  # no second warning


# --- the object


def test_it_cannot_be_changed_and_can_be_sent():
    given = np.array([3.0, 4.0])
    f = sq.FirstPassage(given, np.array([True, False]), 0.5)
    given[0] = 7
    assert f.step[0] == 3
    with pytest.raises(AttributeError):
        f.eta = 0.3
    for array in (f.step, f.reached):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    again = pickle.loads(pickle.dumps(f))
    assert (
        repr(again)
        == repr(f)
        == (
            "<seqsgd.FirstPassage>\n  1 of 2 runs reached eta = 0.5\n  median step 3 (95 % "
            "interval 3 to not reached)"
        )
    )


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ValueError,
            "step: expected real numbers of shape (n,), got shape (0,)",
            lambda f: sq.FirstPassage([], []),
        ),
        (
            ValueError,
            "step: expected steps >= 0, got -2 among them",
            lambda f: sq.FirstPassage([1, -2], [True, True]),
        ),
        (
            ValueError,
            "step: expected finite numbers, got nan among them",
            lambda f: sq.FirstPassage([1, math.nan], [True, True]),
        ),
        (
            TypeError,
            "reached: expected an array of bool, got dtype int64",
            lambda f: sq.FirstPassage([1], np.array([1])),
        ),
        (
            ValueError,
            "reached: expected shape (1,) as step, got (2,)",
            lambda f: sq.FirstPassage([1], [True, False]),
        ),
        (
            ValueError,
            "nonfinite: expected an integer in [0, 1], got 2",
            lambda f: sq.FirstPassage([1, 2], [True, False], nonfinite=2),
        ),
        (ValueError, "p: expected a number in (0, 1], got 0.0", lambda f: f.quantile([0.5, 0.0])),
        (ValueError, "p: expected a number in (0, 1], got 1.5", lambda f: f.interval(1.5)),
        (ValueError, "confidence: expected a number in (0, 1), got 95", lambda f: f.curve(95)),
        (
            ValueError,
            "confidence: expected a number in (0, 1), got 1",
            lambda f: f.compare(f, confidence=1),
        ),
        (
            ValueError,
            "horizon: expected a finite number >= 0, got -1",
            lambda f: f.restricted_mean(-1),
        ),
        (
            ValueError,
            "resamples: expected an integer >= 1, got 0",
            lambda f: f.compare(f, resamples=0),
        ),
        (TypeError, "other: expected a FirstPassage, got 3", lambda f: f.compare(3)),
    ],
)
def test_errors_name_the_argument(error, message, call):
    with pytest.raises(error) as caught:
        call(passage(TREATED))
    assert str(caught.value) == message


def test_picture():
    import matplotlib.pyplot as plt

    treated, placebo = passage(TREATED), passage(PLACEBO, eta=0.5)
    ax = treated.plot(label="treated")
    assert placebo.plot(ax) is ax
    curves = [line for line in ax.lines if line.get_gid() == "survival"]
    assert [line.get_label() for line in curves] == ["treated", "21 of 21 runs passed"]
    assert (
        curves[0].get_color() != curves[1].get_color()
        and curves[0].get_linestyle() != curves[1].get_linestyle()
    )
    np.testing.assert_array_equal(curves[0].get_ydata(), treated.curve().survival)
    assert curves[0].get_drawstyle() == "steps-post"
    ticks = next(line for line in ax.lines if line.get_gid() != "survival")
    assert ticks.get_xdata().tolist() == [6, 9, 10, 11, 17, 19, 20, 25, 32, 34, 35]
    assert (
        ticks.get_ydata()[0] == pytest.approx(18 / 21)
        and ax.get_xlabel() == r"step $\tau$"
        and ax.get_ylabel() == r"share of runs below $\eta$ = 0.5"
    )
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(treated.curve().low.min()) and band.max() == 1
    ax.figure.canvas.draw()
    plt.close("all")


@pytest.mark.parametrize(
    ("step", "reached"),
    [
        ([5.0], [True]),
        ([3.0] * 4, [True] * 4),
        ([0.0, 0.0], [True, True]),
        ([2.0, 2.0], [True, False]),
    ],
)
def test_where_nothing_tells_two_samples_apart(step, reached):
    """The log-rank statistic has no variance when all runs at risk pass at once: p = 1, and no
    warning.
    """
    same = sq.FirstPassage(step, reached)
    assert same.compare(same, resamples=20).pvalue == pytest.approx(1)


def test_a_p_value_is_nan_where_no_run_passed():
    never = sq.FirstPassage([5.0, 5.0], [False, False])
    assert math.isnan(never.compare(never, resamples=20).pvalue)
