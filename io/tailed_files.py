"""Files that grow: which one is which after a rename, what of it is new, and whether it is still the same file.

A local file is known by its device and inode, so that one that is renamed (as logs are when they are rotated) goes on
where it was; elsewhere by its path. The first bytes of it are remembered: a file that is shorter than what was read of it,
or begins otherwise, was written anew, and is read from its beginning.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping

import attrs

from hornbeam.error import DataError
from hornbeam.io.compression import CompressionTypes, resolve_compression
from hornbeam.io.filesystem import BeamIOError, FileMetadata, file_error
from hornbeam.io.filesystems import FileSystems

_log = logging.getLogger(__name__)

#: How much is read at a time; a longer line takes as much as it needs.
BLOCK_BYTES = 1 << 17
#: How many of a file's first bytes are remembered.
_HEAD_BYTES = 64


class LineTooLongError(DataError, ValueError):
    """A line is longer than was allowed, or a file has no lines."""


#: How many files the text of a Tail names.
_FILES_SHOWN = 3


@attrs.frozen
class TailedFile:
    """How far a file has been read."""

    path: str
    #: Where the next line begins.
    offset: int = 0
    #: The first bytes of what was read.
    head: bytes = b""
    #: Lines at the beginning that are still to be skipped.
    header_left: int = 0
    #: The latest event time of a line of it, in microseconds.
    latest_micros: int | None = None

    def seen(self, micros: int | None) -> TailedFile:
        """The same with lines up to that event time."""
        if micros is None or (self.latest_micros is not None and self.latest_micros >= micros):
            return self
        return attrs.evolve(self, latest_micros=micros)


@attrs.frozen(repr=False)
class Tail:
    """The files of a pattern, by what they are known by. The restriction of a tail."""

    files: Mapping[str, TailedFile] = attrs.field(factory=dict)
    has_looked: bool = False
    is_over: bool = False

    def __repr__(self) -> str:
        shown = [f"{file.path!r} to byte {file.offset}" for file in [*self.files.values()][:_FILES_SHOWN]]
        if len(self.files) > _FILES_SHOWN:
            shown.append(f"{len(self.files) - _FILES_SHOWN} more")
        return f"Tail({', '.join(shown) or 'no file'}{', over' if self.is_over else ''})"

    def with_file(self, identity: str, file: TailedFile) -> Tail:
        """The same with one file read further."""
        return attrs.evolve(self, files={**self.files, identity: file})


def look(
    pattern: str, tail: Tail, header_lines: int, from_end: bool, delimiter: bytes
) -> tuple[Tail, dict[str, int]]:
    """What is there now: the files, new ones among them and those that are gone forgotten, and the sizes of those that
    hold more than was read. With `from_end`, files of the first look begin with their last, unfinished line."""
    present = _present(FileSystems.match([pattern])[0].metadata_list, tail)
    files: dict[str, TailedFile] = {}
    unread: dict[str, int] = {}
    for identity, (path, size) in present.items():
        known = tail.files.get(identity)
        if known is None:
            known = TailedFile(path, header_left=header_lines)
            if from_end and not tail.has_looked:
                known = TailedFile(path, _last_line_start(path, size, delimiter))
        elif known.path != path:
            known = attrs.evolve(known, path=path)
        if size < known.offset:
            known = _anew(known, header_lines, f"it has {size} bytes, of which {known.offset} were read")
        files[identity] = known
        if size > known.offset:
            unread[identity] = size
    for identity in tail.files.keys() - files.keys():
        _log.info(
            "%s is gone; %d bytes of it were read.", tail.files[identity].path, tail.files[identity].offset
        )
    if files != tail.files or not tail.has_looked:
        tail = Tail(files, True)
    return tail, unread


def unread_bytes(file: TailedFile) -> int:
    """How much of a local file is there and not read."""
    try:
        return max(0, os.stat(file.path).st_size - file.offset) if _is_local(file.path) else 0
    except OSError:
        return 0  # gone, or by another name now: the next look says


def _present(matched: Iterable[FileMetadata], tail: Tail) -> dict[str, tuple[str, int]]:
    """Path and size of every file, by what it is known by: those that match, and known ones under another name."""
    present: dict[str, tuple[str, int]] = {}
    for file in matched:
        if resolve_compression(file.path, CompressionTypes.AUTO) != CompressionTypes.UNCOMPRESSED:
            _log.debug("%s is compressed, so it does not grow by lines; it is passed over.", file.path)
            continue
        found = _identified(file)
        if found is not None:
            present[found[0]] = (file.path, found[1])
    renamed = {known.path for identity, known in tail.files.items() if identity not in present}
    for directory in sorted({os.path.dirname(path) for path in renamed if _is_local(path)}):
        for identity, path, size in _entries(directory or os.curdir):
            if identity in tail.files and identity not in present:
                present[identity] = (path, size)
    return present


def _is_local(path: str) -> bool:
    return FileSystems.get_scheme(path) is None


def _identified(file: FileMetadata) -> tuple[str, int] | None:
    """What the file is known by, and its size; None if it has just gone."""
    if not _is_local(file.path):
        return file.path, file.size_in_bytes
    try:
        stat = os.stat(file.path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error("look up", file.path, error) from error
    return f"{stat.st_dev}:{stat.st_ino}", stat.st_size


def _entries(directory: str) -> Iterator[tuple[str, str, int]]:
    """Identity, path and size of the files in a directory."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file():
                    stat = entry.stat()
                    yield f"{stat.st_dev}:{stat.st_ino}", entry.path, stat.st_size
    except FileNotFoundError:
        return  # the directory has gone, or a file in it while it was listed


def _anew(file: TailedFile, header_lines: int, why: str) -> TailedFile:
    _log.warning("%s was written anew (%s); it is read from its beginning.", file.path, why)
    return TailedFile(file.path, header_left=header_lines, latest_micros=file.latest_micros)


def _last_line_start(path: str, size: int, delimiter: bytes) -> int:
    """Where the last line that is not finished yet begins: behind the last delimiter."""
    end = size
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        block = _read(path, start, min(size, end + len(delimiter)) - start)
        index = block.rfind(delimiter)
        if index >= 0:
            return start + index + len(delimiter)
        end = start
    return 0


def read_lines(
    file: TailedFile, size: int, delimiter: bytes, header_lines: int, line_bytes_max: int
) -> tuple[TailedFile, bytes]:
    """The next whole lines of the file, some hundred of them, with their delimiters; and the file behind them.

    No lines when there is none that is finished, or when the file has gone. LineTooLongError for one of more than
    `line_bytes_max` bytes.
    """
    try:
        if _read(file.path, 0, len(file.head)) != file.head:
            file = _anew(file, header_lines, "it begins with other bytes")
        wanted = BLOCK_BYTES
        while True:
            block = _read(file.path, file.offset, min(wanted, size - file.offset))
            end = block.rfind(delimiter) + len(delimiter)
            if end >= len(delimiter):
                break
            if len(block) > line_bytes_max:
                raise LineTooLongError(
                    f"{file.path}: the line at byte {file.offset} has more than {line_bytes_max} bytes. Check that it is "
                    "a text file and what its delimiter is, or allow more by line_bytes_max."
                )
            if len(block) < wanted:
                return file, b""
            wanted *= 2
        lines = block[:end]
        head = file.head
        if len(head) < _HEAD_BYTES:
            head = (
                lines[:_HEAD_BYTES]
                if file.offset == 0
                else _read(file.path, 0, min(_HEAD_BYTES, file.offset + end))
            )
    except FileNotFoundError:
        return file, b""  # the next look says where it is now
    return attrs.evolve(file, offset=file.offset + end, head=head), lines


def _read(path: str, start: int, count: int) -> bytes:
    """Bytes of a file, fewer at its end."""
    if count <= 0:
        return b""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.seek(start)
            return file.read(count)
    except BeamIOError:
        raise
    except OSError as error:
        raise file_error("read", path, error) from error
