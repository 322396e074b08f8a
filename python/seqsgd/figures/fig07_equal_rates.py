"""Figures 7 and 8: the gain of tied over untied weights at equal learning rates; both again from
random starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from ..models import SSI, Overlap, Uniform
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.verdicts import against, close_to, finding
from .gains import (
    ETA,
    Comparison,
    Network,
    check,
    curves,
    draw_curves,
    draw_gains,
    first_passages,
    gain_exponent,
    judge_check,
    networks,
)
from .style import panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture

SCALES: dict[str, Any] = {"sum_h2": 1.0, "sum": "1/sqrt(L)"}
STARTS: dict[str, Any] = {"overlap": Overlap(), "uniform": Uniform()}
FORMULAS = {"sum_h2": "y = sum_l h2(z_l)", "sum": "y = sum_l z_l / sqrt L"}


@dataclass(frozen=True)
class EqualRates(Settings):
    """Settings: `link` is sum_h2, or sum with the factor 1/sqrt L; `start` is overlap (m_0 = 1/sqrt
    d) or uniform. First passages of the untied network have `patience` times `steps`.

    `check_*` belong to cells that the sampled dynamics repeats; without lengths there is no check.
    """

    link: str = "sum_h2"
    start: str = "overlap"
    d: int = 3000
    lr: float = 5e-3
    steps: int = 15_000_000
    patience: float = 4.0
    runs: int = 16
    lengths: tuple[int, ...] = (1, 2, 5, 10, 15, 20)
    curve_lengths: tuple[int, ...] = (1, 5, 20)
    check_L: int = 0
    check_runs: int = 32

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        if self.start not in STARTS:
            raise ValueError(f"settings.start: expected 'overlap' or 'uniform', got {self.start!r}")
        if self.link not in SCALES:
            raise ValueError(
                f"settings.link: expected one of {', '.join(SCALES)}, got {self.link!r}"
            )
        self._positive("lr", "patience")
        self._least(1, "d", "steps", "runs", "lengths", "curve_lengths", "check_runs")


def comparison(s: EqualRates) -> Comparison:
    """Return what is learnt."""
    return Comparison(
        s.link, SCALES[s.link], "square", s.d, s.lengths, s.steps, s.runs, STARTS[s.start]
    )


def compute(s: EqualRates, runner: Runner) -> xr.Dataset:
    """Compute passages, curves and the check."""
    what, of = comparison(s), networks(s.lr, s.patience)
    data = first_passages(runner, what, of, s.seed).merge(
        curves(runner, what, of, s.curve_lengths, s.seed + 1).rename(L="curve_L", run="curve_run")
    )
    if s.check_L:
        small = Comparison(
            s.link, SCALES[s.link], "square", s.d, (s.check_L,), s.steps, s.check_runs, what.init
        )
        data = data.merge(
            check(runner, small, [Network(n.label, n.student, n.lr) for n in of[:2]], s.seed + 2)
        )
    exponent = {
        name: law(s.link, data["L"].values, name) for name in ("untied", "untied, flattened")
    }
    return data.assign(law=("law_network", list(exponent.values()))).assign_coords(
        law_network=list(exponent), d=s.d, lr=s.lr, link=s.link
    )


def law(link: str, L: Any, network: str) -> float:
    """Return the exponent in L of the predicted gain at equal rates, from the Hermite tensors. In
    the paper the gain is rho sqrt L at SIE 1 and rho beyond. For the flattened vector, whose rate
    is L times larger on rows, the exponent is one less.
    """
    ends = [
        float(theory.gain(SSI(link, L=int(n), scale=SCALES[link]), "relu").equal_lr)
        for n in (2, max(int(np.max(L)), 4))
    ]
    power = float(np.log(ends[1] / ends[0]) / np.log(max(int(np.max(L)), 4) / 2))
    return round(power - (network != "untied"), 9)


def draw(data: xr.Dataset) -> Picture:
    """Draw overlaps against steps, and the gain."""
    figure, axes = panels(1, 4, size=(4.0, 3.6))
    for ax, network in zip(axes[0], data["network"].values, strict=False):
        draw_curves(ax, data[["overlap"]].rename(curve_run="run"), str(network))
    powers = {str(n): float(data["law"].sel(law_network=n)) for n in data["law_network"].values}
    draw_gains(
        axes[0, 3], data, {n: (p, f"$L^{{{p:.3g}}}$, predicted for {n}") for n, p in powers.items()}
    )
    axes[0, 3].set_title(rf"equal rates, $\gamma$ = {float(data['lr']):g}, $d$ = {int(data['d'])}")
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Exponents of the gain; reduced against sampled."""
    words = {
        "untied": "at equal rates, weights by rows, the gain is rho sqrt L at SIE 1 and rho beyond",
        "untied, flattened": "at equal rates in the paper's code, where the untied network is a "
        "flattened vector of norm sqrt d (its rate is L times larger on "
        "rows): L times less",
    }
    out = []
    for name, text in words.items():
        power = float(data["law"].sel(law_network=name))
        found = gain_exponent(data, name)
        claim = f"{text}: exponent {power:.3g} in L"
        if abs(power) < 0.01:
            out.append(
                finding(
                    claim,
                    f"exponent of L {found}",
                    close_to(found, 0.0, 0.1),
                    "agree if the interval lies within 0.1 of 0, disagree if beyond",
                )
            )
        else:
            out.append(
                against(
                    claim,
                    found,
                    power,
                    what="exponent of L",
                    tolerance=0.05,
                    why="tolerance 5 %, since d is finite",
                )
            )
    if "check_sampled" in data:
        out.append(judge_check(data))
    return out


ABOUT = (
    f"Relu networks with the plain square loss, weak recovery at {ETA}: tied weights, one weight "
    "per token normalised by rows (the paper's text), and a flattened vector of norm sqrt d (its "
    "code), all at the same learning rate. First passages of the untied network by rows are "
    "simulated beyond the number "
    "of steps, which is too short for it at large L; the curves end at that number. Lines are "
    "medians over "
    "runs, bands the 10 to 90 % quantiles. The gain is the ratio of median steps "
    "(Kaplan-Meier), its bars are 95 % intervals."
)


def words(s: EqualRates) -> tuple[str, str]:
    """Title and caption for these settings."""
    first, random = int(theory.sie(SSI(s.link, L=2, scale=SCALES[s.link]))), s.start == "uniform"
    title = f"Gain at equal learning rates, SIE {first}" + ", from random starts" * random
    start = "weights that start uniformly on their spheres" if random else "m_0 = 1/sqrt d"
    check = (
        f" At L = {s.check_L} the sampled dynamics repeats the first passages of tied and untied "
        "weights."
        if s.check_L
        else ""
    )
    return title, f"{FORMULAS[s.link]}, from {start}. {ABOUT}{check}"


QUICK = EqualRates(d=300, steps=600_000, lengths=(1, 2, 5, 10), curve_lengths=(1, 10))
FIRST = EqualRates(
    link="sum",
    d=1000,
    lr=1.5e-2,
    steps=100_000,
    patience=10.0,
    lengths=(1, 2, 5, 8, 10, 15, 25, 32),
    curve_lengths=(1, 5, 32),
    check_L=2,
    check_runs=24,
)
QUICK_FIRST = replace(
    FIRST, d=300, steps=30_000, lengths=(1, 2, 5, 10, 20), curve_lengths=(1, 10), check_runs=32
)


def of_settings(name: str, quick: EqualRates, full: EqualRates) -> Figure:
    """The figure of a target and its sizes."""
    title, about = words(full)
    return Figure(
        name=name,
        title=title,
        about=about,
        quick=quick,
        full=full,
        compute=compute,
        draw=draw,
        judge=judge,
        words=words,
    )


FIGURE = of_settings("7", QUICK, EqualRates())
