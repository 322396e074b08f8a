"""Standard error of any kind, answers of callbacks, exceptions sent to other processes."""

import importlib
import io
import multiprocessing
import pickle
import pkgutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd import _stderr

TASK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
RUN = {"task": TASK, "d": 20, "steps": 50, "lr": 0.1, "rng": 0}


class Writer:
    """A logger, say."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


class Only:
    def write(self, text):
        return len(text)


class Gone(io.StringIO):
    """A terminal that was closed, or a pipe nobody reads."""

    def isatty(self):
        return True

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "none": lambda: None,
    "a writer": Writer,
    "write only": Only,
    "closed": closed,
    "a broken pipe": Gone,
    "an object": object,
}


@pytest.mark.parametrize("progress", [None, True, False])
@pytest.mark.parametrize("kind", STREAMS)
def test_whatever_stderr_is(kind, progress, monkeypatch):
    monkeypatch.setattr(sys, "stderr", STREAMS[kind]())
    assert sq.simulate(**RUN, progress=progress).m.shape == (1, 51)
    r = sq.sweep(
        {k: v for k, v in RUN.items() if k != "rng"}, {"lr": [0.1, 0.2]}, rng=0, progress=progress
    )
    assert r.cells_done == 2
    assert not _stderr.watched() or kind == "a broken pipe"


@pytest.mark.filterwarnings("always::seqsgd.errors.NonFiniteWarning")
@pytest.mark.parametrize("kind", ["none", "closed", "an object"])
def test_a_warning_that_cannot_be_shown_costs_no_result(kind, monkeypatch):
    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(str(message))

    monkeypatch.setattr("warnings.showwarning", show)
    monkeypatch.setattr(sys, "stderr", STREAMS[kind]())
    run = RUN | {
        "task": sq.Task(sq.SSI("sum", L=2), sq.Tied("square")),
        "lr": 1e300,
        "dtype": "float64",
    }
    assert np.isfinite(sq.simulate(**run).dataset["nonfinite_step"]).all()


RUNFILE = """
[base]
d = 20
steps = 50
lr = 0.1
rng = 0
[base.task]
teacher = { type = "SSI", link = "sum", L = 2 }
student = { type = "Tied" }
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_the_command_line_with_stderr_closed(command, tmp_path):
    text = (
        RUNFILE
        if command == "run"
        else RUNFILE.replace("rng = 0\n", "") + "[grid]\nlr = [0.1, 0.2]\n"
    )
    (tmp_path / "a.toml").write_text(text)
    words = [sys.executable, "-m", "seqsgd", command, "a.toml"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "wrote" in done.stdout


def answers():
    yield from (
        (a, True) for a in (True, np.True_, np.array(True), xr.DataArray(True), np.any([0, 1]))
    )
    yield from (
        (a, False) for a in (None, False, np.False_, np.array(False), xr.DataArray([0.0]).any())
    )


@pytest.mark.parametrize(("answer", "ends"), list(answers()), ids=repr)
def test_a_callback_ends_by_one_truth_value(answer, ends):
    """NumPy's and xarray's as well as Python's."""
    r = sq.simulate(
        **RUN | {"steps": 4_000_000, "record": [0]} | ({} if ends else {"steps": 40_000}),
        callback=lambda done, total: answer,
    )
    assert r.complete != ends


@pytest.mark.parametrize(
    "answer",
    [
        1,
        0,
        1.0,
        "yes",
        "",
        [],
        [True],
        np.array([True]),
        np.array([True, False]),
        np.int64(1),
        object(),
        np.array(1),
    ],
    ids=lambda x: repr(x)[:12],
)
def test_what_is_no_truth_value_is_refused(answer, tmp_path):
    """A callback that ends in f.write(...) returns a number. Nothing that was done is lost."""
    with pytest.raises(
        TypeError, match=r"^callback: expected it to return True, False or None, got "
    ):
        sq.simulate(
            **RUN | {"steps": 10**9, "record": [0]},
            callback=lambda done, total: answer,
            checkpoint=tmp_path / "c",
        )
    assert (tmp_path / "c").exists()


def exceptions():
    """All that the package defines."""
    for info in pkgutil.walk_packages(sq.__path__, "seqsgd."):
        if "_core" not in info.name and not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    found, kinds = set(), [BaseException]
    while kinds:
        kinds = [c for k in kinds for c in k.__subclasses__()]
        found |= {c for c in kinds if c.__module__.startswith("seqsgd")}
    return sorted(found, key=lambda c: c.__name__)


def test_every_exception_can_be_sent():
    result = sq.simulate(**RUN)
    swept = sq.sweep({k: v for k, v in RUN.items() if k != "rng"}, {"lr": [0.1]}, rng=0)
    names = set()
    for kind in exceptions():
        names.add(kind.__name__)
        given = {
            "SimulationInterrupted": (result,),
            "SweepInterrupted": (swept,),
            "_Interrupted": (result,),
        }.get(kind.__name__, ())
        error = kind("what happened", *given)
        error.add_note("by the way")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):  # xarray knows no older ones
            again = pickle.loads(pickle.dumps(error, protocol))
            assert (
                type(again) is kind
                and str(again) == "what happened"
                and again.__notes__ == ["by the way"]
            )
            if given:
                assert again.result.dataset.identical(given[0].dataset)
    assert names >= {*sq.errors.__all__, "Unknown", "_Refused"}


def interrupted():
    raise sq.SweepInterrupted(
        "stopped", sq.sweep({k: v for k, v in RUN.items() if k != "rng"}, {"lr": [0.1]}, rng=0)
    )


@pytest.mark.slow
def test_an_interrupted_sweep_comes_out_of_a_process_pool():
    """With its numbers, though its store is gone with the process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        error = pool.submit(interrupted).exception(timeout=60)
        pool.shutdown()
    assert (
        isinstance(error, sq.SweepInterrupted)
        and str(error) == "stopped"
        and error.result.cells_done == 1
    )
    assert error.result.m.shape == (1, 1, 51)
