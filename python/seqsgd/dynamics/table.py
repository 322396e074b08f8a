"""Table of all dynamics. `simulate` takes them from here."""

from __future__ import annotations

from .. import _memory
from ..models.simulation import Run
from .core import Reduced, Sampled
from .flow import Flow
from .protocol import Dynamics

DYNAMICS: dict[str, type[Dynamics]] = {"sampled": Sampled, "reduced": Reduced, "flow": Flow}


def check_memory(run: Run) -> None:
    """Raise MemoryError if a run does not fit into memory, before anything is allocated."""
    _memory.check(run.size, DYNAMICS[run.dynamics].memory(run, run.grid()))
