"""Hermite tensors against quadrature and sampling of the compiled links, coefficients against
mpmath, exponents against theory.md.
"""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import seqsgd as sq
from catalogue import HERMITE, SCALES, hermite_length
from numpy.polynomial.hermite_e import hermegauss, hermeval


def he(k, x):
    return hermeval(x, [0] * k + [1])


def quadrature(f, L, order, nodes):
    """E[f(z) H_k(z)] for every index, (outputs, L, ..., L), by a Gauss-Hermite rule written out:
    exact for polynomials of low degree.
    """
    x, w = hermegauss(nodes)
    w = w / w.sum()
    z = np.array(list(itertools.product(x, repeat=L)))
    weight = np.prod(list(itertools.product(w, repeat=L)), axis=1)
    y = f(z)
    out = np.zeros((y.shape[1],) + (L,) * order)
    for place in itertools.product(range(L), repeat=order):
        out[(slice(None), *place)] = (
            weight
            * np.prod(
                [he(place.count(t), z[:, t]) for t in set(place)] or [np.ones(len(z))], axis=0
            )
        ) @ y
    return out


LINKS = [
    sq.SSI(name, 4, scale=scale)
    for name, scale in zip(sq.links(), itertools.cycle(("1", "1/sqrt(L)", "L", -0.3)), strict=False)
]
LINKS += [
    sq.SSI(sq.Hermite(HERMITE[name]), 4, scale="1/L")
    for name in HERMITE
    if hermite_length(name) <= 4
]


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_analytic_tensors_are_those_of_the_compiled_link(link):
    for order in range(7):
        C = sq.theory.hermite(link, order)
        assert C.exact and len(C) == link.k
        expected = quadrature(link._compiled(), 4, order, 8)
        np.testing.assert_allclose(C.dense(), expected, rtol=0, atol=2e-11)
        assert np.isclose(C[0].norm, np.linalg.norm(expected), atol=1e-11) and np.isclose(
            C[0].ones, expected.sum(), atol=1e-10
        )


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale(scale):
    factor = float(scale) if scale == "-0.3" else scale
    C = sq.theory.hermite(sq.SSI("sum_h2", 5, scale=factor), 2)
    np.testing.assert_allclose(
        C.dense()[0], math.sqrt(2) * SCALES[scale](5) * np.eye(5), rtol=1e-14, atol=0
    )


def test_all_orders_together_are_the_link(rng):
    L = 9
    link, z = sq.SSI("staircase", L, scale="1/sqrt(L)"), rng.standard_normal((20, L))
    total = np.zeros(20)
    for k in range(L + 2):
        C = sq.theory.hermite(link, k)[0]
        assert len(C.value) == (math.comb(L - 1, k - 1) if k else 0)
        for row, v, copies in zip(C.index, C.value, C.multiplicity, strict=True):
            total += (
                copies
                * v
                / math.factorial(k)
                * np.prod([he(int((row == t).sum()), z[:, t]) for t in set(row.tolist())], axis=0)
            )
    np.testing.assert_allclose(total, link._compiled()(z)[:, 0], rtol=1e-11)


def test_long_sequences_cost_what_their_entries_cost():
    L = 5000
    C = sq.theory.hermite(sq.SSI("sum_h2", L, scale="1/sqrt(L)"), 2)[0]
    assert len(C.value) == L and (C.index[:, 0] == C.index[:, 1]).all()
    assert (
        np.isclose(C.ones, math.sqrt(2 * L))
        and np.isclose(C.operator_norm().value, math.sqrt(2 / L))
        and C.operator_norm().exact
    )
    with pytest.raises(ValueError, match=r"dense: expected L\^k <= 16777216, got L = 5000, k = 2"):
        C.dense()
    assert len(sq.theory.hermite(sq.SSI("staircase", 300), 3)[0].value) == math.comb(299, 2)
    with pytest.raises(ValueError, match="order: C_6 of this link has .* different entries"):
        sq.theory.hermite(sq.SSI("staircase", 300), 6)


MATRIX = sq.PositionalSemantic(0.3, a=0.7)


@pytest.mark.parametrize(
    "link",
    [MATRIX, sq.AttentionTarget(2, "trace", weights=[0.5, -0.8], offset=[0.2, 0.4])],
    ids=repr,
)
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_integrated_tensors_agree_with_gauss_hermite_rules(link, order):
    C = sq.theory.hermite(link, order)
    assert not C.exact or (link is MATRIX and order % 2)
    expected = quadrature(link._compiled(), 2, order, 150)
    slow = np.abs(
        expected - quadrature(link._compiled(), 2, order, 110)
    ).max()  # how far Gauss-Hermite rules have come
    assert slow < 1e-6
    np.testing.assert_allclose(C.dense(), expected, rtol=0, atol=3 * slow + 1e-12)
    assert C.norm_error < 1e-9


@pytest.mark.parametrize(
    "function, order, value",
    [
        (lambda z: abs(z[0]), 2, math.sqrt(2 / math.pi)),
        (lambda z: float(z[0] > 0.3), 1, math.exp(-0.045) / math.sqrt(2 * math.pi)),
    ],
)
def test_the_error_estimate_covers_kinks_and_jumps(function, order, value):
    for L, small, large in ((1, 1e-16, 1e-13), (2, 1e-9, 0.01)):
        C = sq.theory.hermite(sq.SSI(function, L), order)[0]
        at = int(np.flatnonzero((C.index == 0).all(axis=1))[0])
        assert small < C.error[at] < large and abs(C.value[at] - value) <= C.error[at]


def test_points_matter_with_one_token():
    def notch(z):
        return float(abs(z[0] - 0.3) < 2e-4)

    few, many = (sq.theory.hermite(sq.SSI(notch, 1), 0, points=n)[0] for n in (2**12, 2**18))
    width = 4e-4 * math.exp(-0.045) / math.sqrt(2 * math.pi)
    assert few.value[0] == 0 and np.isclose(many.value[0], width, rtol=1e-6)


def test_even_links_with_jumps_are_known_to_be_even():
    even = sq.theory.sie(sq.SSI(lambda z: float(abs(z[0]) > 1.1), 2), max_order=2)
    assert int(even) == 2 and even.below[0].bound < 1e-12
    assert np.isclose(
        even.norm, 2 * 1.1 * math.exp(-0.605) / math.sqrt(2 * math.pi), rtol=0, atol=even.norm_error
    )


def test_error_bars_of_many_tokens_hold(rng):
    link, order, n = sq.AttentionTarget(6, "trace", weights=0.6, offset=0.3), 2, 400_000
    C = sq.theory.hermite(link, order, points=2**16)[0]
    assert C.dof > 10 and C.error.max() < 2e-3
    z = rng.standard_normal((n, 6))
    y = link._compiled()(z)[:, 0]
    scores = []
    for (i, j), v, e in zip(C.index, C.value, C.error, strict=True):
        terms = y * (he(2, z[:, i]) if i == j else z[:, i] * z[:, j])
        scores.append((v - terms.mean()) / math.hypot(e, terms.std() / math.sqrt(n)))
    assert 0.3 < np.std(scores) < 2.0 and np.abs(scores).max() < 5
    again = sq.theory.hermite(link, order, points=2**16, rng=1)[0]
    scores = (C.value - again.value) / np.hypot(C.error, again.error)
    assert 0.4 < np.std(scores) < 2.0


@pytest.mark.slow
def test_functions_in_c_and_python_agree_with_data():
    data = sq.Hermite([(0.5, {1: 2, 2: 1}), (1.5, {3: 1})])
    python = sq.SSI(lambda z: [0.5 * (z[0] ** 2 - 1) * z[1] + 1.5 * z[2], z[0]], 3, k=2)
    for order in range(4):
        C = sq.theory.hermite(python, order)
        np.testing.assert_allclose(
            C.dense()[0], sq.theory.hermite(data, order).dense()[0], atol=1e-9
        )
    np.testing.assert_allclose(sq.theory.hermite(python, 1).dense()[1], [1, 0, 0], atol=1e-9)


# coefficients


def exact_coefficients(f, order, cuts=(0,)):
    """c_0 .. c_order in 40 digits, Gauss-Legendre on panels of length 1/2 or less."""
    with mpmath.workdps(40):
        nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, 150)  # 48 nodes
        edges = sorted({mpmath.mpf(n) / 2 for n in range(-40, 41)} | {mpmath.mpf(c) for c in cuts})
        total = [mpmath.mpf(0)] * (order + 1)
        for a, b in itertools.pairwise(edges):
            for x, w in nodes:
                u = (a + b) / 2 + (b - a) / 2 * x
                g = f(u) * mpmath.npdf(u) * w * (b - a) / 2
                below, here = mpmath.mpf(0), mpmath.mpf(1)
                for k in range(order + 1):
                    total[k] += g * here
                    below, here = here, u * here - k * below
        return [float(t) for t in total]


FUNCTIONS = {
    "identity": lambda u: u,
    "relu": lambda u: u if u > 0 else mpmath.mpf(0),
    "tanh": mpmath.tanh,
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "square": lambda u: u**2,
    "h2": lambda u: (u**2 - 1) / mpmath.sqrt(2),
    "erf": mpmath.erf,
    "He3": lambda u: u**3 - 3 * u,
}


def test_every_activation_is_in_the_list():
    assert set(sq.activations()) <= set(FUNCTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", FUNCTIONS)
def test_coefficients_to_order_30(sigma):
    c = sq.theory.hermite_coefficients(sigma)
    assert len(c) == 31
    for k, expected in enumerate(exact_coefficients(FUNCTIONS[sigma], 30)):
        root = math.sqrt(math.factorial(k))  # c_k / sqrt(k!) is the size in L^2
        assert abs(c[k] - expected) <= 3 * c.error[k] + 1e-16 * root + 4e-16 * abs(expected), k
        assert c.error[k] <= 1e-14 * root + 1e-14 * abs(c[k])


def test_coefficients_of_users_functions():
    series = sq.theory.hermite_coefficients(sq.HermiteSeries([0.5, 0, -2.0, 0.25]), 5)
    assert (
        series.value.tolist() == [0.5, 0, -4.0, 1.5, 0, 0]
        and series.nonzero(2)
        and not series.nonzero(1)
    )
    kinked = sq.theory.hermite_coefficients(
        (lambda u: max(u - 0.3, 0.0), lambda u: float(u > 0.3)), 12
    )
    for k, expected in enumerate(
        exact_coefficients(lambda u: max(u - mpmath.mpf(0.3), mpmath.mpf(0)), 12, cuts=(0, 0.3))
    ):
        assert abs(kinked[k] - expected) <= kinked.error[k] < 1e-11 * math.sqrt(math.factorial(k))
    with pytest.raises(ValueError, match="sigma: expected one of"):
        sq.theory.hermite_coefficients("rely")
    with pytest.raises(ValueError, match=r"order: expected an integer in \[0, 60\], got 61"):
        sq.theory.hermite_coefficients("relu", 61)


# exponents

EXPONENTS = [
    (sq.SSI("z1", 1), 1),
    (sq.SSI("z1+z2", 2), 1),
    (sq.SSI("z1-z2", 2), 1),
    (sq.SSI("z1*z2", 2), 2),
    (sq.SSI("z1*z2*z3", 3), 3),
    (sq.SSI("sum", 8, scale="1/sqrt(L)"), 1),
    *[(sq.SSI("sum_h2", 16, scale=s), 2) for s in ("1", "1/sqrt(L)", "1/L", "sqrt(L)", "L")],
    (sq.SSI("h2_difference", 2), 2),
    (sq.SSI("staircase2", 2), 1),
    (sq.SSI("staircase3", 3, scale="sqrt(L)"), 1),
    (sq.SSI("staircase", 20), 1),
    (sq.Hermite([(1, {1: 1, 2: 4}), (1, {3: 2, 4: 2})]), 4),
    (sq.Hermite([(1, {1: 3, 2: 1, 4: 2})]), 6),
    (sq.Hermite([(4 / 3, {}), (1, {1: 4}), (2, {2: 4})]), 4),
    (sq.PositionalSemantic(0.3), 2),
    (sq.PositionalSemantic(0.0), 2),
    (sq.AttentionTarget(3, "trace"), 2),
]


@pytest.mark.parametrize("link, k", EXPONENTS, ids=repr)
def test_exponents(link, k):
    found = sq.theory.sie(link)
    assert int(found) == found.value == k and [j for j, _ in found.below] == list(range(1, k))
    analytic = isinstance(link, (sq.SSI, sq.Hermite))
    assert (
        found.verdict == ("certain" if analytic else "beyond doubt")
        and math.isinf(found.sigmas) == analytic
    )
    assert found.norm > 100 * found.norm_error and "||C_" in repr(found)


def test_what_cancels_to_rounding_is_zero():
    g = sq.Hermite([(0.1, {1: 1}), (0.2, {1: 1}), (-0.3, {1: 1}), (1e-9, {2: 3})])
    assert 0.1 + 0.2 - 0.3 != 0
    assert int(sq.theory.sie(g)) == 3


def test_an_even_function_of_the_users_is_zero_within_the_tolerance():
    found = sq.theory.sie(sq.SSI(lambda z: np.tanh(z[0] * z[1]), 2))
    assert (
        int(found) == 2
        and found.verdict == "beyond doubt"
        and 0 < found.below[0][1] < 1e-9
        and found.sigmas > 1e6
    )


def test_what_cannot_be_told_is_undecided():
    link = sq.SSI(lambda z: np.tanh(z[0] * z[1] * z[5]), 6)
    found = sq.theory.sie(link, points=2**14, max_order=2)
    assert (
        found.value is None
        and found.verdict == "undecided"
        and [k for k, _ in found.below] == [1, 2]
    )
    with pytest.raises(ValueError, match="the exponent is undecided"):
        int(found)
    weak = sq.theory.sie(sq.SSI(lambda z: z[0] * z[1] * z[5], 6), points=2**14)
    assert weak.value == 3 and weak.verdict == "undecided" and weak.sigmas > 6
    allowed = sq.theory.sie(sq.SSI(lambda z: z[0] * z[1] * z[5], 6), points=2**16, tol=0.4)
    assert int(allowed) == 3 and allowed.verdict == "beyond doubt"


@pytest.mark.slow
def test_noise_alone_is_not_found_beyond_doubt():
    """Twenty seeds of a link whose first two orders vanish: false alarms at six standard deviations
    have probability below 1e-7.
    """
    link = sq.AttentionTarget(5, "trace", weights=[1, 1, 0, 0, 0])
    free = sq.SSI(sq.Hermite([(1.0, {5: 3})]), 5)
    core = free._compiled()
    for seed in range(20):
        found = sq.theory.sie(
            sq.SSI(lambda z: core(z[None])[0, 0], 5), points=2**10, max_order=2, rng=seed
        )
        assert found.value is None
    assert sq.theory.sie(link, points=2**14).value == 2


def test_constants_and_wrong_links_are_refused():
    for constant in (sq.Hermite([(2.0, {})]), sq.PositionalSemantic(1.0), sq.SSI(lambda z: 3.0, 2)):
        with pytest.raises(ValueError, match="link: expected one that depends on z"):
            sq.theory.sie(constant)
    with pytest.raises(
        TypeError, match=r"link: a name needs its length, expected SSI\('sum', L=\.\.\.\)"
    ):
        sq.theory.hermite("sum", 1)
    with pytest.raises(TypeError, match="link: expected a teacher, a Task or Hermite data, got 3"):
        sq.theory.sie(3)
    with pytest.raises(ValueError, match="order: expected an integer >= 0, got -1"):
        sq.theory.hermite(sq.SSI("sum", 2), -1)
    with pytest.raises(ValueError, match="link: expected finite values"):
        sq.theory.hermite(sq.SSI(lambda z: 1.0 if z[0] < 2 else math.inf, 1), 1)
    assert (
        sq.theory.hermite(sq.SSI(lambda z: 1 / z[0] if z[0] else math.inf, 1), 2)[0].error[0] > 0.1
    )  # not integrable: said by the error
    with pytest.raises(
        ValueError, match="order: C_4 of a function of 40 tokens has 123410 different entries"
    ):
        sq.theory.hermite(sq.AttentionTarget(40, "trace"), 4)
