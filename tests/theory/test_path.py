"""Flows that halt before their next record, and flows that tend to the sphere."""

import math

import numpy as np
import pytest
import seqsgd as sq
from scipy import integrate
from seqsgd.theory import _path, drift, flow, weak_recovery

LINEAR = sq.Task(
    sq.SSI("sum", 4, scale="1/sqrt(L)"), sq.Tied("identity")
)  # R = 1 - m, V = 2 (1 - m)
TASKS = {
    "tied": LINEAR,
    "untied": sq.Task(sq.SSI("sum", 2), sq.Untied("relu")),
    "common": sq.Task(sq.SSI("sum_h2", 2), sq.Untied("relu", normalization="global")),
    "opposite": sq.Task(
        sq.SSI("sum", 2, scale="1/sqrt(L)"), sq.Tied("identity", position=sq.Opposite())
    ),
}
RATES = {
    "constant": 0.1,
    "decay": sq.Decay(0.2, 1000, 0.5),
    "pieces": sq.Piecewise([(0, 0.1), (300, 0.2), (3000, 0.05)]),
}
RUN = {"d": 200, "steps": 20_000, "dynamics": "flow", "rng": 0, "init": sq.Overlap(0.2)}


def exact_steps(eta, lr, d, m0):
    """dm/dt = (1 - m^2) - lr (1 - m) m of LINEAR, t = lr tau / d."""
    return (
        d
        / lr
        * integrate.quad(lambda m: 1 / ((1 - m * m) - lr * (1 - m) * m), m0, eta, epsabs=1e-13)[0]
    )


@pytest.mark.parametrize(
    "record", [None, [0, 20_000], [20_000], [3, 20_000], sq.LogSpaced(2), sq.Every(3)], ids=str
)
def test_the_passage_is_found_between_records(record):
    wanted = math.ceil(exact_steps(0.5, 0.1, 200, 0.2))
    for halt in (True, False):
        r = sq.simulate(LINEAR, lr=0.1, record=record, stop=sq.WeakRecovery(0.5, halt=halt), **RUN)
        assert r.weak_recovery.values == wanted and not r.censored.any() and r.complete
        assert r.dataset.steps_done.values == (wanted if halt else 20_000)
        steps = r.dataset.step.values
        assert (
            np.isfinite(r.m.values[0]).tolist() == (steps <= r.dataset.steps_done.values).tolist()
        )


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", TASKS)
def test_halting_changes_nothing_before(name, rate):
    arguments = RUN | {"lr": RATES[rate], "steps": 9000, "task": TASKS[name]}
    on = sq.simulate(**arguments, stop=sq.WeakRecovery(0.4))
    at = int(on.weak_recovery.values[0])
    assert 30 < at < 9000
    for record in (None, [0, 9000], [at - 1, at, at + 1]):
        r = sq.simulate(**arguments, record=record, stop=sq.WeakRecovery(0.4, halt=True))
        assert (
            abs(r.weak_recovery.values[0] - at) <= 1
            and r.dataset.steps_done.values == r.weak_recovery.values
        )
    size = (
        np.sqrt(np.mean(r.m.values[0] ** 2, axis=-1))
        if "token" in r.m.dims
        else np.abs(r.m.values[0])
    )
    if "e" in r.dataset:
        size = np.hypot(size, r.e.values[0])
    assert size[0] < 0.4 <= size[1] + 1e-9 and np.isnan(
        size[2]
    )  # the step it halts at is recorded, as in the other dynamics


def test_starts_at_random_and_sweeps():
    base = RUN | {"task": LINEAR, "lr": 0.1, "runs": 5, "init": sq.Uniform(), "record": [0, 20_000]}
    del base["rng"]
    r = sq.sweep(
        base,
        {
            "stop": {
                "labels": {"on": sq.WeakRecovery(0.5), "halted": sq.WeakRecovery(0.5, halt=True)}
            }
        },
        rng=1,
    )
    # each cell has the stream of what it simulates, which `stop` does not change
    np.testing.assert_array_equal(
        r["weak_recovery"].sel(stop="on"), r["weak_recovery"].sel(stop="halted")
    )
    assert not r.errors and np.isfinite(r["weak_recovery"]).all()


def test_the_flow_of_the_theory_halts():
    wanted = exact_steps(0.5, 0.1, 1000, 0.1)
    for kind in ({"steps": 10**6}, {"t": 100.0}):
        f = flow(LINEAR, 0.1, 1000, m=0.1, eta=0.5, halt=True, **kind)
        assert f.weak_recovery_step == pytest.approx(
            wanted, rel=1e-6
        ) and f.weak_recovery == pytest.approx(wanted * 1e-4, rel=1e-6)
        assert f.m[0] == 0.1 and np.isnan(f.m[1:]).all() and np.isnan(f.risk[1:]).all()
    without = flow(LINEAR, 0.1, t=100.0, m=0.1, eta=0.5, halt=True)
    assert (
        without.weak_recovery == pytest.approx(wanted * 1e-4, rel=1e-6)
        and without.weak_recovery_step is None
    )
    never = flow(LINEAR, 0.1, 1000, steps=100, m=0.1, eta=0.5)
    assert never.weak_recovery == never.weak_recovery_step == math.inf
    unasked = flow(LINEAR, 0.1, 1000, steps=100, m=0.1)
    assert math.isnan(unasked.weak_recovery) and math.isnan(unasked.weak_recovery_step)


def test_a_solution_that_ends_before_its_first_record(monkeypatch):
    """The solver gives up at once: no point of the grid is there."""
    from scipy import integrate as module

    class Failed:
        t, y, t_events, status = [], [], [np.empty(0)], -1

    monkeypatch.setattr(module, "solve_ivp", lambda *_, **__: Failed)
    with pytest.warns(sq.NonFiniteWarning, match="^values were not finite in run 0 at step 0"):
        r = sq.simulate(LINEAR, lr=0.1, **RUN, record=[0, 20_000], stop=sq.WeakRecovery(0.5))
    assert r.m.values[0, 0] == 0.2 and np.isnan(r.m.values[0, 1])
    assert r.weak_recovery.values == math.inf and r.censored.all()


# --- the sphere


@pytest.mark.parametrize("record", [None, [0, 10**6], sq.LogSpaced(2), sq.Every(7001)], ids=str)
def test_the_sphere_is_tended_to_and_never_reached(record):
    for halt in (False, True):
        r = sq.simulate(
            LINEAR,
            1000,
            10**6,
            0.1,
            dynamics="flow",
            rng=0,
            record=record,
            stop=sq.WeakRecovery(1.0, halt=halt),
        )
        assert (
            r.weak_recovery.values == math.inf
            and r.censored.all()
            and r.dataset.steps_done.values == 10**6
        )
        assert r.m.max() <= 1 and r.m.values[0, -1] == pytest.approx(1, abs=1e-12)
    there = sq.simulate(
        LINEAR,
        1000,
        1000,
        0.1,
        dynamics="flow",
        rng=0,
        init=sq.Overlap(1.0),
        stop=sq.WeakRecovery(1.0),
    )
    assert there.weak_recovery.values == 0


@pytest.mark.parametrize("name", ["tied", "opposite", "untied"])
def test_the_sphere_is_never_reached_by_any_weights(name):
    task = sq.Task(sq.SSI("z1", 1), sq.Untied("identity")) if name == "untied" else TASKS[name]
    for tokens in ("gaussian", sq.Correlated([[1.0]]) if name == "untied" else "gaussian"):
        f = flow(task, 0.1, t=200.0, m=0.3, eta=1.0, tokens=tokens)
        size = np.hypot(f.m, f.e) if f.e is not None else np.abs(np.ravel(f.m))
        assert (
            f.weak_recovery == math.inf
            and size.max() <= 1
            and size[-1] == pytest.approx(1, abs=1e-9)
        )


def test_times_of_the_theory_agree():
    assert weak_recovery(LINEAR, d=1000, lr=0.1, eta=1.0).never == 1
    assert weak_recovery(LINEAR, d=1000, lr=0.1, eta=1.0, init=sq.Overlap(-1.0)).median == 0
    assert weak_recovery(TASKS["opposite"], d=1000, lr=0.1, eta=1.0).never == 1


def test_states_are_put_back_on_the_sphere():
    """Radially, where errors have carried them out by less than 1e-6, and in the metric of P where
    that is not orthogonal to w*."""
    P, estar = np.array([[2.0, 0.5], [0.0, 1.0]]), np.array([0.3, -0.4])
    task = sq.Task(
        sq.SSI("sum", 2), sq.Tied("relu", position=sq.Positions(np.hstack([P, np.zeros((2, 6))])))
    )
    right = drift(task, 0.1, estar=estar)
    gram = np.block([[np.eye(1), estar[None]], [estar[:, None], right.K]])
    root = np.linalg.cholesky(gram)
    on = root @ np.array([0.6, 0.0, 0.8])  # (m, e) of a unit vector
    state = np.append(on[1:], on[0])
    for factor, wanted in ((0.7, 0.7), (1 + 1e-9, 1.0), (1.1, 1.1)):
        (back,) = _path.inside(right, factor * state[None])
        np.testing.assert_allclose(back, wanted * state, rtol=1e-14)
    assert _path.attainable(right, 1.0) and not _path.attainable(drift(task, 0.1), 1.0)
    rows = drift(sq.Task(sq.SSI("sum", 2), sq.Untied("relu")), 0.1)
    back = _path.inside(rows, np.array([[1 + 1e-10, -0.5], [0.3, -1 - 1e-10]]))
    np.testing.assert_allclose(back, [[1, -0.5], [0.3, -1]], rtol=1e-14)
    assert np.abs(back).max() <= 1 and (back[[0, 1], [1, 0]] == [-0.5, 0.3]).all()
