"""Intervals and exponents of figures. All intervals are at 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..passages import FirstPassage
from .definition import Finding

Array = npt.NDArray[np.float64]
DRAWS = 1000


class Measured(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not reached"
        digits = self._digits()
        return f"{_short(self.value, digits)} ({_short(self.low, digits)} to {_short(self.high, digits)})"

    def _digits(self) -> int:
        """Significant digits that show the interval: three, or up to six where it is narrow."""
        width, size = self.high - self.low, max(abs(self.low), abs(self.high))
        if not (np.isfinite(width) and width > 0 and size > 0):
            return 3
        return int(np.clip(np.ceil(np.log10(size / width)) + 2, 3, 6))

    def holds(self, predicted: float) -> bool:
        """Whether the interval holds a number."""
        return self.low <= predicted <= self.high


def _short(x: float, digits: int = 3) -> str:
    return f"{x:.{digits}g}".replace("e+0", "e").replace("e+", "e")


def share(count: int, of: int) -> Measured:
    """A share of runs: Wilson's interval."""
    from scipy.stats import binomtest

    interval = binomtest(int(count), int(of)).proportion_ci(0.95, method="wilson")
    return Measured(count / of, float(interval.low), float(interval.high))


def passage(step: npt.ArrayLike, last: npt.ArrayLike) -> FirstPassage:
    """From `weak_recovery` (NaN where censored) and `steps_done` of the runs of one cell."""
    step, last = np.asarray(step, dtype=float), np.asarray(last, dtype=float)
    here = np.isfinite(last)
    step, last = step[here], last[here]
    return FirstPassage(np.where(np.isfinite(step), step, last).astype(np.int64), np.isfinite(step))


def median(p: FirstPassage) -> Measured:
    """Kaplan-Meier median; infinite where fewer than half of the runs passed."""
    low, high = p.interval(0.5, 0.95)
    return Measured(float(p.median), float(low), float(high))


def resampled_medians(p: FirstPassage, rng: np.random.Generator, draws: int = DRAWS) -> Array:
    """Medians of bootstrap samples of runs, marks of censoring kept; shape (draws,)."""
    return np.concatenate([np.asarray(m, dtype=float) for m in p._medians(draws, rng)])


def ratio(over: FirstPassage, under: FirstPassage, seed: int = 0) -> Measured:
    """Ratio of median steps, bootstrapped over runs."""
    c = over.compare(under, rng=seed)
    return Measured(float(c.ratio), float(c.low), float(c.high))


def slope(x: Sequence[float], over: Sequence[FirstPassage], under: Sequence[FirstPassage] | None = None, seed: int = 0) -> Measured:
    """Exponent of a power law of medians in x, or of their ratios: least squares on logarithms, weighted by the bootstrap's spread; percentile interval.

    Points where a median was not reached are left out; with fewer than two left there is none.
    """
    rng = np.random.default_rng(seed)

    def logs(ps: Sequence[FirstPassage]) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log([[float(p.median), *resampled_medians(p, rng)] for p in ps]))

    with np.errstate(invalid="ignore"):
        y = logs(over) - (logs(under) if under is not None else 0.0)
    return fitted(np.log(np.asarray(x, dtype=float)), y)


def fitted(log_x: Array, y: Array) -> Measured:
    """Slope of y[:, 0] on log_x, with the interval from the draws y[:, 1:]."""
    seen = np.isfinite(y).all(axis=1)
    if seen.sum() < 2:
        return Measured(np.nan, np.nan, np.nan)
    log_x, y = log_x[seen], y[seen]
    weights = 1 / np.maximum(y[:, 1:].std(axis=1), 1e-3)
    slopes = np.polyfit(log_x, y, 1, w=weights)[0]
    low, high = np.quantile(slopes[1:], [0.025, 0.975])
    return Measured(float(slopes[0]), float(low), float(high))


def against(claim: str, measured: Measured, predicted: float, *, what: str = "", tolerance: float = 0.0, why: str = "") -> Finding:
    """A finding from a number: agree if its interval, widened by `tolerance` times the prediction, holds the prediction; cannot tell if the interval is as wide as the prediction itself."""
    said = f"{what} {measured}".strip()
    if not np.isfinite(measured.value):
        return Finding(claim, said, "cannot tell", why)
    widened = Measured(measured.value, measured.low - tolerance * abs(predicted), measured.high + tolerance * abs(predicted))
    if widened.holds(predicted):
        wide = measured.high - measured.low > abs(predicted)
        return Finding(claim, said, "cannot tell" if wide else "agree", why)
    return Finding(claim, said, "disagree", why)


def same_law(claim: str, pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], level: float = 1e-3) -> Finding:
    """Two dynamics compared at several places: Kolmogorov-Smirnov tests with Bonferroni's correction, false alarms with probability `level`. Infinite is later than all, NaN is left out."""
    from scipy.stats import ks_2samp

    ps, sizes = [], []
    for one, other in pairs:
        a, b = (np.asarray(x, dtype=float).ravel() for x in (one, other))
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        ps.append(float(ks_2samp(a, b).pvalue))
        sizes.append(f"{len(a)} against {len(b)}")
    p = min(1.0, len(ps) * min(ps))
    why = f"Kolmogorov-Smirnov at {len(ps)} place{'s' * (len(ps) > 1)}, runs {', '.join(dict.fromkeys(sizes))}, Bonferroni; refused below {level:g}"
    return Finding(claim, f"p = {p:.2g}", "agree" if p > level else "disagree", why)


def crossing(x: npt.ArrayLike, counts: npt.ArrayLike, of: int, seed: int = 0, draws: int = 300) -> Measured:
    """Where a share crosses 1/2: a logistic curve by maximum likelihood, interval by parametric bootstrap."""
    x, counts = np.asarray(x, dtype=float), np.asarray(counts, dtype=float)
    first = _logistic(x, counts, of)
    if first is None:
        return Measured(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(np.clip(first[1] * (x - first[0]), -700, 700)))
    again = [_logistic(x, rng.binomial(of, chance).astype(float), of) for _ in range(draws)]
    low, high = np.quantile([a[0] for a in again if a is not None], [0.025, 0.975])
    return Measured(first[0], float(low), float(high))


def _logistic(x: Array, counts: Array, of: int) -> tuple[float, float] | None:
    """Centre and (falling) slope; None if the share never crosses 1/2."""
    from scipy.optimize import minimize

    total = counts.sum() / of
    if not 0 < total < len(x) or (counts / of > 0.5).all() or (counts / of < 0.5).all():
        return None
    spread = float(np.ptp(x))
    start = x[0] + spread * total / len(x)

    def cost(p: Array) -> float:  # slope by its logarithm, at most one grid step wide
        u = np.exp(p[1]) * (x - p[0])
        return float(np.sum(counts * np.logaddexp(0, u) + (of - counts) * np.logaddexp(0, -u)) + 1e-3 * p[1] ** 2)

    best = minimize(cost, [start, np.log(20 / spread)], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000})
    return float(best.x[0]), float(np.exp(best.x[1]))


def middle(runs: npt.ArrayLike) -> Measured:
    """Median of plain numbers with its distribution-free interval, of order statistics: at least 95 %, if there are six numbers or more. NaN are left out."""
    from scipy.stats import binom

    x = np.sort(np.asarray(runs, dtype=float).ravel())
    x = x[np.isfinite(x)]
    if not len(x):
        return Measured(np.nan, np.nan, np.nan)
    k = max(int(binom.ppf(0.025, len(x), 0.5)) - 1, 0)
    return Measured(float(np.median(x)), float(x[k]), float(x[-1 - k]))
