"""Pickles to begin with, ways to spoil them, and the judge of what the reader makes of them.

All of it follows from a seed alone.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import random
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np

from protocol.errors import ModelError
from protocol.pickles import dump_array, load_array
from tests.support import golden, watch

PLACE = "fuzz[0]@0"
SPARE_BYTES = 65_536  # what the reader and its errors take, whatever they read
MOST_BYTES = 8_192
_PROTOCOLS = (2, 3, 4, 5)

NAMES = (
    *("posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins setattr", "builtins bytes"),
    *("builtins __import__", "os system", "numpy load", "numpy zeros", "numpy ndarray", "numpy dtype", "numpy frombuffer"),
    *("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy.core.multiarray scalar"),
    *("numpy._core.numeric _frombuffer", "numpy.f2py.diagnose run_command", "_codecs encode", "__builtin__ bytes"),
    *("copyreg _reconstructor", "functools partial", "operator attrgetter", "ml_dtypes bfloat16", "numpy matrix"),
    *("protocol.pickles _Array", "builtins object", "numpy ndarray.__class__"),
)
_NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    64,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**64 - 1,
)


def seeds() -> list[bytes]:
    """Pickles of arrays, from the public cloud and of our own, in all protocols; and some that are no arrays."""
    captured = [record.value for name in golden.NAMES for record in golden.records(name, "model_data")]
    arrays = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
        np.zeros((0, 4), np.int8),
        np.array(7, np.int64),
        np.ones((1,) * 20, np.uint8),
        np.arange(4, dtype=ml_dtypes.bfloat16),
        np.ones(300, np.float16),
        np.float32(1.5),
        np.array([True, False]),
        np.ones(2, np.complex64),
    ]
    others = [
        np.array([None]),
        np.array(["a"]),
        np.zeros(1, [("a", "f4")]),
        np.dtype("f4"),
        [1.0],
        {"a": 1},
        (1, "a"),
        os.system,
    ]
    written = [pickle.dumps(one, protocol) for one in (*arrays, *others) for protocol in _PROTOCOLS]
    return [one for one in (*captured, *written, *(dump_array(np.asarray(one)) for one in arrays)) if len(one) <= MOST_BYTES]


class Mutator:
    """Spoils pickles: step by step where they still have steps, and byte by byte."""

    def __init__(self, pool: Sequence[bytes]) -> None:
        self._pool = [steps_of(one) for one in pool]

    def spoil(self, pickled: bytes, seed: int) -> bytes:
        """Another pickle, which the seed decides alone."""
        chance = random.Random(seed)
        steps = steps_of(pickled)
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
            steps = chance.choice(_BY_STEP)(chance, steps, self._pool)
        data = bytearray(b"".join(steps))
        if chance.random() < 0.2:
            for _ in range(chance.choice((1, 1, 2, 4))):
                chance.choice(_BY_BYTE)(chance, data)
        return bytes(data[:MOST_BYTES])


def steps_of(pickled: bytes) -> list[bytes]:
    """A pickle cut at its opcodes; what is none is the last piece."""
    starts = []
    try:
        for _opcode, _argument, position in pickletools.genops(pickled):
            starts.append(position or 0)
    except Exception:  # noqa: BLE001, S110 - damaged bytes, of which it says so in many ways
        pass
    ends = [*starts[1:], len(pickled)] if starts else []
    return [pickled[start:end] for start, end in zip(starts, ends, strict=True)] or [pickled]


Steps = list[bytes]


def _insert(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    at = chance.randrange(len(steps) + 1)
    return [*steps[:at], _step(chance), *steps[at:]]


def _replace(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    at = chance.randrange(len(steps))
    return [*steps[:at], _step(chance), *steps[at + 1 :]]


def _remove(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    start = chance.randrange(len(steps))
    return [*steps[:start], *steps[start + chance.randint(1, 4) :]] or [b""]


def _repeat(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    start = chance.randrange(len(steps))
    end = start + chance.randint(1, 6)
    return [*steps[:end], *steps[start:end] * chance.choice((1, 2, 3, 40)), *steps[end:]]


def _exchange(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    one, other = chance.randrange(len(steps)), chance.randrange(len(steps))
    steps = list(steps)
    steps[one], steps[other] = steps[other], steps[one]
    return steps


def _splice(chance: random.Random, steps: Steps, pool: Sequence[Steps]) -> Steps:
    """Some steps of another pickle in the place of some of this one."""
    other = chance.choice(pool)
    start, from_ = chance.randrange(len(steps)), chance.randrange(len(other))
    return [*steps[:start], *other[from_ : from_ + chance.randint(1, 12)], *steps[start + chance.randint(0, 12) :]]


def _cross(chance: random.Random, steps: Steps, pool: Sequence[Steps]) -> Steps:
    other = chance.choice(pool)
    return [*steps[: chance.randrange(len(steps) + 1)], *other[chance.randrange(len(other)) :]]


def _length(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    """Another length, or another number, in the argument of a step."""
    at = chance.randrange(len(steps))
    step = steps[at]
    width = chance.choice((1, 2, 4, 8))
    if len(step) > width:
        number = chance.choice(_NUMBERS) if chance.random() < 0.7 else chance.getrandbits(8 * width)
        step = step[:1] + (number % 256**width).to_bytes(width, "little") + step[1 + width :]
    return [*steps[:at], step, *steps[at + 1 :]]


def _cut(chance: random.Random, steps: Steps, _pool: Sequence[Steps]) -> Steps:
    return steps[: chance.randrange(1, len(steps) + 1)]


_BY_STEP: tuple[Callable[[random.Random, Steps, Sequence[Steps]], Steps], ...] = (
    *(_insert, _replace, _remove, _repeat, _exchange, _splice, _cross, _length, _length, _cut),
)


def _flip(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(chance: random.Random, data: bytearray) -> None:
    if data:
        at = chance.randrange(len(data))
        data[at : at + 1] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])


def _truncate(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _stuff(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 100)))


_BY_BYTE: tuple[Callable[[random.Random, bytearray], None], ...] = (_flip, _flip, _overwrite, _truncate, _stuff)


def _step(chance: random.Random) -> bytes:
    """Any step that a pickle can have, with an argument that is likely to do harm."""
    opcode = chance.choice(pickletools.opcodes)
    return opcode.code.encode("latin1") + _argument(chance, opcode.arg)


def _argument(chance: random.Random, argument: pickletools.ArgumentDescriptor | None) -> bytes:
    if argument is None:
        return b""
    if argument.n >= 0:
        width = int(argument.n)
        number: int = chance.choice(_NUMBERS) % 256**width
        return number.to_bytes(width, "little")
    module, name = chance.choice(NAMES).split()
    if argument.n == pickletools.UP_TO_NEWLINE:
        lines = {"stringnl_noescape_pair": f"{module}\n{name}\n", "stringnl": f"'{name}'\n"}
        return str(lines.get(argument.name, f"{chance.choice(_NUMBERS)}\n")).encode()
    text = chance.choice((module.encode(), name.encode(), b"f4", b"latin1", b"<", chance.randbytes(12)))
    length = len(text) if chance.random() < 0.8 else chance.choice(_NUMBERS)
    form = {-2: "<B", -3: "<i", -4: "<I", -5: "<Q"}[argument.n]
    return (
        struct.pack(form, length % 256 ** struct.calcsize(form) if argument.n != pickletools.TAKEN_FROM_ARGUMENT4 else 12)
        + text
    )


class Judge:
    """Reads pickles, counts what becomes of them, and raises where it is neither an array of their bytes nor our own error.

    Attributes:
        outcomes: how often each kind of thing became of one.
        largest_bytes: the most memory that one took.
    """

    def __init__(self, watched: watch.Watch, load: Callable[[bytes, str], object] = load_array) -> None:
        self._watched = watched
        self._load = load
        self.outcomes: Counter[str] = Counter()
        self.largest_bytes = 0

    def read(self, pickled: bytes) -> None:
        """Read one.

        Raises:
            AssertionError: something else came of it, something was run, or more memory taken than twice its bytes.
        """
        self._watched.acts.clear()  # those of whoever spoils them
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        outcome = self._outcome(pickled)
        taken = tracemalloc.get_traced_memory()[1] - before
        self.outcomes[outcome] += 1
        self.largest_bytes = max(self.largest_bytes, taken)
        if self._watched.acts:
            raise AssertionError(f"it ran {self._watched.acts}: {pickled!r}")
        if taken > 2 * len(pickled) + SPARE_BYTES:
            raise AssertionError(f"it took {taken} bytes, and has {len(pickled)}: {pickled!r}")

    def _outcome(self, pickled: bytes) -> str:
        try:
            array = self._load(pickled, PLACE)
        except ModelError as exc:
            return _kind(str(exc))
        if type(array) is not np.ndarray or array.dtype.hasobject or array.nbytes > len(pickled):
            raise AssertionError(f"it became {array!r:.200}: {pickled!r}")
        return "an array"


def _kind(fault: str) -> str:
    """A fault of the reader without what it names of the bytes."""
    text = fault.removeprefix(f"{PLACE}: ")
    kinds = (
        *(
            "uses the opcode",
            "names",
            "holds an array of",
            "holds a text that is no bytes",
            "holds a",
            "claims a shape",
            "claims shape",
        ),
        *("takes more than", "not a pickle", "refers to something outside"),
    )
    return next((f"refused: {kind} …" for kind in kinds if text.startswith(kind)), f"refused: {text}")


def run(count: int, seed: int) -> Judge:
    """Read so many spoiled pickles, each made of one of the seeds or of one that was spoiled before."""
    pool = seeds()
    mutator = Mutator(pool)
    chance = random.Random(seed)
    tracemalloc.start()
    try:
        with watch.acts() as watched:
            judge = Judge(watched)
            for _ in range(count):
                judge.read(mutator.spoil(chance.choice(pool), chance.getrandbits(64)))
    finally:
        tracemalloc.stop()
    return judge
