"""How a stream runs on DirectRunner: until its sources end, or it is cancelled or drained; and what it says meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.tail import TailText
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.direct import stream_result
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.explain import explain_stages, time_text
from hornbeam.runners.engine.head import Hold
from hornbeam.runners.runner import PipelineState
from hornbeam.testing.clock import FakeClock
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.periodicsequence import PeriodicImpulse
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.trigger import AccumulationMode, AfterProcessingTime, AfterWatermark
from hornbeam.transforms.userstate import TimerSpec, on_timer
from hornbeam.transforms.window import FixedWindows, TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, Duration, Timestamp

END = MAX_TIMESTAMP_MICROS

#: What the steps of a test tell it; by name, as user code is pickled on its way.
SEEN: dict[str, list[Any]] = {}
GATES: dict[str, threading.Event] = {}


@pytest.fixture
def seen(request):
    name = request.node.name
    SEEN[name] = []
    GATES[name] = threading.Event()
    yield name
    del SEEN[name], GATES[name]


def see(element: Any, name: str) -> Any:
    SEEN[name].append(element)
    return element


def take(n: int, name: str) -> None:
    see(("taken", n), name)
    if n == 50_000:
        GATES[name].set()


class Endless(RestrictionProvider):
    """Offsets without end; drained, they end at once."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, 1 << 60)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        return None


class Ticks(beam.DoFn):
    """One number a claim, at that second, with the watermark there; waits `pause` seconds after each `burst`."""

    def __init__(self, burst: int = 100, pause: float = 0.01) -> None:
        self.burst = burst
        self.pause = pause

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(Endless()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Any:
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            watermark.set_watermark(Timestamp(at))
            yield TimestampedValue(at, at)
            at += 1
            if at % self.burst == 0:
                tracker.defer_remainder(Duration(self.pause))
                return


def ticks(p: beam.Pipeline, **how: Any) -> beam.PCollection[Any]:
    return p | beam.Impulse() | "Ticks" >> beam.ParDo(Ticks(**how))


def until(condition: Any, seconds: float = 180) -> None:
    """Waits for something that another thread is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


# The end of a run


def test_run_answers_while_the_stream_goes_on_and_cancel_ends_it(seen):
    p = beam.Pipeline()
    ticks(p) | beam.Map(see, seen)
    result = p.run()
    assert result.state == PipelineState.RUNNING
    until(lambda: len(SEEN[seen]) > 500)
    assert result.wait_until_finish(duration=20) == PipelineState.RUNNING
    assert result.cancel() == PipelineState.CANCELLED
    assert result.wait_until_finish() == PipelineState.CANCELLED
    count = len(SEEN[seen])
    assert SEEN[seen] == list(range(count))
    until(lambda: all(thread.name != "hornbeam stream" for thread in threading.enumerate()))
    assert len(SEEN[seen]) == count


class SetsItselfForEver(beam.DoFn):
    """Its timer is due again each time it has fired; the step never comes to the end of its bundle."""

    AGAIN = TimerSpec("again", TimeDomain.REAL_TIME)

    def process(self, pair, again=beam.DoFn.TimerParam(AGAIN)):
        again.set(0)

    @on_timer(AGAIN)
    def fires(self, key=beam.DoFn.KeyParam, again=beam.DoFn.TimerParam(AGAIN)):
        GATES[key].set()
        again.set(0)


class NeverReturns(beam.DoFn):
    """Gives elements without end, for one."""

    def process(self, pair):
        GATES[pair[0]].set()
        while True:
            try:
                yield pair
            except Exception:
                pass


@pytest.mark.parametrize("dofn", [SetsItselfForEver, NeverReturns])
def test_cancel_breaks_off_a_bundle_that_does_not_end(dofn, seen, monkeypatch):
    monkeypatch.setattr(stream_result, "CANCEL_SECONDS", 0.05)
    p = beam.Pipeline()
    ticks = p | PeriodicImpulse(fire_interval=3600)
    (
        ticks
        | beam.Map(lambda _, name: (name, 1), seen)
        | beam.ParDo(dofn())
        | "Drop" >> beam.Filter(lambda _: False)
    )
    result = p.run()
    assert GATES[seen].wait(180)
    assert result.cancel() == PipelineState.CANCELLED
    assert result.wait_until_finish() == PipelineState.CANCELLED


def test_cancel_gives_nothing_out_that_was_kept(seen):
    p = beam.Pipeline()
    pairs = ticks(p) | beam.Map(lambda n: ("k", n)) | beam.WindowInto(FixedWindows(1 << 40))
    pairs | beam.GroupByKey() | beam.Map(see, seen)
    result = p.run()
    until(lambda: result.explain("GroupByKey").of("GroupByKey").elements > 100)
    result.cancel()
    assert SEEN[seen] == []


def test_drain_lets_sources_end_and_gives_out_what_is_open(seen):
    p = beam.Pipeline()
    numbers = ticks(p)
    pairs = numbers | beam.Map(lambda n: ("k", 1)) | beam.WindowInto(FixedWindows(1 << 40))
    pairs | beam.CombinePerKey(sum) | beam.Map(see, seen)
    result = p.run()
    until(lambda: result.explain("CombinePerKey(sum)").of("CombinePerKey(sum)").elements > 100)
    assert result.drain() == PipelineState.DONE
    ((key, total),) = SEEN[seen]
    assert key == "k" and total > 100 and total % 100 == 0
    assert result.explain().causes == ()
    assert all(stage.entries == 0 for stage in result.explain().stages)


def test_run_for_secs_drains(seen):
    with beam.Pipeline(options=PipelineOptions(["--run_for_secs=60"], clock=FakeClock())) as p:
        pairs = ticks(p) | beam.Map(lambda n: ("k", n)) | beam.WindowInto(FixedWindows(1 << 40))
        pairs | beam.GroupByKey() | beam.Map(see, seen)
    ((_, values),) = SEEN[seen]
    assert len(values) > 100 and values == list(range(len(values)))


def test_an_error_in_user_code_is_raised_by_wait_until_finish(seen):
    def fail(n: int) -> int:
        if n == 1234:
            raise KeyError("no such thing")
        return n

    p = beam.Pipeline()
    ticks(p) | "Look" >> beam.Map(fail) | beam.Map(see, seen)
    result = p.run()
    with pytest.raises(KeyError, match="no such thing") as caught:
        result.wait_until_finish()
    assert result.state == PipelineState.FAILED
    assert "while running step 'Look' on element 1234 (timestamp Timestamp(1234)" in "\n".join(
        caught.value.__notes__
    )
    with pytest.raises(KeyError):
        result.wait_until_finish()


def test_an_error_in_setup_is_raised_too(seen):
    class Broken(beam.DoFn):
        def setup(self) -> None:
            raise OSError("no connection")

        def process(self, element: Any) -> Any:
            yield element

    p = beam.Pipeline()
    ticks(p) | beam.ParDo(Broken())
    with pytest.raises(OSError, match="no connection"):
        p.run().wait_until_finish()


def test_ctrl_c_ends_a_stream_and_leaves_no_files(tmp_path):
    script = tmp_path / "script.py"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script.write_text(
        textwrap.dedent(
            f"""
            import signal, sys
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests may ignore Ctrl-C
            sys.path.insert(0, {os.path.dirname(__file__)!r})
            import hornbeam as beam
            from hornbeam.transforms.periodicsequence import PeriodicImpulse
            from hornbeam.options.pipeline_options import PipelineOptions

            def tell(element):
                print("element", flush=True)

            with beam.Pipeline(options=PipelineOptions(["--temp_dir={temporary}"])) as p:
                p | PeriodicImpulse(fire_interval=0.05) | beam.Map(tell)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "element\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert list(temporary.iterdir()) == []


# Pace and memory


def test_a_fast_source_waits_for_a_slow_step(seen):
    given: list[int] = SEEN[seen]

    class Source(Ticks):
        @beam.DoFn.unbounded_per_element()
        def process(
            self,
            element: Any,
            tracker: Any = beam.DoFn.RestrictionParam(Endless()),
            watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
        ) -> Any:
            for at in range(tracker.current_restriction().start, 1 << 60):
                if not tracker.try_claim(at):
                    return
                see(("given", at), seen)
                yield at

    p = beam.Pipeline()
    p | beam.Impulse() | beam.ParDo(Source()) | beam.Reshuffle() | beam.Map(take, seen)
    result = p.run()
    assert GATES[seen].wait(180)
    result.cancel()
    outstanding = most = 0
    for what, _ in given:
        outstanding += 1 if what == "given" else -1
        most = max(most, outstanding)
    assert most <= 4096


def test_a_waiting_stream_turns_only_when_something_is_due(seen, monkeypatch):
    from hornbeam.runners.direct.stream_execution import StreamExecution

    turns: list[int] = []
    advance = StreamExecution._advance
    monkeypatch.setattr(StreamExecution, "_advance", lambda self: (turns.append(1), advance(self))[1])
    p = beam.Pipeline()
    ticks(p, burst=1, pause=0.05) | beam.Map(see, seen)
    result = p.run()
    until(lambda: len(SEEN[seen]) >= 10)
    result.cancel()
    # A turn for the element, one for the wake-up before it, and those of the start and the end.
    assert len(turns) <= 3 * len(SEEN[seen]) + 5


# What it says


class Grouped(beam.PTransform):
    """Pairs, grouped and told."""

    def expand(self, pairs: beam.PCollection[Any]) -> beam.PCollection[Any]:
        return pairs | "Pass" >> beam.Map(lambda pair: pair) | "Group" >> beam.GroupByKey()


def test_explain_says_when_a_trigger_on_the_clock_is_due():
    p = beam.Pipeline()
    pairs = ticks(p, burst=10, pause=3600) | beam.Map(lambda n: ("k", n))
    early = beam.WindowInto(
        FixedWindows(60),
        trigger=AfterWatermark(early=AfterProcessingTime(7200)),
        accumulation_mode=AccumulationMode.DISCARDING,
    )
    pairs | early | "Group" >> beam.GroupByKey()
    before = time.time()
    result = p.run()
    until(lambda: result.explain("Group").of("Group").elements == 10)
    explanation = result.explain("Group")
    result.cancel()
    due = explanation.of("Group").due_clock
    assert due is not None and before + 7200 <= due / 1e6 <= time.time() + 7200
    assert f"  by the clock something of it is due at {time_text(due)}" in str(explanation).splitlines()
    assert explanation.of("Ticks").due_clock is None


def test_explain_names_the_source_that_holds_a_window_back(seen):
    p = beam.Pipeline()
    pairs = ticks(p, burst=10, pause=3600) | beam.Map(lambda n: ("k", n)) | beam.WindowInto(FixedWindows(60))
    pairs | "Group" >> beam.GroupByKey() | beam.Map(see, seen)
    pairs | "Composite" >> Grouped()
    result = p.run()
    until(lambda: result.explain("Group").of("Group").elements == 10)
    explanation = result.explain("Group")
    (cause,) = [cause for cause in explanation.causes if cause.step == "Ticks"]
    assert cause.micros == 9_000_000
    assert "OffsetRange(start=10" in cause.reason and "deferred until" in cause.reason
    text = str(explanation)
    assert "waits for 'Ticks', which has come to 1970-01-01T00:00:09" in text
    assert "what it keeps is next due at 1970-01-01T00:01:00" in text
    assert result.explain("Composite").of("Composite").label == "Composite/Group"
    with pytest.raises(KeyError, match="no step is called 'Nobody'; there are"):
        result.explain("Nobody")
    result.cancel()


@pytest.mark.parametrize(
    ("watermarks", "holds", "named"),
    [
        pytest.param((END, 50), {"part": 50, "other": 60}, ["part"], id="the earliest part"),
        pytest.param(
            (END, 50), {"idle part": 51, "other": 60}, ["idle part"], id="one that moves with the clock"
        ),
        pytest.param((40, 40), {"part": 51}, [], id="what it reads is further back"),
        pytest.param((END, END), {"watch": END}, [], id="nothing at the end of time"),
    ],
)
def test_what_of_its_own_a_step_names(watermarks, holds, named):
    head = SimpleNamespace(
        holds=lambda: [Hold(at, why) for why, at in holds.items()],
        next_watermark=lambda: 0,
        next_wakeup=lambda: NEVER,
    )
    stage = SimpleNamespace(
        label="Read", operators={"r": SimpleNamespace(label="Read")}, elements=1, entries=lambda: 1, gate=None,
        head=head, edges=[SimpleNamespace(source="S0", watermark=watermarks[0])],
        input_watermark=watermarks[0], output_watermark=watermarks[1],
    )  # fmt: skip
    begin = SimpleNamespace(
        **{
            **vars(stage),
            "operators": {"b": SimpleNamespace(label="Begin")},
            "label": "Begin",
            "edges": [],
            "head": None,
        }
    )
    explanation = explain_stages({"S0": begin, "S1": stage})
    assert [cause.reason for cause in explanation.stages[1].own] == named
    assert ("waits for 'Begin'" in str(explanation)) == (watermarks[0] < END)


def test_explain_names_the_side_input_that_elements_wait_for(seen):
    p = beam.Pipeline()
    main = (
        p
        | beam.Create([1, 2])
        | beam.Map(lambda n: TimestampedValue(n, n))
        | beam.WindowInto(FixedWindows(60))
    )
    side = ticks(p, burst=10, pause=3600) | "side window" >> beam.WindowInto(FixedWindows(60))
    main | "Enrich" >> beam.Map(lambda x, s: (x, s), beam.pvalue.AsList(side)) | beam.Map(see, seen)
    result = p.run()
    until(lambda: any(cause.kind == "side input" for cause in result.explain("Enrich").causes))
    (cause,) = [cause for cause in result.explain("Enrich").causes if cause.kind == "side input"]
    assert "2 elements that wait for side window [0.0, 60.0) of the side input from 'Ticks'" in cause.reason
    assert SEEN[seen] == []
    result.cancel()


def test_explain_names_a_source_that_knows_nothing_yet(seen, tmp_path):
    p = beam.Pipeline()
    lines = p | TailText(str(tmp_path / "nothing-*"), timestamp_fn=float)
    pairs = (lines, ticks(p, pause=3600)) | beam.Flatten() | beam.Map(lambda n: ("k", n))
    pairs | beam.WindowInto(FixedWindows(60)) | "Group" >> beam.GroupByKey()
    result = p.run()
    until(lambda: result.explain("Group").of("Group").elements == 100)
    (cause,) = result.explain("Group").causes
    assert cause.step == "TailText/Tail" and "Tail(no file)" in cause.reason
    assert "Group: input watermark the beginning of time, " in str(result.explain("Group"))
    result.cancel()


def test_watermarks_are_metrics_for_who_asks(seen):
    from hornbeam.metrics.metric import MetricsFilter

    p = beam.Pipeline()
    pairs = ticks(p, burst=10, pause=3600) | beam.Map(lambda n: ("k", n)) | beam.WindowInto(FixedWindows(60))
    pairs | "Group" >> beam.GroupByKey()
    result = p.run()
    until(lambda: result.explain("Group").of("Group").elements == 10)
    result.drain()
    gauges = result.metrics().query(MetricsFilter().with_namespace("hornbeam").with_step("Group"))["gauges"]
    named = {gauge.key.metric.name: gauge.committed.value for gauge in gauges}
    assert named["entries"] == 0
    assert named["input_watermark_micros"] > 9_000_000
    assert result.metrics().query()["gauges"] == []
