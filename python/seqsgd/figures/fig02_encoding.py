"""Figure 2: a positional encoding lowers the exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Attention, Hermite, LogSpaced, Opposite, Task, WeakRecovery
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import arrived, median, middle, passage, power, slope
from ..report.verdicts import Answer, against, fact, finding, unknown
from ..results.passages import FirstPassage
from .fig01_landscapes import disc, index, line, written
from .style import BANDS, curve, legend, panels, points, reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

ETA = 0.3


@dataclass(frozen=True)
class Encoding(Settings):
    """Settings: `lr` is fixed, at about a quarter of the largest; runs have `patience` times the
    predicted median steps of the encoded student.
    """

    ds: tuple[int, ...] = (100, 200, 400, 800, 1600)
    lr: float = 0.006
    runs: int = 64
    patience: float = 4.0
    curve_d: int = 800
    points: int = 121

    def check(self) -> None:
        """Refuse curves at another d, and what cannot learn."""
        self._positive("lr", "patience")
        self._least(1, "ds")
        self._least(1, "runs")
        self._least(3, "points")
        if self.curve_d not in self.ds:
            raise ValueError(f"settings.curve_d: expected one of ds, got {self.curve_d}")


def task(encoded: bool) -> Task:
    """Return the task: trace attention learns 4/3 + He_4(z_1) + 2 He_4(z_2)."""
    link = SSI(Hermite([(4 / 3, {}), (1.0, {1: 4}), (2.0, {2: 4})]), L=2)
    return Task(link, Attention("trace", position=Opposite() if encoded else None))


def compute(s: Encoding, runner: Runner) -> xr.Dataset:
    """Compute passages of both students for each d, curves for one d, and the landscapes."""

    names = ("none", "opposite")
    both = dict(zip(names, (task(False), task(True)), strict=True))
    parts = []
    for d in s.ds:
        law = theory.weak_recovery(both["opposite"], d=d, lr=s.lr, eta=ETA, noise=True)
        steps = math.ceil(s.patience * law.median)
        base: dict[str, Any] = {
            "task": both["none"],
            "d": d,
            "steps": steps,
            "lr": s.lr,
            "runs": s.runs,
            "dynamics": "reduced",
            "dtype": "float32",
            "record": [0],
            "stop": WeakRecovery(ETA, halt=True),
        }
        found = runner.sweep(base, {"task": {"labels": both, "name": "encoding"}}, s.seed)
        part = xr.Dataset(
            {
                "passed": found["weak_recovery"],
                "ended": found["steps_done"],
                "predicted": law.median,
                "horizon": steps,
            }
        )
        if d == s.curve_d:
            drawn = runner.sweep(
                {**base, "runs": 16, "record": LogSpaced(20), "stop": None},
                {"task": {"labels": both, "name": "encoding"}},
                s.seed + 1,
            )
            curves = xr.Dataset({"m": abs(drawn["m"]), "e": abs(drawn["e"])}).rename(
                run="curve_run"
            )
        parts.append(part.expand_dims(d=[d]))
    x = np.linspace(-1, 1, s.points)
    E, M = np.meshgrid(x, x, indexing="ij")
    data: xr.Dataset = xr.concat(parts, dim="d").merge(curves)
    data["line"] = ("at", theory.risk(both["none"], m=x, hessian=False).value)
    data["disc"] = (
        ("at", "at_m"),
        theory.landscape(both["opposite"]).risk(E, M),
    )
    fourth = theory.complexity(both["none"])
    assert fourth.leading is not None
    data["b"], data["b_error"] = fourth.leading.b, fourth.b_error
    data["kappa"] = ("encoding", [theory.flatness_index(t).kappa or 0 for t in both.values()])
    return data.assign_coords(
        at=x, at_m=x, lr=s.lr, curve_d=s.curve_d, sie=int(theory.sie(both["none"].teacher))
    )


def passages(data: xr.Dataset, encoding: str) -> list[FirstPassage | None]:
    """Return the passages in the order of d."""
    here = data.sel(encoding=encoding)
    return [passage(here["passed"].sel(d=n), here["ended"].sel(d=n)) for n in data["d"].values]


def draw(data: xr.Dataset) -> Picture:
    """Draw landscapes above; overlaps and steps below."""
    figure, axes = panels(2, 2, size=(5.2, 3.9))
    line(axes[0, 0], data["at"].values, data["line"].values)
    axes[0, 0].set_title(rf"no encoding: $\kappa$ = {int(data['kappa'].sel(encoding='none'))}")
    disc(figure, axes[0, 1], data["at"].values, data["disc"].values)
    axes[0, 1].set_title(
        rf"opposite encoding: $\kappa$ = {int(data['kappa'].sel(encoding='opposite'))}"
    )
    ax = axes[1, 0]
    for i, (letter, encoding, label) in enumerate(
        (
            ("e", "opposite", "$|e|$, opposite"),
            ("m", "opposite", "$|m|$, opposite"),
            ("m", "none", "$|m|$, no encoding"),
        )
    ):
        curve(ax, data[letter].sel(encoding=encoding), label, i)
    ax.axhline(ETA, color="black", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        xlabel=r"step $\tau$",
        ylabel="overlap",
        title=rf"$d$ = {int(data['curve_d'])}, $\gamma$ = {float(data['lr']):g}",
    )
    legend(ax, BANDS.format(data.sizes["curve_run"]))
    ax = axes[1, 1]
    d = data["d"].values
    points(
        ax, d, [median(p) for p in passages(data, "opposite")], "opposite, median, 95 % interval", 0
    )
    reference(ax, d, data["predicted"], "flow from a start with noise", 0)
    horizon = data["horizon"].values
    shares = np.isfinite(data["passed"].sel(encoding="none").transpose("d", "run").values).mean(
        axis=1
    )
    ax.plot(
        d,
        horizon,
        marker="v",
        linestyle="none",
        markerfacecolor="none",
        color="#D55E00",
        label="end of all runs; share that passed without encoding",
    )
    for at, end, part in zip(d, horizon, shares, strict=True):
        ax.annotate(
            f"{part:.0%}",
            (at, end),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            fontsize="small",
            color="#D55E00",
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="dimension $d$",
        ylabel=rf"step with $\Vert(e, m)\Vert \geq$ {ETA}",
    )
    ax.set_xticks(d, [str(n) for n in d])
    ax.xaxis.minorticks_off()
    ax.margins(y=0.15)
    legend(ax, f"{data.sizes['run']} runs", loc="lower right")
    for ax in axes[1]:
        ax.grid(alpha=0.25)
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge indices, growth of the steps with d, and the student without encoding."""
    none, opposite = (index(data["kappa"].sel(encoding=name)) for name in ("none", "opposite"))
    out = [
        finding(
            f"the SIE is {float(data['sie']):g}; the opposite encoding lowers the flatness index "
            "from 4 to 2",
            f"kappa = {written(none)} without, {written(opposite)} with",
            fact((none, opposite) == (4, 2), none, opposite),
            "coefficients of R at the origin, zero within 1e-8",
        )
    ]
    d = data["d"].values
    found, law = slope(d.tolist(), passages(data, "opposite")), power(d, data["predicted"].values)
    ends = {
        letter: middle(data[letter].sel(encoding="opposite").isel(step=-1)) for letter in ("e", "m")
    }
    claim = (
        f"with it weak recovery takes d log d steps: over these d a local exponent {law:.3f} by "
        "the flow from a start with noise"
    )
    why = (
        "tolerance 5 %, since d is finite. What recovers is the positional overlap: at the end of "
        f"the curves the medians are |e| = {ends['e']}, |m| = {ends['m']}"
    )
    out.append(against(claim, found, law, what="exponent of d", tolerance=0.05, why=why))
    last = data.sel(d=d[-1])
    b, error = float(data["b"]), float(data["b_error"])
    with np.errstate(invalid="ignore", divide="ignore"):
        times = float(last["ended"].sel(encoding="none").max() / last["predicted"])
    p = passages(data, "none")[-1]
    out.append(
        finding(
            "without it weak recovery takes d^3 steps, at learning rates of order 1/d",
            f"dm/dt = b m^3 - ... near m = 0 with b = {b:.4f} +- {error:.0e}; at d = {d[-1]} "
            f"{arrived(p)} within {times:.1f} times the median with it, at the same rate",
            attracts(b, error),
            "disagree if b is below 0 by three of its errors: then m = 0 attracts the flow at "
            "every learning rate, whatever time it is given, and only the noise of SGD at small d "
            "leads away from it",
        )
    )
    return out


def attracts(b: float, error: float) -> Answer:
    """Judge the claim of d^3 steps: it is false if m = 0 attracts the flow, and undecided
    otherwise.
    """
    drawn = fact(b >= -3 * error, b, error)
    return (
        drawn
        if drawn.holds is not True
        else unknown("b is not below 0, and no exponent was measured")
    )


FIGURE = Figure(
    name="2",
    title="A positional encoding lowers the exponent from 4 to 2",
    about="Trace attention, L = 2, half square loss, learns 4/3 + He_4(z_1) + 2 He_4(z_2) from "
    "m_0 = 1/sqrt d, without an encoding and with the opposite one; weak recovery at ||(e, "
    f"m)|| = {ETA}. Top: the risk, without and with it. Bottom: overlaps (lines are medians over "
    "runs, bands the 10 to 90 % quantiles) and median steps against d.",
    quick=Encoding(ds=(50, 100, 200), runs=32, curve_d=200, points=61),
    full=Encoding(),
    compute=compute,
    draw=draw,
    judge=judge,
)
