"""Callables of every kind that a user may bring, and what is to be known of them.

KNOWN: name -> maker; each call makes a new function, and all names are different functions.
REFUSED: functions that nothing can tell from others.
Run as a program, it prints the texts of all that is known.
"""

from __future__ import annotations

import copyreg
import ctypes
import dataclasses
import decimal
import enum
import fractions
import functools
import itertools
import json
import math
import operator
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import helping
import numpy as np
import numpy.ma as ma
import scipy.interpolate as interpolate
import scipy.special as special
import scipy.stats as stats
import seqsgd as sq
from helping import Curves
from numpy.polynomial import Chebyshev, Polynomial
from numpy.polynomial.hermite_e import HermiteE

Make = Callable[[], Any]
KNOWN: dict[str, Make] = {}
REFUSED: dict[str, Make] = {}


def uses(value: Any) -> Any:
    """A function that rests on a value, the same code for all."""
    return lambda z: value and z[0]


# Python functions that differ in little


def plain(z):
    return z[0]


def scaled(k: Any) -> Any:
    return lambda z: k * z[0]


def default(z, k=1):
    return k * z[0]


def keyword(z, *, k=1):
    return k * z[0]


def words(z):
    return z[0] if "odd" in {"odd", "linear", "first"} else z[1]


def other_words(z):
    return z[0] if "odd" in {"odd", "linear", "second"} else z[1]


def nested_sets(z):
    return z[0] if ("a", 1) in {("a", 1), ("b", 2), ("c", 3)} else z[1]


def itself(z, n=3):
    return z[0] if n == 0 else z[0] * itself(z, n - 1)


def ping(z, n=3):
    return z[0] if n == 0 else pong(z, n - 1)


def pong(z, n=3):
    return z[1] if n == 0 else ping(z, n - 1)


def guarded(z):
    try:
        return 1 / z[0]
    except ZeroDivisionError:
        return 0.0


def guarded_wide(z):
    try:
        return 1 / z[0]
    except Exception:
        return 0.0


def through_module(z):
    return helping.f(z)


def through_module_otherwise(z):
    return helping.g(z)


def static(z):
    return Curves.square(z)


NUMBER = 2.0


def uses_a_number(z):
    return NUMBER * z[0]


class Wrapper:
    """Says that it is the function it wraps, as some decorators do, and does something else."""

    def __init__(self, f: Any) -> None:
        object.__setattr__(self, "f", f)

    def __getattr__(self, name):
        return getattr(self.f, name)

    __class__ = property(lambda self: type(self.f))  # type: ignore[assignment]

    def __call__(self, z):
        return 2 * self.f(z)


def imports_library(z):
    import math as m

    return m.tanh(z[0])


def with_counter(z):
    return z[0] + with_counter.offset


with_counter.offset = 2  # type: ignore[attr-defined]


def numbers(*values: Any) -> dict[str, Make]:
    """Closures on them; sets look different in each process, so that the names are numbers."""
    return {
        f"{type(v).__name__} {i}": functools.partial(uses, v)
        for i, v in enumerate(values, len(KNOWN))
    }


KNOWN |= {
    "plain": lambda: plain,
    "lambda second": lambda: lambda z: z[1],
    "lambda square": lambda: lambda z: z[1] ** 2,
    "closure 1": lambda: scaled(1),
    "closure 2": lambda: scaled(2),
    "closure 1.0": lambda: scaled(1.0),
    "closure True": lambda: scaled(True),
    "closure '1'": lambda: scaled("1"),
    "default": lambda: default,
    "keyword": lambda: keyword,
    "words": lambda: words,
    "other words": lambda: other_words,
    "sets of tuples": lambda: nested_sets,
    "recursion": lambda: itself,
    "mutual recursion": lambda: ping,
    "mutual recursion, other end": lambda: pong,
    "except": lambda: guarded,
    "except, wide": lambda: guarded_wide,
    "module.f": lambda: through_module,
    "module.g": lambda: through_module_otherwise,
    "static method": lambda: static,
    "static method itself": lambda: Curves.square,
    "class method": lambda: Curves.cube,
    "bound method": lambda: Curves().fourth,
    "import inside": lambda: imports_library,
    "attribute": lambda: with_counter,
    "global number": lambda: uses_a_number,
    "wrapper": lambda: Wrapper(plain),
}
# values that are easily taken for each other
NAN = float(np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0])
KNOWN |= numbers(
    0.0, -0.0, float("nan"), 0, False, None, 1j, complex(-0.0, 1), "a", b"a", ..., 2**70, 2**70 + 1
)
KNOWN |= numbers(
    np.float32(0.5),
    np.float64(0.5),
    0.5,
    np.int32(1),
    np.int64(1),
    np.longdouble(0.5),
    np.datetime64(1, "s"),
    np.datetime64(1, "ms"),
)
KNOWN |= numbers(
    (1, 2),
    [1, 2],
    {1, 2},
    frozenset({1, 2}),
    {1: 2},
    {"1": 2},
    {1.5: 2},
    {True: 2},
    [(1,), 2],
    [1, (2,)],
    range(3),
    slice(3),
    slice(0, 3),
)
KNOWN |= numbers(
    {1: "a", 2: "b"},
    {2: "b", 1: "a"},
    frozenset({frozenset({1}), frozenset({2})}),
    frozenset({"a", ("b", frozenset({"c", "d"}))}),
)
KNOWN |= numbers(
    decimal.Decimal("1.5"),
    decimal.Decimal("1.50"),
    fractions.Fraction(3, 2),
    bytearray(b"a"),
    re.compile("a"),
    re.compile("a", re.I),
)
ARRAYS: dict[str, Make] = {
    "float64": lambda: np.array([1.0, 2.0]),
    "float32": lambda: np.array([1.0, 2.0], np.float32),
    "big endian": lambda: np.array([1.0, 2.0], ">f8"),
    "shape": lambda: np.array([[1.0, 2.0]]),
    "zero": lambda: np.array([0.0]),
    "minus zero": lambda: np.array([-0.0]),
    "nan": lambda: np.array([np.nan]),
    "payload": lambda: np.array([NAN]),
    "masked": lambda: ma.array([1.0, 2.0], mask=[0, 1]),
    "unmasked": lambda: ma.array([1.0, 2.0], mask=[0, 0]),
    "records": lambda: np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]).view(np.recarray),
    "fields": lambda: np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "other fields": lambda: np.array([(1, 2.0)], [("a", "i4"), ("c", "f8")]),
    "padded fields": lambda: np.array([(1, 2.0)], np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "long double": lambda: np.array([1.0, 2.0], np.longdouble),
    "Fortran order": lambda: np.array([[1.0, 2.0], [3.0, 4.0]], order="F"),
    "C order": lambda: np.array([[1.0, 2.0], [3.0, 4.0]]),
    "words": lambda: np.array(["a", "bc"]),
    "dtype": lambda: np.dtype("f4"),
}
KNOWN |= {f"array, {k}": lambda make=make: uses(make()) for k, make in ARRAYS.items()}


class Link:
    """A callable user object."""

    def __init__(self, k: Any) -> None:
        self.k = k

    def __call__(self, z):
        return self.k * z[0]

    @functools.cached_property
    def late(self) -> int:
        return 1


class Link2(Link):
    def __call__(self, z):
        return self.k + z[0]


class Slots:
    __slots__ = ("k",)

    def __init__(self, k: Any) -> None:
        self.k = k

    def __call__(self, z):
        return self.k * z[0]


@dataclasses.dataclass(frozen=True)
class Data:
    k: float
    more: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, z):
        return self.k * z[0]


class Pair(NamedTuple):
    a: float
    b: float

    def __call__(self, z):
        return self.a * z[0] + self.b


class Curve(enum.Enum):
    LINE = 1

    def __call__(self, z):
        return self.value * z[0]


class Steep(enum.Enum):
    LINE = 1

    def __call__(self, z):
        return 2 * self.value * z[0]


Steep.__qualname__ = "Curve"


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def after_use() -> Any:
    link = Link(5)
    assert link.late == 1
    return link


def cyclic() -> Any:
    data: list[Any] = [1]
    data.append(data)
    return uses(data)


def cyclic_two() -> Any:
    data: list[Any] = [2]
    data.append(data)
    return uses(data)


def empty_cell() -> Any:
    def f(z):
        return later if z is None else z[0]

    if f is None:
        later = 1
    return f


def decorated(f: Any) -> Any:
    @functools.wraps(f)
    def wrapper(z):
        return 2 * f(z)

    return wrapper


KNOWN |= {
    "object 1": lambda: Link(1),
    "object 2": lambda: Link(2),
    "object of a subclass": lambda: Link2(1),
    "object used": after_use,
    "object with slots": lambda: Slots(1),
    "object with slots, other": lambda: Slots(2),
    "dataclass": lambda: Data(1.0),
    "dataclass, other": lambda: Data(1.0, [1]),
    "named tuple": lambda: Pair(1.0, 2.0),
    "named tuple, other": lambda: Pair(2.0, 1.0),
    "method of an object": lambda: Link(1).__call__,
    "enumeration": lambda: uses(Color.RED),
    "enumeration, other": lambda: uses(Color.BLUE),
    "enumeration, called": lambda: Curve.LINE,
    "enumeration, called, other code": lambda: Steep.LINE,
    "class": lambda: uses(Link),
    "class, other": lambda: uses(Link2),
    "cycle": cyclic,
    "cycle, other": cyclic_two,
    "empty cell": empty_cell,
    "decorated": lambda: decorated(plain),
    "decorated, other": lambda: decorated(lambda z: z[1]),
    "lru_cache": lambda: functools.lru_cache(plain),
    "lru_cache, typed": lambda: functools.lru_cache(typed=True)(plain),
    "partial": lambda: functools.partial(default, k=2),
    "partial, other": lambda: functools.partial(default, k=3),
    "partial of partial": lambda: functools.partial(functools.partial(operator.mul, 2), 3),
    "generator inside": lambda: lambda z: sum(x for x in z),
    "named": lambda: sq.Named("a name", time.sleep),
    "named, other": lambda: sq.Named("another name", time.sleep),
    "named inside": lambda: scaled(sq.Named("a name", time.sleep)),
}
# of libraries
MATRIX = np.arange(4.0).reshape(2, 2)
KNOWN |= {
    "sum": lambda: np.sum,
    "builtin sum": lambda: sum,
    "math.tanh": lambda: math.tanh,
    "np.tanh": lambda: np.tanh,
    "np.add": lambda: np.add,
    "erf": lambda: special.erf,
    "norm": lambda: np.linalg.norm,
    "np.mean": lambda: np.mean,
    "np.add.reduce": lambda: np.add.reduce,
    "np.multiply.reduce": lambda: np.multiply.reduce,
    "ndarray.sum": lambda: np.ndarray.sum,
    "a.dot": lambda: np.arange(4.0).reshape(2, 2).dot,
    "b.dot": lambda: np.eye(2).dot,
    "a.sum": lambda: np.arange(4.0).sum,
    "dict.get": lambda: {1: 2}.get,
    "dict.get, other": lambda: {1: 3}.get,
    "list.append": lambda: [].append,
    "list.append, other": lambda: [1].append,
    "str.join": lambda: "a".join,
    "itemgetter 0": lambda: operator.itemgetter(0),
    "itemgetter 1": lambda: operator.itemgetter(1),
    "poly1d": lambda: np.poly1d([1, 2]),
    "poly1d, other": lambda: np.poly1d([1, 3]),
    "Polynomial": lambda: Polynomial([0, 1]),
    "Chebyshev": lambda: Chebyshev([0, 1]),
    "HermiteE": lambda: HermiteE([0, 1]),
    "HermiteE, other": lambda: HermiteE([0, 0, 1]),
    "HermiteE, domain": lambda: HermiteE([0, 1], domain=[-2, 1]),
    "hermitenorm(2)": lambda: special.hermitenorm(2),
    "hermitenorm(3)": lambda: special.hermitenorm(3),
    "CubicSpline": lambda: interpolate.CubicSpline([0, 1, 2], [0, 1, 4]),
    "CubicSpline, other": lambda: interpolate.CubicSpline([0, 1, 2], [0, 1, 5]),
    "CubicSpline, derivative": lambda: interpolate.CubicSpline([0, 1, 2], [0, 1, 4]).derivative(),
    "Pchip": lambda: interpolate.PchipInterpolator([0, 1, 2], [0, 1, 4]),
    "Akima": lambda: interpolate.Akima1DInterpolator([0, 1, 2], [0, 1, 4]),
    "BSpline": lambda: interpolate.BSpline([0, 0, 1, 1], [1, 2], 1),
    "interp1d": lambda: interpolate.interp1d([0, 1], [1, 2]),
    "interp1d, other": lambda: interpolate.interp1d([0, 1], [1, 3]),
    "interp1d, nearest": lambda: interpolate.interp1d([0, 1], [1, 2], kind="nearest"),
    "normal pdf": lambda: stats.norm(0, 2).pdf,
    "normal cdf": lambda: stats.norm(0, 2).cdf,
    "normal pdf, other": lambda: stats.norm(0, 3).pdf,
    "gamma pdf": lambda: stats.gamma(2).pdf,
    "kernel density": lambda: stats.gaussian_kde([1.0, 2.0, 4.0]),
    "vectorize": lambda: np.vectorize(plain),
    "vectorize, other": lambda: np.vectorize(default),
    "vectorize, used": lambda: used(np.vectorize(math.floor)),
    "closure on a spline": lambda: uses(interpolate.CubicSpline([0, 1, 2], [0, 1, 4])),
    "closure on a polynomial": lambda: uses(HermiteE([0, 1])),
    "closure on a method": lambda: uses({1: 2}.get),
}
try:
    import numba
except ImportError:
    pass
else:
    KNOWN |= {
        "numba": lambda: numba.njit(plain),
        "numba, other": lambda: numba.njit(default),
        "numba, fast": lambda: numba.njit(fastmath=True)(plain),
        "numba, called": lambda: scaled(numba.njit(plain)),
        "numba, of one type": lambda: numba.njit("float64(float64[:])")(plain),
        "numba, closure": lambda: numba.njit(scaled(2)),
    }
    REFUSED |= {
        "numba, with a global variable": lambda: numba.njit(uses_a_number),
        "numba, as a ufunc": lambda: numba.vectorize(plain),
    }


def used(f: Any) -> Any:
    f(0.5)
    return f


class Hiding:
    """Does not show what it holds."""

    def __init__(self, k: Any) -> None:
        self.k = k

    def __getstate__(self):
        return {}

    def __call__(self, z):
        return self.k


class Registered:
    """Pickled by a function that forgets what it holds."""

    def __init__(self, k: Any = 0) -> None:
        self.k = k

    def __call__(self, z):
        return self.k * z[0]


copyreg.pickle(Registered, lambda r: (Registered, ()))


class Vector(np.ndarray):
    """An array with attributes that pickling forgets."""


class Money(decimal.Decimal):
    """A number with attributes that pickling forgets."""


def generator():
    yield 1


def reads_globals(z):
    return globals()["PLACE"] * z[0]


def evaluates(z):
    return eval("z[0]")


def reads_a_file(z):
    with open("weights.txt") as f:
        return float(f.read()) * z[0]


def imports_inside(z):
    import helping as h

    return h.f(z)


def module_as_a_whole(z):
    return getattr(helping, "f")(z)


with open(__file__) as FILE:
    pass
LIBRARY = ctypes.CDLL(None)


def calls_c(z):
    return LIBRARY.abs(int(z[0]))


def moves_on(z):
    return random.random() * z[0]


def pandas() -> Any:
    """Imported where it is used: it takes long."""
    import pandas

    return pandas


def array_of_a_type_of_ones_own() -> Any:
    a = np.zeros(2).view(Vector)
    a.k = 1  # type: ignore[attr-defined]
    return uses(a)


REFUSED |= {
    "frompyfunc": lambda: np.frompyfunc(plain, 1, 1),
    "objects": lambda: uses(np.array([object(), [1]], dtype=object)),
    "strings elsewhere": lambda: uses(np.array(["a"], dtype=np.dtypes.StringDType())),
    "array of a type of one's own": array_of_a_type_of_ones_own,
    "number of a type of one's own": lambda: uses(Money(1)),
    "lock": lambda: uses(threading.Lock()),
    "thread": lambda: uses(threading.Thread()),
    "local": lambda: uses(threading.local()),
    "generator": lambda: uses(generator()),
    "generator method": lambda: generator().send,
    "count": lambda: uses(itertools.count()),
    "iterator": lambda: uses(iter([1, 2])),
    "file": lambda: uses(FILE),
    "random generator": lambda: np.random.default_rng(0).normal,
    "random generator in a closure": lambda: uses(np.random.default_rng(0)),
    "random of the standard library": lambda: random.Random(0).gauss,
    "random.random": lambda: moves_on,
    "module": lambda: uses(helping),
    "module as a whole": lambda: module_as_a_whole,
    "import inside": lambda: imports_inside,
    "globals()": lambda: reads_globals,
    "eval": lambda: evaluates,
    "open": lambda: reads_a_file,
    "hidden state": lambda: Hiding(1),
    "hidden state, registered": lambda: Registered(1),
    "ctypes": lambda: calls_c,
    "ctypes function": lambda: LIBRARY.abs,
    "ctypes number": lambda: uses(ctypes.c_double(1)),
    "deep": lambda: uses(functools.reduce(lambda x, _: [x], range(5000), [])),
    "large": lambda: uses(list(range(300_000))),
    "compiled, not of a library": lambda: pandas().api.types.is_scalar,
    "object of another library": lambda: pandas().Series([1.0, 2.0]).get,
}

if __name__ == "__main__":
    from seqsgd.models.identity import exact

    print(json.dumps({name: exact(make()) for name, make in KNOWN.items()}))
