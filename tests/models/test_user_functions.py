"""The user's own links and activations, in C and in Python, against the built-in ones they
repeat.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest
import scipy
import seqsgd as sq
from helpers import assert_close, core_simulation, steps
from seqsgd import _core

numba = pytest.importorskip("numba")

L = 3
DOUBLES = ctypes.POINTER(ctypes.c_double)
LINK = ctypes.CFUNCTYPE(None, DOUBLES, ctypes.c_int64, DOUBLES, ctypes.c_int64)
LINK_WITH_DATA = ctypes.CFUNCTYPE(
    None, DOUBLES, ctypes.c_int64, DOUBLES, ctypes.c_int64, ctypes.c_void_p
)
CURVE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)

_numba_signature = numba.types.void(
    numba.types.CPointer(numba.float64),
    numba.int64,
    numba.types.CPointer(numba.float64),
    numba.int64,
)


@numba.cfunc(_numba_signature)
def numba_link(zstar, n, y, k):  # the sum of all tokens
    total = 0.0
    for i in range(n):
        total += zstar[i]
    y[0] = total


@numba.cfunc("float64(float64)")
def numba_tanh(u):
    return math.tanh(u)


@numba.cfunc("float64(float64)")
def numba_dtanh(u):
    return 1 - math.tanh(u) ** 2


@LINK
def ctypes_link(zstar, n, y, k):
    y[0] = sum(zstar[i] for i in range(n))


@LINK_WITH_DATA
def link_with_data(zstar, n, y, k, data):  # weights come from user_data
    w = ctypes.cast(data, DOUBLES)
    y[0] = sum(w[i] * zstar[i] for i in range(n))


ctypes_tanh, ctypes_dtanh = CURVE(math.tanh), CURVE(lambda u: 1 - math.tanh(u) ** 2)
# scipy needs pointers with signatures; ctypes ones carry them
LINKS: dict[str, Any] = {
    "ctypes": sq.CLink(ctypes_link),
    "address": sq.CLink(ctypes.cast(ctypes_link, ctypes.c_void_p).value),
    "numba": sq.CLink(numba_link),
    "numba address": sq.CLink(numba_link.address),
    "LowLevelCallable of ctypes": sq.CLink(scipy.LowLevelCallable(ctypes_link)),
    "LowLevelCallable of numba": sq.CLink(scipy.LowLevelCallable(numba_link.ctypes)),
    "python": lambda zstar: float(np.sum(zstar)),
    "python array": lambda zstar: np.array([zstar.sum()]),
    "Hermite": sq.Hermite([(1.0, {l: 1}) for l in (1, 2, 3)]),
}
ACTIVATIONS: dict[str, Any] = {
    "ctypes": sq.CActivation(ctypes_tanh, ctypes_dtanh),
    "numba": sq.CActivation(numba_tanh, numba_dtanh.address),
    "LowLevelCallable": sq.CActivation(
        scipy.LowLevelCallable(numba_tanh.ctypes), scipy.LowLevelCallable(ctypes_dtanh)
    ),
    "python": (math.tanh, lambda u: 1 - math.tanh(u) ** 2),
}


def fields() -> tuple[Any, Any]:
    return tuple(np.random.default_rng(1).standard_normal((2, 30, L)))


def same_course(task: sq.Task, plain: sq.Task) -> None:
    """Equal at given fields, and equal along 40 steps."""
    for a, b in zip(task.evaluate(*fields()), plain.evaluate(*fields()), strict=True):
        assert_close(a, b, 1e-14)
    records = [
        core_simulation(t._compiled(), runs=3, threads=2, record=steps(0, 7, 40))
        for t in (task, plain)
    ]
    for r in records:
        assert r.advance(40, None)
    assert_close(records[0].weights(), records[1].weights(), 1e-13)


@pytest.mark.parametrize("name", LINKS)
def test_links(name: str) -> None:
    same_course(
        sq.Task(sq.SSI(LINKS[name], L=L), sq.Tied("tanh")),
        sq.Task(sq.SSI("sum", L=L), sq.Tied("tanh")),
    )
    core = sq.SSI(LINKS[name], L=L)._compiled()
    assert core.calls_python == name.startswith("python")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    for student in (sq.Tied, sq.Untied):
        same_course(
            sq.Task(sq.SSI("staircase3", L=L), student(ACTIVATIONS[name])),
            sq.Task(sq.SSI("staircase3", L=L), student("tanh")),
        )


def test_hermite_series() -> None:
    task, plain = (
        sq.Task(sq.SSI("staircase3", L=L), sq.Tied(s))
        for s in (sq.HermiteSeries([0, 0, 0, 1.0]), "He3")
    )
    same_course(task, plain)


def test_user_data_reaches_the_link() -> None:
    weights = (ctypes.c_double * L)(1.0, -2.0, 0.5)
    call = scipy.LowLevelCallable(link_with_data, ctypes.cast(weights, ctypes.c_void_p))
    task = sq.Task(sq.SSI(sq.CLink(call), L=L), sq.Tied("tanh"))
    same_course(
        task,
        sq.Task(
            sq.SSI(sq.Hermite([(1.0, {1: 1}), (-2.0, {2: 1}), (0.5, {3: 1})]), L=L), sq.Tied("tanh")
        ),
    )


def test_several_outputs() -> None:
    def softmax(zstar: Any) -> Any:
        e = np.exp(np.outer(zstar, zstar))
        return (e / e.sum(1, keepdims=True)).ravel()

    task = sq.Task(sq.SSI(softmax, L=L, k=L * L), sq.Attention("none"), "frobenius")
    same_course(task, sq.Task(sq.AttentionTarget(L), sq.Attention("none"), "frobenius"))


def test_the_link_is_given_its_own_array() -> None:
    seen = []
    task = sq.Task(sq.SSI(lambda z: seen.append(z) or 0.0, L=L), sq.Tied("tanh"))
    zstar, z = fields()
    task.evaluate(zstar, z)
    assert all(a.shape == (L,) and a.dtype == np.float64 for a in seen)
    assert np.array_equal(seen[-30:], zstar)


class Broken(Exception):
    """What a user function raises."""


@pytest.mark.parametrize("where", ["link", "activation"])
@pytest.mark.parametrize("threads", [1, 2])
def test_exceptions_come_out_and_leave_no_trace(threads: int, where: str) -> None:
    """The step in which a function raised has not been done: going on gives the bits of an
    undisturbed simulation.
    """

    def simulation(g: Any, sigma: Any) -> Any:
        activation = _core.activation_python(sigma, lambda u: 1 - math.tanh(u) ** 2)
        task = _core.Task(
            _core.link_python(L, 1, g), _core.student_network(activation, L), "half_square", 0.3
        )
        return core_simulation(task, runs=4, threads=threads)

    calls, limit = [], [20]

    def failing(plain: Any) -> Any:
        def f(x: Any) -> float:
            calls.append(1)
            if len(calls) > limit[0]:
                raise Broken("one call too many")
            return plain(x)

        return f

    def first(z: Any) -> float:
        return float(z[0])

    core = (
        simulation(failing(first), math.tanh)
        if where == "link"
        else simulation(first, failing(math.tanh))
    )
    for _ in range(5):
        with pytest.raises(Broken, match=r"^one call too many$"):
            core.advance(1000, None)
        assert core.status()["step"].sum() <= len(calls) < 1000
        limit[0] = len(calls) + 33
    limit[0] = 10**9
    assert core.advance(200, None)
    undisturbed = simulation(first, math.tanh)
    undisturbed.advance(200, None)
    assert np.array_equal(core.weights(), undisturbed.weights())


@pytest.mark.parametrize("at", ["value", "derivative", "link", "observe"])
def test_exceptions_of_every_kind_of_function(at: str) -> None:
    def fail(x: Any) -> float:
        raise Broken(at)

    link = fail if at in ("link", "observe") else "sum"
    sigma = (fail if at == "value" else math.tanh, fail if at == "derivative" else math.tanh)
    task = sq.Task(sq.SSI(link, L=L), sq.Tied(sigma))
    with pytest.raises(Broken, match=f"^{at}$"):
        task.evaluate(*fields())
    simulator = sq.Simulator(task, d=10, lr=0.1, rng=0)
    with pytest.raises(Broken, match=f"^{at}$"):
        if at == "observe":
            simulator.observe(np.zeros((1, L, 10)))
        else:
            simulator.advance(3)
    with pytest.raises(Broken, match=f"^{at}$"):
        sq.simulate(task, d=10, steps=5, lr=0.1, runs=2, rng=0, threads=2)


@pytest.mark.parametrize("value", ["text", None, [1.0, 2.0], np.zeros((2, 2)), 1j])
def test_wrong_returns_of_a_link(value: Any) -> None:
    task = sq.Task(sq.SSI(lambda z: value, L=L), sq.Tied("tanh"))
    with pytest.raises((TypeError, ValueError), match=r"^link: expected"):
        task.evaluate(*fields())


@pytest.mark.parametrize("which", ["value", "derivative"])
@pytest.mark.parametrize("value", ["text", None, 1j])
def test_wrong_returns_of_an_activation(value: Any, which: str) -> None:
    wrong: Any = lambda u: value
    task = sq.Task(
        sq.SSI("sum", L=L), sq.Tied((wrong, math.tanh) if which == "value" else (math.tanh, wrong))
    )
    with pytest.raises((TypeError, ValueError), match="expected"):
        task.evaluate(*fields())


@pytest.mark.weights
def test_a_nan_of_a_link_stops_the_run_with_its_step(dynamics: str) -> None:
    calls = []

    def g(zstar: Any) -> float:
        calls.append(1)
        return math.nan if len(calls) == 38 else float(zstar[0])

    core = core_simulation(
        _core.Task(
            _core.link_python(L, 1, g),
            _core.student_network(_core.activation_named("tanh"), L),
            "half_square",
            0.0,
        ),
        dynamics,
        record=steps(*range(101)),
    )
    assert core.advance(100, None)
    status, m = core.status(), core.records()["m"][0, :, 0]
    assert status["nonfinite"].tolist() == [38] and status["step"].tolist() == [
        37
    ]  # steps count from 1 where they are done
    assert np.isfinite(m[:38]).all() and np.isnan(m[38:]).all()
    assert np.isfinite(core.weights()).all()
