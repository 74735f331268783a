"""What does not fit in memory goes to temporary files as checksummed blocks of pickled columns.

A block is an 8-byte header (payload length and CRC-32, little-endian) and the payload. The files belong to one run on
one machine and are deleted with its TemporarySpace; their form is nobody else's business.

    SpillFile   appended blocks, read back by position
    Spool       the bundles of a pcollection, in memory up to a limit, then on disk; read as often as needed
    DiskValues  the values of one key that is larger than memory, as an iterable that can be read again and again
"""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

from hornbeam.error import DataError
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import add_advice
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.utils import pickling

_HEADER = struct.Struct("<II")
_BLOCK_BYTES_MAX = (1 << 32) - 1

T = TypeVar("T")


def pickled(value: Any) -> bytes:
    """The pickle of a value; instances of classes that no module knows need the slower way."""
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        payload: bytes = pickling.dumps(value)
        return payload


class TemporarySpace:
    """The directory of a run's temporary files, made when first needed and removed at the end."""

    def __init__(self, parent: str | None = None) -> None:
        self._parent = parent
        self._path: str | None = None
        self._count = 0
        self.spilled_bytes = 0
        #: For each copy of the process that may read files: files are kept meanwhile that are not needed here any more.
        self._readers: list[None] = []
        self._doomed: list[str] = []

    def new_path(self, name: str) -> str:
        """A path for a new file; the directory is made with the first one."""
        if self._path is None:
            try:
                self._path = tempfile.mkdtemp(prefix="hornbeam-", dir=self._parent)
            except OSError as error:
                parent = self._parent or tempfile.gettempdir()
                raise type(error)(
                    error.errno,
                    f"{error.strerror}: no directory for temporary files can be made there. Choose another place "
                    "with the option --temp_dir",
                    parent,
                ) from None
        self._count += 1
        return os.path.join(self._path, f"{self._count:06d}-{name}")

    def write(self, writing: Callable[[], T]) -> T:
        """Calls what writes to a file, which can be called again after an OSError. A runner that waits for room when a
        disk is full has a space that does so here."""
        return writing()

    def remove(self, path: str) -> None:
        """Removes a file of this space; later, while a copy of the process may read it."""
        if self._readers:
            self._doomed.append(path)
        else:
            _unlink(path)

    def hold(self) -> None:
        """From now on a copy of the process, which is made then, may read files as they are now."""
        self._readers.append(None)

    def release(self) -> None:
        """A copy has ended. May be called on another thread; takes no lock, for which a copy might wait for ever."""
        self._readers.pop()
        while self._doomed and not self._readers:
            _unlink(self._doomed.pop())

    def close(self) -> None:
        """Removes every file. May be called again."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None


class SpillFile:
    """Blocks appended to one temporary file and read back by their offset.

    The file is opened for each visit, so that any number of them takes no file handles.
    """

    def __init__(self, space: TemporarySpace, name: str) -> None:
        self._space = space
        self.path = space.new_path(name)
        self.blocks: list[tuple[int, int]] = []  # (offset of the payload, length)
        self.size = 0

    def append(self, value: Any) -> None:
        """Appends one block."""
        self.append_all([value])

    def append_all(self, values: list[Any]) -> None:
        """Appends one block for each value. OSError (a full disk) leaves the blocks before it readable."""
        try:
            self._space.write(lambda: self._append_all(values))
        except OSError as error:
            add_advice(
                error,
                f"while writing temporary files to {os.path.dirname(self.path)}: make room there, choose another place "
                "with --temp_dir, or allow more memory with --memory_limit",
            )
            raise

    def _append_all(self, values: list[Any]) -> None:
        blocks: list[tuple[int, int]] = []
        size = self.size
        with open(self.path, "r+b" if self.size else "wb") as file:
            file.seek(size)  # a write before may have stopped halfway
            for value in values:
                payload = pickled(value)
                if len(payload) > _BLOCK_BYTES_MAX:
                    raise DataError(f"a block of {len(payload):,} bytes is too large to spill")
                file.write(_HEADER.pack(len(payload), zlib.crc32(payload)))
                file.write(payload)
                blocks.append((size + _HEADER.size, len(payload)))
                size += _HEADER.size + len(payload)
        self._space.spilled_bytes += size - self.size
        self.blocks += blocks
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        if not self.blocks:
            return
        with open(self.path, "rb") as file:
            for index in range(len(self.blocks)):
                yield self._read(file, index)

    def read(self, index: int) -> Any:
        """The value of a block. DataError when it is damaged."""
        with open(self.path, "rb") as file:
            return self._read(file, index)

    def _read(self, file: IO[bytes], index: int) -> Any:
        offset, length = self.blocks[index]
        file.seek(offset - _HEADER.size)
        header = file.read(_HEADER.size)
        payload = file.read(length)
        if len(header) < _HEADER.size or _HEADER.unpack(header) != (length, zlib.crc32(payload)):
            raise DataError(
                f"temporary file {self.path} is damaged at offset {offset}; run the pipeline again"
            )
        return pickle.loads(payload)

    def delete_when_unused(self) -> None:
        """Removes the file once nobody can read it any more."""
        weakref.finalize(self, self._space.remove, self.path).atexit = False

    def delete(self) -> None:
        """Removes the file; there are no blocks afterwards."""
        self._space.remove(self.path)
        self.blocks = []


def _unlink(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


class DiskValues:
    """The values of one key, read from blocks each time they are iterated."""

    def __init__(self, file: SpillFile, blocks: list[int], count: int) -> None:
        self._file = file
        self._blocks = blocks
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        for block in self._blocks:
            yield from self._file.read(block)

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[Any, ...]:
        # Once it leaves the process the file is out of reach, so it goes as the list it stands for.
        return list, (list(self),)

    def __repr__(self) -> str:
        return f"<{self._count:,} values on disk>"


class Spool:
    """The bundles of a pcollection, kept to be read later, as often as needed."""

    def __init__(self, space: TemporarySpace, memory_bytes_max: int, name: str) -> None:
        self._space = space
        self._limit = memory_bytes_max
        self._name = name
        self._memory: list[Bundle] = []
        self._memory_bytes = 0
        self._file: SpillFile | None = None
        self.count = 0

    def append(self, bundle: Bundle) -> None:
        """Adds a bundle; past the limit all goes to disk."""
        self.count += len(bundle)
        self._memory.append(bundle)
        self._memory_bytes += (16 + mean_size(bundle.values)) * len(bundle)
        if self._memory_bytes > self._limit:
            self.spill()

    def spill(self) -> None:
        """Moves what is in memory to disk."""
        if self._file is None:
            self._file = SpillFile(self._space, self._name)
        self._file.append_all([(b.values, b.timestamps, b.windows, b.panes) for b in self._memory])
        self._memory = []
        self._memory_bytes = 0

    def __iter__(self) -> Iterator[Bundle]:
        if self._file is not None:
            for block in self._file:
                yield Bundle(*block)
        yield from self._memory

    def clear(self) -> None:
        """Forgets all bundles."""
        self._memory = []
        if self._file is not None:
            self._file.delete()
