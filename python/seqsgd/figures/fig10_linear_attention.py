"""Figure 10: linear against softmax attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Attention, LinearAttention, Task, Untied, WeakRecovery
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, median
from ..report.verdicts import against, finding, less
from .gains import (
    ETA,
    Comparison,
    Network,
    curves,
    decimal_ticks,
    draw_curves,
    first_passages,
    gain_exponent,
    gains,
    passages,
)
from .style import BARS, legend, panels, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


@dataclass(frozen=True)
class Linear(Settings):
    """Settings: first passages of the untied network have `patience` times `steps`."""

    d: int = 1000
    lr: float = 5e-4
    steps: int = 20_000_000
    patience: float = 1.5
    runs: int = 16
    lengths: tuple[int, ...] = (3, 4, 5, 6, 7, 8, 9)
    curve_lengths: tuple[int, ...] = (3, 9)
    curve_steps: int = 20_000_000

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._positive("lr", "patience")
        self._least(1, "d", "steps", "runs", "lengths", "curve_lengths", "curve_steps")


SOFTMAX, TIED, UNTIED = "softmax, trace", "linear, tied", "linear, untied"


def compute(s: Linear, runner: Runner) -> xr.Dataset:
    """Compute passages and curves of the three students.

    Softmax is expensive: if it has a curve for all steps, its passages are read from the curve.
    """

    of = (
        Network(SOFTMAX, Attention(reduction="trace"), s.lr),
        Network(TIED, LinearAttention(), s.lr),
        Network(UNTIED, Untied("square"), s.lr, s.patience),
    )
    comparison = Comparison("sum_h2", "1/sqrt(L)", "square", s.d, s.lengths, s.steps, s.runs)
    drawn = curves(
        runner,
        replace(comparison, steps=s.curve_steps),
        of,
        s.curve_lengths,
        s.seed + 1,
        stop=WeakRecovery(ETA, halt=False),
    )
    both = [L for L in s.curve_lengths if L in s.lengths and s.curve_steps >= s.steps]
    rest = [L for L in s.lengths if L not in both]
    parts = [drawn[["passed", "ended"]].sel(network=[SOFTMAX], L=both)] if both else []
    parts += (
        [first_passages(runner, replace(comparison, lengths=rest), of[:1], s.seed)] if rest else []
    )
    passed = xr.concat(
        [
            xr.concat(parts, dim="L").sel(L=list(s.lengths)),
            first_passages(runner, comparison, of[1:], s.seed),
        ],
        dim="network",
    )
    data = passed.merge(drawn[["overlap"]].rename(L="curve_L", run="curve_run")).assign_coords(
        d=s.d, lr=s.lr
    )
    data["predicted"] = (
        ("network", "L"),
        [[_steps(s, n, L) for L in s.lengths] for n in of],
        {"long_name": "steps of the flow near the origin"},
    )
    return data


def _steps(s: Linear, network: Network, L: int) -> float:
    """Return the steps; the plain square loss at lr is the half square loss at 2 lr."""
    law = theory.complexity(Task(SSI("sum_h2", L=L, scale="1/sqrt(L)"), network.student))
    return float(law.steps(s.d, 2 * s.lr, ETA, s.d**-0.5))


def draw(data: xr.Dataset) -> Picture:
    """Draw overlaps against steps, and median steps against L."""
    figure, axes = panels(1, 4, size=(4.0, 3.6))
    for ax, network in zip(axes[0], data["network"].values, strict=False):
        draw_curves(ax, data[["overlap"]].rename(curve_run="run"), str(network))
    ax, L = axes[0, 3], data["L"].values.astype(float)
    for i, network in enumerate(data["network"].values):
        points(
            ax,
            L,
            [median(p) for p in passages(data, network)],
            str(network),
            i,
            linestyle=("-", "--", "-.")[i],
        )
        ax.plot(
            L,
            data["predicted"].sel(network=network),
            color="black",
            linewidth=0.8,
            linestyle=":",
            label="flow near the origin" if i == 0 else None,
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="sequence length $L$",
        ylabel=rf"median step with overlap $\geq$ {ETA}",
        title=rf"$\gamma$ = {float(data['lr']):g}, $d$ = {int(data['d'])}",
    )
    decimal_ticks(ax, L)
    ax.set_yticks(ax.get_yticks(), [f"{v:.0e}".replace("e+0", "e") for v in ax.get_yticks()])
    ax.grid(alpha=0.25)
    legend(ax, BARS.format(data.sizes["run"]))
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge how the ratio grows with L, and its values against the flow's near the origin."""
    lengths = [int(L) for L in data["L"].values]
    found, exponent = gains(data, UNTIED, SOFTMAX), gain_exponent(data, UNTIED, SOFTMAX)
    words = (
        "the gain of softmax trace attention over linear attention with a weight per token grows "
        "with L"
    )
    measured = (
        f"ratio of median steps {found[0]} at L = {lengths[0]}, {found[-1]} at L = {lengths[-1]}; "
        f"exponent of L {exponent}"
    )
    below = [L for L, g in zip(lengths, found, strict=True) if less(g, 1.0).holds]
    why = "agree if the exponent's interval lies above 0" + (
        f"; at L = {', '.join(map(str, below))} linear attention is still the faster one"
        if below
        else ""
    )
    out = [finding(words, measured, less(0.0, exponent), why)]
    for network in (UNTIED, TIED):
        ratios = gains(data, network, SOFTMAX)
        for j in dict.fromkeys((0, len(lengths) - 1)):
            steps = [float(data["predicted"].sel(network=n).isel(L=j)) for n in (network, SOFTMAX)]
            predicted = steps[0] / steps[1] if steps[1] > 0 else NAN
            claim = (
                f"*ours*: {network} over softmax at L = {lengths[j]}: ratio of steps "
                f"{predicted:.3g} by the flow near the origin"
            )
            out.append(
                against(
                    claim,
                    ratios[j],
                    predicted,
                    what="ratio",
                    tolerance=0.1,
                    why="tolerance 10 %: the flow is linear there and has no noise. Below 1 "
                    "softmax is the slower one",
                )
            )
    return out


FIGURE = Figure(
    name="10",
    title="Linear against softmax attention",
    about="y = sum_l h2(z_l) / sqrt L, plain square loss, equal learning rates, m_0 = 1/sqrt d: "
    "trace softmax attention, linear attention u^2 with one weight for all tokens, and the "
    "same with a weight per token (the paper's comparison). Lines are medians over runs, bands "
    "the 10 to 90 % quantiles.",
    quick=Linear(
        d=200,
        lr=2e-3,
        steps=1_000_000,
        curve_steps=1_000_000,
        lengths=(3, 5, 9),
        curve_lengths=(3, 9),
    ),
    full=Linear(),
    compute=compute,
    draw=draw,
    judge=judge,
)
