"""Figure 9: the untied network at a learning rate L times larger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import theory
from ..models import SSI, PowerLaw, Task, Tied, Untied
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import Measured, middle
from ..report.verdicts import between, every, finding, less, unknown
from .gains import Comparison, Network, curves
from .style import BANDS, BARS, curve, legend, panels, points

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture

SHOWN = 3  # lengths whose curves are drawn
LARGE = 10  # least L at which a claim on large L is looked at
FORMULAS = {"sum": "z_l", "sum_h2": "h2(z_l)"}


@dataclass(frozen=True)
class BeyondBound(Settings):
    """Settings: `lr` times L is the increased rate; `link` has the factor 1/sqrt L."""

    link: str = "sum"
    d: int = 3000
    lr: float = 5e-2
    steps: int = 10_000
    runs: int = 16
    lengths: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        if self.link not in FORMULAS:
            raise ValueError(
                f"settings.link: expected one of {', '.join(FORMULAS)}, got {self.link!r}"
            )
        self._positive("lr")
        self._least(1, "d", "steps", "runs", "lengths")


def of(s: BeyondBound) -> tuple[Network, ...]:
    """Return the networks, and their rates on rows of norm sqrt d."""
    return (
        Network("tied, lr", Tied("relu"), s.lr),
        Network("untied, lr", Untied("relu"), s.lr),
        Network("untied, lr L", Untied("relu"), PowerLaw(s.lr, L=1.0)),
        Network(
            "untied, flattened, lr L", Untied("relu", normalization="global"), PowerLaw(s.lr, L=2.0)
        ),
    )


def compute(s: BeyondBound, runner: Runner) -> xr.Dataset:
    """Compute overlaps against steps."""
    comparison = Comparison(s.link, "1/sqrt(L)", "square", s.d, s.lengths, s.steps, s.runs)
    data = curves(runner, comparison, of(s), s.lengths, s.seed).assign_coords(d=s.d, lr=s.lr)
    data["flow"] = (
        ("flow_network", "L"),
        [
            [_flow(s, L, s.lr, s.steps) for L in s.lengths],
            [_flow(s, L, s.lr * L, s.steps / L) for L in s.lengths],
        ],
    )
    return data.assign_coords(
        flow_network=["tied, lr", "untied, lr L"], link=s.link, sie=_sie(s.link)
    )


def _flow(s: BeyondBound, L: int, lr: float, steps: float) -> float:
    """Return the overlap at the end of the tied flow; that of equal rows is the same, L times
    slower.
    """
    task = Task(SSI(s.link, L=L, scale="1/sqrt(L)"), Tied("relu"), loss="square")
    return float(theory.flow(task, lr, s.d, steps=steps, records=2).m[-1])


def _sie(link: str) -> int:
    return int(theory.sie(SSI(link, L=2, scale="1/sqrt(L)")))


def end(data: xr.Dataset, network: str) -> list[Measured]:
    """Return the median overlap at the end, with its distribution-free interval, for every L."""
    return [
        middle(data["overlap"].sel(network=network, L=L).isel(step=-1)) for L in data["L"].values
    ]


def draw(data: xr.Dataset) -> Picture:
    """Draw the overlap at the end against L, and overlaps against steps."""
    L = data["L"].values
    shown = L[np.unique(np.linspace(0, len(L) - 1, SHOWN).astype(int))]
    figure, axes = panels(1, 1 + len(shown), size=(4.3, 3.7))
    for i, network in enumerate(data["network"].values):
        points(
            axes[0, 0], L, end(data, network), str(network), i, linestyle=("-", "--", "-.", ":")[i]
        )
    for i, network in enumerate(data["flow_network"].values):
        axes[0, 0].plot(
            L,
            data["flow"].sel(flow_network=network),
            color="black",
            linewidth=0.8,
            linestyle=":",
            label="flow" if i == 0 else None,
        )
    axes[0, 0].set(
        xscale="log",
        xlabel="sequence length $L$",
        ylabel="overlap at the end, median",
        title=rf"$\gamma$ = {float(data['lr']):g}, $d$ = {int(data['d'])}",
    )
    legend(axes[0, 0], BARS.format(data.sizes["run"]))
    for ax, length in zip(axes[0, 1:], shown, strict=True):
        for i, network in enumerate(data["network"].values):
            curve(ax, data["overlap"].sel(network=network, L=length), str(network), i)
        ax.set(
            xscale="log",
            xlabel=r"step $\tau$",
            ylabel=r"$|m|$, untied $\Vert m\Vert/\sqrt{L}$",
            title=f"$L$ = {length}",
        )
        legend(ax, BANDS.format(data.sizes["run"]))
    for ax in axes.flat:
        ax.grid(alpha=0.25)
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge whether a rate L times larger still learns at the largest L."""
    first, last = data["L"].values[[0, -1]]
    tied = end(data, "tied, lr")[-1]
    learnt = less(2 / float(data["d"]) ** 0.5, tied).so_far(
        "the tied network has not come beyond 2/sqrt d in these steps"
    )
    large = (
        learnt
        if last >= LARGE
        else unknown(f"the largest L is {last}, and claims on large L need {LARGE}")
    )
    out = []
    readings = {
        "untied, lr L": (
            "by rows at lr L, which makes up for the L times slower drift",
            "drift is that of the tied network at lr, the inhibitive term of a row (lr L)^2 / L = "
            "L times larger (*ours*)",
        ),
        "untied, flattened, lr L": (
            "as a flattened vector of norm sqrt d at lr L, which is lr L^2 on rows",
            "drift is L, the inhibitive term L^3 times that of the tied network at lr",
        ),
    }
    for network, (words, why) in readings.items():
        found = end(data, network)[-1]
        measured = (
            f"median overlap at the end {found} at L = {last}, {end(data, network)[0]} at L = "
            f"{first}; tied at lr: {tied}"
        )
        claim = (
            f"{words}, the untied network is beyond its bound and learns less than the tied one "
            "at large L"
        )
        out.append(
            finding(
                claim,
                measured,
                less(found, tied).given(large),
                f"agree if its interval lies below the tied one; {why}",
            )
        )
    along, flow = end(data, "untied, lr L"), data["flow"].sel(flow_network="untied, lr L").values
    spread = np.sqrt(flow**2 + 1 / float(data["d"]))
    inside = every(
        between(m, 0.98 * f, 1.02 * g) for m, f, g in zip(along, flow, spread, strict=True)
    )
    none = (
        ", so there is no rate at which learning stops at once (SIE 1), but a lower and lower "
        "plateau"
        if int(data["sie"]) == 1
        else ""
    )
    bound = " theory.largest_lr is infinite: the gradient at m = 0 does not vanish" if none else ""
    out.append(
        finding(
            "*ours*: by rows at lr L it does what the tied flow at lr L does in L times fewer "
            f"steps{none}",
            "; ".join(
                f"L = {int(L)}: {m}, flow {f:.3g} to {g:.3g}"
                for L, m, f, g in zip(data["L"].values, along, flow, spread, strict=True)
            ),
            inside.given(learnt)
            if last > 1
            else unknown("at L = 1 alone both are the same network"),
            "from the flow m to sqrt(m^2 + 1/d), for at these rates rows diffuse, each by up to "
            f"1/sqrt d, and ||m||/sqrt L has it; tolerance 2 %.{bound}",
        )
    )
    still = end(data, "untied, lr")[-1]
    slower = "at lr the untied network is L times slower than the tied one"
    out.append(
        finding(
            slower,
            f"median overlap at the end {still} at L = {last}, tied {tied}",
            less(still, tied.times(0.5)).given(large),
            "slower: interval below half of the tied one",
        )
    )
    return out


def words(s: BeyondBound) -> tuple[str, str]:
    """Return title and caption for these settings."""
    paper = (
        " We do not know which target the paper uses; SIE 1 is the one that is learnt in so "
        "few steps."
        if s.link == "sum"
        else ""
    )
    return (
        "The untied network beyond its bound",
        "The untied relu network at a learning rate L times that of the tied one, for a target "
        f"of SIE {_sie(s.link)}, y = sum_l {FORMULAS[s.link]} / sqrt L, plain square loss, from "
        "m_0 = 1/sqrt d, by rows and as a flattened vector, together with both networks at equal "
        "rates. "
        "Lines are medians over runs, bands the 10 to 90 % quantiles, bars are 95 % intervals of "
        f"medians.{paper}",
    )


FIGURE = Figure(
    name="9",
    title="The untied network beyond its bound",
    about=words(BeyondBound())[1],
    quick=BeyondBound(d=500, steps=1700, lengths=(1, 5, 20, 100)),
    full=BeyondBound(),
    compute=compute,
    draw=draw,
    judge=judge,
    words=words,
)
