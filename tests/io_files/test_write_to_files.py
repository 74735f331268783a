"""WriteToFiles: destinations, formats and names that depend on the elements."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import hornbeam as beam
from hornbeam.io import fileio
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue


def contents(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found[str(path.relative_to(directory))] = (
                gzip.decompress(data) if path.suffix == ".gz" else data
            ).decode()
        else:
            found[str(path.relative_to(directory)) + "/"] = ""
    return found


def by_content(directory: Path) -> list[str]:
    return sorted("".join(contents(directory).values()).split())


def test_all_in_one_place(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        results = p | beam.Create(["a", "b"], reshuffle=False) | fileio.WriteToFiles(str(tmp_path))
        assert_that(
            results
            | beam.Map(lambda r: (r.file_name, r.shard_index, r.total_shards, r.window, r.destination)),
            equal_to([("output-00000-of-00001", 0, 1, GlobalWindow(), None)]),
        )
    assert contents(tmp_path) == {"output-00000-of-00001": "a\nb\n"}


class CsvSink(fileio.FileSink):
    def __init__(self, columns: list[str]) -> None:
        self._columns = columns

    def create_metadata(self, destination: Any, full_file_name: str) -> fileio.FileMetadata:
        return fileio.FileMetadata(mime_type="text/csv", compression_type="gzip")

    def open(self, fh: BinaryIO) -> None:
        self._text = io.TextIOWrapper(fh, encoding="utf-8", newline="")
        self._rows = csv.writer(self._text)
        self._rows.writerow(self._columns)

    def write(self, record: Any) -> None:
        self._rows.writerow([record[column] for column in self._columns])

    def flush(self) -> None:
        self._text.flush()
        self._text.detach()


def test_destinations_sinks_and_names(tmp_path: Path) -> None:
    rows = [{"kind": kind, "n": n} for n, kind in enumerate(["x", "y", "x", "z"])]
    with beam.Pipeline() as p:
        (
            p
            | beam.Create(rows, reshuffle=False)
            | fileio.WriteToFiles(
                str(tmp_path),
                destination=lambda row: row["kind"],
                sink=lambda destination: CsvSink(["n"]) if destination != "z" else CsvSink(["kind", "n"]),
                file_naming=fileio.destination_prefix_naming(".csv"),
            )
        )
    assert contents(tmp_path) == {
        "x-00000-of-00001.csv.gz": "n\r\n0\r\n2\r\n",
        "y-00000-of-00001.csv.gz": "n\r\n1\r\n",
        "z-00000-of-00001.csv.gz": "kind,n\r\nz,3\r\n",
    }


@pytest.mark.parametrize("writers, shards", [(0, 1), (0, 3), (2, 1), (2, 3), (20, 5)])
def test_more_destinations_than_writers(tmp_path: Path, writers: int, shards: int) -> None:
    with beam.Pipeline() as p:
        (
            p
            | beam.Create([f"{n}" for n in range(40)])
            | fileio.WriteToFiles(
                str(tmp_path),
                destination=lambda text: int(text) % 8,
                sink=fileio.TextSink,
                file_naming=fileio.destination_prefix_naming(),
                max_writers_per_bundle=writers,
                shards=shards,
            )
        )
    assert by_content(tmp_path) == sorted(f"{n}" for n in range(40))
    for name, text in contents(tmp_path).items():
        assert {str(int(n) % 8) for n in text.split()} == {name.split("-")[0]}
        assert int(name[-5:]) <= max(shards, 1)


def test_windows_have_files_of_their_own(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        results = (
            p
            | beam.Create([1, 2, 61], reshuffle=False)
            | beam.Map(lambda second: TimestampedValue(str(second), second))
            | beam.WindowInto(FixedWindows(60))
            | fileio.WriteToFiles(str(tmp_path), file_naming=fileio.default_file_naming("n", ".txt"))
        )
        windows = results | beam.Map(lambda result: result.window)
        assert_that(
            windows | "Global" >> beam.WindowInto(beam.transforms.window.GlobalWindows()),
            equal_to([IntervalWindow(0, 60), IntervalWindow(60, 120)]),
        )
    assert contents(tmp_path) == {
        "n-1970-01-01T00:00:00-1970-01-01T00:01:00-00000-of-00001.txt": "1\n2\n",
        "n-1970-01-01T00:01:00-1970-01-01T00:02:00-00000-of-00001.txt": "61\n",
    }


def test_a_single_file(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        (
            p
            | beam.Create(["a"])
            | fileio.WriteToFiles(
                str(tmp_path),
                file_naming=fileio.single_file_naming("all", ".txt"),
                shards=1,
                max_writers_per_bundle=0,
            )
        )
    assert contents(tmp_path) == {"all.txt": "a\n"}


def test_names_that_collide_are_refused_and_nothing_stays(tmp_path: Path) -> None:
    for naming in (fileio.single_file_naming("all"), lambda *_: "same"):
        with pytest.raises(ValueError, match="file"), beam.Pipeline() as p:
            (
                p
                | beam.Create(["a", "b", "c"])
                | fileio.WriteToFiles(str(tmp_path), file_naming=naming, shards=3, max_writers_per_bundle=0)
            )
        assert contents(tmp_path) == {}


def test_output_fn_and_temp_directory(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        names = (
            p
            | beam.Create(["a"])
            | fileio.WriteToFiles(
                str(tmp_path / "out"),
                temp_directory=str(tmp_path / "temp"),
                output_fn=lambda result: result.file_name,
            )
        )
        assert_that(names, equal_to(["output-00000-of-00001"]))
    assert contents(tmp_path) == {"out/": "", "out/output-00000-of-00001": "a\n", "temp/": ""}


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), beam.Pipeline() as p:
        p | beam.Create([1, 2, 0]) | beam.Map(lambda n: f"{1 / n}") | fileio.WriteToFiles(str(tmp_path))
    assert contents(tmp_path) == {}


def test_unusable_shards() -> None:
    with pytest.raises(ValueError, match="shards"):
        fileio.WriteToFiles("/tmp/x", shards=0)
