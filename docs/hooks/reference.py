"""What the reference shows: docstrings as the plain text they are, and nothing private."""

import re
from typing import Any

import griffe

CODE = re.compile(r"(``?.+?``?)")  # the odd parts of a split: Markdown leaves them alone
ROLE = re.compile(r":\w+:$")  # as in :func:`simulate`
PRIVATE_MODULE = re.compile(r"\b_\w+\.")


def escaped(line: str) -> str:
    """A line in which "<" and "*" stay what they are in a terminal."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    parts = CODE.split(line)
    for i in range(0, len(parts), 2):
        plain = ROLE.sub("", parts[i]).replace("<", "&lt;")
        parts[i] = re.sub(r"(?<=[\w)\]])\*", r"\\*", plain)
    return "".join(parts)


def public(annotation: Any) -> Any:
    """An annotation in which `_checks.Float64` is `Float64`."""
    text = str(annotation)
    return PRIVATE_MODULE.sub("", text) if PRIVATE_MODULE.search(text) else annotation


class Reference(griffe.Extension):
    """Loaded by mkdocstrings (mkdocs.yml)."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = "\n".join(map(escaped, obj.docstring.value.split("\n")))

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        attr.annotation = public(attr.annotation)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        for name in [p.name for p in func.parameters if p.name.startswith("_")]:
            del func.parameters[name]
        for parameter in func.parameters:
            parameter.annotation = public(parameter.annotation)
        func.returns = public(func.returns)
