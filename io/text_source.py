"""The source behind `ReadFromText`: the records of text files, between newlines or any other delimiter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from hornbeam.coders.coders import BytesCoder, Coder, StrUtf8Coder, TupleCoder
from hornbeam.error import DataError
from hornbeam.io.filebasedsource import FileBasedSource
from hornbeam.io.filesystem import BeamIOError, file_error
from hornbeam.io.record_scanner import RecordScanner
from hornbeam.io.source import RangeTracker
from hornbeam.options.value_provider import ValueProvider

_log = logging.getLogger(__name__)


class InvalidTextError(DataError, ValueError):
    """A file holds bytes that are not text in the encoding that they are read in."""


class TextSource(FileBasedSource):
    """The records of text files, decoded by a coder.

    Without a delimiter, records end at `\\n` or `\\r\\n`; a `\\r` alone is content. The last record of a file need
    not have a delimiter. Raises ValueError for a delimiter that is empty or overlaps itself, for an escape
    character that is not one byte or is part of the delimiter, and for a negative number of header lines.
    """

    #: Whether each record comes in a pair with its file's name.
    with_filename = False

    def __init__(
        self,
        file_pattern: str | ValueProvider,
        min_bundle_size: int,
        compression_type: str,
        strip_trailing_newlines: bool,
        coder: Coder,
        validate: bool = True,
        skip_header_lines: int = 0,
        delimiter: bytes | None = None,
        escapechar: bytes | None = None,
    ) -> None:
        if delimiter is not None:
            check_delimiter(delimiter)
        _check_escapechar(escapechar, delimiter)
        if skip_header_lines < 0:
            raise ValueError(f"skip_header_lines must not be negative; it is {skip_header_lines}.")
        if skip_header_lines > 10:
            _log.warning("Every part of a file reads the %d header lines to skip them.", skip_header_lines)
        if not isinstance(coder, Coder):
            raise TypeError(f"coder must be a Coder object, such as StrUtf8Coder(); it is {coder!r}.")
        self._strip = strip_trailing_newlines
        self._coder = coder
        self._skip_header_lines = skip_header_lines
        self._delimiter = delimiter if delimiter is not None else b"\n"
        self._text_delimiter = _as_text(self._delimiter)
        self._takes_crlf = delimiter is None
        self._escapechar = escapechar
        super().__init__(file_pattern, min_bundle_size, compression_type, validate=validate)

    def default_output_coder(self) -> Coder:
        """The coder given."""
        return self._coder

    def output_type(self) -> Any:
        """The type of the records, where the coder tells it."""
        try:
            return self._coder.to_type_hint()
        except NotImplementedError:
            return Any

    def display_data(self) -> dict[str, Any]:
        """Pattern, compression, stripping, and what differs from the defaults."""
        items = {**super().display_data(), "strip_newline": self._strip}
        if self._skip_header_lines:
            items["skip_header_lines"] = self._skip_header_lines
        if not self._takes_crlf:
            items["delimiter"] = repr(self._delimiter)
        return items

    def read_records(self, file_name: str, offset_range_tracker: RangeTracker) -> Iterator[Any]:
        """The records that start in the range, one by one."""
        for scanner, position, chunk in self._chunks(file_name, offset_range_tracker):
            for start, content_end, end in self._bounds(scanner, chunk):
                if not offset_range_tracker.try_claim(position + start):
                    return
                record = self._decode(
                    chunk[start : content_end if self._strip else end], file_name, position + start
                )
                yield (file_name, record) if self.with_filename else record

    def read_record_batches(
        self, file_name: str, offset_range_tracker: RangeTracker, batch_size: int
    ) -> Iterator[list[Any]]:
        """The records that start in the range, found and decoded by the block."""
        if type(self).read_records is not TextSource.read_records:
            yield from super().read_record_batches(file_name, offset_range_tracker, batch_size)
            return
        for scanner, position, chunk in self._chunks(file_name, offset_range_tracker):
            claimed = _claim(scanner, position, chunk, offset_range_tracker, len(self._delimiter))
            records = self._records(scanner, position, claimed, file_name)
            if self.with_filename:
                records = list(zip(repeat(file_name), records))
            if len(records) <= batch_size:
                if records:
                    yield records
            else:
                for start in range(0, len(records), batch_size):
                    yield records[start : start + batch_size]
            if len(claimed) < len(chunk):
                return

    def _chunks(self, path: str, tracker: RangeTracker) -> Iterator[tuple[RecordScanner, int, bytes]]:
        """Runs of whole records of the range; the last may hold some that start beyond it."""
        start: int = tracker.start_position()
        stop: Callable[[], float] = tracker.stop_position
        try:
            with self.open_file(path) as file:
                scanner = RecordScanner(file, self._delimiter, self._escapechar)
                scanner.skip_records(self._skip_header_lines)
                if start > scanner.position and not scanner.seek_record(start, stop):
                    return
                for position, chunk in scanner.chunks(stop):
                    yield scanner, position, chunk
        except BeamIOError:
            raise
        except OSError as error:
            raise file_error("read", path, error) from error

    def _bounds(self, scanner: RecordScanner, chunk: bytes) -> Iterator[tuple[int, int, int]]:
        """Start, end of content, and end of each record in the chunk."""
        start = 0
        while start < len(chunk):
            index = scanner.find(chunk, start)
            if index < 0:
                yield start, len(chunk), len(chunk)
                return
            end = index + len(self._delimiter)
            if (
                self._takes_crlf
                and index > start
                and chunk[index - 1] == 0x0D
                and not scanner.escaped_at(chunk, index - 1)
            ):
                index -= 1
            yield start, index, end
            start = end

    def _records(self, scanner: RecordScanner, position: int, chunk: bytes, path: str) -> list[Any]:
        """All records of a chunk, decoded."""
        if not chunk:
            return []
        crlf = self._takes_crlf and self._strip
        if self._escapechar is None:
            kind = type(self._coder)
            if kind is StrUtf8Coder and self._text_delimiter is not None:
                text = self._decode(chunk, path, position)
                if crlf and "\r" in text:  # one character is found at the speed of memory, two are not
                    text = text.replace("\r\n", "\n")
                return _split(text, self._text_delimiter, self._strip)
            data = chunk.replace(b"\r\n", b"\n") if crlf and b"\r" in chunk else chunk
            records = _split(data, self._delimiter, self._strip)
            if kind is BytesCoder:
                return records
            try:
                return list(map(self._coder.decode, records))
            except Exception:
                pass  # Again, one by one below, to say where it is.
        return [
            self._decode(chunk[start : content_end if self._strip else end], path, position + start)
            for start, content_end, end in self._bounds(scanner, chunk)
        ]

    def _decode(self, record: bytes, path: str, position: int) -> Any:
        """The record by the coder; InvalidTextError where it is not text in the coder's encoding."""
        try:
            return self._coder.decode(record)
        except UnicodeDecodeError as error:
            raise InvalidTextError(
                f"{path}: not valid {error.encoding} at byte {position + error.start}: found "
                f"{error.object[error.start : error.start + 8]!r} ({error.reason}). "
                "Repair the file, or read it with coder= for its encoding, or with BytesCoder()."
            ) from error
        except Exception as error:
            error.add_note(f"while decoding the record at byte {position} of {path}")
            raise


class TextSourceWithFilename(TextSource):
    """The records in pairs with their file's name."""

    with_filename = True

    def default_output_coder(self) -> Coder:
        """Pairs of text and the coder given."""
        return TupleCoder((StrUtf8Coder(), self._coder))

    def output_type(self) -> Any:
        """Pairs of text and the coder's type."""
        return tuple[str, super().output_type()]  # type: ignore[misc]


def _as_text(delimiter: bytes) -> str | None:
    """The delimiter as text, or None: a part of a character has to be found before decoding."""
    try:
        return delimiter.decode()
    except UnicodeDecodeError:
        return None


def _split(data: Any, delimiter: Any, strip: bool) -> list[Any]:
    """The records of text or bytes; the last may lack its delimiter."""
    records: list[Any] = data.split(delimiter)
    last = records.pop()
    if not strip:
        records = [record + delimiter for record in records]
    if last:
        records.append(last)
    return records


def _claim(scanner: RecordScanner, position: int, chunk: bytes, tracker: RangeTracker, width: int) -> bytes:
    """The part of the chunk that the tracker gives us: all records of it that start before its stop.

    Claiming the last record claims those before it. A split may come in between; then fewer records are ours.
    """
    claimed = chunk
    while (stop := tracker.stop_position()) > position:
        last = _last_record(scanner, claimed, width)
        if position + last >= stop:
            # The first delimiter that ends at or after the stop ends the last record before it.
            end = scanner.find(claimed, max(0, int(stop) - position - width))
            claimed = claimed[: end + width]
            last = _last_record(scanner, claimed, width)
        if tracker.try_claim(position + last):
            return claimed
        if tracker.stop_position() == stop:
            break
    return b""


def _last_record(scanner: RecordScanner, chunk: bytes, width: int) -> int:
    """Where the chunk's last record starts."""
    index = scanner.rfind(chunk, 0, len(chunk) - 1)
    return index + width if index >= 0 else 0


def check_delimiter(delimiter: bytes) -> None:
    """ValueError unless it is some bytes of which no beginning is an end."""
    if not isinstance(delimiter, bytes) or not delimiter:
        raise ValueError(f"delimiter must be bytes and not empty; it is {delimiter!r}.")
    for size in range(1, len(delimiter)):
        if delimiter[:size] == delimiter[-size:]:
            raise ValueError(
                f"The delimiter {delimiter!r} overlaps itself (it begins and ends with {delimiter[:size]!r}), so "
                "where records end would depend on where reading starts. Use another one."
            )


def _check_escapechar(escapechar: bytes | None, delimiter: bytes | None) -> None:
    if escapechar is None:
        return
    if not isinstance(escapechar, bytes) or len(escapechar) != 1:
        raise ValueError(f"escapechar must be bytes of size 1, or None; it is {escapechar!r}.")
    if escapechar in (delimiter if delimiter is not None else b"\r\n"):
        raise ValueError(f"escapechar {escapechar!r} must not be part of the delimiter {delimiter!r}.")
