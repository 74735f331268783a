"""What the tests of Kafka talk to: librdkafka's mock cluster, and a real one where HORNBEAM_KAFKA names its servers."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka as kafka
from confluent_kafka.admin import AdminClient, NewTopic

#: host:port of a real Kafka (4.x was used), which the tests may fill with topics; those that need one are skipped without.
REAL = os.environ.get("HORNBEAM_KAFKA", "")


@contextlib.contextmanager
def mock_cluster(**settings: Any) -> Iterator[str]:
    """Bootstrap servers of brokers that live in this process. They know no transactions: what is aborted can be read."""
    owner = kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0, **settings})
    brokers = owner.list_topics(timeout=60).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    owner.flush(0)


#: A campaign's broker is killed and started again.
_AWAY = (
    kafka.KafkaError._TRANSPORT,
    kafka.KafkaError._ALL_BROKERS_DOWN,
    kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def create_topic(servers: str, name: str, partitions: int, **settings: str) -> None:
    """Makes a topic of a real cluster, and waits until it is there."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(60)


def forget_group(servers: str, name: str) -> None:
    """Ends the transaction of that id, and has the brokers forget the group's offsets."""
    kafka.Producer({"bootstrap.servers": servers, "transactional.id": name}).init_transactions(30)
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_consumer_groups([name])[name].result(60)


def _partitions(consumer: Any, topic: str, deadline: float) -> Any:
    while True:
        try:
            return consumer.list_topics(topic, 60).topics[topic].partitions
        except kafka.KafkaException as error:
            if error.args[0].code() not in _AWAY or time.monotonic() > deadline:
                raise


def records(servers: str, topic: str, isolation: str = "read_committed", timeout: float = 120.0) -> list[Any]:
    """All records of a topic, by partition and offset."""
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    deadline = time.monotonic() + timeout
    with contextlib.closing(consumer):
        partitions = _partitions(consumer, topic, deadline)
        consumer.assign([kafka.TopicPartition(topic, number, 0) for number in partitions])
        left, found = set(partitions), []
        while left:
            assert time.monotonic() < deadline, f"partitions {left} of {topic} have no end"
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == kafka.KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
                elif message.error().code() not in _AWAY:
                    raise kafka.KafkaException(message.error())
        return sorted(found, key=lambda message: (message.partition(), message.offset()))
