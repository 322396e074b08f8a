"""Results of `python -m bench compare`: a JSON file for each commit and machine, which has the list
of its runs, with all slices.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from .revision import Failed
from .rule import failing

KEYS = {
    "commit",
    "baseline",
    "machine",
    "time",
    "environment",
    "rule",
    "points",
    "slices",
    "instructions",
}


def path(folder: Path, commit: str) -> Path:
    return folder / f"{commit[:12]}{'+' * commit.endswith('+')}-{platform.node()}.json"


def runs(of: Path) -> list[dict[str, Any]]:
    """What a file has. Raises Failed for one that is not ours."""
    try:
        found = json.loads(of.read_text())
    except ValueError as e:
        raise Failed(f"{of} is damaged ({e}): move it away") from None
    if not isinstance(found, list) or not all(
        isinstance(run, dict) and run.keys() >= KEYS for run in found
    ):
        raise Failed(
            f"{of} was not written by this version of `python -m bench compare`: move it away"
        )
    return found


def keep(folder: Path, run: dict[str, Any]) -> Path:
    """Add a run to the file of its commit on this machine; at no moment is there half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    to = path(folder, run["commit"])
    whole = [*(runs(to) if to.exists() else []), run]
    beside = to.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")
    os.replace(beside, to)
    return to


def history(folder: Path, chosen: list[str]) -> str:
    """A table of all runs in a folder, oldest first: the worst ratio among the chosen points, and
    what failed.
    """
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("*.json")):
        try:
            found += runs(file)
        except Failed as e:
            print(f"note: {e}", file=sys.stderr)
    lines = [
        "| time | commit | baseline | machine | points | worst ratio | fails |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in sorted(found, key=lambda run: str(run["time"])):
        rows = {
            name: row
            for kind in ("points", "instructions")
            for name, row in run[kind].items()
            if name in chosen
        }
        ratios = {
            name: row["ratio"]
            for name, row in run["points"].items()
            if name in chosen and "ratio" in row
        }
        worst = max(ratios, key=lambda name: ratios[name], default=None)
        fails = "; ".join(
            f"{verdict}: {', '.join(names)}"
            for kind in ("points", "instructions")
            for verdict, names in failing(
                {n: r for n, r in run[kind].items() if n in chosen}
            ).items()
        )
        forced = "".join(f", {name}={value}" for name, value in run["environment"].items())
        worst_of = f"{ratios[worst]:.3f} ({worst})" if worst else "-"
        lines.append(
            f"| {run['time']} | {run['commit'][:10]}{forced} | {run['baseline'][:10]} | "
            f"{run['machine']['node']} | {len(rows)} | {worst_of} | {fails or '-'} |"
        )
    return "\n".join(lines)
