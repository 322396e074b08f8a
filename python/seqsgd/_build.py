"""Public models to objects of the compiled core."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core, models
from .models.functions import address, bare


def link(teacher: models.Teacher) -> Any:
    """The core's link of a teacher."""
    L = teacher.L
    if isinstance(teacher, models.PositionalSemantic):
        return _core.link_positional_semantic(teacher.omega, teacher.matrix)
    if isinstance(teacher, models.AttentionTarget):
        weights, offset = (
            np.ascontiguousarray(np.broadcast_to(np.asarray(x, dtype=np.float64), (L,)))
            for x in (teacher.weights, teacher.offset)
        )
        name, a, b = _reduction(teacher.reduction, L)
        return _core.link_attention(name, a, b, weights, offset)
    assert isinstance(teacher, models.SSI)
    g = teacher.link
    if isinstance(g, str):
        return _core.link_named(g, L, teacher.scale_value)
    if isinstance(g, models.Hermite):
        tokens = [[t - 1 for t, _ in factors] for _, factors in g.terms]
        degrees = [[k for _, k in factors] for _, factors in g.terms]
        return _core.link_hermite(L, teacher.scale_value, [c for c, _ in g.terms], tokens, degrees)
    if isinstance(g, models.CLink):
        where, data = address("function", g.function)
        return _core.link_pointer(L, g.k, where, data)
    return _core.link_python(L, teacher.k, bare(g))


def activation(sigma: object) -> Any:
    """The core's activation."""
    if isinstance(sigma, models.HermiteSeries):
        return _core.activation_hermite(np.array(sigma.coefficients))
    if isinstance(sigma, models.CActivation):
        return _core.activation_pointer(
            address("function", sigma.function)[0], address("derivative", sigma.derivative)[0]
        )
    if isinstance(sigma, models.PyActivation):
        return _core.activation_python(bare(sigma.function), bare(sigma.derivative))
    return _core.activation_named(str(sigma))


def student(of: models.Student, L: int) -> Any:
    """The core's student for sequences of length L."""
    if isinstance(of, models.Attention):
        return _core.student_attention(L, *_reduction(of.reduction, L))
    if isinstance(of, models.LinearAttention):
        return _core.student_network(_core.activation_named("square"), L)
    assert isinstance(of, (models.Tied, models.Untied))
    return _core.student_network(activation(of.sigma), L)


def task(of: models.Task) -> Any:
    """The core's task."""
    return _core.Task(link(of.teacher), student(of.student, of.L), of.loss, of.noise)


def position(of: models.Position | None, L: int) -> dict[str, Any]:
    """Keywords `position`, `P`, `c` of a dynamics."""
    name, P, c = "none", np.empty((0, 0)), np.empty(0)
    if isinstance(of, models.Opposite):
        name = "opposite"
    elif isinstance(of, models.Positions):
        name, P = "matrix", of.P
    elif isinstance(of, models.Injected):
        name, c = (
            "injected",
            np.ascontiguousarray(np.broadcast_to(np.asarray(of.c, dtype=np.float64), (L,))),
        )
    return {"position": name, "P": P, "c": c}


def start(of: models.Start, d: int) -> dict[str, Any]:
    """Keywords `init`, `m0`, `random_sign`."""
    if isinstance(of, models.Overlap):
        return {"init": "overlap", "m0": of.value(d), "random_sign": of.random_sign}
    return {"init": "uniform", "m0": 0.0, "random_sign": False}


def tokens(of: str | models.Tokens) -> dict[str, Any]:
    """Keywords `tokens`, `nu`, `covariance`."""
    out = {"tokens": of, "nu": 0.0, "covariance": np.empty((0, 0))}
    if isinstance(of, models.StudentT):
        out |= {"tokens": "student_t", "nu": of.nu}
    elif isinstance(of, models.Correlated):
        out |= {"tokens": "correlated", "covariance": of.C}
    return out


def rate(of: models.Schedule) -> dict[str, Any]:
    """Keywords `lr_steps`, `lr_values`, `lr_t0`, `lr_power`."""
    return {
        "lr_steps": np.array(of.steps, dtype=np.int64),
        "lr_values": np.array(of.values),
        "lr_t0": of.t0,
        "lr_power": of.power,
    }


def stop(of: models.Stop | None) -> dict[str, Any]:
    """Keywords `eta`, `halt`."""
    if isinstance(of, models.WeakRecovery):
        return {"eta": of.eta, "halt": of.halt}
    return {"eta": 0.0, "halt": False}


def _reduction(of: object, L: int) -> tuple[str, Any, Any]:
    if isinstance(of, models.Bilinear):
        return "bilinear", of.a, of.b
    return str(of), np.zeros(L), np.zeros(L)
