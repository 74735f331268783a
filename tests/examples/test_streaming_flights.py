"""The streaming flights example against the same rules in plain Python: the panes, what is dropped, what it comes to."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nycflights
import pytest
import streaming_flight_delays

WHOLE_YEAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "flights.csv.gz"
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
PANE = re.compile(r"(\S+ \w{3}) (\w+) (\d+) flights, mean (-?[\d.]+) min")


class Expected:
    """Flights taken one by one in the order in which they took off."""

    def __init__(self, path: str, disorder: timedelta, lateness: timedelta) -> None:
        self.counted: dict[str, list[int]] = defaultdict(list)
        self.dropped: dict[str, list[int]] = defaultdict(list)
        self.timings: Counter[str] = Counter()
        watermark = datetime.min.replace(tzinfo=UTC)
        for took_off, scheduled, airport, delay in flights(path):
            arrived = datetime.min.replace(tzinfo=UTC)
            arrived += (took_off - arrived) // QUARTER * QUARTER
            watermark = max(watermark, arrived - disorder)
            hour = scheduled.replace(minute=0)
            key = f"{hour:%Y-%m-%dT%H:%M:%SZ} {airport}"
            if watermark >= hour + HOUR + lateness:
                self.dropped[key].append(delay)
                continue
            self.counted[key].append(delay)
            if watermark >= hour + HOUR:
                self.timings["LATE"] += 1  # also when it is the first of its hour
            elif len(self.counted[key]) % 20 == 0:
                self.timings["EARLY"] += 1
            if len(self.counted[key]) == 1 and watermark < hour + HOUR:
                self.timings["ON_TIME"] += 1  # at the end of the hour

    def corrected(self) -> list[str]:
        keys = self.counted.keys() | self.dropped.keys()
        return sorted(self.line(key, self.counted[key] + self.dropped[key]) for key in keys)

    def line(self, key: str, delays: list[int]) -> str:
        mean = sum(delays) / len(delays)
        return f"{key} {len(delays)} flights ({len(self.dropped[key])} dropped), mean {mean:.2f} min"


def flights(path: str) -> list[tuple[datetime, datetime, str, int]]:
    """(took off, should have, airport, delay in minutes) in order of taking off."""
    found = []
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_delay"] != "NA":
                hour = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
                scheduled = hour + timedelta(minutes=int(row["sched_dep_time"]) % 100)
                delay = int(row["dep_delay"])
                found.append((scheduled + timedelta(minutes=delay), scheduled, row["origin"], delay))
    return sorted(found, key=lambda flight: flight[0])


def check(path: str, prefix: str, disorder_minutes: int, lateness_minutes: int) -> Expected:
    expected = Expected(path, timedelta(minutes=disorder_minutes), timedelta(minutes=lateness_minutes))
    argv = [f"--disorder_minutes={disorder_minutes}", f"--lateness_minutes={lateness_minutes}"]

    panes, corrected = streaming_flight_delays.run([*argv, "--input", path, "--output", prefix])

    assert corrected == expected.corrected()
    last = {key: (int(count), mean) for key, _, count, mean in map(pane_parts, panes)}
    assert last == {
        key: (len(delays), f"{sum(delays) / len(delays):.1f}")
        for key, delays in expected.counted.items()
        if delays
    }
    assert Counter(timing for _, timing, _, _ in map(pane_parts, panes)) == expected.timings
    return expected


def pane_parts(line: str) -> tuple[str, ...]:
    match = PANE.fullmatch(line)
    assert match, line
    return match.groups()


@pytest.mark.parametrize(("disorder_minutes", "lateness_minutes"), [(60, 120), (0, 0), (2000, 0)])
def test_last_panes_and_dropped_flights_are_all_flights_of_january(
    tmp_path: Path, disorder_minutes: int, lateness_minutes: int
) -> None:
    expected = check(nycflights.FLIGHTS, str(tmp_path / "out"), disorder_minutes, lateness_minutes)

    assert sum(map(len, expected.counted.values())) + sum(map(len, expected.dropped.values())) == 26_483
    assert any(expected.dropped.values()) == (disorder_minutes < 2000)


@pytest.mark.slow
@pytest.mark.skipif(not WHOLE_YEAR.exists(), reason="the whole year is not in the repository")
def test_last_panes_and_dropped_flights_are_all_flights_of_the_year(tmp_path: Path) -> None:
    expected = check(str(WHOLE_YEAR), str(tmp_path / "out"), 60, 120)

    assert sum(map(len, expected.counted.values())) + sum(map(len, expected.dropped.values())) == 328_521
