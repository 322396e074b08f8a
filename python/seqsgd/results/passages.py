"""First passages of many runs, some of them censored: estimates of the step of weak recovery and
their uncertainty.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _checks
from .._lazy import scipy
from ..plots.runs import Look, plot_passage

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_Array = npt.NDArray[Any]
_EQUAL = 1e-12  # products of fractions that should be 1/2 come out a rounding above it
_CHUNK = 2**20  # numbers held at once while resampling


class Curve(NamedTuple):
    """Survival curve P(tau > step) at `step`, constant up to the next step; all (n,) float64."""

    step: _Array
    survival: _Array
    low: _Array
    high: _Array


class Interval(NamedTuple):
    """Confidence interval; an end is inf if it was not reached."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


class Comparison(NamedTuple):
    """Comparison of two samples: p-value of the log-rank test that their distributions are equal,
    the ratio of medians and its confidence interval.
    """

    pvalue: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class FirstPassage:
    """Steps of first passage tau of independent runs, some censored; `Result.passage` makes it.

    For a censored run we only know that tau > step. All summaries come from the Kaplan-Meier
    estimate of P(tau > step). It is right if censoring is independent of what the run would have
    done next, for instance if runs end at a step fixed beforehand, or are interrupted.

    A run that stopped at values that are not finite counts as censored at its last finite step,
    since nothing more is known of it. This is informative censoring (such runs differ from the
    others), so `Result.passage` warns of it, and `nonfinite` is the number of such runs.

    Parameters
    ----------
    step : (n,) array
        Step of passage of each run, or the last step of a censored run. Copied to float64,
        read-only.
    reached : (n,) array of bool
        True for a passage, False for a censored run.
    eta : float, optional
        Threshold, used only in captions.
    nonfinite : int
        Number of censored runs that stopped at values that are not finite.
    """

    step: Any
    reached: Any
    eta: float | None = None
    nonfinite: int = 0

    def __post_init__(self) -> None:
        step = _checks.array("step", self.step, ("n",))
        if (step < 0).any():
            raise ValueError(f"step: expected steps >= 0, got {step.min():g} among them")
        reached = np.array(self.reached)
        if reached.dtype != bool:
            raise TypeError(f"reached: expected an array of bool, got dtype {reached.dtype}")
        if reached.shape != step.shape:
            raise ValueError(
                f"reached: expected shape {_checks.letters(step.shape)} as step, got "
                f"{_checks.letters(reached.shape)}"
            )
        reached.setflags(write=False)
        nonfinite = _checks.integer("nonfinite", self.nonfinite, 0, int((~reached).sum()))
        eta = None if self.eta is None else _checks.number("eta", self.eta)
        for name, value in {
            "step": step,
            "reached": reached,
            "nonfinite": nonfinite,
            "eta": eta,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def runs(self) -> int:
        """Number of runs n."""
        return len(self.step)

    @property
    def number_reached(self) -> int:
        """Number of runs that passed."""
        return int(self.reached.sum())

    @property
    def number_censored(self) -> int:
        """Number of runs that ended before they passed, including those with values that are not
        finite.
        """
        return self.runs - self.number_reached

    def curve(self, confidence: float = 0.95) -> Curve:
        """Compute the Kaplan-Meier survival curve P(tau > step) with a pointwise confidence band.

        Where it is defined, the band is the exponential Greenwood (log-log) band of
        :func:`scipy.stats.ecdf`. Before the first passage it is [1, 1]. Where the curve ends at 0,
        the band goes from 0 to the upper end at the previous step, which still bounds a decreasing
        curve.

        Parameters
        ----------
        confidence : float in (0, 1)

        Returns
        -------
        Curve
            `step` begins with 0 and contains every step at which a run passed or ended. Beyond the
            last one the curve is unknown, unless it is 0 there.
        """

        _checks.number("confidence", confidence, 0, 1, open_low=True, open_high=True)
        sf = scipy.stats.ecdf(self._sample()).sf
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="The confidence interval is undefined", category=RuntimeWarning
            )
            band = sf.confidence_interval(confidence, method="log-log")
        low, high = np.array(band.low.probabilities), np.array(band.high.probabilities)
        survival = np.array(sf.probabilities)
        low[survival == 1] = high[survival == 1] = 1
        if (
            ended := survival == 0
            # the last point, or the last two if runs passed at the end and censored ones cannot be
            # beyond
        ).any():
            low[ended], high[ended] = 0, next(iter(high[~ended][::-1]), 1.0)
        out = Curve(np.array(sf.quantiles, dtype=float), survival, low, high)
        if out.step[0] > 0:
            out = Curve(
                *(
                    np.concatenate([[first], column])
                    for first, column in zip((0.0, 1.0, 1.0, 1.0), out, strict=True)
                )
            )
        return out

    def quantile(self, p: npt.ArrayLike) -> Any:
        """Estimate the first step by which a fraction p of runs has passed (Kaplan-Meier).

        Parameters
        ----------
        p : float or array in (0, 1]

        Returns
        -------
        float, or array of the shape of p
            **inf if the fraction was not reached** within the steps done: it is never a number made
            from censored runs.
        """
        shares = np.asarray(p, dtype=np.float64)
        for x in shares.flat:
            _checks.number("p", float(x), 0, 1, open_low=True)
        curve = self.curve()
        out = np.array([_first(curve.step, curve.survival, 1 - x) for x in shares.flat]).reshape(
            shares.shape
        )
        return out if out.ndim else float(out)

    @property
    def median(self) -> float:
        """Median step of passage; inf if fewer than half of the runs passed."""
        return float(self.quantile(0.5))

    def interval(self, p: float = 0.5, confidence: float = 0.95) -> Interval:
        """Compute the confidence interval of a quantile: where the band of the survival curve
        crosses 1 - p (Brookmeyer and Crowley 1982). An end that the band does not reach is inf.
        """
        _checks.number("p", p, 0, 1, open_low=True)
        curve = self.curve(confidence)
        return Interval(_first(curve.step, curve.low, 1 - p), _first(curve.step, curve.high, 1 - p))

    def restricted_mean(self, horizon: float | None = None) -> Estimate:
        """Estimate the mean of min(tau, horizon), the area below the survival curve up to the
        horizon, with Greenwood's standard error.

        Use it in place of the mean if runs are censored: the mean of tau itself depends on
        unobserved steps.

        Parameters
        ----------
        horizon : float >= 0, optional
            In steps, at most the length of the longest run unless the curve ends at 0. None uses
            that length. Compare two samples only at the same horizon.

        Raises
        ------
        ValueError
            If the horizon is beyond the longest run.
        """
        curve, last = self.curve(), float(self.step.max())
        h = last if horizon is None else _checks.number("horizon", horizon, 0)
        if h > last and curve.survival[-1] > 0:
            raise ValueError(
                f"horizon: expected at most {last:.16g}, the step of the longest run, got {h:.16g}"
            )
        widths = np.diff(np.minimum(np.append(curve.step, np.inf), h))
        areas = curve.survival * widths
        beyond = np.append(np.cumsum(areas[::-1])[::-1], 0.0)[
            :-1
        ]  # area from each step of the curve to the horizon
        ordered, passed = np.sort(self.step), np.sort(self.step[self.reached])
        at_risk = self.runs - np.searchsorted(ordered, curve.step)
        events = np.searchsorted(passed, curve.step, side="right") - np.searchsorted(
            passed, curve.step
        )
        stay = (events > 0) & (events < at_risk)  # where all pass nothing is left beyond
        variance = np.sum(
            (beyond**2)[stay] * (events / (at_risk * (at_risk - events).clip(1)))[stay]
        )
        return Estimate(float(areas.sum()), math.sqrt(variance))

    def compare(
        self,
        other: FirstPassage,
        *,
        confidence: float = 0.95,
        resamples: int = 2000,
        rng: int | np.random.Generator = 0,
    ) -> Comparison:
        """Compare with another sample: log-rank test, and ratio of medians (this over the other).

        Parameters
        ----------
        other : FirstPassage
        confidence : float in (0, 1)
        resamples : int
            Number of bootstrap samples. Runs are drawn with replacement and stay censored or not;
            the interval consists of percentiles of the ratios of Kaplan-Meier medians.
        rng : int or numpy Generator
            Randomness of the bootstrap.

        Returns
        -------
        Comparison
            `pvalue` (two-sided, :func:`scipy.stats.logrank`) is NaN if no run of either sample
            passed, and 1 if nothing distinguishes the samples, for instance if all runs pass at
            once. `ratio` is NaN if a median is not reached, or both are 0. `low` and `high` count
            resamples without a ratio as 0 or inf; a 0 or inf means that the ratio is not bounded on
            that side.
        """
        _checks.instance("other", other, FirstPassage, "a FirstPassage")
        confidence = _checks.number("confidence", confidence, 0, 1, open_low=True, open_high=True)
        resamples = _checks.integer("resamples", resamples, 1)
        generator = np.random.default_rng(rng)
        pvalue = _logrank(self, other) if self.number_reached + other.number_reached else math.nan
        mine, theirs = (
            np.concatenate(list(x._medians(resamples, generator))) for x in (self, other)
        )
        tail = (1 - confidence) / 2
        low = np.quantile(_ratio(mine, theirs, 0.0), tail, method="lower")
        high = np.quantile(_ratio(mine, theirs, math.inf), 1 - tail, method="higher")
        medians = self.median, other.median
        ratio = float(_ratio(*medians, math.nan)) if math.isfinite(max(medians)) else math.nan
        return Comparison(pvalue, ratio, float(low), float(high))

    def plot(
        self,
        ax: Axes | None = None,
        *,
        confidence: float = 0.95,
        label: str | None = None,
        color: Any = None,
        band: bool = True,
        legend: bool = True,
    ) -> Axes:
        """Draw the survival curve, its confidence band, and a tick where runs were censored.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into. None creates a new pyplot figure. Several calls on the same axes use
            different colours and line styles.
        confidence : float in (0, 1)
        label : str, optional
            Label in the legend. None states how many runs passed.
        color : matplotlib colour, optional
            Colour of line and band. None takes the next one of the axes' colour cycle.
        band : bool
            Whether to shade the confidence band.
        legend : bool
            Whether to draw a legend.
        """
        shade = (0.0, 1.0) if _checks.boolean("band", band) else None
        return plot_passage(self, ax, confidence, label, Look(color, shade, legend))

    def __repr__(self) -> str:
        threshold = "" if self.eta is None else f" eta = {self.eta:g}"
        lines = [
            f"{self.number_reached} of {self.runs} runs reached{threshold}",
            _summary(self.median, self.interval()),
        ]
        if self.nonfinite:
            lines.append(
                f"{self.nonfinite} of the censored runs stopped at values that are not finite"
            )
        return "<seqsgd.FirstPassage>\n" + "\n".join(f"  {line}" for line in lines)

    def _sample(self) -> Any:

        return scipy.stats.CensoredData(
            uncensored=self.step[self.reached], right=self.step[~self.reached]
        )

    def _medians(self, resamples: int, rng: np.random.Generator) -> Iterator[_Array]:
        """Yield Kaplan-Meier medians of bootstrap samples.

        A sample counts how often each run was drawn. Runs are ordered by step, censored ones last
        among equal steps.
        """
        order = np.lexsort((~self.reached, self.step))
        step, reached, n = np.append(self.step[order], math.inf), self.reached[order], self.runs
        rows = max(1, _CHUNK // n)
        for done in range(0, resamples, rows):
            drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(rows, resamples - done))
            at_risk = n - np.cumsum(drawn, axis=1) + drawn
            below = np.cumprod(1 - drawn * reached / at_risk.clip(1), axis=1) <= 0.5 + _EQUAL
            yield step[np.where(below.any(axis=1), below.argmax(axis=1), n)]


def _logrank(x: FirstPassage, y: FirstPassage) -> float:
    """Return the p-value of the log-rank test; 1 where its statistic has no variance.

    This is so if all remaining runs pass at once: as many passed as expected.
    """

    passed = np.concatenate([x.step[x.reached], y.step[y.reached]])
    at, events = np.unique(passed, return_counts=True)
    left = [len(f.step) - np.searchsorted(np.sort(f.step), at) for f in (x, y)]
    if not ((left[0] > 0) & (left[1] > 0) & (events < left[0] + left[1])).any():
        return 1.0
    return float(scipy.stats.logrank(x._sample(), y._sample()).pvalue)


def _first(step: _Array, values: _Array, level: float) -> float:
    """Return the first step at which a decreasing curve is at or below the level; inf if none."""
    there = np.flatnonzero(values <= level + _EQUAL)
    return float(step[there[0]]) if there.size else math.inf


def _ratio(a: Any, b: Any, undecided: float) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.divide(a, b)
    return np.where(np.isnan(ratio), undecided, ratio)


def _summary(median: float, interval: Interval) -> str:
    low, high = (f"{x:.0f}" if math.isfinite(x) else "not reached" for x in interval)
    if math.isfinite(median):
        return f"median step {median:.0f} (95 % interval {low} to {high})"
    if math.isfinite(interval.low):
        return f"median step not reached (95 % interval from {low})"
    return "median step not reached"


def of_dataset(dataset: xr.Dataset, eta: float | None) -> FirstPassage:
    """Return the passages in a result's dataset, from `weak_recovery`, `steps_done` and
    `nonfinite_step`.

    Runs of a sweep that were not computed are left out.
    """
    passed, ended = (
        np.atleast_1d(dataset[name].values).astype(float)
        for name in ("weak_recovery", "steps_done")
    )
    computed, reached = ~np.isnan(ended), np.isfinite(passed)
    bad = (
        np.isfinite(np.atleast_1d(dataset["nonfinite_step"].values)) & ~reached
        if "nonfinite_step" in dataset
        else np.zeros(len(reached), dtype=bool)
    )
    step = np.where(reached, passed, ended)
    return FirstPassage(step[computed], reached[computed], eta, int(bad[computed].sum()))
