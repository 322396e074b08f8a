"""The flow of untied weights under correlated tokens, whose state holds all overlaps between rows:
against mean increments, tied weights, independent tokens, and reduced runs.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.theory import drift, flow, largest_lr, risk, weak_recovery
from seqsgd.theory._drift import Drift
from seqsgd.theory._rows import RowsDrift, RowsEngine, RowsQmc, means
from seqsgd.theory.expectation.link_terms import terms_of
from seqsgd.theory.expectation.setup import Setup
from seqsgd.theory.expectation.wick import moved

C3 = np.array([[1.0, 0.5, -0.2], [0.5, 1.3, 0.3], [-0.2, 0.3, 0.8]])
P3 = np.random.default_rng(8).standard_normal((3, 5)) / 3
ESTAR = np.array([0.1, -0.2, 0.15])
TASKS = {
    "rows": sq.Task(sq.SSI("sum_h2", 3), sq.Untied("relu"), noise=0.1),
    "global": sq.Task(
        sq.SSI("staircase3", 3), sq.Untied("tanh", normalization="global"), loss="square"
    ),
    "rows, positions": sq.Task(
        sq.SSI("staircase2", 3), sq.Untied("sigmoid", position=sq.Positions(P3))
    ),
    "global, positions": sq.Task(
        sq.SSI("sum_h2", 3), sq.Untied("erf", position=sq.Positions(P3), normalization="global")
    ),
    "injected": sq.Task(
        sq.SSI("z1*z2*z3", 3), sq.Untied("He2", position=sq.Injected([0.3, 0.0, -0.2]))
    ),
}


def configuration(task, seed=0):
    """Rows (L, D) in a frame of P's span, w* and three more; w* (D,), P (L, D), and the state that
    they have.
    """
    rng = np.random.default_rng(seed)
    right = drift(
        task,
        0.7,
        tokens=sq.Correlated(C3),
        estar=ESTAR if isinstance(task.student.position, sq.Positions) else None,
    )
    ne = right.setup.ne
    P = np.zeros((3, 7))
    star = np.zeros(7)
    if ne:
        P[:, :3] = np.linalg.cholesky(P3 @ P3.T)
        star[:3] = np.linalg.solve(P[:, :3], ESTAR)
    star[3] = math.sqrt(1 - star @ star)
    W = 0.5 * star + rng.standard_normal((3, 7)) * 0.4
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    if right.common:
        W *= np.array([[0.7], [1.2], [math.sqrt(3 - 0.49 - 1.44)]])
    F = (W @ P.T)[None] if ne else np.zeros((1, 0, 0))
    return right, W, star, P, right.pack((W @ star)[None], (W @ W.T)[None], F)[0]


def increments(task, W, star, P, lr, n, rng):
    """Expectations over n samples, and their standard errors, of the change of m, W W^T and W P^T
    in a step, per unit of t, to first order in 1 / d: from the step itself.
    """
    L = len(W)
    root = np.linalg.cholesky(C3)
    X = np.einsum("lk,nkr->nlr", root, rng.standard_normal((n, L, W.shape[1])))
    c = np.asarray(getattr(task.student.position, "c", np.zeros(L)))
    z = np.einsum("nlr,lr->nl", X, W) + (P * W).sum(axis=1) + c
    core = task._compiled()
    delta = core.evaluate_labels(
        core.target(X @ star) + math.sqrt(task.noise) * rng.standard_normal((n, 1)), z
    )[1]
    G = delta[:, :, None] * (X + P)
    G_outside = np.einsum(
        "nl,lk,nk->nlk", delta, C3, delta
    )  # of what the frame does not hold, over d
    along = np.einsum("nlr,lr->nl", G, W)
    grow = along - lr / 2 * np.diagonal(G_outside, axis1=1, axis2=2)
    if task.student.normalization == "global":
        grow = np.repeat(grow.mean(axis=1, keepdims=True), L, axis=1)
    dW = -G + grow[:, :, None] * W
    cross = np.einsum("nlr,kr->nlk", dW, W)
    parts = [dW @ star, cross + np.swapaxes(cross, 1, 2) + lr * G_outside, dW @ P.T]
    return [(x.mean(axis=0), x.std(axis=0) / math.sqrt(n)) for x in parts]


@pytest.mark.parametrize("name", TASKS)
def test_drift_is_the_mean_increment(name):
    """1e5 draws; 5 standard errors: false alarms below 1e-4 in all."""
    task = TASKS[name]
    right, W, star, P, state = configuration(task)
    assert isinstance(right, RowsDrift) and isinstance(right.means, RowsEngine)
    speed = right(state)
    Q, F = (x[0] for x in right.matrices(speed[None]))
    ne = right.setup.ne
    sampled = increments(task, W, star, P, 0.7, 100_000, np.random.default_rng(1))
    for exact, (mean, error) in zip(
        [speed[ne : ne + 3], Q, F] if ne else [speed[ne : ne + 3], Q], sampled, strict=False
    ):
        assert (np.abs(exact - mean) <= 5 * error + 1e-12).all()
    assert np.abs(Q).max() > 0.01 < np.abs(speed[ne : ne + 3]).max()


@pytest.mark.parametrize("name", TASKS)
def test_quasi_monte_carlo_agrees_with_the_expansion(name):
    """Within 2 % of the largest of each kind, or of a tenth of the root of V, the size of what is
    averaged; the expansion's derivatives are those of its own values.
    """
    task = TASKS[name]
    right, _, _, _, state = configuration(task, 3)
    Q = right.matrices(state[None])[0]
    a, m = state[None, : right.setup.ne], state[None, right.setup.ne : right.setup.ne + 3]
    one, two = (
        x.estimate(a, m, Q, 1)
        for x in (right.means, RowsQmc(Setup(task, sq.Correlated(C3)), points=2**15))
    )
    for what in ("value", "gradient", "V", "dR_dq"):
        truth = getattr(one, what)
        assert np.abs(truth - getattr(two, what)).max() < 0.02 * max(
            np.abs(truth).max(), 0.1 * math.sqrt(one.V[0])
        ), what
    h = 1e-5
    slopes = [
        (
            right.means.estimate(a, m + h * u, Q, 1).value
            - right.means.estimate(a, m - h * u, Q, 1).value
        )[0]
        / (2 * h)
        for u in np.eye(3)
    ]
    assert np.abs(one.gradient[0, right.setup.ne :] - slopes).max() < 1e-7
    bent = (
        right.means.estimate(a, m, Q + h * np.eye(3), 1).value
        - right.means.estimate(a, m, Q - h * np.eye(3), 1).value
    )[0] / (2 * h)
    assert abs(bent - one.dR_dq[0, 0] * np.trace(C3)) < 1e-7


@pytest.mark.parametrize("rank", [1, 3])
def test_polynomials_of_correlated_fields(rank):
    """E y(z* + v) and E y(z* + v)^2 by a rule that is exact for polynomials; a singular C too."""
    link = sq.SSI(
        sq.Hermite(
            [
                (0.3, {}),
                (1.0, {1: 3}),
                (-0.7, {1: 1, 2: 2}),
                (0.4, {1: 1, 2: 1, 3: 1}),
                (0.2, {3: 4}),
            ]
        ),
        3,
        scale=0.8,
    )
    A = np.random.default_rng(2).standard_normal((3, rank)) / 2
    x, w = np.polynomial.hermite_e.hermegauss(6)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[x] * rank, indexing="ij")], axis=1)
    weights = np.prod(
        np.stack([g.ravel() for g in np.meshgrid(*[w / w.sum()] * rank, indexing="ij")], axis=1),
        axis=1,
    )
    first, second = moved(terms_of(link), A @ A.T)
    for v in np.random.default_rng(3).standard_normal((4, 3)):
        y = link._compiled()(np.ascontiguousarray(grid @ A.T + v))[:, 0]
        for p, exact in ((first, weights @ y), (second, weights @ y**2)):
            assert abs(p(v[None])[0].sum() - exact) < 1e-11 * max(1, weights @ y**2)
            h = 1e-5
            slope = [(p(v[None] + h * u)[0] - p(v[None] - h * u)[0]) / (2 * h) for u in np.eye(3)]
            assert np.abs(p.slope(v[None])[0] - slope).max() < 1e-6 * max(1, np.abs(slope).max())


@pytest.mark.parametrize("name", TASKS)
def test_with_independent_tokens_it_is_the_flow_without_rows(name):
    """e, m and q move as they do there, whatever the overlaps between rows."""
    task = TASKS[name]
    estar = ESTAR if isinstance(task.student.position, sq.Positions) else None
    state = configuration(task)[4]
    rows, plain = (
        RowsDrift(task, 0.7, True, sq.Correlated(np.eye(3)), estar),
        Drift(task, 0.7, True, "gaussian", estar),
    )
    n = len(plain.names)
    assert np.abs(rows(state)[:n] - plain(state[:n])).max() < 1e-9
    assert (rows.rates(state[None], 0.7)[1] - plain.rates(state[None, :n], 0.7)[1])[
        0
    ] == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("normalization", ["rows", "global"])
def test_rows_that_are_one_move_like_a_tied_weight_without_noise(normalization):
    """Tokens alike, a symmetric link, all rows equal: the tied flow, L times slower.

    The tied one knows nothing of rows.
    """
    L, tokens = 3, sq.Correlated(np.eye(3) * 0.6 + 0.4)
    link = sq.SSI("sum_h2", L)
    tied = flow(sq.Task(link, sq.Tied("relu")), 1.0, t=2.0, m=0.2, inhibitive=False, tokens=tokens)
    untied = flow(
        sq.Task(link, sq.Untied("relu", normalization=normalization)),
        1.0,
        t=2.0 * L,
        m=0.2,
        q=np.ones((L, L)),
        inhibitive=False,
        tokens=tokens,
    )
    assert tied.m[-1] > 0.5
    assert np.abs(untied.m - tied.m[:, None]).max() < 1e-7 and np.abs(untied.rows - 1).max() < 1e-7
    assert np.abs(untied.risk - tied.risk).max() < 1e-7


def test_risk_falls_without_noise_and_rows_meet():
    """From rows that are orthogonal but for m: they come to have the overlaps that C makes worth
    while, which m_l m_k does not say.
    """
    task = TASKS["rows"]
    f = flow(task, 1.0, t=20.0, m=[0.3, 0.2, 0.1], inhibitive=False, tokens=sq.Correlated(C3))
    assert (np.diff(f.risk) < 1e-9).all() and f.risk[-1] < f.risk[0] - 0.1
    beyond = f.rows - f.m[:, :, None] * f.m[:, None, :]
    assert (
        np.abs(beyond[0, 0, 1:]).max() < 1e-12
        and np.abs(beyond[-1][np.triu_indices(3, 1)]).max() > 0.05
    )
    assert (
        np.linalg.eigvalsh(beyond).min() > -1e-8
        and np.abs(np.diagonal(f.rows, axis1=1, axis2=2) - 1).max() < 1e-12
        and f.q is None
    )


REDUCED = {
    "rows": (sq.Task(sq.SSI("sum_h2", 2), sq.Untied("relu")), 3.0),
    "global": (
        sq.Task(sq.SSI("sum_h2", 2), sq.Untied("relu", normalization="global"), noise=0.2),
        3.0,
    ),
    "opposite": (sq.Task(sq.SSI("staircase2", 2), sq.Untied("tanh", position=sq.Opposite())), 3.0),
}
PAIR, TIME, START, RUNS = (
    sq.Correlated([[1.0, 0.6], [0.6, 1.0]]),
    1.0,
    0.3,
    {1000: 2000, 10_000: 800},
)


@cache
def gap(name, d):
    """Mean of reduced runs at TIME minus the flow, with its standard error: m, and q on a common
    sphere.
    """
    task, lr = REDUCED[name]
    steps = round(TIME * d / lr)
    r = sq.simulate(
        task,
        d,
        steps,
        lr,
        runs=RUNS[d],
        rng=3,
        dynamics="reduced",
        init=sq.Overlap(START),
        tokens=PAIR,
        record=[steps],
        threads=2,
    )
    f = flow(task, lr, d=d, steps=steps, m=START, tokens=PAIR, records=2)
    values, limit = r.m.values[:, 0], f.m[-1]
    if f.q is not None:
        values, limit = (
            np.concatenate([values, r.dataset.q.values[:, 0]], axis=1),
            np.concatenate([limit, f.q[-1]]),
        )
    return values.mean(axis=0) - limit, values.std(axis=0) / math.sqrt(RUNS[d]), limit


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCED)
def test_the_mean_of_reduced_runs_comes_close_like_one_over_d(name):
    """At d = 10^4 within 4 standard errors and a tenth of the gap at 10^3, half as much again for
    the next order. The rows without their overlaps, m_l m_k
    between them throughout, are refused: so far from the flow is what they would do."""
    (coarse, noise, _), (fine, error, limit) = gap(name, 1000), gap(name, 10_000)
    assert (np.abs(fine) < 4 * error + 0.15 * (np.abs(coarse) + 4 * noise)).all()
    task, lr = REDUCED[name]
    right = drift(task, lr, tokens=PAIR)
    x = right.states(np.zeros((1, right.setup.ne)), np.full((1, 2), START), None)
    for _ in range(480):  # Euler's rule, Q put back
        y = x + TIME / 480 * right(x)
        ne = right.setup.ne
        x = right.states(y[:, :ne], y[:, ne : ne + 2], y[:, ne + 2 : ne + 4])
    assert (np.abs(x[0, ne : ne + 2] - limit[:2]) > 8 * error[:2] + 0.15 * np.abs(coarse[:2])).any()


@pytest.mark.slow
def test_simulate_follows_rows():
    """Starts have their law, overlaps between rows too; a checkpoint goes on; means are those of
    sampled runs.
    """
    task, d = REDUCED["rows"][0], 400
    arguments = {"d": d, "steps": 800, "lr": 0.8, "tokens": PAIR, "record": sq.Every(400)}
    for init in (sq.Overlap(0.35), sq.Uniform()):
        flows = sq.simulate(task, dynamics="flow", rng=1, runs=4, init=init, **arguments)
        assert (
            flows.m.dims == ("run", "step", "token")
            and (flows.dataset.q == 1).all()
            and np.ptp(flows.m.values[:, -1], axis=0).max() > 0
        )
    limit = sq.simulate(task, dynamics="flow", rng=2, runs=12, init=sq.Overlap(0.35), **arguments)
    runs = sq.simulate(
        task,
        dynamics="sampled",
        rng=2,
        runs=48,
        init=sq.Overlap(0.35),
        dtype="float64",
        **arguments,
    )
    spread = np.hypot(
        runs.m.values.std(axis=0) / math.sqrt(48), limit.m.values.std(axis=0) / math.sqrt(12)
    )
    assert (
        np.abs(runs.m.values.mean(axis=0) - limit.m.values.mean(axis=0)) <= 5 * spread + 10 / d
    ).all()
    assert (
        np.abs(runs.loss.values[:, 1:].mean(axis=0) - limit.loss.values[:, 1:].mean(axis=0))
        <= 5 * runs.loss.values[:, 1:].std(axis=0) / math.sqrt(48) + 10 / d
    ).all()


def test_rows_with_positions_are_drawn_in_full():
    P = np.random.default_rng(0).standard_normal((2, 300)) / 15
    task = sq.Task(
        sq.SSI("staircase2", 2), sq.Untied("tanh", position=sq.Positions(P), normalization="global")
    )
    arguments = {
        "d": 300,
        "steps": 600,
        "lr": 0.5,
        "runs": 8,
        "init": sq.Overlap(0.3),
        "record": sq.Every(300),
        "tokens": PAIR,
    }
    runs, limit = (
        sq.simulate(task, rng=1, dtype="float64", **arguments),
        sq.simulate(task, rng=2, dynamics="flow", **arguments),
    )
    assert (
        runs.e.dims == limit.e.dims
        and np.abs(runs.m.mean("run") - limit.m.mean("run")).max() < 0.03
    )
    assert np.abs(limit.dataset.q.mean("token") - 1).max() < 1e-8


def test_checkpoints_go_on(tmp_path):
    arguments = {
        "d": 500,
        "lr": 0.5,
        "dynamics": "flow",
        "rng": 3,
        "init": sq.Uniform(),
        "runs": 2,
        "record": sq.Every(200),
        "tokens": PAIR,
    }
    task, path = REDUCED["opposite"][0], tmp_path / "flow.npz"
    whole = sq.simulate(task, steps=1000, **arguments)
    sq.simulate(task, steps=400, checkpoint=path, **arguments)
    longer = sq.simulate(task, steps=1000, checkpoint=path, **arguments)
    assert np.abs(whole.m - longer.m).max() < 1e-7


def test_weak_recovery_with_rows():
    task = REDUCED["rows"][0]
    at = weak_recovery(task, d=1000, lr=0.3, eta=0.5, init=sq.Overlap(0.3), tokens=PAIR).median
    f = flow(task, 0.3, d=1000, steps=2 * at, m=0.3, eta=0.5, tokens=PAIR)
    assert abs(f.weak_recovery_step - at) <= 1 + 1e-6 * at
    with pytest.raises(ValueError, match="noise: expected independent tokens"):
        weak_recovery(task, d=1000, lr=0.3, eta=0.5, tokens=PAIR, noise=True)


def test_other_links_by_quasi_monte_carlo():
    """A link that is no polynomial: the same linear link as data, as a function."""
    data, own = (
        sq.Task(sq.SSI(link, 2), sq.Untied("relu"))
        for link in ("z1-z2", lambda z: float(z[0] - z[1]))
    )
    assert isinstance(means(own, PAIR), RowsQmc)
    a, b = (drift(t, 0.3, tokens=PAIR) for t in (data, own))
    x = a.states(np.zeros((1, 0)), np.array([[0.3, -0.2]]), np.array([[[1.0, 0.4], [0.4, 1.0]]]))
    assert (
        np.abs(a(x) - b(x)).max() < 5e-3 < np.abs(a(x)).max()
        and math.isnan(b.error)
        and a.error == 0
    )


def test_what_does_not_fit_is_refused():
    task = REDUCED["rows"][0]
    for call, words in [
        (
            lambda: risk(task, m=[0.1, 0.1], tokens=PAIR),
            "tokens: with correlated tokens R of an untied network",
        ),
        (lambda: largest_lr(task, tokens=PAIR), "tokens: with correlated tokens"),
        (
            lambda: flow(task, 0.1, t=1.0, m=0.1, q=[[1.0, 0.2], [0.1, 1.0]], tokens=PAIR),
            "q: expected a symmetric",
        ),
        (
            lambda: flow(task, 0.1, t=1.0, m=0.5, q=[[1.0, -0.9], [-0.9, 1.0]], tokens=PAIR),
            "q: expected overlaps of rows that exist",
        ),
        (
            lambda: flow(task, 0.1, t=1.0, m=0.1, q=[0.9, 1.1], tokens=PAIR),
            "q: with normalization='rows'",
        ),
        (lambda: flow(task, 0.1, t=1.0, m=0.1, q=np.ones((3, 3)), tokens=PAIR), "q: expected"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.slow
def test_starts_with_the_opposite_encoding_are_uniform_in_all_dimensions():
    """w is drawn before the encoding that is orthogonal to it: E m^2 = 1/d, here at d = 4, within
    four standard errors.
    """
    C = np.array([[1.0, 0.5], [0.5, 1.0]])
    task = sq.Task(sq.SSI("z1-z2", L=2), sq.Untied("tanh", position=sq.Opposite()))
    r = sq.simulate(
        task,
        4,
        0,
        0.1,
        runs=4000,
        rng=0,
        dynamics="flow",
        init=sq.Uniform(),
        tokens=sq.Correlated(C),
    )
    m2 = r.m.values**2
    assert abs(m2.mean() - 1 / 4) < 4 * np.sqrt((3 / 24 - 1 / 16) / m2.size)
