"""simulate: what is refused, warned of and stopped."""

import numpy as np
import pytest
import seqsgd as sq
from helpers import SMALL, TASK
from seqsgd import _core, _memory

BAD = [
    ({"task": "t"}, TypeError, "task: expected a Task, got 't'"),
    ({"d": 0}, ValueError, "d: expected an integer in [1, 1099511627776], got 0"),
    ({"d": 10.5}, TypeError, "d: expected an integer in [1, 1099511627776], got 10.5"),
    ({"steps": -1}, ValueError, "steps: expected an integer in [0, 9007199254740992], got -1"),
    ({"steps": "10"}, TypeError, "steps: expected an integer in [0, 9007199254740992], got '10'"),
    ({"lr": -0.1}, ValueError, "lr: expected a finite number >= 0, got -0.1"),
    ({"lr": float("inf")}, ValueError, "lr: expected a finite number >= 0, got inf"),
    (
        {"lr": "fast"},
        TypeError,
        "lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'fast'",
    ),
    (
        {"lr": sq.PowerLaw(1, d=1e4)},
        ValueError,
        "lr: PowerLaw(1.0, d=10000.0) overflows at d = 40, L = 3",
    ),
    ({"runs": 0}, ValueError, "runs: expected an integer in [1, 4294967296], got 0"),
    ({"rng": -1}, ValueError, "rng: expected an integer >= 0, got -1"),
    (
        {"rng": 1.5},
        TypeError,
        "rng: expected an integer >= 0, a numpy SeedSequence, a numpy Generator or None, got 1.5",
    ),
    (
        {"rng": True},
        TypeError,
        "rng: expected an integer >= 0, a numpy SeedSequence, a numpy Generator or None, got True",
    ),
    (
        {"dynamics": "magic"},
        ValueError,
        "dynamics: expected one of 'sampled', 'reduced', 'flow', got 'magic'",
    ),
    ({"init": 0.1}, TypeError, "init: expected Overlap or Uniform, got 0.1"),
    (
        {"d": 1, "init": sq.Overlap(0.5)},
        ValueError,
        "init: at d = 1 an overlap is 1 or -1, got 0.5",
    ),
    (
        {"record": 10},
        TypeError,
        "record: expected Every, LogSpaced, a list of steps or None, got 10",
    ),
    ({"record": [1, 2.5]}, TypeError, "record: steps[1]: expected an integer >= 0, got 2.5"),
    ({"record": [1, 61]}, ValueError, "record: expected steps up to steps = 60, got 61"),
    ({"stop": 0.3}, TypeError, "stop: expected WeakRecovery or None, got 0.3"),
    (
        {"dtype": "float16"},
        ValueError,
        "dtype: expected one of 'float32', 'float64', got 'float16'",
    ),
    (
        {"dtype": np.float16},
        ValueError,
        "dtype: expected one of 'float32', 'float64', got <class 'numpy.float16'>",
    ),
    ({"dtype": 32}, TypeError, "dtype: expected one of 'float32', 'float64', got 32"),
    ({"threads": 0}, ValueError, "threads: expected an integer in [1, 4096], got 0"),
    ({"step": "both"}, ValueError, "step: expected one of 'normalized', 'projected', got 'both'"),
    (
        {"tokens": "cauchy"},
        ValueError,
        "tokens: expected one of 'gaussian', 'rademacher', 'uniform', got 'cauchy'",
    ),
    (
        {"tokens": 3},
        TypeError,
        "tokens: expected one of 'gaussian', 'rademacher', 'uniform', StudentT or Correlated, got "
        "3",
    ),
    (
        {"tokens": sq.Correlated(np.eye(2))},
        ValueError,
        "tokens: expected C of shape (L, L) with L = 3, got shape (2, 2)",
    ),
    ({"first_run": -1}, ValueError, "first_run: expected an integer in [0, 4294967295], got -1"),
    (
        {"first_run": 2**32 - 1},
        ValueError,
        "first_run: expected first_run + runs <= 2^32, got 4294967299",
    ),
    (
        {"checkpoint_every": "often"},
        TypeError,
        "checkpoint_every: expected a finite number >= 0, got 'often'",
    ),
    (
        {"checkpoint": "/nowhere/at/all"},
        ValueError,
        "checkpoint: the folder '/nowhere/at' does not exist",
    ),
    ({"progress": "yes"}, TypeError, "progress: expected true or false, got 'yes'"),
    ({"callback": 3}, TypeError, "callback: expected a function of two integers, got 3"),
    (
        {"task": sq.Task(sq.SSI("z1", 2), sq.Tied(position=sq.Opposite())), "d": 2},
        ValueError,
        "d: Opposite needs d >= 3 (p is orthogonal to w* and to the initial weights), got 2",
    ),
    (
        {"task": sq.Task(sq.SSI("z1", 2), sq.Untied(position=sq.Opposite())), "d": 3},
        ValueError,
        "d: Opposite needs d >= 4 (p is orthogonal to w* and to the initial weights), got 3",
    ),
    (
        {"task": sq.Task(sq.SSI("z1", 2), sq.Tied(position=sq.Positions(np.eye(2))))},
        ValueError,
        "d: expected 2, the columns of P, got 40",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[m for _, _, m in BAD])
def test_refused_before_anything_is_allocated(monkeypatch, change, error, message):
    def never(*_, **__):
        raise AssertionError("allocated")

    monkeypatch.setattr(_core, "Sampled", never)
    with pytest.raises(error) as caught:
        sq.simulate(**{"task": TASK} | SMALL | change)
    assert str(caught.value) == message and type(caught.value) is error


def test_memory_is_checked_before_allocation(monkeypatch):
    with pytest.raises(
        MemoryError,
        match=r"^runs = 1000000, L = 3, d = 1000000, steps = 60 need .* TB \(\d+ bytes\), .* are "
        r"available; ",
    ):
        sq.simulate(TASK, **SMALL | {"d": 10**6, "runs": 10**6})
    with pytest.raises(MemoryError, match="runs = 4, L = 3, d = 40, steps = 1000000000000 need"):
        sq.simulate(TASK, **SMALL | {"steps": 10**12, "record": sq.Every(1)})
    monkeypatch.setattr(_memory, "available", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"10 kB are available"):
        sq.simulate(TASK, **SMALL | {"d": 10**6})
    sq.simulate(TASK, **SMALL)  # next to nothing is never refused


def test_records_need_memory_once_a_run(monkeypatch):
    """Not for the lanes and threads that stand by."""
    monkeypatch.setattr(_memory, "available", lambda: 200_000_000)
    sq.simulate(
        TASK,
        **SMALL
        | {
            "d": 1000,
            "steps": 20_000,
            "runs": 64,
            "threads": 64,
            "record": sq.Every(1),
            "dynamics": "reduced",
        },
    )


# --- warnings


def test_steps_too_short_for_float32():
    tiny = SMALL | {"lr": 1e-6}
    with pytest.warns(
        sq.PrecisionWarning,
        match=r"float32 rounds away steps as short as lr / sqrt\(d\) = 1.6e-07 .*use "
        r"dtype='float64'$",
    ) as caught:
        sq.simulate(TASK, **tiny)
    assert caught[0].filename == __file__
    sq.simulate(TASK, **tiny | {"dtype": "float64"})
    sq.simulate(TASK, **SMALL | {"lr": 0})
    with pytest.warns(sq.PrecisionWarning):
        sq.simulate(TASK, **SMALL | {"lr": sq.Piecewise([(0, 1), (10, 1e-9)])})


def explosive(runs=4, **change):
    """The link's 25th value, whichever run it is for, is not a number."""
    calls = {"n": 0}

    def link(z):
        calls["n"] += 1
        return float("nan") if calls["n"] == 25 else z[0]

    return sq.simulate(
        sq.Task(sq.SSI(link, 1), sq.Tied("identity")),
        **SMALL | {"runs": runs, "threads": 1, "record": sq.Every(10)} | change,
    )


def test_nonfinite_values_stop_a_run_and_keep_its_records():
    with pytest.warns(
        sq.NonFiniteWarning,
        match=r"^values were not finite in run 0 at step 25; these runs stopped there",
    ) as caught:
        r = explosive(runs=1)
    assert caught[0].filename == __file__
    assert r.dataset["nonfinite_step"].values.tolist() == [25.0] and r.dataset[
        "steps_done"
    ].values.tolist() == [24]
    assert np.isfinite(r.m[0, :3]).all() and np.isnan(r.m[0, 3:]).all()
    assert "stopped at values that are not finite" in repr(r)


def test_nonfinite_in_one_run_leaves_the_others():
    with pytest.warns(sq.NonFiniteWarning):
        r = explosive(runs=3)
    stopped = np.isfinite(r.dataset["nonfinite_step"].values)
    assert stopped.sum() == 1
    assert (
        np.isfinite(r.m.values[~stopped]).all()
        and (r.dataset["steps_done"].values[~stopped] == 60).all()
    )


def test_an_error_in_the_link_comes_out():
    def broken(z):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sq.simulate(sq.Task(sq.SSI(broken, 1), sq.Tied()), **SMALL | {"threads": 2})


@pytest.mark.parametrize(
    "dtype", [np.float64, np.dtype("float64"), "float64", "f8", float, "double"]
)
def test_dtypes_are_what_numpy_takes_for_them(dtype):
    wanted = sq.simulate(TASK, **SMALL, dtype="float64")
    assert sq.simulate(TASK, **SMALL, dtype=dtype).dataset.equals(wanted.dataset)
