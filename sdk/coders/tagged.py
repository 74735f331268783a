"""Self-describing bytes for plain Python values: a type tag, then the value.

    0 None                                         7 bytes        prefixed when nested
    1 True                                         8 tuple        varint count, items nested
    2 False                                        9 list         varint count, items nested
    3 int        varint (64 bits)                 10 dict         varint count, keys and values nested
    4 large int  two's complement, prefixed       11 set          varint count, items nested
                 when nested                      12 frozenset    varint count, items nested
    5 float      8 bytes big-endian; one NaN      13 pickle       prefixed when nested
    6 str        UTF-8, prefixed when nested      19 bytearray    prefixed when nested

Tags 14 to 18 are those of `special_types`.

Only the exact types are meant: 1, 1.0 and True differ, and so do 0.0 and -0.0, and str and a subclass of it.
The items of sets and dicts are written in the order of their bytes where the coder has to be deterministic.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from hornbeam.coders.coder import FastCoder
from hornbeam.coders.primitives import big_integer_bytes
from hornbeam.coders.streams import INT64_MAX, INT64_MIN, Reader, write_prefixed, write_varint
from hornbeam.error import DataError

NONE, TRUE, FALSE, INT, LARGE_INT, FLOAT, STR, BYTES, TUPLE, LIST, DICT, SET, FROZENSET, PICKLE = range(14)
ENUM, RECORD, STATE, KNOWN, NUMPY, BYTEARRAY = range(14, 20)

_STR_TAG, _FLOAT_TAG = bytes([STR]), bytes([FLOAT])
_DOUBLE = struct.Struct(">d")
_NAN = struct.pack(">d", float("nan"))


class TaggedCoder(FastCoder):
    """Writes and reads the tagged form; a subclass says what becomes of other types."""

    #: Whether sets and dicts are written in the order of their bytes.
    ordered = False

    def encode(self, value: Any) -> bytes:
        """The bytes of a value that stands alone."""
        if type(value) is str:  # common keys, without a stream
            return _STR_TAG + value.encode("utf-8", "surrogatepass")
        if type(value) is float:
            return _FLOAT_TAG + (_DOUBLE.pack(value) if value == value else _NAN)
        out = bytearray()
        self.encode_to(value, out, False)
        return bytes(out)

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append tag and value."""
        write = _WRITERS.get(type(value))
        if write is not None:
            write(self, value, out, nested)
        else:
            self.write_other(value, out, nested)

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read tag and value."""
        tag = reader.byte()
        read = READERS.get(tag)
        if read is None:
            raise DataError(f"{self!r} does not know the type tag {tag}. Was this written by another coder?")
        return read(self, reader, nested)

    def write_other(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append tag and value for a type that is not in the table."""
        raise NotImplementedError(f"{type(self).__name__} does not define write_other.")

    def read_pickle(self, data: bytes) -> Any:
        """The value of a pickle that `write_other` made."""
        raise DataError(f"{self!r} found a pickle, which it never writes.")


def _write_constant(tag: int) -> Callable[..., None]:
    def write(coder: TaggedCoder, value: Any, out: bytearray, nested: bool) -> None:
        out.append(tag)

    return write


def _write_bool(coder: TaggedCoder, value: bool, out: bytearray, nested: bool) -> None:
    out.append(TRUE if value else FALSE)


def _write_int(coder: TaggedCoder, value: int, out: bytearray, nested: bool) -> None:
    if INT64_MIN <= value <= INT64_MAX:
        out.append(INT)
        write_varint(value, out)
    else:
        out.append(LARGE_INT)
        data = big_integer_bytes(value)
        if nested:
            write_varint(len(data), out)
        out += data


def _write_float(coder: TaggedCoder, value: float, out: bytearray, nested: bool) -> None:
    out.append(FLOAT)
    out += _DOUBLE.pack(value) if value == value else _NAN


def _write_str(coder: TaggedCoder, value: str, out: bytearray, nested: bool) -> None:
    data = value.encode("utf-8", "surrogatepass")
    out.append(STR)
    if nested:
        write_varint(len(data), out)
    out += data


def _write_bytes(tag: int) -> Callable[..., None]:
    def write(coder: TaggedCoder, value: bytes, out: bytearray, nested: bool) -> None:
        out.append(tag)
        if nested:
            write_varint(len(value), out)
        out += value

    return write


def _write_sequence(tag: int) -> Callable[..., None]:
    def write(coder: TaggedCoder, value: Any, out: bytearray, nested: bool) -> None:
        out.append(tag)
        write_varint(len(value), out)
        for item in value:
            writer = _WRITERS.get(type(item))
            if writer is not None:
                writer(coder, item, out, True)
            else:
                coder.write_other(item, out, True)

    return write


def _write_set(tag: int) -> Callable[..., None]:
    def write(coder: TaggedCoder, value: Any, out: bytearray, nested: bool) -> None:
        out.append(tag)
        write_varint(len(value), out)
        if coder.ordered:
            out += b"".join(sorted(coder.encode_nested(item) for item in value))
        else:
            for item in value:
                coder.encode_to(item, out, True)

    return write


def _write_dict(coder: TaggedCoder, value: dict[Any, Any], out: bytearray, nested: bool) -> None:
    out.append(DICT)
    write_varint(len(value), out)
    if coder.ordered:
        for key, item in sorted([(coder.encode_nested(k), v) for k, v in value.items()], key=lambda e: e[0]):
            out += key
            coder.encode_to(item, out, True)
    else:
        for key, item in value.items():
            coder.encode_to(key, out, True)
            coder.encode_to(item, out, True)


_WRITERS: dict[type, Callable[..., None]] = {
    type(None): _write_constant(NONE),
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    bytes: _write_bytes(BYTES),
    bytearray: _write_bytes(BYTEARRAY),
    tuple: _write_sequence(TUPLE),
    list: _write_sequence(LIST),
    dict: _write_dict,
    set: _write_set(SET),
    frozenset: _write_set(FROZENSET),
}


def _data(reader: Reader, nested: bool) -> bytes:
    return reader.prefixed() if nested else reader.rest()


def _items(coder: TaggedCoder, reader: Reader) -> list[Any]:
    return [coder.decode_from(reader, True) for _ in range(reader.count())]


def _read_dict(coder: TaggedCoder, reader: Reader, nested: bool) -> dict[Any, Any]:
    result = {}
    for _ in range(reader.count()):
        key = coder.decode_from(reader, True)
        result[key] = coder.decode_from(reader, True)
    return result


#: By tag; `special_types` adds those that need more than this module knows.
READERS: dict[int, Callable[[TaggedCoder, Reader, bool], Any]] = {
    NONE: lambda coder, reader, nested: None,
    TRUE: lambda coder, reader, nested: True,
    FALSE: lambda coder, reader, nested: False,
    INT: lambda coder, reader, nested: reader.varint(),
    LARGE_INT: lambda coder, reader, nested: int.from_bytes(_data(reader, nested), "big", signed=True),
    FLOAT: lambda coder, reader, nested: _DOUBLE.unpack(reader.take(8))[0],
    STR: lambda coder, reader, nested: _data(reader, nested).decode("utf-8", "surrogatepass"),
    BYTES: lambda coder, reader, nested: _data(reader, nested),
    BYTEARRAY: lambda coder, reader, nested: bytearray(_data(reader, nested)),
    TUPLE: lambda coder, reader, nested: tuple(_items(coder, reader)),
    LIST: lambda coder, reader, nested: _items(coder, reader),
    DICT: _read_dict,
    SET: lambda coder, reader, nested: set(_items(coder, reader)),
    FROZENSET: lambda coder, reader, nested: frozenset(_items(coder, reader)),
    PICKLE: lambda coder, reader, nested: coder.read_pickle(_data(reader, nested)),
}


def write_pickle(data: bytes, out: bytearray, nested: bool) -> None:
    """Append a value that a pickler has already made bytes of."""
    out.append(PICKLE)
    if nested:
        write_prefixed(data, out)
    else:
        out += data
