"""Assemble one array over the whole grid from thousands of pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from .piece import Layout, decode, decode_grid, gaps, layouts
from .reader import Reader, Stored

Array = npt.NDArray[Any]
Index = slice | Array


class Part(NamedTuple):
    """The runs of a stored piece (from, to) that are runs of a cell (from, to), as ranges of run
    numbers.
    """

    stored: Stored
    first: int
    runs: int


class Variable(NamedTuple):
    """An array over axes and dims."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    meaning: str
    whole: bool


class Assembly:
    """Positions of all pieces: of pieces in cells, of records on a common axis of steps, of runs on
    a common axis of runs.

    Parameters
    ----------
    reader : Reader
    shape : tuple of int
        Of the grid.
    cells : structured array (key, first, runs)
        One for each point of the grid, last axis fastest.
    """

    def __init__(self, reader: Reader, shape: tuple[int, ...], cells: np.ndarray[Any, Any]) -> None:
        self.reader, self.shape = reader, shape
        keys = [bytes(k) for k in cells["key"]]
        by_key: dict[bytes, list[Stored]] = {}
        for s in reader.pieces(set(keys)):
            by_key.setdefault(s.key, []).append(s)
        wanted = list(zip(keys, cells["first"].tolist(), cells["runs"].tolist(), strict=True))
        self.parts = [_choose(by_key.get(key, []), first, runs) for key, first, runs in wanted]
        self.complete = [
            not gaps(first, runs, [(p.first, p.runs, p.stored.split) for p in parts])
            for parts, (_, first, runs) in zip(self.parts, wanted, strict=True)
        ]
        stored = [p.stored for parts in self.parts for p in parts]
        texts = reader.texts({s.header for s in stored} | {s.grid for s in stored})
        self.headers: dict[int, list[Layout]] = {
            i: layouts(texts[i].decode()) for i in {s.header for s in stored}
        }
        self.grids = {i: decode_grid(texts[i]) for i in {s.grid for s in stored}}
        self.run = _numbers({(first, runs) for _, first, runs in wanted})
        self.step = (
            np.unique(np.concatenate([steps for steps, _ in self.grids.values()]))
            if self.grids
            else np.empty(0, np.int64)
        )
        self._at_run = _positions(self.run)
        self._at_step = {i: _index(self.step, steps) for i, (steps, _) in self.grids.items()}
        self.variables = self._variables(stored, len({(f, r) for _, f, r in wanted}) == 1)

    def _variables(self, stored: Sequence[Stored], same_runs: bool) -> dict[str, Variable]:
        out: dict[str, Variable] = {}
        dims: dict[str, list[str]] = {}
        sizes: dict[str, set[int]] = {}
        items = [item for header in self.headers.values() for item in header]
        for item in items:
            dims[item.name] = sorted({*dims.get(item.name, []), *item.dims}, key=_rank)
            for dim, n in zip(item.dims, item.shape, strict=True):
                sizes.setdefault(dim, set()).add(n)
        length = {dim: max(n) for dim, n in sizes.items()} | {
            "run": len(self.run),
            "step": len(self.step),
        }
        even = (
            all(self.complete)
            and same_runs
            and len({self.grids[s.grid][0].tobytes() for s in stored}) <= 1
        )
        even = even and all(len(n) == 1 for dim, n in sizes.items() if dim not in ("run", "step"))
        for name, order in dims.items():
            mine = [item for item in items if item.name == name]
            whole = (
                even
                and len(mine) == len(self.headers)
                and all({*item.dims, "run"} == {*order, "run"} for item in mine)
            )
            dtype = np.result_type(*(item.dtype for item in mine)).newbyteorder("=")
            if not whole and dtype.kind != "f":
                dtype = np.dtype(np.float64)  # to have a NaN
            shape = (*self.shape, *(length[dim] for dim in order))
            out[name] = Variable(tuple(order), shape, dtype, mine[0].meaning, whole)
        return out

    def load(
        self,
        cells: Iterable[tuple[tuple[int, ...], int]],
        shape: tuple[int, ...],
        names: Sequence[str],
    ) -> dict[str, Array]:
        """Load the arrays of a block of the grid; `cells` gives the cell at each position of the
        block.
        """
        out: dict[str, Array] = {}
        for name in names:
            v = self.variables[name]
            full = (*shape, *v.shape[len(self.shape) :])
            out[name] = (
                np.empty(full, v.dtype)
                if v.whole
                else np.full(full, np.nan if v.dtype.kind == "f" else 0, v.dtype)
            )
        uses: dict[int, list[tuple[tuple[int, ...], Part]]] = {}
        for position, cell in cells:
            for part in self.parts[cell]:
                uses.setdefault(part.stored.id, []).append((position, part))
        for i, data in self.reader.data(list(uses)):
            with self.reader.whole():
                for position, part in uses[i]:
                    self._place(position, part, data, out)
        return out

    def _place(
        self, position: tuple[int, ...], part: Part, data: bytes, out: dict[str, Array]
    ) -> None:
        s = part.stored
        for item in self.headers[s.header]:
            if item.name not in out:
                continue
            values = decode(item, data).transpose(
                sorted(range(len(item.dims)), key=lambda i: _rank(item.dims[i]))
            )
            if item.name == "weak_recovery":  # older stores have NaN for what was not reached
                values = np.where(np.isnan(values), np.inf, values)
            dims = self.variables[item.name].dims
            where: list[Any] = []
            for dim in dims:
                if dim not in item.dims:
                    # The same for all runs. One number of a whole sequence stands at its first
                    # token, so that sums over tokens count it once.
                    values = np.expand_dims(values, len(where))
                    where.append(self._runs(part) if dim == "run" else slice(0, 1))
                elif dim == "run":
                    if part.runs != s.runs:
                        skipped = part.first - s.first
                        values = values[
                            (slice(None),) * len(where) + (slice(skipped, skipped + part.runs),)
                        ]
                    where.append(self._runs(part))
                elif dim == "step":
                    where.append(self._at_step[s.grid])
                else:
                    where.append(slice(0, item.shape[item.dims.index(dim)]))
            if where:
                out[item.name][position][tuple(where)] = values
            else:
                out[item.name][position] = values

    def _runs(self, part: Part) -> slice:
        at = self._at_run[part.first]
        return slice(at, at + part.runs)

    def everything(self) -> dict[str, Array]:
        """Load all variables in one pass."""
        return self.load(
            zip(np.ndindex(*self.shape), itertools.count(), strict=False),
            self.shape,
            list(self.variables),
        )

    def time(self) -> tuple[tuple[int, ...], Array]:
        """Return the times of the records: the axes (by number) along which they differ, and an
        array over these and step.
        """
        rows, number = self._times()
        ids = np.array(
            [number[parts[0].stored.grid] if parts else -1 for parts in self.parts], dtype=np.int64
        ).reshape(self.shape)
        axes = []
        for axis in range(ids.ndim):
            low, high = (
                np.where(ids < 0, 2**62, ids).min(axis=axis, keepdims=True),
                ids.max(axis=axis, keepdims=True),
            )
            if ((low >= high) | (high < 0)).all():
                ids = high
            else:
                axes.append(axis)
        return tuple(axes), rows[ids.reshape([ids.shape[a] for a in axes])]

    def _times(self) -> tuple[Array, dict[int, int]]:
        """Return the distinct time grids, and which of them each record grid uses.

        Times are NaN where no cell has a record. The last row is for missing cells.
        """
        rows: list[Array] = []
        number: dict[int, int] = {}
        known: dict[bytes, int] = {}
        uneven = (
            len({steps.tobytes() for steps, _ in self.grids.values()}) > 1
            and len(self.grids) <= 500
        )
        for i, (steps, time) in self.grids.items():
            row = np.full(len(self.step), np.nan)
            row[self._at_step[i]] = time
            at = known.get(row.tobytes())
            if at is None and uneven:  # records at other steps of the same law
                at = next((k for k, other in enumerate(rows) if _agree(row, other)), None)
            if at is None:
                at = len(rows)
                rows.append(row)
            elif uneven:
                rows[at] = np.where(np.isnan(rows[at]), row, rows[at])
            known[row.tobytes()] = number[i] = at
        return np.array([*rows, np.full(len(self.step), np.nan)]), number

    def lazy(self, name: str) -> Any:
        """Return a variable that is read on access."""
        return indexing.LazilyIndexedArray(_Lazy(self, name))


class _Lazy(BackendArray):
    """Backend array of xarray, read by basic indices."""

    def __init__(self, assembly: Assembly, name: str) -> None:
        self._assembly, self._name = assembly, name
        v = assembly.variables[name]
        self.shape, self.dtype = v.shape, v.dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Array:
        a = self._assembly
        n = len(a.shape)
        numbers = np.arange(int(np.prod(a.shape, dtype=np.int64))).reshape(a.shape)[key[:n]]
        cells = (
            [(position, int(numbers[position])) for position in np.ndindex(numbers.shape)]
            if isinstance(numbers, np.ndarray)
            else [((), int(numbers))]
        )
        block = a.load(cells, np.shape(numbers), [self._name])[self._name]
        return block[(slice(None),) * np.ndim(numbers) + tuple(key[n:])]


def _choose(stored: Sequence[Stored], first: int, runs: int) -> list[Part]:
    """Choose pieces that cover runs first .. first + runs - 1 as far as they exist, without
    overlap.
    """
    for s in stored:
        if not s.split and (s.first, s.runs) == (first, runs):
            return [Part(s, first, runs)]
    out, at, end = [], first, first + runs
    for s in sorted((s for s in stored if s.split), key=lambda s: (s.first, -s.runs)):
        a, b = max(at, s.first), min(end, s.first + s.runs)
        if a < b:
            out.append(Part(s, a, b - a))
            at = b
    return out


def _agree(a: Array, b: Array) -> bool:
    both = np.isfinite(a) & np.isfinite(b)
    return bool((both & (a != 0)).any() and (a[both] == b[both]).all())


def _numbers(spans: set[tuple[int, int]]) -> Array:
    """Return all run numbers that occur."""
    if len(spans) == 1:
        ((first, runs),) = spans
        return np.arange(first, first + runs)
    return (
        np.unique(np.concatenate([np.arange(first, first + runs) for first, runs in spans]))
        if spans
        else np.empty(0, np.int64)
    )


def _positions(run: Array) -> dict[int, int]:
    return {int(r): i for i, r in enumerate(run)}


def _index(all_steps: Array, steps: Array) -> Index:
    """Return the positions of records among all steps, as a slice if they are contiguous."""
    at = np.searchsorted(all_steps, steps)
    if len(at) and at[-1] - at[0] == len(at) - 1:
        return slice(int(at[0]), int(at[-1]) + 1)
    return at


def _rank(dim: str) -> int:
    return {"run": 0, "step": 1, "token": 2}.get(dim, 3)
