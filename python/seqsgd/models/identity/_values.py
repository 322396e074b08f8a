"""Texts of functions and of everything that they may use."""

from __future__ import annotations

import abc
import builtins
import copyreg
import ctypes
import enum
import functools
import itertools
import os
import random
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from . import _arrays
from ._atoms import ATOMS, Compared, Unknown, atom, unordered
from ._code import Chain, read
from ._library import is_library, library_name

LIMIT = 200_000  # objects that a function may use

_WORDS = "eval exec compile globals locals vars __import__ open input breakpoint"
_DYNAMIC = {id(getattr(builtins, n)): n for n in _WORDS.split()}  # may use anything
_REFUSED: Any = (
    *(np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random),
    *(ctypes._SimpleCData.__base__, ctypes.CDLL),  # all ctypes data: most of it is addresses
    *(np.ufunc, itertools.count, type(os.environ)),
)
# Attributes of a class that do not change what it does: its place, its documentation, caches.
_ASIDE = set(
    """
    __module__ __qualname__ __doc__ __dict__ __weakref__ __slotnames__ __firstlineno__
    __static_attributes__ __annotations__ __annotate__ __annotate_func__ __annotations_cache__
    __abstractmethods__ _abc_impl __parameters__ __orig_bases__
    __dataclass_params__ __dataclass_fields__ __match_args__
    """.split()
)
_ENUM = set(
    """
    _generate_next_value_ _new_member_ __new_member__ _use_args_ _member_names_ _member_map_
    _value2member_map_ _unhashable_values_ _hashable_values_ _unhashable_values_map_ _member_type_
    _value_repr_ _flag_mask_ _all_bits_ _singles_mask_ _inverted_ _boundary_
    """.split()
)
_SHARED_RANDOM = getattr(np.random.mtrand, "_rand", None)  # SciPy distributions contain it
_MEMBER = ("_name_", "_value_", "_sort_order_", "__objclass__")
_OWN_FORM = ("__reduce__", "__reduce_ex__", "__getstate__")


class Encoder:
    """Convert one function to nested lists for JSON, equal only for the same code and data.

    An object that is found again, possibly in a cycle, becomes its number. Types are always
    distinguished.

    Parameters
    ----------
    around : iterable of int
        Ids of objects found before, outside the set that contains this one. If one of them is found
        again, Unknown is raised.
    """

    def __init__(self, around: Iterable[int] = ()) -> None:
        self._around = frozenset(around)
        self._number: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is reused
        self._count = 0

    def __call__(self, value: Any) -> Any:
        self._count += 1
        if self._count > LIMIT:
            raise Unknown(f"more than {LIMIT} objects")
        kind = type(value)
        if kind in ATOMS:
            return atom(value)
        if kind is tuple:
            return ["tuple", *map(self, value)]
        if kind in (set, frozenset):
            self._count += len(value)
            around = self._around.union(self._number)
            return [kind.__name__, *unordered([Encoder(around)(v) for v in value])]
        if (library := self._library(value)) is not None:
            return library
        if id(value) in self._number:
            return ["again", self._number[id(value)]]
        if id(value) in self._around:
            raise Unknown(f"a set that holds a {kind.__qualname__} met before")
        self._number[id(value)] = len(self._number)
        self._alive.append(value)
        return self._new(value, kind)

    def _library(self, value: Any) -> Any:
        if value is _SHARED_RANDOM:
            return ["library", "numpy.random", "_rand"]
        if id(value) in _DYNAMIC:
            raise Unknown(f"{_DYNAMIC[id(value)]}(), which may do anything")
        if issubclass(type(value), types.ModuleType):
            if not is_library(value.__name__):
                raise Unknown(f"the module {value.__name__} as a whole")
            return ["module", value.__name__]
        return library_name(value)

    def _new(self, value: Any, kind: type) -> Any:
        if issubclass(kind, Compared):
            return [
                "model",
                kind.__name__,
                *([k, self._field(value, k, v)] for k, v in value._identity().items()),
            ]
        for types_, encode in _ENCODERS:
            if issubclass(kind, types_):
                return encode(self, value)
        if kind.__qualname__ == "cython_function_or_method":
            raise Unknown(f"the compiled function {value.__qualname__}")
        if kind.__module__.startswith("numba."):
            return (
                self._numba(value) if kind.__qualname__ == "CPUDispatcher" else self._refuse(value)
            )
        if issubclass(kind, Iterator):
            raise Unknown(f"a {kind.__qualname__}, which is used up as it goes")
        return self._instance(value, kind)

    def _field(self, model: Any, name: str, value: Any) -> Any:
        if name in model._functions and isinstance(value, int):  # an address
            return self._refuse(value)
        return self(value)

    # functions

    def _function(self, f: types.FunctionType) -> Any:
        code = read(f.__code__)
        for name, level in sorted(code.imports):
            if level or not is_library(name):
                raise Unknown(f"the module {name}, imported inside")
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
        names = [
            self._chain(f, chain, cells) for chain in sorted(code.chains) if chain[0] not in cells
        ]
        closure = [self._cell(f, name, cell, code.chains) for name, cell in cells.items()]
        return [
            "function",
            code.text,
            self(f.__defaults__),
            self(f.__kwdefaults__),
            closure,
            names,
            self(dict(vars(f))),
        ]

    def _cell(self, f: types.FunctionType, name: str, cell: Any, chains: frozenset[Chain]) -> Any:
        try:
            value = cell.cell_contents
        except ValueError:
            return ["empty"]
        if isinstance(value, types.ModuleType) and not is_library(value.__name__):
            return [
                "attributes",
                *(self._chain(f, c, {name: cell}) for c in sorted(chains) if c[0] == name),
            ]
        return ["holds", self(value)]

    def _chain(self, f: types.FunctionType, chain: Chain, cells: dict[str, Any]) -> Any:
        found, value, _ = self._lookup(f, chain, cells)
        return [*chain, ["is", self(value)] if found else ["missing"]]

    def _lookup(
        self, f: types.FunctionType, chain: Chain, cells: dict[str, Any]
    ) -> tuple[bool, Any, bool]:
        """Look up a name and then its attributes, through modules: they do not count themselves.

        Returns
        -------
        found : bool
        value : Any
            The last object found, which may be followed by more attributes.
        library : bool
            Whether the module that it was taken from belongs to a library.
        """
        name, *attributes = chain
        library = False
        spaces = (f.__globals__, getattr(f, "__builtins__"))
        if name in cells:
            value = cells[name].cell_contents
        else:
            space = next((s for s in spaces if name in s), None)
            if space is None:
                return False, None, False
            value = space[name]
        while isinstance(value, types.ModuleType) and attributes:
            library = is_library(value.__name__)
            if not hasattr(value, attributes[0]):
                return False, None, library
            value = getattr(value, attributes.pop(0))
        return True, value, library

    def _numba(self, f: Any) -> Any:
        """Encode a numba function.

        Raises Unknown if it uses global data, of which compiled code keeps older values.
        """
        for chain in sorted(read(f.py_func.__code__).chains):
            if chain[0] in f.py_func.__globals__:
                found, value, library = self._lookup(f.py_func, chain, {})
                if found and not (
                    library or callable(value) or isinstance(value, types.ModuleType)
                ):
                    raise Unknown(
                        f"the variable {'.'.join(chain)}, of which numba keeps an older value"
                    )
        return [
            "numba",
            self(f.py_func),
            self(dict(f.targetoptions)),
            None if f._can_compile else [str(s) for s in f.signatures],
        ]

    def _builtin(self, f: Any) -> Any:
        if f.__self__ is None or isinstance(f.__self__, types.ModuleType):
            raise Unknown(f"the compiled function {getattr(f, '__module__', None)}.{f.__name__}")
        return ["bound", f.__name__, self(f.__self__)]

    def _method(self, f: types.MethodType) -> Any:
        return ["method", self(f.__func__), self(f.__self__)]

    def _partial(self, f: Any) -> Any:
        if type(f) is not functools.partial:
            return self._refuse(f)
        return ["partial", self(f.func), self(f.args), self(f.keywords), self(vars(f))]

    def _cached(self, f: Any) -> Any:
        return ["cached", self(f.__wrapped__), self(f.cache_parameters())]

    def _vectorize(self, f: Any) -> Any:
        if type(f) is not np.vectorize:
            return self._instance(f, type(f))
        return [
            "vectorize",
            self(type(f)),
            *(self(getattr(f, n, None)) for n in ("pyfunc", "otypes", "excluded", "signature")),
        ]

    def _refuse(self, value: Any) -> Any:
        raise Unknown(f"an object of type {type(value).__module__}.{type(value).__qualname__}")

    # data

    def _items(self, value: Any) -> Any:
        if type(value) is list:
            return ["list", *map(self, value)]
        if type(value) in (dict, types.MappingProxyType):  # in their order, which loops depend on
            return [type(value).__name__, *([self(k), self(v)] for k, v in value.items())]
        return self._instance(value, type(value))

    def _array(self, value: Any) -> Any:
        return _arrays.array(value, self)

    def _enum(self, value: enum.Enum) -> Any:
        return [
            "enum",
            self(type(value)),
            value.name,
            self(value.value),
            self({k: v for k, v in vars(value).items() if k not in _MEMBER}),
        ]

    # classes and instances

    def _class(self, cls: type) -> Any:
        if issubclass(cls, enum.Enum):
            members = [[k, self(m.value)] for k, m in cls.__members__.items()]
            parts = {
                k: v for k, v in vars(cls).items() if k not in _ASIDE | _ENUM | set(cls.__members__)
            }
        else:
            members = [[f, None] for f in getattr(cls, "__dataclass_fields__", {})]
            parts = {k: v for k, v in vars(cls).items() if k not in _ASIDE}
        meta = [] if type(cls) in (type, abc.ABCMeta, enum.EnumType) else [self(type(cls))]
        return [
            "class",
            cls.__qualname__,
            meta,
            [self(b) for b in cls.__bases__],
            members,
            [[k, self(parts[k])] for k in sorted(parts)],
        ]

    def _wrapped(self, value: Any) -> Any:
        if type(value) not in (property, staticmethod, classmethod, functools.cached_property):
            return self._refuse(value)
        if isinstance(value, property):
            return ["property", self(value.fget), self(value.fset), self(value.fdel)]
        if isinstance(value, functools.cached_property):
            return ["cached_property", self(value.func)]
        return [type(value).__name__, self(value.__func__)]

    def _descriptor(self, value: Any) -> Any:
        return ["descriptor", value.__name__]

    def _instance(self, value: Any, cls: type) -> Any:
        """Encode an object by its class and the data that pickle would save."""
        reduce: Callable[..., Any] | None = copyreg.dispatch_table.get(cls)
        if library_name(cls) is None:
            looks = next(c for c in cls.__mro__ if "__getattribute__" in vars(c))
            if (
                reduce is not None
                or library_name(looks) is None
                or any(getattr(cls, n, None) is not getattr(object, n, None) for n in _OWN_FORM)
            ):
                raise Unknown(f"a {cls.__qualname__}, which hides some of what it holds")
        try:
            made = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        except Exception:  # pickle may raise anything
            return self._refuse(value)
        if isinstance(made, str):
            return self._refuse(value)
        self._alive.append(made)
        function, args, state, items, pairs = (*made, None, None, None)[:5]
        caches = {
            n
            for c in cls.__mro__
            for n, v in vars(c).items()
            if isinstance(v, functools.cached_property)
        }
        if isinstance(state, dict) and caches:
            state = {k: v for k, v in state.items() if k not in caches}
        self._alive.append(state)
        contents = [list(x) if x is not None else None for x in (items, pairs)]
        return ["object", self(function), self(args), self(state), *map(self, contents)]


_ENCODERS: list[tuple[Any, Callable[[Encoder, Any], Any]]] = [
    (types.FunctionType, Encoder._function),
    (types.MethodType, Encoder._method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), Encoder._builtin),
    (functools.partial, Encoder._partial),
    (functools._lru_cache_wrapper, Encoder._cached),
    (np.vectorize, Encoder._vectorize),
    (_REFUSED, Encoder._refuse),
    ((np.ndarray, np.generic, np.dtype), Encoder._array),
    ((list, dict, types.MappingProxyType), Encoder._items),
    (enum.Enum, Encoder._enum),
    (type, Encoder._class),
    ((property, staticmethod, classmethod, functools.cached_property), Encoder._wrapped),
    ((types.MemberDescriptorType, types.GetSetDescriptorType), Encoder._descriptor),
]
