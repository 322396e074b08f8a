"""`python -m bench compare` without a build: exit codes, what is kept, what is missing, with
made-up slices, and once with real ones that decide nothing.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compare, instructions, kept, regression, revision, rule, workload

HERE = revision.Revision("here", "a" * 40 + "+", Path(sys.executable), here=True)
BASELINE = revision.Revision("v0", "b" * 40, Path(sys.executable))


class Made:
    """Slices of a revision by `speeds[point kind]`: seconds a unit here, or why there is none."""

    speeds: dict = {}
    started: list = []

    def __init__(self, of, core, changes):
        self.here = of.here
        self.started.append((of.name, changes))

    def slice(self, kind, arguments, seconds, n):
        speed = (
            self.speeds.get(kind, 1e-3)
            if self.here
            else {"sweep": "AttributeError: no sweep"}.get(kind, 1e-3)
        )
        if isinstance(speed, str):
            raise rule.Missing(speed, self.here)
        n = n or round(seconds / speed)
        return {"n": n, "cpu": n * speed, "wall": n * speed}

    def close(self):
        pass


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Exit code of a comparison with so many seconds a unit here, 0.001 in the baseline."""
    monkeypatch.setattr(regression, "Worker", Made)
    monkeypatch.setattr(revision, "here", lambda name="here": HERE)
    monkeypatch.setattr(revision, "built", lambda name: BASELINE)
    monkeypatch.setattr(instructions, "available", lambda: False)
    monkeypatch.setattr(Made, "started", [])

    def compared(*argv, **speeds):
        monkeypatch.setattr(Made, "speeds", speeds)
        return regression.main([*argv, "--folder", str(tmp_path)])

    return compared


def test_equal_revisions_pass(run, tmp_path, capsys):
    assert run() == 0
    assert [name for name, _ in Made.started[:2]] == ["here", "v0"] and len(
        Made.started
    ) == 2 * len(regression.POINTS), "one look each"
    (file,) = tmp_path.iterdir()
    assert (
        file.name == f"{'a' * 12}+-{platform.node()}.json" and str(file) in capsys.readouterr().out
    )
    (whole,) = kept.runs(file)
    assert (
        whole["commit"] == HERE.commit
        and whole["baseline"] == BASELINE.commit
        and list(whole["points"]) == list(regression.POINTS)
    )
    assert {row["verdict"] for name, row in whole["points"].items() if "sweep" not in name} == {
        "passes"
    } and whole["points"]["sweep, per cell"]["verdict"] == "left out"


def test_a_slowdown_fails_by_name(run, tmp_path, capsys):
    assert run("--only", "reduced", "--only", "import", reduced=1.1e-3) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "slower: " + ", ".join(p for p in regression.POINTS if p.startswith("reduced"))
    assert run("--only", "reduced", reduced=0.9e-3) == 0, "a gain does not"
    assert run("--only", "reduced", reduced=1.04e-3) == 0


def test_what_is_kept_can_be_judged_again(run, tmp_path):
    """All slices are there: the same verdict comes out of them, in strict JSON, and runs of a
    commit are added to each other.
    """
    assert run("--only", "sampled tied", sampled=1.2e-3) == 1
    assert (
        run("--only", "sampled tied", "--repetitions", "2", "--environment", "SEQSGD_SIMD=baseline")
        == 0
    )
    (file,) = tmp_path.iterdir()
    json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    first, second = kept.runs(file)
    assert (
        first["environment"] == {}
        and second["environment"] == {"SEQSGD_SIMD": "baseline"}
        and first["rule"]["points"] == 6
    )
    for one, pairs in ((first, 21), (second, 2 * rule.LOOKS)):
        for name, row in one["points"].items():
            assert (
                row["slices"] == pairs
                and rule.judged(one["slices"][name], one["rule"]["points"]) == row
            )
    assert (
        first["points"]["sampled tied d=100 L=2"]["verdict"] == "slower"
        and second["points"]["sampled tied d=100 L=2"]["verdict"] == "undecided"
    )


def test_history(run, tmp_path, capsys):
    run("--only", "reduced", reduced=1.3e-3)
    run("--only", "risk", risk=0.8e-3)
    (tmp_path / "other.json").write_text("{")
    capsys.readouterr()
    assert run("--history") == 0
    said = capsys.readouterr()
    rows = said.out.splitlines()[2:]
    assert (
        len(rows) == 2
        and "1.300 (reduced pair L=2)" in rows[0]
        and "slower: reduced pair L=2, reduced tied L=8" in rows[0]
    )
    assert (
        "0.800 (risk grid, tied L=2)" in rows[1]
        and rows[1].endswith("| - |")
        and "aaaaaaaaaa" in rows[1]
        and platform.node() in rows[1]
    )
    assert said.err.count("\n") == 1 and "other.json is damaged" in said.err


def test_a_file_that_is_not_ours_is_not_overwritten(run, tmp_path, capsys):
    file = tmp_path / f"{'a' * 12}+-{platform.node()}.json"
    for text, said in (
        ("[{", "is damaged"),
        ('{"commit": "a"}', "was not written by this version"),
    ):
        file.write_text(text)
        assert run("--only", "reduced") == 2 and file.read_text() == text
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_broken_here_fails_and_missing_there_does_not(run, capsys):
    assert run("--only", "risk", "--only", "reduced", risk="ImportError: gone") == 1
    out = capsys.readouterr().out
    assert (
        out.splitlines()[-1] == "broken here: risk grid, tied L=2, risk grid, 2x2 attention"
        and "broken: ImportError: gone" in out
    )
    assert run("--only", "sweep", "--only", "reduced", sweep="gone here too") == 0
    assert "left out: AttributeError: no sweep" in capsys.readouterr().out
    assert run("--only", "sweep") == 2, "nothing was compared, which is no success"
    assert "the baseline can do none of the points" in capsys.readouterr().err
    assert run("--no-times", "--no-instructions") == 2


@pytest.mark.parametrize(
    "argv, said",
    [
        (
            ["--only", "sampled nonsense"],
            "--only: expected words of one of 'sampled tied d=1000 L=1'",
        ),
        (["--environment", "SEQSGD_SIMD"], "--environment: expected NAME=VALUE"),
        (["--core", "4096"], "--core: expected one of"),
        (
            ["--repetitions", "0"],
            "--seconds, --repetitions: expected a positive time and at least 1, got 0.05 and 0",
        ),
        (["--seconds", "nan"], "--seconds, --repetitions: expected a positive time"),
    ],
)
def test_bad_arguments(run, capsys, argv, said):
    with pytest.raises(SystemExit) as e:
        run(*argv)
    assert e.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]
    assert not Made.started


def test_points_are_chosen_by_words():
    assert regression.arguments(["--only", "d=100 L=2"]).chosen == [
        "sampled tied d=100 L=2",
        "sampled pair d=100 L=2",
    ], "not d=1000"
    assert regression.arguments(["--only", "tied", "--only", "import"]).chosen[-3:] == [
        "reduced tied L=8",
        "risk grid, tied L=2",
        "import seqsgd",
    ], "not untied"
    assert set(regression.COUNTED) < set(regression.POINTS)


def test_an_interrupt_and_a_failed_build_are_one_line(run, monkeypatch, capsys):
    for error, code, said in (
        (KeyboardInterrupt(), 130, "interrupted"),
        (revision.Failed("no network"), 2, "no network"),
    ):
        monkeypatch.setattr(
            revision, "built", lambda name, error=error: (_ for _ in ()).throw(error)
        )
        assert run() == code
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.fixture
def valgrind(monkeypatch, tmp_path):
    """One that counts 10^9 at the start and 1000 a unit (2000 if forced to the baseline's
    instructions), and fails without a forced level.
    """
    script = tmp_path / "bin" / "valgrind"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\nfor last; do :; done\ncase $SEQSGD_SIMD in avx2) each=1000;; baseline) "
        "each=2000;; *) echo \"ImportError: '$SEQSGD_SIMD'\" >&2; exit 1;; esac\n"
        'echo "==1== Collected : $((1000000000 + 3 * each * last))" >&2\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for valgrind")
@pytest.mark.parametrize("widest", ["avx512", "avx2"])
def test_instructions(run, valgrind, monkeypatch, tmp_path, capsys, widest):
    """The start does not count; on a processor with AVX-512, which valgrind lacks, AVX2 is counted,
    on both sides; a forced level is counted here only.
    """
    monkeypatch.setattr(instructions, "available", lambda: True)
    monkeypatch.setattr(
        compare,
        "supported",
        lambda: [
            level for level in compare.LEVELS if level == widest or level in ("avx2", "baseline")
        ],
    )
    assert run("--no-times") == 0
    assert run("--no-times", "--environment", "SEQSGD_SIMD=avx512") == 0
    assert run("--no-times", "--environment", "SEQSGD_SIMD=baseline", "--only", "d=100 L=2") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "more instructions: sampled pair d=100 L=2"
    first, second, third = kept.runs(next(tmp_path.glob("*.json")))
    equal = {
        "instructions": 1000.0,
        "baseline_instructions": 1000.0,
        "ratio": 1.0,
        "verdict": "passes",
    }
    assert first["instructions"] == second["instructions"] == dict.fromkeys(
        regression.COUNTED, equal
    ) and first["counted"] == second["counted"] == ["avx2", "avx2"]
    assert third["instructions"]["sampled pair d=100 L=2"]["ratio"] == 2 and third["counted"] == [
        "baseline",
        "avx2",
    ]
    assert run("--no-times", "--environment", "SEQSGD_SIMD=mmx") == 1
    assert "broken: callgrind: ImportError: 'mmx'" in capsys.readouterr().out


def test_without_valgrind_that_is_said(run, capsys):
    assert run("--only", "reduced") == 0
    assert (
        capsys.readouterr().err == "note: valgrind is not installed, instructions are not counted\n"
    )


CHEAP = {
    name: point for name, point in regression.POINTS.items() if point[0] not in ("phases", "import")
}


@pytest.mark.parametrize("name", CHEAP)
def test_every_point_is_work(name):
    """In this revision none is missing, and one unit can be done again."""
    kind, arguments = CHEAP[name]
    work = workload.KINDS[kind](*arguments)
    work(1)
    assert workload.measure(work, 2)[0] > 0


def test_a_phase_diagram_is_integrated_in_every_unit(monkeypatch):
    """What a process keeps would otherwise be all that is timed."""
    from functools import cache

    from seqsgd.theory import phases

    made = []

    @cache
    def criteria():
        made.append(1)
        return dict.fromkeys(
            (
                "direction",
                "gap",
                *(
                    f"{pole} {way}"
                    for pole in ("positional", "semantic")
                    for way in ("outward", "along")
                ),
            ),
            phases.Criterion(1.0, -1.0, 2.0, 0.0),
        )

    monkeypatch.setattr(phases, "criteria", criteria)
    monkeypatch.setattr(phases, "_between", lambda a, omega: None)
    workload.KINDS["phases"]()(3)
    assert len(made) == 3


@pytest.mark.skipif(
    os.name != "posix", reason="workload.py asks the system for the times of child processes"
)
def test_an_import_is_all_that_counts(monkeypatch):
    """Neither the start of Python nor the time of this process: what the child says of itself."""
    ran = []
    monkeypatch.setattr(
        workload.subprocess,
        "run",
        lambda command, **how: (
            ran.append(command[1:]) or subprocess.CompletedProcess(command, 0, stdout=b"0.25\n")
        ),
    )
    assert workload.measure(workload.KINDS["import"](), 3)[0] == 0.75 and len(ran) == 3
    code = ran[0][1].replace("import seqsgd", "[i * i for i in range(300_000)]")
    monkeypatch.undo()
    said = float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    )
    assert said > 0, "the code runs, and counts"


@pytest.mark.slow
@pytest.mark.skipif(
    os.name != "posix", reason="workload.py asks the system for the times of child processes"
)
def test_real_processes_which_decide_nothing(tmp_path, capsys):
    """This revision against itself, three pairs in all, too few for a bound at any speed; then with
    a level that cannot be imported.
    """
    argv = [
        "--baseline",
        "here",
        "--only",
        "pair d=100 L=2",
        "--seconds",
        "0.001",
        "--repetitions",
        "1",
        "--no-instructions",
        "--folder",
        str(tmp_path),
    ]
    assert regression.main(argv) == 0
    (one,) = kept.runs(next(tmp_path.iterdir()))
    (row,) = one["points"].values()
    ours, theirs = one["slices"]["sampled pair d=100 L=2"]
    assert (
        row["verdict"] == "undecided"
        and row["low"] is None
        and len(ours) == len(theirs) == rule.LOOKS
    )
    assert len({s["n"] for s in ours + theirs}) == 1 and all(s["cpu"] > 0 for s in ours + theirs)
    assert regression.main([*argv, "--environment", "SEQSGD_SIMD=none"]) == 1
    assert (
        "broken: ImportError: SEQSGD_SIMD: expected one of baseline, avx2, avx512, got 'none'"
        in capsys.readouterr().out
    )


@pytest.mark.skipif(
    os.name != "posix", reason="workload.py asks the system for the times of child processes"
)
def test_a_process_that_dies(tmp_path):
    """Is missing at that point, with its exit code."""
    (tmp_path / "python").write_text("#!/bin/sh\nread line\nexit 7\n")
    (tmp_path / "python").chmod(0o755)
    worker = regression.Worker(
        revision.Revision("dying", "c" * 40, tmp_path / "python", here=True), -1, {}
    )
    for _ in range(2):
        with pytest.raises(rule.Missing, match="its process died with exit code 7") as e:
            worker.slice("sampled", [], 0.1, None)
    assert e.value.here
    worker.close()
