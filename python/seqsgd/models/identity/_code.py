"""Code objects: what they do, and which outside names they use."""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
import types
from typing import Any, NamedTuple

from ._atoms import ATOMS, Unknown, atom, unordered

Chain = tuple[str, ...]

_LOADS = {
    "LOAD_GLOBAL",
    "LOAD_NAME",
    "LOAD_DEREF",
    "LOAD_CLASSDEREF",
    "LOAD_FROM_DICT_OR_GLOBALS",
    "LOAD_FROM_DICT_OR_DEREF",
}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_BETWEEN = {"EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP"}
_CONSTANTS = frozenset(dis.hasconst)
# Kinds of function and of arguments, without the file's __future__ imports and nesting.
_FLAGS = 0x3FF & ~inspect.CO_NESTED
_KEPT = 4096


class Code(NamedTuple):
    """Contents of a code object and of the code objects inside it.

    Attributes
    ----------
    text : list
        Bytecode, constants in use and names, without line numbers, the function's name and its
        docstring. It differs between Python versions.
    chains : frozenset of tuples
        Outside names, each with the attributes that are taken from it directly:
        ("np", "linalg", "norm").
    imports : frozenset of (module, level)
        Imports inside the code.
    """

    text: Any
    chains: frozenset[Chain]
    imports: frozenset[tuple[str, int]]


_read: dict[int, tuple[types.CodeType, Code]] = {}


def read(code: types.CodeType) -> Code:
    """Return the contents of a code object. They are cached, as code never changes."""
    known = _read.get(id(code))
    if known is None:
        if len(_read) >= _KEPT:
            _read.clear()
        known = _read[id(code)] = code, _analyse(code)
    return known[1]


def _analyse(code: types.CodeType) -> Code:
    used: set[int] = set()
    chains: set[Chain] = set()
    imports: set[tuple[str, int]] = set()
    chain: list[str] | None = None
    # The last two arguments: an import follows its level and the names that it takes.
    before: list[Any] = [0, 0]
    for i in dis.get_instructions(code):
        if i.opcode in _CONSTANTS and i.arg is not None:
            used.add(i.arg)
        if i.opname in _BETWEEN:
            continue
        if chain is not None and i.opname in _ATTRIBUTES:
            chain.append(str(i.argval))
        else:
            if chain is not None:
                chains.add(tuple(chain))
            chain = [str(i.argval)] if i.opname in _LOADS else None
        if i.opname == "IMPORT_NAME":
            imports.add((str(i.argval), before[-2] if isinstance(before[-2], int) else 1))
        before = [before[-1], i.argval]
    inner = [read(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return Code(
        _text(code, used),
        frozenset(chains).union(*(c.chains for c in inner)),
        frozenset(imports).union(*(c.imports for c in inner)),
    )


def _text(code: types.CodeType, used: set[int]) -> Any:
    arguments = code.co_argcount + code.co_kwonlyargcount
    return [
        "code",
        sys.implementation.cache_tag,
        code.co_flags & _FLAGS,
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals],
        hashlib.sha256(code.co_code).hexdigest(),
        hashlib.sha256(code.co_exceptiontable).hexdigest(),
        [_constant(c) if k in used else None for k, c in enumerate(code.co_consts)],
        list(code.co_names),
        list(code.co_varnames[:arguments]),
        [list(code.co_cellvars), list(code.co_freevars)],
    ]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return read(value).text
    if type(value) in ATOMS:
        return atom(value)
    if type(value) is tuple:
        return ["tuple", *(_constant(v) for v in value)]
    if type(value) is frozenset:
        return ["frozenset", *unordered([_constant(v) for v in value])]
    if type(value) is slice:
        return ["slice", _constant(value.start), _constant(value.stop), _constant(value.step)]
    raise Unknown(f"a constant of type {type(value).__qualname__} in its code")
