"""The type hints: the package under mypy --strict, and the stub of the compiled module against the
module.
"""

import os
import subprocess
import sys

import pytest
from helpers import ROOT


def run(*arguments: str) -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_package_is_typed_strictly():
    run("mypy")


@pytest.mark.slow
def test_the_stub_matches_the_compiled_module():
    run(
        "mypy.stubtest",
        "seqsgd._core",
        "--allowlist",
        "tests/package/stubtest_allowlist.txt",
        "--ignore-unused-allowlist",
    )
