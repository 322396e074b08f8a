"""What an expectation must know of a task: the distribution of the fields and its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ... import _checks, models
from ..._checks import Float64
from ...models.functions import compiled_activation
from .line import Mesh

Array = Any


class Setup:
    """A task and the covariance of its tokens.

    The fields are z* ~ N(0, C) and z = c + E a + (overlaps) with positional parameters a and
    overlaps m, one or (untied) one per token, where then z_l has variance q_l and C = I. Parameters
    in order: `names`. With `rows` (untied weights, C not the identity), the distribution also
    depends on all overlaps between rows (`_rows.py`).
    """

    def __init__(self, task: models.Task, tokens: str | models.Tokens = "gaussian") -> None:
        _checks.instance("task", task, models.Task, "a Task")
        self.task, self.L, student = task, task.L, task.student
        self.tied = student.weights == "shared"
        self.C = np.eye(self.L)
        if isinstance(tokens, models.Correlated):
            tokens.check(self.L)
            self.C = np.array(tokens.C)
        elif not (isinstance(tokens, str) and tokens == "gaussian"):
            raise ValueError(
                "tokens: the theory needs Gaussian fields, expected 'gaussian' or Correlated, "
                f"got {_checks.short(tokens)}"
            )
        self.independent = bool((self.C == np.eye(self.L)).all())
        self.rows = (
            not self.tied and not self.independent
        )  # the law of the fields depends on the overlaps between rows too
        position = student.position
        self.c = np.zeros(self.L)
        self.E = np.zeros((self.L, 0))
        e_names: tuple[str, ...] = ()
        if isinstance(position, models.Injected):
            self.c = self.c + np.asarray(position.c, dtype=np.float64)
        elif isinstance(position, models.Opposite) and self.tied:
            self.E, e_names = np.array([[1.0], [-1.0]]), ("e",)
        elif position is not None:
            self.E, e_names = np.eye(self.L), tuple(f"e_{i + 1}" for i in range(self.L))
        m_names = ("m",) if self.tied else tuple(f"m_{i + 1}" for i in range(self.L))
        self.names = e_names + m_names
        self.ne, self.nm = len(e_names), len(m_names)
        self.core = task._compiled()
        self.total = float(self.C.sum())  # 1^T C 1
        self.mesh: Mesh | None = None  # of a user's activation
        if self.network and not isinstance(
            getattr(student, "sigma", "square"), (str, models.HermiteSeries)
        ):
            sigma = self.sigma
            self.mesh = Mesh(lambda u: np.stack(sigma(u), axis=1))

    @property
    def network(self) -> bool:
        """Whether the student depends only on u = (1/sqrt L) sum z_l."""
        return not isinstance(self.task.student, models.Attention)

    @property
    def sigma(self) -> Any:
        """The core's activation of a network."""
        student: Any = self.task.student
        return compiled_activation(student.sigma)

    def cuts(self, ubar: Array, s: Array, tail: float) -> Float64:
        """Return the places of tau (n, k) at which panels over u = ubar + s tau must end, (n,)
        each, |tau| <= tail: kinks of sigma, known or found.
        """
        if self.mesh is None:
            return np.asarray(-ubar / s)[:, None]
        edges = self.mesh.edges(
            float((ubar - tail * s).min()), float((ubar + tail * s).max()), float(s.min())
        )
        return np.asarray((edges - ubar[:, None]) / s[:, None])

    @property
    def noise(self) -> float:
        """Return the effect of the noise of your own activation on integrals, relative to that of
        its absolute value.
        """
        return 0.0 if self.mesh is None else self.mesh.noise

    @property
    def sigma_degree(self) -> int:
        """Return about how fast sigma grows."""
        sigma = getattr(self.task.student, "sigma", "square")
        if isinstance(sigma, models.HermiteSeries):
            return len(sigma.coefficients) - 1
        if isinstance(sigma, str):
            return (
                int(sigma[2:]) if sigma.startswith("He") else {"square": 2, "h2": 2}.get(sigma, 1)
            )
        return 4

    @property
    def factor(self) -> float | None:
        """Ratio of the loss to half_square if it is constant; None otherwise."""
        return self.task._half_squares


@dataclass
class Moments:
    """Expectations at n points: value (n,), gradient (n, p), hessian (n, p, p) (or None), V (n,) =
    E[delta^T C delta], dR_dq (n, L): dR / dq_l (untied).
    """

    value: Array
    gradient: Array
    hessian: Array | None
    V: Array
    dR_dq: Array | None = None

    def gap(self, other: Moments) -> Moments:
        """Return absolute differences."""
        return Moments(
            *(
                None if (a := getattr(self, f.name)) is None else np.abs(a - getattr(other, f.name))
                for f in fields(self)
            )
        )

    def larger(self, other: Moments) -> Moments:
        """Return the larger of two, entry by entry."""
        return Moments(
            *(
                None
                if (a := getattr(self, f.name)) is None
                else np.maximum(a, getattr(other, f.name))
                for f in fields(self)
            )
        )

    def plus(self, other: Moments, scale: float = 1.0) -> Moments:
        """Return the sum, entry by entry."""
        return Moments(
            *(
                None if (a := getattr(self, f.name)) is None else a + scale * getattr(other, f.name)
                for f in fields(self)
            )
        )


def root_total(setup: Setup) -> tuple[float, Float64]:
    """Standard deviation of u for tied weights, and du / da."""
    root = math.sqrt(setup.L)
    return math.sqrt(max(setup.total, 0.0)) / root, setup.E.sum(axis=0) / root
