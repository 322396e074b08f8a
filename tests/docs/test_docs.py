"""Every example of the README and of docs/ runs as written: Python blocks in turn, TOML blocks
through `seqsgd run` or `seqsgd sweep`, `seqsgd` lines of shell blocks.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def examples(language: str) -> list:
    return [
        pytest.param(b, id=f"{p.name}-{i}")
        for p in PAGES
        for i, b in enumerate(blocks(p, language))
    ]


IN_TURN = """
import runpy, sys
for path in sys.argv[1:]:
    runpy.run_path(path, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_examples_run(page, tmp_path):
    """Those of a page in one process, each with names of its own."""
    names = []
    for i, code in enumerate(blocks(page, "python")):
        names.append(f"example_{i}.py")
        (tmp_path / names[-1]).write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-c", IN_TURN, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("text", examples("toml"))
def test_run_files_run(text, tmp_path):
    (tmp_path / "example.toml").write_text(text, encoding="utf-8")
    swept = "[grid]" in text
    done = subprocess.run(
        [sys.executable, "-m", "seqsgd", "sweep" if swept else "run", "example.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.nc")) and list(tmp_path.glob("*.sweep" if swept else "*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["command-line.md", "figures.md"])
def test_command_lines_run(page, tmp_path):
    lines = [
        line.split("#")[0].strip()
        for block in blocks(ROOT / "docs" / page, "sh")
        for line in block.splitlines()
    ]
    assert len(lines) >= 4
    for line in lines:
        shell = line.replace("seqsgd ", f"{sys.executable} -m seqsgd ", 1)
        done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_cluster_page_with_dask_jobqueue_on_this_machine(tmp_path):
    """The script as written, with the batch system replaced by processes of this machine."""
    if not importlib.util.find_spec("dask_jobqueue"):  # importing it takes SIGINT for itself
        pytest.skip("needs dask-jobqueue")
    (code,) = [b for b in blocks(ROOT / "docs" / "cluster.md", "py") if "SLURMCluster" in b]
    local = code.replace(
        "import SLURMCluster", "import SLURMCluster\nfrom dask_jobqueue.local import LocalCluster"
    )
    local = re.sub(
        r"SLURMCluster\((.*), walltime=.*?\)",
        r'LocalCluster(\1, scheduler_options={"dashboard": False})',
        local,
    ).replace("jobs=20", "jobs=1")
    assert "LocalCluster(cores=1" in local
    (tmp_path / "example.py").write_text(local, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "5 of 5 done" in done.stdout, done.stdout + done.stderr


def test_references_in_the_sources_lead_somewhere():
    """help() and --help point to pages of the site and their headings by title, and to nothing
    else.
    """
    navigation = dict(
        re.findall(
            r"^ +- (.+?): ((?:\w|-)+\.md)$",
            (ROOT / "mkdocs.yml").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    found = 0
    for source in sorted((ROOT / "python").rglob("*.py*")):
        if source.suffix not in (".py", ".pyi"):
            continue
        text = " ".join(source.read_text(encoding="utf-8").split())
        assert not re.findall(r"\bdocs/\w+|\w+\.md\b|\bsections? \d|theory: ", text), source
        for page, heading in re.findall(r'\bdocs: "([^"]+)"(?:, ([^)".;]+))?', text):
            found += 1
            assert page in navigation, f"{source.name}: {page}"
            headings = re.findall(
                r"^#+ (.*)$",
                (ROOT / "docs" / navigation[page]).read_text(encoding="utf-8"),
                re.MULTILINE,
            )
            assert not heading or heading in headings, f"{source.name}: {heading}"
        assert text.count("docs: ") == len(re.findall(r'\bdocs: "', text)), source
    assert found > 20
