"""A checkpoint for another number of workers: what belongs to workers and not to keys is dealt out anew.

Only for a checkpoint at which nothing was under way and all instances of a step had come to the same time (a quiesced one).
Entries of keys stay where they are: workers read the key groups that they own now.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.log.edges import is_keyed
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
from hornbeam.storage.checkpoint import CheckpointStore, Manifest, encode_key

Local = dict[bytes, bytes | None]


def rescale(store: CheckpointStore, origin: Manifest, workers: int, graph: Graph) -> Manifest:
    """Commits a checkpoint with the same content for `workers` workers."""
    which = origin.savepoint or origin.checkpoint
    changes: Local = {}
    with store.restore(which) as snapshot:
        found: list[tuple[str, int, bytes, bytes]] = []
        for key, value in snapshot.scan(groups=range(LOCAL_GROUP, LOCAL_GROUP + 1)):
            worker, rest = worker_of(key.key)
            found.append((key.state, worker, rest, value))
            changes[encode_key(key.state, LOCAL_GROUP, key.key)] = None
    plan = plan_for(graph, workers)
    heads = (plan.steps[stage.steps[0]] for stage in plan.stages)
    keyed = {head.label for head in heads if is_keyed(head)}
    for state, worker, rest, value in _dealt(found, workers, keyed):
        changes[_key(state, worker, rest)] = value
    pending = store.begin()
    try:
        writer = pending.writer("rescaling")
        writer.update(changes)
        return pending.commit(
            writer.finish(), {**origin.metadata, "workers": workers, "rescaled_from": str(which)}
        )
    except BaseException:
        pending.abort()
        raise


def _key(state: str, worker: int, rest: bytes) -> bytes:
    return encode_key(state, LOCAL_GROUP, worker_prefix(worker) + rest)


def _dealt(
    entries: list[tuple[str, int, bytes, bytes]], workers: int, keyed: set[str]
) -> Iterator[tuple[str, int, bytes, bytes]]:
    times: dict[str, list[Any]] = {}
    waiting: dict[str, list[Any]] = {}
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
            if worker == 0:  # every worker has the same
                yield from ((state, each, rest, value) for each in range(workers))
        elif part == b"g":
            waiting.setdefault(state, []).append((worker, rest, value))
        else:
            yield from _of_head(state, rest, value, workers)
    yield from _of_gates(waiting, workers, keyed)
    for state, found in times.items():
        yield from _times(state, found, workers)
    if metrics:
        registry = MetricsRegistry()
        for value in metrics:
            registry.merge(pickle.loads(value))
        yield METRICS, 0, b"r" + name_bytes(()), pickle.dumps(registry.snapshot(), 5)


def _of_head(state: str, rest: bytes, value: bytes, workers: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    """Entries of a source: (None, token, number) are dealt out by their number, all others are for every worker."""
    name, _ = pickle.loads(value)
    if isinstance(name, tuple) and len(name) == 3 and isinstance(name[2], int):
        yield state, name[2] % workers, rest, value
    else:
        yield from ((state, each, rest, value) for each in range(workers))


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
