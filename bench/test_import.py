"""Processor time (s) of `import seqsgd` in a process of its own, the start of Python included,
beside that of NumPy: `pytest bench/test_import.py --benchmark-only`. Target: 0.3 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from .workload import used

CODES = {"Python alone": "pass", "NumPy": "import numpy", "seqsgd": "import seqsgd"}


@pytest.mark.benchmark(timer=used, group="import")
@pytest.mark.parametrize("what", CODES)
def test_import(benchmark: Any, what: str) -> None:
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("PYTHON")
    }  # compiled files are used, and written by the first
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", CODES[what]], check=True, env=env),
        rounds=15,
        warmup_rounds=1,
    )
    if benchmark.stats is not None:
        print(f"\n{what}: {1e3 * benchmark.stats.stats.median:.0f} ms")
