"""Figure 8: the gain for a target of first order."""

from __future__ import annotations

from .definition import Figure
from .fig07_equal_rates import ABOUT, EqualRates, compute, draw, judge

FULL = EqualRates(
    link="sum", d=1000, lr=1.5e-2, steps=100_000, patience=10.0, lengths=(1, 2, 5, 8, 10, 15, 25, 32), curve_lengths=(1, 5, 32), check_L=2, check_runs=24
)
FIGURE = Figure(
    name="8",
    title="Gain at equal learning rates, SIE 1",
    about="y = sum_l z_l / sqrt L, from m_0 = 1/sqrt d. " + ABOUT + " At L = 2 the sampled dynamics repeats the first passages of tied and untied weights.",
    quick=EqualRates(link="sum", d=300, lr=1.5e-2, steps=30_000, patience=10.0, lengths=(1, 2, 5, 10, 20), curve_lengths=(1, 10), check_L=2),
    full=FULL,
    compute=compute,
    draw=draw,
    judge=judge,
)
