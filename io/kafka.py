"""Kafka as source and sink: `ReadFromKafka` and `WriteToKafka`, with Beam's names and parameters. They need the extra
`hornbeam[kafka]`, and no Java.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from hornbeam.error import TransformError
from hornbeam.io.kafka_config import (
    KafkaWriteError,
    ProducerConfig,
    check_settings,
    consumer_settings,
    kafka_client,
)
from hornbeam.io.kafka_read import (
    CREATE_TIME,
    LOG_APPEND_TIME,
    PROCESSING_TIME,
    KafkaReadError,
    KafkaSource,
)
from hornbeam.io.kafka_serializers import (
    BYTE_ARRAY_DESERIALIZER,
    BYTE_ARRAY_SERIALIZER,
    deserializer_of,
    serializer_of,
)
from hornbeam.io.kafka_write import KafkaSink, PairEncoder, RowEncoder
from hornbeam.io.step_identity import job_sinks_folder
from hornbeam.io.two_phase import WriteTwoPhase
from hornbeam.io.unbounded_source import ReadFromUnboundedSource
from hornbeam.options.pipeline_options import GoogleCloudOptions
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import Map
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.reshuffle import Reshuffle

__all__ = ["KafkaReadError", "KafkaWriteError", "ReadFromKafka", "WriteToKafka"]


class ReadFromKafka(PTransform[PBegin, PCollection[Any]]):
    """The records of Kafka topics as (key, value) pairs, read for ever unless there is a maximum.

        orders = p | ReadFromKafka({"bootstrap.servers": "localhost:9092", "auto.offset.reset": "earliest"}, ["orders"])

    How far each partition is read belongs to the pipeline's checkpoints, so on LogRunner a job goes on where it was, and no
    consumer group is joined. At first, a partition is read from `start_read_time`; without one, from where the group
    (`group.id`, if given) has committed to; without that, from the end that `auto.offset.reset` names, by default "latest".
    Partitions that are added to a topic later are not read.

    Event time is the clock's when a record is read, or the record's own (`timestamp_policy`); then a partition's watermark
    is the latest time that was read, and follows the clock when the partition is at its end.

    Args:
      consumer_config: settings of a Kafka consumer by Kafka's names, or librdkafka's, which is what reads.
      topics: names of topics, which must exist when the pipeline starts.
      key_deserializer: name of a Java class of Kafka's own, such as
        'org.apache.kafka.common.serialization.LongDeserializer'. A record without a key has None.
      value_deserializer: the same for values.
      start_read_time: milliseconds since 1970.
      max_num_records: the read ends after so many records.
      max_read_time: the read ends after so many seconds.
      commit_offset_in_finalize: commit offsets to the group when what was read is durable.
      timestamp_policy: "ProcessingTime", "CreateTime" or "LogAppendTime".
      consumer_polling_timeout: has no effect, as the reader never waits.
      with_metadata: elements are Rows: topic, partition, offset, timestamp (milliseconds), key, value, headers (Rows of key
        and value), timestampTypeId, timestampTypeName.
      expansion_service: must be None, as there is no Java; so must be consumer_factory_fn_class and its parameters.
      redistribute: deals the records out over all workers, by a Reshuffle.
      redistribute_num_keys, allow_duplicates: hints, without effect.
      dynamic_read_poll_interval_seconds: must be None.

    Raises:
      TransformError: when it is made or applied, for a configuration that cannot be used.
      ImportError: when it is applied, without the extra.
      KafkaReadError: from the run, for topics that are not there, records that retention has removed before they were read,
        and records that cannot be deserialized.
    """

    byte_array_deserializer = BYTE_ARRAY_DESERIALIZER
    processing_time_policy = PROCESSING_TIME
    create_time_policy = CREATE_TIME
    log_append_time = LOG_APPEND_TIME

    def __init__(
        self,
        consumer_config: Mapping[str, Any],
        topics: Sequence[str],
        key_deserializer: str = BYTE_ARRAY_DESERIALIZER,
        value_deserializer: str = BYTE_ARRAY_DESERIALIZER,
        start_read_time: int | None = None,
        max_num_records: int | None = None,
        max_read_time: float | None = None,
        commit_offset_in_finalize: bool = False,
        timestamp_policy: str = PROCESSING_TIME,
        consumer_polling_timeout: float = 2,
        with_metadata: bool = False,
        expansion_service: Any = None,
        redistribute: bool = False,
        redistribute_num_keys: int = 0,
        allow_duplicates: bool = False,
        dynamic_read_poll_interval_seconds: int | None = None,
        consumer_factory_fn_class: str | None = None,
        consumer_factory_fn_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        refused = {
            "expansion_service": expansion_service,
            "consumer_factory_fn_class": consumer_factory_fn_class,
            "consumer_factory_fn_params": consumer_factory_fn_params,
            "dynamic_read_poll_interval_seconds": dynamic_read_poll_interval_seconds,
        }
        for name, given in refused.items():
            if given is not None:
                raise TransformError(f"ReadFromKafka cannot do with {name}; found {given!r}. Leave it out.")
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        if not names or not all(isinstance(name, str) and name for name in names):
            raise TransformError(f"ReadFromKafka needs a list of names of topics; found {topics!r}.")
        policies = (PROCESSING_TIME, CREATE_TIME, LOG_APPEND_TIME)
        if timestamp_policy not in policies:
            raise TransformError(
                f"timestamp_policy must be one of {', '.join(policies)}; found {timestamp_policy!r}."
            )
        for name, number in (("max_num_records", max_num_records), ("max_read_time", max_read_time)):
            if number is not None and number <= 0:
                raise TransformError(f"{name} must be above 0, or None; found {number!r}.")
        key = deserializer_of(key_deserializer, "key_deserializer")
        value = deserializer_of(value_deserializer, "value_deserializer")
        if with_metadata and {key_deserializer, value_deserializer} != {BYTE_ARRAY_DESERIALIZER}:
            raise TransformError(
                "ReadFromKafka(with_metadata=True) gives bytes only: leave key_deserializer and value_deserializer out."
            )
        settings, reset = consumer_settings(consumer_config, commit_offset_in_finalize)
        self._source = KafkaSource(
            settings,
            names,
            key,
            value,
            start_read_time,
            reset,
            timestamp_policy,
            with_metadata,
            max_num_records,
            max_read_time,
            commit_offset_in_finalize,
        )
        self._redistribute = redistribute

    def display_data(self) -> dict[str, Any]:
        """Where from. What else is in the configuration may be secret."""
        return {"bootstrap_servers": self._source.servers, "topics": ", ".join(self._source.topics)}

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """Read, and deal out if that is wanted."""
        check_settings(kafka_client("ReadFromKafka").Consumer, self._source.settings, "ReadFromKafka")
        records: PCollection[Any] = pbegin | "Read" >> ReadFromUnboundedSource(self._source)
        if self._redistribute:
            records = records | "Redistribute" >> Reshuffle()
        return records


class WriteToKafka(PTransform[PCollection[Any], PCollection[Any]]):
    """Writes (key, value) pairs as records of a Kafka topic. Gives nothing.

        totals | WriteToKafka({"bootstrap.servers": "localhost:9092"}, "totals")

    Keys and values are bytes, or what the serializers take; None is a record without a key, or a tombstone. Records go to
    the partition of their key as those of Java clients do, and keep their order in it. Their time is that of sending.

    On LogRunner, exactly once: consumers with `isolation.level=read_committed` see records after the checkpoint that covers
    them. On other runners, and with `--at_least_once`, a bundle has ended when Kafka has acknowledged all of its records; a
    bundle that is tried again comes twice.

    Args:
      producer_config: settings of a Kafka producer by Kafka's names, or librdkafka's, which is what sends. With a
        `transactional.id`, the names of transactions, and of the consumer group that marks them, begin with it.
      topic: must exist, unless the brokers make topics by themselves.
      key_serializer: name of a Java class of Kafka's own, such as
        'org.apache.kafka.common.serialization.LongSerializer'.
      value_serializer: the same for values.
      with_headers: elements are Rows with key and value (bytes), and, each optional, headers (a list of Rows of key: str and
        value: bytes), topic, partition, and timestamp (milliseconds since 1970).
      expansion_service: must be None, as there is no Java.

    Raises:
      TransformError: when it is made, for a configuration that cannot be used.
      ImportError: when it is applied, without the extra.
      KafkaWriteError: from the run, when Kafka refuses records, or took none for `delivery.timeout.ms` (120,000).
      TypeError, ValueError: from the run, for elements that cannot be serialized or are too large.
    """

    byte_array_serializer = BYTE_ARRAY_SERIALIZER

    def __init__(
        self,
        producer_config: Mapping[str, Any],
        topic: str,
        key_serializer: str = BYTE_ARRAY_SERIALIZER,
        value_serializer: str = BYTE_ARRAY_SERIALIZER,
        with_headers: bool = False,
        expansion_service: Any = None,
    ) -> None:
        super().__init__()
        if expansion_service is not None:
            raise TransformError(
                f"WriteToKafka writes without Java and has no use for expansion_service; found {expansion_service!r}. "
                "Leave it out."
            )
        if not isinstance(topic, str) or not topic:
            raise TransformError(f"WriteToKafka needs the name of a topic; found {topic!r}.")
        config = ProducerConfig.of(producer_config)
        serializers = (
            serializer_of(key_serializer, "key_serializer"),
            serializer_of(value_serializer, "value_serializer"),
        )
        if with_headers and {key_serializer, value_serializer} != {BYTE_ARRAY_SERIALIZER}:
            raise TransformError(
                "WriteToKafka(with_headers=True) takes bytes only: leave key_serializer and value_serializer out."
            )
        self._row = (
            RowEncoder(config.record_bytes_max)
            if with_headers
            else PairEncoder(*serializers, config.record_bytes_max)
        )
        self._sink = KafkaSink(config, topic, with_headers)

    def display_data(self) -> dict[str, Any]:
        """Where to."""
        return self._sink.display_data()

    def expand(self, pcoll: PCollection[Any]) -> PCollection[Any]:
        """Make rows of the elements, then write them."""
        self._sink.config.check()
        pipeline = pcoll.pipeline
        options = pipeline.options
        self._sink.job = options.view_as(GoogleCloudOptions).job_name or ""
        self._sink.folder = job_sinks_folder(options)
        self._sink.identity = hashlib.sha256(pipeline.current_label.encode()).hexdigest()[:16]
        rows = pcoll | "Encode" >> Map(self._row)
        written: PCollection[Any] = rows | "Write" >> WriteTwoPhase(self._sink)
        return written
