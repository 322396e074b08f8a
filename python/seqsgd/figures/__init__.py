"""The paper's figures, and ours, each from one file: settings, computation, picture, verdict.

    made = seqsgd.figures.make("4", "quick", "out")
    print(made.caption)

A new figure is a module of this package with a :class:`Figure` called `FIGURE`, and a line in
`catalogue.MODULES`.
"""

from .catalogue import figure, names
from .definition import SIZES, Figure, Finding, Settings
from .making import Made, load, make, redraw
from .report import write

__all__ = [
    "SIZES",
    "Figure",
    "Finding",
    "Made",
    "Settings",
    "figure",
    "load",
    "make",
    "names",
    "redraw",
    "write",
]
