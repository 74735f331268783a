"""Paths, globs and operations on files; file systems of one's own; errors that name the path."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from hornbeam.error import DataError, PipelineError
from hornbeam.io.filesystem import BeamIOError, FileMetadata, FileSystem, MatchResult, translate_glob
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.localfilesystem import LocalFileSystem

TREE = [
    "a.txt",
    "b.txt",
    "c.csv",
    "d1.txt",
    "sub/a.txt",
    "sub/e.txt",
    "sub/deep/a.txt",
    "other/x[1].txt",
    ".dot.txt",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def matched(pattern: str, limit: int | None = None) -> list[str]:
    return [file.path for file in FileSystems.match([pattern], [limit])[0].metadata_list]


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("a.txt", ["a.txt"]),
        ("*.txt", [".dot.txt", "a.txt", "b.txt", "d1.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[ab].txt", ["a.txt", "b.txt"]),
        ("[a-c].*", ["a.txt", "b.txt", "c.csv"]),
        ("[!a].txt", ["b.txt"]),
        ("d[0-9].txt", ["d1.txt"]),
        ("*/a.txt", ["sub/a.txt"]),
        ("s*/*/a.txt", ["sub/deep/a.txt"]),
        ("*/deep/*", ["sub/deep/a.txt"]),
        ("sub/*", ["sub/a.txt", "sub/e.txt"]),
        ("**", sorted(TREE)),
        ("**/a.txt", ["sub/a.txt", "sub/deep/a.txt"]),
        ("sub/**", ["sub/a.txt", "sub/deep/a.txt", "sub/e.txt"]),
        ("s**.txt", ["sub/a.txt", "sub/deep/a.txt", "sub/e.txt"]),
        ("other/x[[]1].txt", ["other/x[1].txt"]),
        ("none*", []),
        ("none.txt", []),
        ("none/*.txt", []),
        ("a.txt/*", []),
    ],
)
def test_globs(tree: Path, pattern: str, names: list[str]) -> None:
    assert sorted(matched(f"{tree}/{pattern}")) == sorted(f"{tree}/{name}" for name in names)


@pytest.mark.parametrize(
    "pattern, path, matches",
    [
        ("a*c", "abc", True),
        ("a*c", "a/c", False),
        ("a**c", "a/b/c", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[^a]", "b", True),
        ("[a", "[a", True),
        ("a+(b)", "a+(b)", True),
        ("a\n*", "a\nb", True),
        ("[&&]", "&", True),
        ("[\\]", "\\", True),
    ],
)
def test_translated_patterns(pattern: str, path: str, matches: bool) -> None:
    assert bool(re.match(translate_glob(pattern), path)) is matches
    assert FileSystem.translate_pattern(pattern) == translate_glob(pattern)


def test_relative_patterns(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert matched("a.*") == ["a.txt"]
    assert matched("./sub/*") == ["./sub/a.txt", "./sub/e.txt"]
    assert "sub/deep/a.txt" in matched("**")


def test_limits_and_several_patterns(tree: Path) -> None:
    assert matched(f"{tree}/**", 3) == matched(f"{tree}/**")[:3]
    assert matched(f"{tree}/a.txt", 0) == []
    results = FileSystems.match([f"{tree}/a.*", f"{tree}/*.csv"])
    assert [len(result.metadata_list) for result in results] == [1, 1]
    assert results[0].pattern == f"{tree}/a.*"
    assert FileSystems.match([]) == []
    with pytest.raises(BeamIOError, match="needs a limit"):
        FileSystems.match(["a", "b"], [1])


def test_links_to_directories_are_followed_by_name_only(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "sub")
    (tree / "sub" / "loop").symlink_to(tree)
    assert f"{tree}/link/e.txt" in matched(f"{tree}/l*/e.txt")
    assert len(matched(f"{tree}/**")) == len(TREE)


def test_metadata(tree: Path) -> None:
    path = str(tree / "a.txt")
    os.utime(path, (0, 1234.5))
    [file] = FileSystems.match([path])[0].metadata_list
    assert file == FileMetadata(path, 5, 1234.5)
    assert FileSystems.last_updated(path) == 1234.5
    assert FileSystems.checksum(path) == "5"
    assert MatchResult("p", [file]) == MatchResult("p", [file])
    with pytest.raises(ValueError):
        FileMetadata("", 1)
    with pytest.raises(TypeError):
        FileMetadata("a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", [FileSystems.last_updated, FileSystems.checksum, FileSystems.open])
def test_a_missing_file_is_named(tree: Path, operation: Any) -> None:
    path = str(tree / "none.txt")
    with pytest.raises(BeamIOError, match=r"none\.txt") as caught:
        operation(path)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, DataError)


def test_a_directory_is_no_file(tree: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"sub.*Is a directory.*sub/\*"):
        FileSystems.open(str(tree / "sub"))


def test_create_makes_directories_and_replaces(tmp_path: Path) -> None:
    path = str(tmp_path / "x" / "y" / "file")
    for content in (b"long content", b"short"):
        with FileSystems.create(path) as file:
            file.write(content)
    assert Path(path).read_bytes() == b"short"


def test_a_file_above_the_path_is_an_error(tree: Path) -> None:
    with pytest.raises(BeamIOError, match="Cannot write"):
        FileSystems.create(str(tree / "a.txt" / "file"))
    with pytest.raises(BeamIOError, match="Cannot make the directory"):
        FileSystems.mkdirs(str(tree / "a.txt" / "dir"))


def test_mkdirs_and_exists(tmp_path: Path) -> None:
    path = str(tmp_path / "x" / "y")
    assert not FileSystems.exists(path)
    FileSystems.mkdirs(path)
    assert FileSystems.exists(path)
    with pytest.raises(FileExistsError):
        FileSystems.mkdirs(path)


def test_join_and_split(tmp_path: Path) -> None:
    assert FileSystems.join("a", "b", "c") == os.path.join("a", "b", "c")
    assert FileSystems.split("/a/b/c") == ("/a/b", "c")
    assert FileSystems.split("/a/b/") == ("/a/b", "")
    assert FileSystems.split("c") == (os.getcwd(), "c")


def test_rename_replaces_files_and_moves_directories(tree: Path) -> None:
    FileSystems.rename(
        [str(tree / "a.txt"), str(tree / "sub")], [str(tree / "b.txt"), str(tree / "new" / "sub")]
    )
    assert (tree / "b.txt").read_text() == "a.txt"
    assert not (tree / "a.txt").exists()
    assert (tree / "new" / "sub" / "deep" / "a.txt").exists()


def test_copy_files_and_directories(tree: Path) -> None:
    FileSystems.copy([str(tree / "a.txt"), str(tree / "sub")], [str(tree / "copy.txt"), str(tree / "other")])
    assert (tree / "copy.txt").read_text() == "a.txt"
    assert (tree / "other" / "deep" / "a.txt").exists()
    assert not (tree / "other" / "x[1].txt").exists()
    assert (tree / "a.txt").exists()


@pytest.mark.parametrize("operation", [FileSystems.copy, FileSystems.rename])
def test_failures_name_the_pairs_and_the_rest_goes_on(tree: Path, operation: Any) -> None:
    sources = [str(tree / name) for name in ("none", "b.txt")]
    targets = [str(tree / name) for name in ("x", "y")]
    with pytest.raises(BeamIOError, match="operation failed") as caught:
        operation(sources, targets)
    assert list(caught.value.exception_details) == [(sources[0], targets[0])]
    assert (tree / "y").exists()
    with pytest.raises(BeamIOError, match="destination for every source"):
        operation(sources, targets[:1])


def test_delete(tree: Path) -> None:
    FileSystems.delete([str(tree / "a.txt"), str(tree / "sub"), str(tree / "*.csv")])
    assert sorted(matched(f"{tree}/**")) == sorted(
        f"{tree}/{name}" for name in TREE if name not in ("a.txt", "c.csv") and not name.startswith("sub")
    )
    with pytest.raises(BeamIOError) as caught:
        FileSystems.delete([str(tree / "none"), str(tree / "b.txt")])
    assert list(caught.value.exception_details) == [str(tree / "none")]
    assert not (tree / "b.txt").exists()


def test_errors_survive_pickling() -> None:
    error = BeamIOError("Delete operation failed", {"a": OSError("x")})
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    "path, scheme, words",
    [
        ("s3://bucket/key", "s3", r"hornbeam\[aws\]"),
        ("gs://bucket/key", "gs", r"hornbeam\[gcp\]"),
        ("nothing://x", "nothing", "Import the module"),
        ("file:///tmp/x", "file", "without a scheme"),
    ],
)
def test_an_unknown_scheme_is_named(path: str, scheme: str, words: str) -> None:
    with pytest.raises(PipelineError, match=f"scheme '{scheme}'.*{words}") as caught:
        FileSystems.open(path)
    assert isinstance(caught.value, ValueError)


def test_schemes() -> None:
    assert FileSystems.get_scheme("s3://a/b") == "s3"
    assert FileSystems.get_scheme("/a/b") is None
    assert FileSystems.get_scheme("c:\\a") is None
    assert isinstance(FileSystems.get_filesystem("/a/b"), LocalFileSystem)
    assert FileSystems.get_chunk_size("/a/b") > 1


class MemoryFileSystem(FileSystem):
    """A file system without directories, in a dict."""

    files: dict[str, bytes] = {}

    @classmethod
    def scheme(cls) -> str:
        return "memtest"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        pass

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterable[FileMetadata]:
        return [self.metadata(path) for path in sorted(self.files) if path.startswith(dir_or_prefix)]

    def create(self, path: str, mime_type: str = "", compression_type: str = "auto") -> BinaryIO:
        raise NotImplementedError

    def open(self, path: str, mime_type: str = "", compression_type: str = "auto") -> BinaryIO:
        return io.BytesIO(self.files[path])

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names):
            self.files[target] = self.files[source]

    def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names):
            self.files[target] = self.files.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.files

    def size(self, path: str) -> int:
        return len(self.files[path])

    def last_updated(self, path: str) -> float:
        return 0.0

    def checksum(self, path: str) -> str:
        return str(hash(self.files[path]))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            del self.files[path]


def test_a_subclass_is_found_by_its_scheme() -> None:
    MemoryFileSystem.files = {
        "memtest://a/x1": b"one",
        "memtest://a/x2": b"two",
        "memtest://a/d/x3": b"three",
    }
    assert matched("memtest://a/x*") == ["memtest://a/x1", "memtest://a/x2"]
    assert len(matched("memtest://a/**")) == 3
    assert matched("memtest://a/x1") == ["memtest://a/x1"]
    with FileSystems.open("memtest://a/x1") as file:
        assert file.read() == b"one"
    FileSystems.rename(["memtest://a/x1"], ["memtest://a/y1"])
    assert FileSystems.exists("memtest://a/y1")
    with pytest.raises(BeamIOError, match="different file systems"):
        FileSystems.copy(["memtest://a/y1"], ["/tmp/y1"])


def test_two_file_systems_of_one_scheme_are_refused() -> None:
    class Twin(MemoryFileSystem):
        @classmethod
        def scheme(cls) -> str:
            return "twintest"

    class OtherTwin(Twin):
        pass

    with pytest.raises(ValueError, match=r"Several file systems claim the scheme 'twintest'.*OtherTwin"):
        FileSystems.open("twintest://x")
