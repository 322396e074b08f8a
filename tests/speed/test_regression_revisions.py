"""Revisions by name and their builds (bench/revision.py), in little repositories whose package is
built by copying: what is not to be had is one clear line.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from bench import regression, revision

pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(os.name != "posix", reason="revisions are built on Linux and macOS only"),
]

BACKEND = """
import base64, hashlib, zipfile
def build_wheel(folder, settings=None, metadata=None):
    files = {"seqsgd/__init__.py": open("python/seqsgd/__init__.py").read(), "seqsgd-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: seqsgd\\nVersion: 1\\n",
             "seqsgd-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    record = "".join(f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b'=').decode()},{len(t)}\\n" for n, t in files.items())
    with zipfile.ZipFile(f"{folder}/seqsgd-1-py3-none-any.whl", "w") as z:
        for name, text in {**files, "seqsgd-1.dist-info/RECORD": record + "seqsgd-1.dist-info/RECORD,,\\n"}.items():
            z.writestr(name, text)
    return "seqsgd-1-py3-none-any.whl"
"""
PROJECT = (
    '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = '
    '["."]\n[project]\nname = "seqsgd"\nversion = "1"\n'
)


def git(folder, *words):
    identity = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """With two commits, its own caches, and no git configuration of yours."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "r"
    root.mkdir()
    git(root, "init")
    old = commit(
        root,
        {
            "pyproject.toml": PROJECT,
            "backend.py": BACKEND,
            "python/seqsgd/__init__.py": "import numpy\nwho = 'old'\n",
        },
    )
    commit(
        root, {"python/seqsgd/__init__.py": "who = 'new'\n", "bench/baseline": f"{old} the first\n"}
    )
    at(monkeypatch, root)
    return root


def at(monkeypatch, root):
    monkeypatch.setattr(revision, "ROOT", root)
    monkeypatch.setattr(revision, "BASELINE", root / "bench" / "baseline")


def refused(capsys, *argv):
    """The one line of the command line."""
    assert regression.main([*argv, "--no-instructions"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    (line,) = (line for line in err.splitlines() if not line.startswith("building "))
    return line.removeprefix("python -m bench compare: ")


def test_names_of_revisions(repository, capsys):
    old, new = revision.baseline(), git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "-a", "v1", "-m", "x", "HEAD~1")
    assert [revision.commit_of(name) for name in ("v1", "HEAD~1", old[:9], old, "main")] == [
        old
    ] * 4 + [new], "a tag is not its commit's hash"
    assert (
        refused(capsys, "--baseline", "v2")
        == "--baseline: expected a revision of this repository or 'here', got 'v2'"
    )
    assert refused(capsys, "--baseline", "HEAD:bench").startswith(
        "--baseline: expected a revision"
    ), "a folder has no commit"


def test_here_knows_a_changed_tree(repository):
    head = git(repository, "rev-parse", "HEAD")
    (repository / "notes.txt").write_text("x")
    assert (
        revision.here().commit == head and revision.here().here and not revision.here("itself").here
    )
    (repository / "python" / "seqsgd" / "__init__.py").write_text("who = 'me'\n")
    assert revision.here().commit == head + "+"


def test_a_missing_commit(repository, tmp_path, monkeypatch, capsys):
    """In a shallow clone, and in a full one of another history."""
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth", "1", f"file://{repository}", str(shallow))
    old = revision.baseline()
    at(monkeypatch, shallow)
    assert (
        refused(capsys)
        == f"commit {old[:10]} is not in this clone, which is shallow: git fetch --unshallow"
    )
    assert refused(capsys, "--baseline", "v1").endswith(
        "got 'v1'; this clone is shallow, git fetch --unshallow --tags gets the rest"
    )
    at(monkeypatch, repository)
    (repository / "bench" / "baseline").write_text("1" * 40 + "\n")
    assert refused(capsys) == f"commit 1111111111 is not in this clone: git fetch origin {'1' * 40}"
    (repository / "bench" / "baseline").write_text("\n")
    assert "has no revision: expected the hash of a commit" in refused(capsys)


def test_without_a_repository(repository, tmp_path, monkeypatch, capsys):
    """As in an unpacked source distribution, also inside somebody's repository: only `here`
    remains.
    """
    old = revision.baseline()
    (tmp_path / "alone").mkdir()
    at(monkeypatch, tmp_path / "alone")
    assert (
        "git rev-parse: fatal: not a git repository" in refused(capsys, "--baseline", old)
        and revision.here().commit == "unknown"
    )
    assert "bench/baseline has no revision" in refused(capsys)
    at(monkeypatch, repository / "bench")
    assert (
        f"{repository / 'bench'} is not the top of a git repository"
        in refused(capsys, "--baseline", old)
        and revision.here().commit == "unknown"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        refused(capsys, "--baseline", old)
        == "git is not installed, and the baseline comes from the repository's history"
    )


@pytest.mark.slow
def test_builds(repository, monkeypatch, capsys):
    """The package of the old commit with NumPy of here, built once; an interrupted build is made
    again; a changed venv is not trusted before.
    """
    built = revision.built(revision.baseline())
    assert "again" not in capsys.readouterr().err
    code = "import seqsgd, numpy; print(seqsgd.who, numpy.__version__)"
    import numpy as np

    def said():
        return subprocess.run(
            [built.python, "-P", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=revision.environment(),
        ).stdout.split()

    assert (
        said() == ["old", np.__version__] and built.commit == revision.baseline() and not built.here
    )
    with monkeypatch.context() as m:
        m.setattr(revision, "_build", lambda *_: pytest.fail("built twice"))
        assert (
            revision.built("HEAD~1") == revision.Revision("HEAD~1", built.commit, built.python)
            and capsys.readouterr().err == ""
        )
    home = built.python.parents[2]
    (home / "done").unlink()
    shutil.rmtree(home / "venv" / "lib")
    assert revision.built("HEAD~1").python == built.python and said()[0] == "old"
    assert capsys.readouterr().err.rstrip().endswith("again: an earlier build did not finish")


def test_an_interrupted_build_is_not_used(repository, monkeypatch, capsys):
    def interrupted(commit, home):
        (home / "venv" / "bin").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(revision, "_build", interrupted)
    for again in (False, True):
        assert regression.main([]) == 130
        err = capsys.readouterr().err.splitlines()
        assert (
            len(err) == 2
            and err[0].endswith("did not finish") == again
            and err[1]
            == (
                "python -m bench compare: interrupted, nothing is kept; a build starts anew next "
                "time"
            )
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "files, said",
    [
        (
            {"pyproject.toml": PROJECT.replace("[]", '["nothing-of-this-name"]', 1)},
            "pip install: ERROR: Could not find a version that satisfies the requirement "
            "nothing-of-this-name (from versions: none); is the package index within reach, which",
        ),
        (
            {"python/seqsgd/__init__.py": "import no_such_package\n"},
            "import: ModuleNotFoundError: No module named 'no_such_package'; all of it in ",
        ),
    ],
)
def test_a_build_that_fails(repository, monkeypatch, capsys, files, said):
    """One line with the reason and where the rest is, each time anew.

    The index is a closed port of this machine.
    """
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    broken = commit(repository, files)
    line = refused(capsys, "--baseline", broken)
    assert line.startswith(f"{broken[:10]} could not be built: {said}") and line.endswith("log")
    home = revision.bare.cache() / "revisions"
    (made,) = (folder for folder in home.iterdir() if folder.is_dir())
    assert (
        made.name.startswith(broken)
        and sys.implementation.cache_tag in made.name
        and not (made / "done").exists()
        and (made / "log").read_text()
    )


@pytest.mark.parametrize(
    "output, line",
    [
        ("fatal: not a git repository\n", "fatal: not a git repository"),
        (
            'Traceback (most recent call last):\n  File "error.py", line 1\nImportError: '
            "a\n\n==7== Events    : Ir\n==7== Collected : 5\n",
            "ImportError: a",
        ),
        (
            "error: subprocess-exited-with-error\n[1/2] cc\n/x.cpp:3:1: error: expected ;\nninja: "
            "build stopped\nERROR: Failed building wheel\nnote: error of a subprocess\n",
            "/x.cpp:3:1: error: expected ;",
        ),
        ("==7== valgrind: Unrecognised instruction\n", "==7== valgrind: Unrecognised instruction"),
        ("killed\n", "killed"),
        ("", "it says nothing"),
    ],
)
def test_the_line_that_says_why(output, line):
    assert revision.reason(output) == line
