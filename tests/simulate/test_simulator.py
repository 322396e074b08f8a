"""Simulator: one run in the caller's hands."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import seqsgd as sq

TASK = sq.Task(sq.SSI("sum_h2", L=3), sq.Tied("tanh"))
UNTIED = sq.Task(sq.SSI("sum_h2", L=3), sq.Untied("tanh"))
MATRIX = sq.Task(sq.PositionalSemantic(0.5), sq.Attention(position=sq.Opposite()))


def make(task=TASK, **change):
    return sq.Simulator(task, **{"d": 20, "lr": 0.3, "rng": 5, "dtype": "float64"} | change)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", [TASK, UNTIED, MATRIX], ids=["tied", "untied", "matrix"])
def test_same_as_simulate_bit_for_bit(task, dtype):
    r = sq.simulate(task, d=20, lr=0.3, rng=5, dtype=dtype, steps=57, runs=3, record=[0, 10, 57])
    sim = make(task, dtype=dtype, run=2)
    for n, column in ((0, 0), (10, 1), (47, 2)):
        assert sim.advance(n) == n
        np.testing.assert_array_equal(sim.m, r.m[2, column])
        if task is UNTIED:
            np.testing.assert_array_equal(sim.q, r.q[2, column])
        if task is MATRIX:
            np.testing.assert_array_equal(sim.e, r.e[2, column])
    assert sim.step == 57


@pytest.mark.parametrize("task", [TASK, UNTIED, MATRIX], ids=["tied", "untied", "matrix"])
def test_what_it_shows_belongs_together(task):
    sim = make(task)
    assert np.isnan(sim.loss)
    sim.advance(30)
    L, w, star = task.L, sim.w, sim.teacher
    assert star.shape == (20,) and np.linalg.norm(star) == pytest.approx(np.sqrt(20))
    assert w.shape == ((L, 20) if task is UNTIED else (20,)) and w.dtype == np.float64
    np.testing.assert_allclose(sim.m, w @ star / 20, rtol=1e-12)
    np.testing.assert_allclose(sim.q, np.atleast_1d((w**2).sum(axis=-1) / 20), rtol=1e-12)
    assert np.isfinite(sim.loss)
    if task is MATRIX:
        P = sim.positions
        np.testing.assert_allclose(P[0], -P[1], rtol=1e-12)
        assert isinstance(sim.e, float) and sim.e == pytest.approx(
            P[0] @ w / np.sqrt(20), abs=1e-12
        )
    else:
        for name in ("e", "positions"):
            with pytest.raises(
                AttributeError,
                match=f"^{name}: the student has no positional encoding with vectors$",
            ):
                getattr(sim, name)
    w[...] = 0
    assert np.linalg.norm(sim.w) > 1, "a copy"


def one_step(w, star, X, y, lr):
    """Tied tanh, half square: theory, sections 2 and 3."""
    L, d = X.shape
    f = np.tanh((X @ w).sum() / np.sqrt(L))
    if y is None:
        y = (((X @ star) ** 2 - 1) / np.sqrt(2)).sum()
    w = w - lr * (f - y) * (1 - f**2) / np.sqrt(L) * X.sum(axis=0)
    return w * np.sqrt(d) / np.linalg.norm(w), (y - f) ** 2 / 2


def test_observe_is_one_step_for_each_sequence():
    sim = make()
    w, star = sim.w, sim.teacher
    X = np.random.default_rng(0).standard_normal((6, 3, 20)) / np.sqrt(20)
    y = np.linspace(-1, 1, 6)
    expected = []
    for i in range(6):
        w, loss = one_step(w, star, X[i], y[i] if i < 3 else None, 0.3)
        expected.append(loss)
    losses = np.concatenate([sim.observe(X[:3], y[:3]), sim.observe(X[3:])])
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    np.testing.assert_allclose(sim.w, w, rtol=1e-10)
    assert sim.step == 6 and sim.loss == losses[-1] and losses.shape == (6,)
    assert sim.observe(np.empty((0, 3, 20))).shape == (0,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_array_will_do(dtype):
    X = (np.random.default_rng(0).standard_normal((4, 3, 20)) / np.sqrt(20)).astype(np.float32)
    read_only = X.copy()
    read_only.setflags(write=False)
    wide = np.zeros((8, 3, 40))
    wide[::2, :, ::2] = X
    forms = [
        X,
        X.astype(np.float64),
        X.tolist(),
        np.asfortranarray(X),
        read_only,
        wide[::2, :, ::2],
        X[::-1][::-1],
        np.moveaxis(np.ascontiguousarray(np.moveaxis(X, 1, 2)), 2, 1),
    ]
    weights = []
    for form in forms:
        sim = make(dtype=dtype)
        sim.observe(form, [1, 0, 1, 0])
        weights.append(sim.w)
    for w in weights[1:]:
        np.testing.assert_array_equal(w, weights[0])
    assert np.array_equal(read_only, X)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 2)])
def test_shapes_of_labels(shape):
    task = sq.Task(sq.SSI("z1", 2), sq.Tied()) if shape[-1] != 2 else MATRIX
    if shape == (4,):
        task = sq.Task(sq.SSI("z1", 2), sq.Tied())
    sim, flat = make(task), make(task)
    X = np.random.default_rng(0).standard_normal((4, 2, 20)) / np.sqrt(20)
    y = np.arange(np.prod(shape)).reshape(shape) / 10
    np.testing.assert_array_equal(sim.observe(X, y), flat.observe(X, y.reshape(4, -1)))


def test_one_token_in_one_dimension():
    sim = make(sq.Task(sq.SSI("z1", 1), sq.Tied()), d=1)
    assert sim.observe([[[0.5]], [[1.0]]], [[1.0], [2.0]]).shape == (2,)
    assert abs(sim.m) == pytest.approx(1)


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (
            np.zeros((3, 20)),
            None,
            ValueError,
            "X: expected shape (n, L, d) = (n, 3, 20), got (3, 20)",
        ),
        (
            np.zeros((2, 20, 3)),
            None,
            ValueError,
            "X: expected shape (n, L, d) = (n, 3, 20), got (2, 20, 3)",
        ),
        (
            np.zeros((2, 3, 20), complex),
            None,
            TypeError,
            "X: expected real numbers, got dtype complex128",
        ),
        (
            [[1, 2], [3]],
            None,
            TypeError,
            "X: expected shape (n, L, d) = (n, 3, 20), got a ragged sequence",
        ),
        ("data", None, TypeError, "X: expected real numbers, got dtype <U4"),
        (
            np.zeros((2, 3, 20)),
            [1, 2, 3],
            ValueError,
            "y: expected shape (n, k) = (n, 1), got (3,)",
        ),
        (
            np.zeros((2, 3, 20)),
            np.zeros((3, 1)),
            ValueError,
            "y: expected as many labels as sequences in X, n = 2, got 3",
        ),
        (
            np.zeros((2, 3, 20)),
            np.zeros((2, 2)),
            ValueError,
            "y: expected shape (n, k) = (n, 1), got (2, 2)",
        ),
    ],
)
def test_wrong_data_is_refused_and_nothing_moves(X, y, error, message):
    sim = make()
    w = sim.w
    with pytest.raises(error) as caught:
        sim.observe(X, y)
    assert str(caught.value) == message
    assert sim.step == 0 and np.array_equal(sim.w, w)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make().advance(-1),
            ValueError,
            "n: expected an integer in [0, 4503599627370496], got -1",
        ),
        (
            lambda: make().advance(1.5),
            TypeError,
            "n: expected an integer in [0, 4503599627370496], got 1.5",
        ),
        (lambda: make(run=-1), ValueError, "run: expected an integer in [0, 4294967295], got -1"),
        (lambda: make(d=0), ValueError, "d: expected an integer in [1, 1099511627776], got 0"),
        (
            lambda: make(MATRIX, d=2),
            ValueError,
            "d: Opposite needs d >= 3 (p is orthogonal to w* and to the initial weights), got 2",
        ),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_saved_and_loaded_bit_for_bit(tmp_path, dtype):
    X = np.random.default_rng(0).standard_normal((2, 3, 20)) / np.sqrt(20)

    def course(sim):
        sim.advance(13)
        sim.observe(X)
        sim.advance(100)
        return sim.w

    sim = make(dtype=dtype)
    sim.advance(29)
    kept = sim.state()
    sim.save_state(tmp_path / "s")
    expected = course(sim)
    other = make(dtype=dtype)
    other.load_state(tmp_path / "s")
    assert other.step == 29
    np.testing.assert_array_equal(course(other), expected)
    sim.restore(kept)
    np.testing.assert_array_equal(course(sim), expected)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_state_of_a_simulator_with_fresh_entropy(tmp_path):
    sim = make(rng=None)
    sim.advance(5)
    sim.save_state(tmp_path / "s")
    other = make(rng=None)
    other.load_state(tmp_path / "s")
    sim.advance(50)
    other.advance(50)
    np.testing.assert_array_equal(sim.w, other.w)
    np.testing.assert_array_equal(sim.teacher, other.teacher)


def test_state_of_another_simulator_is_refused(tmp_path):
    sim = make()
    sim.save_state(tmp_path / "s")
    with pytest.raises(ValueError, match=r"belongs to another run: lr is 0.3 there and 0.5 here$"):
        make(lr=0.5).load_state(tmp_path / "s")
    with pytest.raises(ValueError, match="rng is 5 there and 6 here"):
        make(rng=6).load_state(tmp_path / "s")
    with pytest.raises(FileNotFoundError, match="^path: there is no file"):
        sim.load_state(tmp_path / "none")


def test_nonfinite_values_stop_it_before_the_step():
    sim = make()
    X = np.random.default_rng(0).standard_normal((3, 3, 20)) / np.sqrt(20)
    y = [0.0, 1e200, 0.0]
    before = make()
    before.observe(X[:1], y[:1])
    with pytest.warns(
        sq.NonFiniteWarning,
        match="^values were not finite at step 2; the simulator stays before it",
    ):
        losses = sim.observe(X, y)
    assert np.isfinite(losses[0]) and np.isnan(losses[1:]).all()
    assert sim.step == 1 and np.array_equal(sim.w, before.w)


def test_many_at_once_in_threads():
    serial = []
    for run in range(4):
        sim = make(run=run)
        sim.advance(2000)
        serial.append(sim.w)
    sims = [make(run=run) for run in range(4)]
    threads = [threading.Thread(target=s.advance, args=(2000,)) for s in sims]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for s, w in zip(sims, serial, strict=True):
        np.testing.assert_array_equal(s.w, w)


def test_one_from_two_threads_waits():
    sim, alone = make(), make()
    threads = [threading.Thread(target=sim.advance, args=(5000,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    alone.advance(20000)
    assert sim.step == 20000
    np.testing.assert_array_equal(sim.w, alone.w)


def test_repr():
    sim = make()
    assert repr(sim) == (
        "<seqsgd.Simulator at step 0, m = 0.2236, d = 20, Task(teacher=SSI('sum_h2', L=3), "
        "student=Tied('tanh'))>"
    )
    assert "Untied" in repr(make(UNTIED))


def test_decay_does_not_warn_of_its_end():
    make(lr=sq.Decay(0.3, 10, 1), dtype="float32").advance(10)
    with pytest.warns(sq.PrecisionWarning) as caught:
        make(lr=1e-7, dtype="float32")
    assert len(caught) == 1


# --- copies


@pytest.mark.parametrize(
    "made",
    [copy.deepcopy, copy.copy, lambda s: pickle.loads(pickle.dumps(s))],
    ids=["deepcopy", "copy", "pickle"],
)
@pytest.mark.parametrize(
    ("task", "dtype"),
    [(TASK, "float32"), (UNTIED, "float64"), (MATRIX, "float32")],
    ids=["tied", "untied", "matrix"],
)
def test_a_copy_goes_on_bit_for_bit_and_by_itself(task, dtype, made):
    sim = make(
        task, dtype=dtype, rng=np.random.SeedSequence(3).spawn(2)[1], run=4, lr=sq.Decay(0.3, 50, 1)
    )
    sim.advance(17)
    other = made(sim)
    assert (other.step, repr(other)) == (17, repr(sim))
    sim.advance(40)
    assert other.step == 17
    other.advance(40)
    np.testing.assert_array_equal(other.w, sim.w)
    np.testing.assert_array_equal(other.teacher, sim.teacher)
    assert other.loss == sim.loss


def test_a_pickle_is_taken_up_in_another_process(tmp_path):
    sim = make(dtype="float32")
    sim.advance(17)
    (tmp_path / "s.pickle").write_bytes(pickle.dumps(sim))
    program = (
        f"import pickle, sys; s = pickle.load(open({str(tmp_path / 's.pickle')!r}, 'rb')); "
        "s.advance(30); sys.stdout.buffer.write(s.w.tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
    sim.advance(30)
    assert there == sim.w.tobytes()


class Tagged(sq.Simulator):
    """As a user would make one."""

    tag = "none"


def test_a_class_of_the_users_may_have_attributes_of_its_own():
    sim = Tagged(TASK, d=20, lr=0.3, rng=5, dtype="float64")
    sim.tag = "mine"
    sim.advance(7)
    for other in (copy.deepcopy(sim), pickle.loads(pickle.dumps(sim))):
        assert type(other) is Tagged and other.tag == "mine" and other.step == 7


def test_a_function_that_cannot_be_pickled_is_named():
    sim = make(sq.Task(sq.SSI(lambda z: z[0], L=2), sq.Tied()), dtype="float32")
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError), match="lambda"):
        pickle.dumps(sim)
    sim.advance(3)
    other = copy.deepcopy(sim)  # functions are shared
    sim.advance(3)
    other.advance(3)
    np.testing.assert_array_equal(sim.w, other.w)


# --- what may be set


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rate_that_is_set_is_that_of_the_steps_to_come(tmp_path, dtype):
    sim, planned = (
        make(dtype=dtype),
        make(dtype=dtype, lr=sq.Piecewise([(0, 0.3), (10, 0.05), (25, sq.PowerLaw(1.0, d=-1.0))])),
    )
    sim.advance(10)
    sim.lr = 0.05
    assert sim.lr == 0.05
    sim.advance(15)
    sim.save_state(tmp_path / "s")
    sim.lr = sq.PowerLaw(1.0, d=-1.0)
    sim.advance(15)
    planned.advance(40)
    np.testing.assert_array_equal(sim.w, planned.w)
    resumed = make(dtype=dtype, lr=0.05)
    resumed.load_state(tmp_path / "s")
    resumed.lr = sq.PowerLaw(1.0, d=-1.0)
    again = copy.deepcopy(resumed)
    for s in (resumed, again):
        s.advance(15)
        np.testing.assert_array_equal(s.w, sim.w)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("lr", -1, ValueError, "lr: expected a finite number >= 0, got -1"),
        (
            "lr",
            "fast",
            TypeError,
            "lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'fast'",
        ),
        (
            "w",
            0,
            AttributeError,
            "w: cannot be set; it follows from the steps done (restore() goes back to a state)",
        ),
        (
            "learning_rate",
            0.1,
            AttributeError,
            "learning_rate: a Simulator has no such attribute; apart from lr, what it was made "
            "with cannot be changed",
        ),
    ],
)
def test_what_would_do_nothing_cannot_be_set(name, value, error, message):
    sim = make()
    with pytest.raises(error) as caught:
        setattr(sim, name, value)
    assert str(caught.value) == message and sim.lr == 0.3


@pytest.mark.parametrize(
    "change",
    [
        lambda s: 3,
        lambda s: {},
        lambda s: s | {"v": s["v"] * np.nan},
        lambda s: s | {"v": s["v"] * 0},
        lambda s: s | {"v": s["v"].astype("float32")},
        lambda s: s | {"v": "weights"},
        lambda s: s | {"state": s["state"][:, :-1]},
        lambda s: s | {"state": s["state"] * np.inf},
    ],
)
def test_a_state_that_is_none_is_refused_in_one_line(change):
    sim = make()
    sim.advance(5)
    before = sim.w
    with pytest.raises((TypeError, ValueError), match=r"^(state|v): expected .*$"):
        sim.restore(change(sim.state()))
    np.testing.assert_array_equal(sim.w, before)
