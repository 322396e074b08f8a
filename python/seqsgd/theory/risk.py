"""The population risk R(e, m), its gradient and Hessian, and the noise V of a step, each with an
error estimate (docs: "Risk, flow, landscapes, phases", Risk).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ..models.identity import remembered
from .expectation.grid import TensorEngine
from .expectation.link_terms import terms_of
from .expectation.network import NetworkEngine
from .expectation.projection import projections
from .expectation.qmc import QmcEngine
from .expectation.setup import Moments, Setup

Array = Any


class Engine(Protocol):
    """A method to compute expectations."""

    setup: Setup
    method: str

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments:
        """Return estimates without errors."""

    def moments(self, a: Array, m: Array, q: Array | None, order: int) -> tuple[Moments, Moments]:
        """Return estimates and errors at positional parameters a (n, e), overlaps m (n, 1 or L),
        squared norms q (n, L).
        """


@dataclass(frozen=True)
class Risk:
    """The risk and its derivatives at points of any shape (...).

    Attributes
    ----------
    names : the p parameters that derivatives are taken with respect to: positional overlaps, then
        overlaps
    value, V : (...)
        R = E loss, and V = E ||delta||^2, for correlated tokens E delta^T C delta, the strength of
        the inhibitive terms (docs: "Risk, flow, landscapes, phases", Risk).
    gradient, hessian : (..., p), (..., p, p); hessian is None with hessian=False value_error,
        V_error, gradient_error, hessian_error
        Errors of the same shapes; *estimates*. For quadrature they are the difference of two rules
        and rounding, for your own links five times the largest difference of five rules; panels end
        at the kinks of your own activations. For quasi-Monte-Carlo they are four standard errors
        over 16 replicates. Features of your own functions narrower than 0.001 may be missed.
    method : how it was computed
    """

    names: tuple[str, ...]
    value: Float64
    gradient: Float64
    hessian: Float64 | None
    V: Float64
    value_error: Float64
    gradient_error: Float64
    hessian_error: Float64 | None
    V_error: Float64
    method: str

    @property
    def error(self) -> float:
        """The largest error among the values."""
        return float(np.max(self.value_error, initial=0.0))


@remembered(32)
def engine(task: models.Task, tokens: str | models.Tokens = "gaussian") -> Engine:
    """Choose the most accurate method to compute expectations over a task."""
    setup = Setup(task, tokens)
    if setup.rows:
        raise ValueError(
            "tokens: with correlated tokens R of an untied network depends on the overlaps "
            "between its rows, expected 'gaussian'; theory.flow follows them"
        )
    found: Engine | None = None
    if setup.factor is not None:
        terms = terms_of(task.teacher) if setup.network else None
        along = projections(terms, setup.C) if terms is not None and not setup.independent else None
        if terms is not None and (setup.independent or along is not None):
            found = NetworkEngine(setup, terms, along)
        elif task.L <= 3 and (not setup.network or (setup.tied and setup.total > 1e-12)):
            found = TensorEngine(setup)
    return found or QmcEngine(setup)


def risk(
    task: models.Task,
    e: npt.ArrayLike | None = None,
    m: npt.ArrayLike = 0.0,
    *,
    q: npt.ArrayLike | None = None,
    tokens: str | models.Tokens = "gaussian",
    hessian: bool = True,
) -> Risk:
    """Compute R, its gradient and Hessian, and V, at positional overlaps e and overlaps m, which
    are broadcast against each other (docs: "Risk, flow, landscapes, phases", Risk).

    For square losses, networks and polynomial links are exact up to one-dimensional integrals, at
    any L; networks and attention up to L = 3 use tensor quadrature. Everything else uses randomised
    quasi-Monte-Carlo. Derivatives come from Gaussian identities, not from finite differences.

    Parameters
    ----------
    task : Task
    e : (...), optional
        Positional overlaps: with `Opposite` and one weight the number e = e_1 = -e_2; with other
        encodings (..., L). None means 0. An injected c is part of the task.
    m : (...), untied (..., L)
        Overlaps, |m| <= 1.
    q : (..., L), optional
        Squared norms ||w_l||^2 / d of untied weights. None means 1.
    tokens : "gaussian" or Correlated
    hessian : bool
        Whether to compute the Hessian; False is faster.

    Returns
    -------
    Risk

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit the task, or tokens are not Gaussian.
    """
    _checks.instance("task", task, models.Task, "a Task")
    _checks.boolean("hessian", hessian)
    chosen = engine(task, tokens)
    a, overlaps, norms, shape = points(chosen.setup, e, m, q)
    best, error = chosen.moments(a, overlaps, norms, 2 if hessian else 1)

    def shaped(x: Array) -> Any:
        return None if x is None else np.asarray(x).reshape((*shape, *np.shape(x)[1:]))

    return Risk(
        chosen.setup.names,
        shaped(best.value), shaped(best.gradient), shaped(best.hessian), shaped(best.V),
        shaped(error.value), shaped(error.gradient), shaped(error.hessian), shaped(error.V),
        chosen.method,
    )  # fmt: skip


def points(
    setup: Setup, e: Any, m: Any, q: Any
) -> tuple[Array, Array, Array | None, tuple[int, ...]]:
    """Check the points and return a (n, e parameters), m (n, overlaps), q (n, L) or None, and the
    shape that n replaces.
    """
    ne, nm = setup.ne, setup.nm
    if ne == 0 and e is not None:
        raise ValueError("e: expected None, the student has no positional encoding with vectors")
    if q is not None and setup.tied:
        raise ValueError("q: expected None, tied weights stay on their sphere")
    single_e = setup.names[0] == "e"
    arrays = [
        _trailing(
            "e",
            np.zeros(ne) if e is None and not single_e else (0.0 if e is None else e),
            None if single_e else ne,
        )
        if ne
        else np.zeros((0,)),
        _trailing("m", m, None if setup.tied else nm),
        None if q is None else _trailing("q", q, setup.L),
    ]
    fronts = [x.shape[:-1] for x in arrays if x is not None]
    try:
        shape = np.broadcast_shapes(*fronts)
    except ValueError:
        raise ValueError(
            "e, m: expected shapes that can be broadcast, got "
            f"{' and '.join(_checks.letters(f) for f in fronts)} before the tokens"
        ) from None
    flat = [
        None
        if x is None
        else np.ascontiguousarray(np.broadcast_to(x, (*shape, x.shape[-1]))).reshape(
            int(np.prod(shape)), x.shape[-1]
        )
        for x in arrays
    ]
    a, overlaps, norms = flat
    assert a is not None and overlaps is not None
    limit = np.ones_like(overlaps) if norms is None else norms
    if norms is not None and (norms <= 0).any():
        raise ValueError(f"q: expected numbers > 0, got {norms.min():.3g}")
    if (overlaps**2 > limit * (1 + 1e-12)).any():
        worst = overlaps.reshape(-1)[np.argmax((overlaps**2 - limit).reshape(-1))]
        raise ValueError(
            f"m: expected |m| <= {'1' if norms is None else 'sqrt(q)'}, got {worst:.16g}"
        )
    return a, np.clip(overlaps, -np.sqrt(limit), np.sqrt(limit)), norms, shape


def _trailing(name: str, value: Any, last: int | None) -> Array:
    """Return a finite float64 array with the parameters along its last axis."""
    try:
        given = np.asarray(value)
        if given.dtype.kind in "cmMSUV":  # NumPy would cast them
            raise TypeError
        x = given.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected real numbers, got {_checks.short(value)}") from None
    if not np.isfinite(x).all():
        raise ValueError(
            f"{name}: expected finite numbers, got {_checks.short(float(x[~np.isfinite(x)][0]))} "
            "among them"
        )
    if last is None:
        return x[..., None]
    if x.ndim < 1 or x.shape[-1] != last:
        raise ValueError(
            f"{name}: expected shape (..., {last}), got shape {_checks.letters(x.shape)}"
        )
    return x


__all__ = ["Engine", "Risk", "engine", "points", "risk"]
