"""How many samples: laws in d, weak-recovery times at finite d, the best learning rate (docs: "What
is known without a simulation", Sample complexity).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import _checks, models
from .._checks import Float64
from .._lazy import scipy
from ..models.rates import PowerLaw, constant
from ._diffusion import noisy_times
from ._gain import Gain, doubts, gain
from ._leading import (
    MAX_ORDER,
    BestRate,
    LeadingOrder,
    checked_start,
    equal_rows,
    pairing,
    student_coefficients,
)
from ._passage import random_starts, times
from .expectation.activation import Coefficients
from .expectation.expansion import expansion
from .flatness import flatness_index
from .flow import drift
from .hermite import Exponent, hermite, sie
from .risk import risk
from .tensors.norms import one_sided

NEVER = 1e4  # in place of the logarithm of infinitely many steps


@dataclass(frozen=True)
class Complexity:
    """The law of the samples (= steps) until weak recovery, from r_0 ~ d^(-1/2), at the best
    learning rate, for d -> infinity.

    `best`, `steps` and `prefactor` start where `simulate` does by default, at `Overlap()`: m_0 = 1
    / sqrt d, in every row of untied weights. There rows that are alike stay so if the link treats
    all tokens alike; otherwise what counts is their part along the direction that grows fastest.
    From a uniform start ||m|| / sqrt L is 1 / sqrt d too, but only 1 / sqrt(d L) of it lies along
    one direction: give r0 for that.

    Attributes
    ----------
    sie : Exponent
        Exponent of the link only.
    k : int or None
        Exponent of this student: the first order that acts on its overlaps; None if none does
        ("never"). With positional vectors, or with the Frobenius loss, it is the flatness index,
        which an encoding can lower below the SIE.
    leading : LeadingOrder or None
        dr/dt = b r^(k-1) - lr noise r / 2, t = lr tau / d, with r = |m|, untied ||m|| / sqrt L
        along the direction that grows fastest. None if the risk near (e, m) = 0 does not depend on
        r only; prefactors and steps are then nan.
    sign : int
        For odd k the sign of m that grows (k = 1: to which m is driven), 0 for even k, for untied
        weights and where `leading` is None.
    b_error, noise_error : float
        From those of the tensors, the coefficients and the risk: estimates where these are
        (quasi-Monte Carlo: one standard error of the tensors).
    d_exponent, log_exponent, lr_exponent : float
        steps ~ d^d_exponent (log d)^log_exponent at lr ~ d^lr_exponent; nan if never.
    note : str
        What prevents learning, or what is neglected; "" otherwise.
    from_start : LeadingOrder or None
        The same as `leading` for a start with equal rows, if they stay equal; otherwise `leading`.
    share : float
        r_0 sqrt d of the default start along the direction of `from_start`: 1 for one weight.
    decided : bool
        False if no order was found because an error is too large, not because there is none; k is
        then None, exponents and steps are nan.
    """

    task: models.Task
    sie: Exponent
    k: int | None
    leading: LeadingOrder | None
    sign: int
    b_error: float
    noise_error: float
    note: str
    from_start: LeadingOrder | None = None
    share: float = 1.0
    decided: bool = True

    @property
    def learns(self) -> bool:
        """Whether the flow is known to leave the uninformative point at some learning rate."""
        return self.leading is not None and self.leading.b > 0

    @property
    def d_exponent(self) -> float:
        return math.nan if self.k is None else float(max(self.k - 1, 1))

    @property
    def log_exponent(self) -> float:
        return math.nan if self.k is None else float(self.k == 2)

    @property
    def lr_exponent(self) -> float:
        return math.nan if self.k is None else -max(self.k / 2 - 1, 0.0)

    def start(self, d: float) -> float:
        """Return r_0 of the default start `Overlap()`: 1 / sqrt d, for untied weights its component
        along the direction of `from_start`.
        """
        return self.share / math.sqrt(_checks.number("d", d, 1))

    def best(self, d: float, eta: float, r0: float | None = None) -> BestRate:
        """Return the learning rate with the fewest steps to eta, and the number of steps, to
        leading order; (nan, inf) if eta is never reached.

        Parameters
        ----------
        d : number >= 1
        eta : number in (0, 1]
            Larger than the start. The leading order does not describe the neighbourhood of 1, which
            the flow never reaches.
        r0 : number in [0, 1], optional
            ||m|| / sqrt L of a start along the direction that grows fastest. None uses the default
            start.
        """
        start, eta, law = self._from(d, eta, r0)
        if start >= eta:
            raise ValueError(
                f"eta: expected a number above the start r_0 = {start:.6g}, got {eta:.6g}"
            )
        if law is None or law.b <= 0:
            return BestRate(math.nan, self._none)
        lr = law.best_lr(start, eta)
        return BestRate(lr, math.inf if math.isnan(lr) else law.steps(d, lr, start, eta))

    def steps(self, d: float, lr: float, eta: float, r0: float | None = None) -> float:
        """Return the steps to eta at a learning rate, to leading order; d, eta and r0 as for
        `best`. They are 0 from a start beyond eta.
        """
        lr = _checks.number("lr", lr, 0, open_low=True)
        start, eta, law = self._from(d, eta, r0)
        return self._none if law is None else law.steps(d, lr, start, eta)

    def _from(
        self, d: float, eta: float, r0: float | None
    ) -> tuple[float, float, LeadingOrder | None]:
        start = self.start(d)
        law = self.from_start or self.leading
        if r0 is not None:
            start, law = r0, self.leading
        return *checked_start(start, eta), law

    def prefactor(self, eta: float) -> float:
        """A in steps ~ A d^d_exponent (log d)^log_exponent from the default start at the best
        learning rate, d -> infinity.
        """
        eta = _checks.number("eta", eta, 0, 1, open_low=True)
        law = self.from_start or self.leading
        if law is None or law.b <= 0:
            return self._none
        k, scale = law.k, law.noise / law.b**2
        if k == 2:
            return scale if self.share > 0 else math.inf
        least = 2.4554074  # min over x of -log(1 - x) / x^2
        if k == 1:
            return least / 2 * scale * eta**2
        return (
            least / 2 * scale / ((k - 2) * self.share ** (2 * k - 4))
            if self.share > 0
            else math.inf
        )

    @property
    def _none(self) -> float:
        return (
            math.nan
            if not self.decided or (self.k is not None and self.leading is None)
            else math.inf
        )

    def __repr__(self) -> str:
        if self.k is None:
            return f"Complexity({'never' if self.decided else 'undecided'}: {self.note})"
        d = (
            {0.0: "d", 1.0: "d log d"}[self.log_exponent]
            if self.d_exponent == 1
            else f"d^{self.d_exponent:g}"
        )
        if self.leading is None:
            return f"Complexity(k = {self.k}: {d} at lr ~ d^{self.lr_exponent:g}, {self.note})"
        rate = (
            f"b = {self.leading.b:.6g} +- {self.b_error:.1g}, V = {self.leading.noise:.6g} +- "
            f"{self.noise_error:.1g}"
        )
        return (
            f"Complexity(k = {self.k}: {d} at lr ~ d^{self.lr_exponent:g}, "
            f"{rate}{', ' + self.note if self.note else ''})"
        )


def complexity(
    task: models.Task,
    *,
    tol: float = 1e-9,
    max_order: int = MAX_ORDER,
    points: int | None = None,
    rng: int = 0,
) -> Complexity:
    """Derive the sample-complexity law of a task: exponents, and prefactors from the flow to
    leading order at the uninformative point (e, m) = 0.

    With r = |m| (untied ||m|| / sqrt L) the flow is dr/dt = b r^(k-1) - (lr / 2) V r. The number of
    steps at the best learning rate follows: proportional to d for k = 1, to d log d for k = 2, to
    d^(k-1) for k >= 3 with lr ~ d^-(k/2-1). For k >= 2 the diffusion of m is neglected, which
    changes prefactors by a factor of order one; `weak_recovery(noise=True)` includes it.

    Parameters
    ----------
    task : Task
        With positional vectors or the Frobenius loss only the exponents are available
        (`flatness_index`); `weak_recovery` gives the times.
    tol, points, rng : as for `sie`
    max_order : int
        Largest order that is tried, for links that are integrated.

    Returns
    -------
    Complexity

    Raises
    ------
    ValueError
        If the link is constant.
    """
    _checks.instance("task", task, models.Task, "a Task")
    exponent = sie(task, tol=tol, max_order=max_order, points=points, rng=rng)
    factor = task._half_squares
    if factor is None or isinstance(task.student.position, (models.Opposite, models.Positions)):
        flat = flatness_index(task, orders=min(max_order, 8))
        lower = (
            flat.kappa is not None and exponent.value is not None and flat.kappa < exponent.value
        )
        note = f"below the link's {exponent.value}" if lower else flat.verdict
        return Complexity(
            task, exponent, flat.kappa, None, 0, 0.0, 0.0, note, decided=flat.kappa is not None
        )
    R = risk(task, m=0.0 if task.student.weights == "shared" else np.zeros(task.L), hessian=False)
    V, dV = float(R.V), float(R.V_error)
    polynomial = expansion(task.teacher)
    last = polynomial.degree if polynomial is not None else max_order
    c = student_coefficients(task, last)
    first = exponent.value or 1
    if task.student.weights == "shared":
        for k in range(first, last + 1):
            p = pairing(task, k, points, rng, c)
            if p.nonzero:
                scale = factor / math.factorial(k - 1)
                sign = (1 if p.value > 0 else -1) if k % 2 else 0
                b = scale * p.value * (sign or 1)
                note = "" if b > 0 else f"order {k} drives m back to 0: <C_{k}(g), C_{k}(f)> < 0"
                if note == "" and exponent.value is not None and k > exponent.value:
                    note = f"the link's order {exponent.value} does not act on this student"
                note = ", ".join(x for x in (note, doubts(exponent, c, first, k)) if x)
                return Complexity(
                    task, exponent, k, LeadingOrder(k, b, V), sign, scale * p.error, dV, note
                )
        return _none(task, exponent, dV, f"no order up to {last} acts on m", c, first, last)
    assert c is not None
    for k in range(first, last + 1):
        C = hermite(task, k, points=points, rng=rng)
        if not c.nonzero(k) or C.sigmas() <= (0 if C.exact else 6):
            continue
        top = one_sided(C[0], float(np.sign(c[k])), np.random.default_rng(rng))
        scale = factor * abs(c[k]) / (task.L * math.factorial(k - 1))
        note = "" if top.lower > 0 else f"order {k} drives m back to 0 in every direction"
        if note == "" and k > (exponent.value or k):
            note = f"the activation has no part of order {exponent.value}"
        b = scale * top.value
        error = scale * (top.upper - top.lower) / 2 + abs(b / c[k]) * c.error[k]
        alike, share = equal_rows(C[0], float(np.sign(c[k])), top.vector)
        start = LeadingOrder(k, b if alike is None else scale * alike, V / task.L)
        note = ", ".join(x for x in (note, doubts(exponent, c, first, k)) if x)
        return Complexity(
            task,
            exponent,
            k,
            LeadingOrder(k, b, V / task.L),
            0,
            error,
            dV / task.L,
            note,
            start,
            share,
        )
    return _none(
        task,
        exponent,
        dV,
        f"the activation and the link have no order up to {last} in common",
        c,
        first,
        last,
    )


def _none(
    task: models.Task,
    exponent: Exponent,
    dV: float,
    note: str,
    c: Coefficients | None,
    first: int,
    last: int,
) -> Complexity:
    """Explain why no order was found: there is none, or errors are too large to decide."""
    doubt = doubts(exponent, c, first, last + 1)
    return Complexity(task, exponent, None, None, 0, 0.0, dV, doubt or note, decided=not doubt)


@dataclass(frozen=True, eq=False)
class RecoveryTime:
    """Predicted steps until weak recovery.

    Attributes
    ----------
    steps : (n,) float64
        Equally likely values, ascending; inf if the flow never reaches eta. n = 1 for a start
        without randomness.
    lr, d, eta : as given
    method : str
    """

    steps: Float64
    lr: float
    d: int
    eta: float
    method: str

    @property
    def never(self) -> float:
        """Fraction of starts from which the threshold is never passed."""
        return float(np.isinf(self.steps).mean())

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def quantile(self, p: float) -> float:
        """Return the number of steps that a fraction p of the runs needs at most (the smallest such
        value of the sample); inf if fewer ever pass.
        """
        p = _checks.number("p", p, 0, 1)
        return float(
            self.steps[min(max(math.ceil(p * len(self.steps)) - 1, 0), len(self.steps) - 1)]
        )

    def __repr__(self) -> str:
        if len(self.steps) == 1:
            return f"RecoveryTime({self.steps[0]:.6g} steps, eta={self.eta:g}, {self.method})"
        some = ", ".join(f"{p:.0%}: {self.quantile(p):.4g}" for p in (0.1, 0.5, 0.9))
        return (
            f"RecoveryTime({some} steps, never: {self.never:.3g}, eta={self.eta:g}, {self.method})"
        )


def weak_recovery(
    task: models.Task,
    *,
    d: int,
    lr: float | PowerLaw,
    eta: float,
    init: models.Overlap | models.Uniform | None = None,
    noise: bool = False,
    samples: int | None = None,
    tokens: str | models.Tokens = "gaussian",
    rng: int = 0,
) -> RecoveryTime:
    """Predict the step at which the flow passes ||(e, m)|| = eta (untied ||m|| / sqrt L = eta) at
    finite d.

    A random start is treated as a distribution: m_0 is a coordinate of a uniform point of the
    sphere, about N(0, 1/d). The flow itself has no noise: an overlap that starts at exactly 0 (the
    e of `Opposite`) stays there, and m of the wrong sign does not grow if the order is odd.

    Parameters
    ----------
    task : Task
    d : int
        Token dimension.
    lr : float > 0 or PowerLaw
    eta : float in (0, 1]
    init : Overlap or Uniform, optional; None means Overlap(), m_0 = 1 / sqrt d
    noise : bool
        Whether to add the diffusion during the escape, at its strength at the uninformative point;
        then even a fixed start gives a distribution. For an exponential escape (k = 2) it is a
        Gaussian spread of the start (Ornstein-Uhlenbeck, integrated). Otherwise, if the state is
        only m, paths are drawn. Not for normalization="global".
    samples : int, optional
        Number of starts that represent a distribution. None uses 2001 if only m is random,
        otherwise 64.
    tokens : "gaussian" or Correlated
    rng : int
        Seed of the starts that are drawn.

    Returns
    -------
    RecoveryTime
    """
    _checks.instance("task", task, models.Task, "a Task")
    d = _checks.integer("d", d, 1)
    _checks.instance(
        "lr", lr, (int, float, np.integer, np.floating, PowerLaw), "a number or a PowerLaw"
    )
    rate = _checks.number("lr", constant(lr, d, task.L), 0, open_low=True)
    eta = _checks.number("eta", eta, 0, 1, open_low=True)
    init = _checks.instance(
        "init",
        models.Overlap() if init is None else init,
        (models.Overlap, models.Uniform),
        "Overlap or Uniform",
    )
    init.check(d)
    task.student.check(task.L, d)
    generator = np.random.default_rng(_checks.integer("rng", rng, 0, unbounded=True))
    right = drift(task, rate, tokens=tokens)
    samples = (
        (2001 if right.names == ("m",) else 64)
        if samples is None
        else _checks.integer("samples", samples, 1)
    )
    starts = random_starts(right, init, d, samples, generator)
    if _checks.boolean("noise", noise):
        passed, method = noisy_times(right, starts, d, eta, samples, generator)
    else:
        passed, method = times(right, starts, eta), "flow"
    if np.isnan(passed).any():
        raise ArithmeticError("the flow met a value that is not finite")
    return RecoveryTime(
        np.sort(np.maximum(np.ceil(passed * d / rate - 1e-9), 0.0)), rate, d, eta, method
    )


def best_lr(
    task: models.Task,
    *,
    d: int,
    eta: float,
    init: models.Overlap | models.Uniform | None = None,
    tokens: str | models.Tokens = "gaussian",
    tol: float = 1e-3,
) -> BestRate:
    """Find the learning rate at which the flow needs the fewest steps (in the median over starts),
    and that number of steps.

    Parameters
    ----------
    task, d, eta, init, tokens : as for `weak_recovery`
    tol : float
        Tolerance on the logarithm of the learning rate.

    Returns
    -------
    BestRate
        `lr` and `steps`; (nan, inf) if no learning rate reaches eta.

    Raises
    ------
    ValueError
        If (half of) the starts are beyond eta.
    """

    tol = _checks.number("tol", tol, 0, open_low=True)
    at_once = (
        weak_recovery(task, d=d, lr=1.0, eta=eta, init=init, tokens=tokens, samples=None).median
        == 0
    )
    if at_once:
        raise ValueError(f"eta: expected a number above the overlap of the start, got {eta:.6g}")

    def steps(log_lr: float) -> float:
        return weak_recovery(
            task, d=d, lr=math.exp(log_lr), eta=eta, init=init, tokens=tokens
        ).median

    def cost(log_lr: float) -> float:
        found = steps(log_lr)
        return (
            math.log(found) if found < math.inf else NEVER + log_lr
        )  # infeasible: downhill to smaller rates

    first = np.linspace(math.log(1e-3), math.log(1e3), 25)
    values = [cost(x) for x in first]
    while min(values) >= NEVER / 2 and first[0] > math.log(1e-12):
        first = first - (first[-1] - first[0])
        values = [cost(x) for x in first]
    i = int(np.argmin(values))
    if values[i] >= NEVER / 2:
        return BestRate(math.nan, math.inf)
    low, high = first[max(i - 1, 0)], first[min(i + 1, len(first) - 1)]
    found = scipy.optimize.minimize_scalar(
        cost, bounds=(low, high), method="bounded", options={"xatol": tol}
    )
    x = float(found.x) if found.fun < values[i] else float(first[i])
    return BestRate(math.exp(x), steps(x))


__all__ = [
    "BestRate",
    "Complexity",
    "Gain",
    "RecoveryTime",
    "best_lr",
    "complexity",
    "gain",
    "weak_recovery",
]
