"""Which partition a record goes to: CRC-32 of the key modulo the number of partitions. Part of the format: it never
changes, so that a key stays where it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.storage.log.record import Headers


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return zlib.crc32(key) % partitions


def group_by_partition(keys: Sequence[bytes | None], partitions: int, sticky: int) -> list[tuple[int, Any]]:
    """(partition, indexes of its records in order) for a batch; records without key go to `sticky`."""
    if None in keys:
        numbers = np.array([sticky if k is None else zlib.crc32(k) % partitions for k in keys])
    else:
        hashes = np.fromiter(map(zlib.crc32, keys), np.uint32, len(keys))  # type: ignore[arg-type]
        numbers = hashes % np.uint32(partitions)
    order = np.argsort(numbers, kind="stable")
    bounds = np.flatnonzero(np.diff(numbers[order])) + 1
    return [(int(numbers[group[0]]), group) for group in np.split(order, bounds) if len(group)]


Columns = tuple[
    Sequence[bytes | None],
    Sequence[bytes | None] | None,
    int | Sequence[int],
    Sequence[Headers | None] | None,
]


def split_by_partition(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    times: int | Sequence[int],
    headers: Sequence[Headers | None] | None,
    partitions: int,
    sticky: int,
) -> list[tuple[int, Columns]]:
    """(partition, its records' columns) for a batch."""
    parts: list[tuple[int, Columns]] = []
    for number, rows in group_by_partition(keys, partitions, sticky):
        picked = rows.tolist()
        columns = (
            [values[i] for i in picked],
            [keys[i] for i in picked],
            times if isinstance(times, int) else [times[i] for i in picked],
            None if headers is None else [headers[i] for i in picked],
        )
        parts.append((number, columns))
    return parts
