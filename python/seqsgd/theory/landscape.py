"""The landscape of the risk on the ball ||(e, m)|| <= 1: critical points, the first direction of
the dynamics, and the minimum where it ends (docs: "Risk, flow, landscapes, phases", Landscape and
phases).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ..plots import drawing
from ._critical import search
from ._drift import Field, field
from .expectation.interpolation import Chebyshev
from .risk import Engine, _trailing, engine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = Any
RING = 0.1  # how far from a degenerate point R is looked at


@dataclass(frozen=True)
class Critical:
    """A critical point of the flow.

    Attributes
    ----------
    point : (p,) values of the parameters `names` of the landscape
    where : "inside", or "sphere" if w has only components along w* and the positions
    kind : "minimum", "saddle" or "maximum" of the flow's attraction, by the signs of the rates; if
        one is zero within its error, by R on a ring around the point; "degenerate" if that is too
        flat to decide
    value, error : R, and an estimate of its error
    rates : (p,) Hessian eigenvalues inside; on the sphere the second derivatives along it, then
        minus the outward derivative: all positive at a minimum
    degenerate : whether a rate is zero within its error, so that the flow leaves or reaches the
        point more slowly than exponentially
    """

    point: Float64
    where: str
    kind: str
    value: float
    error: float
    rates: Float64
    degenerate: bool = False


@dataclass(frozen=True)
class Flat:
    """A set of critical points along which R is constant: a curve, or all of the ball.

    Attributes
    ----------
    points : (n, p) points of it: of a curve in order, no further apart than 0.12
    dimension : 1 for a curve, 2 for the disc; 1 if the only parameter is m
    kind : "valley" if it attracts from both sides, "ridge" if it repels, otherwise "flat": there
        are no sides, or rates across it vanish or change sign
    value, error : R, and an estimate of its error
    across : (2,) the lowest and the highest rate across it, over its points; (0,) if there are no
        sides
    tolerance : a gradient below this counted as zero
    """

    points: Float64
    dimension: int
    kind: str
    value: float
    error: float
    across: Float64
    tolerance: float


@dataclass(frozen=True)
class Landscape:
    """The landscape of a task.

    Attributes
    ----------
    names : ("m",) or ("e", "m")
    critical : isolated critical points, by risk
    flat : sets of critical points along which R is constant, by risk: none of their points is among
        `critical`
    direction : (p,) unit vector along which the flow first leaves the origin: minus the gradient,
        or if that vanishes the eigenvector of the lowest eigenvalue; zeros if that eigenvalue is
        zero within its error
    rate : minus that eigenvalue, or the norm of the gradient: how fast the flow leaves, per unit of
        t
    error : estimate of the interpolation error of the risk in the search; critical points
        themselves are refined by quadrature
    """

    names: tuple[str, ...]
    critical: tuple[Critical, ...]
    flat: tuple[Flat, ...]
    direction: Float64
    rate: float
    error: float
    _field: Field

    @property
    def minima(self) -> tuple[Critical, ...]:
        """The minima, the global one first."""
        return tuple(c for c in self.critical if c.kind == "minimum")

    @property
    def continuum(self) -> bool:
        """Whether there are critical points that are not isolated."""
        return bool(self.flat)

    def risk(self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0) -> Float64:
        """Return R at points of any shape in the square [-1, 1]^2, to `error`."""
        return np.asarray(self._evaluate(e, m)[0])

    def gradient(self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0) -> Float64:
        """Return the gradient of R, (..., p)."""
        return np.asarray(self._evaluate(e, m)[1])

    def basin(
        self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0
    ) -> npt.NDArray[np.int64]:
        """Return the index into `minima` at which the spherical gradient flow ends, from points of
        any shape.

        It is -1 if the flow is undecided (at saddles), or ends in a flat set.
        """
        x, shape = self._flat(e, m)
        targets = np.array([c.point for c in self.minima]).reshape(-1, x.shape[1])
        out = np.full(len(x), -1, dtype=np.int64)
        g = self._near(x)[1]
        rest = (
            np.linalg.norm(g - x * (x * g).sum(axis=1, keepdims=True), axis=1)
            < 1e-7 + 10 * self.error
        )
        going = np.flatnonzero(
            ~rest | (np.linalg.norm(x[:, None, :] - targets, axis=-1) < 0.02).any(axis=1)
        )
        for _ in range(400):
            if not going.size or not len(targets):
                break
            x[going] = self._step(x[going])
            gap = np.linalg.norm(x[going][:, None, :] - targets, axis=-1)
            here = gap.min(axis=1) < 0.02
            out[going[here]] = gap.argmin(axis=1)[here]
            going = going[~here]
        return out.reshape(shape)

    def _step(self, x: Array) -> Array:
        """Do one midpoint step of the flow, at about the same speed everywhere: the same curves in
        less time.
        """

        def speed(y: Array) -> Array:
            g = self._near(y)[1]
            v = -g + y * (y * g).sum(axis=1, keepdims=True)
            return v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-3)

        middle = x + 0.0125 * speed(x)
        y = x + 0.025 * speed(middle)
        return y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1.0)

    def _near(self, x: Array) -> tuple[Array, Array]:
        assert self._field.near is not None
        out = self._field.near(np.clip(x, -1, 1))
        return out[:, 0], out[:, 1:-1]

    def _flat(self, e: Any, m: Any) -> tuple[Array, tuple[int, ...]]:
        if len(self.names) == 1 and e is not None:
            raise ValueError(
                "e: expected None, the student has no positional encoding with vectors"
            )
        named = {"m": m} if len(self.names) == 1 else {"e": 0.0 if e is None else e, "m": m}
        parts = [_trailing(name, v, None)[..., 0] for name, v in named.items()]
        for name, v in zip(named, parts, strict=True):
            if (np.abs(v) > 1 + 1e-12).any():
                raise ValueError(
                    f"{name}: expected numbers in [-1, 1], got "
                    f"{v.flat[int(np.abs(v).argmax())]:.6g} among them"
                )
        try:
            shape = np.broadcast_shapes(*[p.shape for p in parts])
        except ValueError:
            shapes = " and ".join(_checks.letters(p.shape) for p in parts)
            raise ValueError(f"e, m: expected shapes that can be broadcast, got {shapes}") from None
        return np.stack([np.broadcast_to(p, shape).reshape(-1) for p in parts], axis=1), shape

    def _evaluate(self, e: Any, m: Any) -> tuple[Array, Array]:
        x, shape = self._flat(e, m)
        value, gradient = self._near(x)
        return value.reshape(shape), gradient.reshape(*shape, -1)

    def plot(self, ax: Axes | None = None, *, surface: bool = False, legend: bool = True) -> Axes:
        """Draw contours with flow lines, critical points and the first direction.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into. None creates a new pyplot figure.
        surface : bool
            Whether to draw the surface over the disc instead (`ax` must be three-dimensional then).
            If the only parameter is m, the curve R(m) is drawn.
        legend : bool
            Whether to name the marks, below the axes.
        """
        drawing.load()  # before matplotlib is imported
        from ..plots.theory import plot_landscape

        return plot_landscape(self, ax, surface, legend)

    def __repr__(self) -> str:
        lines = [f"<seqsgd.theory.Landscape in ({', '.join(self.names)})>"]
        for c in self.critical:
            lines.append(
                f"  {c.kind:<10} {c.where:<6} at ({', '.join(f'{x:.4g}' for x in c.point)}), R = "
                f"{c.value:.6g}" + " (degenerate)" * c.degenerate
            )
        for f in self.flat:
            first, last = (", ".join(f"{x:.4g}" for x in f.points[i]) for i in (0, -1))
            where = (
                f"curve  from ({first}) to ({last})"
                if f.dimension < len(self.names)
                else "everywhere"
            )
            lines.append(
                f"  {f.kind:<10} {where}, R = {f.value:.6g} (gradient below {f.tolerance:.2g})"
            )
        return "\n".join(lines)


def landscape(task: models.Task, *, tokens: str | models.Tokens = "gaussian") -> Landscape:
    """Find the critical points of the flow without noise on the ball ||(e, m)|| <= 1, their kinds,
    and the first direction.

    The search uses a Chebyshev series of the risk; rates come from the quadrature itself. A set of
    points along which R is constant, within the errors of both, is one `Flat`.

    Parameters
    ----------
    task : Task
        A student with one weight, without positional vectors or with Opposite().
    tokens : "gaussian" or Correlated

    Returns
    -------
    Landscape

    Raises
    ------
    ValueError
        If the student has more parameters than (e, m).
    """
    _checks.instance("task", task, models.Task, "a Task")
    f = field(task, tokens)
    names = f.setup.names
    if names not in (("m",), ("e", "m")) or f.near is None:
        raise ValueError(
            "task: expected a student whose landscape is in m or (e, m), got one in "
            f"({', '.join(names)})"
        )
    p, chosen = len(names), engine(task, tokens)
    slack, doubt = _tolerances(chosen, f, p)
    zeros = search(f.near, p, slack, doubt)
    origin = np.zeros((1, p))
    points = np.array([*zeros.inside, *zeros.sphere]).reshape(-1, p)
    best, error = _moments(chosen, np.concatenate([points, origin]))
    found = [
        _inner(x, best, error, i, doubt)
        if i < len(zeros.inside)
        else _outer(x, best, error, i, slack)
        for i, x in enumerate(points)
    ]
    found = [replace(c, kind=_by_ring(c, points, f.near)) if c.degenerate else c for c in found]
    flat = [_curve(x, chosen, f.near, slack, doubt) for x in zeros.curves]
    if zeros.rim:
        angle = np.linspace(0, 2 * np.pi, 97)
        flat.append(
            _curve(np.stack([np.cos(angle), np.sin(angle)], axis=1), chosen, f.near, slack, doubt)
        )
    if zeros.everywhere:
        flat, found = (
            [
                Flat(
                    _ball(p),
                    p,
                    "flat",
                    float(best.value[-1]),
                    float(error.value[-1]) + slack,
                    np.zeros(0),
                    slack,
                )
            ],
            [],
        )
    by_risk = (
        tuple(sorted(found, key=lambda c: c.value)),
        tuple(sorted(flat, key=lambda c: c.value)),
    )
    return Landscape(names, *by_risk, *_first(best, error), f.near.error, f)


def _ball(p: int) -> Array:
    """Return points spread over [-1, 1] or over the disc."""
    k = np.arange(401)
    if p == 1:
        return k[:, None] / 200 - 1
    turn = np.pi * (3 - np.sqrt(5)) * k
    return np.sqrt(k[:, None] / 400) * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _moments(chosen: Engine, x: Array) -> tuple[Any, Any]:
    ne = chosen.setup.ne
    return chosen.moments(x[:, :ne], x[:, ne:], None, 2)


def _tolerances(chosen: Engine, f: Field, p: int) -> tuple[float, float]:
    """Return the thresholds below which a gradient, and a rate, count as zero: errors of the series
    and of its expectations.
    """
    assert f.near is not None
    size = float(np.abs(f.near.coefficients[..., : 1 + p]).max())
    probes = np.array([[0.0, 0.0], [0.5, 0.3], [-0.3, 0.5], [0.2, -0.8]])[:, 2 - p :]
    error = _moments(chosen, probes)[1]
    slack = 1e-10 * size + 2 * f.near.error + float(np.abs(error.gradient).max())
    return slack, 100 * slack + 10 * float(np.abs(error.hessian).max())


def _curve(x: Array, chosen: Engine, near: Chebyshev, slack: float, doubt: float) -> Flat:
    """Classify a curve at seven of its points by the rate across it; if that vanishes, by R on both
    sides.
    """
    at = np.clip(np.linspace(0, len(x) - 1, 9).astype(int)[1:-1], 1, len(x) - 2)
    best, error = _moments(chosen, x[at])
    rim = bool((np.linalg.norm(x, axis=1) > 1 - 1e-9).all())
    rates = np.array(
        [(_outer if rim else _inner)(y, best, error, i, doubt).rates for i, y in enumerate(x[at])]
    )
    side = np.take_along_axis(rates, np.abs(rates).argmax(axis=1)[:, None], axis=1)[:, 0]
    low, high = float(side.min()), float(side.max())
    if max(abs(low), abs(high)) <= doubt:
        along = x[at + 1] - x[at - 1]
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(
            along, axis=1, keepdims=True
        )
        sides = np.concatenate([x[at] - RING * normal, x[at] + RING * normal])
        low, high = _rise(
            near, sides[np.linalg.norm(sides, axis=1) <= 1], x[at[0]], float(error.value.max())
        )
    else:
        low, high = low - doubt * (low > 0), high + doubt * (high < 0)
    name = "valley" if low > 0 else "ridge" if high < 0 else "flat"
    return Flat(
        x,
        1,
        name,
        float(best.value.mean()),
        float(error.value.max() + np.ptp(best.value)),
        np.array([side.min(), side.max()]),
        slack,
    )


def _rise(near: Chebyshev, x: Array, centre: Array, error: float) -> tuple[float, float]:
    """Return the least and the largest R(x) - R(centre), 0 if it is below its error."""
    rise = near(x)[:, 0] - near(centre[None])[0, 0]
    rise = np.where(np.abs(rise) <= 2 * near.error + error, 0.0, rise)
    return float(rise.min()), float(rise.max())


def _by_ring(c: Critical, others: Array, near: Chebyshev) -> str:
    """Return the kind of a degenerate point from R around it."""
    gaps = np.linalg.norm(others - c.point, axis=1)
    radius = min(RING, gaps[gaps > 0].min(initial=np.inf) / 2)
    angle = np.linspace(0, 2 * np.pi, 721)[:-1]
    ring = c.point + radius * (
        np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if len(c.point) > 1
        else np.array([[-1.0], [1.0]])
    )
    low, high = _rise(near, ring[np.linalg.norm(ring, axis=1) <= 1], c.point, c.error)
    return (
        "minimum"
        if low > 0
        else "maximum"
        if high < 0
        else "saddle"
        if low < 0 < high
        else "degenerate"
    )


def _critical(
    x: Array, where: str, rates: Array, errors: Array, best: Any, error: Any, i: int
) -> Critical:
    degenerate = bool((np.abs(rates) <= 10 * errors + 1e-9).any())
    kind = (
        "degenerate"
        if degenerate
        else "minimum"
        if (rates > 0).all()
        else "maximum"
        if (rates < 0).all()
        else "saddle"
    )
    return Critical(x, where, kind, float(best.value[i]), float(error.value[i]), rates, degenerate)


def _inner(x: Array, best: Any, error: Any, i: int, doubt: float) -> Critical:
    """Describe a point inside. A rate below `doubt` is zero, since the search knows the place only
    to its tolerance.
    """
    rates = np.linalg.eigvalsh(best.hessian[i])
    return _critical(
        x,
        "inside",
        rates,
        np.full(len(x), np.linalg.norm(error.hessian[i]) + doubt / 10),
        best,
        error,
        i,
    )


def _outer(x: Array, best: Any, error: Any, i: int, slack: float) -> Critical:
    """Describe a point on the unit sphere: the flow's rates are the second derivative along it and
    minus the outward derivative.
    """
    g, H = best.gradient[i], best.hessian[i]
    outward, doubt = float(x @ g), float(np.abs(x) @ error.gradient[i]) + slack / 10
    if len(x) == 1:
        rates, errors = np.array([-outward]), np.array([doubt])
    else:
        tangent = np.array([-x[1], x[0]])
        rates = np.array([tangent @ H @ tangent - outward, -outward])
        errors = np.array([np.abs(tangent) @ error.hessian[i] @ np.abs(tangent) + doubt, doubt])
    return _critical(x, "sphere", rates, errors, best, error, i)


def _first(best: Any, error: Any) -> tuple[Array, float]:
    """Find the first direction at the origin, the last point."""
    g = best.gradient[-1]
    size = float(np.linalg.norm(g))
    if size > max(10 * float(np.linalg.norm(error.gradient[-1])), 1e-9):
        return -g / size, size
    values, vectors = np.linalg.eigh(best.hessian[-1])
    if abs(values[0]) <= 10 * float(np.linalg.norm(error.hessian[-1])) + 1e-9:
        return np.zeros(len(g)), 0.0
    v = vectors[:, 0]
    return v * np.sign(v[np.argmax(np.abs(v))]), -float(values[0])


__all__ = ["Critical", "Flat", "Landscape", "landscape"]
