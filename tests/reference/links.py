"""Links g: z* (..., L) -> y (..., k)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermeval

from .students import Attention, softmax_rows

Array = np.ndarray[Any, Any]
Link = Callable[[Array], Array]

_SQRT2 = np.sqrt(2.0)


def he(k: int, x: Array) -> Array:
    """Probabilists' Hermite polynomial He_k."""
    return hermeval(x, [0.0] * k + [1.0])


def _h2(x: Array) -> Array:
    return he(2, x) / _SQRT2


# name -> (fewest tokens, g without its output axis)
_NAMED: dict[str, tuple[int, Link]] = {
    "z1": (1, lambda z: z[..., 0]),
    "z1+z2": (2, lambda z: z[..., 0] + z[..., 1]),
    "z1-z2": (2, lambda z: z[..., 0] - z[..., 1]),
    "z1*z2": (2, lambda z: z[..., 0] * z[..., 1]),
    "z1*z2*z3": (3, lambda z: z[..., 0] * z[..., 1] * z[..., 2]),
    "sum": (1, lambda z: z.sum(-1)),
    "sum_h2": (1, lambda z: _h2(z).sum(-1)),
    "h2_difference": (2, lambda z: (z[..., 0] ** 2 - z[..., 1] ** 2) / _SQRT2),
    "staircase2": (2, lambda z: z[..., 0] + z[..., 0] * z[..., 1]),
    "staircase3": (
        3,
        lambda z: z[..., 0] + z[..., 0] * z[..., 1] + z[..., 0] * z[..., 1] * z[..., 2],
    ),
    "staircase": (1, lambda z: z[..., 0] * (1 + z[..., 1:]).prod(-1)),
}


def names() -> list[str]:
    """Every name the model knows."""
    return list(_NAMED)


def smallest_length(name: str) -> int:
    """The fewest tokens a named link needs."""
    return _NAMED[name][0]


def named(name: str, scale: float = 1.0) -> Link:
    """A named link times a scale."""
    g = _NAMED[name][1]
    return lambda z: scale * g(z)[..., None]


def hermite(terms: Sequence[tuple[float, Mapping[int, int]]], scale: float = 1.0) -> Link:
    """scale * sum of coefficient * prod He_degree(z_token), tokens numbered from 1."""

    def g(z: Array) -> Array:
        total = np.zeros_like(z[..., 0])
        for coefficient, factors in terms:
            product = np.full_like(total, coefficient)
            for token, degree in factors.items():
                product = product * he(degree, z[..., token - 1])
            total = total + product
        return scale * total[..., None]

    return g


def attention_target(
    reduction: str = "none", a: Any = None, b: Any = None, weights: Any = 1.0, offset: Any = 0.0
) -> Link:
    """R(softmax(t t^T)), t = weights * z* + offset."""
    student = Attention(reduction, a, b)
    return lambda z: student.output(np.asarray(weights) * z + np.asarray(offset))


def positional_semantic(omega: float, a: float = 1.0, A: Any = None) -> Link:
    """T(z*) = (1 - omega) softmax(z* z*^T) + omega A, flattened by rows; without A, A =
    softmax([[a^2, -a^2], [-a^2, a^2]]).
    """
    positional = (
        softmax_rows(a**2 * np.array([[1.0, -1.0], [-1.0, 1.0]])) if A is None else np.asarray(A)
    )

    def g(z: Array) -> Array:
        T = (1 - omega) * softmax_rows(z[..., :, None] * z[..., None, :]) + omega * positional
        return T.reshape(*z.shape[:-1], -1)

    return g
