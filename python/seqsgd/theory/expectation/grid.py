"""Square losses by tensor quadrature, for sequences of a few tokens.

The student enters through f and its Jacobian J on a grid of z only, the teacher through conditional
means of y and its derivatives given z. Both are computed once and contracted, so a grid over (e, m)
costs little more than its axes. With z = mu + B x, z* = B x*, x* = m x + s eta, s^2 = 1 - m^2 and
Y_alpha(x) = E[d^alpha y(B x*) | x] (Stein's lemma replaces the derivatives of y; a second use of it
replaces second derivatives of f):

    K    = E[y . f] = E[Y_0 . f]
    K_a  = E[Y_0 . J_a],                      J_a = J E_a
    K_m  = sum_i E[Y_i . J_i],                J_i = J B_i
    K_mm = sum_ij E[(x_j Y_ij - m Y_ijj) . J_i]
    K_ma = sum_i E[(x_i Y_i - m Y_ii) . J_a]
    K_ab = sum_i (B^-1 E)_ib E[(x_i Y_0 - m Y_i) . J_a]
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import numpy as np

from ... import _core, models
from .gaussian import kernel, local_rule, panels, trapezoid
from .setup import Moments, Setup

Array = Any
CHUNK = 100_000


class Attentive:
    """A student that depends on all fields: x in R^r with C = B B^T of rank r."""

    def __init__(self, setup: Setup, h: float) -> None:
        self.setup, self.h = setup, h
        variance, directions = np.linalg.eigh(setup.C)
        keep = variance > 1e-12 * variance.max()
        self.B = (
            np.eye(setup.L) if setup.independent else directions[:, keep] * np.sqrt(variance[keep])
        )
        self.dims, self.k = self.B.shape[1], setup.task.k
        self.Ex = np.linalg.pinv(self.B) @ setup.E
        self.closed = bool(
            np.allclose(self.B @ self.Ex, setup.E, atol=1e-9)
        )  # else second derivatives along a do not exist by parts
        self.teacher = setup.task.teacher._compiled()
        self.task = _core.Task(
            self.teacher, setup.task.student._compiled(setup.L), "half_square", 0.0
        )

    def nodes(self, a: Array) -> tuple[list[Array], list[Array]]:
        """Return nodes and weights along each coordinate."""
        x, w = trapezoid(self.h)
        return [x] * self.dims, [w] * self.dims

    def label(self, x: Array) -> tuple[Array, Array]:
        """Return y (N, k) and the products y_a y_b, a <= b, at x* (N, dims)."""
        y = self.teacher(np.ascontiguousarray(x @ self.B.T))
        i, j = np.triu_indices(self.k)
        return y, y[:, i] * y[:, j]

    def student(self, a: Array, x: Array) -> tuple[Array, Array, Array]:
        """Return f (N, k), J B (N, k, dims) and J E (N, k, e parameters) at x (N, dims)."""
        s = self.setup
        z = np.ascontiguousarray(x @ self.B.T + s.c + s.E @ a)
        f = self.task.output(z)
        J = np.empty((len(z), self.k, s.L))
        for i in range(
            self.k
        ):  # delta = J^T (f - y), so a label that is off by one in an output gives its row of J
            y = f.copy()
            y[:, i] -= 1
            J[:, i] = self.task.evaluate_labels(y, z)[1]
        return f, J @ self.B, J @ s.E


class Reduced:
    """A tied network, which depends on u = ubar + s_u x only; quadrature over the rest gives the
    label's mean and mean square given its part along u.
    """

    dims, k, closed = 1, 1, True

    def __init__(self, setup: Setup, h: float, shift: float) -> None:
        self.setup, self.h = setup, h
        root = np.sqrt(setup.L)
        self.su = np.sqrt(setup.total) / root
        self.slope = setup.E.sum(axis=0) / root
        self.Ex = self.slope[None, :] / self.su
        self.sigma = setup.sigma
        self.teacher = setup.task.teacher._compiled()
        self.along = setup.C.sum(axis=1) / np.sqrt(setup.total)
        variance, directions = np.linalg.eigh(setup.C - np.outer(self.along, self.along))
        keep = variance > 1e-12 * np.diag(setup.C).max()
        self.rest = directions[:, keep] * np.sqrt(variance[keep])
        x, w = trapezoid(h, shift=shift)
        inner = [x] * self.rest.shape[1]
        grid = (
            np.stack([g.reshape(-1) for g in np.meshgrid(*inner, indexing="ij")], axis=-1)
            if inner
            else np.zeros((1, 0))
        )
        weights = np.ones(1)
        for _ in inner:
            weights = np.multiply.outer(weights, w).reshape(-1)
        heavy = weights > 1e-22
        self.offsets, self.weights = grid[heavy] @ self.rest.T, weights[heavy]

    def nodes(self, a: Array) -> tuple[list[Array], list[Array]]:
        ubar = self.setup.c.sum() / np.sqrt(self.setup.L) + self.slope @ a
        cuts = self.setup.cuts(np.array([ubar]), np.array([self.su]), 10.0)
        x, w = panels(
            cuts, 16 if self.h < 0.25 else 12, (0.66 + self.h) / max(1.0, self.su), 10.0
        )  # the edges of no two rules are the same
        return [x[0]], [w[0]]

    def label(self, x: Array) -> tuple[Array, Array]:
        out = np.empty((2, len(x), 1))
        step = max(1, CHUNK // len(self.weights))
        for i in range(0, len(x), step):
            t = x[i : i + step]
            y = self.teacher(
                np.ascontiguousarray(
                    (t[:, :, None] * self.along + self.offsets).reshape(-1, self.setup.L)
                )
            )[:, 0].reshape(len(t), -1)
            out[0, i : i + step, 0], out[1, i : i + step, 0] = (
                y @ self.weights,
                (y * y) @ self.weights,
            )
        return out[0], out[1]

    def student(self, a: Array, x: Array) -> tuple[Array, Array, Array]:
        ubar = self.setup.c.sum() / np.sqrt(self.setup.L) + self.slope @ a
        f, df = self.sigma(np.ascontiguousarray(ubar + self.su * x[:, 0]))
        return f[:, None], (df * self.su)[:, None, None], df[:, None, None] * self.slope


class _Rule:
    """One resolution of the quadrature. `shift` moves the places at which the link is evaluated."""

    def __init__(self, setup: Setup, h: float, local: int, shift: float = 0.0) -> None:
        self.setup, self.local = setup, local
        self.side: Attentive | Reduced = (
            Reduced(setup, h, shift) if setup.network else Attentive(setup, h)
        )
        self.h, self.dims, self.k = h, self.side.dims, self.side.k
        x, w = trapezoid(h, shift=shift)
        self.sources, self.weights = x, w
        grid = _product([x] * self.dims)
        y, yy = self.side.label(grid)
        weights = _weights([w] * self.dims)
        diagonal = [
            i for i, (a, b) in enumerate(zip(*np.triu_indices(self.k), strict=True)) if a == b
        ]
        self.label_square = float(weights @ yy[:, diagonal].sum(axis=1))
        n = len(x)
        self.y, self.yy = (v.reshape(*[n] * self.dims, -1) for v in (y, yy))
        self.cache: OrderedDict[Any, Any] = OrderedDict()

    def __call__(self, a: Array, m: Array, order: int) -> Moments:
        s = self.setup
        n, p = len(m), s.ne + 1
        out = Moments(
            np.zeros(n), np.zeros((n, p)), np.zeros((n, p, p)) if order > 1 else None, np.zeros(n)
        )
        starts, which = np.unique(a, axis=0, return_inverse=True)
        which = which.reshape(-1)
        shared = isinstance(self.side, Attentive)  # the nodes do not depend on a
        for overlap in np.unique(m):
            tables: Any = None
            for i in np.unique(which[m == overlap]):
                field = self._fields(starts[i], order)
                if tables is None or not shared:
                    tables = self._tables(overlap, field, order)
                self._contract(
                    out,
                    np.flatnonzero((m == overlap) & (which == i)),
                    overlap,
                    field,
                    tables,
                    order,
                )
        return out

    def _fields(self, a: Array, order: int) -> dict[str, Any]:
        """Return all numbers of the student at a that are contracted with the label, weighted, with
        (nodes, outputs) as one axis.
        """
        key = (a.tobytes(), order)
        if key in self.cache:
            self.cache.move_to_end(key)
            return self.cache[key]  # type: ignore[no-any-return]
        axes, weights = self.side.nodes(a)
        x, w = _product(axes), _weights(weights)
        heavy = w > 1e-22
        x, w = x[heavy], w[heavy]
        f, Jx, Ja = self.side.student(a, x)
        g = np.einsum("nk,nki->ni", f, Jx)
        i, j = np.triu_indices(self.k)
        pairs = np.einsum("nai,nbi->nab", Jx, Jx)[:, i, j] * np.where(i == j, 1.0, 2.0)
        wk = w[:, None, None]
        field: dict[str, Any] = {
            "axes": axes,
            "heavy": heavy,
            "x": x,
            "f": (w[:, None] * f).reshape(-1),
            "Ja": _flat(wk * Ja),
            "Jx": _flat(wk * Jx),
            "V1": (w[:, None] * np.einsum("ni,nki->nk", g, Jx)).reshape(-1),
            "V2": (w[:, None] * pairs).reshape(-1),
            "F": 0.5 * w @ (f * f).sum(1),
            "Fa": np.einsum("n,nk,nka->a", w, f, Ja),
            "V0": w @ (g * g).sum(1),
            "noise": w @ np.square(Jx).sum((1, 2)),
        }
        if order > 1:
            fa = np.einsum("nk,nka->na", f, Ja)
            field["xJx"] = _flat(
                (wk * Jx)[..., :, None] * x[:, None, None, :]
            )  # (.., i, j) = x_j J_i
            field["xJa"] = _flat((wk * Ja)[..., :, None] * x[:, None, None, :])
            field["Faa"] = np.einsum("n,na,ni,ib->ab", w, fa, x, self.side.Ex)
        self.cache[key] = field
        if len(self.cache) > (256 if self.dims < 3 else 8):
            self.cache.popitem(last=False)
        return field

    def _tables(
        self, m: float, field: dict[str, Any], order: int
    ) -> tuple[dict[tuple[int, ...], Array], Array]:
        """Return Y_alpha for all alpha needed, with (nodes, outputs) as one axis, and the
        conditional mean of the products of labels.
        """
        s = np.sqrt(max(0.0, (1 - m) * (1 + m)))
        wanted = _indices(self.dims, order)
        top = max((max(i) for i in wanted), default=0)
        if s >= 1.35 * self.h:
            matrices = [kernel(self.sources, m * axis, s, top) for axis in field["axes"]]
            Y = {
                i: _apply([matrix[o] for matrix, o in zip(matrices, i, strict=True)], self.y)[
                    field["heavy"]
                ].reshape(-1)
                for i in wanted
            }
            return Y, _apply([matrix[0] for matrix in matrices], self.yy)[field["heavy"]].reshape(
                -1
            )
        offsets, weights = local_rule(float(s), 0.03, self.local, top)
        grid = _product([offsets] * self.dims)
        combined = np.stack([_weights([weights[o] for o in i]) for i in wanted])
        heavy = (np.abs(combined) > 1e-16 * np.abs(combined).max(axis=1, keepdims=True)).any(axis=0)
        grid, combined = grid[heavy], combined[:, heavy]
        x = field["x"]
        Y = {i: np.empty((len(x), self.k)) for i in wanted}
        YY = np.empty((len(x), self.yy.shape[-1]))
        step = max(1, CHUNK // len(grid))
        for b in range(0, len(x), step):
            part = x[b : b + step]
            y, yy = self.side.label((grid[:, None, :] + m * part).reshape(-1, self.dims))
            for i, v in zip(wanted, combined @ y.reshape(len(grid), -1), strict=True):
                Y[i][b : b + step] = v.reshape(len(part), -1)
            YY[b : b + step] = (
                combined[wanted.index((0,) * self.dims)] @ yy.reshape(len(grid), -1)
            ).reshape(len(part), -1)
        return {i: v.reshape(-1) for i, v in Y.items()}, YY.reshape(-1)

    def _contract(
        self, out: Moments, rows: Array, m: float, field: dict[str, Any], tables: Any, order: int
    ) -> None:
        s, D = self.setup, self.dims
        Y, YY = tables

        def dot(
            y: Array, x: Array
        ) -> Any:  # short products: the library's threads would cost more than they save
            return np.einsum("n,n...->...", y, x)

        c, noise = s.factor or 1.0, s.task.noise
        zero, unit = (0,) * D, np.eye(D, dtype=int)

        def index(*ones: int) -> tuple[int, ...]:
            return tuple(unit[list(ones)].sum(axis=0).tolist())

        out.value[rows] = c * (
            0.5 * (self.label_square + self.k * noise) - dot(Y[zero], field["f"]) + field["F"]
        )
        out.V[rows] = (
            c
            * c
            * (
                field["V0"]
                - 2 * dot(Y[zero], field["V1"])
                + dot(YY, field["V2"])
                + noise * field["noise"]
            )
        )
        if order < 1:
            return
        first = [Y[index(i)] for i in range(D)]
        out.gradient[rows, : s.ne] = c * (field["Fa"] - dot(Y[zero], field["Ja"]))
        out.gradient[rows, s.ne] = -c * sum(dot(first[i], field["Jx"][:, i]) for i in range(D))
        if order < 2 or out.hessian is None:
            return
        mm = sum(
            dot(Y[index(i, j)], field["xJx"][:, i * D + j])
            - m * (dot(Y[index(i, j, j)], field["Jx"][:, i]))
            for i in range(D)
            for j in range(D)
        )
        ne = s.ne
        by_node = field["xJa"].reshape(len(Y[zero]), ne, D)
        ma = sum(
            dot(first[i], by_node[:, :, i]) - m * (dot(Y[index(i, i)], field["Ja"]))
            for i in range(D)
        )
        aa = sum(
            np.multiply.outer(
                dot(Y[zero], by_node[:, :, i]) - m * (dot(first[i], field["Ja"])), self.side.Ex[i]
            )
            for i in range(D)
        )
        aa = field["Faa"] - aa if self.side.closed else np.full((ne, ne), np.nan)
        h = np.zeros((ne + 1, ne + 1))
        h[:ne, :ne] = (aa + aa.T) / 2
        h[:ne, ne] = h[ne, :ne] = -ma
        h[ne, ne] = -mm
        out.hessian[rows] = c * h


class TensorEngine:
    """Tensor quadrature at two resolutions; the error is their difference, about that of the
    coarser one.

    Your own link is a black box; at jumps and kinks convergence is only algebraic. So five rules at
    different shifts are compared, and the error estimate is five times their largest difference.
    """

    method = "tensor quadrature over the fields"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        teacher = setup.task.teacher
        few = setup.network or setup.L <= 2
        self.rules = (
            [_Rule(setup, 0.17, 18), _Rule(setup, 0.21, 14)]
            if few
            else [_Rule(setup, 0.34, 8), _Rule(setup, 0.42, 7)]
        )
        self.safety = 1.0
        if isinstance(teacher, models.SSI) and not isinstance(teacher.link, (str, models.Hermite)):
            self.safety, self.method = (
                5.0,
                "tensor quadrature over the fields (estimate: five rules)",
            )
            self.rules += [
                _Rule(setup, (0.17 if few else 0.34) * by, 16 if few else 8, shift)
                for by, shift in ((1.0, 0.382), (1.09, 0.724), (1.17, 0.146))
            ]

    def estimate(self, a: Array, m: Array, q: Array | None, order: int) -> Moments:
        """Return the result of the better rule only."""
        return self.rules[0](a, m[:, 0], order)

    def moments(self, a: Array, m: Array, q: Array | None, order: int) -> tuple[Moments, Moments]:
        """See NetworkEngine."""
        fine, *others = (rule(a, m[:, 0], order) for rule in self.rules)
        largest = fine.gap(others[0])
        for other in others[1:]:
            largest = largest.larger(fine.gap(other))
        size = (1e-14 + self.setup.noise) * (fine.value.max(initial=0) + self.rules[0].label_square)
        floor = Moments(size, size, None if fine.hessian is None else 10 * size, size)
        return fine, floor.plus(largest, self.safety)


def _product(axes: list[Array]) -> Array:
    return np.stack([g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _weights(weights: list[Array]) -> Array:
    out = np.ones(1)
    for w in weights:
        out = np.multiply.outer(out, w).reshape(-1)
    return out


def _flat(x: Array) -> Array:
    """Reshape (nodes, outputs, ...) to (nodes * outputs, ...)."""
    return np.ascontiguousarray(x.reshape(x.shape[0] * x.shape[1], -1))


def _apply(matrices: list[Array], y: Array) -> Array:
    """Apply each matrix along its axis; nodes become one axis."""
    for axis, matrix in enumerate(matrices):
        y = np.moveaxis(np.tensordot(matrix, y, axes=(1, axis)), 0, axis)
    return y.reshape(-1, y.shape[-1])


def _indices(dims: int, order: int) -> list[tuple[int, ...]]:
    unit = np.eye(dims, dtype=int)
    found = {(0,) * dims}
    if order > 0:
        found |= {tuple(u.tolist()) for u in unit}
    if order > 1:
        found |= {tuple((a + b).tolist()) for a, b in itertools.product(unit, unit)} | {
            tuple((a + 2 * b).tolist()) for a, b in itertools.product(unit, unit)
        }
    return sorted(found)


__all__ = ["TensorEngine"]
