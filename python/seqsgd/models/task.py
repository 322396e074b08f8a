"""Tasks: teacher, student and loss, as functions of the fields (z*, z), so without d."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checks, _core
from ._base import Model
from .students import Student
from .teachers import Teacher


@dataclass(frozen=True, eq=False, repr=False)
class Task(Model):
    """Teacher, student and loss (docs: "The model and its letters").

    Parameters
    ----------
    teacher : SSI, PositionalSemantic or AttentionTarget
        Target y = g(z*), of sequence length L and output dimension k.
    student : Tied, Untied, LinearAttention or Attention
        Network f(z), of the same output dimension.
    loss : "half_square", "square" or "frobenius"
        (1/2) ||y - f||^2, ||y - f||^2 or ||y - f||_F, which is not squared.
    noise : float >= 0
        Variance Delta of the Gaussian noise on each entry of y.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or the student does not fit the teacher. One line names it.
    """

    teacher: Teacher
    student: Student
    loss: str = "half_square"
    noise: float = 0.0

    def __post_init__(self) -> None:
        _checks.instance(
            "teacher", self.teacher, Teacher, "SSI, PositionalSemantic or AttentionTarget"
        )
        _checks.instance(
            "student", self.student, Student, "Tied, Untied, LinearAttention or Attention"
        )
        self._set(
            loss=_checks.choice("loss", self.loss, tuple(_core.losses())),
            noise=_checks.number("noise", self.noise, 0),
        )
        try:
            self.student.check(self.L)
        except ValueError as e:
            raise ValueError(f"student.{e}") from None
        k = self.student.outputs(self.L)
        if k != self.k:
            raise ValueError(
                f"student: expected an output of dimension {self.k} as the teacher's, got {k} "
                f"from {_checks.short(self.student)}"
            )

    @property
    def L(self) -> int:
        """Sequence length."""
        return self.teacher.L

    @property
    def k(self) -> int:
        """Output dimension."""
        return self.teacher.outputs

    def evaluate(
        self, zstar: npt.ArrayLike, z: npt.ArrayLike
    ) -> tuple[_checks.Float64, _checks.Float64]:
        """Compute the loss and its gradient delta = d loss / d z, without label noise.

        Parameters
        ----------
        zstar, z : (n, L) arrays
            Fields of the teacher and of the student (copied as float64). Pass z without an injected
            c, which is added here.

        Returns
        -------
        loss : (n,) float64
        delta : (n, L) float64

        Raises
        ------
        TypeError, ValueError
            If an array has another shape, or entries that are not finite real numbers.
        """
        a, b = _checks.array("zstar", zstar, ("n", self.L)), _checks.array("z", z, ("n", self.L))
        if len(a) != len(b):
            raise ValueError(
                f"z: expected shape ({len(a)}, {self.L}) as zstar, got shape "
                f"{_checks.letters(b.shape)}"
            )
        loss, delta = self._compiled().evaluate(a, b + self._injected())
        return loss, delta

    def target(self, zstar: npt.ArrayLike) -> _checks.Float64:
        """Compute the labels y = g(z*) without noise.

        Parameters
        ----------
        zstar : (n, L) array
            Fields of the teacher (copied as float64).

        Returns
        -------
        y : (n, k) float64
            A matrix target, (L, L), is flattened by rows, so k = L^2.
        """
        y: _checks.Float64 = self._compiled().target(_checks.array("zstar", zstar, ("n", self.L)))
        return y

    def output(self, z: npt.ArrayLike) -> _checks.Float64:
        """Compute the student's outputs f(z).

        Parameters
        ----------
        z : (n, L) array
            Fields of the student (copied as float64), without an injected c, which is added here.

        Returns
        -------
        f : (n, k) float64
            An attention matrix, (L, L), is flattened by rows, so k = L^2.
        """
        f: _checks.Float64 = self._compiled().output(
            _checks.array("z", z, ("n", self.L)) + self._injected()
        )
        return f

    def _compiled(self) -> _core.Task:
        """Return the core's task."""
        return _core.Task(
            self.teacher._compiled(), self.student._compiled(self.L), self.loss, self.noise
        )

    @property
    def _half_squares(self) -> float | None:
        """Loss divided by (1/2) ||y - f||^2; None if the loss is not a multiple of it."""
        return _core.losses()[self.loss]

    def _injected(self) -> Any:
        return np.asarray(getattr(self.student.position, "c", 0.0))
