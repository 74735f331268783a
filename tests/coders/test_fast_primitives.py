"""Values of unknown type: what comes back, and which keys are the same."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import os
import pathlib
import pickle
import subprocess
import sys
import typing
import uuid
import zoneinfo
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam.coders import DeterminismError, coder_from_function
from hornbeam.coders import coders as c
from hornbeam.error import DataError
from hornbeam.transforms.window import GlobalWindow, IntervalWindow
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.timestamp import Duration, Timestamp

PLAIN = c.FastPrimitivesCoder()
KEYS = PLAIN.as_deterministic_coder("Sum/Group")

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
HASHABLE = st.recursive(
    SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)
VALUES = st.recursive(
    SCALARS | st.sets(HASHABLE, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=8,
)


def exact(value: Any) -> Any:
    """The value with the types of all its parts, so that 1, 1.0 and True differ; and -0.0 from 0.0."""
    if isinstance(value, (list, tuple)):
        return type(value), [exact(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted((exact(item) for item in value), key=repr)
    if isinstance(value, dict):
        return dict, sorted(((exact(k), exact(v)) for k, v in value.items()), key=repr)
    return type(value), repr(value)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    for coder in (PLAIN, KEYS):
        assert exact(coder.decode(coder.encode(value))) == exact(value)
        assert exact(coder.decode_nested(coder.encode_nested(value))) == exact(value)


@given(VALUES, VALUES)
def test_bytes_differ_where_values_do(first: Any, second: Any) -> None:
    same = exact(first) == exact(second)
    assert (KEYS.encode(first) == KEYS.encode(second)) == same
    assert (KEYS.encode_nested(first) == KEYS.encode_nested(second)) == same


@given(st.lists(HASHABLE, max_size=6))
def test_order_of_sets_and_dicts_does_not_matter(items: list[Any]) -> None:
    forwards, backwards = dict.fromkeys(items, 0), dict.fromkeys(reversed(items), 0)
    if exact(forwards) == exact(backwards):  # not so where 1 came first in one and True in the other
        assert KEYS.encode(forwards) == KEYS.encode(backwards)
        assert KEYS.encode(set(forwards)) == KEYS.encode(set(backwards))


def test_one_in_three_types_is_three_keys() -> None:
    assert len({KEYS.encode(1), KEYS.encode(1.0), KEYS.encode(True)}) == 3
    assert KEYS.encode(0.0) != KEYS.encode(-0.0)
    assert KEYS.encode("a") != KEYS.encode(b"a")
    assert KEYS.encode((1,)) != KEYS.encode([1])


def test_not_a_number_is_one_key() -> None:
    other = pickle.loads(pickle.dumps(-math.nan))
    assert KEYS.encode(math.nan) == KEYS.encode(other) == KEYS.encode(math.inf - math.inf)
    assert math.isnan(KEYS.decode(KEYS.encode(math.nan)))


def test_lone_surrogates_are_kept() -> None:
    assert KEYS.decode(KEYS.encode("a\udcff")) == "a\udcff"


class Color(enum.Enum):
    RED = "r"
    CRIMSON = "r"  # noqa: PIE796
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Point(typing.NamedTuple):
    x: int
    y: str


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(frozen=True)
class City:
    name: str
    size: int = 0
    derived: str = dataclasses.field(init=False, default="d")


@attrs.frozen
class Country:
    name: str
    cities: tuple[City, ...] = ()


class Stateful:
    def __init__(self, x: int) -> None:
        self.x = x

    def __getstate__(self) -> dict[str, int]:
        return {"x": self.x}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.x = state["x"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stateful) and self.x == other.x

    def __hash__(self) -> int:
        return hash(self.x)


class Outer:
    @dataclasses.dataclass(frozen=True)
    class Inner:
        x: int


BERLIN = zoneinfo.ZoneInfo("UTC")
SPECIAL = [
    Color.RED,
    Color.CRIMSON,
    Level.LOW,
    Mode.READ,
    Mode.READ | Mode.WRITE,
    Point(1, "a"),
    Pair(1, (2, "x")),
    City("Ulm", 5),
    Country("D", (City("Ulm"),)),
    Outer.Inner(3),
    Stateful(4),
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 12, 30, 1, 5),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "X")),
    datetime.datetime(2024, 10, 27, 2, tzinfo=BERLIN, fold=1),
    datetime.time(12, 30),
    datetime.timedelta(days=-1, seconds=5, microseconds=7),
    datetime.UTC,
    decimal.Decimal("1.50"),
    uuid.UUID(int=7),
    fractions.Fraction(1, 3),
    1 + 2j,
    range(1, 10, 3),
    pathlib.PurePosixPath("/a/b"),
    bytearray(b"xy"),
    Timestamp(1.5),
    Timestamp(1, 5, 9),
    Duration(2),
    ShardedKey("k", b"1"),
    GlobalWindow(),
    IntervalWindow(1, 2),
]


@pytest.mark.parametrize("value", SPECIAL, ids=lambda value: type(value).__name__)
def test_special_types(value: Any) -> None:
    for coder in (PLAIN, KEYS):
        nested = coder.decode(coder.encode((value, [value])))
        assert nested == (value, [value]) and type(nested[0]) is type(value)
        assert coder.decode(coder.encode(value)) == value
    assert KEYS.encode(value) == KEYS.encode(pickle.loads(pickle.dumps(value)))


def test_special_types_are_not_what_they_are_made_of() -> None:
    assert KEYS.encode(Point(1, "a")) != KEYS.encode((1, "a"))
    assert KEYS.encode(Pair(1, 2)) != KEYS.encode(Point(1, 2))  # type: ignore[arg-type]
    assert KEYS.encode(Level.LOW) != KEYS.encode(1)
    assert KEYS.encode(decimal.Decimal("1.5")) != KEYS.encode(decimal.Decimal("1.50"))
    assert KEYS.encode(Color.CRIMSON) == KEYS.encode(Color.RED)


def test_numpy_scalars() -> None:
    numpy = pytest.importorskip("numpy")
    for value in (numpy.int64(5), numpy.float32(1.5), numpy.str_("a"), numpy.datetime64("2024-01-01")):
        back = KEYS.decode(KEYS.encode((value,)))[0]
        assert back == value and back.dtype == value.dtype
        assert KEYS.encode(value) == KEYS.encode(pickle.loads(pickle.dumps(value)))
    assert KEYS.encode(numpy.int64(5)) not in (KEYS.encode(5), KEYS.encode(numpy.int32(5)))
    assert KEYS.encode(numpy.float64("nan")) == KEYS.encode(-numpy.float64("nan"))
    assert KEYS.encode(numpy.datetime64("NaT")) == KEYS.encode(numpy.datetime64("NaT"))
    with pytest.raises(TypeError):
        KEYS.encode(numpy.array([1, 2]))


class Opaque:
    pass


@dataclasses.dataclass
class Thawed:
    x: int


@attrs.define
class Molten:
    x: int


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Opaque(), "Opaque"),
        ((1, Opaque()), "Opaque"),
        (Thawed(1), r"not frozen. Declare it with @dataclass\(frozen=True\)"),
        (Molten(1), "not frozen. Declare it with @attrs.frozen"),
        (Text("a"), "Text"),
        (lambda: 0, "function"),
        (collections.OrderedDict(a=1), "OrderedDict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_without_a_deterministic_form(value: Any, reason: str) -> None:
    with pytest.raises(DeterminismError, match=reason) as caught:
        KEYS.encode(value)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)
    assert "'Sum/Group'" in str(caught.value) and "register" in str(caught.value)


def test_error_message_of_the_caller_comes_first() -> None:
    coder = PLAIN.as_deterministic_coder("step", "Keys of a state must be so and so.")
    with pytest.raises(DeterminismError, match=r"^Keys of a state must be so and so\."):
        coder.encode(Opaque())


def test_anything_else_is_pickled() -> None:
    value = Thawed(3)
    assert PLAIN.decode(PLAIN.encode(value)) == value
    assert PLAIN.decode(PLAIN.encode([value, 1])) == [value, 1]
    assert PLAIN.decode(PLAIN.encode(lambda x: x + 1))(1) == 2

    class Local:
        x = 5

    assert PLAIN.decode(PLAIN.encode((Local(), 1)))[0].x == 5


def test_fallback_of_the_user() -> None:
    class Hex(c.Coder):
        def encode(self, value: Any) -> bytes:
            return value.hex.encode()  # type: ignore[no-any-return]

        def decode(self, encoded: bytes) -> Any:
            return uuid.UUID(hex=encoded.decode())

    coder = c.FastPrimitivesCoder(Hex())
    assert coder.decode(coder.encode([uuid.UUID(int=5)])) == [uuid.UUID(int=5)]
    assert coder != PLAIN


def test_local_classes_are_found_again() -> None:
    @dataclasses.dataclass(frozen=True)
    class Here:
        x: int

    assert KEYS.decode(KEYS.encode(Here(5))) == Here(5)


def test_class_that_is_gone() -> None:
    data = KEYS.encode(City("Ulm")).replace(b"City", b"Cite")
    with pytest.raises(DataError, match="Cite cannot be decoded"):
        KEYS.decode(data)


def test_functions() -> None:
    assert coder_from_function(*PLAIN.to_function()) == PLAIN
    assert coder_from_function(*KEYS.to_function()) == KEYS
    assert KEYS.to_function()[2] == {"step": "Sum/Group"}
    assert PLAIN.to_function()[3] == b""


def test_questions() -> None:
    assert KEYS.is_deterministic() and not PLAIN.is_deterministic()
    assert KEYS.as_deterministic_coder("x") is KEYS
    assert PLAIN.is_kv_coder() and PLAIN.key_coder() == PLAIN


def test_pickle_coder_becomes_deterministic() -> None:
    assert c.PickleCoder().as_deterministic_coder("Sum/Group") == KEYS


def test_tuples_become_deterministic_by_their_parts() -> None:
    coder = c.TupleCoder([c.VarIntCoder(), PLAIN]).as_deterministic_coder("s")
    assert coder.is_deterministic()
    for wrap in (c.ListCoder, c.IterableCoder, c.NullableCoder, c.TupleSequenceCoder, c.ShardedKeyCoder):
        assert not wrap(PLAIN).is_deterministic()
        assert wrap(PLAIN).as_deterministic_coder("s").is_deterministic()


def test_coders_that_cannot_be_deterministic() -> None:
    with pytest.raises(DeterminismError, match=r"CloudpickleCoder cannot be made deterministic .* 'Sum'"):
        c.CloudpickleCoder().as_deterministic_coder("Sum")
    with pytest.raises(ValueError, match="mine"):
        c.TupleCoder([c.CloudpickleCoder(), c.VarIntCoder()]).as_deterministic_coder("Sum", "mine")


# Partitions of keys, and so the state of jobs, depend on these bytes: never change a line, only add.
BYTES_FOR_EVER: list[tuple[Any, str]] = [
    (None, "00"),
    (True, "01"),
    (False, "02"),
    (0, "0300"),
    (-1, "03ffffffffffffffffff01"),
    (300, "03ac02"),
    (2**63, "04008000000000000000"),
    (-(2**63) - 1, "04ff7fffffffffffffff"),
    (0.0, "050000000000000000"),
    (1.5, "053ff8000000000000"),
    (math.nan, "057ff8000000000000"),
    ("é", "06c3a9"),
    (b"ab", "076162"),
    ((), "0800"),
    ((1, "a"), "08020301060161"),
    ([1], "09010301"),
    ({"b": 1, "a": 2}, "0a0206016103020601620301"),
    ({2, 1}, "0b0203010302"),
    (frozenset({"x"}), "0c01060178"),
    (bytearray(b"x"), "1378"),
    (datetime.date(2024, 2, 29), "11046461746503818d2d"),
    (uuid.UUID(int=1), "110475756964071000000000000000000000000000000001"),
    (decimal.Decimal("1.5"), "1107646563696d616c0603312e35"),
]


@pytest.mark.parametrize(("value", "data"), BYTES_FOR_EVER, ids=repr)
def test_bytes_never_change(value: Any, data: str) -> None:
    assert KEYS.encode(value).hex() == data


def test_the_same_in_another_process_with_other_hashes() -> None:
    program = (
        "from hornbeam.coders import coders as c;"
        "k = c.FastPrimitivesCoder().as_deterministic_coder('s');"
        "print(k.encode(({'b', 'a', 'c', 'd'}, {'x': 1, 'y': 2}, frozenset('uvwxyz'))).hex())"
    )
    results = set()
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        results.add(result.stdout)
    assert len(results) == 1
