"""Brings staged rows into Kafka, in transactions that know of each other: each row once, whoever dies when.

    journal: intent n ─► begin · rows · the offset n of our own consumer group · commit ─► journal: done

The group's offset is committed in the rows' transaction. So it is the mark that says, to whoever finds the intent n and does
not know more, whether those rows were committed. It is asked for after `init_transactions`, which ends what a dead
producer of the same transactional id left open, and shuts out one that is only slow.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hornbeam.io.commit_journal import CommitJournal, Intent
from hornbeam.io.kafka_config import KafkaWriteError, ProducerConfig, kafka_client
from hornbeam.io.staging_topic import Staged
from hornbeam.storage.files import OS_FILES

__all__ = ["Chunk", "KafkaRow", "Publisher", "produce"]

_log = logging.getLogger(__name__)

#: Brokers forget offsets of groups that nobody renews, after a week if they were not told otherwise.
_RENEW_SECONDS = 3600.0
_CALL_SECONDS = 30.0
_FENCED_MAX = 3
_SAY_SECONDS = 30.0
#: A topic that is being made, or a leader that changes, is not worth a warning.
_QUIET_SECONDS = 5.0
_BACK_OFF_SECONDS_MAX = 5.0

#: Errors that come again however often a thing is tried.
_PERMANENT = (
    "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG", "INVALID_MSG_SIZE",
    "INVALID_TIMESTAMP", "TOPIC_EXCEPTION", "INVALID_PARTITIONS", "_UNKNOWN_PARTITION", "_INVALID_ARG", "POLICY_VIOLATION",
    "TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "SASL_AUTHENTICATION_FAILED", "_AUTHENTICATION",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT", "UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE", "UNSUPPORTED_COMPRESSION_TYPE",
    "INVALID_TRANSACTION_TIMEOUT", "INVALID_CONFIG", "INVALID_REQUIRED_ACKS", "_NOT_IMPLEMENTED",
)  # fmt: skip


class KafkaRow(NamedTuple):
    """A record to be."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None = None
    #: None: the sink's.
    topic: str | None = None
    #: None: by key.
    partition: int | None = None
    #: None: the time at which it is sent.
    timestamp_ms: int | None = None


class Chunk(NamedTuple):
    """Rows that become one transaction, and the offset behind them in their staging topic."""

    rows: Iterable[KafkaRow]
    stop: int


def produce(producer: Any, topic: str, rows: Iterable[KafkaRow], check: Callable[[], None]) -> None:
    """Hands rows to a producer, in order; waits while its queue is full. `check` raises what has failed."""
    for key, value, headers, other_topic, partition, timestamp_ms in rows:
        more: dict[str, Any] = {}
        if headers:
            more["headers"] = headers
        if partition is not None:
            more["partition"] = partition
        if timestamp_ms is not None:
            more["timestamp"] = timestamp_ms
        while True:
            try:
                producer.produce(other_topic or topic, value, key, **more)
                break
            except BufferError:
                producer.poll(0.1)
                check()
    producer.poll(0)
    check()


class DeliveryReports:
    """Gathers what a producer's callbacks say. They are called while it is polled."""

    def __init__(self) -> None:
        #: The first record that was not delivered: why, its topic, partition, key.
        self.failure: tuple[Any, str] | None = None
        #: What was wrong with connections last.
        self.trouble = ""

    def callbacks(self) -> dict[str, Any]:
        """To be put among a producer's settings."""
        return {"on_delivery": self._delivered, "error_cb": self._in_trouble}

    def _delivered(self, error: Any, message: Any) -> None:
        client = kafka_client()
        purged = (client.KafkaError._PURGE_QUEUE, client.KafkaError._PURGE_INFLIGHT)
        if error is not None and self.failure is None and error.code() not in purged:
            where, partition = f"topic {message.topic()!r}", message.partition()
            if partition is not None and partition >= 0:  # else none was chosen yet
                where += f", partition {partition}"
            self.failure = error, f"a record with key {_short(message.key())} for {where}"

    def _in_trouble(self, error: Any) -> None:
        self.trouble = error.str()


def _short(key: bytes | None) -> str:
    text = repr(key)
    return text if len(text) <= 80 else text[:80] + "…"


class Publisher:
    """The one producer of a sink that is committed with checkpoints. For one thread."""

    def __init__(self, config: ProducerConfig, job: str, topic: str, journal: CommitJournal) -> None:
        self._config = config
        self._topic = topic
        self._journal = journal
        #: Transactional id and consumer group.
        self.name = f"{config.transaction_prefix or f'hornbeam-{job}'}.{journal.id}"
        self._producer: Any = None
        self._group: Any = None
        self._reports = DeliveryReports()
        self._renewed = 0.0
        #: When rows were committed last, or that was begun.
        self._progressed = 0.0

    def publish(self, staged: Staged, read: Callable[[int, int], Iterator[Chunk]]) -> None:
        """Commits what of the staged rows is not committed yet; `read` gives them, from one offset to another.

        KafkaWriteError when Kafka refuses them, or nothing has succeeded for the delivery timeout.
        """
        exception = kafka_client().KafkaException
        self._progressed = time.monotonic()
        fenced = tries = 0
        said = time.monotonic() - _SAY_SECONDS + _QUIET_SECONDS
        while True:
            progressed = self._progressed
            try:
                self._open()
                self._send(staged, read)
                return
            except BaseException as error:
                if not isinstance(error, exception):
                    self.close()
                    raise
                cause, text = self._explained(error)
                self.close()
                tries = 1 if self._progressed > progressed else tries + 1
                fenced = fenced + 1 if _is(cause, "_FENCED", "PRODUCER_FENCED") else 0
                if fenced >= _FENCED_MAX:
                    text += f". Another process commits as {self.name!r}: this job must run once only"
                late = time.monotonic() - self._progressed > self._config.delivery_timeout_s
                if late or fenced >= _FENCED_MAX or _is(cause, *_PERMANENT):
                    raise KafkaWriteError(
                        f"Kafka at {self._config.servers} did not take rows for topic {self._topic!r}: {text}. They are "
                        "still staged: when the cause is mended, start the job again."
                    ) from error
                if time.monotonic() >= said + _SAY_SECONDS:
                    said = time.monotonic()
                    _log.warning("Writing to Kafka topic %r is tried again: %s", self._topic, text)
                time.sleep(min(0.05 * 2 ** min(tries, 10), _BACK_OFF_SECONDS_MAX))

    def close(self) -> None:
        """Lets go of the connections; what is under way is not committed."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(blocking=False)

    def _open(self) -> None:
        """A producer that nobody else's transaction is under way beside, and a mark that was just renewed."""
        if self._producer is not None:
            return
        client = kafka_client()
        self._reports = reports = DeliveryReports()
        settings = {**self._config.for_transactions(self.name), **reports.callbacks()}
        self._producer = producer = client.Producer(settings)
        producer.init_transactions(self._seconds())
        self._journal.read_again()
        self._see_topic()
        self._resolve()
        self._transact(self._journal.number, ())

    def _see_topic(self) -> None:
        """The topic must be there before a mark can be left at it. The question may have it made."""
        found = self._producer.list_topics(self._topic, timeout=self._seconds()).topics[self._topic]
        if found.error is not None:
            raise kafka_client().KafkaException(found.error)

    def _resolve(self) -> None:
        """Finds out what became of a transaction that was intended."""
        intent = self._journal.intent
        mark = self._mark(self._topic if intent is None else intent.mark)
        if intent is None:
            self._journal.number = max(self._journal.number, mark or 0)
            return
        is_done = intent.is_done
        if is_done is None and mark is not None:
            is_done = mark >= intent.number
        if is_done is None:
            raise KafkaWriteError(
                f"It is not known whether the last rows for Kafka topic {self._topic!r} were written: the job died while "
                f"it committed them, and the offset of group {self.name!r} in partition 0 of {intent.mark!r}, which says "
                "so, is gone (brokers forget offsets after offsets.retention.minutes, and with a topic that is deleted). "
                f'See whether they are in the topic, and write "is_done": true or false into {self._journal.path}; '
                "then start the job again."
            )
        if is_done:
            self._journal.done(max(intent.number, mark or 0))
        else:
            self._journal.void()

    def _mark(self, topic: str) -> int | None:
        """The number of the last transaction that was committed, by the offset of our group; None if there is none."""
        client = kafka_client()
        consumer = client.Consumer(self._config.for_group(self.name))
        try:
            self._group = consumer.consumer_group_metadata()
            (place,) = consumer.committed([client.TopicPartition(topic, 0)], timeout=self._seconds())
        finally:
            consumer.close()
        if place.error is not None:
            raise client.KafkaException(place.error)
        return place.offset if place.offset >= 0 else None

    def _send(self, staged: Staged, read: Callable[[int, int], Iterator[Chunk]]) -> None:
        start = max(staged.start, self._journal.position(staged.topic))
        if start >= staged.stop:
            return
        for chunk in read(start, staged.stop):
            if time.monotonic() - self._renewed > _RENEW_SECONDS:
                self._transact(self._journal.number, ())
            number = self._journal.number + 1
            self._journal.intend(Intent(number, self._topic, staged.topic, chunk.stop))
            self._transact(number, chunk.rows)
            self._progressed = (
                time.monotonic()
            )  # marks alone are none: rows may fail each time for a reason of their own
            self._journal.done(number)

    def _transact(self, number: int, rows: Iterable[KafkaRow]) -> None:
        """One transaction, with its mark."""
        client, producer = kafka_client(), self._producer
        producer.begin_transaction()
        OS_FILES.fault("kafka.begun")
        produce(producer, self._topic, rows, self._check)
        mark = client.TopicPartition(self._topic, 0, number)
        producer.send_offsets_to_transaction([mark], self._group, self._seconds())
        OS_FILES.fault("kafka.sent")
        producer.commit_transaction(self._config.transaction_timeout_s)
        OS_FILES.fault("kafka.committed")
        self._renewed = time.monotonic()

    def _check(self) -> None:
        if self._reports.failure is not None:
            raise kafka_client().KafkaException(self._reports.failure[0])

    def _seconds(self) -> float:
        return max(1.0, min(_CALL_SECONDS, self._config.delivery_timeout_s))

    def _explained(self, error: Any) -> tuple[Any, str]:
        """What is behind an error, and the words for it."""
        if self._producer is not None:
            with contextlib.suppress(type(error)):  # raised again by a producer that is fenced
                self._producer.poll(0)  # the record that failed says more than its transaction
        if self._reports.failure is not None:
            cause, what = self._reports.failure
            return cause, f"{cause.str()} ({what})"
        cause = error.args[0]
        trouble = f" (last seen: {self._reports.trouble})" if self._reports.trouble else ""
        return cause, cause.str() + trouble


def _is(cause: Any, *names: str) -> bool:
    """Whether an error of Kafka is one of these."""
    return cause.code() in {getattr(type(cause), name, None) for name in names}
