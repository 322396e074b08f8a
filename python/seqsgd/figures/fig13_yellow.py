"""Figure 13: a global semantic minimum that the first direction misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from ..models import LogSpaced
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, Measured, count, share
from ..report.verdicts import fact, finding, less
from ..theory.phases import REGIONS
from .escape import task
from .fig01_landscapes import TICKS
from .style import BANDS, curve, disc, legend, panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture

ARRIVED = 0.8


@dataclass(frozen=True)
class MissedMinimum(Settings):
    """Settings: `points` along each side of the grid of the risk."""

    omega: float = 0.95
    a: float = 0.76
    d: int = 1000
    lr: float = 5e-2
    steps: int = 100_000_000
    runs: int = 20
    points: int = 121

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._positive("lr", "a")
        self._least(1, "d", "steps", "runs")
        self._least(3, "points")


def compute(s: MissedMinimum, runner: Runner) -> xr.Dataset:
    """Compute trajectories for both losses, the risk on the disc, and the phase."""

    base: dict[str, Any] = {
        "task": task(s.omega, a=s.a),
        "d": s.d,
        "steps": s.steps,
        "lr": s.lr,
        "runs": s.runs,
        "dynamics": "reduced",
        "dtype": "float32",
        "record": LogSpaced(25),
    }
    paths = runner.sweep(base, {"task.loss": ["half_square", "frobenius"]}, s.seed)[
        ["m", "e"]
    ].rename({"task.loss": "loss"})
    landscape = theory.landscape(task(s.omega, a=s.a))
    x = np.linspace(-1, 1, s.points)
    E, M = np.meshgrid(x, x, indexing="ij")
    phase = theory.phase_diagram([s.a], [s.omega])
    value = {
        c: float(theory.risk(task(s.omega, a=s.a), e=e, m=m, hessian=False).value)
        for c, e, m in (("positional", 1.0, 0.0), ("semantic", 0.0, 1.0))
    }
    r = theory.risk(task(s.omega, a=s.a), e=0.0, m=0.0)
    assert r.hessian is not None
    data = paths.assign(
        risk=(("at", "at_m"), landscape.risk(E, M)),
        growth=("direction", [-float(r.hessian[0, 0]), -float(r.hessian[1, 1])]),
        pole=("direction", [value["positional"], value["semantic"]]),
    )
    minima = [c.point for c in landscape.critical if c.kind == "minimum"]
    data["minimum"] = (("which", "direction"), np.array(minima).reshape(-1, 2))
    return data.assign_coords(
        at=x,
        at_m=x,
        direction=["e", "m"],
        region=int(phase.region[0, 0]) + 1,
        omega=s.omega,
        a=s.a,
        d=s.d,
        lr=s.lr,
    )


def draw(data: xr.Dataset) -> Picture:
    """Draw trajectories on the risk, and overlaps against steps, for each loss."""
    figure, axes = panels(1, 3, size=(4.9, 4.2))
    x = data["at"].values
    filled = disc(axes[0, 0], x, data["risk"].values, 24, "Greys_r")
    figure.colorbar(filled, ax=axes[0, 0], label="risk $R(e, m)$, half square", shrink=0.8)
    colours = ("#D55E00", "#0072B2")
    for i, loss in enumerate(data["loss"].values):
        e, m = (
            data[letter].sel(loss=loss).transpose("run", "step").values for letter in ("e", "m")
        )
        for j in range(len(e)):
            axes[0, 0].plot(
                e[j],
                m[j],
                color=colours[i],
                linestyle=("-", "--")[i],
                linewidth=0.9,
                label=f"SGD, {loss.replace('_', ' ')}" if j == 0 else None,
            )
            axes[0, 0].plot(
                e[j, -1],
                m[j, -1],
                marker="os"[i],
                color=colours[i],
                markeredgecolor="black",
                markersize=5,
                zorder=5,
                clip_on=False,
            )
        for k, letter in enumerate(("m", "e")):
            curve(axes[0, 1 + i], abs(data[letter].sel(loss=loss)), f"$|{letter}|$", 2 + k)
        axes[0, 1 + i].set(
            xscale="log",
            xlabel=r"step $\tau$",
            ylabel="overlap",
            title=f"{loss.replace('_', ' ')} loss",
            ylim=(-0.02, 1.02),
        )
        axes[0, 1 + i].grid(alpha=0.25)
        legend(axes[0, 1 + i], BANDS.format(data.sizes["run"]), loc="upper left")
    axes[0, 0].set(
        xlabel="positional overlap $e$",
        ylabel="overlap $m$",
        aspect="equal",
        xticks=TICKS,
        yticks=TICKS,
        title=rf"$\omega$ = {float(data['omega']):g}, $a$ = {float(data['a']):g}, $d$ = "
        rf"{int(data['d'])}, $\gamma$ = {float(data['lr']):g}",
    )
    axes[0, 0].legend(fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 0.08))
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge the region, the first direction, and where runs end."""
    region, pole, grow = float(data["region"]), data["pole"].values, data["growth"].values
    there = f"omega = {float(data['omega']):g}, a = {float(data['a']):g}"
    name = (
        "not computed"
        if np.isnan(region)
        else f"region {region:.0f}, {REGIONS[int(region) - 1]}"
        if region
        else "neither pole a strict minimum"
    )
    claim = (
        f"{there} lies where the semantic minimum is global or unique, but the dynamics starts "
        "out towards the positional one (regions 3 and 4)"
    )
    out = [
        finding(
            claim,
            f"{name}; R at the poles: positional {pole[0]:.6f}, semantic {pole[1]:.6f}",
            fact(region in (3, 4), region, pole),
            "exact criteria of the phase diagram",
        ),
        finding(
            "the first direction is the positional one",
            f"growth rates along e {grow[0]:.4f}, along m {grow[1]:.4f}",
            fact(grow[0] > grow[1], grow),
            "second derivatives of the risk at the origin, half square loss",
        ),
    ]
    minima = ", ".join(f"({p[0]:.2f}, {p[1]:.2f})" for p in data["minimum"].values)
    for loss in data["loss"].values:
        here = data.sel(loss=loss)
        claim = (
            f"{loss.replace('_', ' ')} loss: SGD goes towards the positional pole first and only "
            "much later, if at all, to the semantic minimum"
        )
        first = _first(here)
        measured = f"|e| > |m| when ||(e, m)|| first is 0.5 in a share of {first}; {_ends(here)}"
        why = (
            "agree if surely more than half of the runs leave along e; at a pole means an "
            f"overlap above {ARRIVED}. Minima of the half square risk at {minima}"
        )
        out.append(finding(claim, measured, less(0.5, first), why))
    return out


def _ends(data: xr.Dataset) -> str:
    """Return where runs are at the end."""
    e, m = (np.abs(data[letter].isel(step=-1).values) for letter in ("e", "m"))
    here = np.isfinite(e) & np.isfinite(m)
    semantic, positional = (
        int((here & (a > b) & (a > ARRIVED)).sum()) for a, b in ((m, e), (e, m))
    )
    return (
        f"at the end semantic {semantic}, positional {positional}, between the poles "
        f"{int(here.sum()) - semantic - positional} of {int(here.sum())}"
    )


def _first(data: xr.Dataset) -> Measured:
    """Return the fraction of runs with |e| > |m| at their first record with ||(e, m)|| >= 0.5; the
    interval counts runs that did not reach it on either side.
    """
    e, m = (np.abs(data[letter].transpose("run", "step").values) for letter in ("e", "m"))
    out = np.hypot(e, m) >= 0.5
    left, runs = out.any(axis=1), len(e)
    rows, at = np.flatnonzero(left), out.argmax(axis=1)[left]
    basis = f"{len(rows)} of {count(runs)} came there"
    if not len(rows):
        return Measured(NAN, lacking=basis)
    along = int((e[rows, at] > m[rows, at]).sum())
    least, most = share(along, runs), share(along + runs - len(rows), runs)
    return Measured(along / len(rows), least.low, most.high, basis, least.lacking)


def words(s: MissedMinimum) -> tuple[str, str]:
    """Return title and caption for these settings."""
    paper = (s.omega, s.a) == (MissedMinimum().omega, MissedMinimum().a)
    return (
        "A semantic minimum that the first direction misses"
        if paper
        else f"Where SGD goes first at omega = {s.omega:g}, a = {s.a:g}",
        f"Softmax attention with opposite positions at omega = {s.omega:g}, a = {s.a:g}, from m_0 "
        "= 1/sqrt d, with the Frobenius loss of the authors' runs and the half square loss of "
        "the theory. Left: trajectories on the risk (half square). Middle and right: overlaps "
        "against steps (lines are medians over runs, bands the 10 to 90 % quantiles).",
    )


FIGURE = Figure(
    name="13",
    title="A semantic minimum that the first direction misses",
    about=words(MissedMinimum())[1],
    quick=MissedMinimum(d=100, steps=3_000_000, runs=16, points=81),
    full=MissedMinimum(),
    compute=compute,
    draw=draw,
    judge=judge,
    words=words,
)
