"""A checkpoint for other workers, or a changed pipeline: what belongs to workers and not to keys is dealt out anew.

Only for a checkpoint at which nothing was under way and all instances of a step had come to the same time (a quiesced one).
Entries of keys stay where they are, unless their step has another label: workers read the key groups that they own now.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs

from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.record_contents import without
from hornbeam.runners.engine.streaming_views import FORGOTTEN
from hornbeam.runners.log.edges import KEY_GROUPS, is_keyed
from hornbeam.runners.log.keyed_entries import loaded_entry, with_content
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.state_names import (
    CHANNELS,
    CLOCK,
    LOCAL_GROUP,
    METRICS,
    TIMES,
    name_bytes,
    worker_of,
    worker_prefix,
)
from hornbeam.runners.log.update_check import UpdateCheck
from hornbeam.storage.checkpoint import CheckpointStore, Manifest, Snapshot, StateKey, encode_key

Local = dict[bytes, bytes | None]

#: Entries of keys that are in memory at a time.
_PIECE = 4096
_FORGOTTEN = name_bytes(FORGOTTEN)


@attrs.frozen
class Relabelling:
    """What an update does to the state of steps: labels that have another one now, steps and parts that lose it."""

    labels: Mapping[str, str] = attrs.field(factory=dict)
    lost: frozenset[str] = frozenset()
    #: By old label, the parts (as `KeptState.parts` names them) that go although the rest stays.
    lost_parts: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, check: UpdateCheck) -> Relabelling:
        """What the check found."""
        return cls(
            {old: new for old, new in check.labels.items() if old != new},
            frozenset(step.label for step in check.steps if step.fate == "lost"),
            {step.label: step.lost for step in check.steps if step.fate == "partly lost"},
        )

    @property
    def is_nothing(self) -> bool:
        """Whether all stays as it is."""
        return not (self.labels or self.lost or self.lost_parts)

    def kept(self, state: str, key: bytes, value: bytes) -> bytes | None:
        """The value of a key's entry without what its step loses; None when nothing is left."""
        if state in self.lost:
            return None
        lost = self.lost_parts.get(state, ())
        cells = {name.removeprefix("state ") for name in lost if name.startswith("state ")}
        timers = {name.removeprefix("timer ") for name in lost if name.startswith("timer ")}
        if not cells and not timers:
            return value
        name, content = loaded_entry(key, value)
        if len(name) != 2:
            return value  # an element that waits to be sorted
        kept = without(content, cells, timers)
        return with_content(key, value, kept) if kept else None

    def loses_view(self, state: str, tag: str) -> bool:
        """Whether a side input of a step is lost."""
        return f"side input {tag}" in self.lost_parts.get(state, ())


def move(
    store: CheckpointStore,
    origin: Manifest,
    workers: int,
    graph: Graph,
    relabelling: Relabelling,
    metadata: Mapping[str, Any],
) -> Manifest:
    """Commits a checkpoint with the same content for `workers` workers of a pipeline that may have changed."""
    which = origin.savepoint or origin.checkpoint
    pending = store.begin()
    try:
        writer = pending.writer("moved")
        with store.snapshot(which) as snapshot:
            # All that goes before all that comes: a label may be the old one of one step and the new one of another.
            states = dict.fromkeys([*relabelling.labels, *relabelling.lost, *relabelling.lost_parts])
            for find in (_gone, _relabelled):
                for state in states:
                    for changes in find(snapshot, state, relabelling):
                        writer.update(changes)
            writer.update(_locals(snapshot, workers, graph, relabelling))
        return pending.commit(writer.finish(), {**metadata, "moved_from": str(which)})
    except BaseException:
        pending.abort()
        raise


def _gone(snapshot: Snapshot, state: str, relabelling: Relabelling) -> Iterator[Local]:
    """The entries of keys of a step taken away, some at a time: there may be more than fit in memory."""
    for part in _parts(snapshot, state):
        yield {encode_key(state, key.key_group, key.key): None for key, _ in part}


def _relabelled(snapshot: Snapshot, state: str, relabelling: Relabelling) -> Iterator[Local]:
    """What is left of them, under the label that the step has now."""
    label = relabelling.labels.get(state, state)
    for part in _parts(snapshot, state):
        kept = ((key, relabelling.kept(state, key.key, value)) for key, value in part)
        yield {encode_key(label, key.key_group, key.key): value for key, value in kept if value is not None}


def _parts(snapshot: Snapshot, state: str) -> Iterator[list[tuple[StateKey, bytes]]]:
    entries = snapshot.scan(groups=range(KEY_GROUPS), state=state)
    while part := list(islice(entries, _PIECE)):
        yield part


def _locals(snapshot: Snapshot, workers: int, graph: Graph, relabelling: Relabelling) -> Local:
    """The changes of the entries of workers."""
    changes: Local = {}
    found: list[tuple[str, int, bytes, bytes]] = []
    plan = plan_for(graph, workers)
    heads = [plan.steps[stage.steps[0]] for stage in plan.stages]
    keyed = {head.label for head in heads if is_keyed(head)}
    known = {CHANNELS, METRICS, CLOCK, *(head.label for head in heads)}
    for key, value in snapshot.scan(groups=range(LOCAL_GROUP, LOCAL_GROUP + 1)):
        worker, rest = worker_of(key.key)
        changes[encode_key(key.state, LOCAL_GROUP, key.key)] = None
        label = relabelling.labels.get(key.state, key.state)
        is_lost = key.state in relabelling.lost or (
            rest[:1] == b"v" and relabelling.loses_view(key.state, rest[1 : rest.index(b"\0")].decode())
        )
        if label in known and not is_lost:
            found.append((label, worker, rest, value))
    for state, worker, rest, value in _dealt(found, workers, keyed):
        changes[_key(state, worker, rest)] = value
    return changes


def _key(state: str, worker: int, rest: bytes) -> bytes:
    return encode_key(state, LOCAL_GROUP, worker_prefix(worker) + rest)


def _dealt(
    entries: list[tuple[str, int, bytes, bytes]], workers: int, keyed: set[str]
) -> Iterator[tuple[str, int, bytes, bytes]]:
    times: dict[str, list[Any]] = {}
    waiting: dict[str, list[Any]] = {}
    views: dict[tuple[str, bytes], bytes] = {}
    metrics: list[bytes] = []
    for state, worker, rest, value in entries:
        part = rest[:1]
        if state == CHANNELS:
            assert not any(pickle.loads(value).values()), "rows are under way at a quiesced checkpoint"
        elif state == METRICS:
            metrics.append(value)
        elif state == CLOCK:
            yield from ((state, each, rest, value) for each in range(workers) if worker == 0)
        elif part == b"m":
            times.setdefault(state, []).append(pickle.loads(value))
        elif part == b"v":
            # The same on every worker, but for what one needs no more, and for how far it has forgotten.
            kept = views.setdefault((state, rest), value)
            if rest.endswith(_FORGOTTEN):
                views[state, rest] = min(kept, value, key=lambda each: pickle.loads(each)[1])
        elif part == b"g":
            waiting.setdefault(state, []).append((worker, rest, value))
        else:
            yield from _of_head(state, rest, value, workers)
    for (state, rest), value in views.items():
        yield from ((state, worker, rest, value) for worker in range(workers))
    yield from _of_gates(waiting, workers, keyed)
    for state, found in times.items():
        yield from _times(state, found, workers)
    if metrics:
        registry = MetricsRegistry()
        for value in metrics:
            registry.merge(pickle.loads(value))
        yield METRICS, 0, b"r" + name_bytes(()), pickle.dumps(registry.snapshot(), 5)


def _of_head(state: str, rest: bytes, value: bytes, workers: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    name, _ = pickle.loads(value)
    yield from ((state, worker, rest, value) for worker in workers_of_entry(name, workers))


def workers_of_entry(name: Any, workers: int) -> Iterable[int]:
    """Who gets an entry of a source: parts, named (None, token, number), go by their number, all else to everybody."""
    if isinstance(name, tuple) and len(name) == 3 and isinstance(name[2], int):
        return (name[2] % workers,)
    return range(workers)


def _of_gates(
    waiting: dict[str, list[Any]], workers: int, keyed: set[str]
) -> Iterator[tuple[str, int, bytes, bytes]]:
    """Before a step with keys every worker gets all rows, and takes those of its own key groups when it loads them."""
    for state, found in waiting.items():
        rows: dict[int, list[Any]] = {}
        name = None
        for worker, _, value in found:
            name, content = pickle.loads(value)
            for target in range(workers) if state in keyed else (worker % workers,):
                rows.setdefault(target, []).extend(content)
        for worker, content in rows.items():
            yield state, worker, found[0][1], pickle.dumps((name, content), 5)


def _times(state: str, found: list[Any], workers: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    input_, output = min(each[0] for each in found), min(each[1] for each in found)
    marks: dict[str, list[int]] = {}
    for each in found:
        for tag, of_senders in each[2].items():
            marks[tag] = [min([*marks.get(tag, of_senders), *of_senders])]
    for worker in range(workers):
        remote = {tag: of * workers for tag, of in marks.items()}
        yield state, worker, TIMES + name_bytes(()), pickle.dumps((input_, output, remote), 5)
