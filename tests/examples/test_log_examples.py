"""The examples over the log, against the same answers in plain Python: once to the end of the topic on DirectRunner, and as
jobs of LogRunner that are killed and started again.
"""

from __future__ import annotations

from pathlib import Path

import auctions
import pytest
import streaming_flights_log
from examples.log_jobs import (
    AuctionsJob,
    ExampleJob,
    FlightsJob,
    as_tuples,
    auction_answers,
    auction_tuples,
    delay_rows,
    delays_by_hour,
    started,
)


def test_flights_to_the_end_of_the_topic(tmp_path: Path) -> None:
    arguments = ["--log", str(tmp_path / "log"), "--files", str(tmp_path / "day")]
    found = streaming_flights_log.run(arguments)
    assert len(found) == len(set(found)) == len(delays_by_hour())
    rows = streaming_flights_log.read_rows(str(tmp_path / "log"), "delays")
    assert as_tuples(rows) == delay_rows()
    files = [line for path in tmp_path.glob("day-*") for line in path.read_text().splitlines()]
    assert sorted(files) == found
    assert found[0].startswith("2013-01-01T10:00:00Z EWR")


def test_auctions_to_the_end_of_the_topic(tmp_path: Path) -> None:
    found = auction_tuples(auctions.run(["--log", str(tmp_path), "--events", "5000"]))
    expected = auction_answers(5000)
    assert {topic: sorted(rows) for topic, rows in found.items()} == expected
    assert all(len(rows) > 20 for rows in expected.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FlightsJob, AuctionsJob])
def test_as_a_job_that_is_killed(tmp_path: Path, kind: type[ExampleJob]) -> None:
    job = kind(tmp_path)
    job.prepare()
    with started(*job.command()):
        job.wait_for(0.1)
    job.finish()
    job.check()
