"""What a file system is to hornbeam, and how a new one is added: define a subclass of `FileSystem`.

A subclass whose module has been imported is found by `FileSystems` through its `scheme()`. It defines the operations
on single paths and `_list`; globbing is done here.
"""

from __future__ import annotations

import abc
import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import attrs

from hornbeam.error import DataError
from hornbeam.io.compression import CompressedFile, CompressionTypes, resolve_compression

__all__ = [
    "BeamIOError",
    "CompressedFile",
    "CompressionTypes",
    "FileMetadata",
    "FileSystem",
    "MatchResult",
]


class BeamIOError(DataError, OSError):
    """An operation on files failed. `exception_details` says which of several paths failed with what."""

    def __init__(self, msg: str, exception_details: Any = None) -> None:
        super().__init__(f"{msg} with exceptions {exception_details}" if exception_details else msg)
        self.exception_details = exception_details


class _FileNotFound(BeamIOError, FileNotFoundError):
    """A path that does not exist."""


class _PermissionDenied(BeamIOError, PermissionError):
    """A path that may not be used so."""


class _IsADirectory(BeamIOError, IsADirectoryError):
    """A directory where a file is needed."""


class _NotADirectory(BeamIOError, NotADirectoryError):
    """A file where a directory is needed."""


class _FileExists(BeamIOError, FileExistsError):
    """A path that exists already."""


def file_error(verb: str, path: str, error: OSError, purpose: str = "") -> BeamIOError:
    """The system's error as a BeamIOError that also is of the system's own type; it names the path and a remedy.

    `purpose` says what the path is for.
    """
    kinds: list[tuple[type[OSError], type[BeamIOError], str]] = [
        (FileNotFoundError, _FileNotFound, "Check the path."),
        (PermissionError, _PermissionDenied, "Check the rights of the file and of the directories above it."),
        (IsADirectoryError, _IsADirectory, f"For the files in it write {path.rstrip('/')}/*"),
        (NotADirectoryError, _NotADirectory, "A part of the path is a file."),
        (FileExistsError, _FileExists, "Remove it, or choose another path."),
    ]
    made, advice = BeamIOError, ""
    for kind, ours, remedy in kinds:
        if isinstance(error, kind):
            made, advice = ours, " " + remedy
    if error.errno == errno.ENOSPC:
        advice = " Make room on the device, or write elsewhere."
    subject = f"{path!r} ({purpose})" if purpose else repr(path)
    failure = made(f"Cannot {verb} {subject}: {error.strerror or error}.{advice}")
    failure.errno = error.errno
    return failure


@attrs.frozen
class FileMetadata:
    """A file's path, its size, and when it changed (seconds since 1970; 0 where that is not known)."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))
    size_in_bytes: int = attrs.field(validator=attrs.validators.instance_of(int))
    last_updated_in_seconds: float = 0.0

    @path.validator
    def _not_empty(self, attribute: Any, value: str) -> None:
        if not value:
            raise ValueError("A file's path must not be empty.")


@attrs.frozen
class MatchResult:
    """A pattern and the files that match it."""

    pattern: str
    metadata_list: list[FileMetadata]


class FileSystem(abc.ABC):
    """Operations on the files of one scheme, such as `s3://`. Paths keep their scheme everywhere."""

    #: How many paths one call of copy, rename, delete or match should be given at most.
    CHUNK_SIZE = 1

    def __init__(self, pipeline_options: Any = None) -> None:
        self._options = pipeline_options

    @classmethod
    def get_all_subclasses(cls) -> list[type[FileSystem]]:
        """Every subclass that has been defined, in order."""
        found: list[type[FileSystem]] = []
        for subclass in cls.__subclasses__():
            found.append(subclass)
            found.extend(subclass.get_all_subclasses())
        return found

    @classmethod
    @abc.abstractmethod
    def scheme(cls) -> str | None:
        """The scheme of the paths, without `://`; None for paths without one."""

    @abc.abstractmethod
    def join(self, basepath: str, *paths: str) -> str:
        """The paths joined with the separator."""

    @abc.abstractmethod
    def split(self, path: str) -> tuple[str, str]:
        """The path's head and its last component; the last is empty when the path ends in a separator."""

    @abc.abstractmethod
    def mkdirs(self, path: str) -> None:
        """Make a directory and its parents; OSError when it exists."""

    @abc.abstractmethod
    def has_dirs(self) -> bool:
        """Whether directories are real here, and not only parts of names."""

    @abc.abstractmethod
    def _list(self, dir_or_prefix: str) -> Iterable[FileMetadata]:
        """All files below a directory, however deep, or, where there are none, whose names start so."""

    @abc.abstractmethod
    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for writing, compressed as asked; what it held before is gone."""

    @abc.abstractmethod
    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for reading, decompressed as asked."""

    @abc.abstractmethod
    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Copy each source, a file or a directory, to its destination; BeamIOError names those that failed."""

    @abc.abstractmethod
    def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Rename each source to its destination, which it replaces; BeamIOError names those that failed."""

    @abc.abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or a directory."""

    @abc.abstractmethod
    def size(self, path: str) -> int:
        """The file's size in bytes; BeamIOError when there is none."""

    @abc.abstractmethod
    def last_updated(self, path: str) -> float:
        """When the file changed, in seconds since 1970; BeamIOError when there is none."""

    @abc.abstractmethod
    def checksum(self, path: str) -> str:
        """What differs when the content does; which function it is differs between file systems."""

    @abc.abstractmethod
    def metadata(self, path: str) -> FileMetadata:
        """The file's metadata; BeamIOError when there is none."""

    @abc.abstractmethod
    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, and directories with all they hold; BeamIOError names those that failed."""

    def report_lineage(self, path: str, unused_lineage: Any) -> None:  # noqa: B027
        """Nothing: a file system that takes part in lineage overrides it."""

    def match(self, patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[MatchResult]:
        """The files that match each pattern, at most as many as its limit (None for all).

        `*` is any run of characters but separators, `**` any run, `?` one character, `[a-c]` one of a set (`[!a-c]`
        one outside it). A pattern without any of these is one path, which may be a directory.
        """
        if limits is None:
            limits = [None] * len(patterns)
        elif len(limits) != len(patterns):
            raise BeamIOError(
                f"Every pattern needs a limit: there are {len(patterns)} and {len(limits)} of them."
            )
        results, failures = [], {}
        for pattern, limit in zip(patterns, limits):
            try:
                results.append(MatchResult(pattern, self._match_one(pattern, limit)))
            except Exception as error:
                failures[pattern] = error
        if failures:
            raise BeamIOError("Match operation failed", failures)
        return results

    def _match_one(self, pattern: str, limit: int | None) -> list[FileMetadata]:
        prefix = literal_prefix(pattern)
        if prefix == pattern:
            return [self.metadata(pattern)] if limit != 0 and self.exists(pattern) else []
        files = self.match_files(self._candidates(prefix, pattern), pattern)
        found: list[FileMetadata] = []
        while limit is None or len(found) < limit:
            file = next(files, None)
            if file is None:
                break
            found.append(file)
        return found

    def _candidates(self, prefix: str, pattern: str) -> Iterable[FileMetadata]:
        """Files among which all that match are; the prefix is the pattern up to its first wildcard."""
        return self._list(self._parent(prefix) if self.has_dirs() else prefix)

    def _parent(self, path: str) -> str:
        """The path up to its last separator, with it."""
        return re.match(r"(.*[/\\])?", path, re.DOTALL).group(0)  # type: ignore[union-attr]

    def match_files(self, file_metas: Iterable[FileMetadata], pattern: str) -> Iterator[FileMetadata]:
        """Those of the files whose whole path matches the pattern."""
        matches = re.compile(self.translate_pattern(pattern)).match
        return (file for file in file_metas if matches(file.path))

    @staticmethod
    def translate_pattern(pattern: str) -> str:
        """The pattern as a regular expression for a whole path."""
        return translate_glob(pattern)


def literal_prefix(pattern: str) -> str:
    """The pattern up to its first wildcard."""
    return re.match(r"[^\[*?]*", pattern).group(0)  # type: ignore[union-attr]


def translate_glob(pattern: str) -> str:
    """A glob pattern as a regular expression that matches whole paths."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            stars = len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            out.append(r"[^/\\]*" if stars == 1 else ".*")
            at += stars
            continue
        if char == "?":
            out.append(r"[^/\\]")
        elif char == "[":
            # A ']' right after '[' or '[!' is a member of the set.
            first = at + 2 if pattern[at + 1 : at + 2] in ("!", "^") else at + 1
            end = pattern.find("]", first + 1)
            if end < 0:
                out.append(r"\[")
            else:
                members = pattern[first:end].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
                members = members.replace("&&", "&\\&").replace("~~", "~\\~").replace("||", "|\\|")
                if members.startswith("^"):
                    members = "\\" + members
                out.append(f"[{'^' if first == at + 2 else ''}{members}]")
                at = end
        else:
            out.append(re.escape(char))
        at += 1
    return "(?s:" + "".join(out) + r")\Z"


def open_compressed(raw: BinaryIO, path: str, compression_type: str) -> BinaryIO:
    """The raw file, wrapped where the compression asks for it. The raw file is closed when that fails."""
    try:
        kind = resolve_compression(path, compression_type)
        if kind == CompressionTypes.UNCOMPRESSED:
            return raw
        return CompressedFile(raw, kind)  # type: ignore[return-value]
    except BaseException:
        raw.close()
        raise
