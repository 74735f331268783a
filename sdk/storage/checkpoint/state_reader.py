"""Reads a state file through a memory map: lookups, ranges, all of it. Every block is checked when read."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any, Final

from hornbeam.storage.checkpoint.block import Entries, read_block
from hornbeam.storage.checkpoint.state_file import (
    END_MAGIC,
    FOOTER,
    HEADER,
    MAGIC,
    VERSION,
    StateFile,
    encode_header,
)
from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.files import Files

_CACHED_BLOCKS = 64


class Missing:
    """The type of MISSING, which a lookup gives when the file says nothing of the key."""


MISSING: Final = Missing()


class StateFileReader:
    """One open state file. `expected` is the manifest's view of it; anything that disagrees is corruption.

    Threads may share it. The map keeps the content readable even after the file has been removed.
    """

    def __init__(self, files: Files, path: str, expected: StateFile | None = None) -> None:
        self.path = path
        self._view = files.map_read(path)
        self._expected = expected
        self.file_id = self._read_header()
        self._read_footer()
        self._cache: OrderedDict[int, Entries] = OrderedDict()

    @property
    def block_count(self) -> int:
        """How many blocks it has."""
        return len(self._lengths)

    def summary(self) -> dict[str, Any]:
        """Entries, tombstones, key groups, and [entries, bytes] of each state, as the writer counted them."""
        fields: dict[str, Any] = json.loads(bytes(self._summary))
        return fields

    def get(self, key: bytes) -> bytes | Missing | None:
        """The value, None if the file holds a tombstone for the key, MISSING if it says nothing."""
        number = bisect_left(self._last_keys, key)
        if number == len(self._last_keys):
            return MISSING
        entries = self._cached(number)
        at = bisect_left(entries.keys, key)
        if at < len(entries.keys) and entries.keys[at] == key:
            return entries.values[at]
        return MISSING

    def blocks(self, lower: bytes = b"", upper: bytes | None = None) -> Iterator[Entries]:
        """The entries with lower <= key < upper (None: to the end), a non-empty block at a time."""
        for number in range(bisect_left(self._last_keys, lower), self.block_count):
            keys, values = self.block(number)
            start = 0 if keys[0] >= lower else bisect_left(keys, lower)
            if upper is not None and keys[-1] >= upper:
                end = bisect_left(keys, upper, start)
                if start < end:
                    yield Entries(keys[start:end], values[start:end])
                return
            yield Entries(keys[start:], values[start:]) if start else Entries(keys, values)

    def block(self, number: int) -> Entries:
        """Read, check and decode one block."""
        offset, length = self._offsets[number], self._lengths[number]
        data = self._view[offset : offset + length]
        header, entries = read_block(data, self.path, offset, self.file_id)
        if header.crc != self._crcs[number] or header.entries != self._counts[number]:
            raise CorruptionError(self.path, offset, "block is not the one that the index names")
        if not entries.keys or entries.keys[-1] != self._last_keys[number]:
            raise CorruptionError(self.path, offset, "block does not end with the key that the index names")
        return entries

    def _cached(self, number: int) -> Entries:
        entries = self._cache.get(number)
        if entries is None:
            entries = self._cache[number] = self.block(number)
            if len(self._cache) > _CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return entries

    def _read_header(self) -> bytes:
        view, expected = self._view, self._expected
        if expected is not None and len(view) != expected.size:
            at = min(len(view), expected.size)
            raise CorruptionError(self.path, at, f"file has {len(view)} bytes, expected {expected.size}")
        if len(view) < HEADER.size + FOOTER.size:
            raise CorruptionError(self.path, len(view), "file is too short to be a state file")
        magic, version, file_id, _ = HEADER.unpack(view[: HEADER.size])
        if magic != MAGIC or bytes(view[: HEADER.size]) != encode_header(file_id, version):
            raise CorruptionError(self.path, 0, "header is not a state file's, or its checksum is wrong")
        if version > VERSION:
            raise StorageError(
                self.path, "open", f"format version {version} is newer than this program's ({VERSION})"
            )
        if expected is not None and file_id.hex() != expected.file_id:
            raise CorruptionError(
                self.path, 12, f"file id is {file_id.hex()}, the manifest expects {expected.file_id}"
            )
        return bytes(file_id)

    def _read_footer(self) -> None:
        view = self._view
        at = len(view) - FOOTER.size
        footer = bytes(view[at:])
        (index_offset, index_length, blocks, summary_length, index_crc, summary_crc, file_id, crc, magic) = (
            FOOTER.unpack(footer)
        )
        if magic != END_MAGIC or zlib.crc32(footer[:-12]) != crc or file_id != self.file_id:
            raise CorruptionError(self.path, at, "footer is damaged or not this file's")
        if self._expected is not None and crc != self._expected.footer_crc:
            wanted = self._expected.footer_crc
            raise CorruptionError(
                self.path, at, f"footer checksum is {crc:08x}, the manifest has {wanted:08x}"
            )
        if index_offset + index_length + summary_length != at:
            raise CorruptionError(self.path, at, "footer does not fit the file's size")
        index = bytes(view[index_offset : index_offset + index_length])
        self._summary = view[index_offset + index_length : at]
        if zlib.crc32(index) != index_crc:
            raise CorruptionError(self.path, index_offset, "index checksum is wrong")
        if zlib.crc32(self._summary) != summary_crc:
            raise CorruptionError(self.path, index_offset + index_length, "summary checksum is wrong")
        self._read_index(index, blocks)

    def _read_index(self, index: bytes, n: int) -> None:
        self._offsets = _column("Q", index, 0, n)
        self._lengths, self._counts, self._crcs, key_lengths = (
            _column("I", index, 8 * n + 4 * n * i, n) for i in range(4)
        )
        ends = list(accumulate(key_lengths, initial=24 * n))
        self._last_keys = [index[start:end] for start, end in pairwise(ends)]


def _column(typecode: str, data: bytes, offset: int, n: int) -> array[int]:
    column = array(typecode)
    column.frombytes(data[offset : offset + n * column.itemsize])
    if sys.byteorder == "big":
        column.byteswap()
    return column


__all__ = ["MISSING", "Missing", "StateFileReader"]
