"""A whole simulation with a generator of its own: the tied relu network on the sum of the target
fields, many runs side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _sphere(x: Array) -> Array:
    return x * np.sqrt(x.shape[-1]) / np.linalg.norm(x, axis=-1, keepdims=True)


def tied_relu_sum(
    L: int, d: int, lr: float, runs: int, record: Sequence[int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """y = (1/sqrt L) sum z*_l, f = relu((1/sqrt L) sum z_l), half-square loss, normalised steps
    from the overlap 1/sqrt d.

    Every entry of X is drawn, none is spared. Returns m (runs, len(record)) at the recorded steps
    and the mean loss between them.
    """
    wstar = _sphere(rng.standard_normal((runs, d)))
    rest = rng.standard_normal((runs, d))
    rest -= wstar * (rest * wstar).sum(-1, keepdims=True) / d
    m0 = 1 / np.sqrt(d)
    w = m0 * wstar + np.sqrt(1 - m0**2) * _sphere(rest)
    X = np.empty((runs, L, d), dtype=np.float32)
    m, losses, total, since = [], [], np.zeros(runs), 0
    for tau in range(max(record) + 1):
        if tau in record:
            m.append((w * wstar).sum(-1) / d)
            losses.append(total / since if since else np.full(runs, np.nan))
            total, since = np.zeros(runs), 0
        rng.standard_normal(out=X, dtype=np.float32)
        summed = X.sum(1, dtype=np.float64) / np.sqrt(
            d * L
        )  # (1/sqrt L) sum_l x_l, all that this task sees of X
        y, u = (summed * wstar).sum(-1), (summed * w).sum(-1)
        r = np.maximum(u, 0) - y
        total, since = total + r**2 / 2, since + 1
        w = _sphere(w - lr * (r * (u > 0))[:, None] * summed)
    return np.stack(m, -1), np.stack(losses, -1)
