"""`python -m seqsgd.selftest`: check in a few seconds that the installed package computes correct
numbers, without other packages.

It prints one line a check; the exit code is 0 if all pass, otherwise 1.
"""

from __future__ import annotations

import importlib
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import seqsgd as sq

from . import _core, ffi


def philox() -> str:
    """Known answers of Random123 (Salmon, Moraes, Dror, Shaw, SC 2011)."""
    _same(list(_core.philox([0] * 4, [0] * 2)), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8])
    pi = _core.philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0])
    _same(list(pi), [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1])
    return "two known answers"


def normals() -> str:
    """Sixteen pairs by NumPy from Philox to Box-Muller; moments of a million."""
    state = np.array(
        [_core.philox([lane, 3, 2, 4 << 24], [7, 0]) for lane in range(16)], dtype=np.uint32
    )
    a, b, c, d = state.T  # of xoshiro128++, one generator a lane
    radius_words = _rotated(a + d, 7) + a
    c, d = c ^ a, d ^ b
    b, a = b ^ c, a ^ d
    d = _rotated(d, 11)
    angle_words = _rotated(a + d, 7) + a
    x = (radius_words >> 1).astype(np.float32) * np.float32(2**-31) + np.float32(2**-33)
    r, t = (
        np.sqrt(-2 * np.log(x.astype(np.float64))),
        angle_words.view(np.int32) * (math.pi / 2**32),
    )
    pairs = np.concatenate([r * np.sin(t), r * np.cos(t) * np.where(angle_words & 1, -1, 1)])
    error = _near(_core.normals(7, 4, 2, 3, 32, "float32"), pairs, 5e-6)
    n = 1_000_000
    for dtype in ("float32", "float64"):
        z = _core.normals(1, 4, 0, 0, n, dtype).astype(np.float64)
        for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
            _near(np.mean(z**power), mean, 6 * math.sqrt(variance / n))
    return f"32 against NumPy, error {error:.0e}; moments 1 to 4 of 10^6"


def steps() -> str:
    """A hundred spherical steps each of a tied and an untied network, and ten of softmax attention
    by central differences, against plain NumPy.
    """
    rng, worst = np.random.default_rng(1), 0.0
    L, d, lr = 3, 40, 0.2
    for student in (sq.Tied("tanh"), sq.Untied("tanh")):
        sim = sq.Simulator(
            sq.Task(sq.SSI("sum", L), student), d, lr, rng=0, dtype="float64", init=sq.Overlap(0.3)
        )
        w = np.atleast_2d(sim.w)
        for _ in range(100):
            X = rng.standard_normal((L, d)) / math.sqrt(d)
            y, f = np.sum(X @ sim.teacher), math.tanh(np.sum(X * w) / math.sqrt(L))
            delta = (f - y) * (1 - f * f) / math.sqrt(L)
            w = w - lr * delta * (X.sum(axis=0) if len(w) == 1 else X)
            w *= math.sqrt(d) / np.linalg.norm(w, axis=1, keepdims=True)
            _near(sim.observe(X[None])[0], (f - y) ** 2 / 2, 1e-10)
        worst = max(worst, _near(np.atleast_2d(sim.w), w, 1e-10))

    sim = sq.Simulator(
        sq.Task(sq.PositionalSemantic(0.4), sq.Attention(position=sq.Opposite())),
        d,
        lr,
        rng=0,
        dtype="float64",
        init=sq.Overlap(0.3),
    )
    w, P, h = sim.w, sim.positions, 1e-5 * np.eye(d)
    for _ in range(10):
        X = rng.standard_normal((2, d)) / math.sqrt(d)
        target = 0.6 * _attention(X @ sim.teacher) + 0.4 * _softmax(
            np.array([[1.0, -1.0], [-1.0, 1.0]])
        )
        z = X + P / math.sqrt(d)
        gradient = [
            np.sum((target - _attention(z @ (w + t))) ** 2) / 4e-5
            - np.sum((target - _attention(z @ (w - t))) ** 2) / 4e-5
            for t in h
        ]
        _near(sim.observe(X[None])[0], np.sum((target - _attention(z @ w)) ** 2) / 2, 1e-7)
        w = w - lr * np.array(gradient)
        w *= math.sqrt(d) / np.linalg.norm(w)
    return f"210 against NumPy, errors {worst:.0e} and {_near(sim.w, w, 1e-6):.0e}"


def dynamics() -> str:
    """Sampled and reduced runs have the same law: overlaps and losses of 2 x 400 runs within 6
    standard errors.
    """
    task = sq.Task(sq.SSI("sum_h2", 4, scale="1/sqrt(L)"), sq.Tied("relu"))
    runs = 400
    both = [
        sq.simulate(
            task,
            d=50,
            steps=600,
            lr=0.3,
            runs=runs,
            rng=3,
            init=sq.Overlap(0.3),
            record=[300, 600],
            dynamics=name,
        )
        for name in ("sampled", "reduced")
    ]
    worst = 0.0
    for sampled, reduced in [[np.asarray(r.dataset[key]) for r in both] for key in ("m", "loss")]:
        for f in (np.array, np.square):
            x, y = f(sampled), f(reduced)
            error = np.sqrt((x.var(axis=0) + y.var(axis=0)) / runs)
            worst = max(worst, float(np.max(np.abs(x.mean(axis=0) - y.mean(axis=0)) / error)))
    if not worst < 6:
        raise AssertionError(f"means of m, m^2, loss, loss^2 differ by {worst:.1f} standard errors")
    return f"within {worst:.1f} standard errors"


def threads() -> str:
    """The same bits on one and on three threads, and in one piece and in two."""
    task = sq.Task(sq.SSI("z1*z2", 2), sq.Untied("tanh"))
    for name in ("sampled", "reduced"):
        one, three = [
            sq.simulate(task, d=30, steps=500, lr=0.1, runs=40, rng=1, dynamics=name, threads=n)
            for n in (1, 3)
        ]
        _same(np.asarray(one.m), np.asarray(three.m))
    whole, parts = [sq.Simulator(task, 30, 0.1, rng=1) for _ in range(2)]
    whole.advance(500)
    for n in (1, 99, 400):
        parts.advance(n)
    _same(whole.w, parts.w)
    return "the same bits"


def files() -> str:
    """Results and states of a simulator come back from files bit for bit."""
    task = sq.Task(
        sq.PositionalSemantic(0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
    )
    with tempfile.TemporaryDirectory() as folder:
        result = sq.simulate(task, d=40, steps=200, lr=0.05, runs=3, rng=2)
        result.save(Path(folder) / "result.nc")
        loaded: Any = sq.load(Path(folder) / "result.nc")
        for key in ("m", "e", "loss"):
            _same(np.asarray(result.dataset[key]), np.asarray(loaded.dataset[key]))
        one, other = [sq.Simulator(task, 40, 0.05, rng=2) for _ in range(2)]
        one.advance(123)
        one.save_state(Path(folder) / "state")
        other.load_state(Path(folder) / "state")
        one.advance(77)
        other.advance(77)
        _same(one.w, other.w)
    return "the same bits"


def theory() -> str:
    """Exponents, and where attention turns from the position to the meaning: omega = 0.6409626 at a
    = 1.
    """
    exponents = [int(sq.theory.sie(sq.SSI(name, 3))) for name in ("sum", "sum_h2", "z1*z2*z3")]
    _same(exponents, [1, 2, 3])
    # of the positional curvature of the risk at the origin over the semantic one: linear in omega
    excess = []
    for omega in (0.6, 0.7):
        risk = sq.theory.risk(
            sq.Task(sq.PositionalSemantic(omega), sq.Attention(position=sq.Opposite())), 0.0, 0.0
        )
        hessian = np.squeeze(np.asarray(risk.hessian))
        excess.append(hessian[1, 1] - hessian[0, 0])
    switch = 0.6 - 0.1 * excess[0] / (excess[1] - excess[0])
    _near(switch, 0.6409626, 1e-7)
    return f"omega = {switch:.7f}"


def c_entry_points() -> str:
    """A simulator stepped through C addresses goes where its twin goes."""
    task = sq.Task(sq.SSI("sum", 2), sq.Tied("tanh"))
    one, other = [sq.Simulator(task, 20, 0.1, rng=0) for _ in range(2)]
    _same(ffi.advance.ctypes(ffi.Handle(one).address, 100), other.advance(100))
    w = np.empty(20)
    _same(ffi.weights.ctypes(ffi.Handle(one).address, w.ctypes.data), 0)
    _same(w, other.w)
    return "the same bits"


def package() -> str:
    """The instruction set in use is one that the processor has; the CMake package is installed."""
    wanted = _core.LEVELS[: _core.LEVELS.index(_core._cpu.widest()) + 1]
    if _core.level not in wanted:
        raise AssertionError(
            f"instruction set {_core.level} on a processor with {', '.join(wanted)}"
        )
    sq.info.cmake_dir()
    versions = ", ".join(
        f"{name} {importlib.import_module(name).__version__}"
        for name in ("numpy", "scipy", "xarray")
    )
    return f"seqsgd {sq.__version__}, {_core.level}, {versions}"


CHECKS: tuple[Callable[[], str], ...] = (
    package,
    philox,
    normals,
    steps,
    dynamics,
    threads,
    files,
    theory,
    c_entry_points,
)


def main() -> int:
    """Run all checks, print a line for each; the number that failed."""
    failed = 0
    for check in CHECKS:
        begin = time.perf_counter()
        try:
            found, said = "ok", check()
        except Exception as error:  # whatever it is: the other checks are of interest too
            found, said = "FAILED", f"{type(error).__name__}: {error}"
            failed += 1
        print(
            f"{check.__name__:<15} {found:<7} {time.perf_counter() - begin:5.2f} s  {said}",
            flush=True,
        )
    return failed


def _near(got: Any, wanted: Any, tolerance: float) -> float:
    error = float(np.max(np.abs(np.asarray(got) - np.asarray(wanted))))
    if not error <= tolerance:
        raise AssertionError(f"expected {wanted} within {tolerance}, got {got}")
    return error


def _same(got: Any, wanted: Any) -> None:
    if not np.array_equal(got, wanted, equal_nan=isinstance(got, np.ndarray)):
        raise AssertionError(f"expected {wanted}, got {got}")


def _rotated(x: Any, k: int) -> Any:
    return x << np.uint32(k) | x >> np.uint32(32 - k)


def _softmax(x: Any) -> Any:
    y = np.exp(x - x.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def _attention(z: Any) -> Any:
    return _softmax(np.outer(z, z))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
