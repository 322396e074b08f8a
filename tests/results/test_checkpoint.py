"""Checkpoints: the same bits after a crash, and clear words when that cannot be."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd import _core
from seqsgd.results import checkpoint

TASK = sq.Task(sq.SSI("sum_h2", L=3), sq.Tied("relu"), noise=0.1)
UNTIED = sq.Task(sq.SSI("sum_h2", L=2), sq.Untied("tanh", position=sq.Opposite()))
RUN = {"d": 50, "steps": 3000, "lr": 0.1, "runs": 5, "rng": 3, "record": sq.Every(100)}


def same(a, b):
    xr.testing.assert_identical(a.dataset.drop_attrs(), b.dataset.drop_attrs())


class Enough(Exception):
    pass


def partly(path, task, **run):
    """Begin and break off in the middle by an exception; on one thread the runs are at different
    steps then.
    """

    def stop(done, total):
        raise Enough

    with pytest.raises(Enough):
        sq.simulate(task, **run, threads=1, checkpoint=path, callback=stop)
    with np.load(path) as f:
        assert 0 < f["reached"] < run["steps"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", [TASK, UNTIED], ids=["tied", "untied"])
def test_continued_bit_for_bit(tmp_path, task, dtype):
    path = tmp_path / "c"
    run = RUN | {
        "dtype": dtype,
        "steps": 400_000,
        "record": sq.Every(20_000),
        "stop": sq.WeakRecovery(0.5),
    }
    partly(path, task, **run)
    resumed = sq.simulate(task, **run, checkpoint=path, threads=2)
    same(resumed, sq.simulate(task, **run))


def test_many_pauses_change_nothing(tmp_path):
    run = RUN | {"steps": 100_000}
    same(
        sq.simulate(TASK, **run, checkpoint=tmp_path / "c", checkpoint_every=0),
        sq.simulate(TASK, **run),
    )
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_finished_one_returns_at_once(tmp_path):
    path = tmp_path / "c"
    first = sq.simulate(TASK, **RUN, checkpoint=path)
    watched, written = [], path.stat().st_mtime_ns
    again = sq.simulate(TASK, **RUN, checkpoint=path, callback=lambda *a: watched.append(a))
    same(first, again)
    assert not watched
    assert again.dataset.attrs["wall_time"] > 0 and path.stat().st_mtime_ns == written


def test_halted_and_stopped_runs_stay_so(tmp_path):
    run = RUN | {"steps": 30_000, "stop": sq.WeakRecovery(0.3, halt=True), "lr": 0.5}
    first = sq.simulate(TASK, **run, checkpoint=tmp_path / "c")
    assert (~first.censored).any()
    same(first, sq.simulate(TASK, **run, checkpoint=tmp_path / "c"))
    longer = run | {"steps": 40_000}
    np.testing.assert_array_equal(
        sq.simulate(TASK, **longer, checkpoint=tmp_path / "c").weak_recovery,
        sq.simulate(TASK, **longer).weak_recovery,
    )


def test_continued_to_more_steps(tmp_path):
    sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")
    longer = sq.simulate(TASK, **RUN | {"steps": 5000}, checkpoint=tmp_path / "c")
    same(longer, sq.simulate(TASK, **RUN | {"steps": 5000}))


def test_continued_to_more_steps_off_the_grid(tmp_path):
    """The record at the former end stays; all else is as in one go."""
    run = RUN | {"steps": 3050, "record": None}
    sq.simulate(TASK, **run, checkpoint=tmp_path / "c")
    longer = sq.simulate(TASK, **run | {"steps": 7000}, checkpoint=tmp_path / "c")
    whole = sq.simulate(TASK, **run | {"steps": 7000, "record": longer.dataset["step"].values})
    same(longer, whole)
    assert 3050 in longer.dataset["step"] and longer.dataset["step"][-1] == 7000
    with pytest.raises(ValueError, match=r"^steps: '.*' has already done 7000, got 10$"):
        sq.simulate(TASK, **run | {"steps": 10}, checkpoint=tmp_path / "c")


def test_fresh_entropy_is_taken_over(tmp_path):
    run = RUN | {"rng": None}
    first = sq.simulate(TASK, **run, checkpoint=tmp_path / "c")
    same(first, sq.simulate(TASK, **run, checkpoint=tmp_path / "c"))
    same(
        first, sq.simulate(TASK, **run | {"rng": first.arguments["rng"]}, checkpoint=tmp_path / "c")
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d": 51}, "d is 50 there and 51 here"),
        ({"lr": 0.2, "rng": 4}, "lr is 0.1 there and 0.2 here; rng is 3 there and 4 here"),
        (
            {"task": sq.Task(sq.SSI("sum_h2", L=4), sq.Tied("relu"), noise=0.1)},
            "task.teacher.L is 3 there and 4 here",
        ),
        (
            {"task": UNTIED},
            "task.teacher.L is 3 there and 2 here; task.student is Tied there and Untied here; "
            "task.noise is 0.1 there and 0.0 here",
        ),
        ({"lr": sq.PowerLaw(1)}, "lr is 0.1 there and PowerLaw here"),
        ({"record": sq.Every(50)}, "record.n is 100 there and 50 here"),
        ({"runs": 6}, "runs is 5 there and 6 here"),
        ({"first_run": 1}, "first_run is 0 there and 1 here"),
        ({"dtype": "float64"}, 'dtype is "float32" there and "float64" here'),
        ({"stop": sq.WeakRecovery(0.5)}, "stop is null there and WeakRecovery here"),
    ],
)
def test_of_another_run_is_refused(tmp_path, change, said):
    sq.simulate(TASK, **RUN | {"steps": 10}, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(ValueError) as caught:
        sq.simulate(**{"task": TASK} | RUN | change, checkpoint=tmp_path / "c")
    assert (
        str(caught.value) == f"checkpoint: {str(tmp_path / 'c')!r} belongs to another run: {said}"
    )
    assert (tmp_path / "c").read_bytes() == before


LOCK = threading.Lock()


def opaque(z):
    return z[0] if LOCK else 0.0


def linked(f, sigma="relu"):
    return sq.Task(sq.SSI(f, L=1), sq.Tied(sigma))


SMALL = {"d": 20, "steps": 100, "lr": 0.1, "rng": 0}
LONGER = SMALL | {"steps": 200}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: lambda z: float(z[0]), lambda: lambda z: float(z[0]) ** 2),
        (lambda: np.poly1d([1, 0]), lambda: np.poly1d([1, 0, 0])),
        (lambda: scaled(1), lambda: scaled(2)),
        (lambda: scaled(1).__call__, lambda: scaled(2).__call__),
        (lambda: sq.Named("a", scaled(1)), lambda: sq.Named("b", scaled(1))),
        (lambda: sq.Named("a", scaled(1)), lambda: scaled(1)),
        (lambda: opaque, lambda: scaled(1)),
    ],
)
def test_goes_on_with_the_same_function_only(tmp_path, first, second):
    sq.simulate(linked(first()), **SMALL, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    said = r"^checkpoint: '.*c' belongs to another run: task\.teacher\.link is another function"
    with pytest.raises(ValueError, match=said + r" there, or rests on other data \(sq\.Named\("):
        sq.simulate(linked(second()), **LONGER, checkpoint=tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before
    if first() is not opaque:
        longer = sq.simulate(linked(first()), **LONGER, checkpoint=tmp_path / "c")
        same(longer, sq.simulate(linked(first()), **LONGER))


def scaled(k):
    return lambda z: k * z[0]


def test_activations_are_compared_too(tmp_path):
    sq.simulate(linked("z1", (np.sin, np.cos)), **SMALL, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r"\.sigma\.derivative is another function there"):
        sq.simulate(linked("z1", (np.sin, np.sin)), **LONGER, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r'\.sigma is PyActivation there and "tanh" here$'):
        sq.simulate(linked("z1", "tanh"), **LONGER, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r'\.link is "z1" there and "a function" here$'):
        sq.simulate(linked(np.sum, (np.sin, np.cos)), **LONGER, checkpoint=tmp_path / "c")


def c_link(k):
    doubles = ctypes.POINTER(ctypes.c_double)

    @ctypes.CFUNCTYPE(None, doubles, ctypes.c_int64, doubles, ctypes.c_int64)
    def link(z, L, y, k_):
        y[0] = k * z[0]

    return link


def test_what_cannot_be_compared_is_said(tmp_path):
    """C functions lie elsewhere in every process: going on warns unless there is a name."""
    first, moved = c_link(1), c_link(1)
    pointers = [ctypes.cast(f, ctypes.c_void_p).value for f in (first, moved)]
    sq.simulate(linked(sq.CLink(pointers[0])), **SMALL, checkpoint=tmp_path / "c")
    with np.load(tmp_path / "c") as f:
        assert str(pointers[0]) not in str(f["meta"])
    said = (
        r"^checkpoint: '.*c' is continued although task\.teacher\.link\.function rests on an "
        r"address, .*, so that nothing can tell whether it is the same function; sq\.Named\("
    )
    with pytest.warns(UserWarning, match=said) as caught:
        longer = sq.simulate(linked(sq.CLink(pointers[1])), **LONGER, checkpoint=tmp_path / "c")
    assert caught[0].filename == __file__
    same(longer, sq.simulate(linked("z1"), **LONGER))
    named = [linked(sq.CLink(sq.Named("first field", p))) for p in pointers]
    sq.simulate(named[0], **SMALL, checkpoint=tmp_path / "named")
    same(sq.simulate(named[1], **LONGER, checkpoint=tmp_path / "named"), longer)


def test_a_simulator_knows_its_functions(tmp_path):
    settings = {"d": 20, "lr": 0.1, "rng": 0}
    simulators = [sq.Simulator(linked(f), **settings) for f in (scaled(1), scaled(1), scaled(2))]
    simulators[0].advance(10)
    simulators[0].save_state(tmp_path / "c")
    simulators[1].load_state(tmp_path / "c")
    assert simulators[1].step == 10 and simulators[1].m == simulators[0].m
    with pytest.raises(ValueError, match="task.teacher.link is another function there"):
        simulators[2].load_state(tmp_path / "c")
    assert simulators[2].step == 0


def test_of_another_instruction_set_is_refused(tmp_path, monkeypatch):
    sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")
    monkeypatch.setattr(_core, "level", "other")
    with pytest.raises(
        ValueError, match=r"instruction set \(SEQSGD_SIMD\) is \"\w+\" there and \"other\" here$"
    ):
        sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")


def test_of_a_newer_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", checkpoint.FORMAT_VERSION + 1)
        sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r"has format 4, this version of seqsgd reads 3$"):
        sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "other npz", "pickle"])
def test_unreadable_files_are_named(tmp_path, damage):
    path = tmp_path / "c"
    sq.simulate(TASK, **RUN, checkpoint=path)
    data = bytearray(path.read_bytes())
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        for i in range(60, len(data), 97):
            data[i] ^= 0xFF
        path.write_bytes(data)
    elif damage == "other npz":
        with open(path, "wb") as f:
            np.savez(f, x=np.zeros(3))
    else:
        with open(path, "wb") as f:
            np.savez(f, meta=np.array([{"a": 1}], dtype=object))
    was = path.read_bytes()
    why = "" if damage in ("empty", "text") else r", or is damaged \(.*\)"
    for attempt in (
        lambda: sq.simulate(TASK, **RUN, checkpoint=path),
        lambda: sq.Simulator(TASK, RUN["d"], RUN["lr"]).load_state(path),
    ):
        with pytest.raises(
            ValueError, match=rf"^checkpoint: '.*c' is not a checkpoint of seqsgd{why}$"
        ) as caught:
            attempt()
        assert "\n" not in str(caught.value) and "delete" not in str(caught.value)
    assert path.read_bytes() == was


def test_nothing_executable_in_the_file(tmp_path):
    sq.simulate(TASK, **RUN, checkpoint=tmp_path / "c")
    with np.load(tmp_path / "c", allow_pickle=False) as f:
        assert all(f[name].dtype.kind in "Uif" for name in f.files)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c"
    sq.simulate(TASK, **RUN | {"steps": 100}, checkpoint=path)
    before = path.read_bytes()
    original = np.savez

    def half(f, **arrays):
        original(f, **arrays)
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        sq.simulate(TASK, **RUN, checkpoint=path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_whoever_reads_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "c"
    sq.simulate(TASK, **RUN | {"steps": 100}, checkpoint=path)
    before = path.read_bytes()
    with open(path, "rb") as old:
        sq.simulate(TASK, **RUN, checkpoint=path)
        assert old.read() == before != path.read_bytes()


def test_relative_paths_and_permissions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sq.simulate(TASK, **RUN, checkpoint="c")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o666 & ~mask


SCRIPT = """
import sys, seqsgd as sq
task = sq.Task(sq.SSI("sum_h2", L=3), sq.Tied("relu"), noise=0.1)
sq.simulate(task, d=50, steps=10**9, lr=0.1, runs=5, rng=3, record=sq.Every(10**5), checkpoint=sys.argv[1], checkpoint_every=0)
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_writing(tmp_path):
    """SIGKILL while checkpoints are written all the time: whatever is there afterwards is whole,
    and goes on to the same bits.
    """
    path = tmp_path / "c"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)])
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.31)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with np.load(path, allow_pickle=False) as f:
        reached = int(f["reached"])
    steps = reached + 1000
    run = RUN | {"steps": steps, "record": sq.Every(10**5)}
    resumed = sq.simulate(TASK, **run, checkpoint=path)
    same(resumed, sq.simulate(TASK, **run))


@pytest.mark.parametrize(
    "content",
    [b"\\documentclass{book}\n", b"\x89HDF\r\n\x1a\n", b"\x00" * 64],
    ids=["tex", "hdf5", "zeros"],
)
def test_a_file_of_somebody_elses_is_not_to_be_deleted(content, tmp_path):
    path = tmp_path / "thesis.tex"
    path.write_bytes(content)
    for call in (
        lambda: sq.simulate(TASK, **RUN, checkpoint=path),
        lambda: sq.Simulator(TASK, d=20, lr=0.1, rng=0).load_state(path),
    ):
        with pytest.raises(
            ValueError, match=r"^checkpoint: '.*thesis.tex' is not a checkpoint of seqsgd"
        ):
            call()
    assert path.read_bytes() == content
