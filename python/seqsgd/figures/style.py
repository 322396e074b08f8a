"""One look for all figures: colours that colour-blind people tell apart, with line styles and markers that stay apart in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _drawing
from ..plotting import COLOURS, MARKERS, STYLES

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "MARKERS", "STYLES", "band", "curve", "panels", "points", "reference", "shade"]


def panels(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (4.8, 3.8), **options: Any) -> tuple[Figure, Any]:
    """A picture of rows x columns panels of `size` inches each; the panels as an array of shape (rows, columns)."""
    figure = _drawing.agg_figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def band(ax: Axes, x: npt.ArrayLike, runs: npt.ArrayLike, label: str, i: int, **options: Any) -> None:
    """Median and 10-90 % band over runs; `runs` has shape (run, x)."""
    values, places = np.asarray(runs, dtype=float), np.asarray(x, dtype=float)
    there = np.isfinite(values).any(axis=0)
    if not there.any():
        return
    low, middle, high = np.nanquantile(values[:, there], [0.1, 0.5, 0.9], axis=0)
    places, colour = places[there], shade(i)
    ax.plot(places, middle, color=colour, linestyle=STYLES[i % len(STYLES)], marker=MARKERS[i % len(MARKERS)], markevery=max(1, len(places) // 7), markersize=4, label=label, **options)
    ax.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)


def curve(ax: Axes, path: xr.DataArray, label: str, i: int, **options: Any) -> None:
    """`band` of a variable over `step` and one more dimension, the runs, from the first step on."""
    steps = path["step"].values
    later = steps > 0
    band(ax, steps[later], path.transpose(..., "step").values[:, later], label, i, **options)


def points(ax: Axes, x: npt.ArrayLike, y: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, label: str, i: int, **options: Any) -> None:
    """Points with intervals."""
    places, middle, bottom, top = (np.asarray(v, dtype=float) for v in (x, y, low, high))
    seen = np.isfinite(middle)
    with np.errstate(invalid="ignore"):
        below, above = np.clip(middle - bottom, 0, None), np.clip(top - middle, 0, None)
    error = np.array([np.where(np.isfinite(below), below, 0), np.where(np.isfinite(above), above, 0)])
    style: dict[str, Any] = {"linestyle": "none", "marker": MARKERS[i % len(MARKERS)], "markersize": 5, "capsize": 3, "linewidth": 1.2} | options
    ax.errorbar(places[seen], middle[seen], error[:, seen], color=shade(i), label=label, **style)


def reference(ax: Axes, x: npt.ArrayLike, y: npt.ArrayLike, label: str, i: int = 0, **options: Any) -> None:
    """A predicted law: a thin black line."""
    ax.plot(np.asarray(x), np.asarray(y), **({"color": "black", "linestyle": STYLES[(i + 1) % len(STYLES)], "linewidth": 1.1, "label": label, "zorder": 1.5} | options))


def shade(i: int) -> str:
    """The i-th colour."""
    return COLOURS[i % len(COLOURS)]
