"""Sources in general: Read, concatenation, sources over files of a format of one's own, and the checks for sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.coders.coders import BytesCoder, Coder, VarIntCoder
from hornbeam.graph import urns
from hornbeam.io import source_test_utils
from hornbeam.io.concat_source import ConcatSource
from hornbeam.io.filebasedsource import FileBasedSource
from hornbeam.io.iobase import BoundedSource, RangeTracker, Read, SourceBundle
from hornbeam.io.range_trackers import OffsetRangeTracker
from hornbeam.io.utils import CountingSource
from hornbeam.testing.util import assert_that, equal_to


class ListSource(BoundedSource):
    """The items of a list, at their indexes."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def estimate_size(self) -> int:
        return len(self.items)

    def get_range_tracker(self, start_position: int | None, stop_position: int | None) -> OffsetRangeTracker:
        return OffsetRangeTracker(
            start_position or 0, len(self.items) if stop_position is None else stop_position
        )

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        for index in range(range_tracker.start_position(), len(self.items)):
            if not range_tracker.try_claim(index):
                return
            yield self.items[index]

    def split(
        self, desired_bundle_size: int, start_position: int | None = None, stop_position: int | None = None
    ) -> Iterator[SourceBundle]:
        stop = len(self.items) if stop_position is None else stop_position
        for start in range(start_position or 0, stop, desired_bundle_size):
            end = min(stop, start + desired_bundle_size)
            yield SourceBundle(end - start, self, start, end)

    def default_output_coder(self) -> Coder:
        return VarIntCoder()


def read_all(source: BoundedSource, size: int) -> list[Any]:
    return [
        record
        for bundle in source.split(size)
        for record in source_test_utils.read_from_source(
            bundle.source,
            bundle.start_position,
            bundle.stop_position,  # type: ignore[arg-type]
        )
    ]


@pytest.mark.parametrize("source", [ListSource(list(range(20))), CountingSource(20)])
def test_read(source: BoundedSource) -> None:
    with beam.Pipeline() as p:
        numbers = p | Read(source)
        assert_that(numbers, equal_to(list(range(20))))
    [read] = [t for _, t in p.to_graph().leaves() if t.urn == urns.READ]
    assert read.spec == {"bounded": True, "source": f"{type(source).__module__}.{type(source).__qualname__}"}


def test_the_output_type_is_the_coders() -> None:
    assert (beam.Pipeline() | Read(ListSource([1]))).element_type is int


@pytest.mark.parametrize("source", [ListSource, "text"])
def test_read_needs_a_source_object(source: Any) -> None:
    with pytest.raises(TypeError, match="needs a"):
        Read(source)


def test_sizes_of_parts() -> None:
    assert Read.get_desired_chunk_size(0) == Read.get_desired_chunk_size(None) == 64 << 20
    assert Read.get_desired_chunk_size(1 << 20) == 1 << 20
    assert Read.get_desired_chunk_size(1 << 40) == 1000 << 20


def test_a_counting_source_counts() -> None:
    source = CountingSource(10)
    assert source.estimate_size() == 10
    assert read_all(source, 3) == list(range(10))
    assert [b.stop_position for b in source.split(4)] == [4, 8, 10]
    batches = list(source.read_batches(source.get_range_tracker(2, 9), 3))
    assert batches == [[2, 3, 4], [5, 6, 7], [8]]
    source_test_utils.assert_split_at_fraction_exhaustive(source)
    with beam.Pipeline() as p:
        p | Read(CountingSource(5))
    assert p.result is not None
    [counter] = p.result.metrics().query()["counters"]
    assert (counter.key.metric.name, counter.committed) == ("recordsRead", 5)


def test_a_batch_after_a_split_ends_where_the_range_does() -> None:
    source = CountingSource(100)
    tracker = source.get_range_tracker()
    batches = source.read_batches(tracker, 10)
    assert next(batches) == list(range(10))
    assert tracker.try_split(15) is not None
    assert list(batches) == [list(range(10, 15))]


def parts() -> list[SourceBundle]:
    return [
        SourceBundle(end - start, ListSource(list(range(100))), start, end)
        for start, end in ((0, 5), (5, 6), (6, 15))
    ]


def test_concatenation() -> None:
    source = ConcatSource([*parts(), ListSource([100, 101])])
    whole = [*range(15), 100, 101]
    assert source_test_utils.read_from_source(source) == whole
    assert read_all(source, 4) == whole
    assert [r for b in source.read_batches(source.get_range_tracker(), 4) for r in b] == whole
    assert source_test_utils.read_from_source(source, (1, None), (2, None)) == [5]
    assert source_test_utils.read_from_source(source, (2, 8), (3, 1)) == [*range(8, 15), 100]
    assert source_test_utils.read_from_source(source, (0, 3), (2, 7)) == [3, 4, 5, 6]
    assert source_test_utils.read_from_source(source, (4, None), None) == []
    assert [(b.start_position, b.stop_position) for b in source.split(9, (0, 2), (2, 10))] == [
        (2, 5),
        (5, 6),
        (6, 10),
    ]
    assert source.default_output_coder() == VarIntCoder()
    source_test_utils.assert_sources_equal_reference_source(
        (source, None, None),
        [(b.source, b.start_position, b.stop_position) for b in source.split(3)],  # type: ignore[misc]
    )


def test_concatenation_of_nothing() -> None:
    source = ConcatSource([])
    assert source.estimate_size() == 0
    assert source_test_utils.read_from_source(source) == []
    assert list(source.split(10)) == []
    source.default_output_coder()


def test_dynamic_splits_of_a_concatenation() -> None:
    source_test_utils.assert_split_at_fraction_exhaustive(
        ConcatSource(parts()), perform_multi_threaded_test=False
    )
    source_test_utils.assert_split_at_fraction_exhaustive(
        ConcatSource([*parts(), ListSource([1, 2])]), (0, 2), (2, 9), False
    )
    source_test_utils.assert_reentrant_reads_succeed((ConcatSource(parts()), None, None))


def test_fractions_of_a_concatenation() -> None:
    source = ConcatSource([SourceBundle(weight, ListSource(list(range(10))), 0, 10) for weight in (2, 1, 1)])
    tracker = source.get_range_tracker()
    assert tracker.position_at_fraction(0.0) == (0, 0)
    assert tracker.position_at_fraction(0.25) == (0, 5)
    assert tracker.position_at_fraction(0.5) == (1, 0)
    assert tracker.position_at_fraction(1) == (3, None)
    assert tracker.fraction_consumed() == 0.0
    assert tracker.try_claim((0, None)) and tracker.try_claim((0, 5))
    assert tracker.fraction_consumed() == 0.25
    assert tracker.try_split((0, 3)) is None
    assert tracker.try_split((5, None)) is None
    assert tracker.try_split((2, None)) == ((2, None), 0.75)
    assert tracker.fraction_consumed() == pytest.approx(1 / 3)
    assert not tracker.try_claim((2, None))
    assert tracker.try_claim((1, None))
    assert tracker.try_split((1, None)) is None
    with pytest.raises(NotImplementedError):
        tracker.set_current_position((1, 1))


class FixedWidthSource(FileBasedSource):
    """Records of four bytes, as a user would write it."""

    def read_records(self, file_name: str, offset_range_tracker: RangeTracker) -> Iterator[bytes]:
        with self.open_file(file_name) as file:
            position = -(-offset_range_tracker.start_position() // 4) * 4
            file.seek(position)
            while offset_range_tracker.try_claim(position):
                record = file.read(4)
                if not record:
                    return
                yield record
                position += 4

    def default_output_coder(self) -> Coder:
        return BytesCoder()


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    records = [b"%04d" % number for number in range(50)]
    (tmp_path / "1").write_bytes(b"".join(records[:30]))
    (tmp_path / "2").write_bytes(b"".join(records[30:]))
    source = FixedWidthSource(str(tmp_path / "*"))
    assert source.estimate_size() == 200
    assert source_test_utils.read_from_source(source) == records
    for size in (1, 3, 4, 10, 64):
        assert read_all(source, size) == records
    assert len(list(source.split(10))) == 20
    assert len(list(FixedWidthSource(str(tmp_path / "*"), splittable=False).split(10))) == 2
    assert read_all(FixedWidthSource(str(tmp_path / "*"), splittable=False), 10) == records
    source_test_utils.assert_split_at_fraction_exhaustive(FixedWidthSource(str(tmp_path / "2")))
    with beam.Pipeline() as p:
        assert_that(p | Read(source), equal_to(records))


def test_a_value_provider_for_a_pattern(tmp_path: Path) -> None:
    class Later(beam.options.value_provider.ValueProvider):
        def is_accessible(self) -> bool:
            return False

        def get(self) -> str:
            return str(tmp_path / "*")

    source = FixedWidthSource(Later())
    (tmp_path / "1").write_bytes(b"abcd")
    assert source_test_utils.read_from_source(source) == [b"abcd"]


class DoubleReader(ListSource):
    """A source with a mistake: a part reads one record too many."""

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        yield from super().read(range_tracker)
        stop = range_tracker.stop_position()
        if stop < len(self.items):
            yield self.items[stop]


def test_the_checks_find_mistakes() -> None:
    good, bad = ListSource(list(range(6))), DoubleReader(list(range(6)))
    source_test_utils.assert_split_at_fraction_succeeds_and_consistent(good, 2, 0.6)
    source_test_utils.assert_split_at_fraction_fails(good, 4, 0.3)
    with pytest.raises(AssertionError, match="failed"):
        source_test_utils.assert_split_at_fraction_succeeds_and_consistent(good, 4, 0.3)
    with pytest.raises(AssertionError, match="succeeded"):
        source_test_utils.assert_split_at_fraction_fails(good, 2, 0.6)
    with pytest.raises(AssertionError, match="together they should be"):
        source_test_utils.assert_split_at_fraction_exhaustive(bad)
    with pytest.raises(AssertionError, match=r"in excess: \[3\]"):
        source_test_utils.assert_sources_equal_reference_source(
            (good, None, None), [(bad, 0, 3), (bad, 3, 6)]
        )
    with pytest.raises(AssertionError, match="missing"):
        source_test_utils.assert_sources_equal_reference_source((good, None, None), [(good, 0, 3)])
    with pytest.raises(AssertionError, match="empty"):
        source_test_utils.assert_split_at_fraction_exhaustive(ListSource([]))
