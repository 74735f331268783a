"""GroupByKey of int keys in one window by sorting columns, where that gives what the engine's grouping would give.

It takes about half the time, and less memory, as neither pairs nor a table are made. Whatever is not as simple goes to the
engine's own operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.emission import ON_TIME_AND_ONLY
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.grouping import GroupingOperator
from hornbeam.runners.multiprocess.columns import Columns, joined, unpacked
from hornbeam.transforms.window import TimestampCombiner

_MASK = (1 << 64) - 1


def can_sort(grouping: Any) -> bool:
    """Whether a grouping gathers values, fires each window once, and stamps outputs with the window's end."""
    return (
        type(grouping) is GroupingOperator
        and type(grouping.folding) is GatherFolding
        and grouping.spec.timestamp_combiner == TimestampCombiner.OUTPUT_AT_EOW
    )


def are_simple(blocks: list[Columns]) -> bool:
    """Whether all pairs have ints as keys and are in one and the same window."""
    windows = blocks[0][2]
    return (
        type(windows) is tuple
        and len(windows) == 1
        and all(
            type(keys) is np.ndarray and type(own) is tuple and own == windows
            for (keys, _), _, own, _ in blocks
        )
    )


def sorted_groups(blocks: list[Columns]) -> Iterator[Bundle]:
    """(key, values) of all pairs of the blocks."""
    windows = blocks[0][2]
    keys = np.ascontiguousarray(joined([block[0][0] for block in blocks]))
    values = joined([block[0][1] for block in blocks])
    blocks.clear()
    order = _order(keys)
    keys = keys[order]
    if type(values) is np.ndarray:
        values = values[order].tolist()
    else:
        values = list(map(values.__getitem__, order.tolist()))
    firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    own = unpacked(keys[firsts])
    bounds = [*firsts.tolist(), len(keys)]
    end = windows[0].max_micros
    for start in range(0, len(own), CHUNK):
        part = own[start : start + CHUNK]
        cuts = bounds[start : start + CHUNK + 1]
        groups = [values[first:after] for first, after in pairwise(cuts)]
        yield Bundle(list(zip(part, groups)), end, windows, ON_TIME_AND_ONLY)


def _order(keys: Any) -> Any:
    """The stable order of int keys, digit by digit: numpy sorts 16 bits by radix, ten times as fast as 64."""
    low, high = int(keys.min()), int(keys.max())
    digits = keys.view(np.uint64) - np.uint64(low & _MASK)
    order = np.argsort(digits.astype(np.uint16), kind="stable")
    for shift in range(16, (high - low).bit_length(), 16):
        digit = (digits >> np.uint64(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order
