"""The gain of tied over untied weights with the best learning rate of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Student, Tied, Untied
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, median, passage
from ..report.verdicts import against, finding, unknown, within
from .gains import ETA, Comparison, best_gain, best_ratio, best_table, decimal_ticks, search
from .style import BARS, STYLES, legend, panels, points, reference, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

TARGETS: dict[str, tuple[str, Any, str]] = {
    "SIE 1": ("sum", "1/sqrt(L)", r"SIE 1: $\Sigma_l\, z_l/\sqrt{L}$"),
    "SIE 2": ("sum_h2", 1.0, r"SIE 2: $\Sigma_l\, h_2(z_l)$"),
}
STUDENTS: Mapping[str, Student] = {"tied": Tied("relu"), "untied": Untied("relu")}


@dataclass(frozen=True)
class BestRates(Settings):
    """Settings: `d_1`, `lengths_1` belong to the target of SIE 1; the search begins with `rates`
    learning rates, a factor sqrt 2 apart.
    """

    d_1: int = 10_000
    d_2: int = 3000
    lengths_1: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    lengths_2: tuple[int, ...] = (1, 2, 4, 8)
    runs: int = 64
    rates: int = 5

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._least(1, "d_1", "d_2", "lengths_1", "lengths_2", "runs", "rates")


def compute(s: BestRates, runner: Runner) -> xr.Dataset:
    """Search for both targets, with their predictions: dimension target, L joined."""

    parts = []
    for i, (name, d, lengths) in enumerate(
        zip(TARGETS, (s.d_1, s.d_2), (s.lengths_1, s.lengths_2), strict=True)
    ):
        link, scale, _ = TARGETS[name]
        found = search(
            runner,
            Comparison(link, scale, "half_square", d, lengths, 0, s.runs),
            STUDENTS,
            s.seed + 100_000 * i,
            s.rates,
        )
        laws = [theory.gain(SSI(link, L=L, scale=scale), "relu") for L in lengths]
        found = found.assign(
            paper=("L", [g.best_lr_paper for g in laws]),
            derived=("L", [g.best_lr_derived for g in laws]),
            rho=("L", [g.rho for g in laws]),
            d=d,
        )
        parts.append(found.expand_dims(target=[name]))
    joined: xr.Dataset = xr.concat(parts, dim="target", join="outer")
    return joined


def of(data: xr.Dataset, target: str) -> xr.Dataset:
    """Return one target's lengths and rates."""
    return data.sel(target=target).dropna("L", how="all", subset=["paper"])


def _rates(ax: Axes, here: xr.Dataset) -> None:
    """Draw median steps against the learning rate, for the smallest and the largest L."""
    for i, L in enumerate(dict.fromkeys(here["L"].values[[0, -1]].tolist())):
        for j, network in enumerate(here["network"].values):
            one = here.sel(network=network, L=L)
            one = one.isel(rate=np.flatnonzero(np.isfinite(one["lr"].values)))
            found = [
                median(passage(one["passed"].isel(rate=k), one["ended"].isel(rate=k)))
                for k in range(one.sizes["rate"])
            ]
            points(
                ax,
                one["lr"].values,
                found,
                f"{network}, L = {L}",
                2 * i + j,
                linestyle=STYLES[j],
                markersize=4,
            )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel=r"learning rate $\gamma$",
        ylabel=rf"median step with overlap $\geq$ {ETA}",
    )
    rates = here["lr"].values[np.isfinite(here["lr"].values)]
    decimal_ticks(
        ax,
        np.array(
            [
                v
                for v in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10)
                if rates.min() <= v <= rates.max()
            ]
        ),
    )
    ax.set_yticks(ax.get_yticks(), [f"{v:g}".replace("e+0", "e") for v in ax.get_yticks()])


def draw(data: xr.Dataset) -> Picture:
    """Draw for each target: steps against the rate, the ratio of best rates, the gain."""
    figure, axes = panels(len(TARGETS), 3, size=(4.5, 3.6))
    for row, (name, (_, _, words)) in zip(axes, TARGETS.items(), strict=True):
        here = of(data, name)
        L = here["L"].values.astype(float)
        _rates(row[0], here)
        row[0].set_title(f"{words}, d = {float(here['d']):.4g}")
        table = best_table(here)
        for ax, found, laws, label in (
            (
                row[1],
                best_ratio(here, table)[0],
                (here["rho"], here["derived"] / here["paper"] * here["rho"]),
                r"ratio of best rates, tied over untied",
            ),
            (
                row[2],
                best_gain(here, table)[0],
                (here["paper"], here["derived"]),
                "gain at the best rates",
            ),
        ):
            points(ax, L, found, "measured", 0)
            reference(ax, L, laws[0], r"paper: ratio $\rho$", 0)
            reference(ax, L, laws[1], "from the inhibitive terms", 1, color=shade(2))
            ax.set(xscale="log", yscale="log", xlabel="sequence length $L$", ylabel=label)
            decimal_ticks(ax, L)
    for ax in axes.flat:
        ax.grid(alpha=0.25)
        legend(ax, BARS.format(data.sizes["run"]))
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge exponents of the gain and of the ratio of rates against both predictions."""
    out = []
    for name in TARGETS:
        here = of(data, name)
        L = here["L"].values
        if not len(L):
            out.append(
                finding(
                    f"{name}: the gain at the best learning rate of each",
                    "not measured",
                    unknown("no lengths"),
                )
            )
            continue
        table = best_table(here)
        rows, exponent = best_gain(here, table)
        ratios, ratio_power = best_ratio(here, table)
        paper, ours, rho = (_power(L, here[v].values) for v in ("paper", "derived", "rho"))
        at = (
            f"gain {rows[-1]} at L = {int(L[-1])}; best rates there: tied "
            f"{table['lr tied'][-1, 0]:.3g}, untied {table['lr untied'][-1, 0]:.3g}; steps "
            f"{table['steps tied'][-1, 0]:.3g}, {table['steps untied'][-1, 0]:.3g}"
        )
        out.append(
            against(
                f"{name}: at the best learning rate of each the gain is {_law(paper)} (ratio of "
                "rates rho)",
                exponent,
                paper,
                what="exponent of L",
                why=at,
            )
        )
        out.append(
            against(
                f"*ours*, {name}: it is {_law(ours)}, since an untied row's inhibitive term is L "
                "times smaller",
                exponent,
                ours,
                what="exponent of L",
                tolerance=0.05,
                why="tolerance 5 %, since d is finite",
            )
        )
        said = ", ".join(f"L = {int(n)}: {r}" for n, r in zip(L, ratios, strict=True))
        out.append(
            against(
                f"{name}: the ratio of best rates, tied over untied, is rho = {_law(rho)}",
                ratio_power,
                rho,
                what="exponent of L",
                why=said,
            )
        )
        near = ours - paper + rho
        out.append(
            finding(
                f"*ours*, {name}: the ratio is rho / L, or rho / sqrt L if k = 1: {_law(near)}",
                f"exponent of L {ratio_power}",
                within(ratio_power, near, absolute=0.05, coarse=0.5),
                "tolerance 0.05; cannot tell if the interval is wider than 0.5",
            )
        )
    return out


def _law(power: float) -> str:
    return f"L^{power:.3g}" if np.isfinite(power) else "a power of L"


def _power(L: Any, y: Any) -> float:
    """Return the exponent of a law; NaN for a single length."""
    return (
        round(float(np.log(y[-1] / y[0]) / np.log(L[-1] / L[0])), 6) + 0.0
        if len(L) > 1 and L[-1] != L[0]
        else NAN
    )


FIGURE = Figure(
    name="best-rates",
    title="Gain at the best learning rates",
    about="Relu networks, half square loss, m_0 = 1/sqrt d, untied weights normalised by rows. "
    "The best learning rate of each network at each L is found by brute force: median "
    f"steps to {ETA} at rates a factor sqrt 2 apart. The grid of rates is extended until the "
    "smallest median is interior, and a parabola through it and its neighbours refines the "
    "minimum. Intervals come from a bootstrap over runs.",
    quick=BestRates(d_1=1000, d_2=300, lengths_1=(1, 2, 4, 8), lengths_2=(1, 2, 4)),
    full=BestRates(),
    compute=compute,
    draw=draw,
    judge=judge,
)
