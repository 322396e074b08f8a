"""Texts in pictures come out as typed unless they are formulas; backends are the user's."""

import os
import subprocess
import sys

import matplotlib
import matplotlib as mpl
import numpy as np
import pytest
import seqsgd as sq
from matplotlib.figure import Figure
from seqsgd.plots import drawing

mpl.use("agg")
TASK = sq.Task(sq.SSI("sum", L=1), sq.Tied("relu"))
RUN = {"d": 20, "steps": 100, "lr": 0.1, "rng": 0}

# typed, and the parts that are mathematics
TEXTS = [
    ("overlap", []),
    ("cost $5 to $6", []),
    ("$5-$6", []),
    ("US$ and A$", []),
    ("$", []),
    ("$$", []),
    ("a $ b", []),
    ("$ x $", []),
    ("set $x_{1$ of", []),
    ("$\\omega_{$", []),
    ("$\\nosuchword$", []),
    ("$a\nb$", []),
    ("100 % of a_b^c & {d} \\n", []),
    ("$\\omega$ = 0.5", ["$\\omega$"]),
    ("$m$ costs $5", ["$m$"]),
    ("it costs $5, with $\\gamma$ = 1", ["$\\gamma$"]),
    ("$\\frac{1}{\\sqrt{L}}$ and $\\Vert e\\Vert$", ["$\\frac{1}{\\sqrt{L}}$", "$\\Vert e\\Vert$"]),
    ("$x_{1$ and $x_{2}$", ["$x_{2}$"]),
    ("$x_{1$x$", ["$x$"]),
    ("$\\$5$", ["$\\$5$"]),
]


def pixels(words, **options):
    figure = drawing.agg_figure(figsize=(4, 1), dpi=60)
    figure.text(0.02, 0.4, words, **options)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize(("typed", "formulas"), TEXTS)
def test_dollars(typed, formulas):
    """Plain text looks as without parsing; formulas look as matplotlib by itself draws them."""
    text = drawing.text(typed)
    drawn = pixels(text)
    if not formulas:
        np.testing.assert_array_equal(drawn, pixels(typed, parse_math=False))
    else:
        rest = typed
        for formula in formulas:
            assert formula in text
            rest = rest.replace(formula, "")
        assert text.replace("\\$", "$").replace("$", "") == typed.replace("\\$", "$").replace(
            "$", ""
        )
        if "$" not in rest:
            np.testing.assert_array_equal(drawn, pixels(typed))
        assert (drawn != pixels(typed, parse_math=False)).any()


def test_an_escaped_dollar_is_one():
    np.testing.assert_array_equal(
        pixels(drawing.text("\\$5 and $6")), pixels("$5 and $6", parse_math=False)
    )


def test_settings_of_the_user_are_obeyed():
    with mpl.rc_context({"text.parse_math": False}):
        assert drawing.text("$5 to $6") == "$5 to $6"
    with mpl.rc_context({"text.usetex": True}):  # TeX knows more than matplotlib
        assert drawing.text("$\\boldsymbol{m}$ for $5") == "$\\boldsymbol{m}$ for \\$5"


def test_everything_the_user_names_in_a_picture(tmp_path):
    """Titles, panels and labels, of every kind of picture."""
    odd = "$x_{1$ for $5 to $6"
    r = sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.3, halt=False))
    figure = sq.ResultSet({odd: r, "b": r}, title=odd, panels={odd: odd, "b": odd}).plot(Figure())
    ax = figure.axes[0]
    shown = [figure.get_suptitle(), ax.get_title(), ax.get_legend().get_texts()[0].get_text()]
    assert shown == [odd.replace("$", "\\$")] * 3
    figure.savefig(tmp_path / "x.png")
    ax = r.passage.plot(Figure().subplots(), label=odd)
    assert ax.get_legend().get_texts()[0].get_text() == odd.replace("$", "\\$")
    ax.figure.savefig(tmp_path / "x.png")


@pytest.mark.slow
def test_what_is_no_place_to_draw():
    r = sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.3, halt=False))
    flow = sq.theory.flow(TASK, lr=0.1, d=20, steps=100)
    for plot in (
        r.plot,
        r.passage.plot,
        flow.plot,
        sq.theory.landscape(TASK).plot,
        sq.theory.phase_diagram([0.5, 1], [0.2, 0.4]).plot,
    ):
        for wrong in ("x", Figure()):
            with pytest.raises(TypeError, match=r"^ax: expected matplotlib Axes, got "):
                plot(wrong)
    with pytest.raises(TypeError, match=r"^figure: expected matplotlib Figure, got 'x'$"):
        sq.ResultSet({"a": r}).plot("x")


BACKENDS = """
import sys
import seqsgd as sq
from seqsgd.figures.style import panels
panels()[0].savefig("panels.png")
r = sq.simulate(sq.Task(sq.SSI("sum", L=1), sq.Tied("relu")), 20, 100, 0.1, rng=0)
r.plot(panels()[1][0, 0])
for _ in range(2):
    try:
        r.plot()
        import matplotlib
        print(matplotlib.get_backend())
    except ValueError as e:
        print(e)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("svg", "svg"),
        ("module://our_backend", "module://our_backend"),
        ("nonsense", None),
        ("module://no_such_package.backend", None),
        ("", ""),
    ],
)
def test_the_backend_is_the_users(tmp_path, backend, said):
    """Pictures for files are drawn whatever it is; pyplot's obey it, or say what is wrong."""
    (tmp_path / "our_backend.py").write_text("from matplotlib.backends.backend_agg import *\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", BACKENDS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"MPLBACKEND": backend, "PYTHONPATH": path},
    )
    assert done.returncode == 0 and (tmp_path / "panels.png").is_file(), done.stderr
    lines = done.stdout.splitlines()
    if said is None:
        assert lines[0] == lines[1] and lines[0].startswith(
            f"MPLBACKEND: expected a backend that matplotlib has here, got {backend!r}"
        )
    elif said:
        assert lines == [said] * 2
    else:
        assert len(lines) == 2


def test_colours_bands_and_legends_are_the_callers_choice():
    r = sq.simulate(TASK, **RUN, stop=sq.WeakRecovery(0.3))
    ax = Figure().subplots()
    ax.plot([0, 1], [0, 1])
    r.plot(ax, band=None, legend=False)
    r.plot(ax, color="crimson")
    r.passage.plot(ax, legend=False, band=False)
    ax.plot([0, 1], [1, 0])
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    colours = [line.get_color() for line in ax.lines if line.get_linestyle() != "None"]
    assert colours == [cycle[0], cycle[1], "crimson", cycle[2], cycle[3]]
    assert len(ax.collections) == 1  # the band of the second
    assert len(r.plot(Figure().subplots(), band=(0.25, 0.75)).collections) == 1
    for wrong, message in (
        ({"band": (0.9, 0.1)}, r"band: expected the lower quantile first, got \(0.9, 0.1\)"),
        ({"band": 0.5}, "band: expected two quantiles such as"),
        ({"band": (0.1, 1.5)}, "band: expected"),
        ({"color": "no colour"}, "color: expected a matplotlib colour, got 'no colour'"),
        ({"legend": "no"}, "legend: expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            r.plot(Figure().subplots(), **wrong)


def test_the_callers_figure_keeps_its_size_and_layout():
    r = sq.simulate(TASK, **RUN)
    figure = Figure(figsize=(3.4, 2.5), layout="constrained")
    engine = figure.get_layout_engine()
    sq.ResultSet({"a": r, "b": r}).plot(figure)
    assert tuple(figure.get_size_inches()) == (3.4, 2.5) and figure.get_layout_engine() is engine
