"""Losses, and a task: (z*, z) -> loss and delta = d loss / d z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


def _frobenius_gradient(r: Array) -> Array:
    norm = np.sqrt((r**2).sum(-1, keepdims=True))
    return np.divide(r, norm, out=np.zeros_like(r), where=norm != 0)


# loss and its gradient in f, of the residual r = f - y
LOSSES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "half_square": (lambda r: (r**2).sum(-1) / 2, lambda r: r),
    "square": (lambda r: (r**2).sum(-1), lambda r: 2 * r),
    "frobenius": (lambda r: np.sqrt((r**2).sum(-1)), _frobenius_gradient),
}


class Student(Protocol):
    """What a task needs of a student."""

    def output(self, z: Array) -> Array: ...
    def delta(self, z: Array, g: Array) -> Array: ...


class Task:
    """A link, a student and the name of a loss."""

    def __init__(
        self, link: Callable[[Array], Array], student: Student, loss: str = "half_square"
    ) -> None:
        self.link, self.student, self.loss = link, student, loss

    def __call__(self, zstar: Array, z: Array) -> tuple[Array, Array]:
        """(..., L), (..., L) -> loss (...), delta (..., L)."""
        return self.labelled(self.link(zstar), z)

    def labelled(self, y: Array, z: Array) -> tuple[Array, Array]:
        """The same for labels y (..., k)."""
        value, gradient = LOSSES[self.loss]
        r = self.student.output(z) - y
        return value(r), self.student.delta(z, gradient(r))


def stacked(tasks: Sequence[Task]) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Several tasks side by side: row i of the fields (len(tasks), L) goes to task i.

    Rows with one link, student or loss go together.
    """

    def rows_of(part: str) -> list[tuple[Any, Array]]:
        parts = [getattr(task, part) for task in tasks]
        return [
            (p, np.array([i for i, q in enumerate(parts) if q is p]))
            for p in {id(p): p for p in parts}.values()
        ]

    links, students, losses = rows_of("link"), rows_of("student"), rows_of("loss")

    def evaluate(zstar: Array, z: Array) -> tuple[Array, Array]:
        residual = _gather(
            [(rows, student.output(z[rows])) for student, rows in students]
        ) - _gather([(rows, g(zstar[rows])) for g, rows in links])
        loss = _gather([(rows, LOSSES[name][0](residual[rows])) for name, rows in losses])
        gradient = _gather([(rows, LOSSES[name][1](residual[rows])) for name, rows in losses])
        return loss, _gather(
            [(rows, student.delta(z[rows], gradient[rows])) for student, rows in students]
        )

    return evaluate


def _gather(parts: Sequence[tuple[Array, Array]]) -> Array:
    """The values of all rows in their order."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return np.concatenate([values for _, values in parts])[order]
