"""Bundles on their way to and from blocks: many small ones gathered into one, pairs taken apart into columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals

#: (values or (keys, values), timestamps, windows, panes), as a block holds them.
Columns = tuple[Any, Any, Any, Any]


def gathered(bundles: list[Bundle]) -> Bundle:
    """One bundle with the elements of all, in order; columns are joined, not taken apart."""
    first = bundles[0]
    if len(bundles) == 1:
        return first
    values: list[Any] = []
    for bundle in bundles:
        values.extend(bundle.values)
    return Bundle(values, *joined_metadata(bundles))


def joined_metadata(bundles: list[Bundle]) -> tuple[Any, Any, Any]:
    """The timestamps, windows and panes of all, in order."""
    if len(bundles) == 1:
        return bundles[0].timestamps, bundles[0].windows, bundles[0].panes
    return _timestamps(bundles), _windows(bundles), _panes(bundles)


def _timestamps(bundles: list[Bundle]) -> Any:
    first = bundles[0].timestamps
    if type(first) is int and all(type(b.timestamps) is int and b.timestamps == first for b in bundles):
        return first
    return np.concatenate([bundle.timestamp_array() for bundle in bundles])


def _windows(bundles: list[Bundle]) -> Any:
    first = bundles[0].windows
    if type(first) is tuple and all(
        b.windows is first or (type(b.windows) is tuple and b.windows == first) for b in bundles
    ):
        return first
    if all(type(b.windows) is Intervals for b in bundles):
        columns: list[Any] = [b.windows for b in bundles]
        return Intervals(
            np.concatenate([c.starts for c in columns]), np.concatenate([c.ends for c in columns])
        )
    return _joined([(b.windows, len(b)) for b in bundles])


def _panes(bundles: list[Bundle]) -> Any:
    first = bundles[0].panes
    if type(first) is not Coded and all(
        b.panes is first or (type(b.panes) is not Coded and b.panes == first) for b in bundles
    ):
        return first
    return _joined([(b.panes, len(b)) for b in bundles])


def _joined(columns: list[tuple[Any, int]]) -> Coded:
    """One coded column of columns that are shared, coded or intervals."""
    index: dict[Any, int] = {}
    parts = []
    for column, count in columns:
        if type(column) is Intervals:
            column = Coded.of(column.to_list())
        if type(column) is Coded:
            codes = np.array([index.setdefault(entry, len(index)) for entry in column.table], dtype=np.intp)
            parts.append(codes[column.codes])
        else:
            parts.append(np.full(count, index.setdefault(column, len(index)), dtype=np.intp))
    return Coded(np.concatenate(parts), list(index))


def packed(values: Sequence[Any]) -> Any:
    """Ints or floats as an array, which is quicker on its way; everything else as a list."""
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            return list(values)
    return np.array(values, dtype=np.float64) if kinds == {float} else list(values)


def packed_ints(values: Sequence[Any]) -> Any:
    """Ints as an array; everything else as a list, so that floats stay keys that are compared by their encoded form."""
    return packed(values) if type(values[0]) is int else list(values)


def joined(columns: list[Any]) -> Any:
    """Packed columns one after the other, packed if all are, and of one type."""
    if len(columns) == 1:
        return columns[0]
    if len({column.dtype if type(column) is np.ndarray else None for column in columns}) == 1 and (
        type(columns[0]) is np.ndarray
    ):
        return np.concatenate(columns)
    values: list[Any] = []
    for column in columns:
        values.extend(unpacked(column))
    return values


def unpacked(column: Any) -> list[Any]:
    """The list that `packed` was given."""
    return column.tolist() if type(column) is np.ndarray else column  # type: ignore[no-any-return]


def part_of(column: Any, index: Any, places: list[int] | None) -> Any:
    """The entries of a packed column at an index, which `places` gives as a list for columns that are lists."""
    if type(column) is np.ndarray:
        return column[index]
    return list(map(column.__getitem__, index.tolist() if places is None else places))


def pairs_of(columns: Columns) -> Bundle:
    """The bundle of pairs whose keys and values a block holds apart."""
    (keys, values), timestamps, windows, panes = columns
    return Bundle(list(zip(unpacked(keys), unpacked(values))), timestamps, windows, panes)


def elements_of(columns: Columns) -> Bundle:
    """The bundle of a block of whole elements."""
    values, timestamps, windows, panes = columns
    return Bundle(unpacked(values), timestamps, windows, panes)
