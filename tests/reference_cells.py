"""The state cells and timers that the streaming reference interpreter hands to DoFns: lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from reference_dofn import Unsupported

from hornbeam.transforms import userstate
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.utils.timestamp import Timestamp, TimestampTypes


class ValueCell:
    """One value."""

    def __init__(self, spec: Any) -> None:
        self.value: Any = None

    def read(self) -> Any:
        return self.value

    def write(self, value: Any) -> None:
        self.value = value

    def clear(self) -> None:
        self.value = None


class BagCell:
    """Values."""

    def __init__(self, spec: Any) -> None:
        self.values: list[Any] = []

    def read(self) -> list[Any]:
        return list(self.values)

    def add(self, value: Any) -> None:
        self.values.append(value)

    def clear(self) -> None:
        self.values.clear()


class SetCell(BagCell):
    """Values, each once; equal means equally encoded."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.encode = spec.coder.encode

    def add(self, value: Any) -> None:
        if self.encode(value) not in [self.encode(one) for one in self.values]:
            self.values.append(value)


class CombiningCell:
    """Values that are combined when they are read."""

    def __init__(self, spec: Any) -> None:
        self.fn = spec.combine_fn
        self.values: list[Any] = []

    def read(self) -> Any:
        return self.fn.apply(self.values)

    def add(self, value: Any) -> None:
        self.values.append(value)

    def clear(self) -> None:
        self.values.clear()


class OrderedListCell:
    """Pairs (timestamp, value); those of one time in the order in which they came."""

    def __init__(self, spec: Any) -> None:
        self.pairs: list[tuple[Timestamp, Any]] = []

    def add(self, pair: tuple[TimestampTypes, Any]) -> None:
        self.pairs.append((Timestamp.of(pair[0]), pair[1]))
        self.pairs.sort(key=lambda one: one[0].micros)

    def read(self) -> list[tuple[Timestamp, Any]]:
        return list(self.pairs)

    def read_range(self, start: TimestampTypes, limit: TimestampTypes) -> list[tuple[Timestamp, Any]]:
        return [pair for pair in self.pairs if Timestamp.of(start) <= pair[0] < Timestamp.of(limit)]

    def clear_range(self, start: TimestampTypes, limit: TimestampTypes) -> None:
        gone = self.read_range(start, limit)
        self.pairs = [pair for pair in self.pairs if not any(pair is one for one in gone)]

    def clear(self) -> None:
        self.pairs.clear()


class MapCell:
    """A value for each key; keys are the same if their encodings are."""

    def __init__(self, spec: Any) -> None:
        self.encode = spec.key_coder.encode
        self.entries: dict[bytes, tuple[Any, Any]] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        return self.entries.get(self.encode(key), (key, default))[1]

    def put(self, key: Any, value: Any) -> None:
        self.entries[self.encode(key)] = key, value

    def remove(self, key: Any) -> None:
        self.entries.pop(self.encode(key), None)

    def contains(self, key: Any) -> bool:
        return self.encode(key) in self.entries

    def keys(self) -> list[Any]:
        return [key for key, _ in self.entries.values()]

    def items(self) -> list[tuple[Any, Any]]:
        return list(self.entries.values())

    def clear(self) -> None:
        self.entries.clear()


class MultiMapCell:
    """Values for each key."""

    def __init__(self, spec: Any) -> None:
        self.encode = spec.key_coder.encode
        self.pairs: list[tuple[Any, Any]] = []

    def add(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def get(self, key: Any) -> list[Any]:
        return [value for one, value in self.pairs if self.encode(one) == self.encode(key)]

    def remove(self, key: Any) -> None:
        self.pairs = [pair for pair in self.pairs if self.encode(pair[0]) != self.encode(key)]

    def keys(self) -> Iterable[Any]:
        return {self.encode(key): key for key, _ in self.pairs}.values()

    def items(self) -> list[tuple[Any, Any]]:
        return list(self.pairs)

    def clear(self) -> None:
        self.pairs.clear()


_CELLS: tuple[tuple[type[Any], Callable[[Any], Any]], ...] = (
    (userstate.ReadModifyWriteStateSpec, ValueCell),
    (userstate.SetStateSpec, SetCell),
    (userstate.BagStateSpec, BagCell),
    (userstate.CombiningValueStateSpec, CombiningCell),
    (userstate.OrderedListStateSpec, OrderedListCell),
    (userstate.MultiMapStateSpec, MultiMapCell),
    (userstate.MapStateSpec, MapCell),
)


def cell(spec: Any) -> Any:
    """A new cell of state for a spec."""
    for kind, make in _CELLS:
        if isinstance(spec, kind):
            return make(spec)
    raise Unsupported(f"The reference interpreter knows no state of {spec!r}.")


@attrs.frozen
class TimerSetting:
    """A timer that is set. Times are microseconds; `order` counts the settings of a step."""

    spec: Any
    tag: str
    micros: int
    #: The timestamp of what the callback outputs; it holds the watermark.
    output_micros: int
    order: int

    @property
    def is_event_time(self) -> bool:
        """Whether the watermark fires it."""
        return bool(self.spec.time_domain == TimeDomain.WATERMARK)


@attrs.define
class KeyState:
    """The state and the timers of a key in a window."""

    key: Any
    cells: dict[str, Any] = attrs.field(factory=dict)
    timers: dict[tuple[str, str], TimerSetting] = attrs.field(factory=dict)

    def cell(self, spec: Any) -> Any:
        """The cell of that spec."""
        return self.cells.setdefault(spec.name, cell(spec))


@attrs.frozen
class TimerHandle:
    """What a DoFn sets a timer with. `element_micros` is the timestamp of what it is called for."""

    state: KeyState
    spec: Any
    element_micros: int
    next_order: Callable[[], int]

    def set(
        self,
        timestamp: TimestampTypes,
        dynamic_timer_tag: str = "",
        *,
        output_timestamp: TimestampTypes | None = None,
    ) -> None:
        """In place of when it was to fire before."""
        micros = Timestamp.of(timestamp).micros
        event_time = self.spec.time_domain == TimeDomain.WATERMARK
        output = micros if event_time else self.element_micros
        if output_timestamp is not None:
            output = Timestamp.of(output_timestamp).micros
        setting = TimerSetting(self.spec, dynamic_timer_tag, micros, output, self.next_order())
        self.state.timers[self.spec.name, dynamic_timer_tag] = setting

    def clear(self, dynamic_timer_tag: str = "") -> None:
        """Let it not fire."""
        self.state.timers.pop((self.spec.name, dynamic_timer_tag), None)
