"""Senders: what takes the rows of an edge from a stage and gives each to the worker that it is for."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.keys import canonical_key, have_raw_keys
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.log.edges import KEY_GROUPS, worker_of_group
from hornbeam.runners.log.exchange import Mark, Rows
from hornbeam.runners.log.state_names import name_bytes
from hornbeam.utils.stable_hash import stable_hash

_first = itemgetter(0)
#: Keys whose worker is remembered; then all are forgotten.
_KNOWN_MAX = 1 << 19


class Outbox:
    """What waits to be sent to another worker, in order."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.rows = 0

    def add_rows(self, edge: int, bundle: Bundle) -> None:
        """Elements of an edge."""
        self.messages.append(Rows(edge, bundle))
        self.rows += len(bundle.values)

    def add_mark(self, edge: int, watermark: int) -> None:
        """The edge's time here has come so far."""
        self.messages.append(Mark(edge, watermark))

    def take(self) -> list[Any]:
        """All that waits."""
        messages, self.messages, self.rows = self.messages, [], 0
        return messages


class KeyGroups:
    """The key groups of a step's keys: the same in every process, and for as long as the coder writes the same bytes."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode

    def of(self, key: Any) -> int:
        """The group of a key as the author gave it."""
        return group_of(canonical_key(key, self._encode))


def group_of(table_key: Any) -> int:
    """The group of a key as tables hold it."""
    return stable_hash(name_bytes(table_key)) % KEY_GROUPS


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
        self._known: dict[Any, int] = {}

    def __call__(self, bundle: Bundle) -> None:
        try:
            owners = np.array(self._owners(bundle.values), dtype=np.int32)
        except Exception:
            self._local(bundle)  # where what is no pair, or no key, is refused as it should
            raise
        first = int(owners[0])
        if (owners == first).all():
            self._give(first, bundle)
            return
        for worker in range(self._workers):
            index = np.flatnonzero(owners == worker)
            if len(index):
                self._give(worker, bundle.take(list(map(bundle.values.__getitem__, index.tolist())), index))

    def _owners(self, pairs: list[Any]) -> list[int]:
        if not have_raw_keys(pairs):
            return [worker_of_group(self._groups.of(key), self._workers) for key, _ in pairs]
        keys = list(map(_first, pairs))
        known = self._known
        try:
            return list(map(known.__getitem__, keys))
        except KeyError:
            if len(known) > _KNOWN_MAX:
                known.clear()
            for key in {*keys}.difference(known):
                known[key] = worker_of_group(self._groups.of(key), self._workers)
            return list(map(known.__getitem__, keys))

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
