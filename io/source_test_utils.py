"""Checks that a source of one's own keeps the promises that runners rely on.

A source is given as a triple: the source, a start and a stop position (None for its own). A broken promise is an
AssertionError that says what was read where.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import attrs

from hornbeam.io.source import BoundedSource

__all__ = [
    "SplitAtFractionResult",
    "assert_reentrant_reads_succeed",
    "assert_sources_equal_reference_source",
    "assert_split_at_fraction_behavior",
    "assert_split_at_fraction_binary",
    "assert_split_at_fraction_exhaustive",
    "assert_split_at_fraction_fails",
    "assert_split_at_fraction_succeeds_and_consistent",
    "read_from_source",
]

SourceInfo = tuple[BoundedSource, Any, Any]

#: How many times a split is raced with a reader, at most.
MAX_CONCURRENT_SPLITTING_TRIALS = 100


class ExpectedSplitOutcome:
    """What a split at a fraction is expected to do."""

    MUST_SUCCEED_AND_BE_CONSISTENT = 1
    MUST_FAIL = 2
    MUST_BE_CONSISTENT_IF_SUCCEEDS = 3


class SplitAtFractionResult(NamedTuple):
    """How many records were left to the first and given to the second part; -1 for the second when it failed."""

    num_primary_items: int
    num_residual_items: int


@attrs.define
class SplitFractionStatistics:
    """The fractions at which splits succeeded, and those where both parts got something."""

    successful_fractions: list[float] = attrs.field(factory=list)
    non_trivial_fractions: list[float] = attrs.field(factory=list)


def read_from_source(
    source: BoundedSource, start_position: Any = None, stop_position: Any = None
) -> list[Any]:
    """All records of the source's range."""
    return list(source.read(source.get_range_tracker(start_position, stop_position)))


def assert_sources_equal_reference_source(
    reference_source_info: SourceInfo, sources_info: Iterable[SourceInfo]
) -> None:
    """The sources together have the records of the reference, in any order, and coders of the same type."""
    reference, start, stop = reference_source_info
    expected = read_from_source(reference, start, stop)
    found: list[Any] = []
    for source, source_start, source_stop in sources_info:
        coder, wanted = source.default_output_coder(), reference.default_output_coder()
        assert type(coder) is type(wanted), f"{source} has the coder {coder}, the reference {wanted}"
        found.extend(read_from_source(source, source_start, source_stop))
    missing, extra = _difference(expected, found)
    assert not missing and not extra, (
        f"the parts have {len(found)} records and the reference {len(expected)}; "
        f"missing: {missing[:10]}; in excess: {extra[:10]}"
    )


def _difference(expected: Sequence[Any], found: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """What stands in only one of the two, as often as it does; the records need neither hash nor order."""
    extra = list(found)
    missing = []
    for record in expected:
        try:
            extra.remove(record)
        except ValueError:
            missing.append(record)
    return missing, extra


def assert_reentrant_reads_succeed(source_info: SourceInfo) -> None:
    """A read is not disturbed by another one that starts while it goes on."""
    source, start, stop = source_info
    expected = read_from_source(source, start, stop)
    assert len(expected) >= 2, f"the check needs two records or more; the source has {len(expected)}"
    for count in range(1, len(expected)):
        reader = source.read(source.get_range_tracker(start, stop))
        begun = list(islice(reader, count))
        inner = read_from_source(source, start, stop)
        assert inner == expected, (
            f"a read begun after {count} records of another gave {inner}, not {expected}"
        )
        whole = begun + list(reader)
        assert whole == expected, (
            f"a read interrupted by another after {count} records gave {whole}, not {expected}"
        )


def assert_split_at_fraction_behavior(
    source: BoundedSource, num_items_to_read_before_split: int, split_fraction: float, expected_outcome: int
) -> SplitAtFractionResult:
    """Splitting after so many records at the fraction has the outcome expected (an `ExpectedSplitOutcome`)."""
    assert isinstance(source, BoundedSource), f"{source!r} is no BoundedSource"
    expected = read_from_source(source)
    return _assert_split(source, expected, num_items_to_read_before_split, split_fraction, expected_outcome)


def _assert_split(
    source: BoundedSource,
    expected: Sequence[Any],
    count: int,
    fraction: float,
    outcome: int,
    start: Any = None,
    stop: Any = None,
) -> SplitAtFractionResult:
    """Read `count` records, split, and read on; both parts together must be what was expected."""
    assert count <= len(expected), f"the source has {len(expected)} records; {count} cannot be read"
    tracker = source.get_range_tracker(start, stop)
    stop_before = tracker.stop_position()
    reader = iter(source.read(tracker))
    primary = list(islice(reader, count))
    assert len(primary) == count, f"{len(primary)} records came; {count} were expected before the split"
    position = tracker.position_at_fraction(fraction)
    split = tracker.try_split(position)
    where = f"the split at {fraction} (position {position!r}) after {count} records"
    if split is None:
        assert outcome != ExpectedSplitOutcome.MUST_SUCCEED_AND_BE_CONSISTENT, f"{where} failed"
        primary.extend(reader)
        assert primary == expected, f"after {where}, which failed, the source gave {primary}, not {expected}"
        return SplitAtFractionResult(len(primary), -1)
    assert outcome != ExpectedSplitOutcome.MUST_FAIL, f"{where} succeeded at {split[0]!r}"
    residual = read_from_source(source, split[0], stop_before)
    primary.extend(reader)
    both = primary + residual
    assert both == expected, (
        f"after {where} the parts gave {primary} and {residual}; together they should be {expected}"
    )
    assert tracker.stop_position() == split[0], (
        f"after {where} the range stops at {tracker.stop_position()!r}"
    )
    return SplitAtFractionResult(len(primary), len(residual))


def assert_split_at_fraction_succeeds_and_consistent(
    source: BoundedSource, num_items_to_read_before_split: int, split_fraction: float
) -> None:
    """The split succeeds, and both parts together are the whole."""
    assert_split_at_fraction_behavior(
        source,
        num_items_to_read_before_split,
        split_fraction,
        ExpectedSplitOutcome.MUST_SUCCEED_AND_BE_CONSISTENT,
    )


def assert_split_at_fraction_fails(
    source: BoundedSource, num_items_to_read_before_split: int, split_fraction: float
) -> None:
    """The split is refused."""
    assert_split_at_fraction_behavior(
        source, num_items_to_read_before_split, split_fraction, ExpectedSplitOutcome.MUST_FAIL
    )


def assert_split_at_fraction_binary(
    source: BoundedSource,
    expected_items: Sequence[Any],
    num_items_to_read_before_split: int,
    left_fraction: float,
    left_result: SplitAtFractionResult,
    right_fraction: float,
    right_result: SplitAtFractionResult,
    stats: SplitFractionStatistics,
    start_position: Any = None,
    stop_position: Any = None,
) -> None:
    """Splits at fractions between two are consistent; where their results differ, halving finds the place."""
    pending = [(left_fraction, left_result, right_fraction, right_result)]
    while pending:
        low, low_result, high, high_result = pending.pop()
        alike = low_result[0] == high_result[0] and (low_result[1] > 0) == (high_result[1] > 0)
        if high - low < (0.1 if alike else 0.001):
            continue
        middle = (low + high) / 2
        result = _assert_split(
            source,
            expected_items,
            num_items_to_read_before_split,
            middle,
            ExpectedSplitOutcome.MUST_BE_CONSISTENT_IF_SUCCEEDS,
            start_position,
            stop_position,
        )
        if result.num_residual_items >= 0:
            stats.successful_fractions.append(middle)
        if result.num_residual_items > 0:
            stats.non_trivial_fractions.append(middle)
        pending.append((low, low_result, middle, result))
        pending.append((middle, result, high, high_result))


def assert_split_at_fraction_exhaustive(
    source: BoundedSource,
    start_position: Any = None,
    stop_position: Any = None,
    perform_multi_threaded_test: bool = True,
) -> None:
    """Splits at every fraction that matters, after every number of records, are consistent.

    Some must succeed and give something to both parts. With the multi-threaded test, splits are also raced with a
    reader in another thread.
    """
    expected = read_from_source(source, start_position, stop_position)
    assert expected, "the source is empty, so there is nothing to split"
    assert len(expected) > 1, "the source has one record, so there is nothing to split"
    any_non_trivial = False
    for count in range(len(expected)):
        stats = SplitFractionStatistics()
        ends = [
            _assert_split(
                source,
                expected,
                count,
                fraction,
                ExpectedSplitOutcome.MUST_BE_CONSISTENT_IF_SUCCEEDS,
                start_position,
                stop_position,
            )
            for fraction in (0.0, 1.0)
        ]
        assert_split_at_fraction_binary(
            source, expected, count, 0.0, ends[0], 1.0, ends[1], stats, start_position, stop_position
        )
        if stats.non_trivial_fractions:
            any_non_trivial = True
            if perform_multi_threaded_test:
                _race(source, expected, stats.non_trivial_fractions, start_position, stop_position)
    assert any_non_trivial, "no split gave records to both parts; the source cannot be split dynamically"


def _race(
    source: BoundedSource, expected: Sequence[Any], fractions: Sequence[float], start: Any, stop: Any
) -> None:
    """Split while another thread reads, until a split has succeeded and one has failed, or often enough."""
    outcomes: set[bool] = set()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for trial in range(MAX_CONCURRENT_SPLITTING_TRIALS):
            fraction = fractions[trial % len(fractions)]
            outcomes.add(_race_once(pool, source, expected, fraction, start, stop))
            if len(outcomes) == 2 and trial >= len(fractions):
                return


def _race_once(
    pool: ThreadPoolExecutor,
    source: BoundedSource,
    expected: Sequence[Any],
    fraction: float,
    start: Any,
    stop: Any,
) -> bool:
    tracker = source.get_range_tracker(start, stop)
    stop_before = tracker.stop_position()
    position = tracker.position_at_fraction(fraction)
    together = threading.Barrier(2)

    def read() -> list[Any]:
        reader = iter(source.read(tracker))
        begun = list(islice(reader, 1))
        together.wait()
        return begun + list(reader)

    def split() -> Any:
        together.wait()
        return tracker.try_split(position)

    reading, splitting = pool.submit(read), pool.submit(split)
    primary, made = reading.result(), splitting.result()
    residual = read_from_source(source, made[0], stop_before) if made is not None else []
    assert primary + residual == expected, (
        f"a split at {fraction} while reading {'succeeded' if made else 'failed'}; the parts gave {primary} and "
        f"{residual}; together they should be {expected}"
    )
    return made is not None
