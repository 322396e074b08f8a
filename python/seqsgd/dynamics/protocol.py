"""Protocol of dynamics. A new dynamics is a class that has it, and a line in table.py."""

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


PASSED = "first step with ||(e, m)|| >= eta, inf if not reached"  # meaning of weak_recovery


class Variable(NamedTuple):
    """Labelled array, with dimensions from run, step and token."""

    dims: tuple[str, ...]
    values: npt.NDArray[Any]
    meaning: str


class OtherVersion(Exception):
    """Raised for a state of an earlier version of seqsgd, which has another meaning now."""


class Resumable(Protocol):
    """Something that a checkpoint can save."""

    def steps_done(self) -> npt.NDArray[np.int64]:
        """Return the steps done by each run, (runs,) int64."""

    def state(self) -> Arrays:
        """Return everything that is needed to continue bit for bit."""

    def restore(self, state: Arrays) -> None:
        """Return to a state. Its recorded steps must be those of this grid up to the steps done.

        Raises OtherVersion if an earlier version of seqsgd wrote it with another meaning.
        """


class Dynamics(Resumable, Protocol):
    """Simulation in progress."""

    def __init__(self, run: Run, seed: Seed, grid: Steps) -> None:
        """Check the available memory, then allocate. Raises MemoryError if it does not suffice."""

    @classmethod
    def memory(cls, run: Run, grid: Steps) -> int:
        """Return the bytes that this class would allocate, with the result."""

    def advance(self, watch: Watch) -> bool:
        """Advance all runs to their ends.

        Parameters
        ----------
        watch : callable
            Called about every 50 ms as `watch(run_steps)`, with the run-steps done in this call. If
            it returns a true value, the simulation pauses.

        Returns
        -------
        bool
            Whether all runs have reached their ends.
        """

    def nonfinite(self) -> npt.NDArray[np.int64]:
        """Return the step at which a value of each run was not finite, or -1, (runs,) int64."""

    def variables(self) -> dict[str, Variable]:
        """Return the records, by name."""
