"""The file system of the machine: paths without a scheme."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from hornbeam.io.compression import CompressionTypes, require_codec, resolve_compression
from hornbeam.io.filesystem import (
    BeamIOError,
    FileMetadata,
    FileSystem,
    file_error,
    literal_prefix,
    open_compressed,
    translate_glob,
)
from hornbeam.storage.files import OS_FILES

__all__ = ["LocalFileSystem"]


class LocalFileSystem(FileSystem):
    """Files of this machine. Files that a glob matches come sorted by path within their directory."""

    CHUNK_SIZE = 100

    @classmethod
    def scheme(cls) -> None:
        """None: a local path has no scheme."""
        return None

    def join(self, basepath: str, *paths: str) -> str:
        """The paths joined as `os.path.join` does."""
        return os.path.join(basepath, *paths)

    def split(self, path: str) -> tuple[str, str]:
        """The absolute path's directory and last component."""
        return os.path.split(os.path.abspath(path) + (os.sep if path.endswith(os.sep) else ""))

    def has_dirs(self) -> bool:
        """True."""
        return True

    def mkdirs(self, path: str) -> None:
        """Make a directory and its parents; FileExistsError when it exists."""
        try:
            os.makedirs(path)
        except OSError as error:
            raise file_error("make the directory", path, error) from error

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        """All files below a directory; links to directories are not followed."""
        for entry in _scan(dir_or_prefix or os.curdir):
            path = os.path.join(dir_or_prefix, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from self._list(path)
            elif not entry.is_dir():
                yield self.metadata(path)

    def _candidates(self, prefix: str, pattern: str) -> Iterable[FileMetadata]:
        """The files that may match; only directories that the pattern can reach are read."""
        directory = self._parent(prefix)
        parts = re.split(r"/+" if os.sep == "/" else r"[/\\]+", pattern[len(directory) :])
        return self._walk(directory, parts)

    def _walk(self, directory: str, parts: list[str]) -> Iterator[FileMetadata]:
        if "**" in parts[0]:
            yield from self._list(directory)
            return
        if len(parts) > 1 and literal_prefix(parts[0]) == parts[0]:
            yield from self._walk(os.path.join(directory, parts[0], ""), parts[1:])
            return
        matches = re.compile(translate_glob(parts[0])).match
        for entry in _scan(directory or os.curdir):
            if matches(entry.name):
                path = os.path.join(directory, entry.name)
                if len(parts) > 1:
                    if entry.is_dir():
                        yield from self._walk(os.path.join(path, ""), parts[1:])
                elif not entry.is_dir():
                    yield self.metadata(path)

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for writing; missing directories above it are made."""
        require_codec(resolve_compression(path, compression_type))
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            raw = open(path, "wb")
        except OSError as error:
            raise file_error("write", path, error) from error
        return open_compressed(raw, path, compression_type)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for reading."""
        require_codec(resolve_compression(path, compression_type))
        try:
            raw = open(path, "rb")
        except OSError as error:
            raise file_error("read", path, error) from error
        return open_compressed(raw, path, compression_type)

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Copy files or whole directories; an existing destination directory is replaced."""

        def copy_one(source: str, destination: str) -> None:
            if os.path.isdir(source):
                if os.path.isdir(destination):
                    shutil.rmtree(destination)
                shutil.copytree(source, destination)
            else:
                _make_parent(destination)
                shutil.copy2(source, destination)

        _each_pair("Copy", source_file_names, destination_file_names, copy_one)

    def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Rename files or directories; a file's destination is replaced in one step."""

        def rename_one(source: str, destination: str) -> None:
            _make_parent(destination)
            _refuse_special(destination)
            OS_FILES.fault("io.rename")
            try:
                os.replace(source, destination)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                shutil.move(source, destination)

        _each_pair("Rename", source_file_names, destination_file_names, rename_one)

    def exists(self, path: str) -> bool:
        """Whether there is a file or a directory."""
        return os.path.exists(path)

    def size(self, path: str) -> int:
        """The size in bytes."""
        return self._stat(path).st_size

    def last_updated(self, path: str) -> float:
        """When the content changed, in seconds since 1970."""
        return self._stat(path).st_mtime

    def checksum(self, path: str) -> str:
        """The size, as text: cheap, and what Beam takes."""
        return str(self.size(path))

    def metadata(self, path: str) -> FileMetadata:
        """Path, size and time of change."""
        stat = self._stat(path)
        return FileMetadata(path, stat.st_size, stat.st_mtime)

    def _stat(self, path: str) -> os.stat_result:
        try:
            return os.stat(path)
        except OSError as error:
            raise file_error("look up", path, error) from error

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, directories with all they hold, and what globs match; a missing path is a failure."""
        failures: dict[str, BaseException] = {}
        for path in paths:
            try:
                self._delete_one(path)
            except OSError as error:
                failures[path] = error
        if failures:
            raise BeamIOError("Delete operation failed", failures)

    def _delete_one(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.remove(path)
        else:
            matched = self.match([path])[0].metadata_list
            if not matched:
                raise FileNotFoundError(f"No such file: {path}")
            for file in matched:
                os.remove(file.path)


def _scan(directory: str) -> list[os.DirEntry[str]]:
    """The entries of a directory by name; none where there is no such directory."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise file_error("list", directory, error) from error


def _refuse_special(path: str) -> None:
    """FileExistsError where a device, pipe or socket would be replaced by a file: `/dev/null` must stay what it is."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileExistsError(
            errno.EEXIST, "is a device, pipe or socket, which a file must not replace", path
        )


def _make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)


def _each_pair(
    name: str, sources: Sequence[str], destinations: Sequence[str], operation: Callable[[str, str], Any]
) -> None:
    """Run the operation on each pair; go on after a failure, and raise BeamIOError with all of them at the end."""
    if len(sources) != len(destinations):
        raise BeamIOError(
            f"{name} needs a destination for every source: there are {len(sources)} sources and "
            f"{len(destinations)} destinations."
        )
    failures: dict[tuple[str, str], BaseException] = {}
    for source, destination in zip(sources, destinations):
        try:
            operation(source, destination)
        except OSError as error:
            failures[(source, destination)] = error
    if failures:
        raise BeamIOError(f"{name} operation failed", failures)
