"""Which partition a key belongs to: by a stable hash, the same in every process, never Python's own `hash`.

Keys that a table holds as they are (str, bytes, int, None, tuples of them) are hashed by what they are, all others by their
encoded form; so keys that a grouping takes for the same always meet. Whole columns of ints are hashed by arithmetic, others
through a table of the keys seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hornbeam.runners.engine.keys import RAW_TYPES, EncodedKey, canonical_key

Codes = npt.NDArray[np.uint16]

#: Keys whose partition is remembered.
_SEEN_MAX = 1 << 18
_MASK = (1 << 64) - 1
_C1, _C2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53  # the finalizer of MurmurHash3 (Appleby)
_INT64 = range(-(1 << 63), 1 << 63)


def _mixed(number: int) -> int:
    x = number & _MASK
    x = (x ^ (x >> 33)) * _C1 & _MASK
    x = (x ^ (x >> 33)) * _C2 & _MASK
    return x ^ (x >> 33)


def _mixed_column(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    x = np.ascontiguousarray(numbers).view(np.uint64)
    shift = np.uint64(33)
    x = (x ^ (x >> shift)) * np.uint64(_C1)
    x = (x ^ (x >> shift)) * np.uint64(_C2)
    return x ^ (x >> shift)


def stable_hash(key: Any, encode: Callable[[Any], bytes]) -> int:
    """64 bits that depend on nothing but the key's encoded form; `encode` is asked only where it has to be."""
    kind = type(key)
    if kind is int and key in _INT64:
        return _mixed(key)
    if kind is str:
        return _mixed(zlib.crc32(key.encode("utf-8", "surrogatepass")))
    if kind is bytes:
        return _mixed(zlib.crc32(key, 1))
    if kind in RAW_TYPES or (kind is tuple and RAW_TYPES.issuperset(map(type, key))):
        return _mixed(zlib.crc32(repr(key).encode("utf-8", "surrogatepass"), 2))
    found = canonical_key(key, encode)
    return _mixed(zlib.crc32(found.data, 3)) if type(found) is EncodedKey else stable_hash(found, encode)


class _Seen(dict[Any, int]):
    """Partition by raw key, found when first asked for."""

    def __init__(self, partitions: int, encode: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._partitions = partitions
        self._encode = encode

    def __missing__(self, key: Any) -> int:
        if len(self) >= _SEEN_MAX:
            self.clear()
        found = self[key] = stable_hash(key, self._encode) % self._partitions
        return found


class Partitioner:
    """Deals keys out to `partitions` parts."""

    def __init__(self, partitions: int, encode: Callable[[Any], bytes]) -> None:
        self.partitions = partitions
        self._encode = encode
        self._seen = _Seen(partitions, encode)

    def codes(self, keys: Any) -> Codes:
        """The partition of each key, in a list or, all of them ints, in an array."""
        if type(keys) is np.ndarray:
            return (_mixed_column(keys) % np.uint64(self.partitions)).astype(np.uint16)
        kinds = set(map(type, keys))
        if kinds <= RAW_TYPES or (
            kinds == {tuple} and set(map(type, chain.from_iterable(keys))) <= RAW_TYPES
        ):
            return np.fromiter(map(self._seen.__getitem__, keys), np.uint16, len(keys))
        # Other keys may be equal in Python and yet two keys (1 and 1.0), so that no table can hold them.
        codes = [stable_hash(key, self._encode) % self.partitions for key in keys]
        return np.array(codes, dtype=np.uint16)
