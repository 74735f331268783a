"""How the values of a key become one value: a Cell holds what a set of windows has gathered, a Folding fills it.

    pairs ── add ──► Cell(pending: key → values, accumulators: key → accumulator) ── results ──► (key, output)

GatherFolding keeps the values (GroupByKey). CombineFolding lets values pend and gives them to `add_inputs` many at a
time, so that a CombineFn with a quick `add_inputs` runs at its speed. SumFolding and CountFolding never let a value
pend. MergeFolding is fed accumulators, not values. All give what `create_accumulator`, `add_input` for each value,
`merge_accumulators`, `compact` and `extract_output` would give.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from hornbeam.error import InternalError
from hornbeam.runners.engine.failures import raised_at_key
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.transforms.combine import CallableWrapperCombineFn
from hornbeam.transforms.combiners import CountCombineFn

#: Pairs a cell from which on it pays to sort them by cell.
_TOGETHER_MIN = 16
#: A dict entry and the list it holds.
_ENTRY_BYTES = 200

#: Accumulators of these types cannot change under whoever holds them.
_UNCHANGEABLE = frozenset({int, float, complex, bool, str, bytes, type(None)})

_first = itemgetter(0)


class Cell:
    """What one set of windows holds, per key; `stamps` is kept only when outputs need the inputs' timestamps."""

    __slots__ = ("accumulators", "pending", "stamps")

    def __init__(self, pending: dict[Any, list[Any]], accumulators: dict[Any, Any]) -> None:
        self.pending = pending
        self.accumulators = accumulators
        self.stamps: dict[Any, int] = {}

    def __len__(self) -> int:
        return max(len(self.pending), len(self.accumulators))


class Folding:
    """The strategy: what it means to add pairs to a cell, to merge cells and to give results."""

    #: Whether one cell may stand for several windows at once and be read for each of them.
    shares_cells = False
    #: Whether the values themselves are kept until the end, so that nothing is ever folded.
    gathers = False
    #: Whether outputs depend on what the values are, and not only on how many there are.
    looks_at_values = True
    #: Which input the values that are being added came from, where there are several.
    place = 0
    #: Whether values wait in `pending` until `compact` folds them.
    pends = True

    def new_cell(self) -> Cell:
        """An empty cell of this strategy."""
        return Cell(defaultdict(list), {})

    def add(self, cell: Cell, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Adds (key, value) pairs."""
        pending = cell.pending
        for key, value in pairs:
            pending[key].append(value)

    def add_values(self, cell: Cell, values: list[Any]) -> None:
        """Adds bare values under the key None."""
        cell.pending[None].extend(values)

    def spread(self, cells: Iterable[Cell], pairs: Iterable[tuple[Any, Any]]) -> None:
        """Adds each pair to the cell beside it."""
        for cell, (key, value) in zip(cells, pairs):
            cell.pending[key].append(value)

    def packed(self, cell: Cell) -> Cell:
        """The cell in the form in which it goes to disk; `absorb` takes it back."""
        return cell

    def compact(self, cell: Cell) -> None:
        """Folds what pends into accumulators, where the strategy has any."""

    def keys(self, cell: Cell) -> Iterable[Any]:
        """The table keys of a cell, each once."""
        return {**cell.pending, **cell.accumulators}

    def content(self, cell: Cell, key: Any) -> Any:
        """All that a cell holds for a key, for a snapshot; `put` takes it back."""
        accumulator = (cell.accumulators[key],) if key in cell.accumulators else ()
        return cell.pending.get(key, ()), accumulator

    def count(self, cell: Cell) -> int:
        """How many values pend in a cell."""
        return sum(map(len, cell.pending.values()))

    def some_values(self, cell: Cell) -> list[Any]:
        """A few of those."""
        return list(chain.from_iterable(values[:2] for values in _some(cell.pending.values())))

    def put(self, cell: Cell, key: Any, content: Any) -> None:
        """Makes what `content` gave the cell's content for a key."""
        values, accumulator = content
        if values:
            cell.pending[key] = list(values)
        if accumulator:
            (cell.accumulators[key],) = accumulator

    def absorb(self, cell: Cell, other: Cell) -> None:
        """Adds all of another cell of this strategy; `other` is not used after."""
        for key, values in other.pending.items():
            cell.pending[key].extend(values)

    def result_items(self, cells: list[Cell], shared: bool = False) -> Iterator[tuple[Any, Any]]:
        """(table key, output) of the cells together; cells that other windows share as well are only read."""
        if len(cells) == 1 and not shared:
            yield from cells[0].pending.items()
            return
        for key in dict.fromkeys(chain.from_iterable(cell.pending for cell in cells)):
            yield key, list(chain.from_iterable(cell.pending[key] for cell in cells if key in cell.pending))

    def accumulated(self, cells: list[Cell]) -> Iterator[tuple[Any, Any]]:
        """(table key, accumulator) of the cells together."""
        raise InternalError(f"{type(self).__name__} keeps no accumulators")

    def fold(self, values: list[Any]) -> Any:
        """The output for the values of one key, without a cell."""
        return values

    def fold_slices(self, values: list[Any], firsts: list[int], afters: list[int]) -> list[Any]:
        """The outputs for values[first:after] of each pair of bounds."""
        fold = self.fold
        return [fold(values[first:after]) for first, after in zip(firsts, afters)]

    # The same for one key and window at a time, where panes fire one by one: no cell, an accumulator.

    def begun(self) -> Any:
        """The accumulator of no values."""
        return []

    def extended(self, accumulator: Any, values: list[Any]) -> Any:
        """The accumulator with more values; the one given is not used after."""
        accumulator.extend(values)
        return accumulator

    def merged(self, accumulators: list[Any]) -> Any:
        """One accumulator of several, in their order; those given are not used after."""
        return list(chain.from_iterable(accumulators))

    def given(self, accumulator: Any, keep: bool) -> Any:
        """The output; with `keep` the accumulator goes on, and shares nothing with the output."""
        return list(accumulator) if keep else accumulator

    def size(self, cell: Cell) -> int:
        """Estimated bytes of a cell, but for the values that pend."""
        entries = len(cell) * (_ENTRY_BYTES + (_ENTRY_BYTES if cell.stamps else 0))
        keys = mean_size(_some(cell.pending or cell.accumulators)) * len(cell)
        return entries + keys + mean_size(_some(cell.accumulators.values())) * len(cell.accumulators)

    def setup(self) -> None:
        """Called once before use on a worker."""

    def teardown(self) -> None:
        """Called once after use on a worker."""


def _some(items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(8))]


def add_coded(
    folding: Folding, cells: Sequence[Cell | None], codes: npt.NDArray[np.intp], pairs: list[tuple[Any, Any]]
) -> None:
    """Adds each pair to the cell of its code. Where a cell gets many pairs, they are brought together first."""
    if len(codes) < _TOGETHER_MIN * len(cells):
        folding.spread(map(cells.__getitem__, codes.tolist()), pairs)  # type: ignore[arg-type]
        return
    order = np.argsort(codes, kind="stable")
    ordered = list(map(pairs.__getitem__, order.tolist()))
    start = 0
    for cell, end in zip(cells, np.cumsum(np.bincount(codes, minlength=len(cells))).tolist()):
        if cell is not None and end > start:
            folding.add(cell, ordered[start:end])
        start = end


class GatherFolding(Folding):
    """GroupByKey: the values themselves."""

    shares_cells = True
    gathers = True


class JoinCell(Cell):
    """What a set of windows has gathered of each input: key → values, one dict an input."""

    __slots__ = ("parts",)

    def __init__(self, inputs: int) -> None:
        self.parts: list[defaultdict[Any, list[Any]]] = [defaultdict(list) for _ in range(inputs)]
        super().__init__(self.parts[0], {})

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def all_keys(self) -> dict[Any, None]:
        """The keys of all inputs, each once."""
        return dict.fromkeys(chain.from_iterable(self.parts))


class JoinFolding(Folding):
    """CoGroupByKey: the values of each input apart. `place` says whose values are being added.

    An output is a dict by tag, or without tags a tuple of lists in the order of the inputs.
    """

    shares_cells = True
    gathers = True

    def __init__(self, inputs: int, tags: list[Any] | None) -> None:
        self._inputs = inputs
        self._tags = tags

    def new_cell(self) -> JoinCell:
        """An empty cell."""
        return JoinCell(self._inputs)

    def add(self, cell: Cell, pairs: Iterable[tuple[Any, Any]]) -> None:
        assert isinstance(cell, JoinCell)
        pending = cell.parts[self.place]
        for key, value in pairs:
            pending[key].append(value)

    def spread(self, cells: Iterable[Cell], pairs: Iterable[tuple[Any, Any]]) -> None:
        place = self.place
        for cell, (key, value) in zip(cells, pairs):
            cell.parts[place][key].append(value)  # type: ignore[attr-defined]

    def keys(self, cell: Cell) -> Iterable[Any]:
        assert isinstance(cell, JoinCell)
        return cell.all_keys()

    def count(self, cell: Cell) -> int:
        assert isinstance(cell, JoinCell)
        return sum(len(values) for part in cell.parts for values in part.values())

    def some_values(self, cell: Cell) -> list[Any]:
        assert isinstance(cell, JoinCell)
        return [value for part in cell.parts for values in _some(part.values()) for value in values[:2]]

    def content(self, cell: Cell, key: Any) -> Any:
        assert isinstance(cell, JoinCell)
        return [part.get(key, ()) for part in cell.parts]

    def put(self, cell: Cell, key: Any, content: Any) -> None:
        assert isinstance(cell, JoinCell)
        for part, values in zip(cell.parts, content):
            if values:
                part[key] = list(values)

    def packed(self, cell: Cell) -> Cell:
        """The cell as one dict of key → the values of each input."""
        assert isinstance(cell, JoinCell)
        nothing: list[Any] = []
        whole = Cell({key: [part.get(key, nothing) for part in cell.parts] for key in cell.all_keys()}, {})
        whole.stamps = cell.stamps
        return whole

    def absorb(self, cell: Cell, other: Cell) -> None:
        assert isinstance(cell, JoinCell)
        for key, gathered in (self.packed(other) if isinstance(other, JoinCell) else other).pending.items():
            for part, values in zip(cell.parts, gathered):
                if values:
                    part[key].extend(values)

    def result_items(self, cells: list[Cell], shared: bool = False) -> Iterator[tuple[Any, Any]]:
        if len(cells) > 1 or shared:
            total = self.new_cell()
            for cell in cells:
                self.absorb(total, cell)
            cells = [total]
        (cell,) = cells
        assert isinstance(cell, JoinCell)
        tags = self._tags
        if tags is not None and len(tags) == 2:
            (left, right), (of_left, of_right) = tags, cell.parts
            for key in cell.all_keys():
                yield key, {left: of_left.get(key) or [], right: of_right.get(key) or []}
            return
        for key in cell.all_keys():
            values = tuple(part.get(key) or [] for part in cell.parts)
            yield key, values if tags is None else dict(zip(tags, values))


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
        if keep and type(accumulator) not in _UNCHANGEABLE:
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
