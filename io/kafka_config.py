"""What `producer_config` means: Kafka's names of settings, as Beam takes them, for librdkafka, which sends.

Most settings have one name in both. Of the others, those that can be are translated, and the rest is refused with what to
write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from hornbeam.error import DataError, TransformError

__all__ = ["KafkaWriteError", "ProducerConfig", "kafka_client"]

#: Kafka's own defaults, where librdkafka's are others.
_DEFAULTS = {
    "partitioner": "murmur2_random",
    "message.max.bytes": 1_048_576,
    "queue.buffering.max.kbytes": 32_768,
}
#: Syslog's "critical": else each connection that fails is a line on standard error. Our own errors tell of the last one.
_LOG_LEVEL = 2
_DELIVERY_TIMEOUT_MS = 120_000
_TRANSACTION_TIMEOUT_MS = 60_000

#: Names of librdkafka for names of the Java client, and what becomes of the value.
_RENAMED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "max.request.size": ("message.max.bytes", int),
    "buffer.memory": ("queue.buffering.max.kbytes", lambda value: max(1, int(value) // 1024)),
    "send.buffer.bytes": ("socket.send.buffer.bytes", int),
    "receive.buffer.bytes": ("socket.receive.buffer.bytes", int),
}
_ALIASES = {
    "delivery.timeout.ms": "message.timeout.ms",
    "request.required.acks": "acks",
    "metadata.broker.list": "bootstrap.servers",
    "compression.codec": "compression.type",
    "queue.buffering.max.ms": "linger.ms",
}
_INSTEAD = {
    "partitioner.class": "'partitioner', such as 'murmur2_random' (Kafka's own, and the default) or 'consistent_random'",
    "ssl.truststore.location": "'ssl.ca.location', the path of a PEM file",
    "ssl.truststore.password": "'ssl.ca.location', the path of a PEM file, which needs no password",
    "ssl.truststore.type": "'ssl.ca.location', the path of a PEM file",
    "ssl.keystore.type": "'ssl.keystore.location' of a PKCS#12 file, or 'ssl.certificate.location' and 'ssl.key.location'",
    "sasl.login.callback.handler.class": "'sasl.oauthbearer.method' and its relatives, or 'oauth_cb'",
    "sasl.client.callback.handler.class": "'sasl.oauthbearer.method' and its relatives, or 'oauth_cb'",
    "on_delivery": "nothing: each delivery report is looked at, and a failure raised",
    "dr_cb": "nothing: each delivery report is looked at, and a failure raised",
    "delivery.report.only.error": "nothing: each delivery report is looked at, and a failure raised",
}
_JAAS = re.compile(r"""(username|password)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;]+))""")
#: What a consumer, which asks for a group's offset, has no use for.
_PRODUCERS_ONLY = frozenset(
    {
        "acks", "batch.num.messages", "batch.size", "compression.level", "compression.type", "enable.gapless.guarantee",
        "enable.idempotence", "linger.ms", "max.in.flight", "max.in.flight.requests.per.connection",
        "message.send.max.retries", "message.timeout.ms", "partitioner", "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes", "queue.buffering.max.messages", "request.timeout.ms", "retries",
        "sticky.partitioning.linger.ms", "topic.metadata.propagation.max.ms", "transaction.timeout.ms",
        "delivery.report.only.error", "transactional.id",
    }
)  # fmt: skip
#: The most that librdkafka adds to key, value and headers of a record, and to a batch of one record.
_RECORD_OVERHEAD, _BATCH_OVERHEAD, _HEADER_OVERHEAD = 36, 61, 10


#: librdkafka's consumers need a group, joined or not.
NO_GROUP = "hornbeam-none"


class KafkaWriteError(DataError):
    """Kafka did not take what was to be written, or it cannot be told whether it has."""


def kafka_client(transform: str = "WriteToKafka") -> Any:
    """The confluent_kafka package; an ImportError that names the extra, and who needs it, without it."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise ImportError(
            f"{transform} needs the package 'confluent-kafka'. Run: pip install 'hornbeam[kafka]'"
        ) from error
    return confluent_kafka


@attrs.frozen
class ProducerConfig:
    """A checked `producer_config`."""

    #: Settings by librdkafka's names, with our defaults, without what is below.
    settings: Mapping[str, Any] = attrs.field(repr=False)
    #: For how long writing is tried without any success.
    delivery_timeout_s: float
    #: What names of transactions and groups begin with, if the user said so.
    transaction_prefix: str | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ProducerConfig:
        """TransformError for a setting that nobody knows, or that cannot be had."""
        settings: dict[str, Any] = dict(_DEFAULTS)
        check_is_mapping(config, "WriteToKafka")
        for name, value in config.items():
            settings.update(translated(name, value, "WriteToKafka"))
        complete(settings, "WriteToKafka")
        timeout_ms = _number("delivery.timeout.ms", settings.pop("message.timeout.ms", _DELIVERY_TIMEOUT_MS))
        prefix = settings.pop("transactional.id", None)
        return cls(settings, timeout_ms / 1000, None if prefix is None else str(prefix))

    @property
    def servers(self) -> str:
        """The brokers that are asked first."""
        return str(self.settings["bootstrap.servers"])

    @property
    def record_bytes_max(self) -> int:
        """The most bytes that key, value and headers of a record may have together."""
        limit = _number("message.max.bytes", self.settings["message.max.bytes"])
        return limit - _RECORD_OVERHEAD - _BATCH_OVERHEAD

    @property
    def transaction_timeout_s(self) -> float:
        """For how long a transaction may be open before the broker ends it."""
        timeout = self.settings.get("transaction.timeout.ms", _TRANSACTION_TIMEOUT_MS)
        return _number("transaction.timeout.ms", timeout) / 1000

    def for_bundles(self) -> dict[str, Any]:
        """For a producer whose records count when they are delivered."""
        settings = dict(self.settings)
        settings.pop("transaction.timeout.ms", None)
        if str(settings.get("acks", "all")) in ("all", "-1"):
            settings.setdefault("enable.idempotence", True)
        timeout_ms = max(1, round(self.delivery_timeout_s * 1000))
        return {**settings, "message.timeout.ms": timeout_ms, "delivery.report.only.error": True}

    def for_transactions(self, transactional_id: str) -> dict[str, Any]:
        """For a producer whose records count when their transaction is committed."""
        return {
            **self.settings,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": round(self.transaction_timeout_s * 1000),
            "message.timeout.ms": round(
                1000 * max(1.0, min(self.delivery_timeout_s, self.transaction_timeout_s))
            ),
            "delivery.report.only.error": True,
        }

    def for_group(self, group: str) -> dict[str, Any]:
        """For a consumer that asks for the offset of a group."""
        settings = {name: value for name, value in self.settings.items() if name not in _PRODUCERS_ONLY}
        return {
            **settings,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }

    def check(self) -> None:
        """TransformError if librdkafka does not take the settings. Connects to nothing."""
        check_settings(kafka_client("WriteToKafka").Producer, self.for_bundles(), "WriteToKafka")

    def check_for_transactions(self) -> None:
        """TransformError if the settings ask for less than transactions need."""
        for name, fine in (("acks", ("all", "-1")), ("enable.idempotence", ("true",))):
            if name in self.settings and str(self.settings[name]).lower() not in fine:
                raise TransformError(
                    f"WriteToKafka writes exactly once on this runner, which {name}={self.settings[name]!r} in "
                    f"producer_config forbids. Leave it out, or run with --at_least_once."
                )


def consumer_settings(config: Mapping[str, Any], commits: bool) -> tuple[dict[str, Any], str]:
    """Settings of ReadFromKafka's consumers, and at which end they begin where nothing else says so ("earliest", "latest").

    TransformError for a setting that nobody knows, or that cannot be had.
    """
    transform = "ReadFromKafka"
    check_is_mapping(config, transform)
    settings: dict[str, Any] = {
        "group.id": NO_GROUP,
        "isolation.level": "read_uncommitted",  # as Java's consumers, and so Beam's
        "queued.max.messages.kbytes": 16_384,
    }
    for name, value in config.items():
        settings.update(translated(name, value, transform))
    complete(settings, transform)
    resets = {"earliest": "earliest", "smallest": "earliest", "beginning": "earliest"}
    resets |= {"latest": "latest", "largest": "latest", "end": "latest"}
    reset = settings.pop("auto.offset.reset", "latest")
    if reset not in resets:
        raise TransformError(
            f"ReadFromKafka needs 'earliest' or 'latest' as 'auto.offset.reset'; found {reset!r}."
        )
    if str(settings.pop("enable.auto.commit", "false")).lower() != "false":
        raise TransformError(
            "ReadFromKafka cannot use 'enable.auto.commit' in consumer_config: it would commit what is not processed yet. "
            "Use commit_offset_in_finalize=True."
        )
    if commits and settings["group.id"] == NO_GROUP:
        raise TransformError(
            "ReadFromKafka(commit_offset_in_finalize=True) needs 'group.id' in consumer_config."
        )
    fixed = {
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "max.poll.interval.ms": 86_400_000,  # a stream may be held up, and no group is joined
    }
    return {**settings, **fixed}, resets[reset]


def headers_size(headers: list[tuple[str, bytes | None]]) -> int:
    """The most bytes that headers take in a record."""
    return sum(len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD for name, value in headers)


def _number(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number <= 0:
        raise TransformError(f"WriteToKafka needs a whole number above 0 as {name!r}; found {value!r}.")
    return number


#: What each transform calls its configuration.
_ARGUMENTS = {"WriteToKafka": "producer_config", "ReadFromKafka": "consumer_config"}


def check_settings(client_class: Any, settings: Mapping[str, Any], transform: str) -> None:
    """TransformError if librdkafka does not take the settings. Connects to nothing."""
    client = kafka_client(transform)
    try:
        made = client_class({**settings, "bootstrap.servers": "", "log_level": 0})  # "no brokers" is meant
        if client_class is client.Consumer:
            made.close()
    except (client.KafkaException, TypeError, ValueError) as error:
        cause = error.args[0] if error.args else error
        text = cause.str() if isinstance(cause, client.KafkaError) else str(cause)
        raise TransformError(f"{transform} cannot use this {_ARGUMENTS[transform]}: {text}.") from error


def check_is_mapping(config: Any, transform: str) -> None:
    """TransformError for a configuration that is none."""
    if not isinstance(config, Mapping):
        raise TransformError(
            f"{transform} needs a dictionary as {_ARGUMENTS[transform]}; found {type(config).__name__}."
        )


def complete(settings: dict[str, Any], transform: str) -> None:
    """Adds what both transforms set. TransformError without brokers."""
    if "debug" not in settings:
        settings.setdefault("log_level", _LOG_LEVEL)
    if not settings.get("bootstrap.servers"):
        raise TransformError(
            f"{transform} needs 'bootstrap.servers' in its {_ARGUMENTS[transform]}, such as 'localhost:9092'."
        )


def translated(name: str, value: Any, transform: str) -> dict[str, Any]:
    """A setting by librdkafka's names."""
    name = _ALIASES.get(name, name)
    argument = _ARGUMENTS[transform]
    if name in _INSTEAD:
        raise TransformError(f"{transform} cannot use {name!r} in {argument}. Use {_INSTEAD[name]}.")
    if name in ("key.serializer", "value.serializer", "key.deserializer", "value.deserializer"):
        raise TransformError(
            f"{transform} cannot use {name!r} in {argument}. Give it as {name.replace('.', '_')}."
        )
    if name in _RENAMED:
        renamed, change = _RENAMED[name]
        _number(name, value)
        return {renamed: change(value)}
    if name == "sasl.jaas.config":
        found = {
            each[1]: re.sub(r"\\(.)", r"\1", each[2] or each[3] or each[4] or "")
            for each in _JAAS.finditer(str(value))
        }
        if set(found) != {"username", "password"}:
            raise TransformError(
                f"{transform} finds no username and password in 'sasl.jaas.config'. Use 'sasl.mechanism' with "
                "'sasl.username' and 'sasl.password'."
            )
        return {f"sasl.{part}": text for part, text in found.items()}
    return {name: value}
