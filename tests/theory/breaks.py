"""Random functions with jumps and kinks whose Hermite coefficients are known, and how often stated
errors cover: run as a script for the tables of the docs.

A function is a sum of pieces u^j cos(w u), u^j sin(w u) or u^j on intervals; integrals over these
are elementary, and taken with 40 digits.
"""

from __future__ import annotations

import itertools
import math
import sys

import mpmath as mp
import numpy as np

mp.mp.dps = 40
INF = mp.inf


class Known:
    """A function in float64 and the pieces (low, high, [coefficients of u^j], w) of it in exact
    numbers; exp(i w u) enters by its imaginary part."""

    def __init__(self, name, f, slope, pieces):
        self.name, self.f, self.slope, self.pieces = name, f, slope, pieces

    def coefficients(self, order, shift=0.0, product=None):
        """E[g(u + shift) He_k(u)], exactly. `product`: of g with another function of real pieces on
        the same intervals, as polynomials."""
        total = [mp.mpf(0)] * (order + 1)
        s = mp.mpf(shift)
        for low, high, poly, w in self.pieces if product is None else product:
            a, b = low - s, high - s
            moved = [
                sum(poly[n] * mp.binomial(n, j) * s ** (n - j) for n in range(j, len(poly)))
                for j in range(len(poly))
            ]
            part = _moments(a, b, moved, mp.mpf(w), s, order)
            total = [t + (p if w == 0 else mp.im(p)) for t, p in zip(total, part)]
        return [float(mp.re(t)) for t in total]


def _moments(a, b, poly, w, s, order):
    """int_a^b p(u) exp(i w (u + s)) He_k(u) phi(u) du, k = 0 .. order, by parts. For w != 0 p is a
    constant."""
    phi = {x: (mp.mpf(0) if mp.isinf(x) else mp.npdf(x)) for x in (a, b)}
    he = {x: [mp.mpf(0)] * (order + 1) if mp.isinf(x) else _he(x, order) for x in (a, b)}

    def edge(k, j):  # [-u^j He_{k-1} phi exp(iw(u+s))]_a^b
        return sum(
            (-1 if x is b or x == b else 1)
            * (0 if mp.isinf(x) else x**j * he[x][k - 1] * phi[x] * mp.expj(w * (x + s)))
            for x in ((a, b))
        )

    if w != 0:

        def tail(x):
            return (
                mp.mpf(2)
                if x == -INF
                else mp.mpf(0)
                if x == INF
                else mp.erfc((x - 1j * w) / mp.sqrt(2))
            )

        out = [poly[0] * mp.expj(w * s) * mp.exp(-w * w / 2) * (tail(a) - tail(b)) / 2]
        for k in range(1, order + 1):
            out.append(poly[0] * edge(k, 0) + 1j * w * out[-1])
        return out
    M = {}
    for j in range(len(poly)):
        if j == 0:
            M[0, 0] = mp.ncdf(b) - mp.ncdf(a) if a < 0 else mp.ncdf(-a) - mp.ncdf(-b)
        else:
            M[j, 0] = sum(
                (-1 if x == b else 1) * (0 if mp.isinf(x) else x ** (j - 1) * phi[x])
                for x in (a, b)
            ) + (j - 1) * M.get((j - 2, 0), 0)
        for k in range(1, order + 1):
            M[j, k] = edge(k, j) + (j * M[j - 1, k - 1] if j else 0)
    return [sum(c * M[j, k] for j, c in enumerate(poly)) for k in range(order + 1)]


def _he(x, order):
    out = [mp.mpf(1), x]
    for k in range(1, order):
        out.append(x * out[-1] - k * out[-2])
    return out[: order + 1]


def _value(c, x):
    total = mp.mpf(0)
    for coefficient in reversed(c):
        total = total * x + coefficient
    return total


def _real_roots(c):
    """Of sum_j c_j x^j: NumPy's, polished by Newton's method in 40 digits."""
    slope = [j * x for j, x in enumerate(c)][1:]
    out = []
    for r in np.roots([float(x) for x in reversed(c)]):
        x = mp.mpc(r)
        for _ in range(12):
            x -= _value(c, x) / _value(slope, x)
        if abs(mp.im(x)) < mp.mpf(10) ** -25:
            out.append(mp.re(x))
    return out


def _linear(parts):
    """A piecewise linear function from breaks b_i and (value, slope) on the right of each: pieces,
    f and its slope. parts: [(low, high, c0, c1)]."""
    pieces = [(mp.mpf(a), mp.mpf(b), [mp.mpf(c0), mp.mpf(c1)], 0) for a, b, c0, c1 in parts]
    edges = np.array([float(a) for a, *_ in parts[1:]])
    c0, c1 = np.array([float(p[2]) for p in parts]), np.array([float(p[3]) for p in parts])

    def f(u):
        i = np.searchsorted(edges, u, side="left")
        return c0[i] + c1[i] * u

    return f, lambda u: c1[np.searchsorted(edges, u, side="left")], pieces


def random_function(rng, smooth_slope=False):
    """One of the families, with random parameters; breaks may be anywhere, very close to 0, or to
    each other."""
    kinds = [
        "relu",
        "abs",
        "step",
        "several",
        "leaky",
        "hardtanh",
        "triangle",
        "close",
        "clipped",
        "floor",
        "sine",
    ]
    kind = kinds[rng.integers(len(kinds) if not smooth_slope else 6)]

    def place():
        how = rng.integers(4)
        if how == 0:
            return float(rng.choice([-1, 1]) * 10.0 ** rng.uniform(-13, -1))
        if how == 1:
            return float(np.round(rng.normal(), 1))
        return float(rng.normal() * rng.choice([0.05, 1.0, 3.0]))

    b = place()
    if kind == "relu":
        return Known(
            kind,
            lambda u: np.maximum(u - b, 0),
            lambda u: (u > b) * 1.0,
            [(mp.mpf(b), INF, [-mp.mpf(b), mp.mpf(1)], 0)],
        )
    if kind == "abs":
        return Known(
            kind,
            lambda u: np.abs(u - b),
            lambda u: np.sign(u - b),
            [
                (mp.mpf(b), INF, [-mp.mpf(b), mp.mpf(1)], 0),
                (-INF, mp.mpf(b), [mp.mpf(b), mp.mpf(-1)], 0),
            ],
        )
    if kind == "step":
        return Known(
            kind, lambda u: (u > b) * 1.0, lambda u: 0 * u, [(mp.mpf(b), INF, [mp.mpf(1)], 0)]
        )
    if kind == "leaky":
        s = float(rng.uniform(-0.5, 0.9))
        return Known(
            kind,
            lambda u: np.where(u > b, u - b, s * (u - b)),
            lambda u: np.where(u > b, 1.0, s),
            [
                (mp.mpf(b), INF, [-mp.mpf(b), mp.mpf(1)], 0),
                (-INF, mp.mpf(b), [-mp.mpf(b) * s, mp.mpf(s)], 0),
            ],
        )
    if kind == "hardtanh":
        c = b + float(abs(place())) + 1e-3
        return Known(
            kind,
            lambda u: np.clip(u, b, c),
            lambda u: ((u > b) & (u < c)) * 1.0,
            [
                (-INF, mp.mpf(b), [mp.mpf(b)], 0),
                (mp.mpf(b), mp.mpf(c), [mp.mpf(0), mp.mpf(1)], 0),
                (mp.mpf(c), INF, [mp.mpf(c)], 0),
            ],
        )
    if kind in ("several", "close"):
        n = int(rng.integers(2, 7))
        at = (
            sorted({place() for _ in range(n)})
            if kind == "several"
            else sorted(
                {
                    b,
                    *(
                        float(b + s)
                        for s in rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-10, -1, n)
                    ),
                }
            )
        )
        c0, c1 = rng.normal(size=len(at) + 1), rng.normal(size=len(at) + 1)
        if rng.integers(2):  # no jumps
            for i, x in enumerate(at):
                c0[i + 1] = c0[i] + (c1[i] - c1[i + 1]) * x
        parts = [(a, z, float(p), float(q)) for a, z, p, q in zip([-INF, *at], [*at, INF], c0, c1)]
        return Known(kind, *_linear(parts))
    if kind == "triangle":
        w, t = float(rng.uniform(0.3, 3.0)), float(rng.uniform())
        pieces = []
        for n in range(math.floor(-17 * w) - 2, math.ceil(17 * w) + 2):
            for low, sign in (
                (2 * n - mp.mpf(t), 1),
                (2 * n + 1 - mp.mpf(t), -1),
            ):  # |(w u + t) mod 2 - 1|
                a, z = low / mp.mpf(w), (low + 1) / mp.mpf(w)
                top = 2 * n + 1
                pieces.append((a, z, [sign * (top - mp.mpf(t)), -sign * mp.mpf(w)], 0))
        return Known(
            kind,
            lambda u: np.abs(np.mod(w * u + t, 2) - 1),
            lambda u: np.where(np.mod(w * u + t, 2) > 1, w, -w),
            pieces,
        )
    if kind == "floor":
        w, t = float(rng.uniform(0.2, 2.5)), float(rng.uniform())
        pieces = [
            ((n - mp.mpf(t)) / mp.mpf(w), (n + 1 - mp.mpf(t)) / mp.mpf(w), [mp.mpf(n)], 0)
            for n in range(math.floor(-17 * w) - 2, math.ceil(17 * w) + 2)
        ]
        return Known(kind, lambda u: np.floor(w * u + t), lambda u: 0 * u, pieces)
    if kind == "clipped":
        p = [float(x) for x in rng.normal(size=4)]
        low, high = -float(rng.uniform(0.1, 1)), float(rng.uniform(0.1, 1))
        roots = []
        for level in (low, high):
            roots += _real_roots(
                [mp.mpf(p[0]) - mp.mpf(level), mp.mpf(p[1]), mp.mpf(p[2]), mp.mpf(p[3])]
            )
        edges = [-INF, *sorted(roots), INF]
        pieces = []
        for a, z in itertools.pairwise(edges):
            middle = (
                (a + z) / 2
                if not (mp.isinf(a) or mp.isinf(z))
                else (z - 1 if mp.isinf(a) and not mp.isinf(z) else a + 1)
            )
            y = _value([mp.mpf(x) for x in p], middle)
            pieces.append(
                (
                    a,
                    z,
                    [mp.mpf(low)]
                    if y < low
                    else [mp.mpf(high)]
                    if y > high
                    else [mp.mpf(x) for x in p],
                    0,
                )
            )

        def f(u):
            return np.clip(((p[3] * u + p[2]) * u + p[1]) * u + p[0], low, high)

        return Known(
            kind,
            f,
            lambda u: np.where(
                (f(u) > low) & (f(u) < high), (3 * p[3] * u + 2 * p[2]) * u + p[1], 0.0
            ),
            pieces,
        )
    w = float(rng.uniform(0.3, 6.0))
    return Known(
        kind,
        lambda u: np.sign(u - b) * np.sin(w * u),
        lambda u: np.sign(u - b) * w * np.cos(w * u),
        [(mp.mpf(b), INF, [mp.mpf(1)], w), (-INF, mp.mpf(b), [mp.mpf(-1)], w)],
    )


def coefficient_ratios(n, order, seed, shifted=False):
    """|error| / stated error of E[g He_k], for n random functions: {kind: (functions, order +
    1)}."""
    from seqsgd.theory.expectation.line import Line

    rng, out = np.random.default_rng(seed), {}
    for _ in range(n):
        g = random_function(rng)
        shift = float(rng.normal()) if shifted else 0.0
        value, error = Line(
            lambda u: np.asarray(g.f(u), dtype=np.float64)[:, None], order, shift
        ).coefficients()
        exact = np.array(g.coefficients(order, shift))
        ratio = np.abs(value[:, 0] - exact) / np.maximum(error[:, 0], 1e-300)
        out.setdefault(g.name, []).append(ratio)
    return {k: np.array(v) for k, v in sorted(out.items())}


def risk_ratios(n, seed):
    """|error| / stated error of R, its gradient and Hessian in m, and V, for y = a He_2(z*) + b z*,
    L = 1, an injected c and a random activation."""
    import seqsgd as sq
    from seqsgd.theory.expectation.line import Mesh
    from seqsgd.theory.expectation.link_terms import terms_of
    from seqsgd.theory.expectation.network import NetworkEngine
    from seqsgd.theory.expectation.setup import Setup

    rng, out = np.random.default_rng(seed), {}
    while n:
        g = random_function(rng)
        if g.name == "sine":
            continue
        n -= 1
        a, b, c, m = (
            float(rng.normal()),
            float(rng.normal()),
            float(rng.choice([0.0, rng.normal()])),
            float(rng.uniform(-1, 1)),
        )
        task = sq.Task(
            sq.SSI(sq.Hermite([(a, {1: 2}), (b, {1: 1})]), 1),
            sq.Tied((_zero, _zero), position=sq.Injected(c)),
        )
        setup = Setup(task)
        setup.mesh = Mesh(lambda u: np.stack([g.f(u) + 0.0, g.slope(u) + 0.0], axis=1))
        engine = NetworkEngine(setup, terms_of(task.teacher))
        engine.integrals.sigma = lambda u: (g.f(u) + 0.0, g.slope(u) + 0.0)
        best, error = engine.moments(np.zeros((1, 0)), np.array([[m]]), None, 2)
        one = g.coefficients(2, c)
        slopes = [
            [j * p for j, p in enumerate(poly)][1:] or [mp.mpf(0)] for _, _, poly, _ in g.pieces
        ]

        def of(*powers):
            """E[sigma^p sigma'^q He_k], k to 4."""
            product = []
            for (low, high, poly, _), slope in zip(g.pieces, slopes):
                whole = [mp.mpf(1)]
                for factor, power in zip((poly, slope), powers):
                    for _ in range(power):
                        whole = [
                            sum(
                                whole[i] * factor[j - i]
                                for i in range(len(whole))
                                if 0 <= j - i < len(factor)
                            )
                            for j in range(len(whole) + len(factor) - 1)
                        ]
                product.append((low, high, whole, 0))
            return g.coefficients(4, c, product)

        mean = {2: a * m**2, 1: b * m}
        square = {
            0: 2 * a * a + b * b,
            1: 4 * a * b * m,
            2: (4 * a * a + b * b) * m**2,
            3: 2 * a * b * m**3,
            4: a * a * m**4,
        }
        gg, fgg, ffgg = of(0, 2), of(1, 2), of(2, 2)
        exact = {
            "value": 0.5 * (2 * a * a + b * b)
            - a * m**2 * one[2]
            - b * m * one[1]
            + 0.5 * of(2, 0)[0],
            "gradient": -2 * a * m * one[2] - b * one[1],
            "hessian": -2 * a * one[2],
            "V": ffgg[0]
            - 2 * sum(x * fgg[k] for k, x in mean.items())
            + sum(x * gg[k] for k, x in square.items()),
        }
        for name, x in exact.items():
            found, doubt = (float(np.ravel(getattr(y, name))[0]) for y in (best, error))
            out.setdefault(name, []).append(
                0.0 if found == x else abs(found - x) / max(doubt, 1e-300)
            )
    return {k: np.array(v) for k, v in out.items()}


def _zero(u):
    return 0.0


def link_ratios(L, n, seed, orders=(1, 2, 3)):
    """The same for links of L tokens: 1{v . z > c}, its products with |q . z| and with relu along
    orthogonal directions, max(z_1, z_2), boxes."""
    from seqsgd.theory.expectation import cubature

    rng, out = np.random.default_rng(seed), {}
    for i in range(n):
        name, f, parts = _random_link(L, rng)
        for k in orders:
            rule = cubature.rule(L, k, 1, None, True)
            C = cubature.integrate(lambda z: f(z)[:, None], 1, rule, k, int(rng.integers(2**31)))[
                0
            ][0]
            exact = np.zeros(len(C.value))
            for (
                weight,
                factors,
            ) in parts:  # sums of products of functions along orthonormal directions
                exact += weight * _entries(factors, C.index, L, k)
            out.setdefault(name, []).extend((np.abs(C.value - exact) / C.error).tolist())
    return {k: np.array(v) for k, v in sorted(out.items())}


def _entries(factors, index, L, k):
    """Entries of C_k of prod_i g_i(q_i . z): d^k / dx^k of prod_i sum_j c_ij (q_i . x)^j / j! at
    0."""
    out = np.zeros(len(index))
    for row, tokens in enumerate(index):
        total = 0.0
        for which in np.ndindex(*[len(factors)] * k):  # each derivative acts on one of the factors
            counts = [which.count(i) for i in range(len(factors))]
            total += math.prod(c[n] for (c, _), n in zip(factors, counts)) * math.prod(
                factors[i][1][t] for i, t in zip(which, tokens)
            )
        out[row] = total
    return out


def _random_link(L, rng):
    def step(c):
        return [
            float(mp.ncdf(-c)),
            *(float(_he(mp.mpf(c), 4)[k - 1] * mp.npdf(c)) for k in range(1, 4)),
        ]

    c = float(rng.normal() * rng.choice([0.03, 1.0]))
    q = np.linalg.qr(rng.normal(size=(L, L)))[0].T
    kind = [
        "half space, axis",
        "half space",
        "half space, small integers",
        "max",
        "step times |.|",
        "box",
    ][rng.integers(3 if L == 1 else 6)]
    if kind == "half space, axis":
        v = np.eye(L)[rng.integers(L)]
    elif kind == "half space, small integers":
        v = rng.integers(-3, 4, L).astype(float)
        v = v if v.any() else np.ones(L)
    else:
        v = q[0]
    if kind.startswith("half"):
        s = np.linalg.norm(v)
        return kind, lambda z: (z @ v > c * s) * 1.0, [(1.0, [(step(c), v / s)])]
    two = math.sqrt(2 / math.pi)
    absolute = [two, 0.0, two, 0.0]
    if kind == "max":
        plus, minus = np.zeros(L), np.zeros(L)
        plus[:2], minus[:2] = [1, 1], [1, -1]
        plus, minus = plus / math.sqrt(2), minus / math.sqrt(2)
        return (
            kind,
            lambda z: np.maximum(z[:, 0], z[:, 1]),
            [
                (1 / math.sqrt(2), [([0.0, 1.0, 0.0, 0.0], plus)]),
                (1 / math.sqrt(2), [(absolute, minus)]),
            ],
        )
    if kind == "box":
        cs = rng.normal(size=L)
        return (
            kind,
            lambda z: (z > cs).all(axis=1) * 1.0,
            [(1.0, [(step(float(x)), e) for x, e in zip(cs, np.eye(L))])],
        )
    return (
        kind,
        lambda z: (z @ q[0] > c) * np.abs(z @ q[1]),
        [(1.0, [(step(c), q[0]), (absolute, q[1])])],
    )


def table(title, ratios):
    """Lines for the docs: how many, how many are outside, the largest ratio."""
    print(
        f"\n| {title} | errors stated | outside | covered | largest error / stated error "
        "|\n|---|---|---|---|---|"
    )
    every = np.concatenate([r.ravel() for r in ratios.values()])
    for name, r in [*ratios.items(), ("all", every)]:
        print(
            f"| {name} | {r.size} | {int((r > 1).sum())} | {100 * (r <= 1).mean():.2f} % | "
            f"{r.max():.2g} |"
        )


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    scale = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    table("activation", coefficient_ratios(int(2000 * scale), 12, seed))
    table("activation, shifted", coefficient_ratios(int(500 * scale), 12, seed + 1, shifted=True))
    table("risk", risk_ratios(int(500 * scale), seed + 2))
    for L, n in ((1, 300), (2, 300), (3, 120)):
        table(f"link, L = {L}", link_ratios(L, int(n * scale), seed + 10 + L))
