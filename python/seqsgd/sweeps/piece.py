"""Pieces: some runs of one cell, as they are sent to a worker, and their outcome."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._seed import Seed
from ..dynamics.protocol import PASSED, Variable
from ..models.simulation import Run

if TYPE_CHECKING:
    from .definition import Cell

Array = npt.NDArray[Any]


class Piece(NamedTuple):
    """Runs first_run .. first_run + runs - 1 of cell number `cell`.

    `seconds` is the estimated time on one core; `each` is its part outside the steps.
    """

    cell: int
    key: bytes
    run: Run
    seed: Seed
    seconds: float
    each: float = 0.0

    @property
    def run_steps(self) -> int:
        """Number of steps, summed over its runs."""
        return self.run.runs * self.run.steps

    @property
    def stem(self) -> str:
        """Name of its checkpoint."""
        return f"{self.key.hex()[:32]}-{self.run.first_run}-{self.run.runs}"


@dataclass(frozen=True)
class Outcome:
    """A computed or failed piece, in the form in which it is stored."""

    cell: int
    key: bytes
    first: int
    runs: int
    seconds: float
    header: str = ""
    grid: bytes = b""
    data: bytes = b""
    origin: str = ""
    created: str = ""
    nonfinite: int = 0
    error: str = ""
    traceback: str = ""


def encode(variables: Mapping[str, Variable], grid: Array, time: Array) -> tuple[str, bytes, bytes]:
    """Encode an outcome: header (JSON), record steps with their times, and the values, one array
    after another in C order, little-endian.
    """
    header, parts = [], []
    for name, v in variables.items():
        a = np.asarray(v.values)
        a = np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)).reshape(a.shape)
        header.append([name, list(v.dims), a.dtype.str, list(a.shape), v.meaning])
        parts.append(a.tobytes())
    return (
        json.dumps(header),
        np.asarray(grid, "<i8").tobytes() + np.asarray(time, "<f8").tobytes(),
        b"".join(parts),
    )


def decode_grid(blob: bytes) -> tuple[Array, Array]:
    """Decode record steps (int64) and times (float64)."""
    n = len(blob) // 16
    return np.frombuffer(blob, "<i8", n), np.frombuffer(blob, "<f8", n, 8 * n)


class Layout(NamedTuple):
    """Position of an array within the data of a piece."""

    name: str
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    meaning: str
    offset: int


def layouts(header: str) -> list[Layout]:
    """Return the arrays of a header."""
    out, offset = [], 0
    for name, dims, dtype, shape, meaning in json.loads(header):
        meaning = PASSED if name == "weak_recovery" else meaning  # older stores have another
        item = Layout(name, tuple(dims), np.dtype(dtype), tuple(shape), meaning, offset)
        offset += item.dtype.itemsize * int(np.prod(item.shape, dtype=np.int64))
        out.append(item)
    return out


def decode(item: Layout, data: bytes) -> Array:
    """Return one array, read-only, without a copy."""
    count = int(np.prod(item.shape, dtype=np.int64))
    return np.frombuffer(data, item.dtype, count, item.offset).reshape(item.shape)


CELLS = np.dtype([("key", "V32"), ("first", "<i8"), ("runs", "<i8")])


def pack(cells: Sequence[Cell]) -> bytes:
    """Pack keys and runs of the cells of a sweep, in order."""
    return np.array([(c.key, c.run.first_run, c.run.runs) for c in cells], CELLS).tobytes()


def checksum(data: bytes) -> int:
    """Return a checksum, which detects bit rot."""
    return zlib.crc32(data)


def gaps(first: int, runs: int, there: Sequence[tuple[int, int, bool]]) -> list[tuple[int, int]]:
    """Return the missing runs among first .. first + runs - 1, as (first, runs).

    `there` has (first, runs, whether its runs can be separated) of the stored pieces.
    """
    if any(not split and (f, n) == (first, runs) for f, n, split in there):
        return []
    missing, at, end = [], first, first + runs
    for f, n, split in sorted(there):
        if not split or f + n <= at or f >= end:
            continue
        if f > at:
            missing.append((at, f - at))
        at = f + n
    if at < end:
        missing.append((at, end - at))
    return missing
