"""The right-hand side of the flow (docs: "Risk, flow, landscapes, phases", Flow): d(e, m)/dt from R
and V, for every kind of spheres.

In the limit d -> infinity at time t = gamma tau / d, with e* = P w*/sqrt d (0 if P is orthogonal to
w*), K = P P^T and s = m dR/dm + e . dR/de:

    dm/dt = -dR/dm - e* . dR/de + m s - (gamma/2) V m
    de/dt = -e* dR/dm - K dR/de + e s - (gamma/2) V e

With a weight per token the same holds for each row, with V_l = E delta_l^2 = V / L. On one common
sphere only the sum of all squared norms is conserved. The step "projected" has the same limit.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ..models.identity import remembered
from .expectation.interpolation import Chebyshev
from .expectation.setup import Setup
from .risk import Engine, engine

Array = Any
TOLERANCE = 1e-8


class Field:
    """R, its gradient, V and dR / dq_l at states, by interpolation if one evaluation is expensive
    and there are at most two parameters.
    """

    def __init__(self, chosen: Engine) -> None:
        self.engine, s = chosen, chosen.setup
        self.setup = s
        self.near: Chebyshev | None = None  # the finest series there is, converged or not
        self.series: Chebyshev | None = None
        if s.tied and s.ne + s.nm <= 2 and (s.ne == 0 or s.names[0] == "e"):
            self.near = Chebyshev(self._direct, s.ne + s.nm, TOLERANCE, (16, 32, 64))
            self.series = self.near if self.near.converged else None

    @functools.cached_property
    def doubt(self) -> float:
        """Return estimates of the largest error of the gradient at a few places, and of the
        series.
        """
        s = self.setup
        m = np.repeat(np.array([0.0, 0.1, -0.3])[:, None], s.nm, axis=1)
        error = self.engine.moments(
            np.zeros((len(m), s.ne)), m, None if s.tied else np.ones_like(m), 1
        )[1]
        return float(np.abs(error.gradient).max(initial=0.0)) + (
            self.series.error if self.series is not None else 0.0
        )

    def _direct(self, x: Array) -> Array:
        ne = self.setup.ne
        M = self.engine.estimate(x[:, :ne], x[:, ne:], None, 1)
        return np.concatenate([M.value[:, None], M.gradient, M.V[:, None]], axis=1)

    def __call__(self, a: Array, m: Array, q: Array | None) -> tuple[Array, Array, Array, Array]:
        """Return value (n,), gradient (n, p), V (n,), dR_dq (n, L)."""
        if self.series is not None:
            out = self.series(np.concatenate([a, m], axis=1))
            return out[:, 0], out[:, 1:-1], out[:, -1], np.zeros((len(m), 0))
        M = self.engine.estimate(a, m, q, 1)
        return M.value, M.gradient, M.V, np.zeros((len(m), 0)) if M.dR_dq is None else M.dR_dq


@remembered(16)
def field(task: models.Task, tokens: str | models.Tokens = "gaussian") -> Field:
    """Return the field of a task, cached for the next call."""
    return Field(engine(task, tokens))


class Drift:
    """Time derivative of the state of the flow.

    The state consists of the positional overlaps, the overlaps and, on a common sphere, the squared
    norms; see `names`.

    Parameters
    ----------
    task : Task
    lr : float
        gamma. It enters only the inhibitive terms, since time is t = gamma tau / d.
    inhibitive : bool
        False gives the spherical gradient flow, gamma -> 0.
    tokens : "gaussian" or Correlated
    estar : (L,), optional
        e* = P w* / sqrt d. None means 0: P orthogonal to w*.
    """

    def __init__(
        self,
        task: models.Task,
        lr: float,
        inhibitive: bool,
        tokens: str | models.Tokens,
        estar: Any,
    ) -> None:
        self.field = field(task, tokens)
        self.lr = lr if inhibitive else 0.0
        s = self.setup = self.field.setup
        self.common = task.student.spheres == "one"
        self.names = s.names + (tuple(f"q_{i + 1}" for i in range(s.L)) if self.common else ())
        self.K = covariance(task, s)
        self.estar = np.zeros(s.ne) if estar is None else _checks.array("estar", estar, (s.ne,))

    rows = False  # whether overlaps between rows belong to the state

    @property
    def error(self) -> float:
        """Estimate of the error of the gradient of R."""
        return self.field.doubt

    def states(self, a: Array, m: Array, q: Array | None) -> Float64:
        """Return states (n, names) of positional overlaps (n, e parameters), overlaps (n, overlaps)
        and squared norms (n, L), or None for 1.
        """
        norms = [np.ones_like(m) if q is None else q] if self.common else []
        return np.concatenate([a, m, *norms], axis=1)

    def __call__(self, state: npt.ArrayLike) -> Float64:
        """Return the time derivatives of states, (..., n) -> (..., n)."""
        x = np.asarray(state, dtype=np.float64)
        if x.ndim < 1 or x.shape[-1] != len(self.names):
            raise ValueError(
                f"state: expected shape (..., {len(self.names)}), ({', '.join(self.names)}), got "
                f"shape {_checks.letters(x.shape)}"
            )
        return np.asarray(self.rates(x.reshape(-1, x.shape[-1]), self.lr)[0]).reshape(x.shape)

    def split(self, x: Array) -> tuple[Array, Array, Array | None]:
        """Return a, m and q (or None) of states (n, names); overlaps are limited to |m| <= sqrt q,
        where the law exists.
        """
        s = self.setup
        a, m, q = (
            x[:, : s.ne],
            x[:, s.ne : s.ne + s.nm],
            x[:, s.ne + s.nm :] if self.common else None,
        )
        limit = np.ones_like(m) if q is None else np.sqrt(q)
        return a, np.clip(m, -limit, limit), q

    def rates(self, x: Array, lr: float) -> tuple[Array, Array]:
        """Return d state / dt and R at states (n, names)."""
        s = self.setup
        a, m, q = self.split(x)
        value, gradient, V, dR_dq = self.field(a, m, q)
        ga, gm = gradient[:, : s.ne], gradient[:, s.ne :]
        if s.tied:
            radial = (
                (m * gm).sum(axis=1, keepdims=True)
                + (a * ga).sum(axis=1, keepdims=True)
                - lr / 2 * V[:, None]
            )
            dm = -gm - (ga * self.estar).sum(axis=1, keepdims=True) + m * radial
            return np.concatenate([-self.estar * gm - ga @ self.K + a * radial, dm], axis=1), value
        inner = m * gm + (
            a * ga if s.ne else 0.0
        )  # per row, without the part that is along w_l itself
        Vl = np.repeat(V[:, None] / s.L, s.L, axis=1)
        radial = inner - lr / 2 * Vl
        dq: Array = None
        if q is not None:  # E[delta_l (z_l - c_l)] = inner_l + 2 q_l dR/dq_l
            whole = inner + 2 * q * dR_dq
            share = whole.mean(axis=1, keepdims=True) - lr / 2 * Vl
            radial = share - 2 * dR_dq
            dq = -2 * whole + lr * Vl + 2 * q * share
        dm = -gm - (ga * self.estar if s.ne else 0.0) + m * radial
        parts = [dm]
        if s.ne:
            parts.insert(0, -self.estar * gm - ga * np.diag(self.K) + a * radial)
        if q is not None:
            parts.append(dq)
        return np.concatenate(parts, axis=1), value


def covariance(task: models.Task, setup: Setup) -> Array:
    """K: what dR/da is multiplied by; for the single number e of the opposite encoding 1."""
    position = task.student.position
    if setup.ne == 0:
        return np.zeros((0, 0))
    if isinstance(position, models.Opposite):
        return np.ones((1, 1)) if setup.tied else np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert isinstance(position, models.Positions)
    return position.P @ position.P.T


__all__ = ["Drift", "Field", "covariance", "field"]
