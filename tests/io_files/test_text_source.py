"""The text source without a runner: what a record is, and that every way of reading gives the same records."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import os
import pickle
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hornbeam.coders.coders import BytesCoder, Coder, StrUtf8Coder, VarIntCoder
from hornbeam.error import DataError
from hornbeam.io import record_scanner, source_test_utils
from hornbeam.io.compression import CompressionTypes
from hornbeam.io.source import BoundedSource
from hornbeam.io.text_source import TextSource, TextSourceWithFilename, check_delimiter

ANY_FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def make(path: object, kind: type[TextSource] = TextSource, **parameters: Any) -> TextSource:
    defaults: dict[str, Any] = {
        "min_bundle_size": 0,
        "compression_type": CompressionTypes.AUTO,
        "strip_trailing_newlines": True,
        "coder": StrUtf8Coder(),
    }
    return kind(str(path), **{**defaults, **parameters})


def write(tmp_path: Path, content: bytes, name: str = "file.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def read(source: BoundedSource, start: Any = None, stop: Any = None) -> list[Any]:
    """The records by `read`, after checking that `read_batches` gives the same."""
    records = source_test_utils.read_from_source(source, start, stop)
    for size in (1, 3, 10_000):
        batches = list(source.read_batches(source.get_range_tracker(start, stop), size))  # type: ignore[attr-defined]
        assert [record for batch in batches for record in batch] == records
        assert all(0 < len(batch) <= size for batch in batches)
    return records


def read_split(source: BoundedSource, size: int) -> list[Any]:
    """The records of all parts of about the size."""
    return [
        record
        for bundle in source.split(size)
        for record in read(bundle.source, bundle.start_position, bundle.stop_position)  # type: ignore[arg-type]
    ]


def expected_records(
    content: bytes, delimiter: bytes | None, escape: bytes | None, strip: bool
) -> list[bytes]:
    """The records found the slow way: byte by byte from the start."""
    records, start, at = [], 0, 0
    width = len(delimiter or b"\n")
    while at < len(content):
        if escape is not None and content[at : at + 1] == escape:
            if delimiter is None and content[at + 1 : at + 3] == b"\r\n":
                # The escaped '\r' is content; the '\n' after it ends the record.
                records.append(content[start : at + 2] if strip else content[start : at + 3])
                start = at = at + 3
                continue
            following = content[at + 1 : at + 1 + width]
            at += 1 + (width if following == (delimiter or b"\n") else 1)
            continue
        if delimiter is None and content[at : at + 2] == b"\r\n":
            records.append(content[start:at] if strip else content[start : at + 2])
            start = at = at + 2
        elif content[at : at + width] == (delimiter or b"\n"):
            records.append(content[start:at] if strip else content[start : at + width])
            start = at = at + width
        else:
            at += 1
    if start < len(content):
        records.append(content[start:])
    return records


@pytest.mark.parametrize(
    "content, lines",
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r\r\nb\r", ["a\r", "b\r"]),
        (b"\n\n\r\n", ["", "", ""]),
        (b"\n", [""]),
        (b"\r", ["\r"]),
        ("käse\n\u2028\x0b\x0c\x85\x1c|\n".encode(), ["käse", "\u2028\x0b\x0c\x85\x1c|"]),
        (b"\xef\xbb\xbfa\n", ["\ufeffa"]),
    ],
)
def test_lines(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    assert read(make(write(tmp_path, content))) == lines


def test_lines_with_their_newlines(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\r\nb\n\nc")
    assert read(make(path, strip_trailing_newlines=False)) == ["a\r\n", "b\n", "\n", "c"]


@pytest.mark.parametrize(
    "delimiter, content, records",
    [
        (b",", b"a,b,,c", ["a", "b", "", "c"]),
        (b"\r\n", b"a\nb\r\nc\r\n", ["a\nb", "c"]),
        (b"\n", b"a\r\nb", ["a\r", "b"]),
        (b"END", b"oneENDtwoENDE", ["one", "two", "E"]),
        ("→".encode(), "a→b→".encode(), ["a", "b"]),
    ],
)
def test_delimiters(tmp_path: Path, delimiter: bytes, content: bytes, records: list[str]) -> None:
    assert read(make(write(tmp_path, content), delimiter=delimiter)) == records


@pytest.mark.parametrize(
    "content, records",
    [
        (b"a\\\nb\nc", ["a\\\nb", "c"]),
        (b"a\\\\\nb", ["a\\\\", "b"]),
        (b"a\\\\\\\nb\n", ["a\\\\\\\nb"]),
        (b"a\\\r\nb", ["a\\\r", "b"]),
        (b"a\\\n", ["a\\\n"]),
        (b"a\r\\\nb\n", ["a\r\\\nb"]),
    ],
)
def test_escaped_delimiters(tmp_path: Path, content: bytes, records: list[str]) -> None:
    assert read(make(write(tmp_path, content), escapechar=b"\\")) == records


@pytest.mark.parametrize("delimiter", [b"", "text", b"aa", b"aba", b"\n\n", b"abcab"])
def test_delimiters_that_are_refused(delimiter: Any) -> None:
    with pytest.raises(ValueError, match="delimiter"):
        check_delimiter(delimiter)


@pytest.mark.parametrize("delimiter", [b"a", b"ab", b"\r\n", b"aab"])
def test_delimiters_that_are_good(delimiter: bytes) -> None:
    check_delimiter(delimiter)


@pytest.mark.parametrize(
    "parameters, kind",
    [
        ({"escapechar": b"ab"}, ValueError),
        ({"escapechar": "a"}, ValueError),
        ({"escapechar": b"\n"}, ValueError),
        ({"escapechar": b"x", "delimiter": b"ax"}, ValueError),
        ({"skip_header_lines": -1}, ValueError),
        ({"min_bundle_size": -1}, ValueError),
        ({"compression_type": "rar"}, TypeError),
        ({"coder": StrUtf8Coder}, TypeError),
    ],
)
def test_parameters_that_are_refused(
    tmp_path: Path, parameters: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        make(write(tmp_path, b"a"), **parameters)


def test_the_pattern_must_be_a_path() -> None:
    with pytest.raises(TypeError, match="file_pattern must be a string"):
        TextSource(17, 0, CompressionTypes.AUTO, True, StrUtf8Coder())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "skip, lines", [(0, ["h1", "h2", "a", "b"]), (1, ["h2", "a", "b"]), (2, ["a", "b"]), (9, [])]
)
def test_header_lines_are_skipped_in_every_file_and_part(tmp_path: Path, skip: int, lines: list[str]) -> None:
    for name in ("1.txt", "2.txt"):
        write(tmp_path, b"h1\nh2\na\nb\n", name)
    source = make(tmp_path / "*.txt", skip_header_lines=skip)
    assert read(source) == lines * 2
    for size in range(1, 12):
        assert read_split(source, size) == lines * 2


class UpperCoder(Coder):
    def encode(self, value: Any) -> bytes:
        return str(value).lower().encode()

    def decode(self, encoded: bytes) -> Any:
        return encoded.decode("latin-1").upper()


def test_coders(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\r\n\xff\n\nc")
    assert read(make(path, coder=BytesCoder())) == [b"a", b"\xff", b"", b"c"]
    assert read(make(path, coder=UpperCoder())) == ["A", "\u0178", "", "C"]
    assert read(make(path, coder=BytesCoder(), strip_trailing_newlines=False)) == [
        b"a\r\n",
        b"\xff\n",
        b"\n",
        b"c",
    ]
    assert make(path, coder=BytesCoder()).default_output_coder() == BytesCoder()


def test_a_delimiter_may_be_part_of_a_character(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\xffb")
    assert read(make(path, delimiter=b"\xff")) == ["a", "b"]


def test_invalid_text_names_file_and_offset(tmp_path: Path) -> None:
    path = write(tmp_path, b"good\nb\xffd\nmore\n")
    for strategy in (
        lambda s: s.read(s.get_range_tracker(None, None)),
        lambda s: s.read_batches(s.get_range_tracker(None, None), 10),
    ):
        with pytest.raises(
            DataError, match=re.escape(str(path)) + r": not valid utf-8 at byte 6: found b'\\xffd"
        ):
            list(strategy(make(path)))


def test_a_failing_coder_says_where(tmp_path: Path) -> None:
    path = write(tmp_path, b"\x01\n\x80\x80\n")
    with pytest.raises(Exception) as caught:
        list(make(path, coder=VarIntCoder()).read_batches(make(path).get_range_tracker(None, None), 10))
    assert f"record at byte 2 of {path}" in "".join(caught.value.__notes__)


def test_no_match_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No files found based on the file pattern .*none\*"):
        make(tmp_path / "none*")
    source = make(tmp_path / "none*", validate=False)
    assert read(source) == []
    assert source.estimate_size() == 0
    assert list(source.split(100)) == []


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(IsADirectoryError, match="dir"):
        read(make(tmp_path / "dir"))


def test_the_file_goes_missing(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n")
    source = make(path)
    bundles = list(source.split(100))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"file\.txt"):
        read(bundles[0].source)  # type: ignore[arg-type]


def test_a_device_that_fails_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    source = make(write(tmp_path, b"a\n"))
    monkeypatch.setattr(TextSource, "open_file", lambda self, path: Failing())
    with pytest.raises(DataError, match=r"Cannot read .*file\.txt.*Input/output error"):
        source_test_utils.read_from_source(source)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"a\nb\n" * 1000,))
    writer.start()
    [bundle] = make(path).split(100)
    assert source_test_utils.read_from_source(bundle.source) == ["a", "b"] * 1000  # type: ignore[arg-type]
    writer.join()


def test_names_come_with_the_lines(tmp_path: Path) -> None:
    write(tmp_path, b"a\nb", "1.txt")
    write(tmp_path, b"c", "2.txt")
    one, two = str(tmp_path / "1.txt"), str(tmp_path / "2.txt")
    source = make(tmp_path / "*.txt", TextSourceWithFilename)
    assert read(source) == [(one, "a"), (one, "b"), (two, "c")]
    assert source.default_output_coder().is_kv_coder()


@pytest.mark.parametrize("name, compress", [("a.gz", gzip.compress), ("a.bz2", bz2.compress)])
def test_compressed_files_are_one_part(tmp_path: Path, name: str, compress: Any) -> None:
    lines = [f"line {number}" for number in range(5000)]
    write(
        tmp_path,
        compress("\n".join(lines[:3000]).encode() + b"\n") + compress("\n".join(lines[3000:]).encode()),
        name,
    )
    source = make(tmp_path / name)
    assert read(source) == lines
    assert len(list(source.split(10))) == 1
    assert read_split(source, 10) == lines


def test_a_truncated_gzip_is_no_complete_file(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(b"line %d\n" % number for number in range(5000)))
    path = write(tmp_path, data[:-9], "a.gz")
    with pytest.raises(DataError, match=r"a\.gz.*truncated"):
        list(make(path).read_batches(make(path).get_range_tracker(None, None), 1000))


def test_splits(tmp_path: Path) -> None:
    write(tmp_path, b"".join(b"line %d\n" % number for number in range(100)), "1.txt")
    write(tmp_path, b"x\n", "2.txt")
    write(tmp_path, b"", "3.txt")
    source = make(tmp_path / "*.txt")
    assert source.estimate_size() == 792
    whole = read(source)
    assert len(whole) == 101
    for size in (1, 7, 50, 10_000):
        assert read_split(source, size) == whole
    assert [bundle.stop_position for bundle in source.split(400)] == [400, 790, 2, float("inf")]
    assert len(list(make(tmp_path / "1.txt", min_bundle_size=300).split(10))) == 2


def test_a_source_travels_without_its_list_of_files(tmp_path: Path) -> None:
    write(tmp_path, b"a\nb\n")
    source = make(tmp_path / "*.txt")
    source.estimate_size()
    copy = pickle.loads(pickle.dumps(source))
    assert copy._concat_source is None
    assert read(copy) == ["a", "b"]
    bundle = pickle.loads(pickle.dumps(next(iter(source.split(2)))))
    assert read(bundle.source, bundle.start_position, bundle.stop_position) == ["a"]


@pytest.mark.parametrize(
    "parameters", [{}, {"delimiter": b"ab"}, {"escapechar": b"\\"}, {"skip_header_lines": 1}]
)
def test_dynamic_splits(tmp_path: Path, parameters: dict[str, Any]) -> None:
    source = make(write(tmp_path, b"h\na\r\nabab\\\nx\n\nend" * 2), **parameters)
    [bundle] = source.split(1000)
    source_test_utils.assert_split_at_fraction_exhaustive(bundle.source, perform_multi_threaded_test=False)  # type: ignore[arg-type]
    source_test_utils.assert_reentrant_reads_succeed((bundle.source, None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_a_split_between_batches_moves_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(record_scanner, "BLOCK_BYTES", block)
    monkeypatch.setattr(record_scanner, "OVERRUN_BYTES", block)
    content = b"".join(b"%d\n" % number for number in range(40))
    [bundle] = make(write(tmp_path, content)).split(1000)
    whole = read(bundle.source)  # type: ignore[arg-type]
    for position in range(1, len(content)):
        tracker = bundle.source.get_range_tracker(None, None)  # type: ignore[attr-defined]
        batches = bundle.source.read_batches(tracker, 5)  # type: ignore[attr-defined]
        first = next(batches)
        split = tracker.try_split(position)
        rest = [record for batch in batches for record in batch]
        residual = read(bundle.source, position, len(content)) if split else []  # type: ignore[arg-type]
        assert first + rest + residual == whole


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_splits_that_race_with_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_scanner, "BLOCK_BYTES", 50)
    monkeypatch.setattr(record_scanner, "OVERRUN_BYTES", 50)
    content = b"".join(b"%d\n" % number for number in range(2000))
    [bundle] = make(write(tmp_path, content)).split(100_000)
    whole = read(bundle.source)  # type: ignore[arg-type]
    for _ in range(40):
        tracker = bundle.source.get_range_tracker(None, None)  # type: ignore[attr-defined]
        together = threading.Barrier(2)

        def split(tracker: Any = tracker, together: threading.Barrier = together) -> list[Any]:
            together.wait()
            made = [tracker.try_split(position) for position in range(len(content) - 7, 0, -97)]
            return [split for split in made if split]

        with ThreadPoolExecutor(1) as pool:
            splitting = pool.submit(split)
            batches = bundle.source.read_batches(tracker, 7)  # type: ignore[attr-defined]
            found = next(batches)
            together.wait()
            for batch in batches:
                found.extend(batch)
            cuts = [position for position, _ in splitting.result()]
        for start, stop in pairwise([*sorted(cuts), len(content)]):
            found.extend(read(bundle.source, start, stop))  # type: ignore[arg-type]
        assert found == whole


PIECES = [b"a", b"b", b"xyz", b"\n", b"\r\n", b"\r", b"\\", b"ab", b",", "é".encode(), b""]


@settings(max_examples=200, suppress_health_check=ANY_FIXTURE, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join),
    st.sampled_from([None, b"\n", b"ab", b"\r\n", b",", "é".encode(), b"xyz"]),
    st.sampled_from([None, b"\\"]),
    st.booleans(),
    st.integers(0, 3),
    st.lists(st.integers(0, 120), max_size=4),
    st.sampled_from([1, 2, 5, 16, 1 << 20]),
)
def test_parts_at_any_offset_give_every_record_once(
    tmp_path: Path,
    content: bytes,
    delimiter: bytes | None,
    escape: bytes | None,
    strip: bool,
    header: int,
    cuts: list[int],
    block: int,
) -> None:
    source = make(
        write(tmp_path, content),
        delimiter=delimiter,
        escapechar=escape,
        strip_trailing_newlines=strip,
        skip_header_lines=header,
    )
    expected = [record.decode() for record in expected_records(content, delimiter, escape, strip)][header:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_scanner, "BLOCK_BYTES", block)
        patch.setattr(record_scanner, "OVERRUN_BYTES", block)
        assert read(source) == expected
        if content:
            [bundle] = source.split(10_000)
            edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
            parts = [read(bundle.source, start, stop) for start, stop in pairwise(edges)]  # type: ignore[arg-type]
            assert [record for part in parts for record in part] == expected


def test_a_record_longer_than_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_scanner, "BLOCK_BYTES", 1000)
    long = "x" * 300_000
    source = make(write(tmp_path, f"a\n{long}\nb\n".encode()))
    assert read(source) == ["a", long, "b"]
    assert read_split(source, 5000) == ["a", long, "b"]
