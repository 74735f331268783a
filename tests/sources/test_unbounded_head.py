"""Unbounded sources: readers kept open, polled ever more seldom, marked at bundles' ends, gone on with from marks."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.driving import read

import hornbeam as beam
from hornbeam.coders.coders import PickleCoder
from hornbeam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from hornbeam.runners.engine.head import BEGINNING_OF_TIME
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Timestamp

#: What the readers of this process did, and the data that has arrived for them: tests fill and clear it.
JOURNAL: list[str] = []
ARRIVED: dict[str, list[tuple[Any, float]]] = {}
ENDED: set[str] = set()


@pytest.fixture(autouse=True)
def fresh() -> None:
    JOURNAL.clear()
    ARRIVED.clear()
    ENDED.clear()


class Mark(CheckpointMark):
    def __init__(self, topic: str, position: int) -> None:
        self.topic, self.position = topic, position

    def finalize_checkpoint(self) -> None:
        JOURNAL.append(f"ack {self.topic} {self.position}")
        if self.topic == "refuses":
            raise ConnectionError("gone")


class Reader(UnboundedReader):
    def __init__(self, topic: str, position: int) -> None:
        self.topic, self.position = topic, position
        self.current: tuple[Any, float] | None = None

    def start(self) -> bool:
        JOURNAL.append(f"start {self.topic} {self.position}")
        return self.advance()

    def advance(self) -> bool:
        records = ARRIVED.get(self.topic, [])
        if self.position < len(records):
            self.current = records[self.position]
            self.position += 1
            return True
        JOURNAL.append(f"poll {self.topic}")
        return False

    def get_current(self) -> Any:
        return self.current[0]

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(self.current[1])

    def get_watermark(self) -> Timestamp:
        if self.topic in ENDED and self.position >= len(ARRIVED.get(self.topic, [])):
            return MAX_TIMESTAMP
        return Timestamp(self.current[1]) if self.current else Timestamp(0)

    def get_checkpoint_mark(self) -> CheckpointMark:
        return Mark(self.topic, self.position)

    def close(self) -> None:
        JOURNAL.append(f"close {self.topic}")


class Topics(UnboundedSource):
    def __init__(self, *topics: str) -> None:
        self.topics = topics

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [Topics(topic) for topic in self.topics]

    def create_reader(self, options: Any, checkpoint_mark: Any) -> UnboundedReader:
        assert options is not None
        return Reader(self.topics[0], 0 if checkpoint_mark is None else checkpoint_mark.position)

    def get_checkpoint_mark_coder(self) -> Any:
        return PickleCoder()

    def __repr__(self) -> str:
        return f"Topics{self.topics}"


def arrive(topic: str, *values: int) -> None:
    ARRIVED.setdefault(topic, []).extend((value, value) for value in values)


def test_records_come_with_their_timestamps_and_the_watermark_is_the_readers() -> None:
    driven = read(Topics("a"))
    assert driven.head.hold() == BEGINNING_OF_TIME
    arrive("a", 3, 1, 7)
    driven.run()
    assert driven.given == [(3, 3), (1, 1), (7, 7)] and driven.hold() == 7
    arrive("a", 5)  # its watermark goes back, the hold does not
    driven.pass_time(2)
    assert driven.values == [3, 1, 7, 5] and driven.hold() == 7


def test_the_reader_that_is_furthest_back_holds() -> None:
    driven = read(Topics("a", "b"))
    arrive("a", 10)
    arrive("b", 4)
    driven.run()
    assert driven.hold() == 4
    reasons = [hold.reason for hold in driven.head.holds()]
    assert reasons[0] == "reader 1 of Topics('b',), without data for now, watermark 4.0"


def test_readers_take_turns_and_stay_open() -> None:
    driven = read(Topics("a", "b"), elements_max=2)
    arrive("a", *range(100, 105))
    arrive("b", *range(200, 203))
    driven.run()
    assert driven.values == [100, 101, 200, 201, 102, 103, 202, 104]
    assert [line for line in JOURNAL if line.startswith(("start", "close"))] == ["start a 0", "start b 0"]


@pytest.mark.parametrize(
    ("poll_interval", "polls"), [(1.0, (60, 80)), (0.02, (2900, 3100)), (20.0, (13, 18))]
)
def test_a_reader_without_data_is_asked_ever_more_seldom(
    poll_interval: float, polls: tuple[int, int]
) -> None:
    driven = read(Topics("a"), spec={"poll_interval": poll_interval})
    driven.pass_time(60)
    assert polls[0] <= JOURNAL.count("poll a") <= polls[1]


def test_data_makes_polls_frequent_again() -> None:
    driven = read(Topics("a"))
    driven.pass_time(60)
    arrive("a", 1)
    while not driven.values:
        driven.pass_time(0.01)
    arrive("a", 2)
    driven.pass_time(0.02)
    assert driven.values == [1, 2]


def test_a_reader_whose_watermark_is_at_the_end_is_closed_after_its_last_mark() -> None:
    driven = read(Topics("a", "b"))
    arrive("a", 1)
    ENDED.add("a")
    driven.run()
    assert JOURNAL.index("close a") < JOURNAL.index("ack a 1")
    assert driven.head.entries() == 1 and not driven.head.is_done()
    ENDED.add("b")
    driven.pass_time(5)
    assert driven.head.is_done() and driven.hold() is None


def test_marks_are_finalized_when_the_bundle_is_durable_and_not_before() -> None:
    driven = read(Topics("a"))
    arrive("a", 1, 2)
    driven.head.start_bundle()
    driven.head.work(driven.now)
    driven.head.finish_bundle()
    assert not any(line.startswith("ack") for line in JOURNAL)
    driven.head.commit()
    assert JOURNAL[-1] == "ack a 2"
    driven.head.commit()
    assert JOURNAL.count("ack a 2") == 1


def test_a_bundle_without_records_has_no_mark() -> None:
    driven = read(Topics("a"))
    driven.pass_time(10)
    assert not any(line.startswith("ack") for line in JOURNAL)


def test_a_mark_that_fails_to_be_finalized_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    driven = read(Topics("refuses"))
    arrive("refuses", 1)
    with caplog.at_level(logging.ERROR):
        driven.run()
    assert "Step 'Read': finalize_checkpoint of" in caplog.text and "gone" in caplog.text


def test_draining_ends_the_readers() -> None:
    driven = read(Topics("a", "b"))
    arrive("a", 1)
    driven.run()
    driven.head.drain()
    driven.end_bundle()
    assert driven.head.is_done() and driven.hold() is None
    assert {"close a", "close b"} <= set(JOURNAL)


def test_a_drain_before_the_first_turn_reads_nothing() -> None:
    driven = read(Topics("a"))
    driven.head.drain()
    assert driven.head.is_done() and driven.run() == 0 and JOURNAL == []


def test_teardown_closes_the_readers() -> None:
    driven = read(Topics("a", "b"))
    driven.run()
    driven.head.teardown()
    assert JOURNAL[-2:] == ["close a", "close b"]


@pytest.mark.parametrize("ends", ["at its end", "at teardown"])
def test_a_reader_that_cannot_be_closed_keeps_no_other_from_it(ends: str, monkeypatch: Any) -> None:
    def close(reader: Reader) -> None:
        JOURNAL.append(f"close {reader.topic}")
        if reader.topic == "a":
            raise OSError("it will not")

    monkeypatch.setattr(Reader, "close", close)
    driven = read(Topics("a", "b"))
    arrive("a", 1)
    arrive("b", 1)
    driven.run()
    if ends == "at its end":
        driven.head.drain()
        driven.head.start_bundle()
    with pytest.raises(OSError, match="it will not") as raised:
        driven.head.finish_bundle() if ends == "at its end" else driven.head.teardown()
    assert JOURNAL[-2:] == ["close a", "close b"]
    assert "Read, close" in str(raised.value.__notes__)


def test_an_idle_reader_holds_no_further_back_than_the_timeout() -> None:
    driven = read(Topics("a", "b"), start=1000, spec={"idle_timeout": 60.0})
    arrive("a", 990)
    arrive("b", 900)
    driven.run()
    assert driven.hold() == 900
    for second in range(70):
        arrive("a", 990 + second)
        driven.pass_time(1)
    # b has been silent since 1000; the clock shows 1070.
    assert driven.hold() == 1010
    arrive("b", 905)
    driven.pass_time(1)
    assert driven.hold() == 905  # late, if the output watermark had gone further


@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from(["a", "b", "turn", "snapshot", "crash", "wait"]), st.integers(0, 3)),
        max_size=40,
    ),
    elements_max=st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_each_record_comes_once_whatever_happens_in_between(
    arrivals: list[tuple[str, int]], elements_max: int
) -> None:
    JOURNAL.clear()
    ARRIVED.clear()
    driven = read(Topics("a", "b"), elements_max=elements_max)
    driven.head.track_changes()
    durable: list[Any] = []
    sent = 0
    for what, count in arrivals:
        if what in ("a", "b"):
            arrive(what, *range(sent, sent + count))
            sent += count
        elif what == "turn":
            driven.turn()
        elif what == "wait":
            driven.pass_time(count)
        elif what == "snapshot":
            driven.snapshot()
            durable += driven.take()
        else:
            driven.take()
            driven.restore()
    driven.pass_time(10)
    durable += driven.take()
    assert sorted(durable) == list(range(sent))


class Fails(Topics):
    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: Any) -> UnboundedReader:
        raise ConnectionError("no broker")


def test_what_a_source_raises_names_the_step() -> None:
    driven = read(Fails("a"))
    with pytest.raises(ConnectionError, match="no broker") as caught:
        driven.run()
    assert caught.value.hornbeam_failure.step == "Read"


# The transforms


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poll_interval": 0}, "poll_interval must be a number above 0"),
        ({"max_records_per_bundle": -1}, "max_records_per_bundle"),
        ({"max_read_time_seconds": "long"}, "max_read_time_seconds"),
        ({"idle_timeout": 0}, "idle_timeout"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadFromUnboundedSource(Topics("a"), **settings)


def test_only_unbounded_sources_are_taken() -> None:
    with pytest.raises(TypeError, match="needs an UnboundedSource"):
        ReadFromUnboundedSource("topic")  # type: ignore[arg-type]


@pytest.mark.parametrize("transform", [beam.io.Read, ReadFromUnboundedSource])
def test_what_is_read_is_unbounded_and_the_graph_says_so(transform: Any) -> None:
    p = beam.Pipeline()
    records = p | transform(Topics("a"))
    assert not records.is_bounded
    graph = p.to_graph()
    (step,) = [step for step in graph.transforms.values() if step.urn == "beam:transform:read:v1"]
    assert step.spec["bounded"] is False
    assert ("poll_interval" in step.spec) == (transform is ReadFromUnboundedSource)
