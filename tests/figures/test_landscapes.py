"""Figures 1, 2, 4, 5, 6, 13: data against direct computation, verdicts that follow the data."""

import numpy as np
import pytest
import seqsgd as sq
from seqsgd import figures
from seqsgd.figures import escape
from seqsgd.theory._drift import Drift

pytestmark = pytest.mark.xdist_group("figures")


def verdicts(figure, data):
    return [f.verdict for f in figure.judge(data)]


@pytest.mark.slow
@pytest.mark.parametrize("omega", [0.37, 0.9])
def test_the_escape_follows_the_flow_of_the_task(omega):
    """Three nodes in omega are enough for all: R and V are quadratic in it."""
    x = np.array([[0.3, -0.5], [0.01, 0.02], [-0.7, 0.1]])
    right = Drift(escape.task(omega), 0.4, True, "gaussian", None)
    r = [sq.theory.risk(escape.task(omega), e=e, m=m) for e, m in x]
    expected = [
        [-v.gradient[i] + p[i] * (p @ v.gradient) - 0.2 * float(v.V) * p[i] for i in (0, 1)]
        for v, p in zip(r, x, strict=True)
    ]
    assert right.names == ("e", "m")
    np.testing.assert_allclose(escape.drift(omega, 0.4, x), expected, atol=1e-6)


@pytest.mark.slow
def test_the_escape_predicts_the_share_of_semantic_runs():
    """chi2 over four values of omega against 256 simulated runs each, false alarms 1e-4; a law
    without noise is refused.
    """
    from scipy.stats import chi2

    d, lr, n, omegas = 400, 1.0, 256, [0.65, 0.675, 0.7, 0.725]
    end = sq.sweep(
        {
            "task": escape.task(0.5),
            "d": d,
            "steps": 40_000,
            "lr": lr,
            "runs": n,
            "dynamics": "reduced",
            "record": [40_000],
        },
        {"task.teacher.omega": omegas},
        rng=3,
        progress=False,
    ).dataset.isel(step=-1)
    counts = (abs(end["m"]) > abs(end["e"])).sum("run").values
    law = np.array([escape.semantic_share(w, d, lr) for w in omegas])
    assert ((counts - n * law) ** 2 / (n * law * (1 - law))).sum() < chi2.isf(1e-4, 4)
    quiet = np.clip([escape.semantic_share(w, d, 1e-4) for w in omegas], 0.01, 0.99)
    assert ((counts - n * quiet) ** 2 / (n * quiet * (1 - quiet))).sum() > chi2.isf(1e-4, 4)


@pytest.mark.slow
def test_escape_limits():
    assert escape.semantic_share(0.2, 1e4, 0.5) == 1 and escape.semantic_share(1.0, 1e4, 0.5) == 0
    narrow, wide = (
        escape.semantic_share(0.655, d, 0.5) - escape.semantic_share(0.685, d, 0.5)
        for d in (1e8, 1e2)
    )
    assert narrow > 2 * wide > 0  # it sharpens


def test_figure_1(computed):
    figure, data = figures.figure("1"), computed("1")
    link = sq.SSI(sq.Hermite([(1.0, {1: 2}), (1.0, {2: 2})]), L=2)
    task = sq.Task(link, sq.Attention("trace", position=sq.Opposite()))
    np.testing.assert_allclose(
        data["disc"].sel(degree=2, e=0.3, m=-0.6, method="nearest"),
        sq.theory.risk(task, e=0.3, m=-0.6).value,
        atol=1e-7,
    )
    assert verdicts(figure, data) == ["agree", "agree", "agree"]
    other = data.copy(deep=True)
    other["hessian"][0, 0, 0] = -0.3
    other["kappa"][0, 1] = 3
    assert verdicts(figure, other) == ["agree", "disagree", "disagree"]
    figure.draw(data)


def test_figure_2(computed):
    figure, data = figures.figure("2"), computed("2")
    claims = figure.judge(data)
    assert claims[0].verdict == "agree" and "kappa = 4 without, 2 with" in claims[0].measured
    slowed = data.copy(deep=True)
    slowed["passed"][:] = np.where(
        data["d"].values[:, None, None] == 60, 8 * data["passed"], data["passed"]
    )
    slowed["ended"][:] = 8 * data["ended"]
    assert [f.verdict for f in figure.judge(slowed)][1] == "disagree"
    assert claims[2].verdict == "disagree" and float(data["b"]) < 0  # m = 0 attracts
    turned = data.copy(deep=True)
    turned["b"] = -data["b"]
    assert figure.judge(turned)[2].verdict == "cannot tell"
    figure.draw(data)


def test_figure_4(computed):
    figure, data = figures.figure("4"), computed("4")
    assert verdicts(figure, data)[:2] == ["agree", "agree"]
    moved = data.copy(deep=True)
    moved["curve_direction"][:, 1] += 0.02
    moved["region"][:] = np.where(data["region"] == 4, 6, data["region"])
    assert verdicts(figure, moved)[:2] == ["disagree", "disagree"]
    diagram = sq.theory.phase_diagram([0.8], [0.9])
    assert int(data["region"].sel(a=0.8, omega=0.9, method="nearest")) == diagram.region[0, 0] + 1


def test_figure_6(computed):
    figure, data = figures.figure("6"), computed("6")
    assert verdicts(figure, data) == ["agree", "agree"]
    other = data.copy(deep=True)
    other["risk"][0, 0, 3] += 1e-3
    other["m"][:] = 0.1
    assert verdicts(figure, other) == ["disagree", "cannot tell"]
    figure.draw(data)


def test_figure_13(computed):
    figure, data = figures.figure("13"), computed("13")
    found = figure.judge(data)
    assert (
        found[0].verdict == "agree"
        and "region 4" in found[0].measured
        and found[1].verdict == "agree"
    )
    # runs that leave along m do not agree with the claim, and those along e do
    for letter, verdict in (("m", "disagree"), ("e", "agree")):
        other = data.copy(deep=True)
        for name in ("m", "e"):
            other[name][:] = (
                np.linspace(0, 0.9, data.sizes["step"]).reshape(
                    [-1 if d == "step" else 1 for d in data[name].dims]
                )
                if name == letter
                else 0.01
            )
        assert {f.verdict for f in figure.judge(other)[2:]} == {verdict}
    figure.draw(data)
