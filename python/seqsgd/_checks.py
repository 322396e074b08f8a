"""Checks of arguments. Every message is one line: the name, what was expected, what came."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


MOST = 2**53  # counts up to here are exact as floats, and far from the end of int64
INT32 = 2**31 - 1
_NOT = (bool, np.bool_, np.timedelta64)  # no numbers, though Python counts them among the integers


def short(value: object, width: int = 60) -> str:
    """Return `repr` on one line, cut to `width` characters."""
    if isinstance(value, np.ma.MaskedArray):
        text = (
            "a masked number"
            if value.ndim == 0
            else f"a masked array of shape {letters(value.shape)}"
        )
    elif isinstance(value, np.ndarray):
        text = f"an array of shape {letters(value.shape)}" if value.ndim else repr(value.item())
    elif isinstance(value, type):
        text = repr(value)
    elif hasattr(value, "__array__") and (shape := np.shape(value)):
        # A Series, an Index, a DataArray: long, and the type comes last if at all.
        text = f"a {type(value).__name__} of shape {letters(shape)}"
    elif (
        isinstance(value, int) and value.bit_length() > 1000
    ):  # Python refuses to write down what is very long
        text = f"an integer of {value.bit_length()} bits"
    else:
        try:
            text = " ".join(repr(value).split())
        except Exception:
            text = f"an object of type {type(value).__name__}"
    return text if len(text) <= width else text[: width - 3] + "..."


def letters(shape: Sequence[int | str]) -> str:
    """Return a shape as text: (n, 2, d), with the comma of a 1-tuple."""
    inner = ", ".join(str(s) for s in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _interval(
    low: float | None, high: float | None, open_low: bool = False, open_high: bool = False
) -> str:
    """in [0, 1],  >= 0,  > 2, or nothing."""
    if low is not None and high is not None:
        return f" in {'(' if open_low else '['}{low:.16g}, {high:.16g}{')' if open_high else ']'}"
    if low is not None:
        return f" {'>' if open_low else '>='} {low:.16g}"
    if high is not None:
        return f" {'<' if open_high else '<='} {high:.16g}"
    return ""


def scalar(value: object) -> object:
    """Return what a 0-d array holds, unless it is masked; return anything else unchanged."""
    if (
        isinstance(value, np.ndarray)
        and value.ndim == 0
        and not isinstance(value, np.ma.MaskedArray)
    ):
        return value[()]
    return value


def integer(
    name: str,
    value: object,
    low: int | None = None,
    high: int | None = None,
    *,
    unbounded: bool = False,
) -> int:
    """An int, NumPy's too, or a float or a 0-d array that is whole (1e5); no bool.

    Without `high` up to 2^53, unless `unbounded`.
    """
    x: Any = scalar(value)
    whole = isinstance(x, (float, np.floating)) and x.is_integer()
    n = 0
    if whole:
        n = int(x)
    elif isinstance(x, Integral) and not isinstance(x, _NOT):
        n = operator.index(x)
    if high is None and not unbounded and n > MOST:  # a bound that is mentioned where it is broken
        high = MOST
    wanted = f"{name}: expected an integer{_interval(low, high)}, got {short(value)}"
    if isinstance(x, _NOT) or not (whole or isinstance(x, Integral)):
        raise TypeError(wanted)
    if (low is not None and n < low) or (high is not None and n > high):
        raise ValueError(wanted)
    return n


def number(
    name: str,
    value: object,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return a finite float in the given interval."""
    wanted = (
        f"{name}: expected a finite number{_interval(low, high, open_low, open_high)}, got "
        f"{short(value)}"
    )
    if low is not None and high is not None:
        wanted = wanted.replace("a finite number", "a number")
    given = scalar(value)
    if isinstance(given, _NOT) or not isinstance(given, Real):
        raise TypeError(wanted)
    try:
        x = float(given)
    except OverflowError:
        raise ValueError(wanted) from None
    below = low is not None and (x < low or (open_low and x == low))
    above = high is not None and (x > high or (open_high and x == high))
    if not math.isfinite(x) or below or above:
        raise ValueError(wanted)
    return x


def boolean(name: str, value: object) -> bool:
    """Return True or False; refuse other truthy values."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected true or false, got {short(value)}")
    return bool(value)


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """Return one of the given strings."""
    wanted = f"{name}: expected one of {', '.join(repr(o) for o in options)}, got {short(value)}"
    if not isinstance(value, str):
        raise TypeError(wanted)
    if value not in options:
        raise ValueError(wanted)
    return str.__str__(value)  # a plain one: of NumPy's, and of enumerations, str() may be another


def dtype(name: str, value: object, options: Sequence[str]) -> str:
    """Return the name of a number type, given in any form that NumPy accepts."""
    known = isinstance(value, (str, np.dtype)) or (isinstance(value, type) and value is not type)
    try:
        found = np.dtype(value).name if known else ""  # type: ignore[call-overload]
    except TypeError:
        found = ""
    if found not in options:
        wanted = f"{name}: expected one of {', '.join(repr(o) for o in options)}"
        raise (ValueError if known else TypeError)(f"{wanted}, got {short(value)}")
    return found


def text(name: str, value: object) -> str:
    """Return a string that files can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {short(value)}")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(
            f"{name}: expected a string without NUL and surrogate characters, got {short(value)}"
        )
    return value


def nearest(word: str, words: Sequence[str]) -> str:
    """Return a hint for a typing error, to put at the end of a message."""
    import difflib

    close = difflib.get_close_matches(word, words, 1, 0.7)
    return f"; did you mean {close[0]!r}?" if close and word not in words else ""


def instance(name: str, value: object, types: type | tuple[type, ...], words: str) -> Any:
    """Return an object of one of the types, which `words` describes."""
    if not isinstance(value, types):
        raise TypeError(f"{name}: expected {words}, got {short(value)}")
    return value


def unmasked(name: str, value: object) -> object:
    """Return the value, unless it has masked entries: the data below a mask are undefined."""
    if isinstance(value, np.ma.MaskedArray) and (
        masked := int(np.count_nonzero(np.ma.getmaskarray(value)))
    ):
        raise TypeError(
            f"{name}: expected numbers without masked entries, got {short(value)}, {masked} masked"
        )
    return value


def array(name: str, value: object, shape: Sequence[int | str]) -> Float64:
    """Return a read-only float64 copy. In `shape` a letter matches any length >= 1."""
    wanted = f"{name}: expected real numbers of shape {letters(shape)}"
    try:
        a = np.asarray(unmasked(name, value))
    except ValueError:  # ragged nested sequences
        raise TypeError(f"{wanted}, got {short(value)}") from None
    if a.dtype.kind not in "iuf":
        raise TypeError(
            f"{wanted}, got {short(value) if a.dtype.kind == 'O' else 'dtype ' + str(a.dtype)}"
        )
    if a.ndim != len(shape) or any(
        n < 1 or (isinstance(s, int) and n != s) for n, s in zip(a.shape, shape, strict=True)
    ):
        raise ValueError(f"{wanted}, got shape {letters(a.shape)}")
    out = (
        np.array(a, dtype=np.float64, order="C") + 0.0
    )  # + 0.0: no -0.0, so that equal arrays have equal bytes
    if not np.isfinite(out).all():
        raise ValueError(
            f"{name}: expected finite numbers, got {short(float(out[~np.isfinite(out)][0]))} "
            "among them"
        )
    out.setflags(write=False)
    return out
