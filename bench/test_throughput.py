"""Throughput per L and per d: `pytest bench --benchmark-only`.

The clock counts processor time divided by the steps of a call, so the tables read seconds per step,
and their column OPS steps per second. Ratios between contestants are better taken from `python -m
bench`, which interleaves them.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from . import contestants
from .missing import Missing
from .points import PER_DIMENSION, PER_LENGTH, TABLE, Point
from .worker import calibrate

SECONDS = 0.02  # per call
CALLS = 7
NAMES = ("seqsgd", "bare", "numba", "torch")


class Clock:
    """Processor time (s) per step, for calls of `steps` steps."""

    steps = 1

    def __call__(self) -> float:
        return time.process_time() / self.steps


clock = Clock()


def run(benchmark: Any, name: str, point: Point, group: str) -> None:
    try:
        contestant = contestants.make(name, point)
    except Missing as e:
        pytest.skip(str(e))
    clock.steps = calibrate(contestant, SECONDS)
    benchmark.group = group
    benchmark.extra_info.update(point._asdict(), contestant=name, steps_per_call=clock.steps)
    benchmark.pedantic(contestant.advance, args=(clock.steps,), rounds=CALLS, iterations=1)
    if benchmark.stats is not None:  # absent with --benchmark-disable
        rate = 1 / benchmark.stats.stats.median
        benchmark.extra_info.update(
            steps_per_second=rate, normals_per_second=rate * contestants.normals(name, point)
        )


pytestmark = pytest.mark.benchmark(timer=clock)
per_name = pytest.mark.parametrize("name", NAMES)


@per_name
@pytest.mark.parametrize("point", [p for points in PER_LENGTH.values() for p in points], ids=str)
def test_per_length(benchmark: Any, point: Point, name: str) -> None:
    run(benchmark, name, point, f"{point.problem}, per L at d = {point.d}, {name}")


@per_name
@pytest.mark.parametrize("point", [p for points in PER_DIMENSION.values() for p in points], ids=str)
def test_per_dimension(benchmark: Any, point: Point, name: str) -> None:
    run(benchmark, name, point, f"{point.problem}, per d at L = {point.L}")


@per_name
@pytest.mark.parametrize("point", TABLE, ids=str)
def test_reference_points(benchmark: Any, point: Point, name: str) -> None:
    run(benchmark, name, point, str(point))
