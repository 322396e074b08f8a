"""Run files: what they say is done, and what they say wrongly is named by its dotted key."""

import tomllib

import numpy as np
import pytest
import seqsgd as sq
from seqsgd.cli.main import example_path
from seqsgd.cli.runfile import _sets, parse, read
from seqsgd.cli.sweepfile import read as read_sweep
from seqsgd.models.plain import known

BASE = """
[base]
d = 20
steps = 10
lr = 0.1
[base.task]
teacher = { type = "SSI", link = "sum", L = 2 }
student = { type = "Tied" }
"""


def runs(text, *sets):
    return cases(text, *sets)[0].run


def cases(text, *sets):
    return plan(text, *sets).cases


def plan(text, *sets):
    tree = tomllib.loads(text)
    return parse(tree, sets=_sets(tree, sets))


def test_the_least_that_can_be_said():
    (case,) = cases(BASE)
    assert case.label == "run" and case.rng is None
    assert (
        case.run.task == sq.Task(sq.SSI("sum", 2), sq.Tied("relu"))
        and case.run.d == 20
        and case.run.lr == 0.1
    )
    assert case.run.init == sq.Overlap() and case.run.record is None


def test_every_model_can_be_said():
    text = """
    title = "T"
    output = "o"
    [base]
    d = 3
    steps = 100
    runs = 2
    rng = 5
    dtype = "float64"
    step = "projected"
    first_run = 4
    threads = 1
    dynamics = "sampled"
    lr = { type = "Piecewise", pieces = [[0, 0.1], [5, { type = "PowerLaw", c = 1, d = -1.0 }]] }
    init = { type = "Overlap", m0 = 0.5, random_sign = true }
    record = [0, 5, 100]
    stop = { type = "WeakRecovery", eta = 0.3, halt = true }
    tokens = { type = "Correlated", C = [[1, 0.5], [0.5, 1]] }
    [base.task]
    loss = "square"
    noise = 0.5
    teacher = { type = "SSI", L = 2, scale = "1/L", link = { type = "Hermite", terms = [[1.0, { 1 = 1, 2 = 4 }], [0.5, {}]] } }
    [base.task.student]
    type = "Untied"
    sigma = { type = "HermiteSeries", coefficients = [0, 1, 0.5] }
    position = { type = "Positions", P = [[1, 0, 0], [0, 1, 0]] }
    """
    plan = parse(tomllib.loads(text))
    assert (plan.title, plan.output, plan.checkpoint) == ("T", "o", None)
    run = plan.cases[0].run
    hermite = sq.Hermite([(1, {1: 1, 2: 4}), (0.5, {})])
    assert run.task == sq.Task(
        sq.SSI(hermite, 2, "1/L"),
        sq.Untied(sq.HermiteSeries([0, 1, 0.5]), position=sq.Positions(np.eye(2, 3))),
        "square",
        0.5,
    )
    assert run.lr == sq.Piecewise([(0, 0.1), (5, sq.PowerLaw(1, d=-1))]) and run.record == sq.At(
        [0, 5, 100]
    )
    assert (
        run.init == sq.Overlap(0.5, True)
        and run.stop == sq.WeakRecovery(0.3, halt=True)
        and run.tokens == sq.Correlated([[1, 0.5], [0.5, 1]])
    )
    assert (run.dtype, run.step, run.first_run, run.threads, plan.cases[0].rng) == (
        "float64",
        "projected",
        4,
        1,
        5,
    )
    again = (
        parse({"base": {k: v for k, v in run.to_plain().items() if k != "type" and v is not None}})
        .cases[0]
        .run
    )
    assert again == run


@pytest.mark.parametrize(
    "family", ["teacher", "student", "position", "init", "record", "stop", "lr", "tokens"]
)
def test_families_are_known_by_name(family):
    assert known(family) and all(getattr(sq, name) is cls for name, cls in known(family).items())


def test_cases_grids_and_labels():
    text = (
        BASE
        + """
    [[case]]
    label = "tied {L}"
    panel = "left"
    grid = { "task.teacher.L" = [1, 2], lr = [0.1, 0.2] }
    [[case]]
    set = { "task.student" = { type = "Untied" }, d = 30 }
    [[case]]
    label = "nested"
    set.task.teacher.link = "sum_h2"
    [[case]]
    grid = { "task.student.sigma" = ["relu", "tanh"], init = [{ type = "Uniform" }] }
    """
    )
    found = cases(text)
    assert [c.label for c in found] == [
        "tied 1, lr=0.1",
        "tied 1, lr=0.2",
        "tied 2, lr=0.1",
        "tied 2, lr=0.2",
        "case[1]",
        "nested",
        "sigma=relu, init=Uniform",
        "sigma=tanh, init=Uniform",
    ]
    assert [c.panel for c in found] == ["left"] * 4 + [""] * 4
    assert [(c.run.L, c.run.lr) for c in found[:4]] == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]
    assert found[4].run.task.student == sq.Untied() and found[4].run.d == 30
    assert found[5].run.task.teacher == sq.SSI("sum_h2", 2) and found[
        7
    ].run.task.student == sq.Tied("tanh")
    assert found[6].run.init == sq.Uniform()


def test_sets():
    run = runs(
        BASE,
        "d=30",
        "base.steps = 20",
        "task.teacher.link=z1*z2",
        "task.teacher.scale=1/sqrt(L)",
        "dtype='float64'",
        "base.runs=2",
    )
    assert (run.d, run.steps, run.dtype, run.runs) == (30, 20, "float64", 2)
    assert run.task.teacher == sq.SSI("z1*z2", 2, "1/sqrt(L)")
    run = runs(BASE, 'lr={type="PowerLaw", c=1}', "record=[0, 1]", "init.type=Uniform", "lr.d=-1.0")
    assert (
        run.lr == sq.PowerLaw(1, d=-1) and run.record == sq.At([0, 1]) and run.init == sq.Uniform()
    )


def test_sets_of_the_top(tmp_path):
    (tmp_path / "f.toml").write_text(BASE)
    assert read(tmp_path / "f.toml").output == "f"
    plan = read(tmp_path / "f.toml", ["output=there", "title=What a day"])
    assert (plan.output, plan.title) == ("there", "What a day")


def replaced(old, new):
    assert old in BASE
    return BASE.replace(old, new)


CASE = BASE + "[[case]]\n"

BAD = [
    # keys
    (
        BASE + "sigma = 1",
        "base.task.sigma: unknown key, expected one of teacher, student, loss, noise",
    ),
    (
        replaced("d = 20", "d = 20\nstpes = 3"),
        "base.stpes: unknown key, expected one of task, d, steps, lr, runs, dynamics, init, "
        "record, stop, dtype, threads, step, tokens, first_run, rng, checkpoint, checkpoint_every",
    ),
    (
        replaced('type = "Tied"', 'type = "Tied", sigmaa = "relu"'),
        "base.task.student.sigmaa: unknown key, expected one of sigma, position",
    ),
    ("titel = 'x'" + BASE, "titel: unknown key, expected one of title, output, base, case"),
    (CASE + "lable = 'x'", "case[0].lable: unknown key, expected one of label, panel, set, grid"),
    # missing
    ("title = 'x'", "base: missing"),
    (replaced("d = 20\n", ""), "base.d: missing"),
    (replaced(", L = 2", ""), "base.task.teacher.L: missing"),
    (replaced('student = { type = "Tied" }', ""), "base.task.student: missing"),
    (
        replaced('type = "Tied"', ""),
        "base.task.student.type: missing, expected one of 'Attention', 'LinearAttention', 'Tied', "
        "'Untied'",
    ),
    (
        replaced('type = "Tied"', 'type = "Tide"'),
        "base.task.student.type: expected one of 'Attention', 'LinearAttention', 'Tied', "
        "'Untied', got 'Tide'",
    ),
    (
        replaced('type = "Tied"', 'type = "SSI"'),
        "base.task.student.type: expected one of 'Attention', 'LinearAttention', 'Tied', "
        "'Untied', got 'SSI'",
    ),
    (
        replaced('type = "Tied"', "type = 3"),
        "base.task.student.type: expected one of 'Attention', 'LinearAttention', 'Tied', "
        "'Untied', got 3",
    ),
    # types
    (replaced("d = 20", "d = 20.5"), "base.d: expected an integer in [1, 1099511627776], got 20.5"),
    (replaced("d = 20", "d = '20'"), "base.d: expected an integer in [1, 1099511627776], got '20'"),
    (replaced("d = 20", "d = true"), "base.d: expected an integer in [1, 1099511627776], got True"),
    (
        replaced("lr = 0.1", "lr = 'x'"),
        "base.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got 'x'",
    ),
    (
        replaced("lr = 0.1", "lr = [1]"),
        "base.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got [1]",
    ),
    (
        replaced("lr = 0.1", "lr = 1979-05-27"),
        "base.lr: expected a number >= 0, PowerLaw, Decay or Piecewise, got datetime.date(1979, "
        "5, 27)",
    ),
    (replaced("d = 20", "d = 20\nrng = 1.5"), "base.rng: expected an integer >= 0, got 1.5"),
    (replaced("d = 20", "d = 20\nrng = 'x'"), "base.rng: expected an integer >= 0, got 'x'"),
    (replaced("d = 20", "d = 20\ncheckpoint = 3"), "base.checkpoint: expected a path, got 3"),
    (
        replaced("d = 20", "d = 20\ncheckpoint_every = -1"),
        "base.checkpoint_every: expected a finite number >= 0, got -1",
    ),
    (
        replaced('student = { type = "Tied" }', "student = 'Tied'"),
        "base.task.student: expected Tied, Untied, LinearAttention or Attention, got 'Tied'",
    ),
    ("base = 3", "base: expected a table, got 3"),
    ("title = 3" + BASE, "title: expected a string, got 3"),
    ("output = 3" + BASE, "output: expected a string, got 3"),
    ("case = 3" + BASE, "case: expected tables [[case]], got 3"),
    ("case = []" + BASE, "case: expected tables [[case]], got []"),
    ("case = [3]" + BASE, "case[0]: expected a table, got 3"),
    (CASE + "label = 3", "case[0].label: expected a string, got 3"),
    (CASE + "set = 3", "case[0].set: expected a table, got 3"),
    (CASE + "grid = { lr = 0.1 }", "case[0].grid.lr: expected a list of values, got 0.1"),
    (CASE + "grid = { lr = [] }", "case[0].grid.lr: expected a list of values, got []"),
    # ranges, also deep inside
    (replaced("d = 20", "d = 0"), "base.d: expected an integer in [1, 1099511627776], got 0"),
    (replaced("lr = 0.1", "lr = -1"), "base.lr: expected a finite number >= 0, got -1"),
    (replaced("lr = 0.1", "lr = nan"), "base.lr: expected a finite number >= 0, got nan"),
    (
        replaced("lr = 0.1", 'lr = { type = "Decay", lr = 1, t0 = 0, power = 1 }'),
        "base.lr.t0: expected a finite number > 0, got 0",
    ),
    (
        replaced(
            "lr = 0.1", 'lr = { type = "Piecewise", pieces = [[0, { type = "PowerLaw", c = -1 }]] }'
        ),
        "base.lr.pieces[0][1].c: expected a finite number >= 0, got -1",
    ),
    (
        replaced('link = "sum"', 'link = "product"'),
        "base.task.teacher.link: expected one of 'z1', 'z1+z2', ",
    ),
    (
        replaced('link = "sum", L = 2', 'link = "z1*z2*z3", L = 2'),
        "base.task.teacher.L: link z1*z2*z3 needs at least 3 tokens, got 2",
    ),
    (
        replaced('type = "SSI", link = "sum", L = 2', 'type = "PositionalSemantic", omega = 1.5'),
        "base.task.teacher.omega: expected a number in [0, 1], got 1.5",
    ),
    (
        replaced('type = "Tied"', 'type = "Tied", position = { type = "Injected", c = [1, 2, 3] }'),
        "base.task.student.position: expected c of length L = 2, got 3",
    ),
    (
        replaced('type = "Tied"', 'type = "Attention"'),
        "base.task.student: expected an output of dimension 1 as the teacher's, got 4 from "
        "Attention('none')",
    ),
    (
        replaced("d = 20", "d = 2\nrecord = [11]"),
        "base.record: expected steps up to steps = 10, got 11",
    ),
    (
        replaced('link = "sum"', 'link = { type = "Hermite", terms = [[1, { x = 1 }]] }'),
        "base.task.teacher.link.terms[0] token: expected an integer in [1, 2147483647], got 'x'",
    ),
    (
        replaced('link = "sum"', 'link = { type = "CLink", function = 1 }'),
        "base.task.teacher.link: a user function ('CLink') cannot be loaded from a file",
    ),
    # cases
    (
        CASE + 'set = { "task.teacher.L" = 0 }',
        "case[0].set.task.teacher.L: expected an integer in [1, 2147483647], got 0",
    ),
    (
        CASE + 'grid = { "task.teacher.L" = [1, 0] }',
        "case[0].grid.task.teacher.L: expected an integer in [1, 2147483647], got 0",
    ),
    (
        CASE + 'set = { "task.student" = { type = "Tied", sigma = "x" } }',
        "case[0].set.task.student.sigma: expected one of 'identity', ",
    ),
    (
        CASE + "label = 'a'\nset = { dd = 1 }",
        "case[0].set.dd: unknown key, expected one of task, d, steps, ",
    ),
    (CASE + 'set = { "lr.c" = 1 }', "case[0].set.lr.c: base.lr is not a table"),
    (
        CASE
        + (
            'label = "a"\nset = { "task.teacher.L" = 3, "task.student.position" = { type = '
            '"Opposite" } }'
        ),
        "case[0].set.task.student.position: Opposite needs L = 2, got L = 3",
    ),
    (
        BASE.replace('type = "Tied"', 'type = "Tied", position = { type = "Opposite" }')
        + "[[case]]\nlabel = 'a'\n"
        + 'set = { "task.teacher.L" = 3 }',
        "base.task.student.position: Opposite needs L = 2, got L = 3 (in the case 'a')",
    ),
    (
        CASE + "label = '{L}'\nset = { d = 3 }",
        "case[0].label: {L} is not the last part of a key of grid or set, expected one of d; "
        "braces that stay are doubled",
    ),
    (
        CASE + "label = 'L = {L'\nset = { d = 3 }",
        "case[0].label: expected braces in pairs, got 'L = {L'; braces that stay are doubled, {{ "
        "and }}",
    ),
    (
        CASE + "label = 'd}'\nset = { d = 3 }",
        "case[0].label: expected braces in pairs, got 'd}'; braces that stay are doubled, {{ and "
        "}}",
    ),
    (
        CASE + "label = '$x_{1$'",
        "case[0].label: expected braces in pairs, got '$x_{1$'; braces that stay are doubled, {{ "
        "and }}",
    ),
    (
        CASE + 'label = "a\\u0000b"',
        "case[0].label: expected a string without NUL and surrogate characters, got 'a\\x00b'",
    ),
    (
        'title = "\\u0000"' + BASE,
        "title: expected a string without NUL and surrogate characters, got '\\x00'",
    ),
    (CASE + "set = { checkpoint = 'x' }", "case[0]: checkpoint belongs to [base]"),
    (CASE + "grid = { checkpoint_every = [1] }", "case[0]: checkpoint_every belongs to [base]"),
    (
        CASE + "grid = { lr = { linspac = [0.1, 0.2, 3] } }",
        "case[0].grid.lr.linspac: base.lr is not a table; did you mean 'linspace'?",
    ),
    (
        CASE + "grid = { lr = { linspace = [0.1, 0.2] } }",
        "case[0].grid.lr.linspace: expected [start, stop, n], got [0.1, 0.2]",
    ),
    (
        CASE + "grid = { lr = { linspace = [0.1, 0.2, 3], n = 1 } }",
        "case[0].grid.lr.n: expected one of values, linspace, geomspace, range, round, got 'n'",
    ),
    (
        CASE + "grid = { lr = { linspace = [0.1, 0.2, 3], round = 1 } }",
        "case[0].grid.lr.round: expected true or false, got 1",
    ),
    ("output = ''" + BASE, "output: expected a name, got ''"),
    ("output = '.nc'" + BASE, "output: expected a name, got '.nc'"),
    (
        CASE + "label = 'a'\n[[case]]\nlabel = 'a'",
        "case[1].label: two cases have the label 'a'; distinguish them, for instance by {L}",
    ),
    (CASE + "set = { d = 3 }\ngrid = { d = [3, 4] }", "case[0].grid.d: also in set"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[m for _, m in BAD])
def test_refused_in_one_line(text, message):
    with pytest.raises(sq.ConfigError) as caught:
        cases(text)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(message) if message.endswith(", ") else said == message


@pytest.mark.parametrize(
    ("text", "sets", "message"),
    [
        (BASE, ["d"], "--set: expected key=value, got 'd'"),
        (BASE, ["=3"], "--set: expected key=value, got '=3'"),
        (BASE, ["d=0"], "base.d: expected an integer in [1, 1099511627776], got 0"),
        (BASE, ["d=many"], "base.d: expected an integer in [1, 1099511627776], got 'many'"),
        (BASE, ["base.x=1"], "base.x: unknown key, expected one of task, d, steps, "),
        (BASE, ["d.x=1"], "base.d.x: base.d is not a table"),
        (
            BASE,
            ["case.label=1"],
            "case.label: --set reaches title, output and the keys of base only",
        ),
        (BASE, ["base=1"], "base: --set reaches title, output and the keys of base only"),
        (BASE, ["record=[1, 2"], "record: "),
        (
            CASE + "set = { lr = 1 }",
            ["lr=-2"],
            "base.lr: expected a finite number >= 0, got -2 (in the case 'run')",
        ),
        (
            CASE + "[[case]]\nset = { lr = 1 }",
            ["lr.c=-2"],
            "base.lr.c: base.lr is not a table (in the case 'run')",
        ),
        (
            CASE + 'set = { "task.student" = { type = "LinearAttention" } }',
            ["task.student.sigma=tanh"],
            "base.task.student.sigma: unknown key, ",
        ),
        (
            CASE + "set = { d = 3 }",
            ["rgn=1"],
            "base.rgn: unknown key, expected one of task, d, steps, lr, runs, dynamics, init, "
            "record, stop, dtype, threads, step, tokens, first_run, rng, checkpoint, "
            "checkpoint_every",
        ),
        (
            BASE,
            ['task.student={type="LinearAttention"}', "task.student.sigma=tanh"],
            "base.task.student.sigma: unknown key, ",
        ),
        (
            BASE,
            ["title='\ud800'"],
            "title: expected a string without NUL and surrogate characters, got '\\ud800'",
        ),
        (BASE, ["record=" + "[" * 3000], "record: nested too deeply"),
    ],
)
def test_wrong_sets(text, sets, message):
    with pytest.raises(sq.ConfigError) as caught:
        cases(text, *sets)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(message) if message[-2:] in (", ", ": ") else said == message


def test_unreadable_files(tmp_path):
    with pytest.raises(sq.ConfigError, match=r"none.toml: No such file or directory$"):
        read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = \nb")
    with pytest.raises(sq.ConfigError, match=r"bad.toml: Invalid value \(at line 1, column 5\)$"):
        read(tmp_path / "bad.toml")
    for data, said in (
        (b"\xff\xfe" + BASE.encode("utf-16-le"), "expected text in UTF-8, got UTF-16 or no text"),
        (BASE.encode("utf-16-be"), "expected text in UTF-8, got UTF-16 or no text"),
        (b"# ok\ntitle = 'caf\xe9'\n", "expected text in UTF-8, got the byte 0xe9 in line 2"),
        (b"a = " + b"[" * 3000, "nested too deeply"),
        (b"a = " + b"1" * 5000, "Exceeds the limit "),
    ):
        (tmp_path / "bin.toml").write_bytes(data)
        for reader in (read, read_sweep):
            with pytest.raises(sq.ConfigError, match=rf"bin.toml: {said}") as caught:
                reader(tmp_path / "bin.toml")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_files_of_any_editor(tmp_path, mark, end):
    """With or without a byte order mark, whatever ends their lines."""
    (tmp_path / "f.toml").write_bytes(
        mark + ("title = 'd \u00e9'\n" + BASE).encode().replace(b"\n", end)
    )
    plan = read(tmp_path / "f.toml")
    assert plan.title == "d \u00e9" and plan.cases[0].run == cases(BASE)[0].run
    (tmp_path / "s.toml").write_bytes(
        mark + (BASE + "[grid]\nlr = [0.1, 0.2]\n").encode().replace(b"\n", end)
    )
    assert read_sweep(tmp_path / "s.toml").sweep.shape == (2,)


def test_ranges_in_grids():
    text = (
        BASE
        + """
    [[case]]
    label = "{c}"
    set.lr = { type = "PowerLaw", c = 1 }
    grid = { "lr.c" = { linspace = [0.5, 1.5, 3] } }
    [[case]]
    grid.task.teacher.L = { geomspace = [1, 100, 3], round = true }
    [[case]]
    label = "d"
    grid.d = { range = [3, 9, 3] }
    """
    )
    assert [c.label for c in cases(text)] == [
        "0.5",
        "1.0",
        "1.5",
        "L=1",
        "L=10",
        "L=100",
        "d, d=3",
        "d, d=6",
    ]
    assert [c.run.lr.c for c in cases(text)[:3]] == [0.5, 1.0, 1.5] and [
        c.run.L for c in cases(text)[3:6]
    ] == [1, 10, 100]


def test_braces_in_labels():
    text = (
        BASE
        + """
    [[case]]
    label = '$\\omega_{{{L}}}$ = {{L}}'
    grid.task.teacher.L = [1, 2]
    """
    )
    assert [c.label for c in cases(text)] == [r"$\omega_{1}$ = {L}", r"$\omega_{2}$ = {L}"]


@pytest.mark.parametrize(
    ("output", "stem"),
    [
        ("o", "o"),
        ("o.nc", "o"),
        ("o.png", "o"),
        ("a/o.nc", "a/o"),
        ("lr0.1", "lr0.1"),
        ("a/", "a/f"),
        (".", "./f"),
        ("..", "../f"),
        ("a/.", "a/./f"),
        ("a.nc/b", "a.nc/b"),
        (".o", ".o"),
    ],
)
def test_output_is_a_stem(tmp_path, output, stem):
    (tmp_path / "f.toml").write_text(f"output = '{output}'" + BASE)
    assert read(tmp_path / "f.toml").output == stem
    (tmp_path / "f.toml").write_text(BASE)
    assert read(tmp_path / "f.toml", [f"output={output}"]).output == stem


# --- what --set says holds in every case

CASES = (
    BASE
    + """
[[case]]
label = "a"
[[case]]
label = "b"
set = { lr = 2.0, d = 30 }
[[case]]
label = "c, lr = {lr}"
grid = { lr = [3.0, 4.0], "task.teacher.L" = [1, 2] }
[[case]]
set = { "task.student" = { type = "LinearAttention" } }
task = 3
"""
)
CASES = CASES.replace(
    "task = 3\n", 'set.task.teacher = { type = "PositionalSemantic", omega = 0.5 }\n'
).replace(
    'set = { "task.student" = { type = "LinearAttention" } }',
    'label = "d"\nset."task.student" = { type = "Attention" }',
)


def test_a_set_holds_in_every_case():
    was = plan(CASES)
    assert [c.run.lr for c in was.cases] == [0.1, 2, 3, 3, 4, 4, 0.1] and was.notes == ()
    now = plan(CASES, "lr=0.01")
    assert [(c.label, c.run.lr, c.run.d, c.run.L) for c in now.cases] == [
        ("a", 0.01, 20, 2),
        ("b", 0.01, 30, 2),
        ("c, lr = 0.01, L=1", 0.01, 20, 1),
        ("c, lr = 0.01, L=2", 0.01, 20, 2),
        ("d", 0.01, 20, 2),
    ]
    assert now.notes == (
        "--set lr overrides case[1].set.lr",
        "--set lr overrides case[2].grid.lr",
        "the cases 'a', 'c, lr = 0.01, L=2' are the same with --set",
    )


def test_a_set_of_a_part_and_of_a_whole():
    part = plan(CASES, "task.student.sigma=tanh")
    assert [getattr(c.run.task.student, "sigma", None) for c in part.cases] == ["tanh"] * 6 + [None]
    assert part.notes == ("--set task.student.sigma does not apply to the cases 'd'",)
    whole = plan(
        CASES, 'task.teacher={type="SSI", link="sum_h2", L=3}', 'task.student={type="Untied"}'
    )
    assert {c.run.task for c in whole.cases} == {sq.Task(sq.SSI("sum_h2", 3), sq.Untied())}
    assert [c.label for c in whole.cases] == ["a", "b", "c, lr = 3.0, L=3", "c, lr = 4.0, L=3", "d"]
    table = plan(BASE + "[[case]]\nset = { lr = { type = 'PowerLaw', c = 1 } }", "lr.d=-1.0")
    assert table.cases[0].run.lr == sq.PowerLaw(1, d=-1) and table.notes == ()
    again = plan(
        BASE,
        "lr=1.0",
        "lr=2.0",
        "task.student.sigma=tanh",
        'task.student={type="Tied", sigma="erf"}',
    )
    assert again.cases[0].run.lr == 2 and again.cases[0].run.task.student == sq.Tied("erf")


def test_cases_that_a_set_makes_equal():
    """Wholly, or by a part of what they say."""
    text = BASE + "".join(
        f"[[case]]\nlabel = '{s}'\nset = {{ 'task.student' = {{ type = 'Tied', sigma = '{s}' }} "
        f"}}\n"
        for s in ("relu", "erf", "tanh")
    )
    assert plan(text).notes == () and plan(text, "lr=1.0").notes == ()
    assert plan(text, "task.student.sigma=identity").notes == (
        "the cases 'relu', 'erf', 'tanh' are the same with --set",
    )


def test_cases_that_are_equal_anyway_are_not_blamed_on_a_set():
    text = BASE + "[[case]]\nlabel = 'a'\n[[case]]\nlabel = 'b'\n"
    assert plan(text, "lr=0.2").notes == () and plan(text).notes == ()


def test_checkpoints_can_be_set(tmp_path):
    made = plan(BASE, "checkpoint=c.npz", "base.checkpoint_every=3")
    assert (made.checkpoint, made.checkpoint_every) == ("c.npz", 3.0)


def test_the_example_says_the_main_job():
    plan = read(example_path())
    students = {type(c.run.task.student).__name__ for c in plan.cases}
    assert students == {"Tied", "Untied", "Attention"} and len({c.run.L for c in plan.cases}) >= 3
    assert len({c.panel for c in plan.cases}) == 3 and all(
        c.run.dtype == "float32" for c in plan.cases
    )
