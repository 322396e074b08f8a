"""Plain C entry points of the compiled core, for loops that run without the GIL: numba, ctypes,
cffi, C.

Every entry point is an `EntryPoint`: an address, a C prototype and a ctypes function. Simulations
are made in Python and reach C as the integer ``Handle(simulator).address``. All other addresses are
integers too (``array.ctypes.data``), so that the functions can be called from a function compiled
by numba with ``nogil=True`` as they are.

- ``advance``: n steps on fresh draws; the steps done (fewer if a value was not finite).
- ``observe``: a step on each of n given sequences X (n, L, d), C-contiguous, of the simulator's
  dtype,
  entries of variance 1/d, with labels y (n, k) float64 or 0 for the teacher's; losses (n,) float64
  before each step; the steps done.
- ``step``: steps done so far.
- ``order_parameters``: overlaps m, squared norms q (as many as weight vectors), positional overlaps
  e
  (L, where there are any) and the last sample's loss (1), each float64 or 0 if not wanted.
- ``weights``: weights (weight vectors, d) float64.
- ``sizes``: six int64: L, d, k, number of weight vectors, of positional overlaps, bytes of a number
  in X.
- ``normals_float32``: n standard normals of the block addressed by (seed, stream < 256, run,
  block < 2^56), docs: "Reproducibility".
- ``normals_float64``: the same in double precision.

All return int64; negative: `IN_USE`, `FAILED` or `BAD_ARGUMENT`, and nothing was done (after FAILED
of ``advance`` or ``observe``: the steps before the one that failed). Functions of the user's in
Python take the GIL when they are called. Nothing here answers Ctrl-C: keep n to what may run in one
piece. Sizes of arrays are not checked: they cannot be. Nor is the scale of X: divide data of unit
variance by sqrt(d). A loop until something has happened must end where ``advance`` returns 0 or
less.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from . import _core
from .simulator import Simulator

__all__ = [
    "BAD_ARGUMENT",
    "FAILED",
    "IN_USE",
    "EntryPoint",
    "Handle",
    "advance",
    "entry_points",
    "normals_float32",
    "normals_float64",
    "observe",
    "order_parameters",
    "sizes",
    "step",
    "weights",
]

IN_USE = -1
"""Another thread is inside the same simulator."""
FAILED = -2
"""A function of the user's raised, or memory ran out."""
BAD_ARGUMENT = -3
"""A negative count, an address of 0 where one is needed, or a stream or block out of range."""

_TYPES: dict[str, type[Any]] = {
    "uint64_t": ctypes.c_uint64,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
}


@dataclass(frozen=True)
class EntryPoint:
    """One C function.

    Attributes
    ----------
    name : str
        Its name here.
    address : int
        Where it is, as long as the package is loaded.
    prototype : str
        Its declaration in C.
    """

    name: str
    address: int
    prototype: str

    @property
    def ctypes(self) -> Any:
        """As a ctypes function, which releases the GIL while it runs and is known to numba.

        Addresses are integers (size_t).
        """
        arguments = self.prototype[self.prototype.index("(") + 1 : -2].split(", ")
        kinds = [ctypes.c_size_t if "*" in a else _TYPES[a.split()[0]] for a in arguments]
        return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(self.address)


class Handle:
    """A simulator for C.

    Parameters
    ----------
    simulator : Simulator
        Stays the owner of its memory, with which `address` is valid; the handle keeps that memory
        alive. After `simulator.load_state` has taken over another run's entropy the simulator works
        on other memory: make a new handle.
    """

    def __init__(self, simulator: Simulator) -> None:
        if not isinstance(simulator, Simulator):
            raise TypeError(f"simulator: expected a Simulator, got {type(simulator).__name__}")
        self._core = simulator._core

    @property
    def address(self) -> int:
        """The first argument of the entry points."""
        return int(self._core.address())


def entry_points() -> dict[str, EntryPoint]:
    """All entry points, by name."""
    addresses = _core.entry_points()
    return {
        name: EntryPoint(name, addresses[name], prototype)
        for name, prototype in _PROTOTYPES.items()
    }


_NORMALS = (
    "int64_t seqsgd_normals_{0}(uint64_t seed, uint32_t stream, uint32_t run, uint64_t block, "
    "int64_t n, {1}* out);"
)
_PROTOTYPES = {
    "advance": "int64_t seqsgd_advance(void* simulator, int64_t n);",
    "observe": "int64_t seqsgd_observe(void* simulator, const void* X, const double* y, int64_t "
    "n, double* losses);",
    "step": "int64_t seqsgd_step(void* simulator);",
    "order_parameters": "int64_t seqsgd_order_parameters(void* simulator, double* m, double* q, "
    "double* e, double* loss);",
    "weights": "int64_t seqsgd_weights(void* simulator, double* w);",
    "sizes": "int64_t seqsgd_sizes(void* simulator, int64_t* out);",
    "normals_float32": _NORMALS.format("float32", "float"),
    "normals_float64": _NORMALS.format("float64", "double"),
}

_all = entry_points()
advance, observe, step = _all["advance"], _all["observe"], _all["step"]
order_parameters, weights, sizes = _all["order_parameters"], _all["weights"], _all["sizes"]
normals_float32, normals_float64 = _all["normals_float32"], _all["normals_float64"]
