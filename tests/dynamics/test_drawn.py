"""Drawn steps: the tokens that move the weights are those whose fields the task saw, and whole
courses have the law of the reference's.

Each statistical test has a false-alarm rate of RATE, by Holm; seeds are fixed.
"""

from __future__ import annotations

import math
from typing import Any

import catalogue
import laws
import numpy as np
import pytest
import reference as ref
from helpers import assert_close, core_simulation, steps
from laws import assert_plausible
from scipy import stats
from seqsgd import _core

pytestmark = pytest.mark.weights

RATE = 1e-4
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}  # a token is a difference of weights over lr
LAWS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "rademacher": {"tokens": "rademacher"},
    "uniform": {"tokens": "uniform"},
    "student_t": {"tokens": "student_t", "nu": 9.0},
    "correlated": {"tokens": "correlated", "covariance": np.array([[1.0, 0.6], [0.6, 1.0]])},
}


class Watched:
    """A simulation whose link and activation are Python functions that note z* and u.

    f = u and y = 5 always, so that delta is known.
    """

    def __init__(self, dynamics: str, L: int, lr: float, **settings: Any) -> None:
        self.zstar: list[Any] = []
        self.u: list[float] = []
        link = _core.link_python(L, 1, lambda z: self.zstar.append(z.copy()) or 5.0)
        sigma = _core.activation_python(lambda u: self.u.append(u) or u, lambda u: 1.0)
        task = _core.Task(link, _core.student_network(sigma, L), "half_square", 0.0)
        self.core, self.L, self.lr = core_simulation(task, dynamics, lr=lr, **settings), L, lr

    def step(self) -> Any:
        """One step; returns the drawn tokens (n, d), summed over those that share a weight."""
        before = self.core.weights()[0]
        d = before.shape[1]
        self.core.advance(int(self.core.status()["step"][0]) + 1, None)
        after = self.core.weights()[0]
        delta = (self.u[-1] - 5.0) / math.sqrt(self.L)
        if len(before) == 1:
            own = self.u[-1] * math.sqrt(self.L)  # sum_l x_l . w
            length = (
                (d - self.lr * delta * own) * d / (before[0] @ after[0])
            )  # ||v|| sqrt d from w . w' = sqrt d w . v / ||v||
        else:  # one sphere for all: the same with all rows at once
            length = (
                (self.L * d - self.lr * delta * self.u[-1] * math.sqrt(self.L))
                * d
                / (before * after).sum()
            )
        return (before - after * length / d) / (self.lr * delta)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", [2, 3, 31, 32, 33, 64, 100, 2049])
def test_tokens_move_the_weights_that_saw_them(d: int, law: str, dtype: str, dynamics: str) -> None:
    """Recovered from the step, the tokens have the projections that link and student were given,
    and values that their law allows.
    """
    for sphere in ("shared", "global"):
        run = Watched(dynamics, 2, 0.05, d=d, weights=sphere, dtype=dtype, m0=0.3, **LAWS[law])
        wstar = run.core.teacher()[0]
        for _ in range(12):
            w = run.core.weights()[0]
            X = run.step()
            size = max(1.0, float(np.abs(X).max())) * math.sqrt(d)
            if sphere == "shared":
                assert_close(X[0] @ wstar / size, run.zstar[-1].sum() / size, TOLERANCE[dtype])
            else:
                assert_close(X @ wstar / size, run.zstar[-1] / size, TOLERANCE[dtype])
            assert_close((X * w).sum() / math.sqrt(2) / size, run.u[-1] / size, TOLERANCE[dtype])
            entries = X * math.sqrt(d)
            if law == "rademacher":
                values = (-2.0, 0.0, 2.0) if sphere == "shared" else (-1.0, 1.0)
                assert np.abs(entries[..., None] - values).min(-1).max() < 0.1
            if law == "uniform":
                assert np.abs(entries).max() < math.sqrt(3) * (2 if sphere == "shared" else 1) + 0.1
            if law != "rademacher":
                assert len(np.unique(entries)) == entries.size


@pytest.mark.parametrize("law", ["gaussian", "student_t", "correlated", "uniform"])
@pytest.mark.parametrize("d", [5, 40])
def test_recovered_tokens_have_their_law(law: str, d: int, dynamics: str) -> None:
    """500 steps, every entry: the law, no correlation along d or time, and the right one between
    tokens.
    """
    run = Watched(dynamics, 2, 0.05, d=d, weights="global", m0=0.3, **LAWS[law])
    X = np.array([run.step() for _ in range(500)]) * math.sqrt(d)
    cdf = {
        "uniform": lambda x: np.clip((1 + x / math.sqrt(3)) / 2, 0, 1),
        "student_t": lambda x: stats.t.cdf(x * math.sqrt(9 / 7), 9),
    }.get(law, laws.special.ndtr)
    p: list[Any] = [laws.kolmogorov_smirnov(np.sort(cdf(X[:, l].ravel()))) for l in (0, 1)]
    wanted = 0.6 if law == "correlated" else 0.0
    product = (X[:, 0] * X[:, 1]).ravel()
    p.append(laws.two_sided((product.mean() - wanted) / product.std() * math.sqrt(product.size)))
    for l in (0, 1):
        p.append(laws.autocorrelation(X[:, l].ravel(), 2 * d))
        p.append(laws.autocorrelation(X[:, l].T.ravel(), 100))
    assert_plausible(np.concatenate([np.ravel(q) for q in p]), RATE)


# --- equality in law with the reference
# ------------------------------------------------------------------------------------------------

RUNS, STEPS, D = 4000, (5, 60), 14

COURSES: dict[str, dict[str, Any]] = {
    "tied": {"student": "relu", "link": "sum", "L": 3},
    "tied tanh staircase, projected": {
        "student": "tanh",
        "link": "staircase",
        "L": 3,
        "projected": True,
    },
    "tied injected": {
        "student": "He3",
        "link": "z1*z2",
        "L": 2,
        "c": np.array([0.5, -0.2]),
        "lr": 0.3,
    },
    "linear attention, opposite": {
        "student": "square",
        "link": "sum_h2",
        "L": 2,
        "position": "opposite",
        "lr": 0.1,
    },
    "rows": {"student": "relu", "link": "sum", "L": 3, "sphere": "rows"},
    "global, matrix": {
        "student": "tanh",
        "link": "staircase",
        "L": 3,
        "sphere": "global",
        "position": "matrix",
    },
    "rows, projected, opposite": {
        "student": "sigmoid",
        "link": "z1-z2",
        "L": 2,
        "sphere": "rows",
        "projected": True,
        "position": "opposite",
    },
    "trace": {"student": "trace", "link": "sum", "L": 4, "lr": 2.0},
    "trace, one token": {"student": "tanh", "link": "z1", "L": 1},
    "bilinear, matrix": {"student": "bilinear", "link": "z1*z2", "L": 3, "position": "matrix"},
    "matrix target, opposite": {
        "student": "none",
        "link": "semantic",
        "L": 2,
        "position": "opposite",
        "loss": "square",
        "lr": 2.0,
    },
    "matrix target, frobenius": {
        "student": "none",
        "link": "attention none",
        "L": 3,
        "loss": "frobenius",
        "position": "matrix",
    },
    "noise": {"student": "relu", "link": "sum", "L": 2, "noise": 0.5},
    "noise on a matrix": {"student": "none", "link": "semantic", "L": 2, "noise": 0.3, "lr": 2.0},
    "rademacher": {"student": "relu", "link": "sum_h2", "L": 2, "tokens": "rademacher"},
    "student_t": {
        "student": "relu",
        "link": "sum",
        "L": 2,
        "tokens": "student_t",
        "nu": 5.0,
        "sphere": "rows",
    },
    "uniform": {"student": "trace", "link": "z1*z2", "L": 2, "tokens": "uniform", "lr": 2.0},
    "correlated": {
        "student": "relu",
        "link": "z1-z2",
        "L": 2,
        "tokens": "correlated",
        "covariance": np.array([[1.0, -0.7], [-0.7, 1.0]]),
    },
}


def pieces(name: str) -> tuple[tuple[Any, ref.Task], dict[str, Any]]:
    c = COURSES[name]
    L = c["L"]
    matrix = c["student"] == "none"
    link = (
        catalogue.matrix_links(L) if matrix else {c["link"]: catalogue.named_link(c["link"], L)}
    )[c["link"]]
    student = (
        catalogue.attention(c["student"], L)
        if c["student"] in ("none", "trace", "bilinear")
        else catalogue.network(c["student"], L)
    )
    return catalogue.task(link, student, c.get("loss", "half_square"), c.get("noise", 0.0)), c


def fixed_matrix(L: int) -> Any:
    return np.random.default_rng(9).standard_normal((L, D))


def observables(m: Any, e: Any, loss: Any) -> Any:
    """(runs, observables) of a record: m, q-free, e and the mean loss; e is empty without
    vectors.
    """
    return np.concatenate(
        [m.reshape(len(m), -1), e.reshape(len(e), -1), loss.reshape(len(loss), -1)], axis=1
    )


def core_course(name: str, dynamics: str, factor: float = 1.0) -> list[Any]:
    (task, _), c = pieces(name)
    settings = {
        k: c[k] for k in ("tokens", "nu", "covariance", "projected", "position", "c") if k in c
    } | {"weights": c.get("sphere", "shared")}
    if c.get("position") == "matrix":
        settings["P"] = fixed_matrix(c["L"])
    if "c" in c:
        settings["position"] = "injected"
    core = core_simulation(
        task,
        dynamics,
        d=D,
        runs=RUNS,
        seed=31,
        m0=0.3,
        lr=factor * c.get("lr", 0.5),
        record=steps(0, *STEPS),
        threads=2,
        dtype="float32",
        **settings,
    )
    assert core.advance(STEPS[-1], None)
    r = core.records()
    return [observables(r["m"][:, i], r["e"][:, i], r["loss"][:, i]) for i in (1, 2)]


def draw_tokens(rng: np.random.Generator, c: dict[str, Any], shape: tuple[int, ...]) -> Any:
    law = c.get("tokens", "gaussian")
    if law == "rademacher":
        x = rng.choice([-1.0, 1.0], size=shape)
    elif law == "uniform":
        x = rng.uniform(-math.sqrt(3), math.sqrt(3), size=shape)
    elif law == "student_t":
        x = rng.standard_t(c["nu"], size=shape) * math.sqrt((c["nu"] - 2) / c["nu"])
    else:
        x = rng.standard_normal(shape)
        if law == "correlated":
            x = np.einsum("lk,rkd->rld", np.linalg.cholesky(c["covariance"]), x)
    return x / math.sqrt(D)


def numpy_course(name: str, factor: float = 1.0) -> list[Any]:
    (_, task), c = pieces(name)
    rng, L, sphere = np.random.default_rng(77), c["L"], c.get("sphere", "shared")
    n = 1 if sphere == "shared" else L

    def unit(x: Any) -> Any:
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    star = unit(rng.standard_normal((RUNS, 1, D)))
    rest = rng.standard_normal((RUNS, n, D))
    rest = unit(rest - (rest * star).sum(-1, keepdims=True) * star)
    w = math.sqrt(D) * (0.3 * star + math.sqrt(1 - 0.3**2) * rest)
    P: Any = fixed_matrix(L) if c.get("position") == "matrix" else None
    if c.get("position") == "opposite":
        basis = np.linalg.qr(np.swapaxes(np.concatenate([star, w], 1), 1, 2))[0]
        p = rng.standard_normal((RUNS, D, 1))
        p = unit(np.swapaxes(p - basis @ (np.swapaxes(basis, 1, 2) @ p), 1, 2))
        P = np.concatenate([p, -p], 1)
    run = ref.Sgd(
        w, math.sqrt(D) * star[:, 0], task, P, c.get("c"), sphere, c.get("projected", False)
    )
    noise, out, losses = math.sqrt(c.get("noise", 0.0)), [], []

    def fields(zstar: Any, z: Any) -> Any:
        y = task.link(zstar)
        return task.labelled(y + noise * rng.standard_normal(y.shape), z)

    for tau in range(1, STEPS[-1] + 1):
        losses.append(
            run.step(draw_tokens(rng, c, (RUNS, L, D)), factor * c.get("lr", 0.5), fields)
        )
        if tau in STEPS:
            out.append(observables(run.m, run.e, np.mean(losses, axis=0)))
            losses.clear()
    return out


def comparison(a: list[Any], b: list[Any]) -> Any:
    """Two-sample Kolmogorov-Smirnov of every observable and of the products of any two, at both
    records.
    """
    p = []
    for x, y in zip(a, b, strict=True):
        p += [stats.ks_2samp(u, v).pvalue for u, v in zip(x.T, y.T, strict=True)]
        i, j = np.triu_indices(x.shape[1], 1)
        p += [
            stats.ks_2samp(u, v).pvalue
            for u, v in zip((x[:, i] * x[:, j]).T, (y[:, i] * y[:, j]).T, strict=True)
        ]
    return np.array(p)


@pytest.mark.slow
@pytest.mark.parametrize("name", COURSES)
def test_courses_have_the_law_of_the_reference(name: str, dynamics: str) -> None:
    """4000 runs against 4000 of NumPy's, after 5 and 60 steps at d = 14."""
    assert_plausible(comparison(core_course(name, dynamics), numpy_course(name)), RATE, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tied", "rows", "trace", "matrix target, opposite"])
def test_a_learning_rate_20_percent_off_is_seen(name: str, dynamics: str) -> None:
    """Power at that size and rate."""
    assert laws.holm(comparison(core_course(name, dynamics, 1.2), numpy_course(name)), RATE)
