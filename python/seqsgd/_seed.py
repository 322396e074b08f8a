"""Randomness: from a user's `rng` to one 64-bit seed of the core, and to what must be stored to
reproduce it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _checks

Rng = int | np.random.SeedSequence | np.random.Generator | None


def _whole(value: Any) -> tuple[int, ...]:
    """Return entropy as a flat tuple; NumPy accepts nested sequences and strings of digits, in this
    order.
    """
    if isinstance(value, (int, np.integer)):
        return (int(value),)
    if isinstance(value, str):
        return (int(value, 16 if value.startswith("0x") else 10),)
    try:
        return tuple(n for v in value for n in _whole(v))
    except (TypeError, ValueError):
        wanted = "rng: expected a numpy SeedSequence of integers"
        raise TypeError(f"{wanted}, got one of {_checks.short(value)}") from None


@dataclass(frozen=True)
class Seed:
    """Entropy, spawn key and pool size of a NumPy SeedSequence: everything that the randomness of a
    run depends on.
    """

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...] = ()
    pool_size: int = 4

    @classmethod
    def of(cls, rng: Rng) -> Seed:
        """Return fresh entropy for None; draw 128 bits from a Generator (which advances it); touch
        nothing global.
        """
        if rng is None:
            rng = np.random.SeedSequence()
        if isinstance(rng, np.random.Generator):
            low, high = rng.integers(0, 2**64, size=2, dtype=np.uint64).tolist()
            return cls(int(low) | int(high) << 64)
        if isinstance(rng, np.random.SeedSequence):
            e: Any = rng.entropy
            entropy = int(e) if isinstance(e, (int, np.integer)) else _whole(e)
            return cls(entropy, _whole(rng.spawn_key), int(rng.pool_size))
        if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
            raise TypeError(
                "rng: expected an integer >= 0, a numpy SeedSequence, a numpy Generator or None, "
                f"got {_checks.short(rng)}"
            )
        return cls(_checks.integer("rng", rng, 0, unbounded=True))

    @property
    def sequence(self) -> np.random.SeedSequence:
        """Return what to pass as `rng` to repeat the run."""
        return np.random.SeedSequence(
            self.entropy, spawn_key=self.spawn_key, pool_size=self.pool_size
        )

    @property
    def value(self) -> int:
        """Return the 64-bit seed of the core."""
        return int(self.sequence.generate_state(1, np.uint64)[0])

    def to_plain(self) -> Any:
        """Return the integer itself if that is all; otherwise all parts."""
        if self == Seed(self.entropy) and isinstance(self.entropy, int):
            return self.entropy
        entropy = self.entropy if isinstance(self.entropy, int) else list(self.entropy)
        return {"entropy": entropy, "spawn_key": list(self.spawn_key), "pool_size": self.pool_size}

    @classmethod
    def from_plain(cls, value: Any) -> Seed:
        """Invert `to_plain`."""
        if isinstance(value, dict):
            e = value["entropy"]
            return cls(
                e if isinstance(e, int) else tuple(e), tuple(value["spawn_key"]), value["pool_size"]
            )
        return cls(int(value))
