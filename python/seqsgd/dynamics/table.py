"""The dynamics that exist; `simulate` knows none of them by name."""

from __future__ import annotations

from .. import _memory
from ..models.simulation import Run
from .core import Reduced, Sampled
from .flow import Flow
from .protocol import Dynamics

DYNAMICS: dict[str, type[Dynamics]] = {"sampled": Sampled, "reduced": Reduced, "flow": Flow}


def check_memory(run: Run) -> None:
    """Refuse a run that does not fit, before anything is allocated."""
    _memory.check(run.size, DYNAMICS[run.dynamics].memory(run, run.grid()))
