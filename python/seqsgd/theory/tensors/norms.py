"""Operator norm of a symmetric tensor: max over unit vectors x of |<C, x^(x)k>|, exact or between
certified bounds.

It is exact for order 1 and 2, a single monomial, an orthogonally decomposable tensor, and a direct
sum of such, whose norm is the largest of its blocks' (for k >= 2, sum_b r_b^k <= max_b where sum_b
r_b^2 = 1).

The lower bound is the value at a unit vector, found by the symmetric higher-order power method
(Kolda, Mayo, SIAM J. Matrix Anal. 32, 2011) from many starts. The upper bound is the least of

- the Frobenius norm, and the spectral norm of the unfolding to order floor(k/2) x ceil(k/2);
- the sum over monomials of their exact norms (a nuclear bound);
- a grid: along the great circle from the maximiser, <C, x^(x)k> is a trigonometric polynomial of
  degree k, so within an angle t <= pi/(2k) of it it stays above cos(k t) times the maximum (M.
  Riesz). The largest value on a grid of covering angle t, divided by cos(k t), is a bound;
- an approximate orthogonal decomposition: max |lambda_i| plus the Frobenius norm of the remainder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..._checks import Float64
from ..._lazy import scipy
from .entries import Entries, Int64, degrees, multiplicities
from .odeco import odeco

ROUNDING = 2.0**-46  # relative, generous: of sums and eigenvalues of the sizes met here
GRID_POINTS = 400_000
STARTS = 64


@dataclass(frozen=True, eq=False)
class NormBounds:
    """Bounds of an operator norm: lower <= ||C||_op <= upper.

    They are certain for analytic tensors. For integrated tensors the error estimates widen both, by
    five standard errors if the errors are statistical.

    Attributes
    ----------
    lower, upper : float
    exact : bool
        A closed form was used; lower and upper then differ by rounding and the tensor's errors.
    method : str
        The method of the upper bound.
    vector : (L,) float64
        The unit vector at which |<C, x^(x)k>| = lower.
    """

    lower: float
    upper: float
    exact: bool
    method: str
    vector: Float64

    @property
    def value(self) -> float:
        """The middle of the bounds."""
        return (self.lower + self.upper) / 2

    def __repr__(self) -> str:
        if self.exact:
            return f"NormBounds({self.value:.10g}, exact: {self.method})"
        return f"NormBounds({self.lower:.8g} to {self.upper:.8g}, {self.method})"


def operator_norm(C: Entries, rng: np.random.Generator) -> NormBounds:
    """Compute bounds of the whole tensor from those of its blocks."""
    slack = C.slack
    if C.order == 0:
        size = abs(float(C.value.sum()))
        return NormBounds(max(size - slack, 0.0), size + slack, True, "a number", np.eye(1, C.L)[0])
    if C.order == 1:
        x = np.zeros(C.L)
        x[C.index[:, 0]] = C.value
        size = float(np.linalg.norm(x))
        return _widened(
            NormBounds(
                size, size, True, "norm of a vector", x / size if size else np.eye(1, C.L)[0]
            ),
            slack,
        )
    found = [(tokens, _block(B, rng)) for tokens, B in C.blocks()]
    if not found:
        return NormBounds(0.0, slack, True, "zero", np.eye(1, C.L)[0])
    tokens, best = max(found, key=lambda item: item[1].lower)
    top = max((b for _, b in found), key=lambda b: b.upper)
    vector = np.zeros(C.L)
    vector[tokens] = best.vector
    exact = all(b.exact or b.upper <= best.lower for _, b in found)
    return _widened(NormBounds(best.lower, top.upper, exact, top.method, vector), slack)


def _widened(b: NormBounds, slack: float) -> NormBounds:
    return NormBounds(
        max(b.lower * (1 - ROUNDING) - slack, 0.0),
        b.upper * (1 + ROUNDING) + slack,
        b.exact,
        b.method,
        b.vector,
    )


def _block(C: Entries, rng: np.random.Generator) -> NormBounds:
    if len(C.value) == 1:
        return _monomial(C)
    if C.order == 2:
        return _matrix(C)
    vector, lower = power_method(C, rng)
    decomposition = odeco(C, ROUNDING)
    if len(decomposition.values) and (top := float(np.abs(decomposition.values).max())) > lower:
        vector, lower = decomposition.vectors[int(np.abs(decomposition.values).argmax())], top
    uppers = {
        "Frobenius norm": C.norm,
        "sum of monomials": float(_monomial_norms(C).sum()),
        "unfolding": unfolding_norm(C),
    }
    if len(decomposition.values):
        uppers["orthogonal decomposition"] = (
            float(np.abs(decomposition.values).max()) + decomposition.residual * C.norm
        )
    if C.L <= 6 and (bound := grid_bound(C)) is not None:
        uppers["grid"] = max(bound, lower)
    method = min(uppers, key=lambda name: uppers[name])
    upper = max(uppers[method], lower)
    exact = method == "orthogonal decomposition" and upper - lower <= 1e-12 * upper
    return NormBounds(lower, upper, exact, method, vector)


def _monomial_norms(C: Entries) -> Float64:
    """Return the norms of monomials: the maximum of |c prod x_l^{n_l}| over the sphere is at x_l^2
    = n_l / k.
    """
    powers = degrees(C.index)[1] / C.order
    return np.asarray(
        np.abs(C.multiplicity * C.value)
        * np.prod(np.where(powers > 0, powers, 1.0) ** (powers * C.order / 2), axis=1)
    )


def _monomial(C: Entries) -> NormBounds:
    size = float(_monomial_norms(C)[0])
    tokens, powers = degrees(C.index)
    x = np.zeros(C.L)
    np.add.at(x, tokens[0], powers[0])
    return NormBounds(size, size, True, "a monomial", np.sqrt(x / C.order))


def _matrix(C: Entries) -> NormBounds:
    if C.L > 4000:
        off = C.index[:, 0] != C.index[:, 1]
        i, j = np.concatenate([C.index, C.index[off][:, ::-1]]).T
        M = scipy.sparse.coo_array(
            (np.concatenate([C.value, C.value[off]]), (i, j)), shape=(C.L, C.L)
        ).tocsr()
        values, vectors = scipy.sparse.linalg.eigsh(M, k=1, which="LM", v0=np.ones(C.L))
        residual = float(np.linalg.norm(M @ vectors[:, 0] - values[0] * vectors[:, 0]))
        size, row = abs(float(values[0])), float(np.abs(M).sum(axis=1).max())
        # Lanczos certifies an eigenvalue within the residual, not that it is the largest: the row
        # sums do
        return NormBounds(
            size - residual,
            max(row, size),
            row - size <= 1e-12 * row,
            "largest row sum",
            vectors[:, 0],
        )
    M = np.zeros((C.L, C.L))
    M[C.index[:, 0], C.index[:, 1]] = M[C.index[:, 1], C.index[:, 0]] = C.value
    values, vectors = np.linalg.eigh(M)
    i = int(np.abs(values).argmax())
    return NormBounds(
        abs(float(values[i])), abs(float(values[i])), True, "spectral norm", vectors[:, i]
    )


def power_method(
    C: Entries,
    rng: np.random.Generator,
    starts: int = STARTS,
    steps: int = 100,
    signs: tuple[float, ...] = (1.0, -1.0),
) -> tuple[Float64, float]:
    """Find a unit vector at which sign <C, x^(x)k> is large, for one of the signs, and that value.

    Shifted power iteration, with the shift adapted to each start.
    """
    work = max(len(C.value) * C.order, 1)
    x = rng.standard_normal((max(min(starts, 10**7 // work), 4), C.L))
    x = np.concatenate([x, np.ones((1, C.L))])  # what a tied network uses
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    sign = np.repeat(signs, len(x))[:, None]
    x = np.concatenate([x] * len(signs))
    shift = np.full((len(x), 1), 0.1 * C.norm)
    value = sign[:, 0] * C(x)
    for _ in range(min(steps, max(10**9 // (work * len(x)), 20))):
        moved = sign * C.contract(x) + shift * x
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        new = sign[:, 0] * C(moved)
        worse = new < value  # a shift of (k - 1) ||C|| always ascends
        x = np.where(worse[:, None], x, moved)
        shift = np.where(worse[:, None], np.minimum(2 * shift, C.order * C.norm), 0.7 * shift)
        done = not worse.any() and float((new - value).max()) <= 1e-15 * C.norm
        value = np.maximum(new, value)
        if done:
            break
    best = [_polished(C, x[i], float(sign[i, 0])) for i in np.argsort(-value)[:4]]
    return max(best, key=lambda pair: pair[1])


def _polished(C: Entries, x: Float64, sign: float) -> tuple[Float64, float]:
    """Refine the local maximum near x, which the power method approaches slowly where it is
    flat.
    """

    def f(y: Float64) -> tuple[float, Float64]:
        r = float(np.linalg.norm(y))
        u = y / r
        value, slope = float(C(u)), C.order * C.contract(u[None])[0]
        return -sign * value, -sign * (slope - (slope @ u) * u) / r

    found = scipy.optimize.minimize(
        f,
        x,
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0.0, "gtol": 1e-12 * C.norm, "maxiter": 200},
    ).x
    found /= np.linalg.norm(found)
    return max(((y, sign * float(C(y))) for y in (x, found)), key=lambda pair: pair[1])


def _splits(C: Entries, p: int) -> tuple[Int64, Int64, Float64]:
    """Return every entry at every way to split its row into two sorted rows of lengths p and k - p,
    without repetition, and its value there.
    """
    left, right, value = [], [], []
    for chosen in combinations(range(C.order), p):
        rest = [j for j in range(C.order) if j not in chosen]
        left.append(C.index[:, chosen])
        right.append(C.index[:, rest])
        value.append(C.value)
    both = np.concatenate([np.concatenate(left), np.concatenate(right)], axis=1)
    places, first = np.unique(both, axis=0, return_index=True)
    return places[:, :p], places[:, p:], np.concatenate(value)[first]


def unfolding_norm(C: Entries, largest: int = 2500) -> float:
    """Compute the spectral norm of the unfolding on symmetric vectors, block by block.

    A block that is too large is bounded by sqrt(||M||_1 ||M||_inf).
    """

    if math.comb(C.order, C.order // 2) * len(C.value) > 5_000_000:
        return math.inf
    rows, columns, value = _splits(C, C.order // 2)
    a, i = np.unique(rows, axis=0, return_inverse=True)
    b, j = np.unique(columns, axis=0, return_inverse=True)
    i, j = i.ravel(), j.ravel()
    entry = value * np.sqrt(multiplicities(a)[i] * multiplicities(b)[j])
    ends = (
        i.astype(np.int32),
        (len(a) + j).astype(np.int32),
    )  # SciPy 1.11's graphs take no other indices
    graph = scipy.sparse.coo_array(
        (np.ones(len(i)), ends), shape=(len(a) + len(b), len(a) + len(b))
    )
    _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    owner = np.asarray(label)[i]
    order = np.argsort(owner, kind="stable")
    top = 0.0
    for part in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
        r, at = np.unique(i[part], return_inverse=True)
        c, to = np.unique(j[part], return_inverse=True)
        M = scipy.sparse.coo_array(
            (entry[part], (at.ravel(), to.ravel())), shape=(len(r), len(c))
        ).tocsr()
        if min(M.shape) > largest:
            top = max(
                top,
                math.sqrt(float(np.abs(M).sum(axis=0).max()) * float(np.abs(M).sum(axis=1).max())),
            )
        else:
            top = max(top, float(np.linalg.norm(M.toarray(), 2)))
    return top


def grid_bound(C: Entries, points: int = GRID_POINTS) -> float | None:
    """Return the bound of the grid, or None if the grid would be too coarse.

    The grid consists of the faces of the cube, projected to the sphere, one of each pair of
    opposite points.
    """
    L, k = C.L, C.order
    budget = max(min(points, 4 * 10**8 // max(len(C.value) * k, 1)), 1)
    n = max(
        int((budget / L) ** (1 / (L - 1))), 1
    )  # cells along an edge; their centres are the grid
    chord = (
        math.sqrt(L - 1) / n
        # half the diagonal of a cell of side 2/n; putting points outside the ball on the sphere
        # brings
        # them no further apart
    )
    angle = 2 * math.asin(min(chord / 2, 1.0))
    if k * angle >= math.pi / 2:
        return None
    edge = (2 * np.arange(n) + 1) / n - 1
    face = np.stack(np.meshgrid(*[edge] * (L - 1), indexing="ij"), axis=-1).reshape(-1, L - 1)
    top = 0.0
    for axis in range(L):
        x = np.insert(face, axis, 1.0, axis=1)
        top = max(top, float(np.abs(C(x / np.linalg.norm(x, axis=1, keepdims=True))).max()))
    return top / math.cos(k * angle)


def one_sided(C: Entries, sign: float, rng: np.random.Generator) -> NormBounds:
    """Bound the maximum over unit vectors of sign <C, x^(x)k>, k >= 1.

    For odd k it is the operator norm; for even k it may be smaller, or not even positive.
    """
    both = operator_norm(C, rng)
    if C.order % 2 or sign * float(C(both.vector)) > 0:
        return both
    best = NormBounds(-math.inf, -math.inf, True, "zero", both.vector)
    for tokens, B in C.blocks():
        if B.order == 2:
            M = np.zeros((B.L, B.L))
            M[B.index[:, 0], B.index[:, 1]] = M[B.index[:, 1], B.index[:, 0]] = sign * B.value
            values, vectors = np.linalg.eigh(M)
            top, upper, exact, x = float(values[-1]), float(values[-1]), True, vectors[:, -1]
        else:
            x, top = power_method(B, rng, signs=(sign,))
            exact = (
                len(B.value) == 1
            )  # |x|^n of even degrees: 0 is reached where a token is missing, and nothing above it
            upper = top if exact else max(top, _block(B, rng).upper)
        if top > best.lower:
            wide = np.zeros(C.L)
            wide[tokens] = x
            best = NormBounds(top, max(best.upper, upper), best.exact and exact, "one side", wide)
        else:
            best = NormBounds(
                best.lower, max(best.upper, upper), best.exact and exact, "one side", best.vector
            )
    touched = np.unique(C.index[C.value != 0])
    if best.upper <= 0 and len(touched) < C.L:  # along a token without entries the value is 0
        return NormBounds(
            0.0,
            0.0,
            True,
            "a token without entries",
            np.eye(1, C.L, int(np.setdiff1d(np.arange(C.L), touched)[0]))[0],
        )
    return NormBounds(
        best.lower - C.slack, best.upper + C.slack, best.exact, best.method, best.vector
    )


__all__ = ["NormBounds", "one_sided", "operator_norm"]
