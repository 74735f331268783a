"""The streaming oracle itself, held to transcripts worked out by hand from docs/event-time.md, rule by rule."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from properties.programs import Program as BoundedProgram
from properties.programs import programs as bounded_programs
from properties.stream_script import line_of, stream_of
from properties.vocabulary import canonical
from reference import interpret
from reference_streams import Streams, exploded, interpret_streams

import hornbeam as beam
from hornbeam.graph.model import Graph
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.trigger import (
    AfterAll,
    AfterAny,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterSynchronizedProcessingTime,
    AfterWatermark,
    Always,
    DefaultTrigger,
    Never,
    OrFinally,
    Repeatedly,
    TriggerFn,
)
from hornbeam.transforms.userstate import BagStateSpec, TimerSpec, on_timer, on_window_expiration
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampedValue,
    WindowFn,
)

BY_DEFAULT, TEN_SECONDS = DefaultTrigger(), FixedWindows(10)
UNSAFE = PipelineOptions(["--allow_unsafe_triggers"])


@attrs.frozen
class Transcript:
    """What happens to a GroupByKey, and the panes that it gives; `drops` are (late, closed)."""

    script: str
    panes: list[str]
    trigger: TriggerFn = BY_DEFAULT
    windows: WindowFn = TEN_SECONDS
    lateness: float = 0
    accumulating: bool = False
    combiner: str = "OUTPUT_AT_EOW"
    drops: tuple[int, int] = (0, 0)
    #: Fields of the windowing strategy that authors have no words for.
    strategy: dict[str, str] = attrs.field(factory=dict)

    def graph(self) -> Graph:
        pipeline = beam.Pipeline(
            options=beam.options.pipeline_options.PipelineOptions(["--allow_unsafe_triggers"])
        )
        windowed = (
            pipeline
            | stream_of(self.script)
            | beam.WindowInto(
                self.windows,
                trigger=self.trigger,
                accumulation_mode="ACCUMULATING" if self.accumulating else "DISCARDING",
                timestamp_combiner=self.combiner,
                allowed_lateness=self.lateness,
            )
        )
        windowed | "group" >> beam.GroupByKey()
        graph = pipeline.to_graph()
        windowings = {id_: attrs.evolve(w, **self.strategy) for id_, w in graph.windowings.items()}
        return attrs.evolve(graph, windowings=windowings)


def given_by(graph: Graph, label: str = "group") -> tuple[list[str], Streams]:
    """The lines of what the step gives."""
    streams = interpret_streams(graph)
    (step,) = [t for _, t in graph.leaves() if t.label == label]
    return [line_of(e) for e in exploded(streams.elements[step.outputs["out"]])], streams


EARLY_AND_LATE = AfterWatermark(early=AfterCount(2), late=AfterCount(1))

TRANSCRIPTS: dict[str, Transcript] = {
    # Watermarks and windows.
    "a window fires when the watermark has passed its last timestamp": Transcript(
        "1@3 2@4 | W 9.999999 | 3@5 | W 10", ["[0, 10) k: 1 2 3 @end ON_TIME 0/0 last"]
    ),
    "the end of the sources ends every window": Transcript("1@3", ["[0, 10) k: 1 @end ON_TIME 0/0 last"]),
    "a jump of the watermark takes windows in the order of their ends": Transcript(
        "1@23 2@4 3@15 | W 100",
        [
            "[0, 10) k: 2 @end ON_TIME 0/0 last",
            "[10, 20) k: 3 @end ON_TIME 0/0 last",
            "[20, 30) k: 1 @end ON_TIME 0/0 last",
        ],
    ),
    "keys come in the order in which they first came": Transcript(
        "b1@3 a2@4 b3@5 | W 10",
        ["[0, 10) b: 1 3 @end ON_TIME 0/0 last", "[0, 10) a: 2 @end ON_TIME 0/0 last"],
    ),
    "an element is in each of its windows": Transcript(
        "1@3",
        ["[0, 4) k: 1 @end ON_TIME 0/0 last", "[2, 6) k: 1 @end ON_TIME 0/0 last"],
        windows=SlidingWindows(4, 2),
    ),
    # Late data.
    "an element behind the watermark is not late for its window": Transcript(
        "W 8 | 1@3 | W 10", ["[0, 10) k: 1 @end ON_TIME 0/0 last"]
    ),
    "an element of an expired window is dropped": Transcript(
        "W 10 | 1@3 2@12", ["[10, 20) k: 2 @end ON_TIME 0/0 last"], drops=(1, 0)
    ),
    "a window has not expired at its last timestamp": Transcript(
        "W 9.999999 | 1@3", ["[0, 10) k: 1 @end ON_TIME 0/0 last"]
    ),
    "an element is dropped for each of its windows that has expired": Transcript(
        "W 5 | 1@3", ["[2, 6) k: 1 @end ON_TIME 0/0 last"], windows=SlidingWindows(4, 2), drops=(1, 0)
    ),
    "within the lateness the default trigger fires at each element": Transcript(
        "1@3 | W 10 | 2@4 3@5 | W 15 | 4@6",
        [
            "[0, 10) k: 1 @end ON_TIME 0/0",
            "[0, 10) k: 2 @end LATE 1/1",
            "[0, 10) k: 3 @end LATE 2/2",
        ],
        lateness=5,
        drops=(1, 0),
    ),
    "the lateness is over when the watermark has passed the last timestamp by more": Transcript(
        "1@3 | W 14.999999 | 2@4",
        ["[0, 10) k: 1 @end ON_TIME 0/0", "[0, 10) k: 2 @end LATE 1/1"],
        lateness=5,
    ),
    "a key whose first element comes after the end has late panes only": Transcript(
        "W 12 | 1@3 2@4",
        ["[0, 10) k: 1 @end LATE 0/0", "[0, 10) k: 2 @end LATE 1/1"],
        lateness=5,
    ),
    "a window that ends and expires at once gives one pane": Transcript(
        "1@3 | W 40", ["[0, 10) k: 1 @end ON_TIME 0/0 last"], lateness=5
    ),
    # Triggers.
    "AfterCount fires with the n-th element and has finished": Transcript(
        "1@1 2@2 3@3 | W 10",
        ["[0, 10) k: 1 2 @end EARLY 0/-1 last"],
        AfterCount(2),
        drops=(0, 1),
    ),
    "an element alone waits for its window to expire": Transcript(
        "1@1 | W 10", ["[0, 10) k: 1 @end ON_TIME 0/0 last"], AfterCount(2)
    ),
    "Repeatedly begins again": Transcript(
        "1@1 2@2 3@3 4@4 5@5 | W 10",
        [
            "[0, 10) k: 1 2 @end EARLY 0/-1",
            "[0, 10) k: 3 4 @end EARLY 1/-1",
            "[0, 10) k: 5 @end ON_TIME 2/0 last",
        ],
        Repeatedly(AfterCount(2)),
    ),
    "accumulating panes hold all": Transcript(
        "1@1 2@2 3@3 4@4 | W 10",
        ["[0, 10) k: 1 2 @end EARLY 0/-1", "[0, 10) k: 1 2 3 4 @end EARLY 1/-1"],
        Repeatedly(AfterCount(2)),
        accumulating=True,
    ),
    "triggers count for each key": Transcript(
        "a1@1 b2@2 a3@3 | W 10",
        ["[0, 10) a: 1 3 @end EARLY 0/-1", "[0, 10) b: 2 @end ON_TIME 0/0 last"],
        Repeatedly(AfterCount(2)),
    ),
    "early, on time, late": Transcript(
        "1@1 2@2 3@3 | W 10 | 4@4 5@5 | W 20",
        [
            "[0, 10) k: 1 2 @end EARLY 0/-1",
            "[0, 10) k: 3 @end ON_TIME 1/0",
            "[0, 10) k: 4 @end LATE 2/1",
            "[0, 10) k: 5 @end LATE 3/2",
        ],
        EARLY_AND_LATE,
        lateness=5,
    ),
    "early firings begin again": Transcript(
        "1@1 2@2 3@3 4@4 | W 10",
        [
            "[0, 10) k: 1 2 @end EARLY 0/-1",
            "[0, 10) k: 3 4 @end EARLY 1/-1",
            "[0, 10) k:  @end ON_TIME 2/0 last",
        ],
        EARLY_AND_LATE,
    ),
    "an empty pane on time has all that there was, if panes accumulate": Transcript(
        "1@1 2@2 | W 10 | W 15",
        ["[0, 10) k: 1 2 @1 EARLY 0/-1", "[0, 10) k: 1 2 @end ON_TIME 1/0"],
        EARLY_AND_LATE,
        accumulating=True,
        lateness=5,
        combiner="OUTPUT_AT_EARLIEST",
    ),
    "no empty pane on time under FIRE_IF_NON_EMPTY": Transcript(
        "1@1 2@2 | W 10 | 3@3",
        ["[0, 10) k: 1 2 @end EARLY 0/-1", "[0, 10) k: 3 @end ON_TIME 1/0"],
        EARLY_AND_LATE,
        lateness=5,
        strategy={"on_time_behavior": "FIRE_IF_NON_EMPTY"},
    ),
    "an empty pane at expiry under EMIT_ALWAYS": Transcript(
        "1@1 | W 10 | W 15",
        ["[0, 10) k: 1 @end ON_TIME 0/0", "[0, 10) k:  @end LATE 1/1 last"],
        lateness=5,
        strategy={"closing_behavior": "EMIT_ALWAYS"},
    ),
    "what a late trigger has not fired comes at expiry": Transcript(
        "1@1 | W 10 | 2@2 | W 15",
        ["[0, 10) k: 1 @end ON_TIME 0/0", "[0, 10) k: 2 @end LATE 1/1 last"],
        AfterWatermark(late=AfterCount(3)),
        lateness=5,
    ),
    "late counts from the end on": Transcript(
        "1@1 2@2 | W 10 | 3@3 4@4",
        ["[0, 10) k: 1 2 @end ON_TIME 0/0", "[0, 10) k: 3 4 @end LATE 1/1"],
        AfterWatermark(late=AfterCount(2)),
        lateness=5,
    ),
    "without late the end's firing closes the window": Transcript(
        "1@1 | W 10 | 2@2",
        ["[0, 10) k: 1 @end ON_TIME 0/0 last"],
        AfterWatermark(),
        lateness=5,
        drops=(0, 1),
    ),
    "a closed window is forgotten when it expires": Transcript(
        "1@1 | W 10 | 2@2 | W 15 | 3@3",
        ["[0, 10) k: 1 @end ON_TIME 0/0 last"],
        AfterWatermark(),
        lateness=5,
        drops=(1, 1),
    ),
    "Always fires at every element, and has no pane on time": Transcript(
        "1@1 2@2 | W 10",
        ["[0, 10) k: 1 @end EARLY 0/-1", "[0, 10) k: 2 @end EARLY 1/-1"],
        Always(),
    ),
    "Never fires as the window expires": Transcript(
        "1@1 | W 10 | 2@2 | W 15", ["[0, 10) k: 1 2 @end ON_TIME 0/0 last"], Never(), lateness=5
    ),
    "AfterProcessingTime waits from the first element on": Transcript(
        "P 100 | 1@1 | P 3 | 2@2 | P 1.999999 | P 0.000001 | 3@3",
        ["global k: 1 2 @end EARLY 0/-1", "global k: 3 @end ON_TIME 1/0 last"],
        Repeatedly(AfterProcessingTime(5)),
        GlobalWindows(),
    ),
    "processing time that jumps fires once": Transcript(
        "1@1 | P 50 | 2@2 | P 5",
        ["global k: 1 @end EARLY 0/-1", "global k: 2 @end EARLY 1/-1"],
        Repeatedly(AfterProcessingTime(5)),
        GlobalWindows(),
    ),
    "AfterSynchronizedProcessingTime does not wait": Transcript(
        "1@1 | P 1 | 2@2",
        ["global k: 1 @end EARLY 0/-1", "global k: 2 @end EARLY 1/-1"],
        Repeatedly(AfterSynchronizedProcessingTime()),
        GlobalWindows(),
    ),
    "AfterAny fires with the first": Transcript(
        "1@1 2@2 | 3@3 | P 5 | 4@4",
        [
            "global k: 1 2 @end EARLY 0/-1",
            "global k: 3 @end EARLY 1/-1",
            "global k: 4 @end ON_TIME 2/0 last",
        ],
        Repeatedly(AfterAny(AfterCount(2), AfterProcessingTime(5))),
        GlobalWindows(),
    ),
    "AfterAny begins again as a whole, its other parts too": Transcript(
        "1@1 | P 3 | 2@2 | 3@3 | P 3 | P 2",
        ["global k: 1 2 @end EARLY 0/-1", "global k: 3 @end EARLY 1/-1"],
        Repeatedly(AfterAny(AfterCount(2), AfterProcessingTime(5))),
        GlobalWindows(),
    ),
    "AfterAll waits for the last": Transcript(
        "1@1 2@2 3@3 | P 5 | 4@4 | P 5 | 5@5",
        ["global k: 1 2 3 @end EARLY 0/-1", "global k: 4 5 @end EARLY 1/-1"],
        Repeatedly(AfterAll(AfterCount(2), AfterProcessingTime(5))),
        GlobalWindows(),
    ),
    "AfterAll with the end of the window": Transcript(
        "1@1 2@2 | W 10 | 3@3 | 4@4",
        ["[0, 10) k: 1 2 3 @end ON_TIME 0/0 last"],
        AfterAll(AfterWatermark(), AfterCount(3)),
        lateness=5,
        drops=(0, 1),
    ),
    "AfterAll goes on with a part that never finishes": Transcript(
        "1@1 2@2 | W 10 | 3@3 | 4@4",
        ["[0, 10) k: 1 2 @end ON_TIME 0/0", "[0, 10) k: 3 @end LATE 1/1", "[0, 10) k: 4 @end LATE 2/2"],
        AfterAll(DefaultTrigger(), AfterCount(2)),
        lateness=5,
    ),
    "AfterEach goes through its parts": Transcript(
        "1@1 2@2 3@3 4@4 5@5",
        [
            "global k: 1 2 @end EARLY 0/-1",
            "global k: 3 @end EARLY 1/-1",
            "global k: 4 5 @end EARLY 2/-1 last",
        ],
        AfterEach(AfterCount(2), AfterCount(1), AfterCount(2)),
        GlobalWindows(),
    ),
    "AfterEach stays with a part that never finishes": Transcript(
        "1@1 2@2 3@3",
        ["global k: 1 2 @end EARLY 0/-1", "global k: 3 @end EARLY 1/-1"],
        AfterEach(AfterCount(2), Always(), AfterCount(1)),
        GlobalWindows(),
    ),
    "OrFinally fires until its second part does": Transcript(
        "1@1 2@2 3@3 4@4",
        ["global k: 1 @end EARLY 0/-1", "global k: 2 @end EARLY 1/-1", "global k: 3 @end EARLY 2/-1 last"],
        OrFinally(Always(), AfterCount(3)),
        GlobalWindows(),
        drops=(0, 1),
    ),
    "OrFinally with a first part that finishes fires once": Transcript(
        "1@1 2@2 3@3",
        ["global k: 1 2 @end EARLY 0/-1 last"],
        OrFinally(AfterCount(2), AfterCount(3)),
        GlobalWindows(),
        drops=(0, 1),
    ),
    "a condition that comes true over nothing gives nothing, but closes": Transcript(
        "1@1 | P 5 | 2@2",
        ["global k: 1 @end EARLY 0/-1"],
        OrFinally(Always(), AfterProcessingTime(5)),
        GlobalWindows(),
        drops=(0, 1),
    ),
    "an end of the window that is begun again is looked at with the next element": Transcript(
        "1@1 | W 10 | W 12 | 2@2",
        ["[0, 10) k: 1 @end ON_TIME 0/0", "[0, 10) k: 2 @end LATE 1/1"],
        Repeatedly(AfterWatermark()),
        lateness=5,
    ),
    "a part of Repeatedly that fired early still fires for the end": Transcript(
        "1@1 2@2 | W 10",
        ["[0, 10) k: 1 2 @end EARLY 0/-1", "[0, 10) k:  @end ON_TIME 1/0 last"],
        Repeatedly(AfterAny(AfterCount(2), DefaultTrigger())),
    ),
    # Timestamps.
    "the earliest since the last pane": Transcript(
        "1@3 2@5 3@4 4@1 | W 10",
        ["[0, 10) k: 1 2 @3 EARLY 0/-1", "[0, 10) k: 3 4 @1 EARLY 1/-1"],
        Repeatedly(AfterCount(2)),
        combiner="OUTPUT_AT_EARLIEST",
    ),
    "the latest since the last pane, in accumulating panes too": Transcript(
        "1@3 2@5 3@4 4@1 | W 10",
        ["[0, 10) k: 1 2 @5 EARLY 0/-1", "[0, 10) k: 1 2 3 4 @4 EARLY 1/-1"],
        Repeatedly(AfterCount(2)),
        accumulating=True,
        combiner="OUTPUT_AT_LATEST",
    ),
    # Merging.
    "sessions merge as elements come": Transcript(
        "1@1 2@8 3@5 | W 13", ["[1, 13) k: 1 2 3 @end ON_TIME 0/0 last"], windows=Sessions(5)
    ),
    "sessions of keys are their own": Transcript(
        "a1@1 b2@3 | W 20",
        ["[1, 6) a: 1 @end ON_TIME 0/0 last", "[3, 8) b: 2 @end ON_TIME 0/0 last"],
        windows=Sessions(5),
    ),
    "sessions that touch do not merge": Transcript(
        "1@1 2@6 | W 20",
        ["[1, 6) k: 1 @end ON_TIME 0/0 last", "[6, 11) k: 2 @end ON_TIME 0/0 last"],
        windows=Sessions(5),
    ),
    "a session is late before merging": Transcript(
        "1@1 2@7 | W 9 | 3@3 4@5",
        ["[1, 6) k: 1 @end ON_TIME 0/0 last", "[5, 12) k: 2 4 @end ON_TIME 0/0 last"],
        windows=Sessions(5),
        drops=(1, 0),
    ),
    "counts of merged sessions add up, and are looked at with the new element": Transcript(
        "1@1 2@8 | 3@5",
        ["[1, 13) k: 1 2 3 @end EARLY 0/-1"],
        Repeatedly(AfterCount(3)),
        Sessions(5),
    ),
    "pane indexes of merged sessions add up": Transcript(
        "1@1 2@8 | 3@5 | W 20",
        [
            "[1, 6) k: 1 @end EARLY 0/-1",
            "[8, 13) k: 2 @end EARLY 0/-1",
            "[1, 13) k: 1 2 3 @end EARLY 2/-1",
        ],
        Always(),
        Sessions(5),
        accumulating=True,
    ),
    "elements of merged sessions come in the order in which the windows got their first": Transcript(
        "1@8 2@1 3@9 | 4@5 | W 20", ["[1, 14) k: 1 3 2 4 @end ON_TIME 0/0 last"], windows=Sessions(5)
    ),
    "the end of a session that goes on has not come": Transcript(
        "1@1 | W 6 | 2@5 | W 10 | W 20",
        [
            "[1, 6) k: 1 @end ON_TIME 0/0",
            "[1, 10) k: 2 @end ON_TIME 1/1",
        ],
        AfterWatermark(early=AfterCount(2), late=AfterCount(1)),
        Sessions(5),
        lateness=10,
    ),
    "late elements of a session that has ended": Transcript(
        "1@1 | W 9 | 2@3",
        ["[1, 6) k: 1 @end ON_TIME 0/0", "[1, 8) k: 1 2 @end LATE 1/1"],
        windows=Sessions(5),
        accumulating=True,
        lateness=10,
    ),
    "the earliest of the merged times": Transcript(
        "1@1 | P 3 | 2@8 | 3@5 | P 2",
        ["[1, 13) k: 1 2 3 @1 EARLY 0/-1"],
        Repeatedly(AfterProcessingTime(5)),
        Sessions(5),
        combiner="OUTPUT_AT_EARLIEST",
    ),
    "a part of AfterEach that had begun in a session goes on": Transcript(
        "1@1 2@2 3@3 | 4@11 | 5@6 6@7",
        ["[1, 7) k: 1 2 @end EARLY 0/-1", "[1, 16) k: 3 5 4 6 @end EARLY 1/-1 last"],
        AfterEach(AfterCount(2), AfterCount(3)),
        Sessions(5),
    ),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript(name: str) -> None:
    transcript = TRANSCRIPTS[name]
    lines, streams = given_by(transcript.graph())
    assert lines == transcript.panes
    drops = streams.drops.get("group", {})
    assert (drops.get("dropped_late", 0), drops.get("dropped_closed", 0)) == transcript.drops


def lines_of(build: Any) -> list[str]:
    """The lines of the PCollection of pairs that `build` makes of a pipeline."""
    pipeline = beam.Pipeline(options=UNSAFE)
    build(pipeline) | "last" >> beam.Map(lambda pair: pair)
    return given_by(pipeline.to_graph(), "last")[0]


def test_a_grouping_holds_the_watermark_for_what_it_has_not_given() -> None:
    def build(p: beam.Pipeline) -> Any:
        return (
            p
            | stream_of("1@1 2@2 | W 9 | 3@3 | W 10")
            | beam.WindowInto(
                FixedWindows(10),
                trigger=Repeatedly(AfterCount(3)),
                accumulation_mode="DISCARDING",
                timestamp_combiner="OUTPUT_AT_EARLIEST",
            )
            | "first" >> beam.GroupByKey()
            | "narrower" >> beam.WindowInto(FixedWindows(5))
            | "second" >> beam.GroupByKey()
        )

    # The pane of 1 2 3 gets 1 s, which lies in [0, 5): the hold keeps that window from ending at W = 9.
    assert lines_of(build) == ["[0, 5) k: [1, 2, 3] @end ON_TIME 0/0 last"]


def test_the_continuation_trigger_lets_early_panes_through() -> None:
    def build(p: beam.Pipeline) -> Any:
        return (
            p
            | stream_of("1@1 2@2 3@3 | W 10")
            | beam.WindowInto(
                FixedWindows(10), trigger=AfterWatermark(early=AfterCount(2)), accumulation_mode="DISCARDING"
            )
            | "first" >> beam.CombinePerKey(sum)
            | "second" >> beam.GroupByKey()
        )

    # The pane on time comes before the watermark does, so it is an early one downstream.
    assert lines_of(build) == [
        "[0, 10) k: 3 @end EARLY 0/-1",
        "[0, 10) k: 3 @end EARLY 1/-1",
        "[0, 10) k:  @end ON_TIME 2/0 last",
    ]


def test_outputs_behind_the_watermark_are_late_downstream() -> None:
    pipeline = beam.Pipeline(options=UNSAFE)
    (
        pipeline
        | stream_of("W 20 | 1@15 2@25")
        | beam.Map(lambda pair: beam.window.TimestampedValue(pair, 15))
        | beam.WindowInto(FixedWindows(10))
        | "group" >> beam.GroupByKey()
    )
    lines, streams = given_by(pipeline.to_graph())
    assert lines == []
    assert streams.drops == {"group": {"dropped_late": 2}}


def test_flattened_tags_have_the_smaller_watermark() -> None:
    def build(p: beam.Pipeline) -> Any:
        tags = p | (
            TestStream()
            .add_elements([TimestampedValue(("k", 1), 1)], tag="a")
            .add_elements([TimestampedValue(("k", 2), 2)], tag="b")
            .advance_watermark_to(30, tag="a")
            .add_elements([TimestampedValue(("k", 3), 3)], tag="b")
            .advance_watermark_to(30, tag="b")
            .add_elements([TimestampedValue(("k", 4), 4)], tag="b")
        )
        return (tags["a"], tags["b"]) | beam.Flatten() | beam.WindowInto(FixedWindows(10)) | beam.GroupByKey()

    assert lines_of(build) == ["[0, 10) k: 1 2 3 @end ON_TIME 0/0 last"]


def with_side(view: Any, side_windowing: beam.WindowInto, side_events: list[tuple[str, Any]]) -> list[str]:
    """What each element at 1 s of the tag `main` sees of the values of the tag `side`."""

    def build(p: beam.Pipeline) -> Any:
        stream = TestStream()
        for kind, what in side_events:
            if kind == "main":
                stream.add_elements([TimestampedValue(("k", what), 1)], tag="main")
            elif kind == "side":
                stream.add_elements([TimestampedValue(what, 1)], tag="side")
            else:
                stream.advance_watermark_to(what, tag=kind.removesuffix(" W"))
        tags = p | stream
        side = tags["side"] | "side" >> side_windowing
        return (
            tags["main"]
            | "main" >> beam.WindowInto(FixedWindows(10))
            | beam.Map(lambda pair, seen: (pair[0], (pair[1], seen)), view(side))
            | "group" >> beam.GroupByKey()
        )

    return lines_of(build)


def test_elements_wait_for_the_end_of_the_side_window_and_hold_the_watermark() -> None:
    events = [("main", 1), ("side", 7), ("main W", 20), ("side", 8), ("side W", 10), ("side", 9)]
    found = with_side(beam.pvalue.AsList, beam.WindowInto(FixedWindows(10)), events)
    assert found == ["[0, 10) k: (1, [7, 8]) @end ON_TIME 0/0 last"]


def test_a_side_window_without_elements_is_empty() -> None:
    events = [("main", 1), ("main W", 20), ("side W", 10)]
    found = with_side(beam.pvalue.AsList, beam.WindowInto(FixedWindows(10)), events)
    assert found == ["[0, 10) k: (1, []) @end ON_TIME 0/0 last"]


def test_each_pane_of_a_side_input_takes_the_place_of_the_one_before() -> None:
    slowly = beam.WindowInto(
        GlobalWindows(), trigger=Repeatedly(AfterCount(1)), accumulation_mode="DISCARDING"
    )
    events = [("main", 1), ("side", 7), ("main", 2), ("side", 8), ("main", 3)]
    found = with_side(beam.pvalue.AsSingleton, slowly, events)
    assert found == ["[0, 10) k: (1, 7) (2, 7) (3, 8) @end ON_TIME 0/0 last"]


class Buffer(beam.DoFn):
    """Gives the sum of what came when its timer fires; says when that was for."""

    values = BagStateSpec("values", beam.coders.VarIntCoder())
    timer = TimerSpec("timer", TimeDomain.WATERMARK)
    clock = TimerSpec("clock", TimeDomain.REAL_TIME)

    def __init__(self, at: Any = None, clock_at: Any = None) -> None:
        self.at = at
        self.clock_at = clock_at

    def process(
        self,
        pair: Any,
        values: Any = beam.DoFn.StateParam(values),
        timer: Any = beam.DoFn.TimerParam(timer),
        clock: Any = beam.DoFn.TimerParam(clock),
    ) -> None:
        values.add(pair[1])
        if self.at is not None:
            timer.set(self.at)
        if self.clock_at is not None:
            clock.set(self.clock_at)

    @on_timer(timer)
    def due(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(values),
    ) -> Any:
        yield key, f"{sum(values.read())} for {float(at):g}"
        values.clear()

    @on_timer(clock)
    def due_by_the_clock(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(values),
    ) -> Any:
        yield key, f"{sum(values.read())} by the clock for {float(at):g}"
        values.clear()


class BufferToTheEnd(Buffer):
    """Gives what is left as the window expires."""

    @on_window_expiration
    def expired(
        self, key: Any = beam.DoFn.KeyParam, values: Any = beam.DoFn.StateParam(Buffer.values)
    ) -> Any:
        yield key, f"{sum(values.read())} at the end"


def by_state(script: str, dofn: beam.DoFn, lateness: float = 0) -> list[str]:
    def build(p: beam.Pipeline) -> Any:
        windows = beam.WindowInto(FixedWindows(10), allowed_lateness=lateness)
        return p | stream_of(script) | windows | beam.ParDo(dofn)

    return lines_of(build)


STATEFUL: dict[str, tuple[str, beam.DoFn, list[str]]] = {
    "a timer fires when the watermark reaches it": (
        "1@1 a2@2 | W 4.9 | 3@3 | W 5 | 4@6 | W 10",
        Buffer(5),
        ["[0, 10) a: 2 for 5 @5", "[0, 10) k: 4 for 5 @5", "[0, 10) k: 4 for 5 @5"],
    ),
    "a timer that is set past the expiration fires then": (
        "1@1 | W 9 | W 10",
        Buffer(25),
        ["[0, 10) k: 1 for 25 @25"],
    ),
    "a timer of the clock": (
        "1@1 | P 4 | 2@2 | P 1",
        Buffer(None, 5),
        ["[0, 10) k: 3 by the clock for 5 @2"],
    ),
    "a timer of the clock fires at the latest as the window expires": (
        "1@1 | W 10",
        Buffer(None, 5),
        ["[0, 10) k: 1 by the clock for 5 @1"],
    ),
    "what is left when the window expires": (
        "1@1 | W 5 | 2@6 | W 10",
        BufferToTheEnd(5),
        ["[0, 10) k: 1 for 5 @5", "[0, 10) k: 2 for 5 @5", "[0, 10) k: 0 at the end @end"],
    ),
    "elements of expired windows are dropped": (
        "1@1 | W 10 | 2@2",
        BufferToTheEnd(),
        ["[0, 10) k: 1 at the end @end"],
    ),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_state_and_timers(name: str) -> None:
    script, dofn, expected = STATEFUL[name]
    assert by_state(script, dofn) == expected


def test_state_lives_until_the_lateness_is_over() -> None:
    found = by_state("1@1 | W 10 | 2@2 | W 15 | 3@3", BufferToTheEnd(), lateness=5)
    assert found == ["[0, 10) k: 3 at the end @end"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=bounded_programs())
def test_bounded_data_means_what_it_does_without_time(program: BoundedProgram) -> None:
    # A fanout spreads keys at random, and what lies in between is compared too.
    assume(all(step.op != "combine_with_fanout" for step in program.steps))
    pipeline = beam.Pipeline()
    program.build(pipeline)
    graph = pipeline.to_graph()
    streams, without_time = interpret_streams(graph), interpret(graph)
    assert not streams.drops
    for id_, elements in without_time.items():
        assert facts_of(streams.elements[id_]) == facts_of(elements), graph.pcollections[id_]


def facts_of(elements: list[Any]) -> Counter[Any]:
    return Counter(
        (canonical(e.value), e.timestamp.micros, repr(e.windows[0]), repr(e.pane_info))
        for e in exploded(elements)
    )
