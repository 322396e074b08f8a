"""The store: one SQLite file that holds every finished piece of a sweep, completely or not at
all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import _files
from .._seed import Seed
from ..errors import StoreError
from .owner import alive
from .piece import Outcome, Piece, checksum

FORMAT_VERSION = 1
APPLICATION = 0x53475344  # "SGSD"
BUSY = 60.0  # seconds to wait for another process's transaction
NETWORKED = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "afs",
    "9p",
    "fuse.",
    "glusterfs",
    "orangefs",
    "pvfs",
)  # no shared memory between hosts

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE cells (key BLOB PRIMARY KEY, input TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pieces (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL,
  first INTEGER NOT NULL, runs INTEGER NOT NULL, split INTEGER NOT NULL,
  header INTEGER NOT NULL, grid INTEGER NOT NULL, origin INTEGER NOT NULL,
  created TEXT NOT NULL, seconds REAL NOT NULL,
  checksum INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (key, first, runs));
CREATE TABLE failures (
  key BLOB, first INTEGER, runs INTEGER, error TEXT NOT NULL, traceback TEXT NOT NULL,
  created TEXT NOT NULL, PRIMARY KEY (key, first, runs));
CREATE TABLE sweeps (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, definition TEXT NOT NULL,
  keys BLOB NOT NULL);
CREATE TABLE claims (
  key BLOB, first INTEGER, owner TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (key, first)
) WITHOUT ROWID;
"""


def networked(path: Path) -> bool:
    """Return whether a path is on a file system shared by several machines (as far as Linux
    tells).
    """
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    where = str(path.resolve())
    inside = [
        (len(at), kind)
        for at, kind in mounts
        if where == at or where.startswith(at.rstrip("/") + "/")
    ]
    return bool(inside) and max(inside)[1].startswith(NETWORKED)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite as one line that names the file and what to do."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as e:  # the latter when SQLite quotes a damaged file
        text = " ".join(str(e).split())
        if "full" in text:
            advice = "; nothing that was stored is lost, make room and run again"
        elif "readonly" in text or "unable to open" in text:
            advice = "; is the folder writable?"
        elif "locked" in text:
            advice = f"; another process has kept it for more than {BUSY:.0f} s"
        elif "not a database" in text or "malformed" in text or isinstance(e, UnicodeDecodeError):
            netcdf = _files.kind(path) == "netCDF"
            advice = (
                "; it is a netCDF file, which seqsgd.load or xarray reads"
                if netcdf
                else "; it is not a store of sweeps, or was damaged"
            )
        else:
            advice = "; what was stored before is not touched, run again"
        raise StoreError(f"store: {str(path)!r}: {text}{advice}") from None


def check_format(path: Path, connection: sqlite3.Connection) -> bool:
    """Refuse files of other programs and of newer versions. Return False for an empty file."""
    # In one look: somebody may be making the store right now.
    look = (
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) FROM "
        "pragma_application_id, pragma_user_version"
    )
    application, version, things = connection.execute(look).fetchone()
    if application == 0 and version == 0 and not things:
        return False
    if application != APPLICATION:
        raise StoreError(
            f"store: {str(path)!r} is a database of another program, not a store of sweeps"
        )
    if version > FORMAT_VERSION:
        raise StoreError(
            f"store: {str(path)!r} has format {version}, this version of seqsgd reads up to "
            f"{FORMAT_VERSION}; update seqsgd"
        )
    return True


class Store:
    """A store opened for writing. Other processes may have it open too: the piece stored first is
    kept.

    Parameters
    ----------
    path : path
        Created if it does not exist.
    durable : bool
        False for a temporary file, which need not survive.
    """

    def __init__(self, path: str | os.PathLike[str], *, durable: bool = True) -> None:
        try:
            self.path = _files.check_folder("store", path, longer=len("-journal"))
        except ValueError as e:
            raise StoreError(str(e)) from None
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise StoreError(f"store: the file {str(self.path)!r} cannot be written to")
        with store_errors(self.path):
            self._db = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
            try:
                check_format(self.path, self._db)
                self._journal(durable)
                with self._transaction():
                    if not check_format(self.path, self._db):
                        for statement in _SCHEMA.split(";"):
                            self._db.execute(statement)
                        self._db.execute(f"PRAGMA application_id={APPLICATION}")
                        self._db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
            except BaseException:
                self._db.close()
                raise
        self._texts: dict[bytes, int] = {}

    def _journal(self, durable: bool) -> None:
        """Use a write-ahead log if it works, otherwise a rollback journal.

        Both survive a kill at any moment; the latter syncs at every transaction.
        """
        mode = ""
        if durable and not networked(self.path):
            for _ in range(100):  # SQLite does not wait for others here
                try:
                    mode = str(self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0])
                    break
                except sqlite3.OperationalError as e:
                    if "locked" not in str(e):
                        break
                    time.sleep(0.05)
        if mode != "wal" and durable:
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute(
            f"PRAGMA synchronous={'OFF' if not durable else 'NORMAL' if mode == 'wal' else 'FULL'}"
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def entropy(self) -> Seed:
        """Return the seed of sweeps without `rng`; it is drawn once."""
        with store_errors(self.path), self._transaction():
            fresh = json.dumps(Seed.of(None).to_plain())
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('entropy', ?)", (fresh,))
            return Seed.from_plain(
                json.loads(
                    self._db.execute("SELECT value FROM meta WHERE name = 'entropy'").fetchone()[0]
                )
            )

    def begin(self, definition: str, keys: bytes) -> None:
        """Store the definition of a sweep: how to label the cells, and their keys in order.

        `open_sweep` shows the latest definition.
        """
        name = hashlib.sha256(definition.encode() + keys).digest()
        with store_errors(self.path), self._transaction():
            last = self._db.execute("SELECT hash FROM sweeps ORDER BY id DESC LIMIT 1").fetchone()
            if last is None or last[0] != name:
                self._db.execute(
                    "INSERT OR REPLACE INTO sweeps (hash, definition, keys) VALUES (?, ?, ?)",
                    (name, definition, keys),
                )

    def there(
        self, keys: Iterable[bytes] | None = None
    ) -> dict[bytes, list[tuple[int, int, bool]]]:
        """Return (first, runs, whether its runs can be separated) of the stored pieces, of some
        cells or of all.
        """
        found: dict[bytes, list[tuple[int, int, bool]]] = {}
        with store_errors(self.path):
            if keys is None:
                rows: Iterable[Any] = self._db.execute("SELECT key, first, runs, split FROM pieces")
            else:
                rows = (
                    row
                    for key in keys
                    for row in self._db.execute(
                        "SELECT key, first, runs, split FROM pieces WHERE key = ?", (key,)
                    )
                )
            for key, first, runs, split in rows:
                found.setdefault(key, []).append((first, runs, bool(split)))
        return found

    def put(self, outcomes: Sequence[Outcome], inputs: dict[bytes, str]) -> None:
        """Store pieces and failures in one transaction and end the claims on them."""
        with store_errors(self.path), self._transaction():
            known = dict(self._texts)
            for o in outcomes:
                where = (o.key, o.first, o.runs)
                if o.error:
                    self._db.execute(
                        "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                        (*where, o.error, o.traceback, o.created),
                    )
                    self._db.execute(
                        "INSERT OR IGNORE INTO cells VALUES (?, ?)", (o.key, inputs[o.key])
                    )
                else:
                    texts = [
                        self._text(t, known) for t in (o.header.encode(), o.grid, o.origin.encode())
                    ]
                    self._db.execute(
                        "INSERT OR IGNORE INTO cells VALUES (?, ?)", (o.key, inputs[o.key])
                    )
                    self._db.execute(
                        "INSERT OR IGNORE INTO pieces (key, first, runs, split, header, grid, "
                        "origin, created, seconds, checksum, data) VALUES (?, ?, ?, ?, ?, ?, ?, "
                        "?, ?, ?, ?)",
                        (
                            *where,
                            '"run"' in o.header,
                            *texts,
                            o.created,
                            o.seconds,
                            checksum(o.data),
                            o.data,
                        ),
                    )
                    self._db.execute(
                        "DELETE FROM failures WHERE key = ? AND first < ? AND first + runs > ?",
                        (o.key, o.first + o.runs, o.first),
                    )
                self._db.execute("DELETE FROM claims WHERE key = ? AND first = ?", (o.key, o.first))
        self._texts = known

    def _text(self, body: bytes, known: dict[bytes, int]) -> int:
        """Return the number of a text that many pieces share."""
        name = hashlib.sha256(body).digest()
        if name not in known:
            self._db.execute("INSERT OR IGNORE INTO texts (hash, body) VALUES (?, ?)", (name, body))
            known[name] = int(
                self._db.execute("SELECT id FROM texts WHERE hash = ?", (name,)).fetchone()[0]
            )
        return known[name]

    def claim(self, pieces: Sequence[Piece], owner: str, seconds: float) -> list[bool]:
        """Claim the pieces that no other process computes, and return them."""
        now, got = time.time(), []
        with store_errors(self.path), self._transaction():
            for p in pieces:
                changed = self._db.execute(
                    "INSERT INTO claims VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET owner = "
                    "excluded.owner, until = excluded.until WHERE until < ? OR owner = "
                    "excluded.owner",
                    (p.key, p.run.first_run, owner, now + seconds, now),
                ).rowcount
                got.append(changed > 0)
        return got

    def renew(self, owner: str, seconds: float) -> None:
        """Extend claims for a while."""
        with store_errors(self.path), self._transaction():
            self._db.execute(
                "UPDATE claims SET until = ? WHERE owner = ?", (time.time() + seconds, owner)
            )

    def release(self, owner: str | None = None) -> None:
        """End the claims of one owner; None ends those of all dead processes."""
        with store_errors(self.path):
            owners = (
                [owner]
                if owner
                else [
                    o
                    for (o,) in self._db.execute("SELECT DISTINCT owner FROM claims")
                    if not alive(o)
                ]
            )
            if owners:
                with self._transaction():
                    self._db.executemany(
                        "DELETE FROM claims WHERE owner = ?", [(o,) for o in owners]
                    )

    def close(self) -> None:
        """Leave one plain file, unless other processes use it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout=0")
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()
