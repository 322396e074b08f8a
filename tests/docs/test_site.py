"""The site as it is built: formulas, tags, links, pictures, a reference of public names only."""

import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import markdown
import pytest
import seqsgd
from helpers import ROOT
from seqsgd import ffi, figures, theory
from seqsgd.figures import Finding, build

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]  # which is built first

DOCS = ROOT / "docs"
SOURCES = sorted(DOCS.glob("*.md"))
GENERATED = "reproduction.md"  # from captions and data, which are plain text
TAGS = set(
    "a article aside body br button code details div em footer form h1 h2 h3 h4 h5 h6 head header"
    " hr html i img input label li link main meta nav ol p path pre script small span strong style"
    " summary sup svg table tbody td th thead title tr ul"
    " annotation math mfrac mi mn mo mover mrow mspace msqrt mstyle msub msubsup msup mtable mtd"
    " mtext mtr munder munderover semantics".split()
)
VOID = set("br hr img input link meta".split())
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$", re.DOTALL)


class Page(HTMLParser):
    """What is on a page: tags, ids, links, what it loads, formulas, prose, signatures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.open = path, [("", "")]
        self.tags, self.ids, self.headings = set(), set(), []
        self.links, self.loads, self.kinds = [], [], set()
        self.formulas, self.signatures, self.prose = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        style = values.get("class") or ""
        self.tags.add(tag)
        self.kinds.update(style.split())
        if "id" in values:
            self.ids.add(values["id"])
            if re.fullmatch("h[1-6]", tag):
                self.headings.append(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("img", "script") and "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loads.append(values["href"])
        if tag == "annotation":
            self.formulas.append("")
        if tag == "div" and "doc-signature" in style.split():
            self.signatures.append("")
        if tag not in VOID:
            self.open.append((tag, style))

    def handle_endtag(self, tag):
        while len(self.open) > 1 and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = {tag for tag, _ in self.open}
        if "annotation" in tags:
            self.formulas[-1] += data
        elif any("doc-signature" in style for _, style in self.open):
            self.signatures[-1] += data
        elif "article" in tags and not tags & {"code", "pre", "math", "script", "style"}:
            self.prose.append(data)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Page]:
    """Every page by its name, "theory" or "api/models"; mkdocs is strict about the sources."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {p.parent.relative_to(site).as_posix(): Page(p) for p in site.rglob("index.html")}
    assert len(found) == len(SOURCES) + len(list(DOCS.glob("api/*.md")))
    return found


def without_code(source: Path) -> str:
    text = re.sub(r"^```.*?^```$", "", source.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"(?m)^ {4}python .*$|`[^`\n]+`", "", text)


def formulas(source: Path) -> list[tuple[str, bool]]:
    """Formulas of a source, each with whether it stands by itself."""
    found = FORMULA.finditer(without_code(source))
    return [(m[1] or m[2], m[1] is not None) for m in found]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_no_formula_is_lost(pages):
    total = 0
    for source in SOURCES:
        page = pages["." if source.stem == "index" else source.stem]
        expected = [squeezed(f) for f, _ in formulas(source)]
        assert [squeezed(f) for f in page.formulas] == expected, source.name
        left = [text for text in page.prose if "$" in text or "\\(" in text]
        assert left == [], f"{source.name}: not typeset"
        total += len(expected)
    assert total > 400


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_mathematics_stands_between_dollars(source):
    """Not as ASCII, of which Markdown swallows what looks like a tag or like emphasis."""
    if source.name == GENERATED:
        return
    prose = FORMULA.sub("", without_code(source))
    marks = r"\^|\|\||\bsqrt\b|\bsum_(?!h2)|\b[a-zA-Z]_[a-z0-9]\b|\b[wz]\*"
    ascii_formula = re.compile(f".*(?:{marks}).*")
    assert ascii_formula.findall(prose) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_formulas_survive_the_markdown_of_code_hosts(source):
    """There "|" ends a cell, "<" begins a tag, "*" is emphasis, a backslash escapes punctuation,
    and a line that begins like an item of a list ends the formula."""
    for formula, block in formulas(source):
        assert not re.search(r"[|<>*]|\\[^A-Za-z]", formula), formula
        if block:
            assert not re.search(r"\n\s*(?:[-+#=]|\d+\.)|\n\s*\n", formula.rstrip()), formula
        else:
            assert formula == formula.strip(), formula
    text = FORMULA.sub(lambda m: f"{{{'B' if m[1] else 'I'}}}", without_code(source))
    assert re.findall(r".*(?:[\w\\]\{I\}|\{I\}[\w\\]).*", text) == []


def test_every_tag_is_known(pages):
    unknown = {name: page.tags - TAGS for name, page in pages.items() if page.tags - TAGS}
    assert unknown == {}


def test_docstrings_come_out_as_plain_text(pages):
    """Not escaped twice, and without the roles and tables of reStructuredText."""
    raw = re.compile(r"&lt;|\\\*|:\w+:$|====")
    assert [x for page in pages.values() for x in page.prose if raw.search(x.strip())] == []


def test_links_and_pictures_lead_somewhere(pages):
    by_path = {page.path: page for page in pages.values()}
    dead, checked = [], 0
    for page in pages.values():
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = page.path
            if parts.path:
                path = (page.path.parent / unquote(parts.path)).resolve()
                path = path / "index.html" if path.is_dir() else path
            checked += 1
            if not path.is_file():
                dead.append((page.path.parent.name, target))
            elif parts.fragment and path in by_path:
                anchors = by_path[path].ids | {"__skip", "__toc", "__drawer"}
                if unquote(parts.fragment) not in anchors:
                    dead.append((page.path.parent.name, target))
    assert dead == []
    assert checked > 1000


def test_nothing_is_fetched_from_elsewhere(pages):
    assert [x for page in pages.values() for x in page.loads if urlsplit(x).netloc] == []


def public() -> set[str]:
    """Names the reference may show, with the public members of classes one level down."""
    modules = {"seqsgd": seqsgd, "seqsgd.theory": theory, "seqsgd.figures": figures}
    modules["seqsgd.ffi"] = ffi
    names = {
        f"{at}.{name}": getattr(module, name)
        for at, module in modules.items()
        for name in getattr(module, "__all__", dir(module))
        if not name.startswith("_")
    }
    members = {
        f"{at}.{name}"
        for at, thing in names.items()
        if isinstance(thing, type)
        for name in dir(thing)
        if not name.startswith("_")
    }
    return members | {at for at, thing in names.items() if not isinstance(thing, ModuleType)}


def test_reference_has_every_public_name_and_no_other(pages):
    reference = [page for name, page in pages.items() if name.startswith("api/")]
    shown = {x for page in reference for x in page.headings if x.startswith("seqsgd")}
    shown = {re.sub(r"\.(\w+)\.\1$", r".\1", name) for name in shown}  # seqsgd.simulate.simulate
    shown = {
        x.replace("seqsgd.info.", "seqsgd.") for x in shown
    }  # seqsgd.dynamics is a package too
    assert shown - public() == set()
    wanted = {f"seqsgd.{n}" for n in set(seqsgd.__all__) - {"theory", "figures", "__version__"}}
    wanted |= {f"seqsgd.theory.{name}" for name in theory.__all__}
    assert wanted - shown == set()
    assert wanted - set().union(*(page.ids for page in reference)) == set()  # short anchors too
    assert all("doc-module" not in page.kinds for page in reference if "ffi" not in str(page.path))


def test_signatures_are_wrapped_and_without_private_names(pages):
    signatures = [s for page in pages.values() for s in page.signatures]
    assert len(signatures) > 100
    assert max(len(line) for s in signatures for line in s.splitlines()) <= 88
    assert [s for s in signatures if re.search(r"(?<![\w.])_\w", s)] == []


def test_formulas_in_claims_are_no_tags():
    """Claims of figures are plain text; their table is Markdown."""
    claim = "for <C_k, 1^k> = 0 | z1 < 0.05"
    table = build.table([Finding(claim=claim, measured="<m>", verdict="agree", why="")])
    page = markdown.markdown(table, extensions=["tables"])
    assert set(re.findall(r"</?(\w+)", page)) == set("table thead tbody tr th td strong".split())
    assert html.unescape(page).count(claim) == 1
