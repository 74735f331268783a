"""Pace: when a source's turn is over, and how many elements it hands on at a time.

A turn lasts some thousands of elements or some tens of milliseconds, whichever is first; but never less than it took the
source to begin (to open a file, to connect), or it would do nothing but begin. Elements are handed on in chunks that grow
while they go quickly and shrink when the steps behind are slow.
"""

from __future__ import annotations

from time import perf_counter

from hornbeam.runners.engine.bundle import CHUNK

#: The length of a turn.
TURN_SECONDS = 0.02
TURN_ELEMENTS = 4 * CHUNK


class Pace:
    """The turns of one head. `begin`, then `started` with the first element in sight, `took` for each chunk."""

    def __init__(self, elements_max: int = TURN_ELEMENTS, chunk_max: int = CHUNK) -> None:
        self.elements_max = elements_max
        self.chunk_max = chunk_max
        self._chunk = min(64, chunk_max)
        self._began = self._last = 0.0
        self._deadline = self._earliest = 0.0
        #: How many elements the turn has given.
        self.elements = 0
        self._elements_end = elements_max

    def begin(self) -> None:
        """A turn begins."""
        self._began = self._last = perf_counter()
        self._deadline = float("inf")
        self._earliest = self._began
        self.elements = 0
        self._elements_end = self.elements_max

    def started(self) -> None:
        """What came before the first element is done."""
        now = perf_counter()
        self._earliest = now + (now - self._began)
        self._deadline = max(now + TURN_SECONDS, self._earliest)

    def chunk(self) -> int:
        """How many elements to hand on next."""
        left = self._elements_end - self.elements
        # Past the end a claim is being finished, and what it gives still goes in chunks worth their cost.
        return min(self._chunk, left) if left > 0 else min(self._chunk, self.elements_max)

    def took(self, count: int) -> None:
        """So many elements were made and handed on."""
        now = perf_counter()
        seconds = now - self._last
        self._last = now
        self.elements += count
        if seconds > TURN_SECONDS / 2:
            self._chunk = max(1, self._chunk // 2)
        elif count >= self._chunk and seconds < TURN_SECONDS / 8:
            self._chunk = min(self.chunk_max, self._chunk * 2)

    def is_over(self) -> bool:
        """Whether the turn is over."""
        now = perf_counter()
        if now >= self._deadline:
            return True
        # A number that was asked for is kept to; the usual one gives way to a long beginning.
        is_asked_for = self.elements_max < TURN_ELEMENTS
        return self.elements >= self._elements_end and (is_asked_for or now >= self._earliest)

    def extend(self) -> None:
        """The turn could not be ended: the next look is a turn from now."""
        self._deadline = perf_counter() + TURN_SECONDS
        self._elements_end = self.elements + self.elements_max
