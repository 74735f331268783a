"""From which checkpoint a job goes on, and of which pipeline that is."""

from __future__ import annotations

from hornbeam.runners.log.job_record import JobRecord
from hornbeam.storage.checkpoint import Manifest


def origin_of(record: JobRecord, newest: Manifest | None) -> int | str | None:
    """The checkpoint or savepoint that was asked for; None for the newest checkpoint, if there is one.

    That is so too when the newest one goes on from the one that was asked for: sinks have given out what came after it.
    """
    wanted = record.restore_from
    if wanted is None or newest is None:
        return wanted
    is_restored = newest.metadata["attempt"] > record.restore_asked
    return None if is_restored or newest.metadata.get("moved_from") == str(wanted) else wanted


def graph_name(origin: Manifest) -> str | None:
    """The name under which the job's folder has the pipeline that a checkpoint is of."""
    name = origin.metadata.get("graph")
    return None if name is None else str(name)
