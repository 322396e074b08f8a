"""Gain of the tied over the untied network at the best learning rate of each (docs/gain.md): the
figure `best-rates` with sizes of one's own, and its numbers.

python docs/examples/gain.py --lengths 1 2 4 8 --d 10000 --folder gain     # the same call goes on
where it was interrupted python docs/examples/gain.py --quick
# seconds
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from seqsgd.figures import figure, make
from seqsgd.figures.extra_best_rates import TARGETS, of
from seqsgd.figures.gains import best_gain, best_ratio, best_table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lengths", type=int, nargs="+", help="of both targets; default: those of the figure"
    )
    parser.add_argument("--d", type=int, help="for both targets; default: those of the figure")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--rates", type=int, help="to begin with, a factor sqrt 2 apart")
    parser.add_argument("--folder", default="gain")
    parser.add_argument("--quick", action="store_true", help="d = 300, L up to 4")
    o = parser.parse_args(argv)
    if o.quick:
        o.lengths, o.d = o.lengths or [1, 2, 4], o.d or 300
    given = {
        "lengths_1": o.lengths,
        "lengths_2": o.lengths,
        "d_1": o.d,
        "d_2": o.d,
        "runs": o.runs,
        "rates": o.rates,
    }
    made = make(
        figure("best-rates"),
        "full",
        o.folder,
        changes={name: value for name, value in given.items() if value is not None},
    )
    for target in TARGETS:
        here = of(made.data, target)
        table, (gains, exponent), ratios = best_table(here), best_gain(here), best_ratio(here)[0]
        print(
            f"\n{target}\n\n| L | best lr, tied | steps | best lr, untied | steps | gain | paper "
            "| ours | ratio of rates |\n|---|---|---|---|---|---|---|---|---|"
        )
        for j, L in enumerate(here["L"].values):
            numbers = [
                f"{table[f'{what} {network}'][j, 0]:.4g}"
                for network in ("tied", "untied")
                for what in ("lr", "steps")
            ]
            print(
                f"| {L} | {' | '.join(numbers)} | {gains[j]} | {float(here['paper'][j]):.3g} | "
                f"{float(here['derived'][j]):.3g} | {ratios[j]} |"
            )
        print(f"\nexponent of L: {exponent}")
    print(
        f"\n{made.data.attrs['run_steps']:.3g} run-steps in {made.seconds:.0f} s: "
        f"{made.files['png']}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
