"""The reduced dynamics: order parameters alone, exact in law, at a cost that does not depend on d
(docs: "The reduced dynamics").
"""

from __future__ import annotations

from typing import ClassVar

from . import models
from ._compiled import Compiled
from ._run import Run


class Reduced(Compiled):
    """Moves the overlaps with w* and P; the state is float64, `dtype` is that of the normals."""

    kind: ClassVar[str] = "Reduced"

    @staticmethod
    def check(run: Run) -> None:
        """Gaussian tokens only."""
        if run.tokens != "gaussian" and not isinstance(run.tokens, models.Correlated):
            raise ValueError(
                "tokens: dynamics='reduced' is exact for Gaussian tokens only, got "
                f"{run.tokens!r}; use dynamics='sampled'"
            )

    @staticmethod
    def precision(run: Run) -> str | None:
        """No increment is lost."""
        return None
