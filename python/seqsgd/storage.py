"""Results in netCDF4 files: one result, or a group for each of several."""

from __future__ import annotations

import json
import os
import warnings
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _files, provenance
from ._outcome import renewed
from .result import Result
from .resultset import ResultSet

if TYPE_CHECKING:
    import xarray as xr

_SET = {"format": "seqsgd result set", "format_version": provenance.FORMAT_VERSION}


def save_result(result: Result, path: str | os.PathLike[str]) -> None:
    """See Result.save."""
    with _files.atomic(_files.check_folder("path", path)) as part:
        result.dataset.to_netcdf(part, engine="h5netcdf")


def save_set(results: ResultSet, path: str | os.PathLike[str]) -> None:
    """See ResultSet.save."""
    import xarray as xr

    groups = {"/": xr.Dataset(attrs=_SET | {"title": results.title})}
    for i, (label, result) in enumerate(results.items()):
        groups[f"/case_{i:04d}"] = result.dataset.assign_attrs(label=label, panel=results.panels[label])
    with _files.atomic(_files.check_folder("path", path)) as part:
        xr.DataTree.from_dict(groups).to_netcdf(part, engine="h5netcdf")


def load(path: str | os.PathLike[str]) -> Result | ResultSet:
    """Read a file written by `Result.save`, `ResultSet.save` or the command line, fully into memory.

    Raises
    ------
    ValueError
        If it is no such file, or was written by a newer version of the format. A warning says when the task holds functions of the user's, which no
        file keeps: data and provenance are all there, `task` and `arguments` are not.
    """
    import xarray as xr

    p = Path(path)
    if not p.is_file():
        raise FileNotFoundError(f"path: there is no file {str(p)!r}")
    try:
        root = xr.load_dataset(p, engine="h5netcdf")
    except Exception as e:  # h5py and h5netcdf raise nearly anything for a damaged file
        raise _unreadable(p, e) from None
    _check(p, root)
    if root.attrs["format"] != _SET["format"]:
        _sound(p, root)
        return _told(Result(_current(root)))
    try:
        with xr.open_datatree(p, engine="h5netcdf") as tree:
            datasets = [tree[name].to_dataset().load() for name in sorted(tree.children)]
        labels = [str(d.attrs.pop("label")) for d in datasets]
        panels = {label: str(d.attrs.pop("panel")) for label, d in zip(labels, datasets, strict=True)}
    except Exception as e:  # as above
        raise _unreadable(p, e) from None
    for d in datasets:
        _sound(p, d)
    results = {label: _told(Result(_current(d))) for label, d in zip(labels, datasets, strict=True)}
    return ResultSet(results, title=str(root.attrs.get("title", "")), panels=panels)


def _check(path: Path, root: xr.Dataset) -> None:
    name: Any = root.attrs.get("format")
    if name not in ("seqsgd result", _SET["format"]):
        raise ValueError(f"path: {str(path)!r} was not written by seqsgd")
    version: Any = root.attrs.get("format_version")
    if not isinstance(version, Integral):
        raise ValueError(f"path: {str(path)!r} is damaged (format_version is {version!r})")
    if int(version) > provenance.FORMAT_VERSION:
        raise ValueError(f"path: {str(path)!r} has format {version}, this version of seqsgd reads up to {provenance.FORMAT_VERSION}; update seqsgd")


def _unreadable(path: Path, why: Exception) -> ValueError:
    return ValueError(f"path: {str(path)!r} is not a netCDF4 file, or is damaged ({' '.join(str(why).split()) or type(why).__name__})")


def _sound(path: Path, dataset: xr.Dataset) -> None:
    """Refuse a provenance that is none."""
    for name in ("task", "arguments"):
        try:
            there = isinstance(json.loads(dataset.attrs[name]), dict)
        except (KeyError, TypeError, ValueError):
            there = False
        if not there:
            raise ValueError(f"path: {str(path)!r} is damaged (the attribute {name!r} is not JSON of a table)")


def _current(dataset: xr.Dataset) -> xr.Dataset:
    return dataset if "complete" in dataset.attrs else renewed(dataset)


def _told(result: Result) -> Result:
    if '"type": "function"' in str(result.dataset.attrs.get("task", "")):
        warnings.warn("task: holds functions of the user's, which a file does not keep; data and provenance are complete", UserWarning, stacklevel=3)
    return result
