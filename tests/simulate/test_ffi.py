"""C entry points: the same bits as Python's, by ctypes and from numba loops in several threads
without the GIL.
"""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import seqsgd as sq
from helpers import ROOT
from seqsgd import _core, ffi

TASKS = {
    "tied": sq.Task(sq.SSI("sum_h2", 3), sq.Tied("relu")),
    "untied, noisy": sq.Task(sq.SSI("z1*z2", 2), sq.Untied("tanh"), noise=0.1),
    "attention": sq.Task(
        sq.PositionalSemantic(0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
    ),
}


def pair(name: str, dtype: str = "float32", d: int = 20) -> tuple[sq.Simulator, sq.Simulator]:
    one, other = (sq.Simulator(TASKS[name], d, 0.1, rng=4, dtype=dtype) for _ in range(2))
    return one, other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TASKS)
def test_everything_is_as_in_python(name: str, dtype: str) -> None:
    one, other = pair(name, dtype)
    at = ffi.Handle(one).address
    task, weights = TASKS[name], other.w.size // 20
    assert ffi.advance.ctypes(at, 37) == other.advance(37)
    sizes = np.empty(6, dtype=np.int64)
    assert ffi.sizes.ctypes(at, sizes.ctypes.data) == 0
    positions = task.L if name == "attention" else 0
    k = task.L**2 if name == "attention" else 1
    assert sizes.tolist() == [task.L, 20, k, weights, positions, 4 if dtype == "float32" else 8]

    rng = np.random.default_rng(0)
    X = (rng.standard_normal((5, task.L, 20)) / np.sqrt(20)).astype(dtype)
    y, losses = rng.standard_normal((5, k)), np.empty(5)
    for labels in (None, y):
        assert (
            ffi.observe.ctypes(
                at,
                X.ctypes.data,
                0 if labels is None else labels.ctypes.data,
                5,
                losses.ctypes.data,
            )
            == 5
        )
        np.testing.assert_array_equal(losses, other.observe(X, labels))
    assert ffi.step.ctypes(at) == other.step == one.step == 47

    m, q, e, loss, w = (
        np.empty(weights),
        np.empty(weights),
        np.empty(positions),
        np.empty(1),
        np.empty((weights, 20)),
    )
    assert (
        ffi.order_parameters.ctypes(
            at, m.ctypes.data, q.ctypes.data, e.ctypes.data, loss.ctypes.data
        )
        == 0
    )
    assert ffi.order_parameters.ctypes(at, 0, 0, 0, 0) == 0
    assert ffi.weights.ctypes(at, w.ctypes.data) == 0
    np.testing.assert_array_equal(m, np.atleast_1d(other.m))
    np.testing.assert_array_equal(q, other.q)
    np.testing.assert_array_equal(w, np.atleast_2d(other.w))
    assert loss[0] == other.loss
    if positions:
        np.testing.assert_array_equal(e, [other.e, -other.e])


@pytest.mark.parametrize(
    ("entry", "dtype"), [(ffi.normals_float32, "float32"), (ffi.normals_float64, "float64")]
)
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 1000])
def test_normals(entry: ffi.EntryPoint, dtype: str, n: int) -> None:
    out = np.full(n + 1, 7, dtype=dtype)  # and not one more
    assert entry.ctypes(2**64 - 1, 3, 5, 2**40, n, out.ctypes.data) == n
    np.testing.assert_array_equal(out, [*_core.normals(2**64 - 1, 3, 5, 2**40, n, dtype), 7])


def test_errors_are_codes() -> None:
    sim = sq.Simulator(TASKS["tied"], 20, 0.1, rng=0)
    at, out = ffi.Handle(sim).address, np.zeros(4)
    for done in (
        ffi.advance.ctypes(0, 1),
        ffi.advance.ctypes(at, -1),
        ffi.observe.ctypes(at, 0, 0, 1, out.ctypes.data),
        ffi.observe.ctypes(at, out.ctypes.data, 0, -1, out.ctypes.data),
        ffi.weights.ctypes(at, 0),
        ffi.sizes.ctypes(at, 0),
        ffi.normals_float64.ctypes(0, 256, 0, 0, 1, out.ctypes.data),
        ffi.normals_float64.ctypes(0, 1, 0, 2**56, 1, out.ctypes.data),
        ffi.normals_float64.ctypes(0, 1, 0, 0, 1, 0),
    ):
        assert done == ffi.BAD_ARGUMENT
    assert sim.step == 0
    with pytest.raises(TypeError, match="simulator: expected a Simulator, got int"):
        ffi.Handle(3)  # type: ignore[arg-type]


def test_a_function_of_the_users_that_raises() -> None:
    calls = []

    def link(z: Any) -> Any:
        calls.append(threading.current_thread())
        if len(calls) > 10:
            raise RuntimeError("no more")
        return [z.sum()]

    sim = sq.Simulator(sq.Task(sq.SSI(link, 2), sq.Tied("tanh")), 20, 0.1, rng=0)
    calls.clear()
    assert ffi.advance.ctypes(ffi.Handle(sim).address, 100) == ffi.FAILED
    assert sim.step == 10 and len(calls) == 11


def test_one_simulator_takes_one_thread_at_a_time() -> None:
    inside, leave = threading.Event(), threading.Event()

    def link(z: Any) -> Any:
        inside.set()
        leave.wait(60)
        return [z.sum()]

    sim = sq.Simulator(sq.Task(sq.SSI(link, 2), sq.Tied("tanh")), 20, 0.1, rng=0)
    at = ffi.Handle(sim).address
    inside.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ffi.advance.ctypes, at, 1)
        assert inside.wait(60)
        assert ffi.step.ctypes(at) == ffi.IN_USE and ffi.advance.ctypes(at, 1) == ffi.IN_USE
        leave.set()
        assert first.result() == 1
    assert sim.step == 1


def test_a_handle_keeps_the_memory() -> None:
    one, other = pair("untied, noisy")
    handle = ffi.Handle(one)
    del one
    gc.collect()
    w = np.empty((2, 20))
    assert ffi.advance.ctypes(handle.address, 50) == other.advance(50)
    assert ffi.weights.ctypes(handle.address, w.ctypes.data) == 0
    np.testing.assert_array_equal(w, other.w)


def test_prototypes_are_c(tmp_path: Any) -> None:
    """Every prototype is taken by a C compiler as a declaration, and has as many arguments as its
    ctypes function.
    """
    for name, entry in ffi.entry_points().items():
        assert entry == getattr(ffi, name) and entry.address > 0
        assert len(entry.ctypes.argtypes) == entry.prototype.count(",") + 1
        assert (
            entry.ctypes.restype is ctypes.c_int64
            and ctypes.cast(entry.ctypes, ctypes.c_void_p).value == entry.address
        )
        assert f"seqsgd_{name}(" in entry.prototype


def test_numba_without_the_gil() -> None:
    """Compiled outer loops in four threads, each with simulators of several tasks, and with normals
    of the core as their own data.
    """
    numba = pytest.importorskip("numba")
    advance, observe, order, normals = (
        e.ctypes for e in (ffi.advance, ffi.observe, ffi.order_parameters, ffi.normals_float64)
    )

    @numba.njit(nogil=True)
    def outer(handles, n, seed, history, X, losses, m):  # type: ignore[no-untyped-def]
        done = 0
        for i in range(n):
            for j in range(len(handles)):
                done += advance(handles[j], 10)
                normals(seed, 4, j, i, X.size, X.ctypes.data)
                for k in range(X.size):
                    X.flat[k] /= np.sqrt(X.shape[2])
                done += observe(handles[j], X.ctypes.data, 0, X.shape[0], losses.ctypes.data)
                order(handles[j], m.ctypes.data, 0, 0, 0)
                history[i, j] = m[0]
        return done

    rounds, L, d = 20, 2, 24
    tasks = [
        sq.Task(sq.SSI(link, L), student)
        for link in ("sum", "z1*z2")
        for student in (sq.Tied("relu"), sq.Untied("tanh"))
    ]

    def compiled(seed: int) -> Any:
        sims = [sq.Simulator(t, d, 0.1, rng=seed, dtype="float64") for t in tasks]
        handles = [ffi.Handle(s) for s in sims]
        history = np.empty((rounds, len(sims)))
        done = outer(
            np.array([h.address for h in handles]),
            rounds,
            seed,
            history,
            np.empty((3, L, d)),
            np.empty(3),
            np.empty(L),
        )
        assert done == rounds * len(sims) * 13
        return history

    def plain(seed: int) -> Any:
        sims = [sq.Simulator(t, d, 0.1, rng=seed, dtype="float64") for t in tasks]
        history = np.empty((rounds, len(sims)))
        for i in range(rounds):
            for j, sim in enumerate(sims):
                sim.advance(10)
                sim.observe(
                    _core.normals(seed, 4, j, i, 3 * L * d, "float64").reshape(3, L, d) / np.sqrt(d)
                )
                history[i, j] = np.atleast_1d(sim.m)[0]
        return history

    with ThreadPoolExecutor(4) as pool:
        for seed, history in enumerate(pool.map(compiled, range(8))):
            np.testing.assert_array_equal(history, plain(seed))


def test_thousands_of_simulators_in_several_threads() -> None:
    """3000 simulators of different tasks, dimensions and precisions over four threads go where they
    go alone.
    """

    def made(i: int) -> sq.Simulator:
        return sq.Simulator(
            list(TASKS.values())[i % 3], 5 + i % 7, 0.05, rng=i, dtype=("float32", "float64")[i % 2]
        )

    sims = [made(i) for i in range(3000)]

    def share(k: int) -> None:
        for _ in range(3):
            for sim in sims[k::4]:
                sim.advance(7)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(share, range(4)))
    for i in range(0, 3000, 37):
        alone = made(i)
        alone.advance(21)
        np.testing.assert_array_equal(alone.w, sims[i].w)
        assert sims[i].step == 21


def test_the_loop_of_the_page_ends_where_a_step_cannot_be_done() -> None:
    """docs/embedding.md: with a handle of 0, and one of a simulator that met a value that is not
    finite.
    """
    numba = pytest.importorskip("numba")
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    code = next(b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "until" in b)
    names: dict[str, Any] = {}
    exec(code.partition("task = ")[0], names)
    stopped = sq.Simulator(sq.Task(sq.SSI("sum_h2", L=2), sq.Tied("relu")), d=50, lr=0.2, rng=0)
    with pytest.warns(sq.NonFiniteWarning):
        stopped.observe(np.full((1, 2, 50), 0.1), [1e300])
    addresses = np.array([0, ffi.Handle(stopped).address])
    assert numba and names["until"](addresses, 0.5, np.empty(1)).tolist() == [0, 0]
