"""Base of all models: frozen, hashable, picklable, compared by value (arrays and functions too).

Their repr is short. It can be evaluated if it contains no function and no large array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .._checks import letters
from .identity import Compared, Same, function_name


def _text(value: object, function: bool = False) -> str:
    if function and isinstance(value, int):
        return f"<{function_name(value)}>"
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= 16 else f"<array {letters(value.shape)}>"
    if callable(value) and not isinstance(value, Model):
        return f"<{function_name(value)}>"
    return repr(value)


def _key(value: object) -> Any:
    """Return something hashable that compares equal if the value does."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if value is None or isinstance(value, (Model, str, int, float)) or type(value) is tuple:
        return value
    return Same(value)


def _rebuild(cls: type[Model], values: dict[str, Any]) -> Model:
    return cls(**values)


class Model(Compared):
    """Base of all descriptions, each a frozen dataclass (eq=False, repr=False).

    Fields named in `_positional` come first in the repr and without their names.
    """

    _positional: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def _identity(self) -> dict[str, Any]:
        return self._values()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Model)
        a, b = self._identity(), other._identity()
        return all(_key(a[name]) == _key(b[name]) for name in a)

    def __hash__(self) -> int:
        return hash((type(self), *(_key(v) for v in self._identity().values())))

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[type[Model], dict[str, Any]]]:
        return _rebuild, (type(self), self._values())

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: object) -> Model:
        return self

    def __repr__(self) -> str:
        parts = [_text(getattr(self, name), name in self._functions) for name in self._positional]
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name not in self._positional and (
                f.default is dataclasses.MISSING or _key(value) != _key(f.default)
            ):
                parts.append(f"{f.name}={_text(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_plain(self) -> dict[str, Any]:
        """Return the plain form that run files and saved results contain: numbers, strings, lists
        and dictionaries.
        """
        return {"type": type(self).__name__} | {
            name: plain(value) for name, value in self._values().items()
        }

    @classmethod
    def prepare(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Convert the entries of a plain dictionary to what the constructor takes."""
        return fields


def plain(value: object) -> Any:
    """Return the plain form of a field."""
    if isinstance(value, Model):
        return value.to_plain()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return {"type": "function", "name": function_name(value)}
