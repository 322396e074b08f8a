"""Models: checked, compared by value, picklable, and readable."""

import copy
import ctypes
import dataclasses
import pickle

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.models import Model, Schedule
from seqsgd.models.plain import rebuild

P = np.arange(6.0).reshape(2, 3)
RELU = sq.Tied("relu")

# the repr on the left makes the same object again
GOLDEN = [
    ("SSI('sum_h2', L=8)", sq.SSI("sum_h2", L=8)),
    ("SSI('sum', L=2, scale='1/sqrt(L)')", sq.SSI("sum", 2, "1/sqrt(L)")),
    (
        "SSI(Hermite([(1.0, {1: 1, 2: 4}), (2.0, {3: 2})]), L=3, scale=0.5)",
        sq.SSI(sq.Hermite([(1, {2: 4, 1: 1}), (2, {3: 2})]), L=3, scale=0.5),
    ),
    ("PositionalSemantic(0.4)", sq.PositionalSemantic(0.4)),
    ("PositionalSemantic(0.4, a=0.5)", sq.PositionalSemantic(omega=0.4, a=0.5)),
    (
        "PositionalSemantic(0.0, A=[[0.5, 0.5], [0.25, 0.75]])",
        sq.PositionalSemantic(0, A=[[0.5, 0.5], [0.25, 0.75]]),
    ),
    ("AttentionTarget(L=3)", sq.AttentionTarget(3)),
    (
        "AttentionTarget(L=2, reduction='trace', weights=[1.0, 2.0])",
        sq.AttentionTarget(2, "trace", weights=[1, 2]),
    ),
    ("Tied('relu')", sq.Tied()),
    ("Tied('He3', position=Injected(0.5))", sq.Tied("He3", position=sq.Injected(0.5))),
    ("Tied(HermiteSeries((0.0, 1.0)))", sq.Tied(sq.HermiteSeries([0, 1]))),
    ("Untied('relu', normalization='global')", sq.Untied(normalization="global")),
    ("LinearAttention(position=Opposite())", sq.LinearAttention(sq.Opposite())),
    (
        "Attention('none', position=Positions([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))",
        sq.Attention(position=sq.Positions(P)),
    ),
    ("Attention(Bilinear([1.0, 0.0], [0.0, 1.0]))", sq.Attention(sq.Bilinear([1, 0], [0, 1]))),
    (
        "Task(teacher=SSI('z1', L=1), student=Tied('tanh'), loss='square', noise=0.1)",
        sq.Task(sq.SSI("z1", 1), sq.Tied("tanh"), "square", 0.1),
    ),
    ("Overlap()", sq.Overlap()),
    ("Overlap(m0=0.1, random_sign=True)", sq.Overlap(0.1, True)),
    ("Uniform()", sq.Uniform()),
    ("Every(10)", sq.Every(10)),
    ("LogSpaced(5)", sq.LogSpaced(5)),
    ("At((0, 3, 7))", sq.At([7, 0, 3, 3])),
    ("WeakRecovery(0.3)", sq.WeakRecovery(0.3)),
    ("WeakRecovery(0.3, halt=True)", sq.WeakRecovery(0.3, True)),
    ("PowerLaw(0.5, d=-1.0, L=0.5)", sq.PowerLaw(0.5, d=-1, L=0.5)),
    ("Decay(PowerLaw(1.0, d=-1.0), 100.0, 0.5)", sq.Decay(sq.PowerLaw(1, -1), 100, 0.5)),
    ("Piecewise([(0, 1.0), (10, PowerLaw(0.5))])", sq.Piecewise([(0, 1), (10, sq.PowerLaw(0.5))])),
    ("StudentT(5.0)", sq.StudentT(5)),
    ("Correlated([[1.0, 0.5], [0.5, 1.0]])", sq.Correlated([[1, 0.5], [0.5, 1]])),
]
MODELS = [m for _, m in GOLDEN]
IDS = [text for text, _ in GOLDEN]


@pytest.mark.parametrize(("text", "model"), GOLDEN, ids=IDS)
def test_repr_is_golden_and_can_be_evaluated(text, model):
    assert repr(model) == text
    assert eval(text, vars(sq)) == model


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_pickles_copies_and_compares_by_value(model):
    again = pickle.loads(pickle.dumps(model))
    assert again == model and hash(again) == hash(model) and repr(again) == repr(model)
    assert copy.deepcopy(model) == model and copy.copy(model) == model
    assert dataclasses.replace(model) == model
    assert model != "something else"


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_plain_form_comes_back(model):
    family = next(name for base, name in FAMILIES if isinstance(model, base))
    assert rebuild(model.to_plain(), "x", family) == model


FAMILIES = [
    (sq.Task, "task"),
    (sq.models.Teacher, "teacher"),
    (sq.models.Student, "student"),
    (sq.models.Start, "init"),
    (sq.models.Record, "record"),
    (sq.models.Stop, "stop"),
    (sq.models.Rate, "lr"),
    (sq.models.Tokens, "tokens"),
]


def test_all_models_differ_from_each_other():
    assert len(set(MODELS)) == len(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_frozen(model):
    for f in dataclasses.fields(model):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(model, f.name, None)


def test_arrays_are_read_only_copies_also_after_pickling():
    given = np.asfortranarray(P)
    model = sq.Positions(given)
    given[0, 0] = 99
    for m in (model, pickle.loads(pickle.dumps(model))):
        assert m.P[0, 0] == 0 and m.P.flags.c_contiguous and m.P.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            m.P[0, 0] = 1
    assert sq.Positions(P) != sq.Positions(P + 1) and sq.Positions(P) != sq.Positions(P.T)
    assert hash(sq.Positions([[-0.0]])) == hash(sq.Positions([[0.0]])) and sq.Positions(
        [[-0.0]]
    ) == sq.Positions([[0.0]])


def test_large_arrays_are_not_printed():
    assert repr(sq.Positions(np.ones((4, 100)))) == "Positions(<array (4, 100)>)"


BAD = [
    (lambda: sq.SSI("z1*z9", L=2), ValueError, "link: expected one of 'z1', 'z1+z2', "),
    (
        lambda: sq.SSI(3, L=2),
        TypeError,
        "link: expected a name, Hermite, CLink or a function, got 3",
    ),
    (lambda: sq.SSI("z1", L=0), ValueError, "L: expected an integer in [1, 2147483647], got 0"),
    (lambda: sq.SSI("z1", L=2.5), TypeError, "L: expected an integer in [1, 2147483647], got 2.5"),
    (
        lambda: sq.SSI("z1", L=True),
        TypeError,
        "L: expected an integer in [1, 2147483647], got True",
    ),
    (
        lambda: sq.SSI("z1*z2*z3", L=2),
        ValueError,
        "L: link z1*z2*z3 needs at least 3 tokens, got 2",
    ),
    (
        lambda: sq.SSI("z1", 1, scale="L**2"),
        ValueError,
        "scale: expected one of '1', 'sqrt(L)', '1/sqrt(L)', 'L', '1/L', got 'L**2'",
    ),
    (
        lambda: sq.SSI("z1", 1, scale=float("nan")),
        ValueError,
        "scale: expected a finite number, got nan",
    ),
    (lambda: sq.SSI("z1", 1, k=2), ValueError, "k: named and Hermite links have one output, got 2"),
    (
        lambda: sq.SSI(np.sin, 1, scale=2),
        ValueError,
        "scale: expected 1 for a function of your own (scale inside it), got 2.0",
    ),
    (
        lambda: sq.SSI(sq.Hermite([(1, {3: 1})]), 2),
        ValueError,
        "link: expected tokens between 1 and L = 2, got 3",
    ),
    (
        lambda: sq.Hermite([]),
        ValueError,
        "terms: expected a list of (coefficient, {token: degree, ...}), got an empty one",
    ),
    (
        lambda: sq.Hermite([(1, {0: 1})]),
        ValueError,
        "terms[0] token: expected an integer in [1, 2147483647], got 0",
    ),
    (
        lambda: sq.Hermite([(1, {1: -1})]),
        ValueError,
        "terms[0] degree: expected an integer in [0, 30], got -1",
    ),
    (
        lambda: sq.Hermite([(1, 2, 3)]),
        TypeError,
        "terms[0]: expected (coefficient, {token: degree, ...}), got (1, 2, 3)",
    ),
    (
        lambda: sq.Hermite([("a", {1: 1})]),
        TypeError,
        "terms[0] coefficient: expected a finite number, got 'a'",
    ),
    (lambda: sq.PositionalSemantic(1.5), ValueError, "omega: expected a number in [0, 1], got 1.5"),
    (lambda: sq.PositionalSemantic("a"), TypeError, "omega: expected a number in [0, 1], got 'a'"),
    (lambda: sq.PositionalSemantic(0.5, a=0), ValueError, "a: expected a number in (0, 1], got 0"),
    (
        lambda: sq.PositionalSemantic(0.5, A=[[1, 0.5], [0, 1]]),
        ValueError,
        "A: expected rows that are >= 0 and sum to 1",
    ),
    (
        lambda: sq.PositionalSemantic(0.5, A=np.ones((2, 3)) / 3),
        ValueError,
        "A: expected a matrix of shape (L, L), got shape (2, 3)",
    ),
    (
        lambda: sq.PositionalSemantic(0.5, 0.5, A=np.eye(2)),
        ValueError,
        "a: has no meaning when A is given",
    ),
    (
        lambda: sq.AttentionTarget(2, "sum"),
        ValueError,
        "reduction: expected one of 'none', 'trace', got 'sum'",
    ),
    (
        lambda: sq.AttentionTarget(2, weights=[1, 2, 3]),
        ValueError,
        "weights: expected real numbers of shape (2,), got shape (3,)",
    ),
    (
        lambda: sq.AttentionTarget(3, sq.Bilinear([1, 0], [0, 1])),
        ValueError,
        "reduction: expected a and b of length L = 3, got 2",
    ),
    (lambda: sq.Bilinear([1, 0], [1]), ValueError, "b: expected length 2 as a, got 1"),
    (lambda: sq.Tied("reluu"), ValueError, "sigma: expected one of 'identity', 'relu', "),
    (
        lambda: sq.Tied(3),
        TypeError,
        "sigma: expected a name, HermiteSeries, CActivation or a pair of functions (sigma, its "
        "derivative), got 3",
    ),
    (
        lambda: sq.Tied((np.sin, 3)),
        TypeError,
        "derivative: expected a function of one number, got 3",
    ),
    (
        lambda: sq.Tied(position=2),
        TypeError,
        "position: expected Opposite, Positions, Injected or None, got 2",
    ),
    (
        lambda: sq.Untied(normalization="row"),
        ValueError,
        "normalization: expected one of 'rows', 'global', got 'row'",
    ),
    (
        lambda: sq.HermiteSeries([]),
        ValueError,
        "coefficients: expected real numbers of shape (n,), got shape (0,)",
    ),
    (
        lambda: sq.Positions([[1, 2], [3]]),
        TypeError,
        "P: expected real numbers of shape (L, d), got [[1, 2], [3]]",
    ),
    (
        lambda: sq.Positions([[1j]]),
        TypeError,
        "P: expected real numbers of shape (L, d), got dtype complex128",
    ),
    (
        lambda: sq.Positions([[np.inf]]),
        ValueError,
        "P: expected finite numbers, got inf among them",
    ),
    (lambda: sq.Injected("c"), TypeError, "c: expected a finite number, got 'c'"),
    (
        lambda: sq.Task(RELU, RELU),
        TypeError,
        "teacher: expected SSI, PositionalSemantic or AttentionTarget, got Tied('relu')",
    ),
    (
        lambda: sq.Task(sq.SSI("z1", 1), "relu"),
        TypeError,
        "student: expected Tied, Untied, LinearAttention or Attention, got 'relu'",
    ),
    (
        lambda: sq.Task(sq.SSI("z1", 1), RELU, "hinge"),
        ValueError,
        "loss: expected one of 'half_square', 'square', 'frobenius', got 'hinge'",
    ),
    (
        lambda: sq.Task(sq.SSI("z1", 1), RELU, noise=-1),
        ValueError,
        "noise: expected a finite number >= 0, got -1",
    ),
    (
        lambda: sq.Task(sq.AttentionTarget(2), RELU),
        ValueError,
        "student: expected an output of dimension 4 as the teacher's, got 1 from Tied('relu')",
    ),
    (
        lambda: sq.Task(sq.SSI("sum", 3), sq.Tied(position=sq.Opposite())),
        ValueError,
        "student.position: Opposite needs L = 2, got L = 3",
    ),
    (
        lambda: sq.Task(sq.SSI("sum", 3), sq.Tied(position=sq.Positions(P))),
        ValueError,
        "student.position: expected P of shape (L, d) with L = 3, got shape (2, 3)",
    ),
    (
        lambda: sq.Task(sq.SSI("sum", 3), sq.Tied(position=sq.Injected([1, 2]))),
        ValueError,
        "student.position: expected c of length L = 3, got 2",
    ),
    (lambda: sq.Overlap(1.1), ValueError, "m0: expected a number in [-1, 1], got 1.1"),
    (lambda: sq.Overlap(0.1, 1), TypeError, "random_sign: expected true or false, got 1"),
    (lambda: sq.Every(0), ValueError, "n: expected an integer >= 1, got 0"),
    (lambda: sq.At([1, -1]), ValueError, "steps[1]: expected an integer >= 0, got -1"),
    (lambda: sq.At([]), ValueError, "steps: expected at least one step, got an empty list"),
    (lambda: sq.At(5), TypeError, "steps: expected a list of integers, got 5"),
    (lambda: sq.WeakRecovery(0), ValueError, "eta: expected a number in (0, 1], got 0"),
    (lambda: sq.PowerLaw(-1), ValueError, "c: expected a finite number >= 0, got -1"),
    (lambda: sq.Decay(1, 0, 1), ValueError, "t0: expected a finite number > 0, got 0"),
    (lambda: sq.Piecewise([(1, 0.1)]), ValueError, "pieces[0] step: expected 0, got 1"),
    (
        lambda: sq.Piecewise([(0, 0.1), (0, 0.2)]),
        ValueError,
        "pieces[1] step: expected more than 0, got 0",
    ),
    (
        lambda: sq.Piecewise([]),
        ValueError,
        "pieces: expected a list of (step, lr), got an empty one",
    ),
    (lambda: sq.Piecewise([3]), TypeError, "pieces: expected a list of (step, lr), got 3 at 0"),
    (lambda: sq.StudentT(2), ValueError, "nu: expected a finite number > 2, got 2"),
    (lambda: sq.Correlated([[1, 0.5], [0.4, 1]]), ValueError, "C: expected a symmetric matrix"),
    (
        lambda: sq.Correlated([[1, 2], [2, 1]]),
        ValueError,
        "C: expected a positive semi-definite matrix, got the eigenvalue -1",
    ),
    (lambda: sq.CLink(0), ValueError, "function: expected the address of a C function, got 0"),
    (
        lambda: sq.CLink("f"),
        TypeError,
        "function: expected an address, a ctypes function, a numba cfunc or a "
        "scipy.LowLevelCallable, got 'f'",
    ),
    (lambda: sq.SSI(sq.CLink(8, k=3), 1, k=2), ValueError, "k: expected 3 as the CLink, got 2"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[m for _, _, m in BAD])
def test_refused_in_one_line(make, error, message):
    with pytest.raises(error) as caught:
        make()
    text = str(caught.value)
    assert type(caught.value) is error and "\n" not in text
    assert text.startswith(message) if message.endswith(", ") else text == message


def test_scales():
    assert [
        sq.SSI("sum", 16, s).scale_value for s in ("1", "sqrt(L)", "1/sqrt(L)", "L", "1/L", 3)
    ] == [1, 4, 0.25, 16, 1 / 16, 3]


@pytest.mark.parametrize(
    ("rate", "reference"),
    [
        (sq.PowerLaw(0.5, d=-1, L=2), lambda t: 0.5 / 10 * 9 + 0 * t),
        (sq.Decay(0.3, 50, 0.5), lambda t: 0.3 * (1 + t / 50) ** -0.5),
        (sq.Decay(sq.PowerLaw(1, d=-1), 50, 1), lambda t: 0.1 / (1 + t / 50)),
        (sq.Decay(0.3, 50, 0), lambda t: 0.3 + 0 * t),
        (
            sq.Piecewise([(0, 1), (30, 0), (70, 0.5)]),
            lambda t: np.select([t < 30, t < 70], [1.0, 0.0], 0.5),
        ),
    ],
)
def test_integral_of_the_rate(rate, reference):
    """Against the midpoint rule on a fine grid."""
    fine = (np.arange(200_000) + 0.5) / 1000
    sums = np.concatenate([[0], np.cumsum(reference(fine)) / 1000])
    tau = np.array([0, 1, 29, 30, 31, 100, 200])
    np.testing.assert_allclose(
        rate.schedule(10, 3).integral(tau), sums[tau * 1000], rtol=1e-6, atol=1e-9
    )


def test_least_rate():
    assert Schedule((0, 10), (1.0, 0.1)).least(5) == 1.0
    assert Schedule((0, 10), (1.0, 0.1)).least(11) == 0.1
    assert Schedule((0,), (1.0,), 1.0, 1.0).least(10) == pytest.approx(0.1)
    assert Schedule((0,), (0.0,)).least(10) == 0


@pytest.mark.parametrize(
    ("rule", "steps", "grid"),
    [
        (sq.Every(4), 10, [0, 4, 8, 10]),
        (sq.Every(5), 10, [0, 5, 10]),
        (sq.Every(5), 0, [0]),
        (sq.LogSpaced(1), 1000, [0, 1, 10, 100, 1000]),
        (sq.LogSpaced(2), 40, [0, 1, 3, 10, 32, 40]),
        (sq.LogSpaced(3), 0, [0]),
        (sq.At([3, 1]), 10, [1, 3]),
    ],
)
def test_grids(rule, steps, grid):
    g = rule.grid(steps)
    assert g.tolist() == grid and g.dtype == np.int64
    assert len(g) <= rule.count(steps)


def test_positional_part_is_the_softmax():
    a = 0.7
    e = np.exp(np.array([[a**2, -(a**2)], [-(a**2), a**2]]))
    np.testing.assert_allclose(
        sq.PositionalSemantic(0.5, a).matrix, e / e.sum(axis=1, keepdims=True)
    )


def softmax(t):
    e = np.exp(t[:, :, None] * t[:, None, :])
    return e / e.sum(axis=2, keepdims=True)


def test_task_sees_fields_only():
    """Values against NumPy; the injected constant is added."""
    rng = np.random.default_rng(0)
    zstar, z = rng.standard_normal((2, 5, 3))
    task = sq.Task(
        sq.SSI("sum_h2", 3, "1/L"), sq.Tied("tanh", position=sq.Injected([0.1, 0.2, 0.3]))
    )
    y = ((zstar**2 - 1) / np.sqrt(2)).sum(axis=1) / 3
    f = np.tanh((z + [0.1, 0.2, 0.3]).sum(axis=1) / np.sqrt(3))
    loss, delta = task.evaluate(zstar, z)
    np.testing.assert_allclose(task.target(zstar)[:, 0], y, rtol=1e-12)
    np.testing.assert_allclose(task.output(z)[:, 0], f, rtol=1e-12)
    np.testing.assert_allclose(loss, (y - f) ** 2 / 2, rtol=1e-12)
    np.testing.assert_allclose(
        delta, np.repeat(((f - y) * (1 - f**2) / np.sqrt(3))[:, None], 3, axis=1), rtol=1e-12
    )
    assert (task.L, task.k) == (3, 1)
    with pytest.raises(
        ValueError, match=r"^z: expected shape \(5, 3\) as zstar, got shape \(4, 3\)$"
    ):
        task.evaluate(zstar, z[:4])


def test_matrix_targets():
    zstar = np.random.default_rng(0).standard_normal((4, 3))
    A = np.full((3, 3), 1 / 3)
    task = sq.Task(sq.PositionalSemantic(0.3, A=A), sq.Attention())
    np.testing.assert_allclose(
        task.target(zstar).reshape(4, 3, 3), 0.7 * softmax(zstar) + 0.3 * A, rtol=1e-12
    )
    weights, offset = np.array([1, 2, 3.0]), np.array([0.1, 0, -0.1])
    task = sq.Task(sq.AttentionTarget(3, "trace", weights, offset), sq.Attention("trace"))
    np.testing.assert_allclose(
        task.target(zstar)[:, 0],
        np.trace(softmax(weights * zstar + offset), axis1=1, axis2=2) / np.sqrt(3),
        rtol=1e-12,
    )
    a, b = [1, 0, 2.0], [0, 1, -1.0]
    task = sq.Task(sq.AttentionTarget(3, sq.Bilinear(a, b)), sq.Attention(sq.Bilinear(b, a)))
    np.testing.assert_allclose(
        task.target(zstar)[:, 0], np.einsum("l,nlk,k->n", a, softmax(zstar), b), rtol=1e-12
    )
    np.testing.assert_allclose(
        task.output(zstar)[:, 0], np.einsum("l,nlk,k->n", b, softmax(zstar), a), rtol=1e-12
    )


LINK = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_int64,
)


@LINK
def product_and_sum(zstar, L, y, k):
    y[0] = zstar[0] * zstar[1]
    y[1] = sum(zstar[i] for i in range(L))


def links_that_agree():
    yield "python", sq.SSI(lambda z: (z[0] * z[1], z.sum()), L=3, k=2)
    yield "ctypes", sq.SSI(sq.CLink(product_and_sum, k=2), L=3)
    yield "address", sq.SSI(sq.CLink(ctypes.cast(product_and_sum, ctypes.c_void_p).value, k=2), L=3)
    scipy = pytest.importorskip("scipy")
    signature = "void (double *, int64_t, double *, int64_t)"
    yield (
        "scipy",
        sq.SSI(sq.CLink(scipy.LowLevelCallable(product_and_sum, signature=signature), k=2), L=3),
    )


def test_links_of_the_users():
    zstar = np.random.default_rng(0).standard_normal((5, 3))
    expected = np.stack([zstar[:, 0] * zstar[:, 1], zstar.sum(axis=1)], axis=1)
    for name, teacher in links_that_agree():
        assert teacher.outputs == 2
        np.testing.assert_allclose(teacher._compiled()(zstar), expected, rtol=1e-12, err_msg=name)


def test_user_data_reaches_the_link():
    scipy = pytest.importorskip("scipy")
    function = ctypes.CFUNCTYPE(None, *LINK._argtypes_, ctypes.c_void_p)

    @function
    def scaled(zstar, L, y, k, data):
        y[0] = zstar[0] * ctypes.cast(data, ctypes.POINTER(ctypes.c_double))[0]

    factor = ctypes.c_double(2.5)
    data = ctypes.cast(ctypes.pointer(factor), ctypes.c_void_p)
    teacher = sq.SSI(
        sq.CLink(
            scipy.LowLevelCallable(
                scaled, data, "void (double *, int64_t, double *, int64_t, void *)"
            )
        ),
        L=1,
    )
    assert sq.Task(teacher, RELU).target([[2.0]]).tolist() == [[5.0]]


def test_numba_link_and_activation():
    numba = pytest.importorskip("numba")
    from numba import types

    @numba.cfunc(
        types.void(
            types.CPointer(types.double), types.int64, types.CPointer(types.double), types.int64
        )
    )
    def link(zstar, L, y, k):
        y[0] = zstar[0] ** 2

    @numba.cfunc(types.double(types.double))
    def cube(u):
        return u**3

    @numba.cfunc(types.double(types.double))
    def slope(u):
        return 3 * u**2

    task = sq.Task(sq.SSI(sq.CLink(link), 1), sq.Tied(sq.CActivation(cube, slope)))
    loss, delta = task.evaluate([[2.0]], [[1.5]])
    assert loss.tolist() == [pytest.approx((4 - 1.5**3) ** 2 / 2)] and delta.tolist() == [
        [pytest.approx((1.5**3 - 4) * 3 * 1.5**2)]
    ]


def test_activations_of_the_users_agree():
    import math

    def square(u):
        return u * u

    def twice(u):
        return 2 * u

    z = np.linspace(-2, 2, 9)[:, None]
    teacher = sq.SSI("z1", 1)
    named = sq.Task(teacher, sq.Tied("square")).evaluate(z, z[::-1])
    for sigma in ((square, twice), sq.HermiteSeries([1, 0, 1]), sq.PyActivation(square, twice)):
        for ours, theirs in zip(
            sq.Task(teacher, sq.Tied(sigma)).evaluate(z, z[::-1]), named, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
    lib = ctypes.CDLL(None)
    both = sq.CActivation(lib.sin, lib.cos)
    np.testing.assert_allclose(sq.Task(teacher, sq.Tied(both)).output(z)[:, 0], np.sin(z[:, 0]))
    assert math.isclose(
        sq.Task(teacher, sq.Tied((math.sin, math.cos))).output([[0.3]])[0, 0], math.sin(0.3)
    )


def test_c_pointers_do_not_pickle():
    with pytest.raises(
        TypeError,
        match=r"^CLink: a C address is valid in this process only and cannot be pickled; use "
        r"Hermite data or a Python function",
    ):
        pickle.dumps(sq.Task(sq.SSI(sq.CLink(product_and_sum), 2), RELU))
    link = sq.CLink(product_and_sum)
    assert copy.deepcopy(link) is link


def test_models_are_models():
    assert all(isinstance(m, Model) for m in MODELS)
