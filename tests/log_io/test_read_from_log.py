from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_io.topics import SECOND, fill, read_bounded, take
from sources.driving import splittable

import hornbeam as beam
from hornbeam.error import TransformError
from hornbeam.io.log_partition import LogPartition
from hornbeam.io.log_read import ReadPartition, ReadPartitionForEver, RecordTimes, WatchPartitions
from hornbeam.io.logio import LostRecordsError, ReadFromLog, WriteToLog
from hornbeam.io.restriction_trackers import OffsetRange
from hornbeam.runners.engine.splittable import RestrictionTrackerView
from hornbeam.storage.log import Log, Producer, UnknownTopicError
from hornbeam.storage.log.errors import TopicDeletedError
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.stamped import TimestampedValues
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Timestamp

ROWS = [(0, b"a", 1), (0, b"b", 2), (1, b"c", 3), (0, b"d", 4), (1, b"e", 5)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "abcde"),
        ({"partitions": [1]}, "ce"),
        ({"start": 1}, "bde"),
        ({"start": {0: 2, 1: "latest"}}, "d"),
        ({"start": "latest"}, ""),
        ({"start": Timestamp(3)}, "cde"),
        ({"start": datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC)}, "de"),
        ({"stop": 1}, "ac"),
        ({"stop": Timestamp(4)}, "abc"),
        ({"stop": Timestamp(99)}, "abcde"),
        ({"stop": {0: 2}}, "abce"),
        ({"start": 2, "stop": 1}, ""),
        ({"max_read_time": 0.001}, "abcde"),
        ({"isolation": "read_uncommitted"}, "abcde"),
    ],
    ids=str,
)
def test_from_where_to_where(tmp_path: Path, arguments: dict[str, Any], expected: str) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", ROWS)
    assert sorted(read_bounded(tmp_path, "t", **arguments)) == [repr(value.encode()) for value in expected]


def test_each_partition_comes_in_order_and_at_its_records_times(tmp_path: Path) -> None:
    rows = [(n % 3, b"%d" % n, 1000 + n) for n in range(300)]
    with Log(tmp_path) as log:
        fill(log, "t", rows)
    with beam.Pipeline() as p:
        read = p | ReadFromLog(tmp_path, "t", bounded=True, with_metadata=True)
        timed = read | beam.Map(
            lambda r, t=beam.DoFn.TimestampParam: (r.partition, r.offset, r.value, int(t))
        )
        timed | WriteToLog(tmp_path, "seen", value_coder=repr, partitions=1)
    with Log(tmp_path) as log:
        seen = [eval(record.value or b"") for record in take(log, "seen")]
    for partition in range(3):
        mine = [row for row in rows if row[0] == partition]
        assert [row for row in seen if row[0] == partition] == [
            (partition, offset, value, seconds) for offset, (_, value, seconds) in enumerate(mine)
        ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"value_coder": json.loads}, ["{'n': 1}", "None"]),
        ({"value_coder": beam.coders.StrUtf8Coder()}, ["'{\"n\": 1}'", "None"]),
        (
            {"value_coder": json.loads, "with_metadata": True},
            [
                "Record(topic='t', partition=0, offset=0, timestamp_micros=1000000, key=b'k', value={'n': 1}, "
                "headers=(('h', b'1'),))",
                "Record(topic='t', partition=0, offset=1, timestamp_micros=2000000, key=b'k', value=None, headers=())",
            ],
        ),
    ],
    ids=["function", "coder", "metadata"],
)
def test_what_elements_are(tmp_path: Path, arguments: dict[str, Any], expected: list[str]) -> None:
    with Log(tmp_path) as log, Producer(log) as producer:
        log.create_topic("t")
        producer.append("t", [b'{"n": 1}'], [b"k"], timestamps=SECOND, headers=[[("h", b"1")]])
        producer.append("t", [None], [b"k"], timestamps=2 * SECOND)
    assert read_bounded(tmp_path, "t", **arguments) == expected


def test_a_timestamp_function_of_the_element(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"17", 1), (0, b"18", 2)])
    with beam.Pipeline() as p:
        read = p | ReadFromLog(tmp_path, "t", bounded=True, value_coder=int, timestamp_fn=lambda n: n * 10)
        read | WriteToLog(tmp_path, "seen", value_coder=str, partitions=1)
    with Log(tmp_path) as log:
        assert [(r.value, r.timestamp_micros // SECOND) for r in take(log, "seen")] == [
            (b"17", 170),
            (b"18", 180),
        ]


def test_transactions(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("t")
        producer, other = Producer(log, transactional_id="x"), Producer(log, transactional_id="y")
        for value, end in ((b"1", "commit"), (b"2", "abort"), (b"3", "commit")):
            producer.begin_transaction()
            producer.append("t", [value])
            producer.commit_transaction() if end == "commit" else producer.abort_transaction()
        other.begin_transaction()
        other.append("t", [b"open"])
        producer.begin_transaction()
        producer.append("t", [b"behind"])
        producer.commit_transaction()
        assert read_bounded(tmp_path, "t") == ["b'1'", "b'3'"]
        assert len(read_bounded(tmp_path, "t", isolation="read_uncommitted")) == 5
        other.abort_transaction()


def test_a_compacted_topic_and_one_that_begins_late(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"%d" % (n % 4), n) for n in range(400)], cleanup="compact", segment_bytes=1024)
        log.compact("t")
        kept = len(take(log, "t"))
        assert kept < 200
        fill(log, "u", [(0, b"%d" % n, n) for n in range(400)], segment_bytes=1024)
        log.partition("u", 0).delete_before(390)
    assert len(read_bounded(tmp_path, "t")) == kept
    assert read_bounded(tmp_path, "u") == [f"b'{n}'" for n in range(390, 400)]


def test_records_that_retention_took_before_they_were_read(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"%d" % n, n) for n in range(400)], segment_bytes=1024)
        log.partition("t", 0).delete_before(300)
    with pytest.raises(LostRecordsError) as raised:
        read_bounded(tmp_path, "t", start=100)
    assert (
        "is read up to offset 100, but the log begins at 300 now: retention has removed 200 offsets"
        in str(raised.value)
    )
    assert "ReadFromLog/Read" in "".join(raised.value.__notes__)
    assert len(read_bounded(tmp_path, "t", start=100, on_lost="skip")) == 100
    with pytest.raises(LostRecordsError, match="to be read from offset 500, but ends at 400"):
        read_bounded(tmp_path, "t", start=500, stop=600)


def test_a_value_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"1", 1), (0, b"2", 1), (0, b"x", 1)])
        with Producer(log) as producer:
            producer.append("t", [b"4", b"", b"6"])
    with pytest.raises(ValueError) as raised:
        read_bounded(tmp_path, "t", value_coder=int)
    assert "The value at offset 2 of t-0 cannot be decoded." in raised.value.__notes__
    with pytest.raises(ValueError) as raised:
        read_bounded(tmp_path, "t", value_coder=int, start=3)
    assert "The value at offset 4 of t-0 cannot be decoded." in raised.value.__notes__


def test_an_element_that_a_step_behind_fails_at_is_found_again(tmp_path: Path) -> None:
    with Log(tmp_path) as log, Producer(log) as producer:
        log.create_topic("t")
        producer.append("t", [b"%d" % n for n in range(7)], timestamps=[n // 2 * SECOND for n in range(7)])

    def fail_at(bad: bytes) -> list[str]:
        with pytest.raises(ZeroDivisionError) as raised, beam.Pipeline() as p:
            p | ReadFromLog(tmp_path, "t", bounded=True) | beam.Map(lambda value: 1 // (value != bad))
        return raised.value.__notes__

    assert fail_at(b"6")[-1] == "read at offset 6 of t-0"
    assert fail_at(b"3")[-1] == "read at offsets 2 to 3 of t-0"  # two of one time
    assert "on element b'3'" in fail_at(b"3")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounded": True, "stop": 3}, "one of bounded=True, stop and max_read_time"),
        ({"start": "begin"}, "start must be 'earliest', 'latest', an offset, a Timestamp or datetime"),
        ({"start": -1}, "found -1"),
        ({"stop": {0: "earliest"}}, "stop must be 'latest', an offset"),
        ({"isolation": "none"}, "read_committed, read_uncommitted; found 'none'"),
        ({"on_lost": "ignore"}, "'fail' or 'skip'; found 'ignore'"),
        ({"idle_timeout": 0}, "idle_timeout must be a number of seconds above 0, or None; found 0"),
        ({"max_out_of_orderness": -1}, "must not be negative; found -1"),
    ],
    ids=str,
)
def test_arguments_that_have_no_meaning(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError) as raised:
        ReadFromLog("/nowhere", "t", **arguments)
    assert message in str(raised.value)


def test_a_topic_that_is_not_there(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("other")
    with pytest.raises(UnknownTopicError, match=r"no topic 't' in .*; topics: other"):
        read_bounded(tmp_path, "t")


def test_offsets_of_a_topic_that_was_deleted_mean_nothing_in_the_next_one(tmp_path: Path) -> None:
    """Seen: a job that was started again went on in the middle of the new one."""
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"old", 1)])
        part = ReadFromLog(tmp_path, "t")._spec.part(log, 0)
        log.delete_topic("t")
        fill(log, "t", [(0, b"new", 1), (0, b"newer", 2)])
        reader = ReadPartitionForEver(ReadFromLog(tmp_path, "t")._spec)
        view = RestrictionTrackerView(reader.create_tracker(OffsetRange(1, float("inf"))))
        with pytest.raises(LostRecordsError, match="'t' was deleted and made anew since its reading began"):
            list(reader.process(part, view, reader.create_watermark_estimator(None)))
        reader.teardown()


# The DoFn by hand: what it claims, and what is left when a runner splits or it defers.


class ByHand:
    """ReadPartition over one partition; `run` works on a restriction, up to `pieces` pieces."""

    def __init__(
        self, directory: Path, kind: type[ReadPartition] = ReadPartitionForEver, **arguments: Any
    ) -> None:
        self.dofn = kind(ReadFromLog(directory, "t", **arguments)._spec)
        self.estimator = self.dofn.create_watermark_estimator(None)

    def run(self, restriction: OffsetRange, pieces: int = 1_000_000) -> tuple[list[Any], OffsetRange, Any]:
        """The values, what was claimed, and what is left."""
        tracker = self.dofn.create_tracker(restriction)
        view = RestrictionTrackerView(tracker)
        found: list[Any] = []
        for count, piece in enumerate(self.dofn.process(LogPartition("t", 0, 0), view, self.estimator)):
            found += piece.values
            if count + 1 == pieces:
                view._split()
        assert tracker.check_done()
        return found, tracker.current_restriction(), view.residual


def test_what_is_claimed_and_what_is_left(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"%d" % n, n) for n in range(10)])
        hand = ByHand(tmp_path)
        for_ever = OffsetRange(0, float("inf"))
        first, claimed, left = hand.run(for_ever, pieces=3)
        assert (first, claimed, left) == ([b"0", b"1", b"2"], OffsetRange(0, 3), OffsetRange(3, float("inf")))
        second, claimed, left = hand.run(left)
        assert (len(second), claimed, left) == (7, OffsetRange(3, 10), OffsetRange(10, float("inf")))
        assert hand.run(left) == ([], OffsetRange(10, 10), left)
        fill(log, "t", [(0, b"10", 10)])
        assert hand.run(left)[0] == [b"10"]
        # A restriction that another worker, or an earlier state, left off anywhere
        assert hand.run(OffsetRange(8, 9)) == ([b"8"], OffsetRange(8, 9), None)
        hand.dofn.teardown()


@pytest.mark.parametrize("fraction", [0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_what_is_split_while_it_is_read_comes_whole(tmp_path: Path, fraction: float, after: int) -> None:
    """Seen on MultiProcessRunner: a piece reached over the point of the split, and what of it lay before that was lost."""
    with Log(tmp_path) as log:
        fill(log, "t", [])
        with Producer(log) as producer:
            for start in range(0, 5000, 1000):
                producer.append("t", [b"%d" % n for n in range(start, start + 1000)])
        hand = ByHand(tmp_path, ReadPartition, bounded=True)
        tracker = hand.dofn.create_tracker(OffsetRange(0, 5000))
        view = RestrictionTrackerView(tracker)
        found: list[Any] = []
        parts: Any = None
        for count, piece in enumerate(hand.dofn.process(LogPartition("t", 0, 0), view, hand.estimator)):
            found += piece.values
            if count + 1 == after:
                parts = tracker.try_split(fraction)
        assert tracker.check_done()
        primary, residual = parts
        assert found == [b"%d" % n for n in range(int(primary.stop))] and residual == OffsetRange(
            primary.stop, 5000
        )
        assert found + hand.run(residual)[0] == [b"%d" % n for n in range(5000)]
        hand.dofn.teardown()


def test_void_offsets_are_claimed_too(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("t")
        producer = Producer(log, transactional_id="x")
        with producer.transaction():
            producer.append("t", [b"1"])
        producer.begin_transaction()
        producer.append("t", [b"2"] * 5)
        producer.abort_transaction()
        end = log.partition("t", 0).end_offset
        hand = ByHand(tmp_path)
        assert hand.run(OffsetRange(0, float("inf"))) == (
            [b"1"],
            OffsetRange(0, end),
            OffsetRange(end, float("inf")),
        )
        assert hand.dofn.restriction_size(LogPartition("t", 0, 0), OffsetRange(0, float("inf"))) == end
        hand.dofn.teardown()
        producer.close()


def test_retention_and_compaction_under_a_reader(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        settings = {"segment_bytes": 1024, "cleanup": "compact,delete"}
        fill(log, "t", [(0, b"%d" % (n % 50), n) for n in range(200)], **settings)
        hand, careless = ByHand(tmp_path), ByHand(tmp_path, on_lost="skip")
        begun, _, left = hand.run(OffsetRange(0, float("inf")), pieces=30)
        careless.run(OffsetRange(0, float("inf")), pieces=30)
        log.compact("t")
        rest, claimed, left = hand.run(left)
        assert claimed.stop == 200 and set(begun + rest) == {b"%d" % n for n in range(50)}
        fill(log, "t", [(0, b"%d" % n, n) for n in range(200, 400)], **settings)
        log.partition("t", 0).delete_before(300)
        log.apply_retention("t")
        with pytest.raises(LostRecordsError, match="read up to offset 200, but the log begins at 300 now"):
            hand.run(left)
        assert careless.run(left)[0] == [b"%d" % n for n in range(300, 400)]
        for each in (hand, careless):
            each.dofn.teardown()


def test_pieces_are_cut_at_the_stop_and_by_their_size(tmp_path: Path) -> None:
    with Log(tmp_path) as log, Producer(log) as producer:
        log.create_topic("t")
        producer.append("t", [b"%d" % n for n in range(5000)])
    hand = ByHand(tmp_path, ReadPartition, bounded=True)
    values, claimed, left = hand.run(OffsetRange(100, 3000), pieces=2)
    assert 2 <= len(values) < 2900 and claimed == OffsetRange(100, 100 + len(values))
    rest, claimed, left = hand.run(left)
    assert values + rest == [b"%d" % n for n in range(100, 3000)] and left is None
    hand.dofn.teardown()


def test_partitions_that_are_added_are_read_from_their_beginning(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"a", 1), (1, b"b", 1)])
        watch = WatchPartitions(ReadFromLog(tmp_path, "t", start="latest")._spec)
        estimator = watch.create_watermark_estimator(None)

        def look(restriction: OffsetRange) -> tuple[list[Any], Any]:
            view = RestrictionTrackerView(watch.create_tracker(restriction))
            return list(watch.process(b"", view, estimator)), view.residual

        uid = log.topic("t").description.uid
        assert estimator.current_watermark() is None
        assert look(OffsetRange(0, float("inf"))) == (
            [LogPartition("t", 0, 1, uid=uid), LogPartition("t", 1, 1, uid=uid)],
            OffsetRange(2, float("inf")),
        )
        assert estimator.current_watermark() == MAX_TIMESTAMP
        fill(log, "t", [(0, b"c", 1)])
        log.alter_topic("t", partitions=3)
        fill(log, "t", [(2, b"d", 1)])
        assert look(OffsetRange(2, float("inf"))) == (
            [LogPartition("t", 2, 0, uid=uid)],
            OffsetRange(3, float("inf")),
        )
        watch.teardown()


def test_the_watermark_follows_the_latest_record() -> None:
    times = RecordTimes(None, 2 * SECOND)
    assert times.current_watermark() is None
    for seen, watermark in ((10, 8), (5, 8), (11, 9)):
        times.observe(seen * SECOND)
        assert times.current_watermark() == Timestamp(watermark)
    assert RecordTimes(times.get_estimator_state(), 2 * SECOND).current_watermark() == Timestamp(9)


def test_values_with_a_column_of_times_are_elements() -> None:
    block = TimestampedValues(["a", "b"], np.array([SECOND, 2 * SECOND]))
    assert list(block) == [TimestampedValue("a", 1), TimestampedValue("b", 2)]

    class Blocks(beam.DoFn):
        def process(self, element: int) -> Any:
            if element > 1:
                yield element
            yield TimestampedValues([f"{element}x", f"{element}y"], np.array([SECOND, element * SECOND]))
            yield TimestampedValues([], np.array([], dtype=np.int64))

    with TestPipeline() as p:
        out = p | beam.Create([1, 2]) | beam.ParDo(Blocks()).with_output_types(object)
        timed = out | beam.WindowInto(beam.window.FixedWindows(1)) | beam.Map(_value_time_and_window)
        assert_that(timed, equal_to([("1x", 1, 2), ("1y", 1, 2), (2, 0, 0), ("2x", 1, 2), ("2y", 2, 3)]))


def _value_time_and_window(
    value: Any, time: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
) -> tuple[Any, int, int]:
    return (value, int(time), int(window.end)) if time > 0 else (value, 0, 0)


class Counted(ReadPartitionForEver):
    """Counts the turns."""

    turns = 0

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(),
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Any:
        """As ReadPartitionForEver."""
        self.turns += 1
        return super().process(element, tracker, estimator)


def test_a_partition_without_news_takes_few_turns_and_news_are_seen_at_once(tmp_path: Path) -> None:
    """An idle job used a tenth of a processor for them."""
    with Log(tmp_path) as log:
        fill(log, "t", [(0, b"a", 1)])
        dofn = Counted(ReadFromLog(tmp_path, "t")._spec)
        driven = splittable(dofn)
        driven.feed(LogPartition("t", 0, 0))
        driven.pass_time(10)
        assert driven.take() == [b"a"]
        assert 10 <= dofn.turns < 20
        fill(log, "t", [(0, b"b", 2)])
        driven.pass_time(0.025)
        assert driven.take() == [b"b"]
        producer = Producer(log, transactional_id="x")
        producer.begin_transaction()
        producer.append("t", [b"c"])
        producer.flush()
        driven.pass_time(0.1)
        assert driven.take() == []
        producer.commit_transaction()
        driven.pass_time(0.025)
        assert driven.take() == [b"c"]
        producer.close()
        log.delete_topic("t")
        with pytest.raises(TopicDeletedError):
            driven.pass_time(0.1)
        driven.head.teardown()


def test_a_partition_is_named_shortly_where_explain_shows_what_holds_time_back() -> None:
    assert repr(LogPartition("visits", 1, 7, uid="4aeb8bd2")) == "<partition 1 of topic 'visits'>"
