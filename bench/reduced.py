"""Speed of the reduced dynamics: `python -m bench.reduced`, a few minutes on one core.

Everything runs in one process on one core, in slices that take turns; a speed is the median over
slices in units per second of processor time, without the start of the runs, a ratio the median of
the ratios of the slices of one round. Flatness in d and the rate of normals relative to the bare
generator are such ratios. Nothing asserts a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import seqsgd as sq
from seqsgd import _core

from .points import LENGTHS, omega
from .worker import pin

RUNS = 64
DTYPES = ("float32", "float64")
TARGETS = {"avx512": 6e7, "avx2": 2e7}  # run-steps/s, 2x2 attention, float32
SHARE = 0.60  # of the bare generator's rate, for L >= 8
FLAT = 1.05
_BUFFER = 2048  # normals, in the nearest cache


class Case(NamedTuple):
    """One measured simulation, and the normals that its model takes a run-step: two fields and a
    chi-square, of every token where weights are untied.
    """

    name: str
    task: sq.Task
    d: int
    dtype: str
    normals: int


def pair(d: int, dtype: str) -> Case:
    task = sq.Task(
        sq.PositionalSemantic(omega, a=1.0), sq.Attention(position=sq.Opposite()), loss="frobenius"
    )
    return Case(f"pair d={d:.0e} {dtype}", task, d, dtype, 6)


def network(kind: str, L: int, dtype: str, d: int = 1000) -> Case:
    student = sq.Tied("relu") if kind == "tied" else sq.Untied("relu", normalization=kind)
    return Case(
        f"{kind} L={L} {dtype}",
        sq.Task(sq.SSI("sum_h2", L, scale="1/sqrt(L)"), student),
        d,
        dtype,
        L + 2 if kind == "tied" else 3 * L,
    )


def clocked(work: Callable[[int], object], n: int) -> float:
    """Units per second of processor time; that of one unit, with all that comes before it, is taken
    off.
    """
    times = [time.process_time()]
    for units in (1, n + 1):
        work(units)
        times.append(time.process_time())
    return n / max(times[2] - times[1] - (times[1] - times[0]), 1e-9)


def calibrated(work: Callable[[int], object], seconds: float) -> int:
    work(1)  # imports
    n = 16
    while (rate := clocked(work, n)) * seconds > 4 * n:
        n = min(16 * n, max(2 * n, int(rate * seconds)))
    return max(1, int(rate * seconds))


def stepping(case: Case) -> Callable[[int], object]:
    return lambda n: sq.simulate(
        case.task,
        case.d,
        n,
        0.05,
        runs=RUNS,
        rng=1,
        dynamics="reduced",
        dtype=case.dtype,
        record=[0],
        threads=1,
        init=sq.Overlap(0.05),
        progress=False,
    )


def generating(dtype: str) -> Callable[[int], object]:
    """The core's generator alone, n times into one buffer."""
    return lambda n: _core.normals(1, 4, 0, 0, _BUFFER, dtype, n)


class Measured(NamedTuple):
    """Median rates by name, and of every case its rate over the reference's, slice by slice."""

    rates: dict[str, float]
    ratios: dict[str, float]


def measure(
    works: dict[str, Callable[[int], object]], reference: str, seconds: float, repetitions: int
) -> Measured:
    counts = {name: calibrated(work, seconds) for name, work in works.items()}
    slices: dict[str, list[float]] = {name: [] for name in works}
    for i in range(repetitions):
        names = list(works)
        for name in names if i % 2 else names[::-1]:
            slices[name].append(clocked(works[name], counts[name]))
    ratios = {
        name: statistics.median(a / b for a, b in zip(v, slices[reference], strict=True))
        for name, v in slices.items()
    }
    return Measured({name: statistics.median(v) for name, v in slices.items()}, ratios)


def flatness(
    case: Callable[[int], Case], seconds: float, repetitions: int
) -> tuple[float, dict[int, float]]:
    """Rate at d = 1000, and how many times as long as at d = 1e9 a step takes at d = 100 and at
    1000.
    """
    got = measure(
        {str(d): stepping(case(d)) for d in (100, 1000, 10**9)}, str(10**9), seconds, repetitions
    )
    return got.rates["1000"], {d: 1 / got.ratios[str(d)] for d in (100, 1000)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.reduced", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="of a slice")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--core", type=int, default=-1, help="processor core; default: the last")
    parser.add_argument("--lengths", type=int, nargs="*", default=list(LENGTHS))
    parser.add_argument("--json", type=Path)
    o = parser.parse_args(argv)
    pin(o.core if o.core >= 0 else sq._run.cores() - 1)
    out: dict[str, dict[str, float]] = {}

    print(
        f"seqsgd core {_core.level}, {RUNS} runs side by side, one core\n\n| 2x2 attention, "
        "opposite positions | run-steps/s | target |\n|---|---|---|"
    )
    for dtype in DTYPES:
        rate, longer = flatness(lambda d, dtype=dtype: pair(d, dtype), o.seconds, o.repetitions)
        target = TARGETS.get(_core.level, 0) if dtype == "float32" else 0
        print(f"| {dtype}, d = 1000 | {RUNS * rate:.3g} | {f'{target:.0e}' if target else ''} |")
        print(f"| {dtype}, time per step at d = 100 over d = 1e9 | {longer[100]:.3f} | {FLAT} |")
        out[f"pair {dtype}"] = {
            "run_steps_per_second": RUNS * rate,
            **{f"time_{d}_over_1e9": v for d, v in longer.items()},
        }

    print(
        "\n| time per step, L = 16 | "
        + " | ".join(f"{t}, d = {d} over 1e9" for t in DTYPES for d in (100, 1000))
        + " |\n|---|"
        + "---|" * 4
    )
    for kind in ("tied", "rows", "global"):
        row = [kind]
        for dtype in DTYPES:
            _, longer = flatness(
                lambda d, kind=kind, dtype=dtype: network(kind, 16, dtype, d),
                o.seconds,
                o.repetitions,
            )
            row += [f"{v:.2f}" for v in longer.values()]
            out[f"{kind} L=16 {dtype} in d"] = {f"time_{d}_over_1e9": v for d, v in longer.items()}
        print("| " + " | ".join(row) + " |", flush=True)

    for kind in ("tied", "rows", "global"):
        print(
            f"\n| {kind}, sum_h2, relu | "
            + " | ".join(f"{t} run-steps/s | normals/s over the generator's" for t in DTYPES)
            + " |\n|---|"
            + "---|" * 4
        )
        for L in o.lengths:
            row = [f"L = {L}"]
            for dtype in DTYPES:
                case = network(kind, L, dtype)
                got = measure(
                    {"case": stepping(case), "bare": generating(dtype)},
                    "bare",
                    o.seconds,
                    o.repetitions,
                )
                share = got.ratios["case"] * RUNS * case.normals / _BUFFER
                row += [
                    f"{RUNS * got.rates['case']:.3g}",
                    f"{share:.2f}" if share >= SHARE or L < 8 else f"**{share:.2f}**",
                ]
                out[case.name] = {
                    "run_steps_per_second": RUNS * got.rates["case"],
                    "share_of_generator": share,
                }
            print("| " + " | ".join(row) + " |", flush=True)
    if o.json:
        o.json.write_text(json.dumps({"level": _core.level, **out}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
