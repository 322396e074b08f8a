"""A short version of memory.py."""

from __future__ import annotations

import sys

import memory
import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
@pytest.mark.slow
def test_memory_stays_flat() -> None:
    """Each simulator allocates more than 1 kB: a leak of one in ten, or of 100 bytes in each, would
    add the 2 MB that are allowed for 2e4.
    """
    sizes = memory.growth(20_000, parts=4)
    assert sizes[-1] - sizes[0] < 1.5, sizes
