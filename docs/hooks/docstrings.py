"""Docstrings are plain text to read in a terminal: in Markdown, "<" and "*" stay what they are."""

import re
from typing import Any

import griffe

CODE = re.compile(r"(``?.+?``?)")  # the odd parts of a split: they are escaped by themselves


def escaped(text: str) -> str:
    parts = CODE.split(text)
    parts[::2] = [
        re.sub(r"(?<=[\w)\]])\*(?!\*)", r"\\*", part.replace("<", "&lt;")) for part in parts[::2]
    ]
    return "".join(parts)


def is_code(line: str) -> bool:
    return line.lstrip().startswith((">>>", "..."))


class PlainText(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            obj.docstring.value = "\n".join(x if is_code(x) else escaped(x) for x in lines)
