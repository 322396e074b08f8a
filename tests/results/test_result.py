"""Results: what they say, how they are drawn, and files."""

import json
import re

import matplotlib
import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd.results import provenance

matplotlib.use("Agg")

TASK = sq.Task(sq.SSI("sum", L=2), sq.Tied("relu"))
RUN = {"d": 30, "steps": 100, "lr": 0.5, "runs": 5, "rng": 1, "record": sq.Every(10)}


@pytest.fixture
def result():
    return sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.5))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def fixed():
    """A result with the same numbers on every machine."""
    step = np.array([0, 10, 20])
    m = np.array([[0.1, 0.2, 0.9], [0.1, 0.3, np.nan]])
    return sq.Result(
        xr.Dataset(
            {
                "m": (("run", "step"), m),
                "weak_recovery": ("run", [15.0, np.inf]),
                "censored": ("run", [False, True]),
                "steps_done": ("run", [20, 11]),
                "nonfinite_step": ("run", [np.nan, 12.0]),
            },
            coords={"run": [0, 1], "step": step, "time": ("step", step / 100)},
            attrs={
                "task_repr": "Task(<&>)",
                "arguments": json.dumps({"d": 100, "stop": {"type": "WeakRecovery", "eta": 0.5}}),
                "dynamics": "sampled",
                "rng_entropy": "7",
                "simd": "avx2",
                "wall_time": 0.5,
                "run_steps_per_second": 80.0,
            },
        )
    )


GOLDEN = """\
<seqsgd.Result>
  task       Task(<&>)
  size       2 runs, 3 records from step 0 to 20, d = 100
  m          0.1 -> 0.25 (median over runs, steps 0 to 10, until the first of 2 runs stops at values not finite (1 in all))
  recovery   1 of 2 runs reached eta = 0.5, median step 15
  stopped    1 of 2 runs stopped at values that are not finite, and have no records after that
  made       sampled, rng 7, 0.50 s, 80 steps/s"""

GOLDEN_SET = """\
<seqsgd.ResultSet of 2> two
  a       0.1 -> 0.25 (median over runs, steps 0 to 10, until the first of 2 runs stops at values not finite (1 in all))
  longer  0.1 -> 0.25 (median over runs, steps 0 to 10, until the first of 2 runs stops at values not finite (1 in all))"""


def test_repr_is_golden():
    assert repr(fixed()) == GOLDEN
    assert repr(sq.ResultSet({"a": fixed(), "longer": fixed()}, title="two")) == GOLDEN_SET
    assert repr(sq.ResultSet({})) == "<seqsgd.ResultSet of 0>"


def test_html_says_the_same_escaped():
    page = fixed()._repr_html_()
    rows = dict(re.findall(r"<th[^>]*>([^<]*)</th><td[^>]*>([^<]*)</td>", page))
    assert rows["task"] == "Task(&lt;&amp;&gt;)" and rows["recovery"].startswith("1 of 2 runs")
    assert "<&>" not in page.split("<details>")[0] and "xr-wrap" in page
    assert "<summary>&lt;b&gt;</summary>" in sq.ResultSet({"<b>": fixed()})._repr_html_()


def test_provenance_is_complete(result):
    a = result.dataset.attrs
    assert {type(v) for v in a.values()} <= {str, int, float}
    assert (
        a["format_version"] == provenance.FORMAT_VERSION
        and a["dynamics"] == "sampled"
        and a["rng_entropy"] == "1"
    )
    versions = json.loads(a["versions"])
    assert {"seqsgd", "python", "numpy", "platform", "compiler", "eigen"} <= set(versions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", a["created"])
    assert (
        a["wall_time"] > 0
        and a["run_steps_per_second"] > 0
        and a["simd"] in ("baseline", "avx2", "avx512")
    )
    assert result.task == TASK
    arguments = result.arguments
    assert (
        arguments["stop"] == sq.WeakRecovery(0.5)
        and arguments["record"] == sq.Every(10)
        and arguments["lr"] == 0.5
    )
    xr.testing.assert_identical(
        sq.simulate(**arguments).dataset.drop_attrs(), result.dataset.drop_attrs()
    )


MATRIX = sq.Task(
    sq.PositionalSemantic(0.3, A=np.full((2, 2), 0.5)),
    sq.Attention(position=sq.Positions(np.eye(2, 30))),
)


@pytest.mark.parametrize(
    "task",
    [
        TASK,
        MATRIX,
        sq.Task(
            sq.SSI(sq.Hermite([(1, {1: 2}), (0.5, {})]), 2), sq.Untied(sq.HermiteSeries([0, 1]))
        ),
    ],
    ids=["tied", "matrix", "untied"],
)
def test_files_keep_everything(tmp_path, task):
    r = sq.simulate(task, **RUN)
    r.save(tmp_path / "r.nc")
    again = sq.load(tmp_path / "r.nc")
    xr.testing.assert_identical(again.dataset, r.dataset)
    assert again.task == task and repr(again) == repr(r)
    assert [p.name for p in tmp_path.iterdir()] == ["r.nc"]
    again.save(tmp_path / "r.nc")  # the file is not held open
    with xr.open_dataset(tmp_path / "r.nc", engine="h5netcdf") as plain:
        assert plain["m"].dims == r.m.dims


def test_large_arrays_fit_into_the_provenance(tmp_path):
    P = np.random.default_rng(0).standard_normal((2, 5000))
    task = sq.Task(sq.SSI("sum", 2), sq.Tied(position=sq.Positions(P)))
    r = sq.simulate(task, **RUN | {"d": 5000, "steps": 2})
    r.save(tmp_path / "r.nc")
    assert sq.load(tmp_path / "r.nc").task == task


def test_sets_in_files(tmp_path, result):
    both = sq.ResultSet(
        {"a, L = 2": result, "b/c": sq.simulate(MATRIX, **RUN)}, title="T", panels={"b/c": "right"}
    )
    both.save(tmp_path / "s.nc")
    again = sq.load(tmp_path / "s.nc")
    assert (
        isinstance(again, sq.ResultSet)
        and list(again) == ["a, L = 2", "b/c"]
        and again.title == "T"
        and again.panels == both.panels
    )
    for label in both:
        xr.testing.assert_identical(again[label].dataset, both[label].dataset)
    many = sq.ResultSet({f"n{i}": result for i in range(12)})
    many.save(tmp_path / "m.nc")
    assert list(sq.load(tmp_path / "m.nc")) == list(many)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (lambda r: {"results": {"x": 3}}, TypeError, r"results\['x'\]: expected a Result, got 3$"),
        (
            lambda r: {"results": [r]},
            TypeError,
            r"results: expected a mapping from labels to results, got \[",
        ),
        (
            lambda r: {"results": {1: r}},
            TypeError,
            "results: expected labels that are strings, got 1$",
        ),
        (
            lambda r: {"results": {"a\0": r}},
            ValueError,
            "results: expected a string without NUL and surrogate characters, got ",
        ),
        (
            lambda r: {"results": {"a": r}, "title": 3},
            TypeError,
            "title: expected a string, got 3$",
        ),
        (
            lambda r: {"results": {"a": r}, "title": "\ud800"},
            ValueError,
            "title: expected a string without NUL and surrogate characters, got ",
        ),
        (
            lambda r: {"results": {"a": r}, "panels": ["a"]},
            TypeError,
            "panels: expected a mapping from labels to titles of panels, got ",
        ),
        (
            lambda r: {"results": {"a": r}, "panels": {"b": "left"}},
            ValueError,
            "panels: expected labels of results, got 'b'$",
        ),
        (
            lambda r: {"results": {"a": r}, "panels": {"a": None}},
            TypeError,
            r"panels\['a'\]: expected a string, got None$",
        ),
    ],
)
def test_wrong_sets_are_refused_at_once(result, arguments, kind, said):
    """Not when they are saved or drawn."""
    with pytest.raises(kind, match=f"^{said}"):
        sq.ResultSet(**arguments(result))


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, result):
    path = tmp_path / "r.nc"
    result.save(path)
    before = path.read_bytes()
    original = xr.Dataset.to_netcdf

    def half(self, target, **rest):
        original(self, target, **rest)
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", half)
    with pytest.raises(OSError, match="disk full"):
        result.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_wrong_files(tmp_path, result):
    with pytest.raises(FileNotFoundError, match="^path: there is no file"):
        sq.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(ValueError, match=r"^path: '.*text.nc' is not a netCDF4 file") as caught:
        sq.load(tmp_path / "text.nc")
    assert "\n" not in str(caught.value)
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"other.nc' was not written by seqsgd$"):
        sq.load(tmp_path / "other.nc")
    newer = provenance.FORMAT_VERSION + 1
    sq.Result(result.dataset.assign_attrs(format_version=newer)).save(tmp_path / "newer.nc")
    with pytest.raises(
        ValueError,
        match=rf"newer.nc' has format {newer}, this version of seqsgd reads up to {newer - 1}; "
        r"update seqsgd$",
    ):
        sq.load(tmp_path / "newer.nc")
    for path in (tmp_path / "no" / "r.nc", tmp_path):
        with pytest.raises(ValueError, match=r"^path: "):
            result.save(path)


def my_link(z):
    return z[0]


def test_functions_are_named_but_not_kept(tmp_path):
    r = sq.simulate(sq.Task(sq.SSI(my_link, 1), sq.Tied((np.sin, np.cos))), **RUN | {"steps": 3})
    r.save(tmp_path / "r.nc")
    with pytest.warns(
        UserWarning, match="^task: contains user functions, which a file does not keep"
    ) as caught:
        again = sq.load(tmp_path / "r.nc")
    assert caught[0].filename == __file__
    assert "my_link" in repr(again)
    with pytest.raises(
        sq.ConfigError,
        match=r"^task.teacher.link: a user function \('test_result.my_link'\) cannot be loaded "
        r"from a file$",
    ):
        again.task


# --- pictures


def lines(ax):
    return [line for line in ax.lines if line.get_label()[:1] != "_"]


def test_plot_draws_median_and_band():
    rng = np.random.default_rng(0)
    m = rng.standard_normal((50, 4))
    r = sq.Result(
        xr.Dataset(
            {"m": (("run", "step"), m)},
            coords={"step": [0, 1, 2, 3], "time": ("step", [0.0, 0.1, 0.2, 0.3])},
        )
    )
    ax = r.plot()
    (line,) = lines(ax)
    np.testing.assert_allclose(line.get_ydata(), np.median(np.abs(m), axis=0))
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(np.quantile(np.abs(m), 0.1, axis=0).min())
    assert band[:, 1].max() == pytest.approx(np.quantile(np.abs(m), 0.9, axis=0).max())
    assert (
        ax.get_xlabel() == r"step $\tau$"
        and ax.get_ylabel() == "overlap $|m|$"
        and ax.get_legend() is not None
    )
    assert ax.get_xscale() == "linear"
    np.testing.assert_allclose(lines(r.plot(time=True))[0].get_xdata(), [0, 0.1, 0.2, 0.3])


def test_plot_of_tokens_and_encodings():
    r = sq.simulate(MATRIX, **RUN)
    ax = r.plot()
    assert len(lines(ax)) == 2 and ax.get_ylabel() == r"overlap $|m|$, $\Vert e\Vert/\sqrt{L}$"
    np.testing.assert_allclose(
        lines(ax)[1].get_ydata(), np.median(np.sqrt((r.e.values**2).mean(axis=2)), axis=0)
    )
    assert len(lines(r.plot(what="loss"))) == 1
    with pytest.raises(ValueError, match="^what: expected one of 'm', 'e', 'loss', got 'x'$"):
        r.plot(what="x")
    plain = sq.simulate(TASK, **RUN)
    for drawn in (plain, sq.ResultSet({"a": plain})):
        with pytest.raises(
            ValueError,
            match=r"^what: expected something that was recorded, got 'e' \(the student has no "
            r"positional encoding with vectors\)$",
        ):
            drawn.plot(what="e")
    assert len(lines(sq.ResultSet({"a": plain, "b": r}).plot(what="e").axes[0])) == 1


def test_log_axis_where_records_are(result):
    assert result.plot().get_xscale() == "linear"
    assert (
        sq.simulate(TASK, **RUN | {"record": sq.LogSpaced(5), "steps": 1000}).plot().get_xscale()
        == "log"
    )


def test_single_records_and_gaps_can_be_drawn():
    sq.simulate(TASK, **RUN | {"steps": 0}).plot().figure.canvas.draw()
    r = fixed()
    r.dataset["m"][:, 2] = np.nan
    ax = r.plot()
    assert len(lines(ax)[0].get_xdata()) == 2
    ax.figure.canvas.draw()


def test_set_has_panels_and_tells_curves_apart(result, tmp_path):
    labels = [f"L = {L}" for L in range(6)]
    both = sq.ResultSet(
        dict.fromkeys(labels, result),
        "T",
        {name: "left" if i < 3 else "right" for i, name in enumerate(labels)},
    )
    figure = both.plot()
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == (
        "left",
        "right",
    ) and figure.get_suptitle() == "T"
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines(left)]
    assert all(len(set(column)) == 3 for column in zip(*looks, strict=True)), (
        "colour, style and marker all differ"
    )
    assert [t.get_text() for t in left.get_legend().get_texts()] == labels[:3]
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    given = matplotlib.figure.Figure()
    assert both.plot(given) is given


@pytest.mark.parametrize("name", ["lr", "m", "anything"])
def test_what_would_do_nothing_cannot_be_set(name):
    r = sq.simulate(sq.Task(sq.SSI("sum", L=2), sq.Tied()), d=5, steps=3, lr=0.1, rng=0)
    with pytest.raises(AttributeError) as caught:
        setattr(r, name, 0.1)
    assert str(caught.value) == (
        f"{name}: cannot be set, a result is what was recorded; variables of your own go into "
        ".dataset"
    )
    r.dataset = r.dataset.assign(mine=1)
    assert int(r.dataset.mine) == 1
