"""The core for other systems and processors, from one x86-64 Linux: `python .ci/cross.py` in an
environment with ziglang, cmeel-eigen and pybind11.

For each target the core's own tests (cpp/tests), the embedding example and `cpp/tests/numbers.cpp`
are compiled and linked by Clang, warnings being errors, against the C++ library, C library and
system stubs that ziglang carries (`aarch64-linux-gnu`: by Debian's GCC for that processor); the
binding units (cpp/src) are compiled to one object. What can be run here is run: musl x86-64 as it
is, aarch64 under qemu, Windows under Wine, where these are installed. What ran must have printed
the same words of the random generator as the first target and the same numbers to rounding; whether
they are the same bits is said.

It does not show that a wheel can be built or imported there: the bindings are compiled against the
headers of the Python at hand (with the sizes of Windows for that target) and never linked. It uses
neither Microsoft's C++ library and clang-cl nor Apple's Clang and SDK, runs nothing on macOS, and
emulators say nothing of speed, nor of a weaker order of memory on aarch64. Exit code 1 if something
fails; what was not run for want of an emulator is said and is no failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPP = ROOT / "cpp"
EMULATORS = {
    "x86_64-linux-musl": [],
    "aarch64-linux-musl": ["qemu-aarch64"],
    "aarch64-linux-gnu": ["qemu-aarch64"],
    "x86_64-windows-gnu": ["wine64", "wine"],
}  # any one of these
TARGETS = (*EMULATORS, "x86_64-macos", "aarch64-macos")
TOLERANCE = {
    "exact": 0.0,
    "single": 2e-4,
    "double": 1e-11,
}  # absolute, of normals and of overlaps after a few hundred steps
WINDOWS = """#define MS_WINDOWS
#define NT_THREADS
#define MS_WIN64
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_LONG_LONG 8
#define SIZEOF_LONG 4
#define SIZEOF_INT 4
#define SIZEOF_SHORT 2
#define SIZEOF_WCHAR_T 2
#define SIZEOF_TIME_T 8
#define SIZEOF_PID_T 4
#define ALIGNOF_SIZE_T 8
#define HAVE_DECLSPEC_DLL
#define Py_ENABLE_SHARED 1
"""


def flags(runs: bool) -> list[str]:
    """Language, warnings and arithmetic of CMakeLists.txt; what does not run need not be fast."""
    arithmetic = re.search(
        r"foreach\(flag (.*)\)", (ROOT / "cmake/seqsgdArithmetic.cmake").read_text()
    )
    eigen = next(
        f.locate()
        for f in files("cmeel-eigen") or ()
        if f.name == "signature_of_eigen3_matrix_library"
    ).parent
    assert arithmetic
    optimization = ["-O1"] if runs else ["-O0", "-DSEQSGD_OUTLINE"]
    return [
        "-std=c++17",
        *optimization,
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        *arithmetic[1].split(),
        f"-I{CPP / 'include'}",
        "-isystem",
        str(eigen),
    ]


def compiler(target: str) -> list[str]:
    """The command that compiles for a target."""
    if (
        target == "aarch64-linux-gnu"
    ):  # GCC fuses products and sums from -O2 on, by the third option
        return [
            "aarch64-linux-gnu-g++",
            "-static",
            "-fexpensive-optimizations",
            "-Wno-maybe-uninitialized",
            "-Wno-uninitialized",
        ]
    # Zig would add the undefined-behaviour sanitizer, and options of its own that Clang does not
    # use.
    return [
        sys.executable,
        "-m",
        "ziglang",
        "c++",
        "-target",
        target,
        "-fno-sanitize=all",
        "-Wno-unused-command-line-argument",
    ]


def python_headers(target: str, work: Path) -> list[str]:
    """Include options for the headers of the Python at hand, with what differs on Windows replaced:
    nothing else in them depends on the target, all others having Linux's sizes.
    """
    include = work / f"python-{'windows' if 'windows' in target else 'posix'}"
    if not include.exists():
        shutil.copytree(sysconfig.get_path("include"), include)
        text = (
            WINDOWS if "windows" in target else Path(sysconfig.get_config_h_filename()).read_text()
        )
        (include / "pyconfig.h").write_text(text)
    found = importlib.util.find_spec("pybind11")
    assert found and found.submodule_search_locations
    return [
        "-isystem",
        str(include),
        "-isystem",
        str(Path(found.submodule_search_locations[0]) / "include"),
    ]


def bindings(target: str, work: Path) -> list[str]:
    """The options that compile all of cpp/src as one unit, as CMake does."""
    sources = re.search(r"set\(sources (.*)\)", (CPP / "src/CMakeLists.txt").read_text())
    assert sources
    unit = work / "unit.cpp"
    unit.write_text("".join(f'#include "{CPP / "src" / name}"\n' for name in sources[1].split()))
    defined = [
        "-DSEQSGD_MODULE=_baseline",
        '-DSEQSGD_VERSION="0"',
        "-DSEQSGD_IS_NATIVE=0",
        "-fvisibility=hidden",
    ]
    return [*defined, *python_headers(target, work), "-c", str(unit)]


def installed(name: str) -> str | None:
    """Debian's wine64 is not where programs are looked for."""
    return shutil.which(name) or shutil.which(name, path="/usr/lib/wine")


def numbers(text: str) -> dict[tuple[str, str], list[float]]:
    """The lines of numbers.cpp."""
    return {
        (kind, name): [float(x) for x in rest]
        for kind, name, *rest in (line.split() for line in text.splitlines())
    }


def differences(text: str, reference: str) -> list[str]:
    """Where two outputs of numbers.cpp are further apart than rounding."""
    here, there = numbers(text), numbers(reference)
    if here.keys() != there.keys() or any(len(here[key]) != len(there[key]) for key in here):
        return ["other lines than on the first target"]
    apart = {
        key: max(abs(a - b) for a, b in zip(here[key], there[key], strict=True)) for key in here
    }
    return [
        f"{' '.join(key)}: apart by {value:.2g}"
        for key, value in apart.items()
        if not value <= TOLERANCE[key[0]]
    ]


class Target:
    """One target: compiles, runs and reports."""

    def __init__(self, name: str, work: Path, only: list[str]) -> None:
        self.name, self.work, self.only = name, work, only
        self.failures = 0
        self.output: str | None = None  # of numbers.cpp
        known = EMULATORS.get(name)
        self.emulator = (
            None
            if known is None
            else []
            if not known
            else next(([p] for p in map(installed, known) if p), None)
        )
        self.flags = flags(self.emulator is not None)

    def call(self, what: str, command: list[str]) -> str | None:
        """The output of a command, or None once its failure is reported."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"WINEDEBUG": "-all"}
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode:
            self.failures += 1
            print(
                f"{self.name}: {what}: failed\n{(done.stdout + done.stderr).strip()[-4000:]}",
                flush=True,
            )
            return None
        last = "" if what.startswith("numbers") else (done.stdout.strip().splitlines() or [""])[-1]
        print(f"{self.name}: {what}: {last or 'done'} ({seconds:.0f} s of processor)", flush=True)
        return done.stdout

    def program(self, source: Path) -> None:
        """Compile, link and, if that can be, run one program."""
        name = "embed" if source.name == "main.cpp" else source.stem
        path = self.work / f"{name}-{self.name}{'.exe' if 'windows' in self.name else ''}"
        if (
            self.call(
                f"{name}, compiled and linked",
                [*compiler(self.name), *self.flags, str(source), "-o", str(path)],
            )
            is None
            or self.emulator is None
        ):
            return
        output = self.call(f"{name}, run", [*self.emulator, str(path)])
        if name == "numbers":
            self.output = output

    def everything(self) -> None:
        """All programs, then the bindings."""
        for source in (*sorted((CPP / "tests").glob("*.cpp")), CPP / "tests/embed/main.cpp"):
            if source.stem == "numbers" and self.emulator is None:
                continue  # it only prints
            if not self.only or any(part in str(source.relative_to(CPP)) for part in self.only):
                self.program(source)
        if not self.only or "bindings" in self.only:
            self.call(
                "bindings, compiled",
                [
                    *compiler(self.name),
                    *flags(False),
                    *bindings(self.name, self.work),
                    "-o",
                    str(self.work / f"bindings-{self.name}.o"),
                ],
            )
        if self.emulator is None:
            print(f"{self.name}: nothing was run", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="What it shows and what it does not: see the beginning of this file.",
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        choices=TARGETS,
        default=[
            t for t in TARGETS if t != "aarch64-linux-gnu" or shutil.which("aarch64-linux-gnu-g++")
        ],
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PART",
        help="parts of the names of programs, or bindings",
    )
    args = parser.parse_args()
    failures, reference = 0, None
    with tempfile.TemporaryDirectory() as folder:
        for name in args.targets:
            target = Target(name, Path(folder), args.only)
            target.everything()
            if target.output is not None and reference is not None:
                apart = differences(target.output, reference[1])
                target.failures += len(apart)
                same = sum(
                    a == b
                    for a, b in zip(
                        target.output.splitlines(), reference[1].splitlines(), strict=False
                    )
                )
                verdict = "; ".join(apart) or (
                    f"as on {reference[0]}, {same} of {len(target.output.splitlines())} lines "
                    "to the last bit"
                )
                print(f"{name}: numbers: {verdict}", flush=True)
            elif target.output is not None:
                reference = name, target.output
            failures += target.failures
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
