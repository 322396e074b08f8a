"""Exceptions and warnings of the package."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConfigError",
    "NonFiniteWarning",
    "PrecisionWarning",
    "SimulationInterrupted",
    "StoreError",
    "SweepError",
    "SweepInterrupted",
    "SweepWarning",
]


class PrecisionWarning(UserWarning):
    """Steps of float32 SGD are so short that rounding would lose part of them."""


class NonFiniteWarning(UserWarning):
    """Some runs stopped at a NaN or an overflow; their records before it are kept."""


class ConfigError(ValueError):
    """An entry of a run file (or of any plain dictionary) is wrong; the message starts with its
    dotted path.
    """


class _Interrupted(KeyboardInterrupt):
    """A Ctrl-C that carries the results so far; it can be pickled, as process pools do."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (str(self), self.result),
            {k: v for k, v in vars(self).items() if k != "result"},
        )


class SimulationInterrupted(_Interrupted):
    """Ctrl-C during :func:`seqsgd.simulate`.

    It is a :class:`KeyboardInterrupt`, so code that does not catch it ends as usual.

    Attributes
    ----------
    result : Result
        Everything recorded until then; NaN at steps that were not done.
    """

    result: Any


class StoreError(ValueError):
    """The store of a sweep cannot be used: it is another kind of file, newer, read-only, full or
    damaged.

    Everything stored before is kept.
    """


class SweepError(RuntimeError):
    """A cell of a sweep failed with `errors="raise"`, or its executor cannot be used."""


class SweepWarning(UserWarning):
    """Some cells of a sweep failed or raised warnings."""


class SweepInterrupted(_Interrupted):
    """Ctrl-C during :func:`seqsgd.sweep`; all finished cells are stored.

    Attributes
    ----------
    result : SweepResult
        The results so far. Pickled without a store, it contains all numbers; with a store, only the
        path of the store.
    """

    result: Any
