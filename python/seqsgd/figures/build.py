"""Build a figure: compute, keep, draw, and report."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import _checks, _core, _files
from .._lazy import xarray as xr
from .._version import __version__
from ..models.simulation import cores
from ..plots import drawing
from ..report.definition import Figure, Finding, Settings
from ..report.runner import Runner
from ..results import provenance
from ..results.files import netcdf_size
from ..sweeps.cost import duration
from .catalogue import figure as named

PICTURES = {"png": 150, "pdf": 300}  # dots an inch
FORMAT = 2  # regions of figures 4 and 13 are numbered 1 to 6 from it on


@dataclass(frozen=True)
class BuiltFigure:
    """A complete figure: data, picture and findings.

    Attributes
    ----------
    figure : Figure
    data : Dataset
        Everything drawn, with labels; attributes say what was run, where, and how long it took.
    findings : list of Finding
    files : dict of str to Path
        By suffix: nc, png, pdf, md.
    """

    figure: Figure
    data: xr.Dataset
    findings: list[Finding]
    files: dict[str, Path]

    @property
    def seconds(self) -> float:
        """Wall time of the computation."""
        return float(self.data.attrs["seconds"])

    @property
    def settings(self) -> Settings:
        """Settings of the computation."""
        return self.figure.quick.replaced(json.loads(self.data.attrs["settings"]))

    @property
    def title(self) -> str:
        """Title of the figure with these settings."""
        return self.figure.described(self.settings)[0]

    @property
    def about(self) -> str:
        """What was run and drawn, in a few sentences, with these settings."""
        return self.figure.described(self.settings)[1]

    @property
    def caption(self) -> str:
        """What was run, how long it took, and the verdicts, as Markdown."""
        return (
            "\n\n".join([f"**{self.title}.** {self.about}", ran(self.data), table(self.findings)])
            + "\n"
        )


def files(figure: Figure | str | int, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the paths of a figure's files."""
    figure = named(figure)
    return {
        suffix: Path(folder) / f"figure-{figure.name}.{suffix}"
        for suffix in ("nc", "png", "pdf", "md")
    }


def make(
    figure: Figure | str | int,
    size: str = "quick",
    folder: str | os.PathLike[str] = ".",
    *,
    changes: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    force: bool = False,
) -> BuiltFigure:
    """Compute a figure and write FOLDER/figure-NAME.nc, .png, .pdf and .md (the caption).

    Parameters
    ----------
    figure : Figure, str or int
        From :func:`seqsgd.figures.figure`, or its name.
    size : "quick" or "full"
        Under a minute on two cores, or the paper's.
    folder : path
        Created if it does not exist. While a figure is computed, its finished cells are kept there,
        and the same call continues from them.
    changes : mapping
        Settings to change, by their names in `figure.settings(size)`.
    workers : int, optional
        Number of threads. None uses all cores.
    progress : bool, optional
        Whether to show a progress bar on stderr. None shows it on a terminal.
    force : bool
        Whether to replace a figure of full size, or with changed settings, by one with other
        settings. A figure of quick size, or with the same settings, is always replaced.

    Raises
    ------
    ValueError, TypeError
        If a setting or argument is wrong, or a figure would be lost; before anything runs.
    SweepInterrupted, KeyboardInterrupt
        On Ctrl-C; finished cells are kept.
    """
    figure = named(figure)
    settings = figure.settings(size, changes)
    workers = cores() if workers is None else _checks.integer("workers", workers, 1)
    paths = files(figure, folder)
    if not _checks.boolean("force", force):
        check_spared(figure, settings, folder)
    _files.make_folder("folder", folder)
    for path in paths.values():
        _files.check_folder("folder", path)
    with Runner(Path(folder) / f".figure-{figure.name}.{size}.sweep", workers, progress) as runner:
        data = figure.compute(settings, runner)
        data.attrs = {
            "format": "seqsgd figure",
            "format_version": FORMAT,
            "figure": figure.name,
            "title": figure.described(settings)[0],
            "size": size + (" with changes" if changes else ""),
            "settings": settings.to_json(),
            "seconds": runner.seconds,
            "run_steps": runner.run_steps,
            "workers": workers,
            "simd": _core.level,
            "versions": json.dumps(provenance.versions()),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with _files.atomic(paths["nc"], netcdf_size(data)) as part:
            data.to_netcdf(
                part,
                engine="h5netcdf",
                encoding={
                    name: {"zlib": True}
                    for name, v in data.variables.items()
                    if v.dtype.kind == "f" and v.ndim
                },
            )
    return _drawn(figure, data, paths)


def check_spared(figure: Figure, settings: Settings, folder: str | os.PathLike[str]) -> None:
    """Refuse to replace a figure of full size, or with changed settings, by one with other
    settings.
    """

    path = files(figure, folder)["nc"]
    if not path.exists():
        return
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            found = data.attrs
    except (OSError, ValueError):
        found = {}
    if found.get("format") != "seqsgd figure" or found.get("figure") != figure.name:
        raise ValueError(
            f"folder: {str(path)!r} exists and is not the data of figure {figure.name}; choose "
            "another folder, or --force (force=True) to replace it"
        )
    if found["size"] != "quick" and found["settings"] != settings.to_json():
        raise ValueError(
            f"folder: {str(path)!r} is figure {figure.name} in {found['size']} size, with other "
            "settings; choose another folder, or --force (force=True) to replace it"
        )


def redraw(figure: Figure | str | int, folder: str | os.PathLike[str] = ".") -> BuiltFigure:
    """Draw and judge a figure again from FOLDER/figure-NAME.nc, without computing.

    Raises
    ------
    ValueError
        If there is no such file, or it belongs to another figure.
    """
    figure = named(figure)
    return _drawn(figure, load(figure, folder), files(figure, folder))


def load(figure: Figure | str | int, folder: str | os.PathLike[str]) -> xr.Dataset:
    """Load the dataset of a figure.

    Raises
    ------
    ValueError
        If there is no such file, or it belongs to another figure or to an earlier version of
        seqsgd.
    """

    figure = named(figure)
    path = files(figure, folder)["nc"]
    if not path.is_file():
        raise ValueError(
            f"folder: there is no {path.name} in {str(folder)!r}; make the figure first"
        )
    data = xr.load_dataset(path, engine="h5netcdf")
    if data.attrs.get("format") != "seqsgd figure" or data.attrs.get("figure") != figure.name:
        raise ValueError(f"folder: {str(path)!r} is not the data of figure {figure.name}")
    if data.attrs.get("format_version") != FORMAT:
        raise ValueError(
            f"folder: {str(path)!r} was made by another version of seqsgd; make the figure again"
        )
    return data


def _drawn(figure: Figure, data: xr.Dataset, paths: dict[str, Path]) -> BuiltFigure:
    picture = figure.draw(data)
    for suffix, dpi in PICTURES.items():
        with _files.atomic(paths[suffix]) as part, drawing.fonts_embedded():
            picture.savefig(part, format=suffix, dpi=dpi)
    made = BuiltFigure(figure, data, figure.judge(data), paths)
    with _files.atomic(paths["md"]) as part:
        part.write_text(made.caption, encoding="utf-8")
    return made


def ran(data: xr.Dataset) -> str:
    """Return in words what was run, on what, and how long it took."""
    a = data.attrs
    steps = f"{a['run_steps']:.3g} steps of SGD summed over runs, " if a["run_steps"] else ""
    settings = ", ".join(
        f"{name} = {_plain(value)}" for name, value in json.loads(a["settings"]).items()
    )
    return (
        f"*{a['size'].capitalize()} size* ({settings}): {steps}{duration(a['seconds'])} on "
        f"{a['workers']} core{'s' * (int(a['workers']) > 1)} ({a['simd']}), seqsgd {__version__}."
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        inner = [_plain(v) for v in value]
        return "(" + ", ".join(inner if len(inner) <= 8 else [*inner[:3], "...", inner[-1]]) + ")"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def table(findings: list[Finding]) -> str:
    """Return findings as a Markdown table."""
    rows = ["| claim | measured | verdict | why |", "|---|---|---|---|"]
    rows += [
        f"| {_cell(f.claim)} | {_cell(f.measured)} | **{f.verdict}** | {_cell(f.why)} |"
        for f in findings
    ]
    return "\n".join(rows)


def _cell(text: str) -> str:
    text = text.replace("|", "\\|").replace("\n", " ")
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)  # <C_k, 1^k> is no tag
