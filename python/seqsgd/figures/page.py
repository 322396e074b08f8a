"""The page of all figures: claims, measurements and verdicts, generated from the data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .. import _files
from ..report.definition import VERDICTS, Figure
from ..sweeps.cost import duration
from .build import BuiltFigure, files, load, ran, table
from .catalogue import figure as named


def write(
    figures: Sequence[Figure | str | int],
    folder: str | os.PathLike[str],
    page: str | os.PathLike[str],
) -> Path:
    """Write a Markdown page about all figures whose data are in a folder, with links to the
    pictures.

    Raises
    ------
    ValueError
        If the folder has no figures, or the page cannot be written.
    """
    target = _files.check_folder("page", page)
    made = []
    for figure in map(named, figures):
        paths = files(figure, folder)
        if paths["nc"].is_file():
            data = load(figure, folder)
            made.append(BuiltFigure(figure, data, figure.judge(data), paths))
    if not made:
        raise ValueError(f"folder: {str(folder)!r} has no figures")
    with _files.atomic(target) as part:
        part.write_text(_page(made, target.parent), encoding="utf-8")
    return target


def _page(made: Sequence[BuiltFigure], home: Path) -> str:
    return "\n\n".join([_head(made), _summary(made), *(_section(m, home) for m in made)]) + "\n"


def _head(made: Sequence[BuiltFigure]) -> str:
    total = sum(m.seconds for m in made)
    steps = sum(float(m.data.attrs["run_steps"]) for m in made)
    sizes = {m.data.attrs["size"] for m in made}
    which = f"in {sizes.pop()} size" if len(sizes) == 1 else "in the sizes given with each"
    cores = max(int(m.data.attrs["workers"]) for m in made)
    sentences = [
        "This page is generated from the data of the figures (`seqsgd figure all --full --output "
        "DIR --page FILE`); only the claims are written by hand.",
        'The claims are those of arXiv:2506.02651 ("the paper") unless they are marked *ours*.',
        "Each figure has its settings, its time, and a table that compares each claim with the "
        "measurement; all intervals are at 95 %.",
        "The verdict is *agree* if the interval contains the claim (within the stated tolerance), "
        "*disagree* if it does not, and *cannot tell* if the measurement is too coarse, was not "
        "reached, or has too few runs.",
        f"There are {len(made)} figures {which}" if len(made) > 1 else f"There is 1 figure {which}",
    ]
    total_work = f": {steps:.3g} steps of SGD summed over runs, {duration(total)} in all on "
    return (
        "# Reproduction of the paper, figure by figure\n\n"
        f"{' '.join(sentences)}{total_work}{cores} core{'s' * (cores > 1)}."
    )


def _summary(made: Sequence[BuiltFigure]) -> str:
    rows = [
        "| figure | | time | " + " | ".join(VERDICTS) + " |",
        "|---|---|---|" + "---|" * len(VERDICTS),
    ]
    for m in made:
        counts = " | ".join(str(sum(f.verdict == v for f in m.findings) or "") for v in VERDICTS)
        rows.append(
            f"| [{m.figure.name}](#{_anchor(m)}) | {m.title} | {duration(m.seconds)} | {counts} |"
        )
    return "\n".join(rows)


def _heading(m: BuiltFigure) -> str:
    return f"Figure {m.figure.name}: {m.title}" if m.figure.name.isdigit() else m.title


def _anchor(m: BuiltFigure) -> str:
    kept = "".join(c for c in _heading(m).lower() if c.isalnum() or c in " -_")
    return "-".join(kept.split())


def _section(m: BuiltFigure, home: Path) -> str:
    picture = Path(os.path.relpath(m.files["png"], home)).as_posix()
    return "\n\n".join(
        [
            f"## {_heading(m)}",
            m.about,
            f"![{_heading(m)}]({picture})",
            ran(m.data),
            table(m.findings),
        ]
    )
