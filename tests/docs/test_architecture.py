"""The page on the architecture says what is so: its picture is that of the code, its files
exist.
"""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def rooms():
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "hooks" / "rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_code(rooms):
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.picture(), (
        "python docs/hooks/rooms.py"
    )


def test_the_picture_shows_what_a_chain_does_not_imply(rooms):
    arrows = rooms.Counter({("a", "b"): 1, ("b", "c"): 1, ("a", "c"): 1, ("a", "d"): 1})
    assert rooms.reduced(arrows) == {("a", "b"), ("b", "c"), ("a", "d")}


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/extending.md"])
def test_files_that_pages_name_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:python|cpp|tests|docs|bench|\.ci)/[\w./-]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_page_names_every_room():
    text = PAGE.read_text(encoding="utf-8")
    folders = [p for p in (ROOT / "python" / "seqsgd").iterdir() if (p / "__init__.py").exists()]
    folders += [p for p in (ROOT / "cpp" / "include" / "seqsgd").iterdir() if p.is_dir()]
    assert [p.name for p in folders if f"`{p.name}/`" not in text] == []
