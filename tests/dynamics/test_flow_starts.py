"""The flow starts where the reduced dynamics starts, run by run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import seqsgd as sq

RUNS, L = 4, 2
C = sq.Correlated(np.array([[1.0, 0.4], [0.4, 1.0]]))
STUDENTS: dict[str, Any] = {
    "tied": lambda p: sq.Tied("relu", position=p),
    "untied": lambda p: sq.Untied("relu", position=p),
    "global": lambda p: sq.Untied("relu", normalization="global", position=p),
}
STARTS: dict[str, Any] = {
    "overlap": sq.Overlap(0.3, random_sign=True),
    "uniform": sq.Uniform(),
}


def positions(kind: str, d: int) -> Any:
    if kind == "matrix":
        P = np.random.default_rng(3).standard_normal((L, d)) / np.sqrt(d)
        return sq.Positions(P)
    return {"none": None, "opposite": sq.Opposite(), "injected": sq.Injected((0.3, -0.2))}[kind]


@pytest.mark.parametrize("tokens", ["gaussian", C], ids=["independent", "correlated"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", ["none", "opposite", "matrix", "injected"])
@pytest.mark.parametrize("student", STUDENTS)
def test_starts_of_flow_and_reduced_are_the_same(student, kind, start, tokens):
    d = 30
    task = sq.Task(sq.SSI("sum_h2", L), STUDENTS[student](positions(kind, d)))
    flow, reduced = (
        sq.simulate(
            task,
            d=d,
            steps=1,
            lr=0.01,
            runs=RUNS,
            first_run=2,
            rng=5,
            init=STARTS[start],
            tokens=tokens,
            dynamics=dynamics,
            record=[0],
            progress=False,
        )
        for dynamics in ("flow", "reduced")
    )
    names = [n for n in ("m", "q", "e") if n in reduced.dataset]
    assert names == [n for n in ("m", "q", "e") if n in flow.dataset]
    for name in names:
        np.testing.assert_allclose(
            flow.dataset[name].to_numpy(), reduced.dataset[name].to_numpy(), rtol=0, atol=1e-12
        )
    if start == "uniform":
        assert len(np.unique(flow.dataset["m"].to_numpy())) == flow.dataset["m"].size
