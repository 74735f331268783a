"""The impulse and bounded reads as roots of streams: in turns, and from any snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sources.driving import Driven, read

from hornbeam.coders.coders import StrUtf8Coder
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.io.range_trackers import OffsetRangeTracker, UnsplittableRangeTracker
from hornbeam.io.source import BoundedSource, RangeTracker, SourceBundle
from hornbeam.io.text_source import TextSource
from hornbeam.runners.engine.head import BEGINNING_OF_TIME
from hornbeam.runners.engine.root_heads import ImpulseHead
from hornbeam.transforms.window import TimestampedValue


class Numbers(BoundedSource):
    """The numbers below `count` in splits of `size`; every number is a split point."""

    def __init__(self, count: int, size: int = 1000) -> None:
        self.count, self.size = count, size

    def estimate_size(self) -> int:
        return self.count

    def split(self, desired_bundle_size: int, start_position: Any = None, stop_position: Any = None) -> Any:
        for start in range(0, self.count, self.size):
            yield SourceBundle(1, self, start, min(start + self.size, self.count))

    def get_range_tracker(self, start_position: Any, stop_position: Any) -> RangeTracker:
        return OffsetRangeTracker(start_position, stop_position)

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        number = range_tracker.start_position()
        while range_tracker.try_claim(number):
            yield number
            number += 1


class Blocks(Numbers):
    """Only every fifth number is a split point; the others belong to it."""

    def split(self, desired_bundle_size: int, start_position: Any = None, stop_position: Any = None) -> Any:
        yield SourceBundle(1, self, 0, self.count)

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        number = -(-range_tracker.start_position() // 5) * 5
        while range_tracker.try_claim(number):
            yield number
            for inner in range(number + 1, min(number + 5, self.count)):
                range_tracker.set_current_position(inner)
                yield inner
            number += 5


class Opaque(Numbers):
    """A tracker that tells no position."""

    def get_range_tracker(self, start_position: Any, stop_position: Any) -> RangeTracker:
        return UnsplittableRangeTracker(super().get_range_tracker(start_position, stop_position))


class Stamped(Numbers):
    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        for number in super().read(range_tracker):
            yield TimestampedValue(number, number)


class Breaks(Numbers):
    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        yield 1
        raise OSError("torn")


SOURCES = [
    Numbers(10, 4),
    Numbers(10, 100),
    Numbers(0),
    Numbers(1),
    Blocks(12),
    Opaque(10, 7),
    Stamped(10, 3),
]


def named(source: Any) -> str:
    return f"{type(source).__name__}({source.count},{source.size})"


@pytest.mark.parametrize("elements_max", [1, 3, 4096])
@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_a_source_is_read_in_turns(source: Numbers, elements_max: int) -> None:
    driven = read(source, elements_max=elements_max)
    assert driven.head.hold() == BEGINNING_OF_TIME and not driven.head.is_done()
    turns = driven.run()
    assert driven.values == list(range(source.count))
    assert driven.head.is_done() and driven.hold() is None and driven.head.holds() == []
    assert turns >= source.count // elements_max


@pytest.mark.parametrize("elements_max", [1, 3])
@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_a_restart_between_any_two_turns_gives_each_record_once(source: Numbers, elements_max: int) -> None:
    driven = read(source, elements_max=elements_max)
    driven.head.track_changes()
    while driven.turn():
        driven.snapshot()
        driven.restore()
    assert driven.values == list(range(source.count))
    assert [name for name in driven.store if name[1] != "begun"] == []


def test_a_restart_in_a_range_of_split_points_does_not_read_what_was_read_again() -> None:
    driven = read(Numbers(100), elements_max=10)
    driven.head.track_changes()
    for _ in range(3):
        driven.turn()
    ((_, (_, start, stop, skip)),) = [item for item in driven.head.changes() if item[0][1] != "begun"]
    assert (start, stop, skip) == (29, 100, 1)


def test_timestamps_of_the_source_are_kept() -> None:
    driven = read(Stamped(4))
    driven.run()
    assert driven.given == [(n, n) for n in range(4)]


def test_lines_of_files_are_read_from_a_snapshot(tmp_path: Any) -> None:
    lines = [f"line {n}" for n in range(50)]
    for part in range(3):
        (tmp_path / f"{part}.txt").write_text("\n".join(lines[part * 20 : part * 20 + 20]) + "\n")
    source = TextSource(str(tmp_path / "*.txt"), 0, "auto", True, StrUtf8Coder())
    driven = read(source, elements_max=7)
    driven.head.track_changes()
    while driven.turn():
        driven.snapshot()
        driven.restore()
    assert sorted(driven.values) == sorted(lines)


def test_what_a_source_raises_names_the_step() -> None:
    driven = read(Breaks(3))
    with pytest.raises(OSError, match="torn") as caught:
        driven.run()
    assert caught.value.hornbeam_failure.step == "Read"


def test_what_is_left_is_told() -> None:
    driven = read(Numbers(10, 4), elements_max=4)
    assert driven.head.holds()[0].reason == "all of Numbers left to read"
    driven.turn()
    assert driven.head.holds()[0].reason == "3 of 3 splits of Numbers left to read"
    driven.turn()
    assert driven.head.holds()[0].reason == "2 of 3 splits of Numbers left to read"


def test_the_impulse_is_given_once_also_over_a_restart() -> None:
    step = Transform(label="Impulse", urn=urns.IMPULSE)
    driven = Driven(lambda receive: ImpulseHead(step, None, {"out": receive}))
    driven.head.track_changes()
    assert driven.head.hold() == BEGINNING_OF_TIME
    assert driven.run() == 1
    assert driven.values == [b""] and driven.hold() is None
    driven.snapshot()
    driven.restore()
    assert driven.run() == 0 and driven.head.is_done()
