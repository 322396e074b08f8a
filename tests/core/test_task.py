"""Tasks of the core against the reference: loss and delta at given fields (docs: notation, sections
1 and 2).
"""

from __future__ import annotations

from typing import Any

import catalogue
import numpy as np
import pytest
import reference as ref
from catalogue import ACTIVATIONS, HERMITE, LOSSES, SCALES
from helpers import assert_close
from numpy.polynomial.hermite_e import hermeval
from seqsgd import _core

LENGTHS = (1, 2, 3, 5, 9, 33)
REDUCTIONS = ("none", "trace", "bilinear")
TOLERANCE = 1e-12


def fields(L: int, n: int = 64, size: float = 1.0) -> tuple[Any, Any]:
    """z* and z (n, L), correlated as they are in a run."""
    zstar, other = np.random.default_rng(L).standard_normal((2, n, L)) * size
    return zstar, 0.4 * zstar + 0.9 * other


def compare(
    core: Any, reference: ref.Task, zstar: Any, z: Any, tolerance: float = TOLERANCE
) -> None:
    """Target, output, loss and delta; relative to the terms of each sum, so that a difference of
    large numbers may lose their digits.
    """
    y, f = reference.link(zstar), reference.student.output(z)
    with np.errstate(over="ignore"):
        loss, delta = reference(zstar, z)
    assert_close(core.target(zstar), y, tolerance, "target")
    assert_close(core.output(z), f, tolerance, "output")
    size = np.maximum(1, np.maximum(np.abs(y), np.abs(f)).max(-1))
    power = 1 if reference.loss == "frobenius" else 2
    got_loss, got_delta = core.evaluate(zstar, z)
    assert_close(got_loss / size**power, loss / size**power, tolerance, "loss")
    pull = np.abs(ref.LOSSES[reference.loss][1](f - y)).max(-1)  # d loss / d f
    scale = np.maximum(1, np.maximum(np.abs(delta).max(-1), pull)) * np.maximum(
        1, size / np.maximum(1, np.abs(y - f).max(-1))
    )
    assert_close(got_delta / scale[:, None], delta / scale[:, None], tolerance, "delta")
    same_loss, same_delta = core.evaluate_labels(core.target(zstar), z)
    assert np.array_equal(same_loss, got_loss) and np.array_equal(same_delta, got_delta)


def test_names_are_those_of_the_model() -> None:
    assert set(_core.link_names()) == set(ref.names())
    assert set(_core.activation_names()) == set(ref.activation.names)  # type: ignore[attr-defined]
    assert set(_core.losses()) == set(LOSSES)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ref.names())
def test_named_links(name: str, scale: str, L: int) -> None:
    value = SCALES[scale](L)
    if L < ref.smallest_length(name):
        with pytest.raises(ValueError, match=r"^L: "):
            _core.link_named(name, L, value)
        return
    link = catalogue.named_link(name, L, value)
    assert (link[0].L, link[0].k, link[0].calls_python) == (L, 1, False)
    for loss in LOSSES:
        compare(*catalogue.task(link, catalogue.network("tanh", L), loss), *fields(L))


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("name", HERMITE)
def test_hermite_links(name: str, L: int) -> None:
    if L < catalogue.hermite_length(name):
        with pytest.raises(ValueError, match=r"^token: expected an integer in"):
            catalogue.hermite_link(name, L)
        return
    for scale in (1.0, -0.3):
        compare(
            *catalogue.task(
                catalogue.hermite_link(name, L, scale), catalogue.network("erf", L), "half_square"
            ),
            *fields(L),
        )


@pytest.mark.parametrize("L", LENGTHS)
def test_terms_of_polynomial_links(L: int) -> None:
    """The links as data, which the theory computes with, summed up by NumPy."""
    zstar = fields(L)[0]
    for scale in (1.0, -0.3):
        links = {
            n: catalogue.named_link(n, L, scale) for n in ref.names() if L >= ref.smallest_length(n)
        } | {
            n: catalogue.hermite_link(n, L, scale)
            for n in HERMITE
            if L >= catalogue.hermite_length(n)
        }
        for name, (core, reference) in links.items():
            assert core.terms is not None, name
            value, size = np.zeros(len(zstar)), np.ones(len(zstar))
            for coefficient, factors in core.terms:
                part = coefficient * np.prod(
                    [hermeval(zstar[:, token], c) for token, c in factors.items()], axis=0
                )
                value, size = value + part, np.maximum(size, np.abs(part))
            assert_close(value / size, reference(zstar)[:, 0] / size, TOLERANCE, name)


def test_terms_keep_factors_and_cancel_exactly() -> None:
    """A product of sums of one token each is one term: its expansion would have 2^(L - 1). A series
    in one token has no other degree than is in it.
    """
    ((coefficient, factors),) = _core.link_named("staircase", 500, 0.5).terms
    assert coefficient == 0.5 and factors == {0: [0.0, 1.0]} | {
        token: [1.0, 1.0] for token in range(1, 500)
    }
    for degree in range(1, 31):
        link = _core.link_hermite(2, 1.0, [2.0], [[1]], [[degree]])
        assert link.terms == [(2.0, {1: [0.0] * degree + [1.0]})]
    assert _core.link_hermite(2, 0.5, [2.0], [[]], [[]]).terms == [(1.0, {})]


def test_links_that_are_no_polynomials_have_no_terms() -> None:
    for name, link in (catalogue.scalar_links(3) | catalogue.matrix_links(3)).items():
        if "attention" in name or "semantic" in name:
            assert link[0].terms is None, name
    assert _core.link_python(2, 1, lambda z: z[0]).terms is None


def test_losses_say_which_multiple_of_the_half_square_they_are() -> None:
    y, f = np.random.default_rng(1).standard_normal((2, 7, 4))
    half = ref.LOSSES["half_square"][0](f - y)
    for name, multiple in _core.losses().items():
        constant = ref.LOSSES[name][0](f - y) / half
        if multiple is None:
            assert np.ptp(constant) > 0.1, name
        else:
            assert_close(constant, np.full(7, multiple), TOLERANCE, name)


@pytest.mark.parametrize("degree", [0, 1, 2, 7, 15, 30])
def test_hermite_degrees(degree: int) -> None:
    terms = [(1.5, {1: degree})]
    core = _core.link_hermite(2, 1.0, np.array([1.5]), [[0]], [[degree]])
    zstar = fields(2)[0]
    wanted = ref.hermite(terms)(zstar)
    assert_close(core(zstar) / np.abs(wanted).max(), wanted / np.abs(wanted).max(), TOLERANCE)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", LENGTHS)
def test_scalar_attention_targets_and_students(L: int, loss: str) -> None:
    for link in catalogue.scalar_links(L).values():
        for reduction in ("trace", "bilinear"):
            compare(*catalogue.task(link, catalogue.attention(reduction, L), loss), *fields(L, 16))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", LENGTHS)
def test_matrix_targets(L: int, loss: str) -> None:
    for link in catalogue.matrix_links(L).values():
        assert link[0].k == L * L
        compare(*catalogue.task(link, catalogue.attention("none", L), loss), *fields(L, 16))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, L: int, loss: str) -> None:
    for link in ("sum", "staircase"):
        compare(
            *catalogue.task(catalogue.named_link(link, L), catalogue.network(name, L), loss),
            *fields(L, 16),
        )


def test_activation_objects() -> None:
    u = np.concatenate([np.linspace(-40, 40, 801), [-1e3, 1e3, -1e-9, 1e-9, 0.0, -0.0]])
    for name in ref.activation.names:  # type: ignore[attr-defined]
        value, slope = _core.activation_named(name)(u)
        sigma = ref.activation(name)
        assert_close(value, sigma[0](u), TOLERANCE, name)
        assert_close(slope, sigma[1](u), TOLERANCE, name)
    c = np.array([0.3, -1.0, 0.0, 0.25, 0.125])
    value, slope = _core.activation_hermite(c)(u[:801])
    sigma = ref.hermite_series(c)
    assert_close(value / 1e6, sigma[0](u[:801]) / 1e6, TOLERANCE)
    assert_close(slope / 1e5, sigma[1](u[:801]) / 1e5, TOLERANCE)


EXTREME = (3.0, 10.0, 30.0, 100.0)


@pytest.mark.slow
@pytest.mark.parametrize("size", EXTREME)
@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_extreme_fields_of_attention(reduction: str, L: int, size: float) -> None:
    """Scores z_l z_k up to 10^4: no overflow, no NaN, still right (rounding of a score enters the
    exponent: its size times 1e-16).
    """
    rng = np.random.default_rng(7)
    corners = rng.choice([-size, size, 0.0, -size / 2, size / 2], size=(200, L))
    inside = rng.uniform(-size, size, size=(200, L))
    z = np.concatenate([corners, inside])
    zstar = np.concatenate([inside, corners])
    links = (
        catalogue.matrix_links(L)
        if reduction == "none"
        else {
            "sum": catalogue.named_link("sum", L, 1 / size),
            "target": catalogue.scalar_links(L)["attention trace"],
        }
    )
    tolerance = TOLERANCE * max(1, size**2 / 900) * max(1, size / 10)
    for loss in LOSSES:
        for link in links.values():
            core, reference = catalogue.task(link, catalogue.attention(reduction, L), loss)
            assert (
                np.isfinite(core.evaluate(zstar, z)[0]).all()
                and np.isfinite(core.evaluate(zstar, z)[1]).all()
            )
            compare(core, reference, zstar, z, tolerance)


@pytest.mark.parametrize("size", [30.0, 1000.0])
@pytest.mark.parametrize("name", ref.activation.names)  # type: ignore[attr-defined]
def test_extreme_fields_of_networks(name: str, size: float) -> None:
    L = 3
    zstar, z = np.random.default_rng(7).uniform(-size, size, size=(2, 200, L))
    for loss in LOSSES:
        for link in ("sum", "sum_h2", "z1*z2*z3"):
            compare(
                *catalogue.task(catalogue.named_link(link, L), catalogue.network(name, L), loss),
                zstar,
                z,
            )


def complex_free_delta(core: Any, zstar: Any, z: Any, h: float = 1e-3) -> Any:
    """d loss / d z of the core's own loss: central differences, extrapolated twice (error of order
    h^6).
    """
    out = np.empty_like(z)
    for i in range(z.shape[1]):
        e = np.zeros(z.shape[1])
        e[i] = 1
        D = [
            (core.evaluate(zstar, z + s * e)[0] - core.evaluate(zstar, z - s * e)[0]) / (2 * s)
            for s in (h, h / 2, h / 4)
        ]
        a, b = (4 * D[1] - D[0]) / 3, (4 * D[2] - D[1]) / 3
        out[:, i] = (16 * b - a) / 15
    return out


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("L", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(
    "student", ["tanh", "sigmoid", "square", "He3", "relu", "erf", "none", "trace", "bilinear"]
)
def test_delta_is_the_gradient_of_the_loss(student: str, L: int, loss: str) -> None:
    zstar, z = fields(L, 20)
    if student in REDUCTIONS:
        link = (
            catalogue.matrix_links(L)["attention none"]
            if student == "none"
            else catalogue.named_link("sum", L)
        )
        core, reference = catalogue.task(link, catalogue.attention(student, L), loss)
    else:
        core, reference = catalogue.task(
            catalogue.named_link("sum", L), catalogue.network(student, L), loss
        )
    # differences need the loss to be smooth within the step: away from relu's kink and from a
    # vanishing Frobenius norm
    smooth = np.abs(z.sum(1)) > 0.02
    if loss == "frobenius":
        smooth &= np.abs(reference.link(zstar) - reference.student.output(z)).max(-1) > 0.05
    if L == 1 and student in REDUCTIONS:
        smooth[:] = True  # softmax of one token is 1
    assert smooth.sum() >= (5 if loss == "frobenius" else 15) or (L == 1 and loss == "frobenius")
    delta = core.evaluate(zstar[smooth], z[smooth])[1]
    assert_close(delta, complex_free_delta(core, zstar[smooth], z[smooth]), 1e-7)


@pytest.mark.parametrize("L", [1, 2, 3, 9])
def test_frobenius_norm_at_zero(L: int) -> None:
    """At y = f the norm has no gradient; delta is 0 there, as the zero subgradient."""
    z = fields(L)[1]
    for reduction in REDUCTIONS:
        a, b = np.random.default_rng(2000 + L).standard_normal((2, L))
        link = _core.link_attention(reduction, a, b, np.ones(L), np.zeros(L))
        loss, delta = _core.Task(
            link, catalogue.attention(reduction, L)[0], "frobenius", 0.0
        ).evaluate(z, z)
        assert np.array_equal(loss, np.zeros(len(z))) and np.array_equal(delta, np.zeros_like(z)), (
            reduction
        )
    core = _core.Task(
        _core.link_named("z1", 1, 1.0), catalogue.network("identity", 1)[0], "frobenius", 0.0
    )
    loss, delta = core.evaluate(z[:, :1].copy(), z[:, :1].copy())
    assert np.array_equal(loss, np.zeros(len(z))) and np.array_equal(delta, np.zeros((len(z), 1)))


def test_a_dead_relu_gives_exactly_zero() -> None:
    core = catalogue.task(
        catalogue.named_link("sum", 3), catalogue.network("relu", 3), "half_square"
    )[0]
    z = -np.abs(fields(3)[1])
    assert not core.evaluate(fields(3)[0], z)[1].any()


def test_softmax_rows_sum_to_one() -> None:
    for L in LENGTHS:
        link = _core.link_attention("none", np.zeros(L), np.zeros(L), np.ones(L), np.zeros(L))
        S = link(fields(L)[0] * 5).reshape(-1, L, L)
        assert_close(S.sum(-1), np.ones(S.shape[:2]), 1e-14)
        assert (S >= 0).all()


def test_noise_does_not_enter_an_evaluation() -> None:
    link, student = catalogue.named_link("sum", 2), catalogue.network("tanh", 2)
    noisy, plain = (
        catalogue.task(link, student, "half_square", noise)[0].evaluate(*fields(2))
        for noise in (0.7, 0.0)
    )
    assert np.array_equal(noisy[0], plain[0]) and np.array_equal(noisy[1], plain[1])


def test_refusals() -> None:
    z = fields(2)[0]
    core = catalogue.task(
        catalogue.named_link("sum", 2), catalogue.network("tanh", 2), "half_square"
    )[0]
    for bad in (z[:, :1], z[0], z.astype(np.float32), z[::2], np.asfortranarray(z)):
        with pytest.raises((TypeError, ValueError)):
            core.evaluate(bad, bad)
    with pytest.raises((TypeError, ValueError)):
        core.evaluate(z, z[:-1].copy())
    for make in (
        lambda: _core.link_named("no such link", 2, 1.0),
        lambda: _core.activation_named("no such activation"),
        lambda: _core.activation_named("He31"),
        lambda: _core.Task(
            _core.link_named("sum", 2, 1.0), catalogue.network("tanh", 2)[0], "no such loss", 0.0
        ),
        lambda: _core.Task(
            _core.link_named("sum", 2, 1.0), catalogue.network("tanh", 3)[0], "half_square", 0.0
        ),
        lambda: _core.Task(
            _core.link_named("sum", 2, 1.0), catalogue.attention("none", 2)[0], "half_square", 0.0
        ),
    ):
        with pytest.raises((TypeError, ValueError), match="expected|needs"):
            make()
