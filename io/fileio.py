"""Files as elements: match patterns, open what was found, write files whose names and formats depend on elements."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any, BinaryIO

from hornbeam.io.compression import CompressionTypes
from hornbeam.io.file_naming import (
    default_file_naming,
    destination_prefix_naming,
    prefix_naming,
    single_file_naming,
)
from hornbeam.io.file_writes import FileMetadata, FileResult, FileSink, TextSink, WriteToFiles
from hornbeam.io.filesystem import BeamIOError
from hornbeam.io.filesystem import FileMetadata as MatchedFile
from hornbeam.io.filesystems import FileSystems
from hornbeam.options.value_provider import ValueProvider
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import Create, DoFn, ParDo
from hornbeam.transforms.ptransform import PTransform

__all__ = [
    "EmptyMatchTreatment",
    "FileMetadata",
    "FileResult",
    "FileSink",
    "MatchAll",
    "MatchFiles",
    "ReadMatches",
    "ReadableFile",
    "TextSink",
    "WriteToFiles",
    "default_file_naming",
    "destination_prefix_naming",
    "prefix_naming",
    "single_file_naming",
]

_log = logging.getLogger(__name__)


class EmptyMatchTreatment:
    """Whether a pattern may match nothing."""

    ALLOW = "ALLOW"
    DISALLOW = "DISALLOW"
    #: Allowed to a pattern with `*`, `?` or `[`; a plain path must exist.
    ALLOW_IF_WILDCARD = "ALLOW_IF_WILDCARD"

    @staticmethod
    def allow_empty_match(pattern: str, setting: str) -> bool:
        """Whether the pattern may match nothing under the setting; ValueError for an unknown setting."""
        if setting == EmptyMatchTreatment.ALLOW:
            return True
        if setting == EmptyMatchTreatment.ALLOW_IF_WILDCARD:
            return any(char in pattern for char in "*?[")
        if setting == EmptyMatchTreatment.DISALLOW:
            return False
        raise ValueError(
            f"There is no treatment {setting!r} of empty matches: ALLOW, DISALLOW or ALLOW_IF_WILDCARD."
        )


class MatchFiles(PTransform[PBegin, PCollection[MatchedFile]]):
    """The metadata of the files that match a pattern. Applied to the pipeline itself."""

    def __init__(
        self,
        file_pattern: str | ValueProvider,
        empty_match_treatment: str = EmptyMatchTreatment.ALLOW_IF_WILDCARD,
    ) -> None:
        super().__init__()
        self._file_pattern = file_pattern
        self._empty_match_treatment = empty_match_treatment

    def expand(self, pcoll: PBegin) -> Any:
        """Match the one pattern."""
        return pcoll.pipeline | Create([self._file_pattern]) | MatchAll(self._empty_match_treatment)


class MatchAll(PTransform[PCollection[str], PCollection[MatchedFile]]):
    """The metadata of the files that match each pattern of the input. BeamIOError for a match wrongly empty."""

    def __init__(self, empty_match_treatment: str = EmptyMatchTreatment.ALLOW) -> None:
        super().__init__()
        EmptyMatchTreatment.allow_empty_match("", empty_match_treatment)
        self._empty_match_treatment = empty_match_treatment

    def expand(self, pcoll: PCollection[str]) -> Any:
        """Match each pattern."""
        return pcoll | ParDo(_Match(self._empty_match_treatment))


class _Match(DoFn):
    """The files of a pattern."""

    def __init__(self, empty_match_treatment: str) -> None:
        super().__init__()
        self._empty_match_treatment = empty_match_treatment

    def process(self, file_pattern: str | ValueProvider) -> list[MatchedFile]:
        """The metadata of the files that match."""
        pattern = file_pattern.get() if isinstance(file_pattern, ValueProvider) else file_pattern
        found = FileSystems.match([pattern])[0].metadata_list
        if not found and not EmptyMatchTreatment.allow_empty_match(pattern, self._empty_match_treatment):
            raise BeamIOError(
                f"Empty match for pattern {pattern}. Disallowed. Check the path, or pass "
                "empty_match_treatment=EmptyMatchTreatment.ALLOW."
            )
        return found


class ReadableFile:
    """A file that was found. It is opened, and decompressed as its ending says unless told otherwise, when read."""

    def __init__(self, metadata: MatchedFile, compression: str | None = None) -> None:
        self.metadata = metadata
        self._compression = compression

    def open(self, mime_type: str = "text/plain", compression_type: str | None = None) -> BinaryIO:
        """The content as an open binary file."""
        compression = compression_type or self._compression or CompressionTypes.AUTO
        return FileSystems.open(self.metadata.path, mime_type, compression)

    def read(self, mime_type: str = "application/octet-stream") -> bytes:
        """The whole content."""
        with self.open(mime_type) as file:
            return file.read()

    def read_utf8(self) -> str:
        """The whole content as text, with its newlines as they are."""
        with io.TextIOWrapper(self.open(), encoding="utf-8", newline="") as file:
            return file.read()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ReadableFile)
            and self.metadata == other.metadata
            and self._compression == other._compression
        )

    def __hash__(self) -> int:
        return hash((self.metadata, self._compression))

    def __repr__(self) -> str:
        return f"ReadableFile({self.metadata.path!r})"


class ReadMatches(PTransform[PCollection[Any], PCollection[ReadableFile]]):
    """Each file of the input, a FileMetadata or a path, as a ReadableFile.

    Directories are left out, or with `skip_directories=False` an error.
    """

    def __init__(self, compression: str | None = None, skip_directories: bool = True) -> None:
        super().__init__()
        if compression is not None and not CompressionTypes.is_valid_compression_type(compression):
            raise TypeError(f"compression must be one of CompressionTypes; found {compression!r}.")
        self._compression = compression
        self._skip_directories = skip_directories

    def expand(self, pcoll: PCollection[Any]) -> Any:
        """Wrap each file."""
        return pcoll | ParDo(_ReadMatch(self._compression, self._skip_directories))


class _ReadMatch(DoFn):
    """A ReadableFile of each file."""

    def __init__(self, compression: str | None, skip_directories: bool) -> None:
        super().__init__()
        self._compression = compression
        self._skip_directories = skip_directories

    def process(self, file_metadata: MatchedFile | str) -> Iterator[ReadableFile]:
        """The file, unless it is a directory."""
        if isinstance(file_metadata, str):
            found = FileSystems.match([file_metadata])[0].metadata_list
            if not found:
                raise BeamIOError(f"There is no file {file_metadata}.")
            metadata = found[0]
        else:
            metadata = file_metadata
        if metadata.path.endswith(("/", "\\")):
            if not self._skip_directories:
                raise BeamIOError(
                    f"Directories are not allowed in ReadMatches transform. Found {metadata.path}."
                )
            _log.debug("Skipping the directory %s", metadata.path)
            return
        yield ReadableFile(metadata, self._compression)
