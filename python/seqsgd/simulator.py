"""Advance one run step by step, for use inside a larger program."""

from __future__ import annotations

import copy
import os
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _checks, _core, models
from ._seed import Rng, Seed
from .dynamics.core import allocate, rate
from .dynamics.own_data import Units, numbers, sequences
from .errors import NonFiniteWarning
from .models.simulation import Run
from .results.checkpoint import Checkpoint

_GRID = np.zeros(1, dtype=np.int64)


class Simulator:
    """A single run that you advance yourself, on its own draws or on your data.

    With the same arguments, `advance` passes through the same states as run number `run` of
    :func:`simulate`, bit for bit. Different objects may be used from different threads at once;
    calls on one object wait for each other. A copy (`copy.deepcopy`) or an unpickled simulator
    continues independently from the same state, bit for bit (on the same version and instruction
    set).

    Parameters
    ----------
    task, d, lr, rng, init, dtype, step, tokens
        As for :func:`simulate`.
    run : int
        Number of the run within `rng`.
    """

    __slots__ = ("__weakref__", "_adopt", "_core", "_lock", "_run", "_seed", "_units")

    def __init__(
        self,
        task: models.Task,
        d: int,
        lr: float | models.Rate,
        *,
        rng: Rng = None,
        init: models.Start = models.Overlap(),
        dtype: str = "float32",
        step: str = "normalized",
        tokens: str | models.Tokens = "gaussian",
        run: int = 0,
    ) -> None:
        first_run = _checks.integer("run", run, 0, 2**32 - 1)
        self._run = Run(
            task,
            d,
            2**53,
            lr,
            init=init,
            dtype=dtype,
            step=step,
            tokens=tokens,
            first_run=first_run,
            record=models.At((0,)),
            threads=1,
        )
        self._adopt = rng is None
        self._seed = Seed.of(rng)
        self._units = Units(self._run.d, self._run.tokens)
        if not isinstance(lr, models.Decay):  # at the end of all steps a decay is 0
            self._run.warn(stacklevel=2)
        self._lock = threading.RLock()
        self._core = allocate(_core.Sampled, self._run, self._seed, _GRID)

    def advance(self, n: int) -> int:
        """Do n steps on fresh draws.

        Ctrl-C stops between two steps.

        Parameters
        ----------
        n : int
            Number of steps.

        Returns
        -------
        int
            Steps done; fewer than n if a value was not finite.

        Warns
        -----
        NonFiniteWarning
            If a value was not finite.
        """
        n = _checks.integer("n", n, 0, 2**52)
        with self._lock:
            before = self._core.step()
            self._core.advance(before + n, _go_on)
            self._warn()
            return int(self._core.step() - before)

    def observe(
        self, X: npt.ArrayLike, y: npt.ArrayLike | None = None, *, check_scale: bool = True
    ) -> _checks.Float64:
        """Do one step on each of the given sequences, in order.

        Parameters
        ----------
        X : (n, L, d) array
            Sequences in the units of the model: entries of mean 0 and variance 1/d. Divide data of
            unit variance by sqrt(d). The array is used in place if it is C-contiguous and has the
            simulator's dtype, otherwise copied.
        y : (n, k) array, optional
            Labels; (n,) for k = 1 and (n, L, L) for a matrix are accepted too. None uses the
            teacher's labels, without noise.
        check_scale : bool
            Whether to refuse X in wrong units. X is refused if the mean square of about the first
            10 000 entries of a call, or of several short calls, differs from 1/d (for correlated
            tokens: from theirs) by more than a factor of 3. Chance is allowed for: Gaussian data in
            the right units are refused with a probability below 2e-12. False accepts any X.

        Returns
        -------
        losses : (n,) float64
            Loss of each sample before its step; NaN from the first step on that was not finite.

        Raises
        ------
        TypeError, ValueError
            If shapes or types do not fit, an entry is masked or not finite, or X is in other units.
            No step is done then.
        """
        L, d, k = self._run.L, self._run.d, self._run.task.k
        _checks.boolean("check_scale", check_scale)
        given = sequences("X", X, ("n", "L", "d"), (L, d), self._run.dtype)
        labels = None
        if y is not None:
            a = numbers("y", y, ("n", "k"), (k,))
            n = len(given)
            if a.shape in ((n,), (n, L, L)) and a.size == n * k:
                a = a.reshape(n, k)
            labels = sequences("y", a, ("n", "k"), (k,), "float64")
            if len(labels) != n:
                raise ValueError(
                    f"y: expected as many labels as sequences in X, n = {n}, got {len(labels)}"
                )
        with self._lock:
            if check_scale:
                self._units.look(given)
            losses: _checks.Float64 = self._core.observe(given, labels, 0)
            self._warn()
        return losses

    @property
    def lr(self) -> float | models.Rate:
        """Learning rate of the next steps, as for :func:`simulate`; may be set.

        A schedule counts steps from the start of the run, not from now. Files of :meth:`save_state`
        belong to simulators with this rate.
        """
        return self._run.lr

    @lr.setter
    def lr(self, lr: float | models.Rate) -> None:
        with self._lock:
            run = self._run.replaced(lr=lr)
            self._core.set_rate(rate(run.schedule))
            self._run = run

    @property
    def step(self) -> int:
        """Number of steps done."""
        with self._lock:
            return int(self._core.step())

    @property
    def m(self) -> Any:
        """Overlap w . w* / d: a float, for untied weights (L,) float64."""
        m = self._order("m")
        return m if self._untied else float(m[0])

    @property
    def q(self) -> _checks.Float64:
        """Squared norms ||w_l||^2 / d, (L,) float64; for tied weights (1,), 1 up to rounding."""
        return self._order("q")

    @property
    def e(self) -> Any:
        """Positional overlap p_l . w / sqrt(d): a float with Opposite and tied weights (e = e_1 =
        -e_2), otherwise (L,) float64.
        """
        e = self._order("e")
        if not e.size:
            raise AttributeError("e: the student has no positional encoding with vectors")
        return (
            e
            if self._untied or not isinstance(self._run.task.student.position, models.Opposite)
            else float(e[0])
        )

    @property
    def loss(self) -> float:
        """Loss of the last sample, before its step; NaN before the first step."""
        return float(self._order("loss"))

    @property
    def w(self) -> _checks.Float64:
        """Weights (d,), for untied students (L, d), float64, norm sqrt(d) each (a copy)."""
        with self._lock:
            w: _checks.Float64 = self._core.weights()[0]
        return w if self._untied else w[0]

    @property
    def teacher(self) -> _checks.Float64:
        """Hidden direction w* (d,), float64, norm sqrt(d) (a copy)."""
        with self._lock:
            w: _checks.Float64 = self._core.teacher()[0]
        return w

    @property
    def positions(self) -> _checks.Float64:
        """Positions P (L, d), float64 (a copy)."""
        with self._lock:
            P: _checks.Float64 = self._core.positions()[0]
        if not P.size:
            raise AttributeError("positions: the student has no positional encoding with vectors")
        return P

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, completely or not at all."""
        with self._lock:
            Checkpoint(path, self._run, self._seed).save(self, _GRID, 0.0)

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Restore the state from a file of a simulator with the same arguments.

        A simulator made without `rng` also takes the file's entropy.
        """
        saved = Checkpoint(path, self._run, self._seed)
        if not saved.exists():
            raise FileNotFoundError(f"path: there is no file {str(path)!r}")
        saved.load(adopt=self._adopt)
        with self._lock:
            if saved.seed != self._seed:
                self._core, self._seed = (
                    allocate(_core.Sampled, self._run, saved.seed, _GRID),
                    saved.seed,
                )
            saved.restore(self)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state as arrays, for :meth:`restore` of a simulator with the same
        arguments.
        """
        with self._lock:
            return dict(self._core.state())

    def restore(self, state: Any) -> None:
        """Restore a state returned by :meth:`state`, bit for bit."""
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected what state() gave, got {_checks.short(state)}")
        with self._lock:
            self._core.set_state({str(name): np.asarray(values) for name, values in state.items()})

    def __setattr__(self, name: str, value: object) -> None:
        if (
            name in Simulator.__slots__ or name == "lr" or type(self) is not Simulator
        ):  # a user class may have more
            return object.__setattr__(self, name, value)
        if hasattr(Simulator, name):
            raise AttributeError(
                f"{name}: cannot be set; it follows from the steps done (restore() goes back to a "
                "state)"
            )
        raise AttributeError(
            f"{name}: a Simulator has no such attribute; apart from lr, what it was made with "
            "cannot be changed"
        )

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {
                "run": self._run,
                "seed": self._seed,
                "adopt": self._adopt,
                "units": copy.copy(self._units),
                "state": self.state(),
                "more": dict(getattr(self, "__dict__", {})),
            }

    def __setstate__(self, given: dict[str, Any]) -> None:
        self._run, self._seed, self._adopt, self._units = (
            given["run"],
            given["seed"],
            given["adopt"],
            given["units"],
        )
        for name, value in given["more"].items():
            object.__setattr__(self, name, value)
        self._lock = threading.RLock()
        self._core = allocate(_core.Sampled, self._run, self._seed, _GRID)
        self.restore(given["state"])

    def __copy__(self) -> Simulator:
        return copy.deepcopy(self)  # two that share a state would be one

    def steps_done(self) -> npt.NDArray[np.int64]:
        """Steps done, (1,) int64."""
        return np.array([self.step])

    @property
    def _untied(self) -> bool:
        return self._run.task.student.weights != "shared"

    def _order(self, name: str) -> _checks.Float64:
        with self._lock:
            values: _checks.Float64 = self._core.order_parameters()[name][0]
        return values

    def _warn(self) -> None:
        at = int(self._core.nonfinite())
        if at >= 0:
            warnings.warn(
                f"values were not finite at step {at}; the simulator stays before it (a smaller "
                "lr may help)",
                NonFiniteWarning,
                stacklevel=3,
            )

    def __repr__(self) -> str:
        m = np.sqrt(np.mean(np.square(self._order("m")))) if self._untied else self.m
        return (
            f"<seqsgd.Simulator at step {self.step}, m = {m:.4g}, d = {self._run.d}, "
            f"{self._run.task!r}>"
        )


def _go_on(run_steps: int) -> bool:
    """Return to Python at intervals, so that signals are handled."""
    return False
