"""What generated pipelines are made of: window functions, combine functions, DoFns.

All of it is pure, and all that combines is associative and commutative on integers, so that a pipeline of it has
one right answer, up to the order of elements and of the values in a group.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hornbeam as beam
from hornbeam.transforms import window
from hornbeam.utils.windowed_value import WindowedValue


def canonical(value: Any) -> str:
    """Text that is equal for equal values of the same types, whatever the order inside groups and dicts."""
    if isinstance(value, tuple):
        return f"({', '.join(map(canonical, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{canonical(k)}: {canonical(v)}' for k, v in value.items()))}}}"
    if isinstance(value, str | bytes | int | float) or value is None:
        return repr(value)
    if isinstance(value, Iterable):
        return f"[{', '.join(sorted(map(canonical, value)))}]"
    return repr(value)


def digest(value: Any) -> int:
    """A small number that depends on the whole value."""
    return zlib.crc32(canonical(value).encode()) % 10


class HalvesWindowFn(window.NonMergingWindowFn):
    """Two windows of different length to each side of zero; even values are in both."""

    def assign(self, context: window.WindowFn.AssignContext) -> list[window.BoundedWindow]:
        before, after = window.IntervalWindow(-1000, 0), window.IntervalWindow(0, 500)
        if digest(context.element) % 2 == 0:
            return [before, after]
        return [before if context.timestamp < 0 else after]

    def get_window_coder(self) -> Any:
        return window.FixedWindows(1).get_window_coder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class NamedWindow(window.BoundedWindow):
    """A window that is no interval."""

    def __init__(self, name: str) -> None:
        super().__init__(100)
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedWindow) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"NamedWindow({self.name!r})"


class NamedWindowFn(window.NonMergingWindowFn):
    """Windows by what the elements are."""

    def assign(self, context: window.WindowFn.AssignContext) -> list[window.BoundedWindow]:
        return [NamedWindow("even" if digest(context.element) % 2 == 0 else "odd")]

    def get_window_coder(self) -> Any:
        return beam.coders.PickleCoder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class ClustersWindowFn(window.WindowFn):
    """Merges all windows that start in the same stretch of 20 seconds."""

    def assign(self, context: window.WindowFn.AssignContext) -> list[window.BoundedWindow]:
        return [window.IntervalWindow(context.timestamp, context.timestamp + 1)]

    def merge(self, context: window.WindowFn.MergeContext) -> None:
        stretches: dict[int, list[Any]] = {}
        for each in context.windows:
            stretches.setdefault(each.start.micros // 20_000_000, []).append(each)
        for parts in stretches.values():
            if len(parts) > 1:
                context.merge(
                    parts, window.IntervalWindow(min(p.start for p in parts), max(p.end for p in parts))
                )

    def get_window_coder(self) -> Any:
        return window.FixedWindows(1).get_window_coder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


WINDOW_FNS: dict[str, Callable[..., window.WindowFn]] = {
    "global": window.GlobalWindows,
    "fixed": window.FixedWindows,
    "sliding": window.SlidingWindows,
    "sessions": window.Sessions,
    "halves": HalvesWindowFn,
    "named": NamedWindowFn,
    "clusters": ClustersWindowFn,
}

KEY_FNS: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n % 3,
    "str": lambda n: "abc"[n % 3],
    "bytes": lambda n: b"ab"[n % 2 :],
    "tuple": lambda n: (n % 2, "xy"[n % 2]),
    "alike": lambda n: [0, 0.0, False, 1, True, 1.0, "0", None][n % 8],
}


class Spread(beam.CombineFn):
    """Largest minus smallest, with an accumulator that is compacted."""

    def create_accumulator(self) -> list[int]:
        return []

    def add_input(self, accumulator: list[int], element: int) -> list[int]:
        accumulator.append(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[int]]) -> list[int]:
        return [element for accumulator in accumulators for element in accumulator]

    def compact(self, accumulator: list[int]) -> list[int]:
        return sorted({min(accumulator), max(accumulator)}) if accumulator else accumulator

    def extract_output(self, accumulator: list[int]) -> int:
        return max(accumulator) - min(accumulator) if accumulator else -1


def total(values: Iterable[int]) -> int:
    """A combining function of the user's own."""
    return sum(values)


COMBINES: dict[str, Callable[[], Any]] = {
    "sum": lambda: sum,
    "max": lambda: max,
    "total": lambda: total,
    "spread": Spread,
    "count": lambda: beam.combiners.CountCombineFn(),
}


class Scaled(beam.CombineFn):
    """A sum times a factor that is given as a further argument."""

    def create_accumulator(self, factor: int) -> int:
        return 0

    def add_input(self, accumulator: int, element: int, factor: int) -> int:
        return accumulator + element * factor

    def merge_accumulators(self, accumulators: Iterable[int], factor: int) -> int:
        return sum(accumulators)

    def extract_output(self, accumulator: int, factor: int) -> int:
        return accumulator


class Split(beam.DoFn):
    """Even elements to the main output, odd ones to one tag, multiples of three to another too."""

    def process(self, element: Any) -> Iterator[Any]:
        number = digest(element)
        if number % 3 == 0:
            yield beam.pvalue.TaggedOutput("thirds", number)
        if number % 2:
            yield beam.pvalue.TaggedOutput("odd", element)
        else:
            yield element


class Describe(beam.DoFn):
    """All that a DoFn can be told of an element."""

    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        in_window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> list[tuple[Any, ...]]:
        return [(digest(element), timestamp.micros, repr(in_window), pane.timing, pane.index)]


class Rewrap(beam.DoFn):
    """Outputs WindowedValues, TimestampedValues and plain ones, tagged and not."""

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, in_window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        number = digest(element)
        if number % 3 == 0:
            yield WindowedValue(element, timestamp, (in_window,))
        elif number % 3 == 1:
            yield window.TimestampedValue(element, timestamp)
        else:
            yield element
        yield beam.pvalue.TaggedOutput("twice", window.TimestampedValue(number, number))


class HoldToEndOfBundle(beam.DoFn):
    """Gives each element back when the bundle is done."""

    def start_bundle(self) -> None:
        self.held: list[WindowedValue[Any]] = []

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, in_window: Any = beam.DoFn.WindowParam
    ) -> None:
        self.held.append(WindowedValue(element, timestamp, (in_window,)))

    def finish_bundle(self) -> list[WindowedValue[Any]]:
        held, self.held = self.held, []
        return held


def some(element: Any) -> Iterator[Any]:
    """None, one or two of something."""
    for index in range(digest(element) % 3):
        yield index, digest(element)


def twice_or_none(element: Any) -> list[Any] | None:
    """What a function may return for nothing: None."""
    return None if digest(element) % 2 else [element, digest(element)]


def at_context(element: Any, at: Any = beam.DoFn.TimestampParam, within: Any = beam.DoFn.WindowParam) -> int:
    """A number of the element and where it is."""
    return digest((element, at.micros, repr(within)))


#: Element-wise transforms that take anything; chains of them are fused.
LINKS: dict[str, Callable[[], beam.PTransform[Any, Any]]] = {
    "map": lambda: beam.Map(lambda x: digest(x) + 1),
    "map with argument": lambda: beam.Map(lambda x, n, m=0: digest(x) + n - m, 3, m=1),
    "map by a built-in": lambda: beam.Map(str),
    "map in context": lambda: beam.Map(at_context),
    "filter": lambda: beam.Filter(lambda x: digest(x) % 3),
    "filter with argument": lambda: beam.Filter(lambda x, n: digest(x) != n, 4),
    "flat map": lambda: beam.FlatMap(lambda x: [digest(x), canonical(x)]),
    "flat map to a generator": lambda: beam.FlatMap(some),
    "flat map to None": lambda: beam.FlatMap(twice_or_none),
    "stamp": lambda: beam.Map(lambda x: window.TimestampedValue(x, digest(x) * 2)),
    "stamp some": lambda: beam.Map(lambda x: window.TimestampedValue(x, digest(x)) if digest(x) % 2 else x),
    "describe": lambda: beam.ParDo(Describe()),
    "hold": lambda: beam.ParDo(HoldToEndOfBundle()),
}
