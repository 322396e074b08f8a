"""What is in a wheel: `python check_wheel.py dist/*.whl`.

Below 3.5 MB, the headers, the CMake package, the modules, and nothing that belongs to the sources.
"""

import re
import sys
import zipfile
from pathlib import Path

LIMIT = 3_500_000


def problems(path: Path) -> list[str]:
    """What is wrong with a wheel, in words."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        found = (
            [f"{path.stat().st_size} bytes, more than {LIMIT}"]
            if path.stat().st_size > LIMIT
            else []
        )
        cmake = "seqsgd/share/cmake/seqsgd"
        wanted = [
            f"{cmake}/seqsgd{part}.cmake"
            for part in ("Config", "ConfigVersion", "Targets", "Arithmetic")
        ]
        wanted += [
            "seqsgd/__init__.py",
            "seqsgd/selftest.py",
            "seqsgd/py.typed",
            "seqsgd/_core/__init__.pyi",
            "seqsgd/include/seqsgd/seqsgd.hpp",
        ]
        levels = (
            ("cpu", "baseline", "avx2", "avx512")
            if re.search("x86_64|amd64", path.name)
            else ("cpu", "baseline")
        )
        found += [f"no {name}" for name in wanted if name not in names]
        found += [
            f"no compiled module _{level}"
            for level in levels
            if not any(re.fullmatch(rf"seqsgd/_core/_{level}\..*(so|pyd)", n) for n in names)
        ]
        found += [
            f"{name} does not belong there"
            for name in names
            if not name.startswith(("seqsgd/", "seqsgd-"))
            or re.search(r"(\.[co]|\.cpp|CMakeLists\.txt)$", name)
        ]
        included = {
            n.removeprefix("seqsgd/include/") for n in names if n.startswith("seqsgd/include/")
        }
        for name in sorted(included):
            for header in re.findall(
                r'^#include "(.*)"', wheel.read(f"seqsgd/include/{name}").decode(), re.MULTILINE
            ):
                if header not in included:
                    found.append(f"{name} includes {header}, which is not there")
    return found


if __name__ == "__main__":
    wrong = {path: problems(Path(path)) for path in sys.argv[1:]}
    for path, found in wrong.items():
        print(
            f"{Path(path).name}: {Path(path).stat().st_size / 1e6:.2f} MB, "
            f"{'; '.join(found) or 'complete'}"
        )
    sys.exit(1 if any(wrong.values()) or not wrong else 0)
