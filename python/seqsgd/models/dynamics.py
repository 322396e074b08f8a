"""What each dynamics accepts, as data: arguments are checked before numerical code is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tokens import Correlated, Tokens

if TYPE_CHECKING:
    from .rates import Schedule


@dataclass(frozen=True)
class Traits:
    """Properties of a dynamics.

    Attributes
    ----------
    gaussian : str
        Reason why tokens must be Gaussian, for the error message; "" if every law is accepted.
    moves_weights : bool
        Whether it moves w itself, in `dtype`, so that rounding can remove a short step.
    """

    gaussian: str
    moves_weights: bool


TRAITS = {
    "sampled": Traits(gaussian="", moves_weights=True),
    "reduced": Traits(gaussian="is exact for Gaussian tokens only", moves_weights=False),
    "flow": Traits(gaussian="is derived for Gaussian tokens only", moves_weights=False),
}


def check_tokens(dynamics: str, tokens: str | Tokens) -> None:
    """Raise ValueError if this dynamics does not accept the token law; name one that does."""
    why = TRAITS[dynamics].gaussian
    if why and tokens != "gaussian" and not isinstance(tokens, Correlated):
        raise ValueError(
            f"tokens: dynamics={dynamics!r} {why}, expected 'gaussian' or Correlated, got "
            f"{tokens!r}; use dynamics='sampled'"
        )


def too_coarse(dynamics: str, dtype: str, rate: Schedule, d: int, steps: int) -> str | None:
    """Return the text of a warning if rounding to `dtype` removes steps, otherwise None."""
    least = rate.least(steps)
    if not (TRAITS[dynamics].moves_weights and dtype == "float32"):
        return None
    if 0 < least / math.sqrt(d) < 1e-6:
        return (
            "dtype: float32 rounds away steps as short as lr / sqrt(d) = "
            f"{least / math.sqrt(d):.1e} (lr = {least:.3g}, d = {d}); use dtype='float64'"
        )
    return None
