"""The cells of a stateful DoFn: what one key and window keeps under one StateSpec.

A cell is the very object that user code is handed, so that reading it is one method call. Values are kept as they were
given, not as bytes; their coder is asked only where it decides what is equal (Set, Map).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from hornbeam.runners.engine.cell_keys import Canonical, canonical_by
from hornbeam.runners.engine.combine_folding import is_sum
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.sizes import size_of
from hornbeam.transforms.combinefn import CombineFn
from hornbeam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    CombiningValueRuntimeState,
    CombiningValueStateSpec,
    MapRuntimeState,
    MapStateSpec,
    MultiMapRuntimeState,
    MultiMapStateSpec,
    OrderedListRuntimeState,
    OrderedListStateSpec,
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
    RuntimeState,
    SetRuntimeState,
    SetStateSpec,
    StateSpec,
)
from hornbeam.utils.timestamp import Timestamp, TimestampTypes, micros_of, timestamp_at

#: A cell without what it holds.
_CELL_BYTES = 72
_NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "NOTHING"})()


class CellFamily:
    """What the cells of one StateSpec of a step share."""

    #: Whether cells forget by themselves what was not written for a while.
    is_lasting = False

    def __init__(self, spec: StateSpec, present: Present, label: str) -> None:
        self.spec = spec
        self.name = spec.name
        self.present = present
        self.kind: type[Cell] = cell_kind(spec)
        #: How values (of a Set) and keys (of a Map) are told apart.
        self.canonical: Canonical = canonical_by(
            spec.key_coder if isinstance(spec, MapStateSpec) else spec.coder, label
        )
        self.combine_fn = spec.combine_fn if isinstance(spec, CombiningValueStateSpec) else CombineFn()
        self.add_input = self.combine_fn.add_input

    def new(self, table: Any, key: Any) -> Cell:
        """An empty cell for a key."""
        return self.kind(self)

    def dropped(self, cell: Any) -> None:
        """The cell's key and window are gone."""


class Cell(RuntimeState):
    """What all cells share. `content` and `restore` are for snapshots."""

    __slots__ = ("family",)

    #: Methods that look, and methods that change; `clear` apart.
    reads: ClassVar[tuple[str, ...]] = ("read",)
    writes: ClassVar[tuple[str, ...]] = ("add",)
    #: Where what it holds is.
    holds: ClassVar[tuple[str, ...]] = ()
    #: For a cell that holds one value: where it is, and what is there while it is empty.
    only: ClassVar[str] = ""
    nothing: ClassVar[Any] = None

    def __init__(self, family: CellFamily) -> None:
        self.family = family
        self.forget()

    def clear(self) -> None:
        """Forgets all of it."""
        self.forget()
        self.family.present.cleared = True

    def commit(self) -> None:
        """Nothing to do: a bundle that fails ends the run, or is run again from a snapshot."""

    def forget(self) -> None:
        """Becomes as new."""
        raise NotImplementedError(f"{type(self).__name__} has no forget")

    def is_empty(self) -> bool:
        """Whether it is as new."""
        raise NotImplementedError(f"{type(self).__name__} has no is_empty")

    def content(self) -> Any:
        """What it holds, in a form that pickles; not a copy."""
        raise NotImplementedError(f"{type(self).__name__} has no content")

    @staticmethod
    def content_of(value: Any) -> Any:
        """What `content` gives while the cell's `only` value is this one."""
        return value

    def memory_bytes(self) -> int:
        """About what it takes in memory."""
        return _CELL_BYTES + sum(size_of(getattr(self, name)) for name in self.holds)

    def restore(self, content: Any) -> None:
        """Takes over what `content` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no restore")


class ReadModifyWriteCell(Cell, ReadModifyWriteRuntimeState):
    """One value. None is the same as none."""

    __slots__ = ("value",)
    holds = __slots__
    only = "value"
    writes = ("write",)

    def __init__(self, family: CellFamily) -> None:
        self.family = family
        self.value: Any = None

    def read(self) -> Any:
        return self.value

    def write(self, value: Any) -> None:
        self.value = value

    def forget(self) -> None:
        self.value = None

    def is_empty(self) -> bool:
        return self.value is None

    def content(self) -> Any:
        return self.value

    def restore(self, content: Any) -> None:
        self.value = content


class Values:
    """The first values of a list that only grows: what a read gave, whatever is added afterwards."""

    __slots__ = ("_count", "_values")

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self._count = len(values)

    def __iter__(self) -> Iterator[Any]:
        return islice(self._values, self._count)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return repr(list(self))


class BagCell(Cell, BagRuntimeState):
    """Values, in the order in which they were added."""

    __slots__ = ("values",)
    holds = __slots__

    def read(self) -> Iterable[Any]:
        return Values(self.values)

    def add(self, value: Any) -> None:
        self.values.append(value)

    def forget(self) -> None:
        self.values: list[Any] = []  # a new one: what was read before stays readable

    def is_empty(self) -> bool:
        return not self.values

    def content(self) -> Any:
        return self.values

    def restore(self, content: Any) -> None:
        self.values = content


class DistinctValues(Values):
    """As Values, of a Set: asks whether a value is among them at once."""

    __slots__ = ("_canonical", "_places")

    def __init__(self, values: list[Any], places: Mapping[Any, int], canonical: Canonical) -> None:
        super().__init__(values)
        self._places = places
        self._canonical = canonical

    def __contains__(self, value: Any) -> bool:
        return self._places.get(self._canonical(value), self._count) < self._count


class SetCell(Cell, SetRuntimeState):
    """Values, each once, and the place of each."""

    __slots__ = ("places", "values")
    holds = __slots__

    def read(self) -> Iterable[Any]:
        return DistinctValues(self.values, self.places, self.family.canonical)

    def add(self, value: Any) -> None:
        canonical = self.family.canonical(value)
        if canonical not in self.places:
            self.places[canonical] = len(self.values)
            self.values.append(value)

    def forget(self) -> None:
        self.values: list[Any] = []
        self.places: dict[Any, int] = {}

    def is_empty(self) -> bool:
        return not self.values

    def content(self) -> Any:
        return self.values

    def restore(self, content: Any) -> None:
        self.forget()
        for value in content:
            SetCell.add(self, value)


class CombiningCell(Cell, CombiningValueRuntimeState):
    """An accumulator, made when the first value comes."""

    __slots__ = ("accumulator",)
    holds = __slots__

    def __init__(self, family: CellFamily) -> None:
        self.family = family
        self.accumulator: Any = _NOTHING

    def read(self) -> Any:
        combine_fn = self.family.combine_fn
        accumulator: Any = self.accumulator
        return combine_fn.extract_output(
            combine_fn.create_accumulator() if accumulator is _NOTHING else accumulator
        )

    def add(self, value: Any) -> None:
        accumulator = self.accumulator
        if accumulator is _NOTHING:
            accumulator = self.family.combine_fn.create_accumulator()
        self.accumulator = self.family.add_input(accumulator, value)

    def forget(self) -> None:
        self.accumulator = _NOTHING

    def is_empty(self) -> bool:
        return self.accumulator is _NOTHING

    def content(self) -> Any:
        accumulator = self.family.combine_fn.compact(self.accumulator)
        if accumulator is not self.accumulator:
            self.accumulator = accumulator
        return accumulator

    def restore(self, content: Any) -> None:
        self.accumulator = content


class SumCell(CombiningCell):
    """The builtin `sum`, added up value by value. Elsewhere it has the CombineFn's accumulator: a list with the value."""

    __slots__ = ()
    only = "accumulator"
    nothing = _NOTHING

    def read(self) -> Any:
        # What is read is a new object, as of `sum`: somebody may change it in place.
        return 0 if self.accumulator is _NOTHING else 0 + self.accumulator

    def add(self, value: Any) -> None:
        accumulator = self.accumulator
        self.accumulator = 0 + value if accumulator is _NOTHING else accumulator + value

    def content(self) -> Any:
        return [self.accumulator]

    @staticmethod
    def content_of(value: Any) -> Any:
        return [value]

    def restore(self, content: Any) -> None:
        self.accumulator = sum(content)


class OrderedListCell(Cell, OrderedListRuntimeState):
    """Times in order, and the values beside them; those of one time in the order in which they were added."""

    __slots__ = ("times", "values")
    holds = __slots__
    reads = ("read", "read_range")
    writes = ("add", "clear_range")

    def read(self) -> Iterable[tuple[Timestamp, Any]]:
        return list(zip(map(timestamp_at, self.times), self.values))

    def add(self, value: tuple[TimestampTypes, Any]) -> None:
        try:
            timestamp, kept = value
        except (TypeError, ValueError):
            raise TypeError(
                f"state {self.family.name!r} is an ordered list: add takes a pair (timestamp, value); it got {value!r:.200}"
            ) from None
        time = micros_of(timestamp)
        times = self.times
        if not times or time >= times[-1]:
            times.append(time)
            self.values.append(kept)
            return
        place = bisect_right(times, time)
        times.insert(place, time)
        self.values.insert(place, kept)

    def _range(self, low: TimestampTypes, limit: TimestampTypes) -> slice:
        return slice(bisect_left(self.times, micros_of(low)), bisect_left(self.times, micros_of(limit)))

    def read_range(
        self, min_time_stamp: TimestampTypes, limit_time_stamp: TimestampTypes
    ) -> Iterable[tuple[Timestamp, Any]]:
        part = self._range(min_time_stamp, limit_time_stamp)
        return list(zip(map(timestamp_at, self.times[part]), self.values[part]))

    def clear_range(self, min_time_stamp: TimestampTypes, limit_time_stamp: TimestampTypes) -> None:
        part = self._range(min_time_stamp, limit_time_stamp)
        if part.start < part.stop:
            del self.times[part], self.values[part]
            self.family.present.cleared = True

    def forget(self) -> None:
        self.times: list[int] = []
        self.values: list[Any] = []

    def is_empty(self) -> bool:
        return not self.times

    def content(self) -> Any:
        return self.times, self.values

    def restore(self, content: Any) -> None:
        self.times, self.values = content


class MapCell(Cell, MapRuntimeState):
    """A dict by canonical key."""

    __slots__ = ("entries",)
    holds = __slots__
    reads = ("get", "contains", "keys", "items")
    writes = ("put", "remove")

    def get(self, key: Any, default: Any = None) -> Any:
        return self.entries.get(self.family.canonical(key), default)

    def put(self, key: Any, value: Any) -> None:
        self.entries[self.family.canonical(key)] = value

    def remove(self, key: Any) -> None:
        self.entries.pop(self.family.canonical(key), None)
        self.family.present.cleared = True

    def contains(self, key: Any) -> bool:
        return self.family.canonical(key) in self.entries

    def keys(self) -> Iterable[Any]:
        return list(map(user_key, self.entries))

    def items(self) -> Iterable[tuple[Any, Any]]:
        return [(user_key(key), value) for key, value in self.entries.items()]

    def forget(self) -> None:
        self.entries: dict[Any, Any] = {}

    def is_empty(self) -> bool:
        return not self.entries

    def content(self) -> Any:
        return self.entries

    def restore(self, content: Any) -> None:
        self.entries = content


class MultiMapCell(Cell, MultiMapRuntimeState):
    """A dict from canonical key to a list of values."""

    __slots__ = ("entries",)
    holds = __slots__
    reads = ("get", "keys", "items")
    writes = ("add", "remove")

    def add(self, key: Any, value: Any) -> None:
        self.entries.setdefault(self.family.canonical(key), []).append(value)

    def get(self, key: Any) -> Iterable[Any]:
        return Values(self.entries.get(self.family.canonical(key), []))

    def remove(self, key: Any) -> None:
        self.entries.pop(self.family.canonical(key), None)
        self.family.present.cleared = True

    def keys(self) -> Iterable[Any]:
        return list(map(user_key, self.entries))

    def items(self) -> Iterable[tuple[Any, Any]]:
        return [(user_key(key), value) for key, values in self.entries.items() for value in values]

    def forget(self) -> None:
        self.entries: dict[Any, list[Any]] = {}

    def is_empty(self) -> bool:
        return not self.entries

    def content(self) -> Any:
        return self.entries

    def restore(self, content: Any) -> None:
        self.entries = content


#: The more special specs come before those that they are made from.
_KINDS: tuple[tuple[type[StateSpec], type[Cell]], ...] = (
    (ReadModifyWriteStateSpec, ReadModifyWriteCell),
    (BagStateSpec, BagCell),
    (SetStateSpec, SetCell),
    (CombiningValueStateSpec, CombiningCell),
    (OrderedListStateSpec, OrderedListCell),
    (MultiMapStateSpec, MultiMapCell),
    (MapStateSpec, MapCell),
)


def cell_kind(spec: StateSpec) -> type[Cell]:
    """The class of the cells of a spec."""
    if isinstance(spec, CombiningValueStateSpec) and is_sum(spec.combine_fn):
        return SumCell
    for kind, cell in _KINDS:
        if isinstance(spec, kind):
            return cell
    raise TypeError(
        f"state {spec.name!r} is described by a {type(spec).__name__}, which is none of the kinds of state that there are"
    )
