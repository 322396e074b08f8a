"""One core for everything timed here, and a line that says what is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .worker import pin


def pytest_report_header() -> str:
    from seqsgd import _core

    return (
        f"bench: seqsgd core {_core.level}; times are seconds of processor time per step, OPS are "
        "steps per second"
    )


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """Everything on the last core this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pin(max(before))
    yield
    os.sched_setaffinity(0, before)
