"""A sweep as a value: every cell of it built and checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .. import _checks
from .._seed import Rng, Seed
from ..dynamics.table import check_memory
from ..errors import ConfigError
from ..models import Model
from ..models._base import plain
from ..models.identity import Functions
from ..models.plain import rebuild
from ..models.simulation import Run
from .fingerprint import SIZE, identify
from .grid import WORDS, Axis, parse


class Cell(NamedTuple):
    """One point of a sweep. `key` names its results in a store, for any number of runs."""

    run: Run
    seed: Seed
    key: bytes

    def input(self) -> str:
        """Everything but the runs, as JSON."""
        fields = self.run.to_plain().items()
        arguments = {k: v for k, v in fields if k not in (*SIZE, "type")}
        arguments |= {"rng": self.seed.to_plain()}
        return json.dumps({"arguments": arguments, "task_repr": repr(self.run.task)})


class Sweep:
    """A grid of simulations, checked and not yet run.

    Parameters
    ----------
    base : mapping
        Arguments of :func:`seqsgd.simulate` by name; models as objects or as tables with a `type`,
        as in run files. If `rng` is among them (or on the grid), every cell uses that seed: common
        random numbers.
    grid : mapping
        Axes. A key is a dotted name such as "lr" or "task.teacher.omega". Values are a list, an
        array, `{"linspace": [start, stop, n]}`, `{"geomspace": [start, stop, n]}`, `{"range":
        [start, stop, step]}` (stop excluded), or `{"labels": {name: value}}` for values without a
        short name, such as whole tasks. A joint key, "d, steps" or ("d", "steps"), takes as many
        lists of equal length, which form one axis. A table of values may also have `name` (of the
        dimension) and `round` (to integers).
    rng : int, numpy SeedSequence, numpy Generator or None
        The seed of the sweep. Each cell has its own stream, which depends on this seed and on what
        the cell simulates, but not on steps, record, stop, runs or the other cells. None draws
        fresh entropy, which the store keeps.

    Raises
    ------
    ConfigError, TypeError
        If an entry is wrong. One line starts with its place: `grid.lr[2]: ...` or `base.d: ...`.
    """

    def __init__(
        self, base: Mapping[str, Any], grid: Mapping[Any, Any], *, rng: Rng = None
    ) -> None:
        if not isinstance(base, Mapping):
            raise TypeError(
                "base: expected the keyword arguments of simulate as a mapping, got "
                f"{_checks.short(base)}"
            )
        self.axes: tuple[Axis, ...] = parse(grid)
        self._base = {k: list(v) if isinstance(v, Iterator) else v for k, v in base.items()}
        own = self._base.get("rng") is not None or any("rng" in axis.keys for axis in self.axes)
        if own and rng is not None:
            raise ConfigError(
                "rng: expected it in one place, got it as an argument and in base or grid"
            )
        self.root = None if own or rng is None else Seed.of(rng)
        if self._base.get("rng") is not None:
            self._base["rng"] = _seed("base.rng", self._base["rng"])
        self._cells = [
            self._cell(point) for point in itertools.product(*(axis.points for axis in self.axes))
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def runs(self) -> list[Run]:
        """The checked arguments of every cell, the last axis fastest."""
        return [run for run, _ in self._cells]

    @cached_property
    def run_steps(self) -> int:
        """Number of steps, summed over runs and cells."""
        return sum(run.runs * run.steps for run, _ in self._cells)

    @property
    def needs_entropy(self) -> bool:
        """Whether a seed must still be drawn."""
        return self.root is None and any(seed is None for _, seed in self._cells)

    def cells(self, root: Seed | None = None, *, loose: bool = False) -> list[Cell]:
        """Return every cell with its seed and key.

        `root` is the seed if no `rng` was given. `loose` allows functions that can be identified
        only within this sweep (see `Functions`).
        """
        functions, root = Functions(loose=loose), self.root or root
        return [Cell(run, *identify(run, seed, root, functions)) for run, seed in self._cells]

    def check_memory(self, indices: Iterable[int] | None = None) -> None:
        """Refuse cells that do not fit into memory, or that their dynamics does not support; all
        cells, or some by their numbers.
        """
        for i in range(len(self)) if indices is None else indices:
            try:
                check_memory(self._cells[i][0])
            except (MemoryError, TypeError, ValueError) as e:
                raise type(e)(f"{e} (in the cell {self.locate(i)})") from None

    def label(self, position: tuple[int, ...]) -> str:
        """Return a cell in words: omega = 0.5, L = 3."""
        return (
            ", ".join(
                f"{axis.name} = {axis.coords[axis.name][i]}"
                for axis, i in zip(self.axes, position, strict=True)
            )
            or "the only cell"
        )

    def locate(self, index: int) -> str:
        """Return the same for a cell given by its number."""
        return self.label(
            tuple(int(i) for i in np.unravel_index(index, self.shape)) if self.axes else ()
        )

    def definition(self) -> str:
        """Return axes and base as JSON, which a store keeps to label its cells."""
        axes = [{"name": a.name, "keys": a.keys, "coords": a.coords} for a in self.axes]
        base = {
            k: v.to_plain() if isinstance(v, Seed) else _plain(v)
            for k, v in self._base.items()
            if k != "threads"
        }
        return json.dumps({"axes": axes, "base": base})

    def _cell(self, point: tuple[tuple[Any, ...], ...]) -> tuple[Run, Seed | None]:
        tree: dict[str, Any] = dict(self._base)
        changes = [
            (key, v)
            for axis, values in zip(self.axes, point, strict=True)
            for key, v in zip(axis.keys, values, strict=True)
        ]
        for key, value in sorted(
            changes, key=lambda c: c[0].count(".")
        ):  # the whole before its parts
            _put(tree, key.split("."), value, key)
        rng = tree.pop("rng", None)
        try:
            run: Run = rebuild(tree, "base", "run")
        except ConfigError as e:
            raise ConfigError(self._place(str(e), changes)) from None
        except (ValueError, TypeError) as e:
            raise ConfigError(self._place(f"base.{e}", changes)) from None
        return run, rng if rng is None or isinstance(rng, Seed) else _seed("grid.rng", rng)

    def _place(self, message: str, changes: list[tuple[str, Any]]) -> str:
        """Attribute an error to the axis that covers its argument, otherwise to the cell."""
        path = message.split(":", 1)[0].removeprefix("base.")
        for key, value in sorted(changes, key=lambda c: -len(c[0])):
            if path == key or path.startswith((f"{key}.", f"{key}[")):
                rest = message.removeprefix("base.")[len(key) :]
                return (
                    f"grid.{key}{rest}"
                    if _checks.short(value) in rest or "unknown key" in rest
                    else f"grid.{key}{rest} (at {key} = {_checks.short(value)})"
                )
        if not changes:
            return message
        return (
            f"{message} (in the cell {', '.join(f'{k} = {_checks.short(v)}' for k, v in changes)})"
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{a.name}: {len(a)}" for a in self.axes)
        return f"<seqsgd.Sweep of {len(self)} cells ({sizes}), {self.run_steps:.4g} run-steps>"


def _seed(where: str, rng: Any) -> Seed:
    try:
        return Seed.of(rng)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{where.removesuffix('rng')}{e}") from None


def _plain(value: Any) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else plain(value)


def _put(tree: dict[str, Any], parts: list[str], value: Any, key: str) -> None:
    """Set tree[a][b] = value for the key "a.b"; copies tables and models on the way, models as
    tables.
    """
    for i, part in enumerate(parts[:-1]):
        inner = tree.get(part)
        if isinstance(inner, Model):
            inner = {"type": type(inner).__name__, **inner._values()}
        if not isinstance(inner, Mapping):
            above, word = ".".join(parts[: i + 1]), parts[i + 1]
            raise ConfigError(
                f"grid.{key}: base.{above} is {_checks.short(inner)} and has no {word!r}, nor is "
                f"it one of {', '.join(WORDS)}{_checks.nearest(word, WORDS)}"
            )
        tree[part] = dict(inner)
        tree = tree[part]
    tree[parts[-1]] = value
