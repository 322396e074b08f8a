"""Mean and covariance of one step of the reduced dynamics, from three given states, against
quadrature over all that the step draws.

The formulas of a step are written here once more, from the notation's section 4. SAMPLES steps from
each state; z-scores by Holm at RATE for each case; the error of the quadrature, seen from a coarser
rule or other points, is below the Monte-Carlo error. Seeds are fixed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import catalogue
import numpy as np
import pytest
from helpers import core_simulation
from laws import assert_plausible, holm, two_sided
from scipy import special
from scipy.stats import qmc

RATE = 1e-4
RUNS, STEPS = 20_000, 20
SAMPLES = RUNS * STEPS
D, LR = 5, 0.6
G = LR / D


def rule(normals: int, dofs: Sequence[int], n: int, n_chi: int) -> tuple[list[Any], Any]:
    """Nodes of `normals` standard normals and of one chi-square for each of `dofs`, and their
    weights: a tensor Gauss rule, flat.
    """
    x, w = np.polynomial.hermite_e.hermegauss(n)
    axes = [(x, w / w.sum())] * normals
    for dof in dofs:
        t, v = special.roots_genlaguerre(n_chi, dof / 2 - 1)
        axes.append((2 * t, v / v.sum()))
    grid = np.meshgrid(*(a for a, _ in axes), indexing="ij")
    weight: Any = 1.0
    for _, v in axes:
        weight = np.multiply.outer(weight, v)
    return [g.ravel() for g in grid], weight.ravel()


def points(normals: int, dofs: Sequence[int], n: int, scramble: int) -> tuple[list[Any], Any]:
    """The same by 2^n Sobol points, for functions that are no polynomials and have many
    arguments.
    """
    u = qmc.Sobol(normals + len(dofs), rng=np.random.default_rng(scramble)).random_base2(n).T
    return [
        *special.ndtri(u[:normals]),
        *(2 * special.gammaincinv(dof / 2, x) for dof, x in zip(dofs, u[normals:], strict=True)),
    ], np.full(2**n, 0.5**n)


def moments(
    after: Callable[..., list[Any]], before: Any, nodes: list[Any], weight: Any
) -> tuple[Any, Any]:
    """Mean and covariance of the increments."""
    x = np.stack(after(*nodes)) - np.array(before)[:, None]
    mean = x @ weight
    return mean, (x * weight) @ x.T - np.outer(mean, mean)


def scaled(y: Any, v: Any, s: Any, vs: Any, rest: Any) -> list[Any]:
    """w - g v on its sphere: y, s are coordinates of w / sqrt d, v and vs those of v, rest the
    squared length of what v has beside these.
    """
    N = np.sqrt(
        sum((a - G * b) ** 2 for a, b in zip(y, v, strict=True)) + (s - G * vs) ** 2 + G**2 * rest
    )
    return [(a - G * b) / N for a, b in zip(y, v, strict=True)]


# --- cases: the core's simulation, its states as rows of numbers (what is compared comes first),
# and the step by its formulas --------------


def tied_with_noise(m: float) -> Any:
    """tanh on sum z*_l with label noise 0.3: two normals, the noise and a chi-square of d - 2."""
    L, s = 2, math.sqrt(1 - m * m)

    def after(A: Any, B: Any, noise: Any, chi: Any) -> list[Any]:
        f = np.tanh(m * A + s * B)
        delta = (f - math.sqrt(L) * A - math.sqrt(0.3) * noise) * (1 - f**2) / math.sqrt(L)
        return scaled(
            [m], [delta * math.sqrt(L) * A], s, delta * math.sqrt(L) * B, L * delta**2 * chi
        )

    return after, [m], [[m, s]], 3, [D - 2]


def tied_by_squares(m: float) -> Any:
    """Square on 0.2 sum h2(z*_l), L = 3, with 0.3 injected: sum z*^2 is A^2 and a chi-square of L -
    1.
    """
    L, s = 3, math.sqrt(1 - m * m)

    def after(A: Any, B: Any, C: Any, chi: Any) -> list[Any]:
        u = m * A + s * B + 0.3 * math.sqrt(L)
        delta = (u**2 - 0.2 * (A**2 + C - L) / math.sqrt(2)) * 2 * u / math.sqrt(L)
        return scaled(
            [m], [delta * math.sqrt(L) * A], s, delta * math.sqrt(L) * B, L * delta**2 * chi
        )

    return after, [m], [[m, s]], 2, [L - 1, D - 2]


def attention_opposite(m: float, e: float) -> Any:
    """The semantic 2x2 target with opposite encodings: two fields a token, one normal for the
    direction of p across w, and a chi-square of d - 3.
    """
    s = math.sqrt(1 - m * m - e * e)
    t = math.hypot(e, s)
    reference = catalogue.task(
        catalogue.matrix_links(2)["semantic"], catalogue.attention("none", 2), "half_square"
    )[1]

    def after(a1: Any, a2: Any, b1: Any, b2: Any, x: Any, chi: Any) -> list[Any]:
        a, b = np.stack([a1, a2], -1), np.stack([b1, b2], -1)
        delta = reference(a, m * a + t * b + e * np.array([1.0, -1.0]))[1]
        along, beside, size = (delta * a).sum(-1), (delta * b).sum(-1), (delta**2).sum(-1)
        vp = beside * e / t + np.sqrt(size) * x * s / t + delta[:, 0] - delta[:, 1]
        return scaled(
            [m, e], [along, vp], s, beside * s / t - np.sqrt(size) * x * e / t, size * chi
        )

    return after, [m, e], [[m, e, s]], 5, [D - 3]


def untied(sphere: str) -> Callable[..., Any]:
    """tanh on z1 z2, rows of squared length q_1, q_2 (1 on spheres of their own): fields of both
    tokens and two chi-squares of d - 2.
    """

    def case(m1: float, m2: float, q1: float = 1.0) -> Any:
        m, q = np.array([m1, m2]), np.array([q1, 2 - q1])
        s = np.sqrt(q - m**2)

        def after(a1: Any, a2: Any, b1: Any, b2: Any, chi1: Any, chi2: Any) -> list[Any]:
            f = np.tanh((m[0] * a1 + s[0] * b1 + m[1] * a2 + s[1] * b2) / math.sqrt(2))
            delta = (f - a1 * a2) * (1 - f**2) / math.sqrt(2)
            rows = [
                (m[i] - G * delta * a, (s[i] - G * delta * b) ** 2 + G**2 * delta**2 * chi)
                for i, (a, b, chi) in enumerate(((a1, b1, chi1), (a2, b2, chi2)))
            ]
            lengths = [x**2 + y for x, y in rows]
            if sphere == "rows":
                return [x / np.sqrt(q) for (x, _), q in zip(rows, lengths, strict=True)]
            N2 = (lengths[0] + lengths[1]) / 2
            return [*(x / np.sqrt(N2) for x, _ in rows), *(q / N2 for q in lengths)]

        return (
            after,
            [*m] if sphere == "rows" else [*m, *q],
            [[m[0], s[0]], [m[1], s[1]]],
            4,
            [D - 2, D - 2],
        )

    return case


CASES: dict[str, tuple[Any, Any, dict[str, Any], list[tuple[float, ...]], tuple[int, int], str]] = {
    "tied, noise": (
        tied_with_noise,
        ("sum", 2, 1.0, "tanh", 0.3),
        {},
        [(0.1,), (0.6,), (-0.95,)],
        (26, 14),
        "m",
    ),
    "tied, squares": (
        tied_by_squares,
        ("sum_h2", 3, 0.2, "square", 0.0),
        {"position": "injected", "c": np.full(3, 0.3)},
        [(0.1,), (0.6,), (-0.95,)],
        (80, 24),
        "m",
    ),
    "attention, opposite": (
        attention_opposite,
        None,
        {"position": "opposite"},
        [(0.2, 0.1), (0.3, -0.8), (-0.1, 0.6)],
        (20, 0),
        "me",
    ),
    "rows": (
        untied("rows"),
        ("z1*z2", 2, 1.0, "tanh", 0.0),
        {"weights": "rows"},
        [(0.1, 0.2), (0.8, -0.3), (0.0, 0.95)],
        (13, 5),
        "m",
    ),
    "global": (
        untied("global"),
        ("z1*z2", 2, 1.0, "tanh", 0.0),
        {"weights": "global"},
        [(0.1, 0.2, 1.0), (0.8, -0.3, 1.2), (0.0, 0.95, 0.5)],
        (13, 5),
        "mq",
    ),
}


def increments(name: str, state: tuple[float, ...], lr: float = LR, dtype: str = "float32") -> Any:
    """(SAMPLES, parameters) of the core, every run put back to the state before each step."""
    make, of, settings, _, _, seen = CASES[name]
    _, before, rows, _, _ = make(*state)
    if of is None:
        task = catalogue.task(
            catalogue.matrix_links(2)["semantic"], catalogue.attention("none", 2), "half_square"
        )[0]
    else:
        link, L, scale, sigma, noise = of
        task = catalogue.task(
            catalogue.named_link(link, L, scale), catalogue.network(sigma, L), "half_square", noise
        )[0]
    core = core_simulation(
        task, "reduced", d=D, runs=RUNS, lr=lr, m0=0.0, dtype=dtype, seed=3, **settings
    )
    placed = np.stack([np.array(rows), np.zeros_like(rows)], -1).ravel()
    out = []
    for tau in range(STEPS):
        saved = core.state()
        saved["state"][:, : placed.size] = placed
        core.set_state(saved)
        core.advance(tau + 1, None)
        now = core.order_parameters()
        out.append(
            np.concatenate([now[k][:, :1] if k == "e" else now[k] for k in seen], axis=1) - before
        )
    return np.concatenate(out)


def scores(x: Any, mean: Any, covariance: Any) -> Any:
    """z-scores of the means and of the covariances, these with standard errors from the sample's
    fourth moments.
    """
    n = len(x)
    i, j = np.triu_indices(len(mean))
    products = (x - mean)[:, i] * (x - mean)[:, j]
    return np.concatenate(
        [
            (x.mean(0) - mean) / np.sqrt(np.diag(covariance) / n),
            (products.mean(0) - covariance[i, j]) / (products.std(0) / math.sqrt(n)),
        ]
    )


@functools.cache
def exact(name: str, state: tuple[float, ...], other: int = 0) -> tuple[Any, Any]:
    """`other`: by a coarser rule, or by other points."""
    make, _, _, _, (n, n_chi), _ = CASES[name]
    after, before, _, normals, dofs = make(*state)
    nodes = (
        rule(normals, dofs, n - 2 * other, n_chi - other)
        if n_chi
        else points(normals, dofs, n, other)
    )
    return moments(after, before, *nodes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_mean_and_covariance_of_a_step(name: str, dtype: str) -> None:
    p = []
    for state in CASES[name][3]:
        x = increments(name, state, dtype=dtype)
        fine = scores(x, *exact(name, state))
        assert np.abs(fine - scores(x, *exact(name, state, 1))).max() < 0.4, (
            "the quadrature is not converged"
        )
        p.append(two_sided(fine))
    assert_plausible(np.concatenate(p), RATE, name)


@pytest.mark.parametrize("name", CASES)
def test_five_percent_of_the_learning_rate_are_seen(name: str) -> None:
    """Power."""
    assert holm(
        np.concatenate(
            [
                two_sided(scores(increments(name, s, 1.05 * LR), *exact(name, s)))
                for s in CASES[name][3]
            ]
        ),
        RATE,
    )
