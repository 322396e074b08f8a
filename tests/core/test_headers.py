"""The rooms of the C++ core: every header compiles alone, includes point downwards only, and what
belongs to one instruction set stands in simd/ only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

INCLUDE = Path(__file__).parents[2] / "cpp" / "include"
HEADERS = sorted(INCLUDE.rglob("*.hpp"))
# from the lowest up; a room may include itself and what stands before it
ROOMS = ["simd", "random", "model", "state", "sampled", "reduced", "run"]
APART = {("sampled", "reduced"), ("reduced", "sampled"), ("state", "model")}
OF_A_LEVEL = re.compile(
    r"\b_mm\d*_\w+|\b__m(?:128|256|512)\w*|\b__mmask\d+|\bSEQSGD_AVX\w*|\b__AVX\w*"
    r"|\bvector_size\b|\bsimd::bytes\s*[=<>!]"
)


def room(header: Path) -> str:
    """The folder below seqsgd/, empty for seqsgd.hpp itself."""
    parts = header.relative_to(INCLUDE / "seqsgd").parts
    return parts[0] if len(parts) > 1 else ""


def includes(text: str) -> list[str]:
    """Rooms that a header includes from."""
    return re.findall(r'#include "seqsgd/(\w+)/', text)


def upwards(source: str, text: str) -> list[str]:
    """Rooms that a header of room `source` must not include, and does."""
    below = ROOMS[: ROOMS.index(source) + 1]
    return [r for r in includes(text) if r not in below or (source, r) in APART]


def test_there_are_headers_in_every_room():
    assert {room(h) for h in HEADERS} == {*ROOMS, ""}


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: str(h.relative_to(INCLUDE)))
def test_includes_point_downwards(header: Path):
    text = header.read_text()
    assert not re.findall(r'#include "(?!seqsgd/)', text)
    assert room(header) == "" or upwards(room(header), text) == []


def test_an_arrow_upwards_is_found():
    assert upwards("random", '#include "seqsgd/state/start.hpp"\n') == ["state"]
    assert upwards("reduced", '#include "seqsgd/sampled/dynamics.hpp"\n') == ["sampled"]


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: str(h.relative_to(INCLUDE)))
def test_instruction_sets_are_known_to_simd_alone(header: Path):
    if room(header) != "simd":
        assert OF_A_LEVEL.findall(header.read_text()) == []


def test_what_belongs_to_one_instruction_set_is_found():
    for text in ("_mm256_add_pd(a, b)", "__m512d x;", "#if defined(SEQSGD_AVX2)"):
        assert OF_A_LEVEL.search(text)
    assert OF_A_LEVEL.search("simd::bytes == 64") and not OF_A_LEVEL.search("L * simd::bytes")


def missing_includes(headers: list[Path], folder: Path) -> dict[str, str]:
    """What a compiler says of headers that do not compile alone. Two seconds each."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    eigen = _eigen()
    if compiler is None or eigen is None:
        raise RuntimeError("needs a C++ compiler and Eigen")

    def errors(header: Path) -> str:
        unit = folder / f"{header.parent.name}_{header.stem}.cpp"
        unit.write_text(f'#include "{header.relative_to(INCLUDE).as_posix()}"\n')
        flags = ["-std=c++17", "-fsyntax-only", "-O0", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
        command = [compiler, *flags, "-I", str(INCLUDE), "-isystem", eigen, str(unit)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stderr if done.returncode else ""

    with ThreadPoolExecutor(2) as pool:
        return {str(h): e for h, e in zip(headers, pool.map(errors, headers)) if e}


@pytest.mark.slow
def test_a_header_of_each_room_compiles_alone(tmp_path: Path):
    """All of them are compiled by .ci/run, which runs this file as a program."""
    if shutil.which("c++") is None or _eigen() is None:
        pytest.skip("needs a C++ compiler and Eigen")
    first = {room(h): h for h in HEADERS}
    assert missing_includes(list(first.values()), tmp_path) == {}


def test_a_missing_include_is_found(tmp_path: Path, monkeypatch):
    if shutil.which("c++") is None or _eigen() is None:
        pytest.skip("needs a C++ compiler and Eigen")
    header = tmp_path / "seqsgd" / "poor.hpp"
    header.parent.mkdir()
    header.write_text("inline std::vector<int> v;\n")
    monkeypatch.setattr(sys.modules[__name__], "INCLUDE", tmp_path)
    assert list(missing_includes([header], tmp_path)) == [str(header)]


def _eigen() -> str | None:
    """Where Eigen's headers are: the cmeel-eigen wheel, or the system."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [f for f in files("cmeel-eigen") or () if str(f).endswith("eigen3/Eigen/Core")]
    except PackageNotFoundError:
        found = []
    for place in [*(Path(str(f.locate())).parents[1] for f in found), Path("/usr/include/eigen3")]:
        if (place / "Eigen" / "Core").exists():
            return str(place)
    return None


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        failed = missing_includes(HEADERS, Path(folder))
    sys.exit("\n".join(f"{h}:\n{e}" for h, e in failed.items()) or None)
