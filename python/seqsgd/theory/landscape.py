"""The landscape of the risk on the ball ||(e, m)|| <= 1: critical points, where the dynamics goes first, and which minimum it ends in (docs: section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ._drift import Field, field
from ._interpolation import Chebyshev
from .risk import engine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = Any
MANY = 20  # more critical points inside than this are a continuum


@dataclass(frozen=True)
class Critical:
    """A point where the flow rests.

    Attributes
    ----------
    point : (p,) values of the parameters `names` of the landscape
    where : "inside", or "sphere" where w has no component but along w* and the positions
    kind : "minimum", "saddle", "maximum" of the flow's attraction, or "degenerate" where a rate is zero within its error
    value, error : R
    rates : (p,) Hessian eigenvalues inside; on the sphere the second derivatives along it, then minus the outward derivative: all positive at a minimum
    """

    point: Float64
    where: str
    kind: str
    value: float
    error: float
    rates: Float64


@dataclass(frozen=True)
class Landscape:
    """The landscape of a task.

    Attributes
    ----------
    names : ("m",) or ("e", "m")
    critical : critical points, by risk; where R is constant along a curve inside, that curve is left out and `continuum` is true
    continuum : bool
    direction : (p,) unit vector along which the origin is left first: minus the gradient, or where that vanishes the eigenvector of the lowest eigenvalue
    rate : minus that eigenvalue, or the size of the gradient: how fast it is left, per unit of t
    error : of the interpolated risk that the search went through; critical points themselves are polished by quadrature
    """

    names: tuple[str, ...]
    critical: tuple[Critical, ...]
    continuum: bool
    direction: Float64
    rate: float
    error: float
    _field: Field

    @property
    def minima(self) -> tuple[Critical, ...]:
        """The minima, the global one first."""
        return tuple(c for c in self.critical if c.kind == "minimum")

    def risk(self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0) -> Float64:
        """R at any shape of points in the square [-1, 1]^2, to `error`."""
        return np.asarray(self._evaluate(e, m)[0])

    def gradient(self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0) -> Float64:
        """Its gradient, (..., p)."""
        return np.asarray(self._evaluate(e, m)[1])

    def basin(self, e: npt.ArrayLike | None = None, m: npt.ArrayLike = 0.0) -> npt.NDArray[np.int64]:
        """Index into `minima` of where the spherical gradient flow ends, from points of any shape; -1 where it has not decided (at saddles)."""
        x, shape = self._flat(e, m)
        targets = np.array([c.point for c in self.minima]).reshape(-1, x.shape[1])
        out = np.full(len(x), -1, dtype=np.int64)
        g = self._near(x)[1]
        rest = np.linalg.norm(g - x * (x * g).sum(axis=1, keepdims=True), axis=1) < 1e-7 + 10 * self.error
        going = np.flatnonzero(~rest | (np.linalg.norm(x[:, None, :] - targets, axis=-1) < 0.02).any(axis=1))
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
        """One midpoint step of the flow at a speed that is about the same everywhere: the same curves, sooner."""

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
            raise ValueError("e: expected None, the student has no positional encoding with vectors")
        parts = [np.asarray(v, dtype=np.float64) for v in ((m,) if len(self.names) == 1 else (0.0 if e is None else e, m))]
        shape = np.broadcast_shapes(*[p.shape for p in parts])
        return np.stack([np.broadcast_to(p, shape).reshape(-1) for p in parts], axis=1), shape

    def _evaluate(self, e: Any, m: Any) -> tuple[Array, Array]:
        x, shape = self._flat(e, m)
        value, gradient = self._near(x)
        return value.reshape(shape), gradient.reshape(*shape, -1)

    def plot(self, ax: Axes | None = None, *, surface: bool = False) -> Axes:
        """Contours with flow lines, critical points and basins; or the surface over the disc. With ("m",) alone, the curve R(m)."""
        from .plots import plot_landscape

        return plot_landscape(self, ax, surface)

    def __repr__(self) -> str:
        lines = [f"<seqsgd.theory.Landscape in ({', '.join(self.names)})>"]
        for c in self.critical:
            lines.append(f"  {c.kind:<10} {c.where:<6} at ({', '.join(f'{x:.4g}' for x in c.point)}), R = {c.value:.6g}")
        return "\n".join(lines)


def landscape(task: models.Task, *, tokens: str | models.Tokens = "gaussian") -> Landscape:
    """Critical points of the flow without noise on the ball ||(e, m)|| <= 1, with their kinds, and the first direction.

    The search goes through a Chebyshev series of the risk; what it finds is polished with the quadrature itself.

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
        For students with more parameters than (e, m).
    """
    _checks.instance("task", task, models.Task, "a Task")
    f = field(task, tokens)
    names = f.setup.names
    if names not in (("m",), ("e", "m")) or f.near is None:
        raise ValueError(f"task: expected a student whose landscape is in m or (e, m), got one in ({', '.join(names)})")
    chosen = engine(task, tokens)
    inside, continuum = _inside(f.near, len(names))
    points = np.array([*inside, *_sphere(f.near, len(names)), np.zeros(len(names))])
    best, error = chosen.moments(points[:, : f.setup.ne], points[:, f.setup.ne :], None, 2)
    found = [(_inner if i < len(inside) else _outer)(x, best, error, i) for i, x in enumerate(points[:-1])]
    direction, rate = _first(best, error)
    return Landscape(names, tuple(sorted(found, key=lambda c: c.value)), continuum, direction, rate, f.near.error, f)


def _inside(near: Chebyshev, p: int) -> tuple[list[Array], bool]:
    """Zeros of the gradient in the open ball, by Newton's method from a grid of starts; whether there is a continuum of them."""
    grid = np.stack([g.reshape(-1) for g in np.meshgrid(*[np.linspace(-0.97, 0.97, 31 if p > 1 else 200)] * p, indexing="ij")], axis=-1)
    grid = np.concatenate([grid[np.linalg.norm(grid, axis=1) < 0.98], np.zeros((1, p))])
    slopes = [near.slope(i) for i in range(p)]
    for _ in range(30):
        g = near(grid)[:, 1 : 1 + p]
        H = np.stack([s(grid)[:, 1 : 1 + p] for s in slopes], axis=2)
        step = np.einsum("nij,nj->ni", np.linalg.pinv(H, rcond=1e-9), g)
        step *= np.minimum(1, 0.1 / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-300))
        grid = np.clip(grid - step, -1, 1)
    size = np.abs(near.coefficients).max()
    good = (np.linalg.norm(near(grid)[:, 1 : 1 + p], axis=1) < 1e-10 * size + 2 * near.error) & (np.linalg.norm(step, axis=1) < 1e-5)
    good &= np.linalg.norm(grid, axis=1) < 1 - 1e-6
    found: list[Array] = []
    for x in grid[good]:
        x = np.where(np.abs(x) < 1e-7, 0.0, x)
        if all(np.linalg.norm(x - y) > 1e-4 for y in found):
            found.append(x)
        if len(found) > MANY:
            return [np.zeros(p)], True
    return found, False


def _sphere(near: Chebyshev, p: int) -> list[Array]:
    """Critical points on the sphere."""
    if p == 1:
        return [np.array([-1.0]), np.array([1.0])]
    from scipy.optimize import brentq

    def along(theta: Array) -> Array:
        theta = np.atleast_1d(theta)
        x = np.stack([np.cos(theta), np.sin(theta)], axis=1)
        g = near(x)[:, 1:3]
        return -x[:, 1] * g[:, 0] + x[:, 0] * g[:, 1]

    theta = np.linspace(0, 2 * np.pi, 721) + 0.001
    values = along(theta)
    out = []
    for i in np.flatnonzero(values[:-1] * values[1:] < 0):
        at = brentq(lambda t: along(t)[0], theta[i], theta[i + 1], xtol=1e-12)
        x = np.array([np.cos(at), np.sin(at)])
        x[np.abs(x) < 1e-6] = 0  # poles are critical by symmetry; the root finder knows them to its tolerance
        out.append(x / np.linalg.norm(x))
    return out


def _kind(rates: Array, errors: Array) -> str:
    if (np.abs(rates) <= 10 * errors + 1e-9).any():
        return "degenerate"
    return "minimum" if (rates > 0).all() else "maximum" if (rates < 0).all() else "saddle"


def _inner(x: Array, best: Any, error: Any, i: int) -> Critical:
    rates = np.linalg.eigvalsh(best.hessian[i])
    return Critical(x, "inside", _kind(rates, np.full(len(x), np.linalg.norm(error.hessian[i]))), float(best.value[i]), float(error.value[i]), rates)


def _outer(x: Array, best: Any, error: Any, i: int) -> Critical:
    """On the unit sphere the flow's rates are the second derivative along it and minus the outward derivative."""
    g, H = best.gradient[i], best.hessian[i]
    outward, doubt = float(x @ g), float(np.abs(x) @ error.gradient[i])
    if len(x) == 1:
        rates, errors = np.array([-outward]), np.array([doubt])
    else:
        tangent = np.array([-x[1], x[0]])
        rates = np.array([tangent @ H @ tangent - outward, -outward])
        errors = np.array([np.abs(tangent) @ error.hessian[i] @ np.abs(tangent) + doubt, doubt])
    return Critical(x, "sphere", _kind(rates, errors), float(best.value[i]), float(error.value[i]), rates)


def _first(best: Any, error: Any) -> tuple[Array, float]:
    """At the origin, the last point."""
    g = best.gradient[-1]
    size = float(np.linalg.norm(g))
    if size > max(10 * float(np.linalg.norm(error.gradient[-1])), 1e-9):
        return -g / size, size
    values, vectors = np.linalg.eigh(best.hessian[-1])
    v = vectors[:, 0]
    return v * np.sign(v[np.argmax(np.abs(v))]), -float(values[0])


__all__ = ["Critical", "Landscape", "landscape"]
