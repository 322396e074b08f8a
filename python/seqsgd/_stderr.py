"""Standard error in any state: a terminal, a file, a writer without isatty, closed, or None.

Output there never ends a simulation.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from ._signals import signalled


def watched() -> bool:
    """Return whether stderr is a terminal."""
    try:
        return bool(sys.stderr.isatty())
    except Exception as e:
        if signalled(e):
            raise
        return False


class _Safe:
    """A stream that ignores what cannot be written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._stream, name)(*arguments)
        except Exception as e:
            if signalled(e):
                raise
            return None

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")


def say(line: str) -> None:
    """Print one line, if possible."""
    if sys.stderr is not None:
        print(line, file=_Safe(sys.stderr), flush=True)


class NoBar:
    """Stands in for a progress bar."""

    n = 0

    def update(self, n: int) -> None:
        pass

    def close(self) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        pass


def bar(wanted: bool | None, total: int, initial: int = 0, **options: Any) -> Any:
    """Return a progress bar if it is wanted, or by default if stderr is a terminal."""
    if sys.stderr is None or not (watched() if wanted is None else wanted):
        return NoBar()
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        unit=" steps",
        unit_scale=True,
        smoothing=0.1,
        leave=False,
        file=_Safe(sys.stderr),
        **options,
    )


def warn(message: str, category: type[Warning], stacklevel: int) -> None:
    """Call `warnings.warn`, which raises ValueError if stderr is closed."""
    try:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    except (AttributeError, OSError, ValueError) as e:
        if signalled(e):
            raise
