"""`ReadAllFiles`: the records of files whose names or patterns are the elements of a PCollection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from hornbeam.io.compression import CompressionTypes, resolve_compression
from hornbeam.io.concat_source import batches_of
from hornbeam.io.filesystem import BeamIOError, FileMetadata
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.range_trackers import OffsetRangeTracker
from hornbeam.io.restriction_trackers import OffsetRange
from hornbeam.pvalue import PCollection
from hornbeam.transforms.core import DoFn, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.util import Reshuffle

if TYPE_CHECKING:
    from hornbeam.io.filebasedsource import FileBasedSource

__all__ = ["ReadAllFiles"]

_BATCH = 1000


class ReadAllFiles(PTransform[PCollection[Any], PCollection[Any]]):
    """The records of all files that the elements (paths, patterns, FileMetadata or ReadableFiles) name.

    `source_from_file` makes the source of one path. With `with_filename` each record comes in a pair with its path.
    Parts have about `desired_bundle_size` bytes. With `validate`, an element without a wildcard that names no file
    is an error.
    """

    def __init__(
        self,
        splittable: bool,
        compression_type: str,
        desired_bundle_size: int,
        min_bundle_size: int,
        source_from_file: Callable[[str], FileBasedSource],
        with_filename: bool = False,
        validate: bool = True,
    ) -> None:
        super().__init__()
        self._expand_into_ranges = _ExpandIntoRanges(
            splittable, compression_type, desired_bundle_size, min_bundle_size, validate
        )
        self._read_range = _ReadRange(source_from_file, with_filename)

    def expand(self, pvalue: PCollection[Any]) -> Any:
        """Find the files' parts, deal them out, read them."""
        return (
            pvalue
            | "ExpandIntoRanges" >> ParDo(self._expand_into_ranges)
            | "Reshard" >> Reshuffle()
            | "ReadRange" >> ParDo(self._read_range)
        )


class _ExpandIntoRanges(DoFn):
    """Pairs of a file's metadata and a range of its bytes."""

    def __init__(
        self,
        splittable: bool,
        compression_type: str,
        desired_bundle_size: int,
        min_bundle_size: int,
        validate: bool,
    ) -> None:
        super().__init__()
        self._splittable = splittable
        self._compression_type = compression_type
        self._desired_bundle_size = max(desired_bundle_size, min_bundle_size, 1)
        self._min_bundle_size = max(min_bundle_size, 1)
        self._validate = validate

    def process(self, element: Any) -> Iterator[tuple[FileMetadata, OffsetRange]]:
        """The parts of the files that the element names."""
        for file in self._files(getattr(element, "metadata", element)):
            kind = resolve_compression(file.path, self._compression_type)
            if self._splittable and kind == CompressionTypes.UNCOMPRESSED and file.size_in_bytes > 0:
                whole = OffsetRange(0, file.size_in_bytes)
                for part in whole.split(self._desired_bundle_size, self._min_bundle_size):
                    yield file, part
            else:
                yield file, OffsetRange(0, OffsetRangeTracker.OFFSET_INFINITY)

    def _files(self, element: Any) -> list[FileMetadata]:
        if isinstance(element, FileMetadata):
            return [element]
        if not isinstance(element, str):
            raise TypeError(
                f"Files to read are named by str, FileMetadata or ReadableFile; found {element!r}, "
                f"of type {type(element).__name__}."
            )
        found = FileSystems.match([element])[0].metadata_list
        if not found and self._validate and not any(char in element for char in "*?["):
            raise BeamIOError(f"No files found based on the file pattern {element}.")
        return found


class _ReadRange(DoFn):
    """The records of a part of a file."""

    def __init__(self, source_from_file: Callable[[str], FileBasedSource], with_filename: bool) -> None:
        super().__init__()
        self._source_from_file = source_from_file
        self._with_filename = with_filename

    def process(self, element: tuple[FileMetadata, OffsetRange]) -> Iterable[Any]:
        """The records that start in the range."""
        file, part = element
        source = self._source_from_file(file.path).source_of_file(file)
        tracker = source.get_range_tracker(part.start, part.stop)
        records = chain.from_iterable(batches_of(source, tracker, _BATCH))
        return zip(repeat(file.path), records) if self._with_filename else records
