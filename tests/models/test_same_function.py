"""When two user functions are the same: a zoo of callables, each against each."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqsgd as sq
import zoo
from seqsgd.models.identity import Functions, Unknown, canonical, exact, remembered

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: exact(make()) for name, make in zoo.KNOWN.items()}


def test_each_is_told_from_each(texts: dict[str, str]) -> None:
    assert len(texts) > 150
    same = [(a, b) for (a, x), (b, y) in itertools.combinations(texts.items(), 2) if x == y]
    assert not same


def test_equal_copies_are_the_same(texts: dict[str, str]) -> None:
    assert {name: exact(make()) for name, make in zoo.KNOWN.items()} == texts


@pytest.mark.slow
def test_the_same_in_every_process(texts: dict[str, str]) -> None:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "zoo.py")],
            env=environment | {"PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    for p in processes:
        found = json.loads(p.communicate()[0])
        assert {name for name in texts if found[name] != texts[name]} == set()


def test_use_does_not_change_it(texts: dict[str, str]) -> None:
    for name in sorted(texts.keys() - {"list.append", "list.append, other"}):
        f = zoo.KNOWN[name]()
        for x in (np.array([0.5, 0.25]), 0.5):
            with contextlib.suppress(
                Exception
            ):  # whether it takes an array or a number is all one here
                f(x)
        assert exact(f) == texts[name], name


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_what_cannot_be_known_is_refused_in_one_line(name: str) -> None:
    f = zoo.REFUSED[name]()
    with pytest.raises(
        Unknown,
        match=r"^link: expected a function that can be told from every other one, got .+, which "
        r'rests on .+; sq\.Named\("my link, version 1"',
    ) as caught:
        canonical(sq.SSI(f, L=2))
    assert "\n" not in str(caught.value)
    named = sq.Named("mine", f)
    assert (
        canonical(sq.SSI(named, L=2))
        == canonical(sq.SSI(sq.Named("mine", print), L=2))
        != canonical(sq.SSI(sq.Named("other", f), L=2))
    )


def made(source: str, name: str = "f", lines: int = 0, **known: Any) -> Any:
    """A function out of the text of a module."""
    module = types.ModuleType("written")
    vars(module).update(known)
    exec(compile("\n" * lines + source, f"written{lines}.py", "exec"), vars(module))
    return getattr(module, name)


SOURCE = """
K = 2
def helper(x):
    return K * x
def f(z):
    "Words about it."
    a = helper(z[0])
    return a if a > 0.5 else 0.0
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("K = 2", "K = 2.0"),
        ("K * x", "K + x"),
        ("> 0.5", "> 0.25"),
        ("> 0.5", ">= 0.5"),
        ("else 0.0", "else -0.0"),
        ("z[0]", "z[1]"),
        ("def f(z)", "def f(z, k=1)"),
        ("def f(z)", "def f(y, z=0)"),
    ],
)
def test_what_it_does_counts(old: str, new: str) -> None:
    assert old in SOURCE
    assert exact(made(SOURCE.replace(old, new))) != exact(made(SOURCE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Words about it.", "Other words."),
        ('    "Words about it."\n', ""),
        ("a = helper", "# here\n    a = helper"),
        ("K = 2", "K = 2\nUNUSED = 5"),
        ("a", "b"),
    ],
)
def test_where_it_stands_and_what_is_said_of_it_do_not(old: str, new: str) -> None:
    changed = (
        SOURCE.replace(
            "    a = helper(z[0])\n    return a if a", "    b = helper(z[0])\n    return b if b"
        )
        if old == "a"
        else SOURCE.replace(old, new)
    )
    assert changed != SOURCE
    assert (
        exact(made(changed))
        == exact(made(SOURCE))
        == exact(made(SOURCE, lines=7))
        == exact(made(SOURCE.replace("def f(", "def g("), "g"))
    )


def test_documentation_that_is_used_counts() -> None:
    first, second = (
        made(f'def f(z):\n    "{w}"\n    return len("{w}") * z[0]') for w in ("one", "three")
    )
    assert exact(first) != exact(second)


def test_modules_are_followed_to_what_is_taken_from_them() -> None:
    mine = types.ModuleType("mine")
    exec("K = 1\ndef f(z):\n    return K * z[0]\ndef unused(z):\n    return z", vars(mine))
    link = made("def f(z):\n    return mine.f(z)", mine=mine)
    before = exact(link)
    exec("def unused(z):\n    return 2 * z", vars(mine))
    assert exact(link) == before
    mine.K = 2  # type: ignore[attr-defined]
    assert exact(link) != before
    exec("def f(z):\n    return 1 * z[0]", vars(mine))
    assert exact(link) != before
    package = types.ModuleType("package")
    package.mine = mine  # type: ignore[attr-defined]
    deep = made("def f(z):\n    return package.mine.f(z)", package=package)
    before = exact(deep)
    mine.f = lambda z: z[1]  # type: ignore[attr-defined]
    assert exact(deep) != before
    assert exact(made("def f(z):\n    return mine.gone(z)", mine=mine)) != exact(
        made("def f(z):\n    return mine.f(z)", mine=mine)
    )


def test_a_library_is_known_by_what_it_is_not_by_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    false = made("def tanh(z):\n    return z[0]", "tanh")
    false.__module__ = "numpy"
    assert exact(false) != exact(np.tanh) and exact(false) == exact(zoo.plain)
    shadow = types.ModuleType("antigravity")  # a name of the standard library, but your file
    spec: Any = types.SimpleNamespace(origin=str(tmp_path / "antigravity.py"))
    shadow.__spec__ = spec
    exec("__name__ = 'antigravity'\nK = 1\ndef f(z):\n    return K * z[0]", vars(shadow))
    monkeypatch.setitem(sys.modules, "antigravity", shadow)
    before = exact(shadow.f)
    shadow.K = 2  # type: ignore[attr-defined]
    assert exact(shadow.f) != before


def test_long_chains_of_shared_parts_take_no_time() -> None:
    data: Any = [1]
    for _ in range(200):
        data = [data, data]
    assert exact(zoo.uses(data)) == exact(zoo.uses(data))


# models


PAIRS = {
    "function": "plain",
    "closure": "closure 1",
    "poly1d": "poly1d",
    "spline": "CubicSpline",
    "object": "object 1",
    "method": "a.dot",
    "partial": "partial",
    "Named": "named",
}


@pytest.mark.parametrize("name", PAIRS.values(), ids=PAIRS)
def test_models_with_the_same_function_are_equal(name: str) -> None:
    make = zoo.KNOWN[name]
    a, b = make(), make()
    for x, y, other in (
        (sq.SSI(a, L=2), sq.SSI(b, L=2), sq.SSI(zoo.KNOWN["closure 2"](), L=2)),
        (sq.Tied((a, a)), sq.Tied((b, b)), sq.Tied((b, zoo.KNOWN["closure 2"]()))),
    ):
        assert x == y and hash(x) == hash(y) and x != other and len({x, y, other}) == 2


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_models_with_an_unknown_function_are_equal_to_themselves(name: str) -> None:
    f, again = zoo.REFUSED[name](), zoo.REFUSED[name]()
    task = sq.Task(sq.SSI(f, L=2), sq.Tied())
    assert task == sq.Task(sq.SSI(f, L=2), sq.Tied()) and hash(task) == hash(
        sq.Task(sq.SSI(f, L=2), sq.Tied())
    )
    if f is not again and not isinstance(f, types.FunctionType):
        assert task != sq.Task(sq.SSI(again, L=2), sq.Tied())


def test_a_hash_stays_what_it_was_when_a_function_changes() -> None:
    link = sq.SSI(zoo.Link([1]), L=2)
    before, kept = hash(link), {link: 1}
    link.link.k.append(2)
    assert hash(link) == before and kept[link] == 1 and link != sq.SSI(zoo.Link([1]), L=2)


def test_what_the_theory_keeps_is_of_the_function_as_it_is_now() -> None:
    calls = []
    scale = [1.0]

    @remembered(2)
    def kept(task: sq.Task, of: str = "") -> float:
        calls.append(1)
        return scale[0]

    linked = sq.Task(sq.SSI(lambda z: scale[0] * z[0], L=1), sq.Tied("tanh"))
    assert kept(linked) == kept(linked) == 1.0 and len(calls) == 1
    before = sq.theory.risk(linked, m=0.5).value
    scale[0] = 2.0
    assert (
        kept(linked) == 2.0 and sq.theory.risk(linked, m=0.5).value > before + 1
    )  # E y^2 / 2 grows by 3 / 2
    unknown = sq.Task(sq.SSI(np.frompyfunc(zoo.plain, 1, 1), L=1), sq.Tied("tanh"))
    assert kept(unknown, of="a") == kept(unknown, of="a") and len(calls) == 4


def test_words_of_other_types_are_words() -> None:
    import enum

    class Word(str, enum.Enum):
        SUM = "sum"

    for word in (np.str_("sum"), Word.SUM):
        assert repr(sq.SSI(word, L=2)) == "SSI('sum', L=2)" and type(sq.SSI(word, L=2).link) is str
    assert (
        repr(sq.Tied(np.str_("relu"))) == "Tied('relu')"
        and repr(sq.Attention(np.str_("trace"))) == "Attention('trace')"
    )
    assert (
        repr(sq.AttentionTarget(2, np.str_("trace"))) == "AttentionTarget(L=2, reduction='trace')"
    )
    assert sq.SSI("sum", L=2, scale=np.str_("1/L")).scale == "1/L"


# names


LIBM = ctypes.CDLL(None)
LIBM.tanh.restype, LIBM.tanh.argtypes = ctypes.c_double, [ctypes.c_double]


def dtanh(u: float) -> float:
    return 1 - np.tanh(u) ** 2


def test_named_wherever_a_function_goes() -> None:
    z = np.linspace(-1, 1, 6)[:, None]
    teacher = sq.SSI(sq.Named("first", zoo.plain), L=1)
    pointer = ctypes.CFUNCTYPE(
        None,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_double),
        ctypes.c_int64,
    )

    @pointer
    def first(z: Any, L: int, y: Any, k: int) -> None:
        y[0] = z[0]

    dtanh_c = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(dtanh)
    address = ctypes.cast(first, ctypes.c_void_p).value
    links = [
        teacher,
        sq.SSI(sq.CLink(sq.Named("first", first)), L=1),
        sq.SSI(sq.CLink(sq.Named("first", address)), L=1),
    ]
    students = [
        sq.Tied((sq.Named("tanh", np.tanh), sq.Named("its slope", dtanh))),
        sq.Untied(sq.PyActivation(sq.Named("tanh", np.tanh), dtanh)),
        sq.Tied(sq.CActivation(sq.Named("tanh", LIBM.tanh), sq.Named("its slope", dtanh_c))),
    ]
    for link, student in itertools.product(links, students):
        task, like = sq.Task(link, student), sq.Task(sq.SSI("z1", L=1), type(student)("tanh"))
        for ours, theirs in zip(task.evaluate(z, z[::-1]), like.evaluate(z, z[::-1]), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-14)
        assert hash(task) == hash(sq.Task(link, student)) and "Named('" in repr(task)
        json.dumps(canonical(task))
        if student is not students[1] or link is links[0]:
            assert str(address) not in json.dumps(task.to_plain())
    assert links[1] == sq.SSI(sq.CLink(sq.Named("first", LIBM.tanh)), L=1) != links[0]
    again = pickle.loads(pickle.dumps(sq.Task(teacher, students[0])))
    assert again == sq.Task(teacher, students[0]) and again.teacher.link.function is zoo.plain
    assert repr(teacher) == "SSI(Named('first', <zoo.plain>), L=1)" and teacher.to_plain()[
        "link"
    ] == {"type": "function", "name": "first"}
    assert sq.Named("first", zoo.plain)([3.0]) == 3.0
    assert abs(sq.theory.hermite(teacher, 1)[0].norm - 1) < 1e-9


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sq.Named(1, zoo.plain), TypeError, "name: expected some words, got 1"),
        (lambda: sq.Named(" ", zoo.plain), ValueError, "name: expected some words, got ' '"),
        (lambda: sq.Named("a", "sum"), TypeError, "function: expected a function, got 'sum'"),
        (lambda: sq.Named("a", True), TypeError, "function: expected a function, got True"),
        (
            lambda: sq.Named("a", float),
            TypeError,
            "function: expected a function, got <class 'float'>",
        ),
        (
            lambda: sq.Named("a", sq.Named("b", abs)),
            TypeError,
            "function: expected a function, got Named('b', <builtins.abs>)",
        ),
        (
            lambda: sq.Named("a", sq.HermiteSeries([1])),
            TypeError,
            "function: expected a function, got HermiteSeries((1.0,))",
        ),
        (
            lambda: sq.SSI(sq.Named("a", 1234), L=1),
            TypeError,
            "link: expected a name, Hermite, CLink or a function, got Named('a', <an address>)",
        ),
        (
            lambda: sq.PyActivation(sq.Named("a", 1234), abs),
            TypeError,
            "function: expected a function of one number, got Named('a', <an address>)",
        ),
        (
            lambda: sq.CLink(sq.Named("a", abs)),
            TypeError,
            "function: expected an address, a ctypes function, a numba cfunc or a "
            "scipy.LowLevelCallable, got <built-in function abs>",
        ),
    ],
)
def test_names_are_checked(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


def test_unknown_functions_of_one_pass_are_numbered_as_they_come() -> None:
    """The same in every process, so that seeds are; and the same object is the same function."""
    f, g = (np.frompyfunc(zoo.plain, 1, 1) for _ in range(2))
    functions = Functions(loose=True)
    a, b, c = (canonical(sq.SSI(x, L=1), "x", functions) for x in (f, g, f))
    assert a == c != b
    again = Functions(loose=True)
    assert [canonical(sq.SSI(x, L=1), "x", again) for x in (f, g)] == [a, b] and list(
        functions.unknown
    ) == ["x.link"]


@pytest.mark.parametrize("seen", [True, False])
def test_what_is_kept_of_a_named_function_is_not_handed_to_another_of_its_name(seen):
    """As in a notebook, where a function is written again under the same name."""

    class Opaque:
        def __init__(self, power):
            self.power, self.lock = power, threading.Lock()

        def __call__(self, z):
            return z**self.power

    square, cube = (lambda z: z**2, lambda z: z**3) if seen else (Opaque(2), Opaque(3))
    calls = []

    @remembered(4)
    def number(f):
        calls.append(f)
        return f(2.0)

    first, second = sq.Named("n", square), sq.Named("n", cube)
    assert first == second
    assert [number(f) for f in (first, second, first, second)] == [4, 8, 4, 8] and len(calls) == 2
