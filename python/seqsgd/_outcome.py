"""How the runs of a result ended, and which records all of them have.

Runs that stop early leave the others behind: they stop because of what they did (passed eta, met
values that are not finite), so that a mean or a median over the rest is not one over all runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

# Why a result can be without a variable
_NO_STOP = "it was not recorded; pass stop=WeakRecovery(eta)"
ABSENT = {
    "m": "nothing was recorded",
    "e": "the student has no positional encoding with vectors",
    "q": "tied weights stay on their sphere",
    "loss": "nothing was recorded",
    "weak_recovery": _NO_STOP,
    "censored": _NO_STOP,
}

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of each run; arrays are (run,).

    Attributes
    ----------
    computed : bool
        False for runs of a sweep that were not computed yet.
    halted, nonfinite, unfinished : bool
        Whether it stopped short of `steps` at eta, at values that are not finite, or because the
        simulation was ended.
    done : float64
        Steps done.
    steps : int
    complete : bool
    ended_by : str
        "Ctrl-C", "callback" or "".
    """

    computed: Bools
    halted: Bools
    nonfinite: Bools
    unfinished: Bools
    done: npt.NDArray[np.float64]
    steps: int
    complete: bool
    ended_by: str

    @property
    def runs(self) -> int:
        """Number of runs that were computed."""
        return int(self.computed.sum())

    def words(self, brief: bool = False) -> str:
        """Say what is incomplete, or nothing; `brief` for pictures."""
        if self.complete:
            return ""
        parts = []
        if self.unfinished.any():
            low, high = (int(f(self.done[self.unfinished])) for f in (np.min, np.max))
            by = {"Ctrl-C": "interrupted", "callback": "ended by the callback"}
            how = by.get(self.ended_by, "incomplete:")
            done = f"{low}" if low == high or brief else f"{low} to {high}"
            parts.append(f"{how} after {done} of {self.steps} steps")
            if not brief and (ended := self.runs - int(self.unfinished.sum())):
                parts.append(f"{ended} of {self.runs} runs had ended")
        if missing := len(self.computed) - self.runs:
            parts.append(f"{missing} of {len(self.computed)} runs not computed")
        return ", ".join(parts) or "incomplete"

    def early(self) -> list[str]:
        """Say which runs stopped early because of their own values."""
        kinds = (
            (self.halted, "halted at eta"),
            (self.nonfinite, "stopped at values that are not finite"),
        )
        return [f"{int(k.sum())} of {self.runs} runs {did}" for k, did in kinds if k.any()]

    def limit(self, there: Bools) -> str:
        """Say why the records that all runs have, `there` (run, step), end before the last one.

        Nothing if they do not, or where :meth:`words` has it.
        """
        whole = np.flatnonzero(there.all(axis=0))
        after = (
            whole[-1] + 1 if whole.size else int(there.any(axis=0).argmax()) if there.any() else 0
        )
        if there.shape[1] == 0 or after == there.shape[1]:
            return ""
        gone = ~there[:, after]
        last = np.where(gone, self.done[self.computed], np.inf)
        first = np.flatnonzero(self.computed)[int(last.argmin())]
        of = f"the first of {self.runs} runs" if self.runs > 1 else "it"
        for kind, does in ((self.halted, "halts"), (self.nonfinite, "stops at values not finite")):
            if kind[first]:
                in_all = f" ({int(kind.sum())} in all)" if self.runs > 1 else ""
                return f"until {of} {does}{in_all}"
        return ""


def outcome(dataset: xr.Dataset) -> Outcome:
    """Return the outcome of a result's dataset, from `steps_done`, `nonfinite_step`,
    `weak_recovery` if they exist.
    """
    arguments = json.loads(dataset.attrs.get("arguments", "{}"))
    runs = dataset.sizes.get("run", 1)

    def column(name: str, default: float) -> npt.NDArray[np.float64]:
        values: object = dataset[name].values if name in dataset else default
        return np.broadcast_to(np.asarray(values, dtype=np.float64), (runs,))

    steps, stop = arguments.get("steps"), arguments.get("stop")
    steps = steps if isinstance(steps, int) else 0  # not known
    done = column("steps_done", np.inf)
    computed = ~np.isnan(done)
    nonfinite = np.isfinite(column("nonfinite_step", np.nan))
    short = computed & ~nonfinite & (done < steps)
    halts = isinstance(stop, dict) and bool(stop.get("halt"))
    halted = short & halts & np.isfinite(column("weak_recovery", np.inf))
    unfinished = short & ~halted
    complete = bool(dataset.attrs.get("complete", computed.all() and not unfinished.any()))
    return Outcome(
        computed,
        halted,
        nonfinite,
        unfinished,
        done,
        steps,
        complete,
        str(dataset.attrs.get("ended_by", "")),
    )


def mark(dataset: xr.Dataset, ended_by: str = "") -> xr.Dataset:
    """Note in the attributes whether the dataset is complete and what ended it if not.

    And in the attributes of its records which runs they do without. Returns the dataset.
    """
    found = outcome(dataset)
    dataset.attrs["complete"] = int(found.complete)
    if not found.complete and ended_by:
        dataset.attrs["ended_by"] = ended_by
    reasons = [*found.early(), *filter(None, [outcome(dataset).words()])]
    if reasons:
        comment = (
            f"{'; '.join(reasons)}: NaN after that. "
            "A mean or median that skips NaN is over the other runs only"
        )
        for variable in dataset.data_vars.values():
            if "step" in variable.dims:
                variable.attrs["comment"] = comment
    return dataset


def size(variable: xr.DataArray) -> xr.DataArray:
    """Return the absolute value; over several tokens, the root mean square."""
    if "token" not in variable.dims:
        return abs(variable)
    mean: xr.DataArray = (variable**2).mean("token")
    return mean**0.5


def by_run(variable: xr.DataArray, computed: Bools, sizes: bool) -> Any:
    """Return (run, step) of the runs that were computed; a result without runs counts as one.

    With `sizes`, and where there are tokens, each value is the `size`.
    """
    taken = size(variable) if sizes or "token" in variable.dims else variable
    rows = np.atleast_2d(taken.values)
    return rows[computed] if len(rows) == len(computed) else rows


__all__ = ["ABSENT", "Outcome", "by_run", "mark", "outcome", "size"]
