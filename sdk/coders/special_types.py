"""The deterministic form of values that are more than plain: enums, records, dates, windows, numpy scalars.

    tag 14  enum member      class, then its name (or its value, for combined flags)
    tag 15  record           class, then a tuple of the fields' values: named tuples, frozen dataclasses and
                             frozen attrs classes
    tag 16  state            class, then what __getstate__ returns
    tag 17  known type       its name, then plain values: dates, Decimal, UUID, windows, beam.Row …
    tag 18  numpy scalar     dtype, then its bytes

A class is written as module and qualified name, never as a pickle, which might differ from process to
process.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import importlib
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

from hornbeam.coders import tagged
from hornbeam.coders.streams import Reader, write_prefixed
from hornbeam.coders.tagged import TaggedCoder
from hornbeam.error import DataError
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.timestamp import Duration, Timestamp, duration_of, timestamp_at


class NoDeterministicForm(Exception):
    """Says why a value has no deterministic form."""


def write_special(coder: TaggedCoder, value: Any, out: bytearray) -> None:
    """Append a value that is not plain; NoDeterministicForm if there is no telling how."""
    cls = type(value)
    name = _NAMES.get(cls) or _LATE_NAMES.get((cls.__module__, cls.__qualname__))
    if name is not None:
        out.append(tagged.KNOWN)
        write_prefixed(name.encode(), out)
        coder.encode_to(_KNOWN[name][0](value), out, True)
    elif isinstance(value, enum.Enum):
        _write_enum(coder, value, out)
    elif cls.__module__ == "numpy" and hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        _write_numpy(value, out)
    elif (fields := record_fields(value)) is not None:
        out.append(tagged.RECORD)
        _write_class(cls, out)
        coder.encode_to(tuple(fields), out, True)
    elif hasattr(value, "__setstate__") and _own_getstate(cls):
        out.append(tagged.STATE)
        _write_class(cls, out)
        coder.encode_to(value.__getstate__(), out, True)
    else:
        raise NoDeterministicForm("nothing says how to turn it into bytes that are the same each time")


def record_fields(value: Any) -> list[Any] | None:
    """The fields' values of a named tuple, a frozen dataclass or attrs object; None if it is none."""
    cls = type(value)
    if isinstance(value, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make"):
        return list(value)
    if dataclasses.is_dataclass(cls):
        if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise NoDeterministicForm("its dataclass is not frozen. Declare it with @dataclass(frozen=True)")
        return [getattr(value, field.name) for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        if not _is_frozen_attrs(cls):
            raise NoDeterministicForm("its attrs class is not frozen. Declare it with @attrs.frozen")
        return [getattr(value, attribute.name) for attribute in cls.__attrs_attrs__]
    return None


def _is_frozen_attrs(cls: type) -> bool:
    props = getattr(cls, "__attrs_props__", None)
    if props is not None:
        return bool(props.is_frozen)
    return "frozen" in getattr(cls.__setattr__, "__name__", "")


def _own_getstate(cls: type) -> bool:
    return getattr(cls, "__getstate__", None) is not getattr(object, "__getstate__", None)


def _write_class(cls: type, out: bytearray) -> None:
    _SEEN[cls.__module__, cls.__qualname__] = cls
    write_prefixed(cls.__module__.encode(), out)
    write_prefixed(cls.__qualname__.encode(), out)


#: Classes that this process has written, for those that no module can be asked for.
_SEEN: dict[tuple[str, str], type] = {}


def _read_class(reader: Reader) -> Any:
    module, qualname = reader.prefixed().decode(), reader.prefixed().decode()
    found = _SEEN.get((module, qualname))
    if found is not None:
        return found
    try:
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"A value of class {module}.{qualname} cannot be decoded, for this process does not find the "
            f"class: {error}. Move it to the top level of a module that can be imported."
        ) from error
    return target


def _write_enum(coder: TaggedCoder, value: enum.Enum, out: bytearray) -> None:
    out.append(tagged.ENUM)
    _write_class(type(value), out)
    if value.name in type(value).__members__:
        coder.encode_to(value.name, out, True)
    else:
        coder.encode_to((value.value,), out, True)


def _read_enum(coder: TaggedCoder, reader: Reader, nested: bool) -> Any:
    cls = _read_class(reader)
    member = coder.decode_from(reader, True)
    return cls[member] if isinstance(member, str) else cls(*member)


def _read_record(coder: TaggedCoder, reader: Reader, nested: bool) -> Any:
    cls = _read_class(reader)
    values = coder.decode_from(reader, True)
    if issubclass(cls, tuple):
        return cls._make(values)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        names = [attribute.name for attribute in cls.__attrs_attrs__]
    if len(names) != len(values):
        raise DataError(f"{cls.__qualname__} has {len(names)} fields; {len(values)} were encoded.")
    record = object.__new__(cls)
    for name, value in zip(names, values):
        object.__setattr__(record, name, value)
    return record


def _read_state(coder: TaggedCoder, reader: Reader, nested: bool) -> Any:
    cls = _read_class(reader)
    value = cls.__new__(cls)
    value.__setstate__(coder.decode_from(reader, True))
    return value


def _write_numpy(value: Any, out: bytearray) -> None:
    if value.dtype.hasobject or value.dtype.names is not None:
        raise NoDeterministicForm("it is a structured numpy value")
    if value != value:
        value = value.dtype.type("nat" if value.dtype.kind in "mM" else "nan")
    out.append(tagged.NUMPY)
    write_prefixed(value.dtype.str.encode(), out)
    write_prefixed(value.tobytes(), out)


def _read_numpy(coder: TaggedCoder, reader: Reader, nested: bool) -> Any:
    numpy = importlib.import_module("numpy")
    dtype = numpy.dtype(reader.prefixed().decode())
    data = reader.prefixed()
    return numpy.frombuffer(data, dtype)[0] if dtype.itemsize else dtype.type()


def _read_known(coder: TaggedCoder, reader: Reader, nested: bool) -> Any:
    name = reader.prefixed().decode()
    if name not in _KNOWN:
        raise DataError(f"Unknown type {name!r} in encoded bytes. Were they written by a later version?")
    return _KNOWN[name][1](coder.decode_from(reader, True))


def _zone_of(zone: datetime.tzinfo | None) -> Any:
    if zone is None:
        return None
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key is not None:
        return zone.key
    if isinstance(zone, datetime.timezone):
        return zone.utcoffset(None), zone.tzname(None)
    raise NoDeterministicForm(f"its time zone is a {type(zone).__name__}. Use datetime.timezone or zoneinfo")


def _zone_from(state: Any) -> datetime.tzinfo | None:
    if state is None:
        return None
    if isinstance(state, str):
        return zoneinfo.ZoneInfo(state)
    offset, name = state
    plain = datetime.timezone(offset)
    return plain if plain.tzname(None) == name else datetime.timezone(offset, name)


def _datetime_state(value: datetime.datetime) -> Any:
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return fields, value.fold, _zone_of(value.tzinfo)


def _datetime_from(state: Any) -> datetime.datetime:
    fields, fold, zone = state
    return datetime.datetime(*fields).replace(tzinfo=_zone_from(zone), fold=fold)


def _time_state(value: datetime.time) -> Any:
    return (value.hour, value.minute, value.second, value.microsecond), value.fold, _zone_of(value.tzinfo)


def _time_from(state: Any) -> datetime.time:
    fields, fold, zone = state
    return datetime.time(*fields).replace(tzinfo=_zone_from(zone), fold=fold)


def _decimal_state(value: decimal.Decimal) -> Any:
    return "NaN" if value.is_nan() else str(value)


def _timestamp_state(value: Timestamp) -> Any:
    return value.micros if value.precision() == 6 else (value.nanos, value.precision())


def _timestamp_from(state: Any) -> Timestamp:
    return timestamp_at(state) if isinstance(state, int) else Timestamp(0, state[0], 9).to_precision(state[1])


def _interval_window(state: Any) -> Any:
    return _transforms_window().IntervalWindow(timestamp_at(state[0]), timestamp_at(state[1]))


def _transforms_window() -> Any:
    """The module of the window classes: above this one, and there before any value of its types is."""
    return importlib.import_module("hornbeam.transforms.window")


def _row_from(state: Any) -> Any:
    return importlib.import_module("hornbeam.pvalue").Row(**dict(state))


#: name -> (to plain values, from plain values). Names are part of the format and never change.
_KNOWN: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (_datetime_state, _datetime_from),
    "date": (lambda v: v.toordinal(), datetime.date.fromordinal),
    "time": (_time_state, _time_from),
    "timedelta": (lambda v: (v.days, v.seconds, v.microseconds), lambda s: datetime.timedelta(*s)),
    "timezone": (_zone_of, _zone_from),
    "zoneinfo": (_zone_of, _zone_from),
    "decimal": (_decimal_state, decimal.Decimal),
    "uuid": (lambda v: v.bytes, lambda s: uuid.UUID(bytes=s)),
    "fraction": (lambda v: (v.numerator, v.denominator), lambda s: fractions.Fraction(*s)),
    "complex": (lambda v: (v.real, v.imag), lambda s: complex(*s)),
    "range": (lambda v: (v.start, v.stop, v.step), lambda s: range(*s)),
    "posix_path": (str, pathlib.PosixPath),
    "pure_posix_path": (str, pathlib.PurePosixPath),
    "timestamp": (_timestamp_state, _timestamp_from),
    "duration": (lambda v: v.micros, duration_of),
    "sharded_key": (lambda v: (v.key, v.shard_id), lambda s: ShardedKey(*s)),
    "global_window": (lambda v: None, lambda s: _transforms_window().GlobalWindow()),
    "interval_window": (lambda v: (v.start.micros, v.end.micros), _interval_window),
    "row": (lambda v: tuple(v.as_dict().items()), _row_from),
}
_NAMES: dict[type, str] = {
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.time: "time",
    datetime.timedelta: "timedelta",
    datetime.timezone: "timezone",
    zoneinfo.ZoneInfo: "zoneinfo",
    decimal.Decimal: "decimal",
    uuid.UUID: "uuid",
    fractions.Fraction: "fraction",
    complex: "complex",
    range: "range",
    pathlib.PosixPath: "posix_path",
    pathlib.PurePosixPath: "pure_posix_path",
    Timestamp: "timestamp",
    Duration: "duration",
    ShardedKey: "sharded_key",
}
#: Types of modules above this one, by module and name.
_LATE_NAMES = {
    ("hornbeam.transforms.bounded_window", "GlobalWindow"): "global_window",
    ("hornbeam.transforms.bounded_window", "IntervalWindow"): "interval_window",
    ("hornbeam.pvalue", "Row"): "row",
}

tagged.READERS.update(
    {
        tagged.ENUM: _read_enum,
        tagged.RECORD: _read_record,
        tagged.STATE: _read_state,
        tagged.KNOWN: _read_known,
        tagged.NUMPY: _read_numpy,
    }
)
