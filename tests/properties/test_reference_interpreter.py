"""The oracle itself, held to results worked out by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from properties.vocabulary import ClustersWindowFn, HoldToEndOfBundle, Spread, canonical
from reference import ONLY_PANE, exploded, interpret
from reference_dofn import Unsupported

import hornbeam as beam
from hornbeam.coders.coders import VarIntCoder
from hornbeam.transforms import trigger, window
from hornbeam.transforms.userstate import BagStateSpec
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, WindowedValue

Pipeline = Any


def elements_of(build: Any, bundle_size: int = 0) -> list[WindowedValue[Any]]:
    """What the reference interpreter finds in the PCollection that `build` makes of a pipeline."""
    pipeline = beam.Pipeline()
    build(pipeline) | "observed" >> beam.Map(lambda x: x)
    graph = pipeline.to_graph()
    (observer,) = [t for _, t in graph.leaves() if t.label.split("/")[0] == "observed"]
    return exploded(interpret(graph, bundle_size)[observer.inputs["in"]])


def values_of(build: Any, bundle_size: int = 0) -> list[str]:
    return sorted(canonical(element.value) for element in elements_of(build, bundle_size))


def stamped(pipeline: Pipeline, *pairs: tuple[Any, float]) -> Any:
    return pipeline | beam.Create(list(pairs)) | beam.MapTuple(window.TimestampedValue)


def in_windows(build: Any) -> Counter[tuple[str, float, float, float]]:
    """Each element as value, timestamp, window's start and end."""
    return Counter(
        (
            canonical(e.value),
            float(e.timestamp),
            float(e.windows[0].start),
            float(e.windows[0].end),
        )
        for e in elements_of(build)
    )


def test_created_elements_are_at_the_beginning_of_time_in_the_global_window() -> None:
    found = elements_of(lambda p: p | beam.Create([1, "a"]))
    assert [e.value for e in found] == [1, "a"]
    assert {(e.timestamp, e.windows[0], e.pane_info) for e in found} == {
        (MIN_TIMESTAMP, window.GlobalWindow(), PANE_INFO_UNKNOWN)
    }


def test_element_wise_transforms() -> None:
    def build(p: Pipeline) -> Any:
        return (
            p
            | beam.Create([1, 2, 3])
            | beam.FlatMap(range)
            | beam.Filter(lambda x: x != 1)
            | beam.Map(lambda x, y, z=0: (x, y + z), 5, z=1)
            | beam.MapTuple(lambda a, b: a + b)
        )

    assert values_of(build) == ["6", "6", "6", "8"]


class Told(beam.DoFn):
    """Outputs all it is told."""

    def process(
        self,
        element: Any,
        at: Any = beam.DoFn.TimestampParam,
        within: Any = beam.DoFn.WindowParam,
        key: Any = beam.DoFn.KeyParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        yield float(at), repr(within), key, pane.index


def test_context_parameters() -> None:
    def build(p: Pipeline) -> Any:
        return stamped(p, (("k", 1), 7)) | beam.WindowInto(window.SlidingWindows(4, 2)) | beam.ParDo(Told())

    assert values_of(build) == ["(7.0, '[4.0, 8.0)', 'k', 0)", "(7.0, '[6.0, 10.0)', 'k', 0)"]


LIVES: list[str] = []


class Living(beam.DoFn):
    """Notes its life."""

    def setup(self) -> None:
        LIVES.append("setup")

    def start_bundle(self) -> None:
        LIVES.append("start")

    def process(self, element: Any) -> list[Any]:
        LIVES.append(f"process {element}")
        return [element]

    def finish_bundle(self) -> None:
        LIVES.append("finish")

    def teardown(self) -> None:
        LIVES.append("teardown")


def test_a_dofn_lives_once_for_each_step_and_once_for_each_bundle() -> None:
    LIVES.clear()
    values_of(lambda p: p | beam.Create([1, 2, 3]) | beam.ParDo(Living()), bundle_size=2)
    assert [
        *("setup", "start", "process 1", "process 2", "finish"),
        *("start", "process 3", "finish", "teardown"),
    ] == LIVES


def test_outputs_at_the_end_of_a_bundle() -> None:
    def build(p: Pipeline) -> Any:
        return (
            stamped(p, (1, 3), (2, 14))
            | beam.WindowInto(window.FixedWindows(10))
            | beam.ParDo(HoldToEndOfBundle())
        )

    assert in_windows(build) == Counter([("1", 3, 0, 10), ("2", 14, 10, 20)])


class Sorting(beam.DoFn):
    """Even and odd, and one tag that nobody asked for."""

    def process(self, element: int) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput("odd", element) if element % 2 else element
        yield beam.pvalue.TaggedOutput("unheard", element)


@pytest.mark.parametrize(("tag", "expected"), [("even", ["2"]), ("odd", ["1", "3"])])
def test_tagged_outputs(tag: str, expected: list[str]) -> None:
    def build(p: Pipeline) -> Any:
        return (p | beam.Create([1, 2, 3]) | beam.ParDo(Sorting()).with_outputs("odd", main="even"))[tag]

    assert values_of(build) == expected


def test_grouping_in_fixed_windows() -> None:
    def build(p: Pipeline) -> Any:
        pairs = stamped(p, (("a", 1), 1), (("a", 2), 9), (("b", 3), 1), (("a", 4), 10))
        return pairs | beam.WindowInto(window.FixedWindows(10)) | beam.GroupByKey()

    assert in_windows(build) == Counter(
        [
            ("('a', [1, 2])", 9.999999, 0, 10),
            ("('b', [3])", 9.999999, 0, 10),
            ("('a', [4])", 19.999999, 10, 20),
        ]
    )
    assert {e.pane_info for e in elements_of(build)} == {ONLY_PANE}


@pytest.mark.parametrize(("combiner", "timestamp"), [("EARLIEST", 1), ("LATEST", 9), ("EOW", 9.999999)])
def test_timestamp_combiners(combiner: str, timestamp: float) -> None:
    def build(p: Pipeline) -> Any:
        at = window.TimestampCombiner[f"OUTPUT_AT_{combiner}"]
        pairs = stamped(p, (("a", 1), 5), (("a", 2), 9), (("a", 3), 1))
        return pairs | beam.WindowInto(window.FixedWindows(10), timestamp_combiner=at) | beam.GroupByKey()

    assert in_windows(build) == Counter([("('a', [1, 2, 3])", timestamp, 0, 10)])


def test_sessions_merge_per_key() -> None:
    def build(p: Pipeline) -> Any:
        pairs = stamped(p, (("a", 1), 1), (("a", 2), 5), (("b", 3), 3), (("a", 4), 10))
        return pairs | beam.WindowInto(window.Sessions(5)) | beam.CombinePerKey(sum)

    assert in_windows(build) == Counter(
        [("('a', 3)", 9.999999, 1, 10), ("('b', 3)", 7.999999, 3, 8), ("('a', 4)", 14.999999, 10, 15)]
    )


def test_a_custom_merging_window_function() -> None:
    def build(p: Pipeline) -> Any:
        pairs = stamped(p, (("a", 1), 1), (("a", 2), 15), (("a", 3), 21))
        return pairs | beam.WindowInto(ClustersWindowFn()) | beam.GroupByKey()

    assert in_windows(build) == Counter(
        [("('a', [1, 2])", 15.999999, 1, 16), ("('a', [3])", 21.999999, 21, 22)]
    )


def test_an_element_in_no_window_is_gone() -> None:
    def build(p: Pipeline) -> Any:
        return stamped(p, (1, 1), (2, 3)) | beam.WindowInto(window.SlidingWindows(2, 5)) | beam.Map(str)

    assert in_windows(build) == Counter([("'1'", 1, 0, 2)])


def test_rewindowing_takes_each_window_for_itself() -> None:
    def build(p: Pipeline) -> Any:
        return (
            stamped(p, (1, 1))
            | "sliding" >> beam.WindowInto(window.SlidingWindows(4, 2))
            | "fixed" >> beam.WindowInto(window.FixedWindows(10))
        )

    assert in_windows(build) == Counter({("1", 1, 0, 10): 2})


def test_keys_are_the_same_if_their_encodings_are() -> None:
    def build(p: Pipeline) -> Any:
        return p | beam.Create([(1, "a"), (1.0, "b"), (True, "c"), (1, "d")]) | beam.GroupByKey()

    assert values_of(build) == ["(1, ['a', 'd'])", "(1.0, ['b'])", "(True, ['c'])"]


def test_combining_with_a_users_combine_fn() -> None:
    def build(p: Pipeline) -> Any:
        return p | beam.Create([3, 1, 8, 5]) | beam.CombineGlobally(Spread())

    assert values_of(build) == ["7"]


def test_flatten_and_partition_and_reshuffle() -> None:
    def build(p: Pipeline) -> Any:
        low, high = p | beam.Create([1, 5, 9]) | beam.Partition(lambda x, n: int(x > 4), 2)
        return (low, high, high) | beam.Flatten() | beam.Reshuffle()

    assert values_of(build) == ["1", "5", "5", "9", "9"]


def _side(kind: Any, *, windows: window.WindowFn) -> Any:
    def build(p: Pipeline) -> Any:
        main = stamped(p, ("x", 1), ("y", 12)) | "m" >> beam.WindowInto(window.FixedWindows(5))
        created = p | "c" >> beam.Create([(("k", 1), 2), (("k", 2), 8), (("k", 3), 11)])
        side = created | "t" >> beam.MapTuple(window.TimestampedValue) | "s" >> beam.WindowInto(windows)
        return main | "use" >> beam.Map(lambda x, s: (x, s), kind(side))

    return build


@pytest.mark.parametrize("kind", [beam.pvalue.AsList, beam.pvalue.AsIter])
def test_a_side_input_is_seen_through_the_window_of_the_element(kind: Any) -> None:
    assert values_of(_side(kind, windows=window.FixedWindows(10))) == [
        "('x', [('k', 1), ('k', 2)])",
        "('y', [('k', 3)])",
    ]
    everything = "[('k', 1), ('k', 2), ('k', 3)]"
    assert values_of(_side(kind, windows=window.GlobalWindows())) == [
        f"('x', {everything})",
        f"('y', {everything})",
    ]


def test_side_inputs_as_dicts_and_singletons() -> None:
    assert values_of(_side(beam.pvalue.AsDict, windows=window.FixedWindows(5))) == [
        "('x', {'k': 1})",
        "('y', {'k': 3})",
    ]
    assert values_of(_side(beam.pvalue.AsMultiMap, windows=window.FixedWindows(10))) == [
        "('x', {'k': [1, 2]})",
        "('y', {'k': [3]})",
    ]

    def or_else(pcoll: Any) -> Any:
        return beam.pvalue.AsSingleton(pcoll, default_value="none")

    assert values_of(_side(or_else, windows=window.FixedWindows(2))) == ["('x', 'none')", "('y', 'none')"]
    with pytest.raises(ValueError, match="a singleton has 3 values"):
        values_of(_side(or_else, windows=window.GlobalWindows()))


def test_a_timestamped_value_is_put_into_windows_anew() -> None:
    def build(p: Pipeline) -> Any:
        in_fives = stamped(p, (1, 1)) | beam.WindowInto(window.FixedWindows(5))
        return in_fives | "move" >> beam.Map(lambda x: window.TimestampedValue(x, 13))

    assert in_windows(build) == Counter([("1", 13, 10, 15)])


class Remembering(beam.DoFn):
    """Stateful."""

    CELL = BagStateSpec("cell", VarIntCoder())

    def process(self, element: Any, cell: Any = beam.DoFn.StateParam(CELL)) -> Iterable[Any]:
        return [element]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda p: p | beam.Create([("a", 1)]) | "Remember" >> beam.ParDo(Remembering()),
            "Remember: the reference interpreter does not know state and timers",
        ),
        (
            lambda p: (
                p
                | beam.Create([("a", 1)])
                | beam.WindowInto(
                    window.FixedWindows(5),
                    trigger=trigger.Repeatedly(trigger.AfterCount(2)),
                    accumulation_mode=trigger.AccumulationMode.DISCARDING,
                )
                | beam.GroupByKey()
            ),
            "fires each window once, at its end",
        ),
    ],
)
def test_what_it_does_not_know_is_refused(build: Any, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        values_of(build)


def test_timestamps_are_kept_by_what_does_not_change_them() -> None:
    def build(p: Pipeline) -> Any:
        return stamped(p, (1, 1.5)) | "one" >> beam.Map(str) | "two" >> beam.Filter(bool)

    (element,) = elements_of(build)
    assert element.timestamp == Timestamp(1.5)
