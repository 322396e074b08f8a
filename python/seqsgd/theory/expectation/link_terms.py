"""Polynomial links as sums of products over tokens, and their averages at a given preactivation u
of the student.

With independent tokens, E[prod_l He_{k_l}(z*_l) h(u)] = prod_l r_l^{k_l} E[h^{(k)}(u)], where r_l =
E[z*_l u] and k = sum_l k_l. So one polynomial p(x) = sum_k p_k x^k represents the link: E[y h(u)] =
sum_k p_k E[h^{(k)}(u)]. A product over tokens gives the product of polynomials, a sum gives their
sum (docs: "What is known without a simulation", Hermite tensors and exponents).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e

from ... import models
from ..._checks import Float64

Array = Any
Factors = Mapping[int, Float64]  # token (from 0) -> coefficients c of sum_k c_k He_k(z_token)


def mul(p: Array, q: Array) -> Array:
    """Multiply polynomials with coefficients along the last axis. The other axes broadcast."""
    if p.shape[-1] < q.shape[-1]:
        p, q = q, p
    out = np.zeros(
        (*np.broadcast_shapes(p.shape[:-1], q.shape[:-1]), p.shape[-1] + q.shape[-1] - 1)
    )
    for j in range(q.shape[-1]):
        out[..., j : j + p.shape[-1]] += q[..., j : j + 1] * p
    return out


def add(p: Array, q: Array) -> Array:
    """Add polynomials of any degrees, with coefficients along the last axis."""
    if p.shape[-1] < q.shape[-1]:
        p, q = q, p
    out = np.array(
        np.broadcast_to(p, (*np.broadcast_shapes(p.shape[:-1], q.shape[:-1]), p.shape[-1]))
    )
    out[..., : q.shape[-1]] += q
    return out


class LinkTerms:
    """Link y = constant + sum_l phi_l(z_l) + sum_t c_t prod_l phi_tl(z_l), with each phi given by
    its Hermite coefficients.

    Parameters
    ----------
    L : int
        Sequence length.
    terms : list of (coefficient, {token: Hermite coefficients})
        Tokens are numbered from 0.
    """

    def __init__(self, L: int, terms: list[tuple[float, Factors]]) -> None:
        self.L = L
        degree = max((len(c) - 1 for _, f in terms for c in f.values()), default=0)
        self.singles = np.zeros((L, degree + 1))
        self.constant = 0.0
        self.products: list[tuple[float, Factors]] = []
        for coefficient, factors in terms:
            if not factors:
                self.constant += coefficient
            elif len(factors) == 1:
                ((token, c),) = factors.items()
                self.singles[token, : len(c)] += coefficient * c
            else:
                self.products.append((coefficient, factors))
        self.constant += self.singles[:, 0].sum()
        self.singles[:, 0] = 0
        self.degree = max(
            [
                degree if self.singles.any() else 0,
                *(sum(len(c) - 1 for c in f.values()) for _, f in self.products),
            ]
        )

    @property
    def active(self) -> Array:
        """Tokens that y depends on, ascending, numbered from 0."""
        return np.array(
            sorted(
                set(np.flatnonzero(self.singles.any(axis=1)).tolist())
                | {t for _, f in self.products for t in f}
            ),
            dtype=int,
        )

    def __call__(self, z: Array) -> Float64:
        """Return y (...) at fields z (..., L)."""
        y = np.full(z.shape[:-1], self.constant)
        for token in np.flatnonzero(self.singles.any(axis=1)).tolist():
            y = y + hermite_e.hermeval(z[..., token], self.singles[token])
        for coefficient, factors in self.products:
            part = np.full(z.shape[:-1], coefficient)
            for token, c in factors.items():
                part = part * hermite_e.hermeval(z[..., token], c)
            y = y + part
        return np.asarray(y)

    def first(self, r: Array, order: int = 0) -> tuple[Array, Array, Array]:
        """Compute p for y and its derivatives in r.

        Parameters
        ----------
        r : (n, L) array
        order : 0, 1 or 2
            Highest derivative. Arrays of higher derivatives are empty.

        Returns
        -------
        p : (n, K)
        dp / dr_l : (n, L, K)
        d2p / dr_l dr_k : (n, L, L, K)
        """
        n, L, K = len(r), self.L, self.degree + 1
        p = np.zeros((n, K))
        p[:, 0] = self.constant
        D = self.singles.shape[1]
        powers = r[..., None] ** np.arange(D)  # (n, L, D)
        p[:, :D] = p[:, :D] + np.einsum("ld,nld->nd", self.singles, powers)[:, :K]
        dp = np.zeros((n, L, K if order > 0 else 0))
        d2p = np.zeros((n, L, L, K)) if order > 1 else np.zeros((n, 0, 0, 0))
        diagonal = np.arange(L)
        if order > 0:
            dp[..., 1:D] += self.singles[:, 1:] * np.arange(1, D) * powers[..., :-1]
        if order > 1 and D > 2:
            d2p[:, diagonal, diagonal, 2:D] += (
                self.singles[:, 2:] * (np.arange(2, D) * np.arange(1, D - 1)) * powers[..., :-2]
            )
        for coefficient, factors in self.products:
            tokens = list(factors)
            polynomials = {t: _at(c, r[:, t]) for t, c in factors.items()}
            slopes = {t: _at(c, r[:, t], 1) for t, c in factors.items()} if order > 0 else {}
            bends = {t: _at(c, r[:, t], 2) for t, c in factors.items()} if order > 1 else {}
            whole = coefficient * _product([polynomials[t] for t in tokens], n)
            p[:, : whole.shape[1]] += whole
            for i, t in enumerate(tokens) if order > 0 else ():
                others = [polynomials[o] for o in tokens if o != t]
                rest = coefficient * _product(others, n)
                part = mul(rest, slopes[t])
                dp[:, t, : part.shape[1]] += part
                if order > 1:
                    part = mul(rest, bends[t])
                    d2p[:, t, t, : part.shape[1]] += part
                    for o in tokens[i + 1 :]:
                        part = coefficient * mul(
                            mul(
                                _product([polynomials[x] for x in tokens if x not in (t, o)], n),
                                slopes[t],
                            ),
                            slopes[o],
                        )
                        d2p[:, t, o, : part.shape[1]] += part
                        d2p[:, o, t, : part.shape[1]] += part
        return p, dp, d2p

    def second(self, r: Array) -> Float64:
        """Return p (n, K) for y^2 at r (n, L).

        Products of terms without a common token factorise; other products are expanded.
        """
        n = len(r)
        p = self.first(r)[0]
        out = mul(p, p)
        for token in np.flatnonzero(self.singles.any(axis=1)).tolist():
            c = self.singles[token]
            single = _at(c, r[:, token])
            out = add(add(out, _at(hermite_e.hermemul(c, c), r[:, token])), -mul(single, single))
        values = [{t: _at(c, r[:, t]) for t, c in f.items()} for _, f in self.products]
        for i, (a, f) in enumerate(self.products):
            for token, c in f.items():
                if self.singles[token].any():
                    joint = add(
                        _at(hermite_e.hermemul(c, self.singles[token]), r[:, token]),
                        -mul(values[i][token], _at(self.singles[token], r[:, token])),
                    )
                    out = add(
                        out,
                        2
                        * a
                        * mul(_product([v for t, v in values[i].items() if t != token], n), joint),
                    )
            for j in range(i, len(self.products)):
                b, g = self.products[j]
                common = f.keys() & g.keys()
                if not common:
                    continue
                alone = [v for t, v in values[i].items() if t not in common] + [
                    v for t, v in values[j].items() if t not in common
                ]
                joint = _product(
                    [_at(hermite_e.hermemul(f[t], g[t]), r[:, t]) for t in sorted(common)] + alone,
                    n,
                )
                apart = _product([*values[i].values(), *values[j].values()], n)
                out = add(out, (1 if i == j else 2) * a * b * add(joint, -apart))
        return np.asarray(out)


def _at(c: Array, r: Array, derivative: int = 0) -> Array:
    """Return the factor sum_k c_k (r x)^k of one token as a polynomial in x, (n, K), or its first
    or second derivative in r.
    """
    k = np.arange(len(c))
    falling = np.ones(len(c)) if derivative == 0 else (k if derivative == 1 else k * (k - 1))
    return c * falling * np.power(r[:, None], np.maximum(k - derivative, 0))


def _product(polynomials: list[Array], n: int) -> Array:
    return functools.reduce(mul, polynomials, np.ones((n, 1)))


def terms_of(teacher: models.Teacher) -> LinkTerms | None:
    """Return the terms of a polynomial link, or None for other links."""
    raw = raw_terms(teacher)
    return None if raw is None else LinkTerms(teacher.L, raw)


def raw_terms(teacher: models.Teacher) -> list[tuple[float, Factors]] | None:
    """Return the core's terms of a polynomial link, or None for other links.

    They are (coefficient, {token: Hermite coefficients}), with tokens numbered from 0.
    """
    terms = teacher._compiled().terms
    if terms is None:
        return None
    return [(a, {token: np.array(c) for token, c in factors.items()}) for a, factors in terms]


__all__ = ["LinkTerms", "add", "mul", "raw_terms", "terms_of"]
