"""The core and its bindings under sanitizers: `python tests/hardening/sanitize.py
{memory,threads}`, from an environment in which the tests run.

memory   AddressSanitizer, UndefinedBehaviorSanitizer and the checks of libstdc++ and Eigen: the
core's own tests, leaks included, then the Python tests that reach into the
         core, and whether what is left in memory at the end depends on how many simulators there
         were
threads  ThreadSanitizer: the core's own tests, then `racing.py`: runs on several threads,
simulators in several threads, one simulator shared by them

One module is built, for --level, into build/sanitize-KIND; the package is copied beside it, so that
nothing installed is touched. Exit code 1 and the sanitizer's report on a find.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SANITIZERS = {"memory": "address,undefined,float-cast-overflow", "threads": "thread"}
RUNTIMES = {
    "memory": ("libasan.so", "libubsan.so", "libstdc++.so"),
    "threads": ("libtsan.so", "libstdc++.so"),
}  # the last: else exceptions are not seen
CORE_TESTS = ("test_random", "test_task", "test_sampled", "test_reduced", "embed")
# the sharpest first; not test_flat_memory: what is freed stays resident in quarantine, and leaks()
# looks for the same
PYTHON_TESTS = (
    "hardening/test_strange_arrays", "simulate/test_ffi", "simulate/test_simulator",
    "package/test_properties", "results/test_checkpoint", "models/test_user_functions",
    "core/test_task", "dynamics/test_drawn", "dynamics/test_steps", "dynamics/test_reduced_step",
    "dynamics/test_reduced_streams", "core/test_lanes", "core/test_streams", "core/test_tokens",
    "dynamics/test_starts", "dynamics/test_sampled", "core/test_random",
)  # fmt: skip
# What is not of the core: NumPy's and the interpreter's own threads synchronise in ways that an
# uninstrumented library hides.
SUPPRESSIONS = (
    "called_from_lib:libopenblas\nrace:libscipy_openblas\nrace:_multiarray_umath\nrace:libpython\n"
)


def tool(name: str) -> str:
    """The one installed beside this Python first."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or name


def run(command: Sequence[str | os.PathLike[str]], env: Mapping[str, str] = os.environ) -> int:
    print("$", *(Path(c).name if os.sep in str(c) else c for c in command), flush=True)
    return subprocess.run(command, cwd=ROOT, env=env).returncode


def build(kind: str, level: str, folder: Path, tests: Sequence[str]) -> None:
    """One module, and core tests."""
    flags = (
        f"-O1 -g -fno-omit-frame-pointer -fsanitize={SANITIZERS[kind]} -fno-sanitize-recover=all "
        "-D_GLIBCXX_ASSERTIONS"
    )
    pybind = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = {
        "CMAKE_BUILD_TYPE": "None",  # neither -O3 nor -DNDEBUG: Eigen's own checks stay on
        "CMAKE_C_FLAGS": flags,
        "CMAKE_CXX_FLAGS": flags,
        "SEQSGD_PYTHON": "ON",
        "SEQSGD_TESTS": "ON",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind,
    }
    subprocess.run(
        [tool("cmake"), "-S", ROOT, "-B", folder, *(f"-D{k}={v}" for k, v in options.items())],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        [tool("cmake"), "--build", folder, "-j", "1", "--target", "_cpu", f"_{level}", *tests],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def package(level: str, folder: Path) -> Path:
    """A copy of the package that holds the modules just built, and no other."""
    home = folder / "package"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(
        ROOT / "python" / "seqsgd",
        home / "seqsgd",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    for name in ("_cpu", f"_{level}"):
        (module,) = (folder / "cpp" / "src").glob(f"{name}.*.so")
        shutil.copy(module, home / "seqsgd" / "_core")
    # an editable install's finder would come before PYTHONPATH
    (home / "sitecustomize.py").write_text(
        'import sys\nsys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in '
        "type(f).__name__]\n"
    )
    return home


def environment(kind: str, level: str, home: Path) -> dict[str, str]:
    found = [
        subprocess.run(
            [os.environ.get("CXX", "g++"), f"-print-file-name={name}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name in RUNTIMES[kind]
    ]
    (home / "suppressions").write_text(SUPPRESSIONS)
    return dict(os.environ) | {
        "LD_PRELOAD": " ".join(found),
        "PYTHONPATH": os.pathsep.join([str(home), str(ROOT / "tests")]),
        "PYTHONMALLOC": "malloc",  # the interpreter's pools would hide what is out of bounds
        "SEQSGD_SIMD": level,
        "OPENBLAS_NUM_THREADS": "1",
        # the interpreter keeps what it likes at its end
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": f"suppressions={home / 'suppressions'} halt_on_error=0 exitcode=66",
    }


def left_over(count: int, env: Mapping[str, str]) -> int:
    """Blocks of memory that nothing points to when a process ends in which so many simulators were;
    -1 if it does not tell.
    """
    env = dict(env) | {"ASAN_OPTIONS": "detect_leaks=1", "LSAN_OPTIONS": "exitcode=0:max_leaks=1"}
    done = subprocess.run(
        [sys.executable, "tests/hardening/memory.py", str(count)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    found = re.search(r"leaked in (\d+) allocation", done.stderr)
    print(f"$ {count} simulators leave behind {found[1] if found else '?'} blocks", flush=True)
    return int(found[1]) if found else -1


def leaks(env: Mapping[str, str]) -> bool:
    """Whether simulators leave anything behind: NumPy and the interpreter do, but the same however
    many there were.
    """
    few, many = left_over(480, env), left_over(960, env)
    return (
        few < 0 or many < 0 or many - few >= 20
    )  # a leak in one of the 16 ways that memory.py takes would make 33


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("kind", choices=SANITIZERS)
    p.add_argument(
        "--level",
        default="baseline",
        choices=["baseline", "avx2", "avx512"],
        help="instruction set of the module (default: %(default)s)",
    )
    p.add_argument("--skip-core", action="store_true", help="the Python part only")
    p.add_argument("--select", help="passed on to pytest -k")
    o = p.parse_args()
    folder = ROOT / "build" / f"sanitize-{o.kind}"
    tests = () if o.skip_core else CORE_TESTS
    build(o.kind, o.level, folder, tests)
    home = package(o.level, folder)
    env = environment(o.kind, o.level, home)
    fixed = (
        ["setarch", platform.machine(), "-R"] if o.kind == "threads" else []
    )  # random addresses may lie where the runtime keeps its shadow
    plain = {k: v for k, v in env.items() if k != "LD_PRELOAD"}
    core = plain | {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1"}
    failed = [name for name in tests if run([*fixed, folder / "cpp" / "tests" / name], core)]
    where = subprocess.run(
        [*fixed, sys.executable, "-c", "import seqsgd._core as c; print(c.__file__)"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if not where.stdout.startswith(str(home)):
        print(f"the instrumented package is not what is imported: {where.stdout}{where.stderr}")
        return 1
    if o.kind == "memory":
        files = [f"tests/{name}.py" for name in PYTHON_TESTS]
        select = ["-k", o.select] if o.select else []
        failed += (
            ["pytest"]
            if run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-x",
                    "-p",
                    "no:cacheprovider",
                    *select,
                    *files,
                ],
                env,
            )
            else []
        )
        failed += ["leaks"] if not o.select and leaks(env) else []
    else:
        failed += (
            ["racing"] if run([*fixed, sys.executable, "tests/hardening/racing.py"], env) else []
        )
    print(
        f"{SANITIZERS[o.kind]}: " + (f"failed: {', '.join(failed)}" if failed else "nothing found")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
