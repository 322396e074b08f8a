"""Tasks on which the reduced dynamics is compared with others: every student, encoding, loss, start
and sphere, at d from 1 to 100.
"""

from __future__ import annotations

from typing import Any

import catalogue
import numpy as np
import reference as ref
from helpers import core_simulation, steps

C3 = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]])
OVERLAP, UNIFORM = {"init": "overlap"}, {"init": "uniform", "m0": 0.0}

# student, link, L, d, more runs where they are needed to see a wrong law, and what differs from: lr
# 0.5, overlap 0.3, no encoding, half_square, no noise, one sphere for all, Gaussian tokens,
# passages of 0.5
CASES: dict[str, dict[str, Any]] = {
    # tied; the first three draw sums only
    "sum, d = 5": {"student": "identity", "link": "sum", "L": 2, "d": 5, "lr": 0.8},
    "sum_h2, noisy": {"student": "square", "link": "sum_h2", "L": 5, "d": 20, "noise": 0.5, "scale": 5**-0.5, "lr": 0.3},
    "sum_h2, injected": {"eta": 0.32, "student": "tanh", "link": "sum_h2", "L": 3, "d": 100, "c": [0.8, -0.2, 0.4], "lr": 3.0, "random_sign": True},
    "one token": {"student": "relu", "link": "z1", "L": 1, "d": 5, "loss": "square", **UNIFORM},
    "staircase, projected": {"student": "tanh", "link": "staircase", "L": 3, "d": 20, "projected": True, "loss": "frobenius", "lr": 2.0},
    # networks with so many degrees of freedom that chi-squares are functions of a normal
    # (sum_kernel.hpp); rates at which some steps are short and some are not;
    # in single precision they leave their spheres by less than 1e-5 until increments are settled
    "sum_h2, lean": {"student": "relu", "link": "sum_h2", "L": 3, "d": 80, "noise": 0.2, "scale": 0.6, "lr": 3.0, "m0": 0.4, "digits": 5},
    "staircase, rows, lean": {"student": "tanh", "link": "staircase", "L": 3, "d": 80, "sphere": "rows", "scale": 0.5, "lr": 20.0, "m0": 0.4, "digits": 5},
    "sum, global, lean": {"student": "identity", "link": "sum", "L": 2, "d": 80, "sphere": "global", "scale": 0.7, "loss": "square", "m0": 0.4, "digits": 5},
    "sum_h2, global, lean": {"student": "He3", "link": "sum_h2", "L": 17, "d": 120, "sphere": "global", "scale": 0.25, "loss": "frobenius", "lr": 0.3, "m0": 0.4, "digits": 5},
    "hermite": {"student": "He3", "link": "he1he4+he2he2", "L": 4, "d": 20, "lr": 0.1, "scale": 0.3},
    "linear attention, opposite": {"student": "square", "link": "sum_h2", "L": 2, "d": 5, "position": "opposite", "lr": 0.3},
    "opposite, no room": {"student": "trace", "link": "z1*z2", "L": 2, "d": 3, "position": "opposite", "lr": 2.0},
    "P of rank 1": {"student": "relu", "link": "sum", "L": 3, "d": 5, "rank": 1},
    "P of rank 1, large": {"student": "sigmoid", "link": "z1+z2", "L": 2, "d": 20, "rank": 1, "size": 3.0, "lr": 2.0, **UNIFORM},
    "P of rank 2, projected": {"student": "erf", "link": "staircase", "L": 3, "d": 20, "rank": 2, "projected": True, **UNIFORM},
    "P of rank 3": {"student": "tanh", "link": "sum", "L": 4, "d": 100, "rank": 3, "lr": 3.0, "noise": 0.1},
    "P spans everything": {"eta": 1.15, "student": "tanh", "link": "sum", "L": 4, "d": 3, "rank": 3, **UNIFORM},
    "P spans everything but w*": {"eta": 1.2, "student": "relu", "link": "z1-z2", "L": 3, "d": 3, "rank": 2},
    "P of rank 1, d = 2": {"eta": 1.0, "student": "square", "link": "z1*z2", "L": 2, "d": 2, "rank": 1, "lr": 0.2},
    "d = 2": {"eta": 0.95, "student": "tanh", "link": "sum", "L": 2, "d": 2, "lr": 1.0, **UNIFORM},
    "d = 3, projected": {"student": "relu", "link": "sum", "L": 3, "d": 3, "projected": True},
    "d = 1": {"student": "identity", "link": "sum", "L": 2, "d": 1, "noise": 2.0, **UNIFORM},
    "d = 1 with P": {"student": "tanh", "link": "z1-z2", "L": 2, "d": 1, "rank": 1, "lr": 2.0, **UNIFORM},
    # attention
    "trace": {"student": "trace", "link": "sum", "L": 4, "d": 20, "lr": 2.0},
    "trace, nine tokens, P": {"student": "trace", "link": "sum_h2", "L": 9, "d": 20, "rank": 2, "lr": 1.0, "scale": 1 / 9},
    "bilinear, P": {"eta": 0.8, "student": "bilinear", "link": "z1*z2*z3", "L": 3, "d": 5, "rank": 2},
    "bilinear, injected": {"student": "bilinear", "link": "z1", "L": 5, "d": 20, "c": [1.0, 0.5, 0.0, -0.5, -1.0], "loss": "square", **UNIFORM},
    "matrix, opposite": {"eta": 0.35, "student": "none", "link": "positional-semantic omega=0.3, "
                                                                 "a=1.0", "L": 2, "d": 100, "position": "opposite", "loss": "frobenius", "lr": 8.0},
    "matrix, opposite, d = 5": {"student": "none", "link": "semantic", "L": 2, "d": 5, "position": "opposite", "lr": 2.0, "noise": 0.1, **UNIFORM},
    "matrix, P": {"student": "none", "link": "attention none", "L": 3, "d": 20, "rank": 3, "loss": "square"},
    # one weight each
    "rows": {"student": "relu", "link": "sum", "L": 3, "d": 5, "sphere": "rows", "lr": 1.0},
    "rows, opposite, projected": {"student": "sigmoid", "link": "z1-z2", "L": 2, "d": 4, "sphere": "rows", "position": "opposite", "projected": True, "lr": 2.0},
    "rows, P": {"student": "tanh", "link": "staircase", "L": 3, "d": 20, "sphere": "rows", "rank": 3, "noise": 0.2, **UNIFORM},
    "rows, P in every direction": {"student": "relu", "link": "z1+z2", "L": 3, "d": 2, "sphere": "rows", "rank": 2},
    "rows, injected, many": {"eta": 0.31, "student": "tanh", "link": "sum", "L": 17, "d": 20, "sphere": "rows", "c": [0.3] * 17, "scale": 17**-0.5, "lr": 8.0, "random_sign": True},
    "global": {"runs": 20_000, "student": "tanh", "link": "staircase", "L": 3, "d": 5, "sphere": "global", "lr": 1.0},
    "global, P": {"student": "relu", "link": "sum", "L": 2, "d": 20, "sphere": "global", "rank": 1, "loss": "square", **UNIFORM},
    "global, projected": {"eta": 0.31, "student": "erf", "link": "sum_h2", "L": 2, "d": 100, "sphere": "global", "projected": True, "lr": 8.0},
    "global, d = 2": {"student": "identity", "link": "sum", "L": 2, "d": 2, "sphere": "global", "lr": 0.3},
    # correlated tokens
    "correlated sum": {"student": "relu", "link": "sum", "L": 3, "d": 5, "covariance": C3, "lr": 0.4},
    "correlated, P": {"student": "tanh", "link": "z1-z2", "L": 3, "d": 20, "covariance": C3, "rank": 1, "lr": 2.0},
    "correlated attention": {"student": "trace", "link": "sum_h2", "L": 3, "d": 20, "covariance": C3, "rank": 2, "lr": 2.0, "scale": 0.3},
    "correlated rows": {"student": "relu", "link": "sum", "L": 3, "d": 5, "sphere": "rows", "covariance": C3, "lr": 1.0},
    "correlated rows, no room": {"student": "tanh", "link": "staircase", "L": 3, "d": 2, "sphere": "rows", "covariance": C3, "lr": 1.0, **UNIFORM},
    "correlated rows, P, projected": {"student": "erf", "link": "z1-z2", "L": 3, "d": 20, "sphere": "rows", "covariance": C3, "rank": 1, "projected": True, "lr": 4.0},
    "correlated global": {"student": "tanh", "link": "sum", "L": 3, "d": 20, "sphere": "global", "covariance": C3, "noise": 0.2, "lr": 3.0, **UNIFORM},
    "correlated global, P": {"student": "relu", "link": "z1*z2", "L": 3, "d": 5, "sphere": "global", "covariance": C3, "rank": 2, "loss": "square", "lr": 0.2},
    "correlated global, opposite": {"student": "sigmoid", "link": "z1-z2", "L": 2, "d": 4, "sphere": "global", "covariance": C3[:2, :2].copy(), "position": "opposite", "lr": 2.0},
    "correlated rows, opposite": {"student": "tanh", "link": "z1-z2", "L": 2, "d": 4, "sphere": "rows", "covariance": C3[:2, :2].copy(), "position": "opposite", "lr": 2.0, **UNIFORM},
    "correlated rows, injected": {"eta": 0.4, "student": "tanh", "link": "sum", "L": 3, "d": 100, "sphere": "rows", "covariance": C3, "c": [0.8, -0.2, 0.4], "lr": 6.0, "random_sign": True},
    "singular covariance, rows": {"student": "tanh", "link": "z1+z2", "L": 2, "d": 5, "sphere": "rows", "covariance": np.array([[1.0, -1.0], [-1.0, 1.0]]), "lr": 1.0},
    "singular covariance": {"student": "bilinear", "link": "sum", "L": 2, "d": 5, "covariance": np.array([[1.0, -1.0], [-1.0, 1.0]])},
}  # fmt: skip
# NumPy's process follows one row of weights under correlated tokens, or rows under independent ones
IN_NUMPY = [
    name for name, case in CASES.items() if "covariance" not in case or "sphere" not in case
]


def pair(case: dict[str, Any]) -> tuple[Any, ref.Task]:
    """The core's task and the reference's."""
    L = case["L"]
    if case["student"] == "none":
        link = catalogue.matrix_links(L)[case["link"]]
    elif case["link"] in catalogue.HERMITE:
        link = catalogue.hermite_link(case["link"], L, case.get("scale", 1.0))
    else:
        link = catalogue.named_link(case["link"], L, case.get("scale", 1.0))
    attention = case["student"] in ("none", "trace", "bilinear")
    student = (
        catalogue.attention(case["student"], L)
        if attention
        else catalogue.network(case["student"], L)
    )
    return catalogue.task(link, student, case.get("loss", "half_square"), case.get("noise", 0.0))


def encoding(case: dict[str, Any]) -> Any:
    """P (L, d) of the given rank, neither orthogonal nor of unit rows; None without."""
    if "rank" not in case:
        return None
    rng, size = np.random.default_rng(9), case.get("size", 1.0)
    return (
        size
        * rng.standard_normal((case["L"], case["rank"]))
        @ rng.standard_normal((case["rank"], case["d"]))
        / np.sqrt(case["rank"] * case["d"])
    )


def settings(case: dict[str, Any]) -> dict[str, Any]:
    """Keywords of the core."""
    out = {k: case[k] for k in ("d", "projected", "position", "init", "random_sign") if k in case}
    out |= {
        "weights": case.get("sphere", "shared"),
        "m0": case.get("m0", 0.3),
        "lr": case.get("lr", 0.5),
    }
    if "c" in case:
        out |= {"position": "injected", "c": np.array(case["c"])}
    if "rank" in case:
        out |= {"position": "matrix", "P": encoding(case)}
    if "covariance" in case:
        out |= {"tokens": "correlated", "covariance": case["covariance"]}
    return out


def course(
    case: dict[str, Any], dynamics: str, record: tuple[int, ...], runs: int, **changes: Any
) -> Any:
    """A finished simulation of the core."""
    core = core_simulation(
        pair(case)[0],
        dynamics,
        **(
            settings(case)
            | {"runs": runs, "record": steps(*record), "threads": 2, "halt": False}
            | changes
        ),
    )
    assert core.advance(record[-1], None)
    return core


def _unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def reference_start(
    case: dict[str, Any], runs: int, rng: np.random.Generator
) -> tuple[Any, Any, Any]:
    """Whole vectors w*, w and p_l, drawn as the model says, and their coordinates y (runs, n, D), s
    (runs, n), P (runs, L, D) or None.
    """
    d, L = case["d"], case["L"]
    n = 1 if case.get("sphere", "shared") == "shared" else L
    star = _unit(rng.standard_normal((runs, 1, d)))
    w = _unit(rng.standard_normal((runs, n, d)))
    if case.get("init") != "uniform":
        m0 = np.full((runs, 1, 1), case.get("m0", 0.3))
        if case.get("random_sign"):
            m0 = m0 * rng.choice([-1.0, 1.0], (runs, 1, 1))
        w = m0 * star + np.sqrt(1 - m0**2) * _unit(w - (w * star).sum(-1, keepdims=True) * star)
    P = encoding(case)
    span, rank = star, case.get("rank", 0)
    if P is not None:
        P = np.broadcast_to(P, (runs, L, d))
        span = np.concatenate([star, np.linalg.svd(P, full_matrices=False)[2][:, :rank]], 1)
    if case.get("position") == "opposite":
        q = np.linalg.qr(np.swapaxes(np.concatenate([star, w], 1), 1, 2))[0]
        p = rng.standard_normal((runs, d, 1))
        p = _unit(np.swapaxes(p - q @ (np.swapaxes(q, 1, 2) @ p), 1, 2))
        P, span = np.concatenate([p, -p], 1), np.concatenate([star, p], 1)
    Q = np.linalg.qr(np.swapaxes(span, 1, 2))[0]  # (runs, d, D)
    Q[..., 0] *= np.sign((Q[..., 0] * star[:, 0]).sum(-1, keepdims=True))
    y = w @ Q
    s = np.sqrt(np.maximum(1 - (y**2).sum(-1), 0)) if Q.shape[-1] < d else np.zeros((runs, n))
    return y, s, None if P is None else P @ Q


def reference_course(
    case: dict[str, Any],
    record: tuple[int, ...],
    runs: int,
    seed: int,
    factor: float = 1.0,
    mean_chi: bool = False,
) -> dict[str, Any]:
    """Records m, q, e, loss as the core has them, of the reduced process in NumPy; `factor`
    multiplies the learning rate.
    """
    rng, (_, task) = np.random.default_rng(seed), pair(case)
    y, s, P = reference_start(case, runs, rng)
    noise = np.sqrt(case.get("noise", 0.0))

    def fields(zstar: Any, z: Any) -> Any:
        label = task.link(zstar)
        return task.labelled(label + noise * rng.standard_normal(label.shape), z)

    options = {k: case[k] for k in ("c", "sphere", "projected", "covariance") if k in case}
    run = ref.Reduced(y, s, fields, case["d"], rng, P, mean_chi=mean_chi, **options)
    out: dict[str, list[Any]] = {k: [getattr(run, k)] for k in ("m", "q", "e")} | {
        "loss": [np.full(runs, np.nan)]
    }
    losses = []
    for tau in range(1, record[-1] + 1):
        losses.append(run.step(case["L"], factor * case.get("lr", 0.5)))
        if tau in record:
            for k in ("m", "q", "e"):
                out[k].append(getattr(run, k))
            out["loss"].append(np.mean(losses, axis=0))
            losses.clear()
    return {k: np.stack(v, 1) for k, v in out.items()}
