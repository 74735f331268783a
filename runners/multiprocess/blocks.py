"""Blocks: columns in files, written by one task and mapped by the processes that read them.

A file holds blocks one after the other; who wrote it tells where they lie (a BlockRef), there is no directory in it.

    header   magic "HB", flags (1: lz4, 2: zstd), number of buffers, length of the payload, CRC-32 of that and the payload
    payload  for each buffer its length (u64), the length of the pickle (u64), the pickle (protocol 5), and each buffer
             at a multiple of 64 bytes from the start of the payload

All integers are little-endian. Buffers are what pickle gives out of band (numpy's arrays), and only of at least
BUFFER_BYTES_MIN; a reader maps them copy-on-write, so that processes share the pages until one of them writes.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import zlib
from typing import Any

import attrs
import cloudpickle

from hornbeam.error import DataError
from hornbeam.runners.engine.failures import add_advice

_HEADER = struct.Struct("<2sBxIQI4x")
_MAGIC = b"HB"
_ALIGNMENT = 64
#: Smaller buffers are part of the pickle.
BUFFER_BYTES_MIN = 1 << 16
_CODECS = {"": 0, "lz4": 1, "zstd": 2}
_CODEC_OF_FLAG = {flag: name for name, flag in _CODECS.items()}


@attrs.frozen(slots=True)
class BlockRef:
    """Where a block lies, and how many elements it holds."""

    path: str
    offset: int
    length: int
    count: int


class BlockFile:
    """A file that blocks are appended to; made with the first one."""

    def __init__(self, path: str, compression: str = "") -> None:
        self.path = path
        self.size = 0
        self._compression = compression
        self._file: Any = None
        self._by_value = False

    def append(self, columns: Any, count: int) -> BlockRef:
        """Writes a block. OSError (a full disk) says what to do; the file is then of no use."""
        payload, buffers = self._pickled(columns)
        parts = _laid_out(payload, buffers)
        flags = _CODECS[self._compression]
        if flags:
            parts = [_compressed(self._compression, b"".join(parts))]
        length = sum(map(len, parts))
        crc = _crc_of_header(flags, len(buffers), length)
        for part in parts:
            crc = zlib.crc32(part, crc)
        try:
            if self._file is None:
                self._file = open(self.path, "wb", buffering=1 << 18)
            self._file.write(_HEADER.pack(_MAGIC, flags, len(buffers), length, crc))
            for part in parts:
                self._file.write(part)
        except OSError as error:
            raise _advised(error, self.path) from None
        ref = BlockRef(self.path, self.size, _HEADER.size + length, count)
        self.size += ref.length
        return ref

    def close(self) -> None:
        """Brings all blocks to the file."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise _advised(error, self.path) from None

    def discard(self) -> None:
        """Closes and removes the file, whatever state it is in."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # a full disk; what was to be written is not wanted
            try:
                os.unlink(self.path)
            except OSError:
                pass  # the run's folder goes as a whole

    def _pickled(self, columns: Any) -> tuple[bytes, list[memoryview]]:
        """The pickle and its large buffers; instances of classes that no module knows need the slower way."""
        buffers: list[memoryview] = []

        def is_inside(buffer: pickle.PickleBuffer) -> bool:
            try:
                raw = buffer.raw()
            except BufferError:  # not contiguous
                return True
            if raw.nbytes < BUFFER_BYTES_MIN:
                return True
            buffers.append(raw)
            return False

        if not self._by_value:
            try:
                return pickle.dumps(columns, 5, buffer_callback=is_inside), buffers
            except (pickle.PicklingError, AttributeError, TypeError):
                buffers.clear()
        payload = cloudpickle.dumps(columns, 5, buffer_callback=is_inside)
        self._by_value = True
        return payload, buffers


def _crc_of_header(flags: int, buffers: int, length: int) -> int:
    return zlib.crc32(struct.pack("<BIQ", flags, buffers, length))


def _laid_out(payload: bytes, buffers: list[memoryview]) -> list[Any]:
    sizes = struct.pack(f"<{len(buffers) + 1}Q", *(view.nbytes for view in buffers), len(payload))
    parts: list[Any] = [sizes, payload]
    position = len(sizes) + len(payload)
    for view in buffers:
        gap = -position % _ALIGNMENT
        parts += [bytes(gap), view]
        position += gap + view.nbytes
    return parts


def _compressed(codec: str, data: bytes) -> bytes:
    import pyarrow  # slow to load, and needed only here

    packed: bytes = pyarrow.compress(data, codec=codec, asbytes=True)
    return struct.pack("<Q", len(data)) + packed


def _advised(error: OSError, path: str) -> OSError:
    add_advice(
        error,
        f"while writing exchange files to {os.path.dirname(path)}: make room there, choose another place with "
        "--temp_dir, or write less with --exchange_compression",
    )
    return error


def read_block(ref: BlockRef) -> Any:
    """The columns of a block. DataError when it is not what was written."""
    first = ref.offset - ref.offset % mmap.ALLOCATIONGRANULARITY
    try:
        with open(ref.path, "rb") as file:
            mapped = mmap.mmap(
                file.fileno(), ref.offset + ref.length - first, access=mmap.ACCESS_COPY, offset=first
            )
    except (OSError, ValueError) as error:
        raise DataError(f"exchange file {ref.path} cannot be read at offset {ref.offset}: {error}") from error
    view = memoryview(mapped)[ref.offset - first :]
    magic, flags, count, length, crc = _HEADER.unpack_from(view)
    payload = view[_HEADER.size : _HEADER.size + length]
    if (
        magic != _MAGIC
        or _HEADER.size + length != ref.length
        or (zlib.crc32(payload, _crc_of_header(flags, count, length)) != crc)
    ):
        raise DataError(f"exchange file {ref.path} is damaged at offset {ref.offset}; run the pipeline again")
    if flags:
        payload = _decompressed(_CODEC_OF_FLAG[flags], payload)
    return _unpickled(payload, count)


def _decompressed(codec: str, payload: memoryview) -> memoryview:
    import pyarrow  # slow to load, and needed only here

    (size,) = struct.unpack_from("<Q", payload)
    return memoryview(
        bytearray(pyarrow.decompress(payload[8:], decompressed_size=size, codec=codec, asbytes=True))
    )


def _unpickled(payload: memoryview, count: int) -> Any:
    *sizes, length = struct.unpack_from(f"<{count + 1}Q", payload)
    position = 8 * (count + 1)
    pickled = payload[position : position + length]
    position += length
    buffers = []
    for size in sizes:
        position += -position % _ALIGNMENT
        buffers.append(payload[position : position + size])
        position += size
    return pickle.loads(pickled, buffers=buffers)
