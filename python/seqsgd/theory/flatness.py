"""The flatness index kappa = min{k >= 1: grad^k R(0, 0) != 0}, with a verdict instead of a bare
comparison with zero (docs: "Risk, flow, landscapes, phases", Risk).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _checks, models
from .._checks import Float64
from .expectation.gaussian import hermite_table, panels
from .expectation.grid import TensorEngine, _Rule
from .expectation.network import NetworkEngine
from .expectation.setup import Setup
from .risk import engine

Array = Any
# random directions in which a homogeneous polynomial is looked at: it vanishes in all of them with
# probability 0
DIRECTIONS = 4


@dataclass(frozen=True)
class Flatness:
    """The flatness index, with a verdict.

    Attributes
    ----------
    kappa : int, or None if no order up to the last one is different from zero beyond doubt
    sizes, errors : (orders,) float64
        The largest Taylor coefficient of R of orders 1, 2, ... at (e, m) = 0 (in a few random
        directions where there are several), and an estimate of its error.
    tolerance : what counts as zero
    verdict : in words
    """

    kappa: int | None
    sizes: Float64
    errors: Float64
    tolerance: float
    verdict: str


def flatness_index(
    task: models.Task,
    *,
    orders: int = 8,
    tokens: str | models.Tokens = "gaussian",
    tolerance: float = 1e-8,
) -> Flatness:
    """Find kappa of a task: how flat the risk is at the uninformative point (e, m) = 0.

    An untied student is taken at q = 1.

    Parameters
    ----------
    task : Task
    orders : int
        Largest order that is tried.
    tokens : "gaussian" or Correlated
    tolerance : float
        A Taylor coefficient is zero if it and its error are below this, and different from zero if
        it is above this and above ten times its error.

    Returns
    -------
    Flatness
        With quasi-Monte-Carlo (long sequences without structure, and the Frobenius loss) only
        orders 1 and 2 are tried.
    """
    _checks.instance("task", task, models.Task, "a Task")
    orders = _checks.integer("orders", orders, 1, 30)
    tolerance = _checks.number("tolerance", tolerance, 0, open_low=True)
    chosen = engine(task, tokens)
    if isinstance(chosen, NetworkEngine):
        sizes, errors = _network(chosen, orders)
    elif isinstance(chosen, TensorEngine):
        fine, *others = (_tensor(rule, chosen.setup, orders) for rule in chosen.rules)
        gap = np.max([np.abs(fine - other) for other in others], axis=0)
        sizes, errors = _largest(
            fine, chosen.safety * gap + (1e-14 + chosen.setup.noise) * np.abs(fine).max()
        )
    else:
        sizes, errors = _low_orders(chosen)
    return _verdict(sizes, errors, tolerance)


def _verdict(sizes: Array, errors: Array, tolerance: float) -> Flatness:
    for k, (size, error) in enumerate(zip(sizes, errors, strict=True), start=1):
        if size > max(tolerance, 10 * error):
            return Flatness(
                k,
                sizes,
                errors,
                tolerance,
                f"order {k} is {size:.3g} +- {error:.1g}, all lower ones are 0 within "
                f"{tolerance:.1g}",
            )
        if size + error > tolerance:
            return Flatness(
                None,
                sizes,
                errors,
                tolerance,
                f"undecided: order {k} is {size:.3g} +- {error:.1g}, neither 0 within "
                f"{tolerance:.1g} nor beyond doubt different",
            )
    return Flatness(
        None, sizes, errors, tolerance, f"orders 1 to {len(sizes)} are 0 within {tolerance:.1g}"
    )


def _directions(setup: Setup) -> Array:
    """Return random unit directions of the positional parameters, (directions, e parameters)."""
    v = np.random.default_rng(1).standard_normal((1 if setup.ne < 2 else DIRECTIONS, setup.ne))
    return v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)


def _largest(coefficients: Array, errors: Array) -> tuple[Array, Array]:
    """Return the largest coefficient of each order, and the largest error: (directions, j, k) with
    order j + k -> (orders,).
    """
    orders = coefficients.shape[1] - 1
    size = [
        max(np.abs(coefficients[:, j, n - j]).max() for j in range(n + 1))
        for n in range(1, orders + 1)
    ]
    error = [max(errors[:, j, n - j].max() for j in range(n + 1)) for n in range(1, orders + 1)]
    return np.array(size), np.array(error)


def _network(chosen: NetworkEngine, orders: int) -> tuple[Array, Array]:
    """Expand R = const + E sigma^2 / 2 - sum_k p_k E sigma^(k) in powers a^j m^k."""
    s = chosen.setup
    ubar, slopes = s.c.sum() / math.sqrt(s.L), _directions(s) @ s.E.sum(axis=0) / math.sqrt(s.L)
    su = math.sqrt(chosen.share)
    if s.tied:
        p = [chosen.tied_first]
    else:
        r = np.random.default_rng(2).standard_normal((DIRECTIONS, s.L))
        p = list(chosen.terms.first(r / np.linalg.norm(r, axis=1, keepdims=True))[0])

    def all_coefficients(n: int) -> Array:
        tail = 9 + math.sqrt(4 * s.sigma_degree + orders)
        tau, w = panels(
            s.cuts(np.array([ubar]), np.array([su]), tail), n, n / 40 / max(1.0, su), tail
        )  # edges of the two rules differ
        f = s.sigma(np.ascontiguousarray(ubar + su * tau[0]))[0]
        he = hermite_table(tau[0], orders) / su ** np.arange(orders + 1)[:, None]
        one, two = he @ (w[0] * f), he @ (w[0] * f * f)
        out = np.zeros((len(slopes) * len(p), orders + 1, orders + 1))
        for i, (slope, q) in enumerate(itertools.product(slopes, p)):
            for j, k in itertools.product(range(orders + 1), repeat=2):
                if j + k <= orders:
                    label = q[k] * one[j + k] if k < len(q) else 0.0
                    out[i, j, k] = (
                        slope**j / math.factorial(j) * ((0.5 * two[j] if k == 0 else 0.0) - label)
                    )
        return chosen.factor * out

    fine, coarse = all_coefficients(20), all_coefficients(16)
    return _largest(fine, 10 * np.abs(fine - coarse) + (1e-14 + s.noise) * np.abs(fine).max())


def _tensor(rule: _Rule, s: Setup, orders: int) -> Array:
    """Do the same from E[y He_b(x)] and E[f He_b(x)] for all multi-indices b."""
    side, D = rule.side, rule.dims
    axes, weights = side.nodes(np.zeros(s.ne))
    f = _hermite(axes, weights, side.student(np.zeros(s.ne), _grid(axes))[0], orders)
    ff = _hermite(
        axes,
        weights,
        np.square(side.student(np.zeros(s.ne), _grid(axes))[0]).sum(axis=1, keepdims=True),
        orders,
    )
    x, w = rule.sources, rule.weights
    y = _hermite([x] * D, [w] * D, side.label(_grid([x] * D))[0], orders)
    out = np.zeros((1 if s.ne < 2 else DIRECTIONS, orders + 1, orders + 1))
    by_order = [
        [b for b in itertools.product(range(n + 1), repeat=D) if sum(b) == n]
        for n in range(orders + 1)
    ]
    factorial = {b: math.prod(math.factorial(i) for i in b) for n in by_order for b in n}
    for i, v in enumerate(_directions(s) @ side.Ex.T):
        for j in range(orders + 1):
            along = (
                [(g, math.prod(v[l] ** g[l] for l in range(D)) / factorial[g]) for g in by_order[j]]
                if s.ne or j == 0
                else []
            )
            out[i, j, 0] += 0.5 * sum(c * ff[g][0] for g, c in along)
            for k in range(orders + 1 - j):
                for b in by_order[k]:
                    out[i, j, k] -= (
                        sum(c * (y[b] @ f[tuple(np.add(b, g))]) for g, c in along) / factorial[b]
                    )
    return (s.factor or 1.0) * out


def _grid(axes: list[Array]) -> Array:
    return np.stack([g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _hermite(axes: list[Array], weights: list[Array], values: Array, orders: int) -> Array:
    """Compute E[values He_b] for all b: (orders + 1, ..., orders + 1, outputs)."""
    out = values.reshape(*[len(x) for x in axes], -1)
    for axis, (x, w) in enumerate(zip(axes, weights, strict=True)):
        out = np.moveaxis(np.tensordot(hermite_table(x, orders) * w, out, axes=(1, axis)), 0, axis)
    return out


def _low_orders(chosen: Any) -> tuple[Array, Array]:
    s = chosen.setup
    best, error = chosen.moments(
        np.zeros((1, s.ne)), np.zeros((1, s.nm)), None if s.tied else np.ones((1, s.L)), 2
    )
    return np.array([np.abs(best.gradient).max(), np.abs(best.hessian).max() / 2]), np.array(
        [error.gradient.max(), error.hessian.max() / 2]
    )


__all__ = ["Flatness", "flatness_index"]
