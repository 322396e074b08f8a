"""What a user passes as `rng` becomes one seed, and what is noted of it gives the same again."""

import json

import numpy as np
import pytest
import seqsgd as sq
from seqsgd._seed import Seed

ENTROPIES = [
    7,
    [1, 2, 3],
    (),
    [[1, 2], 3],
    [[1], [[2, 3]], []],
    ["12", "0x1F"],
    [2**70, [1]],
    np.array([1, 2], np.uint32),
    np.array([2**40, 1]),
    np.zeros((2, 2), int),
    [np.uint8(3), True],
]


@pytest.mark.parametrize("entropy", ENTROPIES, ids=repr)
@pytest.mark.parametrize("key", [(), (3, 2**40)])
def test_every_seed_sequence_of_numpy(entropy, key):
    """The first 64 bits that NumPy makes of it, now and from JSON."""
    sequence = np.random.SeedSequence(entropy, spawn_key=key)
    seed = Seed.of(sequence)
    assert seed.value == int(sequence.generate_state(1, np.uint64)[0])
    again = Seed.from_plain(json.loads(json.dumps(seed.to_plain())))
    assert again == seed and again.value == seed.value and Seed.of(again.sequence) == seed


def test_nested_entropy_runs_and_is_noted():
    task = sq.Task(sq.SSI("sum", L=1), sq.Tied("relu"))
    r = sq.simulate(task, 20, 20, 0.1, rng=np.random.SeedSequence([[1, 2], 3]))
    assert r.m.equals(sq.simulate(task, 20, 20, 0.1, rng=np.random.SeedSequence([1, 2, 3])).m)
    assert r.m.equals(sq.simulate(**r.arguments).m)


class Odd(np.random.SeedSequence):
    """Entropy that is no integers, as only a subclass can have it."""

    entropy = ["a", 1]


@pytest.mark.parametrize(
    ("rng", "said"),
    [
        (Odd(1), "rng: expected a numpy SeedSequence of integers, got one of "),
        ("x", "rng: expected an integer >= 0, a numpy SeedSequence"),
        ([1, 2], "rng: expected an integer"),
        (1.5, "rng: expected an integer"),
        (True, "rng: expected an integer"),
    ],
)
def test_others_are_refused_by_name(rng, said):
    with pytest.raises(TypeError, match=f"^{said}"):
        Seed.of(rng)
