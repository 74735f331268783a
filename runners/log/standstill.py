"""Letting all that is under way arrive: sources and clocks stand still, and workers are polled until nothing moves any more.

Nothing is under way when all workers were idle in two rounds after another, with as many bytes taken as sent, and the same
ones both times (Mattern, "Algorithms for distributed termination detection", 1987: the four-counter method).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hornbeam.runners.log.messages import Poll, Polled, Quiesce
from hornbeam.storage.files import OS_FILES


class Standstill:
    """Of the workers of one attempt. Who asks for it while another one has it waits for its turn."""

    def __init__(self, send: Callable[[Any], None], workers: int) -> None:
        """`send` tells all workers something."""
        self._send = send
        self._workers = workers
        #: What to call, the first for the standstill that is now.
        self._wanted: deque[Callable[[], None]] = deque()
        #: Whether workers are to stand still and do not yet.
        self.is_awaited = False
        self._polls: dict[int, Polled] = {}
        self._number = 0
        self._last_totals: tuple[int, int] | None = None

    def begin(self, then: Callable[[], None]) -> None:
        """`then` is called when nothing is under way; `end` ends it."""
        self._wanted.append(then)
        if len(self._wanted) == 1:
            self._begin()

    def _begin(self) -> None:
        self.is_awaited = True
        self._last_totals = None
        self._send(Quiesce(True))
        self._poll()

    def _poll(self) -> None:
        self._number += 1
        self._polls = {}
        self._send(Poll(self._number))

    def end(self) -> None:
        """Lets workers go on, or the next one have its turn."""
        self._send(Quiesce(False))
        self._wanted.popleft()
        if self._wanted:
            self._begin()

    def heard(self, worker: int, message: Polled) -> None:
        """A worker's answer to a poll."""
        if message.number == self._number:
            self._polls[worker] = message

    def look(self) -> None:
        """Calls who waits, if nothing is under way; polls again if all have answered."""
        if not self.is_awaited or len(self._polls) < self._workers:
            return
        totals = (
            sum(poll.sent_bytes for poll in self._polls.values()),
            sum(poll.taken_bytes for poll in self._polls.values()),
        )
        if totals[0] == totals[1] and totals == self._last_totals:
            OS_FILES.fault("coordinator.quiet")
            self.is_awaited = False
            self._wanted[0]()
            return
        self._last_totals = totals
        self._poll()
