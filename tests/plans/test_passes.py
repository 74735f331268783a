"""The planner's passes: what a plan reads like before and after each, line by line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.pvalue import AsIter, AsSingleton
from hornbeam.runners.planner.drop_voids import drop_voids
from hornbeam.runners.planner.expand import expand
from hornbeam.runners.planner.fuse import fuse
from hornbeam.runners.planner.lift_combines import lift_combines
from hornbeam.runners.planner.passes import make_plan
from hornbeam.runners.planner.plan import Plan
from hornbeam.runners.planner.prune import prune
from hornbeam.runners.planner.render import to_text
from hornbeam.transforms.combine import key_with_void
from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    Repeatedly,
)
from hornbeam.transforms.window import FixedWindows, Sessions


def plan_of(build: Callable[[Any], Any]) -> Plan:
    """A graph as a plan before any pass but expand."""
    pipeline = beam.Pipeline()
    build(pipeline)
    return expand(Plan(pipeline.to_graph(), {}))


def text(plan: Plan) -> str:
    return "\n" + to_text(plan)


def lines(golden: str) -> str:
    return "\n" + textwrap.dedent(golden).lstrip("\n")


def numbers(p):
    """A root and one step."""
    return p | "root" >> beam.Impulse() | "numbers" >> beam.FlatMap(lambda _: [1, 2])


def pairs(p):
    return p | "root" >> beam.Impulse() | "pairs" >> beam.FlatMap(lambda _: [("a", 1)])


# expand


class Doubled(beam.PTransform):
    def expand(self, pcoll):
        return pcoll | "a" >> beam.Map(str) | "b" >> beam.Map(str)


def test_expand_lists_primitives_in_order():
    assert text(plan_of(lambda p: numbers(p) | "doubled" >> Doubled())) == lines(
        """
        root (impulse): → pc1
        numbers (pardo): pc1 → pc2
        doubled/a (pardo): pc2 → pc3
        doubled/b (pardo): pc3 → pc4
        """
    )


def test_expand_keeps_a_combine_per_key_whole():
    assert text(plan_of(lambda p: pairs(p) | "sum" >> beam.CombinePerKey(sum))) == lines(
        """
        root (impulse): → pc1
        pairs (pardo): pc1 → pc2
        sum (combine_per_key): pc2 ⇒ pc4
        """
    )


def test_expand_opens_a_combine_with_side_inputs():
    def build(p):
        side = p | "side" >> beam.Impulse()
        pairs(p) | "sum" >> beam.CombinePerKey(lambda values, s: sum(values), AsSingleton(side))

    assert text(plan_of(build)) == lines(
        """
        side (impulse): → pc1
        root (impulse): → pc2
        pairs (pardo): pc2 → pc3
        sum/GroupByKey (group_by_key): pc3 ⇒ pc4
        sum/Combine (combine_grouped_values): pc4 [side0=pc1] → pc5
        """
    )


# prune


def test_prune_drops_what_nothing_reads_but_keeps_user_code():
    def build(p):
        read, unread = pairs(p), p | "unread root" >> beam.Impulse()
        read | "group" >> beam.GroupByKey()
        (unread,) | "flatten" >> beam.Flatten() | "shuffle" >> beam.Reshuffle()
        p | "user root" >> beam.Impulse() | "user code" >> beam.Map(print)

    before = plan_of(build)
    assert text(before) == lines(
        """
        root (impulse): → pc1
        pairs (pardo): pc1 → pc2
        unread root (impulse): → pc3
        group (group_by_key): pc2 ⇒ pc4
        flatten (flatten): pc3 → pc5
        shuffle/Redistribute (reshuffle): pc5 → pc6
        user root (impulse): → pc7
        user code (pardo): pc7 → pc8
        """
    )
    assert text(prune(before)) == lines(
        """
        root (impulse): → pc1
        pairs (pardo): pc1 → pc2
        group (group_by_key): pc2 ⇒ pc4
        user root (impulse): → pc7
        user code (pardo): pc7 → pc8
        """
    )


def test_prune_keeps_what_is_read_as_a_side_input_only():
    def build(p):
        side = p | "side" >> beam.Impulse()
        numbers(p) | "main" >> beam.Map(lambda x, s: x, AsSingleton(side))

    before = plan_of(build)
    assert prune(before).steps.keys() == before.steps.keys()


# lift combines


def test_lift_splits_a_combine_in_two():
    lifted = lift_combines(plan_of(lambda p: pairs(p) | "sum" >> beam.CombinePerKey(sum)))
    assert text(lifted) == lines(
        """
        root (impulse): → pc1
        pairs (pardo): pc1 → pc2
        sum/Precombine (combine_per_key_precombine): pc2 → t3/accumulators
        sum (combine_per_key_merge_accumulators): t3/accumulators ⇒ pc4
        """
    )


def windowed_sum(windowing):
    return lambda p: pairs(p) | "window" >> windowing | "sum" >> beam.CombinePerKey(sum)


@pytest.mark.parametrize(
    ("windowing", "lifted"),
    [
        (beam.WindowInto(FixedWindows(10)), True),
        (beam.WindowInto(Sessions(10)), False),
        (
            beam.WindowInto(
                FixedWindows(10),
                trigger=Repeatedly(AfterCount(3)),
                accumulation_mode=AccumulationMode.DISCARDING,
            ),
            False,
        ),
        (
            beam.WindowInto(
                FixedWindows(10),
                trigger=AfterWatermark(early=AfterCount(2)),
                accumulation_mode=AccumulationMode.DISCARDING,
            ),
            False,
        ),
        (
            beam.WindowInto(
                FixedWindows(10),
                trigger=Repeatedly(AfterCount(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
            ),
            False,
        ),
        (
            beam.WindowInto(
                FixedWindows(10),
                trigger=AfterWatermark(early=AfterProcessingTime(5)),
                accumulation_mode=AccumulationMode.DISCARDING,
            ),
            True,
        ),
        (beam.WindowInto(FixedWindows(10), allowed_lateness=5), False),
        (
            beam.WindowInto(
                FixedWindows(10),
                trigger=AfterWatermark(early=AfterProcessingTime(0)),
                accumulation_mode=AccumulationMode.DISCARDING,
            ),
            False,
        ),
        (
            beam.WindowInto(
                FixedWindows(10), trigger=AfterWatermark(), accumulation_mode=AccumulationMode.DISCARDING
            ),
            True,
        ),
    ],
    ids=[
        "fixed",
        "sessions",
        "every three",
        "early by twos",
        "every one",
        "early by time",
        "lateness",
        "early at once",
        "watermark",
    ],
)
def test_lift_refuses_merging_windows_and_counting_triggers(windowing, lifted):
    plan = lift_combines(plan_of(windowed_sum(windowing)))
    assert ("Precombine" in text(plan)) == lifted


# drop voids


def test_drop_voids_folds_bare_values():
    before = lift_combines(
        plan_of(lambda p: numbers(p) | "sum" >> beam.CombineGlobally(sum).without_defaults())
    )
    after = drop_voids(before)
    kinds = [(step.label, dict(step.inputs)) for step in after.steps.values() if "Precombine" in step.label]
    assert "KeyWithVoid" in text(before)
    assert "KeyWithVoid" not in text(after)
    assert [inputs for _, inputs in kinds] == [{"in": "pc2"}]
    assert [s.spec.get("void") for s in after.steps.values() if "Precombine" in s.label] == ["key"]


def test_drop_voids_leaves_what_something_else_reads():
    def build(p):
        keyed = numbers(p) | "key" >> beam.Map(key_with_void)
        keyed | "sum" >> beam.CombinePerKey(sum)
        keyed | "print" >> beam.Map(print)

    before = lift_combines(plan_of(build))
    assert text(drop_voids(before)) == text(before)


# fuse


def stages(build) -> str:
    return text(fuse(plan_of(build)))


def test_fuse_puts_a_chain_into_one_stage():
    assert stages(lambda p: numbers(p) | "a" >> beam.Map(str) | "b" >> beam.Map(str)) == lines(
        """
        S1
          root (impulse): → pc1
          numbers (pardo): pc1 → pc2
          a (pardo): pc2 → pc3
          b (pardo): pc3 → pc4
        """
    )


def test_fuse_begins_a_stage_at_a_grouping():
    assert stages(lambda p: pairs(p) | "group" >> beam.GroupByKey() | "after" >> beam.Map(str)) == lines(
        """
        S1
          root (impulse): → pc1
          pairs (pardo): pc1 → pc2
        S2 after S1
          group (group_by_key): pc2 ⇒ pc3
          after (pardo): pc3 → pc4
        """
    )


def test_fuse_begins_a_stage_where_a_side_input_must_be_whole():
    def build(p):
        side = p | "side" >> beam.Impulse()
        numbers(p) | "main" >> beam.Map(lambda x, s: x, AsSingleton(side))

    assert stages(build) == lines(
        """
        S1
          side (impulse): → pc1*
        S2 after S1
          root (impulse): → pc2
          numbers (pardo): pc2 → pc3
          main (pardo): pc3 [side0=pc1*] → pc4
        """
    ).replace("[side0=pc1*]", "[side0=pc1]")


def test_fuse_spools_what_would_close_a_circle():
    def build(p):
        stream = numbers(p)
        stream | "main" >> beam.Map(lambda x, s: x, AsIter(stream))

    assert stages(build) == lines(
        """
        S1
          root (impulse): → pc1
          numbers (pardo): pc1 → pc2*
        S2 after S1
          main (pardo): pc2* [side0=pc2*] → pc3
        """
    ).replace("pc2* [side0=pc2*]", "pc2 [side0=pc2]")


def test_fuse_spools_the_main_input_of_a_side_input_made_from_it():
    def build(p):
        stream = pairs(p)
        groups = stream | "group" >> beam.GroupByKey()
        stream | "main" >> beam.Map(lambda x, s: x, AsIter(groups))

    assert stages(build) == lines(
        """
        S1
          root (impulse): → pc1
          pairs (pardo): pc1 → pc2*
        S2 after S1
          group (group_by_key): pc2 ⇒ pc3*
        S3 after S1, S2
          main (pardo): pc2 [side0=pc3] → pc4
        """
    )


def test_fuse_joins_the_stages_that_a_flatten_reads():
    def build(p):
        a = p | "a" >> beam.Impulse()
        b = p | "b" >> beam.Impulse()
        (a, b) | "both" >> beam.Flatten()

    assert stages(build) == lines(
        """
        S1
          a (impulse): → pc1
          b (impulse): → pc2
          both (flatten): pc1, pc2 → pc3
        """
    )


def test_fuse_puts_a_flatten_of_a_stream_and_its_groups_behind_the_groups():
    def build(p):
        stream = pairs(p)
        groups = stream | "group" >> beam.GroupByKey()
        (stream, groups) | "both" >> beam.Flatten() | "after" >> beam.Map(str)

    assert stages(build) == lines(
        """
        S1
          root (impulse): → pc1
          pairs (pardo): pc1 → pc2*
        S2 after S1
          group (group_by_key): pc2 ⇒ pc3
          both (flatten): pc2, pc3 → pc4
          after (pardo): pc4 → pc5
        """
    )


def test_steps_cut_before_begin_stages():
    pipeline = beam.Pipeline()
    numbers(pipeline) | "shuffle" >> beam.Reshuffle() | "after" >> beam.Map(str)
    graph = pipeline.to_graph()
    (urn,) = {t.urn for t in graph.transforms.values() if "reshuffle" in t.urn and not t.is_composite}
    assert len(make_plan(graph).stages) == 1
    cut = make_plan(graph, cut_before=frozenset({urn}))
    assert [[cut.steps[id_].label for id_ in stage.steps] for stage in cut.stages] == [
        ["root", "numbers"],
        ["shuffle/Redistribute", "after"],
    ]


# All passes


def test_the_plan_of_a_word_count():
    pipeline = beam.Pipeline()
    (
        pipeline
        | "root" >> beam.Impulse()
        | "words" >> beam.FlatMap(lambda _: ["a", "b"])
        | "count" >> beam.combiners.Count.PerElement()
        | "format" >> beam.MapTuple(lambda word, n: f"{word}: {n}")
    )
    assert text(make_plan(pipeline.to_graph())) == lines(WORD_COUNT)


WORD_COUNT = """
    S1
      root (impulse): → pc1
      words (pardo): pc1 → pc2
      count/CombinePerKey(CountCombineFn)/Precombine (combine_per_key_precombine): pc2 → t5/accumulators
    S2 after S1
      count/CombinePerKey(CountCombineFn) (combine_per_key_merge_accumulators): t5/accumulators ⇒ pc5
      format (pardo): pc5 → pc6
    """
