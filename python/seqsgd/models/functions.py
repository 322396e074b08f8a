"""Your own functions: Hermite data and C at full speed, Python slowly; names for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from .. import _checks, _core
from ._base import Model
from .identity import function_name

# The common base of all ctypes function types has no public name.
_FUNCTION_POINTER: Any = ctypes.CFUNCTYPE(None).__mro__[1]

Term = tuple[float, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, eq=False, repr=False)
class Hermite(Model):
    """Link given as data: a sum of products of probabilists' Hermite polynomials.

    Parameters
    ----------
    terms : sequence of (coefficient, {token: degree, ...})
        `Hermite([(1.0, {1: 1, 2: 4}), (1.0, {3: 2, 4: 2})])` is He_1(z_1) He_4(z_2) + He_2(z_3)
        He_2(z_4). Tokens are numbered from 1, as in z_1. Degrees are 0 to 30. An empty dictionary
        gives a constant.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    terms: Any

    _positional: ClassVar[tuple[str, ...]] = ("terms",)

    def __post_init__(self) -> None:
        wanted = "terms: expected a list of (coefficient, {token: degree, ...})"
        if isinstance(self.terms, (str, Mapping)) or not isinstance(self.terms, Iterable):
            raise TypeError(f"{wanted}, got {_checks.short(self.terms)}")
        entries = list(self.terms)
        if not entries:
            raise ValueError(f"{wanted}, got an empty one")
        self._set(terms=tuple(self._term(f"terms[{i}]", e) for i, e in enumerate(entries)))

    @staticmethod
    def _term(name: str, entry: object) -> Term:
        wanted = (
            f"{name}: expected (coefficient, {{token: degree, ...}}), got {_checks.short(entry)}"
        )
        if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 2:
            raise TypeError(wanted)
        factors = entry[1].items() if isinstance(entry[1], Mapping) else entry[1]
        try:
            pairs = [(token, degree) for token, degree in factors]
        except (TypeError, ValueError):
            raise TypeError(wanted) from None
        checked = {
            _checks.integer(f"{name} token", t, 1, _checks.INT32): _checks.integer(
                f"{name} degree", k, 0, 30
            )
            for t, k in pairs
        }
        if len(checked) != len(pairs):
            raise ValueError(f"{name}: a token appears twice, got {_checks.short(entry[1])}")
        return _checks.number(f"{name} coefficient", entry[0]), tuple(
            sorted((t, k) for t, k in checked.items() if k > 0)
        )

    @property
    def tokens(self) -> int:
        """Largest token number in the terms."""
        return max((t for _, factors in self.terms for t, _ in factors), default=1)

    def _compiled(self, L: int, scale: float) -> _core.Link:
        tokens = [[t - 1 for t, _ in factors] for _, factors in self.terms]
        degrees = [[k for _, k in factors] for _, factors in self.terms]
        return _core.link_hermite(L, scale, [c for c, _ in self.terms], tokens, degrees)

    def __repr__(self) -> str:
        return f"Hermite({[(c, dict(factors)) for c, factors in self.terms]!r})"

    @classmethod
    def prepare(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Convert the keys of TOML and JSON tables, which are strings: "1" becomes 1."""
        terms = fields.get("terms")
        if isinstance(terms, list):
            fields = fields | {"terms": [_integer_keys(t) for t in terms]}
        return fields


def _integer_keys(term: object) -> object:
    if isinstance(term, list) and len(term) == 2 and isinstance(term[1], Mapping):
        return [
            term[0],
            {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in term[1].items()},
        ]
    return term


@dataclass(frozen=True, eq=False, repr=False)
class HermiteSeries(Model):
    """Activation given as data: sigma = sum_k c_k He_k, with probabilists' Hermite polynomials.

    Parameters
    ----------
    coefficients : (n,) array
        c_0, c_1, ..., without a factor 1/k! (copied).

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    coefficients: Any

    _positional: ClassVar[tuple[str, ...]] = ("coefficients",)

    def __post_init__(self) -> None:
        c = _checks.array("coefficients", self.coefficients, ("n",))
        self._set(coefficients=tuple(float(x) for x in c))

    def _compiled(self) -> _core.Activation:
        return _core.activation_hermite(np.array(self.coefficients))


@dataclass(frozen=True, eq=False, repr=False)
class Named(Model):
    """Function with a name that identifies it: two are the same if their names are.

    Use it wherever a model takes a function, if seqsgd cannot find out what the function does (C
    functions, objects of other libraries). You promise that all functions of one name do the same,
    in every process and after every change of your program. Give a function that you change a new
    name.

    Parameters
    ----------
    name : str
        Not empty, for instance "my link, version 2".
    function : callable, or what CLink takes
        The function. It is called directly, so the name costs no time.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.

    Examples
    --------
    >>> import seqsgd as sq
    >>> a = sq.SSI(sq.Named("third power", lambda z: z[0] ** 3), L=1)
    >>> b = sq.SSI(sq.Named("third power", lambda z: z[0] * z[0] * z[0]), L=1)
    >>> a == b
    True
    """

    name: str
    function: Any

    _positional: ClassVar[tuple[str, ...]] = ("name", "function")
    _functions: ClassVar[tuple[str, ...]] = ("function",)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected some words, got {_checks.short(self.name)}")
        if not self.name.strip():
            raise ValueError(f"name: expected some words, got {_checks.short(self.name)}")
        f = self.function
        if isinstance(f, (type, Model)) or not (callable(f) or _is_c(f)):
            raise TypeError(f"function: expected a function, got {_checks.short(f)}")
        self._set(name=str.__str__(self.name))

    def _identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def to_plain(self) -> dict[str, Any]:
        """Return the plain form, in which the name stands for the function."""
        return {"type": "function", "name": self.name}

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self.function(*args)


def bare(f: Any) -> Any:
    """Return a function without its `Named`."""
    return f.function if isinstance(f, Named) else f


class _Pointer(Model):
    """Base of models with C addresses, which no other process can use: they are neither pickled nor
    saved.
    """

    def to_plain(self) -> dict[str, Any]:
        """Return the plain form, without addresses."""
        out = super().to_plain()
        for name in self._functions:
            if isinstance(out[name], int):
                out[name] = {"type": "function", "name": function_name(out[name])}
        return out

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: a C address is valid in this process only and cannot be "
            "pickled; use Hermite data or a Python function from a module"
        )


@dataclass(frozen=True, eq=False, repr=False)
class CLink(_Pointer):
    """Link in C, called at full speed, without Python.

    Parameters
    ----------
    function : int, ctypes function, numba cfunc or scipy.LowLevelCallable
        `void f(const double* zstar, int64_t L, double* y, int64_t k)`. It reads z* (L numbers) and
        writes y (k numbers). A LowLevelCallable with user_data receives it as a fifth argument,
        `void*`. Several threads call the function at once. seqsgd cannot check the signature; a
        wrong one crashes the process.
    k : int
        Output dimension.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    function: Any
    k: int = 1

    _positional: ClassVar[tuple[str, ...]] = ("function",)
    _functions: ClassVar[tuple[str, ...]] = ("function",)

    def __post_init__(self) -> None:
        address("function", self.function)
        self._set(k=_checks.integer("k", self.k, 1, _checks.INT32))

    def _compiled(self, L: int) -> _core.Link:
        return _core.link_pointer(L, self.k, *address("function", self.function))


@dataclass(frozen=True, eq=False, repr=False)
class CActivation(_Pointer):
    """Activation in C, called at full speed, without Python.

    Parameters
    ----------
    function, derivative : int, ctypes function, numba cfunc or scipy.LowLevelCallable
        sigma and its derivative, both `double f(double u)`, without user_data. Several threads call
        them at once. seqsgd cannot check the signature; a wrong one crashes the process.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it.
    """

    function: Any
    derivative: Any

    _positional: ClassVar[tuple[str, ...]] = ("function", "derivative")
    _functions: ClassVar[tuple[str, ...]] = ("function", "derivative")

    def __post_init__(self) -> None:
        for name in self._positional:
            if address(name, getattr(self, name))[1] is not None:
                raise ValueError(f"{name}: an activation takes no user_data")

    def _compiled(self) -> _core.Activation:
        sigma, slope = (address(name, getattr(self, name))[0] for name in self._positional)
        return _core.activation_pointer(sigma, slope)


@dataclass(frozen=True, eq=False, repr=False)
class PyActivation(Model):
    """Activation in Python.

    It is slow: each step takes the interpreter's lock, so threads do not help.

    `Tied((sigma, dsigma))` is the same as `Tied(PyActivation(sigma, dsigma))`.

    Parameters
    ----------
    function, derivative : callable or Named
        sigma and its derivative, float -> float.

    Raises
    ------
    TypeError
        If one of them cannot be called.
    """

    function: Callable[[float], float]
    derivative: Callable[[float], float]

    _positional: ClassVar[tuple[str, ...]] = ("function", "derivative")
    _functions: ClassVar[tuple[str, ...]] = ("function", "derivative")

    def __post_init__(self) -> None:
        for name in self._positional:
            if not callable(bare(getattr(self, name))):
                raise TypeError(
                    f"{name}: expected a function of one number, got "
                    f"{_checks.short(getattr(self, name))}"
                )

    def _compiled(self) -> _core.Activation:
        return _core.activation_python(bare(self.function), bare(self.derivative))


def compiled_activation(sigma: Any) -> _core.Activation:
    """Return the core's activation for a name or a model."""
    return _core.activation_named(sigma) if isinstance(sigma, str) else sigma._compiled()


def address(name: str, f: Any) -> tuple[int, int | None]:
    """Return the address of a C function, and that of its user_data or None."""
    f = bare(f)
    where: object = None
    data: int | None = None
    if not _is_c(f):
        wanted = "an address, a ctypes function, a numba cfunc or a scipy.LowLevelCallable"
        raise TypeError(f"{name}: expected {wanted}, got {_checks.short(f)}")
    if isinstance(f, int):
        where = f
    elif isinstance(f, _FUNCTION_POINTER):
        where = ctypes.cast(f, ctypes.c_void_p).value
    elif isinstance(f, tuple):
        where, data = _capsule(tuple.__getitem__(f, 0))
    else:
        where = f.address
    if not isinstance(where, int) or where <= 0:
        raise ValueError(f"{name}: expected the address of a C function, got {where}")
    return where, data


def _is_c(f: Any) -> bool:
    """Return whether `f` is, or has, the address of a C function."""
    if isinstance(f, (int, _FUNCTION_POINTER)):
        return not isinstance(f, bool)
    if isinstance(f, tuple):
        return type(f).__name__ == "LowLevelCallable"
    return isinstance(getattr(f, "address", None), int)


def _capsule(capsule: object) -> tuple[int | None, int | None]:
    api = ctypes.pythonapi
    get = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", api))
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", api)
    )
    context = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyCapsule_GetContext", api))
    return pointer(capsule, get(capsule)), context(capsule)
