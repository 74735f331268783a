"""Side inputs: what each view gives, in which window, and the mistakes that are refused."""

from __future__ import annotations

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.error import PValueError
from hornbeam.graph import urns
from hornbeam.pvalue import (
    AsDict,
    AsIter,
    AsList,
    AsMultiMap,
    AsSideInput,
    AsSingleton,
    EmptySideInput,
)
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.pardo import DoFnPayload
from hornbeam.transforms.sideinputs import (
    SideInputMap,
    SideInputRef,
    default_window_mapping_fn,
    get_sideinput_index,
    view_of,
)
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    IntervalWindow,
    Sessions,
    SlidingWindows,
)


@pytest.mark.parametrize(
    ("view", "values", "expected"),
    [
        (AsSingleton, [7], 7),
        (AsIter, [1, 2], [1, 2]),
        (AsList, [1, 2], [1, 2]),
        (AsDict, [("a", 1), ("b", 2)], {"a": 1, "b": 2}),
        (AsMultiMap, [("a", 1), ("a", 2)], {"a": [1, 2]}),
    ],
)
def test_each_view_in_a_pipeline(view, values, expected):
    def shown(_, side):
        if view is AsMultiMap:
            return {"a": sorted(side["a"])}
        return sorted(side) if view in (AsIter, AsList) else side

    with beam.Pipeline() as p:
        side = p | "Side" >> beam.Create(values)
        assert_that(p | beam.Create([0]) | beam.Map(shown, view(side)), equal_to([expected]))


@pytest.mark.parametrize(
    ("view", "values", "expected"),
    [
        ("AsSingleton", [7], 7),
        ("AsIter", [1, 2], [1, 2]),
        ("AsList", iter([1, 2]), [1, 2]),
        ("AsDict", [("a", 1), ("a", 2)], {"a": 2}),
        ("AsMultiMap", [("a", 1), ("a", 2)], {"a": [1, 2]}),
    ],
)
def test_what_a_view_makes_of_values(view, values, expected):
    assert view_of(view, values) == expected


def test_singletons_that_are_none():
    assert view_of("AsSingleton", [], default=None) is None
    assert isinstance(view_of("AsSingleton", []), EmptySideInput)
    with pytest.raises(ValueError, match="first two elements are 1 and 2"):
        view_of("AsSingleton", [1, 2, 3])


def test_the_default_of_a_singleton_reaches_the_step():
    with beam.Pipeline() as p:
        empty = p | "Empty" >> beam.Create([])
        result = p | beam.Create([1]) | beam.Map(lambda x, y: (x, y), AsSingleton(empty, {"default": 1}))
        assert_that(result, equal_to([(1, {"default": 1})]))


def test_side_inputs_in_the_graph():
    p = beam.Pipeline()
    one, two = p | "1" >> beam.Create([1]), p | "2" >> beam.Create([("a", 2)])
    (
        p
        | beam.Create([0])
        | "Step"
        >> beam.Map(lambda x, first, fixed, named: x, AsSingleton(one, 5), "fixed", named=AsMultiMap(two))
    )
    step = next(t for t in p.to_graph().transforms.values() if t.label == "Step")
    assert list(step.inputs) == ["in", "side0", "side1"]
    assert list(step.main_inputs()) == ["in"]
    assert step.side_inputs["side0"].access == urns.SIDE_INPUT_ITERABLE
    assert step.side_inputs["side0"].view == "AsSingleton"
    assert step.side_inputs["side0"].spec == {"default": "5"}
    assert step.side_inputs["side1"].access == urns.SIDE_INPUT_MULTIMAP
    payload = cloudpickle.loads(step.payload)
    assert isinstance(payload, DoFnPayload)
    assert payload.args == (SideInputRef("side0"), "fixed")
    assert payload.kwargs == {"named": SideInputRef("side1")}
    assert payload.side_defaults == {"side0": 5}


def test_a_pcollection_as_an_argument_is_refused():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    with pytest.raises(TypeError, match=r"Say how its elements are to be handed over: AsSingleton\(pcoll\)"):
        beam.Map(lambda x, y: x, numbers)
    with pytest.raises(TypeError, match="AsIter needs a PCollection; it got list"):
        AsIter([1])
    outputs = numbers | beam.ParDo(lambda x: [x]).with_outputs("a")
    with pytest.raises(TypeError, match="Take one of its outputs"):
        AsIter(outputs)


def test_a_captured_pcollection_says_what_to_do():
    p = beam.Pipeline()
    numbers = p | "Numbers" >> beam.Create([1])
    captured = cloudpickle.loads(cloudpickle.dumps(numbers))
    for use in (lambda: list(captured), lambda: captured.windowing, lambda: captured | beam.Map(str)):
        with pytest.raises(PValueError, match=r"Numbers.*Pass it as a side input instead"):
            use()


def test_which_views_need_pairs():
    assert [
        v.requires_keyed_input() for v in (AsSideInput, AsSingleton, AsIter, AsList, AsDict, AsMultiMap)
    ] == [
        False,
        False,
        False,
        False,
        True,
        True,
    ]


def test_the_side_window_that_goes_with_a_main_window():
    main = IntervalWindow(10, 20)
    assert default_window_mapping_fn(GlobalWindows())(main) == GlobalWindow()
    assert default_window_mapping_fn(FixedWindows(60))(main) == IntervalWindow(0, 60)
    assert default_window_mapping_fn(FixedWindows(3))(main) == IntervalWindow(18, 21)
    assert default_window_mapping_fn(SlidingWindows(10, 5))(main) == IntervalWindow(10, 20)
    with pytest.raises(ValueError, match="merges windows"):
        default_window_mapping_fn(Sessions(5))


def test_windowed_side_inputs_in_a_pipeline():
    with beam.Pipeline() as p:
        stamp = beam.WithTimestamps(lambda x: x)
        main = p | beam.Create([1, 11]) | stamp | beam.WindowInto(FixedWindows(5))
        side = p | "S" >> beam.Create([3, 13, 18]) | "ST" >> stamp | "SW" >> beam.WindowInto(FixedWindows(10))
        result = main | beam.Map(lambda x, s: (x, sorted(s)), AsList(side))
        assert_that(result, equal_to([(1, [3]), (11, [13, 18])]))


def test_tags_of_side_inputs():
    assert get_sideinput_index("side12") == 12
    assert get_sideinput_index("side3-Name") == 3
    with pytest.raises(RuntimeError, match="not the tag of a side input"):
        get_sideinput_index("main")


def test_a_side_input_map_reads_by_window():
    reads = []

    class Values(dict):
        def __getitem__(self, window):
            reads.append(window)
            return [1, 2]

    view = SideInputMap(AsList, {}, Values())
    assert view[IntervalWindow(0, 1)] == [1, 2] == view[IntervalWindow(1, 2)]
    assert view.is_globally_windowed()
    assert reads == [GlobalWindow()]


def test_a_side_input_in_merging_windows_is_refused():
    p = beam.Pipeline()
    side = p | beam.Create([1]) | beam.WindowInto(Sessions(5))
    with pytest.raises(ValueError, match=r"of 'Step' has windows that merge .*Apply beam.WindowInto"):
        side | "Step" >> beam.Map(lambda x, y: x, AsList(side))


@pytest.mark.parametrize("view", [AsDict, AsMultiMap])
def test_views_by_key_need_pairs(view):
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    with pytest.raises(
        TypeError, match=rf"{view.__name__} at 'Step' needs \(key, value\) pairs; its input is int"
    ):
        numbers | "Step" >> beam.Map(lambda x, y: x, view(numbers))
