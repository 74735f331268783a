"""Files as elements: matching, reading what was matched, and empty matches."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.io import fileio
from hornbeam.io.filesystem import BeamIOError, FileMetadata
from hornbeam.testing.util import assert_that, equal_to


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_bytes("käse,1\r\nbrot,2\r\n".encode())
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"wein,3\n"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("text")
    return tmp_path


def test_match(files: Path) -> None:
    with beam.Pipeline() as p:
        one = (
            p
            | fileio.MatchFiles(str(files / "*.csv*"))
            | beam.Map(lambda file: (file.path, file.size_in_bytes))
        )
        patterns = p | beam.Create([str(files / "*.csv"), str(files / "sub" / "*"), str(files / "no*")])
        several = patterns | fileio.MatchAll() | "path" >> beam.Map(lambda file: Path(file.path).name)
        expected = [(str(files / name), (files / name).stat().st_size) for name in ("a.csv", "b.csv.gz")]
        assert_that(one, equal_to(expected), label="one")
        assert_that(several, equal_to(["a.csv", "c.txt"]), label="several")


@pytest.mark.parametrize(
    "pattern, treatment, allowed",
    [
        ("no*", "ALLOW", True),
        ("no*", "ALLOW_IF_WILDCARD", True),
        ("no?", "ALLOW_IF_WILDCARD", True),
        ("no", "ALLOW_IF_WILDCARD", False),
        ("no*", "DISALLOW", False),
        ("no", "ALLOW", True),
    ],
)
def test_empty_matches(tmp_path: Path, pattern: str, treatment: str, allowed: bool) -> None:
    def match() -> None:
        with beam.Pipeline() as p:
            p | fileio.MatchFiles(str(tmp_path / pattern), treatment)

    if allowed:
        match()
    else:
        with pytest.raises(BeamIOError, match="Empty match for pattern"):
            match()


def test_treatments_are_named() -> None:
    with pytest.raises(ValueError, match="treatment"):
        fileio.MatchAll("SOMETIMES")
    with beam.Pipeline() as p:
        assert_that(p | beam.Create(["/no/such/file"]) | fileio.MatchAll(), equal_to([]))


def test_read_matches(files: Path) -> None:
    with beam.Pipeline() as p:
        found = p | fileio.MatchFiles(str(files / "*.csv*")) | fileio.ReadMatches()
        contents = found | beam.Map(lambda file: (Path(file.metadata.path).name, file.read_utf8()))
        rows = found | beam.FlatMap(lambda file: csv.reader(io.TextIOWrapper(file.open(), encoding="utf-8")))
        paths = p | beam.Create([str(files / "sub" / "c.txt")]) | "paths" >> fileio.ReadMatches()
        assert_that(
            contents,
            equal_to([("a.csv", "käse,1\r\nbrot,2\r\n"), ("b.csv.gz", "wein,3\n")]),
            label="contents",
        )
        assert_that(rows, equal_to([["käse", "1"], ["brot", "2"], ["wein", "3"]]), label="rows")
        assert_that(paths | beam.Map(lambda file: file.read()), equal_to([b"text"]), label="paths")


def test_compression_by_name_given_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(bz2.compress(b"content"))
    metadata = FileMetadata(str(path), 1)
    assert fileio.ReadableFile(metadata, "bzip2").read() == b"content"
    assert fileio.ReadableFile(metadata).open(compression_type="bzip2").read() == b"content"
    assert fileio.ReadableFile(metadata, "uncompressed").read() == path.read_bytes()
    with pytest.raises(TypeError):
        fileio.ReadMatches(compression="rar")


def test_a_readable_file_is_a_value(tmp_path: Path) -> None:
    file = fileio.ReadableFile(FileMetadata(str(tmp_path), 1))
    assert pickle.loads(pickle.dumps(file)) == file
    assert {file, pickle.loads(pickle.dumps(file))} == {file}


@pytest.mark.parametrize("skip", [True, False])
def test_directories(tmp_path: Path, skip: bool) -> None:
    def read() -> None:
        with beam.Pipeline() as p:
            given: Any = p | beam.Create([FileMetadata(f"{tmp_path}/", 0)])
            assert_that(given | fileio.ReadMatches(skip_directories=skip), equal_to([]))

    if skip:
        read()
    else:
        with pytest.raises(BeamIOError, match="Directories are not allowed"):
            read()


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BeamIOError, match=r"no file .*none"), beam.Pipeline() as p:
        p | beam.Create([str(tmp_path / "none")]) | fileio.ReadMatches()
