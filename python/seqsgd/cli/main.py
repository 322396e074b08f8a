"""The command line: run files in, data and pictures out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from .. import _files, _stderr
from .._seed import Seed
from .._version import __version__
from ..dynamics.table import check_memory
from ..errors import SimulationInterrupted
from ..info import build_config
from ..plots import drawing
from ..plots.bands import COLOURS
from ..plots.runs import figure_options
from ..results.checkpoint import Checkpoint
from ..results.resultset import ResultSet
from ..simulate import simulate
from .runfile import Case, RunFile, read
from .warnings import one_line_warnings

EXAMPLE = "learning_curves.toml"
SWEEP_EXAMPLE = "transition.toml"
INTERRUPTED = "-interrupted"  # suffix of files after Ctrl-C, which leave complete ones untouched


class _Refused(click.ClickException):
    """An error of the user."""

    exit_code = 2


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog="`python -m seqsgd --cmake-dir` prints the folder of the CMake package, for C++ "
    "programs.",
)
@click.version_option(__version__, prog_name="seqsgd", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """One-pass spherical SGD for sequence single-index models and single-layer attention
    networks.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


@cli.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--example",
    is_flag=True,
    help="Run the learning curves that come with the package (see `seqsgd example`).",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of [base], such as d=500 or task.loss=square, in every case. May be "
    "repeated.",
)
@click.option(
    "--output",
    metavar="STEM",
    help="Write STEM.nc and STEM.png, after Ctrl-C STEM-interrupted.*; for a folder/, name the "
    "files in it like the run file.",
)
@click.option("--quiet", is_flag=True, help="Show no progress bar and no report.")
def run(
    file: Path | None, example: bool, sets: tuple[str, ...], output: str | None, quiet: bool
) -> None:
    """Run the simulations of a TOML file; write STEM.nc (data) and STEM.png (picture)."""
    if (file is None) != example:
        raise _Refused("run: expected a FILE, or --example for the one that comes with the package")
    try:
        source = example_path() if file is None else file
        plan = read(source, sets)
        stem = plan.output if output is None else _files.stem(output, source.stem)
        for name in (stem, stem + INTERRUPTED):
            _files.check_netcdf("output", f"{name}.nc")
            _files.check_folder("output", f"{name}.png")
        for i, case in enumerate(plan.cases):
            check_memory(case.run)
            _check_checkpoint(plan, i)
    except (ValueError, TypeError, MemoryError) as e:
        raise _Refused(str(e)) from None
    for note in () if quiet else plan.notes:
        click.echo(f"seqsgd: {note}", err=True)
    results, interrupted = _all(plan, quiet)
    title = plan.title
    if interrupted is not None:  # does not replace a complete file of that name
        stem += INTERRUPTED
        where = f" in case {len(results)} of {len(plan.cases)}" if len(plan.cases) > 1 else ""
        title = f"{title} (interrupted{where})".strip()
    panels = {c.label: c.panel for c in plan.cases if c.label in results}
    written = _write(ResultSet(results, title, panels), stem, several=len(plan.cases) > 1)
    if interrupted is not None:
        kept = (
            f"; {plan.checkpoint!r} is kept, the same command continues from it"
            if plan.checkpoint
            else ""
        )
        click.echo(f"seqsgd: interrupted; wrote what was recorded to {written}{kept}", err=True)
        sys.exit(130)
    if not quiet:
        click.echo(f"wrote {written}")


@cli.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--example",
    is_flag=True,
    help="Sweep the example that comes with the package (see `seqsgd example transition`).",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, print the numbers of cells and steps and the estimated time, and stop.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of [base] or a top-level key, such as d=500 or rng=1. May be repeated.",
)
@click.option("--store", metavar="FILE", help="Keep the results in FILE.")
@click.option(
    "--output",
    metavar="FILE",
    help="At the end, write all results to FILE: netCDF (.nc) or zarr (.zarr).",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Use N processes instead of threads."
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Use the workers of a dask scheduler, such as tcp://host:8786.",
)
@click.option("--quiet", is_flag=True, help="Show no progress and no report.")
def sweep(file: Path | None, **options: Any) -> None:
    """Run a grid of simulations from a TOML file.

    Cells in the store are not computed again: the same command continues after Ctrl-C or a crash.
    """
    from .sweep import run_sweep

    if (file is None) != options.pop("example"):
        raise _Refused(
            "sweep: expected a FILE, or --example for the one that comes with the package"
        )
    try:
        code = run_sweep(example_path(SWEEP_EXAMPLE) if file is None else file, **options)
    except (ValueError, TypeError, MemoryError) as e:
        raise _Refused(str(e)) from None
    sys.exit(code)


def _figure_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete names of figures in the shell."""
    from .. import figures

    given = context.params.get("names") or ()
    every = (*figures.names(), "all", "list")
    return [name for name in every if name.startswith(incomplete) and name not in given]


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=_figure_names)
@click.option(
    "--quick",
    is_flag=True,
    help="Quick size: under a minute per figure on two cores (the default).",
)
@click.option("--full", is_flag=True, help="Size of the paper: minutes per figure.")
@click.option(
    "--output",
    default="figures",
    metavar="DIR",
    help="Write figure-NAME.nc, .png, .pdf and .md to DIR (default: figures).",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of one figure, such as d=500 or omegas=11. May be repeated.",
)
@click.option(
    "--page", metavar="FILE", help="Afterwards, write a Markdown page about all figures in DIR."
)
@click.option(
    "--redraw", is_flag=True, help="Draw and judge again from the data in DIR, without computing."
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace a figure of full size, or with changed settings, by one with other settings.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Use N threads (default: all cores)."
)
@click.option("--quiet", is_flag=True, help="Show no progress and no report.")
def figure(names: tuple[str, ...], **options: Any) -> None:
    """Make figures: those of the paper by number, others by name; `all` makes all, `list` lists
    them.

    The same command continues an interrupted figure where it stopped.
    """
    from .figure import run_figures

    try:
        code = run_figures(names, **options)
    except (ValueError, TypeError, MemoryError) as e:
        raise _Refused(str(e)) from None
    sys.exit(code)


@cli.command()
def info() -> None:
    """Print what is installed, for bug reports."""
    for name, value in build_config().items():
        click.echo(f"{name}: {value}")


@cli.command()
@click.argument(
    "name",
    required=False,
    default=EXAMPLE.removesuffix(".toml"),
    type=click.Choice([n.removesuffix(".toml") for n in (EXAMPLE, SWEEP_EXAMPLE)]),
)
def example(name: str) -> None:
    """Print an example file to start from: learning_curves (for `run`, the default) or transition
    (for `sweep`).
    """
    click.echo(example_path(f"{name}.toml").read_text(encoding="utf-8"), nl=False)


def example_path(name: str = EXAMPLE) -> Path:
    """Return the path of an example file of the package."""
    return Path(str(files("seqsgd") / "examples" / name))


def _all(plan: RunFile, quiet: bool) -> tuple[dict[str, Any], SimulationInterrupted | None]:
    """Run every case in sequence, under one progress bar."""
    drawing.agg_figure()  # loaded now, so that after Ctrl-C files are there at once
    import xarray  # noqa: F401

    results: dict[str, Any] = {}
    with _bar(plan, quiet) as bar:
        for i, case in enumerate(plan.cases):
            bar.case(case)
            try:
                results[case.label] = simulate(
                    **_arguments(case), **_checkpoint(plan, i), progress=False, callback=bar.update
                )
            except SimulationInterrupted as e:
                bar.close()
                click.echo("seqsgd: interrupted, writing what was recorded ...", err=True)
                results[case.label] = e.result
                return results, e
            except MemoryError as e:  # taken by others meanwhile
                raise _Refused(f"{case.label}: {e}") from None
    return results, None


def _arguments(case: Case) -> dict[str, Any]:
    return {**case.run._values(), "rng": case.rng}


def _checkpoint(plan: RunFile, i: int) -> dict[str, Any]:
    if plan.checkpoint is None:
        return {}
    path = Path(plan.checkpoint)
    if len(plan.cases) > 1:
        path = path.with_name(f"{path.stem}-{i:03d}{path.suffix}")
    return {"checkpoint": path, "checkpoint_every": plan.checkpoint_every}


def _check_checkpoint(plan: RunFile, i: int) -> None:
    """Refuse a checkpoint of another run."""
    if plan.checkpoint is not None:
        case = plan.cases[i]
        saved = Checkpoint(_checkpoint(plan, i)["checkpoint"], case.run, Seed.of(case.rng))
        if saved.exists():
            saved.load(adopt=case.rng is None)


def _write(results: ResultSet, stem: str, several: bool) -> str:
    """Write the data first, since the picture can be drawn again from them."""
    data, picture = f"{stem}.nc", f"{stem}.png"
    (results if several else next(iter(results.values()))).save(data)
    try:
        _draw(results, picture, several)
    except Exception as e:  # the user's fonts, TeX or style, a full disk
        why = e.strerror if isinstance(e, OSError) and e.strerror else str(e) or type(e).__name__
        raise click.ClickException(f"wrote {data}, but not {picture}: {why}") from None
    return f"{data} and {picture}"


def _draw(results: ResultSet, picture: str, several: bool) -> None:
    if several:
        figure = drawing.agg_figure(**figure_options(results.panels))
        results.plot(figure)
    else:
        figure = drawing.agg_figure(layout="tight")
        ax, (result,) = figure.subplots(), results.values()
        ax.set_prop_cycle(color=COLOURS)
        result.plot(ax).set_title(drawing.text(results.title))
    with _files.atomic(picture) as part:
        figure.savefig(part, format="png", dpi=150)


class _Silent:
    """Stands in for a progress bar."""

    def case(self, case: Case) -> None:
        pass

    def update(self, done: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Bar(_Silent):
    """One bar over all cases, in steps summed over runs."""

    def __init__(self, plan: RunFile) -> None:
        sizes = [c.run.runs * c.run.steps for c in plan.cases]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self._index = -1
        self._bar = _stderr.bar(True, sum(sizes))

    def case(self, case: Case) -> None:
        self._index += 1
        self._bar.set_description(case.label, refresh=False)
        self.update(0, 0)
        self._bar.refresh()

    def update(self, done: int, total: int) -> None:
        self._bar.update(self._starts[self._index] + done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


@contextlib.contextmanager
def _bar(plan: RunFile, quiet: bool) -> Iterator[_Silent]:
    bar = _Bar(plan) if not quiet and _stderr.watched() else _Silent()
    try:
        yield bar
    finally:
        bar.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the user end with one line on stderr and exit code 2."""
    try:
        with one_line_warnings():
            code = cli.main(arguments, prog_name="seqsgd", standalone_mode=False)
    except click.Abort:
        click.echo("seqsgd: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as e:
        click.echo(f"seqsgd: {' '.join(e.format_message().split())}", err=True)
        sys.exit(e.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails
        sys.exit(1)
    except OSError as e:
        where = f": {e.filename}" if e.filename else ""
        click.echo(f"seqsgd: {e.strerror or ' '.join(str(e).split())}{where}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
