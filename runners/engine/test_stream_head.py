"""A TestStream at work: one event at a time, each when the one before has been taken in fully."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cloudpickle

from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import GLOBAL_WINDOWS, from_entries
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME, Hold, SourceHead
from hornbeam.runners.engine.operator import Receiver
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN


class TestStreamHead(SourceHead):
    """The root that plays events back. `move_clock` moves the run's processing time on, by microseconds."""

    __test__ = False

    def __init__(
        self,
        step: Transform,
        container: MetricsContainer | None,
        receivers: Mapping[str, Receiver],
        move_clock: Callable[[int], None],
    ) -> None:
        super().__init__(step.label, container, receivers)
        payload = cloudpickle.loads(step.payload)  # a TestStreamPayload; the engine does not import testing
        self._events = payload.events
        self._next = 0
        self._ended = False
        self._move_clock = move_clock
        names = {tag: "out" if "out" in step.outputs else tag for tag in payload.output_tags}
        self._tag_of = {step.outputs[name]: tag for tag, name in names.items()}
        self._receive = {tag: receivers[name] for tag, name in names.items()}
        self._watermarks = dict.fromkeys(payload.output_tags, BEGINNING_OF_TIME)

    def watermark_of(self, pcollection: str) -> int:
        """How far the time of an output has come, or of what steps of its stage make of a single one."""
        if self.is_done() or pcollection not in self._tag_of:
            return self.hold()
        return self._watermarks[self._tag_of[pcollection]]

    def is_ready(self, now: int) -> bool:
        return not self.is_done()

    def is_done(self) -> bool:
        return self._ended

    def work(self, now: int) -> None:
        if self._next == len(self._events):
            self._ended = True  # In a turn of its own: the last event has been taken in fully.
            return
        event = self._events[self._next]
        self._next += 1
        kind = event.to_spec()["event"]
        if kind == "elements":
            elements = event.timestamped_values
            count = len(elements)
            if count:
                self._receive[event.tag](
                    from_entries(
                        [element.value for element in elements],
                        [element.timestamp.micros for element in elements],
                        [GLOBAL_WINDOWS] * count,
                        [PANE_INFO_UNKNOWN] * count,
                    )
                )
        elif kind == "watermark":
            self._watermarks[event.tag] = _watermark(event.new_watermark.micros)
        else:
            self._move_clock(event.advance_by.micros)

    def drain(self) -> None:
        self._next = len(self._events)
        self._ended = True

    def hold(self) -> int:
        return END_OF_TIME if self.is_done() else min(self._watermarks.values())

    def holds(self) -> list[Hold]:
        left = len(self._events) - self._next
        return [Hold(self.hold(), f"the TestStream, which has {left} more events")] if left else []

    def entries(self) -> int:
        return len(self._events) - self._next

    def changes(self) -> list[tuple[Any, Any]]:
        """One entry: the events played so far, whether the end has been, too, and the watermarks."""
        return [((None, "played"), (self._next, self._ended, dict(self._watermarks)))]

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for _, (self._next, self._ended, watermarks) in entries:
            self._watermarks.update(watermarks)


def _watermark(micros: int) -> int:
    if micros >= MAX_TIMESTAMP.micros:
        return END_OF_TIME
    return BEGINNING_OF_TIME if micros <= MIN_TIMESTAMP.micros else micros
