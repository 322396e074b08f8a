"""The key of a cell, which names its results in a store, and the seed that it gets within a sweep."""

from __future__ import annotations

from .._run import Run
from .._seed import Seed
from ..models.identity import Functions, canonical, digest

# Grows when the same arguments come to mean something else; cells of a store that have an older key are computed again.
# 2: functions of the user's are known by all they rest on.
KEY_VERSION = 2

SIZE = ("runs", "first_run", "threads")  # how much of a cell is computed at once, and on what
WATCHED = ("steps", "record", "stop")  # how long a cell is followed, and how it is looked at


def identify(run: Run, seed: Seed | None, root: Seed | None, functions: Functions) -> tuple[Seed, bytes]:
    """Seed and key of a cell; without a seed of its own it has one from `root` and from what it simulates.

    Raises
    ------
    Unknown
        A ValueError: a function that cannot be told from another one, unless `functions` is loose.
    """
    fields = canonical(run, "", functions)
    for name in SIZE:
        del fields[name]
    if seed is None:
        assert root is not None
        what = digest({k: v for k, v in fields.items() if k not in WATCHED})
        words = (int.from_bytes(what[i : i + 4], "little") for i in range(0, 16, 4))
        seed = Seed(root.entropy, (*root.spawn_key, *words), root.pool_size)
    return seed, digest({"version": KEY_VERSION, "run": fields, "rng": seed.to_plain()})
