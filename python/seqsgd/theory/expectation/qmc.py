"""Expectations for any task at any L by randomised quasi-Monte-Carlo: scrambled Sobol points for
(z*, noise), each with its mirror image in the part of z independent of z*.

z = mu + B (m x* + s eta), s^2 = v = 1 - m^2. First derivatives are means of delta, second ones by
Stein's lemma in eta; the mirror image keeps the weights 1/s harmless in first derivatives as s -> 0
(second ones lose a factor of 1/s more, which their error shows). Errors are four standard errors
over replicates.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..._lazy import scipy
from .setup import Moments, Setup

Array = Any
LEAST_SPREAD = 1e-4


class QmcEngine:
    """See the module.

    Parameters
    ----------
    setup : Setup
    points : int
        Points per replicate, a power of two.
    replicates : int
    """

    method = "randomised quasi-Monte-Carlo"

    def __init__(self, setup: Setup, points: int = 4096, replicates: int = 16) -> None:
        self.setup = setup
        variance, directions = np.linalg.eigh(setup.C)
        keep = variance > 1e-12 * variance.max()
        self.B = (
            np.eye(setup.L) if setup.independent else directions[:, keep] * np.sqrt(variance[keep])
        )
        self.r = self.B.shape[1]
        self.Ex = np.linalg.pinv(self.B) @ setup.E
        self.points, self.replicates = points, replicates

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments:
        """Return the estimates only; the points are always the same, so they are smooth in (a,
        m).
        """
        return self.moments(a, m, q, order)[0]

    def moments(self, a: Array, m: Array, q: Array | None, order: int) -> tuple[Moments, Moments]:
        """See NetworkEngine."""
        each = [
            self._replicate(i, a, m, np.ones_like(m) if q is None else q, order)
            for i in range(self.replicates)
        ]

        def reduce(how: Any) -> Moments:
            def of(name: str) -> Any:
                values = [getattr(x, name) for x in each]
                return None if values[0] is None else how(np.stack(values))

            return Moments(of("value"), of("gradient"), of("hessian"), of("V"), of("dR_dq"))

        root = np.sqrt(self.replicates)
        return reduce(lambda x: x.mean(axis=0)), reduce(
            lambda x: 4 * x.std(axis=0, ddof=1) / root + 1e-15 * np.abs(x).max(axis=0)
        )

    def _draw(self, replicate: int) -> tuple[Array, Array, Array]:

        dims = 2 * self.r + (self.setup.task.k if self.setup.task.noise > 0 else 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # points need not be a power of two
            u = scipy.stats.qmc.Sobol(
                dims, scramble=True, rng=np.random.default_rng([20250602, replicate])
            ).random(self.points)
        x = scipy.special.ndtri(np.clip(u, 2.0**-40, 1 - 2.0**-40))
        return x[:, : self.r], x[:, self.r : 2 * self.r], x[:, 2 * self.r :]

    def _replicate(self, replicate: int, a: Array, m: Array, q: Array, order: int) -> Moments:
        xs, eta, noise = self._draw(replicate)
        s = self.setup
        y = s.core.target(np.ascontiguousarray(xs @ self.B.T))
        n, p = len(m), s.ne + s.nm
        out = Moments(
            np.zeros(n),
            np.zeros((n, p)),
            np.zeros((n, p, p)) if order > 1 else None,
            np.zeros(n),
            None if s.tied else np.zeros((n, s.L)),
        )
        for i in range(n):
            spread = np.sqrt(np.maximum(q[i] - m[i] ** 2, LEAST_SPREAD**2))  # (1,) or (L,)
            for sign in (1.0, -1.0):
                self._add(out, i, xs, sign * eta, y, noise, a[i], m[i], spread, order)
        return out

    def _add(
        self,
        out: Moments,
        i: int,
        xs: Array,
        eta: Array,
        y: Array,
        noise: Array,
        a: Array,
        m: Array,
        s: Array,
        order: int,
    ) -> None:
        setup, half = self.setup, 0.5 / len(xs)
        task = setup.task
        z = np.ascontiguousarray(setup.c + setup.E @ a + (m * xs + s * eta) @ self.B.T)
        if task.noise > 0 and setup.factor is None:
            loss, delta = setup.core.evaluate_labels(y + np.sqrt(task.noise) * noise, z)
        else:
            loss, delta = setup.core.evaluate_labels(y, z)
        g, da = delta @ self.B, delta @ setup.E
        out.value[i] += half * loss.sum()
        out.V[i] += half * np.square(g).sum()
        if (
            task.noise > 0 and setup.factor is not None
            # square losses: the noise enters in closed form, with a random direction in place of
            # the
            # trace
        ):
            out.value[i] += 0.5 * setup.factor * task.k * task.noise / 2
            out.V[i] += (
                half
                * task.noise
                * np.square((setup.core.evaluate_labels(y + noise, z)[1] - delta) @ self.B).sum()
            )
        if order < 1:
            return
        ne = setup.ne
        out.gradient[i, :ne] += half * da.sum(axis=0)
        along, apart = g * xs, g * eta
        if setup.tied:  # one overlap for all tokens
            along, apart = along.sum(axis=1, keepdims=True), apart.sum(axis=1, keepdims=True)
        dR_dq = half * apart.sum(axis=0) / (2 * s)  # dPhi / dv
        out.gradient[i, ne:] += half * along.sum(axis=0) - 2 * m * dR_dq
        if out.dR_dq is not None:
            out.dR_dq[i] += dR_dq
        if order < 2 or out.hessian is None:
            return
        h = out.hessian[i]
        if setup.tied:
            v, by = s[0] ** 2, eta @ self.Ex / s[0]
            size = np.square(eta).sum(axis=1)
            h[:ne, :ne] += half * (da.T @ by + by.T @ da) / 2
            mixed = half * (
                along[:, 0] @ by - (m[0] / s[0]) * (apart[:, 0] @ by - da.sum(axis=0) / s[0])
            )
            h[:ne, ne] += mixed
            h[ne, :ne] += mixed
            mm = (
                along[:, 0] @ (eta * xs).sum(axis=1) / s[0]
                - 2 * m[0] / v * (along[:, 0] @ (size - self.r))
                + m[0] ** 2 / s[0] ** 3 * (apart[:, 0] @ (size - self.r - 2))
            )
            h[ne, ne] += half * mm - 2 * dR_dq[0]
            return
        second = (np.square(eta) - 1) / s**2
        mm = along.T @ (eta * xs / s) - (along.T @ second) * m - ((along.T @ second) * m).T
        vv = (apart / s).T @ second
        vv[np.diag_indices(setup.L)] = (g * (eta**3 - 3 * eta) / s**3).sum(axis=0)
        mm = mm + np.multiply.outer(m, m) * vv
        h[ne:, ne:] += half * (mm + mm.T) / 2 - 2 * np.diag(dR_dq)
        if ne:
            by = eta / s
            h[:ne, :ne] += half * (da.T @ by + by.T @ da) / 2
            mixed = half * (
                along.T @ by - (m / s)[:, None] * (apart.T @ by - np.diag(g.sum(axis=0) / s))
            )
            h[ne:, :ne] += mixed
            h[:ne, ne:] += mixed.T


__all__ = ["QmcEngine"]
