"""How the values of a key become one value: a Cell holds what a set of windows has gathered, a Folding fills it.

    pairs ── add ──► Cell(pending: key → values, accumulators: key → accumulator) ── results ──► (key, output)

GatherFolding keeps the values (GroupByKey), the JoinFolding of `join_folding` those of each input apart (CoGroupByKey);
those of `combine_folding` fold them by a CombineFn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hornbeam.error import InternalError
from hornbeam.runners.engine.sizes import mean_size, some_of

#: Pairs a cell from which on it pays to sort them by cell.
_TOGETHER_MIN = 16
#: A dict entry and the list it holds.
_ENTRY_BYTES = 200


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

    def counted(self, packed: Any) -> int:
        """How many values a packed cell holds for a key."""
        return len(packed)

    def cut(self, packed: Any, count: int) -> Iterator[Any]:
        """What a packed cell holds for a key in parts of at least one value and about `count`; absorbed in order they are
        the whole."""
        return (packed[at : at + count] for at in range(0, len(packed), count))

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
        return list(chain.from_iterable(values[:2] for values in some_of(cell.pending.values())))

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
        keys = mean_size(some_of(cell.pending or cell.accumulators)) * len(cell)
        return entries + keys + mean_size(some_of(cell.accumulators.values())) * len(cell.accumulators)

    def setup(self) -> None:
        """Called once before use on a worker."""

    def teardown(self) -> None:
        """Called once after use on a worker."""


class GatherFolding(Folding):
    """GroupByKey: the values themselves."""

    shares_cells = True
    gathers = True


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
