"""The right-hand side of the flow for a task, in the form its state needs."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _checks, models
from ._drift import Drift
from ._rows import RowsDrift
from .expectation.setup import Setup


def drift(
    task: models.Task,
    lr: float,
    *,
    inhibitive: bool = True,
    tokens: str | models.Tokens = "gaussian",
    estar: npt.ArrayLike | None = None,
) -> Drift:
    """Return the right-hand side of the flow as a function of the state, (..., n) -> (..., n), in
    time t = gamma tau / d. Its `names` name the components of the state.

    Parameters
    ----------
    task : Task
    lr : float >= 0
    inhibitive : bool
        False leaves out the terms in gamma.
    tokens : "gaussian" or Correlated
    estar : (L,), optional
        P w* / sqrt d, if P is not orthogonal to w*.
    """
    _checks.instance("task", task, models.Task, "a Task")
    return checked(
        task, _checks.number("lr", lr, 0), _checks.boolean("inhibitive", inhibitive), tokens, estar
    )


def checked(
    task: models.Task, lr: float, inhibitive: bool, tokens: str | models.Tokens, estar: Any
) -> Drift:
    """Return `drift` for arguments that are already checked."""
    if isinstance(tokens, models.Correlated) and Setup(task, tokens).rows:
        return RowsDrift(task, lr, inhibitive, tokens, estar)
    return Drift(task, lr, inhibitive, tokens, estar)


__all__ = ["checked", "drift"]
