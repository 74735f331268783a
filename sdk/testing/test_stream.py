"""TestStream: an unbounded source whose elements, watermarks and processing time a test dictates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from hornbeam.coders import Coder, FastPrimitivesCoder
from hornbeam.graph import urns
from hornbeam.pvalue import PBegin, PCollection, PValue
from hornbeam.transforms.bounded_window import seconds_text
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.window import GlobalWindows, TimestampedValue
from hornbeam.transforms.windowing import Windowing
from hornbeam.utils import pickling
from hornbeam.utils.timestamp import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    Duration,
    DurationTypes,
    Timestamp,
    TimestampTypes,
)
from hornbeam.utils.windowed_value import WindowedValue

__all__ = [
    "ElementEvent",
    "Event",
    "ProcessingTimeEvent",
    "TestStream",
    "TestStreamPayload",
    "WatermarkEvent",
]


def _as_timestamp(time: TimestampTypes) -> Timestamp:
    return Timestamp.of(time)


def _as_duration(time: DurationTypes) -> Duration:
    return Duration.of(time)


class Event:
    """Something that happens in a TestStream."""

    def to_spec(self) -> dict[str, Any]:
        """The event as plain JSON values, to be read in the graph."""
        raise TypeError(f"{type(self).__name__} is no event of a TestStream; use one of the three kinds")


@attrs.frozen
class ElementEvent(Event):
    """Elements arrive, all at once, at the output `tag`."""

    timestamped_values: Sequence[TimestampedValue[Any]]
    tag: str | None = None

    def to_spec(self) -> dict[str, Any]:
        """How many, and where to."""
        return {"event": "elements", "count": len(self.timestamped_values), "tag": self.tag}


@attrs.frozen
class WatermarkEvent(Event):
    """The watermark of the output `tag` advances to `new_watermark`."""

    new_watermark: Timestamp = attrs.field(converter=_as_timestamp)
    tag: str | None = None

    def to_spec(self) -> dict[str, Any]:
        """The new watermark in microseconds."""
        return {"event": "watermark", "micros": self.new_watermark.micros, "tag": self.tag}


@attrs.frozen
class ProcessingTimeEvent(Event):
    """The processing-time clock advances by `advance_by`."""

    advance_by: Duration = attrs.field(converter=_as_duration)

    def to_spec(self) -> dict[str, Any]:
        """The step in microseconds."""
        return {"event": "processing_time", "micros": self.advance_by.micros}


@attrs.frozen
class TestStreamPayload:
    """What the graph carries of a TestStream."""

    __test__ = False

    events: tuple[Event, ...]
    output_tags: tuple[str | None, ...]
    coder: Coder


class TestStream(PTransform[Any, Any]):
    """A source that plays back events in order; each is taken in fully before the next happens.

    Elements without a timestamp get that of their output's watermark. Outputs are named by tags; with one
    output the result is a pcollection, with several a dict of them by tag. The watermark reaches the end
    of time after the last event.
    """

    __test__ = False

    def __init__(
        self,
        coder: Coder | None = None,
        events: Iterable[Event] | None = None,
        output_tags: Iterable[str | None] | None = None,
        endpoint: str | None = None,
    ) -> None:
        super().__init__()
        self.coder = coder or FastPrimitivesCoder()
        self.watermarks: dict[str | None, Timestamp] = {}
        self.output_tags: set[str | None] = set(output_tags or ())
        self.endpoint = endpoint
        self._events: list[Event] = []
        for event in events or ():
            self._add(event)

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        return list(self._events)

    def add_elements(
        self, elements: Iterable[Any], tag: str | None = None, event_timestamp: TimestampTypes | None = None
    ) -> TestStream:
        """Then these arrive: TimestampedValues, WindowedValues (whose windows do not count) or plain values.

        Plain values get `event_timestamp`, or the watermark of their output.
        """
        default = self._watermark(tag) if event_timestamp is None else Timestamp.of(event_timestamp)
        values = [_timestamped(element, default) for element in elements]
        return self._add(ElementEvent(values, tag))

    def advance_watermark_to(self, new_watermark: TimestampTypes, tag: str | None = None) -> TestStream:
        """Then the watermark advances; it must not go back."""
        return self._add(WatermarkEvent(Timestamp.of(new_watermark), tag))

    def advance_watermark_to_infinity(self, tag: str | None = None) -> TestStream:
        """Then the watermark advances to the end of time: the output is complete."""
        return self.advance_watermark_to(MAX_TIMESTAMP, tag)

    def advance_processing_time(self, advance_by: DurationTypes) -> TestStream:
        """Then so much processing time passes."""
        return self._add(ProcessingTimeEvent(Duration.of(advance_by)))

    def __repr__(self) -> str:
        """The calls that make it, so that a failing example can be read and pasted."""
        return "TestStream()" + "".join(map(_call_text, self._events))

    def expand(self, pbegin: Any) -> Any:
        """One unbounded pcollection, or a dict of them by tag."""
        if not isinstance(pbegin, PBegin):
            raise TypeError(
                f"TestStream begins a pipeline: write p | TestStream(), not {pbegin} | TestStream()"
            )
        tags = self._tags()
        if len(tags) == 1:
            return PCollection(pbegin.pipeline, is_bounded=False)
        return {tag: PCollection(pbegin.pipeline, tag=tag, is_bounded=False) for tag in tags}

    def get_windowing(self, unused_inputs: Sequence[PValue]) -> Windowing:
        """The global window."""
        return Windowing(GlobalWindows())

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """`TEST_STREAM` with the events, to be read and pickled."""
        payload = TestStreamPayload(tuple(self._events), self._tags(), self.coder)
        spec = {"events": [event.to_spec() for event in self._events]}
        return GraphParts(urns.TEST_STREAM, spec, pickling.dumps(payload))

    def _tags(self) -> tuple[str | None, ...]:
        tags = self.output_tags or {None}
        return tuple(sorted(tags, key=lambda tag: (tag is not None, tag or "")))

    def _watermark(self, tag: str | None) -> Timestamp:
        return self.watermarks.get(tag, MIN_TIMESTAMP)

    def _add(self, event: Event) -> TestStream:
        if isinstance(event, ElementEvent):
            for element in event.timestamped_values:
                if not MIN_TIMESTAMP <= element.timestamp <= MAX_TIMESTAMP:
                    raise ValueError(f"an element's timestamp lies outside of time: {element!r}")
            self.output_tags.add(event.tag)
        elif isinstance(event, WatermarkEvent):
            if event.new_watermark < self._watermark(event.tag):
                raise ValueError(
                    f"a watermark only advances: it is {self._watermark(event.tag)}, found {event.new_watermark}"
                )
            self.watermarks[event.tag] = event.new_watermark
            self.output_tags.add(event.tag)
        elif isinstance(event, ProcessingTimeEvent):
            if event.advance_by.micros <= 0:
                raise ValueError(f"processing time only advances: found a step of {event.advance_by}")
        else:
            raise ValueError(
                f"a TestStream takes element, watermark and processing-time events, found {event!r}"
            )
        self._events.append(event)
        return self


def _timestamped(element: Any, default: Timestamp) -> TimestampedValue[Any]:
    if isinstance(element, TimestampedValue):
        return element
    if isinstance(element, WindowedValue):
        return TimestampedValue(element.value, element.timestamp)
    return TimestampedValue(element, default)


def _time_text(micros: int) -> str:
    """A timestamp as code."""
    if micros == MIN_TIMESTAMP.micros:
        return "MIN_TIMESTAMP"
    return "MAX_TIMESTAMP" if micros == MAX_TIMESTAMP.micros else seconds_text(micros)


def _call_text(event: Event) -> str:
    """The call that adds an event."""
    tag = getattr(event, "tag", None)
    tagged = "" if tag is None else f", tag={tag!r}"
    if isinstance(event, ElementEvent):
        values = ", ".join(
            f"TimestampedValue({one.value!r}, {_time_text(one.timestamp_micros)})"
            for one in event.timestamped_values
        )
        return f".add_elements([{values}]{tagged})"
    if isinstance(event, WatermarkEvent):
        if event.new_watermark == MAX_TIMESTAMP:
            return f".advance_watermark_to_infinity({tagged.removeprefix(', ')})"
        return f".advance_watermark_to({_time_text(event.new_watermark.micros)}{tagged})"
    assert isinstance(event, ProcessingTimeEvent)
    return f".advance_processing_time({seconds_text(event.advance_by.micros)})"
