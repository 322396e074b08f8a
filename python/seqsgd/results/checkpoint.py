"""Checkpoints: the state of a simulation in one file, to continue bit for bit.

A file holds only NumPy arrays and JSON; reading it executes nothing. Your own functions are
recorded by what they consist of (see `models.identity`), and compared when a run is continued.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core, _files, _version
from .._seed import Seed
from ..dynamics.protocol import OtherVersion
from ..models.identity import NAME_IT, Functions, canonical

if TYPE_CHECKING:
    from ..dynamics.protocol import Resumable
    from ..models.recording import Steps
    from ..models.simulation import Run

FORMAT_VERSION = 3
_FREE = ("steps", "threads")  # may differ when a run is continued


class Checkpoint:
    """The checkpoint file of one simulation.

    Parameters
    ----------
    path : path
        The file, written atomically.
    run, seed
        What the file must belong to.
    """

    trusting = False  # whether functions that cannot be looked into are known to be the same

    def __init__(self, path: str | os.PathLike[str], run: Run, seed: Seed) -> None:
        self.path = _files.check_folder("checkpoint", path)
        self.run, self.seed, self.wall_time = run, seed, 0.0
        self._loaded: tuple[Steps, dict[str, npt.NDArray[Any]]] | None = None

    def exists(self) -> bool:
        """Return whether there is a file to continue from."""
        return self.path.exists()

    def grid(self, grid: Steps) -> Steps:
        """Return the record steps: the file's for the steps it covers, the present ones beyond."""
        if self._loaded is None:
            return grid
        old, state = self._loaded
        reached = int(state["reached"])
        return np.concatenate([old[old <= reached], grid[grid > reached]])

    def restore(self, engine: Resumable) -> None:
        """Put the loaded state into a simulation built on :meth:`grid`."""
        if self._loaded is not None:
            try:
                engine.restore(
                    {k[6:]: v for k, v in self._loaded[1].items() if k.startswith("state/")}
                )
            except OtherVersion as e:
                raise ValueError(f"checkpoint: {str(self.path)!r} {e}") from None
            except (KeyError, ValueError, TypeError, ArithmeticError, IndexError) as e:
                raise self._unreadable(e) from None
            self._loaded = None

    def save(self, engine: Resumable, grid: Steps, wall_time: float) -> None:
        """Write the present state."""
        meta = {
            "format_version": FORMAT_VERSION,
            "wall_time": wall_time,
            "steps": self.run.steps,
            "configuration": self._configuration(),
            "functions": self._functions()[0],
        }
        arrays: dict[str, Any] = {f"state/{k}": v for k, v in engine.state().items()}
        with _files.atomic(self.path) as part, open(part, "wb") as f:
            np.savez(
                f,
                meta=np.array(json.dumps(meta)),
                grid=grid,
                reached=engine.steps_done().max(),
                **arrays,
            )

    def _configuration(self) -> dict[str, Any]:
        """Return everything that determines the bits of a run."""
        run = {k: _nameless(v) for k, v in self.run.to_plain().items() if k not in _FREE}
        return run | {
            "rng": self.seed.to_plain(),
            "seqsgd version": _version.__version__,
            "instruction set (SEQSGD_SIMD)": _core.level,
        }

    def _functions(self) -> tuple[dict[str, Any], Functions]:
        """Return what the user functions consist of, by place, and what could not be inspected."""
        functions = Functions(loose=True)
        found: dict[str, Any] = {}
        _collect(canonical(self.run, "", functions), "", found)
        return found, functions

    def _unreadable(self, why: object) -> ValueError:
        damaged = (
            f", or is damaged ({' '.join(str(why).split()) or type(why).__name__})"
            if _files.kind(self.path) == "zip"
            else ""
        )
        return ValueError(f"checkpoint: {str(self.path)!r} is not a checkpoint of seqsgd{damaged}")

    def load(self, *, adopt: bool) -> None:
        """Read the file; `adopt` uses its entropy instead of comparing it."""
        try:
            with open(self.path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(str(arrays.pop("meta")))
            version, theirs, wall_time = (
                int(meta["format_version"]),
                dict(meta["configuration"]),
                float(meta["wall_time"]),
            )
            noted = dict(meta["functions"]) if version == FORMAT_VERSION else {}
            grid, reached = _record(arrays.pop("grid")), int(arrays["reached"])
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            AttributeError,
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            MemoryError,
            OverflowError,
        ) as e:
            raise self._unreadable(e) from None
        if version != FORMAT_VERSION:
            raise ValueError(
                f"checkpoint: {str(self.path)!r} has format {version}, this version of seqsgd "
                f"reads {FORMAT_VERSION}"
            )
        if adopt:
            self.seed = Seed.from_plain(theirs["rng"])
        ours = json.loads(json.dumps(self._configuration()))
        different = [f"{key} is {a} there and {b} here" for key, a, b in _differences(theirs, ours)]
        if different:
            more = f", and {len(different) - 3} more" if len(different) > 3 else ""
            raise ValueError(
                f"checkpoint: {str(self.path)!r} belongs to another run: "
                f"{'; '.join(different[:3])}{more}"
            )
        self._compare(noted)
        if reached > self.run.steps:
            raise ValueError(
                f"steps: {str(self.path)!r} has already done {reached}, got {self.run.steps}"
            )
        self.wall_time = wall_time
        self._loaded = grid, arrays

    def _compare(self, noted: dict[str, Any]) -> None:
        """Refuse functions that differ from those of the file."""
        here, functions = self._functions()
        for where, there in noted.items():
            if here.get(where) != there:
                raise ValueError(
                    f"checkpoint: {str(self.path)!r} belongs to another run: {where} is another "
                    f"function there, or rests on other data ({NAME_IT} that outlasts changes)"
                )
        if functions.unknown and not self.trusting:
            where, why = next(iter(functions.unknown.items()))
            warnings.warn(
                f"checkpoint: {str(self.path)!r} is continued although {where} rests on {why}, so "
                f"that nothing can tell whether it is the same function; {NAME_IT}",
                UserWarning,
                stacklevel=4,
            )


def _record(grid: npt.NDArray[Any]) -> Steps:
    """Return the record steps of a file, if they are valid."""
    if (
        grid.dtype != np.int64
        or grid.ndim != 1
        or (grid.size and (grid[0] < 0 or (np.diff(grid) <= 0).any()))
    ):
        raise ValueError("its record steps are not increasing")
    return grid


def _nameless(plain: Any) -> Any:
    """Return functions without their names: moving one to another file keeps it the same."""
    if isinstance(plain, Mapping):
        if plain.get("type") == "function":
            return "a function"
        return {k: _nameless(v) for k, v in plain.items()}
    return plain


def _collect(plain: Any, where: str, found: dict[str, Any]) -> None:
    """Collect the functions in the canonical form of a model, by dotted path."""
    if isinstance(plain, Mapping):
        if plain.get("type") in ("function", "Named"):
            found[where] = [v for k, v in plain.items() if k != "type"]
        for k, v in plain.items():
            _collect(v, f"{where}.{k}" if where else k, found)


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield dotted path and both values of every difference between two plain dictionaries."""
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.get("type") == b.get("type"):
        for key in {**a, **b}:
            yield from _differences(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif a != b:
        yield path, _brief(a), _brief(b)


def _brief(value: Any) -> str:
    text = value["type"] if isinstance(value, Mapping) and "type" in value else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


__all__ = ["Checkpoint"]
