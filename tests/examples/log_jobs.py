"""The examples over the log as jobs of LogRunner, and the same answers in plain Python."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "examples") not in sys.path:  # started by itself, without pytest
    sys.path.append(str(ROOT / "examples"))

import auctions  # noqa: E402
import streaming_flights_log  # noqa: E402
from nycflights import FLIGHTS, scheduled_seconds  # noqa: E402

from hornbeam.runners.log.job_folder import JobFolder  # noqa: E402
from hornbeam.storage.log import Consumer, Log, Record  # noqa: E402

Event = dict[str, Any]


@contextmanager
def started(example: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """An example as a process, with all that it starts killed in the end."""
    command = [sys.executable, str(ROOT / "examples" / example), *arguments]
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
            records = consumer.poll(180.0, max_records=10_000)
            assert records, f"only {len(found)} of {count} records came to {topic}"
            found += records
    return found


def _rows_now(log: Log, topic: str) -> list[Record]:
    """The records of a topic that may be read now."""
    found: list[Record] = []
    with Consumer(log, topic) as consumer:
        while records := consumer.poll(0.0, max_records=10_000):
            found += records
    return found


class ExampleJob:
    """An example that follows its topic, in a folder of its own."""

    example = ""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = str(place / "log")

    def counts(self) -> Mapping[str, int]:
        """How many rows each topic of answers has in the end."""
        raise NotImplementedError

    def fill(self) -> None:
        """Makes the topic of events."""
        raise NotImplementedError

    def check(self) -> None:
        """AssertionError unless topics and files hold exactly the answers."""
        raise NotImplementedError

    def arguments(self) -> Sequence[str]:
        """What the example is started with."""
        return ["--log", self.log]

    def prepare(self) -> None:
        """Makes all topics."""
        self.fill()
        with Log(self.log) as log:
            for topic in self.counts():
                log.create_topic(topic, 2)

    def command(self, workers: int = 2) -> list[str]:
        """The command that starts, or resumes, the job."""
        job = ["--runner=LogRunner", "--job_name=j", f"--log_dir={self.place / 'jobs'}"]
        interval = "--checkpoint_interval_ms=100"
        return [self.example, *self.arguments(), "--follow", *job, f"--num_workers={workers}", interval]

    def wait_for(self, share: float) -> None:
        """Waits until so large a share of each topic of answers is there."""
        with Log(self.log) as log:
            for topic, count in self.counts().items():
                rows_of(log, topic, int(share * count) or 1)

    def has_all(self) -> bool:
        """Whether all answers are there now."""
        with Log(self.log) as log:
            return all(len(_rows_now(log, topic)) >= count for topic, count in self.counts().items())

    def _wait_until_it_runs(self, process: subprocess.Popen[bytes]) -> None:
        """All may be written already by an earlier start; then this one may still be beginning."""
        folder, deadline = JobFolder(self.place / "jobs", "j"), time.monotonic() + 180
        while (status := folder.status()) is None or status.pid != process.pid or not folder.is_running():
            assert process.poll() is None and time.monotonic() < deadline, f"the job does not start: {status}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Starts the job once more, and drains it when all answers are there."""
        with started(*self.command()) as process:
            self.wait_for(1.0)
            self._wait_until_it_runs(process)
            assert JobFolder(self.place / "jobs", "j").ask("drain")["state"] == "DRAINED"
            assert process.wait(180) == 0


class FlightsJob(ExampleJob):
    """examples/streaming_flights_log.py."""

    example = "streaming_flights_log.py"

    def counts(self) -> Mapping[str, int]:
        return {"delays": len(delays_by_hour())}

    def fill(self) -> None:
        streaming_flights_log.fill(self.log, "flights")

    def arguments(self) -> Sequence[str]:
        return [*super().arguments(), "--files", str(self.place / "day")]

    def check(self) -> None:
        rows = streaming_flights_log.read_rows(self.log, "delays")
        assert len(rows) == len(delays_by_hour()) and as_tuples(rows) == delay_rows()
        lines = [line for path in self.place.glob("day-*") for line in path.read_text().splitlines()]
        assert sorted(lines) == sorted(map(streaming_flights_log.to_line, rows))
        left = [name for place in self.place.glob(".hornbeam-temp*") for name in os.listdir(place)]
        assert not left, f"temporary files are left over: {left}"


class AuctionsJob(ExampleJob):
    """examples/auctions.py."""

    example = "auctions.py"
    events = 5000

    def counts(self) -> Mapping[str, int]:
        return {topic: len(rows) for topic, rows in auction_answers(self.events).items()}

    def fill(self) -> None:
        auctions.fill(self.log, "events", self.events)

    def check(self) -> None:
        expected = auction_answers(self.events)
        rows = {topic: streaming_flights_log.read_rows(self.log, topic) for topic in expected}
        assert {topic: sorted(found) for topic, found in auction_tuples(rows).items()} == expected


# Flights in plain Python


def delays_by_hour() -> dict[tuple[int, str], list[int]]:
    """The delays by (hour in seconds, airport)."""
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    with gzip.open(FLIGHTS, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_delay"] != "NA":
                hour = int(scheduled_seconds(row)) // 3600 * 3600
                found[hour, row["origin"]].append(int(row["dep_delay"]))
    return found


def delay_rows() -> set[tuple[str, int, float, int]]:
    """(airport, flights, mean, greatest delay) of each hour."""
    return {
        (airport, len(d), round(sum(d) / len(d), 1), max(d)) for (_, airport), d in delays_by_hour().items()
    }


def as_tuples(rows: list[Event]) -> set[tuple[str, int, float, int]]:
    """The rows of the example, to compare with `delay_rows`."""
    return {(r["airport"], r["flights"], r["mean_delay"], r["max_delay"]) for r in rows}


# Auctions in plain Python


def winners(events: list[Event]) -> set[tuple[Any, ...]]:
    """(auction, seller, bidder, price)."""
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


def new_sellers(events: list[Event]) -> set[tuple[Any, ...]]:
    """(person, auctions)."""
    opened = defaultdict(list)
    for e in events:
        if e["kind"] == "auction":
            opened[e["seller"], e["at"] // auctions.WINDOW_SECONDS].append(e["id"])
    signed = {(e["id"], e["at"] // auctions.WINDOW_SECONDS) for e in events if e["kind"] == "person"}
    return {(person, tuple(sorted(opened[person, w]))) for person, w in signed if opened[person, w]}


def sittings(events: list[Event]) -> set[tuple[Any, ...]]:
    """(bidder, bids, from, to); in tenths of a second, so that sums are exact."""
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


def auction_answers(count: int) -> dict[str, list[tuple[Any, ...]]]:
    """The answers to the three questions, by topic."""
    made = list(auctions.events(count))
    return {
        "winners": sorted(winners(made)),
        "new_sellers": sorted(new_sellers(made)),
        "sittings": sorted(sittings(made)),
    }


def auction_tuples(rows: Mapping[str, list[Event]]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the example, to compare with `auction_answers`."""
    return {
        "winners": [(r["auction"], r["seller"], r["bidder"], r["price"]) for r in rows["winners"]],
        "new_sellers": [(r["person"], tuple(r["auctions"])) for r in rows["new_sellers"]],
        "sittings": [(r["bidder"], r["bids"], r["from"], r["to"]) for r in rows["sittings"]],
    }
