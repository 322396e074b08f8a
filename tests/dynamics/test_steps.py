"""Fed the same sequences, the core follows the reference step for step: 1e-12 in float64, 1e-5 in
float32, over 100 steps.

float64 runs through the whole product of its axes; float32 through a set of cases that has every
pair of values of any two axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import catalogue
import numpy as np
import pytest
import reference as ref
from catalogue import LOSSES
from helpers import assert_close, core_simulation, steps

pytestmark = pytest.mark.weights

STEPS = 100
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
SPHERES = ("shared", "rows", "global")
REDUCTIONS = ("trace", "bilinear", "none")
POSITIONS = ("none", "opposite", "rank1", "rank2", "full", "injected")
ACTIVATIONS = ("identity", "relu", "tanh", "sigmoid", "square", "h2", "erf", "He3")


def length(position: str) -> int:
    """Opposite encodings have two tokens; the others are tried with four, which lets every link
    take part.
    """
    return 2 if position == "opposite" else 4


def encoding(position: str, L: int, d: int, rng: np.random.Generator) -> dict[str, Any]:
    """The core's keywords. P is not orthogonal to w*, its rows are not unit, and they overlap."""
    if position == "injected":
        return {"position": "injected", "c": rng.standard_normal(L)}
    if position in ("none", "opposite"):
        return {"position": position}
    rank = {"rank1": 1, "rank2": 2, "full": L}[position]
    return {
        "position": "matrix",
        "P": rng.standard_normal((L, rank)) @ rng.standard_normal((rank, d)) / np.sqrt(rank),
    }


def short_steps(lr: float, pairs: Sequence[tuple[Any, ref.Task]]) -> Any:
    """lr over the largest |delta| of each task at some fields: long steps of a steep loss amplify
    rounding, in any program.
    """
    L = pairs[0][0].L
    zstar, z = np.random.default_rng(0).standard_normal((2, 400, L))
    return np.array([lr / max(1.0, float(np.abs(task(zstar, z)[1]).max())) for _, task in pairs])


def follow(
    pairs: Sequence[tuple[Any, ref.Task]],
    dynamics: str,
    position: str = "none",
    sphere: str = "shared",
    projected: bool = False,
    dtype: str = "float64",
    d: int = 12,
    lr: float = 0.03,
    n: int = STEPS,
    rate: Callable[[int], float] | None = None,
    scaled: bool = True,
    **settings: Any,
) -> None:
    """Runs all pairs (core task, reference task) on one data set and compares w, m, e, q and loss
    after every step.

    The loss is compared relative to max(1, |loss|, ||delta||_1) since a change of z is one of loss
    by delta.
    """
    L = pairs[0][0].L
    rng = np.random.default_rng(d * L)
    settings = {"m0": 1.0 if d == 1 else 0.3, "seed": 11} | settings | encoding(position, L, d, rng)
    X = (rng.standard_normal((n, L, d)) / np.sqrt(d)).astype(dtype)
    record = np.arange(n + 1)
    lrs = short_steps(lr, pairs) if scaled else np.full(len(pairs), lr)
    common = {"d": d, "dtype": dtype, "weights": sphere, "projected": projected, "record": record}
    cores = [
        core_simulation(t, dynamics, **common, **({"lr": x} | settings))
        for (t, _), x in zip(pairs, lrs, strict=True)
    ]
    P = None if position in ("none", "injected") else np.stack([c.positions()[0] for c in cores])
    run = ref.Sgd(
        np.stack([c.weights()[0] for c in cores]),
        cores[0].teacher()[0],
        ref.stacked([t for _, t in pairs]),
        P,
        settings.get("c"),
        sphere,
        projected,
    )
    m, q, e, losses, slopes = [run.m], [run.q], [run.e], [], []
    for tau in range(n):
        losses.append(run.step(X[tau].astype(np.float64), rate(tau) if rate else lrs))
        slopes.append(np.abs(run.delta).sum(-1))
        for series, value in ((m, run.m), (q, run.q), (e, run.e)):
            series.append(value)
    tolerance = TOLERANCE[dtype]
    for i, core in enumerate(cores):
        got = core.observe(X, None, 0)
        records = core.records()
        size = np.maximum(1, np.array([x[i] for x in slopes]))
        assert_close(
            got / size, np.array([x[i] for x in losses]) / size, tolerance, f"loss of task {i}"
        )
        assert np.array_equal(records["loss"][0, 1:], got) and np.isnan(records["loss"][0, 0])
        for name, series in (("m", m), ("q", q), ("e", e)):
            assert_close(
                records[name][0], np.array([x[i] for x in series]), tolerance, f"{name} of task {i}"
            )
            now = core.order_parameters()[name][0]
            assert_close(now, series[-1][i], tolerance, name)
        assert_close(core.weights()[0], run.w[i], tolerance, f"w of task {i}")
        assert core.order_parameters()["loss"][0] == got[-1]
        assert core.status()["step"].tolist() == [n]


def networks(
    L: int,
    links: dict[str, Any],
    activations: Sequence[str] = ACTIVATIONS,
    losses: Sequence[str] = LOSSES,
) -> list[tuple[Any, ref.Task]]:
    students = [catalogue.network(s, L) for s in activations]
    return [
        catalogue.task(link, student, loss)
        for link in links.values()
        for student in students
        for loss in losses
    ]


@pytest.mark.slow
@pytest.mark.parametrize("projected", [False, True], ids=["normalized", "projected"])
@pytest.mark.parametrize("sphere", SPHERES)
@pytest.mark.parametrize("position", POSITIONS)
def test_networks_float64(position: str, sphere: str, projected: bool, dynamics: str) -> None:
    """Every link, activation and loss, for every encoding, sphere and kind of step."""
    L = length(position)
    follow(networks(L, catalogue.scalar_links(L)), dynamics, position, sphere, projected)


@pytest.mark.parametrize("projected", [False, True], ids=["normalized", "projected"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_attention(
    dtype: str, position: str, reduction: str, projected: bool, dynamics: str
) -> None:
    """Every link and loss, for every encoding, reduction and kind of step, in both precisions."""
    L = length(position)
    links = catalogue.matrix_links(L) if reduction == "none" else catalogue.scalar_links(L)
    student = catalogue.attention(reduction, L)
    pairs = [catalogue.task(link, student, loss) for link in links.values() for loss in LOSSES]
    follow(pairs, dynamics, position, "shared", projected, dtype)


def pairwise(axes: dict[str, Sequence[Any]], seed: int) -> list[dict[str, Any]]:
    """Cases such that any two values of any two axes meet in one of them: greedy, each case the
    best of some random ones.
    """
    rng = np.random.default_rng(seed)
    names = list(axes)
    missing = {
        (a, i, b, j)
        for a, b in itertools.combinations(names, 2)
        for i in range(len(axes[a]))
        for j in range(len(axes[b]))
    }
    cases = []
    while missing:
        a, i, b, j = min(missing)
        best: tuple[int, dict[str, int], set[Any]] = (0, {}, set())
        for _ in range(30):
            case = {n: int(rng.integers(len(axes[n]))) for n in names} | {a: i, b: j}
            covers = {
                (p, case[p], q, case[q]) for p, q in itertools.combinations(names, 2)
            } & missing
            best = max(best, (len(covers), case, covers), key=lambda t: t[0])
        missing -= best[2]
        cases.append({n: axes[n][k] for n, k in best[1].items()})
    return cases


AXES: dict[str, Sequence[Any]] = {
    "link": [*ref.names(), *catalogue.HERMITE, "attention trace", "attention bilinear"],
    "sigma": ACTIVATIONS,
    "loss": LOSSES,
    "position": POSITIONS,
    "sphere": SPHERES,
    "projected": [False, True],
    "d": [5, 12, 33, 100],
}


def test_pairwise_covers_all_pairs() -> None:
    cases = pairwise(AXES, 0)
    for a, b in itertools.combinations(AXES, 2):
        assert {(c[a], c[b]) for c in cases} == set(itertools.product(AXES[a], AXES[b]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_networks_float32(seed: int, dynamics: str) -> None:
    for case in pairwise(AXES, seed):
        L = length(case["position"])
        links = catalogue.scalar_links(L)
        link = links.get(
            case["link"], links["sum"]
        )  # opposite encodings have too few tokens for some
        pair = catalogue.task(link, catalogue.network(case["sigma"], L), case["loss"])
        follow(
            [pair],
            dynamics,
            case["position"],
            case["sphere"],
            case["projected"],
            "float32",
            case["d"],
        )


DIMENSIONS = (1, 2, 3, 4, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 1000, 2049, 4099)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_token_dimensions(d: int, dtype: str, dynamics: str) -> None:
    """Dimensions around every multiple that a vectorised loop may have, and the smallest."""
    for position, sphere, projected in itertools.product(POSITIONS, SPHERES, (False, True)):
        L = length(position)
        if position == "opposite" and d < (3 if sphere == "shared" else 4):
            continue
        links = {
            "sum": catalogue.named_link("sum", L, L**-0.5),
            "z1*z2": catalogue.named_link("z1*z2", L),
        }
        pairs = networks(L, links, ["relu", "tanh"], ["half_square"])
        if sphere == "shared":
            pairs.append(
                catalogue.task(links["z1*z2"], catalogue.attention("trace", L), "half_square")
            )
        follow(pairs, dynamics, position, sphere, projected, dtype, d, n=20 if d > 200 else 40)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("L", [1, 2, 3, 4, 5, 8, 9, 16, 17, 33])
def test_sequence_lengths(L: int, dtype: str, dynamics: str) -> None:
    for position, sphere in itertools.product(("none", "rank1", "full", "injected"), SPHERES):
        if position == "full" and L == 1:
            continue
        for d in (3, 40):
            links = {
                "sum": catalogue.named_link("sum", L, L**-0.5),
                "sum_h2": catalogue.named_link("sum_h2", L, 1 / L),
            }
            pairs = networks(L, links, ["relu", "h2"], ["half_square"])
            if sphere == "shared":
                pairs += [
                    catalogue.task(links["sum"], catalogue.attention(r, L), "half_square")
                    for r in ("trace", "bilinear")
                ]
                pairs_matrix = [
                    catalogue.task(x, catalogue.attention("none", L), "frobenius")
                    for x in catalogue.matrix_links(L).values()
                ]
                follow(pairs_matrix, dynamics, position, sphere, dtype=dtype, d=d, n=40)
            follow(pairs, dynamics, position, sphere, dtype=dtype, d=d, n=40)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("lr", [0.0, 1e-9, 0.5, 30.0])
def test_learning_rates(lr: float, dtype: str, dynamics: str) -> None:
    """From none at all to steps longer than w itself, where the sphere's radius is met in one
    step.
    """
    for position, sphere, projected in itertools.product(
        ("none", "full", "injected"), SPHERES, (False, True)
    ):
        pairs = networks(
            4, {"sum": catalogue.named_link("sum", 4, 0.5)}, ["relu", "tanh"], ["half_square"]
        )
        # a long step forgets, but may also tear neighbours apart: fewer steps, and rounding grows
        # by their length
        follow(
            pairs,
            dynamics,
            position,
            sphere,
            projected,
            dtype,
            d=33,
            lr=lr,
            n=STEPS if lr < 1 else 5,
            scaled=False,
        )


@pytest.mark.parametrize("sphere", SPHERES)
def test_schedules(sphere: str, dynamics: str) -> None:
    pairs = networks(4, {"sum": catalogue.named_link("sum", 4, 0.5)}, ["relu"], ["half_square"])
    settings = {"lr_t0": 7.5, "lr_power": 0.8}
    follow(
        pairs,
        dynamics,
        sphere=sphere,
        scaled=False,
        lr=0.3,
        rate=ref.decay(0.3, 7.5, 0.8),
        **settings,
    )
    pieces = [(0, 0.3), (1, 0.05), (40, 0.0), (60, 0.5)]
    settings = {
        "lr_steps": steps(*(s for s, _ in pieces)),
        "lr_values": np.array([r for _, r in pieces]),
    }
    follow(pairs, dynamics, sphere=sphere, rate=ref.piecewise(pieces), **settings)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_labels_of_the_caller(dtype: str, dynamics: str) -> None:
    """Given y, neither the link nor the label noise plays a part; without y there is no noise
    either.
    """
    L, d, n = 3, 17, 30
    rng = np.random.default_rng(4)
    X, y = (rng.standard_normal((n, L, d)) / np.sqrt(d)).astype(dtype), rng.standard_normal((n, 1))
    student = catalogue.network("tanh", L)
    noisy, plain = (
        catalogue.task(catalogue.named_link("sum", L), student, "square", noise)
        for noise in (2.0, 0.0)
    )
    core = core_simulation(noisy[0], dynamics, d=d, dtype=dtype, lr=0.1)
    run = ref.Sgd(core.weights()[0], core.teacher()[0], plain[1])
    got = core.observe(X, y, 0)
    wanted = [
        run.step(X[t].astype(float), 0.1, fields=lambda s, z, t=t: plain[1].labelled(y[t], z))
        for t in range(n)
    ]
    assert_close(got, wanted, TOLERANCE[dtype])
    assert_close(core.weights()[0], run.w, TOLERANCE[dtype])
    follow([noisy], dynamics, dtype=dtype, d=d)


def test_matrix_labels_of_the_caller(dynamics: str) -> None:
    L, d, n = 2, 9, 30
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((n, L, d)) / np.sqrt(d), rng.standard_normal((n, L * L))
    core, task = catalogue.task(
        catalogue.matrix_links(L)["semantic"], catalogue.attention("none", L), "frobenius", 0.5
    )
    core = core_simulation(core, dynamics, d=d, lr=0.1, position="opposite")
    run = ref.Sgd(core.weights()[0], core.teacher()[0], task, core.positions()[0])
    assert_close(
        core.observe(X, y, 0),
        [run.step(X[t], 0.1, fields=lambda s, z, t=t: task.labelled(y[t], z)) for t in range(n)],
        1e-12,
    )
    assert_close(core.weights()[0], run.w, 1e-12)


def test_each_run_observes_for_itself(dynamics: str) -> None:
    L, d = 2, 10
    core, task = catalogue.task(
        catalogue.named_link("sum", L), catalogue.network("relu", L), "half_square"
    )
    core = core_simulation(core, dynamics, d=d, runs=3, lr=0.1)
    X = np.random.default_rng(0).standard_normal((3, 5, L, d)) / np.sqrt(d)
    runs = [ref.Sgd(core.weights()[r], core.teacher()[r], task) for r in range(3)]
    for r in (2, 0):
        assert_close(core.observe(X[r], None, r), [runs[r].step(x, 0.1) for x in X[r]], 1e-12)
    assert_close(core.weights(), [run.w for run in runs], 1e-12)
    assert core.status()["step"].tolist() == [5, 0, 5]
    for bad in (3, -1):
        with pytest.raises(IndexError, match="^run: "):
            core.observe(X[0], None, bad)


def test_observed_and_drawn_steps_mix(dynamics: str) -> None:
    """Drawn steps go on from where observed ones left, and the other way round."""
    L, d = 3, 10
    core, task = catalogue.task(
        catalogue.named_link("sum", L), catalogue.network("relu", L), "half_square"
    )
    core = core_simulation(core, dynamics, d=d, lr=0.1, record=np.arange(200))
    X = np.random.default_rng(0).standard_normal((20, L, d)) / np.sqrt(d)
    for target in (7, 100, 121):
        core.advance(target, None)
        run = ref.Sgd(core.weights()[0], core.teacher()[0], task)
        assert_close(core.observe(X, None, 0), [run.step(x, 0.1) for x in X], 1e-12)
        assert_close(core.weights()[0], run.w, 1e-12)
        assert core.status()["step"].tolist() == [target + 20]
    m = core.records()["m"][0, :, 0]
    assert np.isfinite(m[:142]).all() and np.isnan(m[142:]).all()
