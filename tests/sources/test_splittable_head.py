"""Splittable DoFns in turns: where a turn ends, what waits how long, what holds time back, what a snapshot has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.driving import SECOND, splittable

import hornbeam as beam
from hornbeam.io.iobase import RestrictionTracker, WatermarkEstimator
from hornbeam.io.restriction_trackers import (
    OffsetRange,
    OffsetRestrictionTracker,
    UnsplittableRestrictionTracker,
)
from hornbeam.io.watermark_estimators import (
    ManualWatermarkEstimator,
    MonotonicWatermarkEstimator,
    WalltimeWatermarkEstimator,
)
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.source_holds import SourceHolds
from hornbeam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp

INFINITY = float("inf")


class Below(RestrictionProvider):
    """[0, element): all numbers without an end for "all"; a pair is a range of its own."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        if element == "all":
            return OffsetRange(0, INFINITY)
        return OffsetRange(*element) if isinstance(element, tuple) else OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> RestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> float:
        return restriction.size()


class InParts(Below):
    def split(self, element: Any, restriction: OffsetRange) -> Any:
        yield from restriction.split(4)


class Whole(Below):
    def create_tracker(self, restriction: OffsetRange) -> RestrictionTracker:
        return UnsplittableRestrictionTracker(OffsetRestrictionTracker(restriction))


class Numbers(beam.DoFn):
    """Each number of the restriction."""

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield position
            position += 1


class NumbersInParts(Numbers):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(InParts())):
        yield from Numbers.process(self, element, tracker)


class NumbersWhole(Numbers):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Whole())):
        yield from Numbers.process(self, element, tracker)


class Triples(beam.DoFn):
    """Claims every third number, and gives it and the two behind it that are in the restriction it began with."""

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        restriction = tracker.current_restriction()
        position = -(-restriction.start // 3) * 3
        while tracker.try_claim(position):
            yield from range(position, min(position + 3, element))
            position += 3


class TwoAtATime(beam.DoFn):
    """Gives two numbers and asks to be called again, after a time if the DoFn has one."""

    def __init__(self, wait: Any = None) -> None:
        super().__init__()
        self._wait = wait

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        position = tracker.current_restriction().start
        for _ in range(2):
            if not tracker.try_claim(position):
                return
            yield position
            position += 1
        tracker.defer_remainder(self._wait)


# Turns


@pytest.mark.parametrize("elements_max", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize("dofn", [Numbers, NumbersInParts, NumbersWhole, Triples, TwoAtATime])
def test_a_turn_that_ends_anywhere_loses_and_repeats_nothing(
    dofn: type[beam.DoFn], elements_max: int
) -> None:
    driven = splittable(dofn(), elements_max=elements_max)
    driven.feed(0, 1, 9, 10)
    driven.run()
    assert sorted(driven.values) == sorted([*range(1), *range(9), *range(10)])
    assert driven.head.is_done() and driven.head.entries() == 0
    assert driven.hold() is None and driven.head.next_wakeup() == NEVER


@pytest.mark.parametrize(
    ("dofn", "elements_max", "turns"),
    [
        (Numbers, 1, 5),
        (Numbers, 2, 3),
        (Numbers, 5, 1),
        (Triples, 1, 3),
        (NumbersWhole, 1, 1),  # cannot be split: runs on
        (TwoAtATime, 4096, 3),  # deferred to now: its turn comes again
    ],
)
def test_turns_of_a_restriction_of_five(dofn: type[beam.DoFn], elements_max: int, turns: int) -> None:
    driven = splittable(dofn(), elements_max=elements_max)
    driven.feed(5)
    assert driven.run() == turns
    assert driven.values == [0, 1, 2, 3, 4]


def test_works_take_turns() -> None:
    driven = splittable(Numbers(), elements_max=2)
    driven.feed((0, INFINITY), (100, INFINITY), (200, 203))
    for _ in range(6):
        driven.turn()
    assert driven.take() == [0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 4, 5]
    assert driven.head.entries() == 2


class SlowToBegin(Numbers):
    """Takes longer to begin than a turn lasts."""

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        import time

        time.sleep(0.03)
        yield from Numbers.process(self, element, tracker)


@pytest.mark.turns_by_time
def test_a_process_that_takes_a_turn_to_begin_still_gets_on() -> None:
    driven = splittable(SlowToBegin())
    driven.feed("all")
    driven.turn()
    assert driven.values


class OnlyClaims(beam.DoFn):
    """Gives nothing, for ever."""

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            position += 1
        return ()


@pytest.mark.turns_by_time
def test_a_process_that_only_claims_has_its_turn_ended_too() -> None:
    driven = splittable(OnlyClaims())
    driven.feed("all", (0, 3))
    driven.turn()
    driven.turn()
    assert driven.head.entries() == 1


# Deferring


@pytest.mark.parametrize(
    ("wait", "wakes"),
    [
        (Duration(5), [15, 20, 25]),
        (Duration(0.25), [10.25, 10.5, 10.75]),
        (Timestamp(30), [30]),  # past then, so the rest goes through at once
        (Timestamp(3), []),
        (Duration(0), []),
        (None, []),
    ],
)
def test_what_is_deferred_waits_until_its_time(wait: Any, wakes: list[float]) -> None:
    driven = splittable(TwoAtATime(wait), start=10)
    driven.feed(7)
    seen = []
    driven.run()
    while (wakeup := driven.wakes()) is not None:
        seen.append(wakeup)
        driven.clock.advance(driven.head.next_wakeup() - driven.now - 1)
        assert not driven.head.is_ready(driven.now)
        driven.clock.advance(1)
        assert driven.head.is_ready(driven.now)
        driven.run()
    assert seen == wakes
    assert driven.values == list(range(7)) and driven.head.is_done()


@pytest.mark.parametrize("wait", [5, 2.5, "soon"])
def test_what_is_no_time_to_defer_to_is_refused(wait: Any) -> None:
    driven = splittable(TwoAtATime(wait))
    driven.feed(7)
    with pytest.raises(ValueError, match="takes a Duration") as caught:
        driven.turn()
    assert caught.value.hornbeam_failure.step == "Step"


class Polls(beam.DoFn):
    """Finds nothing, and asks to be called again as soon as possible."""

    def __init__(self, calls: list[int]) -> None:
        super().__init__()
        self.calls = calls

    @beam.DoFn.unbounded_per_element()
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        self.calls.append(1)
        tracker.defer_remainder()
        return ()


def test_what_does_nothing_and_wants_to_be_called_at_once_does_not_keep_the_processor_busy() -> None:
    calls: list[int] = []
    driven = splittable(Polls(calls))
    driven.feed("all")
    driven.pass_time(10)
    assert 10 < len(calls) < 100


# Watermarks


class Stamps(beam.DoFn):
    """Numbers at their own time, in seconds."""

    def process(
        self,
        element,
        tracker=beam.DoFn.RestrictionParam(Below()),
        estimator=beam.DoFn.WatermarkEstimatorParam(MonotonicWatermarkEstimator.default_provider()),
    ):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield TimestampedValue(position, position)
            position += 1


class SetsWatermark(beam.DoFn):
    """Numbers; after each the watermark is set to ten times the number."""

    def process(
        self,
        element,
        tracker=beam.DoFn.RestrictionParam(Below()),
        estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield position
            estimator.set_watermark(Timestamp(10 * position))
            position += 1
        if tracker.current_restriction().stop < 1000:
            estimator.set_watermark(
                MAX_TIMESTAMP
            )  # true of what was claimed, not of the rest that was split off


class ByTheClock(beam.DoFn):
    def process(
        self,
        element,
        tracker=beam.DoFn.RestrictionParam(Below()),
        estimator=beam.DoFn.WatermarkEstimatorParam(WalltimeWatermarkEstimator.default_provider()),
    ):
        position = tracker.current_restriction().start
        if tracker.try_claim(position):
            yield position
            tracker.defer_remainder(Duration(2))


class Behind(WatermarkEstimator):
    """As far as the latest output, less a slack."""

    def __init__(self, state: tuple[int, int]) -> None:
        self._slack, self._latest = state

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        self._latest = max(self._latest, timestamp.seconds())

    def current_watermark(self) -> Timestamp:
        return Timestamp(self._latest - self._slack)

    def get_estimator_state(self) -> tuple[int, int]:
        return self._slack, self._latest


class BehindBy(WatermarkEstimatorProvider):
    def initial_estimator_state(self, element: Any, restriction: Any) -> tuple[int, int]:
        return 5, 0

    def create_watermark_estimator(self, estimator_state: tuple[int, int]) -> WatermarkEstimator:
        return Behind(estimator_state)


class Shuffled(beam.DoFn):
    """Numbers, each pair swapped, at their own time."""

    def process(
        self,
        element,
        tracker=beam.DoFn.RestrictionParam(Below()),
        estimator=beam.DoFn.WatermarkEstimatorParam(BehindBy()),
    ):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield TimestampedValue(position ^ 1, position ^ 1)
            position += 1


@pytest.mark.parametrize(
    ("dofn", "holds"),
    [
        # The hold when the element (at second 3) has come, then after each turn of two numbers.
        (Numbers, [3, 3, 3]),
        (Stamps, [3, 3, 3, 5]),  # outputs at 0 and 1 do not take back what the element's timestamp said
        (SetsWatermark, [3, 10, 30, 50]),
        (Shuffled, [-5, -4, -2, 0]),
        (ByTheClock, [40, 40]),
    ],
)
def test_a_work_holds_at_its_estimator(dofn: type[beam.DoFn], holds: list[float]) -> None:
    driven = splittable(dofn(), start=40, elements_max=2)
    driven.feed("all", at=3)
    seen = [driven.hold()]
    for _ in holds[1:]:
        driven.turn()
        seen.append(driven.hold())
    assert seen == holds


def test_the_wall_clocks_watermark_is_that_of_the_runs_clock() -> None:
    driven = splittable(ByTheClock(), start=40)
    driven.feed("all", at=3)
    driven.pass_time(5)
    assert (driven.values, driven.hold()) == ([0, 1, 2], 44)


def test_the_step_is_held_by_the_work_that_is_furthest_back_and_by_none_when_all_are_done() -> None:
    driven = splittable(SetsWatermark(), elements_max=1)
    driven.feed((0, 1), (7, 9), (3, 5), at=1)
    holds = []
    while driven.turn():
        holds.append(driven.hold())
    # Turns of (0, 1), (7, 9), (3, 5), (7, 9), (3, 5): the first one is done at once, the last at 40.
    assert holds == [1, 1, 30, 30, None]


def test_holds_are_told_with_the_restriction_and_the_element() -> None:
    driven = splittable(SetsWatermark(), elements_max=2)
    driven.feed((4, 90), at=3)
    driven.turn()
    (hold,) = driven.head.holds()
    assert hold.micros == driven.head.hold()
    assert hold.reason == "restriction OffsetRange(start=6, stop=90) of element (4, 90), watermark 50.0"


def test_no_more_than_a_handful_of_holds_are_told() -> None:
    driven = splittable(TwoAtATime(Duration(60)), start=1)
    driven.feed(*range(3, 100))
    driven.run()
    reasons = [hold.reason for hold in driven.head.holds()]
    assert len(reasons) == 5 and "deferred until 61.0" in reasons[0]


# Idle


def test_what_is_idle_moves_with_the_clock_in_steps() -> None:
    """Workers tell each other each move: in a job without data they woke each other again and again."""
    holds: SourceHolds[str] = SourceHolds(10 * SECOND)
    holds.tick(0)
    holds.set("a", 5)
    holds.waits("a")
    seen = []
    for millis in range(9_000, 13_000):
        holds.tick(millis * 1000)
        if [holds.hold()] != seen[-1:]:
            seen.append(holds.hold())
            assert holds.next_wakeup() == (10 * SECOND if millis < 10_000 else (millis + 1000) * 1000)
    assert seen == [5, 1 * SECOND, 2 * SECOND]


def test_an_idle_restriction_holds_no_further_back_than_the_timeout() -> None:
    driven = splittable(TwoAtATime(Duration(1000)), start=500, idle_timeout_micros=60_000_000)
    driven.feed("all", at=100)
    driven.run()
    seen = []
    for seconds in (59, 1, 1, 100, 839):
        driven.pass_time(seconds)
        seen.append((driven.now // 1_000_000, driven.hold(), "idle" in driven.head.holds()[0].reason))
    assert seen == [
        (559, 100, False),
        (560, 500, True),  # it has said nothing for 60 seconds
        (561, 501, True),
        (661, 601, True),
        (1500, 100, False),  # gave two more: its own watermark counts again, and these may be late
    ]


def test_without_a_timeout_an_idle_restriction_holds() -> None:
    driven = splittable(TwoAtATime(Duration(1000)), start=500)
    driven.feed("all", at=100)
    driven.pass_time(900)
    assert driven.hold() == 100


class StatesATimeout(TwoAtATime):
    idle_timeout = 30


def test_a_dofns_own_timeout_comes_before_the_runs() -> None:
    driven = splittable(StatesATimeout(Duration(1000)), start=500, idle_timeout_micros=1_000_000_000)
    driven.feed("all", at=100)
    driven.pass_time(30)
    assert driven.hold() == 500


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_must_be_above_zero(timeout: float) -> None:
    dofn = TwoAtATime()
    dofn.idle_timeout = timeout
    with pytest.raises(ValueError, match="above 0"):
        splittable(dofn)


def test_a_work_that_waits_only_for_its_turn_is_not_idle() -> None:
    driven = splittable(Numbers(), start=500, elements_max=1, idle_timeout_micros=1_000_000)
    driven.feed("all", (0, INFINITY), at=100)
    for _ in range(10):
        driven.clock.advance(5_000_000)
        driven.turn()
        assert driven.hold() == 100


# Draining


@pytest.mark.parametrize(
    ("elements", "left"),
    [
        ([3], [2]),  # bounded: finished
        (["all"], []),  # unbounded: ends
        (["all", 5, (10, INFINITY)], [2, 3, 4]),
    ],
)
def test_draining_finishes_what_is_bounded_and_ends_what_is_not(elements: list[Any], left: list[int]) -> None:
    driven = splittable(Numbers(), elements_max=2)
    driven.feed(*elements)
    for _ in elements:
        driven.turn()
    driven.take()
    driven.head.drain()
    driven.run()
    assert driven.take() == left
    assert driven.head.is_done() and driven.hold() is None


def test_what_comes_after_the_drain_is_truncated_too() -> None:
    driven = splittable(Numbers())
    driven.head.drain()
    driven.feed("all", 3)
    driven.run()
    assert driven.values == [0, 1, 2]


def test_what_is_deferred_is_drained() -> None:
    driven = splittable(TwoAtATime(Duration(60)))
    driven.feed("all")
    driven.run()
    driven.head.drain()
    assert driven.head.is_done() and driven.wakes() is None
    driven.pass_time(100)
    assert driven.values == [0, 1]


class AtMostTwoMore(Below):
    def truncate(self, element: Any, restriction: OffsetRange) -> OffsetRange:
        return OffsetRange(restriction.start, min(restriction.stop, restriction.start + 2))


class Truncated(Numbers):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(AtMostTwoMore())):
        yield from Numbers.process(self, element, tracker)


def test_a_provider_says_what_draining_leaves() -> None:
    driven = splittable(Truncated(), elements_max=3)
    driven.feed("all")
    driven.turn()
    driven.head.drain()
    driven.run()
    assert driven.values == [0, 1, 2, 3, 4] and driven.head.is_done()


# Snapshots


@pytest.mark.parametrize("elements_max", [1, 2, 3])
@pytest.mark.parametrize("dofn", [Numbers, NumbersInParts, NumbersWhole, Triples, TwoAtATime, Stamps])
def test_a_restart_between_any_two_turns_gives_each_number_once(
    dofn: type[beam.DoFn], elements_max: int
) -> None:
    driven = splittable(dofn(), elements_max=elements_max)
    driven.head.track_changes()
    driven.feed(0, 1, 9, 10)
    driven.snapshot()
    while driven.turn():
        driven.snapshot()
        driven.restore()
    assert sorted(driven.values) == sorted([*range(1), *range(9), *range(10)])
    assert driven.store == {} and driven.head.is_done()


def test_a_restart_keeps_resume_times_watermarks_and_contexts() -> None:
    driven = splittable(TwoAtATime(Duration(60)), start=10)
    driven.head.track_changes()
    driven.feed(5, at=3)
    driven.run()
    before = (driven.wakes(), driven.hold(), [hold.reason for hold in driven.head.holds()])
    driven.snapshot()
    driven.restore()
    assert (driven.wakes(), driven.hold(), [hold.reason for hold in driven.head.holds()]) == before
    assert not driven.turn()
    driven.pass_time(60)
    assert driven.given == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_snapshot_has_only_what_changed_and_nothing_of_what_came_and_went() -> None:
    driven = splittable(Numbers(), elements_max=2)
    driven.head.track_changes()
    driven.feed(1, (10, INFINITY))
    assert len(driven.head.changes()) == 2
    assert driven.head.changes() == []
    driven.feed(1)
    for _ in range(3):
        driven.turn()
    names = [name for name, _ in driven.head.changes()]
    assert len(names) == 2  # the first one's end and the endless one's progress; the third came and went


def test_works_of_two_heads_come_together() -> None:
    one, other = splittable(Numbers()), splittable(Numbers())
    for driven, element in ((one, 3), (other, (5, 7))):
        driven.head.track_changes()
        driven.feed(element)
        driven.snapshot()
    one.store.update(other.store)
    one.restore()
    one.run()
    assert sorted(one.values) == [0, 1, 2, 5, 6]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), max_size=5),
    elements_max=st.integers(1, 6),
    wait=st.sampled_from([None, Duration(0), Duration(1)]),
    steps=st.lists(st.sampled_from(["turn", "snapshot", "crash", "wait"]), max_size=40),
)
def test_a_crash_anywhere_gives_what_followed_the_snapshot_again_and_no_more(
    sizes: list[int], elements_max: int, wait: Any, steps: list[str]
) -> None:
    driven = splittable(TwoAtATime(wait), elements_max=elements_max)
    driven.head.track_changes()
    if sizes:
        driven.feed(*sizes)
    driven.snapshot()
    durable: list[int] = []
    for step in steps:
        if step == "turn":
            driven.turn()
        elif step == "wait":
            driven.pass_time(1)
        elif step == "snapshot":
            driven.snapshot()
            durable += driven.take()
        else:
            driven.take()
            driven.restore()
    driven.pass_time(100)
    durable += driven.take()
    assert sorted(durable) == sorted(number for size in sizes for number in range(size))
    assert driven.head.entries() == 0


# Failures


class ClaimsTooLittle(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        tracker.try_claim(0)
        yield 0


class Fails(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        tracker.try_claim(0)
        yield 0
        raise KeyError("lost")


class Stops(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        return next(iter(()))


class GivesText(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
        return "text"


class BadSplit(Below):
    def split(self, element: Any, restriction: OffsetRange) -> Any:
        raise ZeroDivisionError("no parts")


class SplitFails(Numbers):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(BadSplit())):
        return ()


@pytest.mark.parametrize(
    ("dofn", "error", "message"),
    [
        (ClaimsTooLittle, ValueError, "have not been claimed"),
        (Fails, KeyError, "lost"),
        (Stops, RuntimeError, "StopIteration"),
        (GivesText, TypeError, "returned a str"),
        (SplitFails, ZeroDivisionError, "no parts"),
    ],
)
def test_failures_name_the_step_and_the_element(
    dofn: type[beam.DoFn], error: type[Exception], message: str
) -> None:
    driven = splittable(dofn())
    with pytest.raises(error, match=message) as caught:
        driven.feed(7, at=5)
        driven.run()
    assert (
        str(caught.value.hornbeam_failure)
        == "while running step 'Step' on element 7 (timestamp Timestamp(5))"
    )


# The life of the DoFn


class Journal(beam.DoFn):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def setup(self) -> None:
        self.lines.append("setup")

    def start_bundle(self) -> None:
        self.lines.append("start")

    def process(
        self,
        element,
        tracker=beam.DoFn.RestrictionParam(Below()),
        finalizer=beam.DoFn.BundleFinalizerParam,
    ):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            finalizer.register(lambda at=position: self.lines.append(f"durable {at}"))
            yield position
            position += 1

    def finish_bundle(self) -> None:
        self.lines.append("finish")

    def teardown(self) -> None:
        self.lines.append("teardown")


def test_the_dofn_lives_as_in_a_bounded_run_and_bundles_are_finalized() -> None:
    lines: list[str] = []
    driven = splittable(Journal(lines), elements_max=2)
    driven.feed(3)
    driven.run()
    driven.head.teardown()
    assert " ".join(lines) == (
        "setup start finish start finish durable 0 durable 1 start finish durable 2 teardown"
    )
