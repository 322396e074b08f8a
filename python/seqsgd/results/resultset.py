"""Several results under their labels."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .. import _checks
from .._lazy import xarray as xr
from ..plots.runs import Look, plot_set
from . import files
from .result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ResultSet(Mapping[str, Result]):
    """Results under their labels: an ordered mapping.

    Parameters
    ----------
    results : mapping of str to Result
    title : str
        Title of the picture.
    panels : mapping of str to str, optional
        Title of the panel for each label. None draws all in one panel.

    Raises
    ------
    TypeError, ValueError
        If a label, a title or a result has the wrong type, or `panels` has a label that `results`
        lacks.
    """

    def __init__(
        self,
        results: Mapping[str, Result],
        title: str = "",
        panels: Mapping[str, str] | None = None,
    ) -> None:
        _checks.instance("results", results, Mapping, "a mapping from labels to results")
        self._results = dict(results)
        for label, result in self._results.items():
            _checks.text(
                "results", _checks.instance("results", label, str, "labels that are strings")
            )
            _checks.instance(f"results[{label!r}]", result, Result, "a Result")
        self.title = _checks.text("title", title)
        given = {} if panels is None else panels
        _checks.instance("panels", given, Mapping, "a mapping from labels to titles of panels")
        for label, panel in given.items():
            if label not in self._results:
                raise ValueError(f"panels: expected labels of results, got {_checks.short(label)}")
            _checks.text(f"panels[{label!r}]", panel)
        self.panels = {label: given.get(label, "") for label in self._results}

    def __getitem__(self, label: str) -> Result:
        return self._results[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def _datasets(self) -> dict[str, xr.Dataset]:
        return {label: result.dataset for label, result in self.items()}

    @property
    def complete(self) -> bool:
        """Whether all results are complete."""
        return all(result.complete for result in self.values())

    def plot(
        self,
        figure: Figure | None = None,
        *,
        what: str = "m",
        time: bool = False,
        band: tuple[float, float] | None = (0.1, 0.9),
        legend: bool = True,
    ) -> Figure:
        """Draw all results as `Result.plot` does, each in its panel.

        Parameters
        ----------
        figure : matplotlib Figure, optional
            Figure to draw into; its size and layout stay. None creates a new pyplot figure.
        what : "m", "e" or "loss"
        time : bool
            Whether to draw against t = (integral of lr) / d instead of the step.
        band : (float, float), optional
            Quantiles over runs that bound the band. None draws no band.
        legend : bool
            Whether to draw a legend.
        """
        return plot_set(
            self._datasets(), self.title, self.panels, figure, what, time, Look(None, band, legend)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one netCDF4 file with a group for each result, completely or not at all.

        :func:`seqsgd.load` reads it. `path` is as for :meth:`Result.save`.
        """
        files.save_groups(self._datasets(), self.title, self.panels, path)

    def __repr__(self) -> str:
        width = max((len(label) for label in self), default=0)
        lines = [f"  {label:<{width}}  {_short(r)}".rstrip() for label, r in self.items()]
        return "\n".join(
            [f"<seqsgd.ResultSet of {len(self)}>{' ' + self.title if self.title else ''}", *lines]
        )

    def _repr_html_(self) -> str:
        parts = "".join(
            f"<details><summary>{html.escape(label)}</summary>{r._repr_html_()}</details>"
            for label, r in self.items()
        )
        return f"<div><strong>seqsgd.ResultSet</strong> {html.escape(self.title)}{parts}</div>"


def _short(result: Result) -> str:
    rows = dict(result._rows())
    return "; ".join(rows[name] for name in ("m", "incomplete") if name in rows)
