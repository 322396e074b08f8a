"""Networks of u = (1/sqrt L) sum z_l under square losses with polynomial links: everything is a
polynomial in the overlaps times one-dimensional integrals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .gaussian import density, hermite_table, panels
from .link_terms import LinkTerms
from .setup import Moments, Setup

Array = Any
NODES = 2**19  # at once


class SigmaMoments:
    """Moments E[h(u) He_k(tau)] / s^k = E[h^(k)(u)], u = ubar + s tau, for h = sigma, sigma^2,
    sigma'^2, sigma sigma'^2, sigma^2 sigma'^2.

    Computed by Gauss-Legendre panels that end where sigma or sigma' has a jump or a kink, with two
    partitions that share only these places.
    """

    def __init__(self, setup: Setup, first: int, second: int) -> None:
        self.setup, self.sigma = setup, setup.sigma
        self.orders = (first + 2, 2, second, first, 0)
        self.tail = 9 + np.sqrt(4 * setup.sigma_degree + max(self.orders))
        self._last: tuple[Any, Any] = (None, None)

    def __call__(self, ubar: Array, s: Array) -> tuple[list[Array], list[Array]]:
        """Return a fine and a coarse estimate, each a list of (orders + 1, n) arrays; n =
        len(ubar).
        """
        pairs, where = np.unique(np.stack([ubar, s], axis=1), axis=0, return_inverse=True)
        where = where.reshape(-1)
        key = pairs.tobytes()
        if self._last[0] != key:
            self._last = key, self._refined(pairs)
        fine, coarse = self._last[1]
        return [x[:, where] for x in fine], [x[:, where] for x in coarse]

    def sizes(self, ubar: Array, s: Array) -> list[Array]:
        """Return about E|h(u) He_k(tau)| / s^k, and for each break the effect of a shift by eight
        units in the last place.

        The rounding error is relative to these numbers.
        """
        return self._rule(np.stack([ubar, s], axis=1), 12, 1.0 / max(1.0, s.max()), np.abs)

    def _refined(self, pairs: Array) -> tuple[list[Array], list[Array]]:
        width = 1.0 / max(1.0, pairs[:, 1].max())
        for _ in range(6):
            fine, coarse = self._rule(pairs, 20, width), self._rule(pairs, 16, 0.83 * width)
            if all(
                np.abs(a - b).max() <= 1e-13 * max(np.abs(a).max(), 1e-300)
                for a, b in zip(fine, coarse, strict=True)
                if a.size
            ):
                break
            if self.setup.noise > 0:
                break  # no panels will resolve it
            width /= 2  # poles near the axis
        return fine, coarse

    def _rule(
        self, pairs: Array, n: int, width: float, of: Callable[[Array], Array] = np.asarray
    ) -> list[Array]:
        out = [np.empty((order + 1, len(pairs))) for order in self.orders]
        cuts = self.setup.cuts(pairs[:, 0], pairs[:, 1], self.tail)
        step = max(1, NODES // (n * (cuts.shape[1] + 2 * int(self.tail / width) + 3)))
        for i in range(0, len(pairs), step):
            for whole, part in zip(
                out, self._sums(pairs[i : i + step], cuts[i : i + step], n, width, of), strict=True
            ):
                whole[:, i : i + step] = part
        return out

    def _sums(
        self, pairs: Array, cuts: Array, n: int, width: float, of: Callable[[Array], Array]
    ) -> list[Array]:
        ubar, s = pairs.T
        tau, w = panels(cuts, n, width, self.tail)
        f, g = (
            x.reshape(tau.shape)
            for x in self.sigma(
                np.ascontiguousarray((ubar[:, None] + s[:, None] * tau).reshape(-1))
            )
        )
        gg = g * g
        he = of(hermite_table(tau, max(self.orders)))
        out = []
        for h, order in zip((f, f * f, gg, f * gg, f * f * gg), self.orders, strict=True):
            sums = np.einsum("krj,rj->kr", he[: order + 1], w * of(h))
            if of is np.abs:
                breaks = 1 if self.setup.mesh is None else len(self.setup.mesh.breaks)
                sums = sums + 8 * breaks * (he[: order + 1] * (density(tau) * of(h))).max(axis=2)
            out.append(sums / s ** np.arange(order + 1)[:, None])
        return out


class NetworkEngine:
    """Risk of tied and untied networks by the Hermite expansion of the link, exact up to the
    integrals over u.
    """

    method = "Hermite expansion of the link, one-dimensional quadrature over u"

    def __init__(
        self, setup: Setup, terms: LinkTerms, along: tuple[Array, Array] | None = None
    ) -> None:
        """Prepare the engine; `along` has, for correlated tokens, the link's projections on the sum
        of the fields.
        """
        self.setup, self.terms = setup, terms
        assert setup.factor is not None
        self.factor = setup.factor
        L = setup.L
        self.slope = setup.E.sum(axis=0) / np.sqrt(L)  # du / da
        self.share = setup.total / L  # variance of u: 1 for independent tokens
        if along is None:
            ones = np.full((1, L), 1 / np.sqrt(L))
            self.tied_first = terms.first(ones)[0][0]
            self.tied_second = terms.second(ones)[0]
        else:  # E[He_k(t) h(u)] = (m s_u)^k E[h^(k)(u)]
            self.tied_first, self.tied_second = (
                c * self.share ** (np.arange(len(c)) / 2) for c in along
            )
        self.label_square = (
            terms.second(np.zeros((1, L)))[0, 0] if along is None else float(along[1][0])
        )
        self.integrals = SigmaMoments(setup, len(self.tied_first) - 1, len(self.tied_second) - 1)

    def moments(self, a: Array, m: Array, q: Array | None, order: int) -> tuple[Moments, Moments]:
        """Return estimates and their errors at a (n, e parameters), m (n, overlaps), q (n, L) or
        None.
        """
        link, fine, coarse = self._parts(a, m, q, order)
        best = self._assemble(link, fine, order, -1)
        rounding = self._assemble(
            [np.abs(x) for x in link], self.integrals.sizes(*self._along_u(a, q, len(m))), order, 1
        )
        # ten times the gap: where panels were not fine enough in the end it may be smaller than the
        # error
        gap = best.gap(self._assemble(link, coarse, order, -1))
        return best, gap.plus(gap, 9).plus(rounding, 1e-15 + self.setup.noise)

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments:
        """Return the estimates only."""
        link, fine, _ = self._parts(a, m, q, order)
        return self._assemble(link, fine, order, -1)

    def _parts(
        self, a: Array, m: Array, q: Array | None, order: int
    ) -> tuple[list[Array], list[Array], list[Array]]:
        link = self._tied(m[:, 0], order) if self.setup.tied else self._untied(m, order)
        return link, *self.integrals(*self._along_u(a, q, len(m)))

    def _along_u(self, a: Array, q: Array | None, n: int) -> tuple[Array, Array]:
        """Return mean and standard deviation of u, (n,) each."""
        ubar = self.setup.c.sum() / np.sqrt(self.setup.L) + a @ self.slope
        return ubar, np.full(n, np.sqrt(self.share)) if q is None else np.sqrt(q.mean(axis=1))

    def _tied(self, m: Array, order: int) -> list[Array]:
        """Return p, dp / dm, d2p / dm2 of y and p of y^2 at overlap m (n,)."""
        k = np.arange(len(self.tied_first))
        powers = m[:, None] ** k
        p = self.tied_first * powers
        dp, d2p = np.zeros((len(m), 1, len(k))), np.zeros((len(m), 1, 1, len(k)))
        dp[:, 0, 1:] = self.tied_first[1:] * k[1:] * powers[:, :-1]
        d2p[:, 0, 0, 2:] = self.tied_first[2:] * (k * (k - 1))[2:] * powers[:, :-2]
        return [p, dp, d2p, self.tied_second * m[:, None] ** np.arange(len(self.tied_second))]

    def _untied(self, m: Array, order: int) -> list[Array]:
        root = np.sqrt(self.setup.L)
        p, dp, d2p = self.terms.first(m / root, order)
        return [p, dp / root, d2p / root**2, self.terms.second(m / root)]

    def _assemble(
        self, link: list[Array], integrals: list[Array], order: int, sign: int
    ) -> Moments:
        p, dp, d2p, p2 = link
        f, ff, gg, fgg, ffgg = integrals
        s, c, K, noise = self.setup, self.factor, p.shape[1], self.setup.task.noise
        n = len(p)

        def label(shift: int) -> Array:
            return np.einsum("nk,kn->n", p, f[shift : shift + K])

        value = c * (0.5 * (self.label_square + noise) + sign * label(0) + 0.5 * ff[0])
        V = (
            self.share
            * c
            * c
            * (
                np.einsum("nk,kn->n", p2, gg[: p2.shape[1]])
                + sign * 2 * np.einsum("nk,kn->n", p, fgg[:K])
                + ffgg[0]
                + noise * gg[0]
            )
        )
        slope = self.slope if sign < 0 else np.abs(self.slope)
        gradient = np.zeros((n, s.ne + s.nm))
        dR_dq = None
        if order > 0:
            gradient[:, : s.ne] = (c * (sign * label(1) + 0.5 * ff[1]))[:, None] * slope
            gradient[:, s.ne :] = c * sign * np.einsum("nik,kn->ni", dp, f[:K])
            if not s.tied:
                dR_dq = np.repeat(
                    (c / (2 * s.L) * (sign * label(2) + 0.5 * ff[2]))[:, None], s.L, axis=1
                )
        hessian = None
        if order > 1:
            hessian = np.zeros((n, s.ne + s.nm, s.ne + s.nm))
            hessian[:, : s.ne, : s.ne] = (c * (sign * label(2) + 0.5 * ff[2]))[
                :, None, None
            ] * np.multiply.outer(slope, slope)
            mixed = (
                c * sign * np.einsum("nik,kn->ni", dp, f[1 : K + 1])[:, None, :] * slope[:, None]
            )
            hessian[:, : s.ne, s.ne :] = mixed
            hessian[:, s.ne :, : s.ne] = np.swapaxes(mixed, 1, 2)
            hessian[:, s.ne :, s.ne :] = c * sign * np.einsum("nijk,kn->nij", d2p, f[:K])
        return Moments(value, gradient, hessian, V, dR_dq)


__all__ = ["NetworkEngine", "SigmaMoments"]
