"""What a sweep costs beside its simulations: `pytest bench/test_sweeps.py --benchmark-only`.

Wall time; nothing here asserts a time (README.md has the targets).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import seqsgd as sq

TASK = sq.Task(
    sq.PositionalSemantic(omega=0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
)
TINY: dict[str, Any] = {
    "task": TASK,
    "d": 10,
    "steps": 2,
    "lr": 0.1,
    "record": [0, 2],
    "threads": 1,
}
CELLS = 1000


def alone(cells: int) -> float:
    """Seconds of the bare calls of simulate."""
    started = time.perf_counter()
    for seed in range(cells):
        sq.simulate(**TINY, rng=seed, progress=False)
    return time.perf_counter() - started


def per_cell(benchmark: Any, executor: Any, folder: Path, rounds: int = 3) -> None:
    simulations = min(alone(CELLS // 10) for _ in range(3)) * 10
    names = iter(range(10**6))

    def swept() -> None:
        sq.sweep(
            TINY,
            {"rng": range(CELLS)},
            executor=executor,
            store=folder / f"{next(names)}",
            progress=False,
        )

    benchmark.group = "sweep: per cell"
    benchmark.pedantic(swept, rounds=rounds, warmup_rounds=1)
    if benchmark.stats is not None:
        whole = benchmark.stats.stats.min
        benchmark.extra_info.update(
            cells=CELLS,
            milliseconds_per_cell=1e3 * whole / CELLS,
            simulate_alone=1e3 * simulations / CELLS,
        )
        print(
            f"\n{1e3 * whole / CELLS:.2f} ms a cell in all, of which simulate alone takes "
            f"{1e3 * simulations / CELLS:.2f} ms"
        )


@pytest.fixture(autouse=True)
def both_cores() -> Iterator[None]:
    """Sweeps use what there is, unlike the rest of this folder."""
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        yield
        os.sched_setaffinity(0, before)
    else:
        yield


def test_per_cell_here(benchmark: Any, tmp_path: Path) -> None:
    per_cell(benchmark, None, tmp_path)


def test_per_cell_threads(benchmark: Any, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        per_cell(benchmark, executor, tmp_path)


def test_per_cell_dask(benchmark: Any, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        per_cell(benchmark, client.get_executor(pure=False), tmp_path)


def test_opening_ten_thousand_cells(benchmark: Any, tmp_path: Path) -> None:
    grid = {
        "task.teacher.omega": {"linspace": [0.0, 1.0, 100]},
        "lr": {"linspace": [0.01, 1.0, 100]},
    }
    sq.sweep(
        TINY | {"steps": 100, "record": None, "runs": 2},
        grid,
        rng=0,
        store=tmp_path / "s",
        progress=False,
    )
    benchmark.group = "sweep: opening 10^4 cells"
    dataset = benchmark.pedantic(
        lambda: sq.open_sweep(tmp_path / "s").dataset, rounds=5, warmup_rounds=1
    )
    assert dataset.m.shape == (100, 100, 2, 101)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes(benchmark: Any, tmp_path: Path, workers: int) -> None:
    """The time of two workers is to be 1/1.85 of that of one, start of the processes included: 164
    cells of 0.1 to 0.2 s.
    """
    base = {"task": TASK, "d": 1000, "steps": 20_000, "lr": 0.05, "runs": 4}
    grid = {"task.teacher.omega": {"linspace": [0.0, 1.0, 41]}, "lr": [0.02, 0.05, 0.1, 0.2]}
    names = iter(range(10**6))
    benchmark.group = "sweep: processes"
    benchmark.pedantic(
        lambda: sq.sweep(
            base, grid, rng=0, executor=workers, store=tmp_path / f"{next(names)}", progress=False
        ),
        rounds=1,
    )


def test_the_transition_from_the_command_line(benchmark: Any, tmp_path: Path) -> None:
    """As shipped, in the size of the paper: 41 values of omega x 64 runs, d = 1000, T = 3e5."""
    words = ["sweep", "--example", "--quiet"]
    benchmark.group = "sweep: the transition, end to end"
    stores = iter(range(10**6))
    benchmark.pedantic(
        lambda: subprocess.run(
            [sys.executable, "-m", "seqsgd", *words, "--store", f"{next(stores)}"],
            cwd=tmp_path,
            check=True,
        ),
        rounds=1,
    )
