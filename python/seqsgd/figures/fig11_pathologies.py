"""Figure 11: targets that a tied network cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import theory
from ..models import SSI
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import noise_floor
from ..report.verdicts import finding, less
from .fig09_beyond_bound import end
from .gains import Comparison, curves, networks
from .style import BANDS, curve, legend, panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture


@dataclass(frozen=True)
class Pathologies(Settings):
    """Settings: z_1 - z_2 at `lengths` for `steps[0]` steps, (z_1^2 - z_2^2)/sqrt 2 at L = 2 for
    `steps[1]`.
    """

    d: int = 1000
    lr: float = 5e-3
    steps: tuple[int, ...] = (100_000, 1_000_000)
    runs: int = 16
    lengths: tuple[int, ...] = (2, 5, 10)

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        if len(self.steps) != len(LINKS):
            raise ValueError(
                f"settings.steps: expected {len(LINKS)} values, one for each target, got "
                f"{len(self.steps)}"
            )
        self._positive("lr")
        self._least(1, "d", "steps", "runs")
        self._least(2, "lengths")


LINKS = ("z1-z2", "h2_difference")


def compute(s: Pathologies, runner: Runner) -> xr.Dataset:
    """Compute overlaps against steps: `overlap` (L) of the first target, `overlap_2` of the second,
    with their own steps.
    """
    of = networks(s.lr)
    one, two = (
        curves(
            runner,
            Comparison(link, 1.0, "square", s.d, lengths, steps, s.runs),
            of,
            lengths,
            s.seed,
        )
        for link, lengths, steps in zip(LINKS, (s.lengths, (2,)), s.steps, strict=True)
    )
    return one.merge(
        two.isel(L=0, drop=True).rename(overlap="overlap_2", step="step_2")
    ).assign_coords(d=s.d, lr=s.lr)


def second(data: xr.Dataset) -> xr.Dataset:
    """Return the second target under the names of the first, L = 2."""
    return data[["overlap_2"]].rename(overlap_2="overlap", step_2="step").expand_dims(L=[2])


def draw(data: xr.Dataset) -> Picture:
    """Draw overlaps of both networks."""
    cases = [(rf"$z_1 - z_2$, $L$ = {L}", data[["overlap"]].sel(L=L)) for L in data["L"].values] + [
        (r"$(z_1^2 - z_2^2)/\sqrt{2}$, $L$ = 2", second(data).sel(L=2))
    ]
    figure, axes = panels(1, len(cases), size=(3.9, 3.5), sharey=True)
    for ax, (title, here) in zip(axes[0], cases, strict=True):
        for i, network in enumerate(here["network"].values):
            curve(ax, here["overlap"].sel(network=network), str(network), i)
        ax.set(xscale="log", xlabel=r"step $\tau$", title=title)
        ax.grid(alpha=0.25)
        legend(ax, BANDS.format(here.sizes["run"]))
    axes[0, 0].set_ylabel(r"$|m|$, untied $\Vert m\Vert/\sqrt{L}$")
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge whether the tied network stays at 1/sqrt d and the untied one learns."""
    out = []
    floor = noise_floor(float(data["d"]))
    for link, here in ((LINKS[0], data[["overlap"]]), (LINKS[1], second(data))):
        for j, L in enumerate(here["L"].values):
            tied, rows, flattened = (
                end(here, n)[j] for n in ("tied", "untied", "untied, flattened")
            )
            gain = theory.gain(SSI(link, L=int(L)), "relu")
            claim = (
                f"{link}, L = {L}: the tied network does not learn, since <C_k, 1^k> = "
                f"{gain.ones:.2g} (k = {gain.k}); the untied one does"
            )
            by_rows = less(floor, rows)
            learns = (by_rows | less(floor, flattened)).so_far(
                "the untied network has not learnt in these steps"
            )
            slow = (
                "; by rows it is under way, but L times slower than as a flattened vector of norm "
                "sqrt d, the paper's code"
                if by_rows.holds is False
                else ""
            )
            measured = (
                f"median overlaps at the end: tied {tied}, untied by rows {rows}, flattened "
                f"{flattened}"
            )
            why = (
                f"agree if the tied interval lies below 4/sqrt d = {floor.value:.2g} and the "
                f"untied one of either kind above{slow}"
            )
            out.append(finding(claim, measured, less(tied, floor) & learns, why))
    return out


FIGURE = Figure(
    name="11",
    title="Pathologies of tied weights",
    about="Targets whose first Hermite tensor vanishes along (1, ..., 1): z_1 - z_2, and (z_1^2 - "
    "z_2^2)/sqrt 2, learnt by relu networks with the plain square loss from m_0 = 1/sqrt d. "
    "For L > 2 the other tokens are noise. Lines are medians over runs, bands the 10 to 90 % "
    "quantiles.",
    quick=Pathologies(d=300, steps=(30_000, 300_000)),
    full=Pathologies(),
    compute=compute,
    draw=draw,
    judge=judge,
)
