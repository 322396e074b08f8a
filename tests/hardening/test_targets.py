"""The targets of fuzz.py on random mutations of valid files, and what was found so far."""

from __future__ import annotations

import random
import sqlite3
import zipfile

import h5py
import numpy as np
import pytest
import seqsgd as sq
import targets

TOML = ("run_file", "sweep_file", "setting")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", targets.TARGETS)
def test_only_documented_errors(name: str) -> None:
    """Some of the inputs get through, so that more than the first check is tried."""
    r = random.Random(7)
    for _ in range({"labels": 15, "rows": 40}.get(name, 60)):
        data = r.randbytes(r.randrange(1, 60))
        targets.TARGETS[name](
            targets.mutated(r.choice(targets.corpus(name)), targets.Bytes(data))
            if name in TOML
            else data
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", targets.TARGETS)
def test_where_it_begins_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused unless something was changed: else the fuzzer would see the first check
    only.
    """
    if name in TOML:
        targets.TARGETS[name](targets.corpus(name)[0])
        monkeypatch.setattr(sq, "ConfigError", ZeroDivisionError)
        targets.TARGETS[name](targets.corpus(name)[0])
    elif name in ("store", "rows"):
        monkeypatch.setattr(sq, "StoreError", ZeroDivisionError)
        targets.TARGETS[name](b"")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "s").write_bytes(targets.good("store"))
    return tmp_path / "s"


DAMAGE = {
    "a text": "UPDATE texts SET body = x'80ff' WHERE id = 1",
    "no text": "DELETE FROM texts",
    "a definition": "UPDATE sweeps SET definition = '{'",
    "keys": "UPDATE sweeps SET keys = x'00'",
    "an input": "UPDATE cells SET input = 'no JSON'",
    "the first run": "UPDATE pieces SET first = 'x'",
    "runs": "UPDATE pieces SET runs = 'x'",
    "data of another size": "UPDATE pieces SET data = x'', checksum = 0",
    "data of no kind": "UPDATE pieces SET data = 7",
    "the wrong header": "UPDATE pieces SET header = grid",
    "the wrong grid": "UPDATE pieces SET grid = origin",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_store_says_so(what: str, store) -> None:
    db = sqlite3.connect(store)
    db.execute(DAMAGE[what])
    db.commit()
    db.close()
    with pytest.raises(sq.StoreError, match=r"^store: '.*damaged"):
        r = sq.open_sweep(store)
        r.open().load()
        r.provenance()


def test_sqlite_itself_quotes_a_damaged_schema(store) -> None:
    raw = store.read_bytes()
    assert b"CREATE TABLE meta (name" in raw
    store.write_bytes(raw.replace(b"CREATE TABLE meta (name", b"CREATE TABLE \x87\xff\xfe (name"))
    with pytest.raises(sq.StoreError, match="damaged"):
        sq.open_sweep(store).open()


@pytest.mark.parametrize(
    "attribute, value",
    [
        ("format_version", None),
        ("format_version", "x"),
        ("task", None),
        ("task", "{"),
        ("arguments", "[]"),
        ("arguments", 3),
    ],
)
def test_netcdf_with_damaged_attributes(attribute, value, tmp_path) -> None:
    (tmp_path / "r.nc").write_bytes(targets.good("result"))
    with h5py.File(tmp_path / "r.nc", "r+") as f:
        del f.attrs[attribute]
        if value is not None:
            f.attrs[attribute] = value
    with pytest.raises(ValueError, match=r"^path: '.*r.nc' is damaged"):
        sq.load(tmp_path / "r.nc")


@pytest.mark.parametrize("attribute", ["label", "panel", "task"])
def test_a_set_with_damaged_attributes(attribute, tmp_path) -> None:
    (tmp_path / "set.nc").write_bytes(targets.good("set"))
    with h5py.File(tmp_path / "set.nc", "r+") as f:
        del f["case_0001"].attrs[attribute]
    with pytest.raises(ValueError, match=r"^path: '.*set.nc' is .*damaged"):
        sq.load(tmp_path / "set.nc")


@pytest.mark.parametrize(
    "grid",
    [
        np.array([0, 20, 10]),
        np.array([0.0, 10, 20]),
        np.array(["0", "1"]),
        np.array([-1, 20]),
        np.zeros((3, 3), np.int64),
    ],
    ids=str,
)
def test_a_checkpoint_with_damaged_record_steps(grid, tmp_path) -> None:
    (tmp_path / "c").write_bytes(targets.good("checkpoint"))
    with np.load(tmp_path / "c") as f:
        arrays = {k: f[k] for k in f.files}
    assert zipfile.is_zipfile(tmp_path / "c")
    with open(tmp_path / "c", "wb") as out:
        np.savez(out, allow_pickle=False, **arrays | {"grid": grid})
    with pytest.raises(ValueError, match=r"^checkpoint: '.*' is not a checkpoint of seqsgd"):
        sq.simulate(**targets.ARGUMENTS, rng=1, checkpoint=tmp_path / "c", progress=False)


def test_a_checkpoint_that_says_it_is_encrypted(tmp_path) -> None:
    """zipfile raises RuntimeError."""
    raw = bytearray(targets.good("checkpoint"))
    for mark, at in (
        (b"PK\x01\x02", 8),
        (b"PK\x03\x04", 6),
    ):  # the flags in the directory and before each file
        i = -1
        while (i := raw.find(mark, i + 1)) >= 0:
            raw[i + at] |= 1
    (tmp_path / "c").write_bytes(raw)
    with pytest.raises(
        ValueError, match=r"^checkpoint: '.*' is not a checkpoint of seqsgd, .*encrypted"
    ):
        sq.simulate(**targets.ARGUMENTS, rng=1, checkpoint=tmp_path / "c", progress=False)


def test_a_checkpoint_without_records(tmp_path) -> None:
    """Found as a division by zero."""
    (tmp_path / "c").write_bytes(targets.good("checkpoint"))
    with np.load(tmp_path / "c") as f:
        arrays = {k: f[k] for k in f.files}
    with open(tmp_path / "c", "wb") as out:
        np.savez(
            out,
            allow_pickle=False,
            **arrays | {"state/record_loss": arrays["state/record_loss"][:0]},
        )
    with pytest.raises(ValueError, match=r"^checkpoint: '.*' is not a checkpoint of seqsgd"):
        sq.simulate(**targets.ARGUMENTS, rng=1, checkpoint=tmp_path / "c", progress=False)
