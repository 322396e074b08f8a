"""Labels of records, the same for all dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..models import Opposite
from ..models.simulation import Run
from .protocol import PASSED, Variable

Steps = npt.NDArray[Any]


def labelled(
    run: Run,
    m: npt.NDArray[Any],
    q: npt.NDArray[Any],
    e: npt.NDArray[Any],
    loss: npt.NDArray[Any],
    loss_meaning: str,
    passage: Steps,
    nonfinite: Steps,
    steps_done: Steps,
) -> dict[str, Variable]:
    """Return the variables of a result, by name.

    Parameters
    ----------
    run : Run
    m, q : (runs, records, weights) float64
        Overlaps w . w* / d and squared norms ||w||^2 / d.
    e : (runs, records, n) float64
        Positional overlaps p_l . w / sqrt(d). n is L; it is 0 without vectors of positions, and may
        be 1 with the encoding Opposite and one weight vector.
    loss : (runs, records) float64
    loss_meaning : str
        Description of the loss in the result.
    passage, nonfinite : (runs,)
        Steps of weak recovery and of the first value that is not finite; negative or NaN if there
        is none.
    steps_done : (runs,)

    Returns
    -------
    dict of Variable
    """
    student, out = run.task.student, {}
    by_token = ("run", "step", "token")
    if tied := student.weights == "shared":
        out["m"] = Variable(("run", "step"), m[..., 0], "overlap w . w* / d")
    else:
        out["m"] = Variable(by_token, m, "overlap w_l . w* / d")
        out["q"] = Variable(by_token, q, "squared norm ||w_l||^2 / d")
    if e.shape[-1] and tied and isinstance(student.position, Opposite):
        meaning = "positional overlap e = e_1 = -e_2 = p . w / sqrt(d)"
        out["e"] = Variable(("run", "step"), e[..., 0], meaning)
    elif e.shape[-1]:
        out["e"] = Variable(by_token, e, "positional overlap p_l . w / sqrt(d)")
    out["loss"] = Variable(("run", "step"), loss, loss_meaning)
    if run.stop is not None:
        reached = passage >= 0
        out["weak_recovery"] = Variable(("run",), np.where(reached, passage, np.inf), PASSED)
        out["censored"] = Variable(("run",), ~reached, "whether the run ended below eta")
    out["nonfinite_step"] = Variable(
        ("run",),
        np.where(nonfinite >= 0, nonfinite, np.nan),
        "step at which a value was not finite, NaN if none",
    )
    out["steps_done"] = Variable(("run",), steps_done, "steps done")
    return out
