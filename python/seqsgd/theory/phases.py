"""Positional against semantic learning: the phase diagram in (a, omega) of softmax attention with
opposite positions (docs: "Risk, flow, landscapes, phases", Landscape and phases).

With A = lambda I + (1 - lambda) J / 2, lambda = tanh(a^2), J all ones, R is (1 - omega) R_0 + omega
(lambda R_I + (1 - lambda) R_J/2) plus terms that do not depend on (e, m). R_0, R_I, R_J/2 are the
risks of three fixed targets. So every criterion is linear in omega at given a, and no cell needs an
integral.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ..plots import drawing
from .risk import engine, risk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = Any

REGIONS = (
    "unique positional",
    "global positional, semantic local",
    "global semantic, positional dynamics",
    "unique semantic, misaligned dynamics",
    "global semantic, positional local",
    "unique semantic",
)
# angles from pole to pole at which the risk is integrated; a cosine series in twice the angle goes
# through them
RING = 25


@dataclass(frozen=True)
class Criterion:
    """f(a, omega) = (1 - omega) semantic + omega (lambda identity + (1 - lambda) flat), and the
    error of each part.
    """

    semantic: float
    identity: float
    flat: float
    error: float

    def positional(self, a: Array) -> Array:
        """Return the coefficient of omega at a."""
        share = np.tanh(np.square(a))
        return share * self.identity + (1 - share) * self.flat

    def __call__(self, a: Array, omega: Array) -> Array:
        return (1 - omega) * self.semantic + omega * self.positional(a)

    def root(self, a: Array) -> tuple[Array, Array]:
        """Return omega with f = 0 at each a, NaN outside [0, 1], and its error."""
        b = self.positional(a)
        slope = b - self.semantic
        with np.errstate(divide="ignore", invalid="ignore"):
            omega = -self.semantic / slope
            error = self.error / np.abs(slope)
        inside = (omega >= 0) & (
            omega < 1 - 1e-9
        )  # at omega = 1 nothing depends on m: an edge, not a boundary
        return np.where(inside, omega, np.nan), np.where(inside, error, np.nan)


def _task(omega: float, A: Any = None) -> models.Task:
    return models.Task(
        models.PositionalSemantic(omega, A=A), models.Attention(position=models.Opposite())
    )


def _parts() -> tuple[models.Task, models.Task, models.Task]:
    return _task(0.0), _task(1.0, np.eye(2)), _task(1.0, np.full((2, 2), 0.5))


@functools.cache
def criteria() -> dict[str, Criterion]:
    """Compute the criteria that decide the regions; the integrals are computed once per process.

    "direction": R_mm - R_ee at (0, 0), negative if the dynamics starts towards the meaning.
    "positional outward", "positional along": -R_e and R_mm - R_e at the pole (1, 0), both positive
    if it is a local minimum. "semantic outward", "semantic along": the same at (0, 1) with e and m
    exchanged. "gap": R(1, 0) - R(0, 1).
    """
    e, m = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    risks = [
        risk(task, e, m if i == 0 else 0.0) for i, task in enumerate(_parts())
    ]  # only the first depends on m
    g, h, v = ([getattr(r, name) for r in risks] for name in ("gradient", "hessian", "value"))
    dg, dh, dv = (
        [getattr(r, name + "_error") for r in risks] for name in ("gradient", "hessian", "value")
    )

    def criterion(values: Any, errors: Any) -> Criterion:
        semantic, identity, flat = (float(x) for x in values)
        return Criterion(semantic, identity, flat, float(max(errors)))

    three = range(3)
    return {
        "direction": criterion(
            (h[i][0, 1, 1] - h[i][0, 0, 0] for i in three),
            [dh[i][0, 1, 1] + dh[i][0, 0, 0] for i in three],
        ),
        "positional outward": criterion((-g[i][1, 0] for i in three), [dg[i][1, 0] for i in three]),
        "positional along": criterion(
            (h[i][1, 1, 1] - g[i][1, 0] for i in three),
            [dh[i][1, 1, 1] + dg[i][1, 0] for i in three],
        ),
        "semantic outward": criterion((-g[i][2, 1] for i in three), [dg[i][2, 1] for i in three]),
        "semantic along": criterion(
            (h[i][2, 0, 0] - g[i][2, 1] for i in three),
            [dh[i][2, 0, 0] + dg[i][2, 1] for i in three],
        ),
        # |I - J/2|^2 / 2 lambda (1 - lambda) and the like cancel in a difference of risks
        "gap": criterion((v[i][1] - v[i][2] for i in three), [dv[i][1] + dv[i][2] for i in three]),
    }


@functools.cache
def _ring(angles: int) -> list[Array]:
    """Return dR/dtheta of the three parts at (e, m) = (cos, sin) theta, theta strictly between the
    poles: (angles,) each.
    """
    theta = np.linspace(0, np.pi / 2, RING)
    fine = np.linspace(0, np.pi / 2, angles + 2)[1:-1]
    orders = 2 * np.arange(RING)
    series = np.linalg.inv(np.cos(np.outer(theta, orders)))
    out = []
    for i, task in enumerate(_parts()):
        m = np.sin(theta) if i == 0 else np.zeros(RING)  # the other two do not depend on m
        value = engine(task).estimate(np.cos(theta)[:, None], m[:, None], None, 0).value
        out.append(-(np.sin(np.outer(fine, orders)) * orders) @ (series @ value))
    return out


@dataclass(frozen=True)
class PhaseDiagram:
    """Regions in the plane of a and omega.

    Attributes
    ----------
    a : (n,), omega : (k,)
    region : (n, k) int8
        Index into `REGIONS`; -1 if neither pole is a strict local minimum (at omega = 1 the risk
        does not depend on m, and the semantic pole is not strict).
    between : (n, k) bool
        Whether there is a local minimum on the sphere between the poles, which the six regions
        ignore (a sliver at omega near 1, where R is almost flat).
    boundaries : {name: (points, 2)}
        Curves (a, omega) where a criterion changes its sign: "direction", "gap", "positional",
        "semantic".
    boundary_error : {name: float}
        Largest error of omega on each curve.
    """

    a: Float64
    omega: Float64
    region: npt.NDArray[np.int8]
    between: npt.NDArray[np.bool_]
    boundaries: dict[str, Float64]
    boundary_error: dict[str, float]

    def plot(self, ax: Axes | None = None, *, legend: bool = True) -> Axes:
        """Draw the regions with their boundaries, readable in colour and in grey.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into. None creates a new pyplot figure.
        legend : bool
            Whether to name regions and lines, to the right of the axes.
        """
        drawing.load()  # before matplotlib is imported
        from ..plots.theory import plot_phases

        return plot_phases(self, REGIONS, ax, legend)


def phase_diagram(a: npt.ArrayLike, omega: npt.ArrayLike) -> PhaseDiagram:
    """Find which minima exist, which one is global, and where the dynamics goes first, for the
    target (1 - omega) softmax(z* z*^T) + omega softmax([[a^2, -a^2], ...]).

    The loss is the half square; the dynamics is gradient flow from the uninformative point. The
    criteria at the poles are exact (:func:`criteria`).

    Parameters
    ----------
    a : (n,), in (0, 1]
    omega : (k,), in [0, 1]

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.
    """
    widths, weights = _checks.array("a", a, ("n",)), _checks.array("omega", omega, ("k",))
    for name, x, low in (("a", widths, widths.min() > 0), ("omega", weights, weights.min() >= 0)):
        if not low or x.max() > 1:
            raise ValueError(
                f"{name}: expected numbers in {'(0, 1]' if name == 'a' else '[0, 1]'}, got "
                f"{x.min():.3g} to {x.max():.3g}"
            )
    rules = criteria()
    value = {name: rule(widths[:, None], weights[None, :]) for name, rule in rules.items()}
    positional = (value["positional outward"] > 0) & (value["positional along"] > 0)
    semantic = (
        (value["semantic outward"] > 0) & (value["semantic along"] > 0) & (weights < 1)
    )  # at omega = 1 nothing depends on m
    lower, first = (
        value["gap"] >= 0,
        value["direction"] < 0,
    )  # the semantic pole has the lower risk; the dynamics starts towards it
    region = np.full(positional.shape, -1, dtype=np.int8)
    region[positional & ~semantic] = 0
    region[positional & semantic & ~lower] = 1
    region[positional & semantic & lower] = np.where(first, 4, 2)[positional & semantic & lower]
    region[semantic & ~positional] = np.where(first, 5, 3)[semantic & ~positional]
    curves, errors = {}, {}
    fine = np.linspace(widths.min(), widths.max(), max(1001, len(widths)))
    for name in ("direction", "gap", "positional", "semantic"):
        parts = (
            [rules[name]] if name in rules else [rules[f"{name} outward"], rules[f"{name} along"]]
        )
        points, error = [], [0.0]
        for rule in parts:
            at, doubt = rule.root(fine)
            # where a pole has two criteria, a root of one is a boundary only if the other holds
            # there
            valid = np.isfinite(at) & np.all(
                [(other(fine, at) >= -1e-12) for other in parts if other is not rule]
                or [np.ones(len(fine), dtype=bool)],
                axis=0,
            )
            points.append(np.stack([fine[valid], at[valid]], axis=1))
            error.extend(doubt[valid].tolist())
        curves[name], errors[name] = np.concatenate(points), max(error)
    return PhaseDiagram(widths, weights, region, _between(widths, weights), curves, errors)


def _between(a: Array, omega: Array, angles: int = 60) -> npt.NDArray[np.bool_]:
    """Return whether dR/dtheta rises through 0 between the poles, (n, k)."""
    semantic, identity, flat = _ring(angles)
    out = np.zeros((len(a), len(omega)), dtype=bool)
    share = np.tanh(np.square(a))
    for i, s in enumerate(share):  # by rows, to be kind to memory
        slope = np.outer(1 - omega, semantic) + np.outer(omega, s * identity + (1 - s) * flat)
        out[i] = (omega < 1) & ((slope[:, :-1] < -1e-10) & (slope[:, 1:] > 1e-10)).any(axis=1)
    return out


__all__ = ["REGIONS", "Criterion", "PhaseDiagram", "criteria", "phase_diagram"]
