"""Texts of numbers and strings, and what all texts of functions share."""

from __future__ import annotations

import json
import struct
from typing import Any, ClassVar

ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))


class Compared:
    """Base of all models: compared by the fields in `_identity`."""

    _functions: ClassVar[tuple[str, ...]] = ()  # fields that may contain a user function

    def _identity(self) -> dict[str, Any]:
        """Return the fields that comparison uses."""
        raise NotImplementedError


class Unknown(ValueError):
    """A function that cannot be distinguished from all others; the text says why."""


def atom(value: Any) -> Any:
    """Return plain data for a value whose type is in ATOMS.

    It distinguishes types, signs of zero and NaNs.
    """
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
    """Sort the elements of a set without their hashes, which differ between processes."""
    return sorted(texts, key=lambda t: json.dumps(t, sort_keys=True))
