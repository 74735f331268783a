"""The examples over the New York flights, each against the same answer in plain Python."""

from __future__ import annotations

import csv
import gzip
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aircraft_sessions
import combine_delays
import composite_transform
import dead_letters
import distinct_routes
import filter_above_mean
import join_tables
import large_groups
import multiple_outputs
import nycflights
import outputs
import pytest
import top_delays
import weather_by_airport
import windowed_departures

import hornbeam as beam

Rows = list[dict[str, str]]


def table(path: str) -> Rows:
    opened = gzip.open(path, "rt", newline="") if path.endswith(".gz") else open(path, newline="")
    with opened as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def flights() -> Rows:
    return table(nycflights.FLIGHTS)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def scheduled(row: dict[str, str]) -> datetime:
    """The scheduled departure in UTC, from the local date and time: New York is five hours behind in January."""
    hhmm = int(row["sched_dep_time"])
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]), tzinfo=UTC)
    return day + timedelta(hours=hhmm // 100 + 5, minutes=hhmm % 100)


def utc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("hours", [1, 6])
def test_windowed_departures(flights: Rows, prefix: str, hours: int) -> None:
    counts = Counter(
        (int(scheduled(row).timestamp()) // (hours * 3600) * hours * 3600, row["origin"]) for row in flights
    )
    expected = [
        f"{utc(datetime.fromtimestamp(start, UTC))} {origin} {n}" for (start, origin), n in counts.items()
    ]

    assert windowed_departures.run(["--output", prefix, "--hours", str(hours)]) == sorted(expected)


def test_combine_delays(flights: Rows, prefix: str) -> None:
    delays = defaultdict(list)
    for row in flights:
        if row["arr_delay"] != "NA":
            delays[row["carrier"]].append(float(row["arr_delay"]))
    expected = []
    for carrier, values in delays.items():
        late = len([value for value in values if value > 30]) / len(values)
        expected.append(
            f"{carrier} mean {statistics.fmean(values):.1f} max {max(values):.0f} late {late:.1%}"
        )

    assert combine_delays.run(["--output", prefix]) == sorted(expected)


def test_late_share_of_nothing_is_zero() -> None:
    assert combine_delays.LateShare(30).apply([]) == 0.0


def test_join_tables(flights: Rows, prefix: str) -> None:
    makers = {row["tailnum"]: row["manufacturer"] for row in table(nycflights.PLANES)}
    airlines = {row["carrier"]: row["name"] for row in table(nycflights.AIRLINES)}
    airports = {row["faa"]: row["name"] for row in table(nycflights.AIRPORTS)}
    pairs = Counter((airlines[row["carrier"]], makers.get(row["tailnum"], "unknown")) for row in flights)
    places = Counter(airports.get(row["dest"], row["dest"]) for row in flights)

    by_maker, by_destination = join_tables.run(["--output", prefix])

    assert by_maker == sorted(f"{airline}, {maker}: {count}" for (airline, maker), count in pairs.items())
    assert by_destination == sorted(f"{place}: {count}" for place, count in places.items())


def test_filter_above_mean(flights: Rows, prefix: str) -> None:
    flown = [(f"{r['origin']}-{r['dest']}", int(r["air_time"])) for r in flights if r["air_time"] != "NA"]
    limit = 2 * statistics.fmean(minutes for _, minutes in flown)

    written = filter_above_mean.run(["--output", prefix, "--times", "2"])

    assert written == sorted(f"{route} {minutes}" for route, minutes in flown if minutes > limit)
    assert written


def test_distinct_routes(flights: Rows, prefix: str) -> None:
    routes = {(row["origin"], row["dest"]) for row in flights}

    found, counts = distinct_routes.run(["--output", prefix])

    assert found == sorted(f"{origin}-{dest}" for origin, dest in routes)
    assert counts == sorted(f"{origin} {n}" for origin, n in Counter(origin for origin, _ in routes).items())


def test_top_delays(flights: Rows, prefix: str) -> None:
    delays = defaultdict(list)
    for row in flights:
        if row["dep_time"] != "NA":
            flight = f"{row['day']} January, flight {row['flight']} to {row['dest']}"
            delays[row["carrier"]].append((int(row["dep_delay"]), flight))
    expected = [
        f"{carrier} {rank}. {delay} min: {flight}"
        for carrier, found in delays.items()
        for rank, (delay, flight) in enumerate(sorted(found, reverse=True)[:4], 1)
    ]

    assert top_delays.run(["--output", prefix, "--top", "4"]) == sorted(expected)


def test_dead_letters(flights: Rows, prefix: str) -> None:
    speeds = defaultdict(list)
    for row in flights:
        if row["air_time"] != "NA":
            speeds[row["carrier"]].append(60 * int(row["distance"]) / int(row["air_time"]))
    bad = len(flights) - sum(map(len, speeds.values()))

    good, reasons = dead_letters.run(["--output", prefix])

    assert good == sorted(f"{carrier} {statistics.fmean(v):.1f} miles/h" for carrier, v in speeds.items())
    assert reasons == [f"{bad} times ValueError(\"invalid literal for int() with base 10: 'NA'\")"]


def test_too_many_dead_letters_fail_the_run(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"0\.001"):
        dead_letters.run(["--output", prefix, "--threshold", "0.001"])


def test_multiple_outputs(flights: Rows, prefix: str) -> None:
    def kind(row: dict[str, str]) -> str:
        if row["dep_time"] == "NA":
            return "cancelled"
        return "late" if int(row["dep_delay"]) > 15 else "punctual"

    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in flights:
        counts[kind(row)][row["origin"]] += 1

    assert multiple_outputs.run(["--output", prefix]) == {
        tag: sorted(f"{origin} {count}" for origin, count in found.items()) for tag, found in counts.items()
    }


def test_composite_transform(flights: Rows, prefix: str) -> None:
    def busiest(place: str, time: str) -> list[str]:
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for row in flights:
            if row[time] != "NA":
                counts[row[place]][int(row[time]) // 100 % 24] += 1
        best = {
            place: min(found.items(), key=lambda item: (-item[1], item[0])) for place, found in counts.items()
        }
        return sorted(f"{place} {hour} h ({count})" for place, (hour, count) in best.items())

    departures, arrivals = composite_transform.run(["--output", prefix])

    assert departures == busiest("origin", "dep_time")
    assert arrivals == busiest("dest", "arr_time")


def test_composite_transform_refuses_other_elements_while_the_pipeline_is_built() -> None:
    numbers = beam.Pipeline() | beam.Create([1, 2])
    with pytest.raises(beam.typehints.TypeCheckError, match="BusiestHour"):
        numbers | composite_transform.BusiestHour()


def test_aircraft_sessions(flights: Rows, prefix: str) -> None:
    times = defaultdict(list)
    for row in flights:
        if row["dep_time"] != "NA":
            times[row["tailnum"]].append(scheduled(row))
    expected = []
    for tailnum, found in times.items():
        sessions: list[list[datetime]] = []
        for time in sorted(found):
            if sessions and time - sessions[-1][-1] < timedelta(hours=12):
                sessions[-1].append(time)
            else:
                sessions.append([time])
        expected += [f"{tailnum} {utc(s[0])} {utc(s[-1])} {len(s)}" for s in sessions if len(s) >= 3]

    assert aircraft_sessions.run(["--output", prefix, "--gap_hours", "12", "--least", "3"]) == sorted(
        expected
    )


def test_weather_by_airport(prefix: str) -> None:
    groups = defaultdict(list)
    for row in table(nycflights.WEATHER):
        if "NA" not in (row["temp"], row["wind_speed"], row["precip"]):
            groups[row["origin"], int(row["month"])].append(row)
    expected = []
    for (airport, month), rows in groups.items():
        coldest = min(float(row["temp"]) for row in rows)
        wind = statistics.fmean(float(row["wind_speed"]) for row in rows)
        wet = sum(float(row["precip"]) > 0 for row in rows)
        expected.append(f"{airport} {month:02} {coldest:.1f} F {wind:.1f} mph {wet} h")

    assert weather_by_airport.run(["--output", prefix]) == sorted(expected)


def test_large_groups_spill_and_are_complete(prefix: str, tmp_path: Path) -> None:
    spilled = tmp_path / "spilled"
    spilled.mkdir()
    argv = ["--pairs", "200000", "--keys", "50", "--memory_limit=1MB", f"--temp_dir={spilled}"]

    written = large_groups.run(["--output", prefix, *argv])

    assert written == sorted(f"{key} {4000} {sum(range(key, 200000, 50))}" for key in range(50))
    assert not list(spilled.iterdir())


def test_a_graph_saved_by_one_process_runs_in_another(flights: Rows, prefix: str, tmp_path: Path) -> None:
    script = Path(nycflights.__file__).with_name("saved_graph.py")
    graph = tmp_path / "pipeline.json"

    def example(*argv: str) -> str:
        command = [sys.executable, str(script), *argv, "--graph", str(graph)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    example("build", "--output", prefix)
    assert not outputs.lines(prefix)
    assert "Count" in example("show")
    assert example("run").strip() == "DONE"

    counts = Counter(row["carrier"] for row in flights)
    assert outputs.lines(prefix) == sorted(f"{carrier} {count}" for carrier, count in counts.items())
