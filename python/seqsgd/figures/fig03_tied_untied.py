"""Figure 3: tied against untied weights for an even target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models import Tied, Untied
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.verdicts import against
from .gains import (
    ETA,
    Comparison,
    Network,
    best_gain,
    best_table,
    check,
    curves,
    decimal_ticks,
    draw_curves,
    draw_gains,
    first_passages,
    gain_exponent,
    judge_check,
    networks,
    search,
)
from .style import BARS, legend, panels, points, reference

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture


@dataclass(frozen=True)
class TiedUntied(Settings):
    """Settings: `lr` is that of the untied network; the tied one has lr sqrt L.

    First passages of the untied network have `patience` times `steps`.

    `best_*` belong to the search over learning rates, `check_*` to a cell that the sampled dynamics
    repeats.
    """

    d: int = 1000
    lr: float = 2e-4
    steps: int = 25_000_000
    patience: float = 6.0
    runs: int = 16
    lengths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    curve_lengths: tuple[int, ...] = (1, 2, 5, 10)
    best_lengths: tuple[int, ...] = (1, 2, 4, 8)
    best_runs: int = 64
    check_L: int = 4
    check_d: int = 200
    check_lr: float = 0.05
    check_steps: int = 40_000
    check_runs: int = 48

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._positive("lr", "check_lr", "patience")
        self._least(1, "d", "check_d")
        self._least(
            1,
            "steps",
            "runs",
            "best_runs",
            "check_L",
            "check_steps",
            "check_runs",
            "lengths",
            "curve_lengths",
            "best_lengths",
        )


def _race(s: TiedUntied) -> Comparison:
    return Comparison("sum_h2", 1.0, "square", s.d, s.lengths, s.steps, s.runs)


def compute(s: TiedUntied, runner: Runner) -> xr.Dataset:
    """Compute curves, passages, the search and the check."""
    of = networks(s.lr, s.patience, tied_power=0.5)
    passed = first_passages(runner, _race(s), of, s.seed)
    drawn = curves(runner, _race(s), of, s.curve_lengths, s.seed + 1).rename(
        L="curve_L", run="curve_run"
    )
    found = search(
        runner,
        Comparison("sum_h2", 1.0, "half_square", s.d, s.best_lengths, 0, s.best_runs),
        {"tied": Tied("relu"), "untied": Untied("relu")},
        s.seed + 2,
    )
    found = found.rename({name: f"best_{name}" for name in ("L", "run", "passed", "ended", "lr")})
    small = Comparison(
        "sum_h2", 1.0, "square", s.check_d, (s.check_L,), s.check_steps, s.check_runs
    )
    data = passed.merge(drawn).merge(found.rename(network="best_network"))
    pair = [
        Network("tied", Tied("relu"), s.check_lr),
        Network("untied", Untied("relu"), s.check_lr),
    ]
    return data.merge(check(runner, small, pair, s.seed + 3)).assign_coords(
        d=s.d, untied_lr=s.lr, check_d=s.check_d
    )


def best_data(data: xr.Dataset) -> xr.Dataset:
    """Return the search under the names of gains.best_gain."""
    kept = data[["best_passed", "best_ended", "best_lr"]]
    return kept.rename(
        best_L="L",
        best_run="run",
        best_passed="passed",
        best_ended="ended",
        best_lr="lr",
        best_network="network",
    )


def draw_best(ax: Any, found: xr.Dataset) -> None:
    """Draw the gain at the best rates and both predictions."""
    L = found["L"].values.astype(float)
    points(ax, L, best_gain(found)[0], "measured", 0)
    reference(ax, L, L**2, r"paper: ratio of rates $\rho$, gain $L^2$", 0)
    reference(ax, L, L, r"ratio of rates $\rho/L$, gain $L$", 1)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="sequence length $L$",
        ylabel="gain",
        title="at the best learning rate of each",
    )
    decimal_ticks(ax, L)
    ax.grid(alpha=0.25)
    legend(ax, BARS.format(found.sizes["run"]))


def draw(data: xr.Dataset) -> Picture:
    """Draw overlaps against steps, and gains against L."""
    figure, axes = panels(2, 3, size=(4.6, 3.6))
    for ax, network in zip(axes.flat, data["network"].values, strict=False):
        draw_curves(ax, _curves(data), str(network))
    draw_gains(
        axes[1, 0],
        data,
        {
            "untied": (1.5, r"$L^{3/2}$: $\rho\,\gamma_{tied}/\gamma_{untied}$"),
            "untied, flattened": (0.5, r"$L^{1/2}$"),
        },
    )
    axes[1, 0].set_title(
        rf"$\gamma_{{untied}}$ = {float(data['untied_lr']):g}, tied $\sqrt{{L}}$ times that"
    )
    draw_best(axes[1, 1], best_data(data))
    ax = axes[1, 2]
    for i, kind in enumerate(("sampled", "reduced")):
        for j, network in enumerate(data["check_network"].values):
            x = np.sort(data[f"check_{kind}"].sel(check_network=network).values)
            ax.step(
                x[np.isfinite(x)],
                np.arange(1, np.isfinite(x).sum() + 1) / len(x),
                where="post",
                color=("#0072B2", "#D55E00")[i],
                linestyle=("-", "--")[j],
                label=f"{kind}, {network}",
            )
    ax.set(
        xlabel=rf"step with overlap $\geq$ {ETA}",
        ylabel="share of runs",
        title=f"sampled against reduced, d = {int(data['check_d'])}",
    )
    ax.grid(alpha=0.25)
    legend(ax, f"{data.sizes['run_sampled']} and {data.sizes['run_reduced']} runs")
    return figure


def _curves(data: xr.Dataset) -> xr.Dataset:
    return data[["overlap"]].rename(curve_run="run")


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge exponents of the gain in L, and reduced against sampled."""
    found = best_data(data)
    table = best_table(found)
    rows, exponent = best_gain(found, table)
    rates = table["lr tied"][:, 0] / table["lr untied"][:, 0]
    ratio = (
        "ratio of best rates tied / untied at L = "
        f"{', '.join(str(L) for L in data['best_L'].values)}: "
        f"{', '.join(f'{r:.2f}' for r in rates)}"
    )
    last = rows[-1]
    out = [
        against(
            "gain = rho (gamma_tied / gamma_untied) = L^1.5 for lr and lr sqrt L, weights by rows",
            gain_exponent(data, "untied"),
            1.5,
            what="exponent of L",
            tolerance=0.05,
            why="tolerance 5 %, since d is finite",
        ),
        against(
            "the same for the flattened vector of norm sqrt d (a rate gamma on it is gamma L on "
            "rows of norm sqrt d): L^0.5",
            gain_exponent(data, "untied, flattened"),
            0.5,
            what="exponent of L",
            tolerance=0.1,
            why="tolerance 10 %",
        ),
        against(
            "at the best rates of each the gain is rho^2 = L^2 (ratio of rates rho)",
            exponent,
            2.0,
            what="exponent of L",
            why=ratio,
        ),
        against(
            "*ours*: at the best rates of each the gain is rho^2 / L = L, since an untied row's "
            "inhibitive term is L times smaller",
            exponent,
            1.0,
            what="exponent of L",
            tolerance=0.05,
            why=f"tolerance 5 %; gain {last} at L = {int(data['best_L'][-1])}",
        ),
    ]
    return [*out, judge_check(data)]


FIGURE = Figure(
    name="3",
    title="Tied against untied weights, SIE 2",
    about=f"y = sum_l h2(z_l), relu, plain square loss, m_0 = 1/sqrt d; weak recovery at {ETA}. "
    "Three networks: tied weights at lr sqrt L; one weight per token, normalised by rows "
    "(the paper's text), at lr; and the paper's code, a flattened vector of norm sqrt d, "
    "at lr. First passages are simulated longer than the curves: an untied network by rows is L "
    "times slower, and at L = 10 takes longer than the paper's 2.5e7 steps. Bottom, middle: the "
    "best learning rates of each, found by brute force (half square loss). Bottom, right: the "
    "same first passages by both dynamics. Lines are medians over runs, bands the 10 to 90 % "
    "quantiles.",
    quick=TiedUntied(
        d=200,
        lr=2e-3,
        steps=500_000,
        patience=7.0,
        lengths=(1, 2, 4, 8),
        curve_lengths=(1, 4),
        best_lengths=(1, 2, 4),
        best_runs=32,
        check_steps=40_000,
    ),
    full=TiedUntied(),
    compute=compute,
    draw=draw,
    judge=judge,
)
