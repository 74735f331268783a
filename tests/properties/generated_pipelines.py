"""Pipelines out of a vocabulary, as values: hypothesis draws a Program, `Program.build` applies it.

A Program is a list of steps over numbered streams, so that a failing one prints and shrinks well. All user
functions here are pure, and all that combines is associative and commutative on integers, so that a Program
has one right answer, up to the order of elements and of the values in a group.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
from hypothesis import strategies as st

import hornbeam as beam
from hornbeam.transforms import window
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import WindowedValue

# What is known of a stream's elements: what may be done with them.
ATOM = "atom"  #: has a deterministic encoding
PAIR = "pair"  #: (atom, int)
GROUP = "group"  #: holds values in no order


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


# Windows.


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
    "clusters": ClustersWindowFn,
}

_seconds = st.sampled_from([1, 2, 3, 5, 7, 10, 0.5, 60])
_offsets = st.sampled_from([0, 1, 2.5, -3])
_window_fns = st.one_of(
    st.just(("global",)),
    st.tuples(st.just("fixed"), _seconds, _offsets),
    st.tuples(st.just("sliding"), st.sampled_from([2, 4, 5]), st.sampled_from([1, 2, 3, 6]), _offsets),
    st.tuples(st.just("sessions"), _seconds),
    st.just(("halves",)),
    st.just(("clusters",)),
)


# User code.

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


# Steps.


@attrs.frozen
class Stream:
    """What may be done with a stream: the kind of its elements, and how it is windowed."""

    kind: str
    windowing: tuple[Any, ...]

    def can_be_side_input(self) -> bool:
        """Whether every main window has a window of this stream: they do not merge and leave no gaps."""
        name, *arguments = self.windowing[0]
        return name in ("global", "fixed", "halves") or (name == "sliding" and arguments[0] >= arguments[1])


@attrs.frozen
class Step:
    """An operation on some streams; it makes one or more further ones."""

    op: str
    inputs: tuple[int, ...]
    param: Any = None


@attrs.frozen
class Program:
    """Sources of (value, seconds or None), and what is done with them."""

    sources: tuple[tuple[tuple[Any, float | None], ...], ...]
    steps: tuple[Step, ...]
    #: Whether streams that are read by a step are shown too.
    shows_all: bool = True

    def shown(self, count: int) -> list[int]:
        """Which of the `count` streams a test looks at: all, or those that no step reads."""
        read = {index for step in self.steps for index in step.inputs}
        return [index for index in range(count) if self.shows_all or index not in read]

    def build(self, pipeline: beam.Pipeline) -> list[beam.PCollection[Any]]:
        """Apply the program; every stream, in order."""
        streams: list[Any] = []
        for number, elements in enumerate(self.sources):
            streams.append(
                pipeline
                | f"source{number}" >> beam.Create(list(elements))
                | f"stamp{number}" >> beam.FlatMap(_stamped)
            )
        for number, step in enumerate(self.steps):
            inputs = [streams[index] for index in step.inputs]
            streams.extend(OPERATIONS[step.op].apply(f"{number}_{step.op}", step.param, *inputs))
        return streams


def _stamped(pair: tuple[Any, float | None]) -> list[Any]:
    value, seconds = pair
    return [value if seconds is None else window.TimestampedValue(value, seconds)]


def _restamped(element: Any, timestamp: Any = beam.DoFn.TimestampParam) -> Any:
    return window.TimestampedValue(element, Timestamp(digest(element) * 3))


@attrs.frozen
class Operation:
    """How a step is applied, which streams it takes, and what comes out of it."""

    apply: Callable[..., list[Any]]
    #: The kinds of streams that it takes, one of each.
    takes: tuple[tuple[str, ...], ...] = ((ATOM, PAIR, GROUP),)
    #: The kinds of its outputs; None stands for the first input's.
    gives: tuple[str | None, ...] = (ATOM,)
    params: st.SearchStrategy[Any] = attrs.field(factory=st.none)
    same_windowing: bool = False
    second_is_side_input: bool = False
    #: The names of the window functions that it is for, where it is not for all.
    windows: tuple[str, ...] = tuple(WINDOW_FNS)


def _window_into(label: str, param: Any, stream: Any) -> list[Any]:
    (name, *arguments), combiner = param
    return [
        stream
        | label
        >> beam.WindowInto(
            WINDOW_FNS[name](*arguments), timestamp_combiner=window.TimestampCombiner[combiner]
        )
    ]


def _combine_globally(label: str, param: str, stream: Any) -> list[Any]:
    numbers = stream | f"{label}_digest" >> beam.Map(digest)
    return [numbers | label >> beam.CombineGlobally(COMBINES[param]()).without_defaults()]


def _tagged(label: str, param: Any, stream: Any) -> list[Any]:
    outputs = stream | label >> beam.ParDo(Split()).with_outputs("odd", "thirds", main="even")
    return [outputs.even, outputs.odd, outputs.thirds]


def _with_side_values(view: Any) -> Callable[..., list[Any]]:
    def apply(label: str, param: Any, main: Any, side: Any) -> list[Any]:
        return [main | label >> beam.Map(lambda x, values: digest((x, list(values))), view(side))]

    return apply


def _with_singleton(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    largest = (
        side
        | f"{label}_digest" >> beam.Map(digest)
        | f"{label}_max" >> beam.CombineGlobally(max).without_defaults()
    )
    singleton = beam.pvalue.AsSingleton(largest, default_value="none")
    return [main | label >> beam.Map(lambda x, one: digest((x, one)), one=singleton)]


def _with_dict(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    pairs = (
        side
        | f"{label}_pairs" >> beam.Map(lambda x: (digest(x) % 4, digest(x)))
        | f"{label}_sum" >> beam.CombinePerKey(sum)
    )
    return [
        main
        | label >> beam.Map(lambda x, table: digest((x, table.get(digest(x) % 4))), beam.pvalue.AsDict(pairs))
    ]


def _with_multimap(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    pairs = side | f"{label}_pairs" >> beam.Map(lambda x: (digest(x) % 4, digest(x)))
    multimap = beam.pvalue.AsMultiMap(pairs)
    return [
        main
        | label >> beam.FlatMap(lambda x, table: [digest((x, list(table.get(digest(x) % 4, []))))], multimap)
    ]


def _cogroup(label: str, param: str, left: Any, right: Any) -> list[Any]:
    both = {"left": left, "right": right} if param == "dict" else (left, right)
    return [both | label >> beam.CoGroupByKey()]


_kinds = (ATOM, PAIR, GROUP)
_atoms = (ATOM, PAIR)
_combine = st.sampled_from(sorted(COMBINES))
_IN_ONE_WINDOW = ("global", "fixed", "sessions", "clusters")

OPERATIONS: dict[str, Operation] = {
    "map": Operation(lambda label, _, s: [s | label >> beam.Map(digest)]),
    "filter": Operation(
        lambda label, n, s: [s | label >> beam.Filter(lambda x: digest(x) % n != 0)],
        gives=(None,),
        params=st.sampled_from([1, 2, 3, 5]),
    ),
    "flat_map": Operation(
        lambda label, _, s: [s | label >> beam.FlatMap(lambda x: range(digest(x) % 4))],
    ),
    "key_by": Operation(
        lambda label, name, s: [s | label >> beam.Map(lambda x: (KEY_FNS[name](digest(x)), digest((x, 1))))],
        gives=(PAIR,),
        params=st.sampled_from(sorted(KEY_FNS)),
    ),
    "tagged": Operation(_tagged, gives=(None, None, ATOM)),
    "partition": Operation(
        lambda label, _, s: list(s | label >> beam.Partition(lambda x, n: digest(x) % n, 2)),
        gives=(None, None),
    ),
    "describe": Operation(lambda label, _, s: [s | label >> beam.ParDo(Describe())]),
    "hold": Operation(lambda label, _, s: [s | label >> beam.ParDo(HoldToEndOfBundle())], gives=(None,)),
    "restamp": Operation(
        lambda label, _, s: [s | label >> beam.Map(_restamped)], gives=(None,), windows=_IN_ONE_WINDOW
    ),
    "window": Operation(
        _window_into,
        gives=(None,),
        params=st.tuples(
            _window_fns,
            st.sampled_from(["OUTPUT_AT_EOW", "OUTPUT_AT_EARLIEST", "OUTPUT_AT_LATEST"]),
        ),
    ),
    "reshuffle": Operation(
        lambda label, _, s: [s | label >> beam.Reshuffle()], takes=(_atoms,), gives=(None,)
    ),
    "distinct": Operation(lambda label, _, s: [s | label >> beam.Distinct()], takes=(_atoms,), gives=(None,)),
    "combine_globally": Operation(_combine_globally, params=_combine),
    "count_globally": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Count.Globally()], windows=("global",)
    ),
    "count_per_element": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Count.PerElement()], takes=(_atoms,), gives=(PAIR,)
    ),
    "group_by_key": Operation(
        lambda label, _, s: [s | label >> beam.GroupByKey()], takes=((PAIR,),), gives=(GROUP,)
    ),
    "combine_per_key": Operation(
        lambda label, name, s: [s | label >> beam.CombinePerKey(COMBINES[name]())],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=_combine,
    ),
    "group_and_combine_values": Operation(
        lambda label, name, s: [
            s | f"{label}_group" >> beam.GroupByKey() | label >> beam.CombineValues(COMBINES[name]())
        ],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=_combine,
    ),
    "mean_per_key": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Mean.PerKey()], takes=((PAIR,),), gives=(ATOM,)
    ),
    "map_tuple": Operation(
        lambda label, _, s: [s | label >> beam.MapTuple(lambda k, v: (k, v + 1))],
        takes=((PAIR,),),
        gives=(PAIR,),
    ),
    "values": Operation(lambda label, _, s: [s | label >> beam.Values()], takes=((PAIR,),)),
    "keys": Operation(lambda label, _, s: [s | label >> beam.Keys()], takes=((PAIR,),)),
    "cogroup": Operation(
        _cogroup,
        takes=((PAIR,), (PAIR,)),
        gives=(GROUP,),
        params=st.sampled_from(["dict", "tuple"]),
        same_windowing=True,
    ),
    "flatten": Operation(
        lambda label, _, a, b: [(a, b) | label >> beam.Flatten()],
        takes=(_kinds, _kinds),
        gives=(GROUP,),
        same_windowing=True,
    ),
    "flatten_pairs": Operation(
        lambda label, _, a, b: [(a, b) | label >> beam.Flatten()],
        takes=((PAIR,), (PAIR,)),
        gives=(PAIR,),
        same_windowing=True,
    ),
    "with_iter": Operation(
        _with_side_values(beam.pvalue.AsIter), takes=(_kinds, _kinds), second_is_side_input=True
    ),
    "with_list": Operation(
        _with_side_values(beam.pvalue.AsList), takes=(_kinds, _kinds), second_is_side_input=True
    ),
    "with_singleton": Operation(_with_singleton, takes=(_kinds, _kinds), second_is_side_input=True),
    "with_dict": Operation(_with_dict, takes=(_kinds, _kinds), second_is_side_input=True),
    "with_multimap": Operation(_with_multimap, takes=(_kinds, _kinds), second_is_side_input=True),
}

_GROUPING = {"group_by_key", "combine_per_key", "group_and_combine_values", "cogroup", "flatten_pairs"}
#: The operations, the simple ones first, as often as they shall be drawn.
_BY_WEIGHT = [
    *OPERATIONS,
    *(["window", "key_by"] * 4),
    *(op for op in OPERATIONS if op in _GROUPING for _ in range(3)),
]
_GLOBAL = (("global",), "OUTPUT_AT_EOW")
_values = st.one_of(st.integers(-5, 30), st.sampled_from(["a", "b", "cc", ""]))
_times = st.one_of(st.none(), st.integers(-20, 40), st.sampled_from([0.5, 2.25, -7.75]))
_sources = st.lists(st.tuples(_values, _times), max_size=12).map(tuple)


@st.composite
def programs(draw: st.DrawFn, steps_max: int = 8) -> Program:
    """Programs of one or two sources and some steps. Windows and groupings are more likely than the rest."""
    sources = tuple(draw(st.lists(_sources, min_size=1, max_size=2)))
    streams = [Stream(ATOM, _GLOBAL) for _ in sources]
    steps: list[Step] = []

    def add(op: str, inputs: tuple[int, ...]) -> None:
        step = Step(op, inputs, draw(OPERATIONS[op].params))
        steps.append(step)
        streams.extend(_outputs(step, streams))

    for index in range(len(sources)):
        if draw(st.booleans()):
            add("window", (index,))
        if draw(st.booleans()):
            add("key_by", (len(streams) - 1,))
    for _ in range(draw(st.integers(1, steps_max))):
        choices = _choices(streams)
        op = draw(st.sampled_from([op for op in _BY_WEIGHT if op in choices]))
        add(op, draw(st.sampled_from(choices[op])))
    return Program(sources, tuple(steps), draw(st.booleans()))


def _choices(streams: list[Stream]) -> dict[str, list[tuple[int, ...]]]:
    """For each operation that some streams will do for, those streams; the latest first."""
    newest = range(len(streams) - 1, -1, -1)
    choices: dict[str, list[tuple[int, ...]]] = {}
    for name, operation in OPERATIONS.items():
        if len(operation.takes) == 1:
            candidates = [(index,) for index in newest]
        else:
            candidates = [(first, second) for first in newest for second in newest]
        fitting = [indexes for indexes in candidates if _fits(operation, [streams[i] for i in indexes])]
        if fitting:
            choices[name] = fitting
    return choices


def _fits(operation: Operation, streams: list[Stream]) -> bool:
    if any(stream.kind not in kinds for stream, kinds in zip(streams, operation.takes)):
        return False
    if operation.same_windowing and streams[0].windowing != streams[1].windowing:
        return False
    if streams[0].windowing[0][0] not in operation.windows:
        return False
    return not operation.second_is_side_input or streams[1].can_be_side_input()


def _outputs(step: Step, streams: list[Stream]) -> list[Stream]:
    first = streams[step.inputs[0]]
    windowing = step.param if step.op == "window" else first.windowing
    return [Stream(kind or first.kind, windowing) for kind in OPERATIONS[step.op].gives]
