"""Read a store, also while another process writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import _files
from .._seed import Seed
from .._signals import signalled
from ..errors import StoreError
from .piece import CELLS, checksum
from .scratch import Folder
from .store import BUSY, check_format, store_errors


class Stored(NamedTuple):
    """A stored piece without its data."""

    id: int
    key: bytes
    first: int
    runs: int
    split: bool
    header: int
    grid: int
    origin: int
    created: str
    seconds: float


class Failure(NamedTuple):
    """A piece that failed."""

    key: bytes
    first: int
    runs: int
    error: str
    traceback: str
    created: str


class Reader:
    """A store opened for reading; nothing is changed, and its folder may be read-only."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _files.check_path("store", path)
        self.owner: object = None
        if not self.path.is_file():
            raise StoreError(f"store: there is no file {str(self.path)!r}")
        with self._open() as db:
            if not check_format(self.path, db):
                raise StoreError(f"store: {str(self.path)!r} is empty")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        where = self.path.resolve().as_uri()
        with store_errors(self.path):
            db = sqlite3.connect(f"{where}?mode=ro", timeout=BUSY, uri=True, isolation_level=None)
            try:
                db.execute("SELECT 1 FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:  # in a read-only place
                db.close()
                db = sqlite3.connect(f"{where}?immutable=1", uri=True, isolation_level=None)
            with contextlib.closing(db):
                yield db

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the path of the store; of a temporary store, all its contents."""
        if self.owner is None:
            return {"path": str(self.path.resolve())}
        folder = Folder()
        copy = folder.path / "copy"
        with self._open() as db, contextlib.closing(sqlite3.connect(copy)) as to:
            db.backup(to)
        return {"contents": copy.read_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.owner = None
        if "contents" in state:
            folder = Folder()
            (folder.path / "sweep").write_bytes(state["contents"])
            self.owner, state = folder, {"path": folder.path / "sweep"}
        self.path = Path(state["path"])

    def damaged(self, why: object) -> StoreError:
        """Return the error to raise if the contents are invalid."""
        text = " ".join(str(why).split()) or type(why).__name__
        return StoreError(
            f"store: {str(self.path)!r} is damaged ({text}); what is intact can be kept by "
            "sweeping again into another store"
        )

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Turn any error while reading stored contents into a StoreError for damage."""
        try:
            yield
        except StoreError:
            raise
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as e:
            if signalled(e):
                raise
            raise self.damaged(e) from e

    def entropy(self) -> Seed | None:
        """Return the seed of sweeps without `rng`, if one was drawn."""
        with self._open() as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'entropy'").fetchone()
        return Seed.from_plain(json.loads(row[0])) if row else None

    def there(self) -> dict[bytes, list[tuple[int, int, bool]]]:
        """Return stored runs, as Store.there does."""
        found: dict[bytes, list[tuple[int, int, bool]]] = {}
        for s in self.pieces(None):
            found.setdefault(s.key, []).append((s.first, s.runs, s.split))
        return found

    def last(self) -> tuple[str, np.ndarray[Any, Any]]:
        """Return the definition of the latest sweep, with keys and runs of its cells."""
        with self._open() as db:
            row = db.execute(
                "SELECT definition, keys, hash FROM sweeps ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if row is None:
            raise StoreError(f"store: {str(self.path)!r} contains no sweep")
        definition, keys, name = row
        with self.whole():
            if hashlib.sha256(definition.encode() + keys).digest() != name:
                raise self.damaged("the definition of the sweep has changed")
            return definition, np.frombuffer(keys, CELLS)

    def pieces(self, keys: set[bytes] | None) -> list[Stored]:
        """Return all pieces, or those of some cells, in the order in which they were stored."""
        with self._open() as db:
            rows = db.execute(
                "SELECT id, key, first, runs, split, header, grid, origin, created, seconds FROM "
                "pieces ORDER BY id"
            )
            return [Stored(*row) for row in rows if keys is None or row[1] in keys]

    def texts(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Return headers, grids and origins by number."""
        with self._open() as db:
            found = {
                i: db.execute("SELECT body, hash FROM texts WHERE id = ?", (i,)).fetchone()
                for i in set(ids)
            }
        for i, row in found.items():
            if (
                row is None
                or not isinstance(row[0], bytes)
                or hashlib.sha256(row[0]).digest() != row[1]
            ):
                raise self.damaged(f"text {i} is missing or has changed")
        return {i: body for i, (body, _) in found.items()}

    def data(self, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the data of pieces, each checked, in ascending order."""
        with self._open() as db:
            ids = sorted(ids)
            if len(ids) > 500 and ids[-1] - ids[0] < 4 * len(ids):  # one pass over the table
                wanted = set(ids)
                rows: Iterable[Any] = (
                    r
                    for r in db.execute(
                        "SELECT id, checksum, data FROM pieces WHERE id BETWEEN ? AND ? ORDER BY "
                        "id",
                        (ids[0], ids[-1]),
                    )
                    if r[0] in wanted
                )
            else:
                rows = (
                    row
                    for i in ids
                    for row in db.execute(
                        "SELECT id, checksum, data FROM pieces WHERE id = ?", (i,)
                    )
                )
            for i, check, data in rows:
                if not isinstance(data, bytes) or checksum(data) != check:
                    raise StoreError(
                        f"store: {str(self.path)!r}: piece {i} is damaged; delete it (DELETE FROM "
                        f"pieces WHERE id = {i}) and run again"
                    )
                yield i, data

    def inputs(self, keys: set[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return `arguments` and `task_repr` of the cells that were begun."""
        with self._open() as db, self.whole():
            return {
                key: json.loads(text)
                for key, text in db.execute("SELECT key, input FROM cells")
                if key in keys
            }

    def failures(self, keys: set[bytes]) -> list[Failure]:
        """Return the failures of pieces that have not succeeded since."""
        with self._open() as db:
            return [
                Failure(*row)
                for row in db.execute(
                    "SELECT key, first, runs, error, traceback, created FROM failures"
                )
                if row[0] in keys
            ]
