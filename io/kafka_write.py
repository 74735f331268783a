"""The sink of WriteToKafka.

Without checkpoints, a bundle has ended when Kafka has taken its records. With checkpoints it is exactly-once by staging:
rows lie in the job's folder until their checkpoint is published, and then are brought over in transactions
(`kafka_publisher`). A transaction of Kafka itself cannot wait for a checkpoint: it ends with the process that began it.
"""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from hornbeam.error import TransformError
from hornbeam.io import open_logs
from hornbeam.io.commit_journal import CommitJournal
from hornbeam.io.kafka_config import KafkaWriteError, ProducerConfig, headers_size, kafka_client
from hornbeam.io.kafka_publisher import Chunk, DeliveryReports, KafkaRow, Publisher, produce
from hornbeam.io.staging_topic import (
    Staged,
    StagingWriter,
    remove_staging_topics,
    staged_batches,
    staging_prefix,
)
from hornbeam.io.two_phase import TwoPhaseSink, TwoPhaseWriter
from hornbeam.storage.log import Consumer, Log, UnknownTopicError

#: A transaction has about so much; what a worker wrote since the last checkpoint may be several.
_TRANSACTION_BYTES = 32 << 20
_TRANSACTION_ROWS = 100_000
_DELETE_RECORDS = 100_000
_BATCH_BYTES = 2 << 20


class StagedRows(NamedTuple):
    """The token: offsets of a staging topic, and whether each of its values is a whole KafkaRow, pickled."""

    topic: str
    start: int
    stop: int
    is_whole: bool


@attrs.define(slots=False)
class KafkaSink(TwoPhaseSink):
    """Writes KafkaRows, of which those without headers and the like are (key, value) pairs of bytes or None."""

    config: ProducerConfig
    topic: str
    with_headers: bool
    #: The job, and the folder for what its sinks keep; None where there is none.
    job: str = ""
    folder: str | None = None
    #: What tells this sink from the job's others.
    identity: str = ""
    _log: Log | None = attrs.field(default=None, init=False)
    _journal: CommitJournal | None = attrs.field(default=None, init=False)
    _publisher: Publisher | None = attrs.field(default=None, init=False)
    #: Up to where staging topics are let go of, which is not done at every commit.
    _deleted: dict[str, int] = attrs.field(factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_log": None, "_journal": None, "_publisher": None, "_deleted": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def display_data(self) -> dict[str, Any]:
        """Where to. What else is in the configuration may be secret."""
        return {"bootstrap_servers": self.config.servers, "topic": self.topic}

    def start(self) -> None:
        """ImportError without the package that writes."""
        kafka_client()

    def open_writer(self) -> TwoPhaseWriter:
        """A writer that stages in the job's folder."""
        self.config.check_for_transactions()
        return _StagingWriter(self, self._staging())

    def open_direct_writer(self) -> TwoPhaseWriter:
        """A writer whose bundles are in Kafka when they end."""
        return _DirectWriter(self)

    def commit(self, token: Any) -> None:
        """Brings the staged rows to Kafka, unless that was done."""
        staged = StagedRows(*token)
        if self._journal is None:
            self._journal = CommitJournal.read(self._journal_path())
        if self._journal.position(staged.topic) >= staged.stop:
            return
        try:
            topic = self._opened().topic(staged.topic)
        except UnknownTopicError:
            return  # removed by `recover` of a later run, which was after it was committed
        if self._publisher is None:
            self._publisher = Publisher(self.config, self.job, self.topic, self._journal)
        self._publisher.publish(
            Staged(*staged[:3]), lambda start, stop: self._chunks(staged._replace(start=start, stop=stop))
        )
        if staged.stop - self._deleted.get(staged.topic, 0) >= _DELETE_RECORDS:
            topic.partition(0).delete_before(staged.stop)
            self._deleted[staged.topic] = staged.stop

    def _chunks(self, staged: StagedRows) -> Iterator[Chunk]:
        """The staged rows, by transactions."""
        with Consumer(self._opened(), isolation="read_uncommitted") as reader:
            reader.assign([(staged.topic, 0)])
            reader.seek(staged.topic, 0, staged.start)
            rows: list[KafkaRow] = []
            size, at = 0, staged.start
            for batch, count in staged_batches(reader, staged.start, staged.stop):
                at += count
                values, keys = batch.values()[:count], batch.keys()[:count]
                size += sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys)))
                if staged.is_whole:
                    rows += (KafkaRow(*pickle.loads(value or b"")) for value in values)
                else:
                    rows += map(KafkaRow, keys, values)
                if size >= _TRANSACTION_BYTES or len(rows) >= _TRANSACTION_ROWS:
                    yield Chunk(rows, at)
                    rows, size = [], 0
            if rows:
                yield Chunk(rows, at)

    def recover(self, tokens: Sequence[Any]) -> None:
        """Removes what earlier runs staged, but for these tokens, and begins the journal of commits."""
        if self.folder is None:
            return
        path = self._journal_path()
        if self._journal is None:
            self._journal = (
                CommitJournal.read(path) if CommitJournal.exists(path) else CommitJournal.create(path)
            )
        kept = frozenset(StagedRows(*token).topic for token in tokens)
        remove_staging_topics(self._opened(), staging_prefix(self.identity), kept)
        self._journal.keep(kept)

    def release(self) -> None:
        """Closes what commits were made with."""
        publisher, self._publisher, self._journal = self._publisher, None, None
        log, self._log = self._log, None
        if publisher is not None:
            publisher.close()
        if log is not None:
            open_logs.release(log)

    def _in_folder(self, name: str) -> str:
        if self.folder is None:
            raise TransformError(
                "WriteToKafka needs a folder to stage rows in. Give --log_dir and --job_name when it is built, too."
            )
        return os.path.join(self.folder, name)

    def _journal_path(self) -> str:
        return self._in_folder(f"kafka-{self.identity}.json")

    def _staging(self) -> str:
        return self._in_folder("staged")

    def _opened(self) -> Log:
        if self._log is None:
            self._log = open_logs.acquire(self._staging())
        return self._log


class _StagingWriter(StagingWriter):
    """Stages pairs as they are, and rows with more than that pickled."""

    def __init__(self, sink: KafkaSink, directory: str) -> None:
        topic = f"{staging_prefix(sink.identity)}{uuid.uuid4().hex[:16]}"
        super().__init__(directory, topic, f"WriteToKafka to {sink.topic!r}")
        self._is_whole = sink.with_headers

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Stages the rows."""
        keys: list[bytes | None]
        staged: list[bytes | None]
        if self._is_whole:
            keys, staged = [None] * len(values), [pickle.dumps(tuple(row), 5) for row in values]
        else:
            keys, staged = [row[0] for row in values], [row[1] for row in values]
        for start, stop in _portions(keys, staged):
            self.stage(staged[start:stop], keys[start:stop])

    def prepare(self, checkpoint: int) -> Any:
        """The offsets since the last call, and their form."""
        staged = super().prepare(checkpoint)
        return None if staged is None else StagedRows(*staged, self._is_whole)


def _portions(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that have about as many bytes as are staged, and later read again, at once."""
    start = size = 0
    for at, (key, value) in enumerate(zip(keys, values), 1):
        size += len(key or b"") + len(value or b"")
        if size >= _BATCH_BYTES:
            yield start, at
            start, size = at, 0
    if start < len(keys):
        yield start, len(keys)


class _DirectWriter(TwoPhaseWriter):
    """Sends rows as they come. A bundle has ended when all of them are delivered."""

    def __init__(self, sink: KafkaSink) -> None:
        self._config = sink.config
        self._topic = sink.topic
        self._producer: Any = None
        self._is_in_bundle = False
        self._reports = DeliveryReports()

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Hands the rows to the producer."""
        client = kafka_client()
        if self._producer is None:
            self._reports = DeliveryReports()
            self._producer = client.Producer({**self._config.for_bundles(), **self._reports.callbacks()})
        self._is_in_bundle = True
        rows: Iterable[KafkaRow] = (KafkaRow(*row) for row in values)
        try:
            produce(self._producer, self._topic, rows, self._check)
        except client.KafkaException as error:
            raise self._failed(error.args[0], error.args[0].str()) from error

    def prepare(self, checkpoint: int) -> None:
        """Waits until all is delivered; KafkaWriteError if something is not."""
        client = kafka_client()
        try:
            while self._producer is not None and self._producer.flush(1.0):
                self._check()
        except client.KafkaException as error:
            raise self._failed(error.args[0], error.args[0].str()) from error
        self._check()
        self._is_in_bundle = False

    def abort(self) -> None:
        """Gives up what is not delivered yet; what is, stays. Nothing between bundles."""
        if self._is_in_bundle:
            self.close()

    def close(self) -> None:
        """Lets go of the producer."""
        self._is_in_bundle = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(blocking=False)

    def _check(self) -> None:
        if self._reports.failure is not None:
            error, what = self._reports.failure
            raise self._failed(error, f"{error.str()} ({what})")

    def _failed(self, error: Any, text: str) -> KafkaWriteError:
        self.close()
        if error.code() == type(error)._MSG_TIMED_OUT:
            text += f", after {self._config.delivery_timeout_s:g} s (delivery.timeout.ms)"
        if self._reports.trouble:
            text += f"; last seen: {self._reports.trouble}"
        return KafkaWriteError(
            f"Kafka at {self._config.servers} did not take rows for topic {self._topic!r}: {text}."
        )


class PairEncoder:
    """Makes a row of a (key, value) pair. Pickles."""

    def __init__(self, key: Callable[[Any], bytes], value: Callable[[Any], bytes], bytes_max: int) -> None:
        self._serializers = key, value
        self._bytes_max = bytes_max

    def __call__(self, element: Any) -> tuple[bytes | None, bytes | None]:
        """The serialized key and value. TypeError for anything else, ValueError for what is too large."""
        if not isinstance(element, tuple | list) or len(element) != 2:
            raise TypeError(
                f"WriteToKafka needs (key, value) pairs; found {element!r:.200} ({type(element).__name__})."
            )
        key = _serialized(element[0], self._serializers[0], "key")
        value = _serialized(element[1], self._serializers[1], "value")
        _check_size(len(key or b"") + len(value or b""), self._bytes_max)
        return key, value


class RowEncoder:
    """Makes a row of an object with key, value and, if need be, headers, topic, partition and timestamp."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max

    def __call__(self, element: Any) -> KafkaRow:
        """The row. TypeError for a field of another type, ValueError for what is too large."""
        if not hasattr(element, "key") or not hasattr(element, "value"):
            raise TypeError(
                "WriteToKafka(with_headers=True) needs a beam.Row with key and value; found "
                f"{element!r:.200} ({type(element).__name__})."
            )
        key, value = (_field(element, name, bytes) for name in ("key", "value"))
        headers = _headers(getattr(element, "headers", None))
        row = KafkaRow(
            key,
            value,
            headers,
            _field(element, "topic", str),
            _field(element, "partition", int),
            _field(element, "timestamp", int),
        )
        _check_size(len(key or b"") + len(value or b"") + headers_size(headers or []), self._bytes_max)
        return row


def _serialized(given: Any, serializer: Callable[[Any], bytes], what: str) -> bytes | None:
    if given is None:
        return None
    try:
        return serializer(given)
    except TypeError as error:
        raise TypeError(
            f"WriteToKafka needs the {what} of a record as {error}; found {given!r:.200} ({type(given).__name__}). "
            f"Give such a one, or name another {what}_serializer."
        ) from None


def _field(element: Any, name: str, kind: type) -> Any:
    given: Any = getattr(element, name, None)
    if given is None or (type(given) is kind and not (isinstance(given, int) and given < 0)):
        return given
    wanted = "an int from 0 on" if kind is int else kind.__name__
    raise TypeError(
        f"WriteToKafka needs {name} of a Row as {wanted} or None; found {given!r:.200} ({type(given).__name__})."
    )


def _headers(given: Any) -> list[tuple[str, bytes | None]] | None:
    if given is None:
        return None
    pairs = given.items() if isinstance(given, Mapping) else given
    headers = []
    for each in pairs:
        is_pair = isinstance(each, tuple) and len(each) == 2
        name, value = each if is_pair else (getattr(each, "key", None), getattr(each, "value", None))
        if not isinstance(name, str) or not isinstance(value, bytes | None):
            raise TypeError(
                f"WriteToKafka needs headers as Rows of a key (str) and a value (bytes); found {each!r:.200}."
            )
        headers.append((name, value))
    return headers


def _check_size(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise ValueError(
            f"a record of {size:,} bytes is too large for Kafka as it is configured, which takes {bytes_max:,}. Raise "
            "'max.request.size' in producer_config, and 'max.message.bytes' of the topic."
        )
