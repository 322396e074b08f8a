"""The measured points and the learning problem at each: the same for the package and for every
reference.

tied    tied relu network on (1/sqrt L) sum_l z*_l, square loss
untied  the untied one, all weights on one sphere, same target and loss
pair    2x2 softmax attention with opposite positions on (1 - omega) softmax(z* z*^T) + omega A,
unsquared Frobenius norm as loss trace   (1/sqrt L) trace softmax(z z^T) on (1/sqrt L) sum_l
h2(z*_l), square loss
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

m0 = 0.05  # overlap at the start
omega = 0.3
corner = math.e / (
    math.e + 1 / math.e
)  # upper left entry of the positional target A = softmax([[1, -1], [-1, 1]])

PROBLEMS = ("tied", "untied", "pair", "trace")
LENGTHS = tuple(2**k for k in range(11))
DIMENSIONS = (100, 1000, 10000)


class Point(NamedTuple):
    """One measured configuration."""

    problem: str
    d: int
    L: int

    def __str__(self) -> str:
        return f"{self.problem} d={self.d} L={self.L}"


def learning_rate(point: Point) -> float:
    return 0.01 if point.problem == "trace" else 0.05


# Where bare loops and users' loops were measured before this package existed.
TABLE = [
    *(
        Point("tied", d, L)
        for d, L in ((1000, 2), (1000, 10), (1000, 32), (3000, 100), (3000, 1000))
    ),
    *(Point("untied", d, L) for d, L in ((1000, 2), (1000, 10), (1000, 32), (3000, 100))),
    *(Point("pair", d, 2) for d in (100, 1000)),
    *(Point("trace", 1000, L) for L in (3, 9)),
]
PER_LENGTH = {
    problem: [Point(problem, 1000, L) for L in LENGTHS] for problem in ("tied", "untied", "trace")
}
PER_DIMENSION = {
    problem: [Point(problem, d, 2) for d in DIMENSIONS] for problem in ("tied", "untied", "trace")
}


def groups() -> dict[str, list[Point]]:
    """Tables of the report, by title."""
    return {
        "Reference points": TABLE,
        **{
            f"Per sequence length L, {problem}, d = 1000": points
            for problem, points in PER_LENGTH.items()
        },
        **{
            f"Per dimension d, {problem}, L = 2": points
            for problem, points in PER_DIMENSION.items()
        },
    }


@dataclass(frozen=True)
class Start:
    """Teacher w* (d,), weights (d,) or (L, d) at overlap m0, position p (d,) of norm one; all
    orthogonal where the model asks for it.
    """

    teacher: Floats
    weights: Floats
    position: Floats

    @classmethod
    def of(cls, point: Point, seed: int) -> Start:
        g, d = np.random.default_rng(seed), point.d

        def beside(*taken: Floats) -> Floats:
            """A unit vector, uniform among those orthogonal to `taken`."""
            x = g.standard_normal(d)
            for t in taken:
                x -= t * (t @ x) / (t @ t)
            return x / np.linalg.norm(x)

        teacher = beside() * math.sqrt(d)
        rows = [
            m0 * teacher + math.sqrt(d * (1 - m0**2)) * beside(teacher)
            for _ in range(point.L if point.problem == "untied" else 1)
        ]
        weights = np.array(rows) if point.problem == "untied" else rows[0]
        return cls(teacher, weights, beside(teacher, rows[0]))

    def overlap(self, weights: npt.NDArray[np.floating]) -> Floats:
        """m, one value for each weight vector."""
        return np.atleast_1d(weights.astype(np.float64) @ self.teacher / len(self.teacher))
