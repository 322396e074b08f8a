"""Results from the netCDF4 files that were written of them."""

from __future__ import annotations

import json
import os
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from .. import _files
from .._lazy import xarray as xr
from .._outcome import mark
from ..dynamics.protocol import PASSED
from . import provenance
from .files import SET
from .result import Result
from .resultset import ResultSet

# what other parts of seqsgd write, by the first bytes or the attribute `format`, and how it is read
_READERS = {
    "SQLite": "a database; if it is the store of a sweep, read it with open_sweep",
    "zip": "a zip archive; if it is a checkpoint, the same simulate(..., checkpoint=...) or "
    "Simulator.load_state continues from it",
    "seqsgd sweep": "a sweep in netCDF; read it with xarray.open_dataset(..., engine='h5netcdf')",
    "seqsgd figure": "the data of a figure; read it with figures.load or xarray.open_dataset(..., "
    "engine='h5netcdf')",
}


def load(path: str | os.PathLike[str]) -> Result | ResultSet:
    """Load a file written by `Result.save`, `ResultSet.save` or the command line into memory.

    Raises
    ------
    FileNotFoundError, TypeError
        If there is no such file, or `path` is not a path.
    ValueError
        If it is another kind of file, or its format is newer. A warning says if the task contains
        your own functions, which files do not keep: data and provenance are complete, but `task`
        and `arguments` are not available.
    """
    p = _files.check_path("path", path)
    if p.is_dir():
        raise ValueError(
            f"path: {str(p)!r} is a folder; if it holds a sweep in zarr, read it with "
            "xarray.open_zarr"
        )
    if not p.is_file():
        raise FileNotFoundError(f"path: there is no file {str(p)!r}")
    if (kind := _files.kind(p)) in _READERS:
        raise ValueError(f"path: {str(p)!r} is {_READERS[kind]}")
    try:
        root = xr.load_dataset(p, engine="h5netcdf")
    except Exception as e:  # h5py and h5netcdf raise nearly anything for a damaged file
        raise _unreadable(p, e) from None
    _check(p, root)
    if root.attrs["format"] != SET["format"]:
        _sound(p, root)
        return _warned(Result(_current(root)))
    try:
        with xr.open_datatree(p, engine="h5netcdf") as tree:
            datasets = [tree[name].to_dataset().load() for name in sorted(tree.children)]
        labels = [str(d.attrs.pop("label")) for d in datasets]
        panels = {
            label: str(d.attrs.pop("panel")) for label, d in zip(labels, datasets, strict=True)
        }
    except Exception as e:  # as above
        raise _unreadable(p, e) from None
    for d in datasets:
        _sound(p, d)
    results = {
        label: _warned(Result(_current(d))) for label, d in zip(labels, datasets, strict=True)
    }
    return ResultSet(results, title=str(root.attrs.get("title", "")), panels=panels)


def _check(path: Path, root: xr.Dataset) -> None:
    name: Any = root.attrs.get("format")
    if str(name) in _READERS:
        raise ValueError(f"path: {str(path)!r} is {_READERS[str(name)]}")
    if name not in ("seqsgd result", SET["format"]):
        raise ValueError(f"path: {str(path)!r} was not written by seqsgd")
    version: Any = root.attrs.get("format_version")
    if not isinstance(version, Integral):
        raise ValueError(f"path: {str(path)!r} is damaged (format_version is {version!r})")
    if int(version) > provenance.FORMAT_VERSION:
        raise ValueError(
            f"path: {str(path)!r} has format {version}, this version of seqsgd reads up to "
            f"{provenance.FORMAT_VERSION}; update seqsgd"
        )


def _unreadable(path: Path, why: Exception) -> ValueError:
    return ValueError(
        f"path: {str(path)!r} is not a netCDF4 file, or is damaged "
        f"({' '.join(str(why).split()) or type(why).__name__})"
    )


def _sound(path: Path, dataset: xr.Dataset) -> None:
    """Refuse an invalid provenance."""
    for name in ("task", "arguments"):
        try:
            there = isinstance(json.loads(dataset.attrs[name]), dict)
        except (KeyError, TypeError, ValueError):
            there = False
        if not there:
            raise ValueError(
                f"path: {str(path)!r} is damaged (the attribute {name!r} is not JSON of a table)"
            )


def _current(dataset: xr.Dataset) -> xr.Dataset:
    return dataset if "complete" in dataset.attrs else _renewed(dataset)


def _warned(result: Result) -> Result:
    if '"type": "function"' in str(result.dataset.attrs.get("task", "")):
        warnings.warn(
            "task: contains user functions, which a file does not keep; data and provenance "
            "are complete",
            UserWarning,
            stacklevel=3,
        )
    return result


def _renewed(dataset: xr.Dataset) -> xr.Dataset:
    """Convert a dataset of format 1, which had NaN for steps that were not reached."""
    if "weak_recovery" in dataset and "censored" in dataset:
        passed, below = dataset["weak_recovery"], dataset["censored"].values.astype(bool)
        values = np.where(below & np.isnan(passed.values), np.inf, passed.values)
        dataset = dataset.assign(
            weak_recovery=(passed.dims, values, passed.attrs | {"long_name": PASSED})
        )
    # Written again, it must not pass for format 1, whose readers take inf for a step.
    return mark(dataset.assign_attrs(format_version=provenance.FORMAT_VERSION))
