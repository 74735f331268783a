"""Open windows that hold far more than --memory_limit: what they give, and how much memory they take meanwhile."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.spill import DiskValues
from hornbeam.transforms import trigger, window
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.window import TimestampedValue

MB = 1 << 20
LIMIT_BYTES = 2 * MB
VALUE_BYTES = 4096
#: 24 MB.
COUNT = 6000
CLAIM = 100
#: The bundle at hand, chunks on their way to disk and back, and what was noted of the outputs.
BESIDES_BYTES = 6 * MB

WINDOWINGS = {
    "windows that fire once": beam.WindowInto(window.FixedWindows(60)),
    "sliding windows": beam.WindowInto(window.SlidingWindows(60, 30)),
    "windows with early panes": beam.WindowInto(
        window.FixedWindows(60),
        trigger=trigger.AfterWatermark(early=trigger.AfterCount(1000), late=trigger.AfterCount(1)),
        accumulation_mode=trigger.AccumulationMode.DISCARDING,
        allowed_lateness=60,
    ),
    "sessions": beam.WindowInto(window.Sessions(60)),
}


class Claims(RestrictionProvider):
    """Claims of CLAIM elements each."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, element[1] // CLAIM)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()


class Values(beam.DoFn):
    """(Number of keys, number of values): the keys in turn, each value with its number at the front, all at one time."""

    @beam.DoFn.unbounded_per_element()
    def process(self, numbers: Any, tracker: Any = beam.DoFn.RestrictionParam(Claims())) -> Iterator[Any]:
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            for number in range(at * CLAIM, (at + 1) * CLAIM):
                value = number.to_bytes(8, "big") + bytes(VALUE_BYTES - 8)
                yield TimestampedValue((number * 7919 % numbers[0], value), 31)
            at += 1


#: How often each value came out, how many came as values on disk, and the peak in between.
SEEN: Counter[tuple[int, int]] = Counter()
ON_DISK: list[int] = []


def look(pair: Any) -> None:
    """Notes what comes out."""
    key, values = pair
    if isinstance(values, DiskValues):
        ON_DISK.append(len(values))
    SEEN.update((key, int.from_bytes(value[:8], "big")) for value in values)


def run(windowing: Any, keys: int, folder: Path, count: int = COUNT) -> int:
    """Runs the stream, and gives the peak of what Python had allocated for it."""
    SEEN.clear()
    ON_DISK.clear()
    options = PipelineOptions(
        ["--no_progress", f"--memory_limit={LIMIT_BYTES}", f"--temp_dir={folder}", f"--bundle_size={CLAIM}"]
    )
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with beam.Pipeline(options=options) as p:
            pairs = p | beam.Create([(keys, count)], reshuffle=False) | beam.ParDo(Values())
            pairs | windowing | beam.GroupByKey() | beam.Map(look)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def came(keys: int, times: int) -> dict[tuple[int, int], int]:
    """What must have come out."""
    return {(number * 7919 % keys, number): times for number in range(COUNT)}


@pytest.fixture(scope="module", autouse=True)
def _all_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    run(WINDOWINGS["sessions"], 10, tmp_path_factory.mktemp("first"), count=CLAIM)


@pytest.mark.parametrize("name", WINDOWINGS)
def test_windows_that_hold_ten_times_the_limit(name: str, tmp_path: Path) -> None:
    peak = run(WINDOWINGS[name], COUNT // 2, tmp_path)
    assert came(COUNT // 2, 2 if "sliding" in name else 1) == SEEN
    assert peak < LIMIT_BYTES + BESIDES_BYTES, f"{peak / MB:.1f} MB"
    assert list(tmp_path.iterdir()) == []


def test_one_key_that_is_larger_than_memory(tmp_path: Path) -> None:
    peak = run(WINDOWINGS["windows that fire once"], 1, tmp_path)
    assert came(1, 1) == SEEN
    assert ON_DISK == [COUNT]
    assert peak < 3 * LIMIT_BYTES + BESIDES_BYTES, f"{peak / MB:.1f} MB"
