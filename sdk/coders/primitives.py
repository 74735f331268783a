"""Coders of single values: bytes, text, booleans, numbers, and a constant that takes no bytes."""

from __future__ import annotations

import decimal
import struct
from typing import Any

from hornbeam.coders import urns
from hornbeam.coders.coder import Coder, FastCoder, known_by
from hornbeam.coders.streams import INT64_MAX, INT64_MIN, Reader, write_prefixed, write_varint
from hornbeam.error import DataError

_DOUBLE = struct.Struct(">d")
_SINGLE = struct.Struct(">f")


def _wrong_type(coder: Coder, wanted: str, value: Any) -> TypeError:
    return TypeError(f"{coder!r} encodes {wanted}; found {value!r:.200} of type {type(value).__name__}.")


@known_by(urns.BYTES)
class BytesCoder(FastCoder):
    """Bytes as they are; their length as a varint before them when nested."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append bytes."""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise _wrong_type(self, "bytes", value)
        if nested:
            write_varint(len(value), out)
        out += value

    def decode_from(self, reader: Reader, nested: bool) -> bytes:
        """Read bytes."""
        return reader.prefixed() if nested else reader.rest()

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """bytes"""
        return bytes


@known_by(urns.STRING_UTF8)
class StrUtf8Coder(Coder):
    """Text as UTF-8; its length in bytes as a varint before it when nested."""

    def encode(self, value: Any) -> bytes:
        """The text's UTF-8."""
        try:
            return value.encode("utf-8")  # type: ignore[no-any-return]
        except AttributeError:
            raise _wrong_type(self, "str", value)

    def decode(self, value: bytes) -> str:
        """The text of that UTF-8."""
        return value.decode("utf-8")

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """str"""
        return str


@known_by(urns.BOOL)
class BooleanCoder(FastCoder):
    """One byte, 1 or 0."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a byte."""
        out.append(1 if value else 0)

    def decode_from(self, reader: Reader, nested: bool) -> bool:
        """Read a byte."""
        byte = reader.byte()
        if byte > 1:
            raise DataError(f"A boolean is encoded as 0 or 1; found {byte}.")
        return byte == 1

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """bool"""
        return bool


@known_by(urns.BYTE)
class ByteCoder(FastCoder):
    """A number from 0 to 255 as one byte."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a byte."""
        out.append(value)

    def decode_from(self, reader: Reader, nested: bool) -> int:
        """Read a byte."""
        return reader.byte()

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """int"""
        return int


@known_by(urns.VARINT)
class VarIntCoder(FastCoder):
    """A signed 64-bit number in one to ten bytes, seven bits each, lowest first."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a varint."""
        try:
            number = value.__index__()
        except AttributeError:
            raise _wrong_type(self, "int", value)
        if not INT64_MIN <= number <= INT64_MAX:
            raise OverflowError(
                f"VarIntCoder encodes numbers of 64 bits; found {value}. Use BigIntegerCoder for larger ones."
            )
        write_varint(number, out)

    def decode_from(self, reader: Reader, nested: bool) -> int:
        """Read a varint."""
        return reader.varint()

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """int"""
        return int


def big_integer_bytes(value: int) -> bytes:
    """The shortest two's complement form, big-endian, of at least one byte."""
    bits = (value if value >= 0 else ~value).bit_length()
    return value.to_bytes(bits // 8 + 1, "big", signed=True)


@known_by(urns.BIG_INTEGER)
class BigIntegerCoder(FastCoder):
    """An integer of any size as big-endian two's complement; prefixed with its length when nested."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append an integer."""
        if not isinstance(value, int):
            raise _wrong_type(self, "int", value)
        data = big_integer_bytes(value)
        if nested:
            write_prefixed(data, out)
        else:
            out += data

    def decode_from(self, reader: Reader, nested: bool) -> int:
        """Read an integer."""
        return int.from_bytes(reader.prefixed() if nested else reader.rest(), "big", signed=True)

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """int"""
        return int


@known_by(urns.DECIMAL)
class DecimalCoder(FastCoder):
    """A finite Decimal: its scale (digits after the point) as a varint, then all digits as a big integer."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a decimal."""
        if not isinstance(value, decimal.Decimal):
            raise _wrong_type(self, "decimal.Decimal", value)
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise ValueError(f"DecimalCoder encodes finite numbers; found {value!r}.")
        unscaled = int("".join(map(str, digits)) or "0")
        write_varint(-exponent, out)
        _BIG_INTEGER.encode_to(-unscaled if sign else unscaled, out, nested)

    def decode_from(self, reader: Reader, nested: bool) -> decimal.Decimal:
        """Read a decimal."""
        scale = reader.varint()
        unscaled = _BIG_INTEGER.decode_from(reader, nested)
        digits = tuple(map(int, str(abs(unscaled))))
        return decimal.Decimal((1 if unscaled < 0 else 0, digits, -scale))

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """decimal.Decimal"""
        return decimal.Decimal


_BIG_INTEGER = BigIntegerCoder()


@known_by(urns.DOUBLE)
class FloatCoder(FastCoder):
    """A float as eight bytes, IEEE 754, big-endian."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append eight bytes."""
        try:
            out += _DOUBLE.pack(value)
        except struct.error:
            raise _wrong_type(self, "float", value)

    def decode_from(self, reader: Reader, nested: bool) -> float:
        """Read eight bytes."""
        return float(_DOUBLE.unpack(reader.take(8))[0])

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """float"""
        return float


@known_by(urns.FLOAT)
class SinglePrecisionFloatCoder(FastCoder):
    """A float rounded to four bytes, IEEE 754, big-endian."""

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append four bytes."""
        try:
            out += _SINGLE.pack(value)
        except struct.error:
            raise _wrong_type(self, "float", value)

    def decode_from(self, reader: Reader, nested: bool) -> float:
        """Read four bytes."""
        return float(_SINGLE.unpack(reader.take(4))[0])

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def to_type_hint(self) -> type:
        """float"""
        return float


class SingletonCoder(FastCoder):
    """Always the same value, in no bytes at all."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append nothing."""

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """The value, whatever the bytes."""
        return self._value

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def __eq__(self, other: object) -> bool:
        if type(other) is not SingletonCoder:
            return NotImplemented
        return type(self._value) is type(other._value) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(SingletonCoder)

    def __repr__(self) -> str:
        return f"SingletonCoder({self._value!r})"
