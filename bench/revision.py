"""Revisions of the package, each in an environment of its own: sources by `git archive`, installed
into a venv, kept by the commit's hash.

NumPy, SciPy and the like are those of this interpreter for all revisions, so that a release of
theirs is not mistaken for a change of the package. Linux and macOS.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from .reference import bare

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "bench" / "baseline"
WORKLOAD = ROOT / "bench" / "workload.py"
SOURCES = ("cpp", "python", "CMakeLists.txt", "cmake", "pyproject.toml")
NOT_HAD = re.compile(
    r"from versions: none|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError"
)  # what pip says without a network
EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Exit)\b: ")
IDLE = re.compile(
    r'^(note|hint|File "|×|│|╰|\[|==\d+==)|: subprocess-exited-with-error|: '
    r"metadata-generation-failed"
)


class Failed(Exception):
    """Why nothing can be compared, in one line."""


@dataclass(frozen=True)
class Revision:
    """An interpreter that imports the package of a commit."""

    name: str
    commit: str  # with "+" where the working tree differs
    python: Path
    here: bool = False


def environment() -> dict[str, str]:
    """Without what would make revisions differ, or be the same: forced instruction sets,
    PYTHONPATH, PYTHONDONTWRITEBYTECODE.
    """
    return {
        k: v for k, v in os.environ.items() if k != "SEQSGD_SIMD" and not k.startswith("PYTHON")
    }


def reason(output: str) -> str:
    """The line of a program's output that says why it failed: the last exception, or the first
    error.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if not IDLE.search(line)] or lines or ["it says nothing"]
    raised = [line for line in telling if EXCEPTION.search(line)]
    return (
        raised[-1]
        if raised
        else next(
            (line for line in telling if re.search("error|fatal", line, re.IGNORECASE)), telling[-1]
        )
    )


def git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failed(
            "git is not installed, and the baseline comes from the repository's history"
        ) from None
    if done.returncode:
        raise Failed(f"git {arguments[0]}: {reason(done.stderr)}")
    return done.stdout.strip()


def baseline() -> str:
    """The stored one: the first word of bench/baseline."""
    words = BASELINE.read_text().split() if BASELINE.exists() else []
    if not words:
        raise Failed(
            f"{BASELINE} has no revision: expected the hash of a commit as its first word (or "
            "give --baseline)"
        )
    return words[0]


def commit_of(revision: str) -> str:
    """The hash of a revision's commit, which is in the repository."""
    if git("rev-parse", "--show-prefix"):
        raise Failed(
            f"{ROOT} is not the top of a git repository, and the baseline comes from the "
            "repository's history"
        )
    try:
        return git("rev-parse", "--verify", f"{revision}^{{commit}}")
    except Failed:
        shallow = git("rev-parse", "--is-shallow-repository") == "true"
        if re.fullmatch(r"[0-9a-f]{40}", revision):
            remedy = (
                "which is shallow: git fetch --unshallow"
                if shallow
                else f"git fetch origin {revision}"
            )
            raise Failed(
                f"commit {revision[:10]} is not in this clone{', ' if shallow else ': '}{remedy}"
            ) from None
        hint = (
            "; this clone is shallow, git fetch --unshallow --tags gets the rest" if shallow else ""
        )
        raise Failed(
            f"--baseline: expected a revision of this repository or 'here', got {revision!r}{hint}"
        ) from None


def here(name: str = "here") -> Revision:
    """What is installed where this runs; its commit is "unknown" without a repository."""
    try:
        if git("rev-parse", "--show-prefix"):
            raise Failed("some other repository")
        commit = git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES) else ""
        )
    except Failed:
        commit = "unknown"
    return Revision(name, commit, Path(sys.executable), here=name == "here")


def built(revision: str) -> Revision:
    """A revision from the cache, put there if need be: minutes. Raises Failed."""
    commit = commit_of(revision)
    home = (
        bare.cache() / "revisions" / f"{commit}-{sys.implementation.cache_tag}-{platform.machine()}"
    )
    home.parent.mkdir(parents=True, exist_ok=True)
    with _alone(home):
        if not (home / "done").exists():
            again = ", again: an earlier build did not finish" if home.exists() else ""
            print(
                f"building {revision} ({commit[:10]}) in {home}{again}", file=sys.stderr, flush=True
            )
            shutil.rmtree(home, ignore_errors=True)
            _build(commit, home)
            (home / "done").touch()
        _share(home)
    return Revision(revision, commit, _python(home))


def _python(home: Path) -> Path:
    return home / "venv" / "bin" / "python"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its process, however that ends."""
    import fcntl

    with home.with_name(home.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(commit: str, home: Path) -> None:
    home.mkdir()
    log = home / "log"

    def run(doing: str, *command: object) -> bytes:
        with log.open("a") as said:
            done = subprocess.run(
                [str(c) for c in command],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=said,
            )
            said.write(done.stdout.decode(errors="replace") if doing != "git archive" else "")
        if done.returncode:
            text = log.read_text()
            why = (
                reason(text)
                + "; is the package index within reach, which has the requirements of the build?"
                * bool(NOT_HAD.search(text))
            )
            raise Failed(f"{commit[:10]} could not be built: {doing}: {why}; all of it in {log}")
        return done.stdout

    with tarfile.open(fileobj=BytesIO(run("git archive", "git", "archive", commit))) as files:
        files.extractall(home / "source", filter="data")
    pip = find_spec("pip") is not None  # else the one that comes with Python
    run("venv", sys.executable, "-m", "venv", *["--without-pip"] * pip, home / "venv")
    installer = (
        [sys.executable, "-m", "pip", "--python", home / "venv"]
        if pip
        else [_python(home), "-m", "pip"]
    )
    run(
        "pip install",
        *installer,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        home / "source",
    )
    _share(home)
    run(
        "import",
        _python(home),
        "-P",
        "-c",
        "import sys, seqsgd; assert seqsgd.__file__.startswith(sys.prefix), seqsgd.__file__",
    )


def _share(home: Path) -> None:
    """This interpreter's packages, after the revision's own."""
    folders = dict.fromkeys(
        p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")
    )
    next((home / "venv" / "lib").glob("python*/site-packages")).joinpath("shared.pth").write_text(
        "".join(f"{p}\n" for p in folders)
    )
