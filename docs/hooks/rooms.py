"""The picture of rooms and arrows in docs/architecture.md, made from the code.

python docs/hooks/rooms.py          # writes docs/rooms.svg
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "rooms.svg"
PACKAGE = ROOT / "python" / "seqsgd"
HEADERS = ROOT / "cpp" / "include" / "seqsgd"
CORE = [
    ["run"],
    ["reduced", "sampled"],
    ["state"],
    ["model"],
    ["random"],
    ["simd"],
]  # top to bottom
BASE = "small modules: files, checks, errors ..."
ROW, BOX, WIDTH, INNER, HEAD = 46, 30, 460, 330, 44

Arrows = Counter[tuple[str, str]]


def python_layers() -> list[list[str]]:
    """Rooms from top to bottom, as import-linter checks them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = [[room.strip() for room in layer.split("|")] for layer in contracts[0]["layers"]]
    above = layers[1 : [layer[0] for layer in layers].index("models") + 1]  # without __main__
    return [*above, [BASE]]


def python_arrows() -> Arrows:
    """Imports between rooms: how many files of the first import from the second."""
    found: Arrows = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).with_suffix("").parts
        if here == ("__init__",):
            continue
        there = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = here[: len(here) - node.level]
                names = [node.module] if node.module else [a.name for a in node.names]
                targets = [(*base, *name.split(".")) for name in names]
                if node.module and not base and (PACKAGE / node.module).is_dir():
                    targets = [(node.module.split(".")[0],)]
                there |= {t[0] for t in targets}
        found.update((here[0], room) for room in there if room != here[0])
    return found


def core_arrows() -> Arrows:
    """Includes between rooms of the C++ core."""
    found: Arrows = Counter()
    for path in sorted(HEADERS.rglob("*.hpp")):
        here = path.relative_to(HEADERS).parts
        if len(here) > 1:
            text = path.read_text(encoding="utf-8")
            rooms = set(re.findall(r'#include ["<]seqsgd/(\w+)/', text))
            found.update((here[0], room) for room in rooms if room != here[0])
    return found


def reduced(arrows: Arrows) -> set[tuple[str, str]]:
    """Those arrows that no chain of others implies."""
    below: dict[str, set[str]] = {}
    for a, b in arrows:
        below.setdefault(a, set()).add(b)

    def reached(a: str) -> set[str]:
        return {x for b in below.get(a, ()) for x in {b} | reached(b)}

    return {
        (a, b) for a, b in arrows if not any(b in reached(c) for c in below[a] if c not in (a, b))
    }


def merged(layers: list[list[str]], arrows: Arrows) -> Arrows:
    """Arrows between layers, each named by its rooms."""
    names = {room: ", ".join(layer) for layer in layers for room in layer}
    out: Arrows = Counter()
    for (a, b), n in arrows.items():
        if a in names and b in names and names[a] != names[b]:
            out[names[a], names[b]] += n
    return out


def column(title: str, layers: list[list[str]], arrows: Arrows, sizes: Counter[str]) -> list[str]:
    """SVG of one tower of rooms; arrows that chains of others imply are left out."""
    out = [f'<text x="{10 + INNER / 2}" y="24" class="title">{title}</text>']
    level = {", ".join(layer): i for i, layer in enumerate(layers)}
    for i, layer in enumerate(layers):
        label = ", ".join(room + (f" ({sizes[room]})" if sizes[room] > 1 else "") for room in layer)
        y = HEAD + i * ROW
        out.append(f'<rect x="10" y="{y}" width="{INNER}" height="{BOX}" rx="4"/>')
        out.append(f'<text x="{10 + INNER / 2}" y="{y + 20}">{label}</text>')
    side, ends = 10 + INNER + 12, Counter[str]()
    drawn = sorted(
        reduced(merged(layers, arrows)), key=lambda ab: (level[ab[1]] - level[ab[0]], ab)
    )
    for a, b in drawn:
        top, bottom = HEAD + level[a] * ROW, HEAD + level[b] * ROW
        if level[b] == level[a] + 1:
            out.append(f'<path d="M{10 + INNER / 2} {top + BOX} L{10 + INNER / 2} {bottom - 2}"/>')
        else:
            start, end, ends[b] = top + BOX - 6, bottom + 6 + 5 * ends[b], ends[b] + 1
            right = 10 + INNER
            out.append(
                f'<path d="M{right} {start} L{side} {start} L{side} {end} L{right + 3} {end}"/>'
            )
            side += 10
    return out


def picture() -> str:
    """The whole SVG."""
    layers = python_layers()
    listed = {room for layer in layers for room in layer}
    arrows = Counter(
        {(a, b if b in listed else BASE): n for (a, b), n in python_arrows().items() if a in listed}
    )
    rooms = Counter(p.relative_to(PACKAGE).with_suffix("").parts[0] for p in PACKAGE.rglob("*.py"))
    headers = Counter(p.relative_to(HEADERS).parts[0] for p in HEADERS.rglob("*.hpp"))
    height = HEAD + ROW * max(len(layers), len(CORE)) + 10
    left = column("python/seqsgd (files)", layers, arrows, rooms)
    right = column("cpp/include/seqsgd (headers)", CORE, core_arrows(), headers)
    style = (
        "text{font:13px sans-serif;text-anchor:middle;fill:#1a1a1a}.title{font-weight:bold}"
        "rect{fill:#eef2fb;stroke:#3b4a7a}"
        "path{fill:none;stroke:#5a5a5a;stroke-width:1.1;marker-end:url(#tip)}"
    )
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#5a5a5a;stroke:none;marker-end:none"/>'
        "</marker>"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" '
            f'width="{2 * WIDTH}" height="{height}">',
            f"<style>{style}</style><defs>{tip}</defs>",
            f'<rect width="{2 * WIDTH}" height="{height}" style="fill:#ffffff;stroke:none"/>',
            "<g>",
            *left,
            f'</g><g transform="translate({WIDTH} 0)">',
            *right,
            "</g></svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
