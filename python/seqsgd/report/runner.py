"""Run the simulations of figures: on several cores, resumable, with a count of time and work."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweeps import sweep

if TYPE_CHECKING:
    import xarray as xr


class Runner:
    """Runs sweeps for a figure.

    Finished cells stay in `store` until the figure is complete, so that an interrupted figure
    continues where it stopped.

    Attributes
    ----------
    workers : int
        Number of threads that share the cells; the core releases the GIL.
    run_steps : float
        Number of SGD steps of the figure, summed over runs.
    """

    def __init__(self, store: Path, workers: int, progress: bool | None = None) -> None:
        self.workers, self.run_steps = workers, 0.0
        self._store, self._progress = store, progress
        self._clock = store.with_suffix(".seconds")
        self._before = (
            json.loads(self._clock.read_text()) if store.exists() and self._clock.exists() else 0.0
        )
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time of the figure so far, including earlier attempts."""
        return float(self._before + time.perf_counter() - self._begin)

    def sweep(self, base: Mapping[str, Any], grid: Mapping[Any, Any], rng: int) -> xr.Dataset:
        """Run a sweep and return its dataset, loaded, without `time` (datasets of several sweeps
        would differ in it).

        Raises SweepError if a cell fails.
        """
        with ThreadPoolExecutor(self.workers) as executor:
            result = sweep(
                base,
                grid,
                rng=rng,
                store=self._store,
                executor=executor,
                progress=self._progress,
                errors="raise",
            )
        data = result.open(lazy=False).drop_vars("time", errors="ignore")
        self.run_steps += float(np.nansum(data["steps_done"].values))
        return data

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete the cells of a complete figure; keep those of an incomplete one, with their
        time.
        """
        if kind is None:
            for file in self._store.parent.glob(f"{self._store.name}*"):
                if file.is_file():
                    file.unlink()
            self._clock.unlink(missing_ok=True)
        elif self._store.exists():
            self._clock.write_text(json.dumps(self.seconds))
