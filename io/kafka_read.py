"""The source of ReadFromKafka: each reader has some of the topics' partitions, and a mark of how far each is read.

    split: partitions, dealt out ──► reader: consumer with its partitions assigned ──► records
                                        │ mark: next offset of each partition

Offsets are in the mark, not in Kafka: no consumer group is joined. A reader that begins without a mark finds the offsets to
begin at, and has them in its first mark.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from hornbeam.coders.coders import Coder, PickleCoder
from hornbeam.error import DataError
from hornbeam.io.kafka_config import NO_GROUP, kafka_client
from hornbeam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from hornbeam.pvalue import Row
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

__all__ = ["KafkaMark", "KafkaReadError", "KafkaReader", "KafkaSource"]

_log = logging.getLogger(__name__)

PROCESSING_TIME, CREATE_TIME, LOG_APPEND_TIME = "ProcessingTime", "CreateTime", "LogAppendTime"
#: How far behind the clock time goes on for a partition whose times are the broker's, and that has been read to its end.
_IDLE_MICROS = 2_000_000
_FETCH = 1000
_CALL_SECONDS = 30.0
_TIMESTAMP_TYPES = {0: "NoTimestampType", 1: "CreateTime", 2: "LogAppendTime"}

_PASSING = (
    "_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "UNKNOWN_TOPIC_OR_PART", "NOT_LEADER_FOR_PARTITION",
    "LEADER_NOT_AVAILABLE", "REQUEST_TIMED_OUT", "_MAX_POLL_EXCEEDED",
)  # fmt: skip

Place = tuple[str, int]


class KafkaReadError(DataError):
    """Kafka does not give what is to be read."""


@attrs.frozen
class KafkaMark(CheckpointMark):
    """Behind what was read."""

    #: By topic and partition: the next offset, and the latest time that was read, in microseconds (None for none).
    positions: Mapping[Place, tuple[int, int | None]]
    #: How many records were read so far, and when the first reader began (microseconds since 1970).
    records: int
    began: int
    #: The reader that is asked to tell Kafka; gone after a restart.
    reader: Any = attrs.field(default=None, eq=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"positions": self.positions, "records": self.records, "began": self.began, "reader": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def finalize_checkpoint(self) -> None:
        """Commits the offsets to the consumer group, if that is wanted."""
        if self.reader is not None:
            self.reader.commit(self.positions)


@attrs.frozen
class KafkaSource(UnboundedSource):
    """Records of topics, as ReadFromKafka was asked for them."""

    #: For librdkafka.
    settings: Mapping[str, Any] = attrs.field(repr=False)
    topics: tuple[str, ...]
    key: Callable[[bytes], Any]
    value: Callable[[bytes], Any]
    #: Milliseconds since 1970, or None.
    start_ms: int | None
    #: "earliest" or "latest", where nothing else says where to begin.
    reset: str
    policy: str
    with_metadata: bool
    records_max: int | None
    seconds_max: float | None
    commits: bool
    places: tuple[Place, ...] = ()

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable[UnboundedSource]:
        """Sources with some of the partitions each. KafkaReadError for a topic that is not there, or without brokers."""
        client = kafka_client("ReadFromKafka")
        consumer = client.Consumer(self.settings)
        try:
            places = [place for topic in self.topics for place in self._places(consumer, topic)]
        finally:
            consumer.close()
        count = 1 if self.records_max is not None else max(1, min(desired_num_splits, len(places)))
        return [attrs.evolve(self, places=tuple(places[number::count])) for number in range(count)]

    def _places(self, consumer: Any, topic: str) -> list[Place]:
        with asking(self, f"partitions of topic {topic!r}"):
            found = consumer.list_topics(topic, timeout=_CALL_SECONDS).topics[topic]
            if found.error is not None:
                raise kafka_client().KafkaException(found.error)
        return [(topic, number) for number in sorted(found.partitions)]

    def reads(self) -> str:
        """What a position belongs to; a changed pipeline that reads something else does not go on from it."""
        return f"Kafka topics {', '.join(self.topics)}"

    def resume(self, split: UnboundedSource) -> UnboundedSource:
        """The same partitions, with the settings that the pipeline has now."""
        assert isinstance(split, KafkaSource)
        return attrs.evolve(self, places=split.places)

    def create_reader(self, options: Any, checkpoint_mark: Any) -> UnboundedReader:
        """A reader of these partitions."""
        return KafkaReader(self, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        """Marks are pickled."""
        return PickleCoder()

    @property
    def servers(self) -> str:
        """The brokers that are asked first."""
        return str(self.settings["bootstrap.servers"])


class asking:
    """Makes a KafkaReadError, with what was asked for, of an error of the client."""

    def __init__(self, source: KafkaSource, what: str) -> None:
        self._source = source
        self._what = what

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Raises."""
        if isinstance(error, kafka_client("ReadFromKafka").KafkaException):
            raise KafkaReadError(
                f"Kafka at {self._source.servers} does not give the {self._what}: {error.args[0].str()}."
            ) from error


@attrs.define
class _Partition:
    """How far a partition is read."""

    offset: int
    #: The latest time that was read, in microseconds.
    latest: int | None
    is_at_end: bool = False


class KafkaReader(UnboundedReader):
    """Reads some partitions by one consumer."""

    def __init__(self, source: KafkaSource, mark: KafkaMark | None) -> None:
        self._source = source
        self._client = kafka_client("ReadFromKafka")
        self._consumer = self._client.Consumer(source.settings)
        self._is_closed = False
        self._records = 0 if mark is None else mark.records
        self._began = processing_time.now_micros() if mark is None else mark.began
        self._ready: deque[Any] = deque()
        self._current: tuple[Any, Timestamp] | None = None
        if mark is None:
            with asking(source, "offsets to begin at"):
                self._partitions = {
                    place: _Partition(offset, None) for place, offset in self._first_offsets()
                }
        else:
            self._partitions = {place: _Partition(*position) for place, position in mark.positions.items()}

    def start(self) -> bool:
        """Begins to fetch."""
        place_of = self._client.TopicPartition
        self._consumer.assign([place_of(*place, each.offset) for place, each in self._partitions.items()])
        return self.advance()

    def advance(self) -> bool:
        """Goes to the next record, if one was fetched."""
        if self._is_over():
            return False
        while True:
            while self._ready:
                message = self._ready.popleft()
                if message.error() is None:
                    self._take(message)
                    return True
                self._hear(message)
            self._ready.extend(self._consumer.consume(_FETCH, 0))
            if not self._ready:
                return False

    def _take(self, message: Any) -> None:
        place = message.topic(), message.partition()
        part = self._partitions[place]
        policy, now = self._source.policy, processing_time.now_micros()
        kind, milliseconds = message.timestamp()
        micros = now if policy == PROCESSING_TIME else milliseconds * 1000
        if policy != PROCESSING_TIME and kind == self._client.TIMESTAMP_NOT_AVAILABLE:
            raise KafkaReadError(f"{_where(message)} has no time. Use timestamp_policy='{PROCESSING_TIME}'.")
        if policy == LOG_APPEND_TIME and kind != self._client.TIMESTAMP_LOG_APPEND_TIME:
            raise KafkaReadError(
                f"{_where(message)} has a time of its producer, and timestamp_policy is '{LOG_APPEND_TIME}'. Give its topic "
                f"message.timestamp.type={LOG_APPEND_TIME}, or use '{CREATE_TIME}'."
            )
        self._current = self._element(message), Timestamp(micros=micros)
        part.offset = message.offset() + 1
        part.latest = micros if part.latest is None else max(part.latest, micros)
        part.is_at_end = False
        self._records += 1

    def _hear(self, message: Any) -> None:
        error = message.error()
        if error.code() == self._client.KafkaError._PARTITION_EOF:
            self._partitions[message.topic(), message.partition()].is_at_end = True
        elif error.code() == self._client.KafkaError._AUTO_OFFSET_RESET:
            raise KafkaReadError(
                f"{_where(message)} is not there any more, or not yet: retention has removed it before it was read, or the "
                f"topic was made anew ({error.str()}). Begin anew to read what is there."
            )
        elif error.fatal() or not _passes(self._client, error):
            raise KafkaReadError(f"Kafka at {self._source.servers} does not give records: {error.str()}.")
        else:
            _log.warning("Kafka at %s: %s; it is tried again", self._source.servers, error.str())

    def _element(self, message: Any) -> Any:
        key, value = message.key(), message.value()
        source = self._source
        if source.with_metadata:
            kind, milliseconds = message.timestamp()
            return Row(
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
                timestamp=milliseconds,
                key=key,
                value=value,
                headers=[Row(key=name, value=data) for name, data in message.headers() or ()],
                timestampTypeId=kind - 1,  # as in Java: -1 for none
                timestampTypeName=_TIMESTAMP_TYPES[kind],
            )
        return (
            None if key is None else _decoded(source.key, key, "key", message),
            None if value is None else _decoded(source.value, value, "value", message),
        )

    def get_current(self) -> Any:
        """The record."""
        assert self._current is not None
        return self._current[0]

    def get_current_timestamp(self) -> Timestamp:
        """Its time by the policy."""
        assert self._current is not None
        return self._current[1]

    def get_watermark(self) -> Timestamp:
        """The earliest of the partitions' times; the end, when as much was read as was asked for."""
        if self._is_over() or not self._partitions:
            return MAX_TIMESTAMP
        now = processing_time.now_micros()
        if self._source.policy == PROCESSING_TIME:
            return Timestamp(micros=now)
        micros = min(self._watermark(each, now) for each in self._partitions.values())
        return Timestamp(micros=max(micros, MIN_TIMESTAMP.micros))

    def _watermark(self, part: _Partition, now: int) -> int:
        """As Beam's policies have it: the latest time, but not after the clock; the clock's at the end of the partition."""
        latest = MIN_TIMESTAMP.micros if part.latest is None else min(part.latest, now)
        if not part.is_at_end:
            return latest
        return max(latest, now - _IDLE_MICROS if self._source.policy == LOG_APPEND_TIME else now)

    def _is_over(self) -> bool:
        source = self._source
        return (source.records_max is not None and self._records >= source.records_max) or (
            source.seconds_max is not None
            and processing_time.now_micros() >= self._began + source.seconds_max * 1_000_000
        )

    def get_checkpoint_mark(self) -> KafkaMark:
        """Behind the current record."""
        positions = {place: (each.offset, each.latest) for place, each in self._partitions.items()}
        return KafkaMark(positions, self._records, self._began, self if self._source.commits else None)

    def commit(self, positions: Mapping[Place, tuple[int, int | None]]) -> None:
        """Tells the consumer group's offsets to Kafka; without waiting, unless the read has ended meanwhile."""
        place_of = self._client.TopicPartition
        offsets = [place_of(*place, offset) for place, (offset, _) in positions.items()]
        if not self._is_closed:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            return
        consumer = self._client.Consumer(self._source.settings)
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        finally:
            consumer.close()

    def close(self) -> None:
        """Closes the consumer. A mark may still be finalized: what was read last is durable later than the read's end."""
        self._is_closed = True
        self._consumer.close()

    def _first_offsets(self) -> Iterable[tuple[Place, int]]:
        """Where each partition begins: by time; or where the group was; or at an end of the partition."""
        source, consumer, place_of = self._source, self._consumer, self._client.TopicPartition
        found = dict.fromkeys(source.places, -1)
        if source.start_ms is not None:
            asked = [place_of(*place, source.start_ms) for place in source.places]
            answers = consumer.offsets_for_times(asked, timeout=_CALL_SECONDS)
        elif source.settings["group.id"] != NO_GROUP:
            answers = consumer.committed([place_of(*place) for place in source.places], timeout=_CALL_SECONDS)
        else:
            answers = []
        for each in answers:
            if each.error is not None:
                raise self._client.KafkaException(each.error)
            found[each.topic, each.partition] = each.offset
        for place, offset in found.items():
            if offset >= 0:
                yield place, offset
                continue
            low, high = consumer.get_watermark_offsets(place_of(*place), timeout=_CALL_SECONDS)
            yield place, low if source.reset == "earliest" and source.start_ms is None else high


def _passes(client: Any, error: Any) -> bool:
    """Whether an error is one that the client gets over by itself."""
    return error.retriable() or error.code() in {getattr(client.KafkaError, name) for name in _PASSING}


def _where(message: Any) -> str:
    return f"Offset {message.offset()} of partition {message.partition()} of Kafka topic {message.topic()!r}"


def _decoded(decode: Callable[[bytes], Any], data: bytes, what: str, message: Any) -> Any:
    try:
        return decode(data)
    except ValueError as error:
        raise KafkaReadError(f"{_where(message)}: its {what} is {data!r:.200} and not {error}.") from None
