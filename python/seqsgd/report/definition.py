"""What a figure is: settings, a computation, a picture, and what the data say of the claim."""

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
    """What a figure is computed with; each figure has its own subclass.

    Attributes
    ----------
    seed : int
        Of all simulations of the figure.
    """

    seed: int = 0

    def replaced(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with some values changed.

        Lists become tuples; a value is of the kind that it replaces.

        Raises
        ------
        ValueError, TypeError
            An unknown name, or a value of another kind.
        """
        changed = dataclasses.replace(
            self, **{name: self._value(name, value) for name, value in changes.items()}
        )
        changed.check()
        return changed

    def check(self) -> None:
        """Refuse what a figure cannot be made with, before anything runs; each figure has its own."""

    def _alike(self, *names: str) -> None:
        """Refuse lists that go together and are not equally long."""
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
        """As text, for the attributes of a dataset."""
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
    """One claim beside what was measured.

    Attributes
    ----------
    claim : str
        What the paper, or a law, says.
    measured : str
        What came out, with its interval.
    verdict : {"agree", "disagree", "cannot tell"}
    why : str
        What the verdict rests on, or where the difference comes from.
    """

    claim: str
    measured: str
    verdict: str
    why: str = ""

    def __post_init__(self) -> None:
        _checks.choice("verdict", self.verdict, VERDICTS)


@dataclass(frozen=True)
class Figure:
    """A figure, before it is made.

    Attributes
    ----------
    name : str
        The paper's number of it, or a word for those that are ours.
    title : str
    about : str
        What is run and what is drawn, in a few sentences, for the full size.
    quick, full : Settings
        The size for a first look, under a minute on two cores, and that of the paper.
    compute : callable
        (settings, runner) -> Dataset, from which alone the picture and the findings are made.
    draw : callable
        Dataset -> matplotlib figure.
    judge : callable
        Dataset -> findings; each comes from :mod:`seqsgd.report.verdicts`, which demands data for
        a verdict.
    words : callable, optional
        Settings -> (title, about), where these depend on the settings.
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
        """Title and `about` for these settings."""
        return self.words(settings) if self.words else (self.title, self.about)

    def settings(self, size: str = "quick", changes: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a size, with changes."""
        _checks.choice("size", size, SIZES)
        chosen: Settings = getattr(self, size)
        return chosen.replaced(changes or {})
