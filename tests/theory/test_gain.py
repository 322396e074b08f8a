"""Gain of one weight for all tokens over one each, and pathologies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from links import CUBIC, SUM, SUM_H2
from seqsgd.theory import best_lr, complexity, gain, weak_recovery


@pytest.mark.parametrize("L", [1, 2, 4, 8, 16, 32])
def test_gains_of_sums(L):
    one, two = gain(SUM[L], "relu"), gain(sq.SSI("sum_h2", L, scale="L"), "relu")
    assert one.k == 1 and np.isclose(one.rho, math.sqrt(L)) and one.norm.exact and int(one.sie) == 1
    assert np.allclose([one.equal_lr, one.best_lr_paper, one.best_lr_derived], [L, L**1.5, L])
    assert np.allclose([one.lr_ratio_paper, one.lr_ratio_derived], [math.sqrt(L), 1])
    assert (
        two.k == 2
        and np.isclose(two.rho, L)
        and np.isclose(two.ones, math.sqrt(2) * L**2)
        and np.isclose(two.norm.value, math.sqrt(2) * L)
    )
    assert np.allclose([two.equal_lr, two.best_lr_paper, two.best_lr_derived], [L, L**2, L])
    assert np.allclose([two.lr_ratio_paper, two.lr_ratio_derived], [L, 1])
    for g in (one, two):
        low, high = g.rho_bounds
        assert (
            low <= g.rho <= high
            and high - low < 1e-12 * high
            and g.tied_learns
            and g.untied_learns
            and not g.pathology
        )


def test_gains_of_other_links():
    single = gain(sq.SSI("z1", 9), "relu")
    assert np.allclose([single.rho, single.equal_lr, single.best_lr_derived], [1, 3, 1])
    product = gain(sq.SSI("z1*z2*z3", 3), "He3")
    assert np.isclose(product.rho, 3**1.5) and product.k == 3
    blind = gain(
        sq.SSI(sq.Hermite([(1.0, {1: 3}), (0.5, {1: 4, 2: 0})]), 2), "relu"
    )  # relu has no third order
    assert blind.k == 4 and int(blind.sie) == 3
    between = gain(CUBIC, "tanh")
    low, high = between.rho_bounds
    assert low <= high < 1.001 * low
    with pytest.raises(
        ValueError, match="sigma: expected an activation with an order in common with the link"
    ):
        gain(SUM[2], "square")
    with pytest.raises(ValueError, match="link: expected one output"):
        gain(sq.PositionalSemantic(0.3))


@pytest.mark.slow
def test_pathologies():
    for name, k in (("z1-z2", 1), ("h2_difference", 2)):
        g = gain(sq.SSI(name, 2), "relu")
        assert (
            not g.tied_learns
            and g.untied_learns
            and f"<C_{k}, 1^(x){k}> = 0" in g.pathology
            and g.pathology in repr(g)
        )
        assert g.rho == g.equal_lr == g.best_lr_paper == g.best_lr_derived == 0
        tasks = [
            sq.Task(sq.SSI(name, 2), student) for student in (sq.Tied("relu"), sq.Untied("relu"))
        ]
        tied, untied = (
            weak_recovery(task, d=1000, lr=1e-3, eta=0.3, init=sq.Uniform(), samples=9)
            for task in tasks
        )
        assert tied.never == 1 and untied.never == 0
    signs = gain(sq.SSI("sum_h2", 2, scale=-1.0), "relu")
    assert not signs.tied_learns and not signs.untied_learns and "opposite signs" in signs.pathology
    one_way = gain(sq.Hermite([(1.0, {1: 2}), (-3.0, {2: 2})]), "relu")
    assert (
        not one_way.tied_learns and one_way.untied_learns and np.isclose(one_way.norm.value, 2)
    )  # not 6: that direction is repelled


@pytest.mark.parametrize(
    "link", [SUM[4], SUM_H2[4], sq.SSI("z1", 4), sq.SSI(sq.Hermite([(1.0, {1: 2})]), 4)], ids=repr
)
def test_gains_are_ratios_of_the_laws(link):
    """The derived gain at the best rates, and the gain at equal small ones, are what the laws of
    the two students give for d -> infinity.
    """
    g = gain(link, "relu")
    tied, untied = (complexity(sq.Task(link, s)) for s in (sq.Tied("relu"), sq.Untied("relu")))
    d, eta = (1e6, 0.1) if g.k == 1 else (1e200, 0.1)
    r0 = 0.0 if g.k == 1 else None
    (a, x), (b, y) = tied.best(d, eta, r0), untied.best(d, eta, r0)
    assert np.isclose(a / b, g.lr_ratio_derived, rtol=1e-3) and np.isclose(
        y / x, g.best_lr_derived, rtol=5e-3
    )
    assert np.isclose(
        untied.steps(d, 1e-9, eta, r0) / tied.steps(d, 1e-9, eta, r0), g.equal_lr, rtol=5e-3
    )


@pytest.mark.slow
def test_gain_of_one_token_by_the_full_flow():
    """z_1 among four tokens, k = 1: the best rates are as rho / sqrt L = 1/2, and the gain is rho^2
    = 1, neither the paper's 2 nor rho^2 / sqrt L.
    """
    link = sq.SSI("z1", 4)
    (a, x), (b, y) = (
        best_lr(sq.Task(link, s), d=10**8, eta=0.05, tol=3e-3)
        for s in (sq.Tied("relu"), sq.Untied("relu"))
    )
    g = gain(link, "relu")
    assert np.isclose(y / x, g.best_lr_derived, rtol=0.1) and np.isclose(
        a / b, g.lr_ratio_derived, rtol=0.1
    )


def test_students_are_no_activations():
    link = sq.SSI("sum", L=2)
    with pytest.raises(
        TypeError,
        match=r"^sigma: expected the activation of tied and untied networks, got the student "
        r"Attention\('none'\); attention has none, and no gain$",
    ):
        gain(link, sq.Attention())
    with pytest.raises(
        TypeError, match=r"^sigma: .*, got the student Tied\('relu'\); pass its sigma$"
    ):
        gain(link, sq.Tied())
