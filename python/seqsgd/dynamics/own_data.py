"""Sequences and labels of the caller's: what they must be, and whether their units are the
model's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checks, models

FACTOR = 3.0
ENOUGH = 10_000  # entries that are looked at together
TAIL = 27.6  # -log 1e-12


def sequences(
    name: str, value: Any, letters: tuple[str, ...], shape: tuple[int, ...], dtype: str
) -> npt.NDArray[Any]:
    """An array of this shape behind its first axis, C-contiguous, aligned, of this dtype; the value
    itself if it is all that.
    """
    a = numbers(name, value, letters, shape)
    if a.ndim != len(letters) or a.shape[1:] != shape:
        raise ValueError(
            f"{name}: expected shape {_checks.letters(letters)} = "
            f"{_checks.letters((letters[0], *shape))}, got {_checks.letters(a.shape)}"
        )
    with np.errstate(over="ignore"):  # what does not fit float32 is said to be infinite below
        out = np.ascontiguousarray(a, dtype=dtype)
    out = out if out.flags.aligned else out.copy()  # numbers at odd addresses, of files and records
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
    """An array of real numbers, of any shape."""
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
    """One quick pass that needs no memory; false also where squares overflow."""
    flat = a.reshape(-1)
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))


class Units:
    """Looks at the first sequences: their entries should have the mean square that the model's
    tokens have, 1/d, or sum_l C_ll / (L d) with correlated tokens.

    Sequences are refused where d mean(X^2), over 10 000 entries or so, the first of each call or
    those of several short ones, is above 3 (1 + 2 sqrt(t/N) + 2 t/N) or below (1 - 2 sqrt(t/N)) /
    3, for N entries and t = log 1e12. The factor 3 is for data that are not quite scaled; the rest
    is for chance: a mean of N squared normals of variance 1 leaves that interval, without the
    factor 3, with a probability below 1e-12 on either side (Laurent and Massart, Ann. Statist. 28
    (2000), lemma 1). So Gaussian data of any n, L and d are refused with a probability below 2e-12
    a look, of which single sequences take 10 000 / (L d). Correlated tokens are fewer in effect:
    t/N is multiplied by the mean square of the eigenvalues of C over their mean below the root, by
    the largest outside. Data of unit variance are told from d = 4 on. With Student's t tokens,
    whose squares may have no variance, nothing is looked at.
    """

    def __init__(self, d: int, tokens: str | models.Tokens) -> None:
        self._d, self._sum, self._count = d, 0.0, 0
        self._expected = (
            float(np.mean(np.diag(tokens.C))) if isinstance(tokens, models.Correlated) else 1.0
        )
        # of the eigenvalues of C over their mean: the mean square, and the largest
        self._spread = self._top = 1.0
        if isinstance(tokens, models.Correlated) and self._expected > 0:
            weights = np.linalg.eigvalsh(tokens.C) / self._expected
            self._spread, self._top = float(np.mean(weights**2)), float(weights.max())
        self._known = self._expected > 0 and not isinstance(tokens, models.StudentT)

    def look(self, X: npt.NDArray[Any]) -> None:
        """Refuse X, or count it in."""
        if not self._known or not X.size:
            return
        if self._count >= ENOUGH:  # each call by itself from now on: other data may come
            self._sum, self._count = 0.0, 0
        some = X[: max(1, -(-(ENOUGH - self._count) // X[0].size))].reshape(-1)
        with np.errstate(over="ignore"):  # what is so large is refused
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
