"""A contestant in a process of its own: `python -m bench.worker NAME CORE` measures slices on
request.

One request per line on stdin, a JSON list [problem, d, L, seconds]; one JSON answer per line: {"n",
"cpu", "wall"} for n units of `advance` in about that many seconds, or {"missing"} with the reason
why there will never be one. The workers of a comparison share one core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import contestants
from .missing import Missing
from .points import Point


class Slice(NamedTuple):
    """n units of `advance` in so much processor and wall time (s)."""

    n: int
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Units per second of processor time: what other processes on the core take does not
        count.
        """
        return self.n / self.cpu


def measure(contestant: contestants.Contestant, n: int) -> Slice:
    wall, cpu = time.perf_counter(), time.process_time()
    contestant.advance(n)
    return Slice(n, max(time.process_time() - cpu, 1e-9), time.perf_counter() - wall)


def calibrate(contestant: contestants.Contestant, seconds: float) -> int:
    """Warm up; how many units take about so many seconds."""
    n = 1
    measure(contestant, 1)  # compilation
    while (s := measure(contestant, n)).cpu < seconds / 4:
        n = max(2 * n, min(int(s.rate * seconds / 2), 100 * n))
    return max(1, round(s.rate * seconds))


def pin(core: int) -> None:
    """This process on one core, where the system can."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def serve(name: str) -> None:
    point, contestant, n = None, None, 0
    for line in sys.stdin:
        problem, d, L, seconds = json.loads(line)
        try:
            if point != (here := Point(problem, d, L)) or contestant is None:
                contestant = None  # frees its memory first
                point, contestant = here, contestants.make(name, here)
                n = calibrate(contestant, seconds)
            answer: dict[str, Any] = measure(contestant, n)._asdict()
        except Missing as e:
            answer = {"missing": str(e)}
        print(json.dumps(answer), flush=True)


class Worker:
    """The other end: a contestant's process."""

    def __init__(self, name: str, core: int) -> None:
        self.name = name
        command = [sys.executable, "-m", "bench.worker", name, str(core)]
        root, env, pipe = Path(__file__).parents[1], contestants.environment(name), subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=root, env=env, text=True, stdin=pipe, stdout=pipe
        )

    def slice(self, point: Point, seconds: float) -> Slice:
        """One measurement.

        Raises Missing if the contestant cannot take part, RuntimeError if its process died.
        """
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps([*point, seconds]), file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise RuntimeError(
                f"{self.name} died at {point} with exit code {self._process.wait()}"
            ) from None
        if "missing" in answer:
            raise Missing(answer["missing"])
        return Slice(**answer)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


if __name__ == "__main__":
    pin(int(sys.argv[2]))
    serve(sys.argv[1])
