"""Formulas between dollars as MathML, made when the site is built: no script and no network."""

import html
import re
from typing import Any

from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError

CONVERTER = LatexToMathML(annotation=True, fancy_error=False)  # with its source, for copying
FORMULA = re.compile(
    r"(?P<before>\(?)"
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<source>.*?)\\[)\]]</(?P=tag)>'
    r"(?P<after>[.,;:)]*)",
    re.DOTALL,
)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace what pymdownx.arithmatex marked; a formula that is no LaTeX ends the build.

    Punctuation goes inside, so that no line begins with it.
    """

    def mathml(match: re.Match[str]) -> str:
        tag, source = match["tag"], html.unescape(match["source"]).strip()
        try:
            math = CONVERTER.convert_with_local_state(source, displaystyle=tag == "div")
        except LatexError as error:
            raise PluginError(f"{page.file.src_uri}: {source}: {error}") from None
        return f'<{tag} class="formula">{match["before"]}{math}{match["after"]}</{tag}>'

    return FORMULA.sub(mathml, content)
