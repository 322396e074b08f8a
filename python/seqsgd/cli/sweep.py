"""The command `seqsgd sweep`, without its options."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import click

from .. import _files
from ..errors import ConfigError, StoreError, SweepError, SweepInterrupted
from ..sweeps import Plan, SweepResult, plan
from ..sweeps.run import carry_out
from .sweepfile import check_output, read


def run_sweep(
    file: Path,
    *,
    dry_run: bool,
    sets: tuple[str, ...],
    store: str | None,
    output: str | None,
    workers: int | None,
    dask: str | None,
    quiet: bool,
) -> int:
    """Run a sweep and return the exit code. Errors of the user raise before anything runs."""
    job = read(file, sets)
    target = job.store if store is None else store
    written = job.output if output is None else output
    check_output(written)
    if written:
        (_files.check_netcdf if written.endswith(".nc") else _files.check_folder)("output", written)
    if workers is not None and dask is not None:
        raise ConfigError(
            "--dask: cannot be combined with --workers, since dask has its own workers"
        )
    if dry_run:
        click.echo(str(plan(job.sweep, target, workers or job.workers)))
        return 0

    def announce(planned: Plan) -> None:
        if not quiet:
            click.echo(f"seqsgd: {planned}", err=True)

    failed = None
    with _executor(workers or (job.workers if dask is None else None), dask) as executor:
        started = False

        def begun(planned: Plan) -> None:
            nonlocal started
            started = True
            announce(planned)

        try:
            result = carry_out(
                job.sweep,
                executor=executor,
                store=target,
                checkpoint_every=job.checkpoint_every,
                progress=False if quiet else None,
                announce=begun,
            )
        except SweepInterrupted as e:
            click.echo(
                f"seqsgd: interrupted after {e.result.cells_done} of {len(job.sweep)} cells, "
                f"which are in {target!r}; the same command continues from there",
                err=True,
            )
            return 130
        except (StoreError, SweepError) as e:
            if not started:
                raise
            failed = e
    if failed is not None:
        click.echo(f"seqsgd: {failed}", err=True)
        return 1
    return _report(result, target, written, quiet)


def _report(result: SweepResult, store: str, output: str, quiet: bool) -> int:
    if output:
        (result.to_zarr if output.endswith(".zarr") else result.to_netcdf)(output)
    if not quiet:
        click.echo(f"wrote {store}" + (f" and {output}" if output else ""))
    return 1 if result.errors else 0


@contextlib.contextmanager
def _executor(workers: int | None, dask: str | None) -> Iterator[Executor | int | None]:
    if dask is None:
        yield workers
        return
    try:
        connect: Any = importlib.import_module("distributed").Client
    except ImportError:
        raise ConfigError(
            "--dask: needs the package distributed (pip install 'seqsgd[sweep]')"
        ) from None
    try:
        client = connect(dask, timeout=10)
    except (OSError, ValueError) as e:
        raise ConfigError(
            f"--dask: there is no scheduler at {dask!r} ({' '.join(str(e).split())})"
        ) from None
    with client:
        yield client.get_executor(pure=False)
