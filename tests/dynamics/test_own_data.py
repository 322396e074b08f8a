"""Sequences of the caller's: what they must be, and whether their units are the model's."""

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.dynamics.own_data import Units

TASK = sq.Task(sq.SSI("sum", L=3), sq.Tied("tanh"))


def make(d=20, task=TASK, **change):
    return sq.Simulator(task, **{"d": d, "lr": 0.1, "rng": 5} | change)


def normal(n, L, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, L, d))


def test_data_of_unit_variance_are_refused_with_the_remedy():
    sim, X = make(d=100), normal(50, 3, 100)
    with pytest.raises(ValueError) as caught:
        sim.observe(X)
    mean = np.mean(X[:34] ** 2)
    assert str(caught.value) == (
        f"X: expected entries of mean square 1/d = 0.01, got {mean:.3g} (unit variance? divide "
        "by sqrt(d) = 10); pass check_scale=False to skip this check"
    )
    assert sim.step == 0
    sim.observe(X / 10)
    assert sim.step == 50
    other = make(d=100)
    other.observe(X, check_scale=False)
    assert other.step == 50


@pytest.mark.parametrize("d", [4, 5, 10, 30, 1000])
@pytest.mark.parametrize("at_once", [1, 2000])
def test_unit_variance_is_found_from_four_dimensions_on_also_one_by_one(d, at_once):
    X = normal(2000, 1, d, seed=d)
    sim, steps = make(d=d, task=sq.Task(sq.SSI("sum", L=1), sq.Tied("tanh"))), 0
    with pytest.raises(ValueError, match="^X: expected entries of mean square 1/d"):
        for i in range(0, 2000, at_once):
            sim.observe(X[i : i + at_once])
            steps += at_once
    assert sim.step == steps < 600


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.3, 2.0, 10.0])
def test_other_scales(factor):
    """In units of the right standard deviation."""
    sim, X = make(), factor * normal(200, 3, 20) / np.sqrt(20)
    if 0.6 < factor < 1.7:
        sim.observe(X)
    else:
        with pytest.raises(ValueError, match="pass check_scale=False to skip this check$"):
            sim.observe(X)


def test_valid_data_are_never_refused():
    """200 000 series of single Gaussian sequences of few numbers, where chance is largest, each
    looked at up to ten times: alarms are expected in fewer than 1e-5 of such tests.
    """
    rng = np.random.default_rng(0)
    for L, d in [(1, 1), (1, 2), (2, 1), (1, 5), (3, 7)]:
        for X in rng.standard_normal((4000, 10, 1, L, d)) / np.sqrt(d):
            units = Units(d, "gaussian")
            for x in X:
                units.look(x)


@pytest.mark.parametrize(
    "tokens",
    [
        "rademacher",
        "uniform",
        sq.StudentT(2.1),
        sq.Correlated(np.diag([9.0, 4.0, 25.0])),
        sq.Correlated(np.zeros((3, 3))),
    ],
)
def test_the_law_of_the_tokens_is_taken_into_account(tokens):
    X = normal(100, 3, 20) / np.sqrt(20)
    if isinstance(tokens, sq.StudentT):
        X = X * 50  # as its squares may be
    if isinstance(tokens, sq.Correlated):
        X = X * np.sqrt(np.diag(tokens.C))[:, None]
    make(tokens=tokens).observe(X)


def test_small_data_that_are_wrong_are_not_told_from_chance():
    make(d=5, task=sq.Task(sq.SSI("sum", L=1), sq.Tied("tanh"))).observe(normal(1, 1, 5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (
            lambda X: np.where(np.arange(20) == 7, np.nan, X),
            None,
            ValueError,
            "X: expected finite numbers, got nan at X[0, 0, 7]",
        ),
        (
            lambda X: np.concatenate([X[:1], -np.inf * np.abs(X[1:])]),
            None,
            ValueError,
            "X: expected finite numbers, got -inf at X[1, 0, 0]",
        ),
        (lambda X: X, [0.0, np.nan], ValueError, "y: expected finite numbers, got nan at y[1, 0]"),
        (
            lambda X: X,
            [[np.inf], [0.0]],
            ValueError,
            "y: expected finite numbers, got inf at y[0, 0]",
        ),
        (
            lambda X: np.ma.array(X, mask=X == X[1, 2, 3]),
            None,
            TypeError,
            "X: expected numbers without masked entries, got a masked array of shape (2, 3, 20), 1 "
            "masked",
        ),
        (
            lambda X: X,
            np.ma.array([1.0, 2.0], mask=[False, True]),
            TypeError,
            "y: expected numbers without masked entries, got a masked array of shape (2,), 1 "
            "masked",
        ),
    ],
)
def test_what_is_no_number_is_refused_and_nothing_moves(X, y, error, message, dtype):
    sim = make(dtype=dtype)
    w = sim.w
    with pytest.raises(error) as caught:
        sim.observe(X(normal(2, 3, 20) / np.sqrt(20)), y)
    assert str(caught.value) == message
    assert sim.step == 0 and np.array_equal(sim.w, w)


def test_beyond_single_precision():
    X = normal(2, 3, 20) / np.sqrt(20)
    X[1, 1, 1] = 1e300
    with pytest.raises(
        ValueError,
        match=r"^X: expected finite numbers, got 1e\+300 beyond float32 at X\[1, 1, 1\]$",
    ):
        make().observe(X, check_scale=False)


def test_large_but_finite_data_are_taken_where_asked_for():
    """Squares overflow, numbers do not."""
    sim = make(dtype="float64")
    X = normal(1, 3, 20)
    X[0, 0, 0] = 1e200
    with pytest.raises(ValueError, match="check_scale=False"):
        sim.observe(X)
    sim.observe(X, [0.0], check_scale=False)  # tanh saturates: a step of length 0
    assert sim.step == 1


def test_a_masked_array_with_nothing_masked_is_an_array():
    X = normal(2, 3, 20) / np.sqrt(20)
    a, b = make(), make()
    np.testing.assert_array_equal(a.observe(np.ma.array(X)), b.observe(X))


@pytest.mark.slow
@pytest.mark.parametrize("L", [3, 30, 300])
def test_correlated_tokens_are_fewer_numbers_than_there_are_entries(L):
    """All tokens alike, d = 1: the mean square is that of one normal, beyond 6 in 1.4 % of
    draws.
    """
    rng = np.random.default_rng(1)
    for z in rng.standard_normal(500):
        Units(1, sq.Correlated(np.ones((L, L)))).look(np.full((1, L, 1), z))
    with pytest.raises(ValueError, match="^X: expected entries of mean square"):
        Units(1, sq.Correlated(np.ones((L, L)))).look(np.full((20_000, L, 1), 4.0))
