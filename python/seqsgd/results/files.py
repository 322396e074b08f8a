"""Datasets in netCDF4 files: one, or one group for each of several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .. import _files
from .._lazy import xarray as xr
from . import provenance

SET = {"format": "seqsgd result set", "format_version": provenance.FORMAT_VERSION}


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """See Result.save."""
    with _files.atomic(_target(path, "result"), netcdf_size(dataset)) as part:
        dataset.to_netcdf(part, engine="h5netcdf")


def save_groups(
    datasets: Mapping[str, xr.Dataset],
    title: str,
    panels: Mapping[str, str],
    path: str | os.PathLike[str],
) -> None:
    """See ResultSet.save."""
    groups = {"/": xr.Dataset(attrs=SET | {"title": title})}
    for i, (label, dataset) in enumerate(datasets.items()):
        groups[f"/case_{i:04d}"] = dataset.assign_attrs(label=label, panel=panels[label])
    with _files.atomic(_target(path, "results[label]"), netcdf_size(*groups.values())) as part:
        xr.DataTree.from_dict(groups).to_netcdf(part, engine="h5netcdf")


def _target(path: str | os.PathLike[str], name: str) -> Path:
    others = f"; for CSV write {name}.dataset.to_dataframe().to_csv(path), and so on with xarray"
    return _files.check_netcdf("path", path, others)


def netcdf_size(*datasets: xr.Dataset) -> int:
    """Return an upper estimate of the bytes of datasets in one netCDF4 file without compression.

    Names, dimensions and short attributes take 10 to 15 kB per dataset.
    """
    texts = sum(len(str(a)) for d in datasets for a in d.attrs.values())
    return (
        len(datasets) * 2**15
        + texts
        + sum(_bytes(v) for d in datasets for v in d.variables.values())
    )


def _bytes(variable: xr.Variable) -> int:
    if variable.dtype != object:
        return int(variable.nbytes)
    return sum(32 + len(str(v)) for v in variable.values.flat)  # texts
