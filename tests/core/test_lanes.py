"""Tasks of runs side by side give what they give one at a time: every link, student, activation and
loss of the catalogue, and user functions.
"""

import ctypes
import math

import catalogue
import numpy as np
import pytest
import seqsgd as sq
from seqsgd import _core

LENGTHS = [
    1,
    2,
    3,
    5,
    47,
    48,
    60,
]  # few_tokens is 47: longer attention is vectorised over tokens, one run after the other
N = 37  # no multiple of any number of lanes


def fields(L: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    zstar, z = rng.standard_normal((2, N, L))
    z[0] = zstar[0]  # no residual where the student is the teacher
    z[1] = 0
    z[2] *= 6
    return zstar, z


def assert_same(task, L: int, rng: np.random.Generator) -> None:
    zstar, z = fields(L, rng)
    (loss, delta), (loss_lanes, delta_lanes) = (
        task.evaluate(zstar, z),
        task.evaluate_packs(zstar, z),
    )
    np.testing.assert_allclose(loss_lanes, loss, rtol=3e-13, atol=3e-13)
    scale = np.abs(delta).max(axis=1, keepdims=True)  # sums over tokens are taken in another order
    assert (np.abs(delta_lanes - delta) <= 1e-12 * np.maximum(scale, 1) * math.sqrt(L)).all()


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("loss", catalogue.LOSSES)
def test_every_link_and_reduction(L, loss, rng):
    for link in catalogue.scalar_links(L).values():
        for student in (
            catalogue.network("relu", L),
            catalogue.attention("trace", L),
            catalogue.attention("bilinear", L),
        ):
            assert_same(_core.Task(link[0], student[0], loss, 0.0), L, rng)
    if L <= 48:
        for link in catalogue.matrix_links(L).values():
            assert_same(_core.Task(link[0], catalogue.attention("none", L)[0], loss, 0.0), L, rng)


@pytest.mark.parametrize("name", catalogue.ACTIVATIONS)
@pytest.mark.parametrize("L", [1, 4])
def test_every_activation(name, L, rng):
    assert_same(
        _core.Task(
            catalogue.named_link("sum", L)[0], catalogue.network(name, L)[0], "half_square", 0.0
        ),
        L,
        rng,
    )


def test_functions_of_the_user(rng):
    def plain(z):
        return np.tanh(z).sum()

    @ctypes.CFUNCTYPE(
        None,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_int64,
    )
    def pointer(z, L, y, k):
        y[0] = sum(math.tanh(z[i]) for i in range(L))

    for link in (plain, sq.CLink(pointer)):
        for student in (
            sq.Tied("tanh"),
            sq.Attention(reduction="trace"),
            sq.Tied(sq.PyActivation(math.sin, math.cos)),
        ):
            assert_same(sq.Task(sq.SSI(link, L=3), student)._compiled(), 3, rng)


def test_a_lane_does_not_see_its_neighbours(rng):
    """Bit for bit: a point among extreme ones, and among copies of itself."""
    for link, student, loss in (
        (catalogue.matrix_links(2)["semantic"], catalogue.attention("none", 2), "frobenius"),
        (catalogue.named_link("sum_h2", 2), catalogue.network("tanh", 2), "half_square"),
        (catalogue.named_link("sum_h2", 2), catalogue.attention("trace", 2), "square"),
    ):
        task = _core.Task(link[0], student[0], loss, 0.0)
        zstar, z = rng.standard_normal((2, 8, 2))
        extreme, extreme_star = z.copy(), zstar.copy()
        extreme[1:] *= np.array([1e3, 1e-200, 0, 30, 1e8, 1, -700])[:, None]
        extreme_star[1:] = extreme[1:]
        alone = task.evaluate_packs(np.repeat(zstar[:1], 8, axis=0), np.repeat(z[:1], 8, axis=0))
        among = task.evaluate_packs(extreme_star, extreme)
        assert alone[0][0] == among[0][0] and (alone[1][0] == among[1][0]).all()


def test_what_the_reduced_dynamics_refuses():
    task = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
    for tokens in ("rademacher", "uniform", sq.StudentT(5.0)):
        with pytest.raises(
            ValueError,
            match=r"^tokens: dynamics='reduced' is exact for Gaussian tokens only, "
            r"expected 'gaussian' or Correlated, got .*; use "
            r"dynamics='sampled'$",
        ):
            sq.simulate(task, d=10, steps=5, lr=0.1, dynamics="reduced", tokens=tokens)


def test_a_run_that_blows_up_stops_alone():
    """A link that is not a number beyond 3.2: runs stop there, with their step; others go on;
    nothing after it is recorded.
    """
    task = sq.Task(sq.SSI(lambda z: math.nan if z[0] > 3.2 else z[0], L=1), sq.Tied("identity"))
    with pytest.warns(sq.NonFiniteWarning):
        r = sq.simulate(
            task, d=30, steps=200, lr=0.1, runs=40, rng=3, dynamics="reduced", record=sq.Every(1)
        )
    bad = np.isfinite(r.dataset.nonfinite_step.values)
    assert 0 < bad.sum() < 40  # 200 chances of 7e-4 each
    assert (r.dataset.steps_done.values[~bad] == 200).all()
    assert (r.dataset.steps_done.values[bad] == r.dataset.nonfinite_step.values[bad] - 1).all()
    for run in np.flatnonzero(bad):
        done = int(r.dataset.steps_done.values[run])
        m = r.m.values[run]
        assert np.isfinite(m[: done + 1]).all() and np.isnan(m[done + 1 :]).all()


def test_a_link_of_the_users_is_called_once_a_step_and_run():
    """Lanes without a run do not call it."""
    calls = 0

    def link(z):
        nonlocal calls
        calls += 1
        return float(z[0])

    task = sq.Task(sq.SSI(link, L=1), sq.Tied("identity"))
    for runs in (1, 3, 9, 21):
        seen = []
        for steps in (40, 100):
            calls = 0
            sq.simulate(
                task, d=20, steps=steps, lr=0.2, runs=runs, rng=5, dynamics="reduced", record=[0]
            )
            seen.append(calls)
        assert seen[1] - seen[0] == 60 * runs


def test_an_exception_of_a_link_leaves_a_simulation_that_goes_on():
    calls = {"left": 100}

    def link(z):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise RuntimeError("now")
        return float(z[0])

    settings = {
        "d": 20,
        "steps": 60,
        "lr": 0.2,
        "runs": 3,
        "rng": 5,
        "dynamics": "reduced",
        "record": sq.Every(1),
    }
    with pytest.raises(RuntimeError, match="now"):
        sq.simulate(sq.Task(sq.SSI(link, L=1), sq.Tied("identity")), **settings)
    from helpers import core_simulation, steps

    def core(function):
        task = sq.Task(sq.SSI(function, L=1), sq.Tied("identity"))._compiled()
        return core_simulation(task, "reduced", runs=3, record=steps(*range(61)), d=20, lr=0.2)

    calls["left"] = 100
    broken, whole = core(link), core(lambda z: float(z[0]))
    with pytest.raises(RuntimeError, match="now"):
        broken.advance(60)
    broken.advance(60)
    whole.advance(60)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(broken.state()[key], value)
