"""Sweep files: a base as in run files, a grid, and where to keep the results."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _checks
from ..errors import ConfigError
from ..sweeps.definition import Sweep
from .tomlfile import change, known_keys, put, table, text, toml
from .tomlfile import path as path_of

_TOP = ("title", "store", "output", "rng", "workers", "checkpoint_every", "base", "grid")


@dataclass(frozen=True)
class SweepFile:
    """A checked sweep file.

    Attributes
    ----------
    title : str
    sweep : Sweep
    store : str
        File that keeps the results.
    output : str
        netCDF file (.nc) or zarr folder (.zarr) to write at the end, or "".
    workers : int or None
        Number of processes; None uses this process, with threads.
    checkpoint_every : float
    """

    title: str
    sweep: Sweep
    store: str
    output: str
    workers: int | None
    checkpoint_every: float


def read(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> SweepFile:
    """Read and check a sweep file; `sets` are `key=value` texts that change its base.

    Raises
    ------
    ConfigError
        If an entry is wrong: one line that starts with the dotted path of its key.
    """
    p = Path(path)
    tree = toml(p)
    known_keys(tree, _TOP, "")
    changed = [change(tree, item, _TOP) for item in sets]
    title, store, output = (
        text(tree, "title", ""),
        path_of(tree, "store", f"{p.stem}.sweep"),
        path_of(tree, "output", ""),
    )
    check_output(output)
    base = copy.deepcopy(dict(table(tree.get("base", {} if changed else None), "base")))
    for key, value in changed:
        if key:
            put(base, key, value, f"base.{key}")
    grid = dict(table(tree.get("grid"), "grid"))
    try:
        workers = None if "workers" not in tree else _checks.integer("workers", tree["workers"], 1)
        every = _checks.number("checkpoint_every", tree.get("checkpoint_every", 60.0), 0)
        rng: Any = (
            None if "rng" not in tree else _checks.integer("rng", tree["rng"], 0, unbounded=True)
        )
    except (TypeError, ValueError) as e:
        raise ConfigError(str(e)) from None
    sweep = Sweep(base, grid, rng=rng)
    for key, _ in changed:
        if key and any(
            key == k or key.startswith(f"{k}.") for axis in sweep.axes for k in axis.keys
        ):
            raise ConfigError(f"base.{key}: the grid sets this key, so --set would change nothing")
    return SweepFile(title, sweep, store, output, workers, every)


def check_output(output: str) -> None:
    """Refuse an output of an unknown format, or one that cannot be written."""
    if output and Path(output).suffix not in (".nc", ".zarr"):
        raise ConfigError(f"output: expected a name that ends in .nc or .zarr, got {output!r}")
    if output.endswith(".zarr") and Path(output).exists():
        raise ConfigError(f"output: {output!r} exists already")
