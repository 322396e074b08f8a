"""`import seqsgd` is light, by what it loads rather than by seconds (bench/test_import.py has those): NumPy, and of the rest only what every run needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# json before, so that it does not count; numpy.random and numpy.typing are NumPy's own
CODE = "import json, sys, numpy.random, numpy.typing; before = set(sys.modules); import seqsgd; print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))"


@pytest.fixture(scope="module")
def loaded():
    """Names of modules in a fresh process: before the import, and because of it."""
    before, added = json.loads(subprocess.run([sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=True).stdout)
    return set(before), set(added)


def test_no_package_but_numpy(loaded):
    """Not even by chance: SciPy, xarray, pandas, matplotlib, h5py, tqdm, click, dask, joblib and all else are loaded where they are used."""
    _, added = loaded
    others = {name.split(".")[0] for name in added if not name.startswith("__")} - set(sys.stdlib_module_names)
    assert others == {"seqsgd"}
    assert not {name for name in added if name.startswith("numpy.")}


def test_heavy_parts_are_absent(loaded):
    """Those of the package itself, and those of the standard library that cost most."""
    before, added = loaded
    assert not {name for name in added if name.startswith(("seqsgd.theory", "seqsgd.figures", "seqsgd.cli", "seqsgd._cli", "seqsgd.selftest"))}
    assert not added & ({"asyncio", "ssl", "http.client", "xml", "ctypes", "unittest", "pydoc", "tkinter", "xmlrpc", "tomllib", "platform", "inspect"} - before)
    assert len(added & {f"seqsgd._core._{level}" for level in ("baseline", "avx2", "avx512")}) == 1, "one instruction set"


def test_how_many_modules(loaded):
    """50 of the package and 100 of the standard library in version 0.1; a tenth more is to be thought about, since each costs about a millisecond."""
    _, added = loaded
    ours = {name for name in added if name.split(".")[0] == "seqsgd"}
    assert len(ours) <= 55 and len(added - ours) <= 110


def test_the_light_import_is_the_whole_package():
    """Every public name is there after it, the lazy ones too."""
    code = "import sys, seqsgd; assert 'scipy' not in sys.modules; missing = [n for n in seqsgd.__all__ if not hasattr(seqsgd, n)]; assert not missing, missing; assert 'scipy' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
