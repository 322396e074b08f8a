"""Results with labels: what was recorded, and where it comes from."""

from __future__ import annotations

import html
import json
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .._lazy import xarray as xr
from .._outcome import ABSENT, Outcome, by_run, outcome
from .._seed import Seed
from ..errors import NonFiniteWarning
from ..models import Task
from ..models.plain import rebuild
from ..plots.runs import Look, plot_result
from . import files
from .passages import FirstPassage, of_dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Result:
    """Records of a simulation, with labels and provenance.

    Attributes
    ----------
    dataset : xarray.Dataset
        Dimensions run, step and token (1..L), float64. `m` is (run, step), for untied weights (run,
        step, token). `e`, with a positional encoding, is (run, step) for Opposite and one weight (e
        = e_1 = -e_2), otherwise (run, step, token). `q` exists for untied weights. `loss` (run,
        step) is the mean one-pass loss of the steps since the previous record. Each run has
        `steps_done` and `nonfinite_step` (NaN if none). With a stop it has `weak_recovery` and
        `censored`, which `passage` summarises. The coordinate `time` along step is the integral of
        the learning rate over steps, divided by d. Attributes are the provenance, `complete` (0 or
        1) and, if it is 0, `ended_by` ("Ctrl-C" or "callback").

        Records are NaN at steps that a run did not do: after it halted at eta (`WeakRecovery(eta,
        halt=True)`), stopped at values that are not finite, or was interrupted. ``m.mean("run")``
        leaves such runs out; the attribute `comment` of the records says how many there are.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset

    def __setattr__(self, name: str, value: object) -> None:
        if name != "dataset" and not name.startswith("_"):
            raise AttributeError(
                f"{name}: cannot be set, a result is what was recorded; variables of your own go "
                "into .dataset"
            )
        object.__setattr__(self, name, value)

    @property
    def complete(self) -> bool:
        """Whether every run reached its end, and none was interrupted.

        The end is the last step, eta if it halts there, or values that are not finite.
        """
        return outcome(self.dataset).complete

    @property
    def m(self) -> xr.DataArray:
        """Overlap w . w* / d."""
        return self._variable("m")

    @property
    def e(self) -> xr.DataArray:
        """Positional overlap p_l . w / sqrt(d)."""
        return self._variable("e")

    @property
    def q(self) -> xr.DataArray:
        """Squared norms ||w_l||^2 / d of untied weights."""
        return self._variable("q")

    @property
    def loss(self) -> xr.DataArray:
        """Mean one-pass loss since the previous record."""
        return self._variable("loss")

    @property
    def weak_recovery(self) -> xr.DataArray:
        """First step at which ||(e, m)|| >= eta, for each run, float; inf if it was not reached
        (see `censored`).
        """
        return self._variable("weak_recovery")

    @property
    def censored(self) -> xr.DataArray:
        """Whether a run ended without weak recovery: its step of recovery is larger than
        `steps_done`.
        """
        return self._variable("censored")

    @property
    def passage(self) -> FirstPassage:
        """Steps of weak recovery as a censored sample, with survival curve, median, quantiles,
        restricted mean and comparison (docs: "First passages").

        Runs that stopped at values that are not finite before they reached eta count as censored at
        their last finite step; a NonFiniteWarning says so.
        """
        passage = self._passage()
        if passage.nonfinite:
            warnings.warn(
                f"{passage.nonfinite} of {passage.runs} runs stopped at values that are not finite "
                "before eta; they count as censored there, which biases what is said of the law "
                "if they are many",
                NonFiniteWarning,
                stacklevel=2,
            )
        return passage

    def _passage(self) -> FirstPassage:
        self._variable("weak_recovery")
        return of_dataset(self.dataset, self._eta())

    def _eta(self) -> float | None:
        eta = (json.loads(self.dataset.attrs.get("arguments", "{}")).get("stop") or {}).get("eta")
        return None if eta is None else float(eta)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self.dataset:
            raise AttributeError(f"{name}: this result has none ({ABSENT[name]})")
        return self.dataset[name]

    @property
    def task(self) -> Task:
        """The task, rebuilt from the provenance.

        Raises ConfigError if it contains your own functions, which files do not keep.
        """
        task: Task = rebuild(json.loads(self.dataset.attrs["task"]), "task", "task")
        return task

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments, so that `simulate(**result.arguments)` repeats the simulation (rebuilt
        like `task`).
        """
        plain = json.loads(self.dataset.attrs["arguments"])
        rng = Seed.from_plain(plain.pop("rng"))
        return {
            "task": self.task,
            **{k: rebuild(v, k, k) for k, v in plain.items()},
            "rng": rng.sequence,
        }

    def plot(
        self,
        ax: Axes | None = None,
        *,
        what: str | None = None,
        time: bool = False,
        label: str | None = None,
        color: Any = None,
        band: tuple[float, float] | None = (0.1, 0.9),
        legend: bool = True,
    ) -> Axes:
        """Draw the median over runs and the band from the 10 % to the 90 % quantile.

        Curves end at the last record that all runs have. If that is not the last record, the legend
        says why: the first run halts there, stops at values that are not finite, or was
        interrupted.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into. None creates a new pyplot figure. Several calls on the same axes use
            different colours, line styles and markers.
        what : "m", "e", "loss", optional
            What to draw. None draws m, and e if there is one. Absolute values |m| and |e| are
            drawn; for several tokens their root mean square.
        time : bool
            Whether to draw against t = (integral of lr) / d instead of the step.
        label : str, optional
            Label in the legend. None uses the letter of what is drawn.
        color : matplotlib colour, optional
            Colour of lines and bands. None takes the next ones of the axes' colour cycle.
        band : (float, float), optional
            Quantiles over runs that bound the band. None draws no band.
        legend : bool
            Whether to draw a legend.
        """
        return plot_result(self.dataset, ax, what, time, label, Look(color, band, legend))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a netCDF4 file, completely or not at all. :func:`seqsgd.load` reads it.

        Parameters
        ----------
        path : path
            File name that ends in .nc, .nc4, .h5 or .hdf5, or has no suffix. A symbolic link is
            followed; a replaced file keeps its permissions.

        Raises
        ------
        ValueError
            If the suffix is that of another format (for CSV use
            `dataset.to_dataframe().to_csv(path)`), or an existing file is read-only or not netCDF.
        OSError
            If the file cannot be written, for instance because the disk is full. An existing file
            stays as it was.
        """
        files.save(self.dataset, path)

    def _rows(self) -> list[tuple[str, str]]:
        """Return the lines of repr and HTML repr."""
        d, a = self.dataset, self.dataset.attrs
        arguments = json.loads(a.get("arguments", "{}"))
        rows = [("task", str(a.get("task_repr", "unknown"))), ("size", _size(d, arguments))]
        ended = outcome(d)
        if words := ended.words():
            rows.append(("incomplete", words))
        if "m" in d and d["m"].size:
            m = by_run(d["m"], ended.computed, sizes=False)
            rows.append(("m", _course(m, d["step"].values, ended)))
        if "weak_recovery" in d:
            passage = self._passage()
            median = (
                f"median step {passage.median:.0f}"
                if np.isfinite(passage.median)
                else "median step not reached"
            )
            rows.append(
                (
                    "recovery",
                    f"{passage.number_reached} of {passage.runs} runs reached eta = "
                    f"{passage.eta}, {median}",
                )
            )
        rows += [("stopped", f"{early}, and have no records after that") for early in ended.early()]
        rows.append(
            (
                "made",
                f"{a.get('dynamics', '?')}, rng {a.get('rng_entropy', '?')}, "
                f"{a.get('wall_time', 0):.2f} s, {a.get('run_steps_per_second', 0):.3g} steps/s",
            )
        )
        return rows

    def __repr__(self) -> str:
        return "<seqsgd.Result>\n" + "\n".join(
            f"  {name:<10} {text}" for name, text in self._rows()
        )

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(n)}</th><td "
            f"style='text-align:left'>{html.escape(t)}</td></tr>"
            for n, t in self._rows()
        )
        return (
            f"<div><strong>seqsgd.Result</strong><table>{body}</table><details>"
            f"<summary>dataset</summary>{self.dataset._repr_html_()}</details></div>"
        )


def _size(d: xr.Dataset, arguments: dict[str, Any]) -> str:
    parts = [f"{d.sizes['run']} runs"] if "run" in d.sizes else []
    if "step" in d.sizes:
        parts.append(
            f"{d.sizes['step']} records"
            + (f" from step {int(d['step'][0])} to {int(d['step'][-1])}" if d.sizes["step"] else "")
        )
    return ", ".join(parts + [f"d = {arguments['d']}"] if "d" in arguments else parts)


def _course(m: Any, steps: Any, ended: Outcome) -> str:
    """Return medians over all runs at the first and the last record that all of them have."""
    there = np.isfinite(m)
    whole = np.flatnonzero(there.all(axis=0))
    if not len(m) or not whole.size:
        return "no record that all runs have"
    first, last = whole[0], whole[-1]
    where = "first to last record"
    if last < m.shape[1] - 1:
        where = f"steps {int(steps[first])} to {int(steps[last])}"
    notes = ", ".join(["median over runs", where, *([why] if (why := ended.limit(there)) else [])])
    return f"{np.median(m[:, first]):.3g} -> {np.median(m[:, last]):.3g} ({notes})"
