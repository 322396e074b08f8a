"""The flow against solvable cases, against its own definition as a mean increment, against sampled
runs; and the dynamics "flow" of simulate.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from scipy import integrate, stats
from seqsgd.theory import drift, flow, largest_lr

OPPOSITE = sq.Attention(position=sq.Opposite())
LINEAR = sq.Task(
    sq.SSI("sum", 4, scale="1/sqrt(L)"), sq.Tied("identity")
)  # R = 1 - m, V = 2 (1 - m)
EVEN = sq.Task(sq.SSI("sum_h2", 2), sq.Tied("relu"))


def test_linear_network_in_closed_form():
    """dm/dt = 1 - m^2 without noise: m = tanh(t + artanh m_0)."""
    f = flow(LINEAR, 0.5, t=3.0, m=0.1, inhibitive=False, eta=0.9)
    assert np.abs(f.m - np.tanh(f.t + math.atanh(0.1))).max() < 1e-8
    assert np.abs(f.risk - (1 - f.m)).max() < 1e-8
    assert abs(f.weak_recovery - (math.atanh(0.9) - math.atanh(0.1))) < 1e-7


@pytest.mark.parametrize("lr", [0.3, 1.2])
def test_linear_network_with_noise(lr):
    """dm/dt = (1 - m^2) - lr (1 - m) m: the time to a level is an integral."""
    f = flow(LINEAR, lr, d=500, steps=int(2 * 500 / lr), eta=0.6)
    m0 = 1 / math.sqrt(500)
    t = integrate.quad(lambda m: 1 / ((1 - m * m) - lr * (1 - m) * m), m0, 0.6, epsabs=1e-12)[0]
    assert (
        abs(f.weak_recovery - t) < 1e-7
        and abs(f.weak_recovery_step - t * 500 / lr) < 1e-4 * t * 500 / lr
    )
    assert abs(f.t[-1] - 2.0) < 2 * lr / 500 and f.steps[-1] == int(2 * 500 / lr)


def test_even_network_in_closed_form():
    """y = sum h2 / sqrt L, f = h2(u): R = 1 - m^2 / sqrt L, dm/dt = 2 m (1 - m^2) / sqrt L: m^2 /
    (1 - m^2) grows like e^{4 t / sqrt L}.
    """
    L = 9
    f = flow(
        sq.Task(sq.SSI("sum_h2", L, scale="1/sqrt(L)"), sq.Tied("h2")),
        1.0,
        t=8.0,
        m=-0.05,
        inhibitive=False,
    )
    ratio = 0.05**2 / (1 - 0.05**2) * np.exp(4 * f.t / math.sqrt(L))
    assert np.abs(f.m + np.sqrt(ratio / (1 + ratio))).max() < 1e-8


def test_untied_linear_network_in_closed_form():
    """y = z_1, f = u: only the first row learns, at rate (1 - m_1^2) / sqrt L."""
    f = flow(
        sq.Task(sq.SSI("z1", 3), sq.Untied("identity")),
        0.1,
        t=2.0,
        m=[0.1, 0.2, 0.0],
        inhibitive=False,
    )
    assert np.abs(f.m[:, 0] - np.tanh(f.t / math.sqrt(3) + math.atanh(0.1))).max() < 1e-8
    assert np.abs(f.m[:, 1:] - [0.2, 0.0]).max() < 1e-10


def increments(task, state, lr, estar, K, tokens, n, rng):
    """Mean increment of the order parameters per unit of t, from draws of (z*, z, xi .

    p) and the step of section 3 expanded to order 1/d (tied weights).
    """
    ne, L = len(state) - 1, task.L
    e, m = state[:ne], state[ne]
    C = np.eye(L) if tokens == "gaussian" else tokens.C
    opposite = isinstance(task.student.position, sq.Opposite)
    P = (
        np.array([[1.0], [-1.0]]) if opposite else np.linalg.cholesky(K)
    )  # rows p_l in an orthonormal basis of their span
    w_span = np.array([e[0]]) if opposite else np.linalg.solve(P, e)
    star_span = np.zeros(P.shape[1]) if opposite else np.linalg.solve(P, estar)
    # coordinates of w, w* in the basis of the span of P, then w* orthogonal to it, then the rest
    star_rest = math.sqrt(1 - star_span @ star_span)
    w_star = (m - w_span @ star_span) / star_rest
    w_rest = math.sqrt(1 - w_span @ w_span - w_star**2)
    root = np.linalg.cholesky(C)
    X = np.einsum("lk,nkr->nlr", root, rng.standard_normal((n, L, P.shape[1] + 2)))
    star = np.concatenate([star_span, [star_rest, 0.0]])
    w = np.concatenate([w_span, [w_star, w_rest]])
    e_all = P @ w_span
    zstar, z = X @ star, X @ w + e_all
    _, delta = task.evaluate(zstar, z)
    G = np.einsum("nl,nlr->nr", delta, X)
    G[:, : P.shape[1]] += delta @ P
    V = np.einsum("nl,lk,nk->n", delta, C, delta)
    along = G @ w
    dm = -G @ star + m * along - lr / 2 * V * m
    de = -(G[:, : P.shape[1]] @ P.T) + e_all * along[:, None] - lr / 2 * V[:, None] * e_all
    both = np.column_stack([de[:, :ne], dm])
    return both.mean(axis=0), both.std(axis=0) / math.sqrt(n)


P4 = np.random.default_rng(8).standard_normal((3, 5)) / 3
DRIFTS = [
    (sq.Task(sq.PositionalSemantic(0.4), OPPOSITE), "gaussian", None),
    (sq.Task(sq.PositionalSemantic(0.4), OPPOSITE), sq.Correlated([[1.0, 0.4], [0.4, 1.0]]), None),
    (
        sq.Task(sq.SSI("sum", 3), sq.Tied("tanh", position=sq.Positions(P4))),
        "gaussian",
        [0.1, -0.2, 0.15],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, tokens, estar", DRIFTS, ids=["opposite", "correlated", "positions not orthogonal to w*"]
)
def test_drift_is_the_mean_increment(task, tokens, estar):
    """2e5 draws, 5 standard errors."""
    K = np.array([[1.0]]) if estar is None else P4 @ P4.T
    state = np.array([0.3, 0.5]) if estar is None else np.array([0.2, 0.1, -0.1, 0.4])
    right = drift(task, 0.7, tokens=tokens, estar=estar)
    mean, error = np.zeros(len(state)), np.zeros(len(state))
    rng = np.random.default_rng(1)
    for _ in range(2):
        a, b = increments(
            task, state, 0.7, None if estar is None else np.array(estar), K, tokens, 100_000, rng
        )
        mean, error = mean + a / 2, error + b**2 / 4
    assert (np.abs(right(state) - mean) < 5 * np.sqrt(error)).all()
    assert right(np.stack([state, state / 2])).shape == (2, len(state))
    bare = drift(task, 0.7, inhibitive=False, tokens=tokens, estar=estar)
    assert (np.abs(bare(state) - right(state))[np.abs(state) > 0] > 1e-4).all()


SAMPLED = {
    "tied relu": (EVEN, 0.5, {}),
    "untied rows": (sq.Task(sq.SSI("sum_h2", 2), sq.Untied("relu")), 0.5, {}),
    "untied global": (
        sq.Task(sq.SSI("sum_h2", 2), sq.Untied("h2", normalization="global"), noise=0.2),
        0.3,
        {},
    ),
    "opposite": (sq.Task(sq.PositionalSemantic(0.2), OPPOSITE), 2.0, {}),
    "injected, correlated": (
        sq.Task(sq.SSI("sum", 3), sq.Tied("tanh", position=sq.Injected([0.3, 0.0, -0.1]))),
        0.4,
        {"tokens": sq.Correlated(np.eye(3) * 0.7 + 0.3)},
    ),
    "projected": (EVEN, 0.5, {"step": "projected"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_flow_is_where_sampled_runs_go(name):
    """The mean of 32 runs at d = 600, within 5 standard errors and 10 / d."""
    task, lr, extra = SAMPLED[name]
    d = 600
    arguments = {
        "d": d,
        "steps": int(3 * d / lr),
        "lr": lr,
        "rng": 5,
        "init": sq.Overlap(0.35),
        "record": sq.Every(int(d / lr)),
        "dtype": "float64",
    } | extra
    runs = sq.simulate(task, runs=32, **arguments)
    limit = sq.simulate(task, dynamics="flow", **arguments)
    assert runs.m.dims == limit.m.dims and (runs.dataset.step == limit.dataset.step).all()
    for what in ("m", "q") if "q" in runs.dataset else ("m",):
        sample = runs.dataset[what].values
        gap = np.abs(sample.mean(axis=0) - limit.dataset[what].values[0])
        assert (gap <= 5 * sample.std(axis=0) / math.sqrt(32) + 10 / d).all()
    loss = np.abs(runs.loss.values[:, 1:].mean(axis=0) - limit.loss.values[0, 1:])
    assert (loss <= 5 * runs.loss.values[:, 1:].std(axis=0) / math.sqrt(32) + 10 / d).all()


@pytest.mark.slow
def test_positions_that_are_drawn_with_w_star():
    """With a matrix P the flow draws w* and w in full: e and P w* have their law at this d, and so
    has m along the way.
    """
    P = np.random.default_rng(0).standard_normal((3, 400)) / 15
    task = sq.Task(sq.SSI("sum", 3), sq.Tied("tanh", position=sq.Positions(P)))
    arguments = {
        "d": 400,
        "steps": 3000,
        "lr": 0.3,
        "runs": 32,
        "init": sq.Overlap(0.3),
        "record": sq.Every(1000),
        "dtype": "float64",
    }
    runs, limit = (
        sq.simulate(task, rng=1, **arguments),
        sq.simulate(task, rng=2, dynamics="flow", **arguments),
    )
    assert runs.e.dims == limit.e.dims == ("run", "step", "token")
    assert np.abs(runs.m.mean("run") - limit.m.mean("run")).max() < 0.02
    spread = [np.sqrt((r.e.values[:, 0] ** 2).mean()) for r in (runs, limit)]
    assert abs(spread[0] / spread[1] - 1) < 0.3


@pytest.mark.parametrize("L", [1, 4, 16])
def test_largest_rate_in_closed_form(L):
    """Tied and untied relu on sum h2 / sqrt L: the growth of the tied is 1 / sqrt(pi L), the V at 0
    is 1; the untied's growth and noise are both L times less.
    """
    for student in (sq.Tied("relu"), sq.Untied("relu"), sq.Untied("relu", normalization="global")):
        got = largest_lr(sq.Task(sq.SSI("sum_h2", L, scale="1/sqrt(L)"), student))
        assert abs(got.value - 2 / math.sqrt(math.pi * L)) < 1e-10 and got.error < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(
    "student",
    [
        sq.Tied("sigmoid", position=sq.Injected(-0.5)),
        sq.Attention("trace"),
        sq.Attention("trace", position=sq.Opposite()),
    ],
    ids=repr,
)
def test_the_origin_turns_stable_at_the_largest_rate(student):
    task = sq.Task(sq.SSI("sum_h2", 2), student)
    largest = largest_lr(task)
    assert 0 < largest.value < np.inf
    for factor, unstable in ((0.99, True), (1.01, False)):
        right, h = drift(task, factor * largest.value), 1e-5
        jacobian = np.array([right(h * u) - right(-h * u) for u in np.eye(len(right.names))]).T / (
            2 * h
        )
        assert (np.linalg.eigvals(jacobian).real.max() > 0) == unstable


def test_largest_rate_at_other_flatness():
    assert largest_lr(LINEAR).value == np.inf
    assert largest_lr(sq.Task(sq.SSI("z1*z2*z3", 3), sq.Tied("He3"))).value == 0


def test_above_the_largest_rate_nothing_is_learnt():
    largest = largest_lr(EVEN).value
    below, above = (flow(EVEN, f * largest, t=60.0, m=0.05) for f in (0.8, 1.2))
    assert below.m[-1] > 0.3 and above.m[-1] < 0.05


def test_steps_time_and_schedules_agree():
    by_steps = flow(EVEN, 0.2, d=1000, steps=20_000, m=0.3)
    by_time = flow(EVEN, 0.2, d=1000, t=4.0, m=0.3)
    pieces = flow(EVEN, sq.Piecewise([(0, 0.2), (7000, 0.2)]), d=1000, steps=20_000, m=0.3)
    assert (
        np.abs(by_steps.m - by_time.m).max() < 1e-7
        and np.abs(by_steps.steps - by_time.steps).max() < 1e-6
    )
    assert np.abs(by_steps.m - pieces.m).max() < 1e-7
    stop = flow(EVEN, sq.Piecewise([(0, 0.2), (5000, 0.0)]), d=1000, steps=20_000, m=0.3)
    at = stop.steps > 5000
    assert np.ptp(stop.m[at]) < 1e-9 and stop.m[-1] > 0.31
    slow = flow(EVEN, sq.Decay(0.2, 2000, 1.0), d=1000, steps=20_000, m=0.3)
    assert abs(slow.t[-1] - 0.2 * 2000 * math.log(11) / 1000) < 1e-10


def test_simulate_flow_watches_records_and_stops():
    arguments = {"d": 1000, "steps": 200_000, "lr": 0.1, "dynamics": "flow", "rng": 3}
    r = sq.simulate(EVEN, init=sq.Overlap(0.2), stop=sq.WeakRecovery(0.5, halt=True), **arguments)
    exact = flow(EVEN, 0.1, d=1000, steps=200_000, m=0.2, eta=0.5)
    assert (
        r.weak_recovery.values == math.ceil(exact.weak_recovery_step)
        and not r.censored.values.any()
    )
    assert r.dataset.steps_done.values == r.weak_recovery.values
    assert np.isnan(r.m.values[0, -1]) and np.isfinite(r.m.sel(step=21_000).values)
    on = sq.simulate(EVEN, init=sq.Overlap(0.2), stop=sq.WeakRecovery(0.5), **arguments)
    assert on.weak_recovery.values == r.weak_recovery.values and np.isfinite(on.m.values).all()
    start = sq.simulate(EVEN, init=sq.Overlap(0.6), stop=sq.WeakRecovery(0.5), **arguments)
    assert start.weak_recovery.values == 0
    never = sq.simulate(EVEN, init=sq.Overlap(0.2), stop=sq.WeakRecovery(0.99), **arguments)
    assert never.censored.values.all() and np.isposinf(never.weak_recovery.values).all()
    few = sq.simulate(EVEN, init=sq.Overlap(0.2), record=[3, 5000], **arguments)
    assert (
        few.m.dims == ("run", "step")
        and few.dataset.step.values.tolist() == [3, 5000]
        and few.dataset.steps_done.values == 200_000
    )
    alone = sq.simulate(EVEN, **(arguments | {"steps": 0}), init=sq.Overlap(0.2))
    assert alone.m.values.tolist() == [[0.2]]
    assert r.dataset.attrs["dynamics"] == "flow" and r.arguments["dynamics"] == "flow"


def test_random_starts_have_their_law_and_do_not_depend_on_company():
    arguments = {"d": 50, "steps": 0, "lr": 0.1, "dynamics": "flow", "rng": 4}
    m = sq.simulate(EVEN, init=sq.Uniform(), runs=2000, **arguments).m.values[:, 0]
    assert (
        stats.kstest(m, stats.beta(24.5, 24.5, loc=-1, scale=2).cdf).pvalue > 1e-3
    )  # a coordinate of a uniform unit vector
    part = sq.simulate(EVEN, init=sq.Uniform(), runs=5, first_run=7, **arguments).m.values[:, 0]
    assert (part == m[7:12]).all()
    signs = sq.simulate(
        EVEN, init=sq.Overlap(0.3, random_sign=True), runs=200, **arguments
    ).m.values[:, 0]
    assert set(signs) == {0.3, -0.3} and 60 < (signs > 0).sum() < 140
    untied = sq.simulate(
        sq.Task(sq.SSI("sum_h2", 2), sq.Untied("relu")), init=sq.Uniform(), **arguments
    )
    assert untied.m.shape == (1, 1, 2) and (untied.dataset.q == 1).all()


def test_checkpoints_go_on(tmp_path):
    arguments = {
        "d": 1000,
        "lr": 0.1,
        "dynamics": "flow",
        "rng": 3,
        "init": sq.Overlap(0.2, random_sign=True),
        "runs": 3,
        "record": sq.Every(500),
    }
    path = tmp_path / "flow.npz"
    whole = sq.simulate(EVEN, steps=60_000, **arguments)
    sq.simulate(EVEN, steps=30_000, checkpoint=path, **arguments)
    longer = sq.simulate(EVEN, steps=60_000, checkpoint=path, **arguments)
    assert (
        np.abs(whole.m - longer.m).max() < 1e-7
        and np.abs(whole.loss - longer.loss)[:, 1:].max() < 1e-6
    )
    stopped = sq.simulate(
        EVEN,
        steps=60_000,
        checkpoint=tmp_path / "b.npz",
        callback=lambda done, total: done > 20_000,
        **arguments,
    )
    assert 0 < int(stopped.dataset.steps_done.sum()) < 180_000
    resumed = sq.simulate(EVEN, steps=60_000, checkpoint=tmp_path / "b.npz", **arguments)
    assert (resumed.m.values == whole.m.values).all()  # pauses fall between the same stretches
    with pytest.raises(ValueError, match="belongs to another run"):
        sq.simulate(EVEN, steps=60_000, checkpoint=path, **(arguments | {"lr": 0.2}))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="tokens: .*derived for Gaussian"):
        sq.simulate(EVEN, 100, 10, 0.1, dynamics="flow", tokens="rademacher")
    for call, words in [
        (lambda: flow(EVEN, 0.1, t=1.0), "d: expected"),
        (lambda: flow(EVEN, 0.1, d=10, steps=5, t=1.0), "steps, t: expected exactly one"),
        (lambda: flow(EVEN, sq.Decay(0.1, 10, 1), d=10, t=1.0), "t: with a schedule"),
        (lambda: flow(EVEN, 0.1, d=10, steps=5, q=[1.0, 1.0]), "q: only students"),
        (lambda: flow(EVEN, 0.1, d=10, steps=5, m=[0.1, 0.2]), "m: expected one start"),
        (lambda: drift(EVEN, -1.0), "lr: expected"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_a_flow_is_drawn_over_a_simulation():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    f = flow(EVEN, 0.2, d=200, steps=4000, m=0.3)
    ax = sq.simulate(EVEN, 200, 4000, 0.2, runs=4, rng=0, init=sq.Overlap(0.3)).plot()
    assert f.plot(ax) is ax
    assert [line.get_linestyle() for line in ax.lines][-1] == "--" and any(
        "flow" in t.get_text() for t in ax.get_legend().get_texts()
    )
    alone = f.plot(time=True)
    assert "time" in alone.get_xlabel() and np.allclose(alone.lines[0].get_ydata(), np.abs(f.m))
    plt.close("all")
