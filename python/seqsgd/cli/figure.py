"""The command `seqsgd figure`, without its options."""

from __future__ import annotations

import sys
from typing import Any

import click

from .. import _files, figures
from ..errors import ConfigError
from ..figures.build import check_spared
from ..sweeps.cost import duration
from .tomlfile import toml_value


def run_figures(
    names: tuple[str, ...],
    *,
    quick: bool,
    full: bool,
    output: str,
    sets: tuple[str, ...],
    page: str | None,
    redraw: bool,
    force: bool,
    workers: int | None,
    quiet: bool,
) -> int:
    """Make figures and return the exit code. Errors of the user raise before anything runs."""
    if names == ("list",):
        for name in figures.names():
            click.echo(f"{name:14s} {figures.figure(name).title}")
        return 0
    if quick and full:
        raise ConfigError("--full: cannot be combined with --quick")
    if redraw and (quick or full or force):
        raise ConfigError(
            "--redraw: computes nothing, cannot be combined with "
            f"--{'full' if full else 'quick' if quick else 'force'}"
        )
    size = "full" if full else "quick"
    wanted = [figures.figure(name) for name in (figures.names() if names == ("all",) else names)]
    changes = dict(_setting(text) for text in sets)
    if changes and (len(wanted) > 1 or redraw):
        raise ConfigError("--set: needs exactly one figure that is computed")
    for f in wanted:
        settings = f.settings(size, changes)
        if not (force or redraw):
            check_spared(f, settings, output)
    if page is not None:
        _files.check_folder("page", page)
    seconds = 0.0
    for f in wanted:
        try:
            made = (
                figures.redraw(f, output)
                if redraw
                else figures.make(
                    f,
                    size,
                    output,
                    changes=changes,
                    workers=workers,
                    progress=False if quiet else None,
                    force=force,
                )
            )
        except KeyboardInterrupt:
            click.echo(
                f"seqsgd: interrupted in figure {f.name}; finished cells are kept in "
                f"{output!r}; the same command continues",
                err=True,
            )
            return 130
        seconds += made.seconds
        if not quiet:
            _tell(made)
    if page is not None:
        figures.write(figures.names(), output, page)
    if not quiet and len(wanted) > 1:
        click.echo(f"{len(wanted)} figures in {duration(seconds)}" + (f"; {page}" if page else ""))
    return 0


def _tell(made: figures.BuiltFigure) -> None:
    click.echo(f"figure {made.figure.name}: {made.title} ({duration(made.seconds)})")
    for f in made.findings:
        click.echo(
            f"  {f.verdict:12s} {f.claim}: {f.measured}"
            + (f" ({f.why})" if f.verdict == "cannot tell" else "")
        )
    click.echo(f"  wrote {', '.join(str(p) for p in made.files.values())}")
    sys.stdout.flush()


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise ConfigError(f"--set: expected NAME=VALUE, got {text!r}")
    return name, toml_value(name, value)
