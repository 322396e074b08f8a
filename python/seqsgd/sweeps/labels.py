"""Labels up to rounding: a float finds the coordinate that differs from it only by rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

EXACT = 1e-9  # relative difference of float64 that came about in two ways, such as 3 * 0.1 and 0.3
NIL = 1e-12  # the same near a coordinate 0, unless it has neighbours there

Array = npt.NDArray[Any]


def nearly(values: Array, label: Any) -> Any:
    """Return the label in terms of the coordinates `values`, for `Dataset.sel`.

    Parameters
    ----------
    values : array
        Coordinates of one axis.
    label : scalar, list, array, DataArray or slice
        A float that equals a coordinate up to rounding of float64 (or of float32, if either is one)
        is replaced by it; everything else stays.
    """
    if values.dtype.kind != "f" or not len(values):
        return label
    if isinstance(label, slice):
        return slice(nearly(values, label.start), nearly(values, label.stop), label.step)
    given = np.asarray(label)
    if given.dtype.kind != "f":
        return label
    found = _nearest(values, given.astype(np.float64), _precision(label, given))
    if found.ndim == 0:
        return float(found)
    return (
        label.copy(data=found) if hasattr(label, "dims") else found
    )  # a DataArray keeps its dimensions


def _precision(label: Any, given: Array) -> float:
    kinds = (
        [v.dtype for v in label if isinstance(v, np.floating)]
        if isinstance(label, (list, tuple))
        else []
    )
    return float(max(np.finfo(kind).eps for kind in [*kinds, given.dtype]))


def _nearest(values: Array, labels: Array, precision: float) -> Array:
    """Return the nearest coordinate if it is near enough, otherwise the label."""
    order = np.sort(values)
    after = np.searchsorted(order, labels)
    low, high = order[np.maximum(after - 1, 0)], order[np.minimum(after, len(order) - 1)]
    near = np.where(np.abs(labels - low) <= np.abs(labels - high), low, high)
    # A coordinate that is a float32 exactly may have been one.
    with np.errstate(over="ignore"):
        single = near == near.astype(np.float32)
    relative = np.maximum(np.where(single, np.finfo(np.float32).eps, EXACT), precision)
    gap = np.min(np.diff(np.unique(order)), initial=np.inf)
    allowed = np.maximum(relative * np.abs(near), min(NIL, EXACT * gap))
    with np.errstate(invalid="ignore"):
        close = np.abs(labels - near) <= allowed
    found: Array = np.where(close, near, labels)
    return found
