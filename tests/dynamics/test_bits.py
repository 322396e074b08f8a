"""Sampled and reduced runs of the whole catalogue have the numbers that bits.json recorded: to
rounding with every compiler and instruction set, to the bit with the compiler of the record.

A change that is meant to change runs makes the record anew, once per instruction set (SEQSGD_SIMD):
`PYTHONPATH=tests python tests/dynamics/test_bits.py`; and says so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import pytest
import reduced_cases
from helpers import core_simulation, steps
from seqsgd import _core

pytestmark = pytest.mark.xdist_group("bits")

RECORD = Path(__file__).with_name("bits.json")
STEPS, RUNS = (0, 1, 8, 30), 5  # a pack that is not full; more than a block of drawn steps
DYNAMICS, DTYPES = ("sampled", "reduced"), ("float64", "float32")


def tasks() -> Iterator[tuple[str, list[tuple[Any, dict[str, Any]]]]]:
    """Name, and tasks with their settings: every link with every student that can learn it (losses
    in turn), and every case of the reduced dynamics."""
    for L in (2, 3, 5):
        students = {n: catalogue.network(n, L) for n in catalogue.ACTIVATIONS}
        students |= {n: catalogue.attention(n, L) for n in ("trace", "bilinear")}
        matrix = {"none": catalogue.attention("none", L)}
        for links, learners in (
            (catalogue.scalar_links(L), students),
            (catalogue.matrix_links(L), matrix),
        ):
            for i, (name, link) in enumerate(links.items()):
                made = []
                for j, student in enumerate(learners.values()):
                    loss = catalogue.LOSSES[(i + j) % len(catalogue.LOSSES)]
                    made.append((catalogue.task(link, student, loss, 0.1 * (j % 2))[0], {}))
                yield f"{name}, L={L}", made
    for name, case in reduced_cases.CASES.items():
        yield name, [(reduced_cases.pair(case)[0], reduced_cases.settings(case))]


def numbers(task: Any, settings: dict[str, Any], dynamics: str, dtype: str) -> Any:
    """m, e and the losses of all runs at all recorded steps, one row."""
    settings = {"lr": 0.1, "seed": 11} | settings
    core = core_simulation(
        task, dynamics, **settings, runs=RUNS, dtype=dtype, record=steps(*STEPS), threads=1
    )
    core.advance(STEPS[-1])
    records = core.records()
    return np.concatenate([np.ravel(records[k]) for k in ("m", "q", "e", "loss")]).astype(float)


def measured() -> dict[str, Any]:
    """By name: a digest per dynamics and dtype, and the sum of the numbers of float64 runs."""
    out: dict[str, Any] = {}
    for name, made in tasks():
        digests, sums = [], []
        for dynamics in DYNAMICS:
            for dtype in DTYPES:
                values = np.concatenate([numbers(*one, dynamics, dtype) for one in made])
                digests.append(hashlib.sha256(values.tobytes()).hexdigest()[:8])
                if dtype == "float64":
                    sums.append(float(np.nansum(np.abs(values))))
        out[name] = {"digests": " ".join(digests), "sums": sums}
    return out


def compiler() -> str:
    return str(_core.build_info()["compiler"])


def level() -> str:
    return str(_core.build_info()["level"])


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return measured()


def test_runs_have_the_recorded_numbers(now):
    """Between instruction sets they differ by up to 5e-10; other draws change them by 1e-3."""
    recorded = json.loads(RECORD.read_text())["sums"]
    assert recorded.keys() == now.keys()
    got = np.array([now[name]["sums"] for name in recorded])
    wanted = np.array(list(recorded.values()))
    worst = np.unravel_index(np.argmax(np.abs(got / wanted - 1)), got.shape)
    assert np.abs(got / wanted - 1).max() < 1e-8, (list(recorded)[worst[0]], DYNAMICS[worst[1]])


def test_runs_have_the_recorded_bits(now):
    record = json.loads(RECORD.read_text())
    if compiler() != record["compiler"] or level() not in record["digests"]:
        pytest.skip(f"the record is of {record['compiler']}, this is {compiler()}, {level()}")
    digests = record["digests"][level()]
    assert {n: now[n]["digests"] for n in digests if digests[n] != now[n]["digests"]} == {}


if __name__ == "__main__":
    new = measured()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"digests": {}}
    record["compiler"] = compiler()
    record["digests"][level()] = {n: v["digests"] for n, v in new.items()}
    record["sums"] = {n: v["sums"] for n, v in new.items()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
