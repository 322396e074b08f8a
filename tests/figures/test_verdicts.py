"""A verdict needs data: answers and their logic, and all figures with their data taken away."""

import ast
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from seqsgd import figures
from seqsgd.report import verdicts
from seqsgd.report.runner import Runner
from seqsgd.report.statistics import EXACT, Measured
from seqsgd.report.verdicts import (
    Answer,
    against,
    as_predicted,
    close_to,
    every,
    fact,
    less,
    same_law,
    unknown,
    within,
)

pytestmark = pytest.mark.xdist_group("figures")

FOLDER = Path(figures.__file__).parent
NOT_OF_RUNS = {
    "1": range(6),
    "2": (0, 2),
    "4": (0, 1, 2),
    "13": (0, 1),
}  # findings that rest on the theory alone


def measured(value, low, high, lacking=""):
    return Measured(value, low, high, "8 runs", lacking)


def test_findings_are_made_in_one_room():
    """No other module of the figures makes a finding or an answer, or writes a verdict."""
    for path in FOLDER.glob("*.py"):
        if path.name in ("verdicts.py", "definition.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                repeated = (
                    path.name == "extra_random_starts.py" and name == "Finding"
                )  # hands on those of figures 7 and 8
                assert name not in ("Finding", "Answer") or repeated, f"{path.name}:{node.lineno}"
            assert not (
                isinstance(node, ast.Constant)
                and node.value in ("agree", "disagree", "cannot tell")
            ), f"{path.name}:{node.lineno}"


def test_logic_of_three_values():
    """Kleene's tables: what is not known matters only where it decides."""
    order = {False: 0, None: 1, True: 2}
    for a, b in itertools.product(order, repeat=2):
        x, y = (Answer(v, (), ("why",) if v is None else ()) for v in (a, b))
        assert order[(x & y).holds] == min(order[a], order[b]) and order[(x | y).holds] == max(
            order[a], order[b]
        )
        assert bool((x & y).lacking) == ((x & y).holds is None)
    assert (
        every([]).holds is None
        and every([Answer(True), Answer(False), unknown("x")]).holds is False
    )
    assert (
        Answer(False).so_far("too early").holds is None
        and Answer(True).so_far("too early").holds is True
    )


@pytest.mark.parametrize(
    ("value", "predicted", "tolerance", "verdict"),
    [
        (measured(1.0, 0.9, 1.1), 1.05, 0.0, "agree"),
        (measured(1.0, 0.9, 1.1), 1.2, 0.0, "disagree"),
        (measured(1.0, 0.9, 1.1), 1.2, 0.1, "agree"),
        (measured(1.0, 0.2, 2.0), 1.2, 0.0, "cannot tell"),
        (measured(np.inf, 0.2, np.inf), 1.2, 0.0, "cannot tell"),
        (measured(np.nan, np.nan, np.nan), 1.2, 0.0, "cannot tell"),
        (measured(1.0, 1.0, 1.0), 1.0, 0.0, "cannot tell"),
        (measured(1.0, 1.0, 1.0), 3.0, 0.0, "cannot tell"),
        (measured(1.0, np.nan, np.nan), 3.0, 0.0, "cannot tell"),
        (measured(1.0, 0.9, 1.1, "1 run"), 3.0, 0.0, "cannot tell"),
        (Measured(1.0, 0.9, 1.1), 1.0, 0.0, "cannot tell"),  # nothing says what it rests on
        (measured(1.0, 0.9, 1.1), np.nan, 0.0, "cannot tell"),
        (measured(1.0, 0.9, np.inf), 1.0, 0.0, "cannot tell"),
        (measured(1.0, 0.9, np.inf), 0.5, 0.0, "disagree"),
    ],
)
def test_verdicts_of_a_number(value, predicted, tolerance, verdict):
    found = against("c", value, predicted, tolerance=tolerance)
    assert found.verdict == verdict
    assert ("8 runs" in found.measured) or verdict == "cannot tell"


def test_why_nothing_can_be_told_is_said():
    found = against(
        "c",
        Measured(math.nan, lacking="0 of 64 runs arrived"),
        1.0,
        what="exponent",
        why="tolerance 5 %",
    )
    assert (found.measured, found.why) == (
        "exponent not measured",
        "0 of 64 runs arrived. tolerance 5 %",
    )


def test_near_a_number_the_interval_decides():
    assert [
        close_to(measured(0, *ends), 0.0, 0.1).holds
        for ends in ((-0.05, 0.05), (0.05, 0.2), (0.11, 0.2), (-0.2, -0.11))
    ] == [True, None, False, False]
    assert close_to(measured(np.nan, np.nan, np.nan), 0.0, 0.1).holds is None
    assert within(measured(0.0, -0.2, 0.2), 0.0, absolute=0.1, coarse=0.3).holds is None


def test_order():
    assert less(measured(1, 0.9, 1.1), measured(2, 1.8, 2.2)).holds is True
    assert less(measured(2, 1.8, 2.2), 1.0).holds is False
    assert less(measured(1, 0.9, 1.1), 1.0).holds is None
    assert less(measured(1, 0.9, 1.1), math.nan).holds is None
    assert less(measured(np.nan, np.nan, np.nan), 1.0).holds is None
    assert (
        less(measured(1, 1, 1), 2.0).holds is None
    )  # all runs alike: nothing is known of the spread
    assert less(Measured(1, 1, 1, EXACT), 2.0).holds is True


def test_facts_need_their_numbers():
    assert fact(True, 1.0).holds is True and fact(False, [1.0, 2.0]).holds is False
    assert (
        fact(True).holds is None
        and fact(True, []).holds is None
        and fact(False, math.nan).holds is None
    )
    assert fact(True, 1.0, lacking="three cells").lacking == ("three cells",)


@pytest.mark.parametrize(
    ("n", "k", "places", "enough"),
    [
        (6, 6, 1, False),
        (7, 7, 1, True),
        (7, 7, 2, False),
        (8, 8, 6, True),
        (8, 8, 7, False),
        (2, 16, 1, False),
        (3, 24, 1, True),
        (3, 24, 2, False),
        (4, 32, 2, True),
    ],
)
def test_the_fewest_runs_that_could_be_refused(n, k, places, enough):
    """Two samples that do not overlap have p = 2 / binomial(n + k, n), the least there is."""
    rng = np.random.default_rng(0)
    a, b = rng.random(n), rng.random(k)
    assert verdicts.least(a, b) == pytest.approx(2 / math.comb(n + k, n), rel=1e-9)
    found = same_law("c", [(a, b)] * places)
    assert (found.verdict != "cannot tell") == enough == (places * 2 / math.comb(n + k, n) < 1e-3)


def test_censored_samples_have_no_law():
    """64 runs of which none arrived, or all at the start, or one: no outcome could be refused."""
    never = np.full(64, np.inf)
    for a, b in (
        (never, never),
        (np.zeros(64), np.zeros(64)),
        (np.append(never, 5.0), never),
        ([], never),
        (np.full(64, np.nan), never),
    ):
        found = same_law("c", [(a, b)])
        assert found.verdict == "cannot tell" and "p not computed" in found.measured, found
    assert "0 of 64 against 0 of 64 runs arrived" in same_law("c", [(never, never)]).why
    rng = np.random.default_rng(0)
    some = [np.append(rng.random(12), never) for _ in range(2)]
    assert same_law("c", [some]).verdict == "agree"
    # one place without data is enough not to agree, and does not hide that another differs
    assert same_law("c", [some, (never, never)]).verdict == "cannot tell"
    assert (
        same_law("c", [(rng.random(64), 9 + rng.random(64)), (never, never)]).verdict == "disagree"
    )


def test_same_law_refuses_a_shift_and_seldom_else():
    rng = np.random.default_rng(2)
    found = [
        same_law("c", [(rng.normal(size=200), rng.normal(size=100)) for _ in range(3)]).verdict
        for _ in range(200)
    ]
    assert found.count("disagree") <= 3  # at 1e-3 each: above with probability 2e-5
    shifted = same_law(
        "c",
        [
            (rng.normal(size=200), rng.normal(size=100)),
            (rng.normal(size=200), 0.8 + rng.normal(size=100)),
        ],
    )
    assert shifted.verdict == "disagree" and "200 against 100" in shifted.measured


def test_counts_beside_shares():
    rng = np.random.default_rng(0)
    chances = np.array([0.3, 0.5, 0.7, 1.0])
    assert as_predicted("c", rng.binomial(200, chances), 200, chances).verdict == "agree"
    assert as_predicted("c", [200, 200, 200, 200], 200, chances).verdict == "disagree"
    for counts, of in ((np.full(4, np.nan), 200), ([1, 1, 1, 1], 1)):
        assert as_predicted("c", counts, of, chances).verdict == "cannot tell"
    assert (
        as_predicted("c", [200] * 4, 200, chances, given=unknown("early")).verdict == "cannot tell"
    )


def emptied(data):
    """All that was computed is not a number."""
    return data.assign(
        {
            name: v.astype(float) * np.nan
            for name, v in data.data_vars.items()
            if v.dtype.kind in "biuf"
        }
    )


def censored(data):
    """Nobody arrived: passages are infinite, overlaps stay where they began."""
    out = {}
    for name, v in data.data_vars.items():
        steps = [d for d in v.dims if str(d).startswith("step")]
        if "passed" in name or "weak_recovery" in name or name.startswith("check_"):
            out[name] = v * np.nan + np.inf if "ended" not in name else v
            out[name] = out[name].fillna(np.inf)
        elif steps and "flow" not in name:
            out[name] = v * 0 + 0.05
    return data.assign(out)


def one_run(data):
    """The first run of each; counts of one run."""
    runs = {
        d: [0]
        for d in data.dims
        if str(d).startswith("run") or str(d).endswith("run") or d == "path"
    }
    if "semantic" in data:
        return data.assign(
            semantic=data["semantic"].clip(max=1),
            undecided=data["undecided"] * 0,
            runs=data["runs"] * 0 + 1,
        )
    return data.isel(runs)


@pytest.mark.slow
@pytest.mark.parametrize("name", figures.names())
def test_nothing_is_judged_without_data(computed, name):
    """Emptied data: every verdict of every figure is that it cannot be told, with a reason."""
    assert name in ("5", "12") or "agree" in [
        f.verdict for f in figures.figure(name).judge(computed(name))
    ]  # (four runs at figure 5)
    found = figures.figure(name).judge(emptied(computed(name)))
    assert found and [f.verdict for f in found] == ["cannot tell"] * len(found), found
    assert all(f.why for f in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", figures.names())
def test_nothing_is_judged_from_one_run(computed, name):
    found = figures.figure(name).judge(one_run(computed(name)))
    of_runs = [f for i, f in enumerate(found) if i not in NOT_OF_RUNS.get(name, ())]
    assert [f.verdict for f in of_runs] == ["cannot tell"] * len(of_runs), of_runs


@pytest.mark.parametrize(
    "name",
    ["2", "3", "7", "8", "10", "staircase", "random-starts", "scaling", "passages", "best-rates"],
)
def test_nothing_is_judged_where_nobody_arrived(computed, name):
    """The pictures are drawn all the same."""
    data = censored(computed(name))
    found = figures.figure(name).judge(data)
    of_runs = [f for i, f in enumerate(found) if i not in NOT_OF_RUNS.get(name, ())]
    assert [f.verdict for f in of_runs] == ["cannot tell"] * len(of_runs), of_runs
    figures.figure(name).draw(data).canvas.draw()


CRIPPLED = [
    (
        "3",
        {
            "d": 20,
            "steps": 3,
            "patience": 1.0,
            "lengths": [1],
            "curve_lengths": [1],
            "best_lengths": [1],
            "best_runs": 1,
            "check_d": 20,
            "check_steps": 3,
        },
    ),
    ("7", {"d": 1, "steps": 3, "lengths": [1, 2, 3], "curve_lengths": [2]}),
    ("7", {"d": 20, "steps": 2000, "runs": 1, "lengths": [1, 2], "curve_lengths": [2]}),
    ("8", {"steps": 3}),
    ("8", {"d": 1}),
    ("8", {"d": 2, "steps": 1, "link": "sum_h2"}),
    ("8", {"d": 30, "steps": 500, "lengths": [2], "check_L": 0, "link": "sum_h2"}),
    ("9", {"d": 2, "steps": 3, "lengths": [1]}),
    ("9", {"d": 300, "steps": 3, "lengths": [1, 20]}),
    ("10", {"d": 20, "steps": 3, "curve_steps": 3, "lengths": [3], "curve_lengths": [3]}),
    ("11", {"d": 300, "steps": [3, 3]}),
    ("11", {"d": 2, "steps": [300, 300], "lengths": [2]}),
    ("staircase", {"d": 300, "steps": 3}),
    ("staircase", {"d": 1, "steps": 3, "lengths": [4, 5], "row_lengths": [3]}),
    (
        "random-starts",
        {"ds": [20, 20], "steps": [3, 3], "runs": 2, "lengths": [2], "curve_lengths": [2]},
    ),
    (
        "best-rates",
        {"d_1": 20, "d_2": 20, "lengths_1": [1], "lengths_2": [1], "runs": 1, "rates": 1},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), CRIPPLED)
def test_crippled_settings_tell_nothing(name, changes, tmp_path):
    """From settings to picture and verdicts without a warning."""
    figure = figures.figure(name)
    with Runner(tmp_path / ".x.sweep", 2, progress=False) as runner:
        data = figure.compute(figure.settings("quick", changes), runner)
    found = figure.judge(data)
    assert [f.verdict for f in found] == ["cannot tell"] * len(found), found
    figure.draw(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaling", "passages", "overlay", "sharpening"])
def test_data_as_predicted_agree(computed, name):
    """Data drawn from the laws that they are compared with, and twice as large ones."""
    data = computed(name)
    figure = figures.figure(name)
    assert {f.verdict for f in figure.judge(data)} == {"agree"}, figure.judge(data)
    figure.draw(data)
    law = {
        "scaling": "predicted",
        "passages": "predicted",
        "overlay": "m_flow",
        "sharpening": "law",
    }[name]
    other = data.assign({law: data[law] * (data["d"] ** 0.3 if name == "scaling" else 0.5)})
    assert "disagree" in {f.verdict for f in figure.judge(other)}


@pytest.mark.parametrize(
    ("name", "changes", "title", "about", "not_in"),
    [
        ("8", {}, "SIE 1", "y = sum_l z_l / sqrt L, from m_0 = 1/sqrt d", "h2"),
        (
            "8",
            {"link": "sum_h2"},
            "SIE 2",
            "y = sum_l h2(z_l), from m_0 = 1/sqrt d",
            "z_l / sqrt L",
        ),
        (
            "8",
            {"start": "uniform", "check_L": 0},
            "SIE 1, from random starts",
            "uniformly on their spheres",
            "sampled",
        ),
        ("7", {"link": "sum", "check_L": 3}, "SIE 1", "At L = 3 the sampled dynamics", "h2"),
        ("9", {"link": "sum_h2"}, "beyond its bound", "SIE 2, y = sum_l h2(z_l) / sqrt L", "SIE 1"),
        (
            "5",
            {"d": 70, "rates": [0.1]},
            "at d = 70",
            "at learning rate 0.1",
            "authors' learning rate",
        ),
        ("12", {"d": 70}, "at d = 70", "authors' learning rate", "d = 100"),
        (
            "13",
            {"omega": 0.5, "a": 0.9},
            "at omega = 0.5, a = 0.9",
            "at omega = 0.5, a = 0.9",
            "0.95",
        ),
    ],
)
def test_titles_and_captions_follow_the_settings(name, changes, title, about, not_in):
    figure = figures.figure(name)
    said = figure.described(figure.settings("quick", changes))
    assert title in said[0] and about in said[1] and not_in not in " ".join(said)


@pytest.mark.parametrize("name", figures.names())
def test_titles_of_the_full_size(name):
    figure = figures.figure(name)
    assert figure.described(figure.full) == (figure.title, figure.about)


def test_bands_end_where_the_first_run_stops():
    from seqsgd.figures import style

    _, axes = style.panels()
    runs = np.tile(np.linspace(0.1, 0.8, 8), (4, 1))
    runs[2, 5:] = np.nan
    style.band(axes[0, 0], np.arange(8), runs, "m", 0)
    (line,) = axes[0, 0].lines
    assert line.get_xdata().tolist() == [0, 1, 2, 3, 4] and "3 of 4 went on" in line.get_label()
    runs = np.tile(np.linspace(0.1, 0.8, 8), (4, 1))
    runs[:, 3] = np.nan  # a step of another curve
    style.band(axes[0, 0], np.arange(8), runs, "m", 0)
    assert (
        axes[0, 0].lines[-1].get_xdata().tolist() == [0, 1, 2, 4, 5, 6, 7]
        and axes[0, 0].lines[-1].get_label() == "m"
    )
