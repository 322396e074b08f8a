"""Checks of your own sequences and labels: shapes, finite numbers, and the units of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models

FACTOR = 3.0
ENOUGH = 10_000  # entries in one check
TAIL = 27.6  # -log 1e-12


def sequences(
    name: str, value: Any, letters: tuple[str, ...], shape: tuple[int, ...], dtype: str
) -> npt.NDArray[Any]:
    """Return an array of shape (n, *shape), C-contiguous, aligned, of this dtype.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    value : array_like
        Finite real numbers. An array that already has this form is returned itself.
    letters : tuple of str
        Letters of all axes, for messages.
    shape : tuple of int
        Lengths of all axes but the first.
    dtype : "float32" or "float64"

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If the value has another shape, or entries that are not finite real numbers of this dtype.
    """
    a = numbers(name, value, letters, shape)
    if a.ndim != len(letters) or a.shape[1:] != shape:
        raise ValueError(
            f"{name}: expected shape {_checks.letters(letters)} = "
            f"{_checks.letters((letters[0], *shape))}, got {_checks.letters(a.shape)}"
        )
    with np.errstate(over="ignore"):  # infinite in float32: refused below
        out = np.ascontiguousarray(a, dtype=dtype)
    out = out if out.flags.aligned else out.copy()  # from files and record arrays
    if not _surely_finite(out) and not (finite := np.isfinite(out)).all():
        at = tuple(int(i[0]) for i in np.nonzero(~finite))
        beyond = " beyond float32" if np.isfinite(a[at]) else ""
        raise ValueError(
            f"{name}: expected finite numbers, got {_checks.short(a[at].item())}{beyond} at "
            f"{name}[{', '.join(map(str, at))}]"
        )
    return out


def numbers(
    name: str, value: Any, letters: tuple[str, ...], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return an array of real numbers, of any shape. Raises TypeError for other values."""
    try:
        a = np.asarray(_checks.unmasked(name, value))
    except ValueError:
        raise TypeError(
            f"{name}: expected shape {_checks.letters(letters)} = "
            f"{_checks.letters((letters[0], *shape))}, got a ragged sequence"
        ) from None
    if a.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, got dtype {a.dtype}")
    return a


def _surely_finite(a: npt.NDArray[Any]) -> bool:
    """Return whether all entries are known to be finite, in one pass without extra memory.

    False is possible for finite entries too, if their squares overflow.
    """
    flat = a.reshape(-1)
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))


class Units:
    """Check of the units of sequences: the mean square of entries should be that of the model's
    tokens, which is 1/d, or sum_l C_ll / (L d) with correlated tokens.

    A check uses N entries, about 10 000, the first ones of a call or those of several short calls.
    It refuses sequences if d mean(X^2) is above 3 (1 + 2 sqrt(t/N) + 2 t/N) or below
    (1 - 2 sqrt(t/N)) / 3, with t = log 1e12.

    The factor 3 allows for data that are not scaled exactly. The rest allows for chance: without
    the factor 3, the mean of N squared standard normals leaves the interval with a probability
    below 1e-12 on either side (Laurent and Massart, Ann. Statist. 28 (2000), lemma 1). So a check
    refuses Gaussian data, of any n, L and d, with a probability below 2e-12. If sequences come one
    by one, there is a check at each of them, of all entries so far; the count starts again after
    10 000 / (L d) sequences.

    With correlated tokens the effective number of entries is smaller. With the eigenvalues of C
    divided by their mean, t/N is multiplied by their mean square below the root, and by the largest
    of them outside it. Data of unit variance are detected from d = 4 on. There is no check for
    Student's t tokens, whose squares may have no variance.

    Parameters
    ----------
    d : int
        Token dimension.
    tokens : str or Tokens
        Token law of the model.
    """

    def __init__(self, d: int, tokens: str | models.Tokens) -> None:
        self._d, self._sum, self._count = d, 0.0, 0
        self._expected = (
            float(np.mean(np.diag(tokens.C))) if isinstance(tokens, models.Correlated) else 1.0
        )
        # Mean square and largest of the eigenvalues of C divided by their mean.
        self._spread = self._top = 1.0
        if isinstance(tokens, models.Correlated) and self._expected > 0:
            weights = np.linalg.eigvalsh(tokens.C) / self._expected
            self._spread, self._top = float(np.mean(weights**2)), float(weights.max())
        self._known = self._expected > 0 and not isinstance(tokens, models.StudentT)

    def look(self, X: npt.NDArray[Any]) -> None:
        """Check sequences X (n, L, d). Raises ValueError if their units are wrong."""
        if not self._known or not X.size:
            return
        if self._count >= ENOUGH:  # from now on one check per call, as the data may change
            self._sum, self._count = 0.0, 0
        some = X[: max(1, -(-(ENOUGH - self._count) // X[0].size))].reshape(-1)
        with np.errstate(over="ignore"):  # infinite: refused below
            total = self._sum + float(np.dot(some, some)) * self._d / self._expected
        n = self._count + some.size
        ratio = total / n
        chance = 2 * math.sqrt(TAIL / n * self._spread)
        if not (1 - chance) / FACTOR <= ratio <= FACTOR * (1 + chance + 2 * TAIL / n * self._top):
            mean = ratio * self._expected / self._d
            unit = (
                f" (unit variance? divide by sqrt(d) = {math.sqrt(self._d):.4g})"
                if abs(ratio / self._d - 1) < 0.5
                else ""
            )
            raise ValueError(
                "X: expected entries of mean square "
                f"{'1/d' if self._expected == 1 else 'sum_l C_ll / (L d)'} = "
                f"{self._expected / self._d:.3g}, got {mean:.3g}{unit}; "
                "pass check_scale=False to skip this check"
            )
        self._sum, self._count = total, n
