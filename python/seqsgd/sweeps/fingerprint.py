"""What tells one input from another: a text for every validated argument, the user's functions included, and hashes of it."""

from __future__ import annotations

import functools
import hashlib
import json
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models import CActivation, CLink, Model
from ..models._base import function_name

KEY_VERSION = 1  # grows when the same arguments come to mean something else


class Indistinct(ValueError):
    """A function that cannot be told from another one."""


def canonical(value: Any, where: str = "", loose: bool = False) -> Any:
    """Plain data that is equal for equal values only.

    Parameters
    ----------
    value : Any
    where : str
        Its name, for messages.
    loose : bool
        Whether functions that cannot be told apart are known by where they are in memory, which holds in this process only.

    Raises
    ------
    ValueError
        For what holds such a function: compiled ones, and callables other than Python functions.
    """
    if isinstance(value, (CLink, CActivation)) and not loose:
        raise Indistinct(f"{where}: a C function cannot be told from another one, so that its results cannot be stored; take Hermite data or a Python function, or store=None")
    if isinstance(value, Model):
        return {"type": type(value).__name__} | {k: canonical(v, f"{where}.{k}" if where else k, loose) for k, v in value._values().items()}
    if isinstance(value, np.ndarray):
        return {"array": list(value.shape), "sha256": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(), "dtype": value.dtype.str}
    if isinstance(value, (tuple, list)):
        return [canonical(v, where, loose) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        code = _function(value, where, ())
    except Indistinct:
        if not loose:
            raise
        code = ["address", id(value)]
    return {"type": "function", "name": function_name(value), "code": code}


def digest(plain: Any) -> bytes:
    """32 bytes."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).digest()


def _function(f: Any, where: str, above: tuple[Any, ...]) -> Any:
    """Code, defaults, closure and the globals it mentions. Functions met on the way are followed, except into modules."""
    if isinstance(f, functools.partial):
        return ["partial", _function(f.func, where, above), _value(f.args, where, above), _value(dict(f.keywords), where, above)]
    if isinstance(f, (types.BuiltinFunctionType, np.ufunc)):
        return ["builtin", getattr(f, "__module__", None) or "", f.__name__]
    if (getattr(f, "__module__", None) or "").split(".")[0] in ("numpy", "scipy"):
        return ["library", function_name(f)]
    if isinstance(f, types.MethodType):
        return ["method", _function(f.__func__, where, above), _value(f.__self__, where, above)]
    if not isinstance(f, types.FunctionType):
        raise Indistinct(f"{where}: {function_name(f)} cannot be told from another function, so that its results cannot be stored; take a Python function, or store=None")
    if f in above:
        return ["recursion", above.index(f)]
    above = (*above, f)
    mentioned = sorted(n for n in _mentioned(f.__code__) if n in f.__globals__)
    cells = [c.cell_contents for c in f.__closure__ or ()]
    return [
        _code(f.__code__),
        _value(f.__defaults__, where, above),
        _value(f.__kwdefaults__, where, above),
        _value(cells, where, above),
        {n: _value(f.__globals__[n], where, above) for n in mentioned},
    ]


def _mentioned(code: types.CodeType) -> set[str]:
    return set(code.co_names).union(*(_mentioned(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _code(code: types.CodeType) -> Any:
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [hashlib.sha256(code.co_code).hexdigest(), constants, list(code.co_names), list(code.co_varnames), list(code.co_freevars)]


def _value(value: Any, where: str, above: tuple[Any, ...]) -> Any:
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if isinstance(value, type):
        return ["class", value.__module__, value.__qualname__]
    if isinstance(value, np.generic):
        return [value.dtype.str, value.item()]
    if isinstance(value, Mapping):
        return {str(k): _value(v, where, above) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_value(v, where, above) for v in value]
    if value is None or isinstance(value, (bool, int, float, str, np.ndarray, Model)):
        return canonical(value, where)
    return _function(value, where, above)
