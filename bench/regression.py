"""Slower than the baseline? `python -m bench compare`, from the root of the repository.

Both revisions run the same work (workload.py) on one core in turn, by processor time. A point's ratio is the median of (time here / time of the baseline) over neighbouring
slices; its lower bound comes from order statistics, so that no law of the noise is assumed. A point is slower if the bound is above 1.05. The level is divided by the number of
points and of looks: all in all, a revision compared with itself fails once in a hundred times at most, were slices independent. Undecided points are measured again, twice at most.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import revision
from .reference import bare

ALLOWED = 1.05  # times the baseline's time
INSTRUCTIONS = 1.01  # times its instructions
LEVEL = 0.01  # of a false alarm, over all points and looks
LOOKS = 3
WORKLOAD = Path(__file__).with_name("workload.py")

POINTS: dict[str, tuple[str, list[Any]]] = {
    **{f"sampled tied d=1000 L={L}": ("sampled", ["tied", 1000, L]) for L in (1, 2, 10, 32)},
    **{f"sampled tied d={d} L=2": ("sampled", ["tied", d, 2]) for d in (100, 10000)},
    **{f"sampled {p} d=1000 L={L}": ("sampled", [p, 1000, L]) for p, L in (("untied", 10), ("pair", 2), ("trace", 9))},
    "sampled pair d=100 L=2": ("sampled", ["pair", 100, 2]),
    **{f"reduced {p} L={L}": ("reduced", [p, L]) for p, L in (("pair", 2), ("tied", 8), ("untied", 1), ("untied", 8), ("untied", 32))},
    "risk grid, tied L=2": ("risk", ["tied", 2, 40]),
    "risk grid, 2x2 attention": ("risk", ["pair", 2, 1]),
    "phase diagram": ("phases", []),
    "sweep, per cell": ("sweep", []),
    "import seqsgd": ("import", []),
}
COUNTED = {name: POINTS[name] for name in ("sampled tied d=1000 L=2", "sampled untied d=1000 L=10", "sampled pair d=100 L=2", "sampled trace d=1000 L=9")}


def lower_bound(ratios: Sequence[float], level: float) -> float:
    """The median is below this with probability `level` at most, whatever the law: an order statistic. -inf if there are too few."""
    n, below, k = len(ratios), 0.0, 0
    while (below := below + math.comb(n, k) / 2**n) <= level:  # P(Binomial(n, 1/2) <= k)
        k += 1
    return sorted(ratios)[k - 1] if k else -math.inf


def upper_bound(ratios: Sequence[float], level: float) -> float:
    return -lower_bound([-r for r in ratios], level)


class Worker:
    """A revision's process."""

    def __init__(self, of: revision.Revision, core: int, changes: dict[str, str]) -> None:
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._folder = tempfile.TemporaryDirectory()  # neither revision's sources in the way
        command = [str(of.python), str(WORKLOAD), str(core)]
        self._process = subprocess.Popen(command, cwd=self._folder.name, env=environment() | threads | changes, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def slice(self, kind: str, arguments: list[Any], seconds: float, n: int | None) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        print(json.dumps([kind, arguments, seconds, n]), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"missing": "its process died"}')
        return answer

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("SEQSGD_SIMD", "PYTHONPATH")}


def measure(workers: Sequence[Worker], name: str, o: argparse.Namespace, slices: list[list[dict[str, Any]]], units: list[int]) -> str | None:
    """Add `--repetitions` pairs of slices, of the same number of units each; why not, if a revision cannot."""
    kind, arguments = POINTS[name]
    if not units:
        first = [w.slice(kind, arguments, o.seconds, None) for w in workers]
        missing = [a["missing"] for a in first if "missing" in a]
        if missing:
            return str(missing[0])
        units.append(first[1]["n"])
    for i in range(o.repetitions):
        for j in (0, 1) if i % 2 else (1, 0):
            a = workers[j].slice(kind, arguments, o.seconds, units[0])
            if "missing" in a:
                return str(a["missing"])
            slices[j].append(a)
    return None


def judged(slices: Sequence[Sequence[dict[str, Any]]], points: int) -> dict[str, Any]:
    ratios = [a["cpu"] / b["cpu"] for a, b in zip(*slices, strict=True)]
    level = LEVEL / points / LOOKS
    low, high = lower_bound(ratios, level), upper_bound(ratios, level)
    verdict = "slower" if low > ALLOWED else "passes" if high < ALLOWED else "undecided"
    micro = [1e6 * statistics.median(s["cpu"] / s["n"] for s in one) for one in slices]
    return {"ratio": statistics.median(ratios), "low": low, "high": high, "verdict": verdict, "microseconds": micro[0], "baseline_microseconds": micro[1], "slices": len(ratios)}


def instructions(of: revision.Revision, name: str, changes: dict[str, str]) -> float:
    """Instructions per unit, by callgrind: the difference of two runs, so that the start does not count."""
    kind, arguments = POINTS[name]
    n = max(20, 200_000 // (arguments[1] * arguments[2]))
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        for units in (n, 5 * n):
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", str(of.python), str(WORKLOAD), "count", kind, json.dumps(arguments), str(units)]
            # the same objects at the same places in both
            done = subprocess.run(command, cwd=folder, env=environment() | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"} | changes, capture_output=True, text=True)
            found = [line for line in done.stderr.splitlines() if "Collected" in line]
            if not found:
                raise RuntimeError(f"callgrind: {done.stderr[-500:]}")
            counts.append(int(found[0].split()[-1]))
    return (counts[1] - counts[0]) / (3 * 4 * n)


def table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| point | time, us | baseline | ratio | at least | slices | |", "|---|---|---|---|---|---|---|"]
    for name, r in rows.items():
        if "missing" in r:
            lines.append(f"| {name} | - | - | - | - | 0 | left out: {r['missing']} |")
        else:
            lines.append(f"| {name} | {r['microseconds']:.4g} | {r['baseline_microseconds']:.4g} | {r['ratio']:.3f} | {r['low']:.3f} | {r['slices']} | {r['verdict']} |")
    return "\n".join(lines)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__.split("\n")[0])
    p.add_argument("--baseline", help="a revision, or `here` for this one against itself (default: the one in bench/baseline)")
    p.add_argument("--only", action="append", metavar="TEXT", help="points whose name contains TEXT (repeatable)")
    p.add_argument("--seconds", type=float, default=0.05, help="processor time of a slice (default: %(default)s)")
    p.add_argument("--repetitions", type=int, default=21, help="pairs of slices a look (default: %(default)s)")
    p.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1)
    p.add_argument("--no-instructions", action="store_true", help="do not count instructions, even if valgrind is here")
    p.add_argument("--no-times", action="store_true", help="count instructions only")
    p.add_argument("--environment", action="append", default=[], metavar="NAME=VALUE", help="for this revision only, e.g. SEQSGD_SIMD=baseline: a slowdown that must be caught")
    p.add_argument("--folder", type=Path, default=bare.cache() / "compare", help="where results go, a JSON file for each commit and machine (default: %(default)s)")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    o = arguments(argv)
    changes = dict(item.split("=", 1) for item in o.environment)
    name = o.baseline or revision.baseline()
    here = revision.here()
    other = revision.here("itself") if name == "here" else revision.built(name)
    chosen = [p for p in POINTS if not o.only or any(text in p for text in o.only)]
    rows: dict[str, dict[str, Any]] = {}
    raw: dict[str, Any] = {}
    workers = [Worker(here, o.core, changes), Worker(other, o.core, {})] if not o.no_times else []
    for point in chosen if workers else ():
        slices: list[list[dict[str, Any]]] = [[], []]
        units: list[int] = []
        for _ in range(LOOKS):
            missing = measure(workers, point, o, slices, units)
            rows[point] = {"missing": missing} if missing else judged(slices, len(chosen))
            if rows[point].get("verdict") != "undecided":
                break
        raw[point] = slices
        print(table({point: rows[point]}).splitlines()[-1], flush=True)
    for w in workers:
        w.close()
    counted: dict[str, list[float]] = {}
    if not o.no_instructions and shutil.which("valgrind"):
        for point in (p for p in COUNTED if p in chosen):
            counted[point] = [instructions(here, point, changes), instructions(other, point, {})]
            print(f"{point}: {counted[point][0]:,.0f} instructions a step, baseline {counted[point][1]:,.0f}", flush=True)
    slower = [p for p, r in rows.items() if r.get("verdict") == "slower"]
    more = [p for p, (a, b) in counted.items() if a > INSTRUCTIONS * b]
    whole = {
        "commit": here.commit, "baseline": other.commit, "machine": {"node": platform.node(), "processor": bare.processor_name()}, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": changes, "rule": {"allowed": ALLOWED, "instructions": INSTRUCTIONS, "level": LEVEL, "points": len(chosen), "looks": LOOKS}, "points": rows, "slices": raw, "instructions": counted,
    }  # fmt: skip
    o.folder.mkdir(parents=True, exist_ok=True)
    kept = o.folder / f"{here.commit[:12]}-{platform.node()}.json"
    kept.write_text(json.dumps(whole, indent=1, default=str) + "\n")
    print(f"\n{here.commit[:10]} against {other.commit[:10]}, processor time; slower: at least {ALLOWED} times, all in all with a chance of {LEVEL} of a false alarm\n\n{table(rows)}\n\nin {kept}")
    for what, which in (("slower", slower), ("more instructions", more)):
        if which:
            print(f"{what}: {', '.join(which)}")
    return 1 if slower or more else 0
