"""The flow starts where the reduced dynamics starts, run by run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.dynamics import flow
from seqsgd.sweeps import fingerprint

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
    ode, reduced = (
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
    assert names == [n for n in ("m", "q", "e") if n in ode.dataset]
    for name in names:
        np.testing.assert_allclose(
            ode.dataset[name].to_numpy(), reduced.dataset[name].to_numpy(), rtol=0, atol=1e-12
        )
    if start == "uniform":
        assert len(np.unique(ode.dataset["m"].to_numpy())) == ode.dataset["m"].size


TASK = sq.Task(sq.SSI("sum_h2", L), sq.Tied("relu"))
FLOW: dict[str, Any] = {
    "task": TASK,
    "d": 30,
    "steps": 20,
    "lr": 0.1,
    "dynamics": "flow",
    "init": sq.Uniform(),
}


def before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context in which flows start elsewhere, as they did in earlier versions."""
    context = monkeypatch.context()
    patch = context.__enter__()
    now = flow.Flow._draw

    def elsewhere(self, seed):
        starts, star = now(self, seed)
        return -0.5 * starts, star

    patch.setattr(flow.Flow, "_draw", elsewhere)
    patch.setattr(fingerprint, "KEY_VERSIONS", {})
    return context


def test_stored_flows_that_started_elsewhere_are_computed_again(tmp_path, monkeypatch):
    context = before(monkeypatch)
    old = sq.sweep(FLOW, {"runs": [2]}, store=tmp_path / "s", rng=0, progress=False)
    context.__exit__(None, None, None)
    new = sq.sweep(FLOW, {"runs": [3]}, store=tmp_path / "s", rng=0, progress=False)
    plain = sq.sweep(FLOW, {"runs": [3]}, rng=0, progress=False)
    assert not np.allclose(old["m"].values.ravel()[:3], plain["m"].values.ravel()[:3])
    np.testing.assert_array_equal(new["m"].values, plain["m"].values)


def test_checkpoints_of_flows_that_started_elsewhere_are_refused(tmp_path, monkeypatch):
    arguments = FLOW | {"runs": 2, "rng": 0, "checkpoint": tmp_path / "c", "progress": False}
    context = before(monkeypatch)
    sq.simulate(**arguments)
    context.__exit__(None, None, None)
    with pytest.raises(ValueError, match="^checkpoint: .* was made by an earlier version"):
        sq.simulate(**arguments)
    again = arguments | {"checkpoint": tmp_path / "d"}
    assert (sq.simulate(**again).m == sq.simulate(**again).m).all()
