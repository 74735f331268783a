"""ReadFromKafka, on librdkafka's mock brokers, and in a job that is killed on real ones if there are any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import pytest
from kafka_io import brokers

import hornbeam as beam
from hornbeam.error import TransformError
from hornbeam.graph import urns
from hornbeam.io.kafka import KafkaReadError, ReadFromKafka
from hornbeam.io.kafka_read import KafkaReader
from hornbeam.runners.engine.root_heads import root_head
from hornbeam.runners.engine.unbounded_head import UnboundedReadHead
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

PACKAGE = "org.apache.kafka.common.serialization."
SERVERS = {"bootstrap.servers": "localhost:1"}
PARTITIONS = 4  # of topics that mock brokers make


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with brokers.mock_cluster() as found:
        yield found


@pytest.fixture
def topic(servers: str) -> str:
    return f"t-{uuid.uuid4().hex}"


def produce(servers: str, topic: str, rows: list[tuple[int, Any, Any, int]]) -> None:
    """(partition, key, value, milliseconds)."""
    producer = kafka.Producer({"bootstrap.servers": servers})
    producer.list_topics(topic, 60)
    for partition, key, value, milliseconds in rows:
        producer.produce(topic, value, key, partition=partition, timestamp=milliseconds)
    assert producer.flush(120) == 0


def reader(
    servers: str, topic: str, mark: Any = None, config: dict[str, Any] | None = None, **more: Any
) -> KafkaReader:
    """A reader of all partitions; from a mark, as after a restart."""
    config = {"bootstrap.servers": servers, "auto.offset.reset": "earliest", **(config or {})}
    (source,) = ReadFromKafka(config, [topic], **more)._source.split(1)
    coder = source.get_checkpoint_mark_coder()
    return source.create_reader(None, None if mark is None else coder.decode(coder.encode(mark)))


def take(reading: KafkaReader, count: int) -> list[Any]:
    """So many records, as soon as they come."""
    found: list[Any] = []
    is_there = reading.start() if reading._current is None else reading.advance()
    deadline = time.monotonic() + 120
    while True:
        if is_there:
            found.append(reading.get_current())
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, found
        is_there = reading.advance()


def at_end(reading: KafkaReader) -> None:
    """Waits until the reader knows that it has read all there is."""
    deadline = time.monotonic() + 120
    while not all(each.is_at_end for each in reading._partitions.values()):
        assert time.monotonic() < deadline and not reading.advance()


def test_a_pipeline_reads_as_much_as_it_is_told(servers: str, topic: str) -> None:
    rows = [(n % PARTITIONS, b"k%d" % n, b"%d" % n, 1000) for n in range(50)]
    produce(servers, topic, rows)
    config = {"bootstrap.servers": servers, "auto.offset.reset": "earliest"}
    with beam.Pipeline() as p:
        pairs = p | ReadFromKafka(config, [topic], max_num_records=50, redistribute=True)
        assert_that(pairs, equal_to([(key, value) for _, key, value, _ in rows]))


def test_a_read_ends_with_its_time(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"%d" % n, 1000) for n in range(2)])
    with processing_time.at(1_000_000):
        reading = reader(servers, topic, max_read_time=3)
        take(reading, 1)
    with processing_time.at(3_999_999):
        assert reading.get_watermark() < MAX_TIMESTAMP
        mark = reading.get_checkpoint_mark()
    reading.close()
    with processing_time.at(4_000_000):
        again = reader(servers, topic, mark, max_read_time=3)
        assert not again.start() and again.get_watermark() == MAX_TIMESTAMP
        again.close()


def test_a_reader_goes_on_behind_its_mark(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"%d" % n, 1000 + n) for n in range(10)])
    first = reader(servers, topic)
    assert take(first, 4) == [(b"k", b"%d" % n) for n in range(4)]
    mark = first.get_checkpoint_mark()
    take(first, 2)
    first.close()
    second = reader(servers, topic, mark)
    assert take(second, 6) == [(b"k", b"%d" % n) for n in range(4, 10)]
    assert second.get_checkpoint_mark().positions[topic, 0][0] == 10
    second.close()


def test_what_comes_after_the_first_mark_of_a_reader_from_the_end(servers: str, topic: str) -> None:
    """It has read nothing when it dies; what is written before it begins again is read all the same."""
    produce(servers, topic, [(0, b"k", b"old", 1000)])
    latest = {"auto.offset.reset": "latest"}
    first = reader(servers, topic, config=latest)
    assert not first.start()
    mark = first.get_checkpoint_mark()
    first.close()
    produce(servers, topic, [(0, b"k", b"new", 1000)])
    second = reader(servers, topic, mark, config=latest)
    assert take(second, 1) == [(b"k", b"new")]
    second.close()


@pytest.mark.parametrize("policy", ["CreateTime", "ProcessingTime"])
def test_event_times_and_watermarks(servers: str, topic: str, policy: str) -> None:
    produce(servers, topic, [(0, b"k", b"1", 5000), (0, b"k", b"2", 3000)])
    begun = Timestamp(micros=time.time_ns() // 1000)
    reading = reader(servers, topic, timestamp_policy=policy)
    if policy == "CreateTime":
        assert reading.get_watermark() == MIN_TIMESTAMP
    take(reading, 1)
    if policy == "CreateTime":
        assert reading.get_current_timestamp() == Timestamp(5)
        take(reading, 1)
        assert reading.get_current_timestamp() == Timestamp(3)
        assert reading._watermark(reading._partitions[topic, 0], 10**12) == 5_000_000
        assert reading._watermark(reading._partitions[topic, 0], 4_000_000) == 4_000_000
    else:
        assert reading.get_current_timestamp() >= begun
        take(reading, 1)
    at_end(reading)
    assert reading.get_watermark() >= begun
    reading.close()


def test_times_that_the_policy_does_not_find(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"v", 5000)])
    reading = reader(servers, topic, timestamp_policy="LogAppendTime")
    with pytest.raises(
        KafkaReadError, match=r"Offset 0 of partition 0 of .* has a time of its producer, and timestamp_pol"
    ):
        take(reading, 1)
    reading.close()


def test_where_a_read_begins(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"%d" % n, 1000) for n in range(5)])
    reading = reader(servers, topic, config={"group.id": topic})
    assert take(reading, 1) == [(b"k", b"0")]  # the group has no offsets
    reading.close()
    committer = kafka.Consumer({"bootstrap.servers": servers, "group.id": topic})
    committer.commit(offsets=[kafka.TopicPartition(topic, 0, 3)], asynchronous=False)
    committer.close()
    reading = reader(servers, topic, config={"group.id": topic})
    assert take(reading, 2) == [(b"k", b"3"), (b"k", b"4")]
    reading.close()


def test_offsets_are_committed_to_the_group_if_that_is_wanted(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"%d" % n, 1000) for n in range(5)])
    for commits in (False, True):
        reading = reader(servers, topic, config={"group.id": topic}, commit_offset_in_finalize=commits)
        take(reading, 3)
        mark = reading.get_checkpoint_mark()
        mark.finalize_checkpoint()
        reading.close()  # what is to be committed is
        asking = kafka.Consumer({"bootstrap.servers": servers, "group.id": topic})
        (place,) = asking.committed([kafka.TopicPartition(topic, 0)], timeout=180)
        asking.close()
        assert place.offset == (3 if commits else kafka.OFFSET_INVALID)
        reading._source.get_checkpoint_mark_coder().decode(
            reading._source.get_checkpoint_mark_coder().encode(mark)
        ).finalize_checkpoint()  # of another process: nothing to do it with


def test_offsets_of_a_read_that_has_ended_are_committed(servers: str, topic: str) -> None:
    """With the checkpoint after it, by when its reader is closed: the last offsets were never committed."""
    produce(servers, topic, [(0, b"k", b"%d" % n, 1000) for n in range(5)])
    reading = reader(
        servers, topic, config={"group.id": topic}, commit_offset_in_finalize=True, max_num_records=3
    )
    take(reading, 3)
    mark = reading.get_checkpoint_mark()
    reading.close()
    mark.finalize_checkpoint()
    asking = kafka.Consumer({"bootstrap.servers": servers, "group.id": topic})
    (place,) = asking.committed([kafka.TopicPartition(topic, 0)], timeout=180)
    asking.close()
    assert place.offset == 3


def test_a_read_goes_on_with_the_settings_that_the_pipeline_has_now(servers: str, topic: str) -> None:
    """Those it was begun with were kept for ever: brokers that had moved could never be told."""

    def head(client: str) -> UnboundedReadHead:
        p = beam.Pipeline()
        config = {"bootstrap.servers": servers, "client.id": client, "auto.offset.reset": "earliest"}
        p | ReadFromKafka(config, [topic])
        (step,) = [step for _, step in p.to_graph().leaves() if step.urn == urns.READ]
        made = root_head(step, None, {})
        assert isinstance(made, UnboundedReadHead)
        return made

    produce(servers, topic, [(0, None, b"v", 1)])
    before, after = head("before"), head("after")
    before.setup()
    before.track_changes()
    before.begin()
    after.load(before.changes())
    (old,), (new,) = before._readings.values(), after._readings.values()
    assert (old.source.settings["client.id"], new.source.settings["client.id"]) == ("before", "after")
    assert new.source.places == old.source.places and new.name == old.name


def test_metadata(servers: str, topic: str) -> None:
    producer = kafka.Producer({"bootstrap.servers": servers})
    producer.list_topics(topic, 60)
    producer.produce(topic, b"v", None, partition=2, timestamp=7, headers=[("h", b"1"), ("h", None)])
    producer.flush(120)
    reading = reader(servers, topic, with_metadata=True)
    (row,) = take(reading, 1)
    assert (row.topic, row.partition, row.offset, row.timestamp, row.key, row.value) == (
        topic,
        2,
        0,
        7,
        None,
        b"v",
    )
    assert [(header.key, header.value) for header in row.headers] == [("h", b"1"), ("h", None)]
    assert (row.timestampTypeId, row.timestampTypeName) == (0, "CreateTime")
    reading.close()


def test_records_that_are_gone(servers: str, topic: str) -> None:
    produce(servers, topic, [(0, b"k", b"v", 1000)])
    first = reader(servers, topic)
    mark = first.get_checkpoint_mark()
    first.close()
    mark.positions[topic, 0] = (77, None)
    second = reader(servers, topic, mark)
    with pytest.raises(
        KafkaReadError, match=r"of partition 0 of Kafka topic .* is not there any more, or not yet"
    ):
        take(second, 1)
    second.close()


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("StringDeserializer", b"\xc3\xa9", "é"),
        ("ShortDeserializer", b"\xff\xfe", -2),
        ("IntegerDeserializer", b"\0\0\1\2", 258),
        ("LongDeserializer", b"\xff" * 8, -1),
        ("DoubleDeserializer", b"\x3f\xf0" + b"\0" * 6, 1.0),
        ("BooleanDeserializer", b"\1", True),
        ("UUIDDeserializer", b"00000000-0000-0000-0000-000000000001", uuid.UUID(int=1)),
        ("LongDeserializer", b"1", "8 bytes"),
        ("UUIDDeserializer", b"1", "a UUID as text"),
        ("VoidDeserializer", b"1", "nothing at all"),
    ],
)
def test_deserializers(servers: str, topic: str, name: str, data: bytes, value: Any) -> None:
    produce(servers, topic, [(0, data, None, 1000)])
    reading = reader(servers, topic, key_deserializer=PACKAGE + name)
    if len(data) == 1 and name != "BooleanDeserializer":
        with pytest.raises(KafkaReadError, match=rf"Offset 0 .*: its key is b'1' and not {value}\."):
            take(reading, 1)
    else:
        assert take(reading, 1) == [(value, None)]
    reading.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expansion_service": "x:1"}, "cannot do with expansion_service; found 'x:1'"),
        ({"consumer_factory_fn_class": "a.B"}, "cannot do with consumer_factory_fn_class; found 'a.B'"),
        ({"dynamic_read_poll_interval_seconds": 5}, "cannot do with dynamic_read_poll_interval_seconds; found 5"),
        ({"topics": []}, r"needs a list of names of topics; found \[\]"),
        ({"timestamp_policy": "Now"}, "timestamp_policy must be one of ProcessingTime, CreateTime, LogAppendTime; found"),
        ({"max_num_records": 0}, "max_num_records must be above 0, or None; found 0"),
        ({"key_deserializer": "a.B"}, "knows only Kafka's own deserializers: key_deserializer may be org.apache"),
        ({"with_metadata": True, "key_deserializer": PACKAGE + "LongDeserializer"}, "gives bytes only: leave key_des"),
        ({"commit_offset_in_finalize": True}, "needs 'group.id' in consumer_config"),
        ({"consumer_config": {}}, "ReadFromKafka needs 'bootstrap.servers' in its consumer_config"),
        ({"consumer_config": {**SERVERS, "auto.offset.reset": "none"}}, "'earliest' or 'latest' as 'auto.offset.reset'"),
        ({"consumer_config": {**SERVERS, "enable.auto.commit": True}}, "Use commit_offset_in_finalize=True"),
        ({"consumer_config": {**SERVERS, "key.deserializer": "a.B"}}, "Give it as key_deserializer"),
    ],
)  # fmt: skip
def test_arguments_that_have_no_meaning(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        ReadFromKafka(**{"consumer_config": SERVERS, "topics": ["t"], **arguments})


def test_a_setting_that_nobody_knows_and_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    p = beam.Pipeline()
    with pytest.raises(
        TransformError, match=r'cannot use this consumer_config: No such configuration property: "x\.y"'
    ):
        p | ReadFromKafka({**SERVERS, "x.y": 1}, ["t"])
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(
        ImportError, match=r"ReadFromKafka needs the package 'confluent-kafka'. Run: pip install"
    ):
        p | "Again" >> ReadFromKafka(SERVERS, ["t"])


def test_brokers_that_nobody_answers_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from hornbeam.io import kafka_read

    monkeypatch.setattr(kafka_read, "_CALL_SECONDS", 1.0)
    with pytest.raises(KafkaReadError, match=r"127\.0\.0\.1:1 does not give the partitions of topic 't': "):
        reader("127.0.0.1:1", "t")


def test_its_end() -> None:
    source = ReadFromKafka(SERVERS, ["t"], max_num_records=3)._source
    assert KafkaReader.get_watermark(KafkaReader(source, None)) == MAX_TIMESTAMP  # it has no partitions


@pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
def test_a_topic_that_is_not_there_and_a_time_to_begin_at_on_a_real_broker() -> None:
    with pytest.raises(
        KafkaReadError, match=r"does not give the partitions of topic 'nowhere-at-all': .*[Uu]nknown topic"
    ):
        reader(brokers.REAL, "nowhere-at-all")
    topic = f"test-{uuid.uuid4().hex}"
    now = time.time_ns() // 1_000_000
    brokers.create_topic(brokers.REAL, topic, PARTITIONS)
    produce(brokers.REAL, topic, [(0, b"k", b"%d" % n, now + n * 1000) for n in range(5)])
    reading = reader(brokers.REAL, topic, start_read_time=now + 2500)
    assert take(reading, 2) == [(b"k", b"3"), (b"k", b"4")]
    assert reading.get_checkpoint_mark().positions[topic, 1] == (0, None)
    reading.close()


JOB = """
import sys
import hornbeam as beam
from hornbeam.io.kafka import ReadFromKafka, WriteToKafka
from hornbeam.options.pipeline_options import PipelineOptions
servers, topic, folder, count = sys.argv[1:]
options = ["--runner=LogRunner", "--job_name=j", f"--log_dir={folder}", "--num_workers=2", "--checkpoint_interval_ms=100"]
with beam.Pipeline(options=PipelineOptions(options)) as p:
    config = {"bootstrap.servers": servers, "auto.offset.reset": "earliest"}
    pairs = p | ReadFromKafka(config, [topic], max_num_records=int(count))
    pairs | WriteToKafka({"bootstrap.servers": servers}, topic + "-out")
"""


@pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
def test_from_topic_to_topic_with_kills(tmp_path: Path) -> None:
    topic, count = f"test-{uuid.uuid4().hex}", 20_000
    for name in (topic, topic + "-out"):
        brokers.create_topic(brokers.REAL, name, PARTITIONS)
    rows = [(n % PARTITIONS, b"k%d" % (n % PARTITIONS), b"%d" % n, 1000) for n in range(count)]
    produce(brokers.REAL, topic, rows[: count // 2])
    command = [sys.executable, "-c", JOB, brokers.REAL, topic, str(tmp_path), str(count)]
    written = 0
    for _ in range(3):  # killed once it has written something, and in the middle of something
        job = subprocess.Popen(command, start_new_session=True)
        while written < count // 2 and len(brokers.records(brokers.REAL, topic + "-out")) == written:
            assert job.poll() is None
        written = len(brokers.records(brokers.REAL, topic + "-out"))
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    produce(brokers.REAL, topic, rows[count // 2 :])
    subprocess.run(command, check=True, timeout=180)
    found = brokers.records(brokers.REAL, topic + "-out")
    for key in {key for _, key, _, _ in rows}:
        assert [each.value() for each in found if each.key() == key] == [v for _, k, v, _ in rows if k == key]
    assert len(found) == count
