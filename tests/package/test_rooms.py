"""Arrows between rooms point down, no import goes in circles, and imports inside functions stay
few.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

grimp = pytest.importorskip("grimp")
PACKAGE = ROOT / "python" / "seqsgd"

# Why a module imports inside a function, and how often it may. Another one needs a reason as good;
# a heavy library belongs in `seqsgd._lazy`.
INSIDE = {
    "__init__.py": (2, "public names that are loaded when asked for"),
    "_checks.py": (1, "difflib, for the words of a refusal only"),
    "_memory.py": (2, "ctypes and resource, which not every system has"),
    "_stderr.py": (1, "tqdm, where somebody watches"),
    "_version.py": (1, "importlib.metadata costs as much as the rest of the import"),
    "cli/main.py": (4, "commands load what they run, so that --help is quick"),
    "dynamics/flow.py": (3, "the theory, which simulations of other dynamics do not need"),
    "models/identity/__init__.py": (1, "code of functions is read where there are functions"),
    "figures/style.py": (1, "matplotlib, after the backend"),
    "simulate.py": (1, "xarray"),
    "sweeps/jobs.py": (1, "cloudpickle, which is optional"),
    "sweeps/owner.py": (1, "ctypes, on one system"),
    "sweeps/result.py": (1, "the assembly of large results"),
    "theory/flow.py": (1, "matplotlib, through plots"),
    "theory/landscape.py": (1, "matplotlib, through plots"),
    "theory/phases.py": (1, "matplotlib, through plots"),
}
LIMIT = 30


def circles(arrows: set[tuple[str, str]]) -> list[set[str]]:
    """Sets of names each of which leads to each other: strongly connected components of more than
    one.
    """
    names = sorted({name for arrow in arrows for name in arrow})
    index = {name: i for i, name in enumerate(names)}
    ends = np.array([[index[a], index[b]] for a, b in sorted(arrows)]).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(len(names),) * 2).tocsr()
    _, labels = connected_components(graph, directed=True, connection="strong")
    return [
        {names[i] for i in np.flatnonzero(labels == k)}
        for k, size in Counter(labels.tolist()).items()
        if size > 1
    ]


def arrows(package: str) -> set[tuple[str, str]]:
    """(importer, imported) of all modules, imports inside functions and for types counted."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}


def test_circles_are_found() -> None:
    chain = {("a", "b"), ("b", "c"), ("x", "b"), ("c", "d")}
    assert circles(chain) == []
    assert circles(chain | {("c", "a")}) == [{"a", "b", "c"}]
    assert sorted(map(sorted, circles(chain | {("b", "a"), ("d", "c")}))) == [
        ["a", "b"],
        ["c", "d"],
    ]


def test_lazy_imports_and_those_for_types_are_arrows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    from .b import g\n")
    (package / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import f\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert circles(arrows("house")) == [{"house.a", "house.b"}]


def test_no_import_goes_in_circles() -> None:
    found = arrows("seqsgd")
    assert len(found) > 300
    assert circles(found) == []


def test_arrows_between_rooms_point_down() -> None:
    """The contract in pyproject.toml, which names every module and package at the top."""
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout, done.stdout


def inside(text: str) -> int:
    """Imports inside functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        (node.lineno, node.col_offset)  # once, where functions are in functions
        for function in ast.walk(ast.parse(text))
        if isinstance(function, functions)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    return len(found)


def test_imports_inside_functions_have_reasons() -> None:
    assert inside("import a\ndef f():\n    import b\n    def g():\n        from c import d") == 2
    counts = {
        path.relative_to(PACKAGE).as_posix(): inside(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    more = {
        name: (n, INSIDE.get(name, (0, "")))
        for name, n in counts.items()
        if n > INSIDE.get(name, (0, ""))[0]
    }
    assert not more, "more imports inside functions than there are reasons for"
    assert 0 < sum(counts.values()) < LIMIT
