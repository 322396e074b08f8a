"""Texts of NumPy arrays, scalars and dtypes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ._atoms import Unknown

_KINDS = (np.ndarray, np.memmap, np.matrix, np.recarray, np.ma.MaskedArray)


def array(value: Any, encode: Callable[[Any], Any]) -> Any:
    """Return plain data for an array, a scalar or a dtype.

    It distinguishes dtypes, byte orders, signs of zero and masks. Raises Unknown for arrays of
    objects.
    """
    if isinstance(value, np.dtype):
        return ["dtype", _dtype(value, encode)]
    if isinstance(value, np.generic):
        return ["scalar", _dtype(value.dtype, encode), _contents(np.asarray(value))]
    if type(value) not in _KINDS:
        raise Unknown(f"an array of type {type(value).__module__}.{type(value).__qualname__}")
    kind = "ndarray" if isinstance(value, np.memmap) else type(value).__name__
    order = "F" if value.flags.fnc else "C"  # the order of summation depends on it
    mask: Any = None
    if isinstance(value, np.ma.MaskedArray):
        mask = [_contents(np.ma.getmaskarray(value)), array(np.asarray(value.fill_value), encode)]
        value = value.data
    plain = np.asarray(value)
    return [
        "array",
        kind,
        _dtype(plain.dtype, encode),
        list(plain.shape),
        order,
        _contents(plain),
        mask,
    ]


def _dtype(dtype: np.dtype[Any], encode: Callable[[Any], Any]) -> Any:
    if dtype.hasobject or dtype.kind not in "biufcmMSUV" or dtype.type.__module__ != "numpy":
        raise Unknown(
            f"an array of {'objects' if dtype.kind == 'O' else dtype}, whose elements lie elsewhere"
        )
    if dtype.names is None and dtype.subdtype is None:
        return dtype.str
    return (
        [encode(x) for x in dtype.__reduce__()[1:]]
        if dtype.subdtype is None
        else encode([dtype.subdtype[0], dtype.subdtype[1]])
    )


def _contents(a: np.ndarray[Any, Any]) -> Any:
    if a.dtype.names is not None:  # bytes between fields are arbitrary
        return [_contents(a[name]) for name in a.dtype.names]
    # Long doubles have unused bytes, which are arbitrary.
    if a.dtype.kind in "fc" and a.dtype.itemsize > (8 if a.dtype.kind == "f" else 16):
        return [repr(x) for x in a.ravel()]
    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()
