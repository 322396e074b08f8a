"""Fixtures of all tests."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import CORES


@pytest.fixture(params=list(CORES))
def dynamics(request: pytest.FixtureRequest) -> str:
    """Every dynamics, for what is true of all of them."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the test's own, the same at every run."""
    return np.random.default_rng(20250602)
