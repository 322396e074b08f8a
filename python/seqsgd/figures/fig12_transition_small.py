"""Figure 12: figure 5 at d = 100."""

from __future__ import annotations

from ..report.definition import Figure
from .fig05_transition import Transition, about, compute, draw, judge

FIGURE = Figure(
    name="12",
    title="The transition from semantic to positional learning at d = 100",
    about=about(Transition(d=100)),
    quick=Transition(d=100, omegas=11, runs=16, paths=6, law_omegas=7, check_steps=3000),
    full=Transition(d=100, check_steps=3000),
    compute=compute,
    draw=draw,
    judge=judge,
    words=lambda s: (f"The transition from semantic to positional learning at d = {s.d}", about(s)),
)
