"""Compression of blocks: none, or pyarrow's lz4 and zstd, loaded when first used."""

from __future__ import annotations

from typing import Any

CODECS = {"none": 0, "lz4": 1, "zstd": 2}
CODEC_NAMES = {number: name for name, number in CODECS.items()}

_loaded: dict[str, Any] = {}


def _codec(name: str) -> Any:
    if name not in _loaded:
        import pyarrow

        _loaded[name] = pyarrow.Codec(name)
    return _loaded[name]


def compress(data: bytes, name: str) -> bytes:
    """The compressed form (an LZ4 or Zstandard frame)."""
    compressed: bytes = _codec(name).compress(data, asbytes=True)
    return compressed


def decompress(data: bytes, name: str, size: int) -> bytes:
    """The original of `size` bytes; ValueError when it is not."""
    original: bytes = _codec(name).decompress(data, decompressed_size=size, asbytes=True)
    return original
