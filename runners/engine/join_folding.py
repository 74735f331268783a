"""How the values of a key are gathered from several inputs: CoGroupByKey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from hornbeam.runners.engine.folding import Cell, Folding
from hornbeam.runners.engine.sizes import some_of


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
        return [value for part in cell.parts for values in some_of(part.values()) for value in values[:2]]

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

    def counted(self, packed: Any) -> int:
        return sum(map(len, packed))

    def cut(self, packed: Any, count: int) -> Iterator[Any]:
        longest = max(map(len, packed))
        return ([part[at : at + count] for part in packed] for at in range(0, longest, count))

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
