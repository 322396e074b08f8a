"""Learning curves: median line and 10-90 % band over runs; survival curves of first passages.

The colours are distinguishable for colour-blind readers; line styles and markers differ too.

A curve ends at the last record that all runs have: beyond it, the median would be over only the
runs that continued.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _checks
from .._lazy import xarray as xr
from .._outcome import ABSENT, by_run, outcome
from . import drawing
from .bands import COLOURS, STYLES, median_and_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WHAT = ("m", "e", "loss")
_WRAP = 48  # letters of a line in the legend
_CURVE = "learning curve"  # marks our lines on axes
# sizes, not signs: weak recovery is about them, and where the target is even the sign is a matter
# of chance
_NAMES = {"m": "overlap $|m|$", "e": "positional overlap $|e|$", "loss": "one-pass loss"}
_ROOT_MEAN_SQUARE = {
    "m": r"overlap $\Vert m\Vert/\sqrt{L}$",
    "e": r"positional overlap $\Vert e\Vert/\sqrt{L}$",
}


@dataclass(frozen=True)
class Look:
    """How curves are drawn.

    Attributes
    ----------
    color : matplotlib colour, optional
        None: the next one of the axes' cycle.
    band : (float, float), optional
        Quantiles over runs between which the band lies. None: no band.
    legend : bool
    """

    color: Any = None
    band: tuple[float, float] | None = (0.1, 0.9)
    legend: bool = True

    def __post_init__(self) -> None:
        _checks.boolean("legend", self.legend)
        if self.band is not None:
            pair = _checks.instance("band", self.band, Sequence, "two quantiles such as (0.1, 0.9)")
            if len(pair) != 2:
                raise ValueError(f"band: expected two quantiles, got {len(pair)}")
            low, high = (_checks.number("band", q, 0, 1) for q in pair)
            if not low < high:
                raise ValueError(f"band: expected the lower quantile first, got {self.band!r}")
        if self.color is not None:
            drawing.check_color("color", self.color)


def plot_result(
    dataset: xr.Dataset,
    ax: Axes | None,
    what: str | None,
    time: bool,
    label: str | None,
    look: Look,
) -> Axes:
    """See Result.plot."""
    if what is not None:
        _checks.choice("what", what, WHAT)
    if label is not None:
        _checks.instance("label", label, str, "a string")
    names = [what] if what else [name for name in ("m", "e") if name in dataset]
    for name in names:
        _check_there(name, [dataset])
    ax = _axes(ax)
    drawn, before = len(_curves(ax)), (ax.get_xlabel(), ax.get_ylabel())
    if drawn and before[0] != _abscissa(time):
        there = f"that of the curves on these axes ({before[0]})"
        raise ValueError(f"time: expected {there}, got {time}")
    for i, name in enumerate(names):
        letter = _letter(name, dataset)
        text = letter if label is None else label if len(names) == 1 else f"{label}, {letter}"
        _curve(ax, dataset, name, text, drawn + i, time, look)
    _dress(ax, [dataset], names, time, look)
    if drawn and ax.get_ylabel() not in before[1]:
        ax.set_ylabel(f"{before[1]}, {ax.get_ylabel()}")
    return ax


def _check_there(what: str, datasets: list[xr.Dataset]) -> None:
    """Refuse a variable that none of the results has."""
    if datasets and not any(what in d for d in datasets):
        raise ValueError(
            f"what: expected something that was recorded, got {what!r} ({ABSENT[what]})"
        )


def figure_options(panels_of: Mapping[str, str]) -> dict[str, Any]:
    """Return size and layout of a figure in which panels of several results have room."""
    return {"figsize": (max(6.4, 4.4 * len(set(panels_of.values()))), 4.6), "layout": "tight"}


def plot_set(
    datasets: Mapping[str, xr.Dataset],
    title: str,
    panels_of: Mapping[str, str],
    figure: Figure | None,
    what: str,
    time: bool,
    look: Look,
) -> Figure:
    """See ResultSet.plot."""
    _checks.choice("what", what, WHAT)
    _check_there(what, list(datasets.values()))
    panels = list(dict.fromkeys(panels_of.values())) or [""]
    if figure is None:
        figure = drawing.figure(**figure_options(panels_of))
    drawing.checked("figure", figure, "figure.FigureBase")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_prop_cycle(color=COLOURS)
        members = [label for label in datasets if panels_of[label] == panel]
        for i, label in enumerate(members):
            if what in datasets[label]:
                _curve(ax, datasets[label], what, label, i, time, look)
        _dress(ax, [datasets[label] for label in members], [what], time, look)
        ax.set_title(drawing.text(panel))
        ax.set_ylabel("")
    axes[0].set_ylabel(_ordinate(list(datasets.values()), [what]))
    figure.suptitle(drawing.text(title))
    return figure


def plot_passage(
    passage: Any, ax: Axes | None, confidence: float, label: str | None, look: Look
) -> Axes:
    """See FirstPassage.plot."""
    curve = passage.curve(confidence)
    ax = _axes(ax)
    i = len([line for line in ax.lines if line.get_gid() == "survival"])
    text = (
        f"{passage.number_reached} of {passage.runs} runs passed"
        if label is None
        else _shown(label)
    )
    (line,) = ax.step(
        curve.step,
        curve.survival,
        where="post",
        **({} if look.color is None else {"color": look.color}),
        linestyle=STYLES[i % len(STYLES)],
        label=text,
        gid="survival",
    )
    colour = line.get_color()
    if look.band is not None:
        ax.fill_between(
            curve.step, curve.low, curve.high, step="post", color=colour, alpha=0.18, linewidth=0
        )
    ended = np.unique(passage.step[~passage.reached])
    ax.plot(
        ended,
        curve.survival[np.searchsorted(curve.step, ended)],
        "|",
        color=colour,
        markersize=9,
        label="_censored",
    )
    ax.set_xlabel(r"step $\tau$")
    ax.set_ylabel(
        "share of runs below $\\eta$" + ("" if passage.eta is None else f" = {passage.eta:g}")
    )
    ax.set_ylim(-0.02, 1.02)
    ax.grid(alpha=0.25)
    if look.legend:
        ax.legend(fontsize="small")
    return ax


def _axes(ax: Axes | None) -> Axes:
    """The caller's axes as they are, or new ones with our colours."""
    made = drawing.axes(ax)
    if ax is None:
        made.set_prop_cycle(color=COLOURS)
    return made


def _curve(
    ax: Axes, dataset: xr.Dataset, name: str, label: str, i: int, time: bool, look: Look
) -> None:
    ended = outcome(dataset)
    x = dataset["time" if time else "step"].values.astype(float)
    values = by_run(dataset[name], ended.computed, sizes=name in ("m", "e"))
    there = np.isfinite(values)
    whole = there.all(axis=0) & (len(values) > 0)
    why = ended.limit(there), ended.words(brief=True)
    notes = [line for words in why for line in textwrap.wrap(words, _WRAP)]
    text = "\n".join([_shown(label), *notes])
    colour = {} if look.color is None else {"color": look.color}
    median_and_band(ax, x[whole], values[:, whole], i, look.band, label=text, gid=_CURVE, **colour)


def _curves(ax: Axes) -> list[Any]:
    return [line for line in ax.lines if line.get_gid() == _CURVE]


def _shown(label: str) -> str:
    """Return a label as it was typed; matplotlib hides labels that begin with an underscore."""
    typed = drawing.text(label)
    return f" {typed}" if typed.startswith("_") and typed != "_nolegend_" else typed


def _letter(name: str, dataset: xr.Dataset) -> str:
    variable = dataset[name]
    return (_ROOT_MEAN_SQUARE if "token" in variable.dims else _NAMES).get(name, name)


def _dress(ax: Axes, datasets: list[xr.Dataset], names: list[str], time: bool, look: Look) -> None:
    """Set axis labels, scale and legend."""
    ax.set_xlabel(_abscissa(time))
    if any(_log_spaced(r["step"].values) for r in datasets):
        ax.set_xscale("symlog" if time else "log")
    ax.set_ylabel(_ordinate(datasets, names))
    ax.grid(alpha=0.25)
    if ax.lines and look.legend:
        ax.legend(fontsize="small")


def _abscissa(time: bool) -> str:
    return r"time $t = \int \gamma\, d\tau / d$" if time else r"step $\tau$"


def _ordinate(datasets: list[xr.Dataset], names: list[str]) -> str:
    """Return the letters of everything drawn, each once."""
    first, *others = dict.fromkeys(
        _letter(name, r) for name in names for r in datasets if name in r
    ) or [""]
    return ", ".join([first, *(o[o.find("$") :] for o in others)])


def _log_spaced(steps: Any) -> bool:
    """Return whether gaps between records grow about as the steps do."""
    inner = steps[steps > 0]
    return len(inner) > 3 and inner[-2] > 0 and (inner[-2] - inner[-3]) > 3 * (inner[1] - inner[0])
