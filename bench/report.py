"""Ratios, targets and tables of a comparison."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import contestants
from .points import Point
from .scaling import ENOUGH, RUNS, Scaling
from .worker import Slice

Slices = Mapping[
    str, Sequence[Slice]
]  # of one point, by contestant; the i-th slices of all were taken in turn

OF_BARE = 0.80  # of the bare loop, on the widest instruction set
OF_NUMBA = {"avx512": 1.3, "avx2": 1.0, "baseline": None}  # times numba on the same instruction set
OF_ONE_THREAD = 1.9  # runs per second by two threads


def rate(slices: Slices, name: str) -> float | None:
    """Median units per second of processor time."""
    return statistics.median(s.rate for s in slices[name]) if slices.get(name) else None


def ratio(slices: Slices, ours: str, other: str) -> float | None:
    """Median of paired ratios."""
    a, b = slices.get(ours), slices.get(other)
    return (
        statistics.median(x.rate / y.rate for x, y in zip(a, b, strict=True)) if a and b else None
    )


def generator_share(slices: Slices, ours: str, generator: str, point: Point) -> float | None:
    """Normals drawn per second, relative to the bare generator's."""
    r = ratio(slices, ours, generator)
    return (
        None
        if r is None
        else r * contestants.normals(ours, point) / contestants.normals(generator, point)
    )


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table."""
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"
    )


@dataclass
class Column:
    """`value` of a point's slices; cells below `target` are flagged."""

    title: str
    value: Callable[[Slices, Point], float | None]
    target: float | None = None
    speed: bool = False


@dataclass
class Table:
    """The columns for one level of the package, against references on the same instruction set."""

    level: str
    columns: list[Column]
    misses: list[str] = field(default_factory=list)

    def render(self, title: str, points: Sequence[Point], slices: Mapping[Point, Slices]) -> str:
        columns = [
            c for c in self.columns if any(c.value(slices[p], p) is not None for p in points)
        ]
        rows = [
            [str(p), *(self._cell(c, c.value(slices[p], p), p) for c in columns)] for p in points
        ]
        return markdown(f"{title}: {self.level}", ["point", *(c.title for c in columns)], rows)

    def _cell(self, column: Column, value: float | None, point: Point) -> str:
        if value is None:
            return "-"
        if column.speed:
            return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
        text = (
            f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
        )
        if column.target is None or value >= column.target:
            return text
        miss = f"{point}, {self.level}: {column.title} is {value:.3f}, target {column.target}"
        if miss not in self.misses:
            self.misses.append(miss)
        return f"**{text} (!)**"


def table(level: str, widest: str) -> Table:
    """Steps per second, then ratios."""
    native = level == widest
    ours = f"seqsgd:{level}"
    suffix = "" if native else f":{level}"
    bare, numba, generator = f"bare{suffix}", f"numba{suffix}", f"generator{suffix}"

    def speed(name: str) -> Column:
        return Column(name, lambda s, p: rate(s, name), speed=True)

    def over(name: str, target: float | None = None) -> Column:
        return Column(f"/ {name}", lambda s, p: ratio(s, ours, name), target)

    columns = [speed(ours), speed(bare), speed(numba)]
    columns += [speed("torch")] if native else [speed("numba")]
    columns += [over(bare, OF_BARE if native else None), over(numba, OF_NUMBA[level])]
    columns += [over("torch")] if native else [over("numba"), over(f"seqsgd:{widest}")]
    columns += [
        Column(f"normals/s over {generator}", lambda s, p: generator_share(s, ours, generator, p))
    ]
    return Table(level, columns)


def scaling_table(results: Sequence[Scaling]) -> tuple[str, list[str]]:
    """Markdown, and what is below the target or could not be measured."""
    rows, misses = [], []
    titles = [
        "point",
        "steps",
        "runs/s, 1 thread",
        "runs/s, 2 threads",
        "undisturbed",
        "paired",
        "by processor time",
        "cores free",
    ]
    for r in results:
        cell, free = f"{r.undisturbed:.2f}", f"{r.free:.2f}"
        if r.undisturbed < OF_ONE_THREAD:
            what = f"{r.undisturbed:.3f}, target {OF_ONE_THREAD}"
            if r.free < ENOUGH:
                what = (
                    f"not measurable, other programs left {free} cores at best; by processor time "
                    f"{r.by_processor:.2f}"
                )
            misses.append(f"{r.point}: two threads over one is {what}")
            cell = f"**{cell} {'(busy)' if r.free < ENOUGH else '(!)'}**"
        speeds = [f"{RUNS / min(t.wall for t in took):.3g}" for took in (r.one, r.two)]
        rows.append(
            [
                str(r.point),
                f"{r.steps:,}",
                *speeds,
                cell,
                f"{r.paired:.2f}",
                f"{r.by_processor:.2f}",
                free,
            ]
        )
    return markdown("Two threads over one", titles, rows), misses
