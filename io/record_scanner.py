"""Records between delimiters in a binary file, found by blocks, from any byte offset.

A record belongs to the range in which it starts. Delimiters never overlap themselves, so every occurrence found from
anywhere is one and the same; an escape character before one makes it content, and escapes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

#: How much is read at a time: so little that a block's records stay in the processor's cache while they are made and
#: used (50 MB of lines: 0.09 s by 128 KiB, 0.15 s by 4 MiB). Memory grows past it only for a record that is longer.
BLOCK_BYTES = 1 << 17
#: How much is read at a time beyond the end of a range, where one more record at most is wanted.
OVERRUN_BYTES = 1 << 14


class RecordScanner:
    """A file being cut into chunks of whole records. `position` is the offset of the next byte to hand out."""

    def __init__(self, file: BinaryIO, delimiter: bytes, escapechar: bytes | None = None) -> None:
        self._file = file
        self._delimiter = delimiter
        self._escape = escapechar[0] if escapechar is not None else None
        self._buffer = bytearray()
        self._ended = False
        self.position = 0

    def _read(self, size: int) -> bool:
        """Add to the buffer; False at the end of the file."""
        block = self._file.read(size) if not self._ended else b""
        self._ended = not block
        self._buffer += block
        return bool(block)

    def _escaped(self, data: bytes | bytearray, index: int) -> bool:
        """Whether an odd number of escape characters stands before the index."""
        if self._escape is None:
            return False
        run = index
        while run > 0 and data[run - 1] == self._escape:
            run -= 1
        return (index - run) % 2 == 1

    def find(self, data: bytes | bytearray, start: int) -> int:
        """The index of the first delimiter at or after `start`, or -1. The data begins outside any escape."""
        index = data.find(self._delimiter, start)
        while index >= 0 and self._escaped(data, index):
            index = data.find(self._delimiter, index + len(self._delimiter))
        return index

    def rfind(self, data: bytes | bytearray, start: int, end: int) -> int:
        """The index of the last delimiter that lies between `start` and `end`, or -1."""
        index = data.rfind(self._delimiter, start, end)
        while index >= 0 and self._escaped(data, index):
            index = data.rfind(self._delimiter, start, index)
        return index

    def escaped_at(self, data: bytes | bytearray, index: int) -> bool:
        """Whether what stands at the index is escaped."""
        return self._escaped(data, index)

    def skip_records(self, count: int) -> None:
        """Go past so many records, or to the end of the file."""
        width = len(self._delimiter)
        for _ in range(count):
            searched = 0
            while (index := self.find(self._buffer, searched)) < 0:
                searched = max(0, len(self._buffer) - width + 1)
                if not self._read(OVERRUN_BYTES):
                    self._drop(len(self._buffer))
                    return
            self._drop(index + width)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.position += count

    def seek_record(self, offset: int, stop: Callable[[], float]) -> bool:
        """Go to the first record that starts at or after the offset (above 0); False when none does before `stop`."""
        width = len(self._delimiter)
        begin = max(0, offset - width)
        lookback = self._escapes_before(begin)
        self._file.seek(begin - lookback)
        self._buffer.clear()
        self._ended = False
        self.position = begin - lookback
        searched = lookback
        while (index := self.find(self._buffer, searched)) < 0:
            searched = max(lookback, len(self._buffer) - width + 1)
            # With an escape, the run before what comes next must stay in sight; so nothing is dropped.
            if self._escape is None:
                self._drop(searched)
                searched = lookback = 0
            if self.position + searched + width >= stop() or not self._read(OVERRUN_BYTES):
                return False
        self._drop(index + width)
        return self.position < stop()

    def _escapes_before(self, offset: int) -> int:
        """How many escape characters stand right before the offset."""
        if self._escape is None:
            return 0
        run, begin = 0, offset
        while begin > 0:
            size = min(begin, 256)
            begin -= size
            self._file.seek(begin)
            data = self._file.read(size)
            left = data.rstrip(bytes([self._escape]))
            run += len(data) - len(left)
            if left:
                break
        return run

    def chunks(self, stop: Callable[[], float]) -> Iterator[tuple[int, bytes]]:
        """The offset and the bytes of run after run of whole records, up to the last that starts before `stop`.

        The last chunk may hold records that start later. Only the last record of the file may lack its delimiter.
        """
        width = len(self._delimiter)
        searched = 0
        while self.position < stop():
            index = self.rfind(self._buffer, searched, len(self._buffer))
            if index < 0:
                searched = max(0, len(self._buffer) - width + 1)
                left = stop() - self.position - len(self._buffer)
                if not self._read(int(max(OVERRUN_BYTES, min(BLOCK_BYTES, left)))):
                    if self._buffer:
                        yield self._take(len(self._buffer))
                    return
                continue
            yield self._take(index + width)
            searched = 0

    def _take(self, count: int) -> tuple[int, bytes]:
        position = self.position
        if count == len(self._buffer):
            data = bytes(self._buffer)
        else:
            data = bytes(memoryview(self._buffer)[:count])
        self._drop(count)
        return position, data
