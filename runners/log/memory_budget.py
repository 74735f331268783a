"""What of --memory_limit a worker's steps may keep in memory: what the job's processes leave of it.

    the limit     is for the coordinator, the fork server, all workers, and the copies of these that write checkpoints
    a worker      itself, with all its steps set up but nothing kept · its work at hand · what is kept
    its copy      pages that it or the worker writes to (a reference count suffices): what is kept, again, but for the
                  indexes of what is on disk, which nobody writes to (`shared_bytes`) · what it writes

Processes are measured when the worker has set its steps up, so that what user code brings along counts too. From then on
the worker is measured at each checkpoint: sizes of what is kept are estimates, and user code may keep something as well.
What it has grown by beyond what it was to have is taken off again.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from hornbeam.runners.processes.resident import anonymous_bytes, private_bytes

_MB = 1 << 20
#: What the coordinator may grow by: files of checkpoints that are merged.
COORDINATOR_BYTES = 24 * _MB
#: A worker's bundles, rows on their way to and from others, pages of the fork server that it has written to.
WORK_BYTES = 12 * _MB
#: A copy's entries that are not written yet, and pages of the worker besides what is kept.
COPY_BYTES = 12 * _MB
#: What is kept in memory even where the processes leave nothing.
KEPT_BYTES_MIN = 4 * _MB
#: What processes take where the system does not tell.
_UNKNOWN_BYTES = 40 * _MB


@attrs.define
class MemoryBudget:
    """The part of one worker; `coordinator_bytes` and the others are what these take before the job has any state."""

    limit: int
    workers: int
    coordinator_bytes: int
    server_bytes: int
    #: What the worker has to itself, and what it has altogether, with nothing kept.
    own_bytes: int
    began_at: int
    #: Of what is kept, what the worker and its copy have together.
    shared_bytes: int = 0
    _grown: int = 0
    #: What the worker has grown by beyond what it was to have.
    _excess: int = 0

    @classmethod
    def measured(cls, limit: int, workers: int, coordinator_bytes: int, server: int) -> MemoryBudget:
        """Of this worker, which keeps nothing yet; `server` is the process that it was forked from."""
        return cls(
            limit,
            workers,
            coordinator_bytes or _UNKNOWN_BYTES,
            anonymous_bytes(server) or _UNKNOWN_BYTES,
            private_bytes() or _UNKNOWN_BYTES,
            anonymous_bytes(),
        )

    @property
    def kept_bytes(self) -> int:
        """What may be kept now."""
        return max(self.floor, (self.left + self.shared_bytes) // 2 - self._excess)

    @property
    def left(self) -> int:
        """What the worker and its copy may have for what is kept; below 0 where there is none."""
        return (self.limit - self._others_bytes) // self.workers - self._worker_bytes

    @property
    def _others_bytes(self) -> int:
        """What processes take that are no workers."""
        return self.coordinator_bytes + COORDINATOR_BYTES + self.server_bytes

    @property
    def _worker_bytes(self) -> int:
        """What a worker and its copy take with nothing kept."""
        return self.own_bytes + WORK_BYTES + COPY_BYTES

    @property
    def floor(self) -> int:
        """What may be kept in any case: of a limit that is too small for the processes half as well."""
        return min(KEPT_BYTES_MIN, self.limit // self.workers // 2)

    @property
    def limit_min(self) -> int:
        """The smallest limit that can be held."""
        return self._others_bytes + self.workers * (self._worker_bytes + 2 * KEPT_BYTES_MIN)

    def look(self, shared_bytes: int, now: Callable[[], int] = anonymous_bytes) -> bool:
        """Measures again; whether more or less may be kept now. Freed memory may not come back: only growth counts."""
        before = self.kept_bytes
        grown = now() - self.began_at
        excess = grown - max(self._grown, before + WORK_BYTES)
        if excess > 0:
            self._grown = grown
            self._excess += min(excess, before - self.floor)
        self.shared_bytes = min(shared_bytes, max(0, self.left))
        return self.kept_bytes != before
