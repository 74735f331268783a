"""One record as a consumer sees it, and the byte form of its headers."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from hornbeam.storage.log.errors import RecordTooLargeError

Headers: TypeAlias = Sequence[tuple[str, bytes]]

_COUNT = struct.Struct("<H")
_LENGTHS = struct.Struct("<HI")
_HEADERS_MAX = _NAME_BYTES_MAX = (1 << 16) - 1


class Record(NamedTuple):
    """A record with its place. `key` and `value` may be None; a None value is a tombstone in a compacted topic."""

    topic: str
    partition: int
    offset: int
    timestamp_micros: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


make_record = partial(tuple.__new__, Record)
"""Record from one tuple of its seven fields, without checks: three times as fast as calling the class."""


def bytes_or_none(value: object, what: str) -> bytes | None:
    """A key or value as the log keeps it; TypeError for anything else than bytes and None."""
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a record's {what} must be bytes or None, not {type(value).__name__}: {value!r:.80}")


def encode_headers(headers: Headers | None) -> bytes:
    """The byte form of one record's headers: count, then name length, value length, name, value each.

    RecordTooLargeError for more than 65,535 of them, or a name longer than that.
    """
    if not headers:
        return b""
    if len(headers) > _HEADERS_MAX:
        raise RecordTooLargeError(f"a record has {len(headers):,} headers; {_HEADERS_MAX:,} are the most")
    parts = [_COUNT.pack(len(headers))]
    for name, value in headers:
        raw = name.encode()
        if len(raw) > _NAME_BYTES_MAX:
            raise RecordTooLargeError(
                f"the name of a record's header has {len(raw):,} bytes; {_NAME_BYTES_MAX:,} are the most: {name!r:.40}"
            )
        parts += [_LENGTHS.pack(len(raw), len(value)), raw, value]
    return b"".join(parts)


def decode_headers(data: bytes) -> Headers:
    """Inverse of `encode_headers`."""
    if not data:
        return ()
    (count,) = _COUNT.unpack_from(data)
    at, headers = _COUNT.size, []
    for _ in range(count):
        name_bytes, value_bytes = _LENGTHS.unpack_from(data, at)
        at += _LENGTHS.size
        name = data[at : at + name_bytes].decode()
        at += name_bytes
        headers.append((name, data[at : at + value_bytes]))
        at += value_bytes
    return tuple(headers)


def headers_of(columns: Iterable[bytes]) -> list[Headers]:
    """Decode a column of encoded headers."""
    return [decode_headers(data) for data in columns]
