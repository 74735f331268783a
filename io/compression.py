"""Compression by name or by a file's ending, and files that are compressed while they are read or written.

Reading is bounded in memory whatever the ratio, goes on over concatenated members (`cat a.gz b.gz`), and never
passes a part of a file off as the whole: a file that ends inside a member, or has bytes that belong to none, is a
`DataError` that names file and offset.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zlib
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Protocol

from hornbeam.error import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SUFFIXES = {
    ".bz2": "bzip2",
    ".deflate": "deflate",
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".xz": "lzma",
    ".lzma": "lzma",
}
_MIME_TYPES = {
    "bzip2": "application/x-bz2",
    "deflate": "application/x-deflate",
    "gzip": "application/x-gzip",
    "zstd": "application/zstd",
    "lzma": "application/lzma",
}


class CompressionTypes:
    """The names of the compressions. `AUTO` goes by the ending of a file's name."""

    AUTO = "auto"
    BZIP2 = "bzip2"
    #: A zlib stream (RFC 1950).
    DEFLATE = "deflate"
    GZIP = "gzip"
    #: Reads .xz and the older .lzma; writes .xz, or .lzma to a file of that name.
    LZMA = "lzma"
    #: Needs the package `zstandard`: `pip install hornbeam[zstd]`.
    ZSTD = "zstd"
    UNCOMPRESSED = "uncompressed"

    @classmethod
    def is_valid_compression_type(cls, compression_type: object) -> bool:
        """Whether it is one of the names."""
        return compression_type in {cls.AUTO, cls.UNCOMPRESSED, *_MIME_TYPES}

    @classmethod
    def mime_type(cls, compression_type: str, default: str = "application/octet-stream") -> str:
        """The MIME type of files of that compression, or the default."""
        return _MIME_TYPES.get(compression_type, default)

    @classmethod
    def detect_compression_type(cls, file_path: str) -> str:
        """The compression that the file's ending tells, in either case; UNCOMPRESSED for any other."""
        return _SUFFIXES.get(os.path.splitext(file_path.lower())[1], cls.UNCOMPRESSED)


def resolve_compression(path: str, compression_type: str) -> str:
    """The compression meant for the path: AUTO goes by its ending. TypeError for an unknown name."""
    if compression_type == CompressionTypes.AUTO:
        return CompressionTypes.detect_compression_type(path)
    if not CompressionTypes.is_valid_compression_type(compression_type):
        raise TypeError(
            f"{compression_type!r} is no compression; use one of CompressionTypes: auto, uncompressed, "
            f"{', '.join(sorted(_MIME_TYPES))}."
        )
    return compression_type


def ending_of(compression_type: str | None) -> str:
    """The ending, with its dot, that tells the compression; empty for none."""
    return next((suffix for suffix, kind in _SUFFIXES.items() if kind == compression_type), "")


class _ZlibMember:
    """zlib's decompressor with the manners of bz2's and lzma's: it keeps its unread input itself."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._zlib.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._zlib.unconsumed_tail
        return self._zlib.decompress(tail + data if tail else data, max_length)


class _ZstdMember:
    """A zstd frame. The library cannot limit its output, so input is fed in steps small enough to bound it."""

    _STEP = 1024  # at worst 256 blocks of 128 KiB

    def __init__(self) -> None:
        self._zstd = _zstandard().ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        self._input = b""
        self.unused_data = b""
        self.eof = False

    @property
    def needs_input(self) -> bool:
        return not self._input and not self.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input += data
        view, at, size = memoryview(self._input), 0, 0
        pieces: list[bytes] = []
        while at < len(view) and size < max_length and not self.eof:
            piece = self._zstd.decompress(view[at : at + self._STEP])
            at = min(at + self._STEP, len(view))
            if piece:
                pieces.append(piece)
                size += len(piece)
            self.eof = self._zstd.eof
        rest = bytes(view[at:])
        if self.eof:
            self.unused_data, self._input = self._zstd.unused_data + rest, b""
        else:
            self._input = rest
        return b"".join(pieces)


class _Compressor(Protocol):
    def compress(self, data: Any, /) -> bytes: ...
    def flush(self) -> bytes: ...


_MEMBERS: dict[str, Callable[[], Any]] = {
    CompressionTypes.GZIP: lambda: _ZlibMember(zlib.MAX_WBITS | 16),
    CompressionTypes.DEFLATE: lambda: _ZlibMember(zlib.MAX_WBITS),
    CompressionTypes.BZIP2: bz2.BZ2Decompressor,
    CompressionTypes.LZMA: lzma.LZMADecompressor,
    CompressionTypes.ZSTD: _ZstdMember,
}
_COMPRESSORS: dict[str, Callable[[str], Any]] = {
    CompressionTypes.GZIP: lambda name: zlib.compressobj(wbits=zlib.MAX_WBITS | 16),
    CompressionTypes.DEFLATE: lambda name: zlib.compressobj(),
    CompressionTypes.BZIP2: lambda name: bz2.BZ2Compressor(),
    CompressionTypes.LZMA: lambda name: lzma.LZMACompressor(
        lzma.FORMAT_ALONE if name.lower().endswith(".lzma") else lzma.FORMAT_XZ
    ),
    CompressionTypes.ZSTD: lambda name: _zstandard().ZstdCompressor(write_checksum=True).compressobj(),
}


def _zstandard() -> Any:
    """The zstandard package; an ImportError that names the extra without it."""
    try:
        import zstandard
    except ImportError as error:
        raise ImportError(
            "Files compressed with zstd need the package 'zstandard'. Run: pip install 'hornbeam[zstd]'"
        ) from error
    return zstandard


def require_codec(compression_type: str) -> None:
    """ImportError, naming the extra to install, when the compression's package is missing."""
    if compression_type == CompressionTypes.ZSTD:
        _zstandard()


class CompressedFile(io.BufferedIOBase):
    """A binary file that decompresses what it reads from `fileobj`, or compresses what it writes to it.

    Which of the two goes by `fileobj`'s mode. Positions count decompressed bytes; going back starts again from the
    beginning of the file. Closing it closes `fileobj`.
    """

    def __init__(
        self,
        fileobj: IO[bytes],
        compression_type: str = CompressionTypes.GZIP,
        read_size: int = io.DEFAULT_BUFFER_SIZE * 32,
    ) -> None:
        if not fileobj:
            raise ValueError("CompressedFile needs a file object.")
        if compression_type not in _MEMBERS:
            raise TypeError(
                f"CompressedFile needs one of {', '.join(sorted(_MEMBERS))}; found {compression_type!r}."
            )
        self._file = fileobj
        self._type = compression_type
        self._read_size = read_size
        self._name = str(getattr(fileobj, "name", fileobj))
        self._reads = (
            "r" in getattr(fileobj, "mode", "r") if not hasattr(fileobj, "readable") else fileobj.readable()
        )
        self._compressor: _Compressor | None = None
        self._position = 0
        if self._reads:
            self._restart()
        else:
            self._compressor = _COMPRESSORS[compression_type](self._name)

    @property
    def name(self) -> str:
        """The file's name, where it has one."""
        return self._name

    def readable(self) -> bool:
        """Whether the file was opened for reading."""
        return self._reads

    def writable(self) -> bool:
        """Whether the file was opened for writing."""
        return not self._reads

    def writeable(self) -> bool:
        """`writable` as Beam spells it."""
        return self.writable()

    def seekable(self) -> bool:
        """Whether `seek` works: when reading from a file that can go back."""
        return self._reads and self._file.seekable()

    # Reading

    def _restart(self) -> None:
        self._member: Any = None
        self._members = 0
        self._in_member = False
        self._pending = b""  # input that no member has taken yet
        self._buffer = b""
        self._buffer_at = 0
        self._consumed = 0  # input bytes taken from the file
        self._finished = False
        self._position = 0

    def _fill(self) -> bool:
        """Replace the used-up buffer with the next piece of content; False at the end of the file."""
        while not self._finished:
            data = self._pending
            self._pending = b""
            ended = False
            if not data and (not self._in_member or self._member.needs_input):
                data = self._file.read(self._read_size)
                self._consumed += len(data)
                ended = not data
            if not self._in_member:
                if self._members:
                    data = data.lstrip(b"\0")  # zeros after a member are padding, to gzip and xz alike
                if ended:
                    self._finished = True
                    return False
                if not data:
                    continue
                self._member = _MEMBERS[self._type]()
                self._in_member = True
                self._members += 1
            try:
                piece = self._member.decompress(data, self._read_size * 4)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise self._error(str(error)) from error
            except Exception as error:
                if type(error).__name__ != "ZstdError":  # zstandard is optional, its error cannot be named
                    raise
                raise self._error(str(error)) from error
            if self._member.eof:
                self._pending = self._member.unused_data
                self._in_member = False
            elif ended and not piece:
                raise self._error("the file ends too early; it is truncated")
            if piece:
                self._buffer = piece
                self._buffer_at = 0
                return True
        return False

    def _error(self, reason: str) -> DataError:
        offset = self._consumed - len(self._pending)
        return DataError(
            f"{self._name}: cannot be decompressed as {self._type} near its byte {offset} "
            f"({self._position} bytes of content before): {reason}. "
            "Replace the file, or give the compression_type it really has."
        )

    def read(self, num_bytes: int | None = -1, /) -> bytes:
        """That many bytes of content, fewer only at the end; all that is left for None or -1."""
        self._check_readable()
        if num_bytes is None or num_bytes < 0:
            pieces = []
            while self._buffer_at < len(self._buffer) or self._fill():
                pieces.append(self._take(len(self._buffer)))
            return b"".join(pieces)
        pieces, left = [], num_bytes
        while left > 0 and (self._buffer_at < len(self._buffer) or self._fill()):
            pieces.append(self._take(left))
            left -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read1(self, num_bytes: int = -1, /) -> bytes:
        """What is decompressed already, or else the next piece; empty only at the end."""
        self._check_readable()
        if self._buffer_at >= len(self._buffer) and not self._fill():
            return b""
        return self._take(len(self._buffer) if num_bytes is None or num_bytes < 0 else num_bytes)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with content; how many bytes there were."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        """`readinto` from what is decompressed already, or else the next piece."""
        with memoryview(buffer).cast("B") as view:
            data = self.read1(len(view))
            view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1, /) -> bytes:
        """The content up to and with the next newline."""
        self._check_readable()
        limit = size if size is not None and size >= 0 else None
        pieces: list[bytes] = []
        while (limit is None or limit > 0) and (self._buffer_at < len(self._buffer) or self._fill()):
            end = self._buffer.find(b"\n", self._buffer_at) + 1
            count = (end or len(self._buffer)) - self._buffer_at
            if limit is not None:
                count = min(count, limit)
                limit -= count
            pieces.append(self._take(count))
            if pieces[-1].endswith(b"\n"):
                break
        return b"".join(pieces)

    def _take(self, count: int) -> bytes:
        start = self._buffer_at
        data = (
            self._buffer if start == 0 and count >= len(self._buffer) else self._buffer[start : start + count]
        )
        self._buffer_at += len(data)
        self._position += len(data)
        return data

    def _check_readable(self) -> None:
        if self.closed:
            raise ValueError(f"{self._name} is closed.")
        if not self._reads:
            raise io.UnsupportedOperation(f"{self._name} was opened for writing.")

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position of the content, by reading up to it; the new position.

        A position past the end is the end.
        """
        self._check_readable()
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            while self._buffer_at < len(self._buffer) or self._fill():
                self._take(len(self._buffer))
            offset += self._position
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence must be 0, 1 or 2; found {whence!r}.")
        if offset < 0:
            raise ValueError(
                f"{self._name}: there is nothing before the start; the position would be {offset}."
            )
        if offset < self._position:
            self._file.seek(0)
            self._restart()
        while self._position < offset and (self._buffer_at < len(self._buffer) or self._fill()):
            self._take(offset - self._position)
        return self._position

    def tell(self) -> int:
        """The position in the content."""
        return self._position

    # Writing

    def write(self, data: Any, /) -> int:
        """Compress the bytes; they may reach the file only when it is closed."""
        if self.closed:
            raise ValueError(f"{self._name} is closed.")
        if self._compressor is None:
            raise io.UnsupportedOperation(f"{self._name} was opened for reading.")
        size = memoryview(data).nbytes
        compressed = self._compressor.compress(data)
        if compressed:
            self._file.write(compressed)
        self._position += size
        return size

    def flush(self) -> None:
        """Hand what is compressed to the operating system."""
        if not self.closed and not self._reads and not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """End the compressed data and close the file."""
        if self.closed:
            return
        try:
            if self._compressor is not None:
                compressor, self._compressor = self._compressor, None
                self._file.write(compressor.flush())
        finally:
            try:
                self._file.close()
            finally:
                super().close()
