"""Instructions per step, by callgrind: they do not depend on the load of the machine, but see no
cache misses.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from typing import Any

from . import compare, revision
from .rule import Missing

WIDEST = "avx2"  # that valgrind knows
COLLECTED = re.compile(r"Collected : (\d+)")


def available() -> bool:
    return shutil.which("valgrind") is not None


def level(changes: dict[str, str]) -> str:
    """The instruction set that is counted: the one asked for, or the widest of this processor, but
    never AVX-512, which valgrind lacks: AVX2 in its place, in both revisions.
    """
    wanted = changes.get("SEQSGD_SIMD") or compare.supported()[0]
    return WIDEST if wanted == "avx512" else wanted


def per_unit(
    of: revision.Revision, kind: str, arguments: list[Any], changes: dict[str, str]
) -> float:
    """The difference of two runs of different lengths, so that the start does not count.

    Raises Missing.
    """
    n: int = max(20, 200_000 // (arguments[1] * arguments[2]))
    # the same objects at the same places in both
    env = (
        revision.environment()
        | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        | changes
        | {"SEQSGD_SIMD": level(changes)}
    )
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for units in (n, 5 * n):
            what = [
                str(of.python),
                str(revision.WORKLOAD),
                "count",
                kind,
                json.dumps(arguments),
                str(units),
            ]
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *what],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
            )
            found = COLLECTED.search(done.stderr)
            if done.returncode or not found:
                raise Missing(f"callgrind: {revision.reason(done.stderr)}", of.here)
            counts.append(int(found[1]))
    return float(counts[1] - counts[0]) / (3 * 4 * n)  # the workload does its units three times
