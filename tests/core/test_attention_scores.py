"""Softmax attention of fields of any size, against 60-digit arithmetic: values and gradients, each
instruction set, one point at a time and in lanes.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import seqsgd as sq
from seqsgd import _core

mp = pytest.importorskip("mpmath")
LEVELS = _core.LEVELS[: _core.LEVELS.index(_core._cpu.widest()) + 1]
MAGNITUDES = [1e-3, 1.0, 30.0, 1e4, 1e7, 1e9, 1e10, 1e12]
SHAPES = [2, 3, 4, 9, 17, 50]


def softmax(t):
    """Rows exp(t_l t_k) / sum_j exp(t_l t_j), as mpmath numbers of the given doubles."""
    with mp.workdps(60):
        t = [mp.mpf(float(x)) for x in t]
        rows = []
        for a in t:
            top = max(a * b for b in t)
            gaps = [a * b - top for b in t]
            e = [mp.exp(g) if g > -800 else mp.mpf(0) for g in gaps]
            total = sum(e)
            rows.append([x / total for x in e])
        return rows


def reduced(S, reduction):
    L = len(S)
    with mp.workdps(60):
        if reduction == "none":
            return np.array([[float(x) for x in row] for row in S]).ravel()
        if reduction == "trace":
            return np.array([float(sum(S[i][i] for i in range(L)) / mp.sqrt(L))])
        return np.array(
            [
                float(
                    sum(
                        mp.mpf(float(a)) * S[i][j] * mp.mpf(float(b))
                        for i, a in enumerate(reduction.a)
                        for j, b in enumerate(reduction.b)
                    )
                )
            ]
        )


def gradient(t, S, reduction):
    """d/dt_i of sum_lk D_lk S_lk with D of the reduction; for a matrix D = 1 at its first entry."""
    L = len(t)
    with mp.workdps(60):
        t = [mp.mpf(float(x)) for x in t]
        if reduction == "none":
            D = [[mp.mpf(1 if (i, j) == (0, 0) else 0) for j in range(L)] for i in range(L)]
        elif reduction == "trace":
            D = [[1 / mp.sqrt(L) if i == j else mp.mpf(0) for j in range(L)] for i in range(L)]
        else:
            D = [[mp.mpf(float(a)) * mp.mpf(float(b)) for b in reduction.b] for a in reduction.a]
        out = [mp.mpf(0)] * L
        for row in range(L):
            mean = sum(s * g for s, g in zip(S[row], D[row], strict=True))
            for k in range(L):
                a = S[row][k] * (D[row][k] - mean)
                out[row] += a * t[k]
                out[k] += a * t[row]
        return np.array([float(x) for x in out])


def reductions(L):
    rng = np.random.default_rng(L)
    return ["none", "trace", sq.Bilinear(rng.uniform(-1, 1, L), rng.uniform(-1, 1, L))]


def worst():
    """Largest errors on this process's instruction set: of teachers' values, of students' values
    and of their gradients per size of the fields.
    """
    value = output = slope = lanes = 0.0
    for L in SHAPES:
        for size in MAGNITUDES if L < 50 else [1.0, 1e4, 1e10]:
            z = np.random.default_rng(int(L + size)).standard_normal((2, L))
            if L > 2:
                z[1] = -np.abs(z[1])  # the largest score of each row at the lower end
            for reduction in reductions(L):
                teacher = sq.AttentionTarget(L, weights=size, reduction=reduction)
                task = sq.Task(teacher, sq.Attention(reduction), loss="half_square")._compiled()
                t = size * z
                S = [softmax(row) for row in t]
                wanted = np.array([reduced(s, reduction) for s in S])
                value = max(value, np.abs(task.target(z) - wanted).max())
                output = max(output, np.abs(task.output(t) - wanted).max())
                if L > 17:
                    continue
                y = wanted.copy()
                y[:, 0] -= 1  # D = 1 at the first output, and what rounding leaves elsewhere
                _, delta = task.evaluate_labels(y, t)
                exact = np.array([gradient(row, s, reduction) for row, s in zip(t, S, strict=True)])
                slope = max(slope, np.abs(delta - exact).max() / size)
                both = sq.Task(
                    sq.AttentionTarget(L, weights=2.0, reduction=reduction),
                    sq.Attention(reduction),
                    loss="half_square",
                )._compiled()
                one, side = both.evaluate(t / 2, t / 2), both.evaluate_packs(t / 2, t / 2)
                lanes = max(
                    lanes, np.abs(one[0] - side[0]).max(), np.abs(one[1] - side[1]).max() / size
                )
    return value, output, slope, lanes


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_errors_are_of_the_size_of_rounding_at_any_size_of_the_fields(level):
    """Exponents (t_k - end) t_l have two roundings and are 0 at the end: a value is off by no more
    than x exp(-x) of them, for each of L terms.
    """
    code = "import test_attention_scores as t; print(*t.worst())"
    environment = os.environ | {
        "SEQSGD_SIMD": level,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    value, output, slope, lanes = map(float, done.stdout.split())
    print(level, value, output, slope, lanes)
    assert value < 1e-14 and output < 1e-14
    assert slope < 1e-13 and lanes < 1e-13


@pytest.mark.parametrize("weights", [1e9, 1e10, 1e12, 1e100, 1e160])
def test_a_saturated_teacher_points_at_the_largest_score(weights):
    """exp of gaps of 1e18 and more: a row is 1 at its largest score and 0 elsewhere, to the last
    bit.
    """
    z = np.array([[0.3, -1.2, 0.9, 2.0, -0.1, 0.5, -2.5, 1.1]])
    S = np.array(sq.AttentionTarget(8, weights=weights, reduction="none")._compiled()(z)).reshape(
        8, 8
    )
    wanted = np.zeros((8, 8))
    wanted[np.arange(8), np.where(z[0] > 0, 3, 6)] = 1
    np.testing.assert_allclose(S, wanted, atol=1e-300)
