"""What is fuzzed: each takes bytes, does with them what a reader would, and lets through nothing
but errors that are not documented.

`fuzz.py` lets atheris (libFuzzer) look for bytes; `test_targets.py` runs them on a few hundred
mutations of valid files.
"""

from __future__ import annotations

import atexit
import io
import json
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import seqsgd as sq
from seqsgd.cli import runfile, sweepfile

FOLDER = Path(tempfile.mkdtemp(prefix="seqsgd-fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
TASK = sq.Task(
    sq.PositionalSemantic(omega=0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
)
ARGUMENTS: dict[str, Any] = {
    "task": TASK,
    "d": 10,
    "steps": 40,
    "lr": 0.1,
    "runs": 2,
    "record": sq.Every(10),
    "stop": sq.WeakRecovery(0.9),
    "threads": 1,
}


class Bytes:
    """Numbers and choices out of bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, n: int) -> bytes:
        part = self._data[self._at : self._at + n]
        self._at += n
        return part.ljust(n, b"\0")

    def integer(self, n: int = 1) -> int:
        return int.from_bytes(self.take(n), "little")

    def signed(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little", signed=True)

    def choice(self, of: Any) -> Any:
        return of[self.integer() % len(of)]


def mutated(valid: bytes, b: Bytes) -> bytes:
    """Some bytes of a valid file overwritten, cut out or inserted."""
    data = bytearray(valid)
    while b and data:
        what, at, n = b.integer() % 4, b.integer(3) % len(data), b.integer()
        if what == 0:
            data[at : at + 1] = b.take(1)
        elif what == 1:
            data[at : at + 8] = b.take(8)
        elif what == 2:
            del data[at : at + n]
        else:
            data[at:at] = b.take(n % 16)
    return bytes(data)


def path(name: str, data: bytes) -> Path:
    p = FOLDER / name
    for old in FOLDER.glob(f"{name}*"):
        old.unlink()
    p.write_bytes(data)
    return p


def run_file(data: bytes) -> None:
    try:
        runfile.read(path("run.toml", data))
    except sq.ConfigError:
        pass


def sweep_file(data: bytes) -> None:
    try:
        sweepfile.read(path("sweep.toml", data))
    except sq.ConfigError:
        pass


def setting(data: bytes) -> None:
    """`--set key=value` texts."""
    text = data.decode("utf-8", "replace")
    try:
        runfile.parse(
            tree := {"base": json.loads(json.dumps(BASE))}, sets=runfile._sets(tree, [text])
        )
    except sq.ConfigError:
        pass


BASE = {
    "task": {
        "teacher": {"type": "SSI", "link": "sum", "L": 2},
        "student": {"type": "Tied", "sigma": "relu"},
    },
    "d": 10,
    "steps": 10,
    "lr": 0.1,
}


def hermite(data: bytes) -> None:
    """Terms of any shape; what is accepted has a finite risk at the start and can be simulated."""
    b = Bytes(data)

    def number() -> Any:
        kind = b.integer() % 8
        if kind < 3:
            return b.integer() % 9
        if kind == 3:
            return b.signed(8)
        if kind == 4:
            return float(np.frombuffer(b.take(8))[0])
        return b.choice(
            [
                None,
                True,
                "1",
                "x",
                1.5,
                -1,
                2**70,
                float("nan"),
                [],
                {},
                np.int64(2),
                np.float32(0.5),
                1e308,
            ]
        )

    terms: Any = []
    while b and len(terms) < 6:
        pairs = [(number(), number()) for _ in range(b.integer() % 4)]
        try:
            factors: Any = dict(pairs) if b.integer() % 3 else pairs
        except TypeError:  # not a key
            factors = pairs
        terms.append(
            b.choice(
                [(number(), factors), [number(), factors], (1.0, factors), (number(),), factors]
            )
        )
    try:
        link = sq.Hermite(terms)
        task = sq.Task(sq.SSI(link, L=max(1, link.tokens)), sq.Tied("relu"))
    except (TypeError, ValueError):
        return
    assert all(
        np.isfinite(c) and all(1 <= t and 0 < k <= 30 for t, k in factors)
        for c, factors in link.terms
    )
    assert repr(eval(repr(link), {"Hermite": sq.Hermite})) == repr(link)
    if task.L <= 64:
        y = task.target(np.zeros((2, task.L)))
        assert (y.shape == (2, 1) and np.isfinite(y).all()) or max(
            abs(c) for c, _ in link.terms
        ) > 1e280
        sq.simulate(task, d=3, steps=3, lr=0.1, rng=0, threads=1, progress=False)


def _valid(name: str, write: Callable[[Path], object]) -> bytes:
    write(p := FOLDER / f"valid-{name}")
    return p.read_bytes()


def valid() -> dict[str, bytes]:
    """A good file of each kind."""
    warnings.simplefilter("ignore")
    grid: Any = {"task.teacher.omega": [0.1, 0.2]}
    r = sq.simulate(**ARGUMENTS, rng=1, progress=False)
    plain = sq.Simulator(TASK, d=10, lr=0.1, rng=1)
    return {
        "store": _valid(
            "store",
            lambda p: sq.sweep(
                {k: v for k, v in ARGUMENTS.items() if k != "threads"},
                grid,
                rng=0,
                store=p,
                progress=False,
            ),
        ),
        "result": _valid("result.nc", lambda p: r.save(p)),
        "set": _valid("set.nc", lambda p: sq.ResultSet({"a": r, "b": r}).save(p)),
        "state": _valid("state.npz", lambda p: plain.save_state(p)),
        "checkpoint": _valid("checkpoint", lambda p: _half(p)),
    }


def _half(p: Path) -> None:
    """A checkpoint left behind by a run that was stopped."""
    from seqsgd._seed import Seed
    from seqsgd.dynamics.core import Sampled
    from seqsgd.models.simulation import Run
    from seqsgd.results.checkpoint import Checkpoint

    run = Run(**ARGUMENTS | {"steps": 20})
    grid = np.array([0, 10, 20])
    engine = Sampled(run, Seed.of(1), grid)
    engine.advance(lambda _: False)
    Checkpoint(p, run, Seed.of(1)).save(engine, grid, 0.0)


VALID: dict[str, bytes] = {}


def good(name: str) -> bytes:
    if not VALID:
        VALID.update(valid())
    return VALID[name]


def _look(p: Path) -> None:
    """All that reading a sweep does."""
    try:
        r = sq.open_sweep(p)
        r.open().load()
        repr(r)
        r.provenance()
    except sq.StoreError:
        pass


def store(data: bytes) -> None:
    """The bytes of the file."""
    _look(path("store", mutated(good("store"), Bytes(data))))


def rows(data: bytes) -> None:
    """What the tables hold, checksums made good."""
    import zlib

    b, p = Bytes(data), path("rows", good("store"))
    db = sqlite3.connect(p, isolation_level=None)
    try:
        while b:
            table, columns = b.choice([("meta", ["value"]), ("texts", ["body"]), ("cells", ["input", "key"]), ("sweeps", ["definition", "keys"]),
                                       ("pieces", ["key", "first", "runs", "split", "header", "grid", "origin", "created", "seconds", "data"])])  # fmt: skip
            column = b.choice(columns)
            found = db.execute(
                f"SELECT rowid, {column} FROM {table}"
                if table not in ("meta", "cells")
                else f"SELECT 0, {column} FROM {table}"
            ).fetchall()
            if not found:
                continue
            i, value = b.choice(found)
            if isinstance(value, (bytes, str)):
                raw = value.encode() if isinstance(value, str) else value
                raw = mutated(raw, Bytes(b.take(1 + b.integer() % 40)))
                new: Any = raw.decode("utf-8", "replace") if isinstance(value, str) else raw
            else:
                new = b.choice([b.signed(8), b.integer(), None, "x", 1.5])
            try:
                db.execute(
                    f"UPDATE {table} SET {column} = ?"
                    + (" WHERE rowid = ?" if table not in ("meta", "cells") else " WHERE ? = 0"),
                    (new, i),
                )
                if column == "data":
                    db.execute(
                        "UPDATE pieces SET checksum = ? WHERE rowid = ?", (zlib.crc32(new), i)
                    )
            except sqlite3.Error:  # NOT NULL, UNIQUE
                pass
    finally:
        db.close()
    _look(p)


def _load(name: str, data: bytes) -> None:
    try:
        r = sq.load(path(name, data))
        repr(r)
    except ValueError:
        pass


def result(data: bytes) -> None:
    _load("result.nc", mutated(good("result"), Bytes(data)))


def result_set(data: bytes) -> None:
    _load("set.nc", mutated(good("set"), Bytes(data)))


def labels(data: bytes) -> None:
    """A netCDF file in order, whose attributes are not."""
    import h5py

    b, p = Bytes(data), path("labels.nc", good("set" if data[:1] > b"\x80" else "result"))
    with h5py.File(p, "r+") as f:
        while b:
            group = b.choice([f, *[g for g in f.values() if isinstance(g, h5py.Group)]])
            if not len(group.attrs):
                continue
            key = b.choice(sorted(group.attrs))
            old = group.attrs[key]
            if b.integer() % 4 == 0:
                del group.attrs[key]
            elif isinstance(old, str):
                group.attrs[key] = (
                    mutated(old.encode(), Bytes(b.take(1 + b.integer() % 30)))
                    .decode("utf-8", "replace")
                    .replace("\0", "")
                )
            else:
                group.attrs[key] = b.choice([b.signed(8), "x", 1.5, b.integer()])
    _load("labels.nc", p.read_bytes())


def state(data: bytes) -> None:
    """The bytes of a simulator's state."""
    _restore(mutated(good("state"), Bytes(data)))


def _restore(data: bytes) -> None:
    s = sq.Simulator(TASK, d=10, lr=0.1, rng=1)
    try:
        s.load_state(path("state.npz", data))
    except ValueError:
        assert s.step == 0
    s.advance(3)


def arrays(data: bytes) -> None:
    """A checkpoint in order, whose arrays are not."""
    b = Bytes(data)
    kind = "checkpoint" if b.integer() % 2 else "state"
    with np.load(io.BytesIO(good(kind))) as f:
        all_arrays = {k: f[k] for k in f.files}
    while b:
        key = b.choice(sorted(all_arrays))
        a = all_arrays[key]
        what = b.integer() % 6
        if what == 0:
            all_arrays.pop(key)
            if not all_arrays:
                break
        elif what == 1:
            all_arrays[key] = a.ravel()[: b.integer()]
        elif what == 2:
            all_arrays[key] = (
                a.astype(b.choice(["i1", "i8", "u4", "f4", "f8", "U3", "?"]))
                if a.dtype.kind != "U"
                else a
            )
        elif what == 3 and a.ndim < 8:  # NumPy has no more than 64
            all_arrays[key] = np.repeat(a[None], 1 + b.integer() % 3 if a.ndim else 1, axis=0)
        elif a.dtype.kind == "U":
            all_arrays[key] = np.array(
                mutated(str(a).encode(), Bytes(b.take(1 + b.integer() % 30))).decode(
                    "utf-8", "replace"
                )
            )
        elif a.size:
            a = np.array(a)
            a.reshape(-1)[b.integer() % a.size] = (
                np.frombuffer(b.take(8), "i8")[0]
                if a.dtype.kind in "iu" and a.dtype.itemsize == 8
                else b.integer() % 128
            )
            all_arrays[key] = a
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **all_arrays)
    if kind == "state":
        _restore(out.getvalue())
        return
    p = path("checkpoint", out.getvalue())
    try:
        sq.simulate(**ARGUMENTS, rng=1, checkpoint=p, progress=False)
    except ValueError as e:
        assert str(e).startswith(("checkpoint:", "steps:")), e


TARGETS: dict[str, Callable[[bytes], None]] = {
    "run_file": run_file, "sweep_file": sweep_file, "setting": setting, "hermite": hermite, "store": store, "rows": rows,
    "result": result, "result_set": result_set, "labels": labels, "state": state, "arrays": arrays,
}  # fmt: skip


def corpus(name: str) -> list[bytes]:
    """Where to begin."""
    examples = Path(sq.__file__).parent / "examples"
    if name == "run_file":
        return [(examples / "learning_curves.toml").read_bytes(), _toml()]
    if name == "sweep_file":
        return [
            (examples / "transition.toml").read_bytes(),
            _toml()
            + (
                b'[grid]\nlr = [0.1, 0.2]\n"d, steps" = [[10, 20], [5, 6]]\n"task.teacher.L" = '
                b"{linspace = [1, 3, 3]}\n"
            ),
        ]
    if name == "setting":
        return [b"lr=0.1", b'task.student={type="Tied", sigma="tanh"}', b"base.d = 3", b"title=x"]
    return [bytes(range(n)) for n in (1, 9, 60, 200)]


def _toml() -> bytes:
    return b"""[base]
d = 10
steps = 100
lr = {type = "Decay", lr0 = 0.1, t0 = 1.0}
init = {type = "Overlap", m0 = 0.1}
record = {type = "Every", n = 10}
stop = {type = "WeakRecovery", eta = 0.5}
tokens = {type = "StudentT", nu = 5.0}
[base.task]
loss = "square"
[base.task.teacher]
type = "SSI"
L = 2
link = {type = "Hermite", terms = [[1.0, {"1" = 1, "2" = 2}]]}
[base.task.student]
type = "Tied"
sigma = {type = "HermiteSeries", coefficients = [0.0, 1.0]}
"""
