"""The folder beside a store: checkpoints of long pieces, and signs of life between a sweep and its
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
    """A folder for a store without a name; it goes when this object does."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="seqsgd-"))
        weakref.finalize(self, shutil.rmtree, str(self.path), True)


class Scratch:
    """`work` holds checkpoints and stays while there are any; `life` is this sweep's own."""

    def __init__(self, store: Path) -> None:
        self.work = store.with_name(store.name + "-work")
        self.work.mkdir(exist_ok=True)
        self._clear()
        self.life = Path(tempfile.mkdtemp(prefix="life-", dir=self.work))
        self._go = self.life / "go"
        self._go.write_text(name())
        self._beaten = time.monotonic()

    def _clear(self) -> None:
        """What killed sweeps left, among it what a kill left half made or half taken away, which
        names nobody.
        """
        for life in self.work.glob("life-*"):
            with contextlib.suppress(OSError):
                go = life / "go"
                owner = go.read_text() if go.exists() else ""
                if not alive(owner) if owner else time.time() - life.stat().st_mtime > MADE:
                    shutil.rmtree(life)

    def beat(self) -> bool:
        """Be seen to live; true once in ten seconds."""
        if time.monotonic() - self._beaten < BEAT:
            return False
        self._beaten = time.monotonic()
        with contextlib.suppress(OSError):
            os.utime(self._go)
        return True

    def progress(self, numbers: Iterable[int]) -> int:
        """Run-steps done by the orders under way, as far as they can be seen."""
        total = 0
        for number in numbers:
            with contextlib.suppress(OSError, ValueError):
                total += int((self.life / f"{number}.progress").read_text() or 0)
        return total

    def begun(self, number: int) -> bool:
        """Whether a worker has taken an order up, as far as can be seen."""
        return (self.life / f"{number}.progress").exists()

    def forget(self, stem: str) -> None:
        """A piece is stored: its checkpoint goes, and what is left of those that a kill cut short."""
        for path in (self.work / f"{stem}.npz", *self.work.glob(f".{stem}.npz.*.part")):
            path.unlink(missing_ok=True)

    def tidy(self, there: Mapping[bytes, Sequence[tuple[int, int, bool]]]) -> None:
        """Take away what workers of killed sweeps have left of pieces that are stored."""
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
        """Whether there are files beside our own."""
        return any(path.suffix in (".npz", ".part") for path in self.work.iterdir())

    def stop(self) -> None:
        """Tell the workers that nobody waits any more."""
        self._go.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave checkpoints, if there are any, and nothing else."""
        self.stop()
        shutil.rmtree(self.life, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.work.rmdir()
