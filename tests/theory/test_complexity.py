"""Sample-complexity laws against the risk, the flow and their own differential equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from links import CUBIC, SUM, SUM_H2, TASKS
from scipy.integrate import quad
from seqsgd.theory import complexity, weak_recovery
from seqsgd.theory._leading import LeadingOrder
from seqsgd.theory.flow import drift
from seqsgd.theory.tensors import norms


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lr", [1e-12, 0.05, 0.2])
def test_times_of_the_leading_order_are_those_of_its_equation(k, lr):
    law, r0, eta = LeadingOrder(k, 0.7, 1.3), 0.4, 0.9
    if law.largest_lr(r0, eta) > lr:
        expected = quad(
            lambda r: 1 / (0.7 * r ** (k - 1) - lr * 1.3 * r / 2),
            r0,
            eta,
            epsabs=1e-13,
            epsrel=1e-13,
        )[0]
        assert (
            np.isclose(law.time(lr, r0, eta), expected, rtol=1e-9)
            and law.steps(100, lr, r0, eta) == law.time(lr, r0, eta) * 100 / lr
        )
    else:
        assert law.time(lr, r0, eta) == math.inf
    assert law.time(lr, eta, eta) == 0


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_largest_and_the_best_learning_rate(k):
    law, r0, eta = LeadingOrder(k, 0.7, 1.3), 0.01, 0.3
    top, best = law.largest_lr(r0, eta), law.best_lr(r0, eta)
    assert (
        law.time(top * (1 - 1e-6), r0, eta) < math.inf
        and law.time(top * (1 + 1e-6), r0, eta) == math.inf
    )
    steps = [law.steps(1, x, r0, eta) for x in best * np.array([0.98, 1, 1.02])]
    assert steps[1] == min(steps)
    assert np.isclose(best / top, 0.5 if k == 2 else 0.7153, atol=0.01)
    assert (
        math.isnan(LeadingOrder(k, -1.0, 1.0).best_lr(r0, eta))
        and LeadingOrder(k, -1.0, 1.0).largest_lr(r0, eta) == 0
    )


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_law_is_the_risk_near_the_origin(task):
    law = complexity(task)
    k, m = law.k, 0.01
    R = sq.theory.risk(task, m=m, hessian=False)
    b = -float(R.gradient[0]) / m ** (k - 1)
    assert np.isclose(b, law.leading.b * (law.sign or 1), rtol=0.06)
    assert law.sign == (0 if k % 2 == 0 else np.sign(b)) and law.learns == (k % 2 == 1 or b > 0)
    assert np.isclose(float(R.V), law.leading.noise, rtol=0.06)
    assert law.b_error < 1e-2 * abs(law.leading.b) and law.noise_error < 2e-2 * law.leading.noise


@pytest.mark.parametrize(
    "task",
    [
        sq.Task(SUM[4], sq.Untied("relu")),
        sq.Task(sq.SSI("z1-z2", 3), sq.Untied("relu")),
        sq.Task(SUM_H2[3], sq.Untied("relu"), loss="square"),
        sq.Task(sq.SSI("h2_difference", 2), sq.Untied("relu")),
        sq.Task(sq.SSI("z1*z2", 2), sq.Untied("relu")),
        sq.Task(sq.SSI("z1*z2*z3", 3), sq.Untied("tanh")),
        sq.Task(CUBIC, sq.Untied("tanh")),
    ],
    ids=repr,
)
def test_the_untied_law_is_the_flow_along_the_fastest_direction(task):
    law, L = complexity(task), task.L
    k, right = law.k, drift(task, 0.0)
    C = sq.theory.hermite(task, k)[0]
    v = norms.one_sided(
        C,
        float(np.sign(sq.theory.hermite_coefficients(task.student.sigma)[k])),
        np.random.default_rng(0),
    ).vector
    r = 0.01
    for sign in (1, -1):
        speed = sign * v @ right(sign * r * math.sqrt(L) * v) / math.sqrt(L)
        if k % 2 == 1 and speed < 0:
            continue
        assert np.isclose(speed, law.leading.b * r ** (k - 1), rtol=0.06)
    other = np.random.default_rng(1).standard_normal((200, L))
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    speeds = np.sum(other * right(r * math.sqrt(L) * other), axis=1) / math.sqrt(L)
    assert speeds.max() <= law.leading.b * r ** (k - 1) * 1.06
    inhibited = v @ (drift(task, 2.0)(r * v) - right(r * v)) / r
    assert np.isclose(-inhibited, law.leading.noise, rtol=0.06)


def test_exponents_and_their_words():
    for k, (d, log, lr) in {1: (1, 0, 0), 2: (1, 1, 0), 3: (2, 0, -0.5), 4: (3, 0, -1)}.items():
        law = complexity(sq.Task(sq.SSI(sq.Hermite([(1.0, {1: k})]), 1), sq.Tied(f"He{k}")))
        assert (law.k, law.d_exponent, law.log_exponent, law.lr_exponent, law.learns) == (
            k,
            d,
            log,
            lr,
            True,
        )
        assert ("d log d" in repr(law)) == (k == 2)
        steps = np.array(
            [law.best(d, 0.3)[1] for d in (1e12, 1e13)]
        )  # with a learning rate of its own
        assert np.isclose(
            np.log10(steps[1] / steps[0]), d + log * (math.log10(13) - math.log10(12)), atol=0.02
        )
        d = 1e40 if k == 2 else 1e12
        assert np.isclose(
            law.best(d, 0.3)[1],
            law.prefactor(0.3) * d**law.d_exponent * math.log(d) ** law.log_exponent,
            rtol=0.03,
        )
        rates = np.array([law.best(d, 0.3)[0] for d in (1e12, 1e13)])
        assert np.isclose(np.log10(rates[1] / rates[0]), law.lr_exponent, atol=0.01)


def test_prefactors_of_untied_networks():
    law = complexity(sq.Task(sq.SSI(sq.Hermite([(1.0, {1: 3})]), 4), sq.Untied("tanh")))
    assert (
        np.isclose(law.best(1e12, 0.3)[1], law.prefactor(0.3) * 1e24, rtol=0.01)
        and law.start(100) == 0.05
    )


STARTS = [
    (sq.SSI("sum", 3), "relu", 1.0),
    (SUM_H2[3], "relu", 1.0),
    (sq.SSI("z1*z2*z3", 3), "He3", 1.0),
    (
        sq.SSI(sq.Hermite([(1, {1: 3}), (1, {2: 3}), (1, {3: 3})]), 3),
        "He3",
        1.0,
    ),  # not along the fastest direction, that of one token
    (sq.SSI("h2_difference", 2), "relu", math.sqrt(1 / 2)),
    (
        sq.SSI(sq.Hermite([(1, {1: 2}), (1, {2: 2})]), 4),
        "relu",
        math.sqrt(1 / 2),
    ),  # two directions that grow alike
    (sq.SSI("z1-z2", 2), "relu", 0.0),
]


@pytest.mark.parametrize("link, sigma, share", STARTS, ids=lambda x: str(x)[:24])
def test_untied_laws_start_where_simulate_does(link, sigma, share):
    task, d, eta = sq.Task(link, sq.Untied(sigma)), 10**9, 0.003
    law = complexity(task)
    assert np.isclose(law.share, share) and np.isclose(law.start(d), share / math.sqrt(d))
    lr = 0.3 * law.from_start.largest_lr(max(law.start(d), 1e-9), eta)
    assert np.isclose(
        law.steps(d, lr, eta), weak_recovery(task, d=d, lr=lr, eta=eta).median, rtol=2e-3
    )


def test_the_default_start_is_that_of_the_dynamics():
    """theory at leading order, the flow of `simulate`, and reduced runs, with no start given
    anywhere.
    """
    task, d, eta = sq.Task(sq.SSI("sum", 3), sq.Untied("identity")), 10_000, 0.2
    law = complexity(task)
    lr, steps = law.best(d, eta)
    lr, stop = lr / 8, sq.WeakRecovery(eta, halt=False)
    steps = law.steps(d, lr, eta)
    kwargs = {"d": d, "steps": int(2 * steps), "lr": lr, "rng": 0, "stop": stop, "record": [0]}
    flow = float(sq.simulate(task, dynamics="flow", **kwargs).weak_recovery.max())
    runs = sq.simulate(task, dynamics="reduced", runs=16, **kwargs).weak_recovery.values
    assert np.isclose(flow, steps, rtol=0.05)
    assert abs(runs.mean() - flow) < 4 * runs.std() / 4 + 0.02 * flow


def test_impossible_questions_are_refused():
    law = complexity(sq.Task(SUM_H2[3], sq.Tied("relu")))
    for kwargs, words in (
        ({"d": 100, "eta": 2}, r"eta: expected a number in \(0, 1\], got 2"),
        ({"d": 4, "eta": 0.3}, "eta: expected a number above the start r_0 = 0.5, got 0.3"),
        ({"d": 0, "eta": 0.3}, "d: expected a finite number >= 1, got 0"),
        ({"d": 100, "eta": 0}, r"eta: expected a number in \(0, 1\], got 0"),
        ({"d": -5, "eta": 0.3}, "d: expected a finite number >= 1, got -5"),
        ({"d": 100, "eta": 0.3, "r0": -1}, r"r0: expected a number in \[0, 1\], got -1"),
    ):
        with pytest.raises(ValueError, match=words):
            law.best(**kwargs)
    with pytest.raises(TypeError, match="d: expected a finite number >= 1, got 'a'"):
        law.steps("a", 0.1, 0.3)
    with pytest.raises(ValueError, match="lr: expected a finite number > 0, got 0"):
        law.steps(100, 0, 0.3)
    with pytest.raises(
        ValueError, match="eta: expected a number above the overlap of the start, got 0.3"
    ):
        sq.theory.best_lr(sq.Task(SUM_H2[3], sq.Tied("relu")), d=4, eta=0.3)
    assert repr(law.best(10**4, 0.3)).startswith("BestRate(lr=0.")
    nothing = sq.theory.best_lr(sq.Task(sq.SSI("z1-z2", 2), sq.Tied("relu")), d=100, eta=0.3)
    assert math.isnan(nothing.lr) and nothing.steps == math.inf
    right = drift(sq.Task(SUM_H2[3], sq.Tied("relu")), 0.1)
    with pytest.raises(
        ValueError, match=r"state: expected shape \(..., 1\), \(m\), got shape \(2,\)"
    ):
        right([0.1, 0.2])


def test_an_encoding_lowers_the_exponent():
    g = sq.SSI(sq.Hermite([(4 / 3, {}), (1, {1: 4}), (2, {2: 4})]), 2)
    without, encoded = (
        complexity(sq.Task(g, sq.Attention("trace", position=p))) for p in (None, sq.Opposite())
    )
    assert int(without.sie) == without.k == 4 and int(encoded.sie) == 4 and encoded.k == 2
    assert "below the link's 4" in repr(encoded) and encoded.leading is None
    assert (
        math.isnan(encoded.prefactor(0.3))
        and math.isnan(encoded.best(100, 0.3)[1])
        and math.isnan(encoded.steps(100, 0.1, 0.3))
    )


def test_what_never_learns():
    for task in (
        sq.Task(sq.SSI("z1-z2", 2), sq.Tied("relu")),
        sq.Task(sq.SSI("h2_difference", 2), sq.Tied("tanh")),
    ):
        law = complexity(task)
        assert (
            law.k is None
            and not law.learns
            and law.best(100, 0.3)[1] == law.prefactor(0.3) == law.steps(100, 0.1, 0.3) == math.inf
        )
        assert math.isnan(law.d_exponent) and "never" in repr(law)
        assert weak_recovery(task, d=100, lr=0.1, eta=0.5, init=sq.Uniform()).never == 1
    later = complexity(
        sq.Task(sq.SSI(sq.Hermite([(1, {1: 1}), (-1, {2: 1}), (1, {1: 2})]), 2), sq.Tied("relu"))
    )
    assert later.k == 2 and int(later.sie) == 1 and "order 1 does not act" in later.note
    repelled = complexity(sq.Task(sq.SSI("sum_h2", 3, scale=-1.0), sq.Tied("relu")))
    assert repelled.k == 2 and not repelled.learns and "back to 0" in repelled.note
    untied = complexity(sq.Task(sq.SSI("sum_h2", 3, scale=-1.0), sq.Untied("relu")))
    assert not untied.learns and "every direction" in untied.note
    assert complexity(sq.Task(sq.SSI("h2_difference", 2, scale=-1.0), sq.Untied("relu"))).learns
