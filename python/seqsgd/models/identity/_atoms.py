"""Texts of numbers and strings, as in the constants of code, and what all these texts share."""

from __future__ import annotations

import json
import struct
from typing import Any, ClassVar

ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))


class Compared:
    """What is compared by the fields that it names: the base of all models."""

    _functions: ClassVar[tuple[str, ...]] = ()  # fields that may hold a function of the user's

    def _identity(self) -> dict[str, Any]:
        """The fields by which it is compared."""
        raise NotImplementedError


class Unknown(ValueError):
    """A function that cannot be told from every other one; says what it rests on."""


def atom(value: Any) -> Any:
    """Of a value whose type is one of ATOMS. Types, signs of zero and NaNs are told apart."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else ["int", hex(value)]
    if isinstance(value, float):
        return ["float", struct.pack(">d", value).hex()]
    if isinstance(value, complex):
        return ["complex", struct.pack(">dd", value.real, value.imag).hex()]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return ["constant", repr(value)]


def unordered(texts: list[Any]) -> list[Any]:
    """Elements of a set in an order that does not depend on hashes, which processes differ in."""
    return sorted(texts, key=lambda t: json.dumps(t, sort_keys=True))
