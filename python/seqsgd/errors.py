"""The exceptions and warnings a caller may want to catch by name."""

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
    """A step of float32 SGD is so short that rounding would swallow part of it."""


class NonFiniteWarning(UserWarning):
    """Some runs met a NaN or an overflow and stopped at that step; what they recorded before is
    kept.
    """


class ConfigError(ValueError):
    """One entry of a run file (or of any plain dictionary) is wrong; the message starts with its
    dotted path.
    """


class _Interrupted(KeyboardInterrupt):
    """A Ctrl-C that brings along what there is; it can be pickled, as a process pool does."""

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

    It is a :class:`KeyboardInterrupt`, so code that does not know of it ends as usual.

    Attributes
    ----------
    result : Result
        Everything recorded until then; NaN where the runs had not arrived.
    """

    result: Any


class StoreError(ValueError):
    """The store of a sweep cannot be used: of another kind, newer, read-only, full or damaged.

    What was stored before is not lost.
    """


class SweepError(RuntimeError):
    """A cell of a sweep failed and `errors="raise"` was asked for, or its executor is of no use."""


class SweepWarning(UserWarning):
    """Some cells of a sweep failed, or have something to say."""


class SweepInterrupted(_Interrupted):
    """Ctrl-C during :func:`seqsgd.sweep`; all finished cells are stored.

    Attributes
    ----------
    result : SweepResult
        What there is. Pickled, that of a sweep without a store has all its numbers with it, and
        that of others the path of the store.
    """

    result: Any
