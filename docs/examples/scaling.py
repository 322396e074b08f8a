"""How many steps weak recovery takes as d grows: exponents for sequence information exponents (SIE)
2 and 3, with error bars (docs/scaling.md).

python docs/examples/scaling.py                 # all of it: minutes, prints the tables of
docs/scaling.md and draws scaling.png python docs/examples/scaling.py --quick         # fewer runs
and smaller d: seconds
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import seqsgd as sq
from scipy import stats
from seqsgd.figures.extra_scaling import AMPLITUDE, ETA, RATE, START, rate, task

L = 2
FIXED = 0.1  # m0 of the other protocol
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)  # exact for the polynomials below


def activation(k: int, u: np.ndarray, derivative: int = 0) -> np.ndarray:
    """He_k / sqrt(k!) or its derivative."""
    return np.polynomial.hermite_e.HermiteE.basis(k).deriv(derivative)(u) / math.sqrt(
        math.factorial(k)
    )


def second_moment(k: int, m: np.ndarray) -> np.ndarray:
    """V = E ||delta||^2 = E[(y - f)^2 sigma'(u)^2] at overlaps m, by Gauss-Hermite quadrature."""
    star, rest, m = NODES[:, None, None], NODES[:, None], np.atleast_1d(m)
    u = m * star + np.sqrt(1 - m * m) * rest
    values = (activation(k, star) - AMPLITUDE[k] * activation(k, u)) ** 2 * (
        AMPLITUDE[k] * activation(k, u, 1)
    ) ** 2
    return np.einsum("ijm,i,j->m", values, WEIGHTS, WEIGHTS) / (2 * math.pi)


def drift(k: int, d: int, m: np.ndarray) -> np.ndarray:
    """dm/dt (theory: section 5): k a m^(k-1) (1 - m^2) - (gamma/2) V m."""
    return (
        k * AMPLITUDE[k] * m ** (k - 1) * (1 - m * m)
        - 0.5 * rate(k).schedule(d, L).values[0] * second_moment(k, m) * m
    )


def flow(k: int, d: int, m0: float) -> float:
    """Steps of the flow from m0 to ETA: (d / gamma) int dm / (dm/dt), over log m."""
    x, weights = np.polynomial.legendre.leggauss(100)
    width = math.log(ETA / m0) / 2
    m = m0 * np.exp(width * (x + 1))
    return float(
        width * np.sum(weights * m / drift(k, d, m)) * d / rate(k).schedule(d, L).values[0]
    )


def growth() -> float:
    """SIE 2: m ~ exp(growth tau / d) at small m: gamma dm/dt / m there."""
    return float(RATE[2] / AMPLITUDE[2] * drift(2, 1, np.array([1e-8]))[0] / 1e-8)


def median_start() -> float:
    """SIE 2: m sqrt(d) exp(-growth tau / d) settles at N(c, v), v the noise of the early steps; the
    median of its size replaces c.
    """
    kick = (
        (RATE[2] / AMPLITUDE[2]) ** 2
        * float(WEIGHTS @ (activation(2, NODES) * NODES) ** 2)
        / math.sqrt(2 * math.pi)
        * 2
        * AMPLITUDE[2] ** 2
    )  # E[(y z* sigma'(u))^2]
    spread = math.sqrt(kick / (2 * growth()))
    return float(stats.foldnorm.median(START[2] / spread, scale=spread))


@dataclass(frozen=True)
class Point:
    """What was measured at one d."""

    d: int
    passage: sq.FirstPassage
    run_steps: int
    seconds: float

    @property
    def median(self) -> float:
        return self.passage.median

    @property
    def error(self) -> float:
        """Standard error of the logarithm of the median: half of the logarithmic width of its 68.3
        % interval.
        """
        low, high = self.passage.interval(0.5, 0.6827)
        return (math.log(high) - math.log(low)) / 2


def start(k: int, d: int, fixed: bool) -> float:
    """m0 of a protocol."""
    return FIXED if fixed else START[k] / math.sqrt(d)


def factor(k: int, fixed: bool) -> Callable[[int], float]:
    """What the flow multiplies its power of d by: at SIE 2 from c / sqrt(d) a logarithm, else 1 and
    corrections of order d^-1/2.
    """
    power = power_law(k, fixed)
    return lambda d: (
        flow(k, d, median_start() / math.sqrt(d) if k == 2 and not fixed else start(k, d, fixed))
        / float(d) ** power
    )


def power_law(k: int, fixed: bool) -> float:
    """Predicted exponent of d, logarithms apart: from c / sqrt(d) and from a fixed m0."""
    return k / 2 if fixed else k - 1


def orders(k: int, fixed: bool) -> tuple[float, ...]:
    """Corrections to the flow: 1/d; and where the noise of the start changes the prefactor, as at
    SIE 3, also those of order d^-1/2 that the flow had.
    """
    return (0.5, 1.0) if k == 3 and not fixed else (1.0,)


def measure(
    k: int,
    dims: Sequence[int],
    budget: float,
    *,
    fixed: bool = False,
    most: int = 4096,
    seed: int = 0,
) -> list[Point]:
    """First passages at each d, from m0 = c / sqrt(d) or from the same m0 at every d.

    Runs end at four times the steps of the flow; there are about budget / flow of them.
    """
    points = []
    for i, d in enumerate(dims):
        m0 = start(k, d, fixed)
        rng = np.random.SeedSequence([seed, k, i, fixed])
        expected = flow(k, d, m0)
        steps, runs = (
            math.ceil(4 * expected),
            64 * int(np.clip(budget / expected / 64, 1, most // 64)),
        )
        started = time.perf_counter()
        result = sq.simulate(
            task(k),
            d,
            steps,
            rate(k),
            runs=runs,
            rng=rng,
            dynamics="reduced",
            init=sq.Overlap(m0),
            record=[0],
            stop=sq.WeakRecovery(ETA, halt=True),
        )
        points.append(
            Point(
                d,
                result.passage,
                int(result.dataset["steps_done"].sum()),
                time.perf_counter() - started,
            )
        )
    return points


@dataclass(frozen=True)
class Fit:
    """log(median / factor) = log prefactor + exponent log d + sum of corrections d^-order, weighted
    by the errors of the medians.
    """

    exponent: float
    error: float
    prefactor: float
    corrections: dict[float, float]
    chi2: float
    dof: int

    def __str__(self) -> str:
        return f"{self.exponent:.4f} +- {self.error:.4f} (chi2 {self.chi2:.1f} / {self.dof})"

    def __call__(self, d: float) -> float:
        """The median over the factor."""
        return (
            self.prefactor
            * d**self.exponent
            * math.exp(sum(b * d**-order for order, b in self.corrections.items()))
        )


def weighted(
    columns: Sequence[Sequence[float]], y: Sequence[float], error: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Least squares y = sum of coefficients times columns: coefficients, their errors, chi2."""
    A, b = np.array(columns).T / np.array(error)[:, None], np.array(y) / np.array(error)
    coefficients, *_ = np.linalg.lstsq(A, b)
    return (
        coefficients,
        np.sqrt(np.diag(np.linalg.inv(A.T @ A))),
        float(((b - A @ coefficients) ** 2).sum()),
    )


def fit(
    points: Sequence[Point],
    factor: Callable[[int], float] = lambda d: 1.0,
    orders: Sequence[float] = (),
) -> Fit:
    """The exponent; `factor` is what the power law is multiplied by, corrections of relative order
    d^-order are fitted too.
    """
    columns = [
        [math.log(p.d) for p in points],
        [1.0] * len(points),
        *([p.d**-order for p in points] for order in orders),
    ]
    x, error, chi2 = weighted(
        columns, [math.log(p.median / factor(p.d)) for p in points], [p.error for p in points]
    )
    return Fit(
        x[0],
        error[0],
        math.exp(x[1]),
        dict(zip(orders, x[2:], strict=True)),
        chi2,
        len(points) - len(columns),
    )


def logarithm(points: Sequence[Point]) -> tuple[float, float]:
    """SIE 2: slope of (median / d) against log d, and its error; the flow says 1 / (2 growth)."""
    columns = [[math.log(p.d) for p in points], [1.0] * len(points)]
    x, error, _ = weighted(
        columns, [p.median / p.d for p in points], [p.median / p.d * p.error for p in points]
    )
    return x[0], error[0]


def local(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """(d, exponent, error) between neighbours, d their geometric mean."""
    pairs = zip(points[:-1], points[1:], strict=True)
    return [
        (
            math.sqrt(p.d * q.d),
            math.log(q.median / p.median) / (w := math.log(q.d / p.d)),
            math.hypot(p.error, q.error) / w,
        )
        for p, q in pairs
    ]


def report(k: int, fixed: bool, points: Sequence[Point]) -> None:
    """A table as in docs/scaling.md."""
    print(
        f"\nSIE {k}, {f'm0 = {FIXED}' if fixed else f'm0 = {START[k]} / sqrt(d)'}\n\n| d | runs "
        "(censored) | median step | 95 % interval | over the flow | run-steps | s "
        "|\n|---|---|---|---|---|---|---|"
    )
    scale = factor(k, fixed)
    for p in points:
        low, high = p.passage.interval()
        flown = scale(p.d) * float(p.d) ** power_law(k, fixed)
        print(
            f"| {p.d} | {p.passage.runs} ({p.passage.number_censored}) | {p.median:.4g} | "
            f"{low:.4g} to {high:.4g} | {p.median / flown:.3f} +- "
            f"{p.median / flown * p.error:.3f} | {p.run_steps:.2e} | {p.seconds:.1f} |"
        )
    print(
        f"\npredicted {power_law(k, fixed):g}; plain power law {fit(points)}; over the flow's "
        f"factor {fit(points, scale)}, with corrections {fit(points, scale, orders(k, fixed))}"
    )
    print("local exponents:", ", ".join(f"{x:.3f} +- {e:.3f}" for _, x, e in local(points)))
    if k == 2 and not fixed:
        slope, error = logarithm(points)
        print(
            f"slope of (median / d) against log d: {slope:.3f} +- {error:.3f}, predicted "
            f"{1 / (2 * growth()):.3f}"
        )


LOOKS = {
    (2, False): ("#0072B2", "o", "-"),
    (3, False): ("#D55E00", "s", "--"),
    (2, True): ("#009E73", "^", "-."),
    (3, True): ("#CC79A7", "D", ":"),
}


def draw(measured: dict[tuple[int, bool], list[Point]], path: str) -> None:
    """Medians with 95 % intervals against d and the fits; and median / d against d, where the
    logarithm shows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="tight")
    left, right = figure.subplots(1, 2)
    for (k, fixed), points in measured.items():
        colour, marker, style = LOOKS[k, fixed]
        scale, found = factor(k, fixed), fit(points, factor(k, fixed), orders(k, fixed))
        d = np.geomspace(points[0].d, points[-1].d, 40)
        fitted = np.array([found(x) * scale(x) for x in d])
        medians = np.array([p.median for p in points])
        ends = np.array([p.passage.interval() for p in points]).T
        errors = np.abs(ends - medians)
        law = f"$d^{{{found.exponent:.3f} \\pm {found.error:.3f}}}$" + (
            r"$\,\log(\cdot\,d)$" if (k, fixed) == (2, False) else ""
        )
        label = (
            f"SIE {k}, $m_0 = {FIXED}$: {law}"
            if fixed
            else f"SIE {k}, $m_0 = {START[k]:g}/\\sqrt{{d}}$: {law}"
        )
        for ax, by in (
            ((left, lambda d: 1.0), (right, lambda d: d)) if k == 2 else ((left, lambda d: 1.0),)
        ):
            at = [p.d for p in points]
            ax.plot(d, fitted / by(d), color=colour, linestyle=style, linewidth=1.2)
            ax.errorbar(
                at,
                medians / by(np.array(at)),
                errors / by(np.array(at)),
                color=colour,
                marker=marker,
                linestyle="",
                markersize=4.5,
                capsize=2,
                label=label,
            )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="token dimension $d$",
        ylabel=f"median step of $|m| \\geq {ETA}$ (SGD steps)",
    )
    right.set(
        xscale="log",
        xlabel="token dimension $d$",
        ylabel=r"median step $/\,d$ (SGD steps)",
        title="SIE 2: the logarithm",
    )
    left.set_title("points: 95 % intervals; lines: fits")
    for ax in (left, right):
        ax.grid(alpha=0.25)
    left.legend(fontsize="small")
    right.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scaling of the step of weak recovery with d")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--output", default="scaling.png", help="the picture")
    given = parser.parse_args()
    budget = 1e8 if given.quick else 1e9
    most = {2: 4.0 if given.quick else 6.0, 3: 3.0 if given.quick else 4.0}
    measured = {}
    for fixed in (False, True):
        for k in (2, 3):
            first, per_decade = (3 if fixed and not given.quick else 2), (4 if k == 3 else 2)
            dims = [
                round(10 ** (first + i / per_decade))
                for i in range(round((most[k] + (k == 3 and fixed) / 2 - first) * per_decade) + 1)
            ]
            measured[k, fixed] = measure(k, dims, budget if not fixed else budget / 4, fixed=fixed)
            report(k, fixed, measured[k, fixed])
    draw(measured, given.output)
    everything = [p for points in measured.values() for p in points]
    print(
        f"\n{sum(p.run_steps for p in everything):.2e} run-steps in "
        f"{sum(p.seconds for p in everything):.0f} s; wrote {given.output}"
    )


if __name__ == "__main__":
    main()
