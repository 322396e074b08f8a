"""Where a result comes from: everything needed to reproduce it."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _version

if TYPE_CHECKING:
    from .._seed import Seed
    from ..models.simulation import Run

FORMAT_VERSION = 2  # 1 had NaN where weak_recovery is inf, and no `complete`


def attributes(run: Run, seed: Seed, wall_time: float, run_steps: int) -> dict[str, Any]:
    """Return the attributes of a result: strings and numbers only, which every netCDF reader
    accepts.
    """
    plain = run.to_plain()
    arguments = {key: value for key, value in plain.items() if key not in ("type", "task")} | {
        "rng": seed.to_plain()
    }
    return {
        "format": "seqsgd result",
        "format_version": FORMAT_VERSION,
        "dynamics": run.dynamics,
        "task": json.dumps(plain["task"]),
        "task_repr": repr(run.task),
        "arguments": json.dumps(arguments),
        "rng_entropy": json.dumps(seed.to_plain()),
        "simd": _core.level,
        "versions": json.dumps(versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_time": wall_time,
        "run_steps_per_second": run_steps / wall_time if wall_time > 0 else 0.0,
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries used."""
    build = {k: str(v) for k, v in _core.build_info().items() if k != "version"}
    return {
        "seqsgd": _version.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        **build,
    }
