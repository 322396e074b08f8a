"""Fixtures of all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# The theory's matrix products are small. With threads that wait for each other the landscape of
# attention costs four times the CPU time, and beside other work takes twenty times as
# long. The library reads this when NumPy is imported (pyproject.toml keeps a plugin from doing that
# sooner); the core has threads of its own.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np
import pytest
from helpers import CORES, WITH_WEIGHTS


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With `-n`, tests of a group share a process, and with it what their fixtures have
    computed.
    """
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: the cores that there are for this process; not more than eight, for simulations
    have threads of their own.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 8)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`dynamics`: every dynamics, for what is true of all of them; those with weights where a test
    looks at w or feeds X.
    """
    own = any(
        "dynamics" in mark.args[:1] for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "dynamics" in metafunc.fixturenames and not own:
        metafunc.parametrize(
            "dynamics",
            WITH_WEIGHTS if metafunc.definition.get_closest_marker("weights") else list(CORES),
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names of tests are the same in every process, or `-n` refuses them."""
    bad = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if bad:
        raise pytest.UsageError(f"names of tests have addresses in them: {bad[0]}")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is answered, here and in what tests start: a shell that runs this in the background
    has had it ignored, and tests that press it would wait for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process, in tmp_path: exit code, stdout and stderr. For what is
    tried in many ways; that a shell gets to see the same is tested once in tests/cli.
    """
    from seqsgd.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the test's own, the same at every run."""
    return np.random.default_rng(20250602)
