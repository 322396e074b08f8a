"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_count = itertools.count()


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to, in the folder of `path`; it takes the place of `path` once written and synced, and vanishes on any error."""
    final = Path(path)
    part = final.with_name(f".{final.name}.{os.getpid()}-{next(_count)}.part")
    try:
        yield part
        with open(part, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(part, final)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":  # the new name itself must survive a power cut
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_folder(name: str, path: str | os.PathLike[str]) -> Path:
    """A path whose folder exists and can be written to, and which is no folder itself."""
    try:
        p = Path(path)
    except TypeError:
        raise TypeError(f"{name}: expected a path, got {path!r}") from None
    if p.is_dir():
        raise ValueError(f"{name}: expected a file, got the folder {str(p)!r}")
    if not p.parent.is_dir():
        raise ValueError(f"{name}: the folder {str(p.parent)!r} does not exist")
    if not os.access(p.parent, os.W_OK):
        raise ValueError(f"{name}: the folder {str(p.parent)!r} cannot be written to")
    return p
