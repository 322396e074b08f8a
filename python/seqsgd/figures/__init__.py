"""The paper's figures, and ours, each from one file: settings, computation, picture, verdict.

    made = seqsgd.figures.make(seqsgd.figures.figure("4"), "quick", "out")
    print(made.caption)

A new figure is a module of this package with a :class:`Figure` called `FIGURE`, and a line in `MODULES`.
"""

from __future__ import annotations

from importlib import import_module

from .. import _checks
from .definition import SIZES, Figure, Finding, Settings
from .making import Made, load, make, redraw
from .report import write

MODULES = {
    "1": "fig01_landscapes",
    "2": "fig02_encoding",
    "3": "fig03_tied_untied",
    "4": "fig04_phases",
    "5": "fig05_transition",
    "6": "fig06_odd",
    "7": "fig07_equal_rates",
    "8": "fig08_first_order",
    "9": "fig09_beyond_bound",
    "10": "fig10_linear_attention",
    "11": "fig11_pathologies",
    "12": "fig12_transition_small",
    "13": "fig13_yellow",
    "staircase": "extra_staircase",
    "random-starts": "extra_random_starts",
    "scaling": "extra_scaling",
    "overlay": "extra_overlay",
    "passages": "extra_passages",
    "sharpening": "extra_sharpening",
    "best-rates": "extra_best_rates",
}


def names() -> tuple[str, ...]:
    """Names of all figures: the paper's numbers, then ours."""
    return tuple(MODULES)


def figure(name: str) -> Figure:
    """A figure by its name.

    Raises
    ------
    TypeError, ValueError
        If there is no such figure.
    """
    module = import_module(f".{MODULES[_checks.choice('figure', name, names())]}", __name__)
    made: Figure = module.FIGURE
    return made


__all__ = ["SIZES", "Figure", "Finding", "Made", "Settings", "figure", "load", "make", "names", "redraw", "write"]
