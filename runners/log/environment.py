"""What workers get of the coordinator's process, and what the machine lacks."""

from __future__ import annotations

import errno
import os
import sys

from hornbeam.storage.errors import DiskFullError


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error says that no room is left."""
    return isinstance(error, DiskFullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    )


def import_path() -> list[str]:
    """Where this program imports from, for workers."""

    return [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]


def faults_of(worker: int, attempt: int) -> str | None:
    """The fault points that HORNBEAM_WORKER_FAULTS has for a worker: `worker@attempt=plan`, several joined by `;`."""
    for part in filter(None, os.environ.get("HORNBEAM_WORKER_FAULTS", "").split(";")):
        place, _, plan = part.partition("=")
        if place == f"{worker}@{attempt}":
            return plan
    return None
