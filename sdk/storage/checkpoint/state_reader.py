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

from hornbeam.storage.checkpoint import key_filter
from hornbeam.storage.checkpoint.block import BlockHeader, Entries, PackedBlock, read_block, read_packed
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
#: Of a file that is read from one end to the other so much stays mapped behind the place.
_MAPPED_BYTES = 1 << 20


class Missing:
    """The type of MISSING, which a lookup gives when the file says nothing of the key."""


MISSING: Final = Missing()


class StateFileReader:
    """One open state file. `expected` is the manifest's view of it; anything that disagrees is corruption.

    Threads may share it. The map keeps the content readable even after the file has been removed.
    """

    def __init__(self, files: Files, path: str, expected: StateFile | None = None) -> None:
        self.path = path
        self._files = files
        self._view = files.map_read(path)
        self._expected = expected
        self.file_id = self._read_header()
        self._read_footer()
        self._cache: OrderedDict[int, PackedBlock] = OrderedDict()

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
        if number == len(self._last_keys) or not key_filter.may_contain(self._filter, key):
            return MISSING
        there, value = self._cached(number).find(key)
        return value if there else MISSING

    def blocks(self, lower: bytes = b"", upper: bytes | None = None) -> Iterator[Entries]:
        """The entries with lower <= key < upper (None: to the end), a non-empty block at a time."""
        mapped = 0
        for number in range(bisect_left(self._last_keys, lower), self.block_count):
            keys, values = self.block(number)
            mapped += self._lengths[number]
            if mapped >= _MAPPED_BYTES:
                self._files.let_go_of_pages(self._view, self._offsets[number])
                mapped = 0
            start = 0 if keys[0] >= lower else bisect_left(keys, lower)
            if upper is not None and keys[-1] >= upper:
                end = bisect_left(keys, upper, start)
                if start < end:
                    yield Entries(keys[start:end], values[start:end])
                return
            yield Entries(keys[start:], values[start:]) if start else Entries(keys, values)

    def block(self, number: int) -> Entries:
        """Read, check and decode one block."""
        offset, data = self._data(number)
        header, entries = read_block(data, self.path, offset, self.file_id)
        self._check_header(number, header)
        if not entries.keys or entries.keys[-1] != self._last_keys[number]:
            raise CorruptionError(self.path, offset, "block does not end with the key that the index names")
        return entries

    def _cached(self, number: int) -> PackedBlock:
        block = self._cache.get(number)
        if block is None:
            offset, data = self._data(number)
            header, block = read_packed(data, self.path, offset, self.file_id)
            self._check_header(number, header)
            self._cache[number] = block
            if len(self._cache) > _CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return block

    def _data(self, number: int) -> tuple[int, memoryview]:
        offset = self._offsets[number]
        return offset, self._view[offset : offset + self._lengths[number]]

    def _check_header(self, number: int, header: BlockHeader) -> None:
        if header.crc != self._crcs[number] or header.entries != self._counts[number]:
            offset = self._offsets[number]
            raise CorruptionError(self.path, offset, "block is not the one that the index names")

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
        fields = FOOTER.unpack(footer)
        index_offset, index_length, blocks, filter_length, summary_length, *crcs, file_id, crc, magic = fields
        if magic != END_MAGIC or zlib.crc32(footer[:-12]) != crc or file_id != self.file_id:
            raise CorruptionError(self.path, at, "footer is damaged or not this file's")
        if self._expected is not None and crc != self._expected.footer_crc:
            wanted = self._expected.footer_crc
            reason = f"footer checksum is {crc:08x}, the manifest has {wanted:08x}"
            raise CorruptionError(self.path, at, reason)
        ends = list(accumulate((index_length, filter_length, summary_length), initial=index_offset))
        if ends[-1] != at:
            raise CorruptionError(self.path, at, "footer does not fit the file's size")
        sections = [view[start:end] for start, end in pairwise(ends)]
        for name, section, start, section_crc in zip(("index", "filter", "summary"), sections, ends, crcs):
            if zlib.crc32(section) != section_crc:
                raise CorruptionError(self.path, start, f"{name} checksum is wrong")
        index, self._filter, self._summary = sections
        self._read_index(bytes(index), blocks)

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
