"""Plain C entry points of the compiled core, for loops without the GIL in numba, ctypes, cffi or C.

Every entry point is an `EntryPoint`: an address, a C prototype and a ctypes function. Simulations
are made in Python; C identifies them by the integer ``Handle(simulator).address``. All other
addresses are integers too (``array.ctypes.data``), so that functions compiled by numba with
``nogil=True`` can call the entry points directly.

- ``advance``: does n steps on fresh draws; returns the steps done (fewer if a value was not
  finite).
- ``observe``: does a step on each of n given sequences X (n, L, d), C-contiguous, of the
  simulator's dtype, entries of variance 1/d, with labels y (n, k) float64 or 0 for the teacher's;
  writes the losses (n,) float64 before each step; returns the steps done.
- ``step``: returns the steps done so far.
- ``order_parameters``: writes overlaps m, squared norms q (as many as weight vectors), positional
  overlaps e (L, if there are any) and the last sample's loss (1), each float64, or 0 to leave it
  out.
- ``weights``: writes the weights (weight vectors, d) float64.
- ``sizes``: writes six int64: L, d, k, number of weight vectors, number of positional overlaps,
  bytes of a number in X.
- ``normals_float32``: writes n standard normals of the block addressed by (seed, stream < 256, run,
  block < 2^56), docs: "Reproducibility".
- ``normals_float64``: the same in double precision.

All return int64. A negative value is `IN_USE`, `FAILED` or `BAD_ARGUMENT`, and nothing was done
(except that FAILED of ``advance`` or ``observe`` keeps the steps before the failing one). Your own
Python functions take the GIL when they are called.

Entry points do not react to Ctrl-C: keep n small enough. They cannot check the sizes of arrays, nor
do they check the scale of X: divide data of unit variance by sqrt(d). A loop that waits for an
event must end when ``advance`` returns 0 or less.
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
"""A user function raised, or memory ran out."""
BAD_ARGUMENT = -3
"""A negative count, an address of 0 where one is needed, or a stream or block out of range."""

_TYPES: dict[str, type[Any]] = {
    "uint64_t": ctypes.c_uint64,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
}


@dataclass(frozen=True)
class EntryPoint:
    """A C function of the core.

    Attributes
    ----------
    name : str
        Its name in this module.
    address : int
        Its address, valid as long as the package is loaded.
    prototype : str
        Its declaration in C.
    """

    name: str
    address: int
    prototype: str

    @property
    def ctypes(self) -> Any:
        """The ctypes function, which releases the GIL while it runs and which numba accepts.

        Addresses are integers (size_t).
        """
        arguments = self.prototype[self.prototype.index("(") + 1 : -2].split(", ")
        kinds = [ctypes.c_size_t if "*" in a else _TYPES[a.split()[0]] for a in arguments]
        return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(self.address)


class Handle:
    """A simulator as the entry points receive it.

    Parameters
    ----------
    simulator : Simulator
        The owner of the memory; the handle keeps that memory alive, and with it `address`. If
        `simulator.load_state` takes the entropy of another run, the simulator gets new memory: make
        a new handle then.
    """

    def __init__(self, simulator: Simulator) -> None:
        if not isinstance(simulator, Simulator):
            raise TypeError(f"simulator: expected a Simulator, got {type(simulator).__name__}")
        self._core = simulator._core

    @property
    def address(self) -> int:
        """First argument of the entry points."""
        return int(self._core.address())


def entry_points() -> dict[str, EntryPoint]:
    """Return all entry points, by name."""
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
