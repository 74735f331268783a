"""What attempts meet with: a full disk, and the faults that tests arm."""

from __future__ import annotations

import errno
import os

from hornbeam.storage.errors import DiskFullError


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error says that no room is left."""
    return isinstance(error, DiskFullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    )


def faults_of(worker: int, attempt: int) -> str | None:
    """The fault points that HORNBEAM_WORKER_FAULTS has for a worker: `worker@attempt=plan`, several joined by `;`."""
    for part in filter(None, os.environ.get("HORNBEAM_WORKER_FAULTS", "").split(";")):
        place, _, plan = part.partition("=")
        if place == f"{worker}@{attempt}":
            return plan
    return None
