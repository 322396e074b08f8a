"""Strides, orders and types that tests/package/test_properties.py does not have: grids of the
theory, tokens, and what NumPy does with objects.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import seqsgd as sq
from hypothesis import given, settings
from hypothesis import strategies as st

check = settings(max_examples=30, deadline=None, derandomize=True)
NETWORK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))


def strided(a: Any, steps: tuple[int, ...], order: str, offset: int) -> Any:
    """The same numbers, with these strides (in entries, of either sign, in either order), inside a
    larger array of NaN.
    """
    big = np.full(
        tuple(n * abs(s) + offset for n, s in zip(a.shape, steps, strict=True)),
        np.nan,
        a.dtype,
        order=order,
    )
    view = big[tuple(slice(offset, None, abs(s)) for s in steps)][
        tuple(slice(0, n) for n in a.shape)
    ]
    view[...] = a[tuple(slice(None, None, 1 if s > 0 else -1) for s in steps)]
    view = view[tuple(slice(None, None, 1 if s > 0 else -1) for s in steps)]
    assert np.array_equal(view, a)
    view.flags.writeable = False
    return view


strides = st.integers(1, 3).flatmap(lambda n: st.sampled_from([n, -n]))
layout = st.fixed_dictionaries({"order": st.sampled_from("CF"), "offset": st.integers(0, 3)})


@check
@given(
    n=st.integers(1, 4),
    d=st.integers(1, 9),
    steps=st.tuples(strides, strides, strides),
    how=layout,
    seed=st.integers(0, 99),
    dtypes=st.tuples(*[st.sampled_from(["f4", "f8"])] * 2),
)
def test_observe(
    n: int, d: int, steps: tuple[int, ...], how: Any, seed: int, dtypes: tuple[str, str]
) -> None:
    """Among them negative strides, (1, N) and (N, 1), read-only; nothing outside the view is read,
    or a NaN would stop the run.
    """
    X = (
        np.random.default_rng(seed).standard_normal((n, 2, d)).astype(dtypes[0])
        / np.float32(d) ** 0.5
    )
    own = "float32" if dtypes[1] == "f4" else "float64"
    a, b = (
        sq.Simulator(NETWORK, d=d, lr=0.1, rng=1, dtype=own, init=sq.Uniform()) for _ in range(2)
    )
    assert (
        np.array_equal(a.observe(strided(X, steps, **how)), b.observe(X.astype("f8")))
        and np.array_equal(a.w, b.w)
        and a.step == n
    )


@check
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    steps=st.tuples(strides, strides),
    how=layout,
    dtype=st.sampled_from(["f2", "f4", "f8", "i8"]),
)
def test_grids_of_the_risk(
    shape: tuple[int, int], steps: tuple[int, int], how: Any, dtype: str
) -> None:
    m = np.random.default_rng(shape[0]).integers(-4, 5, shape) / 4
    m = m.astype("i8").astype(float) if dtype == "i8" else m
    given = m.astype("i8") if dtype == "i8" else strided(m.astype(dtype), steps, **how)
    r, plain = sq.theory.risk(NETWORK, None, given), sq.theory.risk(NETWORK, None, m)
    assert (
        r.value.shape == r.V.shape == shape
        and r.gradient.shape == (*shape, 1)
        and r.value.dtype == np.float64
    )
    assert (
        np.array_equal(r.value, plain.value)
        and np.array_equal(r.gradient, plain.gradient)
        and np.array_equal(r.V, plain.V)
    )


@check
@given(
    L=st.integers(1, 4),
    d=st.integers(1, 6),
    steps=st.tuples(strides, strides),
    how=layout,
    dtype=st.sampled_from(["f4", "f8"]),
)
def test_arrays_of_models(L: int, d: int, steps: tuple[int, int], how: Any, dtype: str) -> None:
    g = np.random.default_rng(L)
    P, half = g.integers(-3, 4, (L, d)).astype(dtype), g.integers(-2, 3, (L, L)).astype(dtype)
    assert np.array_equal(sq.Positions(strided(P, steps, **how)).P, P)
    assert np.array_equal(sq.Correlated(strided(half @ half.T, steps, **how)).C, half @ half.T)
    assert np.array_equal(sq.Injected(strided(P[:, 0], steps[:1], **how)).c, P[:, 0])


def askew(a: Any) -> Any:
    """The same numbers at an odd address, as in packed records and mapped files."""
    raw = np.frombuffer(b"\xff" + np.ascontiguousarray(a).tobytes(), np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    assert view.flags.c_contiguous and not view.flags.aligned and np.array_equal(view, a)
    return view


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_odd_addresses(dtype: str) -> None:
    g = np.random.default_rng(3)
    X, y, m = (
        g.standard_normal((3, 2, 9)).astype(dtype) / np.float32(3),
        g.standard_normal((3, 1)),
        np.array([-0.5, 0.25]),
    )
    a, b = (
        sq.Simulator(
            NETWORK,
            d=9,
            lr=0.1,
            rng=1,
            dtype={"f4": "float32", "f8": "float64"}[dtype],
            init=sq.Uniform(),
        )
        for _ in range(2)
    )
    assert np.array_equal(a.observe(askew(X), askew(y)), b.observe(X, y)) and np.array_equal(
        a.w, b.w
    )
    assert np.array_equal(
        sq.theory.risk(NETWORK, None, askew(m)).value, sq.theory.risk(NETWORK, None, m).value
    )
    assert np.array_equal(sq.Positions(askew(X[:2, 0])).P, X[:2, 0])


def test_the_core_refuses_odd_addresses() -> None:
    with pytest.raises(TypeError, match="^X: expected a C-contiguous, aligned array of float32"):
        sq.Simulator(NETWORK, d=9, lr=0.1, rng=1)._core.observe(
            askew(np.zeros((1, 2, 9), "f4")), None
        )


def _make(name: str, a: Any) -> Any:
    if name == "observe":
        return sq.Simulator(NETWORK, d=2, lr=0.1, rng=1, init=sq.Uniform()).observe(a[None])
    return {
        "risk": lambda: sq.theory.risk(NETWORK, None, a),
        "Positions": lambda: sq.Positions(a),
        "Correlated": lambda: sq.Correlated(a),
        "Injected": lambda: sq.Injected(a[0]),
    }[name]()


@pytest.mark.parametrize("name", ["observe", "risk", "Positions", "Correlated", "Injected"])
@pytest.mark.parametrize(
    "a",
    [
        np.array([[0.5, Decimal(1)], [1, 2]], object),
        np.array([[None, None]] * 2, object),
        np.eye(2) * 1j,
        np.array([["1", "2"]] * 2),
        np.zeros((2, 2), "M8[s]"),
        np.zeros((2, 2), "V4"),
    ],
    ids=["decimal", "none", "complex", "text", "dates", "void"],
)
def test_types_that_are_no_numbers(name: str, a: Any) -> None:
    """Refused by name, never read as bytes."""
    with pytest.raises((TypeError, ValueError), match="^(X|m|P|C|c): expected"):
        _make(name, a)
