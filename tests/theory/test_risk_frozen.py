"""R(e, m) against 1e8 samples: a simulation whose learning rate falls to 0 stands still, and the
mean of its one-pass losses from then on is a Monte Carlo estimate of the risk.

The compiled reduced dynamics shares no code with the theory's integrals but the compiled task.
Every run stands at its own (e, m), to which WARM steps brought it, and is judged there. Runs are
independent, so their scatter gives the standard error, with Student's t of RUNS - 1 degrees of
freedom: 4 are passed with probability 1.7e-4 once, 0.34 % in twenty tasks, if nothing is wrong.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.theory import risk
from test_risk import TASKS

RUNS, SAMPLES, WARM = (
    64,
    10**8,
    64,
)  # after as many steps increments in single precision have just been settled (docs/reduced.md)


def estimate(name: str, samples: int = SAMPLES) -> tuple[float, float, float, float]:
    """Mean over runs of loss - R, its standard error, that of R (a quarter of its error, see
    docs/theory-risk.md), and the mean of R.
    """
    task, tokens = TASKS[name]
    position = task.student.position
    d = position.P.shape[1] if isinstance(position, sq.Positions) else 100
    steps = math.ceil(samples / RUNS)
    rate = sq.Piecewise([(0, 0.01 * d), (WARM, 0.0)])
    r = sq.simulate(
        task,
        d,
        WARM + steps,
        rate,
        runs=RUNS,
        rng=len(name),
        dynamics="reduced",
        init=sq.Overlap(0.4),
        tokens=tokens,
        record=[WARM, WARM + steps],
        progress=False,
        threads=2,
    )
    at = {k: r.dataset[k].values for k in ("e", "m", "q") if k in r.dataset}
    for x in at.values():
        np.testing.assert_allclose(x[:, 0], x[:, 1], rtol=1e-8, atol=1e-8)  # it stands still
    e, m, q = (at[k][:, 1] if k in at else None for k in ("e", "m", "q"))
    R = risk(
        task,
        e,
        m,
        q=q if getattr(task.student, "normalization", None) == "global" else None,
        tokens=tokens,
        hessian=False,
    )
    off = r.loss.values[:, 1] - R.value
    return (
        float(off.mean()),
        float(off.std(ddof=1) / math.sqrt(RUNS)),
        float(np.max(R.value_error)) / 4,
        float(R.value.mean()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_risk_against_1e8_samples(name):
    off, error, own, _ = estimate(name)
    assert 0 < error and abs(off) < 4 * math.hypot(error, own)
