"""Revisions of the package, each in an environment of its own: sources by `git archive`, installed into a venv, kept by the commit's hash."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .reference import bare

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "bench" / "baseline"


@dataclass(frozen=True)
class Revision:
    """An interpreter that imports the package of a commit."""

    name: str
    commit: str  # with "+" where the working tree differs
    python: Path


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def baseline() -> str:
    """The stored one: the first word of bench/baseline."""
    return BASELINE.read_text().split()[0]


def here(name: str = "here") -> Revision:
    """What is installed where this runs."""
    dirty = "+" if git("status", "--porcelain", "--untracked-files=no", "cpp", "python", "CMakeLists.txt", "pyproject.toml") else ""
    return Revision(name, git("rev-parse", "HEAD") + dirty, Path(sys.executable))


def built(revision: str) -> Revision:
    """A revision from the cache, put there if need be: minutes."""
    commit = git("rev-parse", f"{revision}^{{commit}}")
    home = bare.cache() / "revisions" / commit
    python = home / "venv" / "bin" / "python"
    if not (home / "done").exists():
        print(f"building {revision} ({commit[:10]}) in {home}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(home / "source", filter="data")
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
        for what in ("pip", str(home / "source")):
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", what], check=True)
        (home / "done").touch()
    return Revision(revision, commit, python)
