"""One module per instruction set, and nothing of a wider one in a narrower: by disassembly, by
name, by force and under an emulated old processor.
"""

from __future__ import annotations

import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import seqsgd as sq
from seqsgd import _core

X86 = platform.machine() in ("x86_64", "AMD64")
SUPPORTED = _core.LEVELS[: _core.LEVELS.index(_core._cpu.widest()) + 1]
linux_x86 = pytest.mark.skipif(
    not X86 or sys.platform != "linux", reason="reads ELF files for x86-64"
)
needs_objdump = pytest.mark.skipif(
    shutil.which("objdump") is None, reason="objdump (binutils) is not installed"
)


def module(name: str) -> Path:
    return Path(
        find_spec(f"seqsgd._core._{name}").origin
    )  # not imported: it may be for another processor


def mnemonics(text: str) -> Counter[str]:
    """Instructions of a listing that are of AVX or wider: `vex` what is spelled v... or takes a
    ymm, `evex` what only AVX-512 has.
    """
    found: Counter[str] = Counter()
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) < 2:
            continue
        code = parts[-1].split()
        while code and code[0] in (
            "rep",
            "repz",
            "repnz",
            "lock",
            "bnd",
            "data16",
            "cs",
            "ds",
            "notrack",
            "{vex}",
            "{evex}",
        ):
            code = code[1:]
        if not code:
            continue
        operands = " ".join(code[1:]).split("#")[0].split("<")[0]
        if re.search(r"%zmm|%[xyz]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b|\{1to\d+\}", operands):
            found["evex"] += 1
        elif re.search(r"%ymm", operands) or (
            re.fullmatch(r"v[a-z0-9]+", code[0])
            and code[0] not in ("verr", "verw", "vmcall", "vmfunc")
        ):
            found["vex"] += 1
        found["all"] += 1
    return found


def disassembled(path: Path) -> Counter[str]:
    with subprocess.Popen(
        ["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE, text=True
    ) as process:
        counts = mnemonics(process.stdout.read())
    assert process.returncode == 0 and counts["all"] > 50
    return counts


def test_the_listing_is_read_right() -> None:
    lines = [
        "401000:\tvaddps %ymm0,%ymm1,%ymm2",
        "401004:\tvmovss (%rax),%xmm3",
        "401008:\tvaddpd %zmm0,%zmm1,%zmm2",
        "40100c:\tvaddps %ymm16,%ymm1,%ymm2",
        "401010:\tkmovw %eax,%k1",
        "401014:\taddps  %xmm0,%xmm1",
        "401018:\trepz ret",
        "40101c:\tcall   401000 <vaddps_like>",
    ]
    assert mnemonics("\n".join(lines)) == {"vex": 2, "evex": 3, "all": 8}


@linux_x86
@needs_objdump
@pytest.mark.parametrize("name", ["cpu", "baseline"])
def test_no_avx_in_what_runs_on_any_processor(name: str) -> None:
    found = disassembled(module(name))
    assert found["vex"] == found["evex"] == 0, found


@linux_x86
@needs_objdump
def test_avx2_is_that_and_no_more() -> None:
    found = disassembled(module("avx2"))
    assert found["vex"] > 10_000 and found["evex"] == 0, found


@linux_x86
@needs_objdump
def test_avx512_is_there() -> None:
    assert disassembled(module("avx512"))["evex"] > 5_000


@linux_x86
@needs_objdump
def test_nothing_is_exported_but_the_entry() -> None:
    """What a module exports, the dynamic linker may give to another: the variants must not meet."""
    for name in ("cpu", *_core.LEVELS):
        table = subprocess.run(
            ["objdump", "-T", module(name)], capture_output=True, text=True, check=True
        ).stdout
        defined = [
            line.split()[-1]
            for line in table.splitlines()
            if (re.match(r"[0-9a-f]{8,} ", line) and "*UND*" not in line and " g " in line)
            or (" w " in line and "*UND*" not in line)
        ]
        assert defined == [f"PyInit__{name}"], (name, defined)


def python(
    code: str, level: str | None = None, emulator: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "SEQSGD_SIMD"} | (
        {"SEQSGD_SIMD": level} if level else {}
    )
    return subprocess.run(
        [*emulator, sys.executable, *code.split()]
        if code.startswith("-m")
        else [*emulator, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
    )


@pytest.mark.slow
@pytest.mark.parametrize("level", _core.LEVELS)
def test_a_level_can_be_forced(level: str) -> None:
    """Every supported level passes the installed checks in a process of its own; others are
    refused.
    """
    if level in SUPPORTED:
        done = python("-m seqsgd.selftest", level)
        assert done.returncode == 0 and f", {level}, " in done.stdout, done.stdout + done.stderr
        assert level in python("-m seqsgd info", level).stdout
    else:
        done = python("import seqsgd", level)
        assert (
            done.returncode != 0
            and (
                f"ImportError: SEQSGD_SIMD: this processor supports {', '.join(SUPPORTED)}, got "
                f"'{level}'"
            )
            in done.stderr
        )


@pytest.mark.parametrize("wrong", ["AVX2", "sse", "native"])
def test_unknown_levels_are_refused(wrong: str) -> None:
    done = python("import seqsgd", wrong)
    assert (
        done.returncode != 0
        and f"ImportError: SEQSGD_SIMD: expected one of baseline, avx2, avx512, got '{wrong}'"
        in done.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("level", SUPPORTED)
def test_no_level_shows_in_names_pickles_or_reprs(level: str) -> None:
    code = """
import pickle, seqsgd as sq
from seqsgd import _core
task = sq.Task(sq.SSI("sum", 2), sq.Tied("tanh"))
result = sq.simulate(task, d=5, steps=10, lr=0.1, rng=0)
sim = sq.Simulator(task, 5, 0.1, rng=0)
things = [task, sim, result, sq.WeakRecovery(0.3), _core.Sampled, _core.Task, _core.link_named("sum", 2, 1.0), _core.normals]
print(*map(repr, things), *map(str, sq.__all__), repr(pickle.dumps(task)), *(getattr(t, "__module__", "") for t in things))
"""
    done = python(code, level)
    assert done.returncode == 0, done.stderr
    assert not re.search("baseline|avx", done.stdout), done.stdout


@pytest.mark.slow
def test_pickles_cross_levels() -> None:
    """A task pickled at one level is the same at another, and so are its numbers up to rounding."""
    task = sq.Task(sq.SSI("sum_h2", 3), sq.Untied("tanh"))
    m = np.array(
        [
            sq.simulate(
                pickle.loads(pickle.dumps(task)), d=30, steps=50, lr=0.1, rng=0, dtype="float64"
            ).m[0, -1]
        ]
    )
    code = f"""
import pickle, seqsgd as sq
print(*sq.simulate(pickle.loads({pickle.dumps(task)!r}), d=30, steps=50, lr=0.1, rng=0, dtype="float64").m[0, -1].values)
"""
    for level in SUPPORTED:
        done = python(code, level)
        assert done.returncode == 0, done.stderr
        np.testing.assert_allclose(np.array(done.stdout.split(), dtype=float), m[0], rtol=1e-9)


@pytest.mark.slow
@linux_x86
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed")
@pytest.mark.parametrize(("processor", "level"), [("Nehalem", "baseline"), ("Haswell", "avx2")])
def test_other_processors_by_emulation(processor: str, level: str) -> None:
    """Import and a few steps of both dynamics; under Nehalem any AVX instruction ends the
    process.
    """
    code = """
import numpy as np
from seqsgd import _core, models
task = models.Task(models.SSI("sum", 2), models.Tied("tanh"))._compiled()
print(_core.level, _core.normals(0, 4, 0, 0, 4)[0])
import seqsgd as sq
task = sq.Task(sq.SSI("sum", 2), sq.Tied("tanh"))
for dynamics in ("sampled", "reduced"):
    print(float(sq.simulate(task, d=40, steps=100, lr=0.1, rng=0, dynamics=dynamics).m[0, -1]))
"""
    openblas = (
        "OPENBLAS_CORETYPE=Nehalem"  # NumPy's, which takes the emulated Nehalem for something newer
    )
    done = python(code, emulator=("env", openblas, "qemu-x86_64", "-cpu", processor))
    if "NumPy" in done.stderr and "baseline" in done.stderr.lower():
        pytest.skip(f"this NumPy does not run on {processor}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == level
    here = float(
        sq.simulate(sq.Task(sq.SSI("sum", 2), sq.Tied("tanh")), d=40, steps=100, lr=0.1, rng=0).m[
            0, -1
        ]
    )
    assert abs(float(done.stdout.split()[2]) - here) < 1e-4
