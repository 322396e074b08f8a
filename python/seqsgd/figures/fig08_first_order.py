"""Figure 8: the gain for a target of first order."""

from __future__ import annotations

from .fig07_equal_rates import FIRST, QUICK_FIRST, of_settings

FIGURE = of_settings("8", QUICK_FIRST, FIRST)
