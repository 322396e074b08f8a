"""The dynamics that exist.

Each is one class below this protocol, and one line in the table; simulate knows none of them by
name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._run import Run
    from ._seed import Seed
    from .models.course import Steps

Arrays = Mapping[str, npt.NDArray[Any]]
Watch = Callable[[int], bool]


PASSED = "first step with ||(e, m)|| >= eta, inf if not reached"  # what weak_recovery holds


class Variable(NamedTuple):
    """A labelled array: dims among run, step, token."""

    dims: tuple[str, ...]
    values: npt.NDArray[Any]
    meaning: str


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

    @staticmethod
    def check(run: Run) -> None:
        """Refuse what this dynamics cannot do, naming the argument and the dynamics that can."""

    @staticmethod
    def precision(run: Run) -> str | None:
        """What to warn of if `run.dtype` is too coarse."""

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


_TABLE = {"sampled": "_sampled:Sampled", "reduced": "_reduced:Reduced", "flow": "_flow:Flow"}


def names() -> list[str]:
    """Names that `simulate(dynamics=)` takes."""
    return list(_TABLE)


def find(name: str) -> type[Dynamics]:
    """The class behind a name."""
    module, attribute = _TABLE[name].split(":")
    return cast("type[Dynamics]", getattr(import_module(f".{module}", __package__), attribute))
