"""Memory over many simulators: `python tests/hardening/memory.py [COUNT]` makes a million of them,
one after another, and prints the resident size (MB) along the way.

Exit code 1 if it grows by more than LIMIT from the first tenth to the last: each simulator
allocates more than 1 kB, so that a leak of ten bytes in each is found.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import seqsgd as sq

LIMIT = 4.0  # MB

TASKS = (
    (sq.Task(sq.SSI("sum", L=2), sq.Tied("relu")), 12),
    (sq.Task(sq.SSI("sum", L=3), sq.Untied("tanh")), 12),
    (
        sq.Task(
            sq.PositionalSemantic(omega=0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
        ),
        12,
    ),
    (sq.Task(sq.SSI(lambda z: z.sum(), L=2), sq.Tied((np.tanh, lambda u: 1 - np.tanh(u) ** 2))), 6),
)


def resident() -> float:
    """MB of this process, by Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def create(count: int, first: int = 0) -> None:
    """Simulators of every kind that move, are looked at and go; some in mid-air with an error."""
    for i in range(first, first + count):
        task, d = TASKS[i % len(TASKS)]
        s = sq.Simulator(task, d=d, lr=0.1, rng=i, init=sq.Uniform())
        s.advance(2)
        s.observe(np.zeros((1, task.L, d)))
        if i % 8 == 0:
            s.restore(s.state())
        if i % 16 == 0:
            try:
                s.observe(np.zeros((1, task.L, d + 1)))
            except ValueError:
                pass


def growth(count: int, parts: int = 10) -> list[float]:
    """Resident size after each of so many parts, the first a warm-up of its own."""
    create(count // parts)
    sizes = []
    for k in range(parts):
        create(count // parts, first=k * (count // parts))
        gc.collect()
        sizes.append(resident())
        print(f"{(k + 1) * (count // parts):>9,} simulators: {sizes[-1]:.1f} MB", flush=True)
    return sizes


if __name__ == "__main__":
    measured = growth(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    sys.exit(1 if measured[-1] - measured[0] > LIMIT else 0)
