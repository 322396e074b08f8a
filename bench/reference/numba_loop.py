"""What a careful user writes today: the step in numba, float32, fastmath, with a generator spelled
so that LLVM vectorises it.

xoshiro128++ in 64 lanes, Box-Muller and exponentials by polynomials, every loop over d a plain one,
update and norm in one pass. How wide the vectors are is LLVM's choice for this processor;
NUMBA_CPU_NAME and NUMBA_CPU_FEATURES restrict it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import float32, int32, njit, uint32

from ..points import Floats, Point, Start, corner, learning_rate, omega

LANES = 64
fast: Any = njit(fastmath=True)
inline: Any = njit(fastmath=True, inline="always")


@inline
def rotl(x, k):  # type: ignore[no-untyped-def]
    return uint32((x << uint32(k)) | (x >> uint32(32 - k)))


@inline
def as_int(x):  # type: ignore[no-untyped-def]
    return np.float32(x).view(np.int32)


@inline
def as_float(i):  # type: ignore[no-untyped-def]
    return np.int32(i).view(np.float32)


@inline
def gaussians(state, rest, x):  # type: ignore[no-untyped-def]
    """Fill x with standard normals; what the last block of 128 has too many is dropped."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for i in range(0, x.size, 2 * LANES):
        out = x[i : i + 2 * LANES] if i + 2 * LANES <= x.size else rest
        for j in range(LANES):
            a, b, c, d = s0[j], s1[j], s2[j], s3[j]
            u = uint32(rotl(uint32(a + d), 7) + a)
            t = uint32(b << uint32(9))
            c ^= a
            d ^= b
            b ^= c
            a ^= d
            c ^= t
            d = rotl(d, 11)
            v = uint32(rotl(uint32(a + d), 7) + a)
            t = uint32(b << uint32(9))
            c ^= a
            d ^= b
            b ^= c
            a ^= d
            c ^= t
            s0[j], s1[j], s2[j], s3[j] = a, b, c, rotl(d, 11)
            # sqrt(-2 log u), u in (0, 1], from the exponent and a mantissa 1 + f in [sqrt(1/2),
            # sqrt 2)
            bits = as_int(float32(int32(u >> uint32(1))) * float32(2.0**-31) + float32(2.0**-33))
            e = int32(bits - int32(0x3F3504F3)) >> int32(23)
            f = as_float(bits - int32(e << int32(23))) - float32(1.0)
            p = float32(0.152422474) * f - float32(0.258093316)
            p = p * f + float32(0.264869215)
            p = p * f - float32(0.283636683)
            p = p * f + float32(0.332180255)
            p = p * f - float32(0.400039371)
            p = p * f + float32(0.500031731)
            p = p * f - float32(0.666666519)
            p = p * f + float32(0.999999766)
            p = p * f - float32(2.0)
            r = math.sqrt(max(p * f - float32(1.38629436) * float32(e), float32(0.0)))
            # an angle in [-pi/4, pi/4), mirrored and swapped by two more bits
            t = float32(int32(v) >> int32(2)) * float32(2.0**-29)
            q = t * t
            s = float32(-3.59545078e-5) * q + float32(0.00249000713)
            s = s * q - float32(0.0807454348)
            s = (s * q + float32(0.785398161)) * t
            w = float32(-0.000318880508) * q + float32(0.0158499153)
            w = w * q - float32(0.308424254)
            w = w * q + float32(0.999999972)
            w = -w if v & uint32(1) else w
            swap = v & uint32(2)
            out[j] = r * (s if swap else w)
            out[LANES + j] = r * (w if swap else s)
        if i + 2 * LANES > x.size:
            for j in range(x.size - i):
                x[i + j] = rest[j]


@inline
def dot(x, y):  # type: ignore[no-untyped-def]
    s = float32(0.0)
    for i in range(x.size):
        s += x[i] * y[i]
    return s


@inline
def move(w, x, c):  # type: ignore[no-untyped-def]
    """w <- w + c x; returns ||w||^2."""
    s = float32(0.0)
    for i in range(w.size):
        w[i] += c * x[i]
        s += w[i] * w[i]
    return s


@inline
def rescale(w, size2, radius2):  # type: ignore[no-untyped-def]
    c = float32(math.sqrt(radius2 / size2))
    for i in range(w.size):
        w[i] *= c


@fast
def tied(state, rest, X, w, teacher, position, lr, steps):  # type: ignore[no-untyped-def]
    L, d = X.shape
    x, total = X.reshape(L * d), np.empty(d, np.float32)
    k = 1 / math.sqrt(L * d)
    for _ in range(steps):
        gaussians(state, rest, x)
        total[:] = X[0]
        for l in range(1, L):
            for i in range(d):
                total[i] += X[l, i]
        u = k * dot(total, w)
        if u > 0:
            y = k * dot(total, teacher)
            rescale(w, move(w, total, float32(2 * lr * (y - u) * k)), d)


@fast
def untied(state, rest, X, w, teacher, position, lr, steps):  # type: ignore[no-untyped-def]
    L, d = X.shape
    x, flat = X.reshape(L * d), w.reshape(L * d)
    k = 1 / math.sqrt(L * d)
    for _ in range(steps):
        gaussians(state, rest, x)
        u = k * dot(x, flat)
        if u > 0:
            y = 0.0
            for l in range(L):
                y += dot(X[l], teacher)
            rescale(flat, move(flat, x, float32(2 * lr * (k * y - u) * k)), L * d)


@inline
def softmax_rows(z, S):  # type: ignore[no-untyped-def]
    L = z.size
    for i in range(L):
        top = z[i] * z[0]
        for j in range(1, L):
            top = max(top, z[i] * z[j])
        s = 0.0
        for j in range(L):
            S[i, j] = math.exp(z[i] * z[j] - top)
            s += S[i, j]
        for j in range(L):
            S[i, j] /= s


@fast
def pair(state, rest, X, w, teacher, position, lr, steps):  # type: ignore[no-untyped-def]
    L, d = X.shape
    x = X.reshape(L * d)
    z, t, delta = np.empty(L), np.empty(L), np.empty(L)
    S, T, D = np.empty((L, L)), np.empty((L, L)), np.empty((L, L))
    k = 1 / math.sqrt(d)
    for _ in range(steps):
        gaussians(state, rest, x)
        for l in range(L):
            z[l] = k * dot(X[l], w)
            t[l] = k * dot(X[l], teacher)
        e = k * dot(position, w)
        z[0] += e
        z[1] -= e
        softmax_rows(z, S)
        softmax_rows(t, T)
        norm2 = 1e-30
        for i in range(L):
            for j in range(L):
                D[i, j] = (
                    S[i, j] - (1 - omega) * T[i, j] - omega * (corner if i == j else 1 - corner)
                )
                norm2 += D[i, j] ** 2
        delta[:] = 0
        for i in range(L):
            mean = 0.0
            for j in range(L):
                mean += D[i, j] * S[i, j]
            for j in range(L):
                c = S[i, j] * (D[i, j] - mean) / math.sqrt(norm2)  # d loss / d (z_i z_j)
                delta[i] += c * z[j]
                delta[j] += c * z[i]
        move(w, X[0], float32(-lr * k * delta[0]))
        move(w, X[1], float32(-lr * k * delta[1]))
        rescale(w, move(w, position, float32(-lr * k * (delta[0] - delta[1]))), d)


@fast
def trace(state, rest, X, w, teacher, position, lr, steps):  # type: ignore[no-untyped-def]
    L, d = X.shape
    x = X.reshape(L * d)
    z, e, gradient = np.empty(L, np.float32), np.empty(L, np.float32), np.empty(L, np.float32)
    k = float32(1 / math.sqrt(d))
    for _ in range(steps):
        gaussians(state, rest, x)
        y, low, high = 0.0, float32(np.inf), float32(-np.inf)
        for l in range(L):
            z[l] = k * dot(X[l], w)
            low, high = min(low, z[l]), max(high, z[l])
            y += (k * dot(X[l], teacher)) ** 2 - 1
        gradient[:] = 0
        f = 0.0
        for l in range(L):
            zl = z[l]
            top = zl * (high if zl > 0 else low)
            s, h = float32(0.0), float32(0.0)
            for j in range(L):
                a = max(zl * z[j] - top, float32(-87.0))  # <= 0
                n = int32(a * float32(1.44269504) - float32(0.5))
                r = a - float32(n) * float32(0.693147181)
                p = float32(0.00829765555) * r + float32(0.0419153820)
                p = p * r + float32(0.166675747)
                p = p * r + float32(0.499988949)
                p = p * r + float32(0.999999692)
                p = p * r + float32(1.00000007)
                e[j] = as_float(as_int(p) + int32(n << int32(23)))
                s += e[j]
                h += e[j] * z[j]
            own = e[l] / s
            b = own * zl / s
            for j in range(L):
                gradient[j] -= b * e[j]
            gradient[l] += own * (2 * zl - h / s)
            f += own
        c = 2 * lr * k * (y / math.sqrt(2.0) - f) / L
        s = float32(d)
        for l in range(L):
            if gradient[l] != 0:
                s = move(w, X[l], float32(c * gradient[l]))
        rescale(w, s, d)


STEPS = {"tied": tied, "untied": untied, "pair": pair, "trace": trace}


class Loop:
    """One run; `advance(n)` does n steps."""

    def __init__(self, point: Point, seed: int) -> None:
        self._start = start = Start.of(point, seed)
        self._teacher, self._w, self._position = (
            x.astype(np.float32) for x in (start.teacher, start.weights, start.position)
        )
        self._state: npt.NDArray[np.uint32] = np.random.default_rng(seed).integers(
            1, 2**32, (4, LANES), dtype=np.uint32
        )
        self._rest, self._X = (
            np.empty(2 * LANES, np.float32),
            np.empty((point.L, point.d), np.float32),
        )
        self._step, self._lr = STEPS[point.problem], learning_rate(point)

    def advance(self, steps: int) -> None:
        self._step(
            self._state,
            self._rest,
            self._X,
            self._w,
            self._teacher,
            self._position,
            self._lr,
            steps,
        )

    def overlap(self) -> Floats:
        return self._start.overlap(self._w)
