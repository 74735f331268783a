"""TailText: the lines of files that grow, as they are written. Ours, not Beam's.

    look ──► files with new bytes ──► whole lines, of the file that is furthest behind first ──► look again after `interval`

What is remembered of each file is how far it was read, so that a pipeline that goes on from a snapshot gives each line once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import attrs

from hornbeam.coders.coders import Coder, StrUtf8Coder
from hornbeam.io.step_tracker import StepTracker, over
from hornbeam.io.tailed_files import LineTooLongError, Tail, TailedFile, look, read_lines, unread_bytes
from hornbeam.io.text_source import InvalidTextError, check_delimiter
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.value_provider import ValueProvider
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import Create, DoFn, ParDo, RestrictionProvider
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import (
    MAX_TIMESTAMP,
    Timestamp,
    TimestampTypes,
    duration_of,
    micros_of,
    timestamp_at,
)

__all__ = ["LineTooLongError", "TailText"]


class TailText(PTransform[PBegin, PCollection[Any]]):
    """The lines of the text files that match a pattern, and those that are appended to them, as long as the pipeline runs.

        lines = p | TailText("logs/*.log", timestamp_fn=lambda line: float(line.split()[0]), allowed_disorder=5)

    Files are looked at every `interval` seconds; new ones are read from their beginning, with `start_at="end"` those that
    are there already only from their end. A line comes when its delimiter (a newline, with or without a carriage return,
    unless `delimiter` says otherwise) has been written; one that is never finished never comes. A file that is renamed
    goes on where it was; one that is deleted is forgotten; one that is truncated, or replaced by one that is shorter or
    begins otherwise (in its first 64 bytes), is read from its beginning; compressed ones are passed over.

    Lines have the time at which they are read, or what `timestamp_fn(line)` gives (a Timestamp or seconds). Event time is
    then at the latest of all lines, less `allowed_disorder` (seconds), while all files are read up; while some are not, at
    that of the file furthest behind. It stands still while nothing is appended, or, with `idle_timeout` (seconds), goes
    on with the clock that much behind. Lines of a file may be late when another one is ahead by more than the disorder.

    With `with_filename` lines come in pairs with the path. `skip_header_lines` are left out at the beginning of each file.
    No look is taken at or after `stop_timestamp` (processing time): the tail ends.
    """

    def __init__(
        self,
        file_pattern: str | ValueProvider,
        interval: float = 1.0,
        *,
        timestamp_fn: Callable[[Any], TimestampTypes] | None = None,
        allowed_disorder: float = 0.0,
        idle_timeout: float | None = None,
        start_at: str = "beginning",
        stop_timestamp: TimestampTypes = MAX_TIMESTAMP,
        coder: Coder | None = None,
        delimiter: bytes | None = None,
        skip_header_lines: int = 0,
        with_filename: bool = False,
        line_bytes_max: int = 16 << 20,
    ) -> None:
        super().__init__()
        if micros_of(interval) <= 0:
            raise ValueError(f"interval must be a number of seconds above 0; found {interval!r}.")
        if micros_of(allowed_disorder) < 0:
            raise ValueError(f"allowed_disorder must be 0 seconds or more; found {allowed_disorder!r}.")
        if start_at not in ("beginning", "end"):
            raise ValueError(f'start_at is "beginning" or "end"; found {start_at!r}.')
        if skip_header_lines < 0:
            raise ValueError(f"skip_header_lines must not be negative; it is {skip_header_lines}.")
        if delimiter is not None:
            check_delimiter(delimiter)
        self._file_pattern = file_pattern
        self._dofn = _TailLines(
            micros_of(interval),
            timestamp_fn,
            micros_of(allowed_disorder),
            start_at == "end",
            Timestamp.of(stop_timestamp).micros,
            LineReader(
                coder if coder is not None else StrUtf8Coder(), delimiter, skip_header_lines, line_bytes_max
            ),
            with_filename,
            idle_timeout,
            file_pattern,
        )
        self._with_filename = with_filename

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """One tail over all files."""
        try:
            kind = self._dofn.reader.coder.to_type_hint()
        except NotImplementedError:
            kind = Any
        if self._with_filename:
            kind = tuple[str, kind]  # type: ignore[valid-type]
        tail = ParDo(self._dofn).with_output_types(kind)
        lines: PCollection[Any] = pbegin | Create([self._file_pattern]) | "Tail" >> tail
        return lines


@attrs.frozen
class LineReader:
    """How bytes become lines."""

    coder: Coder
    delimiter: bytes | None
    header_lines: int
    line_bytes_max: int

    @property
    def ends_with(self) -> bytes:
        """What ends a line."""
        return b"\n" if self.delimiter is None else self.delimiter

    def next(self, file: TailedFile, size: int) -> tuple[TailedFile, bytes]:
        """The next whole lines as they are in the file, and the file behind them; none if none is finished."""
        return read_lines(file, size, self.ends_with, self.header_lines, self.line_bytes_max)

    def decoded(self, data: bytes, skip: int, file: TailedFile) -> list[Any]:
        """Lines without their ends, but for the first `skip`. `file` is as it was before them."""
        crlf = self.delimiter is None and b"\r" in data
        try:
            if (
                type(self.coder) is StrUtf8Coder and self.delimiter is None
            ):  # whole blocks are decoded at once
                text = data.decode()
                lines: list[Any] = (text.replace("\r\n", "\n") if crlf else text).split("\n")
                return lines[skip:-1]
            records = (data.replace(b"\r\n", b"\n") if crlf else data).split(self.ends_with)
            return list(map(self.coder.decode, records[skip:-1]))
        except UnicodeDecodeError as error:
            raise InvalidTextError(
                f"{file.path}: not valid {error.encoding} in a line at or behind byte {file.offset}: found "
                f"{error.object[error.start : error.start + 8]!r} ({error.reason}). "
                "Repair the file, or read it with coder= for its encoding, or with BytesCoder()."
            ) from error
        except Exception as error:
            error.add_note(f"while decoding a line at or behind byte {file.offset} of {file.path}")
            raise


class _TailLines(DoFn, RestrictionProvider):
    """The lines of the files of a pattern. The restriction is how far each has been read."""

    backlog_unit = "bytes"

    def __init__(
        self,
        interval_micros: int,
        timestamp_fn: Callable[[Any], TimestampTypes] | None,
        disorder_micros: int,
        from_end: bool,
        stop_micros: int,
        reader: LineReader,
        with_filename: bool,
        idle_timeout: float | None,
        pattern: str | ValueProvider,
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self._interval = interval_micros
        self._timestamp_fn = timestamp_fn
        self._disorder = disorder_micros
        self._from_end = from_end
        self._stop = stop_micros
        self.reader = reader
        self._with_filename = with_filename
        self.idle_timeout = idle_timeout

    def reads(self) -> str:
        """What a position belongs to; a changed pipeline that reads something else does not go on from it."""
        return str(self.pattern)

    def initial_restriction(self, element: Any) -> Tail:
        """Nothing has been read."""
        return Tail()

    def create_tracker(self, restriction: Tail) -> StepTracker[Tail]:
        """A tracker of what has been read."""
        return StepTracker(restriction)

    def restriction_size(self, element: Any, restriction: Tail) -> float:
        """How many bytes of the files that are known are still to be read. Files elsewhere are not looked up for that."""
        return float(sum(map(unread_bytes, restriction.files.values())))

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: str | ValueProvider,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue[Any]]:
        """A look, and what it finds."""
        now = processing_time.now_micros()
        tail: Tail = tracker.current_restriction()
        if now >= self._stop:
            tracker.try_claim(over(tail))
            return
        if self._timestamp_fn is None:
            _move(estimator, now)
        pattern = element.get() if isinstance(element, ValueProvider) else element
        reader = self.reader
        tail, unread = look(pattern, tail, reader.header_lines, self._from_end, reader.ends_with)
        while unread:
            identity = min(unread, key=lambda one: _behind(tail.files[one]))
            before = tail.files[identity]
            file, data = reader.next(before, unread[identity])
            skip = min(file.header_left, data.count(reader.ends_with)) if file.header_left else 0
            if skip:
                file = attrs.evolve(file, header_left=file.header_left - skip)
            tail = tail.with_file(identity, file)
            if not tracker.try_claim(tail):
                return
            if not data or file.offset >= unread[identity]:
                del unread[identity]
            lines = reader.decoded(data, skip, before) if data else []
            stamps: Any = repeat(timestamp_at(now))
            if self._timestamp_fn is not None:
                stamps, latest = self._stamps(lines, before)
                # Told to the tracker with the next claim; the watermark is the estimator's to remember.
                tail = tail.with_file(identity, file.seen(latest))
            pairs = zip(repeat(file.path), lines) if self._with_filename else lines
            yield from map(TimestampedValue, pairs, stamps)
            if self._timestamp_fn is not None:
                self._move_on(estimator, tail, unread)
        if not tracker.try_claim(tail):
            return
        if self._timestamp_fn is not None:
            self._move_on(estimator, tail, unread)
        tracker.defer_remainder(duration_of(self._interval))

    def _stamps(self, lines: list[Any], file: TailedFile) -> tuple[list[Any], int | None]:
        """The timestamps of lines as the function gives them, and the latest in microseconds."""
        assert self._timestamp_fn is not None
        stamps: list[Any] = []
        micros: list[int] = []
        try:
            stamps.extend(map(self._timestamp_fn, lines))
            micros.extend(map(micros_of, stamps))
        except Exception as error:
            at = len(micros) if len(stamps) == len(lines) else len(stamps)
            error.add_note(
                f"in timestamp_fn, on the line {lines[at]!r:.200} at or behind byte {file.offset} of {file.path}"
            )
            raise
        return stamps, max(micros, default=None)

    def _move_on(self, estimator: Any, tail: Tail, unread: dict[str, int]) -> None:
        """Moves the watermark to where the files are."""
        behind = [tail.files[identity].latest_micros for identity in unread]
        if behind:
            known = [micros for micros in behind if micros is not None]
            reached = min(known) if len(known) == len(behind) else None
        else:
            reached = max(
                (file.latest_micros for file in tail.files.values() if file.latest_micros is not None),
                default=None,
            )
        if reached is not None:
            _move(estimator, reached - self._disorder)


def _behind(file: TailedFile) -> tuple[float, int]:
    """Orders files: what has come less far in event time, then what has been read less of."""
    return (float("-inf") if file.latest_micros is None else file.latest_micros, file.offset)


def _move(estimator: Any, micros: int) -> None:
    """Sets the watermark, unless it is there already."""
    current = estimator.current_watermark()
    if current is None or micros > current.micros:
        estimator.set_watermark(timestamp_at(micros))
