"""Flow: the limit d -> infinity, an ODE from the random start of each run (docs: "Risk, flow,
landscapes, phases", Flow).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, _memory, models
from .._seed import Seed
from ..models.recording import Steps
from ..models.simulation import Run
from ..models.tokens import Correlated
from . import core
from .labels import labelled
from .protocol import Arrays, OtherVersion, Variable, Watch

Array = Any
BLOCK = 64  # records


class Flow:
    """Dynamics that solves the ODE once for each different start.

    A run starts at the overlaps, at this d, of the run of the same number in the reduced dynamics.
    Checkpoints are possible between two stretches of a run. A run that is continued to more steps
    starts from its last state; it agrees with one long run up to the accuracy of the integration.
    """

    def __init__(self, run: Run, seed: Seed, grid: Steps) -> None:
        _memory.check(run.size, self.memory(run, grid))
        self._run, self._grid = run, grid
        student = run.task.student
        self._tied = student.weights == "shared"
        self._starts, self._estar = self._draw(seed)
        n = self._starts.shape[1]
        self._states = np.full((run.runs, len(grid), n), np.nan)
        self._integral = np.full((run.runs, len(grid)), np.nan)
        self._done = np.full(run.runs, -1, dtype=np.int64)  # steps done; -1 before the start
        self._halted = np.zeros(run.runs, dtype=bool)
        self._passage = np.full(run.runs, np.nan)
        self._nonfinite = np.full(run.runs, -1, dtype=np.int64)
        self._end = np.concatenate([self._starts, np.zeros((run.runs, 1))], axis=1)

    @classmethod
    def memory(cls, run: Run, grid: Steps) -> int:
        student, L = run.task.student, run.L
        tied, matrix = student.weights == "shared", isinstance(student.position, models.Positions)
        positional = (
            0
            if student.position is None or isinstance(student.position, models.Injected)
            else 1
            if tied and not matrix
            else L
        )
        weights = 1 if tied else L
        state = positional + weights + (L if student.spheres == "one" else 0)
        if not tied and isinstance(run.tokens, Correlated):  # also the overlaps between rows
            state = 3 * L + L * (L - 1) // 2 + (L * (L - 1) if positional else 0)
        full = L * (2 * L + 4 * run.d) if matrix else 0
        # covariance of the tokens and what is derived from it; the solver's Jacobian
        theory = 2 * L * L + state * state
        # with the result, some of whose arrays are copies
        records = len(grid) * (state + 1 + 1 + weights * (0 if tied else 2) + positional)
        return (
            8 * (run.runs * (records + 3 * state + 3 * positional + 8) + full + theory)
            + run.description_bytes()
        )

    def _draw(self, seed: Seed) -> tuple[Array, Array]:
        """Draw the starts of the reduced dynamics.

        Returns
        -------
        starts : (runs, state) float64
        estar : (runs, positional overlaps) float64
            P w* / sqrt d.
        """
        from ..theory.expectation.setup import Setup

        run, setup = self._run, Setup(self._run.task, self._run.tokens)
        self._ne = setup.ne
        settings = core.settings(run, seed, self._grid)
        drawn = _core.starts(run.L, settings, run.runs, run.first_run)
        e, star = drawn["e"][:, : setup.ne], drawn["star"][:, : setup.ne]
        if setup.rows:  # overlaps between rows, and of rows with P
            Q, E = drawn["Q"], drawn["E"]
            Q[:, np.arange(run.L), np.arange(run.L)] = 1.0
            right = self._right(star[0] if setup.ne else None)
            return right.pack(drawn["m"], Q, E), star
        norms = np.ones((run.runs, setup.L if run.task.student.spheres == "one" else 0))
        return np.concatenate([e, drawn["m"], norms], axis=1), star

    @staticmethod
    def _integrate(*args: Any, **kwargs: Any) -> Any:
        from ..theory._path import integrate  # only this dynamics needs the theory

        return integrate(*args, **kwargs)

    def _right(self, estar: Array | None) -> Any:
        """Return the right-hand side of the ODE for P w* / sqrt d = estar."""
        from ..theory._right_hand_side import checked

        return checked(self._run.task, 0.0, True, self._run.tokens, estar)

    def advance(self, watch: Watch) -> bool:
        before = int(self.steps_done().sum())
        same: dict[bytes, int] = {}
        for i in np.flatnonzero(self._left()).tolist():
            key = self._end[i].tobytes() + self._estar[i].tobytes() + self._done[i].tobytes()
            if key in same:
                self._copy(same[key], i)
            for last in self._blocks(i):
                self._follow(i, last)
                if watch(int(self.steps_done().sum()) - before):
                    return not self._left().any()
            same[key] = i
        return True

    def _left(self) -> npt.NDArray[np.bool_]:
        return (self._done < self._run.steps) & ~self._halted & (self._nonfinite < 0)

    def _blocks(self, i: int) -> list[int]:
        """Return the last steps of the stretches in which run i is integrated. Pauses and
        checkpoints are possible between them.
        """
        if not self._left()[i]:
            return []
        ahead: list[int] = self._grid[self._grid > self._done[i]][BLOCK - 1 :: BLOCK].tolist()
        return ahead if ahead and ahead[-1] == self._run.steps else [*ahead, self._run.steps]

    def _follow(self, i: int, last: int) -> None:
        """Integrate run i to step `last`."""
        run = self._run
        if not self._left()[i]:
            return
        eta, halt = (
            (run.stop.eta, run.stop.halt)
            if isinstance(run.stop, models.WeakRecovery)
            else (None, False)
        )
        drift = self._right(self._estar[i] if self._estar.shape[1] else None)
        records = np.flatnonzero((self._grid > self._done[i]) & (self._grid <= last))
        clock = self._grid[records].astype(np.float64)
        clock = clock if len(records) and clock[-1] == last else np.append(clock, last)
        eta = eta if np.isnan(self._passage[i]) else None
        begin = max(int(self._done[i]), 0)
        path = self._integrate(
            drift,
            self._end[i, :-1],
            clock,
            run.schedule,
            run.d,
            eta=eta,
            halt=halt,
            begin=begin,
            integral=self._end[i, -1],
        )
        self._states[i, records], self._integral[i, records] = (
            path.states[: len(records)],
            path.integral[: len(records)],
        )
        self._end[i], self._done[i] = path.end, last
        if np.isfinite(path.passage):
            self._passage[i], self._halted[i] = math.ceil(path.passage - 1e-9), halt
        if self._halted[i] or not path.finite:
            self._done[i] = math.ceil(path.reached - 1e-9)
        if not path.finite:
            self._nonfinite[i] = self._done[i]
        elif self._halted[i] and path.reached < self._done[i]:
            self._finish(i, drift, path)

    def _finish(self, i: int, drift: Any, path: Any) -> None:
        """Integrate run i from its halt to the end of that step.

        The other dynamics also do that step, and record it.
        """
        run, x, clock = self._run, path.end, self._done[i : i + 1].astype(np.float64)
        span: dict[str, Any] = {"begin": path.reached, "integral": x[-1]}
        rest = self._integrate(
            drift, x[:-1], clock, run.schedule, run.d, eta=None, halt=False, **span
        )
        here = self._grid == self._done[i]
        self._states[i, here], self._integral[i, here] = rest.states[0], rest.integral[0]
        self._end[i] = rest.end

    def _copy(self, source: int, i: int) -> None:
        fresh = np.isfinite(self._integral[source])
        self._states[i, fresh], self._integral[i, fresh] = (
            self._states[source, fresh],
            self._integral[source, fresh],
        )
        for name in ("_end", "_passage", "_halted", "_done", "_nonfinite"):
            getattr(self, name)[i] = getattr(self, name)[source]

    def steps_done(self) -> npt.NDArray[np.int64]:
        return np.maximum(self._done, 0)

    def nonfinite(self) -> npt.NDArray[np.int64]:
        return self._nonfinite

    def variables(self) -> dict[str, Variable]:
        L, x = self._run.L, self._states
        nm, ne = 1 if self._tied else L, self._ne
        e, m, q = x[..., :ne], x[..., ne : ne + nm], x[..., ne + nm : ne + nm + L]
        if not q.shape[2]:  # each weight vector has its own sphere
            q = np.where(np.isfinite(m), 1.0, np.nan)
        loss = np.full(self._integral.shape, np.nan)
        if len(self._grid) > 1:
            np.subtract(self._integral[:, 1:], self._integral[:, :-1], out=loss[:, 1:])
            loss[:, 1:] /= np.diff(self._grid)
        if len(self._grid) and self._grid[0] > 0:
            loss[:, 0] = self._integral[:, 0] / self._grid[0]
        return labelled(
            self._run,
            m,
            q,
            e,
            loss,
            "population risk, mean over the steps since the record before",
            self._passage,
            self._nonfinite,
            self.steps_done(),
        )

    _STATE = (
        "_states",
        "_integral",
        "_done",
        "_halted",
        "_passage",
        "_nonfinite",
        "_end",
        "_starts",
        "_estar",
    )

    def state(self) -> Arrays:
        return {name[1:]: np.array(getattr(self, name)) for name in self._STATE}

    def restore(self, state: Arrays) -> None:
        theirs = np.asarray(state["starts"])
        if theirs.shape == self._starts.shape and not np.allclose(theirs, self._starts, atol=1e-9):
            raise OtherVersion(
                "was made by an earlier version of seqsgd, whose flows start elsewhere"
            )
        for name in self._STATE:
            mine, theirs = getattr(self, name), np.asarray(state[name[1:]])
            if name in ("_states", "_integral"):  # recorded on a grid that may have another end
                kept = min(theirs.shape[1], mine.shape[1])
                mine[:] = np.nan
                mine[:, :kept] = theirs[:, :kept]
            else:
                if mine.shape != theirs.shape:
                    raise ValueError(f"{name[1:]}: expected shape {mine.shape}, got {theirs.shape}")
                setattr(self, name, theirs.copy())


__all__ = ["Flow"]
