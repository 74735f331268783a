"""Event time: Timestamp (a point) and Duration (a distance), both whole microseconds.

A Timestamp may also be kept to the nanosecond (`precision=9`); its `micros` is then rounded down. Floats
given as seconds are cut towards zero at the last digit that is kept.
"""

from __future__ import annotations

import datetime
import importlib
import re
import time
from typing import Any, TypeAlias, Union, overload

_MICROS_PER_SECOND = 1_000_000
_NANOS_PER_SECOND = 1_000_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9})\d*)?([Zz]|[+-]\d{2}:?\d{2})"
)


def _micros_of_number(value: Any, meaning: str) -> int:
    """Whole microseconds of a number of seconds; `meaning` is the type that was wanted, for the message."""
    if isinstance(value, float):
        try:
            return int(value * _MICROS_PER_SECOND)
        except (OverflowError, ValueError):
            raise ValueError(f"Cannot interpret {value!r} as {meaning}: not a finite number of seconds.")
    if isinstance(value, int):
        return value * _MICROS_PER_SECOND
    if hasattr(value, "__index__"):  # a numpy integer
        return int(value) * _MICROS_PER_SECOND
    raise TypeError(f"Cannot interpret {value!r} of type {type(value).__name__} as {meaning}.")


def _text_of(name: str, whole: int, per_second: int, digits: int) -> str:
    sign = "-" if whole < 0 else ""
    seconds, rest = divmod(abs(whole), per_second)
    fraction = f".{rest:0{digits}d}" if rest else ""
    return f"{name}({sign}{seconds}{fraction})"


class Timestamp:
    """A point in event time, since the Unix epoch, in UTC.

    `subseconds` counts units of 10**-precision seconds on top of `seconds`, and `micros` microseconds.
    `precision` is 0 to 9 decimal digits. Compares and hashes as its number of seconds: `Timestamp(5) == 5`.
    """

    __slots__ = ("_nano_part", "_precision", "micros")

    MICROS_PRECISION = 6
    NANOS_PRECISION = 9

    micros: int
    _nano_part: int
    _precision: int

    def __init__(
        self,
        seconds: int | float = 0,
        subseconds: int | float = 0,
        precision: int = 6,
        *,
        micros: int | float | None = None,
    ) -> None:
        if type(seconds) is int:
            total = seconds * _MICROS_PER_SECOND
        else:
            total = _micros_of_number(seconds, "Timestamp")
        if micros is not None:
            total += int(micros)
        self._precision = precision
        if precision == 6:
            self.micros = total + int(subseconds) if subseconds else total
            self._nano_part = 0
        else:
            unit = _unit_nanos(precision)
            if type(seconds) is float:
                total_nanos = int(seconds * _NANOS_PER_SECOND) + int(micros or 0) * 1000
            else:
                total_nanos = total * 1000
            units = abs(total_nanos) // unit * (1 if total_nanos >= 0 else -1) + int(subseconds)
            self.micros, self._nano_part = divmod(units * unit, 1000)

    @staticmethod
    def of(seconds: TimestampTypes) -> Timestamp:
        """The Timestamp itself, or the one at that number of seconds."""
        if isinstance(seconds, Timestamp):
            return seconds
        if isinstance(seconds, Duration):
            raise TypeError(f"Cannot interpret {seconds!r} as Timestamp: it is a Duration.")
        return Timestamp(seconds)

    @staticmethod
    def now() -> Timestamp:
        """The wall clock's present."""
        return timestamp_at(time.time_ns() // 1000)

    @staticmethod
    def from_utc_datetime(dt: datetime.datetime) -> Timestamp:
        """From a datetime that bears the UTC time zone; ValueError for any other."""
        if dt.tzinfo is None:
            raise ValueError(f"{dt!r} has no time zone. Give it tzinfo=datetime.timezone.utc.")
        if dt.utcoffset() != datetime.timedelta(0):
            raise ValueError(f"{dt!r} is not in UTC. Use dt.astimezone(datetime.timezone.utc).")
        return timestamp_at((dt - _EPOCH) // datetime.timedelta(microseconds=1))

    @classmethod
    def from_rfc3339(cls, rfc3339: str) -> Timestamp:
        """From RFC 3339 text with a zone, such as `2024-02-29T12:00:00.5Z`.

        Seven to nine fractional digits give a nanosecond Timestamp; further digits are cut.
        """
        match = _RFC3339.fullmatch(rfc3339.strip())
        if match is None:
            raise ValueError(
                f"Could not parse {rfc3339!r} as an RFC 3339 time with a zone, like 2024-02-29T12:00:00.5Z."
            )
        year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
        fraction, zone = match.group(7) or "", match.group(8)
        leap = second == 60
        try:
            moment = datetime.datetime(
                year, month, day, hour, minute, 59 if leap else second, tzinfo=datetime.UTC
            )
        except ValueError as error:
            raise ValueError(f"Could not parse {rfc3339!r} as an RFC 3339 time: {error}.")
        seconds = (moment - _EPOCH) // datetime.timedelta(seconds=1) + leap
        if zone not in "Zz":
            offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
            seconds += offset if zone[0] == "-" else -offset
        nanos = int(fraction.ljust(9, "0")) if fraction else 0
        if len(fraction) <= 6:
            return cls(seconds, nanos // 1000)
        return cls(seconds, nanos, cls.NANOS_PRECISION)

    @classmethod
    def from_proto(cls, timestamp_proto: Any) -> Timestamp:
        """From a google.protobuf Timestamp; to the nanosecond where it has any below the microsecond."""
        seconds, nanos = int(timestamp_proto.seconds), int(timestamp_proto.nanos)
        if nanos % 1000:
            return cls(seconds, nanos, cls.NANOS_PRECISION)
        return cls(seconds, nanos // 1000)

    def to_proto(self) -> Any:
        """A google.protobuf Timestamp; needs the package protobuf."""
        message = _protobuf("timestamp_pb2").Timestamp()
        message.seconds, message.nanos = divmod(self.nanos, _NANOS_PER_SECOND)
        return message

    @property
    def nanos(self) -> int:
        """Nanoseconds since the epoch."""
        return self.micros * 1000 + self._nano_part

    def precision(self) -> int:
        """Decimal digits kept of a second; 6 unless said otherwise."""
        return self._precision

    def seconds(self) -> int:
        """Whole seconds since the epoch, rounded down."""
        return self.micros // _MICROS_PER_SECOND

    def subseconds(self) -> int:
        """What is left above `seconds()`, in units of 10**-precision seconds."""
        if self._precision == 6:
            return self.micros % _MICROS_PER_SECOND
        return self.nanos % _NANOS_PER_SECOND // _unit_nanos(self._precision)

    def to_precision(self, precision: int, allow_lossy_conversion: bool = False) -> Timestamp:
        """The same point kept to `precision` digits; ValueError if some were lost, unless that is allowed."""
        if precision == self._precision:
            return self
        units, lost = divmod(self.nanos, _unit_nanos(precision))
        if lost and not allow_lossy_conversion:
            raise ValueError(
                f"{self!r} has more than {precision} digits. Pass allow_lossy_conversion=True to cut it."
            )
        return Timestamp(0, units, precision)

    def predecessor(self) -> Timestamp:
        """The latest Timestamp of the same precision that is before this one."""
        if self._precision == 6:
            return timestamp_at(self.micros - 1)
        return Timestamp(0, self.nanos // _unit_nanos(self._precision) - 1, self._precision)

    def successor(self) -> Timestamp:
        """The earliest Timestamp of the same precision that is after this one."""
        if self._precision == 6:
            return timestamp_at(self.micros + 1)
        return Timestamp(0, self.nanos // _unit_nanos(self._precision) + 1, self._precision)

    def to_utc_datetime(
        self, has_tz: bool = False, allow_lossy_conversion: bool = False
    ) -> datetime.datetime:
        """A datetime in UTC, without tzinfo unless `has_tz`; OverflowError outside the years 1 to 9999.

        ValueError when nanoseconds would be lost, unless `allow_lossy_conversion`.
        """
        if self._nano_part and not allow_lossy_conversion:
            raise ValueError(
                f"A datetime cannot hold the nanoseconds of {self!r}. Pass allow_lossy_conversion=True."
            )
        moment = _EPOCH + datetime.timedelta(microseconds=self.micros)
        return moment if has_tz else moment.replace(tzinfo=None)

    def to_rfc3339(self) -> str:
        """RFC 3339 text in UTC; six fractional digits (nine with nanoseconds) unless the second is whole."""
        text = self.to_utc_datetime(allow_lossy_conversion=True).isoformat()
        if self._nano_part:
            text = f"{text}{self._nano_part:03d}" if "." in text else f"{text}.000000{self._nano_part:03d}"
        return text + "Z"

    def __float__(self) -> float:
        return self.nanos / _NANOS_PER_SECOND if self._nano_part else self.micros / _MICROS_PER_SECOND

    def __int__(self) -> int:
        return self.micros // _MICROS_PER_SECOND

    def __repr__(self) -> str:
        if self._nano_part:
            return _text_of("Timestamp", self.nanos, _NANOS_PER_SECOND, 9)
        return _text_of("Timestamp", self.micros, _MICROS_PER_SECOND, 6)

    def __hash__(self) -> int:
        return hash(self.micros / _MICROS_PER_SECOND)

    def __eq__(self, other: object) -> bool:
        if type(other) is Timestamp:
            return self.micros == other.micros and self._nano_part == other._nano_part
        order = _order(self, other)
        return NotImplemented if order is None else order == 0

    def __lt__(self, other: TimestampDurationTypes) -> bool:
        if type(other) is Timestamp and self.micros != other.micros:
            return self.micros < other.micros
        order = _order(self, other)
        return NotImplemented if order is None else order == -1

    def __le__(self, other: TimestampDurationTypes) -> bool:
        if type(other) is Timestamp and self.micros != other.micros:
            return self.micros <= other.micros
        order = _order(self, other)
        return NotImplemented if order is None else order in (-1, 0)

    def __gt__(self, other: TimestampDurationTypes) -> bool:
        if type(other) is Timestamp and self.micros != other.micros:
            return self.micros > other.micros
        order = _order(self, other)
        return NotImplemented if order is None else order == 1

    def __ge__(self, other: TimestampDurationTypes) -> bool:
        if type(other) is Timestamp and self.micros != other.micros:
            return self.micros >= other.micros
        order = _order(self, other)
        return NotImplemented if order is None else order in (0, 1)

    def __add__(self, other: DurationTypes) -> Timestamp:
        if isinstance(other, Timestamp):
            raise TypeError(f"Cannot add {other!r} to {self!r}: two points in time have no sum.")
        return self._moved(_duration_micros(other))

    __radd__ = __add__

    @overload
    def __sub__(self, other: Timestamp) -> Duration: ...
    @overload
    def __sub__(self, other: DurationTypes) -> Timestamp: ...
    def __sub__(self, other: DurationTypes | Timestamp) -> Timestamp | Duration:
        if isinstance(other, Timestamp):
            if self._nano_part == other._nano_part:
                return duration_of(self.micros - other.micros)
            return duration_of((self.nanos - other.nanos) // 1000)
        return self._moved(-_duration_micros(other))

    def __mod__(self, other: DurationTypes) -> Duration:
        return duration_of(self.micros % _duration_micros(other))

    def _moved(self, micros: int) -> Timestamp:
        if self._precision <= 6:
            return timestamp_at(self.micros + micros)
        return Timestamp(0, (self.nanos + micros * 1000) // _unit_nanos(self._precision), self._precision)

    def __reduce__(self) -> tuple[type[Timestamp], tuple[int, int, int]]:
        return Timestamp, (0, self.nanos // _unit_nanos(self._precision), self._precision)


class Duration:
    """A distance in time, positive or negative. Compares and hashes as its number of seconds."""

    __slots__ = ("micros",)

    micros: int

    def __init__(self, seconds: int | float = 0, micros: int | float = 0) -> None:
        self.micros = _micros_of_number(seconds, "Duration") + int(micros)

    @staticmethod
    def of(seconds: DurationTypes) -> Duration:
        """The Duration itself, or the one of that many seconds; a Timestamp is refused."""
        if isinstance(seconds, Duration):
            return seconds
        return duration_of(_duration_micros(seconds))

    @staticmethod
    def from_proto(duration_proto: Any) -> Duration:
        """From a google.protobuf Duration, cut to microseconds."""
        nanos = int(duration_proto.seconds) * _NANOS_PER_SECOND + int(duration_proto.nanos)
        return duration_of(nanos // 1000 if nanos >= 0 else -(-nanos // 1000))

    def to_proto(self) -> Any:
        """A google.protobuf Duration (seconds and nanos of one sign); needs the package protobuf."""
        message = _protobuf("duration_pb2").Duration()
        sign = -1 if self.micros < 0 else 1
        seconds, rest = divmod(abs(self.micros), _MICROS_PER_SECOND)
        message.seconds, message.nanos = sign * seconds, sign * rest * 1000
        return message

    def __float__(self) -> float:
        return self.micros / _MICROS_PER_SECOND

    def __bool__(self) -> bool:
        return self.micros != 0

    def __repr__(self) -> str:
        return _text_of("Duration", self.micros, _MICROS_PER_SECOND, 6)

    def __hash__(self) -> int:
        return hash(self.micros / _MICROS_PER_SECOND)

    def __eq__(self, other: object) -> bool:
        if type(other) is Duration:
            return self.micros == other.micros
        order = _order(self, other)
        return NotImplemented if order is None else order == 0

    def __lt__(self, other: TimestampDurationTypes) -> bool:
        order = _order(self, other)
        return NotImplemented if order is None else order == -1

    def __le__(self, other: TimestampDurationTypes) -> bool:
        order = _order(self, other)
        return NotImplemented if order is None else order in (-1, 0)

    def __gt__(self, other: TimestampDurationTypes) -> bool:
        order = _order(self, other)
        return NotImplemented if order is None else order == 1

    def __ge__(self, other: TimestampDurationTypes) -> bool:
        order = _order(self, other)
        return NotImplemented if order is None else order in (0, 1)

    def __neg__(self) -> Duration:
        return duration_of(-self.micros)

    @overload
    def __add__(self, other: Timestamp) -> Timestamp: ...
    @overload
    def __add__(self, other: DurationTypes) -> Duration: ...
    def __add__(self, other: DurationTypes | Timestamp) -> Duration | Timestamp:
        if isinstance(other, Timestamp):
            return other + self
        return duration_of(self.micros + _duration_micros(other))

    def __radd__(self, other: DurationTypes) -> Duration:
        return duration_of(self.micros + _duration_micros(other))

    def __sub__(self, other: DurationTypes) -> Duration:
        return duration_of(self.micros - _duration_micros(other))

    def __rsub__(self, other: DurationTypes) -> Duration:
        return duration_of(_duration_micros(other) - self.micros)

    def __mul__(self, other: DurationTypes) -> Duration:
        return duration_of(self.micros * _duration_micros(other) // _MICROS_PER_SECOND)

    __rmul__ = __mul__

    def __mod__(self, other: DurationTypes) -> Duration:
        return duration_of(self.micros % _duration_micros(other))

    def __reduce__(self) -> tuple[type[Duration], tuple[int, int]]:
        return Duration, (0, self.micros)


TimestampTypes: TypeAlias = Union[int, float, Timestamp]
DurationTypes: TypeAlias = Union[int, float, Duration]
TimestampDurationTypes: TypeAlias = Union[int, float, Duration, Timestamp]


def micros_of(value: TimestampDurationTypes) -> int:
    """Whole microseconds of a Timestamp, a Duration or a number of seconds, without making an object."""
    kind = type(value)
    if kind is int:
        return value * _MICROS_PER_SECOND  # type: ignore[operator, return-value]
    if kind is float:
        try:
            return int(value * _MICROS_PER_SECOND)  # type: ignore[operator, arg-type]
        except (OverflowError, ValueError):
            pass  # the general way below says what is wrong
    elif isinstance(value, (Timestamp, Duration)):
        return value.micros
    return _micros_of_number(value, "a time or duration in seconds")


def timestamp_at(micros: int) -> Timestamp:
    """The Timestamp at that many microseconds since the epoch: the fast way, without checks."""
    timestamp = Timestamp.__new__(Timestamp)
    timestamp.micros = micros
    timestamp._nano_part = 0
    timestamp._precision = 6
    return timestamp


def duration_of(micros: int) -> Duration:
    """The Duration of that many microseconds: the fast way, without checks."""
    duration = Duration.__new__(Duration)
    duration.micros = micros
    return duration


def _duration_micros(value: DurationTypes) -> int:
    if isinstance(value, Duration):
        return value.micros
    if isinstance(value, Timestamp):
        raise TypeError(f"Cannot interpret {value!r} as Duration: it is a Timestamp.")
    return _micros_of_number(value, "Duration")


def _order(mine: Timestamp | Duration, other: object) -> int | None:
    """-1, 0 or 1 as `mine` is before, at or after `other`; 2 when neither (NaN); None for what is no time."""
    if isinstance(other, (Timestamp, Duration)):
        ours, theirs = mine.micros, other.micros
        if ours == theirs:
            ours, theirs = getattr(mine, "_nano_part", 0), getattr(other, "_nano_part", 0)
    elif isinstance(other, float) and other * 0.0 != 0.0:  # NaN or infinite
        return 2 if other != other else (-1 if other > 0 else 1)
    else:
        try:
            theirs = _micros_of_number(other, "Timestamp")
        except (TypeError, ValueError):
            return None
        ours = mine.micros
        if ours == theirs:
            theirs, ours = 0, getattr(mine, "_nano_part", 0)
    return (ours > theirs) - (ours < theirs)


def _unit_nanos(precision: int) -> int:
    """Nanoseconds in the last decimal digit that is kept."""
    if precision not in range(10):
        raise ValueError(f"A Timestamp's precision is 0 to 9 decimal digits; found {precision!r}.")
    return 10 ** (9 - precision)  # type: ignore[no-any-return]


def _protobuf(module: str) -> Any:
    try:
        return importlib.import_module(f"google.protobuf.{module}")
    except ImportError:
        raise ImportError("Conversion to a protobuf message needs protobuf: pip install protobuf.")


#: The earliest and latest times that an element can have; Beam's limits.
MIN_TIMESTAMP = Timestamp(micros=-9_223_372_036_854_775_000)
MAX_TIMESTAMP = Timestamp(micros=9_223_372_036_854_775_000)
MIN_TIMESTAMP_MICROS = MIN_TIMESTAMP.micros
MAX_TIMESTAMP_MICROS = MAX_TIMESTAMP.micros
#: The shortest distance between two timestamps of the usual precision.
TIME_GRANULARITY = Duration(micros=1)
