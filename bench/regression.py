"""Slower than the baseline? `python -m bench compare`, from the root of the repository.

Both revisions run the same work (workload.py) on one core in turn, by processor time; rule.py
decides, and instructions.py counts what callgrind sees.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import instructions, kept, revision, rule
from .reference import bare
from .rule import Missing

NAME = "python -m bench compare"

POINTS: dict[str, tuple[str, list[Any]]] = {
    **{f"sampled tied d=1000 L={L}": ("sampled", ["tied", 1000, L]) for L in (1, 2, 10, 32)},
    **{f"sampled tied d={d} L=2": ("sampled", ["tied", d, 2]) for d in (100, 10000)},
    **{
        f"sampled {p} d=1000 L={L}": ("sampled", [p, 1000, L])
        for p, L in (("untied", 10), ("pair", 2), ("trace", 9))
    },
    "sampled pair d=100 L=2": ("sampled", ["pair", 100, 2]),
    **{
        f"reduced {p} L={L}": ("reduced", [p, L])
        for p, L in (("pair", 2), ("tied", 8), ("untied", 1), ("untied", 8), ("untied", 32))
    },
    "risk grid, tied L=2": ("risk", ["tied", 2, 40]),
    "risk grid, 2x2 attention": ("risk", ["pair", 2, 1]),
    "phase diagram": ("phases", []),
    "sweep, per cell": ("sweep", []),
    "import seqsgd": ("import", []),
}
COUNTED = (
    "sampled tied d=1000 L=2",
    "sampled untied d=1000 L=10",
    "sampled pair d=100 L=2",
    "sampled trace d=1000 L=9",
)


class Worker:
    """A revision's process."""

    def __init__(self, of: revision.Revision, core: int, changes: dict[str, str]) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.here = of.here
        self._folder = tempfile.TemporaryDirectory()  # neither revision's sources in the way
        command = [str(of.python), str(revision.WORKLOAD), str(core)]
        env = revision.environment() | threads | changes
        pipe = subprocess.PIPE  # a session of its own: Ctrl-C is for us, who then close its input
        self._process = subprocess.Popen(
            command,
            cwd=self._folder.name,
            env=env,
            text=True,
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,
        )

    def slice(
        self, kind: str, arguments: list[Any], seconds: float, n: int | None
    ) -> dict[str, Any]:
        """n units of work, or as many as take about so many seconds. Raises Missing."""
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps([kind, arguments, seconds, n]), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, json.JSONDecodeError):
            raise Missing(
                f"its process died with exit code {self._process.wait()}", self.here
            ) from None
        if "missing" in answer:
            raise Missing(answer["missing"], self.here)
        return answer

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.close()
        except OSError:  # it died with a request unread
            pass
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


class Looks:
    """Slices of a point.

    Each look has processes of its own, lest the layout of one pair of processes decide.
    """

    def __init__(
        self,
        point: str,
        here: revision.Revision,
        other: revision.Revision,
        o: argparse.Namespace,
        changes: dict[str, str],
    ) -> None:
        self.kind, self.arguments = POINTS[point]
        self.sides: tuple[tuple[revision.Revision, dict[str, str]], ...] = (
            (here, changes),
            (other, {}),
        )
        self.o = o
        self.slices: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        self.units: int | None = None

    def __call__(self) -> None:
        """Add `--repetitions` pairs of slices, of the same number of units each.

        Raises Missing: of the baseline first, so that only what works there can be broken here.
        """
        workers = [Worker(of, self.o.core, changes) for of, changes in self.sides]
        try:
            for j in (1, 0):  # warm-up, and how many units
                first = workers[j].slice(self.kind, self.arguments, self.o.seconds, self.units)
                self.units = self.units or first["n"]
            for i in range(self.o.repetitions):
                for j in (0, 1) if i % 2 else (1, 0):
                    self.slices[j].append(
                        workers[j].slice(self.kind, self.arguments, self.o.seconds, self.units)
                    )
        finally:
            for worker in workers:
                worker.close()


def counted(
    point: str, here: revision.Revision, other: revision.Revision, changes: dict[str, str]
) -> dict[str, Any]:
    kind, arguments = POINTS[point]
    try:
        theirs = instructions.per_unit(other, kind, arguments, {})
        return rule.counted(instructions.per_unit(here, kind, arguments, changes), theirs)
    except Missing as e:
        return rule.left_out(e)


def line(name: str, r: dict[str, Any]) -> str:
    if "missing" in r:
        return f"| {name} | - | - | - | - | - | {r['verdict']}: {r['missing']} |"
    if "instructions" in r:
        return (
            f"| {name}, instructions | {r['instructions']:,.0f} | "
            f"{r['baseline_instructions']:,.0f} | {r['ratio']:.3f} | - | - | {r['verdict']} |"
        )
    low = "-" if r["low"] is None else f"{r['low']:.3f}"
    return (
        f"| {name} | {r['microseconds']:.4g} | {r['baseline_microseconds']:.4g} | "
        f"{r['ratio']:.3f} | {low} | {r['slices']} | {r['verdict']} |"
    )


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog=NAME, description=__doc__.split("\n")[0])
    p.add_argument(
        "--baseline",
        help="a revision, or `here` for this one against itself (default: the one in "
        "bench/baseline)",
    )
    p.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="points whose name contains TEXT as whole words (repeatable), e.g. 'sampled', 'd=100 "
        "L=2'",
    )
    p.add_argument(
        "--seconds",
        type=float,
        default=0.05,
        help="processor time of a slice (default: %(default)s)",
    )
    p.add_argument(
        "--repetitions", type=int, default=21, help="pairs of slices a look (default: %(default)s)"
    )
    p.add_argument(
        "--core", type=int, help="the core to run on (default: the last this process may use)"
    )
    p.add_argument(
        "--no-instructions",
        action="store_true",
        help="do not count instructions, even if valgrind is here",
    )
    p.add_argument("--no-times", action="store_true", help="count instructions only")
    p.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for this revision only, e.g. SEQSGD_SIMD=baseline: a slowdown that must be caught",
    )
    p.add_argument(
        "--folder",
        type=Path,
        default=bare.cache() / "compare",
        help="where results go, a JSON file for each commit and machine (default: %(default)s)",
    )
    p.add_argument(
        "--history", action="store_true", help="measure nothing: a table of what is in that folder"
    )
    return p


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """With `chosen` points, `core` and `changes`; exits with code 2 and one line if a value is out
    of range.
    """
    p = parser()
    o = p.parse_args(argv)
    o.chosen = [
        name
        for name in POINTS
        if not o.only or any(f" {text} " in f" {name} ".replace(",", "") for text in o.only)
    ]
    o.changes = dict(item.split("=", 1) for item in o.environment if "=" in item[1:])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1]
    o.core = cores[-1] if o.core is None else o.core
    if not o.chosen:
        p.error(f"--only: expected words of one of {', '.join(map(repr, POINTS))}, got {o.only!r}")
    if len(o.changes) < len(o.environment):
        p.error(f"--environment: expected NAME=VALUE, each name once, got {o.environment!r}")
    if o.core not in cores:
        p.error(f"--core: expected one of {cores}, got {o.core}")
    if not 0 < o.seconds < 3600 or o.repetitions < 1:
        p.error(
            f"--seconds, --repetitions: expected a positive time and at least 1, got {o.seconds} "
            f"and {o.repetitions}"
        )
    return o


def measured(o: argparse.Namespace) -> dict[str, Any]:
    """A run: all chosen points, each printed when it is done. Raises revision.Failed."""
    here = revision.here()
    name = o.baseline or revision.baseline()
    other = revision.here("itself") if name == "here" else revision.built(name)
    if not (o.no_instructions or instructions.available()):
        print("note: valgrind is not installed, instructions are not counted", file=sys.stderr)
    run: dict[str, Any] = {
        "commit": here.commit,
        "baseline": other.commit,
        "machine": {"node": platform.node(), "processor": bare.processor_name()},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": o.changes,
        "rule": {
            "allowed": rule.ALLOWED,
            "instructions": rule.INSTRUCTIONS,
            "level": rule.LEVEL,
            "points": len(o.chosen),
            "looks": rule.LOOKS,
        },
        "points": {},
        "slices": {},
        "instructions": {},
        "counted": None,
    }
    print(
        f"{here.commit[:10]} against {other.commit[:10]}\n\n| point | time, us | baseline | ratio "
        "| at least | pairs | |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for point in () if o.no_times else o.chosen:
        looks = Looks(point, here, other, o, o.changes)
        run["points"][point] = rule.decided(looks, looks.slices, len(o.chosen))
        run["slices"][point] = looks.slices
        print(line(point, run["points"][point]), flush=True)
    if not o.no_instructions and instructions.available():
        run["counted"] = [instructions.level(o.changes), instructions.level({})]
        print(
            f"| instructions a step by callgrind, {run['counted'][0]} here, {run['counted'][1]} "
            "in the baseline |",
            flush=True,
        )
        for point in (p for p in COUNTED if p in o.chosen):
            run["instructions"][point] = counted(point, here, other, o.changes)
            print(line(point, run["instructions"][point]), flush=True)
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """0: no slowdown; 1: a slowdown, or something broke; 2: nothing was compared, and one line says
    why.
    """
    o = arguments(argv)
    try:
        if o.history:
            print(kept.history(o.folder, o.chosen))
            return 0
        run = measured(o)
        where = kept.keep(o.folder, run)
        if all(
            row["verdict"] == "left out"
            for kind in ("points", "instructions")
            for row in run[kind].values()
        ):
            raise revision.Failed(
                f"the baseline can do none of the points, or nothing was asked for; {where} has "
                "the reasons"
            )
    except revision.Failed as e:
        print(f"{NAME}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"{NAME}: interrupted, nothing is kept; a build starts anew next time", file=sys.stderr
        )
        return 130
    failing = [
        (verdict, names)
        for kind in ("points", "instructions")
        for verdict, names in rule.failing(run[kind]).items()
    ]
    print(
        f"\nslower: at least {rule.ALLOWED} times the processor time, all in all with a chance of "
        f"{rule.LEVEL} of a false alarm; all slices in {where}"
    )
    for verdict, names in failing:
        print(
            f"{ {'more': 'more instructions', 'broken': 'broken here'}.get(verdict, verdict) }: "
            f"{', '.join(names)}"
        )
    return 1 if failing else 0
