"""What is available: names that models accept, and the build for bug reports."""

from __future__ import annotations

from pathlib import Path

from . import _core
from .models.dynamics import TRAITS
from .models.simulation import cores
from .results import provenance


def links() -> list[str]:
    """List the names of links that SSI accepts."""
    return list(_core.link_names())


def activations() -> list[str]:
    """List the names of activations that Tied and Untied accept, except "He0" to "He30"."""
    return list(_core.activation_names())


def losses() -> list[str]:
    """List the names of losses that Task accepts."""
    return list(_core.losses())


def dynamics() -> list[str]:
    """List the names of dynamics that simulate accepts."""
    return list(TRAITS)


def build_config() -> dict[str, str]:
    """Return versions, compiler, instruction set and cores, as strings."""
    versions = provenance.versions()
    level = versions.pop("level", _core.level)
    return {
        **versions,
        "instruction set": f"{level} (the environment variable SEQSGD_SIMD forces baseline, avx2 "
        "or avx512)",
        "cores": str(cores()),
    }


def cmake_dir() -> str:
    """Return the folder of the installed CMake package, for CMAKE_PREFIX_PATH or seqsgd_DIR of a
    C++ program.
    """
    compiled = Path(
        _core._cpu.__file__ or ""
    )  # beside it also in an editable install, whose Python sources are elsewhere
    directory = compiled.resolve().parents[1] / "share" / "cmake" / "seqsgd"
    if not (directory / "seqsgdConfig.cmake").exists():
        raise FileNotFoundError(
            f"the CMake package was not installed: there is no {directory / 'seqsgdConfig.cmake'}"
        )
    return directory.as_posix()
