"""Groupings under triggers in a batch run: what is dropped comes out too, panes wait on disk, failures name step and key."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.error import NotSupportedError
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.metrics.metric import MetricsFilter
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.head import END_OF_TIME
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, Always, Repeatedly
from hornbeam.transforms.window import FixedWindows, GlobalWindow, GlobalWindows
from hornbeam.transforms.windowing import Windowing

DISCARDING = AccumulationMode.DISCARDING
UNSAFE = PipelineOptions(["--allow_unsafe_triggers"])


def once(p):
    """Pairs in windows that close with their second element."""
    return (
        p
        | beam.Create([("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 2)])
        | beam.WithTimestamps(lambda pair: pair[1])
        | beam.WindowInto(FixedWindows(10), trigger=AfterCount(2), accumulation_mode=DISCARDING)
    )


def dropped_closed(result):
    (counter,) = result.metrics().query(MetricsFilter().with_name("dropped_closed"))["counters"]
    assert counter.key.metric.namespace == "hornbeam"
    return counter.key.step, counter.committed


def described(element, window=beam.DoFn.WindowParam, timestamp=beam.DoFn.TimestampParam):
    return element, int(window.start), float(timestamp)


@pytest.mark.parametrize("grouping", ["group", "combine"])
def test_what_is_dropped_is_counted_and_given_out(grouping):
    with beam.Pipeline(options=UNSAFE) as p:
        if grouping == "group":
            grouped, late = once(p) | "Group" >> beam.GroupByKey(late_tag="late")
            grouped = grouped | beam.MapTuple(lambda key, values: (key, sum(values)))
        else:
            result = once(p) | "Group" >> beam.CombinePerKey(sum).with_late_output("late")
            grouped, late = result.combined, result["late"]
        assert_that(grouped, equal_to([("a", 2), ("b", 1)]), "panes")
        assert_that(late | beam.Map(described), equal_to([(("a", 2), 0, 2.0), (("a", 2), 0, 2.0)]), "dropped")
    assert dropped_closed(p.result) == ("Group", 2)


def test_what_is_dropped_is_counted_when_nobody_asks_for_it():
    with beam.Pipeline(options=UNSAFE) as p:
        once(p) | "Group" >> beam.GroupByKey()
    assert dropped_closed(p.result) == ("Group", 2)


def test_under_a_plain_trigger_the_late_output_is_there_and_empty():
    with beam.Pipeline() as p:
        grouped, late = p | beam.Create([("a", 1)]) | beam.GroupByKey(late_tag="late")
        assert_that(grouped, equal_to([("a", [1])]), "groups")
        assert_that(late, equal_to([]), "dropped")


def test_panes_fired_before_they_may_be_given_out_wait_on_disk(tmp_path):
    space = TemporarySpace(str(tmp_path))
    strategy = Windowing(GlobalWindows(), Always(), DISCARDING).to_graph()
    spec = GroupingSpec("Group", GlobalWindows(), strategy.timestamp_combiner, repr_bytes, GatherFolding())
    head = TriggeredGrouping(spec, space, 1000, strategy, MetricsContainer("Group"))
    for at in range(20):
        head.process(Bundle([("k", at * 100 + i) for i in range(100)], 0, (GlobalWindow(),)))
    assert space.spilled_bytes > 0
    outputs = [pair for bundle in head.fire(END_OF_TIME) for pair in bundle.values]
    assert outputs == [("k", [i]) for i in range(2000)]
    assert head.entries() == 0


def repr_bytes(key):
    return repr(key).encode()


class Fails(beam.CombineFn):
    def create_accumulator(self):
        return 0

    def add_input(self, accumulator, element):
        if element == 13:
            raise ValueError("thirteen")
        return accumulator + element

    def merge_accumulators(self, accumulators):
        return sum(accumulators)

    def extract_output(self, accumulator):
        if accumulator == 26:
            raise ValueError("twenty-six")
        return accumulator


@pytest.mark.parametrize(("values", "message"), [([13], "thirteen"), ([20, 6], "twenty-six")])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_failing_combine_fn_is_named_with_its_key(values, message, count):
    trigger = Repeatedly(AfterCount(count))
    windows = beam.WindowInto(
        GlobalWindows(), trigger=trigger, accumulation_mode=AccumulationMode.ACCUMULATING
    )
    with pytest.raises(ValueError, match=message) as caught, beam.Pipeline() as p:
        p | beam.Create([("k", value) for value in values]) | windows | "Sum" >> beam.CombinePerKey(Fails())
    assert "while running step 'Sum' on the values of key 'k'" in str(caught.value.__notes__)


@pytest.mark.parametrize("wrong", [3, ("a", 1, 2)])
def test_an_element_that_is_no_pair(wrong):
    windows = beam.WindowInto(GlobalWindows(), trigger=Always(), accumulation_mode=DISCARDING)
    with (
        pytest.raises(TypeError, match=r"GroupByKey at 'Group' needs \(key, value\) pairs"),
        beam.Pipeline() as p,
    ):
        p | beam.Create([("a", 1), wrong]) | beam.Map(lambda x: x) | windows | "Group" >> beam.GroupByKey()


def test_a_hot_key_fanout_has_no_late_output():
    with pytest.raises(NotSupportedError, match="hot key fanout"):
        beam.CombinePerKey(sum).with_late_output("late").with_hot_key_fanout(2)
