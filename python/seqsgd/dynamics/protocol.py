"""What a dynamics is: one class below this protocol, and one line in table.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .._seed import Seed
    from ..models.recording import Steps
    from ..models.simulation import Run

Arrays = Mapping[str, npt.NDArray[Any]]
Watch = Callable[[int], bool]


PASSED = "first step with ||(e, m)|| >= eta, inf if not reached"  # what weak_recovery holds


class Variable(NamedTuple):
    """A labelled array: dims among run, step, token."""

    dims: tuple[str, ...]
    values: npt.NDArray[Any]
    meaning: str


class OtherVersion(Exception):
    """A state of an earlier version of seqsgd, in which it meant something else."""


class Resumable(Protocol):
    """Something a checkpoint can hold."""

    def steps_done(self) -> npt.NDArray[np.int64]:
        """Steps done by each run."""

    def state(self) -> Arrays:
        """Everything needed to go on bit for bit."""

    def restore(self, state: Arrays) -> None:
        """Go back to a state, recorded on a grid that agrees with this one up to the steps done."""


class Dynamics(Resumable, Protocol):
    """A simulation in progress."""

    def __init__(self, run: Run, seed: Seed, grid: Steps) -> None:
        """Check memory, then allocate."""

    @classmethod
    def memory(cls, run: Run, grid: Steps) -> int:
        """Bytes this class would allocate."""

    def advance(self, watch: Watch) -> bool:
        """Go on to the end; `watch(run_steps)` is called every 50 ms or so and pauses by a true
        value. True when there is nothing left to do.
        """

    def nonfinite(self) -> npt.NDArray[np.int64]:
        """Step at which each run met a value that is not finite; -1 where it did not."""

    def variables(self) -> dict[str, Variable]:
        """What was recorded."""
