"""Measurements from runs, with 95 % intervals and the data behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .._lazy import scipy
from ..results.passages import FirstPassage

Array = npt.NDArray[np.float64]
DRAWS = 1000
# fewest with a 95 % interval of a median: all six on one side of it has probability 2 / 2^6 = 3 %
RUNS = 6
PLACES = 3  # fewest on which a power law can fail
NAN = float("nan")
EXACT = "exact"  # the basis of a number without noise, whose interval needs no width


@dataclass(frozen=True)
class Measured:
    """A number, its 95 % interval, and the data behind them.

    Attributes
    ----------
    value, low, high : float
        inf if something was not reached; NaN if there is no number, or no interval.
    basis : str
        The data, with their number. Without data there is no verdict.
    lacking : str
        Why the data do not allow a verdict; empty if they do.
    """

    value: float
    low: float = NAN
    high: float = NAN
    basis: str = ""
    lacking: str = ""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "not measured"
        if np.isinf(self.value):
            return "not reached"
        digits = self._digits()
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{_short(self.value, digits)} (no interval)"
        return (
            f"{_short(self.value, digits)} ({_short(self.low, digits)} to "
            f"{_short(self.high, digits)})"
        )

    def _digits(self) -> int:
        """Return the significant digits that show the interval: three, or up to six if it is
        narrow.
        """
        width, size = self.high - self.low, max(abs(self.low), abs(self.high))
        if not (np.isfinite(width) and width > 0 and size > 0):
            return 3
        return int(np.clip(np.ceil(np.log10(size / width)) + 2, 3, 6))

    @property
    def missing(self) -> str:
        """Return what is missing for a verdict; empty if nothing is."""
        if self.lacking:
            return self.lacking
        if not self.basis:
            return "nothing says what data it rests on"
        if not np.isfinite(self.value):
            return "not reached" if np.isinf(self.value) else "not measured"
        if not self.low < self.high and self.basis != EXACT:  # NaN too
            return f"no interval of any width, from {self.basis}"
        return ""

    def holds(self, predicted: float) -> bool:
        """Return whether the interval contains a number."""
        return self.low <= predicted <= self.high

    def times(self, factor: float) -> Measured:
        """Return the number and its interval multiplied by a number."""
        ends = sorted((self.low * factor, self.high * factor))
        return replace(self, value=self.value * factor, low=ends[0], high=ends[1])

    def plus(self, term: float) -> Measured:
        """Return the number and its interval shifted."""
        return replace(self, value=self.value + term, low=self.low + term, high=self.high + term)


def columns(found: Sequence[Measured]) -> tuple[Array, Array, Array]:
    """Return values, low and high ends."""
    y, low, high = np.array([[m.value, m.low, m.high] for m in found], dtype=float).reshape(-1, 3).T
    return y, low, high


def _short(x: float, digits: int = 3) -> str:
    return f"{x:.{digits}g}".replace("e+0", "e").replace("e+", "e")


def count(n: int, word: str = "run") -> str:
    """Return a count with its noun: 1 run, 2 runs."""
    return f"{n} {word}{'s' * (n != 1)}"


def few(runs: int) -> str:
    """Return what is lacking if an interval has too few runs; empty if it has enough."""
    return "" if runs >= RUNS else f"{count(runs)}, and a 95 % interval needs {RUNS}"


def share(number: int, of: int) -> Measured:
    """Return a fraction of runs with Wilson's interval."""

    if not of:
        return Measured(NAN, lacking="0 runs")
    interval = scipy.stats.binomtest(int(number), int(of)).proportion_ci(0.95, method="wilson")
    return Measured(number / of, float(interval.low), float(interval.high), count(of), few(of))


def passage(step: npt.ArrayLike, last: npt.ArrayLike) -> FirstPassage | None:
    """Return the passages of one cell; None if it has no run.

    `weak_recovery` is not finite where censored; `steps_done` is NaN where there is no run.
    """
    step, last = np.asarray(step, dtype=float), np.asarray(last, dtype=float)
    here = np.isfinite(last)
    if not here.any():
        return None
    step, last = step[here], last[here]
    return FirstPassage(np.where(np.isfinite(step), step, last).astype(np.int64), np.isfinite(step))


def arrived(p: FirstPassage | None) -> str:
    """Return in words how many runs passed."""
    return f"{p.number_reached} of {count(p.runs)} arrived" if p else "0 runs"


def middle_step(p: FirstPassage | None) -> float:
    """Return the Kaplan-Meier median; infinite if fewer than half of the runs passed, NaN without
    runs.
    """
    return float(p.median) if p else NAN


def median(p: FirstPassage | None) -> Measured:
    """Return the Kaplan-Meier median with its interval; infinite if fewer than half of the runs
    passed.
    """
    value = middle_step(p)
    if p is None or not np.isfinite(value):
        return Measured(value, lacking=arrived(p))
    low, high = p.interval(0.5, 0.95)
    return Measured(value, float(low), float(high), arrived(p), few(p.runs))


def resampled_medians(p: FirstPassage, rng: np.random.Generator, draws: int = DRAWS) -> Array:
    """Return medians of bootstrap samples of runs, which stay censored or not; shape (draws,)."""
    return np.concatenate([np.asarray(m, dtype=float) for m in p._medians(draws, rng)])


def drawn_medians(
    ps: Sequence[FirstPassage | None], rng: np.random.Generator, draws: int = DRAWS
) -> Array:
    """Return medians, measured and then of bootstrap samples: (places, 1 + draws); NaN without
    runs.
    """
    rows = [
        [float(p.median), *resampled_medians(p, rng, draws)] if p else [NAN] * (1 + draws)
        for p in ps
    ]
    return np.array(rows, dtype=float).reshape(len(ps), 1 + draws)


def log_medians(ps: Sequence[FirstPassage | None], rng: np.random.Generator) -> Array:
    """Return logarithms of :func:`drawn_medians`."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(drawn_medians(ps, rng)))


def ratio(over: FirstPassage | None, under: FirstPassage | None, seed: int = 0) -> Measured:
    """Return the ratio of median steps, with a bootstrap over runs."""
    a, b = median(over), median(under)
    basis = f"{arrived(over)} over {arrived(under)}"
    if over is None or under is None or not (np.isfinite(a.value) and np.isfinite(b.value)):
        return Measured(NAN, lacking=basis)
    if not b.value > 0:
        return Measured(NAN, lacking="the median step below the line is 0")
    if lacking := few(min(over.runs, under.runs)):
        return Measured(a.value / b.value, basis=basis, lacking=lacking)
    if np.ptp(np.concatenate([over.step, under.step])) == 0:
        return Measured(1.0, basis=basis, lacking="all runs of both took the same number of steps")
    c = over.compare(under, rng=seed)
    return Measured(float(c.ratio), float(c.low), float(c.high), basis)


def slope(
    x: Sequence[float],
    over: Sequence[FirstPassage | None],
    under: Sequence[FirstPassage | None] | None = None,
    seed: int = 0,
) -> Measured:
    """Fit the exponent of a power law of medians in x, or of their ratios.

    Least squares on logarithms, weighted by the bootstrap's spread, with a percentile interval.
    Points without a median are left out; with fewer than two points there is no exponent.
    """
    rng = np.random.default_rng(seed)
    y, runs = log_medians(over, rng), sizes(over)
    if under is not None:
        with np.errstate(invalid="ignore"):
            y = y - log_medians(under, rng)
        runs = np.minimum(runs, sizes(under))
    found = fitted(np.log(np.asarray(x, dtype=float)), y, runs)
    if np.isnan(found.value):
        all_of = [p for ps in (over, under or []) for p in ps if p]
        came, number = sum(p.number_reached for p in all_of), sum(p.runs for p in all_of)
        why = f"{found.lacking}, {came} of {count(number)} arrived"
        if any(p.median == 0 for p in all_of):  # a ratio of 0 steps says nothing
            why = f"no ratio where half of the runs start above eta ({why})"
        return replace(found, lacking=why)
    return found


def sizes(ps: Sequence[FirstPassage | None]) -> npt.NDArray[np.int64]:
    """Return the number of runs at each place."""
    return np.array([p.runs if p else 0 for p in ps], dtype=np.int64)


def fitted(log_x: Array, y: Array, runs: npt.ArrayLike) -> Measured:
    """Fit the slope of y[:, 0] on log_x, with the interval from the draws y[:, 1:], at places with
    the given numbers of runs.
    """
    seen, number = np.isfinite(y).all(axis=1), np.broadcast_to(np.asarray(runs, dtype=int), len(y))
    k = int(seen.sum())
    reached = f"reached at {k} of {count(len(y), 'place')}"
    if k < 2:
        return Measured(NAN, lacking=reached)
    log_x, y, number = log_x[seen], y[seen], number[seen]
    weights = 1 / np.maximum(y[:, 1:].std(axis=1), 1e-3)
    slopes = (
        np.polyfit(log_x, y, 1, w=weights)[0] if k > 2 else (y[1] - y[0]) / (log_x[1] - log_x[0])
    )
    between = f"{number.min()} to {number.max()}" if np.ptp(number) else str(number[0])
    basis = f"{reached}, {between} runs each"
    if lacking := few(int(number.min())):
        return Measured(float(slopes[0]), basis=basis, lacking=lacking)
    low, high = (float(v) for v in np.quantile(slopes[1:], [0.025, 0.975]))
    if k < PLACES:
        return Measured(
            float(slopes[0]), low, high, basis, f"{reached}, and any two lie on a power law"
        )
    return Measured(float(slopes[0]), low, high, basis)


def power(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Fit the exponent of numbers without noise: least squares on logarithms; NaN if there are
    fewer than two.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    seen = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    if np.unique(a[seen]).size < 2:
        return NAN
    return float(np.polyfit(np.log(a[seen]), np.log(b[seen]), 1)[0])


def crossing(
    x: npt.ArrayLike, counts: npt.ArrayLike, of: int, seed: int = 0, draws: int = 300
) -> Measured:
    """Find where a falling fraction crosses 1/2: a logistic curve by maximum likelihood, with an
    interval by parametric bootstrap.

    If the fraction falls from 1 to 0 between two neighbours, its position between them is unknown:
    the interval contains both.
    """
    x, counts = np.asarray(x, dtype=float), np.asarray(counts, dtype=float)
    basis = f"{count(len(x), 'point')} of {count(of)}"
    lacking = few(of)
    first = None if not of or not np.isfinite(counts).all() else _logistic(x, counts, of)
    if first is None:
        return Measured(
            NAN,
            lacking=lacking
            or (
                f"the share of {count(of)} a point does not fall through 1/2 at these "
                f"{count(len(x), 'point')}"
            ),
        )
    rng = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(np.clip(first[1] * (x - first[0]), -700, 700)))
    again = [_ends(x, rng.binomial(of, chance).astype(float), of) for _ in range(draws)]
    # a draw that does not cross counts on both sides: nothing is known of it
    low = float(np.quantile([a[0] for a in again], 0.025, method="lower"))
    high = float(np.quantile([a[1] for a in again], 0.975, method="higher"))
    if _gap(x, counts, of) is not None or not x[0] <= first[0] <= x[-1]:
        low, high = min(low, _ends(x, counts, of)[0]), max(high, _ends(x, counts, of)[1])
    if not np.isfinite([low, high]).all():
        return Measured(
            first[0],
            basis=basis,
            lacking=lacking or "too many of the bootstrap's draws do not cross 1/2",
        )
    return Measured(first[0], low, high, basis, lacking)


def _ends(x: Array, counts: Array, of: int) -> tuple[float, float]:
    """Return the limits of the crossing: one number, the two neighbours of a jump, or anywhere."""
    found, gap = _logistic(x, counts, of), _gap(x, counts, of)
    if found is None:
        return -np.inf, np.inf
    return gap or (found[0], found[0])


def _gap(x: Array, counts: Array, of: int) -> tuple[float, float] | None:
    """Return the neighbours between which a fraction falls from 1 to 0 at once, if it does."""
    inner = (counts > 0) & (counts < of)
    fall = np.flatnonzero((counts[:-1] == of) & (counts[1:] == 0))
    return None if inner.any() or len(fall) != 1 else (float(x[fall[0]]), float(x[fall[0] + 1]))


def _logistic(x: Array, counts: Array, of: int) -> tuple[float, float] | None:
    """Return centre and (falling) slope; None if the fraction does not fall through 1/2."""

    total = counts.sum() / of
    if len(x) < 2 or not 0 < total < len(x) or counts[0] / of <= 0.5 or (counts / of > 0.5).all():
        return None
    spread = float(np.ptp(x))
    start = x[0] + spread * total / len(x)

    def cost(p: Array) -> float:  # slope by its logarithm, at most one grid step wide
        u = np.exp(p[1]) * (x - p[0])
        return float(
            np.sum(counts * np.logaddexp(0, u) + (of - counts) * np.logaddexp(0, -u))
            + 1e-3 * p[1] ** 2
        )

    best = scipy.optimize.minimize(
        cost,
        [start, np.log(20 / spread)],
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000},
    )
    return float(best.x[0]), float(np.exp(best.x[1]))


def middle(runs: npt.ArrayLike) -> Measured:
    """Return the median of plain numbers with its distribution-free interval, of order statistics:
    at least 95 %.

    Infinite numbers count as larger than all others. A run without a number (NaN) is not left out,
    but then there is no interval.
    """

    x = np.sort(np.asarray(runs, dtype=float).ravel())
    n = len(x)
    if not n or np.isnan(x).any():
        without = int(np.isnan(x).sum())
        return Measured(NAN, lacking=f"{without} of {count(n)} without a number" if n else "0 runs")
    value = (
        float(np.quantile(x, 0.5, method="higher")) if np.isinf(x).any() else float(np.median(x))
    )
    if lacking := few(n):
        return Measured(value, basis=count(n), lacking=lacking)
    if not np.isfinite(value):
        return Measured(value, lacking=f"{int(np.isfinite(x).sum())} of {count(n)} arrived")
    k = max(int(scipy.stats.binom.ppf(0.025, n, 0.5)) - 1, 0)
    return Measured(value, float(x[k]), float(x[-1 - k]), count(n))


def noise_floor(d: float) -> Measured:
    """Return 4/sqrt d, above which an overlap exceeds that of a random direction; no bound if d is
    small.
    """
    bound = 4 / float(d) ** 0.5 if d > 0 else NAN
    small = "" if bound < 0.5 else f"4/sqrt d = {bound:.2g} tells no learning from none"
    return Measured(bound, bound, bound, EXACT, small)
