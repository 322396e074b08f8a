"""Where figures run their simulations: on several cores, resumable, with the time and the work
counted.
"""

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

    Finished cells lie in `store` until the figure is made, so that an interrupted figure goes on
    where it was.

    Attributes
    ----------
    workers : int
        Threads that share the cells; the core runs without the interpreter's lock.
    run_steps : float
        Steps of SGD, summed over runs, that the figure rests on.
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
        """Wall time of the figure so far, of earlier attempts too."""
        return float(self._before + time.perf_counter() - self._begin)

    def sweep(self, base: Mapping[str, Any], grid: Mapping[Any, Any], rng: int) -> xr.Dataset:
        """The dataset of :func:`seqsgd.sweep`, read at once, without `time` (datasets of several
        sweeps would differ in it). A cell that fails raises SweepError.
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
        """Forget the cells of a figure that is made; keep those of one that is not, with the time
        they took.
        """
        if kind is None:
            for file in self._store.parent.glob(f"{self._store.name}*"):
                if file.is_file():
                    file.unlink()
            self._clock.unlink(missing_ok=True)
        elif self._store.exists():
            self._clock.write_text(json.dumps(self.seconds))
