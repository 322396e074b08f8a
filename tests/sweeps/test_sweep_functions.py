"""Sweeps over user functions: none gets the results of another."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import seqsgd as sq
from numpy.polynomial.hermite_e import HermiteE
from seqsgd._seed import Seed
from seqsgd.models.identity import Functions
from seqsgd.sweeps import fingerprint
from sweeping import same

BASE = {"d": 20, "steps": 50, "lr": 0.1}


def task(link):
    return sq.Task(sq.SSI(link, L=1), sq.Tied("relu"))


def labels(**links):
    return {"task": {"labels": {name: task(link) for name, link in links.items()}}}


def cells(link, root=0, **how):
    return sq.Sweep(BASE | {"task": task(link)}, {}, rng=root).cells(**how)


def opaque(f):
    """A function that rests on what nobody can look into."""
    lock = threading.Lock()
    return lambda z: f(z) if lock else 0.0


def check_against_simulate(result, links):
    for name, link in links.items():
        seed = Seed.from_plain(json.loads(result.cell(task=name).dataset.attrs["rng_entropy"]))
        alone = sq.simulate(task(link), **BASE, rng=seed.sequence)
        assert alone.loss.values.tobytes() == result.sel(task=name).loss.values.tobytes(), name


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda k: HermiteE([0] * k + [1]),
        lambda k: np.poly1d([k, 1]),
        lambda k: np.vectorize(lambda z: k * z),
        lambda k: np.array([float(k)]).dot,
        lambda k: lambda z: {k: 3.0, str(k): 2.0}.get(1, 1.0) * z[0],
    ],
)
def test_results_of_one_are_not_given_for_another(tmp_path, make, kept):
    links = {"a": make(1), "b": make(2)}
    store = tmp_path / "s" if kept else None
    result = sq.sweep(BASE, labels(**links), rng=0, store=store)
    check_against_simulate(result, links)
    assert (result.sel(task="a").loss[..., 1:] != result.sel(task="b").loss[..., 1:]).all()
    if kept:
        same(
            sq.sweep(BASE, labels(a=make(1), b=make(2)), rng=0, store=store, errors="raise"), result
        )
        assert (
            sq.plan(sq.Sweep(BASE, labels(a=make(1), b=make(2)), rng=0), store=store).cells_done
            == 2
        )
        assert (
            sq.plan(sq.Sweep(BASE, labels(a=make(1), b=make(3)), rng=0), store=store).cells_done
            == 1
        )


def test_unknown_functions_need_a_name_in_a_store_only(tmp_path):
    f, g = opaque(lambda z: z[0]), opaque(lambda z: z[0] ** 2)
    with pytest.raises(
        ValueError,
        match=r"^task.teacher.link: expected a function .*, got .*, which rests on an object of "
        r'type _thread.lock; sq.Named\("my link, version 1"',
    ):
        sq.sweep(BASE, labels(f=f), rng=0, store=tmp_path / "s")
    free = sq.sweep(BASE, labels(f=f, g=g, again=f), rng=0)
    check_against_simulate(free, {"f": f, "g": g, "again": f})
    assert (
        free.sel(task="f")
        .loss.drop_vars("task")
        .equals(free.sel(task="again").loss.drop_vars("task"))
    )
    same(
        free, sq.sweep(BASE, labels(f=f, g=g, again=f), rng=0)
    )  # the same streams, though not the same addresses
    named = {"f": sq.Named("first", f), "g": sq.Named("second", g)}
    check_against_simulate(sq.sweep(BASE, labels(**named), rng=0, store=tmp_path / "s"), named)
    assert (
        sq.plan(
            sq.Sweep(BASE, labels(f=sq.Named("first", print), g=sq.Named("third", g)), rng=0),
            store=tmp_path / "s",
        ).cells_done
        == 1
    )


SEEDS = """
import ctypes, sys, numpy as np, seqsgd as sq
doubles = ctypes.POINTER(ctypes.c_double)
pointer = ctypes.CFUNCTYPE(None, doubles, ctypes.c_int64, doubles, ctypes.c_int64)
pad = [bytearray(1000) for _ in range(int(sys.argv[1]))]
links = [sq.CLink(pointer(lambda z, L, y, k: None)), np.frompyfunc(abs, 1, 1)]
grid = {"task.teacher.link": {"labels": {str(i): link for i, link in enumerate(links)}}}
base = {"task": sq.Task(sq.SSI("z1", L=1), sq.Tied("relu")), "d": 20, "steps": 50, "lr": 0.1}
print([c.seed.value for c in sq.Sweep(base, grid, rng=0).cells(loose=True)])
"""


def test_seeds_do_not_depend_on_addresses():
    found = [
        subprocess.run(
            [sys.executable, "-c", SEEDS, n],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": n},
        ).stdout
        for n in ("1", "5000")
    ]
    assert found[0] == found[1]
    first, second = found[0].strip("[]\n").split(", ")
    assert first != second


def test_one_look_at_each_function(monkeypatch):
    """Thousands of cells with one function are no dearer than without."""
    looked = []
    import seqsgd.models.identity as identity

    exact = identity.exact
    monkeypatch.setattr(identity, "exact", lambda f: looked.append(f) or exact(f))
    link = lambda z: z[0]
    grid = {"lr": np.linspace(0.1, 1, 300)}
    keys = {c.key for c in sq.Sweep(BASE | {"task": task(link)}, grid, rng=0).cells()}
    assert len(keys) == 300 and looked == [link]


def test_globals_are_looked_at_when_keys_are_made():
    global helper
    helper = lambda z: z[0]
    link = lambda z: helper(z)
    before = cells(link)
    helper = lambda z: z[1]
    assert cells(link)[0].key != before[0].key
    helper = lambda y: y[0]
    assert cells(link)[0].key != before[0].key  # the name of an argument
    helper = lambda z: z[0]
    assert cells(link) == before


def test_cells_of_an_older_key_are_computed_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "KEY_VERSION", 1)
        old = sq.sweep(BASE, labels(a=np.poly1d([1, 0])), rng=0, store=tmp_path / "s")
    assert (
        sq.plan(sq.Sweep(BASE, labels(a=np.poly1d([1, 0])), rng=0), store=tmp_path / "s").cells_done
        == 0
    )
    same(sq.open_sweep(tmp_path / "s"), old)
    same(sq.sweep(BASE, labels(a=np.poly1d([1, 0])), rng=0, store=tmp_path / "s"), old)


def test_keys_without_functions_are_what_they_were():
    """Streams come of them: the same seed must go on to give the same bits."""
    target = sq.Task(
        sq.PositionalSemantic(0.3), sq.Attention(position=sq.Opposite()), loss="frobenius"
    )
    (cell,) = sq.Sweep(
        {"task": target, "d": 20, "steps": 5, "lr": 0.1, "tokens": "uniform"}, {}, rng=0
    ).cells()
    assert cell.seed.value == 2260193671043256244


SCRIPT = """
import sys, seqsgd as sq
sys.path.insert(0, sys.argv[1])
import edited
if __name__ == "__main__":
    text = open(edited.__file__).read()
    open(edited.__file__, "w").write(text.replace("K = 1", "K = 20"))
    task = sq.Task(sq.SSI(edited.link, L=1), sq.Tied("relu"))
    base = {"d": 20, "steps": 50, "task": task}
    r = sq.sweep(base, {"lr": [0.1, 0.2]}, rng=0, executor=1)
    print(r.cells_done)
    for e in r.errors.values():
        print(e)
"""


def test_a_worker_that_has_another_version_of_the_module_says_so(tmp_path):
    (tmp_path / "edited.py").write_text("K = 1\ndef link(z):\n    return K * z[0]\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0" and len(lines) == 3, done.stderr
    assert all(
        line.startswith(
            "ValueError: task.teacher.link: the worker has another version of the function"
        )
        for line in lines[1:]
    )


def test_what_a_function_keeps_for_itself_does_not_stop_a_worker(monkeypatch):
    """A worker looks before a function has been at work there, and not again."""
    memory = {}
    link = lambda z: memory.setdefault(float(z[0]), float(z[0]))
    (cell,) = cells(link)
    monkeypatch.setattr(fingerprint, "_own", False)
    monkeypatch.setattr(fingerprint, "_ran", {})
    fingerprint.check(cell.run, cell.seed, cell.key)
    link([1.0])
    fingerprint.check(cell.run, cell.seed, cell.key)
    with pytest.raises(ValueError, match=r"^task\.teacher\.link: the worker has another version"):
        fingerprint._ran.clear()
        fingerprint.check(cell.run, cell.seed, cell.key)
    unknown = task(np.frompyfunc(abs, 1, 1))
    run = sq.Sweep(BASE | {"task": unknown}, {}, rng=0).runs[0]
    fingerprint.check(
        run, Seed(0), fingerprint.identify(run, Seed(0), None, Functions(loose=True))[1]
    )


def named_link(z):
    return z[0]


def test_labels_are_names():
    pair = [lambda z: z[0], lambda z: z[1]]
    for links, labels in (
        ([named_link, np.tanh], ("test_sweep_functions.named_link", "numpy.tanh")),
        ([sq.Named("a", named_link), sq.Named("b", named_link)], ("a", "b")),
        (
            pair,
            tuple(
                f"{__name__}.{test_labels_are_names.__qualname__}.<locals>.<lambda> #{i}"
                for i in range(2)
            ),
        ),
    ):
        sweep = sq.Sweep(BASE | {"task": task("z1")}, {"task.teacher.link": links}, rng=0)
        assert sweep.axes[0].coords == {"link": labels}


def test_a_name_appears_once_on_an_axis():
    """The second would get the results of the first."""
    two = [sq.Named("n", lambda z: z[..., 0] ** 2), sq.Named("n", lambda z: z[..., 0] ** 3)]
    with pytest.raises(sq.ConfigError, match="^grid.task.teacher.link: 'n' appears twice$"):
        sq.Sweep(BASE | {"task": task(two[0])}, {"task.teacher.link": two})
