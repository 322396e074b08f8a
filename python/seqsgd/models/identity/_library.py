"""Functions and classes of libraries, which are identified by their names."""

from __future__ import annotations

import functools
import importlib.util
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = frozenset({"numpy", "scipy", "numba", "seqsgd"})  # and the standard library
_UFUNCS = (
    "numpy",
    "numpy._core.umath",
    "numpy.linalg._umath_linalg",
    "scipy.special",
    "scipy.special._ufuncs",
    "scipy.special._special_ufuncs",
)
_NAMED = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    type(np.sum),
)


def is_library(module: str) -> bool:
    """Return whether a module belongs to a library whose objects are identified by their names."""
    return _root_is_library(module.partition(".")[0])


@functools.cache
def _root_is_library(root: str) -> bool:
    if root in LIBRARIES or root in sys.builtin_module_names:
        return True
    if root not in sys.stdlib_module_names:
        return False
    spec = getattr(sys.modules.get(root), "__spec__", None) or importlib.util.find_spec(root)
    if spec is None or spec.origin in (None, "frozen"):
        return spec is not None and spec.origin is not None
    where = Path(spec.origin).resolve()  # your statistics.py is not the standard library's
    stdlib = [Path(sysconfig.get_path(p)).resolve() for p in ("stdlib", "platstdlib")]
    return any(p in where.parents for p in stdlib) and not {"site-packages", "dist-packages"} & set(
        where.parts
    )


def library_name(value: Any) -> list[str] | None:
    """Return ["library", module, name] for an object of a library, otherwise None.

    The object must be found under that name: its own attributes are no proof.
    """
    kind = type(value)  # not __class__, which wrappers fake
    if issubclass(kind, np.ufunc):
        modules, name = list(_UFUNCS), value.__name__
    elif issubclass(kind, _NAMED):
        # Methods of built-in types have no __module__, but the class that they belong to has.
        owner = getattr(value, "__objclass__", value)
        modules, name = (
            [str(getattr(owner, "__module__", ""))],
            str(getattr(value, "__qualname__", "")),
        )
    else:
        return None
    for module in modules:
        if is_library(module) and _found(module, name) is value:
            return ["library", module, name]
    return None


def _found(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
