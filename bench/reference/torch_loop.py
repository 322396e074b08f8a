"""The loop as users write it today: PyTorch modules, autograd, an Optimizer that keeps the norm,
one sample at a time; float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..points import Floats, Point, Start, corner, learning_rate, omega

torch.set_num_threads(1)


class Sphere(torch.optim.Optimizer):
    """Gradient step, then back to the norm from before."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    norm = w.norm()
                    w -= group["lr"] * w.grad
                    w *= norm / w.norm()


class Fields(nn.Module):
    """Fields of tokens x (L, d): z_l = (x_l + p_l / sqrt d) .

    w, with one weight for all tokens or one each; then a head.
    """

    def __init__(
        self, w: Tensor, head: Callable[[Tensor], Tensor], position: Tensor | None = None
    ) -> None:
        super().__init__()
        self.w = nn.Parameter(w)
        self.head = head
        self.position = position

    def forward(self, x: Tensor) -> Tensor:
        if self.position is not None:
            x = x + self.position / math.sqrt(x.shape[-1])
        return self.head(x @ self.w if self.w.dim() == 1 else (x * self.w).sum(dim=-1))


def mean_field(z: Tensor) -> Tensor:
    return z.sum() / math.sqrt(len(z))


def attention(z: Tensor) -> Tensor:
    return torch.softmax(torch.outer(z, z), dim=-1)


def network(z: Tensor) -> Tensor:
    return torch.relu(mean_field(z))


def trace(z: Tensor) -> Tensor:
    return attention(z).trace() / math.sqrt(len(z))


def quadratic(z: Tensor) -> Tensor:
    return mean_field((z**2 - 1) / math.sqrt(2))


class Loop:
    """One run; `advance(n)` does n steps."""

    def __init__(self, point: Point, seed: int) -> None:
        self._start = start = Start.of(point, seed)
        self._shape, self._lr = (point.L, point.d), learning_rate(point)
        teacher, w, p = (
            torch.tensor(x, dtype=torch.float32)
            for x in (start.teacher, start.weights, start.position)
        )
        positional = torch.tensor([[corner, 1 - corner], [1 - corner, corner]])
        heads: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
            "tied": (mean_field, network),
            "untied": (mean_field, network),
            "pair": (lambda z: (1 - omega) * attention(z) + omega * positional, attention),
            "trace": (quadratic, trace),
        }
        target, student = heads[point.problem]
        pair = point.problem == "pair"
        self._teacher = Fields(teacher, target)
        self._student = Fields(w, student, torch.stack((p, -p)) if pair else None)
        self._loss: Callable[[Tensor, Tensor], Tensor] = torch.dist if pair else nn.MSELoss()
        self._optimizer = Sphere(self._student.parameters(), self._lr)
        self._generator = torch.Generator().manual_seed(seed)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            x = torch.randn(self._shape, generator=self._generator) / math.sqrt(self._shape[1])
            with torch.no_grad():
                y = self._teacher(x)
            self._optimizer.zero_grad()
            self._loss(self._student(x), y).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def overlap(self) -> Floats:
        return self._start.overlap(self._student.w.detach().numpy())
