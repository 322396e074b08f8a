"""Small sweeps, and what it means that two of them agree."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import seqsgd as sq

TASK = sq.Task(
    sq.PositionalSemantic(omega=0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
)
BASE: dict[str, Any] = {
    "task": TASK,
    "d": 20,
    "steps": 300,
    "lr": 0.1,
    "runs": 5,
    "record": sq.Every(50),
}
GRID: dict[Any, Any] = {"task.teacher.omega": {"linspace": [0.0, 1.0, 4]}, "lr": [0.05, 0.1, 0.2]}
HEAVY: dict[Any, Any] = {
    "d, steps": [[20, 60, 200], [100, 30_000, 3000]],
    "task.teacher.omega": [0.2, 0.7],
}  # cells of very different cost


def same(a: Any, b: Any) -> None:
    """Bit for bit, labels included."""
    a, b = (r.open() if isinstance(r, sq.SweepResult) else r for r in (a, b))
    a, b = a.drop_attrs(), b.drop_attrs()
    assert a.identical(b), f"{a}\n{b}"
    for name in a.variables:
        if a[name].dtype.kind in "fib":
            assert a[name].values.tobytes() == b[name].values.tobytes(), name


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def until(check: Any, seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def press(check: Any, number: int = signal.SIGINT) -> list[float]:
    """Ctrl-C, or another signal, to this process as soon as something is true; when it came."""
    pressed: list[float] = []

    def wait() -> None:
        try:
            until(check, 60)
        finally:  # or the test would wait for ever
            pressed.append(time.monotonic())
            os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()
    return pressed
