"""One piece of work in the package that this interpreter imports: `python bench/workload.py CORE`,
which answers as bench/worker.py does.

This file stands alone: the same one runs in every revision that is compared, whatever the state of
bench/ was there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

Work = Callable[
    [int], object
]  # does n units; a float that it returns is the processor time (s) that counts


def task(problem: str, L: int) -> Any:
    import seqsgd as sq

    if problem == "tied":
        return sq.Task(sq.SSI("sum", L, scale="1/sqrt(L)"), sq.Tied("relu"), loss="square")
    if problem == "untied":
        return sq.Task(
            sq.SSI("sum", L, scale="1/sqrt(L)"),
            sq.Untied("relu", normalization="global"),
            loss="square",
        )
    if problem == "pair":
        return sq.Task(
            sq.PositionalSemantic(0.3, a=1.0),
            sq.Attention(position=sq.Opposite()),
            loss="frobenius",
        )
    return sq.Task(
        sq.SSI("sum_h2", L, scale="1/sqrt(L)"), sq.Attention(reduction="trace"), loss="square"
    )


def sampled(problem: str, d: int, L: int) -> Work:
    """Steps of a Simulator."""
    import seqsgd as sq

    return sq.Simulator(
        task(problem, L),
        d=d,
        lr=0.01 if problem == "trace" else 0.05,
        rng=1,
        init=sq.Overlap(0.05),
        dtype="float32",
    ).advance


def reduced(problem: str, L: int) -> Work:
    """Steps of 64 runs at once."""
    import seqsgd as sq

    t = task(problem, L)
    return lambda n: sq.simulate(
        t,
        d=1000,
        steps=20 * n,
        lr=0.05,
        runs=64,
        rng=1,
        record=sq.At((0,)),
        dynamics="reduced",
        threads=1,
        progress=False,
    )


def risk(problem: str, L: int, n: int) -> Work:
    """R, gradient, Hessian and V on a grid of n x n points."""
    import numpy as np
    import seqsgd as sq

    t = task(problem, L)
    e, m = np.meshgrid(np.linspace(-0.9, 0.9, n), np.linspace(-0.9, 0.9, n), indexing="ij")
    return lambda times: [
        sq.theory.risk(t, e if problem == "pair" else None, m) for _ in range(times)
    ]


def phases() -> Work:
    """A phase diagram of 4 x 4 points, with the integrals at the poles, which a process makes
    once.
    """
    import seqsgd as sq
    from seqsgd.theory.phases import criteria

    a, omega = [0.25, 0.5, 0.75, 1.0], [0.1, 0.4, 0.6, 0.9]

    def diagrams(n: int) -> None:
        for _ in range(n):
            criteria.cache_clear()
            sq.theory.phase_diagram(a, omega)

    return diagrams


def sweep() -> Work:
    """Cells that are all overhead."""
    import seqsgd as sq

    base: Any = {
        "task": task("pair", 2),
        "d": 10,
        "steps": 2,
        "lr": 0.1,
        "record": [0, 2],
        "threads": 1,
    }

    def cells(n: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            sq.sweep(base, {"rng": range(n)}, store=os.path.join(folder, "s"), progress=False)

    return cells


def imported() -> Work:
    """`import seqsgd` in a process of its own, without the start of Python: what an editable
    install does there is not the package's.
    """
    code = "import time; t = time.process_time(); import seqsgd; print(time.process_time() - t)"
    return lambda n: sum(
        float(
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
        )
        for _ in range(n)
    )


KINDS: dict[str, Callable[..., Work]] = {
    "sampled": sampled,
    "reduced": reduced,
    "risk": risk,
    "phases": phases,
    "sweep": sweep,
    "import": imported,
}


def used() -> float:
    """Processor time (s) of this process and of those it started."""
    import resource  # not on Windows

    return sum(
        r.ru_utime + r.ru_stime
        for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measure(work: Work, n: int) -> tuple[float, float]:
    cpu, wall = used(), time.perf_counter()
    counts = work(n)
    return max(
        counts if isinstance(counts, float) else used() - cpu, 1e-9
    ), time.perf_counter() - wall


def calibrate(work: Work, seconds: float) -> int:
    n = 1
    measure(work, n)  # what is made once
    while (cpu := measure(work, n)[0]) < seconds / 4:
        n = max(2 * n, min(int(n * seconds / 2 / cpu), 20 * n))
    return max(1, round(n * seconds / cpu))


def serve() -> None:
    """[kind, arguments, seconds, n or null] on a line; {n, cpu, wall} back."""
    made: dict[str, Work] = {}
    for line in sys.stdin:
        kind, arguments, seconds, n = json.loads(line)
        name = json.dumps([kind, arguments])
        try:
            if name not in made:
                made.clear()
                made[name] = KINDS[kind](*arguments)
                made[name](1)
            n = n or calibrate(made[name], seconds)
            cpu, wall = measure(made[name], n)
            answer = {"n": n, "cpu": cpu, "wall": wall}
        except Exception as e:  # an older revision may lack it
            answer = {"missing": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "count":  # under callgrind: what n units take
        made = KINDS[sys.argv[2]](*json.loads(sys.argv[3]))
        for _ in range(3):
            made(int(sys.argv[4]))
    else:
        core = int(sys.argv[1])
        if core >= 0 and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})
        serve()
