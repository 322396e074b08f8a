"""The version, from the installed package's metadata, which takes as long to find as a tenth of the
import: so when it is asked for.
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
