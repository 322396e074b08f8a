"""The common style of all figures: colours that colour-blind readers distinguish, with line styles
and markers that differ in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..plots import drawing
from ..plots.bands import COLOURS, MARKERS, STYLES, median_and_band
from ..report.statistics import Measured, columns

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BANDS",
    "BARS",
    "COLOURS",
    "MARKERS",
    "STYLES",
    "band",
    "curve",
    "disc",
    "legend",
    "panels",
    "points",
    "reference",
    "shade",
]


def panels(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (4.8, 3.8), **options: Any
) -> tuple[Figure, Any]:
    """Create a picture of rows x columns panels of `size` inches each; return the panels as an
    array of shape (rows, columns).
    """
    figure = drawing.agg_figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def band(
    ax: Axes, x: npt.ArrayLike, runs: npt.ArrayLike, label: str, i: int, **options: Any
) -> None:
    """Draw the median and the 10-90 % band over runs; `runs` has shape (run, x).

    Both end before the first x at which a run has no number: the remaining runs are not
    representative.
    """
    values, places = np.asarray(runs, dtype=float), np.asarray(x, dtype=float)
    there = np.isfinite(values).any(axis=0)  # an x of another curve has none
    values, places = values[:, there], places[there]
    whole = np.isfinite(values).all(axis=0)
    end = len(places) if whole.all() else int(np.argmin(whole))
    if end < len(places):
        going = int(np.isfinite(values[:, -1]).sum())
        label = f"{label} (until the first run stopped; {going} of {len(values)} went on)"
    median_and_band(ax, places[:end], values[:, :end], i, label=label, color=shade(i), **options)


def curve(ax: Axes, path: xr.DataArray, label: str, i: int, **options: Any) -> None:
    """Draw the `band` of a variable over `step` and one more dimension, the runs, from the first
    step on.
    """
    steps = path["step"].values
    later = steps > 0
    band(ax, steps[later], path.transpose(..., "step").values[:, later], label, i, **options)


def disc(
    ax: Axes,
    x: npt.NDArray[np.float64],
    R: npt.NDArray[np.float64],
    levels: int,
    cmap: str,
    lines: int = 0,
) -> Any:
    """Draw `disc_contours` of R (n, n), first axis along e, and a margin around the circle.

    Returns what a colour bar is made of.
    """
    drawing.load()
    from ..plots.theory import disc_contours

    colours = disc_contours(ax, x, R.T, levels, cmap, lines, linewidths=0.6, alpha=0.7)
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    return colours


def points(
    ax: Axes, x: npt.ArrayLike, found: Sequence[Measured], label: str, i: int, **options: Any
) -> None:
    """Draw numbers with their intervals; without a bar if there is no interval."""
    places, (middle, bottom, top) = np.asarray(x, dtype=float), columns(found)
    seen = np.isfinite(middle)
    with np.errstate(invalid="ignore"):
        below, above = np.clip(middle - bottom, 0, None), np.clip(top - middle, 0, None)
    error = np.array(
        [np.where(np.isfinite(below), below, 0), np.where(np.isfinite(above), above, 0)]
    )
    style: dict[str, Any] = {
        "linestyle": "none",
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 5,
        "capsize": 3,
        "linewidth": 1.2,
    } | options
    ax.errorbar(places[seen], middle[seen], error[:, seen], color=shade(i), label=label, **style)
    if not seen.any():  # logarithmic axes want something to span
        ax.plot(places, np.ones(len(places)), linestyle="none")


def legend(ax: Axes, note: str = "", **options: Any) -> None:
    """Draw a legend headed by the meaning of bands and bars, if there is anything to name."""
    if ax.get_legend_handles_labels()[0]:
        made = ax.legend(**({"fontsize": "small", "title": note or None} | options))
        made.get_title().set_fontsize(options.get("fontsize", "small"))


BANDS = "median, 10-90 % of {} runs"
BARS = "bars: 95 % intervals, {} runs"


def reference(
    ax: Axes, x: npt.ArrayLike, y: npt.ArrayLike, label: str, i: int = 0, **options: Any
) -> None:
    """Draw a predicted law as a thin black line."""
    ax.plot(
        np.asarray(x),
        np.asarray(y),
        **(
            {
                "color": "black",
                "linestyle": STYLES[(i + 1) % len(STYLES)],
                "linewidth": 1.1,
                "label": label,
                "zorder": 1.5,
            }
            | options
        ),
    )


def shade(i: int) -> str:
    """Return the i-th colour."""
    return COLOURS[i % len(COLOURS)]
