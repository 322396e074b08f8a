"""The pole that SGD learns from the uninformative point, for softmax attention with opposite
positions and half square loss (*ours*).

Near (e, m) = 0 the flow is linear, and noise of single samples adds up to m(t) = exp(lambda_m t) M,
e(t) = exp(lambda_e t) E, t = lr tau / d, with M ~ N(m_0, lr S_mm / (2 d lambda_m)) and E ~ N(0, lr
S_ee / (2 d lambda_e)), S the covariance of what a sample contributes. From starts (E, M) with this
law, the flow without noise goes to one pole or the other. With m_0 ~ 1/sqrt d all logarithms are
(1/2) log d + O(1). So the fraction of semantic runs is a step at lambda_m = lambda_e, smeared over
a width of order 1 / log d, and shifted by as much, since a start at m_0 > 0, e_0 = 0 favours m.

The risk and V are quadratic in omega (docs: "Risk, flow, landscapes, phases", Landscape and
phases), so three fields are enough for all of them.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np

from ..models import Attention, Opposite, PositionalSemantic, Task
from ..theory._diffusion import covariance
from ..theory._drift import field
from ..theory.expectation.interpolation import Chebyshev
from ..theory.risk import engine

DRAWS = 2000
STEP = 1.0  # of t, a few per cent of the flow's time scales
LINEAR = 0.03  # size of (e, m) up to which the flow is taken to be linear
NODES = (0.0, 0.5, 1.0)


def task(omega: float, loss: str = "half_square", a: float = 1.0) -> Task:
    """Return the task: softmax attention with opposite positions learns the target of the phase
    diagram.
    """
    return Task(PositionalSemantic(omega=omega, a=a), Attention(position=Opposite()), loss=loss)


def _weights(omega: float) -> tuple[float, float, float]:
    """Return Lagrange's weights for the three nodes."""
    return (2 * omega - 1) * (omega - 1), 4 * omega * (1 - omega), omega * (2 * omega - 1)


@functools.lru_cache(maxsize=64)
def _field(omega: float) -> Chebyshev:
    """Return R, dR/de, dR/dm and V as a series in (e, m), as short as 1e-7 allows."""
    near = [field(task(node)).near for node in NODES]
    order = max(n.coefficients.shape[0] for n in near if n is not None)
    whole = np.zeros((order, order, 4))
    for weight, n in zip(_weights(omega), near, strict=True):
        assert n is not None
        k = n.coefficients.shape[0]
        whole[:k, :k] += weight * n.coefficients
    keep = order
    while (
        keep > 2
        and max(np.abs(whole[keep - 1 : order]).max(), np.abs(whole[:, keep - 1 : order]).max())
        < 1e-7
    ):
        keep -= 1
    made = copy.copy(near[0])
    assert made is not None
    made.coefficients = whole[:keep, :keep]
    return made


def drift(omega: float, lr: float, x: Any) -> Any:
    """Return d(e, m)/dt, inhibitive terms included (docs: "Risk, flow, landscapes, phases", Flow),
    at x of shape (n, 2).
    """
    f = _field(omega)(x)
    g, V = f[:, 1:3], f[:, 3:]
    return -g + x * np.sum(x * g, axis=1, keepdims=True) - lr / 2 * V * x


def rates(omega: float, lr: float) -> Any:
    """Return lambda_e and lambda_m."""
    h = 1e-3
    return np.array(
        [
            (drift(omega, lr, h * unit) - drift(omega, lr, -h * unit))[0, i] / (2 * h)
            for i, unit in enumerate(np.eye(2)[:, None, :])
        ]
    )


@functools.lru_cache(maxsize=256)
def _noise(omega: float) -> tuple[float, float]:
    S = covariance(engine(task(omega)).setup, np.eye(1), np.random.default_rng(0))
    return float(S[0, 0]), float(S[1, 1])


def semantic_share(
    omega: float, d: float, lr: float, m0: float | None = None, seed: int = 0
) -> float:
    """Return the probability that a run from (e, m) = (0, m_0), m_0 = 1/sqrt d if None, learns the
    semantic pole.
    """
    growth = rates(omega, lr)
    noise = np.array(_noise(omega))
    g = np.random.default_rng(seed).standard_normal((DRAWS, 2))
    # a direction that does not grow keeps the noise of its stationary state, which is as small
    x = np.sqrt(lr / d * noise / (2 * np.maximum(np.abs(growth), 1e-3))) * g + [
        0.0,
        d**-0.5 if m0 is None else m0,
    ]
    grows = growth > 1e-3
    if not grows.any():
        return float("nan")
    with np.errstate(divide="ignore"):  # as far as the flow is linear it is an exponential
        ahead = np.min(np.log(LINEAR / np.abs(x[:, grows])) / growth[grows], axis=1, keepdims=True)
    x *= np.exp(growth * np.maximum(ahead, 0))
    alive = np.arange(DRAWS)
    for _ in range(int(30 / growth.max() / STEP)):
        y = x[alive]
        x[alive] = y + STEP * drift(omega, lr, y + STEP / 2 * drift(omega, lr, y))
        alive = alive[
            np.max(np.abs(x[alive]), axis=1) < 0.8
        ]  # nearer to a pole the way is decided: the separatrix runs between them
        if not alive.size:
            break
    return float(np.mean(np.abs(x[:, 1]) > np.abs(x[:, 0])))
