"""Steps of weak recovery over decades of d, for exponents 1, 2 and 3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Hermite, HermiteSeries, Overlap, PowerLaw, Task, Tied, WeakRecovery
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import Measured, fitted, log_medians, median, middle_step, passage, sizes
from ..report.verdicts import against
from .style import COLOURS, STYLES, legend, panels, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

ETA = 0.7
AMPLITUDE = {
    1: 0.5,
    2: 0.2,
    3: 0.1,
}  # of the student: small, so that its own noise stays below the target's
RATE = {1: 0.2, 2: 0.2, 3: 0.6}  # gamma a d^(k/2 - 1), well below where learning stops
START = {1: 1.0, 2: 1.0, 3: 2.5}  # c of m_0 = c / sqrt d


@dataclass(frozen=True)
class Scaling(Settings):
    """Settings: for each exponent the first and last powers of ten of d, and the points per decade.

    There are as many runs as `budget` run-steps allow, 64 to `most`; they have four times the
    predicted median steps.
    """

    first: tuple[float, ...] = (2.0, 2.0, 2.0)
    last: tuple[float, ...] = (7.0, 6.0, 4.0)
    per_decade: tuple[int, ...] = (1, 2, 3)
    budget: float = 1e8
    most: int = 1024

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        for name in ("first", "last", "per_decade"):
            if len(getattr(self, name)) != 3:
                raise ValueError(
                    f"settings.{name}: expected 3 values, one for each exponent, got "
                    f"{len(getattr(self, name))}"
                )
        for first, last in zip(self.first, self.last, strict=True):
            if not 0.3 <= first <= last:
                raise ValueError(
                    "settings.last: expected powers of ten not below first, at least 0.3, got "
                    f"{first:g} to {last:g}"
                )
        for k, first in zip((1, 2, 3), self.first, strict=True):
            if not START[k] < ETA * 10 ** (first / 2):
                raise ValueError(
                    f"settings.first: expected a start {START[k]:g}/sqrt d below {ETA}, got d = "
                    f"{10**first:.3g} at SIE {k}"
                )
        self._least(1, "per_decade")
        self._least(64, "most")
        self._positive("budget")


def task(k: int) -> Task:
    """Return the task: He_k(u*)/sqrt(k!), u* = (z*_1 + z*_2)/sqrt 2, learnt by a He_k(u)/sqrt(k!).

    E[y f] = a m^k, so that the SIE is k.
    """
    terms = [
        (math.comb(k, j) * 2 ** (-k / 2) / math.sqrt(math.factorial(k)), {1: j, 2: k - j})
        for j in range(k + 1)
    ]
    return Task(
        SSI(Hermite(terms), L=2),
        Tied(HermiteSeries([0.0] * k + [AMPLITUDE[k] / math.sqrt(math.factorial(k))])),
    )


def rate(k: int) -> PowerLaw:
    """Return gamma ~ d^-(k/2 - 1) for k >= 2."""
    return PowerLaw(RATE[k] / AMPLITUDE[k], d=min(0.0, 1 - k / 2))


def compute(s: Scaling, runner: Runner) -> xr.Dataset:
    """Compute first passages and their predicted medians: dims (sie, place, run)."""

    rows = []
    for i, k in enumerate((1, 2, 3)):
        number = round((s.last[i] - s.first[i]) * s.per_decade[i]) + 1
        cells: list[xr.Dataset] = []
        for exponent in np.linspace(s.first[i], s.last[i], number):
            d = round(10**exponent)
            init = Overlap(START[k] / math.sqrt(d))
            lr = rate(k).schedule(d, 2).values[0]
            law = theory.weak_recovery(task(k), d=d, lr=lr, eta=ETA, init=init, noise=True).median
            steps = math.ceil(4 * law)
            runs = 64 * int(np.clip(s.budget / law / 64, 1, s.most // 64))
            base: dict[str, Any] = {
                "task": task(k),
                "d": d,
                "steps": steps,
                "lr": lr,
                "runs": runs,
                "init": init,
                "dynamics": "reduced",
                "dtype": "float32",
                "record": [0],
                "stop": WeakRecovery(ETA, halt=True),
            }
            found = runner.sweep(base, {"lr": [lr]}, s.seed + 100 * k + len(cells)).isel(
                lr=0, drop=True
            )
            cells.append(
                xr.Dataset(
                    {
                        "passed": found["weak_recovery"],
                        "ended": found["steps_done"],
                        "d": float(d),
                        "predicted": law,
                        "lr": lr,
                    }
                )
            )
        rows.append(
            xr.concat(cells, dim="place", join="outer")
            .assign_coords(place=np.arange(len(cells)))
            .expand_dims(sie=[k])
        )
    joined: xr.Dataset = xr.concat(rows, dim="sie", join="outer")
    return joined


def _series(data: xr.Dataset, k: int) -> tuple[Any, Any, list[Any]]:
    """Return d, predicted medians and passages of an exponent."""
    here = data.sel(sie=k)
    there = np.flatnonzero(np.isfinite(here["d"].values))
    return (
        here["d"].values[there],
        here["predicted"].values[there],
        [passage(here["passed"].isel(place=j), here["ended"].isel(place=j)) for j in there],
    )


def exponents(data: xr.Dataset, k: int, seed: int = 0) -> tuple[Measured, Measured]:
    """Fit a plain power law, and the predicted power times a power law of the ratio of medians to
    prediction.
    """
    d, predicted, ps = _series(data, k)
    rng = np.random.default_rng(seed)
    y, runs = log_medians(ps, rng), sizes(ps)
    plain, left = (
        fitted(np.log(d), y, runs),
        fitted(np.log(d), y - np.log(predicted)[:, None], runs),
    )
    return plain, left.plus(max(1, k - 1))


def draw(data: xr.Dataset) -> Picture:
    """Draw medians against d, and over the prediction."""
    figure, axes = panels(1, 3, size=(4.6, 3.9))
    for i, k in enumerate((1, 2, 3)):
        d, predicted, ps = _series(data, k)
        found = [median(p) for p in ps]
        law = {1: "$d$", 2: r"$d \log d$", 3: "$d^2$"}[k]
        points(axes[0, 0], d, found, f"SIE {k}: {law}", i)
        axes[0, 0].plot(d, predicted, color=COLOURS[i], linestyle=STYLES[i], linewidth=1.0)
        points(
            axes[0, 1],
            d,
            [m.times(1 / x) for m, x in zip(found, predicted, strict=True)],
            f"SIE {k}",
            i,
        )
        if k == 2:
            points(
                axes[0, 2],
                d,
                [m.times(1 / x) for m, x in zip(found, d, strict=True)],
                "measured",
                i,
            )
            axes[0, 2].plot(
                d,
                predicted / d,
                color=COLOURS[i],
                linestyle=STYLES[i],
                label="flow from a start with noise",
            )
    axes[0, 0].set(
        xscale="log",
        yscale="log",
        xlabel="dimension $d$",
        ylabel=rf"median step with $|m| \geq$ {ETA}",
        title="lines: flow from a start with noise",
    )
    axes[0, 1].axhline(1, color="black", linewidth=0.8)
    axes[0, 1].set(
        xscale="log",
        xlabel="dimension $d$",
        ylabel="median over prediction",
        title="no free number",
    )
    axes[0, 2].set(
        xscale="log",
        xlabel="dimension $d$",
        ylabel="median step / $d$",
        title="SIE 2: the logarithm",
        ylim=(0, None),
    )
    for ax in axes[0]:
        ax.grid(alpha=0.25)
        legend(ax, "bars: 95 % intervals")
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge exponents of d."""
    out = []
    claims = {
        1: "SIE 1: Theta(d) steps",
        2: "SIE 2: d log d steps",
        3: "SIE 3: Theta(d^2) steps, at lr ~ d^-1/2",
    }
    for k, claim in claims.items():
        plain, corrected = exponents(data, k)
        d, predicted, ps = _series(data, k)
        off = [
            (abs(middle_step(p) / law - 1), n)
            for p, law, n in zip(ps, predicted, d, strict=True)
            if np.isfinite(middle_step(p)) and law > 0
        ]
        worst = (
            ""
            if not off
            else (
                " Largest deviation from that flow of a median that was reached "
                f"{max(off)[0]:.1%}, at d = {max(off)[1]:.3g};"
            )
        )
        why = (
            "exponent after division by the prefactor of the flow from a start with noise (a "
            "logarithm at SIE 2, the effect of the start at SIE 3), which a plain power law would "
            f"count as a power.{worst} tolerance 2 %"
        )
        out.append(
            against(
                claim,
                corrected,
                float(max(1, k - 1)),
                what=f"plain power law {plain}; exponent of d with the flow's factor divided out",
                tolerance=0.02,
                why=why,
            )
        )
    return out


FIGURE = Figure(
    name="scaling",
    title="Steps of weak recovery over decades of d",
    about="y = He_k(u*)/sqrt(k!), u* = (z*_1 + z*_2)/sqrt 2, learnt by a He_k(u)/sqrt(k!) from "
    "m_0 = c/sqrt d, half square loss, at lr ~ d^-(k/2-1) for k >= 2 and constant for k = "
    f"1: median steps until |m| = {ETA} for exponents k = 1, 2, 3, with the law of the flow from "
    "a start with noise (*ours*), which has no free number. At SIE 3 a decade more of d takes a "
    "hundred times as long. More runs, other starts and other "
    "fits are on the page How recovery grows with d.",
    quick=Scaling(last=(5.0, 4.0, 3.0), per_decade=(1, 1, 2), budget=2e7, most=256),
    full=Scaling(),
    compute=compute,
    draw=draw,
    judge=judge,
)
