"""The examples over the log, against the same answers in plain Python: once to the end of the topic on DirectRunner, and as
jobs of LogRunner that are killed and started again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import auctions
import pytest
import streaming_flights_log
from examples.test_flight_examples import table
from nycflights import FLIGHTS, scheduled_seconds

from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.log import Consumer, Log, Record

EXAMPLES = Path(streaming_flights_log.__file__).parent


def delays_by_hour() -> dict[tuple[int, str], list[int]]:
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in table(FLIGHTS):
        if row["dep_delay"] != "NA":
            hour = int(scheduled_seconds(row)) // 3600 * 3600
            found[hour, row["origin"]].append(int(row["dep_delay"]))
    return found


def expected_rows() -> set[tuple[str, int, float, int]]:
    return {
        (airport, len(d), round(sum(d) / len(d), 1), max(d)) for (_, airport), d in delays_by_hour().items()
    }


def as_tuples(rows: list[dict[str, Any]]) -> set[tuple[str, int, float, int]]:
    return {(r["airport"], r["flights"], r["mean_delay"], r["max_delay"]) for r in rows}


def test_flights_to_the_end_of_the_topic(tmp_path: Path) -> None:
    arguments = ["--log", str(tmp_path / "log"), "--files", str(tmp_path / "day")]
    found = streaming_flights_log.run(arguments)
    expected = delays_by_hour()
    assert len(found) == len(set(found)) == len(expected)
    rows = streaming_flights_log.read_rows(str(tmp_path / "log"), "delays")
    assert as_tuples(rows) == expected_rows()
    files = [line for path in tmp_path.glob("day-*") for line in path.read_text().splitlines()]
    assert sorted(files) == found
    assert found[0].startswith("2013-01-01T10:00:00Z EWR")


def winners(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    bids = defaultdict(list)
    for e in events:
        if e["kind"] == "bid":
            bids[e["auction"]].append(e)
    found = set()
    for e in events:
        if e["kind"] == "auction":
            valid = [b for b in bids[e["id"]] if b["price"] >= e["reserve"] and b["at"] < e["expires"]]
            if valid:
                best = max(valid, key=lambda b: (b["price"], -b["at"], b["bidder"]))
                found.add((e["id"], e["seller"], best["bidder"], best["price"]))
    return found


def new_sellers(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    opened = defaultdict(list)
    for e in events:
        if e["kind"] == "auction":
            opened[e["seller"], e["at"] // auctions.WINDOW_SECONDS].append(e["id"])
    signed = {(e["id"], e["at"] // auctions.WINDOW_SECONDS) for e in events if e["kind"] == "person"}
    return {(person, tuple(sorted(opened[person, w]))) for person, w in signed if opened[person, w]}


def sittings(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    times = defaultdict(list)
    for e in events:
        if e["kind"] == "bid":
            times[e["bidder"]].append(round(e["at"] * 10))
    found = Counter[tuple[Any, ...]]()
    for bidder, at in times.items():
        start, last, count = at[0], at[0], 0
        for each in [*at, 1 << 60]:
            if each >= last + 10 * auctions.SITTING_SECONDS:
                found[bidder, count, start / 10, last / 10 + auctions.SITTING_SECONDS] += 1
                start, count = each, 0
            last, count = each, count + 1
    assert max(found.values()) == 1
    return set(found)


def auction_answers(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "winners": [(r["auction"], r["seller"], r["bidder"], r["price"]) for r in rows["winners"]],
        "new_sellers": [(r["person"], tuple(r["auctions"])) for r in rows["new_sellers"]],
        "sittings": [(r["bidder"], r["bids"], r["from"], r["to"]) for r in rows["sittings"]],
    }


def expected_auction_answers(count: int) -> dict[str, list[tuple[Any, ...]]]:
    made = list(auctions.events(count))
    return {
        "winners": sorted(winners(made)),
        "new_sellers": sorted(new_sellers(made)),
        "sittings": sorted(sittings(made)),
    }


def test_auctions_to_the_end_of_the_topic(tmp_path: Path) -> None:
    found = auction_answers(auctions.run(["--log", str(tmp_path), "--events", "5000"]))
    expected = expected_auction_answers(5000)
    assert {topic: sorted(rows) for topic, rows in found.items()} == expected
    assert all(len(rows) > 20 for rows in expected.values())


# As jobs


@contextmanager
def started(example: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def rows_of(log: Log, topic: str, count: int) -> list[Record]:
    """So many records of a topic, waited for."""
    found: list[Record] = []
    with Consumer(log, topic) as consumer:
        while len(found) < count:
            records = consumer.poll(60.0, max_records=10_000)
            assert records, f"only {len(found)} of {count} records came to {topic}"
            found += records
    return found


def killed_and_resumed(
    tmp_path: Path, example: str, arguments: list[str], wait_for: Callable[[Log, float], None]
) -> None:
    """Runs the example as a job, kills all of it, runs it again with the same command, and drains it."""
    job = ["--runner=LogRunner", "--job_name=j", f"--log_dir={tmp_path / 'jobs'}", "--num_workers=2"]
    command = [example, *arguments, "--follow", "--checkpoint_interval_ms=100", *job]
    with Log(tmp_path / "log") as log:
        with started(*command):
            wait_for(log, 0.1)
        with started(*command) as process:
            wait_for(log, 1.0)
            assert JobFolder(tmp_path / "jobs", "j").ask("drain")["state"] == "DRAINED"
            assert process.wait(60) == 0


@pytest.mark.slow
def test_flights_as_a_job_that_is_killed(tmp_path: Path) -> None:
    expected = delays_by_hour()
    streaming_flights_log.fill(str(tmp_path / "log"), "flights")
    with Log(tmp_path / "log") as log:
        log.create_topic("delays", 2)

    def wait_for(log: Log, share: float) -> None:
        rows_of(log, "delays", int(share * len(expected)) or 1)

    killed_and_resumed(
        tmp_path,
        "streaming_flights_log.py",
        ["--log", str(tmp_path / "log"), "--files", str(tmp_path / "day")],
        wait_for,
    )
    rows = streaming_flights_log.read_rows(str(tmp_path / "log"), "delays")
    assert len(rows) == len(expected) and as_tuples(rows) == expected_rows()
    files = [line for path in tmp_path.glob("day-*") for line in path.read_text().splitlines()]
    assert sorted(files) == sorted(map(streaming_flights_log.to_line, rows))


@pytest.mark.slow
def test_auctions_as_a_job_that_is_killed(tmp_path: Path) -> None:
    count = 5000
    expected = expected_auction_answers(count)
    auctions.fill(str(tmp_path / "log"), "events", count)
    with Log(tmp_path / "log") as log:
        for topic in expected:
            log.create_topic(topic)

    def wait_for(log: Log, share: float) -> None:
        for topic, rows in expected.items():
            rows_of(log, topic, int(share * len(rows)) or 1)

    killed_and_resumed(tmp_path, "auctions.py", ["--log", str(tmp_path / "log")], wait_for)
    rows = {topic: streaming_flights_log.read_rows(str(tmp_path / "log"), topic) for topic in expected}
    assert {topic: sorted(found) for topic, found in auction_answers(rows).items()} == expected
