"""What holds for all coders: values come back, nested ones end where they end, broken bytes are a DataError."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.coders import coder_from_function
from hornbeam.coders import coders as c
from hornbeam.coders.streams import Reader, write_varint
from hornbeam.error import DataError
from hornbeam.transforms.window import IntervalWindow
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.timestamp import Timestamp

CoderAndValues = tuple[c.Coder, st.SearchStrategy[Any]]

LEAVES: list[CoderAndValues] = [
    (c.BytesCoder(), st.binary()),
    (c.StrUtf8Coder(), st.text(st.characters(exclude_categories=["Cs"]))),
    (c.BooleanCoder(), st.booleans()),
    (c.VarIntCoder(), st.integers(-(2**63), 2**63 - 1)),
    (c.BigIntegerCoder(), st.integers()),
    (c.FloatCoder(), st.floats(allow_nan=False)),
    (c.SinglePrecisionFloatCoder(), st.floats(allow_nan=False, width=32)),
    (c.DecimalCoder(), st.decimals(allow_nan=False, allow_infinity=False)),
    (c.TimestampCoder(), st.integers(-(2**63), 2**63 - 1).map(lambda m: Timestamp(micros=m))),
    (c.PickleCoder(), st.lists(st.integers())),
    (c.FastPrimitivesCoder(), st.lists(st.text() | st.integers() | st.none())),
    (
        c.FastPrimitivesCoder().as_deterministic_coder("s"),
        st.dates() | st.tuples(st.decimals(allow_nan=False)),
    ),
]


def lists(inner: CoderAndValues) -> CoderAndValues:
    return c.ListCoder(inner[0]), st.lists(inner[1], max_size=3)


def tuples(parts: list[CoderAndValues]) -> CoderAndValues:
    return c.TupleCoder([coder for coder, _ in parts]), st.tuples(*[values for _, values in parts])


def optional(inner: CoderAndValues) -> CoderAndValues:
    return c.NullableCoder(inner[0]), st.none() | inner[1]


def sharded(inner: CoderAndValues) -> CoderAndValues:
    return c.ShardedKeyCoder(inner[0]), st.builds(ShardedKey, inner[1], st.binary(max_size=3))


def maps(inner: CoderAndValues) -> CoderAndValues:
    keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    return c.MapCoder(c.StrUtf8Coder(), inner[0]), st.dictionaries(keys, inner[1], max_size=3)


ANY_CODER: st.SearchStrategy[CoderAndValues] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(lists),
        st.lists(inner, max_size=3).map(tuples),
        inner.map(optional),
        inner.map(sharded),
        inner.map(maps),
    ),
    max_leaves=4,
)


@st.composite
def coders_and_values(draw: st.DrawFn) -> tuple[c.Coder, Any]:
    coder, values = draw(ANY_CODER)
    return coder, draw(values)


@settings(max_examples=150, deadline=None)
@given(coders_and_values())
def test_values_come_back(case: tuple[c.Coder, Any]) -> None:
    coder, value = case
    assert coder.decode(coder.encode(value)) == value
    assert coder.decode_nested(coder.encode_nested(value)) == value
    again = coder_from_function(*coder.to_function())
    assert again == coder and again.decode(coder.encode(value)) == value


@settings(max_examples=100, deadline=None)
@given(coders_and_values(), st.binary(max_size=5))
def test_nested_values_end_where_they_end(case: tuple[c.Coder, Any], rest: bytes) -> None:
    coder, value = case
    reader = Reader(coder.encode_nested(value) + rest)
    assert coder.decode_from(reader, True) == value
    assert reader.rest() == rest


@settings(max_examples=150, deadline=None)
@given(coders_and_values(), st.data())
def test_broken_bytes_are_a_data_error(case: tuple[c.Coder, Any], data: st.DataObject) -> None:
    coder, value = case
    if "Pickle" in repr(coder) or not isinstance(coder, c.FastCoder):
        return
    encoded = bytearray(coder.encode(value))
    if encoded:
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        encoded = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        coder.decode(bytes(encoded))
    except DataError:
        pass


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints(number: int) -> None:
    out = bytearray()
    write_varint(number, out)
    assert Reader(bytes(out)).varint() == number
    length = 10 if number < 0 else max(1, math.ceil(number.bit_length() / 7))
    assert len(out) == length


@given(st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=5))
def test_times_sort_as_their_windows_bytes(micros: list[int]) -> None:

    coder = c.IntervalWindowCoder()
    windows = [IntervalWindow(Timestamp(micros=m * 1000), Timestamp(micros=m * 1000 + 1000)) for m in micros]
    by_bytes = sorted(windows, key=coder.encode)
    assert by_bytes == sorted(windows, key=lambda window: window.end.micros)


def test_decimal_and_date_types_are_kept() -> None:
    keys = c.FastPrimitivesCoder().as_deterministic_coder("s")
    for value in (decimal.Decimal("NaN"), decimal.Decimal("-Infinity"), datetime.datetime.max):
        assert repr(keys.decode(keys.encode(value))) == repr(value)
