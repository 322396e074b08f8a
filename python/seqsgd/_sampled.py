"""The sampled dynamics: full sequences X are drawn (docs: "The model and its letters", Step)."""

from __future__ import annotations

import math
from typing import ClassVar

from ._compiled import Compiled
from ._run import Run


class Sampled(Compiled):
    """Moves w itself."""

    kind: ClassVar[str] = "Sampled"

    @staticmethod
    def check(run: Run) -> None:
        """Everything is possible."""

    @staticmethod
    def precision(run: Run) -> str | None:
        """float32 may be too coarse for the length of a step."""
        rate = run.schedule.least(run.steps)
        if run.dtype == "float32" and 0 < rate / math.sqrt(run.d) < 1e-6:
            return (
                "dtype: float32 rounds away steps as short as lr / sqrt(d) = "
                f"{rate / math.sqrt(run.d):.1e} (lr = {rate:.3g}, d = {run.d}); use "
                "dtype='float64'"
            )
        return None
