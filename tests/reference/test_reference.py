"""The reference itself: gradients against a complex step, values against numbers worked out by
hand, the step against the geometry.
"""

from __future__ import annotations

import numpy as np
import pytest
from catalogue import ACTIVATIONS, HERMITE, LOSSES, hermite_length
from helpers import assert_close

import reference as ref

LENGTHS = (1, 2, 3, 5)
STEP = 1e-30  # a complex step this small has no truncation error


def complex_step_delta(task: ref.Task, zstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """d loss / d z from the loss alone."""
    out = np.empty_like(z)
    for i in range(z.shape[-1]):
        moved = z.astype(complex)
        moved[:, i] += 1j * STEP
        out[:, i] = task(zstar.astype(complex), moved)[0].imag / STEP
    return out


def fields(L: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(L).standard_normal((2, n, L)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_network_gradient(name: str, L: int, loss: str) -> None:
    task = ref.Task(ref.named("sum_h2"), ref.Network(ref.activation(name)), loss)
    zstar, z = fields(L)
    assert_close(task(zstar, z)[1], complex_step_delta(task, zstar, z), 1e-11)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("reduction", ["none", "trace", "bilinear"])
def test_attention_gradient(reduction: str, L: int, loss: str) -> None:
    a, b = np.random.default_rng(3).standard_normal((2, L))
    target = (
        ref.attention_target("none", weights=0.7, offset=a)
        if reduction == "none"
        else ref.named("sum")
    )
    task = ref.Task(target, ref.Attention(reduction, a, b), loss)
    zstar, z = fields(L)
    assert_close(task(zstar, z)[1], complex_step_delta(task, zstar, z), 1e-11)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "erf", "He5"])
def test_activation_values(name: str) -> None:
    u = 0.7
    by_hand = {
        "relu": 0.7,
        "tanh": 0.6043677771171636,
        "sigmoid": 0.6681877721681662,
        "erf": 0.6778011938374185,
        "He5": u**5 - 10 * u**3 + 15 * u,
    }
    assert_close(ref.activation(name)[0](np.array(u)), by_hand[name], 1e-15)


def test_hermite_polynomials_are_orthogonal() -> None:
    x, w = np.polynomial.hermite_e.hermegauss(30)
    gram = [
        [
            (w * ref.activation(f"He{j}")[0](x) * ref.activation(f"He{k}")[0](x)).sum() / w.sum()
            for k in range(7)
        ]
        for j in range(7)
    ]
    assert_close(gram, np.diag([1.0, 1, 2, 6, 24, 120, 720]), 1e-11)


def test_link_values() -> None:
    z = np.array([[0.5, -2.0, 3.0]])
    h2 = (z**2 - 1) / np.sqrt(2)
    by_hand = {
        "z1": 0.5, "z1+z2": -1.5, "z1-z2": 2.5, "z1*z2": -1.0, "z1*z2*z3": -3.0, "sum": 1.5, "sum_h2": h2.sum(),
        "h2_difference": (0.25 - 4) / np.sqrt(2), "staircase2": 0.5 - 1.0, "staircase3": 0.5 - 1.0 - 3.0, "staircase": 0.5 * -1.0 * 4.0,
    }  # fmt: skip
    assert set(by_hand) == set(ref.names())
    for name, y in by_hand.items():
        assert_close(ref.named(name, 0.3)(z), [[0.3 * y]], 1e-15, name)


def test_hermite_link_values() -> None:
    z = np.array([[0.5, -2.0, 3.0, 1.5]])
    he2, he4 = lambda x: x**2 - 1, lambda x: x**4 - 6 * x**2 + 3
    assert hermite_length("he1he4+he2he2") == 4
    assert_close(
        ref.hermite(HERMITE["he1he4+he2he2"])(z), [[0.5 * he4(-2.0) + he2(3.0) * he2(1.5)]], 1e-15
    )
    assert_close(
        ref.hermite(HERMITE["4/3+he4(z1)+2he4(z2)"], 2.0)(z),
        [[2 * (4 / 3 + he4(0.5) + 2 * he4(-2.0))]],
        1e-15,
    )


def test_attention_values() -> None:
    z = np.array([0.5, -1.0])
    rows = [[np.exp(0.25), np.exp(-0.5)], [np.exp(-0.5), np.exp(1.0)]]
    S = np.array([[x / sum(r) for x in r] for r in rows])
    assert_close(ref.Attention().output(z), S.ravel(), 1e-15)
    assert_close(ref.Attention("trace").output(z), [np.trace(S) / np.sqrt(2)], 1e-15)
    assert_close(
        ref.Attention("bilinear", [1.0, 2.0], [-1.0, 0.5]).output(z),
        [np.array([1, 2]) @ S @ np.array([-1, 0.5])],
        1e-15,
    )
    t = np.exp(2 * 0.25)  # softmax of (a^2, -a^2), a = 1/2, is (t, 1) / (1 + t)
    assert_close(
        ref.positional_semantic(0.25, a=0.5)(z),
        (0.75 * S + 0.25 * np.array([[t, 1], [1, t]]) / (1 + t)).ravel(),
        1e-15,
    )


def test_losses() -> None:
    r = np.array([[3.0, 4.0], [0.0, 0.0]])
    value = {name: f(r).tolist() for name, (f, _) in ref.LOSSES.items()}
    assert value == {"half_square": [12.5, 0], "square": [25, 0], "frobenius": [5, 0]}
    assert ref.LOSSES["frobenius"][1](r).tolist() == [[0.6, 0.8], [0, 0]]


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("sphere", ["shared", "rows", "global"])
def test_step_descends_along_the_gradient(sphere: str, projected: bool) -> None:
    """A short step moves w by -gamma times the loss's gradient in w, less the part along w (central
    differences of the loss).
    """
    rng, L, d = np.random.default_rng(5), 3, 7
    n = 1 if sphere == "shared" else L
    wstar, P, c, X = (
        np.sqrt(d) * _unit(rng, d),
        rng.standard_normal((L, d)),
        rng.standard_normal(L),
        rng.standard_normal((L, d)) / np.sqrt(d),
    )
    w = np.sqrt(d) * _unit(rng, n, d)
    task = ref.Task(ref.named("staircase3"), ref.Network(ref.activation("tanh")))

    def loss(v: np.ndarray) -> float:
        z = np.array([(X[i] + P[i] / np.sqrt(d)) @ v[i if n > 1 else 0] + c[i] for i in range(L)])
        return float(task((X @ wstar)[None], z[None])[0][0])

    gradient, h = np.empty_like(w), 1e-6
    for i in np.ndindex(w.shape):
        bump = np.zeros_like(w)
        bump[i] = h
        gradient[i] = (loss(w + bump) - loss(w - bump)) / (2 * h)
    tangent = gradient.copy()
    if sphere == "global":
        tangent -= w * (w * gradient).sum() / (w * w).sum()
    else:
        tangent -= w * (w * gradient).sum(-1, keepdims=True) / d
    gamma = 1e-6
    run = ref.Sgd(w, wstar, task, P, c, sphere, projected)
    assert_close(run.step(X, gamma), loss(w), 1e-14)
    assert_close((w - run.w) / gamma, tangent, 1e-5)
    # at a long step the two variants differ, and each keeps its sphere
    run.step(X, 3.0)
    norms = np.sum(run.w**2, axis=-1) / d
    assert_close(
        norms.mean() if sphere == "global" else norms,
        1.0 if sphere == "global" else np.ones(n),
        1e-14,
    )
    assert_close(run.m, [x @ wstar / d for x in run.w], 1e-15)
    assert_close(run.e, [P[i] @ run.w[i if n > 1 else 0] / np.sqrt(d) for i in range(L)], 1e-14)


def test_long_step_by_hand() -> None:
    """Without projection w - gamma G is put back on the sphere; with it, G loses its part along w
    first.
    """
    w, wstar, X = np.array([[np.sqrt(2), 0.0]]), np.array([0.0, np.sqrt(2)]), np.array([[1.0, 1.0]])
    task = ref.Task(ref.named("z1"), ref.Network(ref.activation("identity")), "square")
    z = np.sqrt(2)
    G = 2 * (z - np.sqrt(2) + 1.0) * np.array([1.0, 1.0])  # with y shifted below so that delta is 2
    for projected in (False, True):
        run = ref.Sgd(w, wstar, lambda s, z: (0.0, task.labelled(s - 1, z)[1]), projected=projected)
        run.step(X, 0.5)
        v = w[0] - 0.5 * np.array([0.0 if projected else G[0], G[1]])
        assert_close(run.w[0], np.sqrt(2) * v / np.linalg.norm(v), 1e-15)


def test_rates() -> None:
    assert ref.decay(2.0, 10.0, 0.5)(30) == 1.0
    rate = ref.piecewise([(0, 1.0), (5, 0.5), (7, 0.0)])
    assert [rate(t) for t in (0, 4, 5, 6, 7, 100)] == [1, 1, 0.5, 0.5, 0, 0]


def test_batched_steps_equal_single_ones(rng: np.random.Generator) -> None:
    L, d = 2, 6
    tasks = [
        ref.Task(ref.named("z1*z2"), ref.Network(ref.activation(s)))
        for s in ("relu", "tanh", "square")
    ]
    wstar, w = np.sqrt(d) * _unit(rng, d), np.sqrt(d) * _unit(rng, 3, 1, d)
    together = ref.Sgd(w, wstar, ref.stacked(tasks))
    alone = [ref.Sgd(w[i], wstar, tasks[i]) for i in range(3)]
    for _ in range(5):
        X = rng.standard_normal((L, d)) / np.sqrt(d)
        assert_close(together.step(X, 0.3), [run.step(X, 0.3) for run in alone], 1e-14)
    assert_close(together.w, [run.w for run in alone], 1e-14)


def test_simulation_agrees_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectorised simulation is the step, with the task written out."""
    L, d, seen = 3, 20, []
    rng = np.random.default_rng(8)

    class Spy:
        def standard_normal(self, size=None, out=None, dtype=np.float64):
            x = rng.standard_normal(size, out=out, dtype=dtype)
            seen.append(np.array(x, dtype=np.float64))
            return x

    m, loss = ref.tied_relu_sum(L, d, 0.4, 2, [0, 1, 50], Spy())
    wstar, rest, X = seen[0], seen[1], seen[2:]
    task = ref.Task(ref.named("sum", L**-0.5), ref.Network(ref.activation("relu")))
    for i in range(2):
        star = np.sqrt(d) * wstar[i] / np.linalg.norm(wstar[i])
        r = rest[i] - star * (rest[i] @ star) / d
        w = (star + np.sqrt(d - 1) * np.sqrt(d) * r / np.linalg.norm(r)) / np.sqrt(d)
        run = ref.Sgd(w[None], star, task)
        losses = []
        for tau in range(51):
            if tau in (0, 1, 50):
                assert_close(m[i, (0, 1, 50).index(tau)], run.m[0], 1e-12)
            losses.append(run.step(X[tau][i] / np.sqrt(d), 0.4))
        assert np.isnan(loss[i, 0])
        assert_close(loss[i, 1:], [losses[0], np.mean(losses[1:50])], 1e-12)


def _unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
