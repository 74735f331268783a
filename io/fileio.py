"""Files as elements: match patterns, open what was found, write files whose names and formats depend on elements."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from typing import Any, BinaryIO

import attrs

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
from hornbeam.io.step_tracker import StepTracker, over
from hornbeam.io.watch import Growth
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.value_provider import ValueProvider
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import Create, DoFn, ParDo, RestrictionProvider, WindowInto
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import FixedWindows, TimestampedValue
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Timestamp, TimestampTypes, micros_of, timestamp_at

__all__ = [
    "EmptyMatchTreatment",
    "FileMetadata",
    "FileResult",
    "FileSink",
    "MatchAll",
    "MatchContinuously",
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
        return _matched(file_pattern, self._empty_match_treatment)


def _matched(file_pattern: str | ValueProvider, empty_match_treatment: str) -> list[MatchedFile]:
    """The metadata of the files that match. BeamIOError for none, where that is not allowed."""
    pattern = file_pattern.get() if isinstance(file_pattern, ValueProvider) else file_pattern
    found = FileSystems.match([pattern])[0].metadata_list
    if not found and not EmptyMatchTreatment.allow_empty_match(pattern, empty_match_treatment):
        raise BeamIOError(
            f"Empty match for pattern {pattern}. Disallowed. Check the path, or pass "
            "empty_match_treatment=EmptyMatchTreatment.ALLOW."
        )
    return found


class MatchContinuously(PTransform[PBegin, PCollection[MatchedFile]]):
    """The metadata of the files that match a pattern, looked for every `interval` seconds. Applied to the pipeline itself.

    Each file comes once, at the event time of the look that found it (`start_timestamp` plus a multiple of the
    interval); one that vanishes and comes back is not new. With `match_updated_files` a file comes again when its time of
    change is a later one; `timestamp_cursor` does that with a single remembered time instead of one for each file, and
    so misses files that appear with a time of change no later than the latest seen. Without deduplication all files come
    with every look. What is remembered is part of the pipeline's snapshots. Looks that were missed are not made up for,
    and none is taken at or after `stop_timestamp`. With `apply_windowing` each look is a window of its own.
    """

    def __init__(
        self,
        file_pattern: str | ValueProvider,
        interval: float = 360.0,
        has_deduplication: bool = True,
        start_timestamp: TimestampTypes | None = None,
        stop_timestamp: TimestampTypes = MAX_TIMESTAMP,
        match_updated_files: bool = False,
        apply_windowing: bool = False,
        empty_match_treatment: str = EmptyMatchTreatment.ALLOW,
        timestamp_cursor: bool = False,
    ) -> None:
        super().__init__()
        EmptyMatchTreatment.allow_empty_match("", empty_match_treatment)
        if micros_of(interval) <= 0:
            raise ValueError(f"interval must be a number of seconds above 0; found {interval!r}.")
        if timestamp_cursor and not has_deduplication:
            raise ValueError(
                "timestamp_cursor=True is a way of deduplication; it needs has_deduplication=True."
            )
        start = processing_time.now() if start_timestamp is None else Timestamp.of(start_timestamp)
        kind = "all" if not has_deduplication else "updated" if match_updated_files else "new"
        self._file_pattern = file_pattern
        self._interval = interval
        self._apply_windowing = apply_windowing
        self._match = _MatchAgain(
            start.micros,
            micros_of(Timestamp.of(stop_timestamp)),
            micros_of(interval),
            "cursor" if timestamp_cursor else kind,
            empty_match_treatment,
            file_pattern,
        )

    def expand(self, pbegin: PBegin) -> PCollection[MatchedFile]:
        """Match the one pattern, again and again."""
        match = ParDo(self._match).with_output_types(MatchedFile)
        files: PCollection[MatchedFile] = pbegin | Create([self._file_pattern]) | "Match" >> match
        if self._apply_windowing:
            files = files | "ApplyWindowing" >> WindowInto(FixedWindows(self._interval))
        return files


class _MatchAgain(DoFn, RestrictionProvider):
    """The files of a pattern, at each look. The restriction is what was seen, and which look is next."""

    #: Looks are no backlog.
    backlog_unit = ""

    def __init__(
        self,
        start_micros: int,
        stop_micros: int,
        interval_micros: int,
        kind: str,
        empty_match_treatment: str,
        pattern: str | ValueProvider,
    ) -> None:
        super().__init__()
        self._start = start_micros
        self._stop = stop_micros
        self._interval = interval_micros
        self._kind = kind
        self._empty_match_treatment = empty_match_treatment
        self._pattern = pattern

    def reads(self) -> str:
        """What was seen belongs to; a changed pipeline that looks for something else does not go on from it."""
        return f"files {self._pattern}"

    def initial_restriction(self, element: Any) -> Growth:
        """Nothing was seen."""
        return Growth(termination_state=0)

    def create_tracker(self, restriction: Growth) -> StepTracker[Growth]:
        """A tracker of looks."""
        return StepTracker(restriction)

    def restriction_size(self, element: Any, restriction: Growth) -> float:
        """1: a look."""
        return 1.0

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: str | ValueProvider,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue[Any]]:
        """One look, if it is due."""
        before: Growth = tracker.current_restriction()
        due = self._start + before.termination_state * self._interval
        if due >= self._stop:
            tracker.try_claim(over(before))
            return
        now = processing_time.now_micros()
        if due > now:
            tracker.defer_remainder(timestamp_at(due))
            return
        due += (min(now, self._stop - 1) - due) // self._interval * self._interval
        fresh, after = self._new_of(before, _matched(element, self._empty_match_treatment))
        following = (due - self._start) // self._interval + 1
        if not tracker.try_claim(attrs.evolve(after, termination_state=following)):
            return
        stamp = timestamp_at(due)
        for file in fresh:
            yield TimestampedValue(file, stamp)
        estimator.set_watermark(stamp)
        tracker.defer_remainder(timestamp_at(due + self._interval))

    def _new_of(self, before: Growth, files: list[MatchedFile]) -> tuple[list[MatchedFile], Growth]:
        """What is new of the files, and what has been seen with them."""
        if self._kind == "all":
            return files, before
        fresh: list[MatchedFile] = []
        seen = dict(before.seen)
        cursor = before.cursor
        for file in files:
            changed = int(file.last_updated_in_seconds * 1e6) if self._kind != "new" else 0
            if not changed and self._kind != "new":
                raise BeamIOError(
                    f"The file system does not tell when {file.path} changed, which match_updated_files and "
                    "timestamp_cursor need. Leave them out."
                )
            if self._kind == "cursor":
                if before.cursor is None or changed > before.cursor:
                    fresh.append(file)
                    cursor = max(changed, changed if cursor is None else cursor)
                continue
            name = hashlib.blake2b(file.path.encode("utf-8", "surrogateescape"), digest_size=16).digest()
            if name not in seen or changed > seen[name]:
                fresh.append(file)
                seen[name] = changed
        return (fresh, attrs.evolve(before, seen=seen, cursor=cursor)) if fresh else (fresh, before)


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
