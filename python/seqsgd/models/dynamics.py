"""What each dynamics accepts, as data: the specification of a simulation is checked against it
before anything that computes is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tokens import Correlated, Tokens

if TYPE_CHECKING:
    from .rates import Schedule


@dataclass(frozen=True)
class Traits:
    """What a dynamics can do.

    Parameters
    ----------
    gaussian : str
        Why tokens must be Gaussian, for the message that refuses others; "" if any law will do.
    moves_weights : bool
        Whether it moves w itself in `dtype`, so that a short step can be rounded away.
    """

    gaussian: str
    moves_weights: bool


TRAITS = {
    "sampled": Traits(gaussian="", moves_weights=True),
    "reduced": Traits(gaussian="is exact for Gaussian tokens only", moves_weights=False),
    "flow": Traits(gaussian="is derived for Gaussian tokens only", moves_weights=False),
}


def check_tokens(dynamics: str, tokens: str | Tokens) -> None:
    """Refuse a law of tokens that this dynamics cannot take, naming the one that can."""
    why = TRAITS[dynamics].gaussian
    if why and tokens != "gaussian" and not isinstance(tokens, Correlated):
        raise ValueError(
            f"tokens: dynamics={dynamics!r} {why}, expected 'gaussian' or Correlated, got "
            f"{tokens!r}; use dynamics='sampled'"
        )


def too_coarse(dynamics: str, dtype: str, rate: Schedule, d: int, steps: int) -> str | None:
    """What to warn of where `dtype` rounds steps away."""
    least = rate.least(steps)
    if not (TRAITS[dynamics].moves_weights and dtype == "float32"):
        return None
    if 0 < least / math.sqrt(d) < 1e-6:
        return (
            "dtype: float32 rounds away steps as short as lr / sqrt(d) = "
            f"{least / math.sqrt(d):.1e} (lr = {least:.3g}, d = {d}); use dtype='float64'"
        )
    return None
