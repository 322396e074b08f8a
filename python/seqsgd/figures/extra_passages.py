"""Laws of first passages over dimensions and starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Attention, Overlap, Task, Tied, Uniform, Untied, WeakRecovery
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, Measured, arrived, count, median, passage
from ..report.verdicts import against
from ..results.passages import FirstPassage
from .style import COLOURS, STYLES, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

ETA = 0.5
TAILS = 20  # fewest runs with two on either side of the quantiles of 10 and 90 %
CHANCES = np.linspace(0.005, 0.995, 100)


@dataclass(frozen=True)
class Laws(Settings):
    """Settings: `lrs` of the three tasks; runs have `patience` times the predicted median steps."""

    ds: tuple[int, ...] = (1000, 10_000, 100_000)
    lrs: tuple[float, ...] = (0.2, 0.2, 1.0)
    runs: int = 128
    patience: float = 4.0

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        if len(self.lrs) != len(tasks()):
            raise ValueError(
                f"settings.lrs: expected {len(tasks())} values, one for each task, got "
                f"{len(self.lrs)}"
            )
        self._positive("lrs", "patience")
        self._least(2, "ds")
        self._least(1, "runs")


def tasks() -> dict[str, Task]:
    """Return targets of SIE 2."""
    link = SSI("sum_h2", L=2, scale="1/sqrt(L)")
    return {
        "tied relu": Task(link, Tied("relu")),
        "untied relu": Task(link, Untied("relu")),
        "trace attention": Task(link, Attention("trace")),
    }


STARTS: dict[str, Overlap | Uniform] = {"1/sqrt d": Overlap(), "uniform": Uniform()}
WORDS = {"1/sqrt d": r"$m_0 = 1/\sqrt{d}$", "uniform": "at random"}


def compute(s: Laws, runner: Runner) -> xr.Dataset:
    """Compute passages and the predicted quantiles."""

    rows = []
    for (name, task), lr in zip(tasks().items(), s.lrs, strict=True):
        for start, init in STARTS.items():
            for d in s.ds:
                law = theory.weak_recovery(task, d=d, lr=lr, eta=ETA, init=init, noise=True)
                steps = math.ceil(s.patience * law.median)
                base: dict[str, Any] = {
                    "task": task,
                    "d": d,
                    "steps": steps,
                    "lr": lr,
                    "runs": s.runs,
                    "init": init,
                    "dynamics": "reduced",
                    "dtype": "float32",
                    "record": [0],
                    "stop": WeakRecovery(ETA, halt=True),
                }
                found = runner.sweep(base, {"d": [d]}, s.seed).isel(d=0, drop=True)
                row = xr.Dataset(
                    {
                        "passed": found["weak_recovery"],
                        "ended": found["steps_done"],
                        "predicted": ("chance", [law.quantile(float(p)) for p in CHANCES]),
                    }
                )
                rows.append(row.expand_dims(task=[name], start=[start], d=[d]))
    joined: xr.Dataset = xr.combine_by_coords(rows)  # type: ignore[assignment]
    return joined.assign_coords(chance=CHANCES)


def draw(data: xr.Dataset) -> Picture:
    """Draw survival curves, steps over d log d, with their predictions."""
    figure, axes = panels(len(STARTS), len(tasks()), size=(4.4, 3.5), sharey=True)
    for row, start in zip(axes, STARTS, strict=True):
        for ax, name in zip(row, tasks(), strict=True):
            for i, d in enumerate(data["d"].values):
                here = data.sel(task=name, start=start, d=d)
                unit = d * math.log(d)
                if (p := passage(here["passed"], here["ended"])) is None:
                    continue
                curve = p.curve(0.95)
                ax.step(
                    curve.step / unit,
                    curve.survival,
                    where="post",
                    color=COLOURS[i % len(COLOURS)],
                    linestyle=STYLES[i % len(STYLES)],
                    label=f"$d$ = {d:,}".replace(",", " "),
                )
                ax.fill_between(
                    curve.step / unit,
                    curve.low,
                    curve.high,
                    step="post",
                    color=COLOURS[i % len(COLOURS)],
                    alpha=0.2,
                    linewidth=0,
                )
            last = data.sel(task=name, start=start, d=data["d"].values[-1])
            ax.plot(
                last["predicted"] / unit,
                1 - last["chance"],
                color="black",
                linewidth=1.1,
                linestyle=(0, (1, 1)),
                label="predicted, largest $d$",
            )
            ax.set(
                xlabel=r"steps / ($d \log d$)",
                title=f"{name}, start {WORDS[start]}",
                xlim=(0, None),
            )
            ax.grid(alpha=0.25)
        row[0].set_ylabel(rf"share of runs below $\eta$ = {ETA}")
    legend(axes[0, 0], f"Kaplan-Meier, 95 % bands, {data.sizes['run']} runs")
    return figure


def _widths(p: FirstPassage, draws: int = 1000) -> Any:
    """Return distances of the 10 % and 90 % quantiles of bootstrap samples; censored runs count as
    later than all.
    """
    steps = np.where(p.reached, p.step.astype(float), np.inf)
    drawn = np.random.default_rng(0).choice(steps, (draws, p.runs))
    low, high = np.quantile(drawn, [0.1, 0.9], axis=1, method="inverted_cdf")
    return np.where(np.isfinite(low), high, np.inf) - np.where(np.isfinite(low), low, 0.0)


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge medians and shape against the law of the flow from a start with noise."""
    out = []
    for name in tasks():
        for start in STARTS:
            d = int(data["d"].values[-1])
            here = data.sel(task=name, start=start, d=d)
            p = passage(here["passed"], here["ended"])
            at = int(np.argmin(np.abs(CHANCES - 0.5)))
            law = float(here["predicted"].isel(chance=at))
            claim = (
                f"*ours*: {name}, start {start}: median step {law:.3g} at d = {d:.3g} by the flow "
                "from a start with noise"
            )
            out.append(
                against(
                    claim, median(p), law, what="median step", tolerance=0.05, why="tolerance 5 %"
                )
            )
            low, high = (float(np.interp(c, CHANCES, here["predicted"])) for c in (0.1, 0.9))
            what = "distance of the 10 % and 90 % quantiles over the predicted one"
            out.append(
                against(
                    f"*ours*: {name}, start {start}: the width of its distribution",
                    width(p, high - low),
                    1.0,
                    what=what,
                    tolerance=0.1,
                    why="tolerance 10 %",
                )
            )
    return out


def width(p: FirstPassage | None, predicted: float) -> Measured:
    """Return the distance of the 10 % and 90 % quantiles of passages over the predicted one, with a
    bootstrap over runs.
    """
    if p is None or not predicted > 0:
        return Measured(NAN, lacking=arrived(p) if predicted > 0 else "no predicted width")
    low, high = (float(q) for q in p.quantile([0.1, 0.9]))
    if not math.isfinite(high):
        return Measured(math.inf, lacking=arrived(p))
    drawn = _widths(p)
    ends = np.quantile(drawn, [0.025, 0.975], method="closest_observation") / predicted
    lacking = (
        "" if p.runs >= TAILS else f"{count(p.runs)}, and quantiles of 10 and 90 % need {TAILS}"
    )
    return Measured((high - low) / predicted, float(ends[0]), float(ends[1]), arrived(p), lacking)


FIGURE = Figure(
    name="passages",
    title="Laws of first passages",
    about="Survival curves (Kaplan-Meier, 95 % bands) of the step at which the overlap first is "
    f"{ETA}, y = sum_l h2(z_l) / sqrt L, L = 2, half square loss, for three students and "
    "two starts, in units of d log d, with the prediction of the flow from a start that is "
    "widened by the noise of single samples (*ours*).",
    quick=Laws(ds=(1000, 10_000), runs=64),
    full=Laws(),
    compute=compute,
    draw=draw,
    judge=judge,
)
