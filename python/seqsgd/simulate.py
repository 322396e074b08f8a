"""Simulate many runs of one task in one call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import _checks, _stderr, models
from ._lazy import xarray as xr
from ._outcome import mark
from ._seed import Rng, Seed
from .dynamics import table
from .dynamics.protocol import Dynamics
from .errors import NonFiniteWarning, SimulationInterrupted
from .models.recording import Steps
from .models.simulation import Run
from .results import provenance
from .results.checkpoint import Checkpoint
from .results.result import Result

Callback = Callable[[int, int], object]


def simulate(
    task: models.Task,
    d: int,
    steps: int,
    lr: float | models.Rate,
    *,
    runs: int = 1,
    rng: Rng = None,
    dynamics: str = "sampled",
    init: models.Start = models.Overlap(),
    record: models.Record | Iterable[int] | None = None,
    stop: models.Stop | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    step: str = "normalized",
    tokens: str | models.Tokens = "gaussian",
    first_run: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    progress: bool | None = None,
    callback: Callback | None = None,
) -> Result:
    """Simulate one-pass spherical SGD, many runs at once (docs: "The model and its letters", Step).

    Parameters
    ----------
    task : Task
    d : int
        Token dimension.
    steps : int
        Number of SGD steps, each on one fresh sample X (L, d). 0 records only the start.
    lr : float >= 0, PowerLaw, Decay or Piecewise
        Learning rate gamma.
    runs : int
        Number of independent runs. Each has its own teacher, start and data.
    rng : int, numpy SeedSequence, numpy Generator or None
        Source of all randomness. None draws fresh entropy and records it in the result. A Generator
        is advanced by one call.
    dynamics : "sampled", "reduced" or "flow"
        "sampled" draws every X and moves w. "reduced" follows only the order parameters: the law is
        exact at any d, and the cost does not depend on d (docs: "The reduced dynamics"). It needs
        Gaussian tokens. "flow" integrates the limit d -> infinity from each start (docs: "Risk,
        flow, landscapes, phases", Flow).
    init : Overlap or Uniform, optional
    record : Every, LogSpaced, At, a list of steps, or None
        Which steps to record. None records about 200 evenly spaced steps.
    stop : WeakRecovery, optional
        Find the first step of each run at eta. With ``halt=True`` the run stops there.
    dtype : "float32" or "float64", or what NumPy takes for them
        Type of weights and tokens. With dynamics="reduced" it is the type of the normals only; the
        state is float64. Records are always float64.
    threads : int, optional
        Number of threads. None uses all available cores, at most one per run. Results do not depend
        on it.
    step : "normalized" or "projected"
        Whether the gradient G, or its component orthogonal to w, moves w.
    tokens : "gaussian", "rademacher", "uniform", StudentT or Correlated, optional
    first_run : int
        Number of the first run. Runs 0..63 in one call have the same bits as runs 0..31 in one call
        and 32..63 in another.
    checkpoint : path, optional
        File for the state, written every `checkpoint_every` seconds, on Ctrl-C and at the end. If
        it exists and has the same arguments, the simulation continues from it, bit for bit. `steps`
        may be larger than before (existing records stay where they are), and `threads` may differ.
        Your own functions must be the same; a warning says if that cannot be checked (`Named`).
    progress : bool, optional
        Whether to show a progress bar on stderr. None shows one if stderr is a terminal.
    callback : callable, optional
        Called as `callback(run_steps_done, run_steps_in_all)` about every 50 ms in the calling
        thread. If it returns True (also NumPy's), the simulation ends, and the result has the
        records so far and is marked as incomplete. False and None continue. Anything else raises
        TypeError.

    Returns
    -------
    Result

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. One line names it; nothing has been allocated yet.
    MemoryError
        If runs, L and d do not fit into memory.
    SimulationInterrupted
        On Ctrl-C, within 0.2 s. It is a KeyboardInterrupt whose `result` has everything recorded so
        far.

    Warns
    -----
    PrecisionWarning
        If steps are too short for float32.
    NonFiniteWarning
        If runs stopped at a NaN or an overflow.
    """
    run = Run(
        task=task,
        d=d,
        steps=steps,
        lr=lr,
        runs=runs,
        dynamics=dynamics,
        init=init,
        record=record,
        stop=stop,
        dtype=dtype,
        threads=threads,
        step=step,
        tokens=tokens,
        first_run=first_run,
    )
    every = _checks.number("checkpoint_every", checkpoint_every, 0)
    if progress is not None:
        _checks.boolean("progress", progress)
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback: expected a function of two integers, got {_checks.short(callback)}"
        )
    seed = Seed.of(rng)
    saved = None if checkpoint is None else Checkpoint(checkpoint, run, seed)
    if saved and saved.exists():
        saved.load(adopt=rng is None)
    run.warn(stacklevel=2)
    import xarray  # noqa: F401  needed for the result: loaded now, so that Ctrl-C need not wait for it

    result = Execution(run, saved.seed if saved else seed, saved, every, progress, callback).go()
    _warn_nonfinite(result, stacklevel=2)
    return result


class Execution:
    """One call of simulate, from allocation to result."""

    def __init__(
        self,
        run: Run,
        seed: Seed,
        saved: Checkpoint | None,
        every: float,
        progress: bool | None,
        callback: Callback | None,
    ) -> None:
        self.run, self.seed, self.saved, self.every, self.callback = (
            run,
            seed,
            saved,
            every,
            callback,
        )
        self.grid = saved.grid(run.grid()) if saved else run.grid()
        self.engine = table.DYNAMICS[run.dynamics](run, seed, self.grid)
        if saved:
            saved.restore(self.engine)
        self.total = run.runs * run.steps
        self.before = self.done = int(self.engine.steps_done().sum())
        self.earlier = saved.wall_time if saved else 0.0
        self.started = self.written = time.monotonic()
        self.in_file = self.done if saved and saved.exists() else -1
        self.ended = False
        self.bar = _stderr.bar(progress, self.total, self.before)

    def go(self) -> Result:
        try:
            self.advance()
            return self.result()
        except KeyboardInterrupt:
            raise self.interrupted() from None
        except BaseException:
            self.save()
            raise
        finally:
            self.bar.close()

    def advance(self) -> None:
        """Advance to the end, or until a callback stops it."""
        while not self.engine.advance(self.watch) and not self.ended:
            self.save()
            self.before = int(self.engine.steps_done().sum())
        self.save()

    def watch(self, run_steps: int) -> bool:
        """Return true to pause the engine, which calls this at intervals."""
        self.bar.update(self.before + run_steps - self.done)
        self.done = self.before + run_steps
        if self.callback is not None and _true(self.callback(self.done, self.total)):
            self.ended = True
        return self.ended or (
            self.saved is not None and time.monotonic() - self.written >= self.every
        )

    def wall_time(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def save(self) -> None:
        done = int(self.engine.steps_done().sum())
        if self.saved is not None and done != self.in_file:
            self.saved.save(self.engine, self.grid, self.wall_time())
            self.in_file = done
        self.written = time.monotonic()

    def result(self) -> Result:
        ended_by = "callback" if self.ended else "Ctrl-C"
        return _assemble(self.run, self.seed, self.grid, self.engine, self.wall_time(), ended_by)

    def interrupted(self) -> SimulationInterrupted:
        self.save()
        done = int(self.engine.steps_done().sum())
        text = (
            f"interrupted after {done} of {self.total} run-steps; what was recorded is in the "
            "attribute `result` of this exception"
        )
        if self.saved is not None:
            text += (
                f"; to continue, make the same call again with checkpoint={str(self.saved.path)!r}"
            )
        return SimulationInterrupted(text, self.result())


def _true(answer: object) -> bool:
    """Return whether a callback asks to stop.

    Numbers and texts are refused: a callback that ends in `f.write(...)` does not mean to stop.
    """
    if answer is None or isinstance(answer, bool):
        return bool(answer)
    try:
        value = np.asarray(answer)
    except Exception:
        value = np.empty(0)
    if value.shape != () or value.dtype.kind != "b":
        raise TypeError(
            f"callback: expected it to return True, False or None, got {_checks.short(answer)}"
        )
    return bool(value)


def _warn_nonfinite(result: Result, stacklevel: int) -> None:
    if "nonfinite_step" not in result.dataset:
        return
    steps = result.dataset["nonfinite_step"]
    bad = steps[np.isfinite(steps.values)]
    if bad.size:
        listed = ", ".join(
            f"run {int(r)} at step {int(s)}"
            for r, s in zip(bad["run"].values[:5], bad.values[:5], strict=True)
        )
        more = f" and {bad.size - 5} more" if bad.size > 5 else ""
        _stderr.warn(
            f"values were not finite in {listed}{more}; these runs stopped there and keep what "
            "they recorded before (a smaller lr may help)",
            NonFiniteWarning,
            stacklevel=stacklevel + 1,
        )


def _assemble(
    run: Run, seed: Seed, grid: Steps, engine: Dynamics, wall_time: float, ended_by: str
) -> Result:
    """Label the records of a dynamics; `ended_by` says what ended an incomplete simulation."""
    variables = engine.variables()
    done = engine.steps_done()
    dims = {dim for v in variables.values() for dim in v.dims}
    coords: dict[str, Any] = {"step": ("step", grid, {"long_name": "step tau"})}
    coords["time"] = (
        "step",
        run.schedule.integral(grid) / run.d,
        {"long_name": "time t = integral of lr / d"},
    )
    if "run" in dims:
        coords["run"] = ("run", np.arange(run.first_run, run.first_run + run.runs))
    if "token" in dims:
        coords["token"] = ("token", np.arange(1, run.L + 1))
    dataset = xr.Dataset(
        {
            name: (v.dims, np.ascontiguousarray(v.values), {"long_name": v.meaning})
            for name, v in variables.items()
        },
        coords=coords,
        attrs=provenance.attributes(run, seed, wall_time, int(done.sum())),
    )
    return Result(mark(dataset, ended_by))
