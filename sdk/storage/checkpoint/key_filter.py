"""A Bloom filter over a state file's keys, so that a lookup rarely reads a block of a file that lacks the key.

m bits (ten for each key, a multiple of 8), bit i in byte i // 8 at value 1 << i % 8. With h = crc32(key) and
g = (h * 2654435761 mod 2**32) | 1, a key sets the bits ((h + n * g mod 2**32) * m) >> 32 for n = 0..5. About one
absent key in a hundred passes.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

BITS_PER_KEY = 10
PROBES = 6

_MULTIPLIER = 2654435761
_MASK = (1 << 32) - 1
_VECTORISED_FROM = 3000
#: Keys that are worked on at a time, so that what is in between takes little memory.
_AT_A_TIME = 1 << 14


def hashes_of(keys: Iterable[bytes]) -> array[int]:
    """What `build` needs of each key."""
    return array("I", map(zlib.crc32, keys))


def build(hashes: Sequence[int]) -> bytes:
    """The filter of the keys with these hashes; the same bytes whichever way it is computed."""
    size = (len(hashes) * BITS_PER_KEY + 7) // 8
    if len(hashes) >= _VECTORISED_FROM:
        return _build_vectorised(hashes, size)
    return _build_one_by_one(hashes, size)


def may_contain(bits: memoryview, key: bytes) -> bool:
    """False if the key is certainly not there."""
    h, m = zlib.crc32(key), len(bits) * 8
    g = (h * _MULTIPLIER & _MASK) | 1
    for _ in range(PROBES):
        position = h * m >> 32
        if not bits[position >> 3] >> (position & 7) & 1:
            return False
        h = h + g & _MASK
    return True


def _build_one_by_one(hashes: Iterable[int], size: int) -> bytes:
    bits, m = bytearray(size), size * 8
    for h in hashes:
        g = (h * _MULTIPLIER & _MASK) | 1
        for _ in range(PROBES):
            position = h * m >> 32
            bits[position >> 3] |= 1 << (position & 7)
            h = h + g & _MASK
    return bytes(bits)


def _build_vectorised(hashes: Sequence[int], size: int) -> bytes:
    import numpy

    mask, m = numpy.uint64(_MASK), numpy.uint64(size * 8)
    bits = numpy.zeros(size * 8, dtype=numpy.bool_)
    for start in range(0, len(hashes), _AT_A_TIME):
        h: Any = numpy.array(hashes[start : start + _AT_A_TIME], dtype=numpy.uint64)
        g: Any = (h * numpy.uint64(_MULTIPLIER) & mask) | numpy.uint64(1)
        for _ in range(PROBES):
            bits[h * m >> numpy.uint64(32)] = True
            h = h + g & mask
    return numpy.packbits(bits, bitorder="little").tobytes()
