"""How much memory values take, estimated from a few of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

_SAMPLE = 8
_DEPTH_MAX = 4
_LEAVES = frozenset({int, float, str, bytes, bool, type(None), complex})


def size_of(value: Any, depth: int = 0) -> int:
    """Bytes of one value and what it holds; containers are sampled, depth is bounded."""
    size = sys.getsizeof(value, 64)
    kind = type(value)
    if kind in _LEAVES or depth >= _DEPTH_MAX:
        return size
    if isinstance(value, (tuple, list, set, frozenset)):
        size += _contents(list(value) if isinstance(value, (set, frozenset)) else value, depth)
    elif isinstance(value, dict):
        size += _contents(list(value), depth) + _contents(list(value.values()), depth)
    else:
        fields = getattr(value, "__dict__", None)
        if fields:
            size += size_of(fields, depth + 1)
        for name in getattr(kind, "__slots__", ()):
            if isinstance(name, str):
                size += size_of(getattr(value, name, None), depth + 1)
    return size


def _contents(items: Sequence[Any], depth: int) -> int:
    if not items:
        return 0
    if len(items) <= _SAMPLE:
        return sum(size_of(item, depth + 1) for item in items)
    return mean_size(items, depth) * len(items)


def mean_size(items: Sequence[Any], depth: int = 0) -> int:
    """The mean size of a sample of the items, at least 1."""
    if not items:
        return 1
    sample = items[:: max(1, len(items) // _SAMPLE)]
    return max(1, sum(size_of(item, depth + 1) for item in sample) // len(sample))


def some_of(items: Iterable[Any]) -> list[Any]:
    """The first few of the items, to be measured."""
    return [item for item, _ in zip(items, range(_SAMPLE))]
