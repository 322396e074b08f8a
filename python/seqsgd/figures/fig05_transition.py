"""Figures 5 and 12: which minimum is learnt, against omega."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import scipy
from .._lazy import xarray as xr
from ..models import LogSpaced
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, Measured, count, crossing, share
from ..report.verdicts import against, finding, same_law, unknown
from .escape import semantic_share, task
from .fig01_landscapes import TICKS
from .style import COLOURS, STYLES, disc, legend, panels, points, reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

DECIDED = 0.5  # a run whose ||(e, m)|| stays below this has learnt neither


@dataclass(frozen=True)
class Transition(Settings):
    """Settings: `rates` are learning rates, the authors' first; `omegas` is the number of values
    from 0 to 1.

    `surface_omega` is omega of the landscape, with `paths` trajectories. `law_omegas` is the number
    of points of the prediction. `check_*` belong to cells that the sampled dynamics repeats, with
    the half square loss and the last rate.
    """

    d: int = 1000
    steps: int = 300_000
    runs: int = 64
    omegas: int = 41
    rates: tuple[float, ...] = (0.05, 0.5)
    surface_omega: float = 0.67
    paths: int = 12
    law_omegas: int = 13
    check_omegas: tuple[float, ...] = (0.4, 0.65, 0.9)
    check_runs: int = 16
    check_steps: int = 30_000

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._positive("rates")
        self._least(1, "d", "steps", "runs", "paths", "check_runs", "check_steps")
        self._least(2, "omegas", "law_omegas")


def switch(loss: str) -> tuple[float, float]:
    """Return omega at which both directions leave the uninformative point equally fast (equal
    second derivatives of the risk), and its error.
    """

    def difference(omega: float) -> float:
        H = np.asarray(theory.risk(task(omega, loss), e=0.0, m=0.0).hessian)
        return float(H[0, 0] - H[1, 1])

    at = float(scipy.optimize.brentq(difference, 0.3, 0.95, xtol=1e-7))
    error = np.asarray(theory.risk(task(at, loss), e=0.0, m=0.0).hessian_error)
    return at, float(error[0, 0] + error[1, 1]) / abs(
        difference(at + 0.05) - difference(at - 0.05)
    ) * 0.1


def compute(s: Transition, runner: Runner) -> xr.Dataset:
    """Compute ends of all runs, trajectories, and the risk on the disc."""

    base: dict[str, Any] = {
        "task": task(0.5, "half_square"),
        "d": s.d,
        "steps": s.steps,
        "runs": s.runs,
        "lr": s.rates[0],
        "dynamics": "reduced",
        "record": [0, s.steps],
    }
    grid: dict[str, Any] = {
        "task.loss": ["half_square", "frobenius"],
        "lr": list(s.rates),
        "task.teacher.omega": {"linspace": [0.0, 1.0, s.omegas]},
    }
    end = (
        runner.sweep(base, grid, s.seed)
        .isel(step=-1, drop=True)[["m", "e"]]
        .rename({"task.loss": "loss"})
    )
    paths = (
        runner.sweep(
            {**base, "record": LogSpaced(40), "runs": s.paths, "lr": s.rates[-1]},
            {"task.loss": ["half_square", "frobenius"], "task.teacher.omega": [s.surface_omega]},
            s.seed + 1,
        )
        .isel(omega=0, drop=True)[["m", "e"]]
        .rename({"task.loss": "loss"})
    )
    check = {**base, "lr": s.rates[-1], "steps": s.check_steps, "record": [s.check_steps]}
    both = {
        name: runner.sweep(
            {
                **check,
                "dynamics": name,
                "runs": s.check_runs if name == "sampled" else 16 * s.check_runs,
            },
            {"task.teacher.omega": list(s.check_omegas)},
            s.seed + 2,
        )
        for name in ("reduced", "sampled")
    }
    switches = [switch(loss) for loss in ("half_square", "frobenius")]
    x = np.linspace(-1, 1, 121)
    e, m = np.meshgrid(x, x, indexing="ij")
    R = theory.landscape(task(s.surface_omega, "half_square")).risk(e, m)
    around = np.linspace(0.57, 0.87, s.law_omegas)
    law = [[semantic_share(w, s.d, lr) for w in around] for lr in s.rates]
    data = xr.Dataset(
        {
            "m": abs(end["m"]),
            "e": abs(end["e"]),
            "path_m": paths["m"].rename(step="path_step", run="path"),
            "path_e": paths["e"].rename(step="path_step", run="path"),
            "risk": (("grid_e", "grid_m"), R, {"long_name": "R(e, m), half square loss"}),
            "switch": (
                "loss",
                [at for at, _ in switches],
                {"long_name": "omega at which both directions are equally unstable"},
            ),
            "predicted": (
                ("lr", "law_omega"),
                law,
                {
                    "long_name": "share of semantic runs, half square loss, by the flow from a "
                    "start with noise"
                },
            ),
            "switch_error": ("loss", [error for _, error in switches]),
        },
        coords={"grid_e": x, "grid_m": x, "law_omega": around},
    )
    for name, values in both.items():
        for letter in ("m", "e"):
            data[f"{name}_{letter}"] = abs(values[letter].isel(step=-1, drop=True)).rename(
                run=f"run_{name}", omega="check_omega"
            )
    return data.assign_coords(d=s.d, surface_omega=s.surface_omega)


def pole_change(here: xr.Dataset) -> Measured:
    """Return omega at which the fraction of semantic runs crosses 1/2, for one loss and rate; None
    if a run has no end.
    """
    ends = here["m"].transpose("omega", "run").values + here["e"].transpose("omega", "run").values
    if without := int(np.isnan(ends).sum()):
        return Measured(NAN, lacking=f"{without} of {count(ends.size)} have no end")
    return crossing(here["omega"].values, semantic(here).sum("run").values, here.sizes["run"])


def semantic(data: xr.Dataset) -> xr.DataArray:
    """Return which runs are nearer to the semantic pole: dims (loss, lr, omega, run)."""
    return data["m"] > data["e"]


def undecided(data: xr.Dataset) -> xr.DataArray:
    """Return which runs are far from both poles."""
    return (data["m"] ** 2 + data["e"] ** 2) ** 0.5 < DECIDED


def draw(data: xr.Dataset) -> Picture:
    """Draw the landscape with trajectories, and the fraction of semantic runs for each loss."""
    figure, axes = panels(1, 3, size=(4.9, 4.3))
    _landscape(figure, axes[0, 0], data)
    counts, of = semantic(data).sum("run"), data.sizes["run"]
    omega = data["omega"].values
    for ax, loss in zip(axes[0, 1:], data["loss"].values, strict=True):
        for i, lr in enumerate(data["lr"].values):
            found = [share(int(c), of) for c in counts.sel(loss=loss, lr=lr).values]
            points(
                ax,
                omega,
                found,
                rf"$\gamma$ = {lr:g}",
                i,
                linestyle=STYLES[i],
                elinewidth=0.8,
                capsize=0,
                markersize=4,
            )
            still = undecided(data).sel(loss=loss, lr=lr).mean("run").values
            if still.any():
                ax.plot(
                    omega,
                    still,
                    color=COLOURS[i],
                    linestyle=":",
                    linewidth=1.2,
                    label=rf"below {DECIDED} at the end, $\gamma$ = {lr:g}",
                )
            if loss == "half_square":
                ax.plot(
                    data["law_omega"],
                    data["predicted"].sel(lr=lr),
                    color=COLOURS[i],
                    linestyle=STYLES[i],
                    linewidth=4,
                    alpha=0.3,
                    zorder=1,
                    label=rf"flow from a start with noise, $\gamma$ = {lr:g}",
                )
        at = float(data["switch"].sel(loss=loss))
        reference(ax, [at, at], [0, 1], f"equal second derivatives: {at:.3f}")
        ax.set(
            xlabel=r"weight $\omega$ of the positional target",
            ylabel="share of runs",
            title=f"$|m| > |e|$ at the end, {loss.replace('_', ' ')} loss,\n$d$ = "
            f"{int(data['d'])}, {of} runs a point",
            ylim=(-0.03, 1.03),
        )
        ax.grid(alpha=0.25)
        legend(ax, "bars: 95 % intervals", fontsize="x-small", loc="lower left")
    return figure


def _landscape(figure: Picture, ax: Any, data: xr.Dataset) -> None:
    x = data["grid_e"].values
    filled = disc(ax, x, data["risk"].values, 24, "Greys_r")
    bar = figure.colorbar(filled, ax=ax, label="risk $R(e, m)$, half square", shrink=0.8)
    bar.ax.locator_params(axis="y", nbins=5)
    for i, loss in enumerate(data["loss"].values):
        e, m = (
            data[f"path_{letter}"].sel(loss=loss).transpose("path", "path_step").values
            for letter in ("e", "m")
        )
        for j in range(len(e)):
            ax.plot(
                e[j],
                m[j],
                color=("#D55E00", "#56B4E9")[i],
                linestyle=STYLES[i],
                linewidth=1.0,
                label=f"SGD, {loss.replace('_', ' ')}" if j == 0 else None,
            )
            ax.plot(
                e[j, -1],
                m[j, -1],
                marker="os"[i],
                color=("#D55E00", "#56B4E9")[i],
                markeredgecolor="black",
                markersize=6,
                zorder=5,
                clip_on=False,
            )
    ax.set(
        xlabel="positional overlap $e$",
        ylabel="overlap $m$",
        title=rf"$\omega$ = {float(data['surface_omega']):g}, $a$ = 1, $\gamma$ = "
        rf"{float(data['lr'][-1]):g}",
        aspect="equal",
        xticks=TICKS,
        yticks=TICKS,
    )
    ax.legend(fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 0.06))


# the crossing is searched near a switch some hundredths away: a wider interval, or a law on a
# wider grid, says nothing
FINEST = 0.05


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge where the fraction crosses 1/2, for both losses and all rates, against the switch and
    the escape's law; and reduced against sampled.
    """
    out = []
    d = int(data["d"])
    for loss in data["loss"].values:
        name, at = loss.replace("_", " "), float(data["switch"].sel(loss=loss))
        for lr in data["lr"].values:
            here = data.sel(loss=loss, lr=lr)
            found, what = pole_change(here), "crosses 1/2 at omega ="
            still = (
                float(undecided(here).sel(omega=found.value, method="nearest").mean())
                if np.isfinite(found.value)
                else 0.0
            )
            if still > 0.1:
                why = (
                    f"{still:.0%} of the runs nearest to the crossing are still below {DECIDED} "
                    "at the end: |m| > |e| says little of the pole they will reach"
                )
                out.append(
                    finding(
                        f"{name} loss, lr {lr:g}: the pole that is learnt changes near the switch "
                        f"of the first direction, omega = {at:.3f}",
                        f"{what} {found}",
                        unknown(why),
                    )
                )
                continue
            why = (
                "tolerance 3 %. A start at m_0 = 1/sqrt d, e_0 = 0 favours m, and the noise "
                "smears: both fall only like 1 / log d"
            )
            out.append(
                against(
                    f"{name} loss, lr {lr:g}: the pole that is learnt changes at the switch of "
                    f"the first direction, omega = {at:.3f}",
                    found,
                    at,
                    what=what,
                    tolerance=0.03,
                    coarse=FINEST,
                    why=why,
                )
            )
            if loss == "half_square":
                law = crossing_of(data["law_omega"].values, data["predicted"].sel(lr=lr).values)
                words = f"at omega = {law:.3f}" if np.isfinite(law) else "where it predicts"
                out.append(
                    against(
                        f"*ours*: {name} loss, lr {lr:g}: half of the runs at d = {d} are "
                        f"semantic {words}, by the flow from a start with noise",
                        found,
                        law,
                        what=what,
                        tolerance=0.01,
                        coarse=FINEST,
                        why="tolerance 1 %, since d is finite",
                    )
                )
    reduced, sampled = (
        {letter: data[f"{kind}_{letter}"] for letter in ("m", "e")}
        for kind in ("reduced", "sampled")
    )
    pairs = [
        (reduced[letter].sel(check_omega=w), sampled[letter].sel(check_omega=w))
        for w in data["check_omega"].values
        for letter in ("m", "e")
    ]
    out.append(
        same_law("*ours*: reduced and sampled dynamics have the same law (half square)", pairs)
    )
    return out


def crossing_of(omega: Any, share: Any) -> float:
    """Return where a falling fraction first is 1/2, by linear interpolation; NaN if it never is, or
    between points farther apart than `FINEST`.
    """
    below = np.flatnonzero(np.asarray(share) < 0.5)
    if not below.size or below[0] == 0:
        return float("nan")
    i = below[0]
    if omega[i] - omega[i - 1] > FINEST + 1e-9:
        return float("nan")
    return float(np.interp(0.5, [share[i], share[i - 1]], [omega[i], omega[i - 1]]))


RATES = Transition().rates


def about(s: Transition) -> str:
    """Return the caption for these rates."""
    rates = (
        "the authors' learning rate and at ten times it"
        if s.rates == RATES
        else f"learning rate{'s' * (len(s.rates) > 1)} {', '.join(f'{r:g}' for r in s.rates)}"
    )
    return (
        "Softmax attention with opposite positions learns the target of figure 4 at a = 1, from "
        "m_0 = 1/sqrt d, for both losses: Frobenius as in the authors' runs, half square as in "
        "the theory. Left: the risk and trajectories from the origin, at the last rate. "
        "Middle and right: the share of runs that end nearer to the semantic pole (|m| > |e|) "
        f"with Wilson intervals (95 %), and those that have learnt neither (dotted), at {rates}."
    )


FIGURE = Figure(
    name="5",
    title="The transition from semantic to positional learning",
    about=about(Transition()),
    quick=Transition(omegas=11, runs=16, paths=6, law_omegas=7),
    full=Transition(),
    compute=compute,
    draw=draw,
    judge=judge,
    words=lambda s: (
        "The transition from semantic to positional learning"
        + (f" at d = {s.d}" if s.d != Transition().d else ""),
        about(s),
    ),
)
