"""The flow of untied weights under correlated tokens, whose rows interact through Q_lk = w_l . w_k
/ d (docs: "Risk, flow, landscapes, phases", Flow).

u = (1/sqrt L) sum_l z_l is Gaussian with variance s^2 = (1/L) sum_lk C_lk Q_lk and E[z*_l u] = r_l
= (1/sqrt L) sum_k C_lk m_k, so R depends on these and on the mean of u. Let delta = dloss/du,
alpha_l = dR/dm_l at fixed Q, beta = (2/L) dR/ds^2 = E[d delta / du] / L, epsilon = E[delta] / sqrt
L and V = E[delta^2]. Stein's lemma gives the mean step of the rows W (L, d). The part of the noise
that does not average out is (gamma/L) V C in Q:

    dW/dt = -(alpha w*^T + beta C W + epsilon sqrt(d) P) + Lambda W
    dm/dt = -(alpha + beta C m + epsilon e*) + Lambda m
    dF/dt = -(alpha e*^T + beta C F + epsilon K) + Lambda F
    dQ/dt = -(U + U^T) + gamma (V/L) C + Lambda Q + Q Lambda

with U = alpha m^T + beta C Q + epsilon F^T, F_lk = w_l . p_k / sqrt d and Lambda_l = U_ll -
(gamma/2) (V/L) C_ll, on a common sphere their mean.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np

from .. import _checks, models
from .._checks import Float64
from .._lazy import scipy
from ..models.identity import remembered
from ._drift import Drift, covariance
from .expectation.link_terms import LinkTerms, terms_of
from .expectation.network import NetworkEngine, SigmaMoments
from .expectation.qmc import LEAST_SPREAD
from .expectation.setup import Moments, Setup
from .expectation.wick import ProjectedLink, moved

Array = Any


class Expectations(Protocol):
    """A method to compute expectations at the diagonal of F a (n, e parameters), m (n, L) and Q (n,
    L, L). The gradient is (epsilon, alpha), V is E[delta^2], dR_dq is beta / 2.
    """

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments: ...


class RowsEngine(NetworkEngine):
    """Expectations for square losses and polynomial links: the link's polynomial in r, and
    integrals over u.
    """

    def __init__(self, setup: Setup, link: tuple[ProjectedLink, ProjectedLink]) -> None:
        assert setup.factor is not None
        self.setup, self.factor, self.link = setup, setup.factor, link
        self.slope = setup.E.sum(axis=0) / np.sqrt(setup.L)
        self.share = 1.0  # V is E[delta^2]
        self.label_square = float(link[1](np.zeros((1, setup.L)))[0, 0])
        self.integrals = SigmaMoments(setup, link[0].degree, link[1].degree)

    def _parts(
        self, a: Array, m: Array, q: Array | None, order: int
    ) -> tuple[list[Array], list[Array], list[Array]]:
        s = self.setup
        assert q is not None
        r = m @ s.C / np.sqrt(s.L)
        by_r = self.link[0].slope(r)
        link = [
            self.link[0](r),
            np.einsum("nlk,lj->njk", by_r, s.C) / np.sqrt(s.L),
            np.zeros((len(m), 0, 0, 0)),
            self.link[1](r),
        ]
        return link, *self.integrals(*self._along_u(a, q, len(m)))

    def _along_u(self, a: Array, q: Array | None, n: int) -> tuple[Array, Array]:
        s, Q = self.setup, np.asarray(q)
        spread = np.sqrt(np.maximum(np.einsum("lk,nlk->n", s.C, Q) / s.L, LEAST_SPREAD**2))
        return s.c.sum() / np.sqrt(s.L) + a @ self.slope, spread


class RowsQmc:
    """Expectations for any link and loss: scrambled Sobol points for (z*, noise), each with both
    signs of the part of u independent of z*.
    """

    def __init__(self, setup: Setup, points: int = 4096, replicates: int = 4) -> None:

        self.setup = setup
        variance, directions = np.linalg.eigh(setup.C)
        root = directions * np.sqrt(np.maximum(variance, 0))
        noise = setup.task.noise
        parts = []
        for i in range(replicates):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # points need not be a power of two
                u = scipy.stats.qmc.Sobol(
                    setup.L + (2 if noise > 0 else 1),
                    scramble=True,
                    rng=np.random.default_rng([20250602, i]),
                ).random(points)
            parts.append(scipy.special.ndtri(np.clip(u, 2.0**-40, 1 - 2.0**-40)))
        x = np.concatenate([*parts, *parts])
        self.zstar, self.eta = (
            x[:, : setup.L] @ root.T,
            np.repeat([1.0, -1.0], points * replicates) * x[:, setup.L],
        )
        self.y = setup.core.target(np.ascontiguousarray(self.zstar))
        if noise > 0:
            self.y = self.y + np.sqrt(noise) * x[:, setup.L + 1 :]

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments:
        """See Expectations; the points are always the same, so the result is smooth."""
        s, n = self.setup, len(m)
        root = np.sqrt(s.L)
        out = Moments(np.zeros(n), np.zeros((n, s.ne + s.L)), None, np.zeros(n), np.zeros((n, s.L)))
        assert q is not None and out.dR_dq is not None
        for i in range(n):
            spread = np.sqrt(
                max(float((s.C * (q[i] - np.outer(m[i], m[i]))).sum()) / s.L, LEAST_SPREAD**2)
            )
            u = (s.c.sum() + a[i].sum() + self.zstar @ m[i]) / root + spread * self.eta
            loss, by_field = s.core.evaluate_labels(
                self.y, np.repeat(u[:, None] / root, s.L, axis=1)
            )
            delta = by_field[:, 0] * root
            beta = float(np.mean(delta * self.eta)) / spread / s.L
            out.value[i], out.V[i], out.dR_dq[i] = loss.mean(), np.mean(delta**2), beta / 2
            out.gradient[i, : s.ne] = delta.mean() / root
            out.gradient[i, s.ne :] = delta @ self.zstar / len(delta) / root - beta * (s.C @ m[i])
        return out


@remembered(16)
def means(task: models.Task, tokens: models.Tokens) -> Expectations:
    """Choose the most accurate method for a task."""
    setup = Setup(task, tokens)
    terms: LinkTerms | None = terms_of(task.teacher) if setup.factor is not None else None
    link = None if terms is None else moved(terms, setup.C)
    return RowsQmc(setup) if link is None else RowsEngine(setup, link)


class RowsDrift(Drift):
    """The state is the diagonal of F, m, the diagonal of Q, the rest of Q (row by row above the
    diagonal) and the rest of F: `names`.
    """

    def __init__(
        self, task: models.Task, lr: float, inhibitive: bool, tokens: models.Tokens, estar: Any
    ) -> None:
        s = self.setup = Setup(task, tokens)
        self.means, self.lr = means(task, tokens), lr if inhibitive else 0.0
        self.rows, self.common = True, task.student.spheres == "one"
        self.K = covariance(task, s)
        self.estar = np.zeros(s.ne) if estar is None else _checks.array("estar", estar, (s.ne,))
        self.above = np.triu_indices(s.L, 1)
        self.off_diagonal = np.nonzero(~np.eye(s.ne, dtype=bool))
        q = [f"q_{i + 1}" for i in range(s.L)]
        self.names = (
            *s.names,
            *q,
            *(f"Q_{i + 1}_{k + 1}" for i, k in zip(*self.above, strict=True)),
            *(f"F_{i + 1}_{k + 1}" for i, k in zip(*self.off_diagonal, strict=True)),
        )

    @property
    def error(self) -> float:
        """Of the expectations: those of quasi-Monte-Carlo are not known here."""
        return 0.0 if isinstance(self.means, RowsEngine) else float("nan")

    def matrices(self, x: Array) -> tuple[Array, Array]:
        """Q (n, L, L) and F (n, L, L) of states (n, names); F is empty without positional
        vectors.
        """
        s, n = self.setup, len(x)
        Q, F = np.zeros((n, s.L, s.L)), np.zeros((n, s.ne, s.ne))
        at = s.ne + s.L
        Q[:, np.arange(s.L), np.arange(s.L)] = x[:, at : at + s.L]
        pairs = x[:, at + s.L : at + s.L + len(self.above[0])]
        Q[:, self.above[0], self.above[1]] = Q[:, self.above[1], self.above[0]] = pairs
        F[:, np.arange(s.ne), np.arange(s.ne)] = x[:, : s.ne]
        F[:, self.off_diagonal[0], self.off_diagonal[1]] = x[:, at + s.L + len(self.above[0]) :]
        return Q, F

    def pack(self, m: Array, Q: Array, F: Array) -> Float64:
        """States (n, names) of m (n, L), Q (n, L, L) and F (n, L, L), the last empty without
        positional vectors.
        """
        diagonal = (np.diagonal(x, axis1=1, axis2=2) for x in (F, Q))
        return np.concatenate(
            [
                next(diagonal),
                m,
                next(diagonal),
                Q[:, self.above[0], self.above[1]],
                F[:, self.off_diagonal[0], self.off_diagonal[1]],
            ],
            axis=1,
        )

    def states(self, a: Array, m: Array, q: Array | None) -> Float64:
        """Return states of rows that have nothing in common except m and e, unless q gives their
        overlaps.

        In addition to m_l w*, row l points along p_l; its remainder is orthogonal to all other
        rows.
        """
        s, n = self.setup, len(m)
        norms = np.ones((n, s.L)) if q is None or q.ndim == 3 else q
        Q, F = m[:, :, None] * m[:, None, :], np.zeros((n, s.ne, s.ne))
        if s.ne:
            K = self.K - np.outer(self.estar, self.estar)
            size = np.sqrt(np.maximum(np.diag(K), 1e-300))
            along = (a - m * self.estar) / size
            angles = K / np.outer(size, size)
            Q = Q + along[:, :, None] * along[:, None, :] * angles
            F = m[:, :, None] * self.estar + along[:, :, None] * K / size[:, None]
        Q[:, np.arange(s.L), np.arange(s.L)] = norms
        return self.pack(m, Q if q is None or q.ndim == 2 else q, F)

    def rates(self, x: Array, lr: float) -> tuple[Array, Array]:
        """d state / dt and R at states (n, names)."""
        s = self.setup
        Q, F = self.matrices(x)
        limit = np.sqrt(np.diagonal(Q, axis1=1, axis2=2))
        m = np.clip(x[:, s.ne : s.ne + s.L], -limit, limit)
        M = self.means.estimate(x[:, : s.ne], m, Q, 1)
        assert M.dR_dq is not None
        alpha, beta, noise = M.gradient[:, s.ne :], 2 * M.dR_dq[:, :1], lr * M.V[:, None] / s.L
        U = alpha[:, :, None] * m[:, None, :] + beta[..., None] * (s.C @ Q)
        dm, dF = alpha + beta * (m @ s.C), F
        if s.ne:
            epsilon = M.gradient[:, :1]
            U = U + epsilon[..., None] * np.swapaxes(F, 1, 2)
            dm = dm + epsilon * self.estar
            dF = (
                alpha[:, :, None] * self.estar
                + beta[..., None] * (s.C @ F)
                + epsilon[..., None] * self.K
            )
        radial = np.diagonal(U, axis1=1, axis2=2) - noise / 2 * np.diag(s.C)
        if self.common:
            radial = np.repeat(radial.mean(axis=1, keepdims=True), s.L, axis=1)
        dQ = (
            -U
            - np.swapaxes(U, 1, 2)
            + noise[..., None] * s.C
            + (radial[:, :, None] + radial[:, None, :]) * Q
        )
        if not self.common:  # zero but for rounding
            dQ[:, np.arange(s.L), np.arange(s.L)] = 0
        return self.pack(-dm + radial * m, dQ, -dF + radial[:, :, None] * F if s.ne else F), M.value


__all__ = ["RowsDrift", "RowsEngine", "RowsQmc", "means"]
