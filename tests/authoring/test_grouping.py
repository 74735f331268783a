"""GroupByKey, Flatten, WindowInto: windows, triggers and boundedness as they go from step to step."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.coders.coder import DeterminismError
from hornbeam.graph import serialize
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.pvalue import PBegin
from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    DefaultTrigger,
    Repeatedly,
)
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampCombiner,
)
from hornbeam.transforms.windowing import ClosingBehavior, OnTimeBehavior, Windowing, windowing_from_graph
from hornbeam.typehints.decorators import TypeCheckError


class UnboundedCreate(beam.PTransform):
    """A PCollection that never ends, as far as construction is concerned."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def expand(self, p):
        created = p | beam.Create(self.values)
        created.is_bounded = False
        return created


@pytest.fixture
def p() -> beam.Pipeline:
    return beam.Pipeline()


@pytest.mark.parametrize(
    ("values", "found"), [([1, 2], "int"), (["a"], "str"), ([(1, 2, 3)], r"Tuple\[int, int, int\]")]
)
def test_grouping_what_are_no_pairs_is_refused(p, values, found):
    numbers = p | beam.Create(values)
    with pytest.raises(
        TypeCheckError,
        match=rf"GroupByKey at 'Sum/Group' needs \(key, value\) pairs; its input is {found}. Add",
    ):
        (
            numbers
            | "Sum" >> beam.transforms.ptransform.ptransform_fn(lambda x: x | "Group" >> beam.GroupByKey())()
        )


def test_grouping_is_allowed_where_the_type_is_not_certain(p):
    mixed = p | beam.Create([(1, 2), (1, "a")])
    mixed | "One" >> beam.GroupByKey()
    mixed | beam.Map(lambda x: x) | "Two" >> beam.GroupByKey()
    p | "Lists" >> beam.Create([[1, 2]]) | beam.Map(tuple) | "Three" >> beam.GroupByKey()


def test_without_type_check_nothing_is_refused():
    p = beam.Pipeline(options=PipelineOptions(["--no_pipeline_type_check"]))
    p | beam.Create([1]) | beam.GroupByKey()


def test_the_type_of_grouped_values(p):
    grouped = p | beam.Create([("a", 1)]) | beam.GroupByKey()
    assert str(grouped.element_type) == "Tuple[str, Iterable[int]]"


def test_keys_without_a_deterministic_coder_are_refused(p):
    class Opaque(beam.coders.Coder):
        def encode(self, value):
            return b""

        def decode(self, encoded):
            return None

    class Thing:
        pass

    beam.coders.registry.register_coder(Thing, Opaque)
    pairs = p | beam.Create([1]) | beam.Map(lambda x: (Thing(), x)).with_output_types(tuple[Thing, int])
    with pytest.raises(DeterminismError, match=r"Opaque.*'GroupByKey'"):
        pairs | beam.GroupByKey()
    allowing = beam.Pipeline(options=PipelineOptions(["--allow_non_deterministic_key_coders"]))
    pairs = (
        allowing | beam.Create([1]) | beam.Map(lambda x: (Thing(), x)).with_output_types(tuple[Thing, int])
    )
    pairs | beam.GroupByKey()


def test_keys_of_unknown_type_get_a_deterministic_coder(p):
    p | beam.Create([1]) | beam.Map(lambda x: (x, x)) | beam.GroupByKey()
    graph = p.to_graph()
    group = next(t for t in graph.transforms.values() if t.label == "GroupByKey")
    coder = graph.coders[graph.pcollections[group.inputs["in"]].coder]
    assert graph.coders[coder.components[0]].urn != graph.coders[coder.components[1]].urn


def test_an_unbounded_global_window_with_the_default_trigger_is_refused(p):
    pairs = p | UnboundedCreate([(1, 2)])
    assert not pairs.is_bounded
    with pytest.raises(ValueError, match="unbounded PCollection in the global window"):
        pairs | beam.GroupByKey()
    windowed = pairs | beam.WindowInto(FixedWindows(1))
    assert not (windowed | beam.GroupByKey()).is_bounded
    triggered = pairs | "T" >> beam.WindowInto(
        GlobalWindows(), trigger=Repeatedly(AfterCount(1)), accumulation_mode=AccumulationMode.DISCARDING
    )
    triggered | "G" >> beam.GroupByKey()


def test_a_trigger_that_may_lose_data_is_refused(p):
    pairs = (
        p
        | beam.Create([(1, 2)])
        | beam.WindowInto(
            FixedWindows(1), trigger=AfterCount(2), accumulation_mode=AccumulationMode.DISCARDING
        )
    )
    with pytest.raises(
        ValueError, match=r"Unsafe trigger.*may lose data.*MAY_FINISH.*--allow_unsafe_triggers"
    ):
        pairs | beam.GroupByKey()


def test_unsafe_triggers_pass_with_a_warning_when_allowed(caplog):
    p = beam.Pipeline(options=PipelineOptions(["--allow_unsafe_triggers"]))
    p | UnboundedCreate([(1, 2)]) | beam.GroupByKey()
    assert "unbounded PCollection" in caplog.text


def test_a_grouping_goes_on_with_the_continuation_trigger(p):
    windowing = {
        "trigger": AfterWatermark(early=AfterProcessingTime(10), late=AfterCount(5)),
        "accumulation_mode": AccumulationMode.ACCUMULATING,
        "allowed_lateness": 7,
        "timestamp_combiner": TimestampCombiner.OUTPUT_AT_LATEST,
    }
    before = p | beam.Create([(1, 2)]) | beam.WindowInto(Sessions(5), **windowing)
    after = (before | beam.GroupByKey()).windowing
    assert after.windowfn == Sessions(5)
    assert after.triggerfn == windowing["trigger"].get_continuation_trigger() != windowing["trigger"]
    assert after.accumulation_mode == AccumulationMode.ACCUMULATING
    assert after.allowed_lateness == 7
    assert after.timestamp_combiner == TimestampCombiner.OUTPUT_AT_LATEST


def test_windowing_goes_through_steps_and_back_from_the_graph(p):
    windowed = p | beam.Create([(1, 2)]) | beam.WindowInto(SlidingWindows(10, 5))
    later = windowed | beam.Map(lambda x: x) | beam.Reshuffle() | beam.GroupByKey() | beam.Values()
    assert later.windowing.windowfn == SlidingWindows(10, 5)
    graph = p.to_graph()
    values = next(t for t in graph.transforms.values() if t.label == "Values")
    strategy = graph.windowings[graph.pcollections[values.outputs["out"]].windowing]
    assert windowing_from_graph(strategy) == later.windowing


def test_window_into_takes_a_windowing_over_and_changes_it(p):
    base = Windowing(FixedWindows(5), allowed_lateness=3)
    windowed = (
        p | beam.Create([1]) | beam.WindowInto(base, timestamp_combiner=TimestampCombiner.OUTPUT_AT_EARLIEST)
    )
    assert windowed.windowing.windowfn == FixedWindows(5)
    assert windowed.windowing.allowed_lateness == 3
    assert windowed.windowing.timestamp_combiner == TimestampCombiner.OUTPUT_AT_EARLIEST
    assert windowed.element_type is int


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"windowfn": FixedWindows(1), "trigger": AfterCount(1)}, ValueError, "needs an accumulation mode"),
        ({"windowfn": FixedWindows}, TypeError, "needs a WindowFn"),
        ({"windowfn": 60}, TypeError, "needs a WindowFn"),
        ({"windowfn": FixedWindows(1), "allowed_lateness": -1}, ValueError, "must not be negative"),
    ],
)
def test_wrong_windowings(arguments, error, problem):
    with pytest.raises(error, match=problem):
        beam.WindowInto(**arguments)


def test_default_windowing():
    assert Windowing(GlobalWindows()).is_default()
    assert not Windowing(FixedWindows(1)).is_default()
    assert not Windowing(GlobalWindows(), allowed_lateness=1).is_default()
    assert Windowing(FixedWindows(1)) == Windowing(FixedWindows(1), DefaultTrigger())
    assert Windowing(FixedWindows(1)) != Windowing(FixedWindows(2))


def test_flatten_takes_tuples_lists_dicts_and_nothing(p):
    one, two = p | "1" >> beam.Create([1]), p | "2" >> beam.Create(["a"])
    assert str(((one, two) | "T" >> beam.Flatten()).element_type) in ("Union[int, str]", "Union[str, int]")
    [one, two] | "L" >> beam.Flatten()
    {"x": one, "y": two} | "D" >> beam.Flatten()
    empty = () | "E" >> beam.Flatten(pipeline=p)
    also_empty = ((), p) | "EE" >> beam.Flatten()
    steps = {t.label: t for t in p.to_graph().transforms.values()}
    assert list(steps["T"].inputs) == list(steps["L"].inputs) == list(steps["D"].inputs) == ["0", "1"]
    assert steps["E"].inputs == steps["EE"].inputs == {}
    assert empty.is_bounded and also_empty.is_bounded


def test_flatten_is_unbounded_when_an_input_is(p):
    one = p | UnboundedCreate([1])
    assert not ((one, p | beam.Create([2])) | beam.Flatten()).is_bounded


def test_flatten_refuses_what_is_windowed_differently(p):
    one = p | "1" >> beam.Create([1])
    two = one | beam.WindowInto(FixedWindows(1))
    with pytest.raises(ValueError, match="needs inputs that are windowed alike"):
        (one, two) | beam.Flatten()
    three = one | "Also" >> beam.WindowInto(FixedWindows(1), timestamp_combiner="OUTPUT_AT_EARLIEST")
    (three, two) | beam.Flatten()


def test_flatten_refuses_what_is_no_pcollection(p):
    pcoll = p | beam.Create([1])
    outputs = pcoll | beam.ParDo(lambda x: [x]).with_outputs("a", "b")
    with pytest.raises(TypeError, match="Choose one of its outputs"):
        (pcoll, outputs) | beam.Flatten()
    with pytest.raises(ValueError, match="takes only pipeline="):
        beam.Flatten(label="x")
    with pytest.raises(ValueError, match="has no input to tell the pipeline by"):
        () | beam.Flatten()


def test_flatten_with_pcollections_and_transforms(p):
    one = p | beam.Create([1])
    one | beam.FlattenWith(p | "Two" >> beam.Create([2]), "Three" >> beam.Create([3]))
    with pytest.raises(TypeError, match="FlattenWith takes PCollections and transforms"):
        one | "Bad" >> beam.FlattenWith([4])


def test_flatten_of_plain_values_among_pcollections(p):
    pcoll = p | beam.Create([1])
    (pcoll, [2, 3]) | beam.Flatten()
    assert any(t.label.startswith("CreatePInput") for t in p.to_graph().transforms.values())


def test_a_root_transform_among_inputs_of_flatten_is_dropped(p):
    pcoll = p | beam.Create([1])
    (pcoll, PBegin(p)) | beam.Flatten()


def test_reified_windows_and_assigned_windows_as_dofns():
    window = FixedWindows(10)
    pairs = (
        beam.WithTimestamps(lambda kv: kv[1])
        | beam.ParDo(beam.WindowInto.WindowIntoFn(Windowing(window)))
        | beam.ParDo(beam.GroupByKey.ReifyWindows())
    )
    ((key, value),) = [("a", 3)] | pairs
    assert (key, value.value, value.timestamp, len(value.windows)) == ("a", 3, 3, 1)


# Options of ours: what is dropped, and panes without elements


def test_a_late_output_is_windowed_and_typed_as_the_input_is():
    p = beam.Pipeline()
    pairs = p | beam.Create([("a", 1)]) | beam.WindowInto(FixedWindows(10), allowed_lateness=5)
    result = pairs | "Group" >> beam.GroupByKey(late_tag="dropped")
    grouped, late = result
    assert (result.grouped, result.dropped, result["grouped"]) == (grouped, late, grouped)
    assert late.windowing == pairs.windowing
    assert late.element_type == pairs.element_type
    with pytest.raises(AttributeError, match="'grouped', 'dropped'"):
        _ = result.late


@pytest.mark.parametrize(
    "grouping",
    [beam.GroupByKey("late"), beam.CombinePerKey(sum).with_late_output("late")],
    ids=["group", "sum"],
)
def test_a_late_output_is_in_the_graph_and_in_its_json(grouping):
    p = beam.Pipeline()
    p | beam.Create([("a", 1)]) | "Group" >> grouping
    graph = p.to_graph()
    assert serialize.from_json(serialize.to_json(graph)) == graph
    (step,) = [t for t in graph.transforms.values() if t.label == "Group"]
    assert step.spec["late_tag"] == "late"
    assert list(step.outputs) == ["out", "late"]


@pytest.mark.parametrize(
    ("tag", "error"), [(3, TypeError), ("", ValueError), ("out", ValueError), ("grouped", ValueError)]
)
def test_a_late_tag_that_cannot_be_one(tag, error):
    with pytest.raises(error, match="The tag of the late output must be"):
        beam.GroupByKey(late_tag=tag)


def test_a_combine_without_late_output_stays_as_it_was():
    plain = beam.CombinePerKey(sum)
    assert plain.with_late_output("late").late_tag == "late"
    assert plain.late_tag is None


def test_behaviors_go_through_the_graph_and_through_groupings():
    p = beam.Pipeline()
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=Repeatedly(AfterCount(3)),
        accumulation_mode=AccumulationMode.DISCARDING,
        on_time_behavior=OnTimeBehavior.FIRE_IF_NON_EMPTY,
        closing_behavior="EMIT_ALWAYS",
    )
    grouped = p | beam.Create([("a", 1)]) | windows | beam.GroupByKey()
    windowing = grouped.windowing
    assert windowing.triggerfn == Repeatedly(AfterCount(1))
    assert windowing.on_time_behavior is OnTimeBehavior.FIRE_IF_NON_EMPTY
    assert windowing.closing_behavior is ClosingBehavior.EMIT_ALWAYS
    assert windowing_from_graph(windowing.to_graph()) == windowing
    assert "FIRE_IF_NON_EMPTY, EMIT_ALWAYS" in repr(windowing)
    assert windowing != Windowing(FixedWindows(10), Repeatedly(AfterCount(1)), AccumulationMode.DISCARDING)
    assert beam.WindowInto(windowing).windowing == windowing
    again = beam.WindowInto(windowing, closing_behavior="EMIT_IF_NONEMPTY").windowing
    assert again.closing_behavior is ClosingBehavior.EMIT_IF_NONEMPTY
    assert not Windowing(GlobalWindows(), closing_behavior="EMIT_ALWAYS").is_default()


def test_a_behavior_that_nobody_knows():
    with pytest.raises(ValueError, match=r"on_time_behavior must be OnTimeBehavior\.FIRE_ALWAYS or"):
        beam.WindowInto(FixedWindows(10), on_time_behavior="SOMETIMES")
