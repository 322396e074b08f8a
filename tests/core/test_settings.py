"""Settings of the core as Python sees them: every member is set and read, kinds are checked when
it is set, values when a simulation is made.
"""

from __future__ import annotations

from typing import Any

import catalogue
import numpy as np
import pytest
from helpers import core_settings
from seqsgd import _core

C = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]])
SINGULAR = np.array([[1.0, -1.0], [-1.0, 1.0]])
VALUES: dict[str, Any] = {
    "d": 7,
    "seed": 2**64 - 1,
    "projected": True,
    "position": "matrix",
    "P": np.arange(6.0).reshape(2, 3),
    "c": np.array([0.5, -1.0]),
    "init": "uniform",
    "m0": -0.25,
    "random_sign": True,
    "tokens": "student_t",
    "nu": 4.5,
    "record": np.array([0, 3, 9]),
    "eta": 0.5,
    "halt": True,
    "general": True,
}


def task(L: int = 3) -> Any:
    link, student = catalogue.named_link("sum", L), catalogue.network("relu", L)
    return catalogue.task(link, student, "half_square")[0]


@pytest.mark.parametrize("name", VALUES)
def test_members_read_as_they_were_set(name):
    settings = _core.Settings()
    assert not np.array_equal(getattr(settings, name), VALUES[name])
    setattr(settings, name, VALUES[name])
    np.testing.assert_array_equal(getattr(settings, name), VALUES[name])


def test_every_member_is_tested():
    members = {n for n in vars(_core.Settings) if not n.startswith("_")}
    assert members == set(VALUES) | {"fields", "spheres", "covariance", "lr"}


@pytest.mark.parametrize("covariance", [C, SINGULAR, np.empty((0, 0))], ids=str)
def test_a_covariance_is_kept_as_a_factor(covariance):
    settings = _core.Settings()
    settings.covariance = covariance
    np.testing.assert_allclose(settings.covariance, covariance, rtol=0, atol=1e-15)


def test_a_learning_rate_has_its_parts():
    rate = _core.LearningRate(np.array([0.5, 0.1]), np.array([0, 10]), 3.0, 0.5)
    assert (rate.values.tolist(), rate.steps.tolist(), rate.t0, rate.power) == (
        [0.5, 0.1],
        [0, 10],
        3,
        0.5,
    )


def test_fields_and_spheres():
    assert (_core.FieldMap.shared(3).weights, _core.FieldMap.shared(3, 2).weights) == (1, 2)
    assert (_core.FieldMap.per_token(3).weights, _core.FieldMap.per_token(3).tokens) == (3, 3)
    for make in (_core.FieldMap.shared, _core.FieldMap.per_token):
        with pytest.raises(ValueError, match="^L: expected"):
            make(0)
    for make in (_core.Spheres.own, _core.Spheres.one):
        with pytest.raises(ValueError, match="^weights: expected"):
            make(0)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("d", 1.5, TypeError),
        ("seed", -1, TypeError),
        ("position", "behind", ValueError),
        ("P", np.zeros((2, 3), dtype="float32"), TypeError),
        ("P", np.zeros(3), ValueError),
        ("c", np.zeros((2, 2)), ValueError),
        ("init", "anywhere", ValueError),
        ("tokens", "cauchy", ValueError),
        ("covariance", np.zeros((2, 3)), ValueError),
        ("covariance", -np.eye(2), ValueError),
        ("record", np.zeros(2), TypeError),
        ("weights", 3, AttributeError),
    ],
    ids=str,
)
def test_wrong_kinds_are_refused(name, value, error):
    settings = _core.Settings()
    with pytest.raises(error):
        setattr(settings, name, value)


@pytest.mark.parametrize("kind", [_core.Sampled, _core.Reduced])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("d", 0),
        ("fields", _core.FieldMap.per_token(2)),
        ("fields", _core.FieldMap.shared(3, 2)),
        ("spheres", _core.Spheres.one(3)),
        ("m0", 2.0),
        ("eta", -1.0),
    ],
)
def test_wrong_values_are_refused_when_a_simulation_is_made(kind, name, value):
    arguments = core_settings(3)
    setattr(arguments[0], name, value)
    for make in (kind, kind.bytes):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            make(task(), *arguments)


@pytest.mark.parametrize("kind", [_core.Sampled, _core.Reduced])
def test_a_learning_rate_is_needed(kind):
    settings = _core.Settings()
    with pytest.raises(ValueError, match="^lr: expected"):
        kind(task(), settings, 1, 0, 1, "float64")


def test_only_dynamics_with_weights_have_methods_for_them():
    for name in ("observe", "weights", "teacher", "positions", "address"):
        assert hasattr(_core.Sampled, name) and not hasattr(_core.Reduced, name)
    assert callable(_core.Reduced.set_rate)
