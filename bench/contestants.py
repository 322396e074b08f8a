"""Who takes part: each is one run of one point with `advance(n)`, made in this process.

A name is "kind" or "kind:variant": seqsgd, bare, generator (the bare one, alone), numba, torch.
Variants (avx2, avx512, baseline) of seqsgd and numba are chosen by environment variables when their
libraries load, so each needs a process of its own; see `environment`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from .missing import Missing
from .points import Point, learning_rate, m0, omega

if TYPE_CHECKING:
    import seqsgd as sq


class Contestant(Protocol):
    """One run; what a unit of `advance` is stands in `units`."""

    def advance(self, n: int) -> object:
        """Do n steps (for the bare generator: n fills of its buffer)."""


# AVX2 and what comes with it, on the tuning of a processor without AVX-512.
_NUMBA_AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+f16c,+fma,+lzcnt,"
    "+movbe,+popcnt,+sse4.2",
}
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def environment(name: str) -> dict[str, str]:
    """The environment a contestant's process needs."""
    kind, _, variant = name.partition(":")
    env = {
        k: v for k, v in os.environ.items() if not k.startswith(("SEQSGD_SIMD", "NUMBA_CPU"))
    } | _ONE_THREAD
    if kind == "seqsgd" and variant:
        env["SEQSGD_SIMD"] = variant
    if kind == "numba" and variant == "avx2":
        env |= _NUMBA_AVX2
    return env


def normals(name: str, point: Point) -> int:
    """Normals drawn by one unit of `advance`."""
    if name.startswith("generator"):
        from .reference.bare import L1_NORMALS

        return L1_NORMALS
    return point.d * point.L


def make(name: str, point: Point, seed: int = 1) -> Contestant:
    """The contestant at a point. Raises Missing."""
    kind, _, variant = name.partition(":")
    if kind == "seqsgd":
        return package(point, seed)
    if kind in ("bare", "generator"):
        from .reference import bare

        return (
            bare.Loop(point, seed, variant or "native")
            if kind == "bare"
            else bare.Normals(seed, variant or "native")
        )
    if kind == "numba":
        try:
            from .reference import numba_loop
        except ImportError as e:
            raise Missing(f"numba cannot be imported ({e})") from None
        return numba_loop.Loop(point, seed)
    if kind == "torch":
        try:
            from .reference import torch_loop
        except ImportError as e:
            raise Missing(f"PyTorch cannot be imported ({e})") from None
        return torch_loop.Loop(point, seed)
    raise ValueError(f"contestant: expected seqsgd, bare, generator, numba or torch, got {name!r}")


def package(point: Point, seed: int) -> Contestant:
    """seqsgd in float32 through its step-level interface: many steps to a call, nothing recorded
    between.
    """
    import seqsgd as sq

    return sq.Simulator(
        task(point),
        d=point.d,
        lr=learning_rate(point),
        rng=seed,
        init=sq.Overlap(m0),
        dtype="float32",
    )


def task(point: Point) -> sq.Task:
    """The package's task of a point."""
    import seqsgd as sq

    L = point.L
    if point.problem == "tied":
        return sq.Task(sq.SSI("sum", L, scale="1/sqrt(L)"), sq.Tied("relu"), loss="square")
    if point.problem == "untied":
        return sq.Task(
            sq.SSI("sum", L, scale="1/sqrt(L)"),
            sq.Untied("relu", normalization="global"),
            loss="square",
        )
    if point.problem == "pair":
        return sq.Task(
            sq.PositionalSemantic(omega, a=1.0),
            sq.Attention(position=sq.Opposite()),
            loss="frobenius",
        )
    return sq.Task(
        sq.SSI("sum_h2", L, scale="1/sqrt(L)"), sq.Attention(reduction="trace"), loss="square"
    )
