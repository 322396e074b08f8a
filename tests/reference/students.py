"""Students f: z (..., L) -> (..., k), with delta = sum_i g_i df_i/dz for any g = d loss / d f."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermeder, hermeval
from scipy.special import erf

Array = np.ndarray[Any, Any]
Pair = tuple[Callable[[Array], Array], Callable[[Array], Array]]

_ACTIVATIONS: dict[str, Pair] = {
    "identity": (lambda u: u + 0.0, np.ones_like),
    "relu": (lambda u: np.where(u.real > 0, u, 0.0), lambda u: np.where(u.real > 0, 1.0, 0.0)),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(np.clip(u, -300, 300)) ** 2),
    "sigmoid": (
        lambda u: (1 + np.tanh(u / 2)) / 2,
        lambda u: 1 / (4 * np.cosh(np.clip(u, -300, 300) / 2) ** 2),
    ),
    "square": (lambda u: u**2, lambda u: 2 * u),
    "h2": (lambda u: (u**2 - 1) / np.sqrt(2), lambda u: np.sqrt(2) * u),
    "erf": (erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2))),
}


def hermite_series(coefficients: Sequence[float]) -> Pair:
    """sigma = sum_k c_k He_k and its derivative."""
    c = np.asarray(coefficients, dtype=float)
    return (lambda u: hermeval(u, c)), (lambda u: hermeval(u, hermeder(c)))


def activation(name: str) -> Pair:
    """sigma and its derivative, by name; "He<k>" for any k."""
    if m := re.fullmatch(r"He(\d+)", name):
        return hermite_series([0.0] * int(m[1]) + [1.0])
    return _ACTIVATIONS[name]


activation.names = list(_ACTIVATIONS)  # type: ignore[attr-defined]


def softmax_rows(scores: Array) -> Array:
    """Softmax over the last axis."""
    e = np.exp(scores - scores.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Network:
    """f = sigma((1/sqrt L) sum_l z_l): tied, untied and linear attention are all this function of
    the fields.
    """

    def __init__(self, sigma: Pair) -> None:
        self.sigma, self.slope = sigma

    def output(self, z: Array) -> Array:
        """f (..., 1)."""
        return self.sigma(z.sum(-1, keepdims=True) / np.sqrt(z.shape[-1]))

    def delta(self, z: Array, g: Array) -> Array:
        """g (..., 1) -> (..., L)."""
        L = z.shape[-1]
        return np.broadcast_to(
            g * self.slope(z.sum(-1, keepdims=True) / np.sqrt(L)) / np.sqrt(L), z.shape
        )


class Attention:
    """R(S), S_lk = exp(z_l z_k) / sum_j exp(z_l z_j)."""

    def __init__(self, reduction: str = "none", a: Any = None, b: Any = None) -> None:
        self.reduction, self.a, self.b = reduction, a, b

    def _weights(self, L: int) -> Array:
        """R as a constant matrix: f = sum_lk R_lk S_lk."""
        return np.eye(L) / np.sqrt(L) if self.reduction == "trace" else np.outer(self.a, self.b)

    def output(self, z: Array) -> Array:
        """f (..., L^2) by rows, or (..., 1)."""
        S = softmax_rows(z[..., :, None] * z[..., None, :])
        if self.reduction == "none":
            return S.reshape(*z.shape[:-1], -1)
        return (self._weights(z.shape[-1]) * S).sum((-2, -1))[..., None]

    def delta(self, z: Array, g: Array) -> Array:
        """With scores s_lk = z_l z_k: dS_lk/ds_lj = S_lk (1_kj - S_lj) and ds_lj/dz_i = 1_li z_j +
        1_ji z_l.
        """
        L = z.shape[-1]
        S = softmax_rows(z[..., :, None] * z[..., None, :])
        D = (
            g.reshape(*z.shape[:-1], L, L)
            if self.reduction == "none"
            else g[..., None] * self._weights(L)
        )
        score = S * (D - (S * D).sum(-1, keepdims=True))  # d loss / d s_lj
        return np.einsum("...ij,...j->...i", score, z) + np.einsum("...li,...l->...i", score, z)
