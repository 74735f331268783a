"""The byte forms of Beam's standard coders, and what each coder refuses."""

from __future__ import annotations

import decimal
import itertools
import math
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from hornbeam import coders
from hornbeam.coders import coders as c
from hornbeam.error import DataError
from hornbeam.transforms.window import GlobalWindow, IntervalWindow
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo, PaneInfoTiming, WindowedValue

KV = c.TupleCoder([c.BytesCoder(), c.VarIntCoder()])
INTS = c.IterableCoder(c.VarIntCoder())

# coder, value, outer bytes in hex, nested bytes in hex (None: the same)
VECTORS: list[tuple[c.Coder, Any, str, str | None]] = [
    (c.BytesCoder(), b"abc", "616263", "03616263"),
    (c.BytesCoder(), b"", "", "00"),
    (c.BytesCoder(), b"x" * 200, "78" * 200, "c801" + "78" * 200),
    (c.StrUtf8Coder(), "aé", "61c3a9", "0361c3a9"),
    (c.BooleanCoder(), True, "01", None),
    (c.BooleanCoder(), False, "00", None),
    (c.ByteCoder(), 255, "ff", None),
    (c.VarIntCoder(), 0, "00", None),
    (c.VarIntCoder(), 1, "01", None),
    (c.VarIntCoder(), 127, "7f", None),
    (c.VarIntCoder(), 128, "8001", None),
    (c.VarIntCoder(), 300, "ac02", None),
    (c.VarIntCoder(), 1000, "e807", None),
    (c.VarIntCoder(), -1, "ffffffffffffffffff01", None),
    (c.VarIntCoder(), 2**63 - 1, "ffffffffffffffff7f", None),
    (c.VarIntCoder(), -(2**63), "80808080808080808001", None),
    (c.FloatCoder(), 0.0, "0000000000000000", None),
    (c.FloatCoder(), 1.0, "3ff0000000000000", None),
    (c.FloatCoder(), -1.5, "bff8000000000000", None),
    (c.FloatCoder(), math.inf, "7ff0000000000000", None),
    (c.SinglePrecisionFloatCoder(), 1.5, "3fc00000", None),
    (c.BigIntegerCoder(), 0, "00", "0100"),
    (c.BigIntegerCoder(), 127, "7f", "017f"),
    (c.BigIntegerCoder(), 128, "0080", "020080"),
    (c.BigIntegerCoder(), -128, "80", "0180"),
    (c.BigIntegerCoder(), -129, "ff7f", "02ff7f"),
    (c.BigIntegerCoder(), 2**64, "010000000000000000", "09010000000000000000"),
    (c.DecimalCoder(), decimal.Decimal("1.23"), "027b", "02017b"),
    (c.DecimalCoder(), decimal.Decimal("-0.5"), "01fb", "0101fb"),
    (c.TimestampCoder(), Timestamp(1), "00000000000f4240", None),
    (c.TimestampCoder(), Timestamp(micros=-1), "ffffffffffffffff", None),
    (KV, (b"abc", 1), "0361626301", None),
    (c.TupleCoder([c.BytesCoder(), c.BytesCoder()]), (b"ab", b"cd"), "0261626364", "026162026364"),
    (c.TupleCoder([]), (), "", None),
    (INTS, [1, 300], "0000000201ac02", None),
    (INTS, [], "00000000", None),
    (c.ListCoder(c.BytesCoder()), [b"a", b""], "00000002016100", None),
    (c.TupleSequenceCoder(c.VarIntCoder()), (5,), "0000000105", None),
    (c.MapCoder(c.StrUtf8Coder(), c.VarIntCoder()), {"a": 1}, "00000001016101", None),
    (c.NullableCoder(c.BytesCoder()), None, "00", None),
    (c.NullableCoder(c.BytesCoder()), b"abc", "01616263", "0103616263"),
    (c.ShardedKeyCoder(c.StrUtf8Coder()), ShardedKey("key", b"id"), "026964036b6579", None),
    (c.SingletonCoder("x"), "x", "", None),
    (c.GlobalWindowCoder(), GlobalWindow(), "", None),
    # The end plus 2**63 as big-endian ms, then the length in ms.
    (c.IntervalWindowCoder(), IntervalWindow(0, 1), "80000000000003e8e807", None),
    (c.IntervalWindowCoder(), IntervalWindow(-1, 0), "8000000000000000e807", None),
    (c.PaneInfoCoder(), PANE_INFO_UNKNOWN, "0f", None),
    (c.PaneInfoCoder(), PaneInfo(True, False, PaneInfoTiming.EARLY, 0, -1), "01", None),
    (c.PaneInfoCoder(), PaneInfo(False, False, PaneInfoTiming.EARLY, 2, -1), "1002", None),
    (c.PaneInfoCoder(), PaneInfo(False, True, PaneInfoTiming.LATE, 5, 5), "1a05", None),
    (c.PaneInfoCoder(), PaneInfo(False, False, PaneInfoTiming.ON_TIME, 2, 0), "240200", None),
    (
        c.WindowedValueCoder(c.VarIntCoder(), c.GlobalWindowCoder()),
        WindowedValue(7, 1, (GlobalWindow(),)),
        "80000000000003e8000000010f07",
        None,
    ),
]


@pytest.mark.parametrize(("coder", "value", "outer", "nested"), VECTORS, ids=lambda v: repr(v)[:40])
def test_bytes(coder: c.Coder, value: Any, outer: str, nested: str | None) -> None:
    assert coder.encode(value).hex() == outer
    assert coder.encode_nested(value).hex() == (outer if nested is None else nested)
    assert coder.decode(bytes.fromhex(outer)) == value
    assert coder.decode_nested(coder.encode_nested(value)) == value
    assert coder.estimate_size(value) == len(outer) // 2
    assert type(coder.decode(bytes.fromhex(outer))) is type(value)


def generate(*values: Any) -> Iterator[Any]:
    yield from values


def test_iterable_of_unknown_length() -> None:
    assert INTS.encode(generate(1, 2)).hex() == "ffffffff02010200"
    assert INTS.encode(generate()).hex() == "ffffffff00"
    many = list(range(50_000))
    assert INTS.decode(INTS.encode(generate(*many))) == many
    assert INTS.decode_nested(INTS.encode_nested(generate(*many))) == many


def test_iterable_of_unknown_length_in_several_blocks() -> None:
    assert INTS.decode(bytes.fromhex("ffffffff020102010300")) == [1, 2, 3]


def test_all_but_the_last_part_are_nested() -> None:
    coder = c.TupleCoder([KV, c.StrUtf8Coder()])
    assert coder.encode(((b"a", 1), "bc")).hex() == "0161016263"
    assert coder.encode_nested(((b"a", 1), "bc")).hex() == "016101026263"


def test_windows_with_microseconds_lose_nothing() -> None:
    coder = c.IntervalWindowCoder()
    for window in (
        IntervalWindow(Timestamp(micros=0), Timestamp(micros=1)),
        IntervalWindow(Timestamp(micros=-1_500), Timestamp(micros=1_001)),
        IntervalWindow(Timestamp(micros=1), Timestamp(micros=1_000_001)),
        IntervalWindow(MIN_TIMESTAMP, Timestamp(0)),
        IntervalWindow(Timestamp(0), MAX_TIMESTAMP),
    ):
        assert coder.decode(coder.encode(window)) == window
        assert c.IterableCoder(coder).decode(c.IterableCoder(coder).encode([window] * 2)) == [window] * 2


def test_windowed_values_with_microseconds_lose_nothing() -> None:
    coder = c.WindowedValueCoder(c.StrUtf8Coder(), c.IntervalWindowCoder())
    pane = PaneInfo(False, False, PaneInfoTiming.LATE, 9, 4)
    for micros in (0, 1, -1, 999, 1000, 123_456_789, MIN_TIMESTAMP.micros, MAX_TIMESTAMP.micros):
        for windows in ((), (IntervalWindow(0, 1), IntervalWindow(1, 2))):
            value = WindowedValue("a", Timestamp(micros=micros), windows, pane)
            assert coder.decode(coder.encode(value)) == value
            assert coder.decode_nested(coder.encode_nested(value)) == value


def test_windowed_value_coder_without_a_window_coder() -> None:
    coder = c.WindowedValueCoder(c.VarIntCoder())
    value = WindowedValue(1, 2, (IntervalWindow(0, 5),))
    assert coder.decode(coder.encode(value)) == value
    assert not coder.is_deterministic()


def test_windowed_values_with_constant_facts() -> None:
    constants = WindowedValue(None, 5, (GlobalWindow(),))
    coder = c.ParamWindowedValueCoder(constants, [c.VarIntCoder(), c.GlobalWindowCoder()])
    assert coder.encode(constants.with_value(300)).hex() == "ac02"
    assert coder.decode(b"\xac\x02") == constants.with_value(300)
    assert coder.payload().hex() == "8000000000001388000000010f"
    assert coders.coder_from_function(*coder.to_function()) == coder


def test_all_panes_come_back() -> None:
    coder = c.PaneInfoCoder()
    for byte, index, nonspeculative in itertools.product(range(16), range(-1, 4), range(-1, 4)):
        pane = PaneInfo(bool(byte & 1), bool(byte & 2), byte >> 2, index, nonspeculative)
        assert coder.decode(coder.encode(pane)) == pane


def test_map_order_does_not_matter_in_the_deterministic_form() -> None:
    coder = c.MapCoder(c.StrUtf8Coder(), c.VarIntCoder())
    assert not coder.is_deterministic()
    fixed = coder.as_deterministic_coder("step")
    assert fixed.is_deterministic()
    assert fixed.encode({"b": 1, "a": 2}) == fixed.encode({"a": 2, "b": 1})
    assert fixed.decode(fixed.encode({"b": 1, "a": 2})) == {"a": 2, "b": 1}


def test_nan_and_negative_zero() -> None:
    assert math.isnan(c.FloatCoder().decode(c.FloatCoder().encode(math.nan)))
    assert math.copysign(1, c.FloatCoder().decode(c.FloatCoder().encode(-0.0))) == -1


@pytest.mark.parametrize("text", ["0", "-0", "1E+5", "123456789012345678901234567890.5", "-1e-30", "100"])
def test_decimals_keep_their_digits(text: str) -> None:
    value = decimal.Decimal(text)
    back = c.DecimalCoder().decode(c.DecimalCoder().encode(value))
    assert back == value and back.as_tuple()[1:] == value.as_tuple()[1:]


@pytest.mark.parametrize(
    ("coder", "value", "error", "message"),
    [
        (c.StrUtf8Coder(), 1, TypeError, "encodes str; found 1 of type int"),
        (c.BytesCoder(), "a", TypeError, "encodes bytes; found 'a' of type str"),
        (c.VarIntCoder(), "a", TypeError, "encodes int"),
        (c.VarIntCoder(), 1.0, TypeError, "encodes int"),
        (c.VarIntCoder(), 2**63, OverflowError, "BigIntegerCoder"),
        (c.BigIntegerCoder(), 1.0, TypeError, "encodes int"),
        (c.FloatCoder(), "a", TypeError, "encodes float"),
        (c.DecimalCoder(), 1, TypeError, "encodes decimal.Decimal"),
        (c.DecimalCoder(), decimal.Decimal("nan"), ValueError, "finite"),
        (c.TimestampCoder(), Timestamp(0, 1, 9), ValueError, "microseconds"),
        (KV, (b"a",), ValueError, "tuples of 2 parts"),
    ],
)
def test_wrong_values(coder: c.Coder, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        coder.encode(value)


@pytest.mark.parametrize(
    ("coder", "data", "message"),
    [
        (c.VarIntCoder(), "", "cut short"),
        (c.VarIntCoder(), "80", "cut short"),
        (c.VarIntCoder(), "8080808080808080808080", "more than ten bytes"),
        (c.VarIntCoder(), "0101", "left over"),
        (c.FloatCoder(), "00", "cut short"),
        (c.BooleanCoder(), "02", "0 or 1"),
        (c.NullableCoder(c.VarIntCoder()), "05", "0 or 1"),
        (KV, "05616263", "cut short"),
        (INTS, "000000030101", "cut short"),
        (INTS, "fffffffe", "at least -1"),
        (c.PaneInfoCoder(), "40", "0x2f"),
        (c.PickleCoder(), "", "cannot read a pickle"),
        (c.FastPrimitivesCoder(), "7f", "type tag 127"),
    ],
)
def test_broken_bytes(coder: c.Coder, data: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        coder.decode(bytes.fromhex(data))


def test_user_coder_is_prefixed_when_nested() -> None:
    class Reverse(c.Coder):
        def encode(self, value: str) -> bytes:
            return value[::-1].encode()

        def decode(self, encoded: bytes) -> str:
            return encoded.decode()[::-1]

    pair = c.TupleCoder([Reverse(), Reverse()])
    assert pair.encode(("ab", "cd")) == b"\x02badc"
    assert pair.decode(b"\x02badc") == ("ab", "cd")
    assert Reverse().encode_nested("ab") == b"\x02ba"
    assert Reverse().decode_nested(b"\x02ba") == "ab"
    assert Reverse().estimate_size("abc") == 3


def test_kv_questions() -> None:
    assert KV.is_kv_coder()
    assert KV.key_coder() == c.BytesCoder() and KV.value_coder() == c.VarIntCoder()
    assert KV.coders() == (c.BytesCoder(), c.VarIntCoder())
    assert not c.VarIntCoder().is_kv_coder()
    for ask in (c.VarIntCoder().key_coder, c.TupleCoder([c.BytesCoder()]).value_coder):
        with pytest.raises(ValueError, match="Not a KV coder"):
            ask()
    wrapped = c.WindowedValueCoder(KV, c.GlobalWindowCoder())
    assert wrapped.is_kv_coder() and wrapped.key_coder() == c.BytesCoder()


def test_equality() -> None:
    assert c.VarIntCoder() == c.VarIntCoder() and hash(c.VarIntCoder()) == hash(c.VarIntCoder())
    assert c.VarIntCoder() != c.BigIntegerCoder()
    assert c.TupleCoder([c.BytesCoder(), c.VarIntCoder()]) == KV
    assert c.TupleCoder([c.BytesCoder(), c.BytesCoder()]) != KV
    assert c.SingletonCoder(1) != c.SingletonCoder(True)


@pytest.mark.parametrize(("coder", "value", "outer", "nested"), VECTORS, ids=lambda v: repr(v)[:40])
def test_functions_round_trip(coder: c.Coder, value: Any, outer: str, nested: str | None) -> None:
    urn, components, spec, payload = coder.to_function()
    again = coders.coder_from_function(urn, components, spec, payload)
    assert again == coder and repr(again) == repr(coder)
    assert again.encode(value).hex() == outer


def test_kv_has_the_standard_urn() -> None:
    assert KV.to_function()[0] == "beam:coder:kv:v1"
    assert c.TupleCoder([c.BytesCoder()] * 3).to_function()[0] == "hornbeam:coder:tuple:v1"
    with pytest.raises(DataError, match="2 components"):
        coders.coder_from_function("beam:coder:kv:v1", (c.BytesCoder(),), {}, b"")


def test_unknown_functions() -> None:
    with pytest.raises(DataError, match="Unknown coder URN 'beam:coder:none:v1'"):
        coders.coder_from_function("beam:coder:none:v1", (), {}, b"")
    with pytest.raises(DataError, match="cannot be unpickled"):
        coders.coder_from_function("hornbeam:coder:python:v1", (), {"type": "m.C"}, b"junk")
    with pytest.raises(DataError, match="components"):
        coders.coder_from_function("beam:coder:varint:v1", (KV,), {}, b"")


@pytest.mark.parametrize("make", [c.AvroGenericCoder, c.ProtoCoder, c.ProtoPlusCoder])
def test_coders_that_are_not_there_say_what_to_do(make: Any) -> None:
    with pytest.raises(NotImplementedError, match="not in this version"):
        make("schema")


@pytest.mark.parametrize("coder", [c.PickleCoder(), c.CloudpickleCoder()])
def test_picklers(coder: c.Coder) -> None:
    value = {"a": [1, (2, {3})]}
    assert coder.decode(coder.encode(value)) == value
    assert coder.decode_nested(coder.encode_nested(value)) == value
    assert not coder.is_deterministic() and coder.is_kv_coder()
    assert coders.coder_from_function(*coder.to_function()) == coder


def test_cloudpickle_takes_functions() -> None:
    coder = c.CloudpickleCoder()
    assert coder.decode(coder.encode(lambda x: x + 1))(2) == 3


def test_dill() -> None:
    pytest.importorskip("dill")
    assert c.DillCoder().decode(c.DillCoder().encode([1])) == [1]


def test_doubles_are_ieee() -> None:
    assert c.FloatCoder().encode(math.pi) == struct.pack(">d", math.pi)
