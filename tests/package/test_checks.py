"""Numbers as arguments: what counts as an integer, and that none is too large for its line of
refusal.
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import seqsgd as sq
from seqsgd import _checks

TASK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))


@pytest.mark.parametrize(
    "value",
    [
        300,
        3e2,
        np.float64(300.0),
        np.float32(300),
        np.int16(300),
        np.uint64(300),
        np.array(300),
        np.array(300.0),
    ],
    ids=repr,
)
def test_whole_numbers_are_integers(value):
    n = _checks.integer("n", value, 1, 1000)
    assert n == 300 and type(n) is int


def test_so_do_arguments():
    a = sq.simulate(
        TASK,
        d=2e1,
        steps=1e2,
        lr=0.1,
        runs=np.array(2),
        rng=0,
        record=[0, 5e1, np.float64(100.0)],
        threads=1.0,
        first_run=0.0,
    )
    b = sq.simulate(TASK, d=20, steps=100, lr=0.1, runs=2, rng=0, record=[0, 50, 100])
    np.testing.assert_array_equal(a.m, b.m)
    assert a.dataset.attrs["task"] == b.dataset.attrs["task"] and a.dataset.sizes == b.dataset.sizes
    assert sq.SSI("sum", L=2.0) == sq.SSI("sum", L=2) and sq.Every(1e3) == sq.Every(1000)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        np.float64(1.5),
        float("nan"),
        float("inf"),
        -float("inf"),
        True,
        np.True_,
        np.array(True),
        np.timedelta64(3),
        np.array(1.5),
        np.array([3]),
        np.array([3.0]),
        "3",
        b"3",
        None,
        3 + 0j,
        Decimal(3),
        Fraction(3),
        [3],
        np.ma.masked,
        np.ma.array(3.0),
    ],
    ids=repr,
)
def test_others_are_not(value):
    with pytest.raises(TypeError, match=r"^n: expected an integer >= 1, got .*$") as caught:
        _checks.integer("n", value, 1)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 120


HUGE = [2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400, 10**5000, 1e300, np.uint64(2**63)]
INT32 = [2**31, *HUGE]
ARGUMENTS = {
    "d": lambda n: sq.simulate(TASK, n, 1, 0.1),
    "steps": lambda n: sq.simulate(TASK, 5, n, 0.1),
    "runs": lambda n: sq.simulate(TASK, 5, 1, 0.1, runs=n),
    "threads": lambda n: sq.simulate(TASK, 5, 1, 0.1, threads=n),
    "first_run": lambda n: sq.simulate(TASK, 5, 1, 0.1, first_run=n),
    "record: steps": lambda n: sq.simulate(TASK, 5, 1, 0.1, record=[0, n]),
    "steps[1]": lambda n: sq.At([0, n]),
    "n": sq.Every,
    "n ": sq.LogSpaced,
    "pieces[1] step": lambda n: sq.Piecewise([(0, 0.1), (n, 0.2)]),
    "run": lambda n: sq.Simulator(TASK, 5, 0.1, run=n),
    "n  ": lambda n: sq.Simulator(TASK, 5, 0.1).advance(n),
    "terms[0] degree": lambda n: sq.Hermite([(1.0, {1: n})]),
    "order": lambda n: sq.theory.hermite_coefficients("relu", n),
}
SMALL = {
    "L": lambda n: sq.SSI("sum", L=n),
    "L ": lambda n: sq.AttentionTarget(n),
    "k": lambda n: sq.SSI(lambda z: z, L=2, k=n),
    "terms[0] token": lambda n: sq.Hermite([(1.0, {n: 1})]),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(k, n) for k in ARGUMENTS for n in HUGE] + [(k, n) for k in SMALL for n in INT32],
    ids=lambda x: _checks.short(x, 20),
)
def test_integers_too_large_are_refused_in_one_line(name, value):
    with pytest.raises(ValueError) as caught:
        (ARGUMENTS | SMALL)[name](value)
    text = str(caught.value)
    assert (
        text.startswith(name.strip())
        and "expected an integer in [" in text
        and "\n" not in text
        and len(text) < 200
    )


def test_a_seed_may_be_of_any_size():
    for seed in (2**53 + 1, 2**64, 10**400):
        a, b = (sq.simulate(TASK, 5, 20, 0.1, rng=seed) for _ in range(2))
        np.testing.assert_array_equal(a.m, b.m)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2)], ids=repr)
def test_numbers(value):
    x = _checks.number("x", value, 0, 1)
    assert x == 0.5 and type(x) is float


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ma.masked, TypeError),
        (np.timedelta64(3), TypeError),
        (np.array([0.5]), TypeError),
        (10**400, ValueError),
        (10**5000, ValueError),
        (np.array(np.nan), ValueError),
    ],
    ids=lambda x: _checks.short(x, 20),
)
def test_no_numbers(value, error):
    with pytest.raises(error, match=r"^x: expected a finite number, got .{1,60}$"):
        _checks.number("x", value)


def test_masked_arrays_are_refused_everywhere():
    masked = np.ma.array(np.eye(2), mask=[[False, True], [False, False]])
    for name, make in {
        "P": sq.Positions,
        "C": sq.Correlated,
        "A": lambda x: sq.PositionalSemantic(0.5, A=x),
        "coefficients": lambda x: sq.HermiteSeries(x[0]),
    }.items():
        with pytest.raises(
            TypeError,
            match=rf"^{name}: expected numbers without masked entries, got a masked array of shape "
            r".*, 1 masked$",
        ):
            make(masked)
    assert sq.Positions(np.ma.array(np.eye(2))) == sq.Positions(np.eye(2))


def test_a_repr_that_raises_does_not_hide_the_refusal():
    class Broken:
        def __repr__(self):
            raise RuntimeError("broken")

    with pytest.raises(TypeError, match="^n: expected an integer, got an object of type Broken$"):
        _checks.integer("n", Broken())
