"""Results of a sweep, with labels."""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _checks, _files
from .._lazy import xarray as xr
from .._outcome import mark
from ..results.files import netcdf_size
from ..results.provenance import FORMAT_VERSION
from ..results.result import Result
from .labels import nearly
from .piece import gaps
from .reader import Failure, Reader

if TYPE_CHECKING:
    import pandas as pd


if TYPE_CHECKING:
    from .assembly import Assembly

EAGER = 256_000_000  # bytes: larger ones are read when looked at


class SweepResult:
    """The results of the latest sweep in a store: those that exist, also while the sweep is
    running.

    Attributes
    ----------
    dims : tuple of str
        Axes of the grid.
    shape : tuple of int
    """

    def __init__(self, path: str | os.PathLike[str], *, _owner: object = None) -> None:
        self._reader: Reader = Reader(path)
        self._reader.owner = _owner  # a folder that lives as long as anything reads from it
        text, self._cells = self._reader.last()
        with self._reader.whole():
            self._definition = json.loads(text)
            axes = self._definition["axes"]
            self.dims: tuple[str, ...] = tuple(a["name"] for a in axes)
            self.shape: tuple[int, ...] = tuple(len(a["coords"][a["name"]]) for a in axes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "dataset"}

    @property
    def path(self) -> Path:
        """Path of the store."""
        return self._reader.path

    @cached_property
    def dataset(self) -> xr.Dataset:
        """All records under their labels: the axes of the grid, then run, step and token as in
        :class:`Result`.

        If cells differ in their records, runs or tokens, the dataset has the union, with NaN where
        a cell has no value; counts and booleans are then float64. It is loaded at once if it is
        smaller than 256 MB, otherwise on access (see :meth:`open`). The attribute `complete` is 0
        while cells are missing.

        `weak_recovery` is inf for a run that did not reach eta, so that
        ``weak_recovery.median("run")`` never uses only the runs that did. NaN means not computed.
        """
        return self.open()

    def open(self, lazy: bool | None = None) -> xr.Dataset:
        """Open the dataset in the present state of the store.

        Parameters
        ----------
        lazy : bool, optional
            Whether to read values on access. None does so for large datasets.
        """

        a = self._assembly()
        if lazy is None:
            lazy = (
                sum(
                    int(np.prod(v.shape, dtype=np.float64)) * v.dtype.itemsize
                    for v in a.variables.values()
                )
                > EAGER
            )
        values = {name: a.lazy(name) for name in a.variables} if lazy else a.everything()
        data = {
            name: ((*self.dims, *v.dims), values[name], {"long_name": v.meaning} | _comment(v.dims))
            for name, v in a.variables.items()
        }
        with self._reader.whole():
            return xr.Dataset(
                data, coords=self._axes_coords() | self._record_coords(a), attrs=self._attributes(a)
            )

    def _assembly(self) -> Assembly:
        with self._reader.whole():
            return _assemble(self._reader, self.shape, self._cells)

    def _axes_coords(self) -> dict[str, Any]:
        return {
            name: (a["name"], np.array(values))
            for a in self._definition["axes"]
            for name, values in a["coords"].items()
        }

    def _record_coords(self, a: Assembly) -> dict[str, Any]:
        dims = {dim for v in a.variables.values() for dim in v.dims}
        coords: dict[str, Any] = {"step": ("step", a.step, {"long_name": "step tau"})}
        axes, time = a.time()
        coords["time"] = (
            (*(self.dims[i] for i in axes), "step"),
            time,
            {"long_name": "time t = integral of lr / d"},
        )
        if "run" in dims:
            coords["run"] = ("run", a.run)
        if "token" in dims:
            tokens = max(
                n
                for v in a.variables.values()
                for dim, n in zip(v.dims, v.shape[len(a.shape) :], strict=True)
                if dim == "token"
            )
            coords["token"] = ("token", np.arange(1, tokens + 1))
        return coords

    def _attributes(self, a: Assembly) -> dict[str, Any]:
        return {
            "format": "seqsgd sweep",
            "format_version": FORMAT_VERSION,
            "complete": int(all(a.complete)),
            "base": json.dumps(self._definition["base"]),
            "store": self._store,
        }

    @property
    def _store(self) -> str:
        return "scratch" if self._reader.owner is not None else str(self.path)

    @property
    def m(self) -> xr.DataArray:
        """Overlap w . w* / d."""
        return self.dataset["m"]

    @property
    def weak_recovery(self) -> xr.DataArray:
        """First step of weak recovery; inf if eta was not reached, NaN if not computed."""
        return self._recorded("weak_recovery")

    @property
    def loss(self) -> xr.DataArray:
        """Mean one-pass loss since the previous record."""
        return self._recorded("loss")

    @property
    def e(self) -> xr.DataArray:
        """Positional overlap."""
        return self._recorded("e")

    def _recorded(self, name: str) -> xr.DataArray:
        if name not in self.dataset:
            raise AttributeError(f"{name}: this sweep did not record it")
        return self.dataset[name]

    def __getitem__(self, name: str) -> xr.DataArray:
        return self.dataset[name]

    def sel(
        self,
        /,
        indexers: Mapping[Any, Any] | None = None,
        method: str | None = None,
        tolerance: Any = None,
        drop: bool = False,
        **labels: Any,
    ) -> xr.Dataset:
        """Select by labels: `dataset.sel` with all its options.

        Floats match up to rounding: 1e-9 relative for float64, that of float32 if the label or the
        coordinate is one. This holds for scalars, lists, arrays and the ends of slices.

        Parameters
        ----------
        indexers : mapping, optional
            Labels by dimension, for names that are not valid keywords.
        method, tolerance, drop
            As for :meth:`xarray.Dataset.sel`.
        **labels
            Labels by dimension: scalars, lists, arrays, DataArrays or slices.
        """
        if indexers is not None and not isinstance(indexers, Mapping):
            raise TypeError(
                "indexers: expected a mapping of labels by dimension, "
                f"got {_checks.short(indexers)}"
            )
        if both := set(indexers or ()) & set(labels):
            raise ValueError(
                "indexers: expected each dimension once, "
                f"got {', '.join(map(str, both))} also as a keyword"
            )
        exact = {
            name: self._exact(name, label) for name, label in {**(indexers or {}), **labels}.items()
        }
        return self.dataset.sel(exact, method=method, tolerance=tolerance, drop=drop)

    def groupby(self, group: Any, **rest: Any) -> Any:
        """Group the dataset: `dataset.groupby`."""
        return self.dataset.groupby(group, **rest)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with a row for every recorded number."""
        return self.dataset.to_dataframe()

    def _exact(self, name: str, label: Any) -> Any:
        """Replace floats by the coordinates that they equal up to rounding."""
        _, values = self._axes_coords().get(name, (name, np.empty(0, object)))
        return nearly(values, label)

    @property
    def cells_done(self) -> int:
        """Number of complete cells at this moment."""
        # without an Assembly, which loads xarray: after Ctrl-C nobody wants to wait for that
        with self._reader.whole():
            there = self._reader.there()
            return sum(
                not gaps(int(first), int(runs), there.get(bytes(key), []))
                for key, first, runs in self._cells
            )

    def cell(self, /, **labels: Any) -> Result:
        """Return one cell as :func:`seqsgd.simulate` would, with all of its provenance.

        Parameters
        ----------
        **labels
            A coordinate for each axis, such as omega=0.3.
        """

        position, words = [], []
        for dim, n in zip(self.dims, self.shape, strict=True):
            values = self._axes_coords()[dim][1]
            if dim not in labels:
                raise ValueError(
                    f"{dim}: missing, expected one of {_checks.short(values.tolist())}"
                )
            found = np.flatnonzero(values == self._exact(dim, labels[dim]))
            if len(found) != 1 or np.ndim(labels[dim]):
                raise ValueError(
                    f"{dim}: expected one of {_checks.short(values.tolist())}, got "
                    f"{_checks.short(labels[dim])}"
                )
            position.append(int(found[0]))
            words.append(f"{dim} = {labels[dim]}")
            assert position[-1] < n
        for name in labels:
            if name not in self.dims:
                raise ValueError(f"{name}: expected one of {', '.join(self.dims) or 'none'}")
        index = int(np.ravel_multi_index(position, self.shape)) if position else 0
        a = _assemble(self._reader, (), self._cells[index : index + 1])
        if not a.parts[0]:
            raise ValueError(
                f"{', '.join(words) or 'cell'}: it was not computed yet, or failed (see `errors`)"
            )
        values = a.everything()
        data = {
            name: (v.dims, values[name], {"long_name": v.meaning})
            for name, v in a.variables.items()
        }
        return Result(
            mark(
                xr.Dataset(
                    data, coords=self._record_coords(a), attrs=self._cell_attributes(index, a)
                )
            )
        )

    def _cell_attributes(self, index: int, a: Assembly) -> dict[str, Any]:
        _, first, runs = self._cells[index]
        parts = a.parts[0]
        kept = self._reader.inputs({bytes(self._cells[index]["key"])})[
            bytes(self._cells[index]["key"])
        ]
        arguments = kept["arguments"] | {
            "runs": int(runs),
            "first_run": int(first),
            "threads": None,
        }
        origin = json.loads(self._reader.texts({parts[0].stored.origin})[parts[0].stored.origin])
        seconds = sum(p.stored.seconds for p in parts)
        done = (
            float(np.nansum(a.everything()["steps_done"])) if "steps_done" in a.variables else 0.0
        )
        return {
            "format": "seqsgd result",
            "format_version": FORMAT_VERSION,
            "dynamics": arguments["dynamics"],
            "task": json.dumps(arguments["task"]),
            "task_repr": kept["task_repr"],
            "arguments": json.dumps({k: v for k, v in arguments.items() if k != "task"}),
            "rng_entropy": json.dumps(arguments["rng"]),
            "simd": origin["simd"],
            "versions": json.dumps(origin["versions"]),
            "created": max(p.stored.created for p in parts),
            "wall_time": seconds,
            "run_steps_per_second": done / seconds if seconds > 0 else 0.0,
        }

    def provenance(self) -> xr.Dataset:
        """Return the provenance of every cell, under the labels of the grid: `arguments` (JSON),
        `seconds` of computing, `created` (UTC), `versions` (JSON), `simd`, `complete`, `error`,
        `key`.
        """

        a = self._assembly()
        keys = [bytes(k) for k in self._cells["key"]]
        with self._reader.whole():
            inputs = self._reader.inputs(set(keys))
            origins = {
                i: json.loads(t)
                for i, t in self._reader.texts(
                    {p.stored.origin for parts in a.parts for p in parts}
                ).items()
            }
            failed = {f.key: f.error for f in self._reader.failures(set(keys))}
            columns: dict[str, list[Any]] = {
                "arguments": [
                    json.dumps(inputs[k]["arguments"]) if k in inputs else "" for k in keys
                ],
                "seconds": [
                    sum(p.stored.seconds for p in parts) if parts else np.nan for parts in a.parts
                ],
                "created": [
                    max((p.stored.created for p in parts), default="") for parts in a.parts
                ],
                "versions": [
                    json.dumps(origins[parts[0].stored.origin]["versions"]) if parts else ""
                    for parts in a.parts
                ],
                "simd": [
                    ", ".join(sorted({origins[p.stored.origin]["simd"] for p in parts}))
                    for parts in a.parts
                ],
                "complete": list(a.complete),
                "error": [failed.get(k, "") for k in keys],
                "key": [k.hex() for k in keys],
            }
        data = {
            name: (
                self.dims,
                np.array(values, None if name in ("seconds", "complete") else object).reshape(
                    self.shape
                ),
            )
            for name, values in columns.items()
        }
        return xr.Dataset(data, coords=self._axes_coords(), attrs=self._attributes(a))

    @property
    def errors(self) -> dict[str, str]:
        """The failed cells in words, and why they failed. Tracebacks are in :attr:`tracebacks`."""
        return {where: f.error for where, f in self._failures().items()}

    @property
    def tracebacks(self) -> dict[str, str]:
        """Tracebacks of the failed cells."""
        return {where: f.traceback for where, f in self._failures().items()}

    def _failures(self) -> Mapping[str, Failure]:
        keys = [bytes(k) for k in self._cells["key"]]
        failed = {f.key: f for f in self._reader.failures(set(keys))}
        coords = self._axes_coords()
        out = {}
        for i, key in enumerate(keys):
            if key in failed:
                at = np.unravel_index(i, self.shape) if self.shape else ()
                out[
                    ", ".join(
                        f"{dim} = {coords[dim][1][j]}" for dim, j in zip(self.dims, at, strict=True)
                    )
                    or "the only cell"
                ] = failed[key]
        return out

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write one netCDF4 file, completely or not at all: the dataset, and the provenance of
        every cell in the group `provenance`.
        """
        target = _files.check_netcdf(
            "path", path, "; for other formats use to_zarr or dataset.to_dataframe()"
        )
        dataset, words = self.dataset, self.provenance()
        with _files.atomic(target, netcdf_size(dataset, words)) as part:
            dataset.to_netcdf(part, engine="h5netcdf")
            words.to_netcdf(part, mode="a", group="provenance", engine="h5netcdf")

    def to_zarr(self, path: str | os.PathLike[str]) -> None:
        """Write a zarr folder with the same contents (needs the package zarr).

        An existing folder is refused.
        """
        final = _files.check_path("path", path)
        if final.exists():
            raise ValueError(f"path: {str(final)!r} exists already")
        part = _files.temporary_name(_files.check_folder("path", final))
        try:
            _free_words(self.dataset).to_zarr(part, mode="w-", consolidated=False)
            _free_words(self.provenance()).to_zarr(
                part, mode="a", group="provenance", consolidated=False
            )
            part.rename(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _rows(self) -> list[tuple[str, str]]:
        a = self._assembly()
        failed = len(self._failures())
        sizes = " x ".join(f"{dim} {n}" for dim, n in zip(self.dims, self.shape, strict=True))
        rows = [
            ("grid", sizes or "one cell"),
            (
                "cells",
                f"{sum(a.complete)} of {len(a.complete)} done"
                + (f", {failed} failed" if failed else ""),
            ),
        ]
        rows.append(
            (
                "records",
                f"{len(a.run)} runs, {len(a.step)} steps, {', '.join(a.variables)}"
                if a.variables
                else "none yet",
            )
        )
        return [*rows, ("store", self._store)]

    def __repr__(self) -> str:
        return "<seqsgd.SweepResult>\n" + "\n".join(
            f"  {name:<8} {text}" for name, text in self._rows()
        )

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(n)}</th><td "
            f"style='text-align:left'>{html.escape(t)}</td></tr>"
            for n, t in self._rows()
        )
        return (
            f"<div><strong>seqsgd.SweepResult</strong><table>{body}</table><details>"
            f"<summary>dataset</summary>{self.dataset._repr_html_()}</details></div>"
        )


def _free_words(d: xr.Dataset) -> xr.Dataset:
    """Convert strings to variable length: zarr has no settled format for fixed length, and
    warns.
    """
    return d.assign_coords(
        {name: d[name].astype(object) for name in d.coords if d[name].dtype.kind == "U"}
    )


def _comment(dims: tuple[str, ...]) -> dict[str, str]:
    """Return what NaN means in records."""
    if "step" not in dims:
        return {}
    stopped = "after a run stopped (halted at eta, or values not finite)"
    return {"comment": f"NaN: not computed, not recorded, or {stopped}"}


def open_sweep(path: str | os.PathLike[str]) -> SweepResult:
    """Open the results in a store, complete or not.

    Raises
    ------
    StoreError
        If the file is not a store, or was written by a newer version.
    """
    return SweepResult(path)


__all__ = ["SweepResult", "open_sweep"]


def _assemble(*args: Any) -> Assembly:
    from .assembly import Assembly  # a backend of xarray, which is loaded with it

    return Assembly(*args)
