"""The flow: the deterministic limit d -> infinity from each run's start (docs: "Risk, flow,
landscapes, phases", Flow). Only starts are random.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _memory, models
from .._seed import Seed
from ..models.recording import Steps
from ..models.simulation import Run
from ..models.tokens import Correlated
from .labels import labelled
from .protocol import Arrays, Variable, Watch

Array = Any
BLOCK = 64  # records


class Flow:
    """One solution of the ODE for each different start.

    A run's start has the law it has in the other dynamics. With a matrix P of positions, w* and w
    are drawn in full, so that P w* and P w have their values at this d. A checkpoint resumes
    between two starts; a run that is taken further goes on from where it ended, to the accuracy of
    the integration.
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
        self._done = np.full(run.runs, -1, dtype=np.int64)  # steps done; -1: not begun
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
        state = positional + weights + (L if student.weights == "global" else 0)
        if not tied and isinstance(run.tokens, Correlated):  # all overlaps between rows too
            state = 3 * L + L * (L - 1) // 2 + (L * (L - 1) if positional else 0)
        full = (weights + 1) * run.d if matrix else 0
        theory = (
            2 * L * L + state * state
        )  # the covariance of the tokens and what is made of it; the solver's Jacobian
        records = len(grid) * (
            state + 1 + 1 + weights * (0 if tied else 2) + positional
        )  # with the result, whose arrays are copies in part
        return (
            8 * (run.runs * (records + 3 * state + 3 * positional + 8) + full + theory)
            + run.description_bytes()
        )

    def _draw(self, seed: Seed) -> tuple[Array, Array]:
        """Start (runs, state) and P w* / sqrt d (runs, positional overlaps)."""
        from ..theory.expectation.setup import Setup

        run, student = self._run, self._run.task.student
        setup = Setup(run.task, run.tokens)
        self._ne = setup.ne
        starts, estar = [], []
        for i in range(run.first_run, run.first_run + run.runs):
            rng = np.random.default_rng([seed.value, i])
            e, star = np.zeros(setup.ne), np.zeros(setup.ne)
            if isinstance(student.position, models.Positions):
                P, (w, teacher) = student.position.P, self._full(rng, setup.nm)
                m, e, star = w @ teacher, (P * w).sum(axis=1), P @ teacher
            elif setup.rows:
                w = self._rows(rng)
                m = w[:, 0]
            elif isinstance(run.init, models.Overlap):
                m = np.full(setup.nm, _signed(run.init, run.d, rng))
            else:
                m = np.array([_sphere(rng, run.d)[0] for _ in range(setup.nm)])
            if setup.rows:  # all overlaps between rows, and of rows with P
                F = (
                    w @ P.T
                    if isinstance(student.position, models.Positions)
                    else np.zeros((setup.ne, setup.ne))
                )
                Q = w @ w.T
                np.fill_diagonal(Q, 1.0)
                starts.append(
                    self._right(star if setup.ne else None).pack(m[None], Q[None], F[None])[0]
                )
            else:
                q = np.ones(setup.L if student.weights == "global" else 0)
                starts.append(np.concatenate([e, m, q]))
            estar.append(star)
        return np.array(starts), np.array(estar)

    @staticmethod
    def _integrate(*args: Any, **kwargs: Any) -> Any:
        from ..theory._path import integrate  # the theory is loaded when it is needed

        return integrate(*args, **kwargs)

    def _right(self, estar: Array | None) -> Any:
        """The right-hand side."""
        from ..theory._right_hand_side import checked

        return checked(self._run.task, 0.0, True, self._run.tokens, estar)

    def _rows(self, rng: np.random.Generator) -> Array:
        """Rows w_l / sqrt d along w* and a frame of what remains of them; `Opposite` is chosen
        orthogonal to all of it afterwards.
        """
        run, L = self._run, self._run.L
        free = run.d - 1
        w = np.zeros((L, 1 + min(L, free)))
        for i in range(
            L
            # directions uniform in `free` dimensions, in a frame where they are lower triangular
            # (Bartlett)
        ):
            for j in range(min(i + 1, free)):
                w[i, 1 + j] = rng.standard_normal() if j < i else math.sqrt(rng.chisquare(free - i))
        if isinstance(run.init, models.Overlap):
            m0 = _signed(run.init, run.d, rng)
            w *= math.sqrt(max(0.0, (1 - m0) * (1 + m0))) / np.maximum(
                np.linalg.norm(w, axis=1, keepdims=True), 1e-300
            )
            w[:, 0] = m0
            return w
        w[:, 0] = rng.standard_normal(L)
        return np.asarray(w / np.linalg.norm(w, axis=1, keepdims=True))

    def _full(self, rng: np.random.Generator, rows: int) -> tuple[Array, Array]:
        """w (rows, d) and w* (d,) drawn in R^d, over sqrt d."""
        run = self._run
        teacher = _unit(rng.standard_normal(run.d))
        w = np.empty((rows, run.d))
        m0 = _signed(run.init, run.d, rng) if isinstance(run.init, models.Overlap) else None
        for row in w:
            x = rng.standard_normal(run.d)
            if m0 is None:
                row[:] = _unit(x)
            else:
                row[:] = m0 * teacher + (
                    math.sqrt(1 - m0**2) * _unit(x - teacher * (x @ teacher)) if m0**2 < 1 else 0
                )
        return w, teacher

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
        """Ends of the stretches a run is integrated in: a pause, or a checkpoint, falls between two
        of them.
        """
        if not self._left()[i]:
            return []
        ahead: list[int] = self._grid[self._grid > self._done[i]][BLOCK - 1 :: BLOCK].tolist()
        return ahead if ahead and ahead[-1] == self._run.steps else [*ahead, self._run.steps]

    def _follow(self, i: int, last: int) -> None:
        """Integrate run i up to step `last`."""
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
        """From where run i halted to the end of that step, which other dynamics do and record."""
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
        if not q.shape[2]:  # each on its own sphere
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
        for name in self._STATE:
            mine, theirs = getattr(self, name), np.asarray(state[name[1:]])
            if name in ("_states", "_integral"):  # made on a grid that may have ended elsewhere
                kept = min(theirs.shape[1], mine.shape[1])
                mine[:] = np.nan
                mine[:, :kept] = theirs[:, :kept]
            else:
                if mine.shape != theirs.shape:
                    raise ValueError(f"{name[1:]}: expected shape {mine.shape}, got {theirs.shape}")
                setattr(self, name, theirs.copy())


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x)


def _sphere(rng: np.random.Generator, d: int) -> tuple[float, float]:
    """One coordinate of a uniform unit vector of R^d, and the length of the rest."""
    first, rest = rng.standard_normal(), math.sqrt(rng.chisquare(d - 1)) if d > 1 else 0.0
    size = math.hypot(first, rest)
    return first / size, rest / size


def _signed(init: models.Overlap, d: int, rng: np.random.Generator) -> float:
    m0 = init.value(d)
    return -m0 if init.random_sign and rng.random() < 0.5 else m0


__all__ = ["Flow"]
