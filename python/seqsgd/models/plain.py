"""Models from plain dictionaries, as TOML and JSON files contain them.

Keys and types that are not known raise an error that has their dotted path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from .. import _checks, models
from ..errors import ConfigError
from .simulation import Run

_FAMILIES: dict[str, tuple[type[models.Model], ...]] = {
    "run": (Run,),
    "task": (models.Task,),
    "teacher": (models.Teacher,),
    "student": (models.Student,),
    "position": (models.Position,),
    "link": (models.Hermite,),
    "sigma": (models.HermiteSeries,),
    "reduction": (models.Bilinear,),
    "init": (models.Start,),
    "record": (models.Record,),
    "stop": (models.Stop,),
    "lr": (models.Rate,),
    "tokens": (models.Tokens,),
}
_IMPLIED = {"run": Run, "task": models.Task}  # tables that may have no `type`

_FUNCTIONS = ("function", "CLink", "CActivation", "PyActivation")


def known(family: str) -> dict[str, type[models.Model]]:
    """Return the models that a field of this name takes, by name."""
    return {c.__name__: c for base in _FAMILIES.get(family, ()) for c in _concrete(base)}


def _concrete(base: type[models.Model]) -> Iterator[type[models.Model]]:
    if dataclasses.is_dataclass(base):
        yield base
    for c in base.__subclasses__():
        yield from _concrete(c)


def rebuild(value: Any, path: str, family: str) -> Any:
    """Build a model from its plain form (see Model.to_plain).

    Parameters
    ----------
    value : Any
        Plain form. Values that are not the table of a model are returned unchanged; lists may
        contain such tables.
    path : str
        Dotted path of the value, for messages.
    family : str
        Name of the field that takes the value, which decides what types it may have.

    Returns
    -------
    Any

    Raises
    ------
    ConfigError
        If a type, a key or a value is wrong, or the value is a user function, which files do not
        contain. One line names its path.
    """
    if isinstance(value, list):
        return [
            rebuild(v, f"{path}[{i}]", family if family in ("lr", "pieces") else "")
            if isinstance(v, (list, Mapping))
            else v
            for i, v in enumerate(value)
        ]
    if not isinstance(value, Mapping) or (family not in _FAMILIES and "type" not in value):
        return value
    if value.get("type") in _FUNCTIONS:
        raise ConfigError(
            f"{path}: a user function ({_checks.short(value.get('name', value['type']))}) cannot "
            "be loaded from a file"
        )
    return _construct(_class(value, path, family), value, path)


def _class(value: Mapping[str, Any], path: str, family: str) -> type[models.Model]:
    if "type" not in value and family in _IMPLIED:
        return _IMPLIED[family]
    options = known("lr" if family in ("", "pieces") else family)
    listed = ", ".join(map(repr, sorted(options)))
    if "type" not in value:
        raise ConfigError(f"{path}.type: missing, expected one of {listed}")
    name = value["type"]
    if not isinstance(name, str) or name not in options:
        raise ConfigError(f"{path}.type: expected one of {listed}, got {_checks.short(name)}")
    return options[name]


def _construct(cls: type[models.Model], value: Mapping[str, Any], path: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in value:
        if key not in fields and key != "type":
            raise ConfigError(f"{path}.{key}: unknown key, expected one of {', '.join(fields)}")
    for name, f in fields.items():
        if name not in value and f.default is dataclasses.MISSING:
            raise ConfigError(f"{path}.{name}: missing")
    arguments = cls.prepare({k: v for k, v in value.items() if k != "type"})
    arguments = {k: rebuild(v, f"{path}.{k}", k) for k, v in arguments.items()}
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as e:
        raise ConfigError(f"{path}.{e}") from None


def build_run(base: Mapping[str, Any], path: str = "base") -> tuple[Run, int | None]:
    """Build the checked run of the table [base] of a run file, and return it with the `rng` for
    simulate.

    Raises ConfigError if a key or a value is wrong.
    """
    table = dict(base)
    rng = table.pop("rng", None)
    if rng is not None:
        try:
            rng = _checks.integer("rng", rng, 0, unbounded=True)
        except (ValueError, TypeError) as e:
            raise ConfigError(f"{path}.{e}") from None
    run: Run = rebuild(table, path, "run")
    return run, rng
