"""The reduced dynamics in double precision: increments far below the rounding of the state, s at
the poles, and the sphere after many steps.
"""

from __future__ import annotations

from typing import Any

import catalogue
import numpy as np
import pytest
from helpers import core_simulation, steps
from laws import assert_plausible, two_sided

N = 10**6


def identity_task(L: int = 2) -> Any:
    """f = sum_l z_l / sqrt L learns sum_l z*_l / sqrt L."""
    return catalogue.task(
        catalogue.named_link("sum", L, L**-0.5), catalogue.network("identity", L), "half_square"
    )[0]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", ["shared", "rows", "global"])
def test_tiny_increments_are_not_lost(weights: str, dtype: str) -> None:
    """gamma/d = 1e-12 over 10^6 steps, 64 runs: each step moves m by about 1e-12 (1 - m^2), of
    rounding 1e-16 and noise 1e-12; the sum by 1e-6, of noise 1e-9.

    A step moves m in the mean by g (1 - m^2) where all fields are f = sum_l z_l / sqrt L, up to g^2
    d, and each row of its own by g (1 - m^2)/L; squares of increments have the sum of variances.
    The mean of 64 runs by its standard error, at 1e-4.
    """
    d, g, m0, L, runs = 1000, 1e-12, 0.6, 2, 64
    core = core_simulation(
        identity_task(L),
        "reduced",
        d=d,
        runs=runs,
        lr=g * d,
        m0=m0,
        weights=weights,
        dtype=dtype,
        record=steps(0, N),
    )
    core.advance(N, None)
    m = core.records()["m"]
    moved = (m[:, 1] - m[:, 0]).mean(-1)
    wanted = N * g * (1 - m0**2) / (1 if weights == "shared" else L)
    z = (moved.mean() - wanted) / (moved.std(ddof=1) / np.sqrt(runs))
    assert 1e-3 < moved.std() / (wanted / np.sqrt(N)) < 10
    assert_plausible(two_sided(np.array([z])), 1e-4, f"{moved.mean()} against {wanted}")


@pytest.mark.parametrize("weights", ["shared", "rows", "global"])
def test_s_near_the_pole(weights: str) -> None:
    """m0 = 1 - 1e-14, where s from 1 - m^2 would be wrong in the second digit.

    There delta = s b to leading order, and a step makes s^2 into s^2 ((1 - g b^2)^2 + g^2 b^2
    chi^2), in the mean s^2 (1 - 2 g + g^2 (d + 1)): 4000 runs, at 1e-4.
    """
    d, lr, n, runs = 1000, 0.5, 2000, 4000
    core = core_simulation(
        identity_task(1),
        "reduced",
        d=d,
        runs=runs,
        lr=lr,
        m0=1 - 1e-14,
        weights=weights,
        dtype="float32",
        record=steps(0, n),
    )

    def square() -> np.ndarray:  # with what is not settled yet
        state = core.state()["state"]
        return state[:, 2] ** 2 + state[:, 3]

    before = square()
    assert np.abs(before / (1e-14 * 2) - 1).max() < 2e-2  # 1 - 1e-14 itself is rounded
    core.advance(n, None)
    ratio = square() / before
    g = lr / d
    z = (ratio.mean() - (1 - 2 * g + g**2 * (d + 1)) ** n) / (ratio.std(ddof=1) / np.sqrt(runs))
    assert 0.1 < ratio.mean() < 0.5 and ratio.std() / np.sqrt(runs) < 0.01 * ratio.mean()
    assert_plausible(two_sided(np.array([z])), 1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", ["shared", "rows", "global"])
def test_s_on_the_way_to_the_pole(weights: str, dtype: str) -> None:
    """s^2 over 21 decades without noise: ln s^2 moves by the same law in every step, so that of
    4000 steps by twice as much as that of 2000.

    To one digit, where a floor of 1e-16 would miss it by more than six.
    """
    core = core_simulation(
        identity_task(1),
        "reduced",
        d=74,
        runs=64,
        lr=1.0,
        m0=0.5,
        weights=weights,
        dtype=dtype,
        record=steps(0, 4000),
    )
    medians = []
    for step in (2000, 4000):
        core.advance(step, None)
        state = core.state()["state"]
        medians.append(np.median(np.log10(state[:, 2] ** 2 + state[:, 3])))
    assert medians[1] < -22 and abs(medians[1] / medians[0] - 2) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize(
    ("weights", "d"), [("shared", 3), ("shared", 10**9), ("rows", 50), ("global", 50)]
)
def test_the_sphere_is_kept(weights: str, d: int, projected: bool) -> None:
    core = core_simulation(
        catalogue.task(catalogue.named_link("sum", 2, 0.5), catalogue.network("tanh", 2), "half_square", 0.3)[0],
        "reduced", d=d, runs=16, lr=0.5, weights=weights, projected=projected, record=steps(0, N),
    )  # fmt: skip
    core.advance(N, None)
    q = core.order_parameters()["q"]
    assert np.abs((q.mean(1) if weights == "global" else q) - 1).max() < 1e-12
