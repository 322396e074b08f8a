"""Sets along which R is constant, against dense grids of the risk by quadrature, which know no
tolerance of the search and no series.
"""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import seqsgd as sq
from seqsgd.theory import landscape, risk

matplotlib.use("Agg")

FOUR = sq.SSI(sq.Hermite([(1.0, {1: 4}), (1.0, {2: 4})]), 2)
BENT = sq.HermiteSeries([0.0, 1.0, -1.5])  # with staircase2: R = const - m / sqrt 2 + 3/2 m^2
TRACE = sq.Attention("trace", position=sq.Opposite())


def opposite(link, sigma):
    return sq.Task(link, sq.Tied(sigma, position=sq.Opposite()))


# e cancels in u, so R depends on m alone: (task, {m of a curve: kind}, isolated points on the
# sphere, their kinds)
LINES = {
    "a maximum of R(m)": (
        opposite(sq.SSI("sum_h2", 2), "relu"),
        {0.0: "ridge"},
        "minimum",
        "minimum",
    ),
    "a minimum of R(m)": (
        opposite(sq.SSI("staircase2", 2), BENT),
        {1 / (3 * math.sqrt(2)): "valley"},
        "maximum",
        "maximum",
    ),
    "a minimum of order four": (opposite(FOUR, "relu"), {0.0: "valley"}, "maximum", "maximum"),
    "an inflexion": (
        opposite(sq.SSI(sq.Hermite([(1.0, {1: 3})]), 2), "He3"),
        {0.0: "flat"},
        "minimum",
        "maximum",
    ),
    "no zero of R'": (opposite(sq.SSI("sum", 2), "relu"), {}, "minimum", "maximum"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_of_constant_risk(name):
    task, curves, north, south = LINES[name]
    land = landscape(task)
    assert [
        (c.point.round(9).tolist(), c.kind)
        for c in sorted(land.critical, key=lambda c: -c.point[1])
    ] == [([0, 1], north), ([0, -1], south)]
    assert len(land.flat) == len(curves) and land.continuum == bool(curves)
    for flat, (m, kind) in zip(land.flat, curves.items(), strict=True):
        assert flat.kind == kind and flat.dimension == 1
        assert np.abs(flat.points[:, 1] - m).max() < 1e-4
        ends = math.sqrt(1 - m * m)  # all of the chord, without gaps
        assert sorted(flat.points[[0, -1], 0]) == pytest.approx([-ends, ends], abs=0.03)
        assert np.linalg.norm(np.diff(flat.points, axis=0), axis=1).max() < 0.12
        r = risk(task, *flat.points.T, hessian=False)
        assert (
            np.abs(r.gradient).max() < 1e-7
            and np.abs(r.value - flat.value).max() <= flat.error + 1e-12
        )
    grid = np.linspace(
        -0.999, 0.999, 2000
    )  # the critical m and their kinds, by signs of R'(m) from quadrature alone
    slope = risk(task, 0.0, grid, hessian=False).gradient[:, 1]
    signs = {
        kind: (
            np.sign(slope[np.searchsorted(grid, m) - 20]),
            np.sign(slope[np.searchsorted(grid, m) + 20]),
        )
        for m, kind in curves.items()
    }
    assert all(
        pair == {"ridge": (1, -1), "valley": (-1, 1)}.get(kind, (pair[0], pair[0]))
        for kind, pair in signs.items()
    )
    assert np.count_nonzero(np.diff(np.sign(slope))) == sum(
        kind != "flat" for kind in curves.values()
    )


@pytest.mark.parametrize(
    "task",
    [sq.Task(sq.SSI("z1-z2", 2), sq.Tied("relu")), opposite(sq.SSI("z1-z2", 2), "relu")],
    ids=["m", "e, m"],
)
def test_a_task_that_the_student_is_blind_to_is_flat_everywhere(task):
    land = landscape(task)
    (flat,) = land.flat
    p = len(land.names)
    assert (
        land.critical == ()
        and flat.kind == "flat"
        and flat.dimension == p
        and flat.across.shape == (0,)
    )
    assert land.direction.tolist() == [0.0] * p and land.rate == 0
    assert (np.linalg.norm(flat.points, axis=1) <= 1).all() and np.ptp(
        flat.points, axis=0
    ).min() > 1.9
    r = (
        risk(task, *(np.random.default_rng(0).uniform(-0.7, 0.7, (p, 200))), hessian=False)
        if p > 1
        else risk(task, m=np.linspace(-1, 1, 200), hessian=False)
    )
    assert np.ptp(r.value) < 1e-12 and np.abs(r.gradient).max() < 1e-12
    assert "everywhere" in repr(land) and (land.basin(m=[0.1, 0.9]) == -1).all()


# R depends on e alone: the label is odd under the exchange of tokens and f is even, or the label is
# constant
@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [
        sq.Task(sq.SSI("h2_difference", 2), TRACE),
        sq.Task(sq.PositionalSemantic(1.0, a=0.5), sq.Attention(position=sq.Opposite())),
    ],
    ids=["odd", "constant"],
)
def test_lines_across_m(task):
    e = np.linspace(-0.999, 0.999, 100)
    r = risk(task, e[:, None], [0.0, 0.4], hessian=False)
    assert np.abs(r.value[:, 0] - r.value[:, 1]).max() < 1e-9  # what the task was chosen for
    slope = r.gradient[:, 0, 0]
    zeros = e[:-1][np.diff(np.sign(slope)) != 0]
    land = landscape(task)
    assert len(land.flat) == len(zeros) > 0
    assert all(abs(c.point[0]) == 1 for c in land.critical)
    for flat in sorted(land.flat, key=lambda f: f.points[0, 0]):
        at = flat.points[:, 0].mean()
        near = np.abs(zeros - at).argmin()
        assert (
            abs(zeros[near] - at) < 0.021
            and np.ptp(flat.points[:, 0]) < 1e-4
            and np.ptp(flat.points[:, 1]) > 1.9 * math.sqrt(1 - at * at)
        )
        rising = slope[np.searchsorted(e, at) + 2] > 0
        assert flat.kind == ("valley" if rising else "ridge")


@pytest.mark.parametrize("sigma, kind", [("relu", "minimum"), ("He4", "maximum")])
def test_an_isolated_zero_of_higher_order_is_one_point(sigma, kind):
    """Sums of He_4 at the origin: R(m) - R(0) = -+ c m^4; relu has c_4 < 0."""
    land = landscape(sq.Task(FOUR, sq.Tied(sigma)))
    inside = [c for c in land.critical if c.where == "inside"]
    assert (
        len(inside) == 1
        and inside[0].point.tolist() == [0.0]
        and inside[0].degenerate
        and inside[0].kind == kind
        and not land.flat
    )
    assert land.direction.tolist() == [0.0] and land.rate == 0 and "(degenerate)" in repr(land)
    m = np.linspace(-0.9, 0.9, 181)
    r = risk(sq.Task(FOUR, sq.Tied(sigma)), m=m, hessian=False).value
    assert (np.argmin if kind == "minimum" else np.argmax)(r) == 90
    if kind == "minimum":
        assert land.basin(m=[0.5, -0.9]).tolist() == [0, 0]


def test_what_is_flat_to_order_sixteen_is_called_degenerate():
    """R(m) - R(0) = -m^16 is below the tolerance for |m| < 0.18, and R on the ring too: one point,
    of a kind that is not known.
    """
    c = math.factorial(16) ** -0.5
    land = landscape(
        sq.Task(sq.SSI(sq.Hermite([(c, {1: 16})]), 1), sq.Tied(sq.HermiteSeries([0.0] * 16 + [c])))
    )
    assert [(c.kind, c.where) for c in land.critical] == [("minimum", "sphere")] * 2 + [
        ("degenerate", "inside")
    ] and not land.flat
    assert land.critical[-1].point.tolist() == [0.0] and abs(land.critical[0].value) < 1e-10


def test_a_saddle_of_odd_order():
    land = landscape(sq.Task(sq.SSI("z1*z2*z3", 3), sq.Tied("He3")))  # R = const - c m^3
    assert [(c.kind, c.degenerate, float(c.point[0])) for c in land.critical] == [
        ("minimum", False, 1.0),
        ("saddle", True, 0.0),
        ("maximum", False, -1.0),
    ]


@pytest.mark.slow
def test_attention_without_a_term_of_second_order():
    """4/3 + He_4 + 2 He_4 under trace attention: flat to order four along m at the origin, which
    stays one point; against a dense grid.
    """
    task = sq.Task(sq.SSI(sq.Hermite([(4 / 3, {}), (1.0, {1: 4}), (2.0, {2: 4})]), 2), TRACE)
    land = landscape(task)
    assert not land.flat
    x = np.linspace(-0.9, 0.9, 46)
    g = risk(task, x[:, None], x, hessian=False).gradient
    inside = np.array([c.point for c in land.critical if c.where == "inside"])
    far = (
        np.linalg.norm(
            np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)[:, :, None] - inside, axis=-1
        )
        > 0.12
    ).all(axis=-1) & (np.add.outer(x**2, x**2) < 0.9)
    assert np.linalg.norm(g[far], axis=-1).min() > 20 * max(
        np.linalg.norm(risk(task, *p, hessian=False).gradient) for p in inside
    )
    assert (np.linalg.norm(inside, axis=1) < 1e-3).sum() == 1


@pytest.mark.slow
def test_a_purely_semantic_target_has_no_flat_sets():
    """All critical points are isolated, and the slope along the sphere changes sign as often as
    there are such points on it.
    """
    task = sq.Task(sq.PositionalSemantic(0.0), sq.Attention(position=sq.Opposite()))
    land = landscape(task)
    theta = np.linspace(0, 2 * np.pi, 49)[:-1] + 0.01
    g = risk(task, np.cos(theta), np.sin(theta), hessian=False).gradient
    slope = -np.sin(theta) * g[:, 0] + np.cos(theta) * g[:, 1]
    assert not land.flat and not land.continuum and not any(c.degenerate for c in land.critical)
    assert sum(c.where == "sphere" for c in land.critical) == np.count_nonzero(
        np.sign(slope) != np.sign(np.roll(slope, 1))
    )


@pytest.mark.slow
def test_pictures_of_flat_sets(tmp_path):
    import matplotlib.pyplot as plt

    for i, task in enumerate(
        [
            LINES["a maximum of R(m)"][0],
            opposite(sq.SSI("z1-z2", 2), "relu"),
            sq.Task(sq.SSI("z1-z2", 2), sq.Tied("relu")),
        ]
    ):
        ax = landscape(task).plot()
        assert any("flat" in t.get_text() for t in ax.get_legend().get_texts())
        ax.figure.savefig(tmp_path / f"{i}.png")
    landscape(LINES["a maximum of R(m)"][0]).plot(surface=True).figure.savefig(
        tmp_path / "surface.png"
    )
    plt.close("all")
