"""The partitions of a topic as the elements that ReadFromLog reads, and from where to where.

A start is "earliest", "latest", an offset, a time, or a mapping from partition to one of these; a stop is an offset, a
time, "latest", or such a mapping. A time means the first record whose time in the log is at or after it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from hornbeam.error import TransformError
from hornbeam.storage.log import Consumer, Log
from hornbeam.utils.timestamp import Timestamp

Position: TypeAlias = "int | str | Timestamp | datetime.datetime"
Positions: TypeAlias = "Position | Mapping[int, Position]"


class LogPartition(NamedTuple):
    """A partition to read from offset `start` (0: from the oldest record that is kept) up to `stop` (None: for ever).

    `uid` is the topic's, which one of the same name that is made after its deletion does not have; "" for any.
    """

    topic: str
    partition: int
    start: int
    stop: int | None = None
    uid: str = ""

    def __repr__(self) -> str:
        """As failures and `explain` name it."""
        return f"<partition {self.partition} of topic {self.topic!r}>"


def checked_positions(given: Any, name: str, words: tuple[str, ...]) -> Any:
    """The position or mapping as given, times made Timestamps; TransformError for one that has no meaning."""
    if isinstance(given, Mapping):
        return {number: checked_positions(each, name, words) for number, each in given.items()}
    if isinstance(given, datetime.datetime):
        return Timestamp.from_utc_datetime(given.astimezone(datetime.UTC))
    if isinstance(given, Timestamp) or given in words:
        return given
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise TransformError(
        f"{name} must be {', '.join(map(repr, words))}, an offset, a Timestamp or datetime, or a mapping from partition "
        f"to one of these; found {given!r}."
    )


def located(log: Log, topic: str, number: int, start: Any, stop: Any, isolation: str) -> LogPartition:
    """The partition with both positions as offsets, as the log is now."""
    consumer = Consumer(log, isolation=isolation)
    consumer.assign([(topic, number)])
    first = _offset(consumer, topic, number, _of(start, number, "earliest"))
    last = None if stop is None else _offset(consumer, topic, number, _of(stop, number, "latest"))
    uid = log.topic(topic).description.uid
    return LogPartition(topic, number, first, last if last is None else max(first, last), uid)


def _of(positions: Any, number: int, default: Any) -> Any:
    return positions.get(number, default) if isinstance(positions, Mapping) else positions


def _offset(consumer: Consumer, topic: str, number: int, position: Any) -> int:
    if isinstance(position, int):
        return position
    if position == "earliest":
        return 0
    if position == "latest":
        consumer.seek_to_end()
    else:
        consumer.seek_to_time(position.micros)
    return consumer.position(topic, number)
