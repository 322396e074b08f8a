"""sweep: the same numbers as simulate, under labels, kept and continued."""

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd.sweeps import assembly, run, worker
from seqsgd.sweeps.labels import nearly
from sweeping import BASE, GRID, HEAVY, TASK, files, same


@pytest.fixture(scope="module")
def swept():
    return sq.sweep(BASE, GRID, rng=0)


def test_every_cell_is_what_simulate_gives(swept):
    for omega in np.linspace(0, 1, 4):
        for lr in GRID["lr"]:
            cell = swept.cell(omega=float(omega), lr=lr)
            again = sq.simulate(**cell.arguments)
            xr.testing.assert_identical(
                cell.dataset.drop_attrs(deep=False), again.dataset.drop_attrs(deep=False)
            )
            assert (
                cell.task == again.task
                and cell.arguments["d"] == 20
                and cell.arguments["rng"].spawn_key
            )
            xr.testing.assert_equal(
                swept.sel(omega=float(omega), lr=lr).m.drop_vars(("omega", "lr")), again.m
            )
            here, there = (json.loads(r.dataset.attrs["versions"]) for r in (cell, again))
            assert here == there and set(cell.dataset.attrs) == set(again.dataset.attrs)


def test_labels(swept):
    d = swept.dataset
    assert (
        d.m.dims == ("omega", "lr", "run", "step")
        and d.m.shape == (4, 3, 5, 7)
        and d.m.dtype == np.float64
    )
    assert d["steps_done"].dtype == np.int64 and d["steps_done"].dims == ("omega", "lr", "run")
    assert (
        d.omega.values.tobytes() == np.linspace(0, 1, 4).tobytes()
        and d.lr.values.tolist() == GRID["lr"]
    )
    assert d.time.dims == ("lr", "step")  # it does not depend on omega
    np.testing.assert_allclose(d.time, d.lr * d.step / 20)
    assert d.m.attrs["long_name"] == "overlap w . w* / d" and d.attrs["format"] == "seqsgd sweep"
    assert swept.groupby("lr").mean().m.sizes["lr"] == 3
    frame = swept.to_dataframe()
    assert frame.index.names == ["omega", "lr", "run", "step"] and len(frame) == d.m.size
    assert swept.sel(omega=1 / 3, lr=0.1).m.shape == (5, 7) and swept.sel(
        omega=1 / 3 + 1e-13, lr=0.1
    ).m.shape == (5, 7)
    assert (
        swept.cells_done == 12
        and "omega 4 x lr 3" in repr(swept)
        and "12 of 12 done" in repr(swept)
        and "<table>" in swept._repr_html_()
    )


FLOATS = [
    (0.3, 1), (1 / 3 - 1 / 30, 1), (np.float32(0.3), 1), (np.float16(0.3), 1), (0, 1), (1, 1),
    (np.array(0.3), 1), (xr.DataArray(0.3), 1), ([0.3, 0.6], 2), ((0.3, 0.6), 2), ([0, 0.3], 2),
    (np.array([0.3, 0.6]), 2), (np.float32([0.3, 0.6]), 2), ([np.float32(0.3), 0.6], 2), ([], 0),
    (pd.Series([0.3, 0.6]), 2), (pd.Index([0.3]), 1), ([0.3, 0.3], 2), (slice(0.1, 0.3), 3),
    (slice(np.float32(0.1), np.array(0.3)), 3), (slice(None, 0.3), 4), (slice(0.3, None, 2), 4),
    (slice(0.25, 0.35), 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def eleven():
    return sq.sweep(
        BASE | {"steps": 2, "record": [0, 2]},
        {"task.teacher.omega": {"linspace": [0.0, 1.0, 11]}, "lr": np.float32([0.1, 0.2])},
        rng=0,
    )


@pytest.mark.parametrize(("label", "count"), FLOATS, ids=lambda x: str(x)[:20])
def test_floats_are_found_that_are_right_but_for_rounding(eleven, label, count):
    found = eleven.sel(omega=label)
    assert found.omega.size == count
    for value in np.atleast_1d(found.omega.values):
        assert value in eleven.dataset.omega.values


def test_selecting_is_what_xarray_does(eleven):
    points = {
        "omega": xr.DataArray([0.3, 0.6, 0.3], dims="p"),
        "lr": xr.DataArray([0.1, 0.2, 0.2], dims="p"),
    }
    d = eleven.dataset
    omega, lr = d.omega.values, d.lr.values
    exact = {
        "omega": xr.DataArray([omega[3], omega[6], omega[3]], dims="p"),
        "lr": xr.DataArray([lr[0], lr[1], lr[1]], dims="p"),
    }
    assert eleven.sel(points).identical(d.sel(exact)) and eleven.sel(points).m.dims == (
        "p",
        "run",
        "step",
    )
    assert eleven.sel(omega=0.31, lr=0.1001, method="nearest").identical(d.isel(omega=3, lr=0))
    assert eleven.sel(omega=0.3, method="ffill").identical(d.isel(omega=3))
    assert eleven.sel(omega=0.3, drop=True).identical(d.isel(omega=3, drop=True))
    assert eleven.sel({"omega": 0.3}, lr=0.1).identical(
        d.isel(omega=3, lr=0)
    )  # 0.1 of a float32 coordinate
    assert eleven.sel(run=slice(1, 2), step=2).identical(d.sel(run=slice(1, 2), step=2))
    for labels in (
        {"omega": 0.31},
        {"omega": [0.3, 0.31]},
        {"omega": 0.31, "method": "nearest", "tolerance": 1e-3},
        {"omega": 0.3 + 1e-7},
    ):
        with pytest.raises(KeyError):
            eleven.sel(**labels)
    with pytest.raises(
        ValueError, match="^indexers: expected each dimension once, got omega also as a keyword$"
    ):
        eleven.sel({"omega": 0.3}, omega=0.3)
    with pytest.raises(
        TypeError, match="^indexers: expected a mapping of labels by dimension, got 3$"
    ):
        eleven.sel(3)
    assert eleven.cell(omega=np.float32(0.3), lr=0.1).m.equals(
        eleven.cell(omega=omega[3], lr=lr[0]).m
    )
    with pytest.raises(ValueError, match=r"^omega: expected one of .*, got \[0.3\]$"):
        eleven.cell(omega=[0.3], lr=0.1)


def test_labels_that_lie_close_are_told_apart():
    """The nearest one is taken; an absolute difference is nothing where all labels are small."""
    values = np.array([-1e-13, 0.0, 1e-13, 2e-13, 1.0, 1.0 + 4e-16, 1.0 + 1e-8])
    for v in values:
        assert nearly(values, v) == v and nearly(values[::-1], float(v)) == v
    assert nearly(values, 1.5e-13) == 1.5e-13 and nearly(values, 1.0 + 1.05e-8) == 1.0 + 1e-8
    assert (
        nearly(np.linspace(-1, 1, 11), 1e-17) == 0.0
        and np.isnan(nearly(values, np.nan))
        and nearly(values, np.inf) == np.inf
    )
    assert (
        nearly(np.array([1, 2]), 1.0) == 1.0
        and nearly(np.array(["a"]), "a") == "a"
        and nearly(values, "a") == "a"
    )


def test_provenance_of_every_cell(swept):
    p = swept.provenance()
    assert (
        p["complete"].all()
        and (p["error"] == "").all()
        and (p["seconds"] > 0).all()
        and len(np.unique(p["key"])) == 12
    )
    a = json.loads(p["arguments"].sel(lr=0.2).isel(omega=1).item())
    assert (
        a["lr"] == 0.2
        and a["task"]["teacher"]["omega"] == pytest.approx(1 / 3)
        and a["rng"]["entropy"] == 0
    )
    assert (
        json.loads(p["versions"].values[0, 0])["seqsgd"] == sq.__version__
        and (p["simd"] == sq._core.level).all()
    )


def test_no_grid_points_but_one_and_no_axes():
    r = sq.sweep(BASE, {}, rng=0)
    assert r.dataset.m.dims == ("run", "step") and r.cell().m.equals(r.m) and r.cells_done == 1
    one = sq.sweep(BASE, {"lr": [0.1]}, rng=0)
    assert one.m.sel(lr=0.1).drop_vars("lr").equals(r.m)


def test_adding_points_computes_only_these(tmp_path):
    path = tmp_path / "s"
    first = sq.sweep(BASE, {"lr": [0.1, 0.2]}, store=path, rng=0)
    before, made = first.dataset, first.provenance()
    with pytest.MonkeyPatch.context() as patch:
        calls = count(patch)
        more = sq.sweep(BASE, {"lr": [0.05, 0.1, 0.15, 0.2]}, store=path, rng=0)
    assert calls == [0.05, 0.15]
    same(more.dataset.sel(lr=[0.1, 0.2]), before)
    assert (more.provenance().sel(lr=[0.1, 0.2])["created"] == made["created"]).all()
    same(more, sq.sweep(BASE, {"lr": [0.05, 0.1, 0.15, 0.2]}, rng=0))
    assert files(tmp_path) == ["s"]
    assert sq.open_sweep(path).dims == ("lr",) and sq.open_sweep(path).shape == (4,)


def count(patch):
    """Note the learning rate of every piece computed here."""
    from seqsgd.sweeps import drive

    calls = []

    def counted(piece, *rest):
        calls.append(piece.run.lr)
        return worker.compute_piece(piece, *rest)

    patch.setattr(drive, "compute_piece", counted)
    return calls


def test_running_again_computes_nothing(tmp_path, capsys):
    r = sq.sweep(BASE, GRID, store=tmp_path / "s")
    with pytest.MonkeyPatch.context() as patch:
        calls = count(patch)
        again = sq.sweep(BASE, GRID, store=tmp_path / "s", progress=True)
        assert calls == []
    same(again, r)  # without rng the store keeps to the entropy it drew
    assert capsys.readouterr().err == "seqsgd: 12 cells, all stored\n"


def test_more_runs_of_the_same_cells(tmp_path):
    few = sq.sweep(BASE, GRID, store=tmp_path / "s", rng=0)
    before = few.dataset
    many = sq.sweep(BASE | {"runs": 8}, GRID, store=tmp_path / "s", rng=0)
    same(many.dataset.sel(run=slice(0, 4)), before)
    same(many, sq.sweep(BASE | {"runs": 8}, GRID, rng=0))
    late = sq.sweep(BASE | {"runs": 3, "first_run": 4}, GRID, store=tmp_path / "s", rng=0)
    assert late.dataset.run.values.tolist() == [4, 5, 6]
    same(late, many.dataset.sel(run=slice(4, 6)))
    assert many.provenance()["seconds"].dims == ("omega", "lr")


def test_a_changed_definition_is_another_cell(tmp_path):
    values = [
        sq.sweep(BASE | change, {"lr": [0.1]}, store=tmp_path / "s", rng=0).m.values
        for change in ({}, {"dtype": "float64"}, {"steps": 250}, {"step": "projected"})
    ]
    assert len({v.tobytes() for v in values}) == 4
    first = sq.sweep(BASE, {"lr": [0.1]}, store=tmp_path / "s", rng=0)
    assert first.m.values.tobytes() == values[0].tobytes()


def test_cells_that_differ_in_records_runs_and_tokens():
    base = {
        "task": sq.Task(sq.SSI("sum", L=2), sq.Untied("relu")),
        "d": 20,
        "lr": 0.1,
        "steps": 100,
        "record": sq.LogSpaced(4),
        "runs": 2,
        "stop": sq.WeakRecovery(0.9),
    }
    r = sq.sweep(base, {"task.teacher.L": [2, 4], "steps, runs": [[50, 200], [2, 3]]}, rng=0)
    d = r.dataset
    assert (
        d.m.dims == ("L", "steps", "run", "step", "token")
        and d.m.shape[-1] == 4
        and d.token.values.tolist() == [1, 2, 3, 4]
    )
    assert d.runs.dims == ("steps",) and d.runs.values.tolist() == [2, 3]
    assert (
        d["steps_done"].dtype == np.float64 and d["censored"].dtype == np.float64
    )  # NaN for runs that are not there
    assert (
        np.isnan(d["steps_done"].sel(steps=50, run=2)).all()
        and np.isfinite(d["steps_done"].sel(steps=200)).all()
    )
    for L in (2, 4):
        for steps, runs in ((50, 2), (200, 3)):
            cell = r.cell(L=L, steps=steps)
            assert (
                cell.m.shape[::2] == (runs, L)
                and cell.censored.dtype == bool
                and cell.dataset["steps_done"].dtype == np.int64
            )
            part = d.m.sel(L=L, steps=steps)
            assert (
                part.sel(run=cell.m.run, step=cell.m.step, token=cell.m.token).values.tobytes()
                == cell.m.values.tobytes()
            )
            assert np.isfinite(part).sum() == np.isfinite(cell.m).sum()
            np.testing.assert_array_equal(d.time.sel(step=cell.m.step), cell.dataset.time)


def test_one_number_of_a_sequence_counts_once_over_tokens():
    """Tied among untied: the overlap of the former is one number, NaN at the other tokens."""
    tasks = {
        "tied": sq.Task(sq.SSI("sum", L=3), sq.Tied("relu")),
        "untied": sq.Task(sq.SSI("sum", L=3), sq.Untied("relu")),
    }
    r = sq.sweep(
        {"d": 20, "steps": 10, "lr": 0.1, "runs": 2, "record": [0, 10]},
        {"task": {"labels": tasks}},
        rng=0,
    )
    tied, untied = (r.cell(task=name).m for name in tasks)
    assert tied.dims == ("run", "step") and untied.dims == ("run", "step", "token")
    assert (
        r.m.sel(task="tied", token=1).drop_vars(("task", "token")).equals(tied)
        and np.isnan(r.m.sel(task="tied", token=[2, 3])).all()
    )
    np.testing.assert_array_equal(r.m.sum("token"), [tied, untied.sum("token")])
    same(r.open(lazy=True).load(), r.dataset)


def test_lazily(swept):
    z = swept.open(lazy=True)
    assert not z["m"]._in_memory
    part = z.isel(omega=[0, 2], run=slice(1, 4, 2)).sel(lr=0.2)
    assert not part["m"]._in_memory
    same(part.load(), swept.dataset.isel(omega=[0, 2], run=slice(1, 4, 2)).sel(lr=0.2))
    same(swept.open(lazy=True).load(), swept.dataset)
    assert float(z.m[1, 2, 3, 4]) == float(swept.m[1, 2, 3, 4])


def test_large_ones_are_lazy_by_themselves(swept, monkeypatch):
    from seqsgd.sweeps import result

    monkeypatch.setattr(result, "EAGER", 100)
    assert not swept.open()["m"]._in_memory


def test_a_scratch_store_lives_as_long_as_what_reads_from_it():
    r = sq.sweep(BASE, {"lr": [0.1]}, rng=0)
    path, z = r.path, r.open(lazy=True)
    del r
    assert path.exists() and np.isfinite(z.m.values).all()
    del z
    import gc

    gc.collect()
    assert not path.parent.exists()


@pytest.mark.slow
def test_netcdf_and_zarr(swept, tmp_path):
    swept.to_netcdf(tmp_path / "s.nc")
    same(xr.load_dataset(tmp_path / "s.nc", engine="h5netcdf"), swept.dataset)
    p = xr.load_dataset(tmp_path / "s.nc", group="provenance", engine="h5netcdf")
    assert (p["arguments"] == swept.provenance()["arguments"]).all()
    pytest.importorskip("zarr")
    swept.to_zarr(tmp_path / "s.zarr")
    same(
        xr.load_dataset(tmp_path / "s.zarr", engine="zarr", consolidated=False, chunks=None),
        swept.dataset,
    )
    q = xr.load_dataset(
        tmp_path / "s.zarr", group="provenance", engine="zarr", consolidated=False, chunks=None
    )
    assert q["arguments"].values.tolist() == swept.provenance()["arguments"].values.tolist()
    with pytest.raises(ValueError, match=r"^path: .* exists already"):
        swept.to_zarr(tmp_path / "s.zarr")
    words = sq.sweep(BASE | {"steps": 2, "record": [0]}, {"dtype": ["float32", "float64"]}, rng=0)
    words.to_zarr(tmp_path / "w.zarr")
    read = xr.load_dataset(tmp_path / "w.zarr", engine="zarr", consolidated=False, chunks=None)
    assert (
        read["dtype"].values.tolist() == ["float32", "float64"]
        and (read.m.values == words.m.values).all()
    )
    assert files(tmp_path) == ["s.nc", "s.zarr", "w.zarr"]


def test_what_is_not_there_is_said(swept):
    for labels, said in (
        ({"omega": 0.0}, "lr: missing, expected one of [0.05, 0.1, 0.2]"),
        ({"omega": 0.0, "lr": 3}, "lr: expected one of [0.05, 0.1, 0.2], got 3"),
        ({"omega": 0.0, "lr": 0.1, "d": 1}, "d: expected one of omega, lr"),
    ):
        with pytest.raises(ValueError) as caught:
            swept.cell(**labels)
        assert str(caught.value) == said


def flaky(z):
    if not flaky.healthy and z[0] > 2:
        raise RuntimeError("no\nluck")
    return z[0]


flaky.healthy = False
FLAKY = {"task": sq.Task(sq.SSI("z1", L=1), sq.Tied()), "d": 10, "steps": 200, "lr": 0.1, "runs": 2}


def test_a_cell_that_fails_is_noted_and_tried_again(tmp_path):
    grid = {"task.teacher.link": {"labels": {"good": "z1", "bad": flaky}}, "lr": [0.1, 0.2]}
    flaky.healthy = False
    with pytest.warns(
        sq.SweepWarning,
        match=r"^2 of 4 cells failed, the first at link = bad, lr = 0.1: RuntimeError: no luck "
        r"\(all of them: `result.errors`",
    ):
        r = sq.sweep(FLAKY, grid, store=tmp_path / "s", rng=0)
    assert (
        r.errors == {f"link = bad, lr = {lr}": "RuntimeError: no luck" for lr in (0.1, 0.2)}
        and "in flaky" in r.tracebacks["link = bad, lr = 0.1"]
    )
    assert r.cells_done == 2 and "2 of 4 done, 2 failed" in repr(r)
    assert (
        np.isfinite(r.m.sel(link="good")).all()
        and np.isnan(r.m.sel(link="bad")).all()
        and np.isnan(r["steps_done"].sel(link="bad")).all()
    )
    with pytest.raises(
        ValueError, match=r"^link = bad, lr = 0.1: it was not computed yet, or failed"
    ):
        r.cell(link="bad", lr=0.1)
    assert r.provenance()["error"].sel(link="bad", lr=0.1) == "RuntimeError: no luck"
    with pytest.raises(sq.SweepError, match=r"^link = bad, lr = 0.1: RuntimeError: no luck$"):
        sq.sweep(FLAKY, grid, store=tmp_path / "s", rng=0, errors="raise")
    flaky.healthy = True
    try:
        healed = sq.sweep(FLAKY, grid, store=tmp_path / "s", rng=0)
    finally:
        flaky.healthy = False
    assert healed.errors == {} and healed.cells_done == 4
    same(
        healed.dataset.sel(link="good"),
        r.dataset.sel(link="good").assign(steps_done=lambda d: d["steps_done"].astype(int)),
    )


def test_warnings_come_once():
    with pytest.warns(sq.NonFiniteWarning, match=r"^values were not finite in 6 runs") as caught:
        r = sq.sweep(
            {
                "task": sq.Task(sq.SSI("sum", L=2), sq.Tied("square")),
                "d": 4,
                "steps": 50,
                "lr": 1e300,
                "runs": 2,
                "dtype": "float64",
            },
            {"rng": [1, 2, 3]},
        )
    assert len(caught) == 1 and np.isfinite(r["nonfinite_step"]).all()
    with pytest.warns(
        sq.PrecisionWarning, match=r"float32 rounds away .* \(and 2 more cells\)$"
    ) as caught:
        sq.sweep(BASE | {"lr": 1e-7}, {"rng": [1, 2, 3]})
    assert len(caught) == 1 and caught[0].filename == __file__


class Client:
    """As that of dask.distributed."""

    def get_executor(self, pure):
        raise AssertionError

    def __repr__(self):
        return "<Client>"


class Parallel:
    """As that of joblib."""

    def __repr__(self):
        return "<Parallel>"


DASK = "with dask.distributed: client.get_executor(pure=False)"
Parallel.__module__ = "joblib.parallel"
EXECUTOR = "expected None, a number of processes or a concurrent.futures.Executor"


def test_arguments_are_checked(tmp_path):
    for change, said in (
        ({"errors": "ignore"}, "errors: expected one of 'record', 'raise', got 'ignore'"),
        ({"executor": 0}, "executor: expected an integer in [1, 4096], got 0"),
        ({"executor": 1.5}, "executor: expected an integer in [1, 4096], got 1.5"),
        ({"executor": "threads"}, f"executor: {EXECUTOR}, got 'threads'"),
        (
            {"executor": "dask"},
            f"executor: {EXECUTOR}, got 'dask'; {DASK}",
        ),
        (
            {"executor": Client()},
            f"executor: {EXECUTOR}, got <Client>; {DASK}",
        ),
        (
            {"executor": Parallel()},
            f"executor: {EXECUTOR}, got <Parallel>; "
            "with joblib: joblib.externals.loky.get_reusable_executor(2)",
        ),
        ({"checkpoint_every": -1}, "checkpoint_every: expected a finite number >= 0, got -1"),
        ({"progress": 1}, "progress: expected true or false, got 1"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            sq.sweep(BASE, GRID, store=tmp_path / "s", **change)
        assert str(caught.value) == said
    with pytest.raises(TypeError, match="^grid: missing"):
        sq.sweep(BASE)
    with pytest.raises(TypeError, match="^grid: a Sweep has its grid"):
        sq.sweep(sq.Sweep(BASE, GRID), GRID)
    assert files(tmp_path) == []


def test_a_plan(tmp_path):
    s = sq.Sweep(BASE, GRID, rng=0)
    p = sq.plan(s, tmp_path / "s")
    assert (p.cells, p.cells_done, p.run_steps, p.run_steps_left) == (
        12,
        0,
        12 * 5 * 300,
        12 * 5 * 300,
    ) and p.seconds > 0
    assert str(p).startswith("12 cells; 1.8e+04 run-steps; about ") and files(tmp_path) == []
    sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=tmp_path / "s")
    assert str(sq.plan(sq.Sweep(BASE, {"lr": [0.1, 0.2]}, rng=0), tmp_path / "s", 2)).startswith(
        "2 cells, 1 of them stored; 3000 run-steps, 1500 of them left; about "
    )
    same(sq.sweep(s), sq.sweep(BASE, GRID, rng=0))


def test_what_a_cell_costs_beside_its_steps_is_foretold():
    """All the time of cells of one step: without it, a hundredth was said."""
    s = sq.Sweep(BASE | {"steps": 1, "record": [1], "runs": 1}, {"rng": range(300)})
    said = sq.plan(s).seconds
    started = time.perf_counter()
    sq.sweep(s)
    taken = time.perf_counter() - started
    print(f"said {said:.2f} s, taken {taken:.2f} s with the checks")
    assert taken / 8 < said < 8 * taken


def test_many_cells_are_announced_before_they_are_checked(monkeypatch, capsys):
    monkeypatch.setattr(run, "MANY", 12)
    sq.sweep(BASE, GRID, rng=0, progress=True)
    assert capsys.readouterr().err.startswith("seqsgd: checking 12 cells\nseqsgd: 12 cells; ")
    sq.sweep(BASE, GRID, rng=0)
    assert capsys.readouterr().err == ""


def test_the_cost_of_a_cell_is_found_by_trying():
    """No dynamics is known by name: longer and wider cells are found to be dearer."""
    from seqsgd.sweeps.cost import estimate

    runs = sq.Sweep(BASE, {"d": [10, 1000, 100_000]}).runs
    costs = estimate(runs)
    assert costs[0].seconds < costs[1].seconds < costs[2].seconds and all(c.split for c in costs)


@pytest.mark.slow
def test_records_of_ten_thousand_cells_open_as_one():
    """The numbers, not the speed (bench/test_sweeps.py)."""
    r = sq.sweep(
        BASE | {"steps": 4, "record": [0, 4], "runs": 1}, {"rng": range(300), "lr": [0.1, 0.2]}
    )
    for seed in (0, 150, 299):
        assert (
            r.cell(rng=seed, lr=0.2).m.values.tobytes()
            == r.m.sel(rng=seed, lr=0.2).values.tobytes()
        )


def test_pickles(tmp_path, monkeypatch):
    s = sq.Sweep(BASE, GRID, rng=0)
    assert pickle.loads(pickle.dumps(s)).cells() == s.cells()
    monkeypatch.chdir(tmp_path)
    for store in (None, "s"):
        r = sq.sweep(BASE, {"lr": [0.1]}, rng=0, store=store)
        data, numbers, lazy = pickle.dumps(r), r.dataset, pickle.dumps(r.open(lazy=True))
        del r
        monkeypatch.chdir("/")  # a path is whole
        again = pickle.loads(data)
        same(again, numbers)
        same(pickle.loads(lazy).load(), numbers)
        assert (
            again.cells_done == 1
            and again.dims == ("lr",)
            and again.errors == {}
            and again.cell(lr=0.1).m.shape == (5, 7)
        )
        monkeypatch.chdir(tmp_path)


def test_layout_of_dims_without_runs():
    """A dynamics without runs: its values stand for every run."""
    from seqsgd.dynamics.protocol import Variable
    from seqsgd.sweeps.piece import encode, layouts

    header, grid, data = encode(
        {"a": Variable(("step",), np.arange(3.0), "x"), "b": Variable((), np.array(2.0), "y")},
        np.arange(3),
        np.arange(3.0),
    )
    (a, b) = layouts(header)
    assert (a.shape, b.shape, len(data), len(grid)) == ((3,), (), 32, 48)
    assert assembly.decode(b, data) == 2.0 and not assembly.decode(a, data).flags.writeable


def test_heavy_cells_are_cut_and_light_ones_put_together():
    from seqsgd.sweeps.cost import Cost
    from seqsgd.sweeps.tasks import LEAST, MOST, in_order, pieces, tasks

    s = sq.Sweep(BASE | {"runs": 64}, HEAVY, rng=0)
    cells = s.cells()
    costs = [Cost(2e-5, True)] * len(cells)
    folder = Path("/nonexistent")
    found = pieces(cells, range(len(cells)), costs, {}, folder)
    out = tasks(found, 2)
    sizes = [sum(p.seconds for p in t) for t in out]
    whole = sum(p.seconds for p, _ in found)
    assert sum(sizes) == pytest.approx(whole) and max(sizes) < 2 * MOST and len(out) < whole / LEAST
    for i, cell in enumerate(cells):
        runs = sorted(
            r
            for t in out
            for p in t
            if p.cell == i
            for r in range(p.run.first_run, p.run.first_run + p.run.runs)
        )
        assert runs == list(range(64)) and all(
            p.key == cell.key for t in out for p in t if p.cell == i
        )
    assert [p.cell for t in in_order(found) for p in t] == list(range(len(cells)))
    assert TASK == cells[0].run.task or cells[0].run.task.teacher.omega == 0.2


def test_runs_side_by_side_stay_together():
    """Cut at whole groups of runs where there are many, else evenly; nothing is lost, nothing
    twice.
    """
    from seqsgd.sweeps.cost import SIDE_BY_SIDE, Cost
    from seqsgd.sweeps.tasks import pieces, tasks

    for count in (1, 7, 16, 17, 50, 64, 333):
        cells = sq.Sweep(BASE | {"runs": count, "first_run": 5}, {}, rng=0).cells()
        for seconds in (1e-4, 3e-3, 1e-2, 0.3):
            out = [
                p.run
                for t in tasks(
                    pieces(cells, [0], [Cost(seconds, True)], {}, Path("/nonexistent")), 2
                )
                for p in t
            ]
            assert sorted(
                r for run in out for r in range(run.first_run, run.first_run + run.runs)
            ) == list(range(5, 5 + count))
            sizes = sorted(run.runs for run in out)
            assert sizes[-1] <= SIDE_BY_SIDE // 2 or all(n % SIDE_BY_SIDE == 0 for n in sizes[1:])


def test_runs_that_cost_no_more_together_are_not_cut_apart():
    """However long they take: a part of a group of lanes costs as much as the group."""
    from seqsgd.sweeps.cost import SIDE_BY_SIDE, Cost
    from seqsgd.sweeps.tasks import pieces, tasks

    for count, expected in ((7, [7]), (16, [16]), (64, [16] * 4), (40, [8, 16, 16])):
        cells = sq.Sweep(BASE | {"runs": count}, {}, rng=0).cells()
        found = pieces(
            cells, [0], [Cost(10.0, True, min(count, SIDE_BY_SIDE))], {}, Path("/nonexistent")
        )
        assert sorted(p.run.runs for t in tasks(found, 2) for p in t) == expected


def test_lanes_are_noticed():
    """Sixteen runs of the reduced dynamics cost about as much as one; of the sampled dynamics,
    sixteen times as much.
    """
    from seqsgd.sweeps.cost import estimate

    base = BASE | {
        "runs": 64,
        "steps": 100_000,
        "task": sq.Task(sq.SSI("sum", L=2), sq.Tied("relu")),
    }
    (lanes,), (alone,) = (
        estimate([c.run for c in sq.Sweep(base | {"dynamics": kind}, {}, rng=0).cells()])
        for kind in ("reduced", "sampled")
    )
    assert lanes.least == 16 and alone.least == 1


@pytest.mark.parametrize("dynamics", sq.dynamics())
def test_every_dynamics(dynamics, tmp_path):
    base = BASE | {
        "dynamics": dynamics,
        "task": sq.Task(sq.SSI("sum", L=2), sq.Tied("tanh")),
        "runs": 40,
    }
    r = sq.sweep(base, {"lr": [0.1, 0.2]}, rng=0, store=tmp_path / "s")
    with ThreadPoolExecutor(2) as executor:
        same(sq.sweep(base, {"lr": [0.1, 0.2]}, rng=0, executor=executor), r)
    for lr in (0.1, 0.2):
        cell = r.cell(lr=lr)
        assert (
            sq.simulate(**cell.arguments).m.equals(cell.m)
            and cell.arguments["dynamics"] == dynamics
        )
