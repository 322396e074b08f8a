"""Links of the tests of the theory, and the tasks whose law is known."""

from __future__ import annotations

import seqsgd as sq

SUM = {L: sq.SSI("sum", L, scale="1/sqrt(L)") for L in (1, 2, 3, 4, 8, 16, 32)}
SUM_H2 = {L: sq.SSI("sum_h2", L, scale="1/sqrt(L)") for L in (1, 2, 3, 4, 8, 16, 32)}
CUBIC = sq.SSI(sq.Hermite([(0.6, {1: 3}), (0.3, {1: 1, 2: 2}), (-0.2, {3: 3})]), 3)

TASKS = [
    sq.Task(SUM[4], sq.Tied("relu")),
    sq.Task(SUM[4], sq.Tied("tanh"), loss="square"),
    sq.Task(SUM_H2[3], sq.Tied("relu"), noise=0.3),
    sq.Task(SUM_H2[3], sq.LinearAttention()),
    sq.Task(SUM_H2[2], sq.Attention("trace")),
    sq.Task(sq.PositionalSemantic(0.2), sq.Attention()),
    sq.Task(CUBIC, sq.Tied("tanh")),
    sq.Task(sq.SSI(sq.Hermite([(-1.0, {1: 2, 2: 2}), (-0.5, {1: 4})]), 2), sq.Tied("relu")),
    sq.Task(sq.SSI("z1*z2*z3", 3), sq.Tied("relu", position=sq.Injected(0.2))),
    sq.Task(SUM_H2[3], sq.Tied("relu", position=sq.Injected([0.3, -0.1, 0.4]))),
    sq.Task(sq.SSI(sq.Hermite([(4 / 3, {}), (1, {1: 4}), (2, {2: 4})]), 2), sq.Attention("trace")),
]
