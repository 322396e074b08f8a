"""Runs that stop before others: no mean, median or picture may be made of those that are left, and
a result that is not complete says so everywhere."""

import json
import math
import signal

import matplotlib
import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd.dynamics import core
from seqsgd.dynamics.protocol import Variable
from seqsgd.results import provenance

matplotlib.use("Agg")

TASK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
RUN = {"d": 30, "steps": 200, "lr": 0.4, "runs": 9, "rng": 1, "record": sq.Every(5)}
BASE = {"task": TASK} | {k: v for k, v in RUN.items() if k != "rng"}  # of sweeps
LONG = RUN | {"steps": 10**9, "runs": 3, "record": sq.LogSpaced(2)}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def whole():
    return sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.5))


@pytest.fixture(scope="module")
def halted():
    return sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.5, halt=True))


@pytest.fixture(scope="module")
def ended():
    """By a callback, at once."""
    return sq.simulate(TASK, **LONG, callback=lambda done, total: True)


@pytest.fixture(scope="module")
def interrupted():
    def press(done, total):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(sq.SimulationInterrupted) as caught:
        sq.simulate(TASK, **LONG, callback=press)
    return caught.value.result


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- halting


def test_halting_is_asked_for(whole, halted):
    assert (
        sq.WeakRecovery(0.5) == sq.WeakRecovery(0.5, halt=False) != sq.WeakRecovery(0.5, halt=True)
    )
    assert np.isfinite(whole.m).all() and (whole.dataset.steps_done == 200).all()
    assert whole.weak_recovery.equals(halted.weak_recovery) and whole.censored.equals(
        halted.censored
    )
    assert len(set(halted.dataset.steps_done.values)) > 3, "runs halt at different steps"


def test_what_was_not_reached_is_infinite_and_no_median_is_made_up(dynamics):
    few = sq.simulate(TASK, **RUN | {"steps": 40}, dynamics=dynamics, stop=sq.WeakRecovery(0.5))
    reached = ~few.censored.values
    assert 0 < reached.sum() < 5, "less than half get there"
    assert np.isposinf(few.weak_recovery.values[~reached]).all()
    assert np.isfinite(few.weak_recovery.values[reached]).all()
    assert few.weak_recovery.median("run") == few.weak_recovery.mean("run") == math.inf
    assert few.passage.median == math.inf and few.passage.number_reached == reached.sum()
    assert few.dataset.to_dataframe()["weak_recovery"].notna().all()


def test_a_curve_ends_where_the_first_run_does(whole, halted):
    """By hand: medians over all 9 runs, taken from those that go on, up to the first halt."""
    first = int(halted.weak_recovery.min())
    steps = whole.dataset.step.values
    upto = steps <= first
    assert 3 < upto.sum() < len(steps)
    ax = halted.plot()
    (line,) = ax.lines
    assert line.get_xdata().tolist() == steps[upto].tolist()
    wanted = np.quantile(np.abs(whole.m.values[:, upto]), [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_array_equal(line.get_ydata(), wanted[1])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 0].max() == steps[upto][-1] and band[:, 1].max() == wanted[2].max()
    n = int(np.isfinite(halted.weak_recovery).sum())
    assert legend(ax) == [f"overlap $|m|$\nuntil the first of 9 runs halts ({n} in all)"]
    assert legend(whole.plot()) == ["overlap $|m|$"]
    (loss,) = halted.plot(what="loss").lines  # has no record at the start
    assert loss.get_xdata().tolist() == steps[upto][1:].tolist()


def test_a_result_says_how_many_halted(whole, halted, tmp_path):
    n, last = int(np.isfinite(halted.weak_recovery).sum()), int(halted.weak_recovery.min()) // 5 * 5
    at = np.median(whole.m.sel(step=last))
    said = repr(halted)
    assert (
        f"-> {at:.3g} (median over runs, steps 0 to {last}, until the first of 9 runs halts ({n} "
        "in all))" in said
    )
    assert f"{n} of 9 runs halted at eta, and have no records after that" in said
    halted.save(tmp_path / "r.nc")
    for r in (halted, sq.load(tmp_path / "r.nc")):
        assert r.complete and r.m.attrs["comment"] == r.loss.attrs["comment"]
        assert r.m.attrs["comment"].startswith(f"{n} of 9 runs halted at eta: NaN after that")
        assert "comment" not in r.weak_recovery.attrs
    assert "comment" not in whole.m.attrs and "halted" not in repr(whole)
    assert halted.m.mean("run", skipna=False).dropna("step").step.values[-1] == last


@pytest.mark.parametrize("halt", [False, True])
def test_runs_that_are_not_finite_end_curves_too(halt):
    calls = {"n": 0}

    def link(z):
        calls["n"] += 1
        return math.nan if calls["n"] == 25 else z[0]

    task = sq.Task(sq.SSI(link, 1), sq.Tied("identity"))
    with pytest.warns(sq.NonFiniteWarning):
        r = sq.simulate(
            task,
            **RUN | {"runs": 3, "threads": 1, "record": sq.Every(1)},
            stop=sq.WeakRecovery(0.999, halt=halt),
        )
    done = int(r.dataset.steps_done.min())
    assert np.isfinite(r.dataset.nonfinite_step).sum() == 1 and done < 200
    ax = r.plot()
    assert ax.lines[0].get_xdata()[-1] == done
    assert legend(ax) == [
        "overlap $|m|$\nuntil the first of 3 runs stops at values not\nfinite (1 in all)"
    ]
    assert (
        r.complete and "1 of 3 runs stopped at values that are not finite" in r.m.attrs["comment"]
    )
    bad = np.isfinite(r.dataset.nonfinite_step.values)
    assert np.isposinf(r.weak_recovery.values[bad]).all() and r.censored.values[bad].all()


def test_several_results_on_one_axes_are_told_apart(whole, halted):
    ax = whole.plot(label="all")
    assert halted.plot(ax, label="_short") is ax
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in ax.lines]
    assert all(a != b for a, b in zip(*looks, strict=True))
    assert legend(ax)[0] == "all" and legend(ax)[1].startswith(" _short\nuntil the first of 9 runs")
    whole.plot(ax, what="loss")
    assert ax.get_ylabel() == "overlap $|m|$, one-pass loss" and len(legend(ax)) == 3
    with pytest.raises(
        ValueError,
        match=r"^time: expected that of the curves on these axes \(step .*\), got True$",
    ):
        whole.plot(ax, time=True)
    with pytest.raises(TypeError, match="^label: expected a string, got 3$"):
        whole.plot(label=3)
    left = sq.ResultSet({"_a": whole, "b": halted}).plot().axes[0]
    assert [text.split("\n")[0] for text in legend(left)] == [" _a", "b"]
    passages = whole.passage.plot(label="_mine")
    assert legend(passages) == [" _mine"]


# --- interrupted, ended


@pytest.mark.parametrize(
    ("name", "words"),
    [("ended", "ended by the callback after"), ("interrupted", "interrupted after")],
)
def test_what_is_not_complete_says_so_everywhere(name, words, request, tmp_path):
    r = request.getfixturevalue(name)
    done = r.dataset.steps_done.values
    assert not r.complete and r.dataset.attrs["complete"] == 0 and 0 < done.max() < 10**9
    low, high = done.min(), done.max()
    said = f"{words} {low if low == high else f'{low} to {high}'} of 1000000000 steps"
    assert f"\n  incomplete {said}\n" in repr(r) and said in r._repr_html_()
    assert f"{said}: NaN after that" in r.m.attrs["comment"]
    assert said in repr(sq.ResultSet({"x": r}))
    picture = " ".join(legend(r.plot())[0].split("\n"))
    assert picture == f"overlap $|m|$ {words} {low} of 1000000000 steps"
    assert r.plot().lines[0].get_xdata()[-1] <= low
    r.save(tmp_path / "r.nc")
    sq.ResultSet({"a": r, "b": r}).save(tmp_path / "s.nc")
    several = sq.load(tmp_path / "s.nc")
    assert not several.complete
    for again in (sq.load(tmp_path / "r.nc"), several["b"]):
        assert not again.complete and repr(again) == repr(r)


def test_checkpoints_complete_what_was_ended(tmp_path):
    run = RUN | {"steps": 3_000_000, "runs": 2, "record": [0, 3_000_000]}
    run |= {"checkpoint": tmp_path / "c"}
    assert not sq.simulate(TASK, **run, callback=lambda done, total: True).complete
    assert sq.simulate(TASK, **run).complete


def test_a_callback_at_the_very_end_leaves_a_complete_result():
    r = sq.simulate(TASK, **RUN, dynamics="flow", callback=lambda done, total: done == total)
    assert r.complete and (r.dataset.steps_done == 200).all() and "ended_by" not in r.dataset.attrs


def test_runs_that_had_not_begun_are_counted():
    """The flow goes from run to run; a curve of all of them has no point then."""
    r = sq.simulate(
        TASK, **RUN, dynamics="flow", init=sq.Uniform(), callback=lambda done, total: True
    )
    assert "interrupted" not in repr(r)
    assert (
        "\n  incomplete ended by the callback after 0 of 200 steps, 1 of 9 runs had ended\n"
        in repr(r)
    )
    assert "no record that all runs have" in repr(r)
    ax = r.plot()
    ax.figure.canvas.draw()
    assert ax.lines[0].get_xdata().size == 0 and "ended by the callback" in legend(ax)[0]


# --- files and stores of before


def old(dataset):
    """As format 1 had it."""
    attrs = {k: v for k, v in dataset.attrs.items() if k != "complete"} | {"format_version": 1}
    passed = dataset.weak_recovery.where(np.isfinite(dataset.weak_recovery))
    return sq.Result(
        dataset.assign(weak_recovery=passed)
        .assign_attrs(attrs)
        .drop_attrs(deep=False)
        .assign_attrs(attrs)
    )


def test_files_of_before_are_read(tmp_path):
    r = sq.simulate(TASK, **RUN | {"steps": 40}, stop=sq.WeakRecovery(0.5))
    before = old(r.dataset)
    assert np.isnan(before.weak_recovery).any()
    before.save(tmp_path / "r.nc")
    sq.ResultSet({"a": before}).save(tmp_path / "s.nc")
    for again in (sq.load(tmp_path / "r.nc"), sq.load(tmp_path / "s.nc")["a"]):
        np.testing.assert_array_equal(again.weak_recovery, r.weak_recovery)
        assert again.weak_recovery.attrs == r.weak_recovery.attrs and again.complete
        assert again.dataset.attrs["format_version"] == 2  # older readers must refuse it
    short = old(r.dataset.assign(steps_done=r.dataset.steps_done - 5))
    short.save(tmp_path / "i.nc")
    again = sq.load(tmp_path / "i.nc")
    assert not again.complete and "incomplete incomplete: after 35 of 40 steps" in repr(again)
    assert provenance.FORMAT_VERSION == 2


def test_sweeps_have_inf_for_not_reached_and_nan_for_not_computed(tmp_path, monkeypatch):
    base = BASE | {"steps": 45, "stop": sq.WeakRecovery(0.5)}
    path = tmp_path / "s"
    with monkeypatch.context() as patch:  # a store begun by an earlier version
        now = core.labelled

        def before(*args):
            out = now(*args)
            passed = out["weak_recovery"].values
            old = np.where(np.isinf(passed), np.nan, passed)
            meaning = "first step, NaN if not reached"
            return out | {"weak_recovery": Variable(("run",), old, meaning)}

        patch.setattr(core, "labelled", before)
        sq.sweep(base, {"lr": [0.1]}, store=path, rng=0)
    r = sq.sweep(base, {"lr, runs": [[0.1, 0.4], [9, 7]]}, store=path, rng=0)
    passed, below = r["weak_recovery"], r["censored"]
    assert np.isnan(passed.sel(lr=0.4, run=[7, 8])).all() and passed.isnull().sum() == 2
    assert (np.isposinf(passed) == (below == 1)).all() and np.isposinf(passed).sum(
        ["run"]
    ).min() > 0
    assert passed.attrs["long_name"] == "first step with ||(e, m)|| >= eta, inf if not reached"
    assert (passed.median("run") == math.inf).all() and "NaN: not computed" in r.m.attrs["comment"]
    assert r.dataset.attrs["complete"] == 1 == r.provenance().attrs["complete"]
    for lr, runs in ((0.1, 9), (0.4, 7)):
        cell = r.cell(lr=lr)
        assert (
            cell.complete
            and np.isposinf(cell.weak_recovery).sum() == cell.censored.sum()
            and cell.m.sizes["run"] == runs
        )
    r.to_netcdf(tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc", engine="h5netcdf") as plain:
        np.testing.assert_array_equal(plain.weak_recovery, passed)


def test_a_sweep_that_lacks_cells_or_runs_says_so(tmp_path):
    base = BASE | {"stop": sq.WeakRecovery(0.5)}
    path = tmp_path / "s"
    sq.sweep(base, {"lr": [0.1]}, store=path, rng=0)
    import sqlite3

    more = sq.sweep(base | {"runs": 12}, {"lr": [0.1, 0.2]}, store=path, rng=0)
    assert more.dataset.attrs["complete"] == 1
    with sqlite3.connect(path) as db:  # as if it had been interrupted before the last three runs
        assert db.execute("DELETE FROM pieces WHERE first = 9").rowcount >= 1
        db.execute("DELETE FROM pieces WHERE runs = 12")
    db.close()
    part = sq.open_sweep(path)
    assert part.dataset.attrs["complete"] == 0 and json.loads(part.dataset.attrs["base"])
    cell = part.cell(lr=0.1)
    assert not cell.complete and "incomplete 3 of 12 runs not computed" in repr(cell)
    assert cell.passage.runs == 9
    (line,) = cell.plot().lines
    assert line.get_xdata()[-1] == 200 and legend(line.axes) == [
        "overlap $|m|$\n3 of 12 runs not computed"
    ]
