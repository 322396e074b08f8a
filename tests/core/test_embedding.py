"""The C++ example, built as its user would build it: against the installed package, with the
sources taken in, and with each compiler at hand. The program of docs/embedding.md is compiled as
the page says; where what is found and how is tested, -O1 takes half the time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from helpers import ROOT

EXAMPLE = ROOT / "cpp" / "tests" / "embed"
pytestmark = pytest.mark.slow
QUICK = "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"


def tool(name: str) -> str:
    """The one installed beside this Python first."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def eigen() -> list[str]:
    """Where the Eigen of the build requirements is, if it is there; else CMake looks for the
    system's.
    """
    try:
        files = metadata.files("cmeel-eigen") or []
    except metadata.PackageNotFoundError:
        return []
    return [
        f"-DEigen3_DIR={Path(str(f.locate())).parent}"
        for f in files
        if f.name == "Eigen3Config.cmake"
    ]


def build(source: Path, where: Path, *arguments: str) -> str:
    """Configure and build; what CMake said."""
    configure = [
        tool("cmake"),
        "-S",
        str(source),
        "-B",
        str(where),
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        *eigen(),
        *arguments,
    ]
    done = subprocess.run(configure, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = subprocess.run([tool("cmake"), "--build", str(where)], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in made.stdout.lower(), made.stdout
    return done.stdout


def run(program: Path) -> str:
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("on our own random numbers") == 6
    return done.stdout


def cmake_dir() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "seqsgd", "--cmake-dir"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_find_package_in_the_python_package(tmp_path: Path) -> None:
    build(EXAMPLE, tmp_path / "build", f"-Dseqsgd_DIR={cmake_dir()}", QUICK)
    run(tmp_path / "build" / "embed")
    flags = (tmp_path / "build" / "build.ninja").read_text(encoding="utf-8")
    assert (
        "-fno-math-errno" in flags and "-ffp-contract=fast" in flags and "-ffast-math" not in flags
    )


def test_add_subdirectory(tmp_path: Path) -> None:
    build(EXAMPLE, tmp_path / "build", f"-Dseqsgd_SOURCE={ROOT}", "-DNATIVE=OFF", QUICK)
    run(tmp_path / "build" / "embed")
    installed = subprocess.run(
        [tool("cmake"), "--install", str(tmp_path / "build"), "--prefix", str(tmp_path / "prefix")],
        capture_output=True,
        text=True,
    )
    assert (
        installed.returncode == 0 and not (tmp_path / "prefix").exists()
    )  # a guest installs nothing of its own


def test_cmake_install(tmp_path: Path) -> None:
    """Every header is installed and is whole by itself; nothing in the package points back at the
    sources.
    """
    build(ROOT, tmp_path / "seqsgd")
    prefix = tmp_path / "prefix"
    subprocess.run(
        [tool("cmake"), "--install", str(tmp_path / "seqsgd"), "--prefix", str(prefix)],
        check=True,
        capture_output=True,
    )
    headers = {p.name for p in (prefix / "include" / "seqsgd").iterdir()}
    assert headers == {p.name for p in (ROOT / "cpp" / "include" / "seqsgd").iterdir()}
    for path in prefix.rglob("*.cmake"):
        assert str(ROOT) not in path.read_text(encoding="utf-8"), path
    moved = prefix.rename(tmp_path / "elsewhere")
    said = build(EXAMPLE, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={moved}", QUICK)
    assert "error" not in said.lower()
    run(tmp_path / "build" / "embed")


@pytest.mark.parametrize("library", ["libstdc++", "libc++"])
def test_clang(library: str, tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("clang++ is not installed")
    (tmp_path / "probe.cpp").write_text(
        "#include <vector>\nint main() { return int(std::vector<int>(1)[0]); }\n", encoding="utf-8"
    )
    probe = subprocess.run(
        [compiler, f"-stdlib={library}", "probe.cpp", "-o", "probe"],
        cwd=tmp_path,
        capture_output=True,
    )
    if probe.returncode:
        pytest.skip(f"clang++ has no {library}")
    build(
        EXAMPLE,
        tmp_path / "build",
        f"-Dseqsgd_DIR={cmake_dir()}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        f"-DCMAKE_CXX_FLAGS=-stdlib={library} -Wall -Wextra -Werror",
        QUICK,
    )
    run(tmp_path / "build" / "embed")


def test_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(p LANGUAGES CXX)\nfind_package(seqsgd 9.0 "
        "REQUIRED)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            tool("cmake"),
            "-S",
            str(tmp_path),
            "-B",
            str(tmp_path / "b"),
            f"-Dseqsgd_DIR={cmake_dir()}",
            *eigen(),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "version" in done.stderr


PROJECT = """cmake_minimum_required(VERSION 3.20)
project(p LANGUAGES CXX)
{0}
add_executable(p main.cpp)
target_link_libraries(p PRIVATE seqsgd::seqsgd)
"""


@pytest.mark.parametrize("source", [True, False], ids=["add_subdirectory", "find_package"])
@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        ([], True),
        (["-DCMAKE_CXX_FLAGS=-Wall"], True),
        (["-DCMAKE_BUILD_TYPE=Release"], False),
        (["-DCMAKE_BUILD_TYPE=Debug"], False),
        (["-DCMAKE_CXX_FLAGS=-march=native -O2"], False),
    ],
)
def test_a_program_compiled_without_optimisation_is_warned_of(
    source: bool, arguments: list[str], warned: bool, tmp_path: Path
) -> None:
    take = f"add_subdirectory({ROOT} seqsgd)" if source else "find_package(seqsgd 0.1 REQUIRED)"
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(take), encoding="utf-8")
    (tmp_path / "main.cpp").write_text(
        "#include <seqsgd/seqsgd.hpp>\nint main() {}\n", encoding="utf-8"
    )
    command = [
        tool("cmake"),
        "-S",
        str(tmp_path),
        "-B",
        str(tmp_path / "b"),
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        *eigen(),
        *arguments,
    ]
    done = subprocess.run(
        [*command, *([] if source else [f"-Dseqsgd_DIR={cmake_dir()}"])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert ("CMAKE_BUILD_TYPE is not set" in done.stderr) == warned, done.stderr


def test_the_program_of_the_page(tmp_path: Path) -> None:
    """docs/embedding.md as it is written: its CMake file, its commands' flags, its program."""
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    cmake, code = (
        re.search(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("cmake", "cpp")
    )
    assert cmake and code
    include, _, body = code[1].partition("using namespace seqsgd;\n")
    (tmp_path / "CMakeLists.txt").write_text(cmake[1], encoding="utf-8")
    (tmp_path / "main.cpp").write_text(
        f"{include}using namespace seqsgd;\nint main() {{\nconst int L = 4;\n{body}\nreturn m > "
        f"0.3 ? 0 : 1;\n}}\n",
        encoding="utf-8",
    )
    flags = re.findall(r"-DCMAKE_BUILD_TYPE=\w+", page.split("```sh")[1])
    assert flags == ["-DCMAKE_BUILD_TYPE=Release"]
    build(tmp_path, tmp_path / "build", *flags, f"-Dseqsgd_DIR={cmake_dir()}")
    assert subprocess.run([tmp_path / "build" / "my_program"]).returncode == 0
