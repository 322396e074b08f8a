"""Grids: axes of values, written as lists, as ranges or with labels, single or joint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _checks
from ..errors import ConfigError
from ..models import Model, Named
from ..models.identity import function_name

LIMIT = 1_000_000  # cells of a sweep
RANGES = ("linspace", "geomspace", "range")
WORDS = ("values", *RANGES, "labels")
OPTIONS = ("name", "round")
RECORDED = (
    "m",
    "q",
    "e",
    "loss",
    "weak_recovery",
    "censored",
    "nonfinite_step",
    "steps_done",
)  # by any dynamics
KEPT = (
    "arguments",
    "seconds",
    "created",
    "versions",
    "simd",
    "complete",
    "error",
    "key",
)  # the columns of `provenance`
RESERVED = (
    "run",
    "step",
    "token",
    "time",
    "cell",
    *RECORDED,
    *KEPT,
    "provenance",
)  # the last is a group in files
WANTED = (
    "a list of values, { linspace = [start, stop, n] }, { geomspace = [start, stop, n] }, { range "
    "= [start, stop, step] } or { labels = { name = value } }"
)


@dataclass(frozen=True)
class Axis:
    """One dimension of a sweep.

    Attributes
    ----------
    name : str
        Of the dimension.
    keys : tuple of str
        Dotted names of the arguments that change together along it.
    points : tuple of tuples
        The value of each key at each position.
    coords : dict of str to tuple
        Coordinates along the dimension, numbers, strings or booleans; the first is called `name`.
    """

    name: str
    keys: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]
    coords: dict[str, tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.points)


def parse(grid: Mapping[Any, Any]) -> tuple[Axis, ...]:
    """Return the axes of a grid.

    At most LIMIT cells are allowed, checked before any list is made.
    """
    if not isinstance(grid, Mapping):
        raise ConfigError(f"grid: expected a table of axes, got {_checks.short(grid)}")
    entries = [(_keys(key), value) for key, value in _flat(grid, ())]
    seen: set[str] = set()
    for keys, _ in entries:
        for key in keys:
            if key in seen:
                raise ConfigError(f"grid.{key}: appears twice")
            if key == "threads":
                raise ConfigError(
                    "grid.threads: results do not depend on it, so it cannot be an axis"
                )
            seen.add(key)
    columns = [_columns(keys, value) for keys, value in entries]
    cells = math.prod(len(axis.columns[0]) for axis in columns)
    if cells > LIMIT:
        sizes = " x ".join(str(len(axis.columns[0])) for axis in columns)
        raise ConfigError(f"grid: expected at most {LIMIT} cells, got {sizes} = {cells}")
    last = [key.rsplit(".", 1)[-1] for keys, _ in entries for key in keys]
    axes = tuple(_axis(keys, axis, last) for (keys, _), axis in zip(entries, columns, strict=True))
    _check_names(axes, [axis.name is not None for axis in columns])
    return axes


def _check_names(axes: Sequence[Axis], given: Sequence[bool]) -> None:
    """Refuse two axes with a coordinate of the same name (one of them was given as `name`)."""
    taken: dict[str, int] = {}
    for i, axis in enumerate(axes):
        for name in axis.coords:
            j = taken.setdefault(name, i)
            if j != i:
                here, there = (i, j) if given[i] and axes[i].name == name else (j, i)
                other = ", ".join(axes[there].keys)
                what = f"the axis of {other!r} has a coordinate {name!r} too"
                if axes[here].name == axes[there].name:
                    what = f"two axes are called {name!r}"
                raise ConfigError(f"grid.{', '.join(axes[here].keys)}.name: {what}")


@dataclass
class _Columns:
    columns: list[Sequence[Any]]
    labels: Sequence[str] | None
    name: str | None


def _flat(grid: Mapping[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Return keys and values; tables that are neither a range nor values are parts of dotted
    names.
    """
    for key, value in grid.items():
        if not isinstance(key, str):
            yield key, value
        elif isinstance(value, Mapping) and value and not any(word in WORDS for word in value):
            yield from _flat(value, (*above, key))
        else:
            yield ".".join((*above, key)), value


def _keys(key: object) -> tuple[str, ...]:
    parts = key.split(",") if isinstance(key, str) else key
    if (
        not isinstance(parts, (list, tuple))
        or not all(isinstance(p, str) and p.strip() for p in parts)
        or not parts
    ):
        raise ConfigError(
            "grid: expected keys that are dotted names such as 'task.teacher.L', got "
            f"{_checks.short(key)}"
        )
    return tuple(p.strip() for p in parts)


def _columns(keys: tuple[str, ...], value: Any) -> _Columns:
    where = f"grid.{', '.join(keys)}"
    labels = name = None
    rounded = False
    if isinstance(value, Mapping):
        words = [w for w in WORDS if w in value]
        for word in value:
            if word not in WORDS + OPTIONS:
                raise ConfigError(
                    f"{where}.{word}: unknown key, expected one of {', '.join(WORDS + OPTIONS)}"
                )
        name, rounded, labels = value.get("name"), value.get("round", False), value.get("labels")
        if isinstance(labels, Mapping) and words == ["labels"]:
            value, labels = list(labels.values()), list(labels)
        elif len([w for w in words if w != "labels"]) != 1:
            raise ConfigError(
                f"{where}: expected one of {', '.join(WORDS)}, got "
                f"{', '.join(words) or 'none of them'}"
            )
        else:
            value = (
                value["values"]
                if "values" in value
                else {w: value[w] for w in words if w != "labels"}
            )
    if not isinstance(rounded, bool):
        raise ConfigError(f"{where}.round: expected true or false, got {_checks.short(rounded)}")
    if name is not None and (
        not isinstance(name, str) or not name.isidentifier() or name in RESERVED
    ):
        raise ConfigError(
            f"{where}.name: expected a name of letters, digits and _ that is none of "
            f"{', '.join(RESERVED)}, got {_checks.short(name)}"
        )
    columns = (
        [_values(where, value, rounded)] if len(keys) == 1 else _zipped(where, keys, value, rounded)
    )
    count = len(columns[0])
    if labels is not None:
        labels = labels if isinstance(labels, (str, Mapping)) else _listed(labels)
        if (
            isinstance(labels, (str, Mapping))
            or not isinstance(labels, Sequence)
            or not all(isinstance(x, str) for x in labels)
        ):
            raise ConfigError(
                f"{where}.labels: expected a list of strings, got {_checks.short(labels)}"
            )
        if len(labels) != count or len(set(labels)) != count:
            raise ConfigError(
                f"{where}.labels: expected {count} different ones, one for each value, got "
                f"{_checks.short(labels)}"
            )
    return _Columns(columns, labels, name)


def _zipped(where: str, keys: tuple[str, ...], value: Any, rounded: bool) -> list[Sequence[Any]]:
    value = _array(value)
    if (
        isinstance(value, (str, Mapping))
        or not isinstance(value, (Sequence, np.ndarray))
        or len(value) != len(keys)
    ):
        raise ConfigError(
            f"{where}: expected {len(keys)} lists of equal length, one for each name, got "
            f"{_checks.short(value)}"
        )
    columns = [_values(f"{where}[{i}]", v, rounded) for i, v in enumerate(value)]
    if len({len(c) for c in columns}) > 1:
        raise ConfigError(
            f"{where}: expected lists of equal length, got "
            f"{', '.join(f'{len(c)} values of {k}' for k, c in zip(keys, columns, strict=True))}"
        )
    return columns


def _values(where: str, value: Any, rounded: bool) -> Sequence[Any]:
    """Return a list or range, not yet materialised if it is long."""
    if isinstance(value, Mapping):
        (word,) = value if len(value) == 1 else ("",)
        if word not in RANGES:
            raise ConfigError(f"{where}: expected {WANTED}, got {_checks.short(dict(value))}")
        value = _range(f"{where}.{word}", word, value[word])
    value = _array(value)
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise ConfigError(f"{where}: expected a list of values, got {_checks.short(value)}")
        value = value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ConfigError(f"{where}: expected {WANTED}, got {_checks.short(value)}")
    try:
        count = len(value)
    except OverflowError:  # of a range
        count = LIMIT + 1
    if not count:
        raise ConfigError(f"{where}: expected at least one value, got an empty list")
    if count > LIMIT:
        raise ConfigError(
            f"{where}: expected at most {LIMIT} values, got "
            f"{count if count != LIMIT + 1 else 'more'}"
        )
    points = [
        v.item()
        if isinstance(v, np.generic) or (hasattr(v, "__array__") and np.shape(v) == ())
        else v
        for v in value
    ]
    if rounded:
        points = [round(_number(f"{where}[{i}]", v)) for i, v in enumerate(points)]
    scalars = [v for v in points if isinstance(v, (bool, int, float, str))]
    repeated = (
        [v for v in scalars if len(scalars) == len(points) and scalars.count(v) > 1]
        if len(scalars) > len(set(scalars))
        else []
    )
    names = [v.name for v in points if isinstance(v, Named)]  # equal names share their results
    repeated += [name for name in names if names.count(name) > 1]
    if repeated and not where.endswith("]"):  # of names that walk together one may stand still
        raise ConfigError(f"{where}: {repeated[0]!r} appears twice")
    return points


def _array(value: Any) -> Any:
    """Return the array in a Series, an Index or a DataArray.

    A DataFrame is refused, since its rows and columns could be confused.
    """
    return (
        np.asarray(value)
        if hasattr(value, "__array__") and not hasattr(value, "columns")
        else value
    )


def _listed(value: Any) -> Any:
    """Return the values as a list."""
    value = _array(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def points(where: str, value: Mapping[str, Any]) -> list[Any]:
    """Return the values of one axis written as a table: values or a range, perhaps rounded."""
    for word in value:
        if word not in ("values", *RANGES, "round"):
            known = ("values", *RANGES, "round")
            raise ConfigError(
                f"{where}.{word}: expected one of {', '.join(known)}, got "
                f"{word!r}{_checks.nearest(word, known)}"
            )
    rounded = value.get("round", False)
    if not isinstance(rounded, bool):
        raise ConfigError(f"{where}.round: expected true or false, got {_checks.short(rounded)}")
    given = {word: v for word, v in value.items() if word != "round"}
    return list(_values(where, given["values"] if set(given) == {"values"} else given, rounded))


def _range(where: str, word: str, value: Any) -> Any:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ConfigError(
            f"{where}: expected [start, stop, {'step' if word == 'range' else 'n'}], got "
            f"{_checks.short(value)}"
        )
    try:
        if word == "range":
            if not 1 <= len(value) <= 3:
                raise ConfigError(
                    f"{where}: expected [stop], [start, stop] or [start, stop, step], got "
                    f"{_checks.short(value)}"
                )
            whole = [
                _checks.integer(f"{where}[{i}]", v, unbounded=True) for i, v in enumerate(value)
            ]
            if len(whole) == 3 and whole[2] == 0:
                raise ConfigError(f"{where}[2]: expected a step other than 0, got 0")
            return range(*whole)
        if len(value) != 3:
            raise ConfigError(f"{where}: expected [start, stop, n], got {_checks.short(value)}")
        positive = word == "geomspace"
        start, stop = (
            _checks.number(f"{where}[{i}]", v, 0 if positive else None, open_low=positive)
            for i, v in enumerate(value[:2])
        )
        n = _checks.integer(f"{where}[2]", value[2], 1, LIMIT)
    except (TypeError, ValueError) as e:
        raise ConfigError(str(e)) from None
    points = np.geomspace(start, stop, n) if word == "geomspace" else np.linspace(start, stop, n)
    if (
        isinstance(value[0], int)
        and isinstance(value[1], int)
        and np.all(np.abs(points - np.rint(points)) <= 1e-12 * np.abs(points))
    ):
        return [int(x) for x in np.rint(points)]  # between whole numbers, by whole steps: integers
    return points


def _number(where: str, value: Any) -> float:
    try:
        return _checks.number(where, value)
    except (TypeError, ValueError) as e:
        raise ConfigError(str(e)) from None


def _short(key: str, last: list[str]) -> str:
    """Return the last part of a key if it is unique on the grid and free, otherwise all of it."""
    short = key.rsplit(".", 1)[-1]
    if short not in RESERVED and last.count(short) == 1:
        return short
    return key if "." in key else f"{key}_"


def _axis(keys: tuple[str, ...], axis: _Columns, last: list[str]) -> Axis:
    name = axis.name or _short(keys[0], last)
    coords: dict[str, tuple[Any, ...]] = {}
    if axis.labels is not None:
        coords[name] = tuple(axis.labels)
    for i, (key, column) in enumerate(zip(keys, axis.columns, strict=True)):
        called = name if i == 0 else _short(key, last)
        if i == 0 and axis.labels is not None:
            continue
        if called in coords:
            raise ConfigError(
                f"grid.{', '.join(keys)}.name: expected a name other than that of {key!r}, "
                f"got {name!r}"
            )
        coords[called] = _labels(column)
    return Axis(name, keys, tuple(zip(*axis.columns, strict=True)), coords)


def _labels(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values themselves if they are numbers, strings or booleans, otherwise a unique
    label for each.
    """
    for kinds in (bool, str):
        if all(isinstance(v, kinds) for v in values):
            return tuple(values)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        whole = all(isinstance(v, int) and abs(v) < 2**63 for v in values)
        return tuple(values) if whole else tuple(float(v) for v in values)
    functions = any(callable(v) and not isinstance(v, Model) for v in values)
    looks = (_type,) if functions else (_type, lambda v: _checks.short(v, 60), repr)
    for word in looks:
        words = [word(v) for v in values]
        if len(set(words)) == len(words):
            return tuple(words)
    return tuple(f"{w} #{i}" for i, w in enumerate(map(_type, values)))


def _type(value: Any) -> str:
    if isinstance(value, Named):
        return value.name
    if callable(value):
        return function_name(value)  # its repr holds an address
    if isinstance(value, Model):
        return type(value).__name__
    if isinstance(value, Mapping):
        return str(value.get("type", "table"))
    return (
        str(value)
        if value is None or isinstance(value, (bool, int, float, str))
        else _checks.short(value, 60)
    )


__all__ = ["LIMIT", "Axis", "parse", "points"]
