"""What a person at a terminal sees of a run on many processes: a bar for each stage at work, in one line.

Nothing is written when standard error is not a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TextIO

from hornbeam.runners.multiprocess.seat import Seat
from hornbeam.runners.multiprocess.task_book import StageState, TaskBook

_QUIET_SECONDS = 3.0
_INTERVAL_SECONDS = 0.25
_BAR = 10
_STAGES_MAX = 2
_WIDTH = 118


class StageProgress:
    """Counts, and now and then shows, what has been done."""

    def __init__(self, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._enabled = enabled and self._stream is not None and self._stream.isatty()
        self._started = time.monotonic()
        self._next = self._started + _QUIET_SECONDS
        self._total = 0
        self._width = 0

    def elements(self, count: int) -> None:
        """So many more elements have been taken by tasks that are done."""
        self._total += count

    def show(self, book: TaskBook, seats: Iterable[Seat]) -> None:
        """Shows the stages at work, if it is time to."""
        now = time.monotonic()
        if self._enabled and now >= self._next:
            self._next = now + _INTERVAL_SECONDS
            self._write(self._text(book, list(seats), now - self._started))

    def _text(self, book: TaskBook, seats: list[Seat], seconds: float) -> str:
        done = sum(state.is_done for state in book.stages.values())
        at_work = [state for state in book.stages.values() if state.is_started and not state.is_done]
        parts = [f"{done}/{len(book.stages)} stages"]
        parts += [self._bar(state, seats) for state in at_work[:_STAGES_MAX]]
        if len(at_work) > _STAGES_MAX:
            parts.append(f"and {len(at_work) - _STAGES_MAX} more")
        total = self._total + sum(seat.elements for seat in seats if seat.task is not None)
        parts.append(f"{total:,} elements, {total / max(seconds, 1e-9):,.0f}/s")
        parts.append(f"{len(seats)} workers, disk {book.catalog.bytes / 1e6:,.0f} MB, {seconds:.0f} s")
        return " │ ".join(parts)[:_WIDTH]

    def _bar(self, state: StageState, seats: list[Seat]) -> str:
        share = share_done(state, seats)
        full = round(share * _BAR)
        return f"{state.label[:24]} {'█' * full}{'░' * (_BAR - full)} {share:4.0%}"

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)

    def close(self) -> None:
        """Takes the line away."""
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()


def share_done(state: StageState, seats: Iterable[Seat]) -> float:
    """The share of a stage's tasks that is done; a running one counts by its own share."""
    tasks = [task for task in state.tasks if not task.is_struck]
    if not tasks:
        return 0.0
    running = sum(
        seat.fraction for seat in seats if seat.task is not None and seat.task.stage == state.stage.name
    )
    return min(1.0, (sum(task.is_done for task in tasks) + running) / len(tasks))
