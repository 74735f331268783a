"""Exchanges between the workers of one attempt: a partition of a log for each pair of workers, in the order of sending.

    worker s ── OutChannel ──► partition r·N + s ── InChannel ──► worker r

A record is a pickled list of messages: `Rows` of an edge, a `Mark` (how far the edge's time has come). A record with
a key is a marker: what is before it in the partition was sent before its sender's snapshot. Nothing is ever synced:
exchanges are worth nothing once their attempt has ended, so every attempt has a log of its own.

Flow control: two words of shared memory a channel say how many bytes were sent and taken. A worker whose receiver is
behind by more than a bound lets its sources rest, but still takes what comes to it, so two workers never wait for
each other.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import cloudpickle

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.storage.files import Files, Handle
from hornbeam.storage.log.bell import EVERY_TOPIC, topic_bit
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.partition_reader import PartitionReader
from hornbeam.storage.log.record_batch import encode
from hornbeam.storage.log.retention import apply_retention

TOPIC = "exchange"
_SEGMENT_BYTES = 8 << 20
#: How much is read, and given away again, at a time.
_FETCH_BYTES = 1 << 18
_RELEASE_BYTES = 16 << 20


class Rows(NamedTuple):
    """Elements of an edge."""

    edge: int
    bundle: Bundle


class Mark(NamedTuple):
    """The sender's time on an edge has come to `watermark`."""

    edge: int
    watermark: int


class _UnsyncedHandle(Handle):
    def sync(self) -> None:
        pass


class UnsyncedFiles(Files):
    """Files that are not meant to survive the machine."""

    def sync_dir(self, path: str) -> None:
        pass

    def _open(self, path: str, flags: int, operation: str) -> Handle:
        handle = super()._open(path, flags, operation)
        handle.__class__ = _UnsyncedHandle
        return handle


def create_exchange(folder: str, workers: int) -> None:
    """Makes the exchange of an attempt, for its workers to open."""
    with Log(folder, files=UnsyncedFiles()) as log:
        log.create_topic(TOPIC, workers * workers, segment_bytes=_SEGMENT_BYTES, segment_ms=None)


def remove_exchanges(folder: str) -> None:
    """Removes the exchanges of all attempts that have ended."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def dumps(message: Any) -> bytes:
    """Pickled; instances of classes that no module knows need the slower way."""
    try:
        return pickle.dumps(message, 5)
    except (pickle.PicklingError, AttributeError, TypeError):
        data: bytes = cloudpickle.dumps(message, 5)
        return data


class Exchange:
    """A worker's end of all its channels."""

    def __init__(self, folder: str, worker: int, workers: int) -> None:
        files = UnsyncedFiles()
        self.log = Log(folder, files=files)
        words = files.map_shared(os.path.join(folder, "flow"), 16 * workers * workers).cast("B").cast("Q")
        others = [other for other in range(workers) if other != worker]
        self.outs = {
            other: OutChannel(
                self._partition(other * workers + worker), words, 2 * (other * workers + worker)
            )
            for other in others
        }
        self.ins = {
            other: InChannel(self._partition(worker * workers + other), words, 2 * (worker * workers + other))
            for other in others
        }
        self._bits = topic_bit(TOPIC)

    def _partition(self, number: int) -> Partition:
        return self.log.partition(TOPIC, number)

    def bell_value(self) -> int:
        """To be taken before looking for messages, and given to `wait`."""
        return self.log.bell.value()

    def wait(self, seen: int, seconds: float) -> None:
        """Sleeps until something comes (or `wake` is called) since `seen` was taken, or time is up."""
        self.log.bell.wait(seen, self._bits, seconds)

    def wake(self) -> None:
        """Wakes who waits, from any thread."""
        self.log.bell.ring(EVERY_TOPIC)

    def lag_bytes(self) -> int:
        """By how much the receiver that is furthest behind is behind."""
        return max((out.lag_bytes() for out in self.outs.values()), default=0)

    def totals(self) -> tuple[int, int]:
        """Bytes sent and taken by this worker."""
        return (
            sum(channel.sent_bytes for channel in self.outs.values()),
            sum(channel.taken_bytes for channel in self.ins.values()),
        )


class OutChannel:
    """To one other worker."""

    def __init__(self, partition: Partition, words: Any, at: int) -> None:
        self._partition = partition
        self._words = words
        self._at = at
        self.sent_bytes = 0

    def append(self, data: bytes, marker: bytes | None = None) -> None:
        """Sends a record. DiskFullError if there is no room; the same call works when there is."""
        self._partition.append(encode([data], None if marker is None else [marker]))
        self.sent_bytes += len(data)
        self._words[self._at] = self.sent_bytes

    def lag_bytes(self) -> int:
        """What was sent and not yet taken."""
        return self.sent_bytes - int(self._words[self._at + 1])


class InRecord(NamedTuple):
    """A record as it came; `marker` is None but for markers."""

    next_offset: int
    data: bytes
    marker: bytes | None


class InChannel:
    """From one other worker. Read by one thread; `records_from` by another one."""

    def __init__(self, partition: Partition, words: Any, at: int) -> None:
        self._partition = partition
        self._reader = PartitionReader(partition, 0, committed=False)
        self._words = words
        self._at = at + 1
        self._fetched: deque[InRecord] = deque()
        self.taken_bytes = 0
        #: The next record to take.
        self.offset = 0
        self._released_bytes = 0
        #: Records from here on are still needed by a snapshot that is being written; None if there is none.
        self.kept_from: int | None = None

    def take(self) -> InRecord | None:
        """The next record, if there is one."""
        if not self._fetched:
            self._fetched.extend(_records(self._reader))
            if not self._fetched:
                return None
        record = self._fetched.popleft()
        self.offset = record.next_offset
        self.taken_bytes += len(record.data)
        self._words[self._at] = self.taken_bytes
        if self.taken_bytes - self._released_bytes > _RELEASE_BYTES:
            self._release()
        return record

    def _release(self) -> None:
        """Gives away the disk of what was taken."""
        self._released_bytes = self.taken_bytes
        kept = self.kept_from
        self._partition.delete_before(self.offset if kept is None else min(kept, self.offset))
        apply_retention(self._partition)

    def records_from(self, offset: int) -> Iterator[InRecord | None]:
        """The records from an offset on, None whenever there is none for now; never ends."""
        reader = PartitionReader(self._partition, offset, committed=False)
        while True:
            found = _records(reader)
            yield from found
            if not found:
                yield None


def _records(reader: PartitionReader) -> list[InRecord]:
    found = []
    for batch in reader.read(_FETCH_BYTES):
        for offset, data, key in zip(batch.offsets().tolist(), batch.values(), batch.keys()):
            assert data is not None
            found.append(InRecord(offset + 1, data, key))
    return found
