"""Gain of the tied over the untied network at the best learning rate of each, by brute force over learning rates (docs/gain.md).

    python docs/examples/gain.py --lengths 1 2 4 8 16 --store gain.json --output gain.png     # continues what the store holds
    python docs/examples/gain.py --quick                                                       # seconds
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import seqsgd as sq

ETA = 0.3
TARGETS = {1: ("sum", "1/sqrt(L)"), 2: ("sum_h2", 1.0)}  # by SIE
STUDENTS = {"tied": sq.Tied("relu"), "untied": sq.Untied("relu")}
FACTOR = 2**0.5  # between learning rates
CAP = 4.0  # a rate is given up after so many times the best median so far
ENOUGH = 0.75  # of the runs: the slowest quarter is cut off, of which the median of 64 and its bootstrap (rank 32 +- 4) know nothing
PIECES = 81  # of the limit, each 10 % longer than all before, between which it is seen whether that many have passed


def task(sie: int, L: int, student: str) -> sq.Task:
    link, scale = TARGETS[sie]
    return sq.Task(sq.SSI(link, L, scale=scale), STUDENTS[student])


def passages(sie: int, L: int, student: str, d: int, lr: float, runs: int, limit: int, threads: int | None = None) -> np.ndarray:
    """First steps with ||m|| / sqrt L >= ETA, infinite where not within `limit` or later than ENOUGH of the runs; from m_0 = 1 / sqrt d."""
    seed = np.random.SeedSequence([sie, L, len(student), round(1000 * math.log(lr)) % 2**32])
    with tempfile.TemporaryDirectory() as folder:
        for steps in np.unique(np.geomspace(max(limit / 2000, 1), limit, PIECES).round().astype(int)).tolist():
            r = sq.simulate(
                task(sie, L, student), d, steps, lr, runs=runs, rng=seed, dynamics="reduced", record=[0], stop=sq.WeakRecovery(ETA), threads=threads,
                progress=False, checkpoint=Path(folder) / "state", checkpoint_every=1e9,
            )  # fmt: skip
            passed = r.weak_recovery.values
            if np.isfinite(passed).sum() >= ENOUGH * runs:
                break
    return np.nan_to_num(passed, nan=np.inf)


def best(samples: dict[float, np.ndarray]) -> tuple[float, float]:
    """Learning rate and median at the vertex of the parabola, in logarithms, through the least median and its neighbours."""
    rates = sorted(samples)
    medians = [float(np.median(samples[r])) for r in rates]
    i = int(np.argmin(medians))
    if not 0 < i < len(rates) - 1 or not np.isfinite([medians[i - 1], medians[i + 1]]).all():
        return rates[i], medians[i]
    x, y = np.log(rates[i - 1 : i + 2]), np.log(medians[i - 1 : i + 2])
    a, b, c = np.polyfit(x - x[1], y, 2)
    return (rates[i], medians[i]) if a <= 0 else (math.exp(x[1] - b / (2 * a)), math.exp(c - b * b / (4 * a)))


@dataclass
class Search:
    """Samples at all learning rates that were tried, kept in a file."""

    store: Path | None
    threads: int | None = None
    samples: dict[str, dict[float, np.ndarray]] = field(default_factory=dict)
    seconds: float = 0.0
    run_steps: float = 0.0

    def __post_init__(self) -> None:
        if self.store and self.store.exists():
            kept = json.loads(self.store.read_text())
            self.seconds, self.run_steps = kept["seconds"], kept["run_steps"]
            self.samples = {k: {float(r): np.array([math.inf if x is None else x for x in v]) for r, v in of.items()} for k, of in kept["samples"].items()}

    def keep(self) -> None:
        if self.store:
            plain = {k: {repr(r): [None if math.isinf(x) else x for x in v.tolist()] for r, v in of.items()} for k, of in self.samples.items()}
            self.store.write_text(json.dumps({"seconds": self.seconds, "run_steps": self.run_steps, "samples": plain}))

    def measure(self, sie: int, L: int, student: str, d: int, runs: int) -> dict[float, np.ndarray]:
        """Medians at learning rates FACTOR apart, extended until the least one has two neighbours on either side or is followed by rates that fail."""
        key = f"{sie} {L} {student} {d} {runs}"
        got = self.samples.setdefault(key, {})
        start, guess = sq.theory.best_lr(task(sie, L, "tied"), d=d, eta=ETA)  # where to begin looking; the search moves away from it as it must
        if not got:
            self._try(got, sie, L, student, d, start, runs, int(40 * L * guess))
        while True:
            rates = sorted(got)
            medians = {r: float(np.median(got[r])) for r in rates}
            low = min(rates, key=medians.__getitem__)
            limit = int(CAP * medians[low]) if np.isfinite(medians[low]) else int(40 * L * guess)
            if low == rates[0]:
                self._try(got, sie, L, student, d, low / FACTOR, runs, limit)
            elif low == rates[-1]:
                self._try(got, sie, L, student, d, low * FACTOR, runs, limit)
            else:
                return got

    def _try(self, got: dict[float, np.ndarray], sie: int, L: int, student: str, d: int, lr: float, runs: int, limit: int) -> None:
        begin = time.perf_counter()
        got[lr] = passages(sie, L, student, d, lr, runs, limit, self.threads)
        self.seconds += time.perf_counter() - begin
        self.run_steps += float(np.minimum(got[lr], limit).sum())
        self.keep()
        print(f"SIE {sie}, L = {L}, {student}, lr = {lr:.4g}: median {np.median(got[lr]):.4g}, {np.isinf(got[lr]).sum()} of {runs} later or not within {limit}", flush=True)


def resampled(samples: dict[float, np.ndarray], rng: np.random.Generator) -> dict[float, np.ndarray]:
    return {r: rng.choice(v, len(v)) for r, v in samples.items()}


def fit(lengths: Sequence[int], of: dict[int, tuple[dict[float, np.ndarray], dict[float, np.ndarray]]], draws: int = 400) -> dict[str, np.ndarray]:
    """Gains, ratios of best rates and their exponents in L, each with bootstrap draws (first entry: the sample itself)."""
    rng, x = np.random.default_rng(0), np.log(np.array(lengths, dtype=float))
    gains, ratios = np.empty((draws + 1, len(lengths))), np.empty((draws + 1, len(lengths)))
    for b in range(draws + 1):
        for j, L in enumerate(lengths):
            tied, untied = (s if b == 0 else resampled(s, rng) for s in of[L])
            (lr_t, steps_t), (lr_u, steps_u) = best(tied), best(untied)
            gains[b, j], ratios[b, j] = steps_u / steps_t, lr_t / lr_u
    weights = 1 / np.maximum(np.log(gains[1:]).std(axis=0), 1e-3)
    slopes = np.array([np.polyfit(x, np.log(g), 1, w=weights)[0] for g in gains]) if len(lengths) > 1 else np.full(draws + 1, np.nan)
    return {"gain": gains, "ratio": ratios, "exponent": slopes}


def interval(values: np.ndarray) -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return f"{values[0]:.3g} ({low:.3g} to {high:.3g})"


def picture(results: dict[int, dict[str, np.ndarray]], lengths: dict[int, list[int]], d: int, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(5.2 * len(results), 4.2), squeeze=False, constrained_layout=True)
    for ax, (sie, r) in zip(axes[0], results.items(), strict=True):
        x = np.array(lengths[sie], dtype=float)
        low, high = np.quantile(r["gain"][1:], [0.025, 0.975], axis=0)
        y = r["gain"][0]
        ax.errorbar(x, y, [np.maximum(y - low, 0), np.maximum(high - y, 0)], fmt="o", color="#0072B2", label="measured, 95 %", capsize=3)
        laws = [sq.theory.gain(task(sie, int(L), "tied")) for L in x]
        ax.plot(x, [g.best_lr_paper for g in laws], "--", color="#D55E00", label="paper's ratio of learning rates")
        ax.plot(x, [g.best_lr_derived for g in laws], "-", color="#009E73", label="from the inhibitive terms")
        ax.set(xscale="log", yscale="log", xlabel="sequence length L", ylabel="gain at the best learning rates", title=f"SIE {sie}, d = {d:.0e}")
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--sie", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--d", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output")
    parser.add_argument("--quick", action="store_true", help="d = 300, L up to 4")
    o = parser.parse_args(argv)
    if o.quick:
        o.lengths, o.d = [1, 2, 4], 300
    search = Search(o.store, o.threads)
    results, lengths = {}, {}
    for sie in o.sie:
        of = {}
        for L in o.lengths:
            of[L] = (search.measure(sie, L, "tied", o.d, o.runs), search.measure(sie, L, "untied", o.d, o.runs))
        results[sie], lengths[sie] = fit(o.lengths, of), list(o.lengths)
        r = results[sie]
        print(f"\nSIE {sie}\n\n| L | best lr, tied | steps | best lr, untied | steps | gain | paper | derived | ratio of rates |\n|---|---|---|---|---|---|---|---|---|")
        for j, L in enumerate(o.lengths):
            (a, b), (c, e), law = best(of[L][0]), best(of[L][1]), sq.theory.gain(task(sie, L, "tied"))
            print(f"| {L} | {a:.3g} | {b:.4g} | {c:.3g} | {e:.4g} | {interval(r['gain'][:, j])} | {law.best_lr_paper:.3g} | {law.best_lr_derived:.3g} | {interval(r['ratio'][:, j])} |")
        print(f"\nexponent of L: {interval(r['exponent'])}\n", flush=True)
    if o.output:
        picture(results, lengths, o.d, o.output)
    print(f"{search.run_steps:.3g} run-steps in {search.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
