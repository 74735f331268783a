"""The New York flights of January 2013 and their look-up tables, as the examples read them.

No example of its own: it holds the paths, and a transform that reads a CSV file with a header as rows.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import hornbeam as beam

DATA = Path(__file__).parent / "data"
FLIGHTS = str(DATA / "flights-2013-01.csv.gz")
WEATHER = str(DATA / "weather.csv.gz")
PLANES = str(DATA / "planes.csv")
AIRPORTS = str(DATA / "airports.csv")
AIRLINES = str(DATA / "airlines.csv")

Row = dict[str, str]


class ReadTable(beam.PTransform):
    """The rows of a CSV file with a header, each as a dict from column to text."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[Row]:
        columns = header(self.path)
        return (
            pbegin
            | "Lines" >> beam.io.ReadFromText(self.path, skip_header_lines=1)
            | "Rows" >> beam.Map(lambda line: dict(zip(columns, next(csv.reader([line])))))
        )


def header(path: str) -> list[str]:
    """The column names in the first line of a file, gzipped or not."""
    return list(next(table(path)))


def table(path: str) -> Iterator[Row]:
    """The rows of a CSV file with a header, gzipped or not, without a pipeline."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
    with opened as file:
        yield from csv.DictReader(file)


def departed(row: Row) -> bool:
    """Whether the flight took off: a cancelled one has no departure time."""
    return row["dep_time"] != "NA"


def arrived(row: Row) -> bool:
    """Whether the flight came down where it should: a diverted one has no arrival delay."""
    return row["arr_delay"] != "NA"


def scheduled_seconds(row: Row) -> float:
    """When the flight should have left, in seconds since 1970 (UTC)."""
    return datetime.fromisoformat(row["time_hour"]).timestamp() + 60 * int(row["minute"])
