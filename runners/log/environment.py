"""What attempts meet with: a full disk, and the faults that tests arm."""

from __future__ import annotations

import errno
import os
import random

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


def restart_after(bundles: int | None, seed: int | None, worker: int, attempt: int) -> int | None:
    """The bundle after which a worker asks for a restart: that of --inject_restarts, or with a seed a random one up to it.

    Before the restart comes a checkpoint that holds the bundle, so every attempt gets on by one bundle at least.
    """
    if bundles is None or seed is None:
        return bundles
    return random.Random(f"{seed} {attempt} {worker}").randint(1, bundles)
