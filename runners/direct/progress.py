"""What a person at a terminal sees of a run that takes longer than a few seconds: one line, kept up to date.

Nothing is written when standard error is not a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from hornbeam.runners.engine.explain import time_text
from hornbeam.runners.engine.stream_stage import StreamStage

_QUIET_SECONDS = 3.0
_INTERVAL_SECONDS = 0.25


class Progress:
    """Counts, and now and then shows, what has been done."""

    def __init__(self, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._enabled = enabled and self._stream is not None and self._stream.isatty()
        self._started = time.monotonic()
        self._next = self._started + _QUIET_SECONDS
        self._total = 0
        self._in_stage = 0
        self._label = ""
        self._place = ""
        self._width = 0

    def stage(self, index: int, count: int, label: str) -> None:
        """A stage begins."""
        self._in_stage = 0
        self._label = label
        self._place = f"stage {index + 1}/{count}"

    def elements(self, count: int) -> None:
        """So many more elements went into the stage."""
        self._in_stage += count
        self._total += count
        if self._enabled:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + _INTERVAL_SECONDS
                self._show(now)

    def stream(self, stages: Mapping[str, StreamStage]) -> None:
        """A turn of a stream has ended."""
        if not self._enabled:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL_SECONDS
            held = min(stages.values(), key=lambda stage: stage.output_watermark)
            total = sum(stage.elements for stage in stages.values())
            text = f"{total:,} elements, watermark {time_text(held.output_watermark)} at {held.label}"
            self._write(text[:110])

    def _show(self, now: float) -> None:
        seconds = now - self._started
        text = f"{self._place} {self._label}: {self._in_stage:,} elements, {self._total / seconds:,.0f}/s, {seconds:.0f} s"
        self._write(text[:110])

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
