"""Cases that were wrong once and need classes or times of their own."""

from __future__ import annotations

import pytest
from model.table import At, Case, check, grouped

import hornbeam as beam
from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.window import FixedWindows, Sessions, SlidingWindows, TimestampedValue
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP


class MyTagged(TaggedOutput):
    """A tagged output of the user's own class."""


def subclass_of_tagged_output(p):
    results = p | beam.Create([1]) | beam.FlatMap(lambda x: [MyTagged("t", x)]).with_outputs("t", main="m")
    return {"t": results.t, "m": results.m}


def test_a_subclass_of_tagged_output_goes_to_its_tag(runner_options, tmp_path):
    check(Case("tags", subclass_of_tagged_output, {"t": [1], "m": []}), runner_options, tmp_path)


def sessions_of_a_global_group(p):
    groups = p | beam.Create([("a", 1)]) | "first" >> beam.GroupByKey()
    sessions = groups | beam.WindowInto(Sessions(2 * 86_400)) | beam.MapTuple(lambda k, vs: (k, list(vs)))
    return grouped(sessions)


def test_a_session_may_end_after_the_end_of_time(runner_options, tmp_path):
    check(Case("end", sessions_of_a_global_group, {"out": [At(("a", [[1]]))]}), runner_options, tmp_path)


@pytest.mark.parametrize("moment", [MIN_TIMESTAMP, MAX_TIMESTAMP], ids=["first", "last"])
@pytest.mark.parametrize("windowfn", [FixedWindows(86_400), SlidingWindows(86_400, 86_400), Sessions(60)])
def test_windows_at_the_ends_of_time_fire(windowfn, moment, runner_options, tmp_path):
    def grouped_there(p):
        pairs = p | beam.Create([("a", 1), ("a", 2)]) | beam.Map(lambda pair: TimestampedValue(pair, moment))
        return grouped(pairs | beam.WindowInto(windowfn) | beam.CombinePerKey(sum))

    check(Case("ends", grouped_there, {"out": [("a", [3])]}), runner_options, tmp_path)
