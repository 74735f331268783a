from __future__ import annotations

import datetime
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam.utils.timestamp import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    TIME_GRANULARITY,
    Duration,
    Timestamp,
    micros_of,
    timestamp_at,
)

MICROS = st.integers(-(10**17), 10**17)


@pytest.mark.parametrize(
    ("made", "micros"),
    [
        (Timestamp(), 0),
        (Timestamp(3), 3_000_000),
        (Timestamp(1.5), 1_500_000),
        (Timestamp(-1.5), -1_500_000),
        (Timestamp(1, 250_000), 1_250_000),
        (Timestamp(1, micros=250_000), 1_250_000),
        (Timestamp(seconds=2, micros=-1), 1_999_999),
        (Timestamp(micros=7), 7),
        (Timestamp(1, 500, 3), 1_500_000),
        (Timestamp(1.23456, precision=3), 1_234_000),
        (Timestamp(1, 1_999, 9), 1_000_001),
        (Timestamp(-1, 1, 9), -1_000_000),
        (Duration(1.5, micros=2), 1_500_002),
        (Duration(micros=-5), -5),
    ],
)
def test_micros(made: Timestamp | Duration, micros: int) -> None:
    assert made.micros == micros
    assert micros_of(made) == micros


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Timestamp(5), "Timestamp(5)"),
        (Timestamp(1.5), "Timestamp(1.500000)"),
        (Timestamp(-1.5), "Timestamp(-1.500000)"),
        (Timestamp(micros=-1), "Timestamp(-0.000001)"),
        (Timestamp(1, 123_456_789, 9), "Timestamp(1.123456789)"),
        (Duration(0.25), "Duration(0.250000)"),
        (Duration(-60), "Duration(-60)"),
    ],
)
def test_repr(value: object, text: str) -> None:
    assert repr(value) == text


def test_of() -> None:
    stamp = Timestamp(3)
    assert Timestamp.of(stamp) is stamp
    assert Timestamp.of(3.25) == Timestamp(3.25)
    assert Duration.of(2) == Duration(2)
    length = Duration(4)
    assert Duration.of(length) is length
    with pytest.raises(TypeError, match="it is a Duration"):
        Timestamp.of(Duration(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="it is a Timestamp"):
        Duration.of(Timestamp(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["1", None, b"1", [1], datetime.datetime(2024, 1, 1)])
def test_not_a_number_of_seconds(wrong: object) -> None:
    with pytest.raises(TypeError, match="Cannot interpret"):
        Timestamp(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Cannot interpret"):
        Duration(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Cannot interpret"):
        micros_of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(wrong: float) -> None:
    for make in (Timestamp, Duration, micros_of):
        with pytest.raises(ValueError, match="finite"):
            make(wrong)
    with pytest.raises(ValueError):
        Timestamp(wrong, precision=9)


def test_numpy_numbers_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert Timestamp(numpy.int64(3)) == 3
    assert Timestamp(numpy.float64(1.5)).micros == 1_500_000
    assert micros_of(numpy.int32(2)) == 2_000_000


def test_arithmetic() -> None:
    assert Timestamp(5) + Duration(2) == Timestamp(7)
    assert Timestamp(5) + 2 == 2 + Timestamp(5) == Timestamp(7)
    assert Duration(2) + Timestamp(5) == Timestamp(7)
    assert type(Duration(2) + Timestamp(5)) is Timestamp
    assert Timestamp(5) - Duration(2) == Timestamp(5) - 2 == Timestamp(3)
    assert type(Timestamp(5) - 2) is Timestamp
    between = Timestamp(5) - Timestamp(3)
    assert type(between) is Duration and between == 2
    assert Timestamp(10) % 3 == Duration(1)
    assert Timestamp(-1) % Duration(60) == 59
    assert type(Timestamp(10) % 3) is Duration
    assert Duration(5) + 1 == 1 + Duration(5) == Duration(6)
    assert Duration(5) - 1 == Duration(4)
    assert 1 - Duration(5) == -Duration(4) == Duration(-4)
    assert Duration(3) * 2 == 2 * Duration(3) == Duration(6)
    assert Duration(10) % 4 == Duration(2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Timestamp(1) + Timestamp(1),
        lambda: Duration(1) - Timestamp(1),
        lambda: 1 - Timestamp(1),
        lambda: Timestamp(1) + "1",
        lambda: Timestamp(1) < "1",
        lambda: Duration(1) < None,
    ],
)
def test_arithmetic_without_meaning(wrong: object) -> None:
    with pytest.raises(TypeError):
        wrong()  # type: ignore[operator]


def test_comparison_with_numbers_and_each_other() -> None:
    assert Timestamp(5) == 5 and Timestamp(5) == 5.0 and Timestamp(5) == 5
    assert Timestamp(5) != 6 and Timestamp(5) != "5" and Timestamp(5) != None  # noqa: E711
    assert Timestamp(1) < 2 < Timestamp(3) <= 3 <= Timestamp(3.5) < 4.0
    assert Timestamp(3) > 2 and Timestamp(3) >= 3
    assert Timestamp(3) == Duration(3) and Timestamp(3) > Duration(2)
    assert Timestamp(0) < float("inf") and Timestamp(0) > float("-inf")
    nan = float("nan")
    assert not any((Timestamp(0) < nan, Timestamp(0) > nan, Timestamp(0) <= nan, Timestamp(0) == nan))


def test_equal_ones_hash_alike() -> None:
    assert hash(Timestamp(5)) == hash(5) == hash(Duration(5)) == hash(Timestamp(5, precision=9))
    assert hash(Timestamp(1.5)) == hash(1.5)
    assert {Timestamp(5): "x"}[5] == "x"  # type: ignore[index]


def test_limits() -> None:
    assert MIN_TIMESTAMP.micros == -9_223_372_036_854_775_000
    assert MAX_TIMESTAMP.micros == 9_223_372_036_854_775_000
    assert TIME_GRANULARITY.micros == 1
    assert MIN_TIMESTAMP < Timestamp.now() < MAX_TIMESTAMP


@pytest.mark.parametrize(
    ("text", "stamp", "back"),
    [
        ("1970-01-01T00:00:00Z", Timestamp(0), "1970-01-01T00:00:00Z"),
        ("2024-02-29T12:00:00.5Z", Timestamp(1709208000.5), "2024-02-29T12:00:00.500000Z"),
        ("2024-02-29t12:00:00z", Timestamp(1709208000), "2024-02-29T12:00:00Z"),
        ("2024-02-29T13:30:00+01:30", Timestamp(1709208000), "2024-02-29T12:00:00Z"),
        ("2024-02-29T04:00:00-08:00", Timestamp(1709208000), "2024-02-29T12:00:00Z"),
        ("1969-12-31T23:59:59.999999Z", Timestamp(micros=-1), "1969-12-31T23:59:59.999999Z"),
        ("1970-01-01T00:00:00.000000001Z", Timestamp(0, 1, 9), "1970-01-01T00:00:00.000000001Z"),
        ("2016-12-31T23:59:60Z", Timestamp(1483228800), "2017-01-01T00:00:00Z"),
    ],
)
def test_rfc3339(text: str, stamp: Timestamp, back: str) -> None:
    parsed = Timestamp.from_rfc3339(text)
    assert parsed == stamp
    assert parsed.to_rfc3339() == back


@pytest.mark.parametrize(
    "text", ["", "today", "2024-02-30T12:00:00Z", "2024-02-29T12:00:00", "2024-02-29", "2024-13-01T00:00:00Z"]
)
def test_rfc3339_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        Timestamp.from_rfc3339(text)


def test_datetimes() -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 0, 0, 500_000, tzinfo=datetime.UTC)
    stamp = Timestamp.from_utc_datetime(moment)
    assert stamp == 1709208000.5
    assert stamp.to_utc_datetime(has_tz=True) == moment
    assert stamp.to_utc_datetime() == moment.replace(tzinfo=None)
    with pytest.raises(ValueError, match="no time zone"):
        Timestamp.from_utc_datetime(moment.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not in UTC"):
        Timestamp.from_utc_datetime(moment.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1))))
    with pytest.raises(OverflowError):
        MAX_TIMESTAMP.to_utc_datetime()


def test_precision() -> None:
    fine = Timestamp(1, 123_456_789, Timestamp.NANOS_PRECISION)
    assert (fine.precision(), fine.seconds(), fine.subseconds()) == (9, 1, 123_456_789)
    assert (fine.micros, fine.nanos) == (1_123_456, 1_123_456_789)
    with pytest.raises(ValueError, match="allow_lossy_conversion"):
        fine.to_precision(6)
    assert fine.to_precision(6, allow_lossy_conversion=True) == Timestamp(1.123456)
    assert fine.to_precision(3, True).subseconds() == 123
    assert Timestamp(2.5).to_precision(9).nanos == 2_500_000_000
    with pytest.raises(ValueError, match="datetime cannot hold"):
        fine.to_utc_datetime()
    assert fine.to_utc_datetime(allow_lossy_conversion=True).microsecond == 123_456
    assert fine.successor().nanos == 1_123_456_790
    assert fine.predecessor() < fine < fine.successor()
    assert (fine + 1).nanos == 2_123_456_789
    assert fine > Timestamp(1.123456) and fine != Timestamp(1.123456)
    with pytest.raises(ValueError, match="0 to 9"):
        Timestamp(1, precision=12)


def test_neighbours_and_numbers() -> None:
    assert Timestamp(1).predecessor().micros == 999_999
    assert Timestamp(1).successor().micros == 1_000_001
    assert float(Timestamp(1.25)) == 1.25 and int(Timestamp(1.75)) == 1
    assert Timestamp(-0.5).seconds() == -1 and Timestamp(-0.5).subseconds() == 500_000
    assert float(Duration(0.5)) == 0.5
    assert bool(Timestamp(0)) and not Duration(0)


@given(MICROS)
def test_round_trips(micros: int) -> None:
    stamp = timestamp_at(micros)
    assert stamp == Timestamp(micros=micros)
    assert pickle.loads(pickle.dumps(stamp)) == stamp
    assert Timestamp(stamp.seconds(), stamp.subseconds()) == stamp
    assert hash(stamp) == hash(Timestamp(micros=micros))
    assert pickle.loads(pickle.dumps(stamp.to_precision(9))) == stamp


@given(MICROS, MICROS)
def test_differences(first: int, second: int) -> None:
    a, b = timestamp_at(first), timestamp_at(second)
    assert b + (a - b) == a
    assert (a < b, a == b, a > b) == (first < second, first == second, first > second)


@given(st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000))
def test_rfc3339_round_trip(micros: int) -> None:
    assert Timestamp.from_rfc3339(timestamp_at(micros).to_rfc3339()).micros == micros


def test_protos() -> None:
    timestamp_pb2 = pytest.importorskip("google.protobuf.timestamp_pb2")
    duration_pb2 = pytest.importorskip("google.protobuf.duration_pb2")
    assert Timestamp.from_proto(timestamp_pb2.Timestamp(seconds=-1, nanos=500_000_000)) == -0.5
    assert Timestamp(-0.5).to_proto() == timestamp_pb2.Timestamp(seconds=-1, nanos=500_000_000)
    assert Duration(-0.5).to_proto() == duration_pb2.Duration(nanos=-500_000_000)
    assert Duration.from_proto(duration_pb2.Duration(seconds=-1, nanos=-500_000_000)) == -1.5
