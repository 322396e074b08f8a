"""The list of figures."""

from __future__ import annotations

from importlib import import_module

from .. import _checks
from ..report.definition import Figure

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
    """List the names of all figures: the paper's numbers, then the others."""
    return tuple(MODULES)


def figure(name: str | int | Figure) -> Figure:
    """Return a figure by its name.

    Parameters
    ----------
    name : str or int
        One of :func:`names`; for the paper's figures also the number. A Figure is returned
        unchanged.

    Raises
    ------
    TypeError, ValueError
        If there is no such figure.
    """
    if isinstance(name, Figure):
        return name
    plain = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    module = import_module(f".{MODULES[_checks.choice('figure', plain, names())]}", __package__)
    made: Figure = module.FIGURE
    return made
