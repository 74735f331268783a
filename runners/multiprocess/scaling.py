"""How many workers there are: between two bounds, by how much work waits."""

from __future__ import annotations

import attrs

#: A worker that has had nothing to do for so long goes, where there may be fewer.
IDLE_SECONDS = 5.0


@attrs.frozen
class Scaling:
    """At least `least`, at most `most` workers."""

    least: int
    most: int

    def wanted(self, workers: int, busy: int, backlog: int) -> int:
        """How many workers to add: one for each task that waits while all are busy."""
        if busy < workers or not backlog:
            return 0
        return max(0, min(self.most - workers, backlog))

    def may_leave(self, workers: int, idle_seconds: float) -> bool:
        """Whether a worker that has been idle for so long may go."""
        return workers > self.least and idle_seconds >= IDLE_SECONDS
