"""libFuzzer, by way of atheris, on files and data from elsewhere: `pip install atheris`, then
`python tests/hardening/fuzz.py --minutes 10`.

The minutes are shared by the targets (targets.py), one process each, one after another. Only the
documented errors may come: another exception, a crash, an input that takes longer than 20 s or more
than 2 GB ends a target, and leaves the input in build/fuzz, which also keeps what was learnt for
the next time. Again with one input: `python tests/hardening/fuzz.py --only TARGET --input FILE`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "fuzz"


def one(name: str, seconds: float, given: Path | None) -> None:
    """A target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["seqsgd"]):
        import targets

        warnings.simplefilter("ignore")
        if name not in ("run_file", "sweep_file", "setting", "hermite"):
            targets.good(
                "store"
            )  # what is imported when it is needed, and valid files: not an input's time
    if given:
        targets.TARGETS[name](given.read_bytes())
        return
    learnt, seeds = WORK / name / "corpus", WORK / name / "seeds"
    for folder in (learnt, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(targets.corpus(name)):
        (seeds / str(i)).write_bytes(data)
    limits = [
        f"-max_total_time={seconds:.0f}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=4096",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix={WORK / name}/", str(learnt), str(seeds)],
        targets.TARGETS[name],
    )
    atheris.Fuzz()


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--only", action="append", metavar="TARGET")
    p.add_argument("--input", type=Path, help="run one target on this file")
    p.add_argument("--seconds", type=float, help=argparse.SUPPRESS)  # one target, in this process
    o = p.parse_args()
    if o.seconds or o.input:
        one(o.only[0], o.seconds, o.input)
        return 0
    import targets

    names = o.only or list(targets.TARGETS)
    failed = []
    for name in names:
        command = [
            sys.executable,
            __file__,
            "--only",
            name,
            "--seconds",
            str(60 * o.minutes / len(names)),
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        runs = [
            line.split()[-1]
            for line in done.stderr.splitlines()
            if "number_of_executed_units" in line
        ]
        print(
            f"{name}: {runs[0] if runs else '?'} inputs in {used:.0f} s of processor time, "
            f"{'found something' if done.returncode else 'nothing found'}",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print(done.stderr[-4000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
