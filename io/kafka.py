"""Kafka as a sink: `WriteToKafka`, with Beam's name and parameters. Needs the extra `hornbeam[kafka]`, and no Java."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hornbeam.error import TransformError
from hornbeam.io.kafka_config import KafkaWriteError, ProducerConfig
from hornbeam.io.kafka_serializers import BYTE_ARRAY_SERIALIZER, serializer_of
from hornbeam.io.kafka_write import KafkaSink, PairEncoder, RowEncoder
from hornbeam.io.step_identity import job_sinks_folder
from hornbeam.io.two_phase import WriteTwoPhase
from hornbeam.options.pipeline_options import GoogleCloudOptions
from hornbeam.pvalue import PCollection
from hornbeam.transforms.core import Map
from hornbeam.transforms.ptransform import PTransform

__all__ = ["KafkaWriteError", "WriteToKafka"]


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
