"""Tied against untied networks over L: the common experiment of several figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import theory
from .._lazy import xarray as xr
from .._outcome import size
from ..models import SSI, LogSpaced, Overlap, PowerLaw, Student, Task, Tied, Untied, WeakRecovery
from ..models.rates import Rate
from ..report.definition import Finding
from ..report.runner import Runner
from ..report.statistics import (
    NAN,
    Array,
    Measured,
    drawn_medians,
    few,
    fitted,
    middle_step,
    passage,
    ratio,
    slope,
)
from ..report.verdicts import same_law
from ..results.passages import FirstPassage
from .style import BANDS, BARS, curve, legend, points, reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ETA = 0.3
FACTOR = 2**0.5  # between learning rates of a search


@dataclass(frozen=True)
class Network:
    """A student with its learning rate.

    Attributes
    ----------
    label : str
    student : Student
    lr : float or Rate
        Learning rate, which may depend on d and L.
    patience : float
        Steps of first passages, as a multiple of the figure's steps.
    """

    label: str
    student: Student
    lr: float | Rate
    patience: float = 1.0


def networks(
    lr: float, patience: float = 1.0, tied_power: float = 0.0, activation: str = "relu"
) -> tuple[Network, ...]:
    """Return three networks: tied, untied by rows, and untied on one common sphere.

    The last has the rate of the flattened vector of norm sqrt d, which is lr L on rows of norm sqrt
    d.
    """
    return (
        Network("tied", Tied(activation), PowerLaw(lr, L=tied_power)),
        Network("untied", Untied(activation), lr, patience),
        Network(
            "untied, flattened", Untied(activation, normalization="global"), PowerLaw(lr, L=1.0)
        ),
    )


@dataclass(frozen=True)
class Comparison:
    """What the networks learn, and from which start."""

    link: str
    scale: Any
    loss: str
    d: int
    lengths: Sequence[int]
    steps: int
    runs: int
    init: Any = Overlap()

    def base(self, network: Network, **more: Any) -> dict[str, Any]:
        task = Task(
            SSI(self.link, L=self.lengths[0], scale=self.scale), network.student, loss=self.loss
        )
        return {
            "task": task,
            "d": self.d,
            "lr": network.lr,
            "runs": self.runs,
            "init": self.init,
            "dynamics": "reduced",
            "dtype": "float32",
            "stop": WeakRecovery(ETA, halt=True),
            "record": [0],
            **more,
        }


def first_passages(
    runner: Runner, comparison: Comparison, of: Sequence[Network], seed: int, **more: Any
) -> xr.Dataset:
    """Simulate until eta, with halt: `passed` (not finite if censored) and `ended`, dims (network,
    L, run).
    """

    parts = []
    for network in of:
        base = comparison.base(
            network, steps=math.ceil(network.patience * comparison.steps), **more
        )
        found = runner.sweep(base, {"task.teacher.L": list(comparison.lengths)}, seed)
        parts.append(xr.Dataset({"passed": found["weak_recovery"], "ended": found["steps_done"]}))
    return _by_network(parts, of)


def curves(
    runner: Runner,
    comparison: Comparison,
    of: Sequence[Network],
    lengths: Sequence[int],
    seed: int,
    **more: Any,
) -> xr.Dataset:
    """Simulate overlaps |m|, untied ||m||/sqrt L, against steps: `overlap`, dims (network, L, run,
    step); with a `stop` also the first passages, as in `first_passages`.
    """

    parts = []
    for network in of:
        base = comparison.base(
            network, steps=comparison.steps, **{"record": LogSpaced(25), "stop": None, **more}
        )
        found = runner.sweep(base, {"task.teacher.L": list(lengths)}, seed)
        watched = (
            {"passed": found["weak_recovery"], "ended": found["steps_done"]}
            if more.get("stop")
            else {}
        )
        parts.append(xr.Dataset({"overlap": size(found["m"]), **watched}))
    return _by_network(parts, of)


def _by_network(parts: list[xr.Dataset], of: Sequence[Network]) -> xr.Dataset:

    joined: xr.Dataset = xr.concat(
        [p.expand_dims(network=[n.label]) for p, n in zip(parts, of, strict=True)], dim="network"
    )
    return joined


def passages(data: xr.Dataset, network: str) -> list[FirstPassage | None]:
    """Return the passages of a network, in the order of L; None where there is no run."""
    here = data.sel(network=network)
    return [passage(here["passed"].sel(L=L), here["ended"].sel(L=L)) for L in data["L"].values]


def gain_exponent(data: xr.Dataset, over: str, under: str = "tied") -> Measured:
    """Return the exponent in L of the ratio of median steps."""
    return slope(data["L"].values.tolist(), passages(data, over), passages(data, under))


def gains(data: xr.Dataset, over: str, under: str = "tied") -> list[Measured]:
    """Return ratios of median steps, in the order of L; NaN if a median was not reached."""
    return [ratio(a, b) for a, b in zip(passages(data, over), passages(data, under), strict=True)]


def check(runner: Runner, comparison: Comparison, of: Sequence[Network], seed: int) -> xr.Dataset:
    """Simulate first passages with both dynamics at the one L of a comparison, infinite where there
    was none: `check_sampled` and, with eight times as many runs, `check_reduced`.
    """

    out = {}
    for kind, runs in (("sampled", comparison.runs), ("reduced", 8 * comparison.runs)):
        found = first_passages(runner, comparison, of, seed, dynamics=kind, runs=runs)["passed"]
        out[f"check_{kind}"] = (
            found.isel(L=0, drop=True)
            .fillna(np.inf)
            .rename(network="check_network", run=f"run_{kind}")
        )
    return xr.Dataset(out)


def judge_check(data: xr.Dataset) -> Finding:
    """Return whether both dynamics of a check have the same law."""
    pairs = [
        (data["check_reduced"].sel(check_network=n), data["check_sampled"].sel(check_network=n))
        for n in data["check_network"].values
    ]
    return same_law(
        "*ours*: reduced and sampled dynamics have the same law of first passages", pairs
    )


def draw_curves(ax: Axes, data: xr.Dataset, network: str) -> None:
    """Draw overlaps against steps for each L."""
    for i, L in enumerate(data["curve_L"].values):
        curve(ax, data["overlap"].sel(network=network, curve_L=L), f"L = {L}", i)
    ax.axhline(ETA, color="black", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        xlabel=r"step $\tau$",
        ylabel=r"overlap $|m|$" if "untied" not in network else r"overlap $\Vert m\Vert/\sqrt{L}$",
        title=network,
        ylim=(-0.02, 1.02),
    )
    ax.grid(alpha=0.25)
    legend(ax, BANDS.format(data.sizes["run"]), loc="upper left")


def draw_gains(ax: Axes, data: xr.Dataset, laws: Mapping[str, tuple[float, str]]) -> None:
    """Draw gains over the tied network against L.

    `laws` has for each network the predicted exponent and its words.
    """
    L = data["L"].values.astype(float)
    for i, (network, (power, words)) in enumerate(laws.items()):
        points(ax, L, gains(data, network), network, i)
        reference(ax, L, L**power, words, i)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="sequence length $L$",
        ylabel="gain: median steps over those of tied",
    )
    decimal_ticks(ax, L)
    ax.grid(alpha=0.25)
    legend(ax, BARS.format(data.sizes["run"]))


def decimal_ticks(ax: Axes, x: Array) -> None:
    """Set ticks of logarithmic axes: at all of x, and at 1, 2, 5 times powers of ten upwards."""
    ax.set_xticks(x, [f"{v:g}" for v in x])
    low, high = ax.get_ylim()
    y = [v for k in range(-6, 12) for v in (10.0**k, 2 * 10.0**k, 5 * 10.0**k) if low <= v <= high]
    ax.set_yticks(y, [f"{v:g}" for v in y])
    ax.minorticks_off()


def search(
    runner: Runner, comparison: Comparison, of: Mapping[str, Student], seed: int, rates: int = 5
) -> xr.Dataset:
    """Simulate first passages at learning rates spaced by a factor sqrt 2.

    The first `rates` are centred at the flow's best rate of the tied network; the grid is extended
    until the smallest median is interior. Returns `passed`, `ended` (network, L, rate, run), `lr`
    (network, L, rate), NaN for rates that were not needed.
    """

    by_length = []
    for j, L in enumerate(comparison.lengths):
        task = Task(
            SSI(comparison.link, L=L, scale=comparison.scale), Tied("relu"), loss="half_square"
        )
        centre, steps = theory.best_lr(task, d=comparison.d, eta=ETA)
        tables = []
        for i, (label, student) in enumerate(of.items()):
            cost = steps * (L if label != "tied" else 1)
            base = replace(comparison, loss="half_square", lengths=(L,)).base(
                Network(label, student, 1.0), steps=math.ceil(6 * cost)
            )
            tables.append(
                _tried(runner, base, centre, rates, seed + 1000 * (j * len(of) + i)).expand_dims(
                    network=[label]
                )
            )
        by_length.append(xr.concat(tables, dim="network", join="outer").expand_dims(L=[L]))
    joined: xr.Dataset = xr.concat(by_length, dim="L", join="outer").sortby("rate")
    return joined.assign_coords(rate=np.arange(joined.sizes["rate"]))


def _tried(
    runner: Runner, base: dict[str, Any], centre: float, rates: int, seed: int
) -> xr.Dataset:
    """Return rates centre FACTOR^k for k = -rates // 2, ..., extended while the smallest median is
    at an end, to at most twice as many.
    """

    def run(ks: Sequence[int], seed: int) -> xr.Dataset:
        lrs = [float(centre * FACTOR**k) for k in ks]
        found = runner.sweep(base, {"lr": {"values": lrs, "name": "rate"}}, seed)
        return xr.Dataset(
            {"passed": found["weak_recovery"], "ended": found["steps_done"], "lr": ("rate", lrs)}
        ).assign_coords(rate=np.asarray(ks))

    first = -(rates // 2)
    data = run(range(first, first + rates), seed)
    while data.sizes["rate"] < 2 * rates:
        ks = data["rate"].values.tolist()
        low = int(
            np.argmin(
                [
                    middle_step(passage(data["passed"].sel(rate=k), data["ended"].sel(rate=k)))
                    for k in ks
                ]
            )
        )
        if 0 < low < len(ks) - 1:
            break
        more = ks[0] - 1 if low == 0 else ks[-1] + 1
        data = xr.concat([data, run([more], seed + len(ks))], dim="rate").sortby("rate")
    return data


def best(lrs: Array, medians: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return learning rate and median at the vertex of the parabola, in log-log scale, through the
    smallest median and its neighbours; NaN if no median was reached.
    """
    if not np.isfinite(medians).any():
        return NAN, NAN
    i = int(np.nanargmin(medians))
    if (
        not 0 < i < len(lrs) - 1
        or not (np.isfinite(medians[i - 1 : i + 2]) & (medians[i - 1 : i + 2] > 0)).all()
    ):
        return float(lrs[i]), float(medians[i])
    x, y = np.log(lrs[i - 1 : i + 2]), np.log(medians[i - 1 : i + 2])
    a, b, c = np.polyfit(x - x[1], y, 2)
    return (
        (float(lrs[i]), float(medians[i]))
        if a <= 0
        else (math.exp(x[1] - b / (2 * a)), math.exp(c - b * b / (4 * a)))
    )


def _inside(medians: npt.NDArray[np.float64]) -> bool:
    """Return whether the smallest median has a neighbour on both sides."""
    return bool(np.isfinite(medians).any()) and 0 < int(np.nanargmin(medians)) < len(medians) - 1


def best_table(data: xr.Dataset, draws: int = 400, seed: int = 0) -> dict[str, Array]:
    """Return for each network its best rate and steps at every L, (L, 1 + draws) each, under `lr
    NAME` and `steps NAME`: the first entry is measured, the others are bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    out: dict[str, Array] = {}
    for network in data["network"].values:
        rate, steps = np.empty((data.sizes["L"], draws + 1)), np.empty((data.sizes["L"], draws + 1))
        for j, L in enumerate(data["L"].values):
            here = data.sel(network=network, L=L)
            here = here.isel(rate=np.flatnonzero(np.isfinite(here["lr"].values)))
            ps = [
                passage(here["passed"].isel(rate=k), here["ended"].isel(rate=k))
                for k in range(here.sizes["rate"])
            ]
            medians, lrs = drawn_medians(ps, rng, draws), here["lr"].values
            for k in range(draws + 1):
                rate[j, k], steps[j, k] = best(lrs, medians[:, k])
            if not _inside(medians[:, 0]):  # the best rate may lie beyond those that were tried
                rate[j, 0], steps[j, 0] = NAN, NAN
        out[f"lr {network}"], out[f"steps {network}"] = rate, steps
    return out


def best_gain(
    data: xr.Dataset, table: dict[str, Array] | None = None
) -> tuple[list[Measured], Measured]:
    """Return the gain at the best rate of each, for every L, and its exponent in L; `table` may
    pass that of the data.
    """
    return _compared(data, table, "steps", "untied", "tied")


def best_ratio(
    data: xr.Dataset, table: dict[str, Array] | None = None
) -> tuple[list[Measured], Measured]:
    """Return the best rate of the tied network over that of the untied one, for every L, and its
    exponent in L.
    """
    return _compared(data, table, "lr", "tied", "untied")


def _compared(
    data: xr.Dataset, table: dict[str, Array] | None, what: str, over: str, under: str
) -> tuple[list[Measured], Measured]:
    if table is None:
        table = best_table(data)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.log(table[f"{what} {over}"]) - np.log(table[f"{what} {under}"])
    runs = _searched_runs(data)
    rows = [_gain(r, n) for r, n in zip(y, runs, strict=True)]
    return rows, fitted(np.log(data["L"].values.astype(float)), y, runs)


def _searched_runs(data: xr.Dataset) -> list[int]:
    """Return the number of runs at each rate of a search, in the order of L."""
    out = []
    for L in data["L"].values:
        here = data["ended"].sel(L=L).notnull().sum("run").values
        out.append(int(here[here > 0].min()) if (here > 0).any() else 0)
    return out


def _gain(row: Array, runs: int) -> Measured:
    """Return the gain from the logarithms of a ratio, measured and drawn; if a draw has no ratio
    there is no interval.
    """
    basis = f"{runs} runs at each rate"
    if not np.isfinite(row[0]):
        return Measured(NAN, lacking=f"no best rate inside those that were tried, {basis}")
    if not np.isfinite(row).all():
        words = (
            f"a median was reached in {float(np.isfinite(row[1:]).mean()):.0%} of the draws only"
        )
        return Measured(float(np.exp(row[0])), basis=basis, lacking=words)
    if lacking := few(runs):
        return Measured(float(np.exp(row[0])), basis=basis, lacking=lacking)
    low, high = np.exp(np.quantile(row[1:], [0.025, 0.975]))
    return Measured(float(np.exp(row[0])), float(low), float(high), basis)


__all__ = [
    "ETA",
    "Network",
    "Comparison",
    "best_gain",
    "best_ratio",
    "best_table",
    "check",
    "curves",
    "decimal_ticks",
    "draw_curves",
    "draw_gains",
    "first_passages",
    "gain_exponent",
    "gains",
    "judge_check",
    "networks",
    "passages",
    "search",
    "size",
]
