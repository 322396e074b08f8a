"""The reduced dynamics has the law of the sampled one, which draws every entry of X, and that of
the same process in plain NumPy.

Two-sample Kolmogorov-Smirnov at RUNS runs a side (or FEWER, or what the case says), at the steps of
RECORD, of every m_l, q_l, e_l and mean loss, of the products of any two of m, q, e, and of the
first passages. Family-wise false-alarm rate RATE for each case (Holm), so below 1 % for the file;
seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from laws import assert_plausible, holm
from reduced_cases import CASES, IN_NUMPY, course, reference_course
from scipy import stats

pytestmark = pytest.mark.slow  # a second each, and two hundred of them
RATE = 1e-4
RUNS, FEWER = (
    10_000,
    4_000,
)  # the latter where rows meet through correlated tokens, one run at a time
RECORD = (0, 3, 20, 150)
SHORT = (0, 3, 20)  # against NumPy


def observables(r: dict[str, Any], records: int, digits: int = 9) -> list[Any]:
    """(runs,) each, of records m, q, e (runs, records, ...) and loss (runs, records); what is fixed
    may differ by rounding, beyond `digits`.
    """
    out = []
    for i in range(records):
        parameters = np.concatenate(
            [r[k][:, i].reshape(len(r[k]), -1) for k in ("m", "q", "e")], axis=1
        )
        a, b = np.triu_indices(min(parameters.shape[1], 8), 1)
        out += [*parameters.T, *(parameters[:, a] * parameters[:, b]).T]
        if i > 0:
            out.append(r["loss"][:, i])
    return [np.round(x, digits) + 0.0 for x in out]


def comparison(a: list[Any], b: list[Any]) -> Any:
    return np.array(
        [stats.ks_2samp(x, y, method="asymp").pvalue for x, y in zip(a, b, strict=True)]
    )


def measured(name: str, dynamics: str, seed: int, factor: float = 1.0, **changes: Any) -> list[Any]:
    """All observables, passages included: a censored run counts as later than the last step.

    Thresholds that part of the runs reach.
    """
    case = CASES[name]
    runs = changes.pop("runs", case.get("runs", RUNS if name in IN_NUMPY else FEWER))
    core = course(
        case,
        dynamics,
        RECORD,
        runs,
        seed=seed,
        eta=case.get("eta", 0.5),
        lr=factor * case.get("lr", 0.5),
        **changes,
    )
    passage = core.status()["passage"]
    return [
        *observables(core.records(), len(RECORD), case.get("digits", 9)),
        np.where(passage < 0, RECORD[-1] + 1, passage),
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_law_of_the_sampled_dynamics(name: str) -> None:
    dtype = "float64" if len(name) % 2 else "float32"  # of the normals
    assert_plausible(
        comparison(
            measured(name, "sampled", 11, dtype="float64"),
            measured(name, "reduced", 22, dtype=dtype),
        ),
        RATE,
        name,
    )


@pytest.mark.parametrize("name", IN_NUMPY)
def test_the_law_of_the_process_in_numpy(name: str) -> None:
    core = course(CASES[name], "reduced", SHORT, RUNS, seed=33, dtype="float32")
    digits = CASES[name].get("digits", 9)
    assert_plausible(
        comparison(
            observables(core.records(), 3, digits),
            observables(reference_course(CASES[name], SHORT, RUNS, 44), 3, digits),
        ),
        RATE,
        name,
    )


# --- the general step, which defines the law, beside the kernels that are faster for a case
# ------------------------------------------------

GENERAL = [
    n for n, case in CASES.items() if case["L"] <= 5 and not {"covariance", "sphere"} <= case.keys()
]


@pytest.mark.parametrize("name", GENERAL)
def test_the_law_of_the_general_step(name: str) -> None:
    """Kernels against it, passages included; where rows meet it is what `reduced` takes, tested
    above.
    """
    fast = measured(name, "reduced", 55, dtype="float32" if len(name) % 2 else "float64")
    assert_plausible(
        comparison(fast, measured(name, "reduced", 66, general=True, runs=FEWER)), RATE, name
    )


@pytest.mark.parametrize("factor", [0.95, 1.05])
@pytest.mark.parametrize("name", ["sum, d = 5", "P of rank 3", "rows"])
def test_in_the_general_step_a_learning_rate_5_percent_off_is_seen(
    name: str, factor: float
) -> None:
    assert holm(
        comparison(
            measured(name, "reduced", 55), measured(name, "reduced", 66, factor, general=True)
        ),
        RATE,
    )


# --- power, at the same size and rate
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum, d = 5", "one token", "rows", "global", "correlated sum"])
def test_a_chi_square_replaced_by_its_mean_is_seen(name: str) -> None:
    """At d = 5."""
    core = course(CASES[name], "reduced", SHORT, RUNS, seed=33, dtype="float32")
    wrong = reference_course(CASES[name], SHORT, RUNS, 44, mean_chi=True)
    assert CASES[name]["d"] == 5 and holm(
        comparison(observables(core.records(), 3), observables(wrong, 3)), RATE
    )


@pytest.mark.parametrize("factor", [0.95, 1.05])
@pytest.mark.parametrize(
    "name",
    [
        "sum, d = 5",
        "P of rank 3",
        "matrix, opposite",
        "matrix, opposite, d = 5",
        "matrix, P",
        "rows",
        "global",
        "global, d = 2",
    ],
)
def test_a_learning_rate_5_percent_off_is_seen(name: str, factor: float) -> None:
    assert holm(
        comparison(
            measured(name, "sampled", 11, dtype="float64"),
            measured(name, "reduced", 22, factor, dtype="float32"),
        ),
        RATE,
    )
