"""Coders of time: timestamps, windows, panes, and values that carry all three.

Beam's standard coders know whole milliseconds only. What they can express is written as they say; times with
microseconds are marked in places that the standard leaves free, so nothing is lost:

    interval window  the end as below, then the length in ms as a varint; or, where either is not whole ms,
                     varints: -1, the microseconds above the end's ms, the length in microseconds
    windowed value   the time as below, windows as an iterable, the pane, the value; where the time is not
                     whole ms the pane's first byte has bit 0x80, and the microseconds above follow the pane
                     as a varint

Times are eight bytes, big-endian, of the milliseconds plus 2**63, so that they sort as bytes.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from hornbeam.coders import hints, urns
from hornbeam.coders.coder import Coder, FastCoder, known_by
from hornbeam.coders.containers import IterableCoder
from hornbeam.coders.pickles import AnyPickleCoder
from hornbeam.coders.primitives import BytesCoder
from hornbeam.coders.streams import Reader, write_int64, write_uint64, write_varint
from hornbeam.error import DataError
from hornbeam.utils.timestamp import Timestamp, micros_of, timestamp_at
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue, create

if TYPE_CHECKING:
    from hornbeam.coders.typecoders import CoderRegistry

_SHIFT = 1 << 63
_ONE_INDEX, _TWO_INDICES, _WITH_MICROS = 0x10, 0x20, 0x80


@functools.cache
def _window_module() -> Any:
    """The module of the window classes: above this one, so found when a window is first decoded."""
    return importlib.import_module("hornbeam.transforms.window")


def _write_millis(micros: int, out: bytearray) -> int:
    """Append the time in ms; what is left are the microseconds above."""
    millis, rest = divmod(micros, 1000)
    write_uint64(millis + _SHIFT, out)
    return rest


@known_by(urns.TIMESTAMP)
class TimestampCoder(FastCoder):
    """A Timestamp as eight bytes of microseconds, big-endian and signed."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append eight bytes."""
        if isinstance(value, Timestamp) and value.nanos % 1000:
            raise ValueError(
                f"TimestampCoder keeps microseconds; {value!r} has more. Use to_precision(6, True) on it."
            )
        write_int64(micros_of(value), out)

    def decode_from(self, reader: Reader, nested: bool) -> Timestamp:
        """Read eight bytes."""
        return timestamp_at(reader.int64())

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """Timestamp"""
        return Timestamp


@known_by(urns.GLOBAL_WINDOW)
class GlobalWindowCoder(FastCoder):
    """The global window, in no bytes."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append nothing."""

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """The global window."""
        return _window_module().GlobalWindow()

    def is_deterministic(self) -> bool:
        """True."""
        return True


@known_by(urns.INTERVAL_WINDOW)
class IntervalWindowCoder(FastCoder):
    """An IntervalWindow: its end, then its length."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append end and length."""
        end = value.end.micros
        length = end - value.start.micros
        rest = _write_millis(end, out)
        if rest == 0 and length % 1000 == 0:
            write_varint(length // 1000, out)
        else:
            write_varint(-1, out)
            write_varint(rest, out)
            write_varint(length, out)

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read end and length."""
        end = (reader.uint64() - _SHIFT) * 1000
        length = reader.varint() * 1000
        if length < 0:
            end += reader.varint()
            length = reader.varint()
        return _window_module().IntervalWindow(timestamp_at(end - length), timestamp_at(end))

    def is_deterministic(self) -> bool:
        """True."""
        return True


@known_by(urns.PANE_INFO)
class PaneInfoCoder(FastCoder):
    """A pane in one byte; with one varint if it was not the first firing, two if the indices differ.

    Bits 0 to 3 are first, last and timing; bits 4 and 5 say how many varints follow.
    """

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a pane."""
        write_pane(value, out, 0)

    def decode_from(self, reader: Reader, nested: bool) -> PaneInfo:
        """Read a pane."""
        return read_pane(reader.byte(), reader)

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """PaneInfo"""
        return PaneInfo


def write_pane(pane: PaneInfo, out: bytearray, flags: int) -> None:
    """Append a pane; `flags` go into its first byte."""
    byte, index, nonspeculative = pane.encoded_byte | flags, pane.index, pane.nonspeculative_index
    early = pane.timing == PaneInfoTiming.EARLY
    if pane == PaneInfo.from_encoded_byte(pane.encoded_byte) and (
        pane.is_first or pane.timing == PaneInfoTiming.UNKNOWN
    ):
        out.append(byte)
    elif index >= 0 and nonspeculative == (-1 if early else index):
        out.append(byte | _ONE_INDEX)
        write_varint(index, out)
    else:
        out.append(byte | _TWO_INDICES)
        write_varint(index, out)
        write_varint(nonspeculative, out)


def read_pane(byte: int, reader: Reader) -> PaneInfo:
    """The pane whose first byte is `byte`, flags of others removed, and whose indices stand next."""
    known = PaneInfo.from_encoded_byte(byte & 0x0F)
    kind = byte & 0xF0
    if kind == 0:
        return known
    if kind == _ONE_INDEX:
        index = reader.varint()
        nonspeculative = -1 if known.timing == PaneInfoTiming.EARLY else index
    elif kind == _TWO_INDICES:
        index, nonspeculative = reader.varint(), reader.varint()
    else:
        raise DataError(f"A pane's first byte is at most 0x2f; found {byte:#04x}.")
    return PaneInfo(known.is_first, known.is_last, known.timing, index, nonspeculative)


@known_by(urns.WINDOWED_VALUE)
class WindowedValueCoder(FastCoder):
    """A value with its timestamp, windows and pane. `window_coder` is a pickler's unless given."""

    def __init__(self, wrapped_value_coder: Coder, window_coder: Coder | None = None) -> None:
        if window_coder is None:
            window_coder = AnyPickleCoder()
        self.wrapped_value_coder = wrapped_value_coder
        self.window_coder = window_coder
        self._windows_coder = IterableCoder(window_coder)

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append time, windows, pane and value."""
        rest = _write_millis(value.timestamp_micros, out)
        self._windows_coder.encode_to(value.windows, out, True)
        write_pane(value.pane_info, out, _WITH_MICROS if rest else 0)
        if rest:
            write_varint(rest, out)
        self.wrapped_value_coder.encode_to(value.value, out, nested)

    def decode_from(self, reader: Reader, nested: bool) -> WindowedValue[Any]:
        """Read time, windows, pane and value."""
        micros = (reader.uint64() - _SHIFT) * 1000
        windows = tuple(self._windows_coder.decode_from(reader, True))
        byte = reader.byte()
        pane = read_pane(byte & ~_WITH_MICROS, reader)
        if byte & _WITH_MICROS:
            micros += reader.varint()
        return create(self.wrapped_value_coder.decode_from(reader, nested), micros, windows, pane)

    def components(self) -> tuple[Coder, ...]:
        """The coders of value and window."""
        return self.wrapped_value_coder, self.window_coder

    def is_deterministic(self) -> bool:
        """Whether the value's and the window's coders are."""
        return self.wrapped_value_coder.is_deterministic() and self.window_coder.is_deterministic()

    def is_kv_coder(self) -> bool:
        """Whether the value's coder is one of pairs."""
        return self.wrapped_value_coder.is_kv_coder()

    def key_coder(self) -> Coder:
        """The coder of the values' keys."""
        return self.wrapped_value_coder.key_coder()

    def value_coder(self) -> Coder:
        """The coder of the values' values."""
        return self.wrapped_value_coder.value_coder()

    def to_type_hint(self) -> Any:
        """The type hint of the values."""
        return WindowedValue[self.wrapped_value_coder.to_type_hint()]  # type: ignore[misc]

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> WindowedValueCoder:
        """The coder of a WindowedValue hint."""
        return cls(registry.get_coder(hints.first_parameter(typehint)))


@known_by(urns.PARAM_WINDOWED_VALUE)
class ParamWindowedValueCoder(WindowedValueCoder):
    """Only the value takes bytes: time, windows and pane are the same for all and stand in `payload`.

    The payload is an encoded windowed value whose value is empty bytes; a WindowedValue may be given instead.
    """

    def __init__(self, payload: Any, components: Any) -> None:
        value_coder, window_coder = components
        super().__init__(value_coder, window_coder)
        constants = WindowedValueCoder(BytesCoder(), window_coder)
        if isinstance(payload, WindowedValue):
            payload = constants.encode(payload.with_value(b""))
        self._payload = bytes(payload)
        self._constants = constants.decode(self._payload)

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the value."""
        self.wrapped_value_coder.encode_to(value.value, out, nested)

    def decode_from(self, reader: Reader, nested: bool) -> WindowedValue[Any]:
        """Read the value."""
        value: WindowedValue[Any] = self._constants
        return value.with_value(self.wrapped_value_coder.decode_from(reader, nested))

    def payload(self) -> bytes:
        """Time, windows and pane."""
        return self._payload

    @classmethod
    def from_function(
        cls, components: tuple[Coder, ...], spec: Any, payload: bytes
    ) -> ParamWindowedValueCoder:
        """The coder of those constants."""
        return cls(payload, components)

    def is_deterministic(self) -> bool:
        """Whether the value's coder is."""
        return self.wrapped_value_coder.is_deterministic()
