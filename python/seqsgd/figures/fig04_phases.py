"""Figure 4: the phase diagram in (a, omega)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import theory
from .definition import Figure, Finding, Settings
from .laboratory import Laboratory
from .style import panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture

PAPER = 0.64  # the switch of the first direction at a = 1


@dataclass(frozen=True)
class Phases(Settings):
    """Cells along a in [a_min, 1] and omega in [0, 1]; nothing here is random. Below a_min all is region 6."""

    cells: int = 400
    a_min: float = 0.65


def _diagram(s: Phases) -> theory.PhaseDiagram:
    return theory.phase_diagram(np.linspace(s.a_min, 1, s.cells), np.linspace(0, 1, s.cells))


def compute(s: Phases, laboratory: Laboratory) -> xr.Dataset:
    """Regions and boundaries."""
    import xarray as xr

    found = _diagram(s)
    data = xr.Dataset(
        {
            "region": (("a", "omega"), found.region, {"long_name": "index into the six regions; -1: neither pole is a strict minimum"}),
            "between": (("a", "omega"), found.between, {"long_name": "a minimum between the poles"}),
            "boundary_error": ("boundary", list(found.boundary_error.values())),
        },
        coords={"a": found.a, "omega": found.omega, "boundary": list(found.boundary_error)},
    )
    for name, curve in found.boundaries.items():
        data[f"curve_{name}"] = ((f"point_{name}", "coordinate"), curve)
    return data.assign_coords(coordinate=["a", "omega"])


def draw(data: xr.Dataset) -> Picture:
    """The regions and their boundaries."""
    figure, axes = panels(size=(9.2, 5.0))
    diagram = theory.PhaseDiagram(
        data["a"].values,
        data["omega"].values,
        data["region"].values.astype(np.int8),
        data["between"].values.astype(bool),
        {name: data[f"curve_{name}"].values for name in data["boundary"].values},
        dict(zip(data["boundary"].values, data["boundary_error"].values, strict=True)),
    )
    diagram.plot(axes[0, 0])
    return figure


def judge(data: xr.Dataset) -> list[Finding]:
    """Six regions; the switch at a = 1."""
    curve = data["curve_direction"].values
    switch = float(curve[np.argmax(curve[:, 0]), 1])
    here = sorted({int(r) for r in np.unique(data["region"].values)} - {-1})
    sliver, cells = int(data["between"].sum()), data["between"].size
    error = float(data["boundary_error"].max())
    return [
        Finding("the plane of a and omega falls into six regions", f"regions found: {', '.join(str(r + 1) for r in here)}", "agree" if here == list(range(6)) else "disagree", "exact criteria at the poles"),
        Finding(
            f"at a = 1 the first direction turns from semantic to positional at omega = {PAPER}",
            f"{switch:.4f}",
            "agree" if abs(switch - PAPER) < 0.005 else "disagree",
            f"root of a criterion, error at most {error:.0e}; the claim has two digits",
        ),
        Finding(
            "minima on the sphere lie at the two poles",
            f"{sliver} of {cells} cells have one between the poles",
            "agree" if sliver == 0 else "disagree",
            "a sliver near a = 0.76, omega = 0.97, where the risk is almost flat (hatched)" if sliver else "",
        ),
    ]


FIGURE = Figure(
    name="4",
    title="Phases of positional and semantic learning",
    about="Which of the two poles is the global minimum of the risk, whether the other is a minimum too, and where the dynamics goes first, for softmax attention with opposite positions and the target "
    "(1 - omega) softmax(z* z*^T) + omega softmax([[a^2, -a^2], [-a^2, a^2]]); half square loss, gradient flow. No simulation: the risk is quadratic in (1 - omega, omega), so a few integrals serve all cells.",
    quick=Phases(cells=200),
    full=Phases(),
    compute=compute,
    draw=draw,
    judge=judge,
)
