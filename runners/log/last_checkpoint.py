"""The last checkpoint of a job that is done: it holds what belongs to workers, and nothing of keys, as none is left.

To tell of each key that it has gone would take about as long as to tell of the keys, while all stands still.
"""

from __future__ import annotations

from hornbeam.runners.log.state_names import LOCAL_GROUP
from hornbeam.storage.checkpoint import CheckpointStore, PendingCheckpoint, StateFile


def without_keys(store: CheckpointStore, pending: PendingCheckpoint) -> tuple[StateFile, ...]:
    """For a full checkpoint: what the newest one has that belongs to workers. What they tell since then comes after it."""
    if store.head is None:
        return ()
    which = store.head.savepoint or store.head.checkpoint
    with store.snapshot(which, groups=range(LOCAL_GROUP, LOCAL_GROUP + 1)) as snapshot:
        writer = pending.writer("last")
        writer.write_sorted(snapshot.scan_chunks())
        return writer.finish()
