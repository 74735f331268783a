"""Merging sorted state files: one sorted stream in which a later file overrides an earlier one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from hornbeam.storage.checkpoint.block import Entries


def merge(sources: Sequence[Iterator[Entries]], drop_tombstones: bool) -> Iterator[Entries]:
    """Merge block streams, given oldest first; the chunks that come out are sorted and never empty.

    It works in steps as large as the blocks allow: all entries up to the smallest last key of the current
    blocks go through one dict and one sort. With `drop_tombstones` deleted keys vanish, which is right only
    when nothing older than the first source exists.
    """
    cursors = [cursor for cursor in map(_Cursor, sources) if cursor.advance()]
    while cursors:
        if len(cursors) == 1:
            chunks = [cursors[0].take_all()]
        else:
            bound = min(cursor.keys[-1] for cursor in cursors)
            chunks = [cursor.take_until(bound) for cursor in cursors]
        merged = _combine([chunk for chunk in chunks if chunk.keys], drop_tombstones)
        if merged.keys:
            yield merged
        cursors = [cursor for cursor in cursors if cursor.start < len(cursor.keys) or cursor.advance()]


class _Cursor:
    """A source's current block and how much of it has been taken."""

    def __init__(self, source: Iterator[Entries]) -> None:
        self._source = source
        self.keys: list[bytes] = []
        self.values: list[bytes | None] = []
        self.start = 0

    def advance(self) -> bool:
        for entries in self._source:
            if entries.keys:
                self.keys, self.values = entries
                self.start = 0
                return True
        return False

    def take_until(self, bound: bytes) -> Entries:
        """The entries not yet taken whose keys are <= bound."""
        start, end = self.start, bisect_right(self.keys, bound, self.start)
        self.start = end
        return Entries(self.keys[start:end], self.values[start:end])

    def take_all(self) -> Entries:
        start, self.start = self.start, len(self.keys)
        return Entries(self.keys[start:], self.values[start:])


def _combine(chunks: list[Entries], drop_tombstones: bool) -> Entries:
    if len(chunks) == 1:
        keys, values = chunks[0]
    else:
        newest: dict[bytes, bytes | None] = {}
        for chunk in chunks:
            newest.update(zip(*chunk))
        keys = sorted(newest)
        values = list(map(newest.__getitem__, keys))
    if drop_tombstones and None in values:
        kept = [i for i, value in enumerate(values) if value is not None]
        keys, values = [keys[i] for i in kept], [values[i] for i in kept]
    return Entries(keys, values)
