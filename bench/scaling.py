"""Runs per second of two threads over one, by `simulate`; wall time, on all cores this process may
use.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from .contestants import task
from .points import Point, learning_rate, m0

POINTS = [
    Point("tied", 1000, 2),
    Point("untied", 1000, 32),
    Point("pair", 100, 2),
    Point("trace", 1000, 9),
]
RUNS = 16
ENOUGH = 1.9  # cores free of other programs, below which a speed-up says nothing


class Took(NamedTuple):
    """Wall and own processor time (s) of RUNS runs, and how many cores other programs left."""

    wall: float
    cpu: float
    free: float


class Scaling(NamedTuple):
    """What one thread and two threads took, in turn."""

    point: Point
    steps: int
    one: list[Took]
    two: list[Took]

    @property
    def undisturbed(self) -> float:
        """Ratio of the shortest wall times: other programs only ever lengthen one."""
        return min(t.wall for t in self.one) / min(t.wall for t in self.two)

    @property
    def paired(self) -> float:
        """Median ratio of neighbouring wall times: what was to be had while other programs ran as
        they did.
        """
        return statistics.median(a.wall / b.wall for a, b in zip(self.one, self.two, strict=True))

    @property
    def by_processor(self) -> float:
        """Twice the median ratio of processor times: the speed-up of two threads that never wait,
        on a machine however busy.
        """
        return 2 * statistics.median(a.cpu / b.cpu for a, b in zip(self.one, self.two, strict=True))

    @property
    def free(self) -> float:
        """The most cores that were free with two threads."""
        return max(t.free for t in self.two)


def _idle() -> float:
    """Core-seconds without work since the system started; NaN where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return float("nan")
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def measure(
    point: Point, seconds: float, repetitions: int, before: Scaling | None = None
) -> Scaling:
    """`seconds` is about what one thread takes.

    With `before`, more repetitions of the same, pooled.
    """
    import seqsgd as sq

    of, lr, start = task(point), learning_rate(point), sq.Overlap(m0)

    def run(steps: int, threads: int) -> Took:
        wall, cpu, idle = time.perf_counter(), time.process_time(), _idle()
        sq.simulate(
            of,
            point.d,
            steps,
            lr,
            runs=RUNS,
            rng=1,
            init=start,
            record=[0, steps],
            threads=threads,
            progress=False,
        )
        wall, cpu, idle = time.perf_counter() - wall, time.process_time() - cpu, _idle() - idle
        return Took(wall, cpu, (cpu + idle) / wall)

    if before is None:
        run(1, 2)
        steps = 16
        while (took := run(steps, 1)).wall < seconds / 4:
            steps *= 2
        before = Scaling(point, max(1, round(steps * seconds / took.wall)), [], [])
    pairs = [(run(before.steps, 1), run(before.steps, 2)) for _ in range(repetitions)]
    return before._replace(
        one=before.one + [a for a, _ in pairs], two=before.two + [b for _, b in pairs]
    )
