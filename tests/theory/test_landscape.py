"""Critical points, basins and the phase diagram: against the paper's number, against Mehler's
expansion, and against each other.
"""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import seqsgd as sq
from expansions import Mehler
from scipy import optimize
from seqsgd.theory import landscape, phase_diagram, risk
from seqsgd.theory.phases import REGIONS, _ring, criteria

pytestmark = pytest.mark.xdist_group("landscape")

matplotlib.use("Agg")

OPPOSITE = sq.Attention(position=sq.Opposite())


def test_the_first_direction_switches_at_0_6409():
    """The converged value is 0.640963: the paper's 0.64, four digits by truncation.

    Independently from Hermite coefficients at (0, 0).
    """

    def difference(omega):
        hessian = Mehler(omega, order=12).derivatives(0.0, 0.0)[2]
        return hessian[1, 1] - hessian[0, 0]

    omega, error = criteria()["direction"].root(np.array([1.0]))
    assert math.floor(1e4 * omega[0]) == 6409 and error[0] < 1e-8
    assert abs(omega[0] - optimize.brentq(difference, 0.5, 0.8, xtol=1e-9)) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("a, omega", [(0.8, 0.37), (1.0, 0.9), (0.3, 0.5)])
def test_criteria_are_those_of_the_risk_itself(a, omega):
    """No use of linearity: the risk of the very target, at the origin and the poles."""
    r = risk(sq.Task(sq.PositionalSemantic(omega, a=a), OPPOSITE), [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    g, h = r.gradient, r.hessian
    direct = {
        "direction": h[0, 1, 1] - h[0, 0, 0],
        "positional outward": -g[1, 0],
        "positional along": h[1, 1, 1] - g[1, 0],
        "semantic outward": -g[2, 1],
        "semantic along": h[2, 0, 0] - g[2, 1],
        "gap": r.value[1] - r.value[2],
    }
    assert criteria().keys() == direct.keys()
    for name, rule in criteria().items():
        assert abs(float(rule(np.array(a), np.array(omega))) - direct[name]) < 1e-8, name


@pytest.mark.slow
def test_the_slope_along_the_sphere():
    angles = 9
    theta = np.linspace(0, np.pi / 2, angles + 2)[1:-1]
    a, omega = 0.77, 0.6
    share = math.tanh(a * a)
    semantic, identity, flat = _ring(angles)
    slope = (1 - omega) * semantic + omega * (share * identity + (1 - share) * flat)
    r = risk(
        sq.Task(sq.PositionalSemantic(omega, a=a), OPPOSITE),
        np.cos(theta),
        np.sin(theta),
        hessian=False,
    )
    direct = -np.sin(theta) * r.gradient[:, 0] + np.cos(theta) * r.gradient[:, 1]
    assert np.abs(slope - direct).max() < 1e-6


@pytest.fixture(scope="module")
def diagram():
    return phase_diagram(np.linspace(0.0025, 1, 400), np.linspace(0, 1, 400))


@pytest.mark.slow
def test_phase_diagram_has_six_regions(diagram):
    assert diagram.region.shape == (400, 400) and len(REGIONS) == 6
    assert set(np.unique(diagram.region)) == {-1, 0, 1, 2, 3, 4, 5}
    at_one = diagram.region[-1]  # a = 1: from unique semantic to unique positional as omega grows
    order = [int(x) for x in at_one[np.flatnonzero(np.diff(at_one, prepend=-9))]]
    assert order == [5, 4, 2, 1, 0]
    assert (
        diagram.region[diagram.a < 0.7][:, :-1] == 5
    ).all()  # a weak positional target does not attract
    # the sliver that the six regions do not describe: small, at a near 0.75 and omega near 1
    odd = (diagram.between | (diagram.region == -1)) & (diagram.omega < 1)
    i, j = np.nonzero(odd)
    assert (
        0 < odd.sum() < 150
        and 0.7 < diagram.a[i].min()
        and diagram.a[i].max() < 0.8
        and diagram.omega[j].min() > 0.9
    )


@pytest.mark.slow
def test_boundaries_are_where_regions_change():
    change = {
        "direction": {(4, 2), (5, 3)},
        "gap": {(2, 1)},
        "positional": {(5, 4), (3, 2)},
        "semantic": {(1, 0)},
    }
    curves = phase_diagram([0.8, 0.85, 0.9, 1.0], [0.5]).boundaries
    for name, pairs in change.items():
        points = curves[name][curves[name][:, 0] > 0.82][::50]
        assert len(points) >= 5
        for a, omega in points:
            below, above = phase_diagram([a], [omega - 2e-6, omega + 2e-6]).region[0]
            assert (below, above) in pairs, (name, a, omega)


@pytest.mark.slow
def test_boundary_errors_are_below_1e_6(diagram):
    assert (
        max(diagram.boundary_error.values()) < 1e-6
        and diagram.boundary_error.keys() == diagram.boundaries.keys()
    )


@pytest.mark.parametrize("a, omega", [([0.0, 0.5], [0.5]), ([0.5], [1.1]), ([1.2], [0.5])])
def test_phase_diagram_refuses_numbers_out_of_range(a, omega):
    with pytest.raises(ValueError, match="expected numbers in"):
        phase_diagram(a, omega)


@pytest.fixture(scope="module")
def two_minima():
    return landscape(sq.Task(sq.PositionalSemantic(0.7), OPPOSITE))


@pytest.mark.slow
def test_critical_points_of_attention(two_minima):
    kinds = [(c.kind, c.where) for c in two_minima.critical]
    assert kinds == [("minimum", "sphere")] * 4 + [("saddle", "sphere")] * 4 + [
        ("maximum", "inside")
    ]
    assert [np.abs(c.point).round(9).tolist() for c in two_minima.minima] == [
        [0, 1],
        [0, 1],
        [1, 0],
        [1, 0],
    ]
    r = risk(
        sq.Task(sq.PositionalSemantic(0.7), OPPOSITE),
        *np.array([c.point for c in two_minima.critical]).T,
    )
    assert np.abs(r.value - [c.value for c in two_minima.critical]).max() < 1e-12
    for c, g in zip(
        two_minima.critical, r.gradient, strict=True
    ):  # where the flow rests: (I - x x^T) grad R = 0
        assert np.abs(g - c.point * (c.point @ g)).max() < 1e-7
    assert (
        np.abs(two_minima.direction - [1, 0]).max() < 1e-9
        and abs(two_minima.rate + r.hessian[-1, 0, 0]) < 1e-9
    )
    assert "saddle" in repr(two_minima)


@pytest.mark.slow
def test_basins_follow_the_flow(two_minima):
    e, m = np.array([0.1, 0.5, 0.2, -0.05, 0.6]), np.array([0.02, 0.4, 0.5, -0.3, 0.75])
    ends = two_minima.basin(e, m)
    for i in range(len(e)):
        f = sq.theory.flow(
            sq.Task(sq.PositionalSemantic(0.7), OPPOSITE),
            1.0,
            t=400.0,
            e=e[i],
            m=m[i],
            inhibitive=False,
            records=2,
        )
        assert np.abs(two_minima.minima[ends[i]].point - [f.e[-1], f.m[-1]]).max() < 1e-3
    assert two_minima.basin(0.0, 0.0) == -1


@pytest.mark.slow
def test_a_minimum_between_the_poles():
    """At (a, omega) = (0.76, 0.97) the global minimum is at neither pole: the six regions of the
    paper do not describe this sliver.
    """
    assert phase_diagram([0.76], [0.97]).between.all()
    task = sq.Task(sq.PositionalSemantic(0.97, a=0.76), OPPOSITE)
    theta = np.linspace(0, np.pi / 2, 19)
    r = risk(task, np.cos(theta), np.sin(theta), hessian=False)
    lowest = int(np.argmin(r.value))
    assert 0 < lowest < 18 and r.value[[0, -1]].min() - r.value[lowest] > 1e-5 > 1e3 * r.error
    assert (
        np.cos(theta[lowest]) * r.gradient[lowest, 0]
        + np.sin(theta[lowest]) * r.gradient[lowest, 1]
        < 0
    )  # it attracts from inside


def test_landscape_of_networks():
    even = landscape(sq.Task(sq.SSI("sum_h2", 4), sq.Tied("relu")))
    assert [(c.kind, float(c.point[0])) for c in even.critical] in (
        [("minimum", s), ("minimum", -s), ("maximum", 0.0)] for s in (1.0, -1.0)
    )
    odd = landscape(sq.Task(sq.SSI("sum", 4), sq.Tied("relu")))
    assert odd.direction.tolist() == [1.0] and [c.kind for c in odd.critical] == [
        "minimum",
        "maximum",
    ]
    flat = landscape(
        sq.Task(sq.SSI("sum_h2", 2), sq.Tied("relu", position=sq.Opposite()))
    )  # e cancels in u: R does not depend on it
    assert flat.continuum and {abs(c.point[1]) for c in flat.minima} == {1.0}
    both = landscape(
        sq.Task(sq.SSI("staircase2", 2), sq.Tied(sq.HermiteSeries([0.0, 1.0, -1.5])))
    )  # z_1 pulls one way, z_1 z_2 the other
    inner = [c for c in both.critical if c.where == "inside"]
    assert len(inner) == 1  # R = const - m / sqrt 2 + 3/2 m^2
    assert abs(inner[0].point[0] - 1 / (3 * math.sqrt(2))) < 1e-9 and inner[0].kind == "minimum"


def test_landscapes_in_more_parameters_are_refused():
    with pytest.raises(ValueError, match="task: expected a student"):
        landscape(sq.Task(sq.SSI("sum", 3), sq.Untied("relu")))


@pytest.mark.slow
def test_pictures(two_minima, diagram, tmp_path):
    import matplotlib.pyplot as plt

    ax = two_minima.plot()
    assert "e" in ax.get_xlabel() and {t.get_text() for t in ax.get_legend().get_texts()} == {
        "minimum",
        "saddle",
        "maximum",
    }
    ax.figure.savefig(tmp_path / "contours.png")
    two_minima.plot(surface=True).figure.savefig(tmp_path / "surface.png")
    ax = diagram.plot()
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert [f"{i + 1}  {name}" for i, name in enumerate(REGIONS)] == texts[:6]
    ax.figure.savefig(tmp_path / "phases.png")
    landscape(sq.Task(sq.SSI("sum_h2", 4), sq.Tied("relu"))).plot().figure.savefig(
        tmp_path / "curve.png"
    )
    plt.close("all")
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_shades_of_the_regions_stay_apart_in_grey():
    from matplotlib.colors import to_rgb
    from seqsgd.plots.theory import SHADES

    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in map(to_rgb, SHADES)]
    assert (np.diff(grey) < -0.1).all()
