"""TOML files and the changes by --set, for run files and sweep files."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import _checks
from ..errors import ConfigError
from ..sweeps.grid import WORDS

_TABLES = ("base", "case", "grid")


def toml(p: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark, with any line endings."""
    try:
        data = p.read_bytes()
    except OSError as e:
        raise ConfigError(f"{p}: {e.strerror or e}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise ConfigError(f"{p}: expected text in UTF-8, got UTF-16 or no text")
    try:
        words = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as e:
        line = data[: e.start].count(b"\n") + 1
        raise ConfigError(
            f"{p}: expected text in UTF-8, got the byte {data[e.start]:#x} in line {line}"
        ) from None
    return _parsed(words, str(p))


def _parsed(words: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(words)
    except ValueError as e:
        raise ConfigError(f"{where}: {' '.join(str(e).split())}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None


def change(tree: dict[str, Any], text: str, top: Sequence[str]) -> tuple[str, Any]:
    """Return the key of the base that a --set changes, and the value; or "", if it changed a
    top-level entry.
    """
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set: expected key=value, got {_checks.short(text)}")
    value = toml_value(key, raw.strip())
    if key in top and key not in _TABLES:
        tree[key] = value
        return "", value
    key = key.removeprefix("base.")
    if key.split(".")[0] in _TABLES:
        reached = ", ".join(k for k in top if k not in _TABLES)
        raise ConfigError(f"{key}: --set reaches {reached} and the keys of base only")
    return key, value


def toml_value(key: str, raw: str) -> Any:
    """Parse a value in TOML syntax; bare words are strings."""
    try:
        parsed = _parsed(f"value = {raw}", key)
        if set(parsed) == {"value"}:
            return parsed["value"]
    except ConfigError:
        if raw[:1] in tuple("\"'[{"):
            raise
    return raw


def put(tree: Any, key: str, value: Any, where: str) -> None:
    """Set tree[a][b] = value for the key "a.b"."""
    parts = key.split(".")
    for i, part in enumerate(parts[:-1]):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            hint = _checks.nearest(parts[i + 1], WORDS)
            raise ConfigError(f"{where}: base.{'.'.join(parts[: i + 1])} is not a table{hint}")
    tree[parts[-1]] = value


def table(value: Any, path: str) -> Mapping[str, Any]:
    """Return a table, or refuse another value."""
    if value is None:
        raise ConfigError(f"{path}: missing")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected a table, got {_checks.short(value)}")
    return value


def text(of: Mapping[str, Any], key: str, default: str, prefix: str = "") -> str:
    """Return a string of a table, or refuse another value."""
    try:
        return _checks.text(f"{prefix}{key}", of.get(key, default))
    except (TypeError, ValueError) as e:
        raise ConfigError(str(e)) from None


def path(of: Mapping[str, Any], key: str, default: str) -> str:
    """Return a path, like `text`, with any bytes that the file system accepts."""
    value = of.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{key}: expected a string, got {_checks.short(value)}")
    return value


def known_keys(of: Mapping[str, Any], keys: Sequence[str], prefix: str) -> None:
    """Refuse unknown keys."""
    for key in of:
        if key not in keys:
            raise ConfigError(f"{prefix}{key}: unknown key, expected one of {', '.join(keys)}")
