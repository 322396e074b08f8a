"""The package against the bare loop, numba and PyTorch: `python -m bench`, from the root of the
repository.

All contestants run on one core, each in its own process, and take turns by short slices; a ratio is
the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import points, report, scaling
from .missing import Missing
from .points import Point
from .reference import bare
from .worker import Slice, Worker

LEVELS = ("avx512", "avx2", "baseline")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    p.add_argument(
        "--quick",
        action="store_true",
        help="short slices, three of each, no scaling: a first impression",
    )
    only = (
        "points whose table's title contains TEXT, or whose name does, as whole words "
        "(repeatable), e.g. 'trace', 'd=100 L=2'"
    )
    p.add_argument("--only", action="append", metavar="TEXT", help=only)
    levels = (
        "instruction sets of the package; those the processor lacks are left out (default: "
        "%(default)s)"
    )
    p.add_argument("--levels", default=",".join(LEVELS), help=levels)
    p.add_argument("--seconds", type=float, help="length of a slice")
    p.add_argument("--repetitions", type=int, help="slices of each contestant at each point")
    p.add_argument(
        "--core", type=int, help="the core to run on (default: the last this process may use)"
    )
    p.add_argument("--without", default="", help="contestants to leave out, e.g. torch,numba")
    p.add_argument("--no-scaling", action="store_true", help="do not compare two threads with one")
    p.add_argument(
        "--json",
        type=Path,
        default=bare.cache() / "comparison.json",
        help="where all slices go (default: %(default)s)",
    )
    p.add_argument("--markdown", type=Path, help="write the tables here too")
    o = p.parse_args(argv)
    o.seconds = o.seconds or (0.02 if o.quick else 0.06)
    o.repetitions = o.repetitions or (3 if o.quick else 9)
    return o


def supported() -> list[str]:
    """Levels of the package on this processor, widest first."""
    from importlib import import_module

    widest: str = import_module("seqsgd._core._cpu").widest()
    return list(LEVELS[LEVELS.index(widest) :])


def settings(o: argparse.Namespace) -> dict[str, Any]:
    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    lr = {name: points.learning_rate(Point(name, 1, 1)) for name in points.PROBLEMS}
    return {
        "processor": bare.processor_name(),
        "python": platform.python_version(),
        "packages": {
            name: installed(name) for name in ("seqsgd", "numpy", "numba", "llvmlite", "torch")
        },
        "bare": {"compiler": bare.compiler_version(), "flags": bare.FLAGS, "targets": bare.TARGETS},
        "seqsgd": "Simulator(..., dtype='float32').advance(n), n steps to a slice, nothing "
        "recorded in between",
        "problem": {"m0": points.m0, "omega": points.omega, "lr": lr},
        "seconds": o.seconds,
        "repetitions": o.repetitions,
        "core": o.core,
        "time": "processor time of the contestant's process",
    }


class Comparison:
    """Workers, and what they measured."""

    def __init__(self, names: Sequence[str], core: int, seconds: float) -> None:
        self.workers = {name: Worker(name, core) for name in names}
        self.seconds = seconds
        self.slices: dict[Point, dict[str, list[Slice]]] = {}
        self.missing: dict[str, str] = {}

    def measure(self, point: Point, repetitions: int) -> None:
        """Add slices of all contestants at a point, in turn; who begins changes from round to
        round.
        """
        slices = self.slices.setdefault(point, {name: [] for name in self.workers})
        for i in range(repetitions):
            names = list(self.workers)
            for name in names[i % len(names) :] + names[: i % len(names)]:
                try:
                    slices[name].append(self.workers[name].slice(point, self.seconds))
                except Missing as e:
                    print(f"note: {name} is left out: {e}", flush=True)
                    self.missing[name] = str(e)
                    self.workers.pop(name).close()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def contestants(levels: Sequence[str], without: Sequence[str]) -> list[str]:
    names = [f"seqsgd:{level}" for level in levels] + ["bare", "generator", "numba", "torch"]
    if "avx2" in levels[1:]:
        names += ["bare:avx2", "generator:avx2", "numba:avx2"]
    return [name for name in names if name.split(":")[0] not in without]


def chosen(only: Sequence[str] | None) -> dict[str, list[Point]]:
    """Points of which a title contains one of the texts, or the name does as whole words: d=100 is
    not d=1000.
    """

    def wanted(title: str, point: Point) -> bool:
        return not only or any(o in title or f" {o} " in f" {point} " for o in only)

    groups = {title: [p for p in ps if wanted(title, p)] for title, ps in points.groups().items()}
    if not any(groups.values()):
        sys.exit(f"--only: no point matches {' or '.join(map(repr, only or ()))}")
    return {title: ps for title, ps in groups.items() if ps}


def main(argv: Sequence[str] | None = None) -> int:
    o = arguments(argv)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1]
    o.core = cores[-1] if o.core is None else o.core
    levels = [level for level in supported() if level in o.levels.split(",")]
    if not levels:
        sys.exit(f"--levels: expected some of {', '.join(supported())}, got {o.levels!r}")
    groups = chosen(o.only)
    every = list(dict.fromkeys(p for ps in groups.values() for p in ps))
    tables = [report.table(level, supported()[0]) for level in levels]
    c = Comparison(contestants(levels, o.without.split(",")), o.core, o.seconds)
    started = time.monotonic()
    try:
        for i, point in enumerate(every, 1):
            c.measure(point, o.repetitions)
            if not o.quick and below(tables, point, c):
                c.measure(point, o.repetitions)  # suspicious: once more, and all of it counts
            _progress(f"{i}/{len(every)} {point}, {time.monotonic() - started:.0f} s")
    finally:
        c.close()
    scaled: list[scaling.Scaling] = []
    save(o, c, scaled)
    if not (o.quick or o.no_scaling) and len(cores) > 1:
        for point in scaling.POINTS:
            _progress(f"threads: {point}")
            scaled.append(scaling.measure(point, 16 * o.seconds, o.repetitions))
            if scaled[-1].undisturbed < report.OF_ONE_THREAD:  # suspicious, as above
                scaled[-1] = scaling.measure(point, 16 * o.seconds, o.repetitions, scaled[-1])
        save(o, c, scaled)
    _progress("")
    text = document(o, groups, tables, c, scaled)
    print(text)
    if o.markdown:
        o.markdown.write_text(text)
    return 0


def below(tables: Sequence[report.Table], point: Point, c: Comparison) -> bool:
    """Whether a point misses a target so far."""
    values = [
        (column.value(c.slices[point], point), column.target)
        for t in tables
        for column in t.columns
        if column.target is not None
    ]
    return any(
        value is not None and target is not None and value < target for value, target in values
    )


def document(
    o: argparse.Namespace,
    groups: dict[str, list[Point]],
    tables: Sequence[report.Table],
    c: Comparison,
    scaled: Sequence[scaling.Scaling],
) -> str:
    parts = [
        f"Steps per second on one core ({bare.processor_name()}), float32; "
        f"medians of {o.repetitions} or more slices of {o.seconds} s, taken in turn. "
        f"Targets: {report.OF_BARE} of the bare loop on the widest instruction set; "
        f"{report.OF_NUMBA['avx512']} times numba with AVX-512, "
        f"{report.OF_NUMBA['avx2']} with AVX2. Cells below are marked (!).\n"
    ]
    parts += [f"{name} was left out: {why}.\n" for name, why in c.missing.items()]
    for t in tables:
        parts += [t.render(title, ps, c.slices) for title, ps in groups.items()]
    misses = [miss for t in tables for miss in t.misses]
    if scaled:
        text, few = report.scaling_table(scaled)
        parts.append(text)
        misses += few
    parts.append(
        "### Below target\n\n"
        + ("\n".join(f"- {miss}" for miss in misses) if misses else "Nothing.")
        + "\n"
    )
    return "\n".join(parts)


def save(o: argparse.Namespace, c: Comparison, scaled: Sequence[scaling.Scaling]) -> None:
    measured = [
        {
            "point": point._asdict(),
            "slices": {name: [s._asdict() for s in many] for name, many in by_name.items()},
        }
        for point, by_name in c.slices.items()
    ]
    whole = {
        "settings": settings(o),
        "missing": c.missing,
        "points": measured,
        "scaling": [s._asdict() for s in scaled],
    }
    o.json.parent.mkdir(parents=True, exist_ok=True)
    o.json.write_text(json.dumps(whole, indent=1) + "\n")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
