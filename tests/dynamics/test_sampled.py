"""Whole courses of the simulation: learning curves against the reference, weak recovery,
bit-identity, drift, and stops.

The learning curves spend a family-wise false-alarm rate of RATE = 1e-3 in all (Holm); their seeds
are fixed.
"""

from __future__ import annotations

from typing import Any

import catalogue
import laws
import numpy as np
import pytest
import reference as ref
from helpers import assert_close, core_simulation, steps
from laws import assert_plausible
from scipy import stats

pytestmark = pytest.mark.weights

RATE = 1e-3
D, LR, RUNS = 1000, 1.5e-2, 64
LONG = (0, 1000, 2000, 3000, 4000, 5000)
SHORT = {2: (0, 300, 600), 8: (0, 150, 300), 32: (0, 50, 100)}


def relu_task(L: int, noise: float = 0.0) -> Any:
    """Tied relu on the sum of the target fields over sqrt L."""
    return catalogue.task(
        catalogue.named_link("sum", L, L**-0.5), catalogue.network("relu", L), "half_square", noise
    )[0]


def curves(
    L: int,
    record: tuple[int, ...],
    dynamics: str,
    lr: float = LR,
    seed: int = 7,
    dtype: str = "float32",
) -> tuple[Any, Any]:
    """m and loss (runs, records) of the core."""
    core = core_simulation(
        relu_task(L),
        dynamics,
        d=D,
        runs=RUNS,
        lr=lr,
        seed=seed,
        m0=D**-0.5,
        record=steps(*record),
        threads=2,
        dtype=dtype,
    )
    assert core.advance(record[-1], None)
    return core.records()["m"][..., 0], core.records()["loss"]


def comparison(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> Any:
    """p-values: means of m and of the loss (Welch), spread of m (Levene), and m at the end
    (two-sample Kolmogorov-Smirnov).
    """
    m, m_ref, loss, loss_ref = ours[0][:, 1:], theirs[0][:, 1:], ours[1][:, 1:], theirs[1][:, 1:]
    spread = [stats.levene(a, b).pvalue for a, b in zip(m.T, m_ref.T, strict=True)]
    return np.concatenate(
        [
            laws.same_means(m, m_ref),
            laws.same_means(loss, loss_ref),
            spread,
            [stats.ks_2samp(m[:, -1], m_ref[:, -1]).pvalue],
        ]
    )


def numpy_curves(L: int, record: tuple[int, ...], seed: int, lr: float = LR) -> tuple[Any, Any]:
    return ref.tied_relu_sum(L, D, lr, RUNS, record, np.random.Generator(np.random.SFC64(seed)))


@pytest.fixture(scope="module")
def long_reference() -> tuple[Any, Any]:
    """5000 steps at L = 1.

    Since this task sees only (1/sqrt L) sum_l x_l ~ N(0, I/d), its law is the same at every L.
    """
    return numpy_curves(1, LONG, 100)


@pytest.mark.xdist_group("long reference")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("L", "dtype"),
    [(1, "float32"), (2, "float32"), (8, "float32"), (32, "float32"), (2, "float64")],
)
def test_learning_curves(
    L: int, dtype: str, dynamics: str, long_reference: tuple[Any, Any]
) -> None:
    """d = 1000, 64 runs against 64 runs, 5000 steps: rate RATE / 10 each."""
    assert_plausible(
        comparison(curves(L, LONG, dynamics, dtype=dtype), long_reference), RATE / 10, f"L = {L}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("L", SHORT)
def test_learning_curves_begin_as_with_every_entry_drawn(L: int, dynamics: str) -> None:
    """The same with a reference that draws all L d entries at this L: fewer steps, rate RATE / 10
    each.
    """
    assert_plausible(
        comparison(curves(L, SHORT[L], dynamics), numpy_curves(L, SHORT[L], L)),
        RATE / 10,
        f"L = {L}",
    )


@pytest.mark.xdist_group("long reference")
@pytest.mark.slow
@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_a_wrong_learning_rate_is_seen(
    wrong: float, dynamics: str, long_reference: tuple[Any, Any]
) -> None:
    """Power of test_learning_curves at its own size and rate: 5 % of the learning rate."""
    assert laws.holm(
        comparison(curves(2, LONG, dynamics, lr=wrong * LR), long_reference), RATE / 10
    )


# --- weak recovery
# --------------------------------------------------------------------------------------------------


def passage_norm(core: Any, sphere: str, position: str) -> Any:
    """||(e, m)|| at every record, from the records and the encoding: w / sqrt d projected on
    span(P).
    """
    r = core.records()
    if sphere != "shared":
        return np.sqrt((r["m"] ** 2).mean(-1))
    along = np.zeros(r["m"].shape[:2])
    if position == "opposite":
        along = r["e"][..., 0] ** 2
    if position == "matrix":
        for run, P in enumerate(core.positions()):
            gram = np.linalg.pinv(P @ P.T, rcond=1e-9)
            along[run] = np.einsum("tl,lk,tk->t", r["e"][run], gram, r["e"][run])
    return np.sqrt(along + r["m"][..., 0] ** 2)


CASES = [
    ("shared", "none"),
    ("shared", "opposite"),
    ("shared", "matrix"),
    ("shared", "injected"),
    ("rows", "none"),
    ("global", "none"),
    ("rows", "opposite"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sphere", "position"), CASES)
def test_weak_recovery_to_the_step(sphere: str, position: str, dtype: str, dynamics: str) -> None:
    """The passage is the first of all steps at or above eta, and a halted run has stopped there."""
    L, d, eta, last = 2, 60, 0.6, 3000
    rng = np.random.default_rng(0)
    extra = {
        "matrix": {"P": np.outer([1.0, -0.5], rng.standard_normal(d)) / 8},
        "injected": {"c": np.array([0.3, -0.2])},
    }.get(position, {})
    make = {
        "d": d,
        "runs": 40,
        "lr": 0.4,
        "m0": 0.05,
        "random_sign": True,
        "weights": sphere,
        "position": position,
        "dtype": dtype,
        "eta": eta,
        "threads": 2,
    } | extra
    core = core_simulation(relu_task(L), dynamics, record=np.arange(last + 1), halt=False, **make)
    assert core.advance(last, None)
    norm, passage = passage_norm(core, sphere, position), core.status()["passage"]
    reached = norm >= eta
    first = np.where(reached.any(1), reached.argmax(1), -1)
    close = (
        np.abs(np.take_along_axis(norm, np.maximum(passage, 0)[:, None], 1)[:, 0] - eta) < 1e-6
    )  # rounding may decide
    assert np.array_equal(first[~close], passage[~close]) and close.sum() <= 1
    assert (passage > 20).sum() >= 10 and len(np.unique(passage)) > 10
    assert (core.status()["step"] == last).all() and np.isfinite(core.records()["m"]).all()
    halted = core_simulation(relu_task(L), dynamics, record=np.arange(last + 1), halt=True, **make)
    assert halted.advance(last, None)
    assert np.array_equal(halted.status()["passage"], passage)
    assert np.array_equal(halted.status()["step"], np.where(passage >= 0, passage, last))
    m = halted.records()["m"][..., 0]
    for run, p in enumerate(np.where(passage >= 0, passage, last)):
        assert np.isfinite(m[run, : p + 1]).all() and np.isnan(m[run, p + 1 :]).all()
        assert np.array_equal(m[run, : p + 1], core.records()["m"][run, : p + 1, 0])


def test_weak_recovery_at_the_start_and_never(dynamics: str) -> None:
    core = core_simulation(
        relu_task(2), dynamics, m0=-0.5, eta=0.4999, halt=True, record=steps(0, 5)
    )
    core.advance(5, None)
    assert core.status()["passage"].tolist() == [0] and core.status()["step"].tolist() == [0]
    core = core_simulation(relu_task(2), dynamics, m0=0.1, eta=1.0, halt=True, lr=0.0)
    core.advance(50, None)
    assert core.status()["passage"].tolist() == [-1] and core.status()["step"].tolist() == [50]


# --- numbers that must stay right for long
# ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize(
    ("sphere", "dtype"),
    [("shared", "float32"), ("shared", "float64"), ("rows", "float32"), ("global", "float32")],
)
def test_no_drift(sphere: str, dtype: str, projected: bool, dynamics: str) -> None:
    """After 2 * 10^6 to 10^7 steps the fields that the task sees are those of w on its sphere
    (1e-6), and m, e are those of w.

    The task sees f = (1/sqrt L) sum_l (x_l . w + e_l), which a sequence of our own brings to light
    through its loss at y = 0.
    """
    L, d = 2, 7
    n = 2 * 10**6 if sphere != "shared" else 10**7
    task = catalogue.task(
        catalogue.named_link("sum", L, L**-0.5),
        catalogue.network("identity", L),
        "half_square",
        0.1,
    )[0]
    P = np.random.default_rng(0).standard_normal((L, d))
    core = core_simulation(
        task,
        dynamics,
        d=d,
        lr=0.05,
        weights=sphere,
        projected=projected,
        position="matrix",
        P=P,
        dtype=dtype,
        record=steps(0, n),
    )
    assert core.advance(n, None)
    w, wstar, P, r = (
        core.weights()[0],
        core.teacher()[0],
        core.positions()[0],
        core.order_parameters(),
    )
    norms = np.linalg.norm(w, axis=-1) / np.sqrt(d)
    assert_close(
        np.sqrt((norms**2).mean()) if sphere == "global" else norms,
        1.0 if sphere == "global" else np.ones(len(w)),
        1e-6,
    )
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    e = (P * w).sum(-1) / np.sqrt(d)
    for m in (r["m"][0], core.records()["m"][0, -1]):
        assert_close(m, w @ wstar / d, tolerance)
    for got in (r["e"][0], core.records()["e"][0, -1]):
        assert_close(got, e, tolerance)
    assert_close(core.records()["q"][0, -1], norms**2, tolerance)
    core_now = core.state()
    for X in np.random.default_rng(1).standard_normal((20, L, d)).astype(dtype):
        core.set_state(core_now)
        f = (((X * w).sum(-1) + e).sum()) / np.sqrt(L)
        loss = core.observe(X[None], np.zeros((1, 1)), 0)[0]
        assert_close(np.sqrt(2 * loss), abs(f), 5e-6 if dtype == "float32" else 1e-10)


def test_records_are_those_of_the_weights(dynamics: str) -> None:
    """m, e, q of the current state against w, w*, P, for every encoding, at moments within and
    between blocks of draws.
    """
    for position, sphere, dtype in (
        ("opposite", "shared", "float32"),
        ("matrix", "rows", "float32"),
        ("matrix", "shared", "float64"),
        ("opposite", "global", "float64"),
    ):
        P = np.random.default_rng(0).standard_normal((2, 37))
        core = core_simulation(
            relu_task(2),
            dynamics,
            d=37,
            lr=0.3,
            weights=sphere,
            position=position,
            P=P if position == "matrix" else np.empty((0, 0)),
            dtype=dtype,
            runs=2,
        )
        for target in (0, 1, 100, 5000, 5001):
            core.advance(target, None)
            w, now = core.weights(), core.order_parameters()
            tolerance = 1e-5 if dtype == "float32" else 1e-12
            assert_close(now["m"], np.einsum("rnd,rd->rn", w, core.teacher()) / 37, tolerance)
            assert_close(now["q"], (w**2).sum(-1) / 37, tolerance)
            assert_close(now["e"], (core.positions() * w).sum(-1) / np.sqrt(37), tolerance)


def test_recorded_loss_is_the_mean_since_the_last_record(dynamics: str) -> None:
    every, some = (
        core_simulation(relu_task(2, 0.3), dynamics, lr=0.2, runs=2, record=r)
        for r in (np.arange(101), steps(0, 3, 10, 99))
    )
    for core in (every, some):
        core.advance(100, None)
    loss = every.records()["loss"]
    assert np.isnan(some.records()["loss"][:, 0]).all()
    assert_close(
        some.records()["loss"][:, 1:],
        np.stack([loss[:, a + 1 : b + 1].mean(1) for a, b in ((0, 3), (3, 10), (10, 99))], 1),
        1e-14,
    )
    assert np.array_equal(some.weights(), every.weights())
    assert np.array_equal(some.order_parameters()["loss"], loss[:, -1])


def test_overflow_stops_a_run_before_the_step(dynamics: str) -> None:
    """A rate that no step can follow: the state is that before, the step is named, and other
    records stay empty.
    """
    for dtype, lr in (("float32", 1e30), ("float64", 1e200)):
        core = core_simulation(
            relu_task(2),
            dynamics,
            lr_steps=steps(0, 30),
            lr_values=np.array([0.1, lr]),
            record=np.arange(60),
            runs=3,
            dtype=dtype,
            threads=2,
        )
        assert core.advance(59, None)
        status = core.status()
        assert (
            (status["nonfinite"] == status["step"] + 1).all()
            and (status["step"] >= 30).all()
            and (status["step"] < 59).all()
        )
        m = core.records()["m"][..., 0]
        for run, step in enumerate(status["step"]):
            assert np.isfinite(m[run, : step + 1]).all() and np.isnan(m[run, step + 1 :]).all()
        assert_close((core.weights()[:, 0] ** 2).sum(-1) / 24, np.ones(3), 1e-6)
