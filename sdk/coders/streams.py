"""Reading and writing the smallest parts of encoded values: varints, fixed-width numbers, prefixed bytes."""

from __future__ import annotations

import struct

from hornbeam.error import DataError

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_UINT64 = struct.Struct(">Q")


def write_varint(value: int, out: bytearray) -> None:
    """Append a signed 64-bit number, seven bits a byte, lowest first; a negative one takes ten bytes."""
    if 0 <= value < 128:
        out.append(value)
        return
    if value < 0:
        value += 1 << 64
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def write_prefixed(data: bytes | bytearray, out: bytearray) -> None:
    """Append the length as a varint, then the bytes."""
    write_varint(len(data), out)
    out += data


def write_int32(value: int, out: bytearray) -> None:
    """Append four bytes, big-endian and signed."""
    out += _INT32.pack(value)


def write_int64(value: int, out: bytearray) -> None:
    """Append eight bytes, big-endian and signed."""
    out += _INT64.pack(value)


def write_uint64(value: int, out: bytearray) -> None:
    """Append eight bytes, big-endian and unsigned."""
    out += _UINT64.pack(value)


class Reader:
    """Encoded bytes and the position up to which they have been read. Too few bytes are a DataError."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """How many bytes have not been read."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.position
        end = start + count
        if count < 0 or end > len(self.data):
            raise DataError(
                f"Encoded value is cut short: {count} bytes expected at byte {start}, {self.remaining} left."
            )
        self.position = end
        return self.data[start:end]

    def rest(self) -> bytes:
        """All bytes that are left."""
        start, self.position = self.position, len(self.data)
        return self.data[start:]

    def prefixed(self) -> bytes:
        """Bytes that follow their length, a varint."""
        data, start = self.data, self.position
        if start < len(data) and (count := data[start]) < 128:
            end = start + 1 + count
            if end <= len(data):  # the common case, without a call
                self.position = end
                return data[start + 1 : end]
        return self.take(self.varint())

    def byte(self) -> int:
        """The next byte."""
        position = self.position
        if position >= len(self.data):
            raise DataError(f"Encoded value is cut short: one more byte expected at byte {position}.")
        self.position = position + 1
        return self.data[position]

    def varint(self) -> int:
        """A signed 64-bit number as `write_varint` leaves it."""
        position = self.position
        if position < len(self.data) and (first := self.data[position]) < 128:
            self.position = position + 1
            return first
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise DataError(f"A varint has more than ten bytes before byte {self.position}.")
        if result > INT64_MAX:
            result = (result & 0xFFFF_FFFF_FFFF_FFFF) - (1 << 64)
        return result

    def count(self) -> int:
        """A varint that counts what follows."""
        count = self.varint()
        if count < 0:
            raise DataError(f"A count is not negative; found {count} before byte {self.position}.")
        return count

    def int32(self) -> int:
        """Four bytes, big-endian and signed."""
        return int(_INT32.unpack(self.take(4))[0])

    def int64(self) -> int:
        """Eight bytes, big-endian and signed."""
        return int(_INT64.unpack(self.take(8))[0])

    def uint64(self) -> int:
        """Eight bytes, big-endian and unsigned."""
        return int(_UINT64.unpack(self.take(8))[0])
