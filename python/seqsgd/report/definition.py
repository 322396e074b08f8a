"""The definition of a figure: settings, a computation, a picture, and findings on each claim."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _checks

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure as Picture

    from .runner import Runner

VERDICTS = ("agree", "disagree", "cannot tell")
SIZES = ("quick", "full")


@dataclass(frozen=True)
class Settings:
    """Settings of a figure; each figure has its own subclass.

    Attributes
    ----------
    seed : int
        Seed of all simulations of the figure.
    """

    seed: int = 0

    def replaced(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy with some values changed.

        Lists become tuples; a value must have the type of the one it replaces.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, or a value has another type.
        """
        changed = dataclasses.replace(
            self, **{name: self._value(name, value) for name, value in changes.items()}
        )
        changed.check()
        return changed

    def check(self) -> None:
        """Refuse invalid settings before anything runs; each figure has its own checks."""

    def _alike(self, *names: str) -> None:
        """Refuse lists that belong together and have different lengths."""
        lengths = [len(getattr(self, name)) for name in names]
        for name, length in zip(names, lengths, strict=True):
            if length != lengths[0]:
                raise ValueError(
                    f"settings.{name}: expected {lengths[0]} values, as many as {names[0]}, got "
                    f"{length}"
                )

    def _least(self, least: float, *names: str) -> None:
        """Refuse numbers, or lists with a number, below a bound."""
        for name in names:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if number < least:
                    raise ValueError(
                        f"settings.{name}: expected "
                        f"{'numbers' if isinstance(value, tuple) else 'a number'} >= {least:g}, "
                        f"got {number:g}"
                    )

    def _positive(self, *names: str) -> None:
        """Refuse rates, or lists of rates, that are not above 0."""
        for name in names:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not number > 0:
                    raise ValueError(
                        f"settings.{name}: expected "
                        f"{'numbers' if isinstance(value, tuple) else 'a number'} > 0, got "
                        f"{number:g}"
                    )

    def _value(self, name: str, value: Any) -> Any:
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if name not in known:
            raise ValueError(f"settings: unknown name {name!r}, expected one of {', '.join(known)}")
        return _like(f"settings.{name}", known[name], value)

    def to_json(self) -> str:
        """Return the settings as text, for the attributes of a dataset."""
        return json.dumps(dataclasses.asdict(self))


def _like(name: str, old: Any, value: Any) -> Any:
    if isinstance(old, bool):
        return _checks.boolean(name, value)
    if isinstance(old, int):
        whole = isinstance(value, float) and value.is_integer()  # 3e2, as people write it
        return _checks.integer(name, int(value) if whole else value, 0)
    if isinstance(old, float):
        return _checks.number(name, value)
    if isinstance(old, str):
        return _checks.instance(name, value, str, "a text")
    _checks.instance(name, value, (list, tuple), "a list")
    if not value:
        raise ValueError(f"{name}: expected a list of at least one value, got none")
    return tuple(_like(name, old[0], v) for v in value)


@dataclass(frozen=True)
class Finding:
    """A claim, its measurement and the verdict.

    Attributes
    ----------
    claim : str
        Claim of the paper or prediction of a law.
    measured : str
        Measured value, with its interval.
    verdict : {"agree", "disagree", "cannot tell"}
    why : str
        Reason for the verdict, or cause of the difference.
    """

    claim: str
    measured: str
    verdict: str
    why: str = ""

    def __post_init__(self) -> None:
        _checks.choice("verdict", self.verdict, VERDICTS)


@dataclass(frozen=True)
class Figure:
    """The definition of a figure.

    Attributes
    ----------
    name : str
        The paper's number, or a word for figures that are not in the paper.
    title : str
    about : str
        What is simulated and what is drawn, in a few sentences, for the full size.
    quick, full : Settings
        Settings for a quick version, under a minute on two cores, and for the paper's size.
    compute : callable
        (settings, runner) -> Dataset. Picture and findings use only this dataset.
    draw : callable
        Dataset -> matplotlib figure.
    judge : callable
        Dataset -> findings; each comes from :mod:`seqsgd.report.verdicts`, which requires data for
        a verdict.
    words : callable, optional
        Settings -> (title, about), if these depend on the settings.
    """

    name: str
    title: str
    about: str
    quick: Settings
    full: Settings
    compute: Callable[[Any, Runner], xr.Dataset]
    draw: Callable[[xr.Dataset], Picture]
    judge: Callable[[xr.Dataset], list[Finding]]
    words: Callable[[Any], tuple[str, str]] | None = None

    def described(self, settings: Settings) -> tuple[str, str]:
        """Return title and `about` for these settings."""
        return self.words(settings) if self.words else (self.title, self.about)

    def settings(self, size: str = "quick", changes: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a size, with changes."""
        _checks.choice("size", size, SIZES)
        chosen: Settings = getattr(self, size)
        return chosen.replaced(changes or {})
