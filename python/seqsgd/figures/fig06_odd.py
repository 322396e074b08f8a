"""Figure 6: odd targets without and with an injected encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import Injected, LogSpaced, Overlap
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import Measured, middle
from ..report.verdicts import Answer, fact, finding, less
from .fig01_landscapes import index, line, target, task, written
from .style import BANDS, curve, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


@dataclass(frozen=True)
class Odd(Settings):
    """Settings: He_k(z_1) + He_k(z_2), k in `degrees`, with `c` injected to both tokens; `steps`
    and `lrs` for each k.

    Runs start at m_0 = -`starts` / sqrt d, the side on which the risk falls for c > 0.
    """

    degrees: tuple[int, ...] = (1, 3)
    c: float = 1.0
    points: int = 201
    d: int = 1000
    steps: tuple[int, ...] = (400_000, 5_000_000)
    lrs: tuple[float, ...] = (0.05, 0.02)
    starts: tuple[float, ...] = (1.0, 3.0)
    runs: int = 16

    def check(self) -> None:
        """Refuse targets that are not odd, and an empty encoding."""
        for k in self.degrees:
            if k % 2 == 0:
                raise ValueError(f"settings.degrees: expected odd numbers, got {k}")
        self._alike("degrees", "steps", "lrs", "starts")
        self._positive("c", "lrs", "starts")
        self._least(1, "d", "steps", "runs")
        self._least(3, "points")


def compute(s: Odd, runner: Runner) -> xr.Dataset:
    """Compute risks and overlaps of both students."""

    m = np.linspace(-1, 1, s.points)
    parts = []
    for k, steps, lr, start in zip(s.degrees, s.steps, s.lrs, s.starts, strict=True):
        students = [task(k), task(k, Injected([s.c, s.c]))]
        base: dict[str, Any] = {
            "task": students[0],
            "d": s.d,
            "steps": steps,
            "lr": lr,
            "runs": s.runs,
            "dynamics": "reduced",
            "record": LogSpaced(20),
            "init": Overlap(-start / s.d**0.5),
        }
        found = runner.sweep(
            base,
            {
                "task": {
                    "labels": dict(zip(("none", "injected"), students, strict=True)),
                    "name": "encoding",
                }
            },
            s.seed + k,
        )
        kappa = [theory.flatness_index(t).kappa or 0 for t in students]
        part = xr.Dataset(
            {
                "risk": (
                    ("encoding", "at"),
                    [theory.risk(t, m=m, hessian=False).value for t in students],
                ),
                "kappa": (
                    "encoding",
                    kappa,
                    {"long_name": "flatness index, 0: none up to order 8"},
                ),
                "sie": int(theory.sie(target(k))),
                "lr": lr,
                "start": -start / s.d**0.5,
                "last": steps,
            },
            coords={"at": m, "encoding": ["none", "injected"]},
        )
        parts.append(part.merge(xr.Dataset({"m": found["m"]})).expand_dims(degree=[k]))
    joined: xr.Dataset = xr.concat(parts, dim="degree", join="outer")
    return joined.assign_coords(c=s.c, d=s.d)


def draw(data: xr.Dataset) -> Picture:
    """Draw a row for each target: the risk, and the overlap against steps."""
    figure, axes = panels(len(data["degree"]), 2, size=(5.0, 3.5))
    labels = {"none": "no encoding", "injected": f"injected $c$ = {float(data['c']):g}"}
    for row, k in zip(axes, data["degree"].values, strict=True):
        here = data.sel(degree=k)
        for i, encoding in enumerate(data["encoding"].values):
            line(
                row[0],
                data["at"].values,
                here["risk"].sel(encoding=encoding).values,
                labels[encoding],
                i,
            )
            curve(row[1], here["m"].sel(encoding=encoding), labels[encoding], i)
        row[0].set_title(rf"$He_{k}(z_1) + He_{k}(z_2)$")
        row[1].set(
            xscale="log",
            xlabel=r"step $\tau$",
            ylabel="overlap $m$",
            title=rf"$d$ = {int(data['d'])}, $\gamma$ = {float(here['lr']):g}",
            ylim=(-1.05, 0.3),
        )
        row[1].grid(alpha=0.25)
        legend(row[0])
        legend(row[1], BANDS.format(here.sizes["run"]))
    return figure


def _end(data: xr.Dataset, k: int, encoding: str) -> Measured:
    """Return m of all runs at the last step of this target."""
    here = data.sel(degree=k, encoding=encoding)
    return middle(here["m"].isel(step=here["step"].values == float(here["last"])))


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge whether attention, which is even in z, cannot see odd targets until something breaks
    the symmetry.
    """
    out = []
    for k in data["degree"].values:
        here = data.sel(degree=k)
        flat, sie = here["risk"].sel(encoding="none").values, float(here["sie"])
        none, injected = _end(data, k, "none"), _end(data, k, "injected")
        few = "" if flat.size >= POINTS else f"R is known at {flat.size} points only"
        claim = (
            f"He_{k} + He_{k}: without encoding attention, which is even in z, cannot see an odd "
            "target"
        )
        why = (
            "agree if R is constant within 1e-8 and the median of m ends less than half as far "
            "from 0 as with the encoding; what moves it is diffusion"
        )
        answer = fact(np.ptp(flat) < 1e-8, flat, lacking=few) & less(
            injected.times(0.5), none
        ).given(_moved(injected))
        out.append(
            finding(
                claim,
                f"R(m) varies by {np.ptp(flat):.1e}; m at the end {none}, with the encoding "
                f"{injected}",
                answer,
                why,
            )
        )
        kappa = index(here["kappa"].sel(encoding="injected"))
        claim = (
            f"He_{k} + He_{k}: an injected encoding makes it learnable, with the exponent of the "
            f"target, {sie:g}"
        )
        why = (
            f"runs start at m_0 = {float(here['start']):.3f}, where the risk falls towards m = -1 "
            "(c > 0); agree if the median's interval ends below -0.5"
        )
        answer = fact(kappa == sie, kappa, sie) & _moved(injected)
        out.append(
            finding(claim, f"flatness index {written(kappa)}; m at the end {injected}", answer, why)
        )
    return out


POINTS = 10  # of R(m), on which it is said to be constant


def _moved(injected: Measured) -> Answer:
    return less(injected, -0.5).so_far("with the encoding it has not been learnt in these steps")


FIGURE = Figure(
    name="6",
    title="Odd targets and the injected encoding",
    about="Trace attention, L = 2, half square loss, learns He_k(z_1) + He_k(z_2) for odd k, "
    "without an encoding and with the same constant c added to all fields. Left: the risk R(m). "
    "Right: overlaps of SGD with the reduced dynamics (lines are medians over runs, bands the 10 "
    "to 90 % quantiles).",
    quick=Odd(d=200, steps=(80_000, 800_000), runs=16),
    full=Odd(),
    compute=compute,
    draw=draw,
    judge=judge,
)
