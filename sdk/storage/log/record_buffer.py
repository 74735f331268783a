"""Records of one partition that wait to become a batch."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from hornbeam.storage.log.delivery import Delivery
from hornbeam.storage.log.record import Headers
from hornbeam.storage.log.topic import Topic


@attrs.frozen(eq=False)
class Gathered:
    """The columns of a batch to be, and who waits for it."""

    topic: Topic
    partition: int
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    times: int | Sequence[int]
    headers: Sequence[Headers | None] | None
    delivery: Delivery


@attrs.define(eq=False)
class RecordBuffer:
    """Columns that grow until they are taken. The producer guards it with its lock."""

    topic: Topic
    partition: int
    values: list[bytes | None] = attrs.Factory(list)
    keys: list[bytes | None] = attrs.Factory(list)
    times: list[int] = attrs.Factory(list)
    headers: list[Headers | None] = attrs.Factory(list)
    any_headers: bool = False
    bytes: int = 0
    delivery: Delivery | None = None

    def take(self) -> Gathered:
        """What was gathered; the buffer is empty after."""
        assert self.delivery is not None, "nothing was gathered"
        headers = self.headers if self.any_headers else None
        taken = Gathered(
            self.topic, self.partition, self.values, self.keys, self.times, headers, self.delivery
        )
        self.values, self.keys, self.times, self.headers = [], [], [], []
        self.any_headers, self.bytes, self.delivery = False, 0, None
        return taken
