"""The deterministic limit d -> infinity of the dynamics, and the largest learning rate that learns
(docs: "Risk, flow, landscapes, phases", Flow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models
from .._checks import Float64
from ..models.rates import Schedule, schedule
from ..plots import drawing
from ._drift import Drift, covariance
from ._path import integrate
from ._right_hand_side import drift
from ._rows import RowsDrift
from .risk import engine, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = Any


@dataclass(frozen=True)
class Flow:
    """A solution of the flow.

    Attributes
    ----------
    t : (n,) time, the integral of lr over steps divided by d
    steps : (n,) or None if no d was given
    m, e, q : (n,), untied or general encodings (n, L); e and q None where there are none. NaN after
        a halt
    rows : (n, L, L) overlaps w_l . w_k / d; None if they do not matter (one weight, or independent
        tokens)
    risk : (n,) R along the trajectory
    weak_recovery : t at which ||(e, m)|| passed eta; inf if it did not, NaN without eta
    weak_recovery_step : the same in steps; None without d
    error : the larger of the integration's tolerance on m, 1e-8, and an estimate of the error of
        the expectations; NaN if that is not known
    """

    t: Float64
    steps: Float64 | None
    m: Float64
    e: Float64 | None
    q: Float64 | None
    risk: Float64
    weak_recovery: float
    weak_recovery_step: float | None
    error: float
    rows: Float64 | None = None

    def plot(self, ax: Axes | None = None, *, time: bool = False) -> Axes:
        """Draw m and e against steps (or t), as absolute values, in the style of `Result.plot`."""
        drawing.load()  # before matplotlib is imported
        from ..plots.theory import plot_flow

        return plot_flow(self, ax, time)


def flow(
    task: models.Task,
    lr: float | models.Rate,
    d: int | None = None,
    *,
    steps: float | None = None,
    t: float | None = None,
    m: npt.ArrayLike | None = None,
    e: npt.ArrayLike | None = None,
    q: npt.ArrayLike | None = None,
    eta: float | None = None,
    halt: bool = False,
    inhibitive: bool = True,
    tokens: str | models.Tokens = "gaussian",
    estar: npt.ArrayLike | None = None,
    records: int = 200,
) -> Flow:
    """Integrate the flow from a given start.

    Parameters
    ----------
    task : Task
    lr : float, or with d PowerLaw, Decay or Piecewise
    d : int, optional
        Token dimension. It converts time to steps: t = (integral of lr over steps) / d.
    steps, t : float
        End of the integration: give one of the two; steps need d.
    m : number or (L,)
        Overlaps at the start. None means 1 / sqrt d, which needs d.
    e : (L,), Opposite and one weight a number
        Positional overlaps at the start. None means 0.
    q : (L,) or (L, L)
        For normalization="global", the squared norms at the start, with mean 1; None means 1. For
        untied weights under correlated tokens, also all overlaps w_l . w_k / d; None means rows
        that have nothing in common except m and e.
    eta : float in (0, 1], optional
        Threshold of weak recovery. The flow tends to 1 but reaches it only if it starts there.
    halt : bool
        Whether to stop at eta.
    inhibitive : bool
        False leaves out the terms in the learning rate that stop learning: the spherical gradient
        flow.
    tokens : "gaussian" or Correlated
    estar : (L,), optional
        P w* / sqrt d, if P is not orthogonal to w*.
    records : int
        Number of evenly spaced points of the solution.

    Returns
    -------
    Flow

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong or does not fit the task.
    """
    _checks.instance("task", task, models.Task, "a Task")
    d = None if d is None else _checks.integer("d", d, 1)
    if d is None and (isinstance(lr, models.Rate) or steps is not None or m is None):
        raise ValueError(
            "d: expected an integer >= 1 where lr is a schedule, where the length is in steps, or "
            "where m is not given, got None"
        )
    if (steps is None) == (t is None):
        raise ValueError(f"steps, t: expected exactly one of them, got steps = {steps} and t = {t}")
    length = _checks.number(
        "steps" if t is None else "t", steps if t is None else t, 0, open_low=True
    )
    if t is not None and isinstance(lr, models.Rate):
        raise ValueError("t: with a schedule of learning rates the length is in steps, got t")
    n = _checks.integer("records", records, 2)
    if eta is not None:
        eta = _checks.number("eta", eta, 0, 1, open_low=True)
    right = drift(
        task,
        0.0 if isinstance(lr, models.Rate) else lr,
        inhibitive=inhibitive,
        tokens=tokens,
        estar=estar,
    )
    rate = np.nan if isinstance(lr, models.Rate) else float(lr) or np.nan
    start = initial(right, 1 / np.sqrt(d) if m is None and d is not None else m, e, q)
    clock = np.linspace(0, length, n)
    plan = None
    if d is not None and t is None:
        plan = schedule(lr, d, task.L)
        if not inhibitive:
            if isinstance(lr, models.Rate):
                raise ValueError("inhibitive: False needs a constant lr, got a schedule")
            plan, clock = None, clock * lr / d
    path = integrate(right, start, clock, plan, float(d or 1), eta=eta, halt=halt)
    s = right.setup
    time = clock if plan is None else plan.integral(clock) / float(d or 1)
    passage, passage_step = _passage(path.passage, eta, plan, d, rate)
    in_steps = None if d is None else (clock if plan is not None else clock * d / rate)
    a, overlaps, norms = np.split(path.states[:, : s.ne + s.nm + s.L], [s.ne, s.ne + s.nm], axis=1)
    alive = np.isfinite(overlaps[:, 0])
    R = np.full(n, np.nan)
    R[alive] = right.rates(path.states[alive], 0.0)[1]
    return Flow(
        time,
        in_steps,
        overlaps[:, 0] if s.tied else overlaps,
        None if not s.ne else (a[:, 0] if s.names[0] == "e" else a),
        norms if right.common else None,
        R,
        passage,
        passage_step,
        float(np.maximum(1e-8, right.error)),
        right.matrices(path.states)[0] if isinstance(right, RowsDrift) else None,
    )


def _passage(
    clock: float, eta: float | None, plan: Schedule | None, d: int | None, rate: float
) -> tuple[float, float | None]:
    """Return time and step of a passage on the clock of the integration."""
    if not np.isfinite(clock):
        clock = np.nan if eta is None else np.inf
        return clock, None if d is None else clock
    if plan is not None:
        return float(plan.integral(np.array([clock]))[0] / float(d or 1)), clock
    return clock, None if d is None else clock * d / rate


def initial(right: Drift, m: Any, e: Any, q: Any) -> Float64:
    """Check the parts of a start and return it as one state."""
    s = right.setup
    if q is not None and not right.common and not right.rows:
        raise ValueError(
            "q: only students with normalization='global' have norms that move, expected None"
        )
    Q = None
    if q is not None and right.rows and np.ndim(q) == 2:
        Q = _checks.array("q", q, (s.L, s.L))
        if np.abs(Q - Q.T).max() > 1e-12 * np.abs(Q).max():
            raise ValueError("q: expected a symmetric matrix of overlaps between rows")
        q = np.diag(Q)
    overlaps = m
    if not s.tied and np.ndim(m) == 0:
        overlaps = np.full(s.L, _checks.number("m", m))
    a, b, norms, shape = points(s, e, overlaps, np.ones(s.L) if right.common and q is None else q)
    if shape != ():
        raise ValueError(f"m: expected one start, got the shape {_checks.letters(shape)} of starts")
    if norms is not None and abs(norms.mean() - 1) > 1e-9:
        raise ValueError(f"q: expected norms with mean 1, got {norms.mean():.6g}")
    if norms is not None and not right.common and np.abs(norms - 1).max() > 1e-9:
        raise ValueError(f"q: with normalization='rows' expected norms 1, got {norms.min():.6g}")
    if Q is not None and np.linalg.eigvalsh(Q - np.outer(b[0], b[0]))[0] < -1e-9:
        raise ValueError(
            "q: expected overlaps of rows that exist, but q - m m^T is not positive semi-definite"
        )
    return np.asarray(right.states(a, b, norms if Q is None else Q[None])[0])


@dataclass(frozen=True)
class LargestRate:
    """Learning rate above which the uninformative point (e, m) = 0 attracts: `value`.

    `error` is an estimate, absolute; `growth` is the growth rate away from the point, per unit of
    t, for lr -> 0.
    """

    value: float
    error: float
    growth: float
    reason: str


def largest_lr(task: models.Task, *, tokens: str | models.Tokens = "gaussian") -> LargestRate:
    """Compute the learning rate at which the uninformative point stops being unstable.

    The linear flow at (e, m) = 0 is -G H - (gamma/2) V with G = diag(K, 1). So gamma_max = 2
    lambda_max(-G H) / V, and L times as much for weights per token. It is infinite if the gradient
    does not vanish at 0 (any rate leaves the point), and 0 if gradient and growth vanish (flatness
    above 2: at a rate of order one the noise dominates).

    Parameters
    ----------
    task : Task
    tokens : "gaussian" or Correlated

    Returns
    -------
    LargestRate
    """
    _checks.instance("task", task, models.Task, "a Task")
    chosen = engine(task, tokens)
    s = chosen.setup
    best, error = chosen.moments(
        np.zeros((1, s.ne)), np.zeros((1, s.nm)), None if s.tied else np.ones((1, s.L)), 2
    )
    assert best.hessian is not None and error.hessian is not None
    K = covariance(task, s)
    metric = np.eye(s.ne + s.nm)
    metric[: s.ne, : s.ne] = K if s.tied else np.diag(np.diag(K))
    push, doubt = np.abs(metric @ best.gradient[0]), np.abs(metric) @ error.gradient[0]
    V, dV = float(best.V[0]), float(error.V[0])
    if (push > np.maximum(10 * doubt, 1e-10)).any():
        return LargestRate(np.inf, 0.0, np.inf, "the gradient at (e, m) = 0 does not vanish")
    variance, directions = np.linalg.eigh(metric)
    root = directions * np.sqrt(np.maximum(variance, 0)) @ directions.T
    growth = float(np.linalg.eigvalsh(-root @ best.hessian[0] @ root)[-1])
    doubt = float(np.linalg.norm(root @ error.hessian[0] @ root, 2))
    if growth <= max(10 * doubt, 1e-10):
        return LargestRate(0.0, 0.0, max(growth, 0.0), "no direction at (e, m) = 0 grows linearly")
    share = 1 if s.tied else s.L
    if V <= 10 * dV + 1e-14:
        return LargestRate(np.inf, 0.0, growth, "the gradient of a sample vanishes at (e, m) = 0")
    value = 2 * growth * share / V
    return LargestRate(
        value,
        value * (doubt / growth + dV / V),
        growth,
        "linear growth against noise at (e, m) = 0",
    )


__all__ = ["Drift", "Flow", "LargestRate", "drift", "flow", "largest_lr"]
