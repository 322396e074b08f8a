"""One-pass spherical SGD, step by step, on any number of weights side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Sgd:
    """The weights of a student and the step that moves them.

    Parameters
    ----------
    w : (..., n, d)
        Initial weights, n = 1 (shared by all tokens) or n = L (one each); axes in front run side by
        side.
    wstar : (..., d)
    fields : callable
        (z* (..., L), z (..., L)) -> loss (...), delta (..., L).
    P : (L, d), optional
        Positional encoding.
    c : (L,), optional
        Injected constants.
    sphere : "shared", "rows" or "global"
    projected : bool
    """

    def __init__(
        self,
        w: Array,
        wstar: Array,
        fields: Callable[[Array, Array], tuple[Array, Array]],
        P: Any = None,
        c: Any = None,
        sphere: str = "shared",
        projected: bool = False,
    ) -> None:
        self.w, self.wstar, self.fields, self.P, self.c = (
            np.array(w, dtype=np.float64),
            wstar,
            fields,
            P,
            c,
        )
        self.sphere, self.projected = sphere, projected
        self.d = wstar.shape[-1]

    def step(self, X: Array, gamma: Any, fields: Any = None) -> Array:
        """One step on X (L, d), the same for all, or (..., L, d), at learning rate gamma, a number
        or (...). Returns the loss before it.
        """
        w = self.w
        tokens = X if self.P is None else X + self.P / np.sqrt(self.d)  # x_l + p_l / sqrt d
        z = (tokens * w).sum(-1)  # a shared w is broadcast over the tokens
        if self.c is not None:
            z = z + self.c
        zstar = np.broadcast_to((X * self.wstar[..., None, :]).sum(-1), z.shape)
        loss, delta = (fields or self.fields)(zstar, z)
        self.delta = delta
        G = delta[..., :, None] * tokens
        if self.sphere == "shared":
            G = G.sum(-2, keepdims=True)
        axes = (-2, -1) if self.sphere == "global" else (-1,)
        if self.projected:
            G = G - w * (G * w).sum(axes, keepdims=True) / (w * w).sum(axes, keepdims=True)
        v = w - np.asarray(gamma)[..., None, None] * G
        radius = np.sqrt(self.d * (w.shape[-2] if self.sphere == "global" else 1))
        self.w = v * radius / np.sqrt((v * v).sum(axes, keepdims=True))
        return loss

    @property
    def m(self) -> Array:
        """w . w* / d, (..., n)."""
        return (self.w * self.wstar[..., None, :]).sum(-1) / self.d

    @property
    def q(self) -> Array:
        """||w||^2 / d, (..., n)."""
        return (self.w**2).sum(-1) / self.d

    @property
    def e(self) -> Array:
        """p_l . w / sqrt d, (..., L); empty without P."""
        if self.P is None:
            return np.empty((*self.w.shape[:-2], 0))
        return (self.P * self.w).sum(-1) / np.sqrt(self.d)


def decay(lr: float, t0: float, power: float) -> Callable[[int], float]:
    """gamma(tau) = lr (1 + tau / t0)^-power."""
    return lambda tau: lr * (1 + tau / t0) ** -power


def piecewise(pieces: Sequence[tuple[int, float]]) -> Callable[[int], float]:
    """The rate of the last piece that has begun."""
    return lambda tau: [rate for begin, rate in pieces if begin <= tau][-1]
