"""Where things are, simulations of the core with few words, and comparison of arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import seqsgd as sq
from seqsgd import _core

TESTS = Path(__file__).parent
ROOT = TESTS.parent  # of the repository
TASK = sq.Task(sq.SSI("sum_h2", L=3), sq.Tied("relu"))  # of `simulate`, with settings for it
SMALL: dict[str, Any] = {
    "d": 40,
    "steps": 60,
    "lr": 0.2,
    "runs": 4,
    "rng": 7,
    "record": sq.Every(20),
}
CORES = {"sampled": _core.Sampled, "reduced": _core.Reduced}
WITH_WEIGHTS = ["sampled"]  # those that move w itself and can be fed X


def environment(*rooms: str, **others: str) -> dict[str, str]:
    """Environment of a program that imports modules of this folder, and of rooms in it."""
    path = [TESTS, *(TESTS / room for room in rooms), os.environ.get("PYTHONPATH")]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(str(p) for p in path if p)} | others


def crowd() -> float:
    """Programs that share a core now, at least one: limits in seconds hold for a core of one's own,
    and `pytest -n` takes them all.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0
    return max(1.0, load / (os.cpu_count() or 1))


def core_settings(L: int, **changes: Any) -> tuple[Any, int, int, int, str]:
    """Arguments of a core simulation behind its task: settings of one float64 run of the plainest
    kind, and what is to be different. `weights` is one of shared, rows and global; `lr_steps` and
    so on are parts of the learning rate.
    """
    plain: dict[str, Any] = {
        "d": 24,
        "seed": 1,
        "m0": 0.25,
        "record": np.zeros(1, dtype=np.int64),
        "runs": 1,
        "first_run": 0,
        "threads": 1,
        "dtype": "float64",
        "weights": "shared",
        "lr_values": np.array([0.05]),
        "lr_steps": np.zeros(1, dtype=np.int64),
        "lr_t0": 1.0,
        "lr_power": 0.0,
    }
    if "lr" in changes:
        changes.setdefault("lr_values", np.array([changes.pop("lr")], dtype=np.float64))
    given = plain | changes
    rest = [given.pop(name) for name in ("runs", "first_run", "threads", "dtype")]
    rate = [given.pop(f"lr_{name}") for name in ("values", "steps", "t0", "power")]
    weights, made = given.pop("weights"), _core.Settings()
    made.lr = _core.LearningRate(*rate)
    made.fields = _core.FieldMap.shared(L) if weights == "shared" else _core.FieldMap.per_token(L)
    n = made.fields.weights
    made.spheres = _core.Spheres.one(n) if weights == "global" else _core.Spheres.own(n)
    for name, value in given.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return (made, *rest)


def core_simulation(task: Any, dynamics: str = "sampled", **changes: Any) -> Any:
    """A simulation of the core with `core_settings`."""
    return CORES[dynamics](task, *core_settings(task.L, **changes))


def steps(*values: int) -> Any:
    """Steps as the core takes them."""
    return np.array(values, dtype=np.int64)


def assert_close(got: Any, wanted: Any, tolerance: float, what: str = "") -> None:
    """|got - wanted| <= tolerance * max(1, |wanted|), entry by entry; NaN is never close."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, f"{what}: shape {got.shape}, not {wanted.shape}"
    error = np.abs(got - wanted) / np.maximum(1, np.abs(wanted))
    bad = ~(error <= tolerance)
    assert not bad.any(), (
        f"{what}: error {error[bad].max():.2e} > {tolerance:.0e} at {tuple(np.argwhere(bad)[0])}, "
        f"{int(bad.sum())} of {bad.size}"
    )
