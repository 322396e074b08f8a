"""A staircase over three tokens: which of its steps tied weights, and one weight per token,
learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import theory
from .._lazy import xarray as xr
from ..models import SSI, Injected, LogSpaced, Student, Task, Tied, Untied, WeakRecovery
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..report.statistics import NAN, Measured, median, middle, noise_floor, passage, power, slope
from ..report.verdicts import Answer, close_to, every, finding, less, within
from .gains import ETA, Comparison, Network
from .style import BANDS, BARS, curve, legend, panels, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

LINK, SCALE = "staircase3", "sqrt(L)"
COARSE = 0.25  # width of the interval of an overlap, which is at most 1, that says nothing
ALONE = ("z1", "z1*z2", "z1*z2*z3")


@dataclass(frozen=True)
class Staircase(Settings):
    """Settings: `row_lengths` are those of the untied network.

    `shift` is added to u, for `patience` times `steps`, at the first of these lengths.
    """

    d: int = 1000
    lr: float = 1.5e-3
    steps: int = 1_300_000
    runs: int = 16
    lengths: tuple[int, ...] = (3, 5, 10, 20, 50, 100)
    row_lengths: tuple[int, ...] = (3, 10, 30)
    shift: float = -0.5
    patience: float = 3.0

    def check(self) -> None:
        """Refuse settings that cannot be computed."""
        self._positive("lr", "patience")
        self._least(1, "d", "steps", "runs")
        self._least(3, "lengths", "row_lengths")


def _run(
    runner: Runner,
    s: Staircase,
    student: Student,
    lengths: Any,
    steps: float,
    link: str = LINK,
) -> xr.Dataset:
    """Simulate the sweep over lengths to the end, with the flow at the same steps as `flow`."""

    comparison = Comparison(link, SCALE, "square", s.d, lengths, int(steps), s.runs)
    base = comparison.base(
        Network("", student, s.lr),
        steps=int(steps),
        record=LogSpaced(25),
        stop=WeakRecovery(ETA, halt=False),
    )
    data = runner.sweep(base, {"task.teacher.L": list(lengths)}, s.seed)
    solved = []
    for L in lengths:
        f = theory.flow(
            Task(SSI(link, L=int(L), scale=SCALE), student, loss="square"),
            s.lr,
            s.d,
            steps=float(int(steps)),
            eta=ETA,
            records=400,
        )
        m = f.m if f.m.ndim == 2 else f.m[:, None]
        along = np.array(
            [
                np.interp(data["step"].values, np.asarray(f.steps), m[:, i])
                for i in range(min(m.shape[1], 3))
            ]
        )
        one = xr.Dataset(
            {
                "flow": (("token", "step"), along),
                "flow_passage": NAN
                if f.weak_recovery_step is None
                else float(f.weak_recovery_step),
            }
        )
        solved.append((one if "token" in data["m"].dims else one.isel(token=0)).expand_dims(L=[L]))
    kept = data[["m", "weak_recovery", "steps_done"]]
    if "token" in data["m"].dims:
        kept = kept.isel(token=slice(0, 3)).drop_vars("token", errors="ignore")
    return kept.merge(xr.concat(solved, dim="L"))


def compute(s: Staircase, runner: Runner) -> xr.Dataset:
    """Compute four experiments: tied, untied, untied with a shift of u, and tied on each product
    alone (L = 3); their variables end in those words.
    """

    first = s.row_lengths[:1]
    shifted = Untied("relu", position=Injected(s.shift / first[0] ** 0.5))
    parts = {
        "tied": _run(runner, s, Tied("relu"), s.lengths, s.steps),
        "rows": _run(runner, s, Untied("relu"), s.row_lengths, s.steps),
        "shifted": _run(runner, s, shifted, first, s.steps * s.patience),
        "alone": xr.concat(
            [
                _run(runner, s, Tied("relu"), (3,), s.steps, link).expand_dims(link=[link])
                for link in ALONE
            ],
            dim="link",
        ).isel(L=0, drop=True),
    }
    out: xr.Dataset = xr.merge([_named(p, word) for word, p in parts.items()])
    noise = [
        theory.complexity(Task(SSI(LINK, L=L, scale=SCALE), Tied("relu"))).leading
        for L in s.lengths
    ]
    return out.assign(V=("L_tied", [float(x.noise) if x else np.nan for x in noise])).assign_coords(
        d=s.d, lr=s.lr, shift=s.shift
    )


WORDS = ("m", "weak_recovery", "steps_done", "flow", "flow_passage", "L", "step")


def _named(data: xr.Dataset, word: str) -> xr.Dataset:
    return data.rename({name: f"{name}_{word}" for name in WORDS if name in data.variables})


def part(data: xr.Dataset, word: str) -> xr.Dataset:
    """Return one of the experiments, without the word in its names."""
    kept = data[[f"{name}_{word}" for name in WORDS if f"{name}_{word}" in data.data_vars]]
    plain: xr.Dataset = kept.rename(
        {f"{name}_{word}": name for name in WORDS if f"{name}_{word}" in kept.variables}
    )
    return plain


def row_passages(rows: xr.Dataset, L: int) -> Measured:
    """Return the median step at which m_1 of an untied network passes eta, interpolated between
    records.
    """
    here = rows["m"].sel(L=L).isel(token=0).transpose("run", "step").values
    return middle([crossed(rows["step"].values, run) for run in here])


def crossed(steps: Any, m: Any) -> float:
    """Return where m, linear between records, first passes eta.

    It is infinite if m does not pass, NaN if it may have passed where m has no number.
    """
    over = np.flatnonzero(m >= ETA)
    if not len(over):
        return NAN if np.isnan(m).any() else float("inf")
    if over[0] == 0:
        return float(steps[0])
    i = int(over[0])
    return float(steps[i - 1] + (steps[i] - steps[i - 1]) * (ETA - m[i - 1]) / (m[i] - m[i - 1]))


def _curve(ax: Axes, here: xr.Dataset, label: str, i: int) -> None:
    """Return m of the runs, and of the flow."""
    curve(ax, here["m"], label, i)
    later = here["step"].values > 0
    ax.plot(
        here["step"].values[later],
        here["flow"].values[later],
        color="black",
        linewidth=0.8,
        linestyle=":",
    )


def _rows(ax: Axes, data: xr.Dataset, title: str) -> None:
    here = data.isel(L=0)
    for i in range(3):
        _curve(ax, here.isel(token=i), f"$m_{i + 1}$", i)
    ax.set_title(title)


def draw(data: xr.Dataset) -> Picture:
    """Draw overlaps against steps of all four, with the flow; steps and the overlap at the end
    against L.
    """
    figure, axes = panels(2, 3, size=(4.4, 3.5))
    tied, rows, shifted, alone = (part(data, word) for word in ("tied", "rows", "shifted", "alone"))
    lengths = tied["L"].values
    for i, L in enumerate(lengths[np.unique(np.linspace(0, len(lengths) - 1, 3).astype(int))]):
        _curve(axes[0, 0], tied.sel(L=L), f"L = {L}", i)
    axes[0, 0].set_title("tied")
    _rows(axes[0, 1], rows, f"one weight per token, L = {int(rows['L'][0])}")
    _rows(axes[0, 2], shifted, rf"the same, $\sigma(u {float(data['shift']):+g})$")
    for i, link in enumerate(alone["link"].values):
        _curve(axes[1, 0], alone.sel(link=link), str(link).replace("*", " "), i)
    if 3 in lengths:
        _curve(axes[1, 0], tied.sel(L=3), "their sum", 3)
    axes[1, 0].set_title("tied, L = 3: each product alone")
    for ax in axes.flat[:4]:
        ax.set(xscale="log", xlabel=r"step $\tau$", ylim=(-0.05, 1.05), ylabel="overlap")
        ax.plot([], [], color="black", linewidth=0.8, linestyle=":", label="flow")
    _against_length(axes[1, 1], axes[1, 2], tied, rows)
    for ax in axes.flat:
        ax.grid(alpha=0.25)
        legend(ax, (BANDS if ax in axes.flat[:4] else BARS).format(data.sizes["run"]))
    return figure


def _medians(ax: Axes, x: Any, found: list[Measured], label: str, i: int) -> None:
    points(ax, x, found, label, i)


def _against_length(steps: Axes, ends: Axes, tied: xr.Dataset, rows: xr.Dataset) -> None:
    lengths, row_lengths = tied["L"].values.astype(float), rows["L"].values.astype(float)
    _medians(steps, lengths, _passages(tied), "tied", 0)
    _medians(
        steps, row_lengths, [row_passages(rows, L) for L in rows["L"].values], "untied, row 1", 1
    )
    steps.plot(
        lengths,
        tied["flow_passage"],
        color="black",
        linewidth=0.8,
        linestyle=":",
        label="flow, tied",
    )
    high = steps.get_ylim()[1]
    steps.set(
        xscale="log",
        xlabel="sequence length $L$",
        ylabel=rf"median step with overlap $\geq$ {ETA}",
        ylim=(0, 1.4 * high),
    )
    _medians(
        ends,
        lengths,
        [middle(tied["m"].sel(L=L).isel(step=-1)) for L in tied["L"].values],
        "tied",
        0,
    )
    ends.plot(
        lengths,
        tied["flow"].isel(step=-1),
        color="black",
        linewidth=0.8,
        linestyle=":",
        label="flow",
    )
    for i in range(3):
        here = rows.isel(token=i, step=-1)
        _medians(
            ends,
            row_lengths,
            [middle(here["m"].sel(L=L)) for L in rows["L"].values],
            f"untied, row {i + 1}",
            i + 1,
        )
        ends.plot(row_lengths, here["flow"], color="black", linewidth=0.8, linestyle=":")
    ends.set(
        xscale="log", xlabel="sequence length $L$", ylabel="overlap at the end", ylim=(-0.05, 1.05)
    )
    for ax in (steps, ends):
        ax.set_xticks(lengths, [f"{v:g}" for v in lengths])
        ax.minorticks_off()


def _passages(tied: xr.Dataset) -> list[Measured]:
    return [
        median(passage(tied["weak_recovery"].sel(L=L), tied["steps_done"].sel(L=L)))
        for L in tied["L"].values
    ]


def _plain(x: float) -> str:
    return f"{x:.3g}".replace("e+0", "e")


def _close(
    claim: str,
    measured: list[Measured],
    predicted: Any,
    names: Any,
    by: float,
    relative: bool,
    why: str,
    started: Answer | None = None,
) -> Finding:
    """Agree if all intervals, widened by a tolerance, contain the prediction."""
    predicted = np.asarray(predicted, dtype=float)
    said = "; ".join(
        f"L = {n}: {m}, predicted {_plain(p)}"
        for n, m, p in zip(names, measured, predicted, strict=True)
    )
    tolerance = {"tolerance": by} if relative else {"absolute": by, "coarse": COARSE}
    answer = every(within(m, p, **tolerance) for m, p in zip(measured, predicted, strict=True))
    return finding(
        claim,
        said,
        answer.given(started) if started else answer,
        f"tolerance {by:.0%}{'' if relative else ' of 1'}; {why}",
    )


def judge(data: xr.Dataset) -> list[Finding]:
    """Judge steps over L, the end, and which steps of the staircase each network learns."""
    tied, rows, shifted, alone = (part(data, word) for word in ("tied", "rows", "shifted", "alone"))
    lengths, row_lengths, floor = tied["L"].values, rows["L"].values, noise_floor(float(data["d"]))
    ps = [passage(tied["weak_recovery"].sel(L=L), tied["steps_done"].sel(L=L)) for L in lengths]
    exponent, V = slope(lengths.tolist(), ps), data["V"].values
    first = [row_passages(rows, L) for L in row_lengths]
    tied_flow = np.interp(np.log(row_lengths), np.log(lengths), tied["flow_passage"])
    over = ", ".join(
        f"{m.value / t:.2f}" if 0 < t < np.inf and np.isfinite(m.value) else "not reached"
        for m, t in zip(first, tied_flow, strict=True)
    )
    passed = _passages(tied)
    sizes = (rows["m"].isel(step=-1) ** 2).sum("token", skipna=False).median(
        "run", skipna=False
    ).values ** 0.5 / row_lengths**0.5
    third, moved = (
        middle(rows["m"].isel(L=0, step=-1, token=2)),
        middle(shifted["m"].isel(L=0, step=-1, token=2)),
    )
    ends = {
        str(link): middle(alone["m"].sel(link=link).isel(step=-1)) for link in alone["link"].values
    }
    whole = (
        middle(tied["m"].sel(L=3).isel(step=-1))
        if 3 in lengths
        else Measured(NAN, lacking="their sum was not run at L = 3")
    )
    return [
        finding(
            "*ours*: SIE 1: with the factor sqrt L the drift of tied weights at the origin does "
            "not depend on L, nor does the number of steps",
            f"exponent of L {exponent}; of the flow "
            f"{power(lengths, tied['flow_passage'].values):.3g}",
            close_to(exponent, 0.0, 0.1),
            "agree if the interval lies within 0.1 of 0; what is left is the inhibitive term, V "
            f"= {V[0]:.3g} at L = {lengths[0]}, {V[-1]:.3g} at L = {lengths[-1]} (half square "
            "loss)",
        ),
        _close(
            "*ours*: median steps of tied weights are those of the flow",
            passed,
            tied["flow_passage"].values,
            lengths,
            0.05,
            True,
            "the flow has no noise",
        ),
        _close(
            "*ours*: the overlap of tied weights at the end is the flow's: it falls with L, for "
            "the inhibitive term grows like L",
            [middle(tied["m"].sel(L=L).isel(step=-1)) for L in lengths],
            tied["flow"].isel(step=-1).values,
            lengths,
            0.02,
            False,
            "d is finite",
            _started(passed),
        ),
        _close(
            "*ours*: the first row of the untied network is about as fast as tied weights (rho = "
            "1): by this row there is no gain",
            first,
            [
                crossed(rows["step"].values, rows["flow"].sel(L=L).isel(token=0).values)
                for L in row_lengths
            ],
            row_lengths,
            0.05,
            True,
            f"predicted by the flow of row 1; its steps over those of tied weights: {over}, above "
            "1 for tied weights profit from z_1 z_2 sooner. "
            "||m||/sqrt L, of the first three rows, ends at "
            f"{', '.join(f'{x:.2g}' for x in sizes)}, for the target reads three tokens only",
        ),
        _close(
            "*ours*: the second row takes its step once the first has: dm_2/dt ~ c_2 m_1 / sqrt L",
            [middle(rows["m"].sel(L=L).isel(step=-1, token=1)) for L in row_lengths],
            rows["flow"].isel(step=-1, token=1).values,
            row_lengths,
            0.02,
            False,
            "m_2 at the end, predicted by the flow",
            _started(first),
        ),
        finding(
            "*ours*: the third step is not taken by relu weights per token, whose c_3 = 0, and is "
            "taken once u is shifted",
            f"m_3 at the end {third}; shifted by {float(data['shift']):g}: {moved}, predicted "
            f"{float(shifted['flow'].isel(L=0, step=-1, token=2)):.3g}",
            (less(third, floor) & less(floor, moved)).given(_started(first)),
            f"agree if 4/sqrt d = {floor.value:.2g} lies between",
        ),
        finding(
            "*ours*: the products of higher order are learnt late or not at all without the first "
            "step (SIE 2, 3), and next to it they do not delay it",
            f"overlap at the end, L = 3: {', '.join(f'{link}: {m}' for link, m in ends.items())}; "
            f"their sum: {whole}",
            (less(ends["z1*z2*z3"], floor) & less(ends["z1*z2"], whole)).given(
                less(floor, whole).so_far("their sum has not been learnt in these steps")
            ),
            f"agree if z1 z2 ends below the sum, and z1 z2 z3 below 4/sqrt d = {floor.value:.2g}, "
            "and the sum above it",
        ),
    ]


def _started(first: list[Measured]) -> Answer:
    """Return whether runs passed the threshold, at every L; before that nothing has changed from
    the start.
    """
    return every(less(0.0, m) for m in first)


FIGURE = Figure(
    name="staircase",
    title="A staircase over three tokens",
    about="y = sqrt L (z_1 + z_1 z_2 + z_1 z_2 z_3), relu, plain square loss, m_0 = 1/sqrt d, "
    "with the flow of the limit d -> infinity: tied weights for several L, one weight per "
    "token "
    "normalised by rows, the same with a constant added to u, and tied weights on each "
    f"product alone. Threshold {ETA} on |m|, for the untied network on its first row. Lines are "
    "medians over runs, bands the 10 to 90 % quantiles.",
    quick=Staircase(
        d=300, lr=3e-3, steps=200_000, runs=16, lengths=(3, 10, 30), row_lengths=(3, 10)
    ),
    full=Staircase(),
    compute=compute,
    draw=draw,
    judge=judge,
)
