"""WriteToKafka without checkpoints, on librdkafka's mock brokers: what is written, and what is refused or fails."""

from __future__ import annotations

import struct
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import pytest
from kafka_io import brokers

import hornbeam as beam
from hornbeam.error import TransformError
from hornbeam.io import kafka_config
from hornbeam.io.kafka import KafkaWriteError, WriteToKafka
from hornbeam.io.kafka_config import ProducerConfig
from hornbeam.io.kafka_write import PairEncoder, RowEncoder
from hornbeam.options.pipeline_options import PipelineOptions

PACKAGE = "org.apache.kafka.common.serialization."
SERVERS = {"bootstrap.servers": "localhost:1"}


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with brokers.mock_cluster() as found:
        yield found


@pytest.fixture
def topic(servers: str) -> str:
    name = f"t-{uuid.uuid4().hex}"
    kafka.Producer({"bootstrap.servers": servers}).list_topics(name, 10)  # makes it, with 4 partitions
    return name


@pytest.mark.parametrize("runner", ["DirectRunner", "MultiProcessRunner"])
def test_each_record_is_written_where_java_clients_write_it(servers: str, topic: str, runner: str) -> None:
    pairs = [(b"k%d" % (n % 20), b"%d" % n) for n in range(2000)]
    options = PipelineOptions([f"--runner={runner}", "--num_workers=2", "--bundle_size=100"])
    with beam.Pipeline(options=options) as p:
        p | beam.Create(pairs) | WriteToKafka({"bootstrap.servers": servers}, topic)
    found = brokers.records(servers, topic)
    assert Counter((each.key(), each.value()) for each in found) == Counter(pairs)
    for each in found:
        # The published algorithm of Kafka's own partitioner, as the package has it for its producers.
        assert each.partition() == _positive(_murmur2(each.key())) % 4


def _positive(number: int) -> int:
    return number & 0x7FFFFFFF


def _murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with Kafka's seed."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_the_order_of_a_key_and_what_has_no_key_or_no_value(servers: str, topic: str) -> None:
    rows = [(b"a" if n % 3 else b"b", b"%d" % n) for n in range(3000)]
    rows += [(None, b"no key"), (b"a", None), (None, None)]
    with beam.Pipeline() as p:
        p | beam.Create(rows, reshuffle=False) | WriteToKafka({"bootstrap.servers": servers}, topic)
    found = brokers.records(servers, topic)
    for key in (b"a", b"b"):
        assert [each.value() for each in found if each.key() == key] == [v for k, v in rows if k == key]
    assert sorted(str(each.value()) for each in found if each.key() is None) == ["None", "b'no key'"]


def test_rows_with_headers(servers: str, topic: str) -> None:
    rows = [
        beam.Row(
            key=b"a", value=b"1", headers=[beam.Row(key="h", value=b"x"), beam.Row(key="h", value=b"y")]
        ),
        beam.Row(key=b"a", value=b"2", topic=f"{topic}-other"),
        beam.Row(key=b"a", value=b"3", partition=3, timestamp=1234, headers=[]),
        beam.Row(key=None, value=None, headers=None, topic=None, partition=None, timestamp=None),
    ]
    with beam.Pipeline() as p:
        written = (
            p | beam.Create(rows) | WriteToKafka({"bootstrap.servers": servers}, topic, with_headers=True)
        )
        written | beam.Map(print)
    found = {each.value(): each for each in brokers.records(servers, topic)}
    assert set(found) == {b"1", b"3", None}
    assert found[b"1"].headers() == [("h", b"x"), ("h", b"y")]
    assert (found[b"3"].partition(), found[b"3"].timestamp()[1], found[b"3"].headers()) == (3, 1234, None)
    assert [each.value() for each in brokers.records(servers, f"{topic}-other")] == [b"2"]


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("ByteArraySerializer", b"x", b"x"),
        ("ByteArraySerializer", bytearray(b"x"), b"x"),
        ("StringSerializer", "é", b"\xc3\xa9"),
        ("ShortSerializer", -2, b"\xff\xfe"),
        ("IntegerSerializer", 258, b"\0\0\1\2"),
        ("LongSerializer", -1, b"\xff" * 8),
        ("FloatSerializer", 1.0, b"\x3f\x80\0\0"),
        ("DoubleSerializer", 1.0, b"\x3f\xf0" + b"\0" * 6),
        ("BooleanSerializer", True, b"\1"),
        ("UUIDSerializer", uuid.UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
        ("VoidSerializer", None, None),
        ("LongSerializer", None, None),
    ],
)
def test_serializers(name: str, value: Any, data: bytes | None) -> None:
    write = WriteToKafka(SERVERS, "t", PACKAGE + name, PACKAGE + name)
    assert write._row((value, value)) == (data, data)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ByteArraySerializer", "x", r"needs the value of a record as bytes or None; found 'x' \(str\)"),
        ("StringSerializer", b"x", r"as str or None; found b'x' \(bytes\)"),
        ("IntegerSerializer", 1 << 31, r"as an int of 32 bits or None; found 2147483648 \(int\)"),
        ("LongSerializer", True, r"as an int of 64 bits or None; found True \(bool\)"),
        ("LongSerializer", 1.5, r"found 1.5 \(float\)"),
        ("DoubleSerializer", 1, r"as a float or None; found 1 \(int\)"),
        ("BooleanSerializer", 1, r"as a bool or None; found 1 \(int\)"),
        ("UUIDSerializer", "x", r"as uuid.UUID or None; found 'x' \(str\)"),
        ("VoidSerializer", 1, r"as None or None|as None; found 1"),
    ],
)
def test_what_serializers_do_not_take(name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        WriteToKafka(SERVERS, "t", value_serializer=PACKAGE + name)._row((b"k", value))


@pytest.mark.parametrize("element", [b"x", (b"k",), (b"k", b"v", b"w"), {b"k": b"v"}, None])
def test_elements_that_are_no_pairs(element: Any) -> None:
    with pytest.raises(TypeError, match=r"WriteToKafka needs \(key, value\) pairs; found "):
        WriteToKafka(SERVERS, "t")._row(element)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((b"k", b"v"), r"needs a beam.Row with key and value; found \(b'k', b'v'\) \(tuple\)"),
        (beam.Row(key="k", value=b"v"), r"needs key of a Row as bytes or None; found 'k' \(str\)"),
        (beam.Row(key=b"k", value=b"v", topic=b"t"), r"topic of a Row as str or None; found b't'"),
        (
            beam.Row(key=b"k", value=b"v", partition=-1),
            r"partition of a Row as an int from 0 on or None; found -1",
        ),
        (
            beam.Row(key=b"k", value=b"v", timestamp=1.5),
            r"timestamp of a Row as an int from 0 on or None; found 1.5",
        ),
        (
            beam.Row(key=b"k", value=b"v", headers=[("h", 1)]),
            r"needs headers as Rows of a key .*found \('h', 1\)",
        ),
        (beam.Row(key=b"k", value=b"v", headers=["hh"]), r"needs headers as Rows of a key .*found 'hh'"),
    ],
)
def test_rows_that_have_no_meaning(row: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        RowEncoder(1000)(row)


def test_a_failing_element_is_named(servers: str, topic: str) -> None:
    with pytest.raises(TypeError, match="as bytes or None; found 'v'") as raised, beam.Pipeline() as p:
        p | beam.Create([(b"k", "v")]) | WriteToKafka({"bootstrap.servers": servers}, topic)
    assert any("WriteToKafka/Encode' on element (b'k', 'v')" in note for note in raised.value.__notes__)


def test_the_largest_record(servers: str, topic: str) -> None:
    """What passes our own look at the size passes librdkafka's, and one byte more is refused by its element."""
    config = {"bootstrap.servers": servers, "max.request.size": 5000}
    limit = ProducerConfig.of(config).record_bytes_max
    assert limit == 4903
    with beam.Pipeline() as p:
        p | beam.Create([(b"k", b"x" * (limit - 1))]) | WriteToKafka(config, topic)
    assert [len(each.value()) for each in brokers.records(servers, topic)] == [limit - 1]
    with pytest.raises(ValueError, match=r"a record of 4,904 bytes is too large .* takes 4,903. Raise"):
        PairEncoder(bytes, bytes, limit)((b"k", b"x" * limit))
    row = beam.Row(key=b"k", value=b"", headers=[beam.Row(key="h" * 2400, value=b"x" * 2493)])
    with pytest.raises(ValueError, match="a record of 4,904 bytes is too large"):
        RowEncoder(limit)(row)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expansion_service": "localhost:8097"}, "no use for expansion_service; found 'localhost:8097'"),
        ({"topic": ""}, "needs the name of a topic; found ''"),
        ({"producer_config": {}}, "needs 'bootstrap.servers' in its producer_config"),
        ({"producer_config": "localhost:9092"}, "needs a dictionary as producer_config; found str"),
        ({"producer_config": {**SERVERS, "delivery.timeout.ms": "soon"}}, "number above 0 as 'delivery.timeout.ms'; found"),
        ({"producer_config": {**SERVERS, "max.request.size": 0}}, "above 0 as 'max.request.size'; found 0"),
        ({"producer_config": {**SERVERS, "ssl.truststore.location": "x.jks"}}, "Use 'ssl.ca.location', the path of a PEM"),
        ({"producer_config": {**SERVERS, "partitioner.class": "a.B"}}, "Use 'partitioner', such as"),
        ({"producer_config": {**SERVERS, "key.serializer": "a.B"}}, "Give it as key_serializer"),
        ({"producer_config": {**SERVERS, "sasl.jaas.config": "a.B required;"}}, "no username and password in"),
        ({"key_serializer": "com.acme.Avro"}, "key_serializer may be org.apache.kafka.common.serialization.NAME with"),
        ({"value_serializer": "StringSerializer"}, "one of BooleanSerializer, ByteArraySerializer, .*found 'StringSer"),
        ({"with_headers": True, "key_serializer": PACKAGE + "LongSerializer"}, "takes bytes only: leave key_serializer"),
    ],
)  # fmt: skip
def test_arguments_that_have_no_meaning(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        WriteToKafka(**{"producer_config": SERVERS, "topic": "t", **arguments})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"max.request.sze": 1},
            'cannot use this producer_config: No such configuration property: "max.request.sze"',
        ),
        ({"acks": 7000}, "cannot use this producer_config: .*acks"),
        ({"compression.type": "zip"}, "cannot use this producer_config: Invalid value"),
    ],
)
def test_settings_that_nobody_knows(setting: dict[str, Any], message: str) -> None:
    p = beam.Pipeline()
    pairs = p | beam.Create([(b"k", b"v")])
    with pytest.raises(TransformError, match=message):
        pairs | WriteToKafka({**SERVERS, **setting}, "t")


def test_settings_by_the_names_of_java_clients() -> None:
    jaas = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required\n"
        'username="me" password=\'it\\\'s;"secret"\';'
    )
    config = ProducerConfig.of(
        {
            **SERVERS,
            "sasl.jaas.config": jaas,
            "buffer.memory": "1048576",
            "max.request.size": "2000000",
            "delivery.timeout.ms": "5000",
            "linger.ms": 20,
            "transactional.id": "mine",
        }
    )
    assert config.settings == {
        **SERVERS,
        "partitioner": "murmur2_random",
        "sasl.username": "me",
        "sasl.password": 'it\'s;"secret"',
        "queue.buffering.max.kbytes": 1024,
        "message.max.bytes": 2000000,
        "linger.ms": 20,
        "log_level": 2,
    }
    assert (config.delivery_timeout_s, config.transaction_prefix) == (5.0, "mine")
    assert "secret" not in repr(config)
    group = config.for_group("g")
    assert "linger.ms" not in group and group["sasl.username"] == "me" and group["group.id"] == "g"
    assert "log_level" not in ProducerConfig.of({**SERVERS, "debug": "eos"}).settings
    kafka.Producer(config.for_transactions("id"))
    kafka.Producer(config.for_bundles())
    kafka.Consumer(group).close()


@pytest.mark.parametrize(
    ("acks", "idempotent"), [(None, True), ("all", True), (-1, True), (1, None), (0, None)]
)
def test_bundles_are_written_by_an_idempotent_producer_unless_acks_forbid_it(
    acks: Any, idempotent: bool
) -> None:
    config = ProducerConfig.of(SERVERS if acks is None else {**SERVERS, "acks": acks})
    assert config.for_bundles().get("enable.idempotence") is idempotent
    config.check()


def test_what_is_said_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    p = beam.Pipeline()
    with pytest.raises(
        ImportError, match=r"needs the package 'confluent-kafka'. Run: pip install 'hornbeam\[kafka\]'"
    ):
        p | beam.Create([(b"k", b"v")]) | WriteToKafka(SERVERS, "t")


def test_brokers_that_nobody_answers_for() -> None:
    """The port is taken by nobody: the run fails when the timeout is over, and says what was tried."""
    config = {"bootstrap.servers": "127.0.0.1:1", "delivery.timeout.ms": 1000}
    with pytest.raises(KafkaWriteError) as raised, beam.Pipeline() as p:
        p | beam.Create([(b"k", b"v")]) | WriteToKafka(config, "t")
    for part in (
        "127.0.0.1:1 did not take rows",
        "timed out",
        "after 1 s (delivery.timeout.ms)",
        "Connection refused",
    ):
        assert part in str(raised.value)


def test_a_record_that_cannot_be_delivered(servers: str, topic: str) -> None:
    row = beam.Row(key=b"k", value=b"v", partition=77)
    with pytest.raises(KafkaWriteError, match=r"[Uu]nknown partition"), beam.Pipeline() as p:
        p | beam.Create([row]) | WriteToKafka({"bootstrap.servers": servers}, topic, with_headers=True)


def test_more_than_the_queue_holds(servers: str, topic: str) -> None:
    config = {"bootstrap.servers": servers, "queue.buffering.max.messages": 50, "linger.ms": 0}
    with beam.Pipeline() as p:
        (
            p
            | beam.Create([(b"k", b"%d" % n) for n in range(1000)], reshuffle=False)
            | WriteToKafka(config, topic)
        )
    assert [int(each.value()) for each in brokers.records(servers, topic)] == list(range(1000))


def test_a_bundle_that_fails_leaves_nothing_in_the_queue(servers: str, topic: str, tmp_path: Path) -> None:
    """What was handed over before is given up with the bundle, unless it was sent already."""
    sink = WriteToKafka({"bootstrap.servers": servers, "linger.ms": 60_000}, topic)._sink
    writer = sink.open_direct_writer()
    writer.write_batch([(b"k", b"of a bundle that fails")], ())
    writer.abort()
    writer.write_batch([(b"k", b"of the next")], ())
    writer.prepare(-1)
    producer = writer._producer
    writer.abort()  # as each bundle begins
    assert writer._producer is producer
    writer.close()
    assert [each.value() for each in brokers.records(servers, topic)] == [b"of the next"]


def test_what_is_shown_of_it() -> None:
    write = WriteToKafka({**SERVERS, "sasl.password": "secret"}, "t")
    assert write.display_data() == {"bootstrap_servers": "localhost:1", "topic": "t"}
    assert kafka_config.kafka_client() is kafka
    assert WriteToKafka.byte_array_serializer == PACKAGE + "ByteArraySerializer"
