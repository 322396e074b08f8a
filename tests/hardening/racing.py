"""Everything that runs on several threads, for ThreadSanitizer (see sanitize.py); results are
compared with those of one thread, so it can fail without it too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import seqsgd as sq
from seqsgd import ffi

NETWORK = sq.Task(sq.SSI("sum", L=3, scale="1/sqrt(L)"), sq.Tied("relu"))
UNTIED = sq.Task(sq.SSI("sum", L=3), sq.Untied("tanh"))
PAIR = sq.Task(
    sq.PositionalSemantic(omega=0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
)
USERS = sq.Task(sq.SSI(lambda z: z.sum(), L=2), sq.Tied((np.tanh, lambda u: 1 - np.tanh(u) ** 2)))


def runs_on_threads() -> None:
    for task in (NETWORK, UNTIED, PAIR):
        for dynamics in ("sampled", "reduced"):
            one, four = (
                sq.simulate(
                    task,
                    d=40,
                    steps=600,
                    lr=0.1,
                    runs=21,
                    rng=5,
                    record=sq.Every(50),
                    dynamics=dynamics,
                    threads=t,
                    progress=False,
                )
                for t in (1, 4)
            )
            assert one.m.equals(four.m), (task, dynamics)


def functions_of_the_users() -> None:
    """Each call takes the interpreter's lock."""
    one, four = (
        sq.simulate(
            USERS,
            d=20,
            steps=40,
            lr=0.1,
            runs=8,
            rng=5,
            record=sq.Every(10),
            threads=t,
            progress=False,
        )
        for t in (1, 4)
    )
    assert one.m.equals(four.m)


def simulators_of_their_own() -> None:
    def walk(seed: int) -> Any:
        s = sq.Simulator(PAIR, d=30, lr=0.1, rng=seed)
        for _ in range(20):
            s.advance(50)
            s.observe(np.ones((2, 2, 30), np.float32) / 30)
        return s.w

    with ThreadPoolExecutor(4) as pool:
        there = list(pool.map(walk, range(8)))
    assert all(np.array_equal(a, walk(seed)) for seed, a in enumerate(there))


def one_simulator_shared() -> None:
    """Calls wait for each other: no step is lost, and whoever looks sees a whole state."""
    s = sq.Simulator(UNTIED, d=30, lr=0.05, rng=1, init=sq.Uniform())
    norms = (s.w**2).sum()
    errors: list[BaseException] = []

    def guarded(f: Callable[[], object]) -> None:
        try:
            for _ in range(60):
                f()
        except BaseException as e:
            errors.append(e)

    def look() -> None:
        assert np.isclose((s.w**2).sum(), norms, rtol=1e-4)

    jobs = [
        threading.Thread(target=guarded, args=(f,))
        for f in (lambda: s.advance(25), lambda: s.advance(25), look, lambda: s.state())
    ]
    for j in jobs:
        j.start()
    for j in jobs:
        j.join()
    assert not errors, errors
    assert s.step == 2 * 60 * 25
    alone = sq.Simulator(UNTIED, d=30, lr=0.05, rng=1, init=sq.Uniform())
    alone.advance(3000)
    assert np.array_equal(s.w, alone.w)


def one_simulator_without_the_lock() -> None:
    """C entry points: whoever comes second is told so, and every step that is said to be done
    was.
    """
    s = sq.Simulator(NETWORK, d=30, lr=0.05, rng=1)
    handle, done = ffi.Handle(s), [0] * 4

    def push(k: int) -> None:
        w = np.empty(30)
        while done[k] < 1000:
            steps = ffi.advance.ctypes(handle.address, 20)
            assert steps in (20, ffi.IN_USE) and ffi.weights.ctypes(
                handle.address, w.ctypes.data
            ) in (0, ffi.IN_USE)
            done[k] += max(steps, 0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, range(4)))
    alone = sq.Simulator(NETWORK, d=30, lr=0.05, rng=1)
    alone.advance(4000)
    assert s.step == sum(done) == 4000 and np.array_equal(s.w, alone.w), (s.step, done)


def ends_in_mid_air() -> None:
    """By a callback, which looks from the caller's thread, and by an error in a function of the
    user's, which comes from one of the others.
    """
    for dynamics in ("sampled", "reduced"):
        looks: list[int] = []

        def look(done: int, total: int) -> bool:
            looks.append(done)
            return len(looks) == 3

        r = sq.simulate(
            NETWORK,
            d=40,
            steps=10**8,
            lr=0.1,
            runs=21,
            rng=5,
            record=[0, 10**8],
            dynamics=dynamics,
            threads=4,
            progress=False,
            callback=look,
        )
        assert len(looks) == 3 and looks == sorted(looks) and r.m.sizes["run"] == 21
    calls: list[int] = []

    def link(z: Any) -> Any:
        calls.append(1)
        if len(calls) > 400:
            raise KeyError("no more")
        return z.sum()

    try:
        sq.simulate(
            sq.Task(sq.SSI(link, L=2), sq.Tied("tanh")),
            d=20,
            steps=1000,
            lr=0.1,
            runs=8,
            rng=5,
            threads=4,
            progress=False,
        )
    except KeyError:
        return
    raise AssertionError("the error did not arrive")


def many_pools() -> None:
    """Many starts and ends of the pool of threads."""
    for seed in range(30):
        sq.simulate(NETWORK, d=10, steps=20, lr=0.1, runs=6, rng=seed, threads=3, progress=False)


if __name__ == "__main__":
    for part in (
        runs_on_threads,
        functions_of_the_users,
        simulators_of_their_own,
        one_simulator_shared,
        one_simulator_without_the_lock,
        ends_in_mid_air,
        many_pools,
    ):
        part()
        print(f"{part.__name__}: done", flush=True)
