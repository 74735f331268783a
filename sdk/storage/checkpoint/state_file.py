r"""A state file: immutable, sorted entries in checksummed blocks, with sparse index, key filter and footer.

    header   magic "HBSTATE\n" | version u16 | 0 0 | file id, 8 bytes | crc u32
    blocks   one after the other (`block.py`)
    index    per block: offset u64[n], length u32[n], entries u32[n], crc u32[n], length of last key u32[n];
             then the last keys
    filter   Bloom filter over the keys (`key_filter.py`)
    summary  JSON: entries, tombstones, key group range, entries and bytes of each state
    footer   index offset u64 | index length u64 | blocks u32 | filter length u32 | summary length u32
             | index crc u32 | filter crc u32 | summary crc u32 | file id, 8 bytes | crc u32 | magic "HBSTEND\n"

Everything after the blocks can be computed from them. The index holds the blocks' checksums, the footer the
index's, the manifest the footer's: so the manifest fixes every byte of the file.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice
from operator import lt
from typing import Any

import attrs

from hornbeam.storage.checkpoint import key_filter
from hornbeam.storage.checkpoint.block import encode_block, seed_of
from hornbeam.storage.checkpoint.key import key_group_of
from hornbeam.storage.errors import StorageError
from hornbeam.storage.files import Files

VERSION = 1
MAGIC = b"HBSTATE\n"
END_MAGIC = b"HBSTEND\n"
HEADER = struct.Struct("<8sH2x8sI")
FOOTER = struct.Struct("<QQIIIIII8sI8s")
SUFFIX = ".state"


@attrs.frozen
class StateFile:
    """What a manifest knows of a state file. `run` is the checkpoint or merge that it came with."""

    name: str
    size: int
    file_id: str
    footer_crc: int
    entries: int
    tombstones: int
    first_group: int
    last_group: int
    run: int

    def overlaps(self, groups: range) -> bool:
        """Whether it may hold entries of these key groups."""
        return self.entries > 0 and self.first_group < groups.stop and self.last_group >= groups.start

    def to_json(self) -> dict[str, Any]:
        """Its form in a manifest."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> StateFile:
        """Back from a manifest; TypeError or ValueError if a field is missing, unknown or of a wrong type."""
        file = cls(**fields)
        for name in ("size", "footer_crc", "entries", "tombstones", "first_group", "last_group", "run"):
            if type(getattr(file, name)) is not int:
                raise ValueError(f"{name} of a state file is {getattr(file, name)!r}, not an integer")
        if not isinstance(file.name, str) or os.path.basename(file.name) != file.name:
            raise ValueError(f"{file.name!r} is not the name of a state file")
        return file


@attrs.define
class Tail:
    """Collects, block by block, what is written after the blocks: index, filter, summary and footer."""

    file_id: bytes
    lengths: array[int] = attrs.Factory(lambda: array("I"))
    counts: array[int] = attrs.Factory(lambda: array("I"))
    crcs: array[int] = attrs.Factory(lambda: array("I"))
    last_keys: list[bytes] = attrs.Factory(list)
    hashes: array[int] = attrs.Factory(lambda: array("I"))
    entries: int = 0
    tombstones: int = 0
    first_group: int = 0
    last_group: int = 0
    states: dict[str, list[int]] = attrs.Factory(dict)

    def add(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], raw: int, length: int, crc: int
    ) -> None:
        """Take note of one block: its entries, the bytes of these, and of what was written."""
        if not self.entries:
            self.first_group = key_group_of(keys[0])
        self.last_group = key_group_of(keys[-1])
        self.lengths.append(length)
        self.counts.append(len(keys))
        self.crcs.append(crc)
        self.last_keys.append(keys[-1])
        self.hashes.extend(key_filter.hashes_of(keys))
        self.entries += len(keys)
        self.tombstones += values.count(None)
        self._count_states(keys, values, raw)

    def _count_states(self, keys: Sequence[bytes], values: Sequence[bytes | None], raw: int) -> None:
        start, n = 0, len(keys)
        while start < n:
            first = keys[start]
            prefix = first[: first.index(b"\0", 2)]
            end = n if keys[-1].startswith(prefix + b"\0") else bisect_left(keys, prefix + b"\1", start)
            counted = self.states.setdefault(prefix[2:].decode(), [0, 0])
            counted[0] += end - start
            is_all = end - start == n
            counted[1] += raw if is_all else bytes_of(keys[start:end], values[start:end])
            start = end

    def summary(self) -> bytes:
        """The JSON of the summary."""
        fields = {
            "entries": self.entries,
            "tombstones": self.tombstones,
            "groups": [self.first_group, self.last_group],
            "states": self.states,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def encode(self) -> tuple[int, bytes]:
        """The footer's crc, and all the bytes after the blocks."""
        offsets = array("Q", accumulate(self.lengths, initial=HEADER.size))
        index_offset = offsets.pop()
        key_lengths = array("I", map(len, self.last_keys))
        columns = (offsets, self.lengths, self.counts, self.crcs, key_lengths)
        index = b"".join([*map(little_endian, columns), *self.last_keys])
        bits = key_filter.build(self.hashes)
        summary = self.summary()
        footer = FOOTER.pack(
            index_offset,
            len(index),
            len(self.lengths),
            len(bits),
            len(summary),
            zlib.crc32(index),
            zlib.crc32(bits),
            zlib.crc32(summary),
            self.file_id,
            0,
            END_MAGIC,
        )
        crc = zlib.crc32(footer[:-12])
        return crc, index + bits + summary + footer[:-12] + struct.pack("<I", crc) + END_MAGIC

    def describe(self, name: str, size: int, crc: int, run: int) -> StateFile:
        """The manifest's view of the finished file."""
        return StateFile(
            name=name,
            size=size,
            file_id=self.file_id.hex(),
            footer_crc=crc,
            entries=self.entries,
            tombstones=self.tombstones,
            first_group=self.first_group,
            last_group=self.last_group,
            run=run,
        )


def bytes_of(keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
    """The bytes of entries without what frames them."""
    return sum(map(len, keys)) + sum(map(len, filter(None, values)))


class StateFileWriter:
    """Writes one state file from entries in ascending key order; holds one block in memory.

    After an error the file is worthless: call `abort`. Not for several threads.
    """

    def __init__(
        self, files: Files, path: str, *, run: int, codec: str = "none", block_bytes: int = 32 * 1024
    ) -> None:
        self.path = path
        self.size = HEADER.size
        self._files = files
        self._run = run
        self._codec = codec
        self._block_bytes = block_bytes
        self._tail = Tail(os.urandom(8))
        self._keys: list[bytes] = []
        self._values: list[bytes | None] = []
        self._pending_bytes = 0
        self._step = 64
        self._last: bytes | None = None
        self._handle = files.create(path)
        try:
            self._handle.write(encode_header(self._tail.file_id))
        except StorageError:
            self.abort()
            raise

    def add(self, key: bytes, value: bytes | None) -> None:
        """Append one entry; None is a tombstone. Keys must ascend strictly."""
        if self._last is not None and key <= self._last:
            raise self._not_ascending()
        self._last = key
        self._keys.append(key)
        self._values.append(value)
        self._pending_bytes += len(key) + (len(value) if value else 0) + 8
        if self._pending_bytes >= self._block_bytes:
            self._flush()

    def add_sorted(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Append many entries at once."""
        if not keys:
            return
        if not all(map(lt, keys, islice(keys, 1, None))):
            raise self._not_ascending()
        self.add_ascending(keys, values)

    def add_ascending(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """As `add_sorted`, where the caller knows that the keys ascend among themselves."""
        if self._last is not None and keys[0] <= self._last:
            raise self._not_ascending()
        self._last = keys[-1]
        start, n = 0, len(keys)
        while start < n:
            taken = self._take(keys[start : start + self._step], values[start : start + self._step])
            start += taken
            if self._pending_bytes >= self._block_bytes:
                self._flush()

    def _not_ascending(self) -> ValueError:
        return ValueError(f"the entries added to {self.path} are not in ascending order of keys")

    def finish(self) -> StateFile:
        """Write index, filter, summary and footer and sync; the directory entry is not synced yet.

        SyncFailedError means that nothing of the file can be relied on: `abort` it and write it anew.
        """
        self._flush()
        crc, tail = self._tail.encode()
        self._handle.write(tail)
        self._files.fault("checkpoint.file.written")
        self._handle.sync()
        self._handle.close()
        self.size += len(tail)
        return self._tail.describe(os.path.basename(self.path), self.size, crc, self._run)

    def abort(self) -> None:
        """Close and remove the file; what cannot be removed is an orphan that the store clears away later."""
        self._handle.close()
        try:
            self._files.unlink(self.path)
        except StorageError:
            pass

    def _take(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        """Add about as many entries as fill a block, going by the size of those before; how many."""
        while True:
            size = bytes_of(keys, values) + 8 * len(keys)
            self._step = max(1, self._block_bytes * len(keys) // size + 1)
            if size < 2 * self._block_bytes or len(keys) == 1:
                break
            half = min(self._step, len(keys) // 2)
            keys, values = keys[:half], values[:half]
        self._keys += keys
        self._values += values
        self._pending_bytes += size
        return len(keys)

    def _flush(self) -> None:
        if not self._keys:
            return
        seed = seed_of(self._tail.file_id, self.size)
        crc, buffers = encode_block(self._keys, self._values, self._codec, seed)
        length = self._handle.write(buffers)
        raw = self._pending_bytes - 8 * len(self._keys)
        self._tail.add(self._keys, self._values, raw, length, crc)
        self.size += length
        self._keys, self._values, self._pending_bytes = [], [], 0


def encode_header(file_id: bytes, version: int = VERSION) -> bytes:
    """The bytes at the start of a state file."""
    start = HEADER.pack(MAGIC, version, file_id, 0)[:-4]
    return start + struct.pack("<I", zlib.crc32(start))


def little_endian(numbers: array[int]) -> bytes:
    """An array's bytes in the order that the format has."""
    if array("H", [1]).tobytes() == b"\1\0":
        return numbers.tobytes()
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped.tobytes()
