"""Compressed files: both ways, in pieces, over several members, and never half of one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from unittest import mock

import pytest
import zstandard

from hornbeam.error import DataError
from hornbeam.io.filesystem import CompressedFile, CompressionTypes
from hornbeam.io.filesystems import FileSystems

COMPRESS = {
    CompressionTypes.GZIP: gzip.compress,
    CompressionTypes.BZIP2: bz2.compress,
    CompressionTypes.DEFLATE: zlib.compress,
    CompressionTypes.LZMA: lzma.compress,
    CompressionTypes.ZSTD: zstandard.ZstdCompressor().compress,
}
KINDS = sorted(COMPRESS)
CONTENT = b"".join(b"line %d of the text\n" % number for number in range(20_000))


def reader(data: bytes, kind: str, read_size: int = 4096) -> CompressedFile:
    return CompressedFile(io.BytesIO(data), kind, read_size)


@pytest.mark.parametrize(
    "path, kind",
    [
        ("a.gz", "gzip"),
        ("a.txt.GZ", "gzip"),
        ("a.bz2", "bzip2"),
        ("a.deflate", "deflate"),
        ("a.xz", "lzma"),
        ("a.lzma", "lzma"),
        ("a.zst", "zstd"),
        ("a.zstd", "zstd"),
        ("a.txt", "uncompressed"),
        ("gz", "uncompressed"),
        ("dir.gz/a", "uncompressed"),
    ],
)
def test_the_ending_tells_the_compression(path: str, kind: str) -> None:
    assert CompressionTypes.detect_compression_type(path) == kind


def test_names_and_mime_types() -> None:
    assert CompressionTypes.is_valid_compression_type("auto")
    assert not CompressionTypes.is_valid_compression_type("rar")
    assert CompressionTypes.mime_type(CompressionTypes.GZIP) == "application/x-gzip"
    assert CompressionTypes.mime_type("uncompressed", "text/plain") == "text/plain"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "file")
    with FileSystems.create(path, compression_type=kind) as file:
        file.write(CONTENT[:1000])
        file.flush()
        file.write(CONTENT[1000:])
        assert file.tell() == len(CONTENT)
    assert Path(path).read_bytes() != CONTENT
    with FileSystems.open(path, compression_type=kind) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("ending, module", [("gz", gzip), ("bz2", bz2), ("xz", lzma), ("lzma", lzma)])
def test_other_tools_read_what_is_written(tmp_path: Path, ending: str, module: object) -> None:
    path = str(tmp_path / f"file.{ending}")
    with FileSystems.create(path) as file:
        file.write(CONTENT)
    with module.open(path) as file:  # type: ignore[attr-defined]
        assert file.read() == CONTENT


def test_old_lzma_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.lzma"
    path.write_bytes(lzma.compress(CONTENT, lzma.FORMAT_ALONE))
    with FileSystems.open(str(path)) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1000, 65_536, 10**9])
def test_reading_in_pieces(kind: str, size: int) -> None:
    file = reader(COMPRESS[kind](CONTENT), kind)
    pieces = []
    while piece := file.read(size):
        assert len(piece) <= size
        pieces.append(piece)
        assert file.tell() == sum(map(len, pieces))
    assert b"".join(pieces) == CONTENT


@pytest.mark.parametrize("kind", KINDS)
def test_concatenated_members_are_one_file(kind: str) -> None:
    compress = COMPRESS[kind]
    data = compress(b"one\n") + compress(b"") + compress(CONTENT) + compress(b"last")
    assert reader(data, kind, 7).read() == b"one\n" + CONTENT + b"last"


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_an_error_wherever_it_ends(kind: str) -> None:
    data = COMPRESS[kind](b"some text, not long\n" * 20)
    for length in range(1, len(data)):
        with pytest.raises(DataError, match=f"cannot be decompressed as {kind}"):
            reader(data[:length], kind).read()


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_second_member_is_an_error(kind: str) -> None:
    data = COMPRESS[kind](CONTENT)
    with pytest.raises(DataError, match="truncated"):
        reader(data + data[: len(data) // 2], kind).read()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_compressed_data_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"this is plain text, and long enough to be nothing else")
    with (
        FileSystems.open(str(path), compression_type=kind) as file,
        pytest.raises(DataError, match=str(path)),
    ):
        file.read()


def test_garbage_after_a_member_is_an_error() -> None:
    with pytest.raises(DataError, match="near its byte"):
        reader(gzip.compress(b"text") + b"garbage", "gzip").read()


def test_zeros_after_a_member_are_padding() -> None:
    data = gzip.compress(b"text") + bytes(5000) + gzip.compress(b"more") + bytes(3)
    assert reader(data, "gzip", 100).read() == b"textmore"


def test_a_corrupt_gzip_names_file_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "corrupt.gz"
    data = bytearray(gzip.compress(CONTENT))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with (
        FileSystems.open(str(path)) as file,
        pytest.raises(DataError, match=r"corrupt\.gz.*near its byte \d+"),
    ):
        file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_file_is_empty(kind: str) -> None:
    assert reader(b"", kind).read() == b""


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_bounded_over_a_huge_ratio(kind: str) -> None:
    data = COMPRESS[kind](bytes(50_000_000))
    file = reader(data, kind, 65_536)
    total = 0
    while piece := file.read1():
        assert len(piece) < 40_000_000 if kind == "zstd" else len(piece) <= 262_144
        total += len(piece)
    assert total == 50_000_000


def test_lines_and_wrapped_text() -> None:
    file = reader(gzip.compress(b"one\ntwo\nthree"), "gzip", 5)
    assert file.readline() == b"one\n"
    assert file.readline(2) == b"tw"
    assert list(file) == [b"o\n", b"three"]
    text = io.TextIOWrapper(reader(gzip.compress("käse\nbrot\n".encode()), "gzip"), encoding="utf-8")
    assert text.read() == "käse\nbrot\n"


def test_seeking_counts_content() -> None:
    file = reader(gzip.compress(CONTENT), "gzip")
    assert file.seekable()
    assert file.seek(100) == 100
    assert file.read(10) == CONTENT[100:110]
    assert file.seek(5) == 5
    assert file.read(5) == CONTENT[5:10]
    assert file.seek(-20, io.SEEK_END) == len(CONTENT) - 20
    assert file.read() == CONTENT[-20:]
    assert file.seek(10**9) == len(CONTENT)
    with pytest.raises(ValueError):
        file.seek(-1)


def test_a_file_is_read_or_written_not_both(tmp_path: Path) -> None:
    with CompressedFile(open(tmp_path / "a", "wb"), "gzip") as file:
        assert file.writable() and not file.readable() and not file.seekable()
        with pytest.raises(io.UnsupportedOperation):
            file.read()
    with CompressedFile(open(tmp_path / "a", "rb"), "gzip") as file:
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        assert file.read() == b""
    with pytest.raises(ValueError, match="closed"):
        file.read()
    with pytest.raises(TypeError):
        CompressedFile(io.BytesIO(), "uncompressed")


def test_zstd_without_its_package_names_the_extra(tmp_path: Path) -> None:
    with (
        mock.patch.dict("sys.modules", {"zstandard": None}),
        pytest.raises(ImportError, match=r"hornbeam\[zstd\]"),
    ):
        FileSystems.create(str(tmp_path / "a.zst"))
    assert not (tmp_path / "a.zst").exists()
