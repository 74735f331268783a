"""A block: some sorted entries as columns, checksummed for their place in their file.

    crc u32 | stored length u32 | raw length u32 | entries u32 | codec u8 | 0 0 0        (little-endian)
    payload (stored length bytes): raw form, or the raw form compressed
    raw form: key lengths u32[n] | value lengths i32[n], -1 is a tombstone | keys | values

The crc covers the header after itself and the payload, and starts from the crc of the file's id and the
block's offset: a block at a wrong place, or left over from another file, does not pass.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from hornbeam.storage.checkpoint.codec import CODEC_NAMES, CODECS, compress, decompress
from hornbeam.storage.errors import CorruptionError

HEADER = struct.Struct("<IIIIB3x")
HEADER_BYTES = HEADER.size
VALUE_BYTES_MAX = (1 << 31) - 1

_OFFSET = struct.Struct("<Q")
_NATIVE = sys.byteorder == "little"


class BlockHeader(NamedTuple):
    """The fixed part in front of a block's payload."""

    crc: int
    stored: int
    raw: int
    entries: int
    codec: int


class Entries(NamedTuple):
    """Sorted entries as two columns: encoded keys, and values with None for a tombstone."""

    keys: list[bytes]
    values: list[bytes | None]


def seed_of(file_id: bytes, offset: int) -> int:
    """Where the crc of a block starts from."""
    return zlib.crc32(_OFFSET.pack(offset), zlib.crc32(file_id))


def encode_block(
    keys: Sequence[bytes], values: Sequence[bytes | None], codec: str, seed: int
) -> tuple[int, list[bytes]]:
    """The block's crc and the buffers to be written one after the other."""
    key_lengths = array("I", map(len, keys))
    try:
        if None in values:
            value_lengths = array("i", [-1 if value is None else len(value) for value in values])
        else:
            value_lengths = array("i", map(len, values))  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"a value is longer than the format's limit of {VALUE_BYTES_MAX} bytes") from None
    parts = [_raw(key_lengths), _raw(value_lengths), b"".join(keys), b"".join(filter(None, values))]
    raw = sum(map(len, parts))
    number, stored_parts = CODECS[codec], parts
    if number:
        packed = compress(b"".join(parts), codec)
        if len(packed) < raw:
            stored_parts = [packed]
        else:
            number = 0
    stored = sum(map(len, stored_parts))
    header = HEADER.pack(0, stored, raw, len(keys), number)[4:]
    crc = zlib.crc32(header, seed)
    for part in stored_parts:
        crc = zlib.crc32(part, crc)
    return crc, [struct.pack("<I", crc), header, *stored_parts]


def read_header(data: bytes | memoryview, path: str, offset: int) -> BlockHeader:
    """The header at the start of `data`; not yet known to be intact."""
    if len(data) < HEADER_BYTES:
        raise CorruptionError(path, offset, f"the file ends {len(data)} bytes into a block header")
    return BlockHeader(*HEADER.unpack(data[:HEADER_BYTES]))


class PackedBlock:
    """A checked block that is searched without making an object of every entry."""

    def __init__(self, raw: bytes, n: int) -> None:
        key_lengths, self._value_lengths = _lengths(raw, n)
        self._raw = raw
        self._key_ends = list(accumulate(key_lengths, initial=8 * n))
        self._n = n

    def find(self, key: bytes) -> tuple[bool, bytes | None]:
        """Whether the key is there, and its value (None for a tombstone)."""
        raw, ends = self._raw, self._key_ends
        low, high = 0, self._n
        while low < high:
            middle = (low + high) // 2
            if raw[ends[middle] : ends[middle + 1]] < key:
                low = middle + 1
            else:
                high = middle
        if low == self._n or raw[ends[low] : ends[low + 1]] != key:
            return False, None
        before = self._value_lengths[:low]
        start = ends[-1] + sum(before) + before.count(-1)
        length = self._value_lengths[low]
        return True, None if length < 0 else raw[start : start + length]


def read_packed(data: memoryview, path: str, offset: int, file_id: bytes) -> tuple[BlockHeader, PackedBlock]:
    """As `read_block`, for looking up a few keys."""
    header, raw = _checked_payload(data, path, offset, file_id)
    try:
        return header, PackedBlock(raw, header.entries)
    except ValueError as error:
        raise CorruptionError(path, offset, f"block has a valid checksum but {error}") from error


def read_block(data: memoryview, path: str, offset: int, file_id: bytes) -> tuple[BlockHeader, Entries]:
    """Check and decode the block that fills `data` exactly; CorruptionError names file and offset."""
    header, raw = _checked_payload(data, path, offset, file_id)
    try:
        return header, _decode(raw, header.entries)
    except ValueError as error:
        raise CorruptionError(path, offset, f"block has a valid checksum but {error}") from error


def _checked_payload(data: memoryview, path: str, offset: int, file_id: bytes) -> tuple[BlockHeader, bytes]:
    header = read_header(data, path, offset)
    if len(data) != HEADER_BYTES + header.stored:
        expected = len(data) - HEADER_BYTES
        raise CorruptionError(path, offset, f"block says {header.stored} bytes, its place has {expected}")
    crc = zlib.crc32(data[4:], seed_of(file_id, offset))
    if crc != header.crc:
        raise CorruptionError(path, offset, f"block checksum is {crc:08x}, expected {header.crc:08x}")
    payload = bytes(data[HEADER_BYTES:])
    if not header.codec:
        return header, payload
    if header.codec not in CODEC_NAMES:
        raise CorruptionError(path, offset, f"block has an unknown codec {header.codec}")
    return header, decompress(payload, CODEC_NAMES[header.codec], header.raw)


def _decode(raw: bytes, n: int) -> Entries:
    key_lengths, value_lengths = _lengths(raw, n)
    ends = list(accumulate(key_lengths, initial=8 * n))
    keys = [raw[start:end] for start, end in pairwise(ends)]
    at = ends[-1]
    values: list[bytes | None]
    if n and min(value_lengths) < 0:
        values = []
        for length in value_lengths:
            if length < 0:
                values.append(None)
            else:
                values.append(raw[at : at + length])
                at += length
    else:
        ends = list(accumulate(value_lengths, initial=at))
        values = [raw[start:end] for start, end in pairwise(ends)]
        at = ends[-1]
    if at != len(raw):
        raise ValueError(f"its entries take {at} bytes of {len(raw)}")
    return Entries(keys, values)


def _lengths(raw: bytes, n: int) -> tuple[array[int], array[int]]:
    if len(raw) < 8 * n:
        raise ValueError(f"{len(raw)} bytes cannot hold {n} entries")
    key_lengths, value_lengths = array("I"), array("i")
    key_lengths.frombytes(raw[: 4 * n])
    value_lengths.frombytes(raw[4 * n : 8 * n])
    if not _NATIVE:
        key_lengths.byteswap()
        value_lengths.byteswap()
    return key_lengths, value_lengths


def _raw(lengths: array[int]) -> bytes:
    if not _NATIVE:
        lengths.byteswap()
    return lengths.tobytes()
