"""The version, from the metadata of the installed package. Reading it takes a tenth of the import
time, so it is read on first use.
"""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str


@functools.cache
def _found() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("seqsgd")
    except PackageNotFoundError:  # imported from a bare source tree
        return "0.0.0"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _found()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
