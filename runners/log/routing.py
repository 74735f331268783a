"""Senders: what takes the rows of an edge from a stage and gives each to the worker that it is for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.log.exchange import Mark, Rows
from hornbeam.runners.log.key_groups import KeyGroups

_first = itemgetter(0)


#: About how many bytes wait in an outbox at most, beside those of the bundle that was added last.
OUTBOX_BYTES = 4 << 20


class Outbox:
    """What waits to be sent to another worker, in order; `when_full` is called when that is much.

    It may be so in the midst of a bundle: one element may have more outputs than there is memory.
    """

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.when_full: Callable[[], None] | None = None
        self._bytes = 0

    def add_rows(self, edge: int, bundle: Bundle) -> None:
        """Elements of an edge."""
        self.messages.append(Rows(edge, bundle))
        self._bytes += mean_size(bundle.values) * len(bundle.values)
        if self._bytes >= OUTBOX_BYTES and self.when_full is not None:
            self.when_full()

    def add_mark(self, edge: int, watermark: int) -> None:
        """The edge's time here has come so far."""
        self.messages.append(Mark(edge, watermark))

    def take(self) -> list[Any]:
        """All that waits."""
        messages, self.messages, self._bytes = self.messages, [], 0
        return messages


class KeyedSender:
    """Gives each pair to the worker that owns its key's group."""

    def __init__(
        self,
        edge: int,
        groups: KeyGroups,
        worker: int,
        workers: int,
        local: Receiver,
        outboxes: dict[int, Outbox],
    ) -> None:
        self._edge = edge
        self._groups = groups
        self._worker = worker
        self._workers = workers
        self._local = local
        self._outboxes = outboxes

    def __call__(self, bundle: Bundle) -> None:
        try:
            owners = self._groups.workers_of(list(map(_first, bundle.values)), self._workers)
        except Exception:
            self._local(bundle)  # where what is no pair, or no key, is refused as it should
            raise
        first = int(owners[0])
        if (owners == first).all():
            self._give(first, bundle)
            return
        for worker in range(self._workers):
            is_own = owners == worker
            if is_own.any():
                values = list(compress(bundle.values, is_own.tolist()))
                self._give(worker, bundle.take(values, np.flatnonzero(is_own)))

    def _give(self, worker: int, bundle: Bundle) -> None:
        if worker == self._worker:
            self._local(bundle)
        else:
            self._outboxes[worker].add_rows(self._edge, bundle)


class SpreadSender:
    """Gives elements to all workers in turn, in runs."""

    def __init__(
        self, edge: int, worker: int, workers: int, local: Receiver, outboxes: dict[int, Outbox]
    ) -> None:
        self._edge = edge
        self._worker = worker
        self._workers = workers
        self._local = local
        self._outboxes = outboxes
        self._next = worker

    def __call__(self, bundle: Bundle) -> None:
        count = len(bundle.values)
        size = -(-count // self._workers)
        for part in bundle.chunks(max(1, size)):
            worker, self._next = self._next, (self._next + 1) % self._workers
            if worker == self._worker:
                self._local(part)
            else:
                self._outboxes[worker].add_rows(self._edge, part)


class BroadcastSender:
    """Gives every element to every worker."""

    def __init__(self, edge: int, local: Receiver, outboxes: dict[int, Outbox]) -> None:
        self._edge = edge
        self._local = local
        self._outboxes = outboxes

    def __call__(self, bundle: Bundle) -> None:
        for outbox in self._outboxes.values():
            outbox.add_rows(self._edge, bundle)
        self._local(bundle)
