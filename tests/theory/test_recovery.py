"""Weak-recovery times against closed forms, other integrators and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from links import SUM, SUM_H2, TASKS
from scipy.integrate import quad, solve_ivp
from scipy.linalg import solve_continuous_lyapunov
from scipy.stats import kstest
from seqsgd.theory import best_lr, complexity, weak_recovery
from seqsgd.theory._diffusion import covariance, line_paths, linear, widening
from seqsgd.theory._passage import line_times, random_starts, sphere_quantiles, times
from seqsgd.theory.expectation.setup import Setup
from seqsgd.theory.flow import drift


def linear_time(m0, eta, lr):
    """Tied identity network, y = sum z / sqrt L: dm/dt = (1 - m)(1 + (1 - lr) m), by partial
    fractions.
    """
    p = lambda m: (math.log1p((1 - lr) * m) - math.log1p(-m)) / (2 - lr)
    return p(eta) - p(m0)


@pytest.mark.parametrize("L", [1, 4])
@pytest.mark.parametrize("lr", [1e-4, 0.3, 1.2, 2.1])
def test_a_solvable_case(L, lr):
    task, d, eta = sq.Task(SUM[L], sq.Tied("identity")), 10**6, 0.7
    found = weak_recovery(task, d=d, lr=lr, eta=eta)
    assert found.steps.shape == (1,) and np.isclose(
        found.steps[0], linear_time(1e-3, eta, lr) * d / lr, rtol=1e-7, atol=1
    )
    random = weak_recovery(task, d=d, lr=lr, eta=eta, init=sq.Uniform(), samples=999)
    m0 = sphere_quantiles(d, np.array([0.9, 0.5, 0.1]))  # the larger the sooner
    for p, m in zip((0.1, 0.5, 0.9), m0, strict=True):
        assert np.isclose(random.quantile(p), linear_time(m, eta, lr) * d / lr, rtol=2e-3)
    assert random.never == 0 and random.median == random.quantile(0.5)


def test_a_learning_rate_too_large_never_gets_there():
    """1 + (1 - lr) m > 0 up to m = eta needs lr < 1 + 1/eta."""
    task = sq.Task(SUM[4], sq.Tied("identity"))
    for lr, never in ((2.41, 0), (2.44, 1)):
        assert weak_recovery(task, d=100, lr=lr, eta=0.7).never == never
    found, steps = best_lr(task, d=10**6, eta=0.7)
    assert 0 < found < 1 + 1 / 0.7
    around = [linear_time(1e-3, 0.7, x) / x * 1e6 for x in np.linspace(0.2, 2.4, 2000)]
    assert np.isclose(steps, min(around), rtol=1e-4)


def test_odd_orders_need_the_right_sign():
    task = sq.Task(sq.SSI(sq.Hermite([(1.0, {1: 3})]), 1), sq.Tied("tanh"))  # c_3 < 0: m < 0 grows
    d, lr, eta = 10**6, 1e-8, 0.5
    assert weak_recovery(task, d=d, lr=lr, eta=eta).never == 1
    assert weak_recovery(task, d=d, lr=lr, eta=eta, init=sq.Overlap(-1e-3)).never == 0
    assert weak_recovery(task, d=d, lr=lr, eta=eta, init=sq.Overlap(random_sign=True)).never == 0.5
    random = weak_recovery(task, d=d, lr=lr, eta=eta, init=sq.Uniform())
    assert (
        np.isclose(random.never, 0.5, atol=1e-3)
        and math.isinf(random.quantile(0.6))
        and "never: 0.5" in repr(random)
    )
    # with the inhibitive term only starts beyond (lr V / (2 b)) escape: P(-m_0 > 1/sqrt d) for that
    # threshold
    law = complexity(task)
    lr = 2 * law.leading.b * 1e-3 / law.leading.noise
    random = weak_recovery(task, d=d, lr=lr, eta=eta, init=sq.Uniform())
    assert np.isclose(1 - random.never, 0.15866, atol=2e-3)


@pytest.mark.parametrize("task", [*TASKS[:4], *TASKS[6:10]], ids=repr)
def test_small_thresholds_follow_the_leading_order(task):
    law, d, eta = complexity(task), 10**9, 0.003
    lr = 0.4 * law.leading.largest_lr(d**-0.5, eta)
    found = weak_recovery(
        task, d=d, lr=lr, eta=eta, init=sq.Overlap((law.sign or 1) * d**-0.5)
    ).steps[0]
    assert np.isclose(found, law.steps(d, lr, eta, d**-0.5), rtol=0.03)


def test_line_and_path_agree_and_rows_alike_are_one_weight_slowed():
    """An untied network on a symmetric link with all rows at the same overlap follows the tied flow
    L times slower, inhibitive term included.
    """
    for link, L, lr in ((SUM[3], 3, 1.0), (SUM_H2[3], 3, 0.2), (sq.SSI("z1*z2*z3", 3), 3, 1e-3)):
        sigma = "relu" if link.link != "z1*z2*z3" else "He3"
        kwargs = {"d": 10**4, "lr": lr, "eta": 0.3}
        tied, untied = (
            weak_recovery(sq.Task(link, student), **kwargs).steps[0]
            for student in (sq.Tied(sigma), sq.Untied(sigma))
        )
        assert np.isclose(untied, L * tied, rtol=1e-4, atol=L + 1)


@pytest.mark.slow
def test_a_state_of_several_numbers(rng):
    """Random encodings: starts are drawn with e ~ N(0, P P^T / d), and each is followed along the
    flow.
    """
    P = rng.standard_normal((2, 400)) / 10
    task = sq.Task(sq.SSI("sum_h2", 2), sq.Tied("relu", position=sq.Positions(P)))
    found = weak_recovery(task, d=400, lr=0.05, eta=0.3, init=sq.Uniform(), samples=8)
    assert (
        found.steps.shape == (8,)
        and (np.diff(found.steps) >= 0).all()
        and found.steps[0] < found.steps[-1] < np.inf
    )
    again = weak_recovery(task, d=400, lr=0.05, eta=0.3, init=sq.Uniform(), samples=8, rng=1)
    assert (
        not np.array_equal(found.steps, again.steps)
        and kstest(found.steps, again.steps).pvalue > 1e-4
    )
    starts = random_starts(drift(task, 0.05), sq.Overlap(0.1), 400, 4000, rng)
    np.testing.assert_allclose(
        np.cov(starts[:, :2].T),
        0.99 * P @ P.T / 400,
        atol=5 * (P @ P.T).max() / 400 / math.sqrt(2000),
    )
    right, x = drift(task, 0.05), starts[0]
    inverse = np.linalg.inv(P @ P.T)

    def event(t, x):
        return math.sqrt(x[2] ** 2 + x[:2] @ inverse @ x[:2]) - 0.3

    done = solve_ivp(lambda t, x: right(x), (0, 1000), x, events=event, rtol=1e-10, atol=1e-13)
    assert np.isclose(times(right, x[None], 0.3)[0], done.t_events[0][0], rtol=1e-5)


def test_line_times():
    m0 = np.array([-0.9, -0.4, -0.1, 0.0, 0.1, 0.25, 0.6])
    t = line_times(lambda m: m * (m**2 - 0.0625), m0, 0.5)  # rest at 0; 0.25 is left by nothing
    exact = lambda a: quad(lambda m: 1 / (m * (m**2 - 0.0625)), a, 0.5)[0]
    np.testing.assert_allclose(t, [0, exact(0.4), np.inf, np.inf, np.inf, np.inf, 0], rtol=1e-9)
    assert line_times(lambda m: -(m**2), np.array([0.2, -0.2]), 0.5).tolist() == [
        np.inf,
        pytest.approx(3),
    ]  # 0 is passed by nothing
    assert line_times(lambda m: 0.1 - m**2, np.array([-0.2, 0.0]), 0.3) == pytest.approx(
        [quad(lambda m: 1 / (0.1 - m**2), a, 0.3)[0] for a in (-0.2, 0)]
    )
    assert np.isclose(line_times(lambda m: m, np.array([1e-9]), 0.5)[0], math.log(0.5e9), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7, 10**4, 10**8])
def test_coordinates_of_the_sphere(d, rng):
    x = sphere_quantiles(d, (np.arange(4000) + 0.5) / 4000)
    assert (np.diff(x) >= 0).all() and np.isclose(np.mean(x**2), 1 / d, rtol=0.01)
    if 1 < d < 100:
        v = rng.standard_normal((4000, d))
        assert kstest(v[:, 0] / np.linalg.norm(v, axis=1), x).pvalue > 1e-4


CUBE = sq.Task(sq.SSI(sq.Hermite([(1.0, {1: 3})]), 1), sq.Tied("He3"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, init, d, lr, steps",
    [
        (sq.Task(SUM_H2[2], sq.Tied("relu")), sq.Overlap(), 400, 0.4, 60_000),
        (sq.Task(SUM_H2[2], sq.Tied("relu")), sq.Uniform(), 400, 0.4, 60_000),
        (sq.Task(SUM_H2[2], sq.Untied("relu")), sq.Overlap(), 300, 0.3, 60_000),
        (sq.Task(SUM[3], sq.Tied("relu")), sq.Uniform(), 300, 0.5, 3_000),
        (CUBE, sq.Overlap(), 100, 3.44e-4, 200_000),
        (CUBE, sq.Uniform(), 100, 3.44e-4, 200_000),
    ],
    ids=repr,
)
def test_the_diffusion_gives_the_distribution_of_a_simulation(task, init, d, lr, steps):
    """128 runs, Kolmogorov-Smirnov at 1e-4, what takes longer than the runs counted as one value;
    the flow alone, from starts at random, is refused for k = 2.
    """
    eta = 0.3
    runs = sq.simulate(
        task,
        d=d,
        steps=steps,
        lr=lr,
        runs=128,
        rng=7,
        dynamics="reduced",
        init=init,
        stop=sq.WeakRecovery(eta, halt=True),
        record=sq.Every(steps),
    )
    seen = runs.weak_recovery.values
    found = weak_recovery(task, d=d, lr=lr, eta=eta, init=init, noise=True)
    assert kstest(np.minimum(seen, steps), np.minimum(found.steps, steps)).pvalue > 1e-4
    if isinstance(init, sq.Uniform) and task.teacher.link == "sum_h2":
        flow_alone = weak_recovery(task, d=d, lr=lr, eta=eta, init=init).steps
        assert kstest(np.minimum(seen, steps), np.minimum(flow_alone, steps)).pvalue < 1e-4


@pytest.mark.slow
def test_paths_of_a_linear_drift(rng):
    """dm = m dt + sqrt(2 D) dB from m_0 reaches eta at log(eta / |m_0 + xi|), xi ~ N(0, D), up to D
    / eta^2.
    """
    D, m0, eta, n = 1e-6, 5e-4, 0.5, 4000
    t, m = line_paths(lambda x: x, np.full(n, m0), D, eta, rng)
    assert (np.abs(m) < 0.1 * eta).all() and (t > 0).all()
    times_ = t + line_times(lambda x: x, m, eta)
    assert (
        kstest(times_, np.log(eta / np.abs(m0 + math.sqrt(D) * rng.standard_normal(n)))).pvalue
        > 1e-4
    )
    t, m = line_paths(lambda x: -x, np.full(20, m0), D, eta, rng, most=2000)
    assert np.isinf(t).all() and (np.abs(m) < 0.01).all()  # kept at 0
    t, m = line_paths(lambda x: np.full_like(x, 2.0), np.array([0.1, -0.1]), D, eta, rng)
    assert (
        t[0] == 0
        and m[0] == 0.1
        and np.isclose(
            t[1] + line_times(lambda x: np.full_like(x, 2.0), m[1:], eta)[0], 0.3, atol=0.01
        )
    )


@pytest.mark.parametrize(
    "student",
    [sq.Tied("relu", position=sq.Opposite()), sq.Attention("trace", position=sq.Opposite()), None],
    ids=repr,
)
def test_the_noise_of_a_step_is_that_of_explicit_vectors(student, rng):
    """m and e of X, P, w* and w written out, one step of SGD from the origin: the covariance of
    what they move by, d / lr times.
    """
    d, n, L = 40, 60_000, 2
    frame = np.linalg.qr(rng.standard_normal((d, 4)))[0].T
    wstar, w = frame[:2] * math.sqrt(d)
    if student is None:
        P = rng.standard_normal((2, 2)) @ frame[2:]
        student, rows = sq.Tied("relu", position=sq.Positions(P)), [0, 1]
    else:
        P, rows = np.stack([frame[2], -frame[2]]), [0]
    task = sq.Task(SUM_H2[2], student, noise=0.2)
    X = rng.standard_normal((n, L, d)) / math.sqrt(d)
    y = task.target(X @ wstar) + math.sqrt(0.2) * rng.standard_normal((n, 1))
    delta = task._compiled().evaluate_labels(y, X @ w)[1]
    G = np.einsum("nl,nld->nd", delta, X + P / math.sqrt(d))
    moved = np.concatenate([G @ P[rows].T * math.sqrt(d), (G @ wstar)[:, None]], axis=1)
    S = covariance(Setup(task), P[rows] @ P[rows].T, rng)
    expected = np.cov(moved.T)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(S / size, expected / size, atol=0.05)


def test_widening_solves_its_equation(rng):
    """Sigma = int exp(-A s) S exp(-A^T s) ds is the solution of A Sigma + Sigma A^T = S; directions
    that decay are left out.
    """
    K, H, B = (x @ x.T + 0.1 * np.eye(3) for x in rng.standard_normal((3, 3, 3)))
    F = widening(K @ H, B)
    np.testing.assert_allclose(F @ F.T, solve_continuous_lyapunov(K @ H, B), rtol=1e-9)
    one = widening(np.diag([0.5, -0.3, 0.0]), np.diag([2.0, 1.0, 1.0]))
    np.testing.assert_allclose(one @ one.T, np.diag([2.0, 0, 0]), atol=1e-12)
    assert widening(-np.eye(2), np.eye(2)).shape == (2, 0)


def test_the_linear_flow_is_the_drift_near_the_origin(rng):
    P = rng.standard_normal((2, 40)) / 4
    right = drift(sq.Task(SUM_H2[2], sq.Tied("relu", position=sq.Positions(P))), 0.3)
    assert linear(right) is None  # E sigma(u)^2 / 2 depends on e to first order
    right = drift(sq.Task(sq.SSI("sum_h2", 2), sq.Tied("h2", position=sq.Positions(P))), 0.3)
    h = 1e-5
    jacobian = np.stack([(right(h * v) - right(-h * v)) / (2 * h) for v in np.eye(3)], axis=1)
    np.testing.assert_allclose(linear(right), jacobian, atol=1e-6)


def test_what_does_not_fit_is_refused():
    task = sq.Task(SUM[2], sq.Tied("relu"))
    for kwargs, message in (
        ({"eta": 0.0}, r"eta: expected a number in \(0, 1\], got 0"),
        ({"lr": 0.0}, "lr: expected a finite number > 0, got 0"),
        ({"lr": sq.Decay(0.1, 10, 0.5)}, "lr: expected a number or a PowerLaw"),
        ({"init": 0.1}, "init: expected Overlap or Uniform, got 0.1"),
        ({"noise": 1}, "noise: expected true or false, got 1"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            weak_recovery(task, **({"d": 100, "lr": 0.1, "eta": 0.3} | kwargs))
    for task_, lr, message in (
        (
            sq.Task(SUM_H2[2], sq.Untied("relu", normalization="global")),
            0.1,
            "expected a student whose weights keep their norms",
        ),
        (
            sq.Task(SUM[2], sq.Untied("relu")),
            0.1,
            "expected a task whose uninformative point is left exponentially",
        ),
        (
            sq.Task(SUM_H2[2], sq.Tied("relu")),
            5.0,
            "expected a learning rate at which the uninformative point is unstable, but it "
            "attracts",
        ),
    ):
        with pytest.raises(ValueError, match=f"noise: {message}"):
            weak_recovery(task_, d=100, lr=lr, eta=0.3, noise=True)
    assert weak_recovery(task, d=100, lr=sq.PowerLaw(1.0, d=-0.5), eta=0.3).lr == 0.1
    with pytest.raises(TypeError, match="task: expected a Task"):
        complexity(SUM[2])
