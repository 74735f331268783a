"""Words of memory that all processes with the log open share: a file mapped into each of them.

Every word is eight bytes, aligned, and stored by one machine instruction (native 'Q' item of a memoryview), so
a reader sees the old or the new value. Nothing here is trusted after a crash of the machine: `SessionWords`
holds the number of the running session, and whoever finds a partition's words of another session rebuilds
them from the segments.

A session begins when a process opens the log and nobody else has it open.
"""

from __future__ import annotations

import ctypes
from typing import Any

from hornbeam.storage.files import Files

WORD = 8
SLOT_WORDS = 32
SLOT_BYTES = SLOT_WORDS * WORD
_ALL = (1 << 64) - 1

# Words of a partition's slot.
SESSION = 0  # session that wrote the slot; 0: never
BUSY = 1  # process that is inside the append section; found set by the next one: it died there
GENERATION = 2  # counts changes of the segment list; odd while files are being swapped
ACTIVE_BASE = 3  # base offset of the segment that is appended to
ACTIVE_POSITION = 4  # where its next batch goes
END_OFFSET = 5  # log end offset: the next record's
FLUSHED_OFFSET = 6  # all below is on the disk
FLUSHED_CHECK = 7  # complement of FLUSHED_OFFSET: the pair is a hint for recovery
LAST_STABLE_OFFSET = 8  # first offset of the oldest open transaction, else END_OFFSET
LOG_START_OFFSET = 9  # records below are gone
SYNCING = 10  # 1 while somebody is in an fsync, or died there: a hint that waiting is worth more than trying
SUSPECT = 11  # 1 after an fsync failed: what is above FLUSHED_OFFSET must be written anew
SNAPSHOT_POSITION = 12  # position in the active segment of the newest snapshot
DELETED = 13  # IS_DELETED: the topic was deleted
LOST = 14  # four words: from and to of the last two ranges of offsets that a failed fsync lost
IS_DELETED = 0x6465_6C65_7465_6421  # no garbage left by a crash says that

# Words of the log's own file.
SHARED_BYTES = 256
LOG_SESSION = 0  # 0: none; whoever comes next begins one
LOG_BELL = 1  # rung when records come
LOG_SYNC_BELL = 2  # rung when an fsync is done


class Words:
    """A window of shared words; index and assign like a list."""

    def __init__(self, view: memoryview) -> None:
        self.view = view.cast("B").cast("Q")

    def __getitem__(self, index: int) -> int:
        return int(self.view[index])

    def __setitem__(self, index: int, value: int) -> None:
        self.view[index] = value


class SlotWords:
    """The words of one partition. Plain ints in and out; each store is atomic, several are not."""

    __slots__ = ("_at", "_view")

    def __init__(self, view: memoryview, slot: int) -> None:
        self._view = view
        self._at = slot * SLOT_WORDS

    def __getitem__(self, index: int) -> int:
        return int(self._view[self._at + index])

    def __setitem__(self, index: int, value: int) -> None:
        self._view[self._at + index] = value

    def set_flushed(self, offset: int) -> None:
        """Note that everything below `offset` is on the disk."""
        self[FLUSHED_CHECK] = offset ^ _ALL
        self[FLUSHED_OFFSET] = offset

    def flushed_hint(self) -> int:
        """A durable offset known from before a crash, 0 when the words are not to be believed."""
        offset = self[FLUSHED_OFFSET]
        return offset if offset ^ _ALL == self[FLUSHED_CHECK] else 0


def map_topic(files: Files, path: str, partitions: int) -> memoryview:
    """The shared words of a topic: slot p + 1 belongs to partition p (slot 0 is kept free)."""
    return files.map_shared(path, (partitions + 1) * SLOT_BYTES).cast("B").cast("Q")


def address_of(view: memoryview, word: int) -> tuple[int, Any]:
    """The memory address of a word, and an object that keeps the memory alive."""
    holder = ctypes.c_uint32.from_buffer(view, word * WORD)
    return ctypes.addressof(holder), holder
