"""The store: what it refuses, what it survives, and several processes on one."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import seqsgd as sq
from helpers import environment
from seqsgd.sweeps import owner, store
from seqsgd.sweeps.piece import gaps
from sweeping import BASE, GRID, files, same, until


@pytest.fixture
def made(tmp_path):
    """A store with a sweep in it."""
    sq.sweep(BASE, GRID, rng=0, store=tmp_path / "s")
    return tmp_path / "s"


def refused(path, said):
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(sq.StoreError) as caught:
        sq.sweep(BASE, GRID, rng=1, store=path)
    assert str(caught.value).startswith(f"store: {said}") and "\n" not in str(caught.value), str(
        caught.value
    )
    assert (path.read_bytes() if path.is_file() else None) == before


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    text, other, folder = tmp_path / "text", tmp_path / "other", tmp_path / "folder"
    text.write_text("dear diary, " * 1000)
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    folder.mkdir()
    refused(
        text, f"{str(text)!r}: file is not a database; it is not a store of sweeps, or was damaged"
    )
    refused(other, f"{str(other)!r} is a database of another program, not a store of sweeps")
    refused(folder, f"expected a file, got the folder {str(folder)!r}")
    refused(tmp_path / "no" / "where", f"the folder {str(tmp_path / 'no')!r} does not exist")
    for path in (text, other, tmp_path / "none"):
        with pytest.raises(sq.StoreError, match="^store: "):
            sq.open_sweep(path)
    with pytest.raises(TypeError, match="^store: expected a path, got 3.5"):
        sq.sweep(BASE, GRID, store=3.5)
    assert files(tmp_path) == ["folder", "other", "text"]


def test_a_newer_store_is_refused(made):
    with sqlite3.connect(made) as db:
        db.execute(f"PRAGMA user_version={store.FORMAT_VERSION + 1}")
    db.close()
    refused(
        made, f"{str(made)!r} has format 2, this version of seqsgd reads up to 1; update seqsgd"
    )
    with pytest.raises(sq.StoreError, match="has format 2, this version"):
        sq.open_sweep(made)


READ_ONLY = """
import os, sys
import seqsgd as sq
from sweeping import BASE, GRID

repr(sq.sweep(BASE, GRID, rng=0).dataset)  # everything is imported by now, which may lie where others cannot read
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(sq.open_sweep(sys.argv[1]).cells_done, len(sq.open_sweep(sys.argv[1]).dataset))
for path in sys.argv[1:]:
    try:
        sq.sweep(BASE, GRID, rng=1, store=path)
    except sq.StoreError as e:
        print(e)
"""


@pytest.mark.slow
def test_a_read_only_place(made):
    """As a user for whom it is one: root may write everywhere."""
    before = sq.open_sweep(made).dataset
    locked = Path(tempfile.mkdtemp())
    try:
        for name in ("journal", "wal"):  # the latter as a crash leaves it
            shutil.copy(made, locked / name)
        with contextlib.closing(sqlite3.connect(locked / "wal")) as db:
            db.execute("PRAGMA journal_mode=WAL")
        for path in locked.iterdir():
            os.chmod(path, 0o444)
        os.chmod(locked, 0o555)
        for name in ("journal", "wal"):
            words = [sys.executable, "-c", READ_ONLY, str(locked / name), str(locked / "new")]
            done = subprocess.run(
                words,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=100,
                env=environment(),
            )
            assert done.stdout.splitlines() == [
                f"12 {len(before)}",
                *[f"store: the folder {str(locked)!r} cannot be written to"] * 2,
            ], done.stderr
            same(sq.open_sweep(locked / name).dataset, before)
    finally:
        os.chmod(locked, 0o755)
        shutil.rmtree(locked)


def test_a_full_disk_loses_nothing(made, monkeypatch):
    """SQLite's own limit on pages takes the same way through its code as a full disk."""
    before = sq.open_sweep(made)
    kept = before.dataset
    init = store.Store.__init__

    def small(self, *arguments, **rest):
        init(self, *arguments, **rest)
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count={pages + 12}")

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "__init__", small)
        with pytest.raises(
            sq.StoreError,
            match=r"^store: '.*': database or disk is full; nothing that was stored is lost, make "
            r"room and run again$",
        ):
            sq.sweep(
                BASE,
                {"lr": [0.05, 0.1, 0.2], "task.teacher.omega": {"linspace": [0, 1, 40]}},
                rng=0,
                store=made,
            )
    with sqlite3.connect(made) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    same(sq.sweep(BASE, GRID, rng=0, store=made), kept)
    more = {"lr": [0.05, 0.1, 0.2], "task.teacher.omega": {"linspace": [0, 1, 40]}}
    same(sq.sweep(BASE, more, rng=0, store=made), sq.sweep(BASE, more, rng=0))
    assert files(made.parent) == ["s"]


def test_without_a_write_ahead_log(tmp_path, monkeypatch):
    """On network file systems."""
    monkeypatch.setattr(store, "networked", lambda path: True)
    modes = []
    journal = store.Store._journal

    def noted(self, durable):
        journal(self, durable)
        modes.append(
            (
                self._db.execute("PRAGMA journal_mode").fetchone()[0],
                self._db.execute("PRAGMA synchronous").fetchone()[0],
            )
        )

    monkeypatch.setattr(store.Store, "_journal", noted)
    same(sq.sweep(BASE, GRID, rng=0, store=tmp_path / "s"), sq.sweep(BASE, GRID, rng=0))
    monkeypatch.setattr(store, "networked", lambda path: False)
    sq.sweep(BASE, GRID, rng=0, store=tmp_path / "s")
    assert modes[0] == ("delete", 2) and modes[-1] == ("wal", 1)  # 2: FULL, 1: NORMAL


def test_file_systems_are_recognised(tmp_path, monkeypatch):
    assert not store.networked(tmp_path)
    text = "/dev/vda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/b /home/local xfs rw 0 0\n"
    monkeypatch.setattr(store.Path, "read_text", lambda self: text)
    assert [
        store.networked(store.Path(p))
        for p in ("/tmp/s", "/home/me/s", "/home/local/s", "/homely/s")
    ] == [False, True, False, False]


def test_one_plain_file_is_left(made):
    assert files(made.parent) == ["s"]
    with sqlite3.connect(made) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()


def test_a_damaged_piece_is_noticed(made):
    with sqlite3.connect(made) as db:
        data = bytearray(db.execute("SELECT data FROM pieces WHERE id = 3").fetchone()[0])
        data[100] ^= 1
        db.execute("UPDATE pieces SET data = ? WHERE id = 3", (bytes(data),))
    db.close()
    with pytest.raises(
        sq.StoreError,
        match=r"piece 3 is damaged; delete it \(DELETE FROM pieces WHERE id = 3\) and run again",
    ):
        sq.open_sweep(made).dataset
    with sqlite3.connect(made) as db:
        db.execute("DELETE FROM pieces WHERE id = 3")
    db.close()
    assert sq.open_sweep(made).cells_done == 11
    same(sq.sweep(BASE, GRID, rng=0, store=made), sq.sweep(BASE, GRID, rng=0))


def test_several_sweeps_in_one_store(made):
    other = sq.sweep(BASE | {"d": 25}, {"lr": [0.3]}, rng=0, store=made)
    assert sq.open_sweep(made).dims == ("lr",)
    same(sq.open_sweep(made), other)
    again = sq.sweep(BASE, GRID, rng=0, store=made)
    assert sq.open_sweep(made).dims == ("omega", "lr")
    same(again, sq.sweep(BASE, GRID, rng=0))


TWO = """
import sys
import seqsgd as sq
from seqsgd.sweeps import drive, worker
from sweeping import BASE

computed = 0
def counted(*arguments):
    global computed
    computed += 1
    return worker.compute_piece(*arguments)

drive.compute_piece = counted
base = BASE | {"steps": 20_000, "runs": 1}
r = sq.sweep(base, {"task.teacher.omega": {"linspace": [0.0, 1.0, 60]}, "lr": [0.1, 0.2]}, rng=0, store=sys.argv[1])
print(computed, r.cells_done)
"""


@pytest.mark.slow
def test_two_processes_share_the_cells_of_one_store(tmp_path):
    """Begun on nothing at the same moment; each cell is computed by one of them, and both have all
    in the end.
    """
    words = [sys.executable, "-c", TWO, str(tmp_path / "s")]
    both = [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(2)
    ]
    said = [p.communicate(timeout=100) for p in both]
    assert all(p.returncode == 0 for p in both), said
    (a, all_a), (b, all_b) = ([int(x) for x in out.split()] for out, _ in said)
    print(f"{a} and {b} cells")
    assert all_a == all_b == 120 and a + b == 120
    base = BASE | {"steps": 20_000, "runs": 1}
    same(
        sq.open_sweep(tmp_path / "s"),
        sq.sweep(
            base, {"task.teacher.omega": {"linspace": [0.0, 1.0, 60]}, "lr": [0.1, 0.2]}, rng=0
        ),
    )
    assert files(tmp_path) == ["s"]


def test_claims(tmp_path):
    s = store.Store(tmp_path / "s")
    cells = sq.Sweep(BASE, GRID, rng=0).cells()
    from seqsgd.sweeps.cost import Cost
    from seqsgd.sweeps.tasks import pieces

    (p, _), (q, _) = pieces(cells, [0, 1], [Cost(1.0, True)] * 2, {}, tmp_path)
    me, host, dead = owner.name(), "elsewhere:1:2", f"{owner.name().split(':')[0]}:999999:1"
    assert owner.alive(me) and owner.alive(host) and not owner.alive(dead)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            owner, "_born", lambda pid: ""
        )  # there, but the system does not tell us of it
        assert owner.alive(me) and not owner.alive(dead)
    assert (
        s.claim([p], host, 100) == [True]
        and s.claim([p, q], me, 100) == [False, True]
        and s.claim([q], me, 100) == [True]
    )
    s.release()
    assert s.claim([p], me, 100) == [False]  # another machine's: nobody knows
    assert s.claim([p], host, -1) == [True] and s.claim([p], me, 100) == [True]  # it has run out
    s.release(me)
    assert s.claim([p, q], dead, 100) == [True, True] and s.claim([p], me, 100) == [False]
    s.release()
    assert s.claim([p, q], me, 100) == [True, True]
    s.close()


def test_gaps():
    assert (
        gaps(0, 10, []) == [(0, 10)]
        and gaps(0, 10, [(0, 10, True)]) == gaps(2, 3, [(0, 10, True)]) == []
    )
    assert gaps(0, 10, [(2, 3, True), (4, 2, True), (8, 5, True)]) == [(0, 2), (6, 2)]
    assert gaps(5, 5, [(0, 3, True), (12, 3, True), (7, 1, True)]) == [(5, 2), (8, 2)]
    assert (
        gaps(0, 10, [(0, 5, False)]) == [(0, 10)] and gaps(0, 5, [(0, 5, False)]) == []
    )  # runs that cannot be told apart


def test_a_format_is_looked_at_once(tmp_path):
    """Of several looks some may fall before the store is made and some after, and together they
    tell of something else.
    """
    path, looks = tmp_path / "s", []

    class Watched:
        def execute(self, sql):
            looks.append(sql)
            return db.execute(sql)

    with contextlib.closing(sqlite3.connect(path)) as db:
        assert not store.check_format(path, Watched())
        store.Store(path).close()
        assert store.check_format(path, Watched())
    assert len(looks) == 2


@pytest.mark.slow
def test_a_result_can_be_looked_at_while_it_grows(tmp_path):
    base = BASE | {"steps": 20_000, "runs": 1}
    grid = {"rng": {"range": [200]}}
    code = (
        f"import sys, seqsgd as sq\nfrom sweeping import BASE\nsq.sweep(BASE | {{'steps': 20_000, "
        f"'runs': 1}}, {grid!r}, store=sys.argv[1])"
    )
    p = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        env=environment(),
    )
    seen = []

    def look():
        try:
            r = sq.open_sweep(tmp_path / "s")
            seen.append(r.cells_done)
            if seen[-1]:
                done = np.isfinite(r.open()["steps_done"].values).sum()
                assert done >= seen[-1]
        except sq.StoreError as e:
            assert "no file" in str(e) or "is empty" in str(e) or "no sweep" in str(e), e
        return p.poll() is not None

    until(look, 60)
    assert (
        p.returncode == 0
        and seen == sorted(seen)
        and sq.open_sweep(tmp_path / "s").cells_done == 200
    )
    same(sq.open_sweep(tmp_path / "s"), sq.sweep(base, grid))
