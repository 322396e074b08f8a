"""Run files: TOML files of one simulation, or of many that share a base."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _checks, _files
from ..errors import ConfigError
from ..models.plain import build_run
from ..models.simulation import Run
from ..sweeps.grid import WORDS, points
from .tomlfile import change, known_keys, path, put, table, text, toml

_TOP = ("title", "output", "base", "case")
_OF_BASE = ("rng", "checkpoint", "checkpoint_every")  # in addition to the arguments of `Run`
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
    """A checked run file.

    Attributes
    ----------
    title : str
    output : str
        Stem of the files to write.
    cases : tuple of Case
    checkpoint : str or None
        Path of the checkpoint; with several cases, their number is put before the suffix.
    checkpoint_every : float
    notes : tuple of str
        Effects of --set on cases: what it overrides, and where it does not apply.
    """

    title: str
    output: str
    cases: tuple[Case, ...]
    checkpoint: str | None
    checkpoint_every: float
    notes: tuple[str, ...]


def read(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> RunFile:
    """Read and check a run file; `sets` are `key=value` texts that change its base.

    Raises
    ------
    ConfigError
        If an entry is wrong: one line that starts with the dotted path of its key.
    """
    p = Path(path)
    tree = toml(p)
    known_keys(tree, _TOP, "")
    return parse(tree, p.stem, _sets(tree, sets))


def _sets(tree: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Return the --set options that apply to every case; apply those that apply to the file."""
    held: dict[str, Any] = {}
    for item in sets:
        key, value = change(tree, item, _TOP)
        if key in _OF_BASE[1:]:
            put(table(tree.setdefault("base", {}), "base"), key, value, f"base.{key}")
        elif key:
            tree.setdefault("base", {})
            held = {k: v for k, v in held.items() if not _covers(key, k)} | {key: value}
    return held


def parse(
    tree: Mapping[str, Any], default_output: str = "results", sets: Mapping[str, Any] | None = None
) -> RunFile:
    """Check the contents of a run file; `sets` override keys of the base in every case."""
    known_keys(tree, _TOP, "")
    sets = {} if sets is None else sets
    title, output = text(tree, "title", ""), path(tree, "output", default_output)
    base = copy.deepcopy(dict(table(tree.get("base"), "base")))
    for keys in (base, dict.fromkeys(key.split(".")[0] for key in sets)):
        known_keys(keys, (*(f.name for f in dataclasses.fields(Run)), *_OF_BASE), "base.")
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
    variants = [
        v for i, entry in enumerate(entries) for v in _variants(table(entry, f"case[{i}]"), i, sets)
    ]
    built = [_case(base, v, sets, "case" in tree) for v in variants]
    seen: set[str] = set()
    for v in variants:
        if v.label in seen:
            raise ConfigError(
                f"case[{v.index}].label: two cases have the label {v.label!r}; distinguish them, "
                f"for instance by {{L}}"
            )
        seen.add(v.label)
    for key in sets:
        if all(key in without for _, without in built):
            rest = {k: value for k, value in sets.items() if k == key or k not in built[0][1]}
            _case(base, variants[0], rest, "case" in tree, strict=True)  # says why
    return RunFile(
        title,
        _files.stem(output, default_output),
        tuple(case for case, _ in built),
        checkpoint,
        every,
        tuple(_notes(variants, built, sets)),
    )


@dataclass(frozen=True)
class _Variant:
    """One point of a case's grid.

    `changes` is what it changes in the base, with the entry that says so. `overruled` has the
    entries that --set overrides, with their keys.
    """

    index: int
    label: str
    panel: str
    changes: Mapping[str, tuple[str, Any]]
    overruled: Mapping[str, str]


def _variants(entry: Mapping[str, Any], i: int, sets: Mapping[str, Any]) -> Iterator[_Variant]:
    where = f"case[{i}]"
    known_keys(entry, _CASE, f"{where}.")
    label, panel = (text(entry, key, "", f"{where}.") for key in ("label", "panel"))
    fixed = {
        k: (f"{where}.set.{k}", v) for k, v in _flat(table(entry.get("set", {}), f"{where}.set"))
    }
    grid = {
        k: _points(f"{where}.grid.{k}", v)
        for k, v in _flat(table(entry.get("grid", {}), f"{where}.grid"))
    }
    for key in (*fixed, *grid):
        if key.split(".")[0] in _OF_BASE[1:]:
            raise ConfigError(f"{where}: {key} belongs to [base]")
    for key in grid:
        if key in fixed:
            raise ConfigError(f"{where}.grid.{key}: also in set")
    overruled: dict[str, str] = {}
    for key in (*fixed, *grid):
        for by, value in sets.items():
            if _covers(by, key):
                overruled[f"{where}.{'set' if key in fixed else 'grid'}.{key}"] = by
                there = (f"base.{by}", _part(value, key[len(by) + 1 :]))
                fixed, grid = (
                    ({**fixed, key: there}, grid)
                    if key in fixed
                    else (fixed, {**grid, key: [there[1]]})
                )
    for values in itertools.product(*grid.values()):
        changes = fixed | {k: (f"{where}.grid.{k}", v) for k, v in zip(grid, values, strict=True)}
        filled = _fill(label, grid, values, changes, where)
        yield _Variant(
            i,
            filled,
            panel,
            {k: c for k, c in changes.items() if not any(_covers(by, k) for by in sets)},
            overruled,
        )


def _points(where: str, value: Any) -> list[Any]:
    """Return the values of one axis: a list, or a range as in sweep files."""
    if isinstance(value, Mapping):
        return points(where, value)
    if not isinstance(value, list) or not value:
        last = where.rsplit(".", 1)[-1]
        raise ConfigError(
            f"{where}: expected a list of values, got {_checks.short(value)}"
            + _checks.nearest(last, WORDS)
        )
    return value


def _part(value: Any, key: str) -> Any:
    """Return what a table has under a dotted key, or the word for a default."""
    for name in key.split(".") if key else ():
        value = value.get(name, "default") if isinstance(value, Mapping) else "default"
    return value


def _fill(
    label: str,
    grid: Mapping[str, Any],
    values: tuple[Any, ...],
    changes: Mapping[str, tuple[str, Any]],
    where: str,
) -> str:
    """Fill {L} and the like into the label.

    Points of a grid with equal labels get their values appended.
    """
    last = [k.rsplit(".", 1)[-1] for k in changes]
    named = {
        short: _word(v)
        for short, (_, v) in zip(last, changes.values(), strict=True)
        if last.count(short) == 1
    }
    used = set()

    def word(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None:
            raise ConfigError(
                f"{where}.label: expected braces in pairs, got {_checks.short(label)}; "
                "braces that stay are doubled, {{ and }}"
            )
        if match[1] not in named:
            raise ConfigError(
                f"{where}.label: {{{match[1]}}} is not the last part of a key of grid or set, "
                f"expected one of {', '.join(named) or 'none'}; braces that stay are doubled"
            )
        used.add(match[1])
        return named[match[1]]

    filled = re.sub(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", word, label)
    missing = [
        f"{k.rsplit('.', 1)[-1]}={_word(v)}"
        for k, v in zip(grid, values, strict=True)
        if k.rsplit(".", 1)[-1] not in used
    ]
    return ", ".join([filled, *missing] if filled else missing) or (
        where if where != "case[0]" else "run"
    )


def _word(value: Any) -> str:
    return str(value.get("type", "table")) if isinstance(value, Mapping) else str(value)


def _case(
    base: Mapping[str, Any],
    v: _Variant,
    sets: Mapping[str, Any],
    several: bool,
    *,
    strict: bool = False,
) -> tuple[Case, frozenset[str]]:
    """Return the case, and those of `sets` that do not apply to it: an attention has no sigma."""
    tree = copy.deepcopy(dict(base))
    for key, (where, value) in v.changes.items():
        put(tree, key, copy.deepcopy(value), where)
    without = frozenset[str]()
    while True:
        whole = copy.deepcopy(tree)
        try:
            for key, value in sets.items():
                if key not in without:
                    put(whole, key, copy.deepcopy(value), f"base.{key}")
            run, rng = build_run(whole)
        except ConfigError as e:
            misplaced = [
                k
                for k in sets
                if k not in without
                and str(e).startswith((f"base.{k}: unknown key", f"base.{k}: base."))
            ]
            if strict or not misplaced:
                raise ConfigError(_place(str(e), v, sets, several)) from None
            without |= {misplaced[0]}
        else:
            return Case(v.label, v.panel, run, rng), without


def _notes(
    variants: Sequence[_Variant],
    built: Sequence[tuple[Case, frozenset[str]]],
    sets: Mapping[str, Any],
) -> Iterator[str]:
    """Describe the effect of --set on cases that set the same key."""
    for where, by in {place: by for v in variants for place, by in v.overruled.items()}.items():
        yield f"--set {by} overrides {where}"
    for key in {k: None for _, without in built for k in without}:
        labels = _list(case.label for case, without in built if key in without)
        yield f"--set {key} does not apply to {labels}"
    equal: dict[str, list[str]] = {}
    for v, (case, _) in zip(variants, built, strict=True):
        equal.setdefault(repr((case.run.to_plain(), case.rng)), []).append(case.label)
    changed = {
        v.label
        for v in variants
        if v.overruled or any(_covers(k, key) for k in v.changes for key in sets)
    }
    for alike in equal.values():
        if len(alike) > 1 and changed.intersection(alike):
            yield f"{_list(alike)} are the same with --set"


def _list(labels: Iterable[str]) -> str:
    return "the cases " + ", ".join(map(repr, labels))


def _place(message: str, v: _Variant, sets: Mapping[str, Any], several: bool) -> str:
    """Name the entry of the case that set a key, unless --set overrides it."""
    path = message.split(":", 1)[0].removeprefix("base.")
    said = any(_covers(key, path) for key in sets)
    for key, (where, _) in sorted(v.changes.items(), key=lambda item: -len(item[0])):
        if _covers(key, path) and not said:
            return where + message.removeprefix("base.")[len(key) :]
    return f"{message} (in the case {v.label!r})" if several else message


def _covers(key: str, path: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


def _flat(of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return dotted keys and values; a table with a `type`, or a range, is a value."""
    for key, value in of.items():
        if (
            isinstance(value, Mapping)
            and value
            and "type" not in value
            and not any(word in WORDS for word in value)
        ):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
