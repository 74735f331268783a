"""What users test their streams with: assertions on unbounded pcollections, arrivals in every order, a fake clock."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import hornbeam as beam
from hornbeam.testing.clock import FakeClock
from hornbeam.testing.streams import arrivals, elements_of
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.test_stream import ElementEvent, ProcessingTimeEvent, TestStream, WatermarkEvent
from hornbeam.testing.util import (
    BeamAssertException,
    TestWindowedValue,
    assert_that,
    equal_to,
    equal_to_per_window,
    has_at_least_one,
    is_empty,
    is_not_empty,
)
from hornbeam.transforms.periodicsequence import PeriodicImpulse
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from hornbeam.transforms.window import FixedWindows, IntervalWindow, Sessions, TimestampedValue
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

FIRST, SECOND = IntervalWindow(0, 10), IntervalWindow(10, 20)


def numbers(*values):
    return [TimestampedValue(value, value) for value in values]


def early_and_late(windowfn=None):
    return beam.WindowInto(
        windowfn or FixedWindows(10),
        trigger=AfterWatermark(early=AfterCount(2), late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=5,
    )


class TestAssertionsOnStreams:
    def panes(self, pipeline):
        """Sums of 1 and 2, of 3 and of the late 4; then of 12."""
        stream = TestStream().add_elements(numbers(1, 2, 3)).advance_watermark_to(11).add_elements(numbers(4))
        stream = stream.advance_watermark_to(16).add_elements(numbers(12))
        return pipeline | stream | early_and_late() | beam.CombineGlobally(sum).without_defaults()

    def test_all_panes_are_seen_when_the_stream_has_ended(self):
        with TestPipeline() as p:
            assert_that(self.panes(p), equal_to([3, 3, 4, 12]))

    def test_a_mistake_is_found(self):
        with pytest.raises(BeamAssertException, match="missing elements"), TestPipeline() as p:
            assert_that(self.panes(p), equal_to([3, 3, 4, 12, 13]))

    def test_per_window(self):
        with TestPipeline() as p:
            assert_that(self.panes(p), equal_to_per_window({FIRST: [3, 3, 4], SECOND: [12]}))
        with pytest.raises(BeamAssertException, match="unexpected elements"), TestPipeline() as p:
            assert_that(self.panes(p), equal_to_per_window({FIRST: [3, 3], SECOND: [12]}))

    def test_each_window_by_itself(self):
        def matcher(found):
            elements, window = found
            assert sorted(elements) == {FIRST: [3, 3, 4], SECOND: [12]}[window]

        with TestPipeline() as p:
            assert_that(self.panes(p), matcher, use_global_window=False)

    def test_sessions_of_keys_are_not_merged_by_the_assertion(self):
        seen = []

        def matcher(found):
            assert len(found[0]) == 1, found
            seen.append(found)

        with TestPipeline() as p:
            stream = TestStream().add_elements([TimestampedValue((n, n), n) for n in (1, 3)])
            sums = p | stream | beam.WindowInto(Sessions(5)) | beam.CombinePerKey(sum)
            assert_that(sums, matcher, use_global_window=False)

    def test_reified(self):
        on_time = PaneInfo(False, False, PaneInfoTiming.ON_TIME, 1, 0)
        expected = [
            TestWindowedValue(3, FIRST.max_timestamp(), [FIRST], PaneInfo(True, False, 0, 0, -1)),
            TestWindowedValue(3, FIRST.max_timestamp(), [FIRST], on_time),
            TestWindowedValue(4, FIRST.max_timestamp(), [FIRST]),
            TestWindowedValue(12, SECOND.max_timestamp(), [SECOND]),
        ]
        with TestPipeline() as p:
            assert_that(
                p
                | TestStream()
                .add_elements(numbers(1, 2, 3))
                .advance_watermark_to(11)
                .add_elements(numbers(4))
                .advance_watermark_to(16)
                .add_elements(numbers(12))
                | early_and_late()
                | beam.Map(lambda n: (None, n))
                | "per key" >> beam.CombinePerKey(sum)
                | beam.Values(),
                equal_to(expected),
                reify_windows=True,
            )

    def test_no_elements(self):
        with TestPipeline() as p:
            nothing = p | TestStream().advance_watermark_to(5) | beam.Filter(lambda x: True)
            assert_that(nothing, is_empty())
        with pytest.raises(BeamAssertException, match="empty"), TestPipeline() as p:
            assert_that(p | TestStream().advance_watermark_to(5), is_not_empty())

    def test_has_at_least_one(self):
        with TestPipeline() as p:
            has_at_least_one(self.panes(p), lambda n: n == 12)
        with pytest.raises(BeamAssertException, match="no element fulfils"), TestPipeline() as p:
            has_at_least_one(self.panes(p), lambda n: n == 13)


events = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40)).map(lambda pair: TimestampedValue(pair, pair[1])),
    max_size=12,
)


class TestArrivals:
    @settings(max_examples=100)
    @given(elements=events, data=st.data(), delay=st.sampled_from([0, 5, None]), lateness=st.integers(0, 9))
    def test_what_is_promised(self, elements, data, delay, lateness):
        stream = data.draw(
            arrivals(elements, max_delay=delay, allowed_lateness=lateness, max_bundle=3, max_pause=2)
        )
        arrived = elements_of(stream)
        assert Counter(map(repr, arrived)) == Counter(map(repr, elements))
        watermark, latest = None, None
        for event in stream.events:
            if isinstance(event, WatermarkEvent):
                watermark = event.new_watermark
            elif isinstance(event, ElementEvent):
                assert len(event.timestamped_values) <= 3
                for element in event.timestamped_values:
                    assert watermark is None or element.timestamp + lateness >= watermark
                    assert latest is None or delay is None or element.timestamp + delay >= latest
                    latest = element.timestamp if latest is None else max(latest, element.timestamp)

    @pytest.mark.parametrize(
        "what, happens",
        [
            ("all at once", lambda s: len(s.events) == 1),
            ("one by one", lambda s: len(s.events) >= 4),
            ("out of order", lambda s: elements_of(s)[0].value == 4),
            ("a late element", lambda s: any(
                isinstance(a, WatermarkEvent) and isinstance(b, ElementEvent)
                and any(e.timestamp < a.new_watermark for e in b.timestamped_values)
                for a, b in zip(s.events, s.events[1:])
            )),
            ("processing time", lambda s: any(isinstance(e, ProcessingTimeEvent) for e in s.events)),
        ],
    )  # fmt: skip
    def test_what_may_happen(self, what, happens):
        ways = arrivals(numbers(1, 2, 3, 4), max_delay=10, allowed_lateness=2, max_pause=60)
        assert happens(find(ways, happens))

    def test_the_simplest_way_is_all_at_once_and_in_order(self):
        stream = find(arrivals(numbers(3, 1, 2), max_delay=None, allowed_lateness=5), lambda s: True)
        assert stream.events == [ElementEvent(numbers(1, 2, 3))]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(stream=arrivals(events, max_delay=10, allowed_lateness=5))
    def test_a_pipeline_against_a_batch_oracle(self, stream):
        expected = Counter()
        for element in elements_of(stream):
            key, second = element.value
            expected[key, second // 10] += 1
        with TestPipeline() as p:
            counts = (
                p
                | stream
                | early_and_late()
                | beam.Map(lambda pair: ((pair[0], pair[1] // 10), 1))
                | "panes" >> beam.CombinePerKey(sum)
                | "all"
                >> beam.WindowInto(
                    beam.window.GlobalWindows(),
                    trigger=AfterWatermark(),
                    accumulation_mode=AccumulationMode.DISCARDING,
                )
                | beam.CombinePerKey(sum)
            )
            assert_that(counts, equal_to(list(expected.items())))  # fmt: skip

    def test_tags(self):
        stream = find(arrivals(numbers(1, 2), tag="t"), lambda s: True)
        assert [e.value for e in elements_of(stream, "t")] == [1, 2]
        assert elements_of(stream) == []

    @pytest.mark.parametrize(
        "wrong, error",
        [
            (lambda: arrivals([1]), "takes TimestampedValues; it was given 1"),
            (lambda: arrivals([], max_delay=-1), "max_delay must be a finite number of seconds"),
            (lambda: arrivals([], allowed_lateness=float("inf")), "allowed_lateness must be a finite"),
            (lambda: arrivals([], max_bundle=0), "max_bundle must be at least 1"),
        ],
    )
    def test_mistakes(self, wrong, error):
        with pytest.raises((TypeError, ValueError), match=error):
            wrong()

    def test_without_hypothesis(self):
        code = "import sys; sys.modules['hypothesis'] = None; import hornbeam.testing.streams"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "pip install 'hornbeam[hypothesis]'" in run.stderr


class TestFakeClock:
    def test_moves_when_told(self):
        clock = FakeClock(start=5)
        clock.advance(2.5)
        clock.advance_to(7)
        assert clock.now() == 7.5 and clock.now_micros() == 7_500_000
        clock.advance_to(9)
        assert clock.now() == 9
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(-1)

    def test_runs_ahead_to_what_is_waited_for(self):
        clock = FakeClock()
        clock.wait(3_000_000, threading.Event())
        assert clock.now() == 3
        clock.wait(2_000_000, threading.Event())
        assert clock.now() == 3

    def test_does_not_jump_when_there_is_something_to_do(self):
        clock, wake = FakeClock(), threading.Event()
        wake.set()
        clock.wait(3_000_000, wake)
        assert clock.now() == 0

    def test_wakes_a_waiting_run_when_it_is_moved(self):
        clock, wake = FakeClock(runs_ahead=False), threading.Event()
        waiting = threading.Thread(target=clock.wait, args=(3_000_000, wake), daemon=True)
        waiting.start()
        while not clock._waiting:
            pass
        assert waiting.is_alive() and clock.now() == 0
        clock.advance(3)
        waiting.join(60)
        assert not waiting.is_alive()

    def test_an_hour_takes_no_time(self):
        clock = FakeClock()
        with TestPipeline(clock=clock) as p:
            ticks = p | PeriodicImpulse(start_timestamp=0, stop_timestamp=3600, fire_interval=600)
            assert_that(ticks, equal_to([600 * n for n in range(6)]))
        assert clock.now() >= 3000

    def test_a_test_stream_has_a_clock_of_its_own(self):
        with (
            pytest.raises(beam.error.PipelineError, match="advance_processing_time"),
            TestPipeline(clock=FakeClock()) as p,
        ):
            p | TestStream().add_elements([1])
