"""Committed offsets of consumer groups: records of the compacted internal topic `__offsets`, one partition of it a
group, keyed by group, topic and partition.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.bell import EVERY_TOPIC
from hornbeam.storage.log.errors import TransactionError
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.partition_reader import PartitionReader
from hornbeam.storage.log.producer_state import advance
from hornbeam.storage.log.record_batch import EncodedBatch, encode
from hornbeam.storage.log.transaction import Place, TransactionCoordinator

if TYPE_CHECKING:
    from hornbeam.storage.log.group import GroupMember

OFFSETS_TOPIC = "__offsets"
OFFSETS_PARTITIONS = 8
_STABLE_WAIT_S = 90.0  # longer than a transaction may take by default


@attrs.frozen
class CommittedOffset:
    """Where a group goes on in a partition."""

    offset: int
    metadata: str = ""
    committed_micros: int = 0


@attrs.frozen
class GroupMetadata:
    """A consumer's membership, so that a commit in a transaction can be refused when it is over."""

    group: str
    member: GroupMember | None = None


class OffsetStore:
    """All groups' committed offsets, as all processes see them. Threads may share it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._mutex = threading.RLock()
        self._readers: dict[int, PartitionReader] = {}
        self._offsets: dict[str, dict[Place, CommittedOffset]] = {}
        self._coordinator = TransactionCoordinator.of(log)

    @classmethod
    def of(cls, log: Log) -> OffsetStore:
        """The store of a log; one in a process."""
        return log.companion(cls)

    def committed(
        self, group: str, timeout_s: float = _STABLE_WAIT_S, or_older: bool = False
    ) -> dict[Place, CommittedOffset]:
        """The group's offsets, after waiting for open transactions that may change them (or ending those whose
        producer is dead). If they stay open: TransactionError, or (`or_older`, to look only) what was before them."""
        partition = self._partition(group)
        deadline = time.monotonic() + timeout_s
        while partition.last_stable_offset < partition.end_offset:
            seen = self._log.bell.value()
            if self._coordinator.resolve(partition):
                break
            if time.monotonic() > deadline:
                if or_older:
                    break
                raise TransactionError(
                    f"the offsets of group {group!r} wait for a transaction that is open for over {timeout_s} s "
                    f"({OFFSETS_TOPIC}-{partition.number}); its producer must end it, or reach its timeout"
                )
            self._log.bell.wait(seen, EVERY_TOPIC, 0.05)
        with self._mutex:
            self._catch_up(partition)
            return dict(self._offsets.get(group, {}))

    def groups(self) -> list[str]:
        """Names of all groups that ever committed."""
        with self._mutex:
            for partition in self._topic_partitions():
                self._catch_up(partition)
            return sorted(group for group, offsets in self._offsets.items() if offsets)

    def commit(self, group: str, offsets: Mapping[Place, int], metadata: str = "") -> Callable[[], None]:
        """Append the offsets; call the result to wait until they are on the disk. What is committed as read is
        made durable first, so that a group is never ahead of the log after a crash."""
        self._sync_sources(offsets)
        partition = self._partition(group)
        base, last = partition.append(self._encode(group, offsets, metadata))
        return lambda: partition.sync_range(base, last + 1)

    def forget(self, group: str) -> None:
        """Remove all offsets of a group."""
        places = list(self.committed(group))
        if places:
            partition = self._partition(group)
            keys = [_key(group, place) for place in places]
            base, last = partition.append(encode([None] * len(keys), keys, self._log.clock()))
            partition.sync_range(base, last + 1)

    def append_in_transaction(
        self,
        offsets: Mapping[Place, int],
        group: str | GroupMetadata,
        enlist: Callable[[list[Place]], None],
        producer_id: int,
        epoch: int,
        sequences: dict[Place, int],
    ) -> list[tuple[Place, int, int]]:
        """Write offsets as part of a producer's transaction; where, with first and last offset there."""
        if not offsets:
            return []
        metadata = group if isinstance(group, GroupMetadata) else GroupMetadata(group)
        partition = self._partition(metadata.group)
        place = (OFFSETS_TOPIC, partition.number)
        self._sync_sources(offsets)
        enlist([place])
        batch = self._encode(metadata.group, offsets, "")
        sequence = sequences.get(place, 0)
        if metadata.member is None:
            base, last = partition.append(batch, producer_id, epoch, sequence, True)
        else:
            with metadata.member.holding(offsets):
                base, last = partition.append(batch, producer_id, epoch, sequence, True)
        sequences[place] = advance(sequence, batch.last_offset_delta + 1)
        return [(place, base, last)]

    def _encode(self, group: str, offsets: Mapping[Place, int], metadata: str) -> EncodedBatch:
        now = self._log.clock()
        values = [
            json.dumps({"offset": offset, "metadata": metadata, "time": now}, separators=(",", ":")).encode()
            for offset in offsets.values()
        ]
        return encode(values, [_key(group, place) for place in offsets], now)

    def _sync_sources(self, offsets: Mapping[Place, int]) -> None:
        for (topic, number), offset in offsets.items():
            partition = self._log.partition(topic, number)
            partition.sync_to(min(offset, partition.end_offset))

    def _topic_partitions(self) -> list[Partition]:
        topic = self._log.ensure_topic(
            OFFSETS_TOPIC, OFFSETS_PARTITIONS, cleanup="compact", segment_bytes=8 << 20, segment_ms=None
        )
        return topic.partitions()

    def _partition(self, group: str) -> Partition:
        return self._topic_partitions()[zlib.crc32(group.encode()) % OFFSETS_PARTITIONS]

    def _catch_up(self, partition: Partition) -> None:
        reader = self._readers.get(partition.number)
        if reader is None or reader.partition is not partition:
            reader = self._readers[partition.number] = PartitionReader(partition, partition.log_start_offset)
        while reader.offset < partition.words[words_of.LAST_STABLE_OFFSET]:
            for batch in reader.read():
                for key, value in zip(batch.keys(), batch.values()):
                    self._take(key or b"", value)

    def _take(self, key: bytes, value: bytes | None) -> None:
        group, topic, number = json.loads(key)
        offsets = self._offsets.setdefault(group, {})
        if value is None:
            offsets.pop((topic, number), None)
            return
        fields = json.loads(value)
        offsets[topic, number] = CommittedOffset(fields["offset"], fields["metadata"], fields["time"])


def _key(group: str, place: Place) -> bytes:
    return json.dumps([group, *place], separators=(",", ":")).encode()
