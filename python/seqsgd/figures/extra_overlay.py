"""Sampled runs, reduced runs and the flow in one plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._lazy import xarray as xr
from .._outcome import size
from ..models import SSI, At, Attention, Opposite, Overlap, PositionalSemantic, Task, Tied, Untied
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import count, few
from ..report.verdicts import every, fact, finding, same_law
from ..simulate import simulate
from .style import COLOURS, MARKERS, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

# standard errors that a gap of 0 is passed with probability 5e-4 once, below 2 % at forty dependent
# times
ERRORS = 3.5
PLACES = (0.25, 0.5, 1.0)  # parts of the time at which laws are compared


@dataclass(frozen=True)
class Overlaid(Settings):
    """Settings: `times` and `lrs` of the four tasks, times t = lr tau / d.

    The reduced dynamics also runs at `far` times d.
    """

    d: int = 1000
    m0: float = 0.2
    times: tuple[float, ...] = (5.0, 20.0, 25.0, 40.0)
    lrs: tuple[float, ...] = (0.2, 0.2, 1.0, 0.4)
    sampled: int = 32
    reduced: int = 256
    far: int = 64
    far_runs: int = 64
    records: int = 40

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        number = len(tasks())
        for name in ("times", "lrs"):
            if len(getattr(self, name)) != number:
                raise ValueError(
                    f"settings.{name}: expected {number} values, one for each task, got "
                    f"{len(getattr(self, name))}"
                )
        self._positive("times", "lrs")
        self._least(1, "d", "sampled", "reduced", "far", "far_runs", "records")
        for i, (t, lr) in enumerate(zip(self.times, self.lrs, strict=True)):
            if round(t * self.d / lr) < self.records:
                raise ValueError(
                    f"settings.records: expected at most {round(t * self.d / lr)}, the steps of "
                    f"task {i + 1} (time d / lr), got {self.records}"
                )


def tasks() -> dict[str, Task]:
    """Return the tasks that are compared."""
    link = SSI("sum_h2", L=4, scale="1/sqrt(L)")
    return {
        "tied relu": Task(link, Tied("relu")),
        "untied relu": Task(link, Untied("relu")),
        "trace attention": Task(link, Attention("trace")),
        "matrix attention, opposite positions": Task(
            PositionalSemantic(omega=0.3), Attention(position=Opposite())
        ),
    }


def compute(s: Overlaid, runner: Runner) -> xr.Dataset:
    """Compute overlaps at the same times by all three."""

    parts = []
    for i, (name, task) in enumerate(tasks().items()):
        steps = round(s.times[i] * s.d / s.lrs[i])
        record = At(sorted({round(steps * k / s.records) for k in range(s.records + 1)}))
        base: dict[str, Any] = {
            "task": task,
            "d": s.d,
            "steps": steps,
            "lr": s.lrs[i],
            "init": Overlap(s.m0),
            "record": record,
        }
        part: dict[str, Any] = {}
        for kind, runs, factor in (
            ("sampled", s.sampled, 1),
            ("reduced", s.reduced, 1),
            ("far", s.far_runs, s.far),
        ):
            grown = At([n * factor for n in record.steps])
            cell = {
                **base,
                "d": s.d * factor,
                "steps": steps * factor,
                "record": grown,
                "dynamics": "sampled" if kind == "sampled" else "reduced",
                "runs": runs,
            }
            found = runner.sweep(cell, {"lr": [s.lrs[i]]}, s.seed + i).isel(lr=0, drop=True)
            part[f"m_{kind}"] = (
                ("time", f"run_{kind}"),
                size(found["m"]).transpose("step", "run").values,
            )
        flow = simulate(**base, dynamics="flow", progress=False).dataset
        part["m_flow"] = (("time",), size(flow["m"]).values.reshape(-1))
        t = np.array(record.steps) * s.lrs[i] / s.d
        parts.append(xr.Dataset(part).assign(t=("time", t)).expand_dims(task=[name]))
    joined: xr.Dataset = xr.concat(parts, dim="task")
    return joined.assign_coords(d=s.d, far_d=s.d * s.far)


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel for each task."""
    figure, axes = panels(2, 2, size=(5.0, 3.5))
    for ax, name in zip(axes.flat, data["task"].values, strict=True):
        here = data.sel(task=name)
        t = here["t"].values
        for i, (kind, label) in enumerate(
            (
                ("reduced", f"reduced, {data.sizes['run_reduced']} runs"),
                ("sampled", f"sampled, {data.sizes['run_sampled']} runs"),
            )
        ):
            runs = here[f"m_{kind}"].values
            runs = np.where(
                np.isfinite(runs).all(axis=1, keepdims=True), runs, np.nan
            )  # no quantiles of those that are left
            low, middle, high = np.quantile(runs, [0.1, 0.5, 0.9], axis=1)
            if kind == "reduced":
                ax.fill_between(
                    t,
                    low,
                    high,
                    color=COLOURS[0],
                    alpha=0.25,
                    linewidth=0,
                    label=f"{label}, 10-90 %",
                )
                ax.plot(t, middle, color=COLOURS[0], label="reduced, median")
            else:
                error = np.array([middle - low, high - middle])
                ax.errorbar(
                    t[::3],
                    middle[::3],
                    error[:, ::3],
                    color=COLOURS[1],
                    marker=MARKERS[i],
                    linestyle="none",
                    markersize=4,
                    capsize=2,
                    linewidth=0.9,
                    label=f"{label}, median, 10-90 %",
                )
        ax.plot(t, here["m_flow"], color="black", linestyle="--", label="flow", zorder=4)
        ax.set(
            xlabel=r"time $t = \gamma \tau / d$",
            ylabel=r"overlap $|m|$"
            if "untied" not in str(name)
            else r"overlap $\Vert m\Vert/\sqrt{L}$",
            title=name,
        )
        ax.grid(alpha=0.25)
    legend(axes[0, 0], fontsize="x-small", loc="upper left")
    figure.suptitle(f"d = {int(data['d'])}")
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge whether the laws are equal and the flow is the limit."""
    out = []
    for name in data["task"].values:
        here = data.sel(task=name)
        at = list(dict.fromkeys(round(part * (data.sizes["time"] - 1)) for part in PLACES))
        pairs = [(here["m_reduced"].isel(time=k), here["m_sampled"].isel(time=k)) for k in at if k]
        out.append(
            same_law(
                f"*ours*: {name}: reduced and sampled dynamics have the same law of the overlap",
                pairs,
            )
        )
    for name in data["task"].values:
        here = data.sel(task=name)
        said, answers = [], []
        for kind, d in (("reduced", int(data["d"])), ("far", int(data["far_d"]))):
            gap, error = gaps(here[f"m_{kind}"].values, here["m_flow"].values)
            allowed, runs = d**-0.5 + ERRORS * error, data.sizes[f"run_{kind}"]
            ratios = gap / allowed
            k = int(np.argmax(np.where(np.isnan(ratios), -1, ratios))) if len(ratios) else 0
            most = f"gap {gap[k]:.4f} +- {error[k]:.4f}" if len(ratios) else "no gap"
            said.append(f"{most} at d = {d} (1/sqrt d = {d**-0.5:.4f}), {count(runs)}")
            way = float(np.abs(here["m_flow"].values - here["m_flow"].values[0]).max())
            vacuous = (
                ""
                if way > 2 * allowed.max()
                else (
                    f"at d = {d} a gap of {allowed.max():.2g} is allowed, and the flow moves by "
                    f"{way:.2g} only"
                )
            )
            answers.append(fact((ratios < 1).all(), gap, error, lacking=few(runs) or vacuous))
        why = (
            "at the time with the largest ratio of gap to bound; agree if at both dimensions it "
            f"is below 1/sqrt d and {ERRORS:g} standard errors"
        )
        out.append(
            finding(
                f"{name}: the flow is the limit of the mean overlap as d grows",
                ", ".join(said),
                every(answers),
                why,
            )
        )
    return out


def gaps(runs: Any, flow: Any) -> tuple[Any, Any]:
    """Return the distance of the mean over runs to the flow, and the standard error of the mean, at
    all times after the start; NaN with a single run.
    """
    number = runs.shape[1]
    spread = runs.std(axis=1, ddof=1) if number > 1 else np.full(len(runs), np.nan)
    return np.abs(runs.mean(axis=1) - flow)[1:], (spread / np.sqrt(number))[1:]


FIGURE = Figure(
    name="overlay",
    title="Sampled, reduced and flow on one task",
    about="Four tasks from one start, m = 0.2, with three dynamics: sampled (every X is drawn), "
    "reduced (only order parameters) and the flow (limit of large d). Lines are medians "
    "over runs, bands the 10 to 90 % quantiles. The distributions are compared at a "
    "quarter, half and the whole of the time; the distance of the flow from the mean of "
    "reduced runs is measured at two dimensions.",
    quick=Overlaid(d=300, sampled=32, reduced=128, far=16, far_runs=32),
    full=Overlaid(),
    compute=compute,
    draw=draw,
    judge=judge,
)
