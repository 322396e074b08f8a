"""Estimates of memory against the resident size at its peak, each simulation in a child of its own
(Linux). As a script: one JSON object, name -> [estimate, measured] in bytes.
"""

import json
import os
import sys

import numpy as np
import scipy.integrate
import seqsgd as sq
import xarray  # both are loaded before anything is measured
from seqsgd.dynamics import table
from seqsgd.models import simulation


def tied(L, link="sum_h2", **student):
    return sq.Task(sq.SSI(link, L=L), sq.Tied("relu", **student))


def untied(L, **student):
    return sq.Task(sq.SSI("sum_h2", L=L), sq.Untied("relu", **student))


def positions(L, d):
    return sq.Positions(np.random.default_rng(0).standard_normal((L, d)))


TWO = sq.Correlated(0.5 * np.eye(20) + 0.5)
OPPOSITE = sq.Task(sq.PositionalSemantic(0.5), sq.Attention(position=sq.Opposite()))
TRACE = sq.Task(sq.AttentionTarget(100, reduction="trace"), sq.Attention("trace"))
CASES = {
    "reduced, tied, records": (
        tied(10_000),
        {"d": 1000, "steps": 100, "runs": 20_000, "dynamics": "reduced"},
    ),
    "reduced, tied, a million tokens": (
        tied(1_000_000),
        {"d": 1000, "steps": 5, "runs": 64, "dynamics": "reduced"},
    ),
    "reduced, tied, a link of all tokens": (
        tied(100_000, "staircase"),
        {"d": 1000, "steps": 2, "runs": 64, "dynamics": "reduced"},
    ),
    "reduced, tied, positions": (
        tied(40, position=positions(40, 500)),
        {"d": 500, "steps": 2, "runs": 4000, "dynamics": "reduced"},
    ),
    "reduced, untied": (untied(100), {"d": 1000, "steps": 2, "runs": 5000, "dynamics": "reduced"}),
    "reduced, untied, correlated": (
        untied(20),
        {"d": 500, "steps": 2, "runs": 5000, "dynamics": "reduced", "tokens": TWO},
    ),
    "sampled, tied, runs": (tied(1000), {"d": 10, "steps": 2, "runs": 20_000}),
    "sampled, tied, d": (tied(10), {"d": 1_000_000, "steps": 2, "runs": 4, "dtype": "float64"}),
    "sampled, untied": (untied(100), {"d": 1000, "steps": 2, "runs": 100}),
    "sampled, untied, records": (
        untied(50),
        {"d": 10, "steps": 1000, "runs": 30, "record": sq.Every(1)},
    ),
    "sampled, attention, tokens of another law": (
        TRACE,
        {"d": 50_000, "steps": 2, "runs": 2, "tokens": "rademacher"},
    ),
    "sampled, positions": (
        tied(100, position=positions(100, 10_000)),
        {"d": 10_000, "steps": 2, "runs": 2},
    ),
    "sampled, opposite": (OPPOSITE, {"d": 100_000, "steps": 2, "runs": 50}),
    "flow, tied, records": (
        tied(3),
        {"d": 1000, "steps": 1000, "runs": 5000, "dynamics": "flow", "record": sq.Every(1)},
    ),
    "flow, tied, many tokens": (
        tied(2000),
        {"d": 1000, "steps": 100, "runs": 500, "dynamics": "flow"},
    ),
}


def status(key):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def peak(simulate):
    """Bytes that a child needs beside those it begins with."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        before = status("VmRSS:")
        with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
            f.write("5")  # the peak begins anew
        simulate()
        os.write(write, str(status("VmHWM:") - before).encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 100)
    os.close(read)
    os.waitpid(child, 0)
    return int(said)


def main():
    assert xarray and scipy.integrate
    for dynamics in ("sampled", "reduced", "flow"):
        sq.simulate(tied(2), 10, 5, 0.1, rng=0, dynamics=dynamics, threads=1)
    out = {}
    for name, (task, arguments) in CASES.items():
        arguments = arguments | {"lr": 0.1, "threads": 2}
        run = simulation.Run(task, **arguments)
        estimate = table.DYNAMICS[run.dynamics].memory(run, run.grid())
        out[name] = [
            estimate,
            peak(
                lambda task=task, arguments=arguments: sq.simulate(
                    task, rng=0, progress=False, **arguments
                )
            ),
        ]
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
