"""`FileBasedSource`: for sources that read the files of a pattern, split by byte offsets.

A subclass defines `read_records(file_name, offset_range_tracker)`. The source as a whole is the concatenation of its
files, each a source of its own; a file that cannot be split (compressed, or the subclass says so) is one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from hornbeam.display import DisplayDataItem
from hornbeam.io.compression import CompressionTypes, require_codec, resolve_compression
from hornbeam.io.concat_source import ConcatSource
from hornbeam.io.filesystem import BeamIOError, FileMetadata
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.range_trackers import OffsetRangeTracker, UnsplittableRangeTracker
from hornbeam.io.restriction_trackers import OffsetRange
from hornbeam.io.source import BoundedSource, RangeTracker, SourceBundle
from hornbeam.options.value_provider import StaticValueProvider, ValueProvider

if TYPE_CHECKING:
    from hornbeam.coders.coders import Coder

__all__ = ["FileBasedSource"]

DEFAULT_DESIRED_BUNDLE_SIZE = 64 * 1024 * 1024


class NoMatchingFilesError(BeamIOError, FileNotFoundError):
    """No file matches the pattern of a source that has to have one."""


class FileBasedSource(BoundedSource):
    """The records of all files that match a pattern.

    `min_bundle_size` is the least number of bytes in a part, `splittable` whether a file may be read in parts at
    all, and `validate` whether it is an error, at once, when no file matches. Raises TypeError for a pattern that is
    no text, and OSError where validation fails.
    """

    #: Positions are bytes.
    backlog_unit = "bytes"
    MIN_NUMBER_OF_FILES_TO_STAT = 100
    MIN_FRACTION_OF_FILES_TO_STAT = 0.01

    def __init__(
        self,
        file_pattern: str | ValueProvider,
        min_bundle_size: int = 0,
        compression_type: str = CompressionTypes.AUTO,
        splittable: bool = True,
        validate: bool = True,
    ) -> None:
        self._pattern = as_path_provider(file_pattern, "file_pattern", type(self).__name__)
        if not isinstance(min_bundle_size, int) or min_bundle_size < 0:
            raise ValueError(f"min_bundle_size is a number of bytes, 0 or more; found {min_bundle_size!r}.")
        self._min_bundle_size = min_bundle_size
        if not CompressionTypes.is_valid_compression_type(compression_type):
            raise TypeError(f"compression_type must be one of CompressionTypes; found {compression_type!r}.")
        self._compression_type = compression_type
        self._splittable = splittable
        self._concat_source: ConcatSource | None = None
        if validate and self._pattern.is_accessible():
            self._validate()

    def __getstate__(self) -> dict[str, Any]:
        # The list of files belongs to the reader at hand: it may be long, and each part would carry it.
        return {**self.__dict__, "_concat_source": None}

    def reads(self) -> str:
        """What a position belongs to; a changed pipeline that reads something else does not go on from it."""
        return f"files {self._pattern}"

    @property
    def splittable(self) -> bool:
        """Whether the files may be read in parts; a compressed one never is."""
        return self._splittable

    def display_data(self) -> dict[str, Any]:
        """The pattern and the compression."""
        return {
            "file_pattern": DisplayDataItem(str(self._pattern), label="File Pattern"),
            "compression": DisplayDataItem(str(self._compression_type), label="Compression Type"),
        }

    def _validate(self) -> None:
        """OSError unless some file matches; ImportError where the compression's package is missing."""
        pattern = self._pattern.get()
        found = FileSystems.match([pattern], limits=[1])[0].metadata_list
        if not found:
            raise NoMatchingFilesError(
                f"No files found based on the file pattern {pattern}. Check the path, or pass validate=False if the "
                "files come later."
            )
        require_codec(resolve_compression(found[0].path, self._compression_type))

    def _files(self) -> ConcatSource:
        """The files, looked up once per process."""
        if self._concat_source is None:
            pattern = self._pattern.get()
            files = FileSystems.match([pattern])[0].metadata_list
            self._concat_source = ConcatSource([self.source_of_file(file) for file in files])
        return self._concat_source

    def source_of_file(self, file: FileMetadata) -> SingleFileSource:
        """The source of one file's records.

        What has no size is read to its end: it may be empty, or a pipe, or a device.
        """
        compression = resolve_compression(file.path, self._compression_type)
        splittable = (
            self._splittable and compression == CompressionTypes.UNCOMPRESSED and file.size_in_bytes > 0
        )
        return SingleFileSource(
            self, file.path, 0, file.size_in_bytes, splittable, self._min_bundle_size, file.size_in_bytes
        )

    def estimate_size(self) -> int | None:
        """The size of all files, as they are on disk."""
        return self._files().estimate_size()

    def split(
        self, desired_bundle_size: int | None = None, start_position: Any = None, stop_position: Any = None
    ) -> Iterator[SourceBundle]:
        """Parts of files, of about the size wanted and never less than `min_bundle_size`."""
        return self._files().split(
            DEFAULT_DESIRED_BUNDLE_SIZE if desired_bundle_size is None else desired_bundle_size,
            start_position,
            stop_position,
        )

    def get_range_tracker(self, start_position: Any, stop_position: Any) -> RangeTracker:
        """A tracker over all files."""
        return self._files().get_range_tracker(start_position, stop_position)

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        """The records of the files in turn."""
        return self._files().read(range_tracker)

    def read_batches(self, range_tracker: RangeTracker, batch_size: int) -> Iterator[list[Any]]:
        """The records of the files in turn, in lists."""
        return self._files().read_batches(range_tracker, batch_size)

    def open_file(self, file_name: str) -> BinaryIO:
        """The file opened for reading and, where it is compressed, decompressed."""
        return FileSystems.open(
            file_name, "application/octet-stream", compression_type=self._compression_type
        )

    def read_records(self, file_name: str, offset_range_tracker: RangeTracker) -> Iterator[Any]:
        """The records of one file whose positions lie in the tracker's range; to be defined by a subclass.

        It claims the offset of each record before returning it and stops where a claim fails. It must not depend
        on what other ranges do: adjacent ranges together give every record once.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define read_records()")

    def read_record_batches(
        self, file_name: str, offset_range_tracker: RangeTracker, batch_size: int
    ) -> Iterator[list[Any]]:
        """`read_records` in lists; a subclass may know a faster way."""
        records = iter(self.read_records(file_name, offset_range_tracker))
        while batch := list(islice(records, batch_size)):
            yield batch


@attrs.frozen(eq=False)
class SingleFileSource(BoundedSource):
    """The records of one file, or of the part of it from `start` to `stop`."""

    backlog_unit = "bytes"

    owner: FileBasedSource
    path: str
    start: int
    stop: float
    splittable: bool
    min_bundle_size: int
    size: int

    def estimate_size(self) -> int:
        """The bytes of the part on disk."""
        return int(min(self.stop, self.size) - self.start)

    def default_output_coder(self) -> Coder:
        """The whole source's."""
        return self.owner.default_output_coder()

    def split(
        self,
        desired_bundle_size: int | None = None,
        start_position: int | None = None,
        stop_position: float | None = None,
    ) -> Iterator[SourceBundle]:
        """Parts of the file, or all of it where it cannot be split."""
        start = self.start if start_position is None else start_position
        stop = self.stop if stop_position is None else stop_position
        if not self.splittable:
            yield SourceBundle(self.size, self, start, OffsetRangeTracker.OFFSET_INFINITY)
            return
        wanted = max(desired_bundle_size or DEFAULT_DESIRED_BUNDLE_SIZE, self.min_bundle_size)
        for part in OffsetRange(start, stop).split(wanted, self.min_bundle_size or 1):
            source = attrs.evolve(self, start=part.start, stop=part.stop)
            yield SourceBundle(part.size(), source, part.start, part.stop)

    def get_range_tracker(self, start_position: int | None, stop_position: float | None) -> RangeTracker:
        """A tracker over byte offsets, one that never splits where the file cannot be split."""
        start = self.start if start_position is None else start_position
        if not self.splittable:
            return UnsplittableRangeTracker(OffsetRangeTracker(start, OffsetRangeTracker.OFFSET_INFINITY))
        return OffsetRangeTracker(start, self.stop if stop_position is None else stop_position)

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        """The records of the tracker's range."""
        return self.owner.read_records(self.path, range_tracker)

    def read_batches(self, range_tracker: RangeTracker, batch_size: int) -> Iterator[list[Any]]:
        """The records of the tracker's range, in lists."""
        return self.owner.read_record_batches(self.path, range_tracker, batch_size)


def as_path_provider(path: Any, parameter: str, owner: str) -> ValueProvider:
    """The path as a ValueProvider; TypeError unless it is text, a path object, or a ValueProvider."""
    if isinstance(path, ValueProvider):
        return path
    if hasattr(path, "__fspath__"):
        path = path.__fspath__()
    if not isinstance(path, str):
        raise TypeError(f"{owner}: {parameter} must be a string or a ValueProvider; found {path!r}.")
    return StaticValueProvider(str, path)


SourceFromFile = Callable[[str], FileBasedSource]
