"""When a point is slower than the baseline: the rule alone, on slices however they were made.

docs/speed.md has it in words.

The ratios of neighbouring slices have a median, of which order statistics give bounds whatever the
law of the noise. The level is divided by the number of points and of looks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

ALLOWED = 1.05  # times the baseline's time
INSTRUCTIONS = 1.01  # times its instructions
LEVEL = 0.01  # of a false alarm, over all points and looks
LOOKS = 3

Slices = Sequence[
    Sequence[dict[str, Any]]
]  # of this revision and of the baseline, the i-th of both neighbours in time
FAILS = ("slower", "more", "broken")


class Missing(Exception):
    """A revision cannot do a point; `here` is whether it is this one."""

    def __init__(self, why: str, here: bool) -> None:
        super().__init__(why)
        self.here = here


def lower_bound(ratios: Sequence[float], level: float) -> float:
    """An order statistic that exceeds the median with a probability of at most `level`, whatever
    the law. -inf if there are too few.
    """
    n, below, k = len(ratios), 0.0, 0
    while k < n and (below := below + math.comb(n, k) / 2**n) <= level:  # P(Binomial(n, 1/2) <= k)
        k += 1
    return sorted(ratios)[k - 1] if k else -math.inf


def upper_bound(ratios: Sequence[float], level: float) -> float:
    return -lower_bound([-r for r in ratios], level)


def judged(slices: Slices, points: int) -> dict[str, Any]:
    """Ratio, bounds (None where there are too few slices) and verdict of one of so many points."""
    ratios = [a["cpu"] / b["cpu"] for a, b in zip(*slices, strict=True)]
    level = LEVEL / points / LOOKS
    low, high = lower_bound(ratios, level), upper_bound(ratios, level)
    verdict = "slower" if low > ALLOWED else "passes" if high < ALLOWED else "undecided"
    here, baseline = (1e6 * statistics.median(s["cpu"] / s["n"] for s in one) for one in slices)
    bounds = {name: x if math.isfinite(x) else None for name, x in (("low", low), ("high", high))}
    return {
        "ratio": statistics.median(ratios),
        **bounds,
        "verdict": verdict,
        "microseconds": here,
        "baseline_microseconds": baseline,
        "slices": len(ratios),
    }


def decided(look: Callable[[], object], slices: Slices, points: int) -> dict[str, Any]:
    """Look, which adds slices, until there is a verdict or there were LOOKS.

    What this revision cannot do is broken; what the baseline cannot is left out.
    """
    row: dict[str, Any] = {}
    for _ in range(LOOKS):
        try:
            look()
        except Missing as e:
            return left_out(e)
        row = judged(slices, points)
        if row["verdict"] != "undecided":
            break
    return row


def counted(here: float, baseline: float) -> dict[str, Any]:
    """The verdict on instructions a step, which have no noise to speak of."""
    return {
        "instructions": here,
        "baseline_instructions": baseline,
        "ratio": here / baseline,
        "verdict": "more" if here > INSTRUCTIONS * baseline else "passes",
    }


def left_out(why: Missing) -> dict[str, Any]:
    return {"verdict": "broken" if why.here else "left out", "missing": str(why)}


def failing(rows: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Names of the points that fail, by verdict."""
    return {
        verdict: names
        for verdict in FAILS
        if (names := [name for name, row in rows.items() if row["verdict"] == verdict])
    }
