"""Codecs of batch bodies: the numbers in the file format, and pyarrow's compressors behind them."""

from __future__ import annotations

from typing import Any

from hornbeam.storage.log.errors import FormatVersionError, InvalidSettingError

CODECS = {"none": 0, "lz4": 1, "zstd": 2}
_NAMES = {number: name for name, number in CODECS.items()}


def codec_number(name: str) -> int:
    """The number that stands for a codec in the file; InvalidSettingError for an unknown name."""
    if name not in CODECS:
        raise InvalidSettingError(f"compression {name!r} is none of {', '.join(CODECS)}")
    return CODECS[name]


def compress(codec: int, data: bytes) -> bytes:
    """`data` in that codec (LZ4 frames, zstd frames)."""
    return bytes(_codec(codec).compress(data, asbytes=True))


def decompress(codec: int, data: Any, size: int) -> memoryview:
    """Back to the `size` bytes that were compressed; ValueError or OSError when the data is not theirs."""
    return memoryview(_codec(codec).decompress(data, size)).cast("B")


def _codec(number: int) -> Any:
    import pyarrow  # slow to load, and only compressed topics need it

    name = _NAMES.get(number)
    if name is None:
        raise FormatVersionError(f"batch uses codec {number}, which this version does not know")
    return pyarrow.Codec(name)
