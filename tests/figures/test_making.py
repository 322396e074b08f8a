"""Figures as such: settings, files, redrawing, the page, interruption, the command line."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd import figures
from seqsgd.figures.fig05_transition import Transition
from seqsgd.report.definition import Finding
from seqsgd.report.runner import Runner
from transition import TRANSITION as TINY

pytestmark = pytest.mark.xdist_group("figure 5")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return figures.make(
        figures.figure("5"),
        "quick",
        tmp_path_factory.mktemp("figures"),
        changes=TINY,
        workers=2,
        progress=False,
    )


def test_every_figure_is_complete():
    for name in figures.names():
        figure = figures.figure(name)
        assert figure.name == name and figure.title and len(figure.about) > 80
        for size in figures.SIZES:
            settings = figure.settings(size)
            assert json.loads(settings.to_json())["seed"] == 0
            assert type(settings) is type(figure.settings("quick"))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("4", {"cells": -1}, "settings.cells: expected an integer >= 0, got -1"),
        ("4", {"cells": 1.5}, "settings.cells: expected an integer"),
        ("4", {"cell": 10}, "unknown name 'cell', expected one of seed, cells, a_min"),
        ("5", {"rates": []}, "settings.rates: expected a list of at least one value"),
        ("5", {"rates": 0.5}, "settings.rates: expected a list"),
        ("5", {"rates": ["fast"]}, "settings.rates: expected a finite number"),
        ("7", {"start": 3}, "settings.start: expected a text"),
        ("7", {"start": "zero"}, "settings.start: expected 'overlap' or 'uniform', got 'zero'"),
        ("8", {"link": "sum_h3"}, "settings.link: expected one of sum_h2, sum, got 'sum_h3'"),
        ("8", {"lr": -1}, "settings.lr: expected a number > 0, got -1"),
        ("2", {"curve_d": 7}, "settings.curve_d: expected one of ds, got 7"),
        ("6", {"degrees": [1, 2]}, "settings.degrees: expected odd numbers, got 2"),
        ("6", {"steps": [100]}, "settings.steps: expected 2 values, as many as degrees, got 1"),
        ("overlay", {"lrs": [0.1]}, "settings.lrs: expected 4 values, one for each task, got 1"),
        ("sharpening", {"runs": [4]}, "settings.runs: expected 3 values, as many as ds, got 1"),
        ("staircase", {"lengths": [2, 5]}, "settings.lengths: expected numbers >= 3, got 2"),
    ],
)
def test_settings_are_refused_by_name(name, changes, words):
    with pytest.raises((ValueError, TypeError), match=words.replace("(", r"\(")):
        figures.figure(name).settings("quick", changes)


def test_unknown_names_and_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="figure: expected one of '1', '2'"):
        figures.figure("14")
    with pytest.raises(ValueError, match="size: expected one of 'quick', 'full'"):
        figures.figure("4").settings("large")
    with pytest.raises(ValueError, match=r"there is no figure-4\.nc in"):
        figures.redraw(figures.figure("4"), tmp_path)


def test_lists_become_tuples_and_integers_numbers():
    settings = figures.figure("5").settings("quick", {"rates": [1, 2.5], "omegas": 7})
    assert (
        isinstance(settings, Transition) and settings.rates == (1.0, 2.5) and settings.omegas == 7
    )


def test_whole_floats_are_integers():
    assert figures.figure("5").settings("quick", {"d": 3e2, "omegas": 7.0}) == figures.figure(
        "5"
    ).settings("quick", {"d": 300, "omegas": 7})


def test_names_and_numbers_stand_for_figures(made):
    folder = made.files["nc"].parent
    assert figures.figure(8) is figures.figure("8") is figures.figure(figures.figure("8"))
    assert figures.load(5, folder).attrs == figures.load("5", folder).attrs == made.data.attrs
    with pytest.raises(ValueError, match="figure: expected one of '1', '2'"):
        figures.make("14", "quick", folder)
    with pytest.raises(TypeError, match="figure: expected one of '1', '2'.*got True"):
        figures.load(True, folder)


def test_a_larger_figure_is_not_replaced(made, tmp_path):
    """Nothing is computed, and the file is as it was; the same settings and force go through."""
    path = tmp_path / "figure-5.nc"
    path.write_bytes(made.files["nc"].read_bytes())
    before = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=r"folder: .*figure-5.nc' is figure 5 in quick with changes size, with other "
        r"settings; choose another folder, or --force",
    ):
        figures.make("5", "quick", tmp_path)
    assert path.read_bytes() == before
    figures.make("5", "quick", tmp_path, changes={**TINY, "steps": 200}, progress=False, force=True)
    assert json.loads(figures.load("5", tmp_path).attrs["settings"])["steps"] == 200
    figures.make("5", "quick", tmp_path, changes={**TINY, "steps": 200}, progress=False)
    path.write_text("thesis")
    with pytest.raises(ValueError, match="exists and is not the data of figure 5"):
        figures.make("5", "quick", tmp_path, changes={**TINY, "steps": 200}, progress=False)
    assert path.read_text() == "thesis"


def test_an_earlier_format_is_refused(made, tmp_path):
    data = figures.load("5", made.files["nc"].parent)
    data.attrs["format_version"] = 1
    data.to_netcdf(tmp_path / "figure-5.nc", engine="h5netcdf")
    with pytest.raises(
        ValueError, match="was made by another version of seqsgd; make the figure again"
    ):
        figures.redraw("5", tmp_path)


def test_fonts_of_pdf_files_are_embedded_as_type_42(made):
    text = made.files["pdf"].read_bytes()
    assert b"/Subtype /Type0" in text and b"/Subtype /Type3" not in text


def test_files_and_attributes(made):
    assert {suffix: path.is_file() for suffix, path in made.files.items()} == dict.fromkeys(
        ("nc", "png", "pdf", "md"), True
    )
    assert sorted(p.name for p in made.files["nc"].parent.iterdir()) == [
        f"figure-5.{suffix}" for suffix in ("md", "nc", "pdf", "png")
    ]  # nothing is left behind
    kept = xr.load_dataset(made.files["nc"], engine="h5netcdf")
    attributes = kept.attrs
    assert (
        json.loads(attributes["settings"])["omegas"] == 3
        and attributes["size"] == "quick with changes"
        and attributes["workers"] == 2
    )
    # runs of the three sweeps, counted by hand
    assert attributes["run_steps"] == 2 * 1 * 3 * 4 * 2000 + 2 * 2 * 2000 + (4 + 64) * 500
    assert attributes["seconds"] > 0
    caption = made.files["md"].read_text()
    assert (
        all(f.claim in caption and f.verdict in caption for f in made.findings)
        and "omegas = 3" in caption
    )


def test_the_data_are_those_of_simulate(made):
    """The cells are what `simulate` gives for the same task and seed."""
    from seqsgd.figures.escape import task

    again = sq.sweep(
        {
            "task": task(0.5),
            "d": 50,
            "steps": 2000,
            "runs": 4,
            "lr": 0.5,
            "dynamics": "reduced",
            "record": [0, 2000],
        },
        {
            "task.loss": ["half_square", "frobenius"],
            "lr": [0.5],
            "task.teacher.omega": {"linspace": [0.0, 1.0, 3]},
        },
        rng=0,
        progress=False,
    ).dataset
    np.testing.assert_array_equal(made.data["m"].values, np.abs(again["m"].isel(step=-1).values))


def test_workers_and_a_second_time_change_nothing(made, tmp_path):
    again = figures.make(
        figures.figure("5"), "quick", tmp_path, changes=TINY, workers=1, progress=False
    )
    xr.testing.assert_equal(again.data.drop_attrs(), made.data.drop_attrs())
    assert again.findings == made.findings


def test_redraw_gives_the_same_findings(made):
    before = made.files["md"].read_text()
    again = figures.redraw(figures.figure("5"), made.files["nc"].parent)
    assert again.findings == made.findings and made.files["md"].read_text() == before
    with pytest.raises(ValueError, match="is not the data of figure 4"):
        made.files["nc"].with_name("figure-4.nc").write_bytes(made.files["nc"].read_bytes())
        try:
            figures.redraw(figures.figure("4"), made.files["nc"].parent)
        finally:
            made.files["nc"].with_name("figure-4.nc").unlink()


def test_the_page(made, tmp_path):
    page = figures.write(
        [figures.figure(n) for n in figures.names()], made.files["nc"].parent, tmp_path / "page.md"
    )
    text = page.read_text()
    assert (
        text.count("\n## ") == 1
        and "## Figure 5: " in text
        and "1 figures" not in text.split("##")[1]
    )
    link = text.split("](")[-1].split(")")[0]
    assert (tmp_path / link).resolve() == made.files["png"].resolve()
    for f in made.findings:
        assert f"**{f.verdict}**" in text and f.measured.replace("|", "\\|") in text
    with pytest.raises(ValueError, match="has no figures"):
        figures.write([figures.figure("4")], tmp_path, tmp_path / "none.md")


def test_verdicts_are_of_three_kinds():
    with pytest.raises(
        ValueError,
        match="verdict: expected one of 'agree', 'disagree', 'cannot tell', got 'perhaps'",
    ):
        Finding("c", "m", "perhaps")


def test_an_interrupted_figure_goes_on(tmp_path):
    """What is finished is kept with its time; the time of the whole is the sum; nothing is computed
    twice.
    """
    base = {
        "task": sq.Task(sq.SSI("sum", L=1), sq.Tied("relu")),
        "d": 20,
        "steps": 100,
        "lr": 0.1,
        "runs": 2,
        "dynamics": "reduced",
    }
    store = tmp_path / ".figure-x.quick.sweep"
    with pytest.raises(KeyboardInterrupt), Runner(store, 1, progress=False) as one:
        first = one.sweep(base, {"lr": [0.1, 0.2]}, 0)
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert store.is_file()
    with Runner(store, 1, progress=False) as two:
        assert two.seconds > 0.3
        keys = set(sq.open_sweep(store).provenance()["created"].values.ravel())
        again = two.sweep(base, {"lr": [0.1, 0.2]}, 0)
        assert set(sq.open_sweep(store).provenance()["created"].values.ravel()) == keys
        assert two.run_steps == 400
    xr.testing.assert_equal(first, again)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_fails_is_an_error(tmp_path):
    def broken(z):
        raise RuntimeError("no")

    base = {
        "task": sq.Task(sq.SSI(broken, L=1), sq.Tied("relu")),
        "d": 20,
        "steps": 100,
        "lr": 0.1,
        "dynamics": "reduced",
    }
    with (
        pytest.raises((sq.SweepError, RuntimeError)),
        Runner(tmp_path / ".x.sweep", 1, progress=False) as runner,
    ):
        runner.sweep(base, {"lr": [0.1]}, 0)


def command(*words, cwd):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "seqsgd", "figure", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_command_line(tmp_path):
    done = command("4", "--set", "cells=30", "--page", "page.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "agree        at a = 1 the first direction turns" in done.stdout
        and (tmp_path / "figures/figure-4.pdf").is_file()
        and "## Figure 4" in (tmp_path / "page.md").read_text()
    )
    assert command("4", "--redraw", "--quiet", cwd=tmp_path).stdout == ""
    again = command("4", "--set", "cells=20", cwd=tmp_path)
    assert (
        again.returncode == 2
        and "with other settings; choose another folder, or --force" in again.stderr
    )
    listed = command("list", cwd=tmp_path).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(figures.names())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("99",), "figure: expected one of '1', '2'"),
        (("4", "--set", "cells"), "--set: expected NAME=VALUE, got 'cells'"),
        (("4", "--set", "cells=many"), "settings.cells: expected an integer >= 0, got 'many'"),
        (("4", "5", "--set", "cells=10"), "--set: needs exactly one figure that is computed"),
        (("4", "--page", "no/where.md"), "page: the folder 'no' does not exist"),
        (("4", "--redraw"), "there is no figure-4.nc"),
        (("4", "--quick", "--full"), "--full: cannot be combined with --quick"),
        (("4", "--full", "--redraw"), "--redraw: computes nothing, cannot be combined with --full"),
    ],
)
def test_command_line_refuses_in_one_line(words, message, tmp_path, typed):
    code, out, err = typed("figure", *words)
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert not list(tmp_path.rglob("*.nc"))
