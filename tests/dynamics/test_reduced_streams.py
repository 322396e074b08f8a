"""The reduced dynamics gives the same bits whatever the threads, neighbours in a batch, pauses and
resumptions; its runs stay on their spheres.
"""

from __future__ import annotations

from typing import Any

import catalogue
import numpy as np
import pytest
from helpers import core_simulation, steps
from reduced_cases import CASES, course
from seqsgd import _core

LAST = 3001
SPHERES = ("shared", "rows", "global")


def simulation(link: str = "sum", L: int = 2, **changes: Any) -> Any:
    task = catalogue.task(
        catalogue.named_link(link, L, L**-0.5), catalogue.network("relu", L), "half_square", 0.2
    )[0]
    return core_simulation(
        task,
        "reduced",
        **({"runs": 100, "lr": 0.5, "m0": 0.1, "record": np.arange(0, LAST + 1, 7)} | changes),
    )


def state(core: Any) -> Any:
    return core.state()["state"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", [0.1, 0.5, 2.0, 1e4])
@pytest.mark.parametrize("d", [20, 200])
@pytest.mark.parametrize("sphere", SPHERES)
def test_threads_neighbours_and_pauses(sphere: str, d: int, lr: float, dtype: str) -> None:
    """Rates at which some lanes of a vector need the long way round and others do not."""
    make = {"d": d, "weights": sphere, "lr": lr, "dtype": dtype}
    whole, part, threaded, pieces, resumed = (
        simulation(**make | k) for k in ({}, {"runs": 7, "first_run": 5}, {"threads": 3}, {}, {})
    )
    for core in (whole, part, threaded):
        assert core.advance(LAST, None)
    for target in (1, 2, 17, 128, 199, 1000, 1024, LAST):
        pieces.advance(target, None)
        if target == 199:
            resumed.set_state(pieces.state())
    resumed.advance(LAST, None)
    assert state(whole)[5:12].tobytes() == state(part).tobytes()
    assert np.array_equal(whole.records()["m"][5:12], part.records()["m"])
    last = simulation(**make | {"runs": 1, "first_run": 99})
    last.advance(LAST, None)
    assert state(whole)[99:].tobytes() == state(last).tobytes()
    for other in (threaded, pieces, resumed):
        assert state(whole).tobytes() == state(other).tobytes()
        assert np.array_equal(whole.records()["loss"], other.records()["loss"], equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_alone_and_among_others(name: str, dtype: str) -> None:
    """The compiler makes copies of what follows a branch that some lane takes, and each must round
    alike.
    """
    among = state(
        course(CASES[name], "reduced", (0, 60), 100, seed=5, dtype=dtype)
    )  # so many that some are taken four, some two, and some one number of runs at a time
    for run in (0, 17, 34, 63, 70, 99):
        assert (
            among[run].tobytes()
            == state(
                course(CASES[name], "reduced", (0, 60), 1, first_run=run, seed=5, dtype=dtype)
            )[0].tobytes()
        ), run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sphere", "L"), [("shared", 4), ("shared", 13), ("shared", 15), ("rows", 70), ("global", 70)]
)
def test_more_tokens(sphere: str, L: int, dtype: str) -> None:
    """Chi-squares of few and of many degrees of freedom for the sums over tokens; so many rows that
    fewer runs go side by side.
    """
    make = {"link": "sum_h2", "L": L, "d": 200, "weights": sphere, "dtype": dtype}
    whole, part, threaded, pieces = (
        simulation(**make | k) for k in ({}, {"runs": 7, "first_run": 5}, {"threads": 3}, {})
    )
    for core in (whole, part, threaded):
        assert core.advance(500, None)
    for target in (17, 64, 199, 500):
        pieces.advance(target, None)
    assert state(whole)[5:12].tobytes() == state(part).tobytes()
    for other in (threaded, pieces):
        assert state(whole).tobytes() == state(other).tobytes()


def test_halting_frees_lanes_and_changes_nothing() -> None:
    make = {"runs": 300, "eta": 0.5, "lr": 0.3}
    halted, watched, unrecorded = (
        simulation(halt=True, **make),
        simulation(halt=False, **make),
        simulation(halt=True, **make | {"record": steps(0)}),
    )
    for core in (halted, watched, unrecorded):
        core.advance(LAST, None)
    passage = watched.status()["passage"]
    assert len(np.unique(passage)) > 50
    assert np.array_equal(halted.status()["passage"], passage) and np.array_equal(
        unrecorded.status()["passage"], passage
    )


@pytest.mark.slow
@pytest.mark.parametrize("lr", [0.01, 1.0, 1e2, 1e6, 1e10])
@pytest.mark.parametrize(
    ("d", "dtype", "tolerance"),
    [(20, "float64", 1e-12), (200, "float64", 1e-12), (200, "float32", 1e-6)],
)
@pytest.mark.parametrize("sphere", SPHERES)
def test_runs_stay_on_their_spheres(
    sphere: str, d: int, dtype: str, tolerance: float, lr: float
) -> None:
    """10^5 steps of 16 runs, steps far longer than the radius included; increments in single
    precision leave the sphere by 1e-7 of their own size within a block.
    """
    core = simulation(runs=16, d=d, lr=lr, weights=sphere, dtype=dtype, record=steps(0))
    core.advance(10**5, None)
    assert np.abs(core.order_parameters()["q"].mean(-1) - 1).max() < tolerance


def test_runs_ahead_of_a_target_are_taken_up_again() -> None:
    """Some runs of a batch are far ahead; a pause on the way there must not leave them behind for
    good.
    """
    task = _core.Task(
        _core.link_python(2, 1, lambda z: z[0]), catalogue.network("relu", 2)[0], "half_square", 0.0
    )
    core = core_simulation(task, "reduced", runs=16, lr=0.1, record=steps(0))
    saved = core.state()
    saved["state"][:8, 4], saved["state"][:8, 4 + 3] = 4000, 1  # step, next record
    core.set_state(saved)
    core.advance(4000, lambda n: True)
    assert core.advance(4100, None)
    assert (core.status()["step"] == 4100).all()


def test_the_mean_loss_outlives_the_last_record() -> None:
    """A course that is prolonged: its next record has the mean of all steps since the one
    before.
    """
    short, whole, longer = (
        simulation(record=steps(0, 20)),
        simulation(record=steps(0, 20, 90)),
        simulation(record=steps(0, 20, 90)),
    )
    short.advance(60, None)
    whole.advance(60, None)
    saved = whole.state()
    saved["state"] = short.state()["state"]
    longer.set_state(saved)
    for core in (whole, longer):
        core.advance(90, None)
    assert np.array_equal(whole.records()["loss"][:, 2], longer.records()["loss"][:, 2])
