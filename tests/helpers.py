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


def environment(**others: str) -> dict[str, str]:
    """Environment of a program that imports modules of this folder."""
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path)} | others


def core_settings(**changes: Any) -> dict[str, Any]:
    """Keyword arguments of a core simulation: one float64 run of the plainest kind, and what is to
    be different.
    """
    settings: dict[str, Any] = {
        "d": 24,
        "runs": 1,
        "first_run": 0,
        "seed": 1,
        "dtype": "float64",
        "weights": "shared",
        "projected": False,
        "position": "none",
        "P": np.empty((0, 0)),
        "c": np.empty(0),
        "init": "overlap",
        "m0": 0.25,
        "random_sign": False,
        "tokens": "gaussian",
        "nu": 0.0,
        "covariance": np.empty((0, 0)),
        "lr_steps": np.zeros(1, dtype=np.int64),
        "lr_values": np.array([0.05]),
        "lr_t0": 1.0,
        "lr_power": 0.0,
        "record": np.zeros(1, dtype=np.int64),
        "eta": 0.0,
        "halt": False,
        "general": False,
        "threads": 1,
    }
    unknown = changes.keys() - settings.keys() - {"lr"}
    assert not unknown, unknown
    if "lr" in changes:
        settings["lr_values"] = np.array([changes.pop("lr")], dtype=np.float64)
    return settings | changes


def core_simulation(task: Any, dynamics: str = "sampled", **changes: Any) -> Any:
    """A simulation of the core with `core_settings`."""
    return CORES[dynamics](task, **core_settings(**changes))


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
