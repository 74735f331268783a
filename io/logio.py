"""The log as source and sink: `ReadFromLog` and `WriteToLog`, over the topics of a `hornbeam.storage.log` directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hornbeam.coders.coders import Coder
from hornbeam.error import TransformError
from hornbeam.io.log_cursor import LostRecordsError
from hornbeam.io.log_partition import Positions, checked_positions
from hornbeam.io.log_read import (
    ListPartitions,
    LogReadSpec,
    ReadPartition,
    ReadPartitionForAWhile,
    ReadPartitionForEver,
    WatchPartitions,
)
from hornbeam.io.log_write import EncodedRow, LogSink
from hornbeam.io.step_identity import step_identity
from hornbeam.io.two_phase import WriteTwoPhase
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.storage.log import Record, TopicSettings
from hornbeam.transforms.core import Impulse, Map, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.reshuffle import Reshuffle
from hornbeam.utils.timestamp import DurationTypes, micros_of

__all__ = ["LostRecordsError", "ReadFromLog", "Record", "WriteToLog"]

_ISOLATIONS = ("read_committed", "read_uncommitted")


class ReadFromLog(PTransform[PBegin, PCollection[Any]]):
    """The records of a topic, each at its time in the log.

        events = p | ReadFromLog("/var/lib/app/log", "orders", value_coder=json.loads)

    Without an end it is unbounded, and reads on for ever; partitions that are added to the topic are read too. It is
    bounded with `bounded=True` (to the end as it is when the pipeline starts), with `stop`, or with `max_read_time`.
    Records of one partition come in order.

    Elements are values as bytes, or what `value_coder` (a Coder, or a function of the bytes) makes of them; a value of
    None (a tombstone) stays None. With `with_metadata` they are `Record`s: topic, partition, offset, timestamp_micros,
    key, value, headers.

    Event time is the record's time in the log, or what `timestamp_fn` says of the element (seconds or a Timestamp). Each
    partition has a watermark of its own: the latest time that was read less `max_out_of_orderness` (seconds). A partition
    that has been at its end for `idle_timeout` seconds holds time back no longer: for it time goes on by the wall clock,
    less that timeout. None waits for ever.

    Args:
      log_dir: the log's directory.
      topic: must exist when the pipeline starts.
      partitions: only these, by number.
      start: "earliest", "latest" (only what is new), an offset, a Timestamp or datetime (the first record at or after
        it), or a mapping from partition to one of these.
      stop: before that offset or time, in the same forms. A time that no record has reached yet is the end as it is
        when the pipeline starts.
      max_read_time: read what comes within so many seconds.
      isolation: "read_committed" waits for open transactions and leaves out void ones; or "read_uncommitted".
      on_lost: "fail" or "skip" (with a warning and the counter `records_lost`) when retention has removed records
        before they were read.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        topic: str,
        partitions: Sequence[int] | None = None,
        *,
        start: Positions = "earliest",
        stop: Positions | None = None,
        bounded: bool = False,
        max_read_time: float | None = None,
        value_coder: Coder | Callable[[bytes], Any] | None = None,
        with_metadata: bool = False,
        timestamp_fn: Callable[[Any], Any] | None = None,
        max_out_of_orderness: DurationTypes = 1.0,
        idle_timeout: float | None = 10.0,
        isolation: str = "read_committed",
        on_lost: str = "fail",
    ) -> None:
        super().__init__()
        if sum((bounded, stop is not None, max_read_time is not None)) > 1:
            raise TransformError(
                "ReadFromLog takes one of bounded=True, stop and max_read_time, not several."
            )
        if isolation not in _ISOLATIONS:
            raise TransformError(f"isolation must be one of {', '.join(_ISOLATIONS)}; found {isolation!r}.")
        if on_lost not in ("fail", "skip"):
            raise TransformError(f"on_lost must be 'fail' or 'skip'; found {on_lost!r}.")
        for name, seconds in (("idle_timeout", idle_timeout), ("max_read_time", max_read_time)):
            if seconds is not None and seconds <= 0:
                raise TransformError(
                    f"{name} must be a number of seconds above 0, or None; found {seconds!r}."
                )
        out_of_orderness = micros_of(max_out_of_orderness)
        if out_of_orderness < 0:
            raise TransformError(
                f"max_out_of_orderness must not be negative; found {max_out_of_orderness!r}."
            )
        self._value_coder = value_coder
        self._spec = LogReadSpec(
            os.path.abspath(os.fspath(log_dir)),
            topic,
            None if partitions is None else tuple(partitions),
            checked_positions(start, "start", ("earliest", "latest")),
            "latest" if bounded else None if stop is None else checked_positions(stop, "stop", ("latest",)),
            value_coder.decode if isinstance(value_coder, Coder) else value_coder,
            with_metadata,
            timestamp_fn,
            out_of_orderness,
            idle_timeout,
            isolation,
            on_lost == "skip",
            max_read_time,
        )

    @property
    def is_bounded(self) -> bool:
        """Whether the read comes to an end."""
        return self._spec.stop is not None or self._spec.max_read_seconds is not None

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """Find the partitions, then read each."""
        spec = self._spec
        begin = pbegin | "Start" >> Impulse()
        if self.is_bounded:
            parts = begin | "Partitions" >> ParDo(ListPartitions(spec)) | "Spread" >> Reshuffle()
            reader = ReadPartition(spec) if spec.stop is not None else ReadPartitionForAWhile(spec)
        else:
            watch = ListPartitions(spec) if spec.partitions is not None else WatchPartitions(spec)
            parts = begin | "Partitions" >> ParDo(watch)
            reader = ReadPartitionForEver(spec)
        records: PCollection[Any] = parts | "Read" >> ParDo(reader).with_output_types(self._element_type())
        return records

    def _element_type(self) -> Any:
        if self._spec.with_metadata:
            return Record
        if self._value_coder is None:
            return bytes
        return self._value_coder.to_type_hint() if isinstance(self._value_coder, Coder) else Any


class WriteToLog(PTransform[PCollection[Any], PCollection[Any]]):
    """Writes each element as a record of a topic. Gives nothing.

        totals | WriteToLog("/var/lib/app/log", "totals", key=lambda t: t.customer, value_coder=to_json, partitions=4)

    `key` is a function of the element; records go to their key's partition (a stable hash of its bytes), and keep their
    order in it. Keys and values are bytes or text (as UTF-8), or what `value_coder` (a Coder, or a function of the
    element) makes of the element; a value of None deletes the key in a compacted topic.

    A record's time is its element's event time, or the clock's for elements that have none (and with `timestamps="clock"`).

    On LogRunner, exactly once: records become visible with the checkpoint that covers them. On other runners, and with
    `--at_least_once`, each bundle is a transaction of its own (`transactional=False`: batches, each written once) that is on
    the disk when the bundle has ended; a bundle that is tried again comes twice.

    Args:
      log_dir: the log's directory.
      topic: must exist, unless `partitions` or `topic_settings` are given: then it is made if need be.
      partitions: how many a new topic gets.
      topic_settings: settings of a new topic, such as {"retention_ms": 86_400_000}.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        topic: str,
        key: Callable[[Any], Any] | None = None,
        *,
        value_coder: Coder | Callable[[Any], Any] | None = None,
        timestamps: str = "element",
        partitions: int | None = None,
        topic_settings: Mapping[str, Any] | None = None,
        transactional: bool = True,
    ) -> None:
        super().__init__()
        if timestamps not in ("element", "clock"):
            raise TransformError(f"timestamps must be 'element' or 'clock'; found {timestamps!r}.")
        if key is not None and not callable(key):
            raise TransformError(f"key must be a function of the element; found {key!r}.")
        TopicSettings().with_changes(topic_settings or {})  # says what is wrong with them, here and now
        encode = value_coder.encode if isinstance(value_coder, Coder) else value_coder
        self._row = EncodedRow(key, encode)
        self._sink = LogSink(
            os.path.abspath(os.fspath(log_dir)),
            topic,
            "",
            partitions,
            dict(topic_settings or {}),
            timestamps == "element",
            transactional,
        )

    def expand(self, pcoll: PCollection[Any]) -> PCollection[Any]:
        """Make rows of the elements, then write them."""
        pipeline = pcoll.pipeline
        self._sink.identity = step_identity(pipeline.options, pipeline.current_label)
        rows = pcoll | "Encode" >> Map(self._row)
        written: PCollection[Any] = rows | "Write" >> WriteTwoPhase(self._sink)
        return written
