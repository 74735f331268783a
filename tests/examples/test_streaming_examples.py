"""The streaming examples, each against the same answer in plain Python."""

from __future__ import annotations

import csv
import gzip
import itertools
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fraud_detection
import game_leaderboard
import nycflights
import outputs
import pytest
import slowly_changing_enrichment
import streaming_wordcount
import streams
import user_sessions
import wordcount

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_watermarks(
    events: Iterable[streams.Event], disorder: float, step: float
) -> Iterator[tuple[float, streams.Event]]:
    """Each event in order of arrival, with how far the source says that time has come."""
    for event in sorted(events, key=lambda event: event.arrived):
        yield event.arrived - event.arrived % step - disorder, event


def test_streaming_wordcount_counts_each_verse_once(prefix: str) -> None:
    with gzip.open(wordcount.KJV, "rt", encoding="utf-8") as file:
        verses = [line.partition(" ")[2] for line in itertools.islice(file, 500)]
    expected = Counter(re.findall("[a-z']+", " ".join(verses).lower()))

    panes = streaming_wordcount.run(["--output", prefix, "--verses", "500", "--every_secs", "0.05"])

    assert dict(panes) == expected
    so_far: dict[str, int] = defaultdict(int)
    for word, count in panes:
        assert count > so_far[word]
        so_far[word] = count


def test_streaming_wordcount_ends_after_a_time_whatever_has_been_read(prefix: str) -> None:
    panes = streaming_wordcount.run(["--output", prefix, "--verses", "300", "--run_for_secs", "0.05"])

    with gzip.open(wordcount.KJV, "rt", encoding="utf-8") as file:
        expected = Counter(
            itertools.chain.from_iterable(map(wordcount.words_of_verse, itertools.islice(file, 300)))
        )
    assert Counter(dict(panes)) <= expected


@pytest.mark.parametrize("seed", [1, 2])
def test_user_sessions_in_time_are_those_of_sorted_clicks(prefix: str, seed: int) -> None:
    lines = user_sessions.run(["--output", prefix, "--seed", str(seed), "--disorder_minutes", "120"])

    assert sorted(lines) == sorted(sessions(user_sessions.activity(seed, 100)))


def test_user_sessions_that_become_longer_are_given_again(prefix: str) -> None:
    lines = user_sessions.run(["--output", prefix, "--disorder_minutes", "0"])

    last = sessions(user_sessions.activity(1, 100))
    assert not set(last) - {line.removesuffix(" again") for line in lines}
    assert len(lines) > len(last)
    assert any(line.endswith(" again") for line in lines)


def sessions(clicks: Iterable[streams.Event]) -> list[str]:
    found = []
    by_user = defaultdict(list)
    for _, time, (user, page) in clicks:
        by_user[user].append((int(time * 1_000_000), page))
    for user, times in by_user.items():
        session: list[tuple[int, str]] = []
        for time, page in [*sorted(times), (1 << 60, "")]:
            if session and time - session[-1][0] >= 600_000_000:
                pages = " ".join(f"{page} {n}" for page, n in sorted(Counter(p for _, p in session).items()))
                seconds = (session[-1][0] - session[0][0]) // 1_000_000
                found.append(f"{user} {utc(session[0][0] // 1_000_000)} {seconds} s {pages}")
                session = []
            session.append((time, page))
    return found


def test_game_leaderboard_ends_at_the_sums_of_what_was_not_too_late(prefix: str) -> None:
    teams: Counter[tuple[str, str]] = Counter()
    users: Counter[str] = Counter()
    too_late, late = 0, 0
    for watermark, event in with_watermarks(game_leaderboard.scores(7, 2000), disorder=60, step=60):
        team, user, points = event.value
        users[user] += points
        hour = event.happened - event.happened % 3600
        if watermark >= hour + 3600 + 1800:
            too_late += 1
        else:
            late += watermark >= hour + 3600
            teams[utc(hour), team] += points

    argv = ["--seed", "7", "--scores", "2000", "--lateness_minutes", "30"]
    team_lines, user_lines, dropped = game_leaderboard.run(["--output", prefix, *argv])

    panes = [line.split() for line in team_lines]
    assert {(hour, team): int(points) for hour, team, points, _ in panes} == teams
    assert {user: int(points) for user, points in map(str.split, user_lines)} == users
    assert dropped == too_late > 0
    timings = Counter(timing for _, _, _, timing in panes)
    assert timings["ON_TIME"] == len(teams)
    assert timings["LATE"] == late > 0
    assert timings["EARLY"] > 0


@pytest.mark.parametrize(("seed", "small", "within"), [(1, 4, 600), (2, 2, 200), (3, 1, 30)])
def test_fraud_detection_finds_what_a_look_at_all_payments_finds(
    prefix: str, seed: int, small: int, within: int
) -> None:
    payments = {event.value: event.happened for event in fraud_detection.payments(seed, 3000)}
    expected = []
    for (number, card, amount), time in payments.items():
        if amount >= 200:
            before = sorted(
                (tried, n)
                for (n, other, small_amount), tried in payments.items()
                if other == card and small_amount <= 5 and time - within <= tried < time
            )
            if len(before) >= small:
                numbers = ", ".join(str(n) for _, n in before)
                expected.append(f"{card}: payment {number} of {amount} after small ones {numbers}")

    argv = ["--seed", str(seed), "--payments", "3000", "--small", str(small), "--within_secs", str(within)]
    alarms = fraud_detection.run(["--output", prefix, *argv])

    assert sorted(alarms) == sorted(expected)
    assert alarms


def test_enrichment_sees_the_new_names_after_the_change(prefix: str) -> None:
    def table(path: str) -> list[dict[str, str]]:
        opened = gzip.open(path, "rt", newline="") if path.endswith(".gz") else open(path, newline="")
        with opened as file:
            return list(csv.DictReader(file))

    names = {row["carrier"]: row["name"] for row in table(nycflights.AIRLINES)}
    renamed = {**names, "FL": "Southwest Airlines Co.", "US": "American Airlines Inc."}
    flights = [(row["carrier"], row["flight"]) for row in table(nycflights.FLIGHTS)[:800]]

    argv = ["--output", prefix, "--flights", "400", "--refresh_secs", "0.05"]
    lines = slowly_changing_enrichment.run(argv)

    assert lines[:400] == [f"{carrier} {flight} {names[carrier]}" for carrier, flight in flights[:400]]
    assert lines[400:] == [f"{carrier} {flight} {renamed[carrier]}" for carrier, flight in flights[400:]]
    assert any(line.startswith("FL ") for line in lines[:400])
    assert any(line.startswith("FL ") for line in lines[400:])


@pytest.mark.parametrize(
    ("example", "size"),
    [(fraud_detection, "--payments=800"), (game_leaderboard, "--scores=600"), (user_sessions, "--users=20")],
    ids=["fraud_detection", "game_leaderboard", "user_sessions"],
)
def test_bundles_of_one_element_give_the_same_lines_in_the_same_order(
    prefix: str, example: Any, size: str
) -> None:
    argv = ["--output", prefix, size]

    assert example.run([*argv, "--bundle_size=1"]) == example.run(argv)


def test_appended_lines_are_those_of_bundles_that_ended(tmp_path: Path) -> None:
    path = outputs.empty(str(tmp_path / "new" / "lines"))

    def fail(n: int) -> str:
        if n == 7:
            raise ValueError("seven")
        return str(n)

    events = [streams.Event(n, n, n) for n in range(10)]
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    numbers = pipeline | streams.Replay(lambda: events, disorder=0, step=3)
    numbers | beam.Map(fail) | beam.ParDo(outputs.AppendLines(path))
    with pytest.raises(ValueError, match="seven"):
        pipeline.run().wait_until_finish()

    assert outputs.appended(path) == ["0", "1", "2", "3", "4", "5"]


def test_until_counted_raises_what_ended_the_stream() -> None:
    def fail(element: Any) -> None:
        raise KeyError("no such thing")

    pipeline = beam.Pipeline(options=PipelineOptions([]))
    pipeline | streams.Replay(lambda: [streams.Event(1, 1, "x")], disorder=0) | beam.Map(fail)
    with pytest.raises(KeyError, match="no such thing"):
        streams.until_counted(pipeline.run(), "nothing", 1)


@pytest.mark.parametrize(
    "name",
    [
        "fraud_detection",
        "game_leaderboard",
        "slowly_changing_enrichment",
        "streaming_flight_delays",
        "streaming_wordcount",
        "user_sessions",
    ],
)
def test_examples_say_what_they_take(name: str) -> None:
    script = Path(streams.__file__).with_name(f"{name}.py")
    answer = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=True
    )
    assert "--output" in answer.stdout
