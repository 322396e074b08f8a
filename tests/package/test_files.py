"""Files: whole or not at all, under the right name, and what was there kept where it should be."""

import os
import stat
import subprocess
import sys

import pytest
import seqsgd as sq
import xarray as xr
from helpers import environment
from seqsgd import _files

TASK = sq.Task(sq.SSI("sum", L=1), sq.Tied("relu"))
RUN = {"d": 20, "steps": 20, "lr": 0.1, "rng": 0}


@pytest.fixture(scope="module")
def result():
    return sq.simulate(TASK, **RUN)


def writers(result, run=RUN):
    """Everything that writes one file to a path; keys begin with the argument's name."""
    return {
        "path": result.save,
        "path of a set": sq.ResultSet({"a": result}).save,
        "checkpoint": lambda path: sq.simulate(TASK, **run, checkpoint=path),
        "path of a sweep": sq.sweep(run | {"task": TASK}, {}).to_netcdf,
    }


@pytest.fixture(params=["path", "path of a set", "checkpoint", "path of a sweep"])
def writer(request, result):
    return request.param.split()[0], writers(result)[request.param]


def test_a_link_is_followed(tmp_path, writer):
    _, write = writer
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.nc", tmp_path / "link.nc"
    link.symlink_to(target)
    for _ in range(2):  # to a file that is not there yet, then to one that is
        write(link)
        assert link.is_symlink() and target.is_file() and not target.is_symlink()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link.nc", "target.nc", "there"]


def test_the_mode_is_kept(tmp_path, writer):
    _, write = writer
    path = tmp_path / "x.nc"
    before = os.umask(0o027)
    try:
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, "of a new file by the umask"
        path.chmod(0o664)
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o664
    finally:
        os.umask(before)


def test_read_only_files_stay(tmp_path, writer):
    name, write = writer
    path = tmp_path / "x.nc"
    write(path)
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(ValueError, match=rf"^{name}: the file '.*x.nc' is read-only$"):
        write(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_names_as_long_as_the_file_system_takes(tmp_path, writer):
    name, write = writer
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = tmp_path / ("x" * (longest - 3) + ".nc")
    write(path)
    assert path.is_file()
    accents = tmp_path / ("\u00e9" * ((longest - 3) // 2) + ".nc")  # two bytes each
    write(accents)
    for long in ("x" * (longest - 2), "\u00e9" * ((longest - 3) // 2 + 1)):
        with pytest.raises(
            ValueError,
            match=rf"^{name}: expected a name of at most {longest} bytes, got \d+ in '.*\.\.\..*'$",
        ):
            write(tmp_path / f"{long}.nc")
    with pytest.raises(ValueError, match=rf"^{name}: .*"):
        write(tmp_path / "/".join(["x" * 250] * 20) / "x.nc")
    assert sorted(tmp_path.iterdir()) == sorted([path, accents])


def test_names_of_stores_leave_room_for_what_lies_beside(tmp_path):
    base = {"d": 20, "steps": 20, "lr": 0.1, "task": TASK}
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len("-journal")
    sq.sweep(base, {}, rng=0, store=tmp_path / ("s" * longest))
    with pytest.raises(
        sq.StoreError,
        match=rf"^store: expected a name of at most {longest} bytes, got {longest + 1} in ",
    ):
        sq.sweep(base, {}, rng=0, store=tmp_path / ("s" * (longest + 1)))
    assert [len(p.name) for p in tmp_path.iterdir()] == [longest]


def test_paths_that_are_none(tmp_path, writer):
    name, write = writer
    with pytest.raises(
        ValueError, match=rf"^{name}: expected a path without NUL characters, got 'a\\x00b.nc'$"
    ):
        write("a\0b.nc")
    with pytest.raises(TypeError, match=rf"^{name}: expected a path, got 3$"):
        write(3)
    (tmp_path / "loop.nc").symlink_to("loop.nc")
    with pytest.raises(
        ValueError, match=rf"^{name}: '.*loop.nc' is a link that leads back to itself$"
    ):
        write(tmp_path / "loop.nc")
    (tmp_path / "lost.nc").symlink_to(tmp_path / "no" / "x.nc")
    with pytest.raises(
        ValueError,
        match=rf"^{name}: '.*lost.nc' links to '.*x.nc'; the folder '.*no' does not exist$",
    ):
        write(tmp_path / "lost.nc")
    os.mkfifo(tmp_path / "pipe.nc")
    with pytest.raises(
        ValueError,
        match=rf"^{name}: expected a file, got '.*pipe.nc', which is not a regular file$",
    ):
        write(tmp_path / "pipe.nc")
    assert stat.S_ISFIFO((tmp_path / "pipe.nc").stat().st_mode)


def test_reading_what_is_no_path():
    for read, name in ((sq.load, "path"), (sq.open_sweep, "store")):
        with pytest.raises(TypeError, match=rf"^{name}: expected a path, got 3$"):
            read(3)
        with pytest.raises(ValueError, match=rf"^{name}: expected a path without NUL characters"):
            read("a\0b")


@pytest.mark.parametrize("suffix", ["csv", "zarr", "npz", "pkl", "json", "txt", "tex", "png"])
def test_only_netcdf_is_written_under_its_name(tmp_path, result, suffix):
    for write in (
        result.save,
        sq.ResultSet({"a": result}).save,
        sq.sweep(RUN | {"task": TASK}, {}).to_netcdf,
    ):
        with pytest.raises(
            ValueError,
            match=rf"^path: expected a name that ends in .nc, got '.*x.{suffix}'; .*\.to_dataframe",
        ):
            write(tmp_path / f"x.{suffix}")
    assert not list(tmp_path.iterdir())


def test_names_without_a_suffix_and_those_of_netcdf(tmp_path, result):
    for name in ("x", "x.nc", "x.h5", "x.nc4", "lr0.1", "run.2", ".hidden"):
        result.save(tmp_path / name)
        xr.testing.assert_identical(sq.load(tmp_path / name).dataset, result.dataset)


def test_a_file_of_another_kind_is_not_replaced(tmp_path, result, writer):
    name, write = writer
    for was in (b"\\documentclass{article}", b"PK", b"\x00" * 100):
        (tmp_path / "thesis").write_bytes(was)
        said = (
            "exists and is not a netCDF file; it is not replaced"
            if name == "path"
            else "is not a checkpoint of seqsgd"
        )
        with pytest.raises(ValueError, match=rf"^{name}: '.*thesis' {said}") as caught:
            write(tmp_path / "thesis")
        assert (tmp_path / "thesis").read_bytes() == was and "delete" not in str(caught.value)
    (tmp_path / "empty").write_bytes(b"")  # as tempfile leaves it
    result.save(tmp_path / "empty")
    assert sq.load(tmp_path / "empty").m.equals(result.m)


def test_what_reads_a_file_of_another_part(tmp_path, result):
    base = {k: v for k, v in RUN.items() if k != "rng"} | {"task": TASK}
    swept = sq.sweep(base, {"lr": [0.1, 0.2]}, rng=0, store=tmp_path / "s.sweep")
    swept.to_netcdf(tmp_path / "s.nc")
    sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")
    result.save(tmp_path / "r.nc")
    (tmp_path / "z.zarr").mkdir()
    for name, said in (
        ("s.sweep", "is a database; if it is the store of a sweep, read it with open_sweep"),
        (
            "s.nc",
            r"is a sweep in netCDF; read it with xarray.open_dataset\(..., engine='h5netcdf'\)",
        ),
        (
            "c",
            r"is a zip archive; if it is a checkpoint, the same simulate\(..., checkpoint=...\) or "
            r"Simulator.load_state continues from it",
        ),
        ("z.zarr", "is a folder; if it holds a sweep in zarr, read it with xarray.open_zarr"),
    ):
        with pytest.raises(ValueError, match=rf"^path: '.*{name}' {said}$"):
            sq.load(tmp_path / name)
    assert xr.load_dataset(tmp_path / "s.nc", engine="h5netcdf").loss.dims == ("lr", "run", "step")
    for read in (sq.open_sweep, lambda path: sq.sweep(base, {}, rng=0, store=path)):
        with pytest.raises(
            sq.StoreError,
            match=r"^store: '.*r.nc': .*; it is a netCDF file, which seqsgd.load or xarray reads$",
        ):
            read(tmp_path / "r.nc")


# A process of its own: its limit cannot be taken back.
LIMITED = """
import os, resource, sys
import seqsgd as sq
from test_files import RUN, TASK, writers
os.chdir(sys.argv[1])
settings = RUN | {"steps": 5000, "runs": 8, "record": sq.Every(1)}
big = sq.simulate(TASK, **settings)
small = sq.simulate(TASK, **RUN)
writes = writers(big, settings)
small.save("old.nc")
before = open("old.nc", "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, write in writes.items():
    for path in ("new.nc", "old.nc") if name != "checkpoint" else ("new.nc",):
        try:
            write(path)
        except OSError as e:
            print(name, e)
assert open("old.nc", "rb").read() == before
small.save("old.nc")  # the library still works
print(sorted(os.listdir(".")), len(sq.load("old.nc").dataset))
"""


def python(code, *words, cwd):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment("package"),
    )


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_file_and_a_process_that_lives(tmp_path, result):
    """HDF5 alone ends in a segmentation fault here."""
    done = python(LIMITED, tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = [
        f"{name} [Errno 27] File too large: '{path}'"
        for name in writers(result)
        for path in (("new.nc", "old.nc") if name != "checkpoint" else ("new.nc",))
    ]
    assert done.stdout.splitlines()[:-1] == names
    assert done.stdout.splitlines()[-1] == f"['old.nc'] {len(result.dataset)}"


def test_a_folder_that_has_gone(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, _files.atomic(tmp_path / "no" / "x.nc"):
        pytest.fail("there is no folder to write to")
    assert caught.value.filename == str(tmp_path / "no" / "x.nc")
    (tmp_path / "gone").mkdir()

    def vanish(done, total):
        if (tmp_path / "gone").is_dir():
            (tmp_path / "gone").rmdir()
        return True

    with pytest.raises(FileNotFoundError) as caught:
        sq.simulate(
            TASK, **RUN | {"steps": 10**8}, checkpoint=tmp_path / "gone" / "c", callback=vanish
        )
    assert caught.value.filename == str(tmp_path / "gone" / "c")


def test_errors_of_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, _files.atomic(tmp_path / "x"):
        (tmp_path / "font").read_text()
    assert caught.value.filename == str(tmp_path / "font") and not list(tmp_path.iterdir())


def test_owner_and_group_are_kept(tmp_path):
    path = tmp_path / "x"
    path.write_text("a")
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    was = path.stat()
    with _files.atomic(path) as part:
        part.write_text("b")
    assert path.read_text() == "b" and (path.stat().st_uid, path.stat().st_gid) == (
        was.st_uid,
        was.st_gid,
    )


def test_the_size_is_no_guess_below_the_truth(tmp_path):
    from seqsgd.results.files import netcdf_size

    for runs, every in ((1, 20), (64, 1)):
        r = sq.simulate(TASK, **RUN | {"runs": runs, "steps": 500}, record=sq.Every(every))
        s = sq.ResultSet({f"{i}": r for i in range(5)})
        r.save(tmp_path / "r.nc")
        s.save(tmp_path / "s.nc")
        for name, wanted, count in (
            ("r.nc", netcdf_size(r.dataset), 1),
            ("s.nc", netcdf_size(*(x.dataset for x in s.values())) + 2**15, 6),
        ):
            real = (tmp_path / name).stat().st_size
            assert real <= wanted <= real + 30_000 * count, name


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_what_replaces_a_private_file_is_private_while_it_is_written(tmp_path):
    old = tmp_path / "x"
    old.write_bytes(b"")
    old.chmod(0o600)
    with _files.atomic(old) as part:
        assert part.stat().st_mode & 0o077 == 0
    assert old.stat().st_mode & 0o777 == 0o600
