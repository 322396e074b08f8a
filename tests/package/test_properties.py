"""Arrays as users have them: any strides, order, dtype, read-only, lists too.

What counts is the numbers; nothing given is written to.

Each property holds for examples that hypothesis looks for (derandomised, so that every run tries
the same ones).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import seqsgd as sq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

check = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every second": lambda a: (
        np.repeat(np.repeat(a, 2, 0), 2, -1)[::2, ..., ::2] if a.ndim > 1 else np.repeat(a, 2)[::2]
    ),
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "inner part": lambda a: np.pad(a, 1)[(slice(1, -1),) * a.ndim],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": lambda a: (
        np.frombuffer(b"\0" + a.tobytes(), dtype=np.uint8)[1:].view(a.dtype).reshape(a.shape)
    ),
    "broadcast": lambda a: np.broadcast_to(a, a.shape),
    "list": lambda a: a.tolist(),
    "subclass": lambda a: a.view(type("Mine", (np.ndarray,), {})),
}
DTYPES = ("float64", "float32", "float16", "int64", "int8", "longdouble")

layouts, dtypes = st.sampled_from(list(LAYOUTS)), st.sampled_from(DTYPES)
sizes = st.integers(1, 5)


def numbers(shape: tuple[int, ...], seed: int, dtype: str) -> Any:
    """Values that every dtype here holds exactly."""
    return np.random.default_rng(seed).integers(-3, 4, size=shape).astype(dtype)


def dressed(a: Any, layout: str) -> Any:
    """The same numbers laid out otherwise, read-only."""
    b = LAYOUTS[layout](a)
    if isinstance(b, np.ndarray):
        b.flags.writeable = False
        assert np.array_equal(a, b)
    return b


def tied(L: int, **position: Any) -> sq.Task:
    return sq.Task(sq.SSI("sum", L=L), sq.Tied("tanh", **position))


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


@check
@given(n=sizes, L=sizes, seed=st.integers(0, 99), layout=layouts, other=layouts, dtype=dtypes)
def test_fields(n: int, L: int, seed: int, layout: str, other: str, dtype: str) -> None:
    """(n, L), among them (1, N) and (N, 1)."""
    a, b = numbers((n, L), seed, dtype), numbers((n, L), seed + 1, dtype)
    task = tied(L)
    loss, delta = task.evaluate(dressed(a, layout), dressed(b, other))
    plain = task.evaluate(a.astype(float), b.astype(float))
    assert loss.shape == (n,) and delta.shape == (n, L) and loss.dtype == delta.dtype == np.float64
    assert same(loss, plain[0]) and same(delta, plain[1])
    assert same(task.target(dressed(a, layout)), task.target(a.astype(float))) and task.target(
        a
    ).shape == (n, 1)
    assert same(task.output(dressed(a, layout)), task.output(a.astype(float))) and task.output(
        a
    ).shape == (n, 1)


@check
@given(
    n=sizes,
    L=sizes,
    d=sizes,
    seed=st.integers(0, 99),
    layout=layouts,
    dtype=dtypes,
    precision=st.sampled_from(["float32", "float64"]),
)
def test_sequences(
    n: int, L: int, d: int, seed: int, layout: str, dtype: str, precision: str
) -> None:
    """X (n, L, d) and y (n, k)."""
    X, y = numbers((n, L, d), seed, dtype), numbers((n, 1), seed, dtype)
    simulators = [
        sq.Simulator(tied(L), d=d, lr=0.1, rng=1, dtype=precision, init=sq.Uniform())
        for _ in range(3)
    ]
    given = [
        (dressed(X, layout), dressed(y, layout)),
        (X.astype(float), y.astype(float)),
        (X.astype(float), y[:, 0].astype(float)),
    ]
    losses = [s.observe(*xy, check_scale=False) for s, xy in zip(simulators, given, strict=True)]
    for s, loss in zip(simulators, losses, strict=True):
        assert loss.shape == (n,) and loss.dtype == np.float64 and same(loss, losses[0])
        assert same(s.w, simulators[0].w) and s.w.shape == (d,) and s.step == n


@check
@given(n=st.integers(0, 4), seed=st.integers(0, 99), layout=layouts)
def test_matrix_labels(n: int, seed: int, layout: str) -> None:
    """(n, L, L) is (n, L^2) by rows; no sequences at all are no steps."""
    L, d = 2, 4
    X, y = numbers((n, L, d), seed, "float64") / 4, numbers((n, L, L), seed, "float64")
    task = sq.Task(sq.AttentionTarget(L), sq.Attention("none"))
    one, two = (sq.Simulator(task, d=d, lr=0.1, rng=1) for _ in range(2))
    given = (dressed(X, layout), dressed(y, layout)) if layout != "list" and n else (X, y)
    assert same(one.observe(*given), two.observe(X, y.reshape(n, L * L)))
    assert same(one.w, two.w) and one.step == n


@check
@given(L=sizes, d=st.integers(1, 20), seed=st.integers(0, 99), layout=layouts, dtype=dtypes)
def test_positional_matrices(L: int, d: int, seed: int, layout: str, dtype: str) -> None:
    P = numbers((L, d), seed, dtype)
    tasks = [tied(L, position=sq.Positions(p)) for p in (dressed(P, layout), P.astype(float))]
    assert tasks[0] == tasks[1] and hash(tasks[0]) == hash(tasks[1])
    simulators = [
        sq.Simulator(t, d=d, lr=0.1, rng=3, dtype="float64", init=sq.Uniform()) for t in tasks
    ]
    for s in simulators:
        s.advance(5)
    assert same(simulators[0].w, simulators[1].w)
    assert np.allclose(simulators[0].positions, P.astype(float), rtol=0, atol=1e-13) and simulators[
        0
    ].e.shape == (L,)


@check
@given(L=sizes, seed=st.integers(0, 99), layout=layouts, dtype=dtypes)
def test_vectors_and_matrices_of_models(L: int, seed: int, layout: str, dtype: str) -> None:
    """c, a, b, weights, offset (L,), a covariance and a row-stochastic A (L, L)."""
    c, b = numbers((L,), seed, dtype), numbers((L,), seed + 1, dtype)
    z = np.random.default_rng(seed).standard_normal((3, L))
    for make in (
        lambda v, w: tied(L, position=sq.Injected(v)),
        lambda v, w: sq.Task(sq.SSI("sum", L=L), sq.Attention(sq.Bilinear(v, w))),
        lambda v, w: sq.Task(sq.AttentionTarget(L, "trace", weights=v, offset=w), sq.Tied("tanh")),
    ):
        ours, plain = (
            make(dressed(c, layout), dressed(b, layout)),
            make(c.astype(float), b.astype(float)),
        )
        assert ours == plain
        assert all(
            same(x, y) for x, y in zip(ours.evaluate(z, z), plain.evaluate(z, z), strict=True)
        )
    C = np.eye(L, dtype=dtype)
    assert sq.Correlated(dressed(C, layout)) == sq.Correlated(np.eye(L))
    assert sq.PositionalSemantic(0.5, A=dressed(C, layout)) == sq.PositionalSemantic(
        0.5, A=np.eye(L)
    )


@check
@given(layout=st.sampled_from([k for k in LAYOUTS if k not in ("list", "broadcast", "unaligned")]))
def test_models_keep_their_own_copies(layout: str) -> None:
    P, c = (LAYOUTS[layout](a) for a in (np.ones((2, 3)), np.ones(2)))
    position, injected = sq.Positions(P), sq.Injected(c)
    P[...] = 7
    c[...] = 7
    assert position == sq.Positions(np.ones((2, 3))) and injected == sq.Injected(np.ones(2))
    with pytest.raises(ValueError, match="read-only"):
        position.P[0, 0] = 5


@check
@given(n=sizes, L=sizes, d=sizes, data=st.data())
def test_wrong_shapes_are_refused(n: int, L: int, d: int, data: st.DataObject) -> None:
    """One line that names the argument; and the simulator has not moved."""
    shape = tuple(data.draw(st.lists(st.integers(0, 6), min_size=0, max_size=4)))
    s = sq.Simulator(tied(L), d=d, lr=0.1, rng=1, init=sq.Uniform())
    before = s.w
    if not (len(shape) == 3 and shape[1:] == (L, d)):
        with pytest.raises(ValueError, match=r"^X: expected[^\n]*$"):
            s.observe(np.zeros(shape))
    if shape not in ((n, 1), (n,), (n, L, L)) or (shape == (n, L, L) and L != 1):
        with pytest.raises(ValueError, match=r"^y: expected[^\n]*$"):
            s.observe(np.zeros((n, L, d)), np.zeros(shape))
    if shape != (n, L):
        with pytest.raises(ValueError, match=r"^(z|zstar): expected[^\n]*$"):
            tied(L).evaluate(np.zeros(shape), np.zeros((n, L)))
    if shape != (L, d):
        with pytest.raises(ValueError, match=r"^[^\n]*expected[^\n]*$"):
            sq.Simulator(tied(L, position=sq.Positions(np.zeros(shape))), d=d, lr=0.1)
    assert same(s.w, before) and s.step == 0


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([["a"]]),
        np.array([[1j]]),
        np.array([[object()]]),
        np.array([[True]]),
        "text",
        [[1.0], [1.0, 2.0]],
        {1: 2},
        np.array([["2020-01-01"]], dtype="datetime64[D]"),
    ],
)
def test_wrong_types_are_refused(wrong: Any) -> None:
    s = sq.Simulator(tied(1), d=1, lr=0.1, rng=1, init=sq.Uniform())
    for attempt in (
        lambda: tied(1).evaluate(wrong, [[1.0]]),
        lambda: tied(1).target(wrong),
        lambda: s.observe(wrong),
        lambda: s.observe(np.zeros((1, 1, 1)), wrong),
        lambda: sq.Positions(wrong),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^[A-Za-z]+: expected[^\n]*$"):
            attempt()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers(value: float) -> None:
    """Models refuse them, and so does `observe`, before any step."""
    for model in (
        lambda: sq.Positions([[value]]),
        lambda: sq.Injected(value),
        lambda: sq.Injected([value]),
        lambda: sq.Bilinear([value], [1.0]),
        lambda: sq.Correlated([[value]]),
    ):
        with pytest.raises(ValueError, match="finite"):
            model()
    for dtype in ("float32", "float64"):
        s = sq.Simulator(tied(2), d=3, lr=0.1, rng=1, dtype=dtype)
        X = np.full((5, 2, 3), 0.5)
        X[2, 1, 0] = value
        w = s.w
        with pytest.raises(
            ValueError, match=r"^X: expected finite numbers, got .* at X\[2, 1, 0\]"
        ):
            s.observe(X)
        assert s.step == 0 and same(s.w, w)


@check
@given(
    L=sizes,
    d=st.integers(1, 40),
    runs=st.integers(1, 4),
    steps=st.integers(0, 30),
    n=st.integers(1, 40),
    untied=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_results_have_their_shapes(
    L: int, d: int, runs: int, steps: int, n: int, untied: bool, dtype: str
) -> None:
    """From d = 1, L = 1, runs = 1 and steps = 0 on."""
    student = sq.Untied("tanh") if untied else sq.Tied("tanh")
    result = sq.simulate(
        sq.Task(sq.SSI("sum", L=L), student),
        d=d,
        steps=steps,
        lr=0.05,
        runs=runs,
        rng=0,
        dtype=dtype,
        init=sq.Uniform(),
        record=sq.Every(n),
    )
    grid = sorted({*range(0, steps + 1, n), steps})
    assert result.dataset["step"].values.tolist() == grid and result.dataset[
        "run"
    ].values.tolist() == list(range(runs))
    assert (
        result.m.shape == ((runs, len(grid), L) if untied else (runs, len(grid)))
        and result.m.dtype == np.float64
    )
    assert np.isfinite(result.m.values).all() and (np.abs(result.m.values) <= 1 + 1e-6).all()
    assert np.isnan(result.loss.values[:, 0]).all() and np.isfinite(result.loss.values[:, 1:]).all()


@check
@given(
    L=sizes,
    d=st.integers(1, 12),
    steps=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "float64"]),
    run=st.integers(0, 2),
)
def test_a_simulator_is_a_run_of_simulate(
    L: int, d: int, steps: list[int], dtype: str, run: int
) -> None:
    """However its steps are cut."""
    s = sq.Simulator(tied(L), d=d, lr=0.05, rng=4, dtype=dtype, run=run, init=sq.Uniform())
    for n in steps:
        assert s.advance(n) == n
    result = sq.simulate(
        tied(L), d=d, steps=sum(steps), lr=0.05, runs=3, rng=4, dtype=dtype, init=sq.Uniform()
    )
    assert s.m == result.m.values[run, -1]


@check
@given(c=st.floats(0, 2), a=st.floats(-1, 1), b=st.floats(-1, 1), L=sizes, d=st.integers(1, 9))
def test_a_scaling_law_is_its_number(c: float, a: float, b: float, L: int, d: int) -> None:
    one, two, three = (
        sq.Simulator(tied(L), d=d, lr=lr, rng=4, dtype="float64", init=sq.Uniform())
        for lr in (
            sq.PowerLaw(c, d=a, L=b),
            c * float(d) ** a * float(L) ** b,
            sq.Piecewise([(0, sq.PowerLaw(c, d=a, L=b)), (7, 0.0)]),
        )
    )
    for s in (one, two, three):
        s.advance(7)
    assert same(one.w, two.w) and same(one.w, three.w)
    three.advance(5)
    assert same(one.w, three.w) and three.step == 12
