"""Run files: a TOML file of one simulation, or of many that share a base."""

from __future__ import annotations

import copy
import itertools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _checks
from ._run import Run
from .config import build_run
from .errors import ConfigError

_TOP = ("title", "output", "base", "case")
_TABLES = ("base", "case", "grid")
_CASE = ("label", "panel", "set", "grid")


@dataclass(frozen=True)
class Case:
    """One simulation of a run file."""

    label: str
    panel: str
    run: Run
    rng: int | None


@dataclass(frozen=True)
class RunFile:
    """A run file, every case of it checked.

    Attributes
    ----------
    title : str
    output : str
        Stem of the files to write.
    cases : tuple of Case
    checkpoint : str or None
        Path of the checkpoint, of several cases with their number put before the suffix.
    checkpoint_every : float
    """

    title: str
    output: str
    cases: tuple[Case, ...]
    checkpoint: str | None
    checkpoint_every: float


def read(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> RunFile:
    """Read and check a run file; `sets` are `key=value` texts that change its base.

    Raises
    ------
    ConfigError
        One line that starts with the dotted path of the key.
    """
    p = Path(path)
    tree = toml(p)
    changed = [change(tree, item, _TOP) for item in sets]
    return parse(tree, default_output=p.stem, changed=[key for key in changed if key])


def toml(p: Path) -> dict[str, Any]:
    """The contents of a TOML file."""
    try:
        return tomllib.loads(p.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{p}: {e.strerror or e}") from None
    except ValueError as e:  # TOML and UTF-8 errors
        raise ConfigError(f"{p}: {' '.join(str(e).split())}") from None


def parse(tree: Mapping[str, Any], default_output: str = "results", changed: Sequence[str] = ()) -> RunFile:
    """Check the contents of a run file; `changed` are keys of base that no case may hide."""
    known_keys(tree, _TOP, "")
    title, output = (text(tree, key, default) for key, default in (("title", ""), ("output", default_output)))
    base = copy.deepcopy(dict(table(tree.get("base"), "base")))
    checkpoint, every = base.pop("checkpoint", None), base.pop("checkpoint_every", 60.0)
    if checkpoint is not None and not isinstance(checkpoint, str):
        raise ConfigError(f"base.checkpoint: expected a path, got {_checks.short(checkpoint)}")
    try:
        every = _checks.number("base.checkpoint_every", every, 0)
    except (TypeError, ValueError) as e:
        raise ConfigError(str(e)) from None
    entries = tree.get("case", [{}])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"case: expected tables [[case]], got {_checks.short(entries)}")
    variants = [v for i, entry in enumerate(entries) for v in _variants(table(entry, f"case[{i}]"), i)]
    for key in changed:
        if all(any(_covers(k, key) for k in v.changes) for v in variants):
            raise ConfigError(f"base.{key}: every case sets this itself, so that --set would change nothing")
    cases = tuple(_case(base, v, "case" in tree) for v in variants)
    seen: set[str] = set()
    for v, case in zip(variants, cases, strict=True):
        if case.label in seen:
            raise ConfigError(f"case[{v.index}].label: two cases are called {case.label!r}; tell them apart, for instance by {{L}}")
        seen.add(case.label)
    return RunFile(title, output, cases, checkpoint, every)


@dataclass(frozen=True)
class _Variant:
    """One point of a case's grid: what it changes in the base, with the place that says so."""

    index: int
    label: str
    panel: str
    changes: Mapping[str, tuple[str, Any]]


def _variants(entry: Mapping[str, Any], i: int) -> Iterator[_Variant]:
    where = f"case[{i}]"
    known_keys(entry, _CASE, f"{where}.")
    label, panel = (text(entry, key, "", f"{where}.") for key in ("label", "panel"))
    fixed = {k: (f"{where}.set.{k}", v) for k, v in _flat(table(entry.get("set", {}), f"{where}.set"))}
    grid = dict(_flat(table(entry.get("grid", {}), f"{where}.grid")))
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where}.grid.{key}: expected a list of values, got {_checks.short(values)}")
        if key in fixed:
            raise ConfigError(f"{where}.grid.{key}: also in set")
    for values in itertools.product(*grid.values()):
        changes = fixed | {k: (f"{where}.grid.{k}", v) for k, v in zip(grid, values, strict=True)}
        yield _Variant(i, _fill(label, grid, values, changes, where), panel, changes)


def _fill(label: str, grid: Mapping[str, Any], values: tuple[Any, ...], changes: Mapping[str, tuple[str, Any]], where: str) -> str:
    """The label with {L} and the like filled in; points of a grid that it does not tell apart get their values appended."""
    last = [k.rsplit(".", 1)[-1] for k in changes]
    named = {short: _word(v) for short, (_, v) in zip(last, changes.values(), strict=True) if last.count(short) == 1}

    def word(match: re.Match[str]) -> str:
        if match[1] not in named:
            raise ConfigError(f"{where}.label: {{{match[1]}}} is not the last part of a key of grid or set, expected one of {', '.join(named) or 'none'}")
        return named[match[1]]

    filled = re.sub(r"\{([^{}]*)\}", word, label)
    missing = [f"{k.rsplit('.', 1)[-1]}={_word(v)}" for k, v in zip(grid, values, strict=True) if f"{{{k.rsplit('.', 1)[-1]}}}" not in label]
    return ", ".join([filled, *missing] if filled else missing) or (where if where != "case[0]" else "run")


def _word(value: Any) -> str:
    return str(value.get("type", "table")) if isinstance(value, Mapping) else str(value)


def _case(base: Mapping[str, Any], v: _Variant, several: bool) -> Case:
    tree = copy.deepcopy(dict(base))
    for key, (where, value) in v.changes.items():
        _put(tree, key, copy.deepcopy(value), where)
    try:
        run, rng = build_run(tree)
    except ConfigError as e:
        raise ConfigError(_place(str(e), v, several)) from None
    return Case(v.label, v.panel, run, rng)


def _place(message: str, v: _Variant, several: bool) -> str:
    """Name the key of the case that said it, if one did."""
    path = message.split(":", 1)[0].removeprefix("base.")
    for key, (where, _) in sorted(v.changes.items(), key=lambda item: -len(item[0])):
        if _covers(key, path):
            return where + message.removeprefix("base.")[len(key) :]
    return f"{message} (in the case {v.label!r})" if several else message


def _covers(key: str, path: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


def change(tree: dict[str, Any], text: str, top: Sequence[str]) -> str:
    """Carry out one --set; returns the key it changed in base, or "" for one of the top."""
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set: expected key=value, got {_checks.short(text)}")
    value = toml_value(key, raw.strip())
    if key in top and key not in _TABLES:
        tree[key] = value
        return ""
    key = key.removeprefix("base.")
    if key.split(".")[0] in _TABLES:
        raise ConfigError(f"{key}: --set reaches {', '.join(k for k in top if k not in _TABLES)} and the keys of base only")
    base = tree.setdefault("base", {})
    _put(table(base, "base"), key, value, f"base.{key}")
    return key


def toml_value(key: str, raw: str) -> Any:
    """TOML syntax; bare words are strings."""
    try:
        parsed = tomllib.loads(f"value = {raw}")
        if set(parsed) == {"value"}:
            return parsed["value"]
    except tomllib.TOMLDecodeError as e:
        if raw[:1] in tuple("\"'[{"):
            raise ConfigError(f"{key}: {e}") from None
    return raw


def _put(tree: Any, key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for i, part in enumerate(parents):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: base.{'.'.join(parents[: i + 1])} is no table")
    tree[last] = value


def _flat(of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a table with a `type` is a value."""
    for key, value in of.items():
        if isinstance(value, Mapping) and "type" not in value and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def table(value: Any, path: str) -> Mapping[str, Any]:
    """A table, or a refusal."""
    if value is None:
        raise ConfigError(f"{path}: missing")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected a table, got {_checks.short(value)}")
    return value


def text(of: Mapping[str, Any], key: str, default: str, prefix: str = "") -> str:
    """A string of a table, or a refusal."""
    value = of.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{prefix}{key}: expected a text, got {_checks.short(value)}")
    return value


def known_keys(of: Mapping[str, Any], keys: Sequence[str], prefix: str) -> None:
    """Refuse others."""
    for key in of:
        if key not in keys:
            raise ConfigError(f"{prefix}{key}: unknown key, expected one of {', '.join(keys)}")
