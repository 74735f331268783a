"""The cases of streams: bundles of BUNDLE elements with a watermark after each, against a loop that does the same in time.

The loops get the same bundles, keep the open windows (or keys) in a dict, and give a window out as the watermark passes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tests.bench.cases import (
    FIXED_S,
    Files,
    lines_of,
    parse_event,
    time_of,
    user_and_amount,
)
from tests.bench.harness import Case

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms import trigger, window
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from hornbeam.utils.timestamp import Timestamp

BUNDLE = 1000
_OPTIONS = ["--no_progress", f"--bundle_size={BUNDLE}"]
#: How far events are out of order at most, in seconds.
DISORDER_S = 40


def bundles(path: str) -> Iterator[tuple[list[str], int]]:
    """Lines, BUNDLE at a time, with the watermark after them in seconds."""
    with open(path, encoding="utf-8") as file:
        while lines := list(islice(file, BUNDLE)):
            yield lines, int(lines[-1].split(",")[1]) - DISORDER_S


class Whole(beam.transforms.core.RestrictionProvider):
    """One restriction without end."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, 1 << 40)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()


class Feed(beam.DoFn):
    """Reads the file in bundles, one a claim."""

    def setup(self) -> None:
        self._bundles: Iterator[tuple[list[str], int]] | None = None

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        path: str,
        tracker: Any = beam.DoFn.RestrictionParam(Whole()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[Any]:
        if self._bundles is None:
            self._bundles = bundles(path)
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            found = next(self._bundles, None)
            if found is None:
                tracker.try_claim((1 << 40) - 1)
                return
            lines, seconds = found
            yield from lines
            watermark.set_watermark(Timestamp(seconds))
            position += 1


def streamed(f: Files, build: Any) -> list[str]:
    """Runs a stream over the events and gives what `build` makes of them as sorted text."""
    out: list[str] = []
    sink = open(f.folder / "stream.txt", "w", encoding="utf-8")
    sink.close()
    path = str(f.folder / "stream.txt")

    class Write(beam.DoFn):
        def setup(self) -> None:
            self.file = open(path, "a", encoding="utf-8")

        def process(self, element: Any) -> None:
            self.file.write(f"{element!r}\n")

        def teardown(self) -> None:
            self.file.close()

    with beam.Pipeline(options=PipelineOptions(_OPTIONS)) as p:
        lines = p | beam.Create([str(f.events_path)], reshuffle=False) | beam.ParDo(Feed())
        build(lines) | "write" >> beam.ParDo(Write())
    with open(path, encoding="utf-8") as file:
        out = sorted(file.read().splitlines())
    return out


def _windowed(windowing: Any) -> Any:
    def build(lines: Any) -> Any:
        return (
            lines
            | beam.Map(parse_event)
            | beam.WithTimestamps(time_of)
            | windowing
            | "pair" >> beam.Map(user_and_amount)
            | beam.CombinePerKey(sum)
            | beam.Map(lambda kv, w=beam.DoFn.WindowParam: (int(w.start), *kv))
        )

    return build


def fixed_sum(f: Files) -> Case:
    """A sum per key and window, given out when the window has ended."""

    def loop() -> Any:
        sums: dict[int, dict[str, int]] = {}
        out = []
        for lines, watermark in bundles(str(f.events_path)):
            for line in lines:
                event = parse_event(line)
                seconds = time_of(event)
                user, amount = user_and_amount(event)
                start = seconds - seconds % FIXED_S
                totals = sums.setdefault(start, {})
                totals[user] = totals.get(user, 0) + amount
            for start in [s for s in sums if s + FIXED_S <= watermark]:
                out.extend((start, user, total) for user, total in sums.pop(start).items())
        for start in list(sums):
            out.extend((start, user, total) for user, total in sums.pop(start).items())
        return lines_of(out)

    build = _windowed(beam.WindowInto(window.FixedWindows(FIXED_S)))
    return Case("stream: fixed-window sum, bundles of 1,000", f.events, 1.5, loop, lambda: streamed(f, build))


def early_and_late(f: Files) -> Case:
    """The same with an early pane every hundred elements and a late one for each late element."""
    every = 100

    def loop() -> Any:
        sums: dict[int, dict[str, list[int]]] = {}
        out = []
        for lines, watermark in bundles(str(f.events_path)):
            for line in lines:
                event = parse_event(line)
                seconds = time_of(event)
                user, amount = user_and_amount(event)
                start = seconds - seconds % FIXED_S
                entry = sums.setdefault(start, {}).setdefault(user, [0, 0])
                entry[0] += amount
                entry[1] += 1
                if entry[1] == every:
                    entry[1] = 0
                    out.append((start, user, entry[0]))
            for start in [s for s in sums if s + FIXED_S <= watermark]:
                out.extend((start, user, total) for user, (total, _) in sums.pop(start).items())
        for start in list(sums):
            out.extend((start, user, total) for user, (total, _) in sums.pop(start).items())
        return lines_of(out)

    windowing = beam.WindowInto(
        window.FixedWindows(FIXED_S),
        trigger=trigger.AfterWatermark(early=trigger.AfterCount(every), late=trigger.AfterCount(1)),
        accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
        allowed_lateness=60,
    )
    return Case(
        "stream: early and late firings", f.events, None, loop, lambda: streamed(f, _windowed(windowing))
    )


class RunningSum(beam.DoFn):
    """The sum of a user's amounts so far, given out with each hundredth event."""

    TOTAL = ReadModifyWriteStateSpec("total", beam.coders.VarIntCoder())

    def process(self, pair: Any, total: Any = beam.DoFn.StateParam(TOTAL)) -> Iterator[Any]:
        user, amount = pair
        value = (total.read() or 0) + amount
        total.write(value)
        return ((user, value),) if value % 100 == 0 else ()  # type: ignore[return-value]


class LastSeen(beam.DoFn):
    """Sets a timer with each event, and tells of a user who was silent for an hour."""

    SEEN = ReadModifyWriteStateSpec("seen", beam.coders.VarIntCoder())
    SILENT = TimerSpec("silent", TimeDomain.WATERMARK)

    def process(
        self,
        pair: Any,
        stamp: Any = beam.DoFn.TimestampParam,
        seen: Any = beam.DoFn.StateParam(SEEN),
        silent: Any = beam.DoFn.TimerParam(SILENT),
    ) -> None:
        seen.write((seen.read() or 0) + 1)
        silent.set(stamp + 3600)

    @on_timer(SILENT)
    def tell(self, user: Any = beam.DoFn.KeyParam, seen: Any = beam.DoFn.StateParam(SEEN)) -> Iterator[Any]:
        yield user, seen.read()
        seen.clear()


def _stateful(dofn: beam.DoFn) -> Any:
    def build(lines: Any) -> Any:
        return (
            lines
            | beam.Map(parse_event)
            | beam.WithTimestamps(time_of)
            | "pair" >> beam.Map(user_and_amount)
            | beam.ParDo(dofn)
        )

    return build


def value_state(f: Files) -> Case:
    """One value a key, read and written with each element."""

    def loop() -> Any:
        totals: dict[str, int] = {}
        out = []
        for lines, _ in bundles(str(f.events_path)):
            for line in lines:
                event = parse_event(line)
                time_of(event)
                user, amount = user_and_amount(event)
                value = (totals.get(user) or 0) + amount
                totals[user] = value
                if value % 100 == 0:
                    out.append((user, value))
        return lines_of(out)

    return Case("stream: one value state", f.events, 4.0, loop, lambda: streamed(f, _stateful(RunningSum())))


def timer_per_key(f: Files) -> Case:
    """A timer a key, set anew with each element."""

    def loop() -> Any:
        seen: dict[str, int] = {}
        due: dict[str, int] = {}
        out = []
        for lines, watermark in bundles(str(f.events_path)):
            for line in lines:
                event = parse_event(line)
                user, _ = user_and_amount(event)
                seen[user] = seen.get(user, 0) + 1
                due[user] = time_of(event) + 3600
            for user in [u for u, time in due.items() if time <= watermark]:
                del due[user]
                out.append((user, seen.pop(user)))
        out.extend((user, seen.pop(user)) for user in due)
        return lines_of(out)

    return Case("stream: a timer a key", f.events, None, loop, lambda: streamed(f, _stateful(LastSeen())))


def stream_cases(f: Files) -> list[Case]:
    """Every case, in the order in which they are printed."""
    return [fixed_sum(f), early_and_late(f), value_state(f), timer_per_key(f)]
