"""Figures 7 and 8 from random starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._lazy import xarray as xr
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from .fig07_equal_rates import ABOUT, FIRST, EqualRates
from .fig07_equal_rates import compute as compute_one
from .fig07_equal_rates import judge as judge_one
from .gains import draw_curves, draw_gains
from .style import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LINKS = ("sum_h2", "sum")


@dataclass(frozen=True)
class RandomStarts(Settings):
    """Settings: dimensions, steps and lengths of the two targets, SIE 2 and SIE 1; their learning
    rates are those of figures 7 and 8.
    """

    ds: tuple[int, ...] = (3000, 1000)
    steps: tuple[int, ...] = (15_000_000, 100_000)
    patience: tuple[float, ...] = (8.0, 15.0)
    runs: int = 32
    lengths: tuple[int, ...] = (1, 2, 5, 10)
    curve_lengths: tuple[int, ...] = (1, 10)

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        for name in ("ds", "steps", "patience"):
            if len(getattr(self, name)) != len(LINKS):
                raise ValueError(
                    f"settings.{name}: expected {len(LINKS)} values, for SIE 2 and SIE 1, got "
                    f"{len(getattr(self, name))}"
                )
        self._positive("patience")
        self._least(1, "ds", "steps", "runs", "lengths", "curve_lengths")


def _one(s: RandomStarts, i: int) -> EqualRates:
    base = (EqualRates(), FIRST)[i]
    return replace(
        base,
        seed=s.seed + 10 * i,
        start="uniform",
        d=s.ds[i],
        steps=s.steps[i],
        patience=s.patience[i],
        runs=s.runs,
        lengths=s.lengths,
        curve_lengths=s.curve_lengths,
        check_L=0,
    )


def compute(s: RandomStarts, runner: Runner) -> xr.Dataset:
    """Compute the data of figure 7 for both targets."""

    parts = [
        compute_one(_one(s, i), runner).drop_vars("link").expand_dims(link=[link])
        for i, link in enumerate(LINKS)
    ]
    parts = [
        p.assign({"d": ("link", [int(p["d"])]), "lr": ("link", [float(p["lr"])])})
        for p in (q.reset_coords(["d", "lr"]) for q in parts)
    ]
    joined: xr.Dataset = xr.concat(parts, dim="link", join="outer")
    return joined


def _of(data: xr.Dataset, link: str) -> xr.Dataset:
    here = data.sel(link=link)
    return here.dropna("step", how="all", subset=["overlap"])


def draw(data: xr.Dataset) -> Picture:
    """Draw for each target overlaps of tied and untied weights, and the gain."""
    figure, axes = panels(2, 3, size=(4.4, 3.5))
    for row, (link, name) in zip(
        axes,
        zip(
            LINKS,
            (r"SIE 2: $\Sigma_l\, h_2(z_l)$", r"SIE 1: $\Sigma_l\, z_l/\sqrt{L}$"),
            strict=True,
        ),
        strict=True,
    ):
        here = _of(data, link)
        for ax, network in zip(row, ("tied", "untied"), strict=False):
            draw_curves(ax, here[["overlap"]].rename(curve_run="run"), network)
            ax.set_title(f"{name}, {network}")
        powers = {str(n): float(here["law"].sel(law_network=n)) for n in here["law_network"].values}
        draw_gains(
            row[2], here, {n: (p, f"$L^{{{p:.3g}}}$, predicted for {n}") for n, p in powers.items()}
        )
        row[2].set_title(rf"$\gamma$ = {float(here['lr']):g}, $d$ = {int(here['d'])}")
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge the claims of figures 7 and 8."""
    return [
        Finding(f"SIE {2 - i}, random start: {f.claim}", f.measured, f.verdict, f.why)
        for i, link in enumerate(LINKS)
        for f in judge_one(_of(data, link))
    ]


FIGURE = Figure(
    name="random-starts",
    title="Gain at equal learning rates from random starts",
    about="Figures 7 and 8 with weights that start uniformly on their spheres, so that every row "
    "has an overlap of either sign and of order 1/sqrt d. " + ABOUT,
    quick=RandomStarts(ds=(200, 200), steps=(600_000, 30_000), lengths=(1, 2, 5)),
    full=RandomStarts(),
    compute=compute,
    draw=draw,
    judge=judge,
)
