"""The bare C++ loop (bare.cpp): built on demand into the user's cache, called through ctypes.

It is the yardstick, not part of the package: one float32 run, normals fused with the projections,
nothing else.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..missing import Missing
from ..points import Floats, Point, Start, corner, learning_rate, omega

SOURCES = [Path(__file__).with_name(name) for name in ("bare.cpp", "bare_normals.hpp")]
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffast-math", "-fno-finite-math-only"]
TARGETS = {"native": ["-march=native"], "avx2": ["-mavx2", "-mfma", "-mtune=native"]}
KINDS = {"tied": 0, "untied": 1, "pair": 2, "trace": 3}
L1_NORMALS = 2048  # 8 kB


def cache() -> Path:
    """Where builds are kept: never in the source tree."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqsgd-bench"


def _about_processor() -> dict[str, str]:
    """Model and features, which -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {
        key.strip(): value.strip()
        for key, _, value in pairs
        if key.strip() in ("model name", "flags")
    }


def processor_name() -> str:
    return _about_processor().get("model name") or platform.processor() or platform.machine()


def compiler() -> list[str]:
    """$CXX, or g++, or c++. Raises Missing."""
    wanted = os.environ.get("CXX")
    for command in [wanted] if wanted else ["g++", "c++"]:
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    raise Missing(
        f"the C++ compiler {wanted!r} named by CXX was not found"
        if wanted
        else "no C++ compiler was found (CXX names one)"
    )


def compiler_version() -> str | None:
    try:
        return subprocess.run(
            [*compiler(), "--version"], capture_output=True, text=True, check=True
        ).stdout.split("\n")[0]
    except (Missing, subprocess.CalledProcessError):
        return None


@functools.cache
def library(target: str = "native") -> ctypes.CDLL:
    """The loop built for this machine ("native") or for AVX2 without AVX-512 ("avx2").

    Raises
    ------
    Missing
        Without a C++ compiler, or on a processor that the target does not fit.
    """
    about = _about_processor()
    if target == "avx2" and "avx2" not in about.get("flags", "").split():
        raise Missing("no AVX2 on this processor")
    flags = [*FLAGS, *TARGETS[target]]
    what = [
        str(compiler_version()),
        *about.values(),
        *flags,
        *(path.read_text() for path in SOURCES),
    ]
    built = (
        cache() / f"bare-{target}-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:16]}.so"
    )
    if not built.exists():
        _build(built, flags)
    lib = ctypes.CDLL(str(built))
    lib.bare_level.restype = ctypes.c_char_p
    lib.bare_new.restype = ctypes.c_void_p
    lib.bare_new.argtypes = [
        ctypes.c_int,
        ctypes.c_int64,
        ctypes.c_int64,
        *3 * [ctypes.c_float],
        *3 * [ctypes.c_void_p],
        ctypes.c_uint64,
    ]
    lib.bare_run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    lib.bare_moved.argtypes = [ctypes.c_void_p]
    lib.bare_moved.restype = ctypes.c_int64
    lib.bare_weights.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.bare_free.argtypes = [ctypes.c_void_p]
    lib.bare_normals.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return lib


def _build(built: Path, flags: list[str]) -> None:
    """In two steps: linking with -ffast-math would change denormals for the whole process."""
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
        compiled, linked = f"{scratch}/bare.o", f"{scratch}/bare.so"
        for command in (
            [*compiler(), *flags, "-c", str(SOURCES[0]), "-o", compiled],
            [*compiler(), "-shared", compiled, "-o", linked],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Missing(f"{' '.join(command)} failed:\n{done.stderr}")
        os.replace(linked, built)


class Loop:
    """One run of the bare loop; `advance(n)` does n steps."""

    def __init__(self, point: Point, seed: int, target: str = "native") -> None:
        self._lib, self._point = library(target), point
        self._start = start = Start.of(point, seed)
        arrays = [
            np.ascontiguousarray(x, dtype=np.float32)
            for x in (start.teacher, start.weights, start.position)
        ]
        pointers = [x.ctypes.data for x in arrays]
        kind = KINDS[point.problem]
        self._loop = self._lib.bare_new(
            kind, point.d, point.L, learning_rate(point), omega, corner, *pointers, seed
        )

    def advance(self, steps: int) -> None:
        self._lib.bare_run(self._loop, steps)

    def moved(self) -> int:
        """Steps that moved the weights: the others had a dead relu."""
        return int(self._lib.bare_moved(self._loop))

    def overlap(self) -> Floats:
        w = np.empty(self._start.weights.shape, dtype=np.float32)
        self._lib.bare_weights(self._loop, w.ctypes.data)
        return self._start.overlap(w)

    def __del__(self) -> None:
        if getattr(self, "_loop", None):
            self._lib.bare_free(self._loop)


class Normals:
    """The bare generator; `advance(n)` draws n times 2048 normals into a buffer that stays in
    L1.
    """

    def __init__(self, seed: int, target: str = "native") -> None:
        self._lib = library(target)
        self._seed = seed
        self._memory = np.empty(L1_NORMALS + 16, dtype=np.float32)
        offset = -self._memory.ctypes.data // 4 % 16
        self.x = self._memory[offset : offset + L1_NORMALS]  # on a cache line

    def advance(self, times: int) -> None:
        self._lib.bare_normals(self._seed, self.x.ctypes.data, L1_NORMALS, times)
        self._seed += 1
