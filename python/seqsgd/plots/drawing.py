"""What every picture needs of matplotlib: a backend if possible, and texts as they were typed."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import _checks
from .._lazy import backend_agg, matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VARIABLE = "MPLBACKEND"
# Dollars are mathematics where they touch what they enclose and no digit follows, as in Pandoc:
# $5 to $6 is money.
_SPAN = re.compile(r"(?<!\\)\$(?!\s)((?:[^$\\\n]|\\.)+)(?<!\s)\$(?!\d)")
_DOLLAR = re.compile(r"(?<!\\)\$")


_unknown: str | None = None  # what the environment names, where matplotlib does not know it


def load() -> None:
    """Import matplotlib, even if the environment names a backend that is missing.

    A shell opened from a notebook inherits the notebook's backend, which fails at import if its
    package is missing.
    """
    global _unknown
    if "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop(VARIABLE, None)
    try:
        import_module("matplotlib")
    finally:
        if wanted is not None:
            os.environ[VARIABLE] = wanted
    if wanted:
        try:
            matplotlib.rcParams["backend"] = wanted
        except ValueError:
            _unknown = wanted


def figure(**options: Any) -> Figure:
    """Create a pyplot figure, with the user's backend."""
    load()
    wanted = os.environ.get(VARIABLE)
    wrong = f"{VARIABLE}: expected a backend that matplotlib has here, got {wanted!r}"
    if _unknown is not None and wanted == _unknown and "matplotlib.pyplot" not in sys.modules:
        raise ValueError(wrong)
    try:
        return matplotlib.pyplot.figure(**options)
    except ImportError as e:
        raise ValueError(f"{wrong} ({e})") from None


def axes(ax: Any, *, figsize: tuple[float, float] | None = None, **options: Any) -> Axes:
    """Return the given axes, or those of a new pyplot figure."""
    if ax is None:
        made: Axes = figure(layout="tight", figsize=figsize).subplots(**options)
        return made
    given: Axes = checked("ax", ax, "axes.Axes")
    return given


def checked(name: str, value: Any, kind: str) -> Any:
    """Check the type of a matplotlib object such as axes.Axes."""
    load()
    module, _, cls = kind.rpartition(".")
    return _checks.instance(
        name,
        value,
        getattr(import_module(f"matplotlib.{module}"), cls),
        f"matplotlib {cls.removesuffix('Base')}",
    )


def check_color(name: str, value: Any) -> None:
    """Refuse what matplotlib does not take for a colour."""
    load()
    if not matplotlib.colors.is_color_like(value):
        raise ValueError(f"{name}: expected a matplotlib colour, got {_checks.short(value)}")


def agg_figure(**options: Any) -> Figure:
    """Create a figure for files: pyplot does not manage it, and no display is needed."""
    load()
    figure = matplotlib.figure.Figure(**options)
    backend_agg.FigureCanvasAgg(figure)
    return figure


def fonts_embedded() -> AbstractContextManager[None]:
    """Return a context in which PDF and PostScript embed Type 42 fonts, as journals ask."""
    load()
    return matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42})


def text(label: object) -> str:
    """Escape a text for matplotlib: formulas that it can parse stay, other dollars are plain
    text.
    """
    words = str(label)
    if "$" not in words:
        return words
    load()
    if not matplotlib.rcParams["text.parse_math"]:
        return words
    parts: list[str] = []
    end = start = 0
    while found := _SPAN.search(words, start):
        if matplotlib.rcParams["text.usetex"] or _parses(found[0]):
            parts += [_plain(words[end : found.start()]), found[0]]
            end = start = found.end()
        else:  # its last dollar may be the first of another
            start = found.start() + 1
    return "".join([*parts, _plain(words[end:])])


def _plain(words: str) -> str:
    return _DOLLAR.sub(r"\\$", words)


def _parses(formula: str) -> bool:
    try:
        matplotlib.mathtext.MathTextParser("path").parse(formula)
    except ValueError:
        return False
    return True
