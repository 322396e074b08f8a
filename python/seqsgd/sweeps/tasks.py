"""Divide a sweep into tasks: split long cells by runs, group short ones, send the longest first."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

from .cost import SIDE_BY_SIDE, Cost
from .definition import Cell
from .piece import Piece, gaps

LEAST, MOST = 0.1, 10.0  # seconds of a task, as far as cells can be cut
MANY = 1000  # pieces of a task
SHARE = 3  # a task is a third of what is left for each worker

StoredRuns = dict[bytes, list[tuple[int, int, bool]]]


def pieces(
    cells: Sequence[Cell], todo: Sequence[int], costs: Sequence[Cost], there: StoredRuns, work: Path
) -> list[tuple[Piece, int]]:
    """Divide the missing runs of the cells `todo` into pieces.

    Each piece comes with the least number of runs into which it may be split further, 0 if it may
    not be split. Pieces begun earlier, which have checkpoints, stay as they were.
    """
    begun = _begun(work)
    out: list[tuple[Piece, int]] = []
    seen: set[tuple[bytes, int, int]] = set()
    for i, cost in zip(todo, costs, strict=True):
        cell, least = cells[i], cost.least if cost.split else 0
        what = (cell.key, cell.run.first_run, cell.run.runs)
        if what in seen:  # the same cell twice on the grid
            continue
        seen.add(what)
        for first, runs in gaps(cell.run.first_run, cell.run.runs, there.get(cell.key, [])):
            at, end = first, first + runs
            for f, n in sorted(begun.get(cell.key.hex()[:32], [])):
                if f >= at and f + n <= end:
                    if f > at:
                        out.append((_piece(i, cell, at, f - at, cost), least))
                    out.append((_piece(i, cell, f, n, cost), 0))
                    at = f + n
            if at < end:
                out.append((_piece(i, cell, at, end - at, cost), least))
    return out


def _begun(work: Path) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for path in work.glob("*.npz"):
        if match := re.fullmatch(r"([0-9a-f]{32})-(\d+)-(\d+)", path.stem):
            found.setdefault(match[1], []).append((int(match[2]), int(match[3])))
    return found


def _piece(index: int, cell: Cell, first: int, runs: int, cost: Cost) -> Piece:
    run = (
        cell.run
        if (first, runs) == (cell.run.first_run, cell.run.runs)
        else dataclasses.replace(cell.run, first_run=first, runs=runs)
    )
    each = cost.each if cost.seconds else 0.0  # a cell that fails costs nothing
    return Piece(
        index,
        cell.key,
        run,
        cell.seed,
        cost.seconds * run.steps * (runs if cost.split else 1) + each,
        each,
    )


def tasks(found: Sequence[tuple[Piece, int]], workers: int) -> list[tuple[Piece, ...]]:
    """Group pieces into tasks: the longest first and smaller towards the end, so that all workers
    end together.

    Cells that failed in their trial come first, each in its own task.
    """
    fails = [p for p, _ in found if not p.seconds]
    found = [(p, least) for p, least in found if p.seconds]
    left = sum(p.seconds for p, _ in found)
    share = _share(left, workers)
    cut = [part for p, least in found for part in (_cut(p, share, least) if least else [p])]
    return _grouped(fails, 0.0, 1) + _grouped(sorted(cut, key=lambda p: -p.seconds), left, workers)


def in_order(found: Sequence[tuple[Piece, int]]) -> list[tuple[Piece, ...]]:
    """Group pieces for this process alone: unsplit and in the order of the grid."""
    return _grouped([p for p, _ in found], 0.0, 1)


def _share(left: float, workers: int) -> float:
    return max(LEAST, min(MOST, left / (SHARE * workers)))


def _grouped(pieces: Sequence[Piece], left: float, workers: int) -> list[tuple[Piece, ...]]:
    out: list[tuple[Piece, ...]] = []
    task: list[Piece] = []
    size = 0.0
    for p in pieces:
        if task and (size + p.seconds > _share(left, workers) or len(task) == MANY):
            out.append(tuple(task))
            left -= size
            task, size = [], 0.0
        task.append(p)
        size += p.seconds
    return [*out, tuple(task)] if task else out


def _cut(piece: Piece, share: float, least: int) -> list[Piece]:
    runs = piece.run.runs
    parts = min(runs, math.ceil(piece.seconds / share))
    if parts <= 1:
        return [piece]
    size = runs / parts
    if size > SIDE_BY_SIDE // 2 or least > 1:  # whole groups of runs that are computed side by side
        size = SIDE_BY_SIDE * max(1, round(size / SIDE_BY_SIDE))
    edges = [
        piece.run.first_run + n
        for n in sorted({min(runs, round(size * i)) for i in range(parts + 1)} | {runs})
    ]
    of_run = (piece.seconds - piece.each) / runs
    return [
        piece._replace(
            run=dataclasses.replace(piece.run, first_run=a, runs=b - a),
            seconds=of_run * (b - a) + piece.each,
        )
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
