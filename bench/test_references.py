"""The loops for comparison simulate the same process as the package, so that their speeds may be
compared: no timing here.

The mean overlap after some steps is compared with that of many runs of the package: |z| < 4.5,
where a right loop fails once in 150000. Seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from . import contestants
from .missing import Missing
from .points import Floats, Point, learning_rate, m0

CASES = {
    Point("tied", 44, 3): 600,
    Point("untied", 44, 3): 1500,
    Point("pair", 44, 2): 3000,
    Point("trace", 44, 3): 7500,
}
RUNS = {"bare": 100, "bare:avx2": 100, "numba": 100, "torch": 5}
LIMIT = 4.5


def size(m: Floats) -> Floats:
    """||m|| / sqrt(n) over the last axis."""
    r: Floats = np.sqrt((m**2).mean(axis=-1))
    return r


@pytest.fixture(scope="module")
def expected() -> dict[Point, Floats]:
    import seqsgd as sq

    out = {}
    for point, steps in CASES.items():
        task = contestants.task(point)
        lr, start = learning_rate(point), sq.Overlap(m0)
        result = sq.simulate(
            task,
            point.d,
            steps,
            lr,
            runs=1000,
            rng=1,
            init=start,
            record=[0, steps],
            progress=False,
        )
        m = result.m.values[:, -1]
        out[point] = size(m.reshape(len(m), -1))
    return out


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("point", CASES, ids=str)
def test_same_process(point: Point, name: str, expected: dict[Point, Floats]) -> None:
    found = []
    for seed in range(RUNS[name]):
        try:
            loop: Any = contestants.make(name, point, seed + 1)
        except Missing as e:
            pytest.skip(str(e))
        loop.advance(CASES[point])
        found.append(float(size(loop.overlap())))
    a, b = np.array(found), expected[point]
    z = (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    assert abs(z) < LIMIT, (
        f"mean overlap {a.mean():.4f}, the package has {b.mean():.4f}: z = {z:.1f}"
    )
    assert b.mean() > 1.8 * m0, "nothing was learned, so nothing was compared"


@pytest.mark.parametrize("target", ["native", "avx2"])
def test_normals(target: str) -> None:
    """Moments of 4 million draws of the bare generator, to 5 standard errors."""
    try:
        normals: Any = contestants.make(f"generator:{target}", Point("tied", 1, 1))
    except Missing as e:
        pytest.skip(str(e))
    x = np.concatenate(
        [normals.x.astype(np.float64) for _ in range(2048) if normals.advance(1) is None]
    )
    for order, moment in enumerate((0, 1, 0, 3, 0, 15), 1):
        power = x**order
        assert abs(power.mean() - moment) < 5 * power.std() / np.sqrt(len(x)), f"moment {order}"
    lag = x[1:] * x[:-1]
    assert abs(lag.mean()) < 5 / np.sqrt(len(lag))
    assert 5 < np.abs(x).max() < 7
