"""How a CombineFn folds the values of a key, and which shorter way does the same.

CombineFolding lets values pend and gives them to `add_inputs` many at a time, so that a CombineFn with a quick
`add_inputs` runs at its speed. SumFolding and CountFolding never let a value pend. MergeFolding is fed accumulators, not
values. All give what `create_accumulator`, `add_input` for each value, `merge_accumulators`, `compact` and `extract_output`
would give.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

from hornbeam.runners.engine.failures import raised_at_key
from hornbeam.runners.engine.folding import Cell, Folding
from hornbeam.runners.engine.keys import user_key
from hornbeam.transforms.combine import CallableWrapperCombineFn
from hornbeam.transforms.combiners import CountCombineFn

#: Accumulators of these types cannot change under whoever holds them.
UNCHANGEABLE = frozenset({int, float, complex, bool, str, bytes, type(None)})

_first = itemgetter(0)


class CombineFolding(Folding):
    """Any CombineFn, fed by `add_inputs`. `args` and `kwargs` are the extra arguments of every call."""

    def __init__(self, fn: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs or {}

    def setup(self) -> None:
        self.fn.setup(*self.args, **self.kwargs)

    def teardown(self) -> None:
        self.fn.teardown(*self.args, **self.kwargs)

    def compact(self, cell: Cell) -> None:
        pending, accumulators = cell.pending, cell.accumulators
        fn, args, kwargs = self.fn, self.args, self.kwargs
        add_inputs = fn.add_inputs
        for key, values in pending.items():
            try:
                if key in accumulators:
                    accumulator = accumulators[key]
                else:
                    accumulator = fn.create_accumulator(*args, **kwargs)
                accumulators[key] = add_inputs(accumulator, values, *args, **kwargs)
            except Exception as error:
                raised_at_key(error, user_key(key))
                raise
        pending.clear()

    def absorb(self, cell: Cell, other: Cell) -> None:
        self.compact(other)
        self.compact(cell)
        accumulators = cell.accumulators
        merge, args, kwargs = self.fn.merge_accumulators, self.args, self.kwargs
        for key, accumulator in other.accumulators.items():
            if key in accumulators:
                accumulators[key] = merge([accumulators[key], accumulator], *args, **kwargs)
            else:
                accumulators[key] = accumulator

    def result_items(self, cells: list[Cell], shared: bool = False) -> Iterator[tuple[Any, Any]]:
        for key, accumulator in self.accumulated(cells):
            try:
                yield key, self.output(accumulator)
            except Exception as error:
                raised_at_key(error, user_key(key))
                raise

    def accumulated(self, cells: list[Cell]) -> Iterator[tuple[Any, Any]]:
        """(table key, accumulator) of the cells together."""
        for cell in cells:
            self.compact(cell)
        if len(cells) == 1:
            yield from cells[0].accumulators.items()
            return
        merge, args, kwargs = self.fn.merge_accumulators, self.args, self.kwargs
        for key in dict.fromkeys(chain.from_iterable(cell.accumulators for cell in cells)):
            yield key, merge([c.accumulators[key] for c in cells if key in c.accumulators], *args, **kwargs)

    def output(self, accumulator: Any) -> Any:
        """What an accumulator comes to."""
        fn, args, kwargs = self.fn, self.args, self.kwargs
        return fn.extract_output(fn.compact(accumulator, *args, **kwargs), *args, **kwargs)

    def fold(self, values: list[Any]) -> Any:
        return self.output(self.extended(self.begun(), values))

    def begun(self) -> Any:
        return self.fn.create_accumulator(*self.args, **self.kwargs)

    def extended(self, accumulator: Any, values: list[Any]) -> Any:
        return self.fn.add_inputs(accumulator, values, *self.args, **self.kwargs)

    def merged(self, accumulators: list[Any]) -> Any:
        return self.fn.merge_accumulators(accumulators, *self.args, **self.kwargs)

    def given(self, accumulator: Any, keep: bool) -> Any:
        if keep and type(accumulator) not in UNCHANGEABLE:
            # What compact and extract_output make may be, or hold, the accumulator itself.
            accumulator = copy.deepcopy(accumulator)
        return self.output(accumulator)


class MergeFolding(CombineFolding):
    """A CombineFn fed with accumulators that were made upstream."""

    def compact(self, cell: Cell) -> None:
        accumulators = cell.accumulators
        merge, args, kwargs = self.fn.merge_accumulators, self.args, self.kwargs
        for key, partial in cell.pending.items():
            if key in accumulators:
                partial = [accumulators[key], *partial]
            try:
                accumulators[key] = partial[0] if len(partial) == 1 else merge(partial, *args, **kwargs)
            except Exception as error:
                raised_at_key(error, user_key(key))
                raise
        cell.pending.clear()

    def extended(self, accumulator: Any, values: list[Any]) -> Any:
        return self.merged([accumulator, *values])

    def fold(self, values: list[Any]) -> Any:
        merged = (
            values[0] if len(values) == 1 else self.fn.merge_accumulators(values, *self.args, **self.kwargs)
        )
        return self.output(merged)


class _DirectFolding(Folding):
    """A folding whose accumulators are plain immutable values, folded at once."""

    shares_cells = True
    pends = False

    def result_items(self, cells: list[Cell], shared: bool = False) -> Iterator[tuple[Any, Any]]:
        return self.accumulated(cells)

    def accumulated(self, cells: list[Cell]) -> Iterator[tuple[Any, Any]]:
        """(table key, accumulator) of the cells together."""
        if len(cells) == 1:
            return iter(cells[0].accumulators.items())
        total = self.new_cell()
        for cell in cells:
            self.absorb(total, cell)
        return iter(total.accumulators.items())

    def begun(self) -> Any:
        return 0

    def merged(self, accumulators: list[Any]) -> Any:
        return sum(accumulators)

    def given(self, accumulator: Any, keep: bool) -> Any:
        return accumulator


class SumFolding(_DirectFolding):
    """The builtin `sum`: it starts from 0 and adds with `+`, never in place."""

    def new_cell(self) -> Cell:
        """An empty cell, in which every key begins at 0."""
        return Cell({}, defaultdict(int))

    def add(self, cell: Cell, pairs: Iterable[tuple[Any, Any]]) -> None:
        totals = cell.accumulators
        key: Any = None
        try:
            for key, value in pairs:
                totals[key] = totals[key] + value
        except Exception as error:
            raised_at_key(error, user_key(key))
            raise

    def add_values(self, cell: Cell, values: list[Any]) -> None:
        totals = cell.accumulators
        totals[None] = sum(values, totals[None])

    def spread(self, cells: Iterable[Cell], pairs: Iterable[tuple[Any, Any]]) -> None:
        key: Any = None
        try:
            for cell, (key, value) in zip(cells, pairs):
                totals = cell.accumulators
                totals[key] = totals[key] + value
        except Exception as error:
            raised_at_key(error, user_key(key))
            raise

    def absorb(self, cell: Cell, other: Cell) -> None:
        self.add(cell, other.accumulators.items())

    def extended(self, accumulator: Any, values: list[Any]) -> Any:
        return sum(values, accumulator)

    def fold(self, values: list[Any]) -> Any:
        return sum(values)

    def fold_slices(self, values: list[Any], firsts: list[int], afters: list[int]) -> list[Any]:
        return [sum(values[first:after]) for first, after in zip(firsts, afters)]


class CountFolding(_DirectFolding):
    """The number of values; what they are is never looked at."""

    looks_at_values = False

    def new_cell(self) -> Cell:
        """An empty cell, in which every key begins at 0."""
        return Cell({}, Counter())

    def add(self, cell: Cell, pairs: Iterable[tuple[Any, Any]]) -> None:
        cell.accumulators.update(map(_first, pairs))

    def add_values(self, cell: Cell, values: list[Any]) -> None:
        cell.accumulators[None] += len(values)

    def spread(self, cells: Iterable[Cell], pairs: Iterable[tuple[Any, Any]]) -> None:
        for cell, pair in zip(cells, pairs):
            cell.accumulators[pair[0]] += 1

    def absorb(self, cell: Cell, other: Cell) -> None:
        totals = cell.accumulators
        for key, count in other.accumulators.items():
            totals[key] += count

    def extended(self, accumulator: Any, values: list[Any]) -> Any:
        return accumulator + len(values)

    def fold(self, values: list[Any]) -> Any:
        return len(values)

    def fold_slices(self, values: list[Any], firsts: list[int], afters: list[int]) -> list[Any]:
        return list(map(int.__sub__, afters, firsts))


def folding_for(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Folding:
    """The folding of values by a CombineFn."""
    if not args and not kwargs:
        if is_sum(fn):
            return SumFolding()
        if type(fn) is CountCombineFn:
            return CountFolding()
    return CombineFolding(fn, args, kwargs)


def merging_for(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Folding:
    """The folding of accumulators that the same CombineFn made upstream. Sums and counts both merge by adding."""
    if not args and not kwargs and (is_sum(fn) or type(fn) is CountCombineFn):
        return SumFolding()
    return MergeFolding(fn, args, kwargs)


def is_sum(fn: Any) -> bool:
    """Whether the CombineFn is the builtin sum and nothing else."""
    return type(fn) is CallableWrapperCombineFn and fn.fn is sum
