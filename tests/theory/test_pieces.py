"""Functions with jumps and kinks: breaks are found, and errors cover, on random functions whose
coefficients are known (`breaks.py`; its tables are in the docs)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from breaks import coefficient_ratios, link_ratios, risk_ratios
from seqsgd.theory.expectation import cubature
from seqsgd.theory.expectation.line import Line, Mesh


def jump(b):
    return (lambda u: float(u > b)), (lambda u: 0.0)


def bent(b):
    return (lambda u: max(u - b, 0.0)), (lambda u: float(u > b))


def column(f):
    return lambda u: np.asarray(f(u), dtype=np.float64)[:, None]


def covers(ratios, n):
    """None of n stated errors is too small: it would happen to a coverage of 99.9 % with
    probability 1 - 0.999^n."""
    every = np.concatenate([r.ravel() for r in ratios.values()])
    assert every.size >= n and every.max() <= 1, {k: float(r.max()) for k, r in ratios.items()}


@pytest.mark.slow
def test_random_functions():
    covers(coefficient_ratios(60, 12, 2026), 700)
    covers(coefficient_ratios(25, 12, 2027, shifted=True), 300)


def test_random_links():
    covers(link_ratios(1, 20, 2028), 50)
    covers(link_ratios(2, 6, 2029, orders=(1, 2)), 20)
    covers(link_ratios(3, 3, 2030, orders=(1,)), 6)


@pytest.mark.parametrize("L", [2, 3])
def test_a_region_that_points_of_the_gaussian_would_miss(L):
    """Of probability 1.3e-5: one or two of 2^17 points, in a sixth of draws none, error 0."""
    c = 4.2
    exact = math.exp(-c * c / 2) / math.sqrt(2 * math.pi)
    rule = cubature.rule(L, 1, 1, None, True)
    for seed in range(3):
        C = cubature.integrate(lambda z: (z[:, :1] > c) * 1.0, 1, rule, 1, seed)[0][0]
        assert abs(C.value[0] - exact) <= C.error[0] < exact / 5
        assert np.all(np.abs(C.value[1:]) <= C.error[1:])


@pytest.mark.slow
def test_random_risks():
    covers(risk_ratios(15, 2031), 60)


def test_a_jump_between_the_first_nodes():
    c = sq.theory.hermite_coefficients(jump(-0.015551560662016684))
    assert np.allclose(c.value[[0, 2]], [0.5062039, -0.0062034], atol=5e-8) and c.error[0] < 1e-13
    assert "break at -0.01555" in c.method and "estimate" in c.method
    relu = sq.theory.hermite_coefficients(bent(-0.0429), 2)
    phi, below = (
        math.exp(-(0.0429**2) / 2) / math.sqrt(2 * math.pi),
        0.5 * math.erfc(-0.0429 / math.sqrt(2)),
    )
    assert np.allclose(relu.value, [phi + 0.0429 * below, below, phi], rtol=0, atol=1e-14)


@pytest.mark.parametrize("b, expected", [(0.001, 1.2498005), (-0.0155, 1.25309168)])
def test_risk_law_and_gain_see_the_jump(b, expected):
    task = sq.Task(sq.SSI("sum_h2", L=2), sq.Tied(jump(b)))
    assert np.isclose(float(sq.theory.risk(task).value), expected, atol=5e-8)
    law, gain = sq.theory.complexity(task), sq.theory.gain(task, jump(b))
    assert law.k == gain.k == 2 and "never" not in repr(law) and law.decided
    assert np.isclose(
        law.leading.b, math.sqrt(2) * b * math.exp(-b * b / 2) / math.sqrt(2 * math.pi)
    )


@pytest.mark.parametrize(
    "f, exact",
    [
        (lambda u: np.sqrt(np.abs(u - 0.1)), None),
        (lambda u: np.log(np.abs(u)), -(np.euler_gamma + math.log(2)) / 2),
        (lambda u: np.abs(u) ** -0.5, 2**-0.25 * math.gamma(0.25) / math.sqrt(math.pi)),
        (lambda u: np.tanh(300 * (u - 0.2)), None),
        (lambda u: np.maximum(u - 0.2, 0) ** 3, None),
        (np.exp, math.exp(0.5)),
    ],
)
def test_what_is_not_smooth_in_pieces_is_graded(f, exact):
    value, error = Line(column(f), 0).coefficients()
    if exact is None:

        def g(t, a):  # from each break in steps that a singularity at it does not hurt
            u = a + np.sign(t) * t * t
            return float(2 * abs(t) * f(u) * math.exp(-u * u / 2) / math.sqrt(2 * math.pi))

        x, w = np.polynomial.legendre.leggauss(40)
        exact = 0.0
        for low, high, a in ((-4.0, 0.0, 0.1), (0.0, 0.1**0.5, 0.1), (0.0, 4.0, 0.2)):
            grid = np.linspace(low, high, 81)
            t = grid[:-1, None] + np.diff(grid)[:, None] * (x + 1) / 2
            parts = np.vectorize(lambda y, a=a: g(y, a))(t)
            exact += float((parts * w * np.diff(grid)[:, None] / 2).sum())
    assert abs(value[0, 0] - exact) <= error[0, 0] + 1e-12 and error[0, 0] < 1e-5


@pytest.mark.parametrize(
    "f, least, most",
    [
        (lambda u: np.tanh(u.astype(np.float32)), 1e-9, 1e-5),
        (lambda u: (u * 1e6) % 1.0, 0.1, 2),
        (lambda u: np.sin(1 / u), 0.1, 2),
    ],
)
def test_noise_is_in_the_error(f, least, most):
    """Single precision, a function with a million teeth, and one with infinitely many."""
    error = Line(column(f), 2).coefficients()[1]
    assert least < error[0, 0] < most


@pytest.mark.slow
def test_a_coefficient_lost_in_noise_is_no_verdict():
    def noisy(u):
        return math.tanh(u) + 1e-3 * ((u * 1e7) % 1.0)

    law = sq.theory.complexity(
        sq.Task(sq.SSI("sum_h2", L=2), sq.Tied((noisy, lambda u: 1 - math.tanh(u) ** 2)))
    )
    assert (
        law.k is None
        and not law.decided
        and repr(law).startswith("Complexity(undecided: c_2 of the activation is 0 only within")
    )
    assert math.isnan(law.best(100, 0.3).steps)


def test_values_that_are_not_finite():
    with pytest.raises(ValueError, match=r"sigma: expected finite values, got (inf|nan) at "):
        sq.theory.hermite_coefficients((lambda u: math.inf if u > 2 else 0.0, lambda u: 0.0))


def test_a_mesh_grows_with_what_is_asked():
    seen = []
    mesh = Mesh(
        lambda u: seen.append(len(u)) or np.stack([np.abs(u - 3.0), np.sign(u - 3.0)], axis=1)
    )
    assert len(mesh.edges(-2.0, 2.0, 1.0)) and not mesh.breaks.size
    calls = len(seen)
    mesh.edges(-1.0, 1.0, 1.0)
    assert len(seen) == calls  # known already
    assert 3.0 in np.round(mesh.edges(-2.0, 5.0, 1.0), 12) and np.allclose(
        mesh.breaks, [3.0], atol=1e-13
    )


def test_derivatives_with_jumps_of_their_own():
    """V of a wedge by hand: sigma = |u - b| has sigma'^2 = 1, so V = E[(sigma - y)^2] = 2 R."""
    b = 0.37
    task = sq.Task(
        sq.SSI("sum_h2", L=3, scale="1/sqrt(L)"),
        sq.Tied(((lambda u: abs(u - b)), (lambda u: math.copysign(1.0, u - b)))),
    )
    r = sq.theory.risk(task, m=[0.0, 0.4, -0.9])
    assert (
        np.all(np.abs(r.V - 2 * r.value) <= r.V_error + 2 * r.value_error)
        and r.V_error.max() < 1e-13
    )
