"""Small versions of all figures, each computed once in a session; data of those whose theory takes
long are invented.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from seqsgd import figures
from seqsgd.figures import extra_overlay, extra_passages
from seqsgd.report.runner import Runner
from transition import TRANSITION

TINY = {
    "1": {"points": 21, "degrees": [2]},
    "2": {"ds": [30, 40, 60], "runs": 16, "curve_d": 60, "points": 15},
    "3": {
        "d": 100,
        "steps": 60_000,
        "lr": 5e-3,
        "lengths": [1, 2, 4],
        "curve_lengths": [1, 4],
        "best_lengths": [1, 2],
        "best_runs": 32,
        "check_d": 50,
        "check_steps": 4000,
        "check_runs": 12,
    },
    "4": {"cells": 200},
    "5": TRANSITION,
    "6": {
        "d": 60,
        "degrees": [1],
        "steps": [30_000],
        "lrs": [0.05],
        "starts": [1.0],
        "points": 21,
        "runs": 8,
    },
    "7": {"d": 100, "lr": 1e-2, "steps": 60_000, "lengths": [1, 2, 4], "curve_lengths": [1, 4]},
    "8": {
        "d": 100,
        "steps": 6000,
        "lengths": [1, 4, 16],
        "curve_lengths": [1, 16],
        "check_runs": 12,
    },
    "9": {"d": 200, "steps": 700, "lengths": [1, 10, 50]},
    "10": {"d": 100, "lr": 4e-3, "steps": 150_000, "curve_steps": 150_000},
    "11": {"d": 100, "steps": [8000, 100_000], "lengths": [2, 5]},
    "13": {"d": 50, "steps": 50_000, "runs": 8, "points": 21},
    "staircase": {
        "d": 150,
        "lr": 6e-3,
        "steps": 45_000,
    },  # (at d = 100 the third step, 0.42, would hardly be above the noise, 0.4)
    "random-starts": {
        "ds": [100, 100],
        "steps": [200_000, 10_000],
        "lengths": [1, 2, 4],
        "curve_lengths": [1, 4],
    },
    "best-rates": {"d_1": 300, "d_2": 100, "lengths_2": [1, 2], "lengths_1": [1, 2, 4]},
}
MADE = (
    "3",
    "7",
    "8",
    "9",
    "10",
    "11",
    "staircase",
    "random-starts",
    "best-rates",
)  # with files, for tests of gains


HERE = Path(__file__).parent
QUICK = ("6", "scaling", "passages", "overlay", "sharpening")  # below two seconds


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of a figure whose data take more than two seconds are slow."""
    for item in items:
        name = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        shared = {"made", "computed"} & set(getattr(item, "fixturenames", ()))
        if shared and name not in QUICK and item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


def passages():
    """Lognormal steps that are as predicted, without a simulation: their theory takes long."""
    from scipy.stats import norm

    rng, ds = np.random.default_rng(0), np.array([100, 200])
    dims, coords = (
        ("task", "start", "d", "run"),
        {
            "task": list(extra_passages.tasks()),
            "start": list(extra_passages.STARTS),
            "d": ds,
            "chance": extra_passages.CHANCES,
        },
    )
    steps = np.round(50.0 * ds[:, None] * rng.lognormal(0, 0.3, (3, 2, 2, 64)))
    law = np.broadcast_to(
        50.0 * ds[:, None] * np.exp(0.3 * norm.ppf(extra_passages.CHANCES)), (3, 2, 2, 100)
    )
    return xr.Dataset(
        {
            "passed": (dims, steps),
            "ended": (dims, steps),
            "predicted": ((*dims[:3], "chance"), law),
        },
        coords=coords,
    )


def scaling():
    """Steps d, d log d and d^2 times lognormal numbers."""
    rng, d = np.random.default_rng(0), np.array([[100.0, 300.0, 1000.0]] * 3)
    law = np.array([d[0], d[1] * np.log(d[1]), d[2] ** 2]) * 10
    steps = np.round(law[:, :, None] * rng.lognormal(0, 0.2, (3, 3, 256)))
    dims = ("sie", "place", "run")
    return xr.Dataset(
        {
            "passed": (dims, steps),
            "ended": (dims, steps),
            "d": (dims[:2], d),
            "predicted": (dims[:2], law),
        },
        coords={"sie": [1, 2, 3], "place": [0, 1, 2]},
    )


def overlay():
    """Overlaps around a curve, with noise of size 1/sqrt d."""
    rng, t = np.random.default_rng(0), np.linspace(0, 5, 9)
    flow = np.tile(0.2 + 0.7 * np.tanh(t / 2), (4, 1))
    runs = {
        f"m_{kind}": (
            ("task", "time", f"run_{kind}"),
            flow[:, :, None] + rng.normal(0, (t > 0)[:, None] * d**-0.5 / 2, (4, 9, n)),
        )
        for kind, n, d in (("reduced", 64, 300), ("sampled", 16, 300), ("far", 16, 4800))
    }
    return xr.Dataset(
        {**runs, "m_flow": (("task", "time"), flow), "t": (("task", "time"), np.tile(t, (4, 1)))},
        coords={"task": list(extra_overlay.tasks()), "d": 300, "far_d": 4800},
    )


def sharpening():
    """Counts from the law that they are compared with."""
    omega, d = np.array([0.62, 0.65, 0.675, 0.7, 0.725, 0.76]), np.array([100, 10_000])
    law = 1 / (1 + np.exp(np.array([[40.0], [100.0]]) * (omega - np.array([[0.69], [0.65]]))))
    counts = np.random.default_rng(0).binomial(512, law)
    cells = ("d", "omega")
    return xr.Dataset(
        {
            "semantic": (cells, counts),
            "undecided": (cells, 0 * counts),
            "runs": ("d", [512, 512]),
            "law": (cells, law),
        },
        coords={"omega": omega, "d": d, "lr": 2.0, "switch": 0.641},
    )


INVENTED = {"passages": passages, "scaling": scaling, "overlay": overlay, "sharpening": sharpening}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Figures by name, each made once."""
    folder, kept = tmp_path_factory.mktemp("gains"), {}

    def of(name):
        if name not in kept:
            kept[name] = figures.make(name, "quick", folder, changes=TINY[name], progress=False)
        return kept[name]

    return of


@pytest.fixture(scope="session")
def computed(made, tmp_path_factory):
    """Datasets by name, each computed once."""
    kept = {}

    def of(name):
        if name == "12":  # figure 5 at another d
            return of("5")
        if name not in kept:
            figure = figures.figure(name)
            if name in INVENTED:
                kept[name] = INVENTED[name]()
            elif name in MADE:
                kept[name] = made(name).data
            else:
                with Runner(
                    tmp_path_factory.mktemp("runner") / ".x.sweep", 2, progress=False
                ) as runner:
                    kept[name] = figure.compute(figure.settings("quick", TINY[name]), runner)
        return kept[name].copy(deep=True)

    return of
