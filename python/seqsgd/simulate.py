"""simulate: many runs of one task in one call."""

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
    """One-pass spherical SGD, many runs at once (docs: "The model and its letters", Step).

    Parameters
    ----------
    task : Task
    d : int
        Token dimension.
    steps : int
        SGD steps, one fresh sample X (L, d) each. 0 records the start alone.
    lr : float >= 0, PowerLaw, Decay or Piecewise
        Learning rate gamma.
    runs : int
        Independent runs; each has its own teacher, start and data.
    rng : int, numpy SeedSequence, numpy Generator or None
        All randomness comes from it; None takes fresh entropy, which the result notes. A Generator
        is moved on by one call.
    dynamics : "sampled", "reduced" or "flow"
        "sampled" draws every X and moves w. "reduced" follows the order parameters alone, with the
        same law at any d, at a cost that does not depend on d (docs: "The reduced dynamics"):
        Gaussian tokens only. "flow" integrates the limit d -> infinity from each start (docs:
        "Risk, flow, landscapes, phases", Flow).
    init : Overlap or Uniform
    record : Every, LogSpaced, a list of steps, or None
        None: about 200 records, evenly.
    stop : WeakRecovery, optional
        Notes each run's first step at eta; with ``halt=True`` the run stops there.
    dtype : "float32" or "float64", or what NumPy takes for them
        Of weights and tokens; of the normals alone with dynamics="reduced", whose state is float64.
        Records are float64 always.
    threads : int, optional
        None: as many as there are cores to use, at most one per run. Results do not depend on it.
    step : "normalized" or "projected"
        Whether G or its component orthogonal to w moves w.
    tokens : "gaussian", "rademacher", "uniform", StudentT or Correlated
    first_run : int
        Number of the first run: runs 0..63 in one call are the same, bit for bit, as 0..31 in one
        and 32..63 in another.
    checkpoint : path, optional
        A file that holds the state, renewed every `checkpoint_every` seconds, on Ctrl-C and at the
        end. If it exists and belongs to the same arguments it is continued, bit for bit; `steps`
        may be larger than before (then records taken so far stay where they were), and `threads`
        may differ. Functions of your own must be the same; a warning says where that cannot be
        known (`Named`).
    progress : bool, optional
        A progress bar on stderr. None: if somebody watches (a terminal).
    callback : callable, optional
        `callback(run_steps_done, run_steps_in_all)`, about every 50 ms in the calling thread.
        True (also NumPy's) ends the simulation with what was recorded, and the result then says
        that it is not complete; False and None go on; anything else is a TypeError, which ends
        the simulation.

    Returns
    -------
    Result

    Raises
    ------
    TypeError, ValueError
        One line that names the argument. Nothing has been allocated by then.
    MemoryError
        If runs, L and d do not fit into memory.
    SimulationInterrupted
        On Ctrl-C, within 0.2 s; a KeyboardInterrupt whose `result` has everything recorded so far.

    Warns
    -----
    PrecisionWarning
        If steps are too short for float32.
    NonFiniteWarning
        If runs were stopped by a NaN or an overflow.
    """
    run = Run(
        task,
        d,
        steps,
        lr,
        runs,
        dynamics,
        init,
        record,
        stop,
        dtype,
        threads,
        step,
        tokens,
        first_run,
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
        """To the end, or until a callback ends it."""
        while not self.engine.advance(self.watch) and not self.ended:
            self.save()
            self.before = int(self.engine.steps_done().sum())
        self.save()

    def watch(self, run_steps: int) -> bool:
        """Called by the engine now and then; true pauses it."""
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
    """What a callback has answered.

    Numbers and texts are refused: a callback that ends in `f.write(...)` means nothing by it.
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
    run: Run, seed: Seed, grid: Steps, engine: Dynamics, wall_time: float, ended_by: str = ""
) -> Result:
    """Label what a dynamics recorded; `ended_by` says what ended it if it is not complete."""

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
