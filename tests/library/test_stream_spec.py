"""TestStream as a spec: its events, their rules, and what the graph carries of them."""

from __future__ import annotations

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.graph import urns
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.test_stream import ElementEvent, ProcessingTimeEvent, TestStream, WatermarkEvent
from hornbeam.transforms.window import GlobalWindow, TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp
from hornbeam.utils.windowed_value import WindowedValue


def test_events_in_order():
    stream = (
        TestStream()
        .add_elements(["a"])
        .advance_watermark_to(5)
        .add_elements(["b", TimestampedValue("c", 3), WindowedValue("d", 4, [GlobalWindow()])])
        .add_elements(["e"], event_timestamp=7)
        .advance_processing_time(2)
        .advance_watermark_to_infinity()
    )
    assert stream.events == [
        ElementEvent([TimestampedValue("a", MIN_TIMESTAMP)]),
        WatermarkEvent(5),
        ElementEvent([TimestampedValue("b", 5), TimestampedValue("c", 3), TimestampedValue("d", 4)]),
        ElementEvent([TimestampedValue("e", 7)]),
        ProcessingTimeEvent(2),
        WatermarkEvent(MAX_TIMESTAMP),
    ]


def test_its_text_is_the_code_that_makes_it():
    stream = (
        TestStream()
        .add_elements([TimestampedValue(("a", 1), 1.5), TimestampedValue("b", MIN_TIMESTAMP)], tag="x")
        .advance_watermark_to(60, tag="x")
        .advance_processing_time(2)
        .advance_watermark_to_infinity(tag="x")
        .add_elements(["c"])
    )
    assert repr(stream).startswith("TestStream().add_elements([TimestampedValue(('a', 1), 1.5), ")
    assert eval(repr(stream)).events == stream.events
    assert repr(TestStream()) == "TestStream()"


def test_events_are_values():
    assert WatermarkEvent(5) == WatermarkEvent(Timestamp(5))
    assert ProcessingTimeEvent(2) == ProcessingTimeEvent(Duration(2))
    assert WatermarkEvent(5) != WatermarkEvent(5, "tag")


@pytest.mark.parametrize(
    "change",
    [
        lambda stream: stream.advance_watermark_to(4),
        lambda stream: stream.advance_processing_time(0),
        lambda stream: stream.advance_processing_time(-1),
        lambda stream: TestStream(events=["no event"]),
    ],
)
def test_time_does_not_go_back(change):
    with pytest.raises(ValueError):
        change(TestStream().advance_watermark_to(5))


def test_watermarks_of_outputs_are_apart():
    stream = (
        TestStream()
        .advance_watermark_to(5, tag="a")
        .advance_watermark_to(3, tag="b")
        .add_elements(["x"], tag="b")
    )
    assert stream.events[-1] == ElementEvent([TimestampedValue("x", 3)], "b")


def test_one_output():
    p = TestPipeline()
    output = p | TestStream().add_elements([1])
    assert isinstance(output, beam.PCollection) and not output.is_bounded
    (step,) = [step for step in p.to_graph().transforms.values() if step.urn == urns.TEST_STREAM]
    assert step.spec["events"] == [{"event": "elements", "count": 1, "tag": None}]
    payload = cloudpickle.loads(step.payload)
    assert payload.events == (ElementEvent([TimestampedValue(1, MIN_TIMESTAMP)]),)
    assert payload.output_tags == (None,)


def test_several_outputs():
    p = TestPipeline()
    outputs = p | TestStream().add_elements([1], tag="a").advance_watermark_to(3, tag="b")
    assert set(outputs) == {"a", "b"}
    (step,) = [step for step in p.to_graph().transforms.values() if step.urn == urns.TEST_STREAM]
    assert set(step.outputs) == {"a", "b"}
    assert not any(p.to_graph().pcollections[id_].is_bounded for id_ in step.outputs.values())


def test_begins_a_pipeline():
    p = TestPipeline()
    with pytest.raises(TypeError, match="begins a pipeline"):
        p | beam.Create([1]) | TestStream()
