"""A Kafka in memory, in place of the confluent_kafka package, with what the mock cluster of librdkafka lacks: transactions
that can be aborted, offsets that are committed in them, producers that are fenced, and calls that fail or die at will.

What it does is what a real broker was seen to do: `test_kafka_commits` runs the same scenes on one, where there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
import confluent_kafka as kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition


class Death(BaseException):
    """The process is gone: nobody catches it."""


def failure(code: int, **more: Any) -> KafkaException:
    """What the client raises."""
    return KafkaException(KafkaError(code, None, **more))


@attrs.define
class Transaction:
    epoch: int
    rows: list[tuple[str, Any, Any]] = attrs.field(factory=list)
    offsets: dict[tuple[str, str, int], int] = attrs.field(factory=dict)


@attrs.define
class Client:
    """What stands in the place of the package: counts calls, and has some of them fail."""

    #: Calls so far, by name.
    calls: list[str] = attrs.field(factory=list)
    #: At the n-th call from now (from 1): what to raise, and whether the brokers do what was asked for all the same.
    faults: dict[int, tuple[bool, BaseException]] = attrs.field(factory=dict)
    #: Asked at each call; may raise.
    at_call: Callable[[str], None] = lambda name: None

    KafkaError = KafkaError
    KafkaException = KafkaException
    TopicPartition = TopicPartition

    def call(self, name: str, act: Callable[[], Any] = lambda: None) -> Any:
        self.calls.append(name)
        self.at_call(name)
        self.faults = {at - 1: fault for at, fault in self.faults.items()}
        happens, error = self.faults.pop(0, (True, None))
        result = act() if happens else None
        if error is not None:
            raise error
        return result


@attrs.define
class RealKafka(Client):
    """The package itself, and the brokers that it finds."""

    def Producer(self, settings: dict[str, Any]) -> Any:
        return Calling(self, kafka.Producer(settings))

    def Consumer(self, settings: dict[str, Any]) -> Any:
        return Calling(self, kafka.Consumer(settings))


class Calling:
    """An object of the package whose calls to brokers are counted."""

    def __init__(self, client: Client, target: Any) -> None:
        self._client = client
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name in ("poll", "purge", "close", "consumer_group_metadata"):
            return method
        return lambda *args, **kwargs: self._client.call(name, lambda: method(*args, **kwargs))


@attrs.define
class FakeKafka(Client):
    """Brokers in memory."""

    topics: set[str] = attrs.field(factory=lambda: {"out"})
    #: By topic, (key, value) in order, as consumers with read_committed see them.
    committed: dict[str, list[tuple[Any, Any]]] = attrs.field(factory=lambda: defaultdict(list))
    offsets: dict[tuple[str, str, int], int] = attrs.field(factory=dict)
    epochs: dict[str, int] = attrs.field(factory=lambda: defaultdict(int))
    open: dict[str, Transaction] = attrs.field(factory=dict)

    def Producer(self, settings: dict[str, Any]) -> FakeProducer:
        return FakeProducer(self, settings)

    def Consumer(self, settings: dict[str, Any]) -> FakeConsumer:
        return FakeConsumer(self, settings)


class FakeProducer:
    def __init__(self, kafka: FakeKafka, settings: dict[str, Any]) -> None:
        self._kafka = kafka
        self._id = settings["transactional.id"]
        self._on_delivery = settings["on_delivery"]
        self._epoch = -1
        self._is_fenced = False
        self._reports: list[Callable[[], None]] = []

    def init_transactions(self, timeout: float) -> None:
        def act() -> None:
            self._kafka.open.pop(self._id, None)
            self._kafka.epochs[self._id] += 1
            self._epoch = self._kafka.epochs[self._id]

        self._kafka.call("init_transactions", act)

    def list_topics(self, topic: str, timeout: float) -> Any:
        def act() -> Any:
            error = None if topic in self._kafka.topics else KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            return SimpleNamespace(topics={topic: SimpleNamespace(error=error)})

        return self._kafka.call("list_topics", act)

    def begin_transaction(self) -> None:
        self._kafka.call("begin_transaction", lambda: self._mine(begin=True))

    def produce(self, topic: str, value: Any, key: Any, **more: Any) -> None:
        def act() -> None:
            if value == b"too large":
                error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
                message = SimpleNamespace(topic=lambda: topic, partition=lambda: 0, key=lambda: key)
                self._reports.append(lambda: self._on_delivery(error, message))
            else:
                self._mine().rows.append((topic, key, value))

        self._kafka.call("produce", act)

    def poll(self, timeout: float) -> int:
        if self._is_fenced:
            raise failure(KafkaError._FENCED, fatal=True)
        reports, self._reports = self._reports, []
        for report in reports:
            report()
        return len(reports)

    def send_offsets_to_transaction(self, positions: list[Any], group: str, timeout: float) -> None:
        def act() -> None:
            for place in positions:
                self._mine().offsets[group, place.topic, place.partition] = place.offset

        self._kafka.call("send_offsets_to_transaction", act)

    def commit_transaction(self, timeout: float) -> None:
        def act() -> None:
            done = self._mine()
            for topic, key, value in done.rows:
                self._kafka.committed[topic].append((key, value))
            self._kafka.offsets.update(done.offsets)
            del self._kafka.open[self._id]

        self._kafka.call("commit_transaction", act)

    def purge(self, blocking: bool) -> None:
        """What is under way stays open, as nobody ends it."""

    def _mine(self, begin: bool = False) -> Transaction:
        if self._kafka.epochs[self._id] != self._epoch:
            self._is_fenced = True
            raise failure(KafkaError._FENCED, fatal=True)
        if begin:
            self._kafka.open[self._id] = Transaction(self._epoch)
        return self._kafka.open[self._id]


class FakeConsumer:
    def __init__(self, kafka: FakeKafka, settings: dict[str, Any]) -> None:
        assert settings["isolation.level"] == "read_committed"
        self._kafka = kafka
        self._group = settings["group.id"]

    def consumer_group_metadata(self) -> str:
        return self._group

    def committed(self, places: list[Any], timeout: float) -> list[Any]:
        def act() -> list[Any]:
            (place,) = places
            if any((self._group, place.topic, 0) in each.offsets for each in self._kafka.open.values()):
                raise failure(KafkaError._TIMED_OUT, retriable=True)  # "unstable": it may be aborted yet
            offset = self._kafka.offsets.get((self._group, place.topic, place.partition), -1001)
            return [SimpleNamespace(offset=offset, error=None)]

        return self._kafka.call("committed", act)

    def close(self) -> None:
        pass
