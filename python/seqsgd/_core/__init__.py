"""The compiled core: one module per instruction set, of which the widest that this processor runs
is loaded.

Private. The environment variable ``SEQSGD_SIMD`` (``baseline``, ``avx2``, ``avx512``) forces one;
an unknown or unsupported value raises ImportError.
"""

import importlib
import os

from . import _cpu

LEVELS = ("baseline", "avx2", "avx512")


def _choose() -> str:
    widest = _cpu.widest()
    supported = LEVELS[: LEVELS.index(widest) + 1]
    forced = os.environ.get("SEQSGD_SIMD")
    if not forced:
        return widest
    if forced not in LEVELS:
        raise ImportError(f"SEQSGD_SIMD: expected one of {', '.join(LEVELS)}, got '{forced}'")
    if forced not in supported:
        raise ImportError(
            f"SEQSGD_SIMD: this processor supports {', '.join(supported)}, got '{forced}'"
        )
    return forced


globals().update(
    {
        k: v
        for k, v in vars(importlib.import_module(f"seqsgd._core._{_choose()}")).items()
        if not k.startswith("__")
    }
)
