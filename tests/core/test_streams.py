"""The generator written out in NumPy: Philox4x32-10 gives sixteen xoshiro128++ lanes their states;
Box and Muller transform their words.

A change here changes every result of every seed: it belongs in the changelog. It also proves the
polynomials, which statistics cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import assert_close
from seqsgd import _core

M32 = np.uint64(0xFFFFFFFF)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds of Philox4x32 (Salmon, Moraes, Dror, Shaw, SC 2011) on Python integers."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ m, p & 0xFFFFFFFF
        k, m = (k + 0x9E3779B9) & 0xFFFFFFFF, (m + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


def words(seed: int, stream: int, run: int, block: int, n: int) -> Any:
    """The first n words of each of the sixteen lanes, (n, 16) uint64 below 2^32."""
    low, high = seed & 0xFFFFFFFF, seed >> 32
    state = [
        philox([lane, block & 0xFFFFFFFF, run, stream << 24 | block >> 32], [low, high])
        for lane in range(16)
    ]
    a, b, c, d = np.array(state, dtype=np.uint64).T
    out = np.empty((n, 16), dtype=np.uint64)

    def rotate(x: Any, k: int) -> Any:
        return (x << np.uint64(k) | x >> np.uint64(32 - k)) & M32

    for i in range(n):  # xoshiro128++ (Blackman, Vigna, 2019)
        out[i] = rotate((a + d) & M32, 7) + a & M32
        t = b << np.uint64(9) & M32
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ t, rotate(d, 11)
    return out


def box_muller(x: Any, t: Any, reflected: Any) -> tuple[Any, Any]:
    """Radius from x in (0, 1], angle t pi / 2 with t in [-1, 1), and the half plane."""
    r = np.sqrt(-2 * np.log(x))
    return r * np.sin(np.pi / 2 * t), r * np.cos(np.pi / 2 * t) * np.where(reflected, -1, 1)


def normals(seed: int, stream: int, run: int, block: int, units: int, dtype: str) -> Any:
    """32 normals a unit, as documented in the core."""
    if dtype == "float32":  # two words a lane
        u, v = words(seed, stream, run, block, 2 * units).reshape(units, 2, 16).swapaxes(0, 1)
        x = (u >> np.uint64(1)).astype(np.float32) * np.float32(2**-31) + np.float32(2**-33)
        pair = box_muller(
            x.astype(np.float64),
            v.astype(np.uint32).view(np.int32).astype(np.float64) * 2**-31,
            v & np.uint64(1),
        )
    else:  # four words a lane; neighbouring lanes make 64 bits
        w = words(seed, stream, run, block, 4 * units).reshape(units, 4, 8, 2)
        w = w[..., 0] | w[..., 1] << np.uint64(32)
        u, v = w[:, :2].reshape(units, 16), w[:, 2:].reshape(units, 16)
        x = ((u >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        pair = box_muller(
            x, (v >> np.uint64(12)).astype(np.float64) * 2.0**-51 - 1, v & np.uint64(1)
        )
    return np.concatenate(pair, axis=1).ravel()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "address",
    [
        (0, 4, 0, 0),
        (1, 1, 2, 3),
        (2**64 - 1, 5, 2**32 - 1, 2**56 - 1),
        (0x0123456789ABCDEF, 2, 7, 2**40 + 5),
    ],
)
def test_normals_are_what_the_words_say(address: tuple[int, int, int, int], dtype: str) -> None:
    """64 000 normals, against the exact transform: errors below 6e-7 of the pair's radius in
    float32 and 3e-15 in float64.
    """
    units = 2000
    wanted = normals(*address, units, dtype).reshape(units, 2, 16)
    radius = np.maximum(1, np.hypot(wanted[:, 0], wanted[:, 1]))[:, None]
    got = _core.normals(*address, 32 * units, dtype).reshape(units, 2, 16)
    assert_close(got / radius, wanted / radius, 6e-7 if dtype == "float32" else 3e-15)


def test_philox_is_philox() -> None:
    assert philox([0, 0, 0, 4 << 24], [0, 0]) == list(_core.philox([0, 0, 0, 4 << 24], [0, 0]))
