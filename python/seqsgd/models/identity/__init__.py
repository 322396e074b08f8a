"""Decide whether two user functions are the same.

Equality of models, keys of sweeps, checkpoints and caches of the theory use this. A function is
identified by its code and data (`exact`) or by the name that `Named` gives it. If neither is
possible, it is `Unknown`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ._atoms import Compared, Unknown

P = ParamSpec("P")
R = TypeVar("R")

_SIMPLE = (type(None), bool, int, float, str)
NAME_IT = 'sq.Named("my link, version 1", function) gives it a name'


def digest(plain: Any) -> bytes:
    """Return the SHA-256 digest of plain data, 32 bytes."""
    return hashlib.sha256(
        json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    ).digest()


def exact(function: Any) -> str:
    """Return a text that is equal for functions with the same code and data.

    It is the same in every process of one Python version.

    Raises
    ------
    Unknown
        If the function uses something whose contents cannot be read.
    """
    from ._values import Encoder  # only user functions need it

    if isinstance(function, int):
        raise Unknown("an address, which is another one in every process")
    try:
        return digest(Encoder()(function)).hex()
    except Unknown:
        raise
    except RecursionError:
        raise Unknown("data nested too deeply to be looked into") from None
    except Exception as e:  # user objects may raise anything while they are read
        raise Unknown(f"what raises when it is looked at ({type(e).__name__})") from None


class Functions:
    """Functions found while models are converted to plain data, each of them read once.

    Parameters
    ----------
    loose : bool
        Whether functions that cannot be identified exactly are numbered in the order in which they
        are found. Such numbers distinguish them within this object only. Otherwise such functions
        raise Unknown.
    """

    def __init__(self, *, loose: bool = False) -> None:
        self.loose = loose
        self.met: dict[str, Any] = {}  # by the place where each was last found
        self.unknown: dict[str, str] = {}  # reason, by place
        self.named: list[Any] = []  # functions inside `Named`, whose plain form is only the name
        # It contains the functions themselves: they stay alive, so no other object gets their id.
        self._texts: dict[int, tuple[object, str, str]] = {}
        self._numbered = 0

    def plain(self, function: Any, where: str) -> dict[str, Any]:
        """Return the plain form of a function. Raises Unknown (see `loose`)."""
        self.met[where] = function
        text, why = self._look(function)
        if why:
            if not self.loose:
                raise Unknown(
                    f"{where or 'function'}: expected a function that can be told from every other "
                    f"one, got {function_name(function)}, which rests on {why}; {NAME_IT}"
                )
            self.unknown[where] = why
        return {"type": "function", "code": text}

    def behind_names(self) -> list[str | int]:
        """Return the texts of functions inside `Named`, or the id of those that cannot be read."""
        looks = [(f, *self._look(f)) for f in self.named]
        return [id(f) if why else text for f, text, why in looks]

    def _look(self, function: Any) -> tuple[str, str]:
        if id(function) not in self._texts:
            text, why = "", ""
            try:
                text = exact(function)
            except Unknown as e:
                text, why = f"unknown {type(function).__qualname__} {self._numbered}", str(e)
                self._numbered += 1
            self._texts[id(function)] = function, text, why
        return self._texts[id(function)][1:]


def canonical(value: Any, where: str = "", functions: Functions | None = None) -> Any:
    """Return plain data that is equal only for equal values.

    Parameters
    ----------
    value : Any
        A model, or what a field of a model contains.
    where : str
        Name of the value, for messages.
    functions : Functions, optional
        Shared by several calls, so that each function is read once. With None, functions that
        cannot be identified exactly raise Unknown.

    Returns
    -------
    Any

    Raises
    ------
    Unknown
        If a function cannot be identified. It is a ValueError; its line says how to name the
        function.
    """
    return _canonical(value, where, functions or Functions())


def _canonical(value: Any, where: str, functions: Functions) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Compared):
        out: dict[str, Any] = {"type": type(value).__name__}
        if out["type"] == "Named":
            named: Any = value
            functions.named.append(named.function)
        for name, v in value._identity().items():
            if name in value._functions and not isinstance(v, (str, Compared)):  # may be an address
                out[name] = functions.plain(v, f"{where}.{name}" if where else name)
            elif type(v) in _SIMPLE:
                out[name] = v
            else:
                out[name] = _canonical(v, f"{where}.{name}" if where else name, functions)
        return out
    if isinstance(value, np.ndarray):
        return {
            "array": list(value.shape),
            "sha256": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(),
            "dtype": value.dtype.str,
        }
    if type(value) in (tuple, list):
        return [_canonical(v, where, functions) for v in value]
    return functions.plain(value, where)


class Same:
    """Stand-in for a function in the comparison of models.

    Two are equal if the functions are the same object, or are known to have the same code and data.
    """

    __slots__ = ("function",)

    def __init__(self, function: Any) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same) or type(self.function) is not type(other.function):
            return NotImplemented
        if self.function is other.function:
            return True
        try:
            return exact(self.function) == exact(other.function)
        except Unknown:
            return False

    def __hash__(self) -> int:  # from parts that never change
        f = self.function
        return hash(
            (type(f).__qualname__, f.__code__.co_code if type(f) is types.FunctionType else None)
        )


def function_name(f: object) -> str:
    """Return the name of a user function, for messages and files."""
    if isinstance(f, int):
        return "an address"
    name = getattr(f, "__qualname__", None) or getattr(f, "__name__", None)
    if not isinstance(name, str):
        return type(f).__qualname__
    module = getattr(f, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else name


def remembered(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache results like functools.lru_cache, for functions that take models.

    A user function that has changed counts as a different one; if a change cannot be detected,
    nothing is cached. A function inside `Named` also counts as a different one if it is seen to
    have changed: here its name alone does not identify it.
    """

    def decorate(f: Callable[P, R]) -> Callable[P, R]:
        kept: OrderedDict[bytes, tuple[R, object]] = OrderedDict()
        lock = threading.Lock()

        @functools.wraps(f)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            functions = Functions()
            given = [*args, *(x for pair in sorted(kwargs.items()) for x in pair)]
            try:
                plain = canonical(given, "", functions)
                key = digest([plain, functions.behind_names()])
            except Unknown:
                return f(*args, **kwargs)
            with lock:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key][0]
            value = f(*args, **kwargs)
            with lock:
                kept[key] = value, given  # kept alive, so that no other object gets their id
                if len(kept) > maxsize:
                    kept.popitem(last=False)
            return value

        return call

    return decorate


__all__ = [
    "Compared",
    "Functions",
    "Same",
    "Unknown",
    "canonical",
    "digest",
    "exact",
    "function_name",
    "remembered",
]
