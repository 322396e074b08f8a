"""The same bits whatever the threads, the batches, the pauses, and from a saved state; and no two
runs alike.
"""

from __future__ import annotations

from typing import Any

import catalogue
import laws
import numpy as np
import pytest
from helpers import core_simulation, steps
from laws import assert_plausible

pytestmark = pytest.mark.weights

RATE = 1e-4  # family-wise false-alarm rate of each statistical test here; seeds are fixed
LAST = 3001

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "d": 50},
    "float64": {"d": 33},
    "tiny": {"d": 3, "dtype": "float32"},
    "large": {"d": 9000, "dtype": "float32"},
    "projected opposite": {"projected": True, "position": "opposite", "dtype": "float32"},
    "matrix": {
        "position": "matrix",
        "P": np.random.default_rng(0).standard_normal((2, 24)),
        "dtype": "float32",
    },
    "rows": {
        "weights": "rows",
        "position": "matrix",
        "P": np.random.default_rng(0).standard_normal((2, 24)),
    },
    "global": {"weights": "global", "projected": True, "dtype": "float32"},
    "injected": {"position": "injected", "c": np.array([0.5, 0.1])},
    "rademacher": {"tokens": "rademacher", "dtype": "float32"},
    "uniform": {"tokens": "uniform"},
    "student_t": {"tokens": "student_t", "nu": 5.0, "dtype": "float32"},
    "correlated": {"tokens": "correlated", "covariance": np.array([[1.0, 0.7], [0.7, 1.0]])},
    "recovery": {"eta": 0.5, "halt": True, "dtype": "float32", "random_sign": True},
    "decay": {"lr_t0": 100.0, "lr_power": 0.5},
}


def simulation(name: str, dynamics: str, last: int | None = None, **changes: Any) -> Any:
    """Five runs of a noisy task on sums of tokens."""
    last = last or (200 if name == "large" else LAST)
    task = catalogue.task(
        catalogue.named_link("sum", 2, 2**-0.5), catalogue.network("relu", 2), "half_square", 0.2
    )[0]
    settings = {
        "runs": 5,
        "lr": 0.1,
        "m0": 0.1,
        "record": np.unique(np.r_[0, np.arange(0, last, 7), last]),
        "seed": 99,
    }
    return core_simulation(task, dynamics, **(settings | SETTINGS[name] | changes))


def everything(core: Any, runs: slice = slice(None)) -> dict[str, Any]:
    """All that can be read of a simulation."""
    parts = {
        **core.records(),
        **core.status(),
        **{"now " + k: v for k, v in core.order_parameters().items()},
    }
    return {
        k: v[runs]
        for k, v in (
            parts | {"w": core.weights(), "teacher": core.teacher(), "P": core.positions()}
        ).items()
    }


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture(params=SETTINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def finished(name: str, dynamics: str, **changes: Any) -> Any:
    core = simulation(name, dynamics, **changes)
    assert core.advance(200 if name == "large" else LAST, None)
    return core


def test_threads_batches_and_pauses(name: str, dynamics: str) -> None:
    whole = everything(finished(name, dynamics))
    for threads in (2, 3, 8):
        assert_same_bits(whole, everything(finished(name, dynamics, threads=threads)))
    for first, count in ((0, 2), (2, 1), (3, 2)):
        part = everything(finished(name, dynamics, runs=count, first_run=first, threads=2))
        assert_same_bits({k: v[first : first + count] for k, v in whole.items()}, part)
    pieces = simulation(name, dynamics, threads=2)
    for target in (1, 2, 17, 128, 199, 1000, 1024, LAST):
        pieces.advance(min(target, 200) if name == "large" else target, lambda n: True)
    while not pieces.advance(200 if name == "large" else LAST, lambda n: True):
        pass
    assert_same_bits(whole, everything(pieces))


def test_resuming(name: str, dynamics: str) -> None:
    """Into a fresh simulation, from the middle of a block, with another number of threads; the one
    saved from goes on undisturbed.
    """
    whole = everything(finished(name, dynamics))
    last = 200 if name == "large" else LAST
    saved = simulation(name, dynamics, threads=2)
    for moment in (0, 1, 77, 130, last // 2 + 1, last):
        saved.advance(min(moment, last), None)
        state = {k: v.copy() for k, v in saved.state().items()}
        resumed = simulation(name, dynamics)
        if moment == 77:
            resumed.advance(150, None)  # whatever it did before is forgotten
        resumed.set_state(state)
        assert_same_bits(everything(saved), everything(resumed))
        assert resumed.advance(last, None)
        assert_same_bits(whole, everything(resumed))
    assert_same_bits(whole, everything(saved))


def test_states_that_do_not_fit_are_refused(dynamics: str) -> None:
    core, other = simulation("float32", dynamics), simulation("float64", dynamics)
    before = everything(core)
    for wrong in (
        other.state(),
        {},
        {k: v for k, v in core.state().items() if k != "v"},
        {k: v[:1] for k, v in core.state().items()},
    ):
        with pytest.raises((ValueError, TypeError)):
            core.set_state(wrong)
        assert_same_bits(before, everything(core))


def test_observed_steps_are_saved_too(dynamics: str) -> None:
    X = np.random.default_rng(0).standard_normal((10, 2, 33)) / np.sqrt(33)
    a, b = simulation("float64", dynamics), simulation("float64", dynamics)
    a.advance(50, None)
    a.observe(X, None, 1)
    b.set_state(a.state())
    for core in (a, b):
        core.observe(X, None, 1)
        core.advance(100, None)
    assert_same_bits(everything(a), everything(b))


def test_recording_does_not_disturb(name: str, dynamics: str) -> None:
    """Nor does watching for weak recovery without halting."""
    if name == "recovery":
        return
    plain, watched = (
        finished(name, dynamics, record=steps(0)),
        finished(name, dynamics, eta=0.9, halt=False),
    )
    tolerance = 1e-5 if SETTINGS[name].get("dtype") == "float32" else 1e-11
    assert np.array_equal(plain.weights(), finished(name, dynamics).weights())
    assert np.abs(plain.weights() - watched.weights()).max() < tolerance


def test_seeds_and_runs_differ(dynamics: str) -> None:
    seen = [
        everything(finished("float64", dynamics, seed=seed, first_run=first))
        for seed in (0, 1, 2**32, 2**64 - 1)
        for first in (0, 5, 2**32 - 5)
    ]
    for part in ("w", "teacher", "m"):
        flat = np.concatenate([s[part].reshape(5, -1) for s in seen])
        assert len(np.unique(flat, axis=0)) == len(flat), part


def test_runs_are_independent(dynamics: str) -> None:
    """4000 runs of 30 steps: m, its noise and the loss have no correlation between runs 1 ... 20
    apart (rate RATE).
    """
    task = catalogue.task(
        catalogue.named_link("sum", 2, 2**-0.5), catalogue.network("tanh", 2), "half_square", 0.2
    )[0]
    core = core_simulation(
        task,
        dynamics,
        d=20,
        runs=4000,
        lr=0.5,
        record=steps(0, 1, 10, 30),
        threads=2,
        init="uniform",
        m0=0.0,
    )
    core.advance(30, None)
    r = core.records()
    series = [
        *r["m"][..., 0].T,
        *(np.diff(r["m"][..., 0], axis=1)).T,
        *r["loss"][:, 1:].T,
        core.teacher()[:, 0],
        core.weights()[:, 0, 0],
    ]
    p = []
    for x in series:
        u = laws.special.ndtri(
            (np.argsort(np.argsort(x)) + 0.5) / len(x)
        )  # ranks, as a normal sample
        p.append(laws.autocorrelation(u, 20))
    assert_plausible(np.concatenate(p), RATE)
