"""Small versions of all figures, each computed once in a session."""

import pytest

from seqsgd import figures
from seqsgd.figures.laboratory import Laboratory

TRANSITION = {"d": 50, "steps": 2000, "runs": 4, "omegas": 3, "rates": (0.5,), "paths": 2, "law_omegas": 2, "check_omegas": (0.4,), "check_runs": 4, "check_steps": 500}
TINY = {
    "1": {"points": 21, "degrees": [2]},
    "2": {"ds": [30, 40, 60], "runs": 16, "curve_d": 60, "points": 15},
    "3": {"d": 100, "steps": 60_000, "lr": 5e-3, "lengths": [1, 2, 4], "curve_lengths": [1, 4], "best_lengths": [1, 2], "best_runs": 32, "check_d": 50, "check_steps": 4000, "check_runs": 12},
    "4": {"cells": 200},
    "5": TRANSITION,
    "6": {"d": 60, "degrees": [1], "steps": [30_000], "lrs": [0.05], "starts": [1.0], "points": 21, "runs": 8},
    "7": {"d": 100, "lr": 1e-2, "steps": 60_000, "lengths": [1, 2, 4], "curve_lengths": [1, 4]},
    "8": {"d": 100, "steps": 6000, "lengths": [1, 4, 16], "curve_lengths": [1, 16], "check_runs": 12},
    "9": {"d": 200, "steps": 700, "lengths": [1, 10, 50]},
    "10": {"d": 100, "lr": 4e-3, "steps": 150_000, "curve_steps": 150_000},
    "11": {"d": 100, "steps": [8000, 100_000], "lengths": [2, 5]},
    "12": {**TRANSITION, "steps": 500},
    "13": {"d": 50, "steps": 50_000, "runs": 8, "points": 21},
    "staircase": {"d": 150, "lr": 6e-3, "steps": 45_000},  # (at d = 100 the third step, 0.42, would hardly be above the noise, 0.4)
    "random-starts": {"ds": [100, 100], "steps": [200_000, 10_000], "lengths": [1, 2, 4], "curve_lengths": [1, 4]},
    "scaling": {"first": [1.5, 1.5, 1.5], "last": [2.5, 2.5, 2.0], "per_decade": [2, 2, 4], "budget": 1e6, "most": 64},
    "overlay": {"d": 40, "times": [5, 10, 10, 10], "sampled": 16, "reduced": 64, "far": 4, "far_runs": 16, "records": 8},
    "passages": {"ds": [100, 200], "runs": 32},
    "sharpening": {"ds": [50, 100], "runs": [32, 32]},
    "best-rates": {"d_1": 300, "d_2": 100, "lengths_2": [1, 2], "lengths_1": [1, 2, 4]},
}
MADE = ("3", "7", "8", "9", "10", "11", "staircase", "random-starts", "best-rates")  # with files, for tests of gains


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
        if name not in kept:
            figure = figures.figure(name)
            if name in MADE:
                kept[name] = made(name).data
            else:
                with Laboratory(tmp_path_factory.mktemp("laboratory") / ".x.sweep", 2, progress=False) as laboratory:
                    kept[name] = figure.compute(figure.settings("quick", TINY[name]), laboratory)
        return kept[name].copy(deep=True)

    return of
