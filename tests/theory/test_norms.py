"""Operator norms of symmetric tensors: closed forms, and bounds against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import seqsgd as sq
from scipy.optimize import minimize
from seqsgd.theory import SymmetricTensor
from seqsgd.theory.tensors.entries import multi_indices
from seqsgd.theory.tensors.norms import grid_bound, unfolding_norm


def random_tensor(L, order, rng):
    index = multi_indices(L, order)
    return SymmetricTensor(L, order, index, rng.standard_normal(len(index)), np.zeros(len(index)))


def of_dense(T, tol=0.0):
    index = multi_indices(len(T), T.ndim)
    value = np.array([T[tuple(i)] for i in index])
    return SymmetricTensor(
        len(T), T.ndim, index, np.where(np.abs(value) > tol, value, 0), np.zeros(len(index))
    )


def power(v, k):
    out = np.array(1.0)
    for _ in range(k):
        out = np.multiply.outer(out, v)
    return out


def contracted(T, x):
    for _ in range(T.ndim):
        T = T @ x
    return T


def brute_force(C, rng, starts=40):
    """The maximum of |<C, x^(x)k>| on the sphere by a general optimiser on the dense array."""
    T = C.dense()
    best = 0.0
    for sign, x in itertools.product((1, -1), rng.standard_normal((starts, C.L))):
        found = minimize(
            lambda y: -sign * float(contracted(T, y / np.linalg.norm(y))),
            x,
            method="BFGS",
            options={"gtol": 1e-9},
        )
        best = max(best, -found.fun)
    return best


def test_dense_is_symmetric_and_contracts_alike(rng):
    for L, k in [(1, 3), (3, 0), (3, 1), (2, 5), (4, 3)]:
        C = random_tensor(L, k, rng)
        T, x = C.dense(), rng.standard_normal(L)
        for p in itertools.permutations(range(k)):
            assert (np.transpose(T, p) == T).all()
        assert (
            np.isclose(C(x), contracted(T, x))
            and np.isclose(C.norm, np.linalg.norm(T))
            and np.isclose(C.ones, T.sum())
        )
        assert np.isclose(C.multiplicity.sum(), L**k)
        if k:
            np.testing.assert_allclose(
                C.contract(x[None])[0],
                sum(contracted(np.take(T, i, axis=0), x) * np.eye(L)[i] for i in range(L)),
                atol=1e-12,
            )
    with pytest.raises(
        ValueError, match=r"x: expected shape \(\.\.\., L\) with L = 4, got shape \(3,\)"
    ):
        C(np.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize("L, k", [(2, 3), (3, 3), (2, 6), (3, 4), (5, 3), (4, 5), (7, 3), (6, 4)])
def test_bounds_bracket_brute_force(L, k, rng):
    for _ in range(3 if L**k < 300 else 1):
        C = random_tensor(L, k, rng)
        b, top = C.operator_norm(), brute_force(C, rng, 10)
        assert b.lower <= b.upper and not b.exact
        assert b.lower >= top * (1 - 1e-9), "the power method missed the maximum"
        assert b.upper >= top * (1 - 1e-9)
        assert np.isclose(np.linalg.norm(b.vector), 1) and np.isclose(
            abs(contracted(C.dense(), b.vector)), b.lower, rtol=1e-9
        )
        for upper in (unfolding_norm(C), C.norm, grid_bound(C) if L <= 6 else math.inf):
            assert upper is None or upper >= top * (1 - 1e-12)
        if L <= 3:
            assert b.upper <= b.lower * 1.001


def test_a_grid_bound_is_close_in_two_tokens(rng):
    C = random_tensor(2, 5, rng)
    t = np.linspace(0, np.pi, 200_001)
    top = np.abs(C(np.stack([np.cos(t), np.sin(t)], axis=1))).max()
    assert top * (1 - 1e-9) <= grid_bound(C) <= top * (1 + 1e-7)


def test_unfolding_is_the_spectral_norm_of_the_dense_one(rng):
    for L, k in [(2, 3), (3, 4), (2, 5)]:
        C = random_tensor(L, k, rng)
        assert np.isclose(
            unfolding_norm(C), np.linalg.norm(C.dense().reshape(L ** (k // 2), -1), 2)
        )
        assert np.sqrt(unfolding_norm(C)) <= unfolding_norm(C, largest=1) ** 0.5 * (
            1 + 1e-12
        )  # the bound for large blocks


def test_vectors_and_matrices(rng):
    v, M = random_tensor(6, 1, rng), random_tensor(6, 2, rng)
    for C, expected in ((v, np.linalg.norm(v.value)), (M, np.linalg.norm(M.dense(), 2))):
        b = C.operator_norm()
        assert (
            b.exact
            and np.isclose(b.value, expected, rtol=1e-12)
            and b.lower <= expected * (1 + 1e-13)
            and b.upper >= expected * (1 - 1e-13)
        )
    assert random_tensor(3, 0, rng).operator_norm().exact


def test_sums_over_many_tokens():
    """Blocks on tokens of their own: the largest one decides."""
    L = 2000
    for k in (3, 4):
        C = sq.theory.hermite(sq.SSI(sq.Hermite([(0.5, {t: k}) for t in range(1, L + 1)]), L), k)[0]
        b = C.operator_norm()
        assert (
            b.exact
            and np.isclose(b.value, 0.5 * math.factorial(k))
            and np.isclose(C.ones, L * 0.5 * math.factorial(k))
        )
    pairs = sq.Hermite([(1.0, {2 * i + 1: 1, 2 * i + 2: 1}) for i in range(50)])
    assert np.isclose(sq.theory.hermite(pairs, 2)[0].operator_norm().value, 1.0)


def test_monomials():
    """max of |prod x_l^{n_l}| on the sphere is prod (n_l / k)^{n_l / 2}; C = n! has k! / n! such
    entries.
    """
    for n in [{1: 1, 2: 1, 3: 1}, {1: 2, 2: 1}, {1: 3, 2: 2}, {1: 1, 2: 4}]:
        k = sum(n.values())
        b = sq.theory.hermite(sq.Hermite([(1.0, n)]), k)[0].operator_norm()
        assert b.exact and np.isclose(
            b.value,
            math.factorial(k) * math.prod((p / k) ** (p / 2) for p in n.values()),
            rtol=1e-12,
        )


def test_large_matrices_have_bounds_without_a_dense_array():
    L = 5000
    ring = sq.Hermite([(1.0, {i: 1, i % L + 1: 1}) for i in range(1, L + 1)])
    b = sq.theory.hermite(ring, 2)[0].operator_norm()
    assert np.isclose(b.lower, 2, rtol=1e-9) and np.isclose(
        b.upper, 2, rtol=1e-9
    )  # eigenvalues of a ring: 2 cos


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_orthogonal_decompositions(k, rng):
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0].T[:4]
    lam = np.array([1.5, -0.7, 0.4, 0.9])
    T = sum(a * power(v, k) for a, v in zip(lam, V, strict=True))
    C = of_dense(T)
    o = C.odeco()
    assert o and o.residual < 1e-13 and len(o.values) == 4
    np.testing.assert_allclose(o.vectors @ o.vectors.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(
        sum(a * power(v, k) for a, v in zip(o.values, o.vectors, strict=True)), T, atol=1e-12
    )
    np.testing.assert_allclose(np.sort(np.abs(o.values)), np.sort(np.abs(lam)), rtol=1e-10)
    b = C.operator_norm()
    assert (
        b.exact
        and np.isclose(b.value, 1.5, rtol=1e-12)
        and b.lower <= 1.5 * (1 + 1e-12)
        and b.upper >= 1.5 * (1 - 1e-12)
    )


def test_tolerance_of_the_odeco_test(rng):
    T = power(np.array([0.6, 0.8]), 3) * 2 + power(np.array([-0.8, 0.6]), 3)
    for size, tol, holds in ((1e-5, 1e-9, False), (1e-5, 1e-3, True), (0.0, 1e-9, True)):
        noise = random_tensor(2, 3, rng).dense() * size
        o = of_dense(T + noise).odeco(tol)
        assert bool(o) == holds and o.residual <= 2 * size + 1e-14
    assert not sq.theory.hermite(sq.SSI("z1*z2*z3", 3), 3)[0].odeco()
    assert random_tensor(3, 2, rng).odeco()  # the spectral theorem
    with pytest.raises(
        ValueError, match="order: an orthogonal decomposition needs order >= 2, got 1"
    ):
        random_tensor(3, 1, rng).odeco()


def test_errors_of_the_entries_widen_the_bounds(rng):
    C = random_tensor(3, 3, rng)
    rough = SymmetricTensor(3, 3, C.index, C.value, np.full(len(C.value), 0.01))
    a, b = C.operator_norm(), rough.operator_norm()
    assert np.isclose(a.lower - b.lower, rough.norm_error) and np.isclose(
        b.upper - a.upper, rough.norm_error
    )
