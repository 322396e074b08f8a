"""Grids: the language, what is refused, names of dimensions, keys and seeds of cells."""

import json

import numpy as np
import pandas as pd
import pytest
import seqsgd as sq
import xarray as xr
from seqsgd._seed import Seed
from seqsgd.sweeps.grid import LIMIT, RESERVED, parse
from sweeping import BASE, GRID, TASK

ROOT = Seed(0)


def axis(value, key="lr"):
    (found,) = parse({key: value})
    return [p[0] for p in found.points]


def test_lists_and_ranges():
    assert axis([0.1, 0.2]) == axis((0.1, 0.2)) == axis(np.array([0.1, 0.2])) == [0.1, 0.2]
    assert axis({"linspace": [0, 1, 41]}) == np.linspace(0, 1, 41).tolist()
    assert axis({"geomspace": [0.1, 10.0, 7]}) == np.geomspace(0.1, 10, 7).tolist()
    assert axis({"range": [3]}) == [0, 1, 2] and axis({"range": [2, 8, 3]}) == axis(
        range(2, 8, 3)
    ) == [2, 5]
    assert axis({"geomspace": [100, 10_000, 3]}) == [100, 1000, 10_000] and all(
        isinstance(x, int) for x in axis({"geomspace": [100, 10_000, 3]})
    )
    assert axis({"geomspace": [100, 1000, 3], "round": True}) == [100, 316, 1000]
    assert axis({"values": [1, 2], "labels": ["a", "b"]}) == [1, 2]
    assert all(type(x) is float for x in axis(np.float32([0.5, 1])))


def test_products_zips_and_whole_models():
    attention = sq.Task(TASK.teacher, sq.Attention(position=sq.Injected(0.5)), loss="frobenius")
    s = sq.Sweep(
        BASE,
        {
            "lr": [0.1, 0.2],
            "d, steps": [[10, 20], [30, 40]],
            "task": {"labels": {"opposite": TASK, "injected": attention}},
        },
    )
    assert s.shape == (2, 2, 2) and [a.name for a in s.axes] == ["lr", "d", "task"] and len(s) == 8
    assert s.axes[1].coords == {"d": (10, 20), "steps": (30, 40)} and s.axes[2].coords == {
        "task": ("opposite", "injected")
    }
    assert [(r.lr, r.d, r.steps, r.task) for r in s.runs][5:7] == [
        (0.2, 10, 30, attention),
        (0.2, 20, 40, TASK),
    ]
    assert s.run_steps == 2 * 2 * 5 * (30 + 40)
    assert s.locate(
        6
    ) == "lr = 0.2, d = 20, task = opposite" and "8 cells (lr: 2, d: 2, task: 2)" in repr(s)


def test_a_whole_model_first_then_its_parts():
    other = sq.Task(sq.PositionalSemantic(0.9, a=0.5), TASK.student)
    s = sq.Sweep(
        BASE, {"task.teacher.omega": [0.1, 0.2], "task": {"labels": {"a": TASK, "b": other}}}
    )
    assert [(r.task.teacher.omega, r.task.teacher.a) for r in s.runs] == [
        (0.1, 1.0),
        (0.1, 0.5),
        (0.2, 1.0),
        (0.2, 0.5),
    ]


def test_tables_as_in_run_files():
    base = {
        "d": 30,
        "steps": 10,
        "lr": 0.1,
        "task": {"teacher": {"type": "SSI", "link": "sum", "L": 2}, "student": {"type": "Tied"}},
    }
    nested = sq.Sweep(
        base, {"task": {"teacher": {"L": [2, 4]}}, "lr": [0.1, {"type": "PowerLaw", "c": 1.0}]}
    )
    assert [(r.L, r.lr) for r in nested.runs] == [
        (2, 0.1),
        (2, sq.PowerLaw(1.0)),
        (4, 0.1),
        (4, sq.PowerLaw(1.0)),
    ]
    assert nested.axes[1].coords == {"lr": ("0.1", "PowerLaw")}
    json.loads(nested.definition())


@pytest.mark.parametrize(
    "kind", ["Series", "Index", "DataArray", "array", "list of arrays", "labels"]
)
def test_whatever_holds_an_array(kind):
    values = np.array([0.1, 0.2])
    made = {
        "Series": lambda: pd.Series(values),
        "Index": lambda: pd.Index(values),
        "DataArray": lambda: xr.DataArray(values, dims="x"),
        "array": lambda: values,
        "list of arrays": lambda: [np.array(0.1), xr.DataArray(0.2)],
        "labels": lambda: {"values": pd.Series(values), "labels": pd.Index(["a", "b"])},
    }[kind]()
    assert axis(made) == [0.1, 0.2] and all(type(x) is float for x in axis(made))
    if kind in ("Series", "Index", "array"):
        (zipped,) = parse({"lr, task.noise": [made, made]})
        assert zipped.coords == {"lr": (0.1, 0.2), "noise": (0.1, 0.2)}


def test_names_of_dimensions():
    names = lambda grid: [a.name for a in parse(grid)]
    assert names({"task.teacher.L": [1], "lr": [1]}) == ["L", "lr"]
    assert names({"lr.L": [1], "task.teacher.L": [2]}) == ["lr.L", "task.teacher.L"]
    assert names({"step": ["normalized"], "task.loss": ["square"]}) == [
        "step_",
        "task.loss",
    ]  # step and loss are taken by the results
    assert names({"rng": {"values": [1, 2], "name": "seed"}}) == ["seed"]
    (one, two) = parse({"d, lr.L": [[1], [2]], "steps, task.teacher.L": [[3], [4]]})
    assert one.coords == {"d": (1,), "lr.L": (2,)}
    assert two.coords == {"steps": (3,), "task.teacher.L": (4,)}  # neither L is lost


@pytest.mark.parametrize("dynamics", sq.dynamics())
def test_names_of_results_are_taken(dynamics):
    """What a dynamics records, and `provenance` says: that of an axis would come to light late."""
    base = BASE | {"dynamics": dynamics, "steps": 2, "record": [0, 2], "stop": sq.WeakRecovery(0.9)}
    tasks = [sq.Task(sq.SSI("sum", L=2), student) for student in (sq.Tied(), sq.Untied())]
    for task in tasks if dynamics == "flow" else [*tasks, TASK]:
        r = sq.sweep(base | {"task": task}, {"lr": [0.1]}, rng=0)
        names = {*r.dataset.variables, *r.provenance().variables, "provenance"} - {"lr"}
        assert names <= set(RESERVED)
    for name in names:
        said = rf"^grid.lr.name: expected a name of letters, .*, got '{name}'$"
        with pytest.raises(sq.ConfigError, match=said):
            parse({"lr": {"values": [0.1], "name": name}})


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"foo": [1]}, "grid.foo: unknown key, expected one of task, d, steps, lr, runs,"),
        (
            {"task.teacher.omegaa": [1]},
            "grid.task.teacher.omegaa: unknown key, expected one of omega, a, A",
        ),
        ({"checkpoint": ["a"]}, "grid.checkpoint: unknown key"),
        ({"lr": []}, "grid.lr: expected at least one value, got an empty list"),
        (
            {"lr": {"linspace": [0, 1, 0]}},
            "grid.lr.linspace[2]: expected an integer in [1, 1000000], got 0",
        ),
        ({"d": {"range": [5, 5]}}, "grid.d: expected at least one value, got an empty list"),
        ({"d": {"range": [1, 5, 0]}}, "grid.d.range[2]: expected a step other than 0, got 0"),
        ({"d": {"range": [1.5]}}, "grid.d.range[0]: expected an integer, got 1.5"),
        (
            {"lr": {"geomspace": [0, 1, 3]}},
            "grid.lr.geomspace[0]: expected a finite number > 0, got 0",
        ),
        ({"lr": {"linspace": [0, 1]}}, "grid.lr.linspace: expected [start, stop, n], got [0, 1]"),
        (
            {"lr": {"linspace": [0, 1, 3], "range": [2]}},
            "grid.lr: expected one of values, linspace, geomspace, range, labels, got linspace, "
            "range",
        ),
        ({"lr": {"linspace": [0, 1, 3], "label": "x"}}, "grid.lr.label: unknown key"),
        (
            {"lr": {"values": [1, 2], "labels": ["a"]}},
            "grid.lr.labels: expected 2 different ones, one for each value, got ['a']",
        ),
        ({"lr": {"values": [1, 2], "name": "run"}}, "grid.lr.name: expected a name"),
        (
            {"d": {"values": [1, 2], "name": "lr"}, "lr": [1]},
            "grid.d.name: two axes are called 'lr'",
        ),
        ({"lr": [1], "d": {"values": [1], "name": "lr"}}, "grid.d.name: two axes are called 'lr'"),
        (
            {"d, steps": [[1], [2]], "lr": {"values": [1], "name": "steps"}},
            "grid.lr.name: the axis of 'd, steps' has a coordinate 'steps' too",
        ),
        (
            {"lr": {"values": [1], "name": "steps"}, "d, steps": [[1], [2]]},
            "grid.lr.name: the axis of 'd, steps' has a coordinate 'steps' too",
        ),
        (
            {"d, steps": {"values": [[1], [2]], "name": "steps"}},
            "grid.d, steps.name: expected a name other than that of 'steps', got 'steps'",
        ),
        ({"lr": pd.DataFrame({"lr": [0.1]})}, "grid.lr: expected a list of values, { linspace = "),
        (
            {"lr": xr.DataArray(np.zeros((2, 2)))},
            "grid.lr: expected a list of values, got an array of shape (2, 2)",
        ),
        ({"d": {"values": [1, 2], "round": 1}}, "grid.d.round: expected true or false, got 1"),
        (
            {"d, steps": [[1, 2], [3]]},
            "grid.d, steps: expected lists of equal length, got 2 values of d, 1 values of steps",
        ),
        (
            {"d, steps": [[1, 2]]},
            "grid.d, steps: expected 2 lists of equal length, one for each name, got [[1, 2]]",
        ),
        ({"d, d": [[1], [1]]}, "grid.d: appears twice"),
        ({"d": [1], ("d", "lr"): [[1], [1]]}, "grid.d: appears twice"),
        ({"lr": 0.1}, "grid.lr: expected a list of values, { linspace = "),
        ({"dtype": "float32"}, "grid.dtype: expected a list of values, { linspace = "),
        (
            {"lr": np.zeros((2, 2))},
            "grid.lr: expected a list of values, got an array of shape (2, 2)",
        ),
        ({"lr": [0.1, 0.1]}, "grid.lr: 0.1 appears twice"),
        (
            {"lr": [0.1, "x"]},
            "grid.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'x'",
        ),
        ({"lr": [0.1, -1]}, "grid.lr: expected a finite number >= 0, got -1"),
        ({"d": [10.5]}, "grid.d: expected an integer in [1, 1099511627776], got 10.5"),
        (
            {"task.teacher.omega": [0, 1.5]},
            "grid.task.teacher.omega: expected a number in [0, 1], got 1.5",
        ),
        ({"task": [TASK, 3]}, "grid.task: expected a Task, got 3"),
        (
            {"task.student": [sq.Tied()]},
            "grid.task.student: expected an output of dimension 4 as the teacher's, got 1 from "
            "Tied('relu')",
        ),
        (
            {"lr.c": [1]},
            "grid.lr.c: base.lr is 0.1 and has no 'c', nor is it one of values, linspace, "
            "geomspace, range, labels",
        ),
        ({"dynamics": ["magic"]}, "grid.dynamics: expected one of "),
        ({"rng": [1.5]}, "grid.rng: expected an integer >= 0"),
        ({"rng": [-1]}, "grid.rng: expected an integer >= 0, got -1"),
        (
            {"threads": [1, 2]},
            "grid.threads: results do not depend on it, so it cannot be an axis",
        ),
        ({1: [1]}, "grid: expected keys that are dotted names such as 'task.teacher.L', got 1"),
        ([1], "grid: expected a table of axes, got [1]"),
        (
            {"rng": {"range": [10**12]}},
            "grid.rng: expected at most 1000000 values, got 1000000000000",
        ),
        ({"rng": range(10**30)}, "grid.rng: expected at most 1000000 values, got more"),
        (
            {"rng": {"range": [10**6]}, "lr": {"linspace": [0, 1, 10**6]}},
            "grid: expected at most 1000000 cells, got 1000000 x 1000000 = 1000000000000",
        ),
    ],
)
def test_bad_grids_are_refused_in_one_line_before_anything_runs(grid, said, tmp_path):
    with pytest.raises(sq.ConfigError) as caught:
        sq.sweep(BASE, grid, store=tmp_path / "s")
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (BASE | {"d": 0}, "base.d: expected an integer in [1, 1099511627776], got 0"),
        (BASE | {"speed": 1}, "base.speed: unknown key"),
        (BASE | {"rng": "x"}, "base.rng: expected an integer >= 0"),
        ({k: v for k, v in BASE.items() if k != "task"}, "base.task: missing"),
        ([], "base: expected the keyword arguments of simulate as a mapping, got []"),
    ],
)
def test_bad_bases_too(base, said):
    with pytest.raises((sq.ConfigError, TypeError)) as caught:
        sq.Sweep(base, {"lr": [0.1]})
    assert str(caught.value).startswith(said)


def test_a_type_is_told_however_long_the_thing_is():
    for kind in (pd.DataFrame, pd.Series, xr.DataArray):
        value = kind(np.zeros(500))
        said = rf"^lr: expected a .*number .*, got a {kind.__name__} of shape \(500"
        with pytest.raises(TypeError, match=said):
            sq.simulate(TASK, 20, 10, value)


def test_what_does_not_fit_into_memory_is_refused_first(tmp_path):
    with pytest.raises(
        MemoryError,
        match=r"^runs = 1000000, L = 2, d = 100000000, .* \(in the cell d = 100000000\)$",
    ):
        sq.sweep(BASE | {"runs": 10**6}, {"d": [20, 10**8]}, store=tmp_path / "s")
    assert not (tmp_path / "s-work").exists()


def test_at_most_a_million_cells():
    assert len(parse({"rng": range(LIMIT)})[0]) == LIMIT


def keys(grid, base=BASE, **rest):
    s = sq.Sweep(base, grid, **rest)
    return dict(
        zip(
            [json.dumps([r.lr, r.d, r.task.teacher.omega]) for r in s.runs],
            s.cells(ROOT),
            strict=True,
        )
    )


def test_seeds_and_keys_belong_to_cells_and_not_to_grids():
    small, large = keys({"lr": [0.1, 0.2]}), keys({"d": [20, 30], "lr": [0.3, 0.2, 0.1]})
    assert set(small) < set(large)
    for name, cell in small.items():
        assert cell == large[name]
    assert len({c.seed for c in large.values()}) == len({c.key for c in large.values()}) == 6
    assert len({c.seed.value for c in large.values()}) == 6


def test_a_seed_does_not_depend_on_how_long_or_how_one_looks():
    (cell,) = keys({"lr": [0.1]}).values()
    for change in (
        {"steps": 7},
        {"record": [0]},
        {"stop": sq.WeakRecovery(0.5)},
        {"runs": 9},
        {"first_run": 3},
        {"threads": 2},
    ):
        (other,) = keys({"lr": [0.1]}, BASE | change).values()
        assert other.seed == cell.seed
        assert (other.key == cell.key) == (next(iter(change)) in ("runs", "first_run", "threads"))
    for change in ({"d": 21}, {"dtype": "float64"}, {"tokens": "uniform"}, {"init": sq.Uniform()}):
        (other,) = keys({"lr": [0.1]}, BASE | change).values()
        assert other.seed != cell.seed and other.key != cell.key


def test_the_seed_of_the_whole():
    a, b = (sq.Sweep(BASE, GRID, rng=r).cells() for r in (1, 2))
    assert (
        not {c.key for c in a} & {c.key for c in b}
        and not sq.Sweep(BASE, GRID, rng=1).needs_entropy
    )
    sequence = np.random.SeedSequence(1)
    assert [c.seed for c in sq.Sweep(BASE, GRID, rng=sequence).cells()] == [c.seed for c in a]


def test_common_random_numbers_where_rng_is_an_argument():
    assert {c.seed for c in sq.Sweep(BASE | {"rng": 3}, GRID).cells()} == {Seed(3)}
    assert [c.seed for c in sq.Sweep(BASE, {"rng": [5, 6]}).cells()] == [Seed(5), Seed(6)]
    for base, grid in ((BASE | {"rng": 3}, GRID), (BASE, {"rng": [1]})):
        with pytest.raises(sq.ConfigError, match=r"^rng: expected it in one place"):
            sq.Sweep(base, grid, rng=0)
