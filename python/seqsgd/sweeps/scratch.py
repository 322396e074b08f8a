"""The folder next to a store: checkpoints of long pieces, and heartbeats between a sweep and its
workers.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .owner import alive, name
from .piece import gaps

BEAT = 10.0  # seconds between signs of life
MADE = 10.0  # seconds in which a sweep has made its folder, or taken it away


class Folder:
    """A temporary folder for a store without a name; it is deleted with this object."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="seqsgd-"))
        weakref.finalize(self, shutil.rmtree, str(self.path), True)


class Scratch:
    """`work` holds checkpoints and stays while there are any; `life` belongs to this sweep only."""

    def __init__(self, store: Path) -> None:
        self.work = store.with_name(store.name + "-work")
        self.work.mkdir(exist_ok=True)
        self._clear()
        self.life = Path(tempfile.mkdtemp(prefix="life-", dir=self.work))
        self._go = self.life / "go"
        self._go.write_text(name())
        self._beaten = time.monotonic()

    def _clear(self) -> None:
        """Delete what killed sweeps have left, including half-created and half-deleted folders."""
        for life in self.work.glob("life-*"):
            with contextlib.suppress(OSError):
                go = life / "go"
                owner = go.read_text() if go.exists() else ""
                if not alive(owner) if owner else time.time() - life.stat().st_mtime > MADE:
                    shutil.rmtree(life)

    def beat(self) -> bool:
        """Renew the heartbeat; true once in ten seconds."""
        if time.monotonic() - self._beaten < BEAT:
            return False
        self._beaten = time.monotonic()
        with contextlib.suppress(OSError):
            os.utime(self._go)
        return True

    def progress(self, numbers: Iterable[int]) -> int:
        """Return the run-steps done by running jobs, as far as they are visible."""
        total = 0
        for number in numbers:
            with contextlib.suppress(OSError, ValueError):
                total += int((self.life / f"{number}.progress").read_text() or 0)
        return total

    def begun(self, number: int) -> bool:
        """Return whether a worker has started a job, as far as this is visible."""
        return (self.life / f"{number}.progress").exists()

    def forget(self, stem: str) -> None:
        """Delete the checkpoint of a stored piece, and what interrupted writes have left of it."""
        for path in (self.work / f"{stem}.npz", *self.work.glob(f".{stem}.npz.*.part")):
            path.unlink(missing_ok=True)

    def tidy(self, there: Mapping[bytes, Sequence[tuple[int, int, bool]]]) -> None:
        """Delete what workers of killed sweeps have left of stored pieces."""
        keys = {key.hex()[:32]: key for key in there}
        for path in self.work.iterdir():
            match = re.match(r"\.?([0-9a-f]{32})-(\d+)-(\d+)\.npz", path.name)
            if (
                match
                and match[1] in keys
                and not gaps(int(match[2]), int(match[3]), there[keys[match[1]]])
            ):
                path.unlink(missing_ok=True)

    def left(self) -> bool:
        """Return whether there are files of other sweeps."""
        return any(path.suffix in (".npz", ".part") for path in self.work.iterdir())

    def stop(self) -> None:
        """Tell the workers that their results are no longer needed."""
        self._go.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete everything except checkpoints."""
        self.stop()
        shutil.rmtree(self.life, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.work.rmdir()
