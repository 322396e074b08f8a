"""simulate: labels, randomness, limits, stopping and watching."""

import json
import os
import threading
import time
import warnings

import numpy as np
import pytest
import seqsgd as sq
import xarray as xr
from helpers import SMALL, TASK, crowd
from seqsgd.dynamics import core as compiled
from seqsgd.dynamics import table
from seqsgd.dynamics.protocol import Variable
from seqsgd.models.dynamics import TRAITS, Traits


def same(a, b):
    """Bit for bit, NaN equal to NaN."""
    a, b = (r.dataset if isinstance(r, sq.Result) else r for r in (a, b))
    xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())


def test_labels_of_a_tied_run():
    r = sq.simulate(TASK, **SMALL)
    assert r.m.dims == ("run", "step") and r.m.shape == (4, 4) and r.m.dtype == np.float64
    assert (
        r.loss.dims == ("run", "step")
        and np.isnan(r.loss[:, 0]).all()
        and np.isfinite(r.loss[:, 1:]).all()
    )
    assert r.dataset["step"].values.tolist() == [0, 20, 40, 60] and r.dataset[
        "run"
    ].values.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(r.dataset["time"], np.array([0, 20, 40, 60]) * 0.2 / 40)
    assert (
        r.dataset["steps_done"].values.tolist() == [60] * 4
        and np.isnan(r.dataset["nonfinite_step"]).all()
    )
    np.testing.assert_allclose(r.m[:, 0], 1 / np.sqrt(40), rtol=1e-6)
    for name in ("e", "q", "weak_recovery", "censored"):
        with pytest.raises(AttributeError, match=f"^{name}: this result has none"):
            getattr(r, name)


def test_labels_of_an_untied_run():
    r = sq.simulate(
        sq.Task(TASK.teacher, sq.Untied("relu", "global", sq.Positions(np.ones((3, 40))))), **SMALL
    )
    for name in ("m", "q", "e"):
        assert getattr(r, name).dims == ("run", "step", "token") and getattr(r, name).shape == (
            4,
            4,
            3,
        )
    assert r.dataset["token"].values.tolist() == [1, 2, 3]
    np.testing.assert_allclose(r.q.sum("token"), 3, rtol=1e-5)


def test_e_is_one_number_with_opposite_and_one_weight():
    matrix = sq.PositionalSemantic(0.5)
    r = sq.simulate(sq.Task(matrix, sq.Attention(position=sq.Opposite())), **SMALL)
    assert r.e.dims == ("run", "step") and np.abs(r.e[:, 0]).max() < 1e-6
    r = sq.simulate(sq.Task(matrix, sq.Attention(position=sq.Positions(np.eye(2, 40)))), **SMALL)
    assert r.e.dims == ("run", "step", "token")
    r = sq.simulate(sq.Task(sq.SSI("z1", 2), sq.Untied(position=sq.Opposite())), **SMALL)
    assert r.e.dims == ("run", "step", "token")
    r = sq.simulate(sq.Task(sq.SSI("z1", 2), sq.Tied(position=sq.Injected(1.0))), **SMALL)
    assert "e" not in r.dataset


def test_time_follows_the_schedule():
    r = sq.simulate(TASK, **SMALL | {"lr": sq.Piecewise([(0, 1.0), (30, 0.5)])})
    np.testing.assert_allclose(r.dataset["time"] * 40, [0, 20, 35, 45])


def test_schedules_reach_the_core():
    steady = sq.simulate(TASK, **SMALL)
    same(steady, sq.simulate(TASK, **SMALL | {"lr": sq.Piecewise([(0, 0.2), (13, 0.2)])}))
    same(steady, sq.simulate(TASK, **SMALL | {"lr": sq.PowerLaw(0.2 * 40 * 3, d=-1, L=-1)}))
    decay = sq.simulate(TASK, **SMALL | {"lr": sq.Decay(0.2, 15, 0.7), "dtype": "float64"})
    stairs = sq.simulate(
        TASK,
        **SMALL
        | {
            "lr": sq.Piecewise([(t, 0.2 * (1 + t / 15) ** -0.7) for t in range(60)]),
            "dtype": "float64",
        },
    )
    np.testing.assert_allclose(decay.m, stairs.m, rtol=1e-9)
    frozen = sq.simulate(TASK, **SMALL | {"lr": sq.Piecewise([(0, 0.2), (20, 0)])})
    np.testing.assert_allclose(frozen.m[:, 2], frozen.m[:, 1], atol=1e-12)
    np.testing.assert_array_equal(frozen.m[:, 1], steady.m[:, 1])


# --- randomness


def test_a_batch_can_be_split():
    whole = sq.simulate(TASK, **SMALL | {"runs": 6})
    parts = [
        sq.simulate(TASK, **SMALL | {"runs": n, "first_run": k}).dataset
        for k, n in ((0, 2), (2, 1), (5, 1), (3, 2))
    ]
    same(
        whole,
        xr.concat(
            parts, dim="run", data_vars="minimal", coords="minimal", compat="equals", join="exact"
        ).sortby("run"),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_matter(dtype):
    one = sq.simulate(TASK, **SMALL | {"dtype": dtype, "threads": 1})
    for threads in (2, 3, None):
        same(one, sq.simulate(TASK, **SMALL | {"dtype": dtype, "threads": threads}))


def test_runs_are_different_and_seeds_too():
    a, b = sq.simulate(TASK, **SMALL), sq.simulate(TASK, **SMALL | {"rng": 8})
    ends = np.concatenate([a.m[:, -1], b.m[:, -1]])
    assert len(np.unique(ends)) == 8


def test_all_forms_of_rng():
    reference = sq.simulate(TASK, **SMALL)
    same(reference, sq.simulate(TASK, **SMALL | {"rng": np.int64(7)}))
    sequence = np.random.SeedSequence(7)
    same(reference, sq.simulate(TASK, **SMALL | {"rng": sequence}))
    same(reference, sq.simulate(TASK, **SMALL | {"rng": sequence}))  # not used up
    child = sequence.spawn(1)[0]
    ours = sq.simulate(TASK, **SMALL | {"rng": child})
    same(ours, sq.simulate(**ours.arguments))
    assert not np.array_equal(ours.m, reference.m)
    generator = np.random.default_rng(7)
    first, second = (sq.simulate(TASK, **SMALL | {"rng": generator}) for _ in range(2))
    assert not np.array_equal(first.m, second.m)
    same(first, sq.simulate(TASK, **SMALL | {"rng": np.random.default_rng(7)}))
    assert np.random.default_rng(7).integers(2**60) != generator.integers(2**60)


@pytest.mark.parametrize(
    "rng",
    [None, 2**200 + 1, np.random.SeedSequence([1, 2, 3], pool_size=8), np.random.default_rng(0)],
    ids=["None", "large", "sequence", "generator"],
)
def test_the_entropy_noted_gives_the_run_again(rng):
    r = sq.simulate(TASK, **SMALL | {"rng": rng})
    same(r, sq.simulate(**r.arguments))
    noted = json.loads(r.dataset.attrs["rng_entropy"])
    if isinstance(noted, int):
        same(r, sq.simulate(TASK, **SMALL | {"rng": noted}))


@pytest.mark.parametrize(
    "rng",
    [7, np.random.SeedSequence(7, spawn_key=(1, 2)), np.random.SeedSequence([1, 2], pool_size=8)],
)
def test_the_core_gets_all_64_bits(monkeypatch, rng):
    seen = []

    class Stop(Exception):
        pass

    class Watch:
        @staticmethod
        def bytes(*_):
            return 0

        def __init__(self, _, settings, *__):
            seen.append(settings.seed)
            raise Stop

    monkeypatch.setattr(compiled.Sampled, "kind", Watch)
    with pytest.raises(Stop):
        sq.simulate(TASK, **SMALL | {"rng": rng})
    sequence = np.random.SeedSequence(rng) if isinstance(rng, int) else rng
    assert seen == [int(sequence.generate_state(1, np.uint64)[0])]


def test_fresh_entropy_is_fresh():
    a, b = (sq.simulate(TASK, **SMALL | {"rng": None}) for _ in range(2))
    assert not np.array_equal(a.m, b.m)


def test_global_generators_are_left_alone():
    import random

    np.random.seed(3)
    random.seed(3)
    before = np.random.get_state()[1].tolist(), random.getstate()
    sq.simulate(TASK, **SMALL | {"rng": None})
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before


# --- limits


def test_no_steps():
    r = sq.simulate(TASK, **SMALL | {"steps": 0})
    assert (
        r.m.shape == (4, 1)
        and np.isnan(r.loss).all()
        and r.dataset["time"].values.tolist() == [0.0]
    )


def test_no_learning():
    r = sq.simulate(TASK, **SMALL | {"lr": 0})
    np.testing.assert_allclose(r.m, 1 / np.sqrt(40), rtol=1e-6)
    assert np.isfinite(r.loss[:, 1:]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "student",
    [
        sq.Tied(),
        sq.Untied(),
        sq.Untied(normalization="global"),
        sq.Attention("trace"),
        sq.LinearAttention(),
    ],
)
def test_one_of_everything(student, dtype):
    r = sq.simulate(
        sq.Task(sq.SSI("z1", 1), student),
        d=1,
        steps=5,
        lr=0.1,
        rng=0,
        init=sq.Uniform(),
        dtype=dtype,
    )
    np.testing.assert_allclose(np.abs(r.m), 1, rtol=1e-5)
    r = sq.simulate(sq.Task(sq.SSI("z1", 1), student), d=1, steps=5, lr=0.1, rng=0, dtype=dtype)
    assert r.m[0, 0] == pytest.approx(1)


def test_start_at_the_pole_stays_defined():
    r = sq.simulate(TASK, **SMALL | {"init": sq.Overlap(-1.0)})
    np.testing.assert_allclose(r.m[:, 0], -1, rtol=1e-6)


def test_random_sign_and_uniform_starts():
    r = sq.simulate(
        TASK, **SMALL | {"runs": 40, "steps": 0, "init": sq.Overlap(0.5, random_sign=True)}
    )
    assert {round(x, 3) for x in r.m[:, 0].values.tolist()} == {0.5, -0.5}
    r = sq.simulate(TASK, **SMALL | {"runs": 400, "steps": 0, "init": sq.Uniform()})
    assert abs(float(r.m.mean())) < 5 / np.sqrt(400 * 40) and abs(
        float((r.m**2).mean()) * 40 - 1
    ) < 5 * np.sqrt(2 / 400)


@pytest.mark.parametrize(
    "tokens",
    [
        "rademacher",
        "uniform",
        sq.StudentT(5),
        sq.Correlated(np.full((3, 3), 0.2) + 0.8 * np.eye(3)),
    ],
)
def test_other_token_laws_run_and_differ(tokens):
    r = sq.simulate(TASK, **SMALL | {"tokens": tokens})
    assert np.isfinite(r.m).all() and not np.array_equal(r.m, sq.simulate(TASK, **SMALL).m)


def test_projected_steps_differ():
    assert not np.array_equal(
        sq.simulate(TASK, **SMALL | {"step": "projected"}).m, sq.simulate(TASK, **SMALL).m
    )


# --- stopping, watching


def test_weak_recovery_to_the_step():
    run = {"d": 30, "steps": 3000, "lr": 0.5, "runs": 6, "rng": 1}
    task = sq.Task(sq.SSI("sum", 2), sq.Tied("relu"))
    full = sq.simulate(task, **run, record=sq.Every(1), stop=sq.WeakRecovery(0.5))
    first = [int(np.argmax(np.abs(m) >= 0.5)) for m in full.m.values]
    assert full.weak_recovery.values.tolist() == first and not full.censored.any()
    halted = sq.simulate(task, **run, record=sq.Every(1), stop=sq.WeakRecovery(0.5, halt=True))
    assert (
        halted.weak_recovery.values.tolist() == first
        and halted.dataset["steps_done"].values.tolist() == first
    )
    for m, whole, step in zip(halted.m.values, full.m.values, first, strict=True):
        np.testing.assert_array_equal(m[: step + 1], whole[: step + 1])
        assert np.isnan(m[step + 1 :]).all()
    short = sq.simulate(task, **run | {"steps": 3}, stop=sq.WeakRecovery(0.999))
    assert (
        np.isposinf(short.weak_recovery).all()
        and short.censored.all()
        and short.passage.median == np.inf
    )


LONG = SMALL | {"d": 1000, "steps": 10**9, "runs": 2, "record": sq.Every(10**7)}


def test_a_callback_watches_and_ends():
    seen = []

    def watch(done, total):
        seen.append((done, total))
        return len(seen) == 3

    r = sq.simulate(TASK, **LONG, callback=watch)
    done = [d for d, _ in seen]
    assert len(seen) >= 3 and done == sorted(done) and {t for _, t in seen} == {2 * 10**9}
    assert 0 < int(r.dataset["steps_done"].sum()) < 10**9
    assert np.isfinite(r.m[:, 0]).all() and np.isnan(r.m[:, -1]).all()


def test_an_error_in_the_callback_comes_out_at_once():
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        sq.simulate(TASK, **LONG, callback=lambda done, total: 1 / 0)
    assert time.monotonic() - started < crowd()


def test_no_progress_bar_in_a_pipe_but_on_demand(capsys):
    sq.simulate(TASK, **SMALL)
    assert capsys.readouterr() == ("", "")
    sq.simulate(TASK, **SMALL, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "steps" in err


def test_other_threads_run_meanwhile():
    """The interpreter's lock is released."""
    ticks = 0
    stop = threading.Event()

    def count():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.001)

    helper = threading.Thread(target=count)
    helper.start()
    started = time.monotonic()
    sq.simulate(TASK, **LONG, callback=lambda done, total: time.monotonic() - started > 0.3)
    stop.set()
    helper.join()
    assert ticks > 30


def test_threads_default_to_what_may_be_used():
    from seqsgd.models.simulation import Run

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert Run(TASK, 4, 0, 0.1, runs=1000).workers == allowed
    assert Run(TASK, 4, 0, 0.1, runs=1).workers == 1
    assert Run(TASK, 4, 0, 0.1, runs=2, threads=64).workers == 2


# --- walls


class Still:
    """A dynamics in which nothing moves and there are no runs: what `simulate` and `Result` may
    assume is what this has.
    """

    def __init__(self, run, seed, grid):
        self.run, self.grid = run, grid

    @staticmethod
    def check(run):
        pass

    @staticmethod
    def precision(run):
        return None

    def advance(self, watch):
        return True

    def steps_done(self):
        return np.array([self.run.steps])

    def variables(self):
        return {"m": Variable(("step",), np.linspace(0.1, 0.9, len(self.grid)), "overlap")}

    def state(self):
        return {}

    def restore(self, state):
        pass


def test_another_dynamics_plugs_in(monkeypatch, tmp_path):
    monkeypatch.setitem(TRAITS, "still", Traits(gaussian="", moves_weights=False))
    monkeypatch.setitem(table.DYNAMICS, "still", Still)
    r = sq.simulate(TASK, **SMALL | {"dynamics": "still"})
    assert r.m.dims == ("step",) and "0.1 -> 0.9" in repr(r)
    r.save(tmp_path / "x.nc")
    same(sq.load(tmp_path / "x.nc"), r)
    r.plot()


def test_public_names_exist():
    assert all(hasattr(sq, name) for name in sq.__all__)
    assert callable(sq.simulate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import seqsgd.simulate  # noqa: F401
    assert callable(sq.simulate), "the module must not shadow the function"
    assert (
        "sum_h2" in sq.links()
        and "relu" in sq.activations()
        and "frobenius" in sq.losses()
        and sq.dynamics()[:2] == ["sampled", "reduced"]
    )
