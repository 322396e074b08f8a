"""The order parameters alone, many runs side by side (docs: notation, section 4), every row of
weights in one common basis of span{w*, p_1 .. p_L}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Reduced:
    """Coordinates y of w / sqrt d along the basis, the first along w*, and the length s of what w
    has beside it.

    Parameters
    ----------
    y : (runs, n, D)
        n = 1 (weights shared by all tokens) or n = L.
    s : (runs, n)
        Zero throughout if D = d.
    fields : callable
        (z* (..., L), z (..., L)) -> loss (...), delta (..., L).
    d : int
    rng : Generator
    P : (L, D), optional
        Rows p_l in the basis.
    c : (L,), optional
    sphere : "shared", "rows" or "global"
    projected : bool
    covariance : (L, L), optional
        Of the tokens; one row of weights only.
    mean_chi : bool
        Replaces the chi-square by its mean, which is wrong at finite d: for tests of power.
    """

    def __init__(
        self,
        y: Array,
        s: Array,
        fields: Callable[[Array, Array], tuple[Array, Array]],
        d: int,
        rng: np.random.Generator,
        P: Any = None,
        c: Any = None,
        sphere: str = "shared",
        projected: bool = False,
        covariance: Any = None,
        mean_chi: bool = False,
    ) -> None:
        self.y, self.s, self.fields, self.d, self.rng = (
            np.array(y, dtype=float),
            np.array(s, dtype=float),
            fields,
            d,
            rng,
        )
        self.P, self.c, self.sphere, self.projected, self.covariance, self.mean_chi = (
            P,
            c,
            sphere,
            projected,
            covariance,
            mean_chi,
        )

    def step(self, L: int, gamma: float) -> Array:
        """One step of every run. Returns the loss before it."""
        (runs, n, D), g = self.y.shape, gamma / self.d
        C = np.eye(L) if self.covariance is None else self.covariance
        values, vectors = np.linalg.eigh(C)  # which may be singular
        root = vectors * np.sqrt(np.maximum(values, 0))
        a = np.einsum(
            "lk,rkj->rlj", root, self.rng.standard_normal((runs, L, D))
        )  # xi_l along the basis
        b = self.rng.standard_normal((runs, L)) @ root.T  # and along the rest of w
        shift = 0.0 if self.P is None else self.P
        y, s = np.broadcast_to(self.y, (runs, L, D)), np.broadcast_to(self.s, (runs, L))
        z = ((a + shift) * y).sum(-1) + b * s
        loss, delta = self.fields(a[..., 0], z if self.c is None else z + self.c)
        along_basis, along_rest = delta[..., None] * (a + shift), delta * b
        if n == 1:
            along_basis, along_rest = (
                along_basis.sum(1, keepdims=True),
                along_rest.sum(1, keepdims=True),
            )
            spread = np.einsum("rl,lk,rk->r", delta, C, delta)[:, None]
        else:
            spread = delta**2
        free = max(self.d - D - 1, 0)
        chi = (
            np.full((runs, n), float(free))
            if self.mean_chi or free == 0
            else self.rng.chisquare(free, (runs, n))
        )
        if D == self.d:
            along_rest = np.zeros_like(along_rest)
        inner = (along_basis * self.y).sum(-1) + along_rest * self.s  # v . w / sqrt d
        if self.sphere == "global":
            inner = np.broadcast_to(inner.mean(-1, keepdims=True), inner.shape)
        pull = inner if self.projected else 0.0 * inner
        y_new = self.y - g * (along_basis - pull[..., None] * self.y)
        s2 = (self.s - g * (along_rest - pull * self.s)) ** 2 + g**2 * spread * chi
        N2 = (y_new**2).sum(-1) + s2
        if self.sphere == "global":
            N2 = N2.mean(-1, keepdims=True)
        self.y, self.s = y_new / np.sqrt(N2)[..., None], np.sqrt(s2 / N2)
        return loss

    @property
    def m(self) -> Array:
        """w . w* / d, (runs, n)."""
        return self.y[..., 0]

    @property
    def q(self) -> Array:
        """||w||^2 / d, (runs, n)."""
        return (self.y**2).sum(-1) + self.s**2

    @property
    def e(self) -> Array:
        """p_l . w / sqrt d, (runs, L); empty without P."""
        return np.empty((len(self.y), 0)) if self.P is None else (self.P * self.y).sum(-1)
