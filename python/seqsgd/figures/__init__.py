"""The figures of the paper and others, each from one file: settings, computation, picture,
verdicts.

    made = seqsgd.figures.make("4", "quick", "out")
    print(made.caption)

A new figure is a module of this package with a :class:`Figure` called `FIGURE`, and a line in
`catalogue.MODULES`.
"""

from ..report.definition import SIZES, Figure, Finding, Settings
from .build import BuiltFigure, load, make, redraw
from .catalogue import figure, names
from .page import write

__all__ = [
    "SIZES",
    "Figure",
    "Finding",
    "BuiltFigure",
    "Settings",
    "figure",
    "load",
    "make",
    "names",
    "redraw",
    "write",
]
