"""R(e, m) against 4e6 samples: a simulation whose learning rate falls to 0 stands still, and the
mean of its one-pass losses from then on is a Monte Carlo estimate of the risk.

The compiled reduced dynamics shares no code with the theory's integrals but the compiled task.
Every run stands at its own (e, m), to which WARM steps brought it, and is judged there. Runs are
independent, so their scatter gives the standard error, with Student's t of RUNS - 1 degrees of
freedom: 4 are passed with probability 1.7e-4 once, 0.34 % in twenty tasks, if nothing is wrong.
What is wrong by 7 is refused with probability 99.8 %: one is, as is asserted, below 0.3 % of R,
with links or activations of high degree below 2 %.

`PYTHONPATH=tests:tests/theory python tests/theory/test_risk_frozen.py` takes 1e8 samples and prints
the table of docs/theory-risk.md.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.theory import risk
from test_risk import TASKS

RUNS, SAMPLES = 64, 4 * 10**6
WARM = 64  # after as many steps increments in single precision have just been settled
HEAVY = ("tied erf, staircase, L=6", "tied He3, Hermite data")


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
def test_risk_against_4e6_samples(name):
    off, error, own, mean = estimate(name)
    assert abs(off) < 4 * math.hypot(error, own)
    assert 0 < error < (0.02 if name in HEAVY else 0.003) * mean


if __name__ == "__main__":
    for name in TASKS:
        off, error, own, mean = estimate(name, 10**8)
        z = off / math.hypot(error, own)
        print(f"| {name} | {mean:.6g} | {error:.1e} | {own:.0e} | {z:+.2f} |", flush=True)
