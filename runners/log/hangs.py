"""Whether a worker hangs: it says nothing, does not come back from user code, or does not write its part of a checkpoint.

All by the monotonic clock. Time in which nobody listened is held against no worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from hornbeam.runners.log.worker_process import WorkerProcess

#: A turn of the coordinator that took longer (a slow sink's commit, a machine that was busy) is not held against workers.
_STALL_SECONDS = 1.0
#: A worker that sets its steps up and loads its state has at least so long.
_START_SECONDS = 600.0


class Hangs:
    """Looks again and again. Used by the coordinator's thread."""

    def __init__(self, worker_timeout_seconds: float, bundle_timeout_seconds: float) -> None:
        self._worker_timeout = worker_timeout_seconds
        self._bundle_timeout = bundle_timeout_seconds
        self._start_timeout = max(bundle_timeout_seconds, _START_SECONDS)
        #: Since when files of the checkpoint in progress are waited for; later, where a wait was nobody's fault.
        self._awaited = (0, 0.0)
        self.begin()

    def begin(self) -> None:
        """From now on somebody listens to workers."""
        self._looked = time.monotonic()

    def look(self, workers: Sequence[WorkerProcess], checkpoint: int, reported: Iterable[int]) -> str:
        """What hangs, in words; nothing if none does. `workers` are those at work, `reported` who has written its part of
        the checkpoint in progress; 0 for no checkpoint."""
        now = time.monotonic()
        stood_still, self._looked = now - self._looked, now
        stood_still = stood_still if stood_still > _STALL_SECONDS else 0.0
        for worker in workers:
            worker.forgive(stood_still)
            silent, still = now - worker.last_seen, now - worker.last_turn
            if silent > self._worker_timeout:
                return f"worker {worker.number} has said nothing for {silent:.0f} s"
            if still > (self._bundle_timeout if worker.is_ready else self._start_timeout):
                text = f"worker {worker.number} has been in one bundle for {still:.0f} s"
                return f"{text}, at {worker.where}" if worker.where else text
        return self._unwritten(workers, checkpoint, set(reported), now, stood_still)

    def _unwritten(
        self,
        workers: Sequence[WorkerProcess],
        checkpoint: int,
        reported: set[int],
        now: float,
        stood_still: float,
    ) -> str:
        """Who works and does not tell its part of the checkpoint: its copy hangs, or a sink's `settle`, or the disk."""
        of, since = self._awaited
        if of != checkpoint or any(worker.paused for worker in workers):
            of, since = checkpoint, now
        since += stood_still
        self._awaited = of, since
        missing = [worker.number for worker in workers if worker.number not in reported]
        if checkpoint and missing and now - since > self._bundle_timeout:
            return f"worker {missing[0]} has not written its part of checkpoint {checkpoint} for {now - since:.0f} s"
        return ""
