"""Which key group a key belongs to: the same in every process and after every restart.

A key becomes a number of 64 bits: an int is that number, as far as it fits; a string gives the CRC-32 of its UTF-8
form, plus 2^64/3; any other key the CRC-32 of its name's bytes, plus twice that. The number is mixed by the finaliser
of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), and its six highest
bits are the group. So a column of keys is dealt out at once, without a memory of keys that were met before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from hornbeam.runners.engine.keys import RAW_TYPES, canonical_key
from hornbeam.runners.log.edges import KEY_GROUPS, worker_of_group
from hornbeam.runners.log.state_names import name_bytes

_MASK = (1 << 64) - 1
_STRING, _OTHER = (1 << 64) // 3, 2 * ((1 << 64) // 3)
_GROUP_SHIFT = 64 - (KEY_GROUPS - 1).bit_length()
assert KEY_GROUPS == 1 << 64 - _GROUP_SHIFT


def groups_of(keys: Sequence[Any]) -> npt.NDArray[np.int64]:
    """The groups of keys as tables hold them (see `engine.keys`)."""
    kinds = set(map(type, keys))
    numbers: Any
    if kinds == {int}:
        try:
            numbers = np.array(keys, dtype=np.int64).view(np.uint64)
        except OverflowError:
            numbers = np.array([_number(key) for key in keys], dtype=np.uint64)
    elif kinds == {str}:
        codes = [crc32(key.encode("utf-8", "surrogatepass")) for key in keys]
        numbers = np.array(codes, dtype=np.uint64) + np.uint64(_STRING)
    else:
        numbers = np.array([_number(key) for key in keys], dtype=np.uint64)
    return _groups(numbers)


def group_of(key: Any) -> int:
    """The group of a key as tables hold it."""
    return int(groups_of([key])[0])


def _number(key: Any) -> int:
    kind = type(key)
    if kind is int and -(1 << 63) <= key < 1 << 63:
        return int(key) & _MASK
    if kind is str:
        return crc32(key.encode("utf-8", "surrogatepass")) + _STRING
    return crc32(name_bytes(key)) + _OTHER


def _groups(numbers: Any) -> npt.NDArray[np.int64]:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    numbers ^= numbers >> np.uint64(31)
    groups: npt.NDArray[np.int64] = (numbers >> np.uint64(_GROUP_SHIFT)).astype(np.int64)
    return groups


@cache
def _owners(workers: int) -> npt.NDArray[np.int64]:
    """The owner of each group."""
    return np.array([worker_of_group(group, workers) for group in range(KEY_GROUPS)])


class KeyGroups:
    """The key groups of a step's keys: the same for as long as the coder writes the same bytes."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode

    def of(self, key: Any) -> int:
        """The group of a key as the author gave it."""
        return group_of(canonical_key(key, self._encode))

    def workers_of(self, keys: list[Any], workers: int) -> npt.NDArray[np.int64]:
        """Who owns the groups of keys as the author gave them."""
        if not RAW_TYPES.issuperset(map(type, keys)):
            encode = self._encode
            keys = [canonical_key(key, encode) for key in keys]
        return _owners(workers)[groups_of(keys)]
