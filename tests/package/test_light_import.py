"""`import seqsgd` is light, by what it loads rather than by seconds (bench/test_import.py has
those): NumPy, and of the rest only what every run needs.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# json before, so that it does not count; numpy.random and numpy.typing are NumPy's own
CODE = (
    "import json, sys, numpy.random, numpy.typing; before = set(sys.modules); import seqsgd; "
    "print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))"
)


@pytest.fixture(scope="module")
def loaded():
    """Names of modules in a fresh process: before the import, and because of it."""
    before, added = json.loads(
        subprocess.run(
            [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=True
        ).stdout
    )
    return set(before), set(added)


def test_no_package_but_numpy(loaded):
    """Not even by chance: SciPy, xarray, pandas, matplotlib, h5py, tqdm, click, dask, joblib and
    all else are loaded where they are used.
    """
    _, added = loaded
    others = {name.split(".")[0] for name in added if not name.startswith("__")} - set(
        sys.stdlib_module_names
    )
    assert others == {"seqsgd"}
    assert not {name for name in added if name.startswith("numpy.")}


def test_heavy_parts_are_absent(loaded):
    """Those of the package itself, and those of the standard library that cost most."""
    before, added = loaded
    assert not {
        name
        for name in added
        if name.startswith(
            ("seqsgd.theory", "seqsgd.figures", "seqsgd.cli", "seqsgd.report", "seqsgd.selftest")
        )
    }
    assert not added & (
        {
            "asyncio",
            "ssl",
            "http.client",
            "xml",
            "ctypes",
            "unittest",
            "pydoc",
            "tkinter",
            "xmlrpc",
            "tomllib",
            "importlib.metadata",
            "email",
        }
        - before
    )
    assert (
        len(added & {f"seqsgd._core._{level}" for level in ("baseline", "avx2", "avx512")}) == 1
    ), "one instruction set"


def test_how_many_modules(loaded):
    """66 of the package and 66 of the standard library in version 0.1, each of which costs about a
    millisecond: a few more are to be thought about.
    """
    _, added = loaded
    ours = {name for name in added if name.split(".")[0] == "seqsgd"}
    assert len(ours) <= 75 and len(added - ours) <= 80


def test_names_that_a_shell_completes():
    """The lazy parts too; nothing that is there for the package's own sake."""
    import seqsgd

    shown = {name for name in dir(seqsgd) if not name.startswith("__")}
    assert shown == {*seqsgd.__all__, "ffi"} - {"__version__"} and "__version__" in dir(seqsgd)
    assert all(hasattr(seqsgd, name) for name in dir(seqsgd))


def test_what_is_lazy_is_there():
    """Every public name, the version and the theory too; what does not exist is refused as ever."""
    code = (
        "import sys, seqsgd; assert all(hasattr(seqsgd, n) for n in seqsgd.__all__) and "
        "seqsgd.theory and not hasattr(seqsgd, 'theorem'); from importlib.metadata import "
        "version; assert seqsgd.__version__ == version('seqsgd')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
