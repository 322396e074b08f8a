"""Warnings on the command line: one line each, once."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import click


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print each warning, and each message in matplotlib's log, as one line on stderr."""
    said: set[str] = set()

    def say(message: object) -> None:
        line = " ".join(str(message).split())
        if line not in said:
            said.add(line)
            click.echo(f"seqsgd: warning: {line}", err=True)

    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: say(message)
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
