"""Where sinks stage rows until the checkpoint that covers them is durable: topics of a log, one for each writer.

rows ─► staging topic of this writer ─► [from, to) is synced, and named in the checkpoint by a token
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hornbeam.error import DataError
from hornbeam.io import open_logs
from hornbeam.io.disk_space import when_there_is_room
from hornbeam.io.two_phase import TwoPhaseWriter
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.record_batch import RecordBatch

__all__ = ["Staged", "StagingWriter", "remove_staging_topics", "staged_batches", "staging_prefix"]

#: Staging topics are named so, then by the sink, then by the writer.
STAGING = "__staging"
_SEGMENT_BYTES = 16 << 20
_READ_BYTES = 4 << 20


class Staged(NamedTuple):
    """The token: the offsets of a staging topic that a checkpoint covers."""

    topic: str
    start: int
    stop: int


def staging_prefix(identity: str) -> str:
    """How the names of a sink's staging topics begin."""
    return f"{STAGING}.{identity}."


class StagingWriter(TwoPhaseWriter):
    """Stages in a topic that is nobody else's."""

    def __init__(self, directory: str, topic: str, what: str) -> None:
        """Makes the topic in the log of the directory. `what` says who waits, when the disk is full."""
        self.log = open_logs.acquire(directory)
        self._topic = topic
        self._what = what
        self._partition = self.log.create_topic(
            topic, segment_bytes=_SEGMENT_BYTES, retention_ms=None, retention_bytes=None
        ).partition(0)
        self._producer = Producer(self.log, acks="write")
        self._start = 0

    def stage(
        self, values: Sequence[bytes | None], keys: Sequence[bytes | None], timestamps: Any = None
    ) -> None:
        """Appends rows; waits while the disk is full. `timestamps` in microseconds, None for the clock's."""
        when_there_is_room(
            lambda: self._producer.append(self._topic, values, keys, timestamps=timestamps, partition=0),
            self._what,
        )

    def prepare(self, checkpoint: int) -> Staged | None:
        """The offsets since the last call."""
        start, stop = self._start, self._partition.end_offset
        self._start = stop
        return Staged(self._topic, start, stop) if start < stop else None

    def settle(self, token: Any) -> Any:
        """Syncs the staged records."""
        self._partition.sync_range(token.start, token.stop)
        return token

    def close(self) -> None:
        """Closes the producer; the topic is removed by `remove_staging_topics`."""
        try:
            self._producer.close()
        finally:
            open_logs.release(self.log)


def staged_batches(reader: Consumer, start: int, stop: int) -> Iterator[tuple[RecordBatch, int]]:
    """Batches of the one partition that the reader is at `start` of, and how many records of each are before `stop`.

    DataError if they are not all there: they were synced before the checkpoint that names them.
    """
    while start < stop:
        batches = reader.poll_batches(0.0, _READ_BYTES)
        if not batches:
            topics = ", ".join(topic for topic, _ in reader.assignment())
            raise DataError(
                f"the staged rows from offset {start} to {stop} of {topics} are not there any more"
            )
        for batch in batches:
            count = min(len(batch), stop - start)
            if count > 0:
                yield batch, count
                start += count


def remove_staging_topics(log: Log, prefix: str, kept: frozenset[str]) -> None:
    """Removes a sink's staging topics, but for those that are kept, and the offsets up to which they were copied."""
    for name in log.topics(internal=True):
        if name.startswith(prefix) and name not in kept:
            log.delete_topic(name)
            OffsetStore.of(log).forget(name)
