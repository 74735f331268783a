"""Reading a checkpoint or savepoint: metadata, point lookups, and scans by key group and state.

Restore with any number of workers: each opens the snapshot with the key groups that it owns now, and scans.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from types import TracebackType
from typing import Any, cast

from hornbeam.storage.checkpoint.block import Entries
from hornbeam.storage.checkpoint.compaction import in_order
from hornbeam.storage.checkpoint.key import (
    StateKey,
    decode_keys,
    encode_key,
    group_bounds,
    key_group_of,
    key_prefix,
)
from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.checkpoint.merge import merge
from hornbeam.storage.checkpoint.state_reader import Missing, StateFileReader
from hornbeam.storage.errors import CorruptionError
from hornbeam.storage.files import Files


class Snapshot:
    """The whole state as of one checkpoint, read-only.

    Its files are mapped when it is opened, so it stays readable when the store retires the checkpoint
    meanwhile. `groups` limits it to some key groups: files that hold none of them are not opened.
    """

    def __init__(
        self, files: Files, state_directory: str, manifest: Manifest, groups: range | None = None
    ) -> None:
        self.manifest = manifest
        self.groups = range(manifest.key_groups) if groups is None else groups
        group_bounds(self.groups)
        self._readers = [
            (file, StateFileReader(files, os.path.join(state_directory, file.name), file))
            for file in manifest.files
            if file.overlaps(self.groups)
        ]

    @property
    def checkpoint(self) -> int:
        """The checkpoint's number."""
        return self.manifest.checkpoint

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the committer stored beside the state: source offsets, watermarks, anything JSON."""
        return self.manifest.metadata

    def get(self, state: str, key_group: int, key: bytes, window: bytes = b"") -> bytes | None:
        """The value of one entry, or None when there is none. Only for key groups of this snapshot."""
        return self.get_encoded(encode_key(state, key_group, key, window))

    def get_encoded(self, key: bytes) -> bytes | None:
        """As `get`, by the key's byte form."""
        if key_group_of(key) not in self.groups:
            raise ValueError(f"key group {key_group_of(key)} is not of this snapshot's {self.groups}")
        group = key_group_of(key)
        for file, reader in reversed(self._readers):
            if not file.first_group <= group <= file.last_group:
                continue
            value = reader.get(key)
            if not isinstance(value, Missing):
                return value
        return None

    def scan(self, groups: range | None = None, state: str | None = None) -> Iterator[tuple[StateKey, bytes]]:
        """All entries, or those of some key groups or one state, in the order of `key.py`."""
        for keys, values in self.scan_chunks(groups, state):
            yield from zip(_decoded(keys, self), cast("list[bytes]", values))

    def scan_chunks(self, groups: range | None = None, state: str | None = None) -> Iterator[Entries]:
        """As `scan`, fast: columns of encoded keys and of values (never None), many at a time."""
        wanted = self.groups if groups is None else groups
        wanted = range(max(wanted.start, self.groups.start), min(wanted.stop, self.groups.stop))
        if not wanted:
            return
        if state is None:
            yield from self._merged(*group_bounds(wanted))
            return
        for group in wanted:
            prefix = key_prefix(state, group)
            yield from self._merged(prefix, prefix[:-1] + b"\1")

    def scan_key(self, state: str, key_group: int, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The (window, value) pairs of one key, in order of the encoded windows."""
        prefix = encode_key(state, key_group, key)
        for keys, values in self._merged(prefix, _after_all_windows(prefix)):
            for encoded, value in zip(keys, values):
                assert value is not None
                yield encoded[len(prefix) :], value

    def states(self) -> dict[str, tuple[int, int]]:
        """(entries, bytes) of each state as written: counts include what later files override or delete."""
        totals: dict[str, tuple[int, int]] = {}
        for _, reader in self._readers:
            for name, (entries, size) in reader.summary()["states"].items():
                before = totals.get(name, (0, 0))
                totals[name] = (before[0] + entries, before[1] + size)
        return totals

    def close(self) -> None:
        """Let go of the maps."""
        self._readers.clear()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _merged(self, lower: bytes, upper: bytes | None) -> Iterator[Entries]:
        sources = [
            chain.from_iterable(reader.blocks(lower, upper) for reader in part)
            for part in in_order(self._readers)
        ]
        return merge(sources, drop_tombstones=True)


def _after_all_windows(prefix: bytes) -> bytes | None:
    """The smallest key that does not start with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def _decoded(keys: list[bytes], snapshot: Snapshot) -> list[StateKey]:
    try:
        return decode_keys(keys)
    except ValueError as error:
        raise CorruptionError(snapshot.manifest.file_name, 0, f"malformed entry: {error}") from error
