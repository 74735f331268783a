"""The sink of WriteToLog.

Without checkpoints, a bundle is one transaction (or one batch a partition), on the disk when the bundle has ended. With
checkpoints it is exactly-once by staging:

    rows ─► staging topic of this writer ─► [from, to) is synced, and named in the checkpoint
         ─► when that is published: one transaction copies [from, to) to the target and commits `to` as the offset of the
            staging topic's own consumer group

Whoever dies when, the group's offset says whether a range was copied. The staging topics lie in the same log as the target.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hornbeam.io import open_logs
from hornbeam.io.disk_space import when_there_is_room
from hornbeam.io.staging_topic import (
    Staged,
    StagingWriter,
    remove_staging_topics,
    staged_batches,
    staging_prefix,
)
from hornbeam.io.two_phase import TwoPhaseSink, TwoPhaseWriter
from hornbeam.storage.log import Consumer, Log, Producer, UnknownTopicError
from hornbeam.transforms.window import GlobalWindow
from hornbeam.utils.timestamp import MIN_TIMESTAMP

_DELETE_RECORDS = 100_000
#: Elements at these ends of time have no time of their own: the clock's stands in the log.
_NO_TIMES = (MIN_TIMESTAMP.micros, GlobalWindow().max_timestamp().micros)


@attrs.define(slots=False)
class LogSink(TwoPhaseSink):
    """Writes (key, value) pairs of bytes or None to a topic."""

    directory: str
    topic: str
    #: What tells this sink's staging topics from those of other steps and jobs; stays when the job is started again.
    identity: str
    partitions: int | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    needs_timestamps: bool = True
    transactional: bool = True
    _log: Log | None = attrs.field(default=None, init=False)
    _publisher: Producer | None = attrs.field(default=None, init=False)
    #: Up to where staging topics are let go of, which is not done at every commit.
    _deleted: dict[str, int] = attrs.field(factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_log": None, "_publisher": None, "_deleted": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def display_data(self) -> dict[str, Any]:
        """Where to."""
        return {"log_dir": self.directory, "topic": self.topic}

    @property
    def staging_prefix(self) -> str:
        """How the names of this sink's staging topics begin."""
        return staging_prefix(self.identity)

    def start(self) -> None:
        """Makes the target topic, or sees to it that it is there."""
        log = self._opened()
        if self.partitions is None and not self.settings:
            try:
                log.topic(self.topic)
            except UnknownTopicError as error:
                error.add_note(
                    f"make it (hornbeam log create {self.directory} {self.topic}), or give WriteToLog(partitions=1)"
                )
                raise
        else:
            log.ensure_topic(self.topic, self.partitions or 1, **self.settings)

    def open_writer(self) -> TwoPhaseWriter:
        """A writer into a staging topic of its own."""
        return _StagingWriter(self)

    def open_direct_writer(self) -> TwoPhaseWriter:
        """A writer into the target itself."""
        return _DirectWriter(self)

    def commit(self, token: Any) -> None:
        """Copies the staged records to the target, unless that was done."""
        topic, start, stop = Staged(*token)
        log = self._opened()
        try:
            staging = log.topic(topic)
        except UnknownTopicError:
            return  # removed by `recover` of a later run, which was after it was committed
        what = f"The commit of what was written to {self.topic!r}"
        when_there_is_room(functools.partial(self._copy, topic, start, stop), what)
        if stop - self._deleted.get(topic, 0) >= _DELETE_RECORDS:
            staging.partition(0).delete_before(stop)
            self._deleted[topic] = stop

    def _copy(self, topic: str, start: int, stop: int) -> None:
        """Copies what of the range is not copied yet, all of it or nothing."""
        log = self._opened()
        if self._publisher is None:  # this also settles what an earlier one left half done
            self._publisher = Producer(log, transactional_id=self.staging_prefix + "publisher")
        try:
            # With its partition assigned by hand it need not join the group whose offset it reads.
            with Consumer(log, group=topic, isolation="read_uncommitted") as reader:
                reader.assign([(topic, 0)])
                start = max(start, reader.committed().get((topic, 0), 0))
                if start < stop:
                    reader.seek(topic, 0, start)
                    with self._publisher.transaction() as producer:
                        self._copy_records(reader, producer, start, stop)
                        producer.send_offsets({(topic, 0): stop}, topic)
        except BaseException:
            publisher, self._publisher = self._publisher, None
            with contextlib.suppress(Exception):  # the error that is on its way counts
                publisher.close()
            raise

    def _copy_records(self, reader: Consumer, producer: Producer, start: int, stop: int) -> None:
        for batch, count in staged_batches(reader, start, stop):
            micros = batch.timestamps()[:count].tolist()
            producer.append(self.topic, batch.values()[:count], batch.keys()[:count], timestamps=micros)

    def abort(self, token: Any) -> None:
        """Nothing: what is staged is never copied, and goes with its topic."""

    def recover(self, tokens: Sequence[Any]) -> None:
        """Removes the staging topics of earlier runs, but for those of these tokens."""
        kept = frozenset(Staged(*token).topic for token in tokens)
        remove_staging_topics(self._opened(), self.staging_prefix, kept)

    def release(self) -> None:
        """Closes what commits were made with."""
        publisher, self._publisher = self._publisher, None
        log, self._log = self._log, None
        if publisher is not None:
            publisher.close()
        if log is not None:
            open_logs.release(log)

    def _opened(self) -> Log:
        if self._log is None:
            self._log = open_logs.acquire(self.directory)
        return self._log


def _columns(log: Log, values: Sequence[Any], timestamps: Sequence[int]) -> tuple[list[Any], list[Any], Any]:
    """Values, keys and times of rows; times are the clock's for all rows if they are so for one."""
    keys, rows = map(list, zip(*values))
    if not timestamps:
        return rows, keys, None
    if not set(timestamps).isdisjoint(_NO_TIMES):
        now = log.clock()
        timestamps = [now if micros in _NO_TIMES else micros for micros in timestamps]
    return rows, keys, timestamps


class _DirectWriter(TwoPhaseWriter):
    """Writes to the target: a bundle is a transaction, or batches that are each written once."""

    def __init__(self, sink: LogSink) -> None:
        self.sink = sink
        self.log = open_logs.acquire(sink.directory)
        transactional_id = f"WriteToLog.{uuid.uuid4().hex}" if sink.transactional else None
        self._producer = Producer(self.log, transactional_id=transactional_id)
        self._in_transaction = False

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Appends the rows."""
        if self.sink.transactional and not self._in_transaction:
            self._producer.begin_transaction()
            self._in_transaction = True
        rows, keys, times = _columns(self.log, values, timestamps)
        self._producer.append(self.sink.topic, rows, keys, timestamps=times)

    def prepare(self, checkpoint: int) -> None:
        """The bundle is on the disk."""
        if self._in_transaction:
            self._producer.commit_transaction()
            self._in_transaction = False

    def abort(self) -> None:
        """Voids the bundle that was begun."""
        if self._in_transaction:
            self._in_transaction = False
            self._producer.abort_transaction()

    def close(self) -> None:
        """Closes the producer."""
        try:
            self._producer.close()
        finally:
            open_logs.release(self.log)


class _StagingWriter(StagingWriter):
    """Stages rows with the times that they are to have in the target."""

    def __init__(self, sink: LogSink) -> None:
        topic = f"{sink.staging_prefix}{uuid.uuid4().hex[:16]}"
        super().__init__(sink.directory, topic, f"WriteToLog to {sink.topic!r}")

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Stages the rows."""
        self.stage(*_columns(self.log, values, timestamps))


class EncodedRow:
    """Makes (key, value) pairs of bytes out of elements, as WriteToLog was asked to. Pickles with its functions."""

    def __init__(self, key: Any, encode: Any) -> None:
        self._key = key
        self._encode = encode

    def __call__(self, element: Any) -> tuple[bytes | None, bytes | None]:
        """The element's key and value."""
        key = None if self._key is None else as_bytes(self._key(element), "key")
        return key, as_bytes(element if self._encode is None else self._encode(element), "value")


def as_bytes(given: Any, what: str) -> bytes | None:
    """Bytes and None as they are, text as UTF-8; TypeError for anything else."""
    if given is None or type(given) is bytes:
        return given
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    raise TypeError(
        f"WriteToLog needs the {what} of a record as bytes, str or None; found {given!r} ({type(given).__name__}). "
        + ("Pass a value_coder, such as json.dumps." if what == "value" else "Let `key` give one of these.")
    )
