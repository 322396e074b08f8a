"""From measurements to verdicts: findings are made only here.

Every statement is an :class:`Answer`: yes, no or unknown, with the data behind it and the data that
it lacks. The functions that make an answer require the data, so that nothing is judged without any
run that passed. A statement that lacks data is unknown, and *and* and *or* of answers propagate
that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._lazy import scipy
from .definition import Finding
from .statistics import EXACT, Array, Measured, count

LEVEL = 1e-3  # false alarms of a test


@dataclass(frozen=True)
class Answer:
    """Whether a statement is true.

    Attributes
    ----------
    holds : bool, or None if it is unknown
    basis : tuple of str
        The data it rests on.
    lacking : tuple of str
        Why it is unknown.
    """

    holds: bool | None
    basis: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def __and__(self, other: Answer) -> Answer:
        known = (
            False
            if False in (self.holds, other.holds)
            else None
            if None in (self.holds, other.holds)
            else True
        )
        return self._joined(other, known)

    def __or__(self, other: Answer) -> Answer:
        known = (
            True
            if True in (self.holds, other.holds)
            else None
            if None in (self.holds, other.holds)
            else False
        )
        return self._joined(other, known)

    def _joined(self, other: Answer, holds: bool | None) -> Answer:
        basis = tuple(dict.fromkeys(self.basis + other.basis))
        lacking = tuple(dict.fromkeys(self.lacking + other.lacking)) if holds is None else ()
        return Answer(holds, basis, lacking)

    def given(self, *conditions: Answer) -> Answer:
        """Return the same answer if the conditions hold without which it means nothing; otherwise
        unknown.
        """
        for condition in conditions:
            if condition.holds is not True:
                return Answer(None, (), condition.lacking or ("what it rests on does not hold",))
        return self

    def so_far(self, waiting: str) -> Answer:
        """Return the same answer, but unknown instead of a no that more steps may turn into a
        yes.
        """
        return Answer(None, self.basis, (waiting,)) if self.holds is False else self


def unknown(lacking: str) -> Answer:
    """Return an unknown answer and its reason."""
    return Answer(None, (), (lacking,))


def every(answers: Iterable[Answer]) -> Answer:
    """Return whether all answers are yes; unknown for no answers."""
    found = list(answers)
    if not found:
        return unknown("nothing was measured")
    out = found[0]
    for answer in found[1:]:
        out = out & answer
    return out


def finding(claim: str, measured: str, answer: Answer, why: str = "") -> Finding:
    """Return a finding: the claim, the measurement, the data behind it, and the verdict."""
    verdict = "cannot tell" if answer.holds is None else "agree" if answer.holds else "disagree"
    basis = ", ".join(b for b in answer.basis if b != EXACT)
    reasons = "; ".join(answer.lacking)
    words = f"{reasons}. {why}" if reasons and why else reasons or why
    return Finding(claim, f"{measured}; {basis}" if basis else measured, verdict, words)


def fact(holds: bool | np.bool_, *numbers: npt.ArrayLike, lacking: str = "") -> Answer:
    """Return a statement on numbers without noise; unknown if one of them is missing, or something
    is lacking.
    """
    values = [np.asarray(x, dtype=float) for x in numbers]
    if not values or not all(v.size and np.isfinite(v).all() for v in values):
        return unknown(lacking or "a number that it rests on is missing")
    return unknown(lacking) if lacking else Answer(bool(holds), (EXACT,))


def within(
    measured: Measured,
    predicted: float,
    *,
    tolerance: float = 0.0,
    absolute: float = 0.0,
    coarse: float | None = None,
) -> Answer:
    """Return whether an interval, widened by the tolerance (relative and absolute), contains a
    prediction.

    It is unknown if the interval is wider than `coarse`, by default the prediction itself.
    """
    if measured.missing:
        return unknown(measured.missing)
    if not math.isfinite(predicted):
        return unknown("no prediction")
    slack = tolerance * abs(predicted) + absolute
    if not measured.low - slack <= predicted <= measured.high + slack:
        return Answer(False, (measured.basis,))
    limit = abs(predicted) if coarse is None else coarse
    if not measured.high - measured.low <= limit:
        return Answer(None, (measured.basis,), (f"the interval is wider than {limit:.3g}",))
    return Answer(True, (measured.basis,))


def close_to(measured: Measured, predicted: float, by: float) -> Answer:
    """Return whether a number is surely nearer to a prediction than `by`, or surely not: the
    interval lies inside, or outside.
    """
    if measured.missing:
        return unknown(measured.missing)
    low, high = predicted - by, predicted + by
    if low <= measured.low and measured.high <= high:
        return Answer(True, (measured.basis,))
    if measured.high < low or measured.low > high:
        return Answer(False, (measured.basis,))
    return Answer(
        None,
        (measured.basis,),
        (f"the interval is neither inside nor outside {low:.3g} to {high:.3g}",),
    )


def between(measured: Measured, low: float, high: float) -> Answer:
    """Return whether an interval meets that from low to high."""
    if measured.missing:
        return unknown(measured.missing)
    if not (math.isfinite(low) and math.isfinite(high)):
        return unknown("no prediction")
    return Answer(measured.low <= high and low <= measured.high, (measured.basis,))


def less(a: Measured | float, b: Measured | float) -> Answer:
    """Return whether a lies below b; unknown if their intervals overlap."""
    basis: list[str] = []
    for x in (a, b):
        if isinstance(x, Measured):
            if x.missing:
                return unknown(x.missing)
            basis.append(x.basis)
        elif not math.isfinite(x):
            return unknown("no prediction")
    (a_low, a_high), (b_low, b_high) = (
        (x.low, x.high) if isinstance(x, Measured) else (x, x) for x in (a, b)
    )
    holds = True if a_high < b_low else False if a_low > b_high else None
    return Answer(
        holds, tuple(dict.fromkeys(basis)), () if holds is not None else ("the intervals overlap",)
    )


def against(
    claim: str,
    measured: Measured,
    predicted: float,
    *,
    what: str = "",
    tolerance: float = 0.0,
    coarse: float | None = None,
    why: str = "",
) -> Finding:
    """Return a finding from a number.

    It is agree if its interval, widened by `tolerance` times the prediction, contains the
    prediction, and cannot tell if it is wider than `coarse`, by default the prediction itself.
    """
    return finding(
        claim,
        f"{what} {measured}".strip(),
        within(measured, predicted, tolerance=tolerance, coarse=coarse),
        why,
    )


def same_law(
    claim: str, pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], level: float = LEVEL
) -> Finding:
    """Compare the distributions of two dynamics at several places: Kolmogorov-Smirnov tests with
    Bonferroni's correction, false-alarm rate `level`.

    Infinite counts as larger than all others, NaN is left out. If no outcome of so many runs, with
    so many of them equal, could be rejected at a place, that place decides nothing, and the whole
    cannot agree. If all numbers differ, n against n runs can be rejected at level 1e-3 from n = 7
    on (two to six places 8), n against 8 n from n = 3 on (two places 4).
    """

    samples = [tuple(_kept(x) for x in pair) for pair in pairs]
    if not samples:
        return finding(claim, "p not computed", unknown("no places"), "Kolmogorov-Smirnov")
    each = level / len(samples)
    ps, answers = [], []
    for a, b in samples:
        said = f"{len(a)} against {count(len(b))}"
        if least(a, b) >= each:
            ended = [f"{int(np.isfinite(x).sum())} of {len(x)}" for x in (a, b)]
            values = np.unique(np.concatenate([a, b])).size
            alike = (
                f", {values} different value{'s' * (values != 1)} among them"
                if values < len(a) + len(b)
                else ""
            )
            answers.append(
                unknown(
                    f"{ended[0]} against {ended[1]} runs arrived{alike}: too few for any "
                    "difference to be seen"
                )
            )
            continue
        p = float(scipy.stats.ks_2samp(a, b).pvalue)
        ps.append(p)
        answers.append(Answer(p > each, (said,)))
    p = min(1.0, len(samples) * min(ps)) if ps else math.nan
    why = (
        f"Kolmogorov-Smirnov at {count(len(samples), 'place')}, Bonferroni; refused below {level:g}"
    )
    return finding(claim, f"p = {p:.2g}" if ps else "p not computed", every(answers), why)


def _kept(x: npt.ArrayLike) -> Array:
    a: Array = np.asarray(x, dtype=float).ravel()
    return np.extract(~np.isnan(a), a)


def least(a: Array, b: Array) -> float:
    """Return the least p-value that a Kolmogorov-Smirnov test could give of samples of these sizes
    with these ties: 1 if all are equal, or there are none.
    """

    n, k = len(a), len(b)
    if not (n and k):
        return 1.0
    below = np.cumsum(np.unique(np.concatenate([a, b]), return_counts=True)[1])[
        :-1
    ]  # at or below each value but the last
    if not below.size:
        return 1.0
    # as many of them as possible in one of the samples, the first or the second
    x = np.concatenate([np.minimum(below, n), below - np.minimum(below, k)])
    y = np.concatenate([below, below]) - x
    at = int(np.argmax(np.abs(x / n - y / k)))
    return float(
        scipy.stats.ks_2samp(
            (np.arange(n) >= x[at]).astype(float), (np.arange(k) >= y[at]).astype(float)
        ).pvalue
    )


def as_predicted(
    claim: str,
    counts: npt.ArrayLike,
    of: npt.ArrayLike,
    chances: npt.ArrayLike,
    *,
    fewest: float = 5,
    level: float = LEVEL,
    given: Answer | None = None,
    why: str = "",
) -> Finding:
    """Compare counts of runs with predicted fractions: chi-square over the cells with at least
    `fewest` expected on each side; unknown unless `given` holds.
    """

    found, n, p = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (counts, of, chances)))
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(found) & np.isfinite(p) & (np.minimum(n * p, n * (1 - p)) >= fewest)
    cells = int(seen.sum())
    c, m, q = found[seen], n[seen], p[seen]
    statistic = float(np.sum((c - m * q) ** 2 / (m * q * (1 - q))))
    pvalue = float(scipy.stats.chi2.sf(statistic, cells)) if cells else math.nan
    answer = unknown(f"no cell of {found.size} has {fewest:g} runs expected on each side")
    if cells:
        answer = Answer(pvalue > level, (f"{m.sum():.0f} runs",))
    if given is not None:
        answer = answer.given(given)
    said = (
        f"chi2 = {statistic:.1f} for {count(cells, 'cell')}, p = {pvalue:.2g}"
        if cells
        else "chi2 not computed"
    )
    return finding(
        claim,
        said,
        answer,
        f"cells with at least {fewest:g} runs expected on each side; refused below {level:g}. "
        f"{why}",
    )
