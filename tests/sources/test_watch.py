"""Watch, MatchContinuously and ReadAllFromTextContinuously: what is new at each look, and what is remembered."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from sources.driving import Driven, splittable
from sources.streaming import Keep, kept, run

import hornbeam as beam
from hornbeam.coders.coders import StrUtf8Coder, VarIntCoder
from hornbeam.io import fileio
from hornbeam.io.filesystem import BeamIOError
from hornbeam.io.textio import ReadAllFromTextContinuously
from hornbeam.io.watch import (
    PollFn,
    PollResult,
    TerminationCondition,
    Watch,
    WatchDoFn,
    after_total_of,
    never,
)
from hornbeam.transforms.window import FixedWindows, TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp

#: What the poll functions find, by input; and how often they were called.
THERE: dict[str, Any] = {}
POLLS: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    THERE.clear()
    POLLS.clear()
    kept()


def poll(name: str) -> PollResult[str]:
    POLLS.append(name)
    found = THERE.get(name, [])
    return found if isinstance(found, PollResult) else PollResult.incomplete(found)


def at(time: float, *values: Any) -> list[TimestampedValue[Any]]:
    return [TimestampedValue(value, time) for value in values]


def watch(start: float = 0, **settings: Any) -> Driven:
    """The head of a Watch, polling each 10 seconds, with one input `a` at second 1."""
    spec = Watch(poll, 10, **settings)
    dofn = WatchDoFn(
        poll,
        Duration(10),
        spec._termination,
        spec._key_fn,
        settings.get("output_key_coder", StrUtf8Coder()),
        spec._horizon,
        spec._now_fn,
    )
    driven = splittable(dofn, start)
    driven.head.track_changes()
    driven.feed("a", at=1)
    driven.run()
    return driven


def test_outputs_come_once_at_the_poll_that_first_has_them() -> None:
    THERE["a"] = ["x", "y", "x"]
    driven = watch(start=100)
    assert driven.given == [(("a", "x"), 100), (("a", "y"), 100)]
    THERE["a"] = ["y", "z", "x"]
    driven.pass_time(10)
    assert driven.given[2:] == [(("a", "z"), 110)]
    driven.pass_time(100)
    assert len(driven.given) == 3 and len(POLLS) == 12


@pytest.mark.parametrize(
    ("results", "holds"),
    [
        # Without a word the watermark is at the earliest new output; it stays with none, and never goes back.
        ([[], at(5, "x") + at(7, "y"), [], at(3, "late")], [1, 5, 5, 5]),
        ([PollResult.incomplete([]).with_watermark(50), at(60, "x")], [50, 60]),
        ([PollResult.incomplete(at(60, "x")).with_watermark(20)], [20]),
        ([PollResult.complete(at(60, "x"))], [None]),
    ],
)
def test_the_watermark(results: list[Any], holds: list[float | None]) -> None:
    seen = []
    for index, result in enumerate(results):
        THERE["a"] = result
        if index == 0:
            driven = watch()
        else:
            driven.pass_time(10)
        seen.append(driven.hold())
    assert seen == holds


def test_a_complete_result_ends_the_polling() -> None:
    THERE["a"] = PollResult.complete(["x"])
    driven = watch()
    assert driven.values == [("a", "x")] and driven.head.is_done()
    assert THERE["a"].is_complete and not PollResult.incomplete(["x"]).is_complete


@pytest.mark.parametrize(
    ("termination", "polls"), [(after_total_of(35), 5), (after_total_of(Duration(9)), 2)]
)
def test_polling_ends_after_a_total_time(termination: TerminationCondition, polls: int) -> None:
    driven = watch(termination=termination)
    driven.pass_time(1000)
    assert len(POLLS) == polls and driven.head.is_done()


class AfterTwoWithoutNews(TerminationCondition):
    def for_new_input(self, now: Timestamp, element: Any) -> int:
        return 0

    def on_seen_new_output(self, now: Timestamp, state: int) -> int:
        return -1

    def on_poll_complete(self, state: int) -> int:
        return state + 1

    def can_stop_polling(self, now: Timestamp, state: int) -> bool:
        return state >= 2


def test_a_termination_of_ones_own_also_over_restarts() -> None:
    THERE["a"] = ["x"]
    driven = watch(termination=AfterTwoWithoutNews())
    driven.snapshot()
    driven.restore()
    driven.pass_time(10)
    THERE["a"] = ["x", "y"]
    for _ in range(10):
        driven.snapshot()
        driven.restore()
        driven.pass_time(10)
    assert driven.values == [("a", "x"), ("a", "y")] and len(POLLS) == 5 and driven.head.is_done()


def test_the_termination_may_have_a_clock_of_its_own() -> None:
    driven = watch(termination=after_total_of(5), now_fn=lambda: 0.0)
    driven.pass_time(100)
    assert len(POLLS) == 11


def test_outputs_are_told_apart_by_their_keys() -> None:
    THERE["a"] = ["x1", "y1"]
    driven = watch(output_key_fn=lambda text: text[0])
    THERE["a"] = ["x2", "z1"]
    driven.pass_time(10)
    assert [value for _, value in driven.values] == ["x1", "y1", "z1"]


def test_a_restart_remembers_what_was_seen() -> None:
    THERE["a"] = ["x", "y"]
    driven = watch()
    driven.snapshot()
    driven.restore()
    THERE["a"] = ["x", "y", "z"]
    driven.pass_time(10)
    assert [value for _, value in driven.values] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("lateness", "polls", "given"),
    [
        (None, [at(5, "a") + at(3, "b"), at(4, "late") + at(6, "c"), at(6, "d") + at(7, "e")], "b a c e"),
        (2, [at(5, "a") + at(4, "b"), at(4, "late") + at(6, "c") + at(5, "a"), at(2, "gone")], "b a late c"),
    ],
)
def test_a_cursor_instead_of_keys(lateness: Any, polls: list[Any], given: str) -> None:
    for index, found in enumerate(polls):
        THERE["a"] = found
        if index == 0:
            driven = watch(timestamp_cursor=True, allowed_lateness=lateness)
        else:
            driven.snapshot()
            driven.restore()
            driven.pass_time(10)
    assert " ".join(value for _, value in driven.values) == given


def test_a_cursor_keeps_no_more_than_the_lateness() -> None:
    driven = watch(timestamp_cursor=True, allowed_lateness=5)
    for second in range(100):
        THERE["a"] = at(second, str(second))
        driven.pass_time(10)
    (work,) = driven.head._works.values()
    assert len(work.restriction.seen) <= 5


def test_late_outputs_are_warned_of_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    THERE["a"] = at(100, "x")
    driven = watch()
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            THERE["a"] = at(50, f"late {number}")
            driven.pass_time(10)
    assert len([r for r in caplog.records if "behind its watermark" in r.message]) == 4


def test_a_poll_function_must_give_a_result() -> None:
    with pytest.raises(TypeError, match="must return a PollResult; it gave \\['x'\\]"):
        driven = splittable(WatchDoFn(lambda _: ["x"], Duration(1), never(), None, StrUtf8Coder()))
        driven.feed("a")
        driven.run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poll_interval": 0}, "poll_interval"),
        ({"poll_interval": None}, "poll_interval"),
        ({"poll_interval": 1, "timestamp_cursor": True, "output_key_fn": len}, "not by keys"),
        ({"poll_interval": 1, "allowed_lateness": 1}, "timestamp_cursor"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Watch(poll, **settings)


class Numbers(PollFn):
    def __call__(self, element: str) -> PollResult[int]:
        return PollResult.complete([1, 2])

    def default_output_coder(self) -> Any:
        return VarIntCoder()


def untyped(element: str) -> Any:
    return PollResult.complete([1.5])


@pytest.mark.parametrize(
    ("poll_fn", "element_type"),
    [(poll, "Tuple[str, str]"), (Numbers(), "Tuple[str, int]"), (untyped, "Tuple[str, Any]")],
)
def test_the_type_of_the_pairs_is_found(poll_fn: Any, element_type: str) -> None:
    p = beam.Pipeline()
    pairs = p | beam.Create(["a"]) | Watch(poll_fn, 10)
    assert str(pairs.element_type) == element_type and not pairs.is_bounded


def test_watching_in_a_pipeline() -> None:
    THERE.update(a=["x"], b=PollResult.complete(["y"], timestamp=0))
    p = beam.Pipeline()
    p | beam.Create(["a", "b"]) | Watch(poll, 10, after_total_of(30)) | beam.ParDo(Keep())
    run(p, 1000, {15: lambda: THERE.update(a=["x", "z"])})
    assert sorted(kept()) == [(("a", "x"), 0), (("a", "z"), 20), (("b", "y"), 0)]


# Files


def write(path: Path, text: str = "", changed: float = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (changed, changed))


def match(folder: Path, start: float = 0, **settings: Any) -> Driven:
    settings = {"interval": 10, "start_timestamp": start, **settings}
    driven = splittable(fileio.MatchContinuously(str(folder / "*.txt"), **settings)._match, start)
    driven.head.track_changes()
    driven.feed(str(folder / "*.txt"))
    driven.run()
    return driven


def found(driven: Driven) -> list[str]:
    """The names of the files that were found since the last call."""
    return [Path(file.path).name for file in driven.take()]


@pytest.mark.parametrize(
    ("settings", "looks"),
    [
        ({}, ["a b", "c", "", ""]),
        ({"match_updated_files": True}, ["a b", "c", "a", ""]),
        ({"timestamp_cursor": True}, ["a b", "c", "a", ""]),
        ({"has_deduplication": False}, ["a b", "a b c", "a b c", "a c"]),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_files_appear_change_and_vanish(
    tmp_path: Path, settings: dict[str, Any], looks: list[str], restarts: bool
) -> None:
    write(tmp_path / "a.txt", changed=1)
    write(tmp_path / "b.txt", changed=2)
    driven = match(tmp_path, **settings)
    seen = [found(driven)]
    changes = [
        lambda: write(tmp_path / "c.txt", changed=3),
        lambda: write(tmp_path / "a.txt", "more", changed=4),
        lambda: (tmp_path / "b.txt").unlink(),
    ]
    for change in changes:
        change()
        if restarts:
            driven.snapshot()
            driven.restore()
        driven.pass_time(10)
        seen.append(found(driven))
    assert [" ".join(name[0] for name in names) for names in seen] == looks


def test_a_file_that_was_written_before_the_latest_is_missed_by_a_cursor(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", changed=5)
    driven = match(tmp_path, timestamp_cursor=True)
    write(tmp_path / "b.txt", changed=4)
    driven.pass_time(10)
    assert found(driven) == ["a.txt"]


def test_event_time_is_that_of_the_looks(tmp_path: Path) -> None:
    driven = match(tmp_path, start=100)
    assert driven.hold() == 100
    driven.pass_time(30)
    write(tmp_path / "a.txt")
    driven.pass_time(15)
    assert [stamp for _, stamp in driven.given] == [140] and driven.hold() == 140


def test_looks_that_were_missed_are_not_made_up_for(tmp_path: Path) -> None:
    driven = match(tmp_path, has_deduplication=False)
    write(tmp_path / "a.txt")
    driven.clock.advance(95_000_000)
    driven.run()
    assert [stamp for _, stamp in driven.given] == [90]


def test_a_start_in_the_future_is_waited_for_and_the_stop_ends_it(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    driven = match(tmp_path, start_timestamp=25, stop_timestamp=45, has_deduplication=False)
    driven.pass_time(24)
    assert driven.given == [] and driven.wakes() == 25
    driven.pass_time(100)
    assert [stamp for _, stamp in driven.given] == [25, 35] and driven.head.is_done()


def test_nothing_may_be_found_unless_that_is_disallowed(tmp_path: Path) -> None:
    assert match(tmp_path).take() == []
    with pytest.raises(BeamIOError, match="Empty match"):
        match(tmp_path, empty_match_treatment=fileio.EmptyMatchTreatment.DISALLOW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "interval"),
        ({"timestamp_cursor": True, "has_deduplication": False}, "has_deduplication"),
        ({"empty_match_treatment": "MAYBE"}, "MAYBE"),
    ],
)
def test_settings_of_matching_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fileio.MatchContinuously("x", **settings)


def test_each_look_is_a_window_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    p = beam.Pipeline()
    files = p | fileio.MatchContinuously(
        str(tmp_path / "*.txt"), 10, start_timestamp=0, has_deduplication=False, apply_windowing=True
    )
    assert files.windowing.windowfn == FixedWindows(10)
    files | beam.Map(lambda _: ("files", 1)) | beam.CombinePerKey(sum) | beam.ParDo(Keep())
    run(p, 35, {15: lambda: write(tmp_path / "b.txt")})
    assert [value for value, _ in kept()] == [("files", 1), ("files", 1), ("files", 2), ("files", 2)]


def test_lines_of_files_that_appear_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "1\n2\n")
    p = beam.Pipeline()
    (
        p
        | ReadAllFromTextContinuously(
            str(tmp_path / "*.txt"), interval=10, start_timestamp=0, with_filename=True
        )
        | beam.MapTuple(lambda path, line: (Path(path).name, line))
        | beam.ParDo(Keep())
    )
    run(p, 45, {15: lambda: write(tmp_path / "b.txt", "3\n4")})
    assert sorted(kept()) == [
        (("a.txt", "1"), 0),
        (("a.txt", "2"), 0),
        (("b.txt", "3"), 20),
        (("b.txt", "4"), 20),
    ]


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(TypeError):
        ReadAllFromTextContinuously("x", intervall=5)


def test_the_end_of_time_is_no_time_to_look_at() -> None:
    assert fileio.MatchContinuously("x")._match._stop == MAX_TIMESTAMP.micros
