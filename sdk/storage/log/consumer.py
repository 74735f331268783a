"""Reading from the log: by hand-picked partitions or as a member of a group; records or whole batches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType

from hornbeam.storage.log.bell import EVERY_TOPIC, topic_bit
from hornbeam.storage.log.errors import (
    ClosedError,
    InvalidSettingError,
    MemberFencedError,
    OffsetOutOfRangeError,
)
from hornbeam.storage.log.group import GroupMember, Rebalance
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.offset_store import GroupMetadata, OffsetStore
from hornbeam.storage.log.partition_reader import FETCH_BYTES, PartitionReader, offset_for_time
from hornbeam.storage.log.record import Record
from hornbeam.storage.log.record_batch import RecordBatch
from hornbeam.storage.log.transaction import Place, TransactionCoordinator

ISOLATIONS = ("read_committed", "read_uncommitted")
RESETS = ("earliest", "latest", "error")
_UNSTABLE_PATIENCE_S = 0.02
Callback = Callable[[list[Place]], None]


class Consumer:
    """Reads records. One thread at a time; each process makes its own.

    With `group`, partitions of `topics` are shared with the group's other members; otherwise it reads all of them,
    or what `assign` names. It starts at the group's committed offset, else where `auto_offset_reset` says.
    `commit` stores the position: the offset after the last record that was handed out (while iterating record by
    record: after the one in hand). With `auto_commit_ms` the positions of the previous poll are committed by
    the next one, no more often than that, and by `close`.
    `on_assign` and `on_revoke` are called during poll with the partitions that came, or are about to go.
    """

    def __init__(
        self,
        log: Log,
        topics: str | Sequence[str] = (),
        *,
        group: str | None = None,
        isolation: str = "read_committed",
        auto_offset_reset: str = "earliest",
        auto_commit_ms: int | None = None,
        assignor: str = "sticky",
        lease_ms: int = 30_000,
        heartbeat_ms: int = 200,
        max_fetch_bytes: int = FETCH_BYTES,
        on_assign: Callback | None = None,
        on_revoke: Callback | None = None,
    ) -> None:
        if isolation not in ISOLATIONS:
            raise InvalidSettingError(f"isolation must be one of {', '.join(ISOLATIONS)}, not {isolation!r}")
        if auto_offset_reset not in RESETS:
            raise InvalidSettingError(
                f"auto_offset_reset must be one of {', '.join(RESETS)}, not {auto_offset_reset!r}"
            )
        self._log = log
        self._topics = [topics] if isinstance(topics, str) else list(topics)
        self._group = group
        self._committed = isolation == "read_committed"
        self._reset = auto_offset_reset
        self._auto_commit_s = None if auto_commit_ms is None else auto_commit_ms / 1000
        self._max_fetch_bytes = max_fetch_bytes
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._readers: dict[Place, PartitionReader] = {}
        self._turn: deque[Place] = deque()
        self._paused: set[Place] = set()
        self._pending: deque[tuple[Place, list[Record]]] = deque()
        self._in_hand: Record | None = None
        self._rest: list[Record] = []
        self._positions: dict[Place, int] = {}
        self._committed_positions: dict[Place, int] = {}
        self._committed_at = time.monotonic()
        self._stuck_since: dict[Place, float] = {}
        self._bits = 0
        self._closed = False
        self._offsets = OffsetStore.of(log)
        self._member: GroupMember | None = None
        if group is not None and self._topics:
            self._member = GroupMember(
                log, group, self._topics, assignor=assignor, lease_ms=lease_ms, heartbeat_ms=heartbeat_ms
            )
            self._member.join()
            self._rebalance()
        elif self._topics:
            self.assign(
                [(name, number) for name in self._topics for number in range(log.topic(name).partition_count)]
            )

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What it reads

    def assign(self, places: Iterable[Place]) -> None:
        """Read exactly these (topic, partition) pairs, without a group's sharing."""
        if self._member is not None:
            raise InvalidSettingError(
                "a consumer that subscribed as a group member gets its partitions from the group"
            )
        self._drop(list(self._readers))
        self._take(list(places))

    def assignment(self) -> list[Place]:
        """The partitions it reads now, sorted."""
        return sorted(self._readers)

    def pause(self, places: Iterable[Place]) -> None:
        """Hand out nothing of these until `resume`."""
        self._paused.update(places)

    def resume(self, places: Iterable[Place]) -> None:
        """End of `pause`."""
        self._paused.difference_update(places)

    # Records

    def poll(self, timeout_s: float = 0.0, max_records: int = 500) -> list[Record]:
        """The next records, up to `max_records`; waits up to `timeout_s` for the first one. Order within each
        partition is that of the log."""
        self._settle_in_hand()
        if not self._pending:
            for batch in self.poll_batches(timeout_s):
                place = (batch.topic, batch.partition)
                self._pending.append((place, batch.records()))
        else:
            self._start_poll()
        touched = {place for place, _ in self._pending}
        taken: list[Record] = []
        while self._pending and len(taken) < max_records:
            place, records = self._pending[0]
            room = max_records - len(taken)
            if len(records) <= room:
                taken += records
                self._pending.popleft()
            else:
                taken += records[:room]
                self._pending[0] = (place, records[room:])
        self._fix_positions(touched)
        return taken

    def poll_batches(self, timeout_s: float = 0.0, max_bytes: int | None = None) -> list[RecordBatch]:
        """The next batches of one partition (`topic` and `partition` are set on them), about `max_bytes`; waits up to
        `timeout_s` for the first. The way to numpy and Arrow without an object a record."""
        self._settle_in_hand()
        self._start_poll()
        if self._pending:
            raise InvalidSettingError(
                "records of an earlier poll are left over; take them before polling for batches"
            )
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self._log.bell.value()
            batches = self._fetch(max_bytes or self._max_fetch_bytes)
            if batches:
                return batches
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            wait_s = left_s
            if self._member is not None:
                wait_s = min(wait_s, self._member.wait_s())
            if self._stuck_since:
                wait_s = min(wait_s, _UNSTABLE_PATIENCE_S)
            if self._auto_commit_s is not None:
                self._commit_if_due()
                wait_s = min(wait_s, max(self._auto_commit_s, 0.01))
            self._log.bell.wait(seen, self._bits, wait_s)
            if self._member is not None:
                self._rebalance()

    def __iter__(self) -> Iterator[Record]:
        """All records for ever, waiting for more at the end; stop by leaving the loop."""
        while True:
            yield from self.read_available(timeout_s=1.0)

    def read_available(self, timeout_s: float = 0.0) -> Iterator[Record]:
        """Records one by one until none comes for `timeout_s`."""
        while True:
            self._settle_in_hand()
            if not self._pending:
                batches = self.poll_batches(timeout_s)
                if not batches:
                    return
                self._pending.extend(((batch.topic, batch.partition), batch.records()) for batch in batches)
                self._fix_positions({place for place, _ in self._pending})
            _, records = self._pending.popleft()
            self._rest = records
            for record in records:
                self._in_hand = record
                yield record

    # Positions

    def position(self, topic: str, partition: int) -> int:
        """Offset of the next record that will be handed out."""
        self._settle_in_hand(keep=True)
        return self._positions[self._known(topic, partition)]

    def positions(self) -> dict[Place, int]:
        """All positions."""
        self._settle_in_hand(keep=True)
        return dict(self._positions)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Go on at `offset`."""
        place = self._known(topic, partition)
        self._forget_pending(place)
        self._readers[place].seek(offset)
        self._positions[place] = offset

    def seek_to_beginning(self, places: Iterable[Place] | None = None) -> None:
        """Go to the log start offset, of all partitions if none are named."""
        for topic, number in places or list(self._readers):
            self.seek(topic, number, self._log.partition(topic, number).log_start_offset)

    def seek_to_end(self, places: Iterable[Place] | None = None) -> None:
        """Go behind the last record that may be read now."""
        for topic, number in places or list(self._readers):
            self.seek(topic, number, self._readers[topic, number].limit())

    def seek_to_time(self, timestamp_micros: int, places: Iterable[Place] | None = None) -> None:
        """Go to the first record with that time or a later one (to the end, where there is none)."""
        for topic, number in places or list(self._readers):
            offset = offset_for_time(self._log.partition(topic, number), timestamp_micros)
            self.seek(topic, number, self._readers[topic, number].limit() if offset is None else offset)

    def committed(self) -> dict[Place, int]:
        """The group's committed offsets."""
        return {place: found.offset for place, found in self._offsets.committed(self._need_group()).items()}

    def commit(self, offsets: Mapping[Place, int] | None = None) -> None:
        """Store the positions (or the offsets given) for the group; durable when it returns.

        MemberFencedError when the group gave a partition to somebody else meanwhile.
        """
        group = self._need_group()
        chosen = dict(offsets) if offsets is not None else self._uncommitted()
        if not chosen:
            return
        if self._member is None:
            wait = self._offsets.commit(group, chosen)
        else:
            with self._member.holding(chosen):
                wait = self._offsets.commit(group, chosen)
        wait()
        self._committed_positions.update(chosen)

    def group_metadata(self) -> GroupMetadata:
        """For Producer.send_offsets: the group, and this membership to check."""
        return GroupMetadata(self._need_group(), self._member)

    def lag(self) -> dict[Place, int]:
        """How many offsets each assigned partition is behind what may be read."""
        self._settle_in_hand(keep=True)
        return {
            place: max(reader.limit() - self._positions[place], 0) for place, reader in self._readers.items()
        }

    def close(self) -> None:
        """Commit (with auto_commit_ms) and leave the group at once."""
        if self._closed:
            return
        self._settle_in_hand(keep=True)
        try:
            if self._auto_commit_s is not None and self._group is not None:
                try:
                    self.commit()
                except MemberFencedError:
                    pass
        finally:
            self._closed = True
            if self._member is not None:
                self._member.leave()

    # Inside

    def _need_group(self) -> str:
        if self._group is None:
            raise InvalidSettingError("this consumer has no group")
        return self._group

    def _known(self, topic: str, partition: int) -> Place:
        if (topic, partition) not in self._readers:
            raise InvalidSettingError(f"{topic}-{partition} is not assigned to this consumer")
        return topic, partition

    def _uncommitted(self) -> dict[Place, int]:
        self._settle_in_hand(keep=True)
        return {
            place: offset
            for place, offset in self._positions.items()
            if self._committed_positions.get(place) != offset
        }

    def _start_poll(self) -> None:
        if self._closed:
            raise ClosedError("the consumer was closed")
        self._commit_if_due()
        if self._member is not None:
            self._rebalance()

    def _commit_if_due(self) -> None:
        if self._auto_commit_s is not None and time.monotonic() - self._committed_at >= self._auto_commit_s:
            self._committed_at = time.monotonic()
            try:
                self.commit()
            except MemberFencedError:
                pass

    def _settle_in_hand(self, keep: bool = False) -> None:
        """Note how far iteration came. What is left of the batch in hand is handed out next (unless `keep`)."""
        record = self._in_hand
        if record is None:
            return
        place = (record.topic, record.partition)
        done = self._rest and record is self._rest[-1]
        if place in self._positions:
            self._positions[place] = self._after(place) if done else record.offset + 1
        if keep:
            return
        if not done:
            left = [later for later in self._rest if later.offset > record.offset]
            self._pending.appendleft((place, left))
        self._in_hand, self._rest = None, []

    def _after(self, place: Place) -> int:
        """The position of a partition given what is still waiting to be handed out."""
        for waiting, records in self._pending:
            if waiting == place and records:
                return records[0].offset
        return self._readers[place].offset

    def _fix_positions(self, places: Iterable[Place]) -> None:
        """Positions of the partitions of which records are waiting, or were until now."""
        for place in places:
            if place in self._readers:
                self._positions[place] = self._after(place)

    def _fetch(self, max_bytes: int) -> list[RecordBatch]:
        for _ in range(len(self._turn)):
            place = self._turn[0]
            self._turn.rotate(-1)
            if place in self._paused:
                continue
            reader = self._readers[place]
            batches: list[RecordBatch] = []
            try:
                before = -1
                while not batches and reader.offset != before:
                    before = reader.offset
                    batches = reader.read(max_bytes)
            except OffsetOutOfRangeError:
                if self._reset == "error":
                    raise
                reader.seek(
                    reader.partition.log_start_offset if self._reset == "earliest" else reader.limit()
                )
                batches = reader.read(max_bytes)
            self._positions[place] = reader.offset
            if batches:
                self._stuck_since.pop(place, None)
                return batches
            if self._committed:
                self._look_for_stuck(place, reader)
        return []

    def _look_for_stuck(self, place: Place, reader: PartitionReader) -> None:
        """Records are there but an open transaction holds them back: see to it that it ends if nobody else will."""
        partition = reader.partition
        if partition.last_stable_offset >= partition.high_watermark:
            self._stuck_since.pop(place, None)
            return
        now = time.monotonic()
        if now - self._stuck_since.setdefault(place, now) >= _UNSTABLE_PATIENCE_S:
            self._stuck_since[place] = now
            TransactionCoordinator.of(self._log).resolve(partition)

    def _rebalance(self) -> None:
        member = self._member
        assert member is not None
        change = member.poll()
        if change is None:
            return
        if change.lost:
            self._drop(list(change.revoked))
            if self._on_revoke is not None and change.revoked:
                self._on_revoke(sorted(change.revoked))
            member.join()
            change = member.poll() or Rebalance(frozenset(), frozenset())
        if change.revoked:
            going = sorted(change.revoked & set(self._readers))
            if self._on_revoke is not None and going:
                self._on_revoke(going)
            if self._auto_commit_s is not None and going:
                self.commit({place: self._positions[place] for place in going})
            self._drop(going)
            member.release(change.revoked)
        if change.assigned:
            self._take(sorted(change.assigned))
            if self._on_assign is not None:
                self._on_assign(sorted(change.assigned))

    def _take(self, places: list[Place]) -> None:
        committed = {} if self._group is None else self._offsets.committed(self._group)
        for place in places:
            partition = self._log.partition(*place)
            reader = PartitionReader(partition, 0, self._committed)
            if place in committed:
                reader.seek(committed[place].offset)
                self._committed_positions[place] = committed[place].offset
            elif self._reset == "latest":
                reader.seek(reader.limit())
            else:
                reader.seek(partition.log_start_offset)
            self._readers[place] = reader
            self._positions[place] = reader.offset
            self._turn.append(place)
        self._note_topics()

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            if self._readers.pop(place, None) is None:
                continue
            self._forget_pending(place)
            self._positions.pop(place, None)
            self._committed_positions.pop(place, None)
            self._stuck_since.pop(place, None)
            self._paused.discard(place)
            self._turn.remove(place)
        self._note_topics()

    def _forget_pending(self, place: Place) -> None:
        self._pending = deque(entry for entry in self._pending if entry[0] != place)
        if self._in_hand is not None and (self._in_hand.topic, self._in_hand.partition) == place:
            self._in_hand, self._rest = None, []

    def _note_topics(self) -> None:
        self._bits = 0
        for topic, _ in self._readers:
            self._bits |= topic_bit(topic)
        if self._member is not None:
            self._bits = EVERY_TOPIC
