"""Everything a task can be made of, each as (the core's object, the reference's): one list for all
tests that walk through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import reference as ref
from seqsgd import _core

LOSSES = list(ref.LOSSES)
ACTIVATIONS = [*ref.activation.names, "He0", "He1", "He2", "He3", "He4", "He5", "He8"]  # type: ignore[attr-defined]
SCALES: dict[str, Callable[[int], float]] = {
    "1": lambda L: 1.0,
    "1/sqrt(L)": lambda L: L**-0.5,
    "1/L": lambda L: 1 / L,
    "sqrt(L)": lambda L: L**0.5,
    "L": float,
    "-0.3": lambda L: -0.3,
}

HERMITE: dict[str, list[tuple[float, dict[int, int]]]] = {
    "he1he4+he2he2": [(1.0, {1: 1, 2: 4}), (1.0, {3: 2, 4: 2})],
    "he3(z1)": [(0.5, {1: 3})],
    "4/3+he4(z1)+2he4(z2)": [(4 / 3, {}), (1.0, {1: 4}), (2.0, {2: 4})],
    "he5he1-he2": [(0.1, {2: 5, 1: 1}), (-1.0, {3: 2})],
}


def hermite_length(name: str) -> int:
    """The fewest tokens of an entry of HERMITE."""
    return max(max(factors, default=1) for _, factors in HERMITE[name])


def named_link(name: str, L: int, scale: float = 1.0) -> tuple[Any, Any]:
    return _core.link_named(name, L, scale), ref.named(name, scale)


def hermite_link(name: str, L: int, scale: float = 1.0) -> tuple[Any, Any]:
    terms = HERMITE[name]
    tokens, degrees = [[t - 1 for t in f] for _, f in terms], [list(f.values()) for _, f in terms]
    return _core.link_hermite(
        L, scale, np.array([c for c, _ in terms]), tokens, degrees
    ), ref.hermite(terms, scale)


def scalar_links(L: int) -> dict[str, tuple[Any, Any]]:
    """Every link with one output that a sequence of L tokens allows, at scale 1/sqrt(L)."""
    scale = L**-0.5
    links = {n: named_link(n, L, scale) for n in ref.names() if L >= ref.smallest_length(n)}
    links |= {n: hermite_link(n, L, scale) for n in HERMITE if L >= hermite_length(n)}
    a, b, weights, offset = reduction_vectors(L)
    for reduction in ("trace", "bilinear"):
        links[f"attention {reduction}"] = (
            _core.link_attention(reduction, a, b, weights, offset),
            ref.attention_target(reduction, a, b, weights, offset),
        )
    return links


def matrix_links(L: int) -> dict[str, tuple[Any, Any]]:
    """Every link with L^2 outputs."""
    a, b, weights, offset = reduction_vectors(L)
    A = np.random.default_rng(L).dirichlet(np.ones(L), size=L)
    links = {
        "positional-semantic A": (
            _core.link_positional_semantic(0.3, A),
            ref.positional_semantic(0.3, A=A),
        ),
        "semantic": (_core.link_positional_semantic(0.0, A), ref.positional_semantic(0.0, A=A)),
        "attention none": (
            _core.link_attention("none", a, b, weights, offset),
            ref.attention_target("none", None, None, weights, offset),
        ),
    }
    if L == 2:
        for omega, width in ((0.3, 1.0), (0.7, 0.5), (1.0, 0.8)):
            p = 1 / (1 + np.exp(-2 * width**2))
            core = _core.link_positional_semantic(omega, np.array([[p, 1 - p], [1 - p, p]]))
            links[f"positional-semantic omega={omega}, a={width}"] = (
                core,
                ref.positional_semantic(omega, a=width),
            )
    return links


def reduction_vectors(L: int) -> tuple[Any, Any, Any, Any]:
    """a, b, weights and offset of some attention, generic ones."""
    return tuple(np.random.default_rng(1000 + L).standard_normal((4, L)))  # type: ignore[return-value]


def network(name: str, L: int) -> tuple[Any, Any]:
    return _core.student_network(_core.activation_named(name), L), ref.Network(ref.activation(name))


def attention(reduction: str, L: int) -> tuple[Any, Any]:
    a, b = np.random.default_rng(2000 + L).standard_normal((2, L))
    return _core.student_attention(L, reduction, a, b), ref.Attention(reduction, a, b)


def task(
    link: tuple[Any, Any], student: tuple[Any, Any], loss: str, noise: float = 0.0
) -> tuple[Any, Any]:
    return _core.Task(link[0], student[0], loss, noise), ref.Task(link[1], student[1], loss)
