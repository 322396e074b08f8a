"""A median with a band over runs, and the colours, lines and markers that tell curves apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito, without the yellow that is hard to see on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def median_and_band(
    ax: Axes,
    x: npt.NDArray[Any],
    runs: npt.NDArray[Any],
    i: int,
    band: tuple[float, float] | None = (0.1, 0.9),
    **options: Any,
) -> Line2D:
    """Draw the median over runs and a band between two quantiles.

    Parameters
    ----------
    ax : matplotlib Axes
    x : (n,)
    runs : (runs, n)
        Finite. Without runs an empty line is drawn.
    i : int
        Number of the curve: its line style and marker.
    band : (float, float), optional
        None: no band.
    **options
        Of the line: label, color and so on. The colour is else the next of the axes' cycle.

    Returns
    -------
    Line2D
    """
    low, middle, high = np.empty((3, 0))
    if runs.size:
        bounds = band or (0.5, 0.5)
        low, middle, high = np.quantile(runs, [bounds[0], 0.5, bounds[1]], axis=0)
    style: dict[str, Any] = {
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "markevery": max(1, len(x) // 8),
        "markersize": 4,
    }
    (line,) = ax.plot(x[: len(middle)], middle, **(style | options))
    if band is not None:
        places = x[: len(middle)]
        ax.fill_between(places, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    return line
