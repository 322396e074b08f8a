"""When two functions of the user's are the same.

Equality of models, keys of sweeps, checkpoints and what the theory keeps rest on this. A function
is known by what it is made of (`exact`), by the name that `Named` gives it, or not at all
(`Unknown`).
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
    """32 bytes for plain data."""
    return hashlib.sha256(
        json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    ).digest()


def exact(function: Any) -> str:
    """A text that is equal for functions made of the same, in every process of one Python version.

    Raises
    ------
    Unknown
        Where something in it cannot be looked into.
    """
    from ._values import Encoder  # loads what only functions need

    if isinstance(function, int):
        raise Unknown("an address, which is another one in every process")
    try:
        return digest(Encoder()(function)).hex()
    except Unknown:
        raise
    except RecursionError:
        raise Unknown("data nested too deeply to be looked into") from None
    except Exception as e:  # of the user's objects, when they are looked at
        raise Unknown(f"what raises when it is looked at ({type(e).__name__})") from None


class Functions:
    """The functions met while some models are written down, each looked at once.

    Parameters
    ----------
    loose : bool
        Functions that are not known exactly are numbered as they come, which tells them apart
        here and nowhere else; otherwise they are refused.
    """

    def __init__(self, *, loose: bool = False) -> None:
        self.loose = loose
        self.met: dict[str, Any] = {}  # by where each was met last
        self.unknown: dict[str, str] = {}  # where, and why
        self.named: list[Any] = []  # functions with a name, of which nothing else is written down
        self._texts: dict[
            int, tuple[object, str, str]
        ] = {}  # kept alive, so that an id stays theirs
        self._numbered = 0

    def plain(self, function: Any, where: str) -> dict[str, Any]:
        """What stands for a function."""
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
        """What named functions are made of; the id of those that cannot be looked into."""
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
    """Plain data that is equal for equal values only: of models, and of what their fields hold.

    Parameters
    ----------
    value : Any
    where : str
        Its name, for messages.
    functions : Functions, optional
        Of several calls, to look at each function once. None: those that are not known exactly
        are refused.

    Raises
    ------
    Unknown
        A ValueError in one line, which says how to name the function.
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
    """Stands for a function where models are compared.

    Equal if it is the same object, or made of the same as far as that is known.
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

    def __hash__(self) -> int:  # of what never changes in it
        f = self.function
        return hash(
            (type(f).__qualname__, f.__code__.co_code if type(f) is types.FunctionType else None)
        )


def function_name(f: object) -> str:
    """How a user's function is written down for people."""
    if isinstance(f, int):
        return "an address"
    name = getattr(f, "__qualname__", None) or getattr(f, "__name__", None)
    if not isinstance(name, str):
        return type(f).__qualname__
    module = getattr(f, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else name


def remembered(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As functools.lru_cache, for functions of models.

    A user's function that has changed since counts as another one; nothing is kept where that
    cannot be known. One with a name counts as another one too if it is seen to have changed: the
    name is for stores and files.
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
                kept[key] = value, given  # alive, so that an id stays theirs
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
