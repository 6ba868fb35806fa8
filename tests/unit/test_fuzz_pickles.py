"""The reader of weights withstands some thousand spoiled pickles; `make fuzz` has a million of them."""

import pickle

import pytest

from tests.fuzz.pickles import MOST_BYTES, Judge, Mutator, run, seeds, steps_of
from tests.support import watch

COUNT = 20_000
SEED = 1


def test_of_spoiled_pickles_come_arrays_and_errors_of_our_own() -> None:
    """Nothing is run, and no more memory taken than twice the bytes: the judge sees to it."""
    judge = run(COUNT, SEED)
    assert judge.outcomes.total() == COUNT
    # All kinds of refusal are met, so the spoiled pickles get as far as the reader goes.
    assert {
        "an array",
        "not a pickle …",
        "names …",
        "uses the opcode …",
        "claims shape …",
        "claims a shape …",
        "holds an array of …",
        "holds a …",
        "takes more than …",
    } <= {outcome.removeprefix("refused: ") for outcome in judge.outcomes}


def test_the_same_seed_spoils_in_the_same_way() -> None:
    pool = seeds()
    spoiled = [[Mutator(pool).spoil(one, seed) for seed, one in enumerate(pool)] for _ in range(2)]
    assert spoiled[0] == spoiled[1]
    assert all(len(one) <= MOST_BYTES for one in spoiled[0])


def test_a_pickle_is_cut_at_its_steps() -> None:
    assert steps_of(b"\x80\x02K\x01K\x02\x86.") == [b"\x80\x02", b"K\x01", b"K\x02", b"\x86", b"."]
    assert steps_of(b"\x80\x02\xff.") == [b"\x80\x02\xff."]
    assert steps_of(b"") == [b""]
    assert steps_of(b"\xff") == [b"\xff"]


def test_the_judge_tells_what_should_not_be() -> None:
    """A reader that runs what it is given is found."""
    attack = b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R."
    with watch.acts() as watched, watch.memory(), pytest.raises(AssertionError, match="became 1"):
        Judge(watched, lambda pickled, _place: pickle.loads(pickled)).read(attack)  # noqa: S301 - written here
