"""The key of a cell, which names its results in a store, and its seed within a sweep."""

from __future__ import annotations

from typing import Any

from .._seed import Seed
from ..models.identity import NAME_IT, Functions, canonical, digest
from ..models.simulation import Run

# Grows when the same arguments come to mean something else; cells that a store has under an older
# key are computed again.
# 2: user functions are identified by all they depend on.
KEY_VERSION = 2
KEY_VERSIONS = {"flow": 3}  # 3: flows start where reduced runs start

SIZE = ("runs", "first_run", "threads")  # how much of a cell is computed at once, and on what
WATCHED = ("steps", "record", "stop")  # how long a cell is followed, and how it is looked at


def identify(
    run: Run, seed: Seed | None, root: Seed | None, functions: Functions
) -> tuple[Seed, bytes]:
    """Return seed and key of a cell: its own seed, or one from `root` and what it simulates.

    Raises
    ------
    Unknown
        If a function cannot be identified, unless `functions` is loose. It is a ValueError.
    """
    global _own
    _own = True
    return _identify(run, seed, root, functions)


_own = False  # whether this process makes keys: then they are of the functions that it has
_ran: dict[int, Any] = {}  # functions that have been at work here: they may change their data


def check(run: Run, seed: Seed, key: bytes) -> None:
    """Refuse functions that differ from those in the key.

    A worker process imports them from its own modules, which may be another version.

    Raises
    ------
    ValueError
    """
    if _own:
        return
    functions = Functions(loose=True)
    _, here = _identify(run, seed, None, functions)
    new = [where for where, f in functions.met.items() if id(f) not in _ran]
    if new and here != key and not functions.unknown:
        raise ValueError(
            f"{new[0]}: the worker has another version of the function than the sweep: its module "
            f"has changed, or something that it depends on differs; {NAME_IT}"
        )
    if len(_ran) > 1000:  # of functions that come with each order
        _ran.clear()
    _ran.update((id(f), f) for f in functions.met.values())


def _identify(
    run: Run, seed: Seed | None, root: Seed | None, functions: Functions
) -> tuple[Seed, bytes]:
    fields = canonical(run, "", functions)
    for name in SIZE:
        del fields[name]
    if seed is None:
        assert root is not None
        what = digest({k: v for k, v in fields.items() if k not in WATCHED})
        words = (int.from_bytes(what[i : i + 4], "little") for i in range(0, 16, 4))
        seed = Seed(root.entropy, (*root.spawn_key, *words), root.pool_size)
    version = KEY_VERSIONS.get(run.dynamics, KEY_VERSION)
    return seed, digest({"version": version, "run": fields, "rng": seed.to_plain()})
