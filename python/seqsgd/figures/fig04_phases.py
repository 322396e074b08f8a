"""Figure 4: the phase diagram in (a, omega)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.verdicts import fact, finding
from .style import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

PAPER = 0.64  # the switch of the first direction at a = 1
FINE, WHOLE = (
    200,
    0.65,
)  # cells a side, and the least a, from which on what is not found is not there


@dataclass(frozen=True)
class Phases(Settings):
    """Settings: cells along a in [a_min, 1] and omega in [0, 1]; nothing here is random.

    Below a_min all is region 6.
    """

    cells: int = 400
    a_min: float = 0.65

    def check(self) -> None:
        """Refuse an empty plane."""
        self._least(2, "cells")
        self._positive("a_min")
        if not self.a_min < 1:
            raise ValueError(f"settings.a_min: expected a number < 1, got {self.a_min:g}")


def _diagram(s: Phases) -> theory.PhaseDiagram:
    return theory.phase_diagram(np.linspace(s.a_min, 1, s.cells), np.linspace(0, 1, s.cells))


def compute(s: Phases, runner: Runner) -> xr.Dataset:
    """Compute regions and boundaries."""

    found = _diagram(s)
    data = xr.Dataset(
        {
            "region": (
                ("a", "omega"),
                found.region + 1,
                {"long_name": "number of the region, 1 to 6; 0: neither pole is a strict minimum"},
            ),
            "between": (
                ("a", "omega"),
                found.between,
                {"long_name": "a minimum between the poles"},
            ),
            "boundary_error": ("boundary", list(found.boundary_error.values())),
        },
        coords={"a": found.a, "omega": found.omega, "boundary": list(found.boundary_error)},
    )
    for name, curve in found.boundaries.items():
        data[f"curve_{name}"] = ((f"point_{name}", "coordinate"), curve)
    return data.assign_coords(coordinate=["a", "omega"])


def draw(data: xr.Dataset) -> Picture:
    """Draw the regions and their boundaries."""
    figure, axes = panels(size=(9.2, 5.0))
    diagram = theory.PhaseDiagram(
        data["a"].values,
        data["omega"].values,
        (data["region"].values - 1).astype(np.int8),
        data["between"].values.astype(bool),
        {name: data[f"curve_{name}"].values for name in data["boundary"].values},
        dict(zip(data["boundary"].values, data["boundary_error"].values, strict=True)),
    )
    diagram.plot(axes[0, 0])
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge the six regions and the switch at a = 1."""
    curve, region, sliver = (
        data[name].values.astype(float) for name in ("curve_direction", "region", "between")
    )
    known = curve[np.isfinite(curve).all(axis=1)]
    at_one = known[np.abs(known[:, 0] - 1) < 1e-6, 1]
    switch = float(at_one[0]) if len(at_one) else float("nan")
    here = sorted(int(r) for r in np.unique(region[np.isfinite(region)]) if r > 0)
    cells, number = region.shape, float(sliver.sum())
    error = float(data["boundary_error"].max())
    coarse = ""
    if min(cells) < FINE or float(data["a"].min()) > WHOLE:
        coarse = (
            f"a grid of {cells[0]} x {cells[1]} cells from a = {float(data['a'].min()):g} on may "
            f"miss one; {FINE} x {FINE} from {WHOLE} on are enough"
        )
    six = here == list(range(1, 7))
    reason = (
        "a sliver near a = 0.76, omega = 0.97, where the risk is almost flat (hatched)"
        if number
        else ""
    )
    return [
        finding(
            "the plane of a and omega falls into six regions",
            f"regions found: {', '.join(map(str, here)) or 'none'}, on {region.size} cells",
            fact(six, region, lacking="" if six else coarse),
            "exact criteria at the poles",
        ),
        finding(
            f"at a = 1 the first direction turns from semantic to positional at omega = {PAPER}",
            f"{switch:.4f}" if np.isfinite(switch) else "not measured",
            fact(
                abs(switch - PAPER) < 0.005,
                switch,
                error,
                lacking="" if error < 0.005 else "its error is too large",
            ),
            f"root of a criterion, error at most {error:.0e}; the claim has two digits",
        ),
        finding(
            "minima on the sphere lie at the two poles",
            f"{number:.0f} of {region.size} cells have one between the poles",
            fact(number == 0, sliver, lacking="" if number else coarse),
            reason,
        ),
    ]


FIGURE = Figure(
    name="4",
    title="Phases of positional and semantic learning",
    about="The regions show which of the two poles is the global minimum of the risk, whether the "
    "other is a minimum too, and where the dynamics goes first, for softmax attention with "
    "opposite "
    "positions and the target "
    "(1 - omega) softmax(z* z*^T) + omega softmax([[a^2, -a^2], [-a^2, a^2]]); half square loss, "
    "gradient flow. There is no simulation: the risk is quadratic in (1 - omega, omega), so a few "
    "integrals are enough for all cells.",
    quick=Phases(cells=200),
    full=Phases(),
    compute=compute,
    draw=draw,
    judge=judge,
)
