"""Failures in user code: the exception keeps its type, and a note names the step, the element and where it was."""

from __future__ import annotations

import gc
import traceback
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.transforms.window import FixedWindows, TimestampedValue


def fails_on(bad):
    def step(x):
        if x == bad:
            raise LookupError(f"cannot take {x}")
        return x

    return step


def lists_but_fails_on(bad):
    def step(x):
        yield x
        if x == bad:
            raise LookupError(f"cannot take {x}")

    return step


class Fails(beam.DoFn):
    def process(self, element):
        yield fails_on(3)(element)


#: Where in the pipeline, what is put behind Create([1..5]), and the note's label and element.
FAILURES = {
    "a map": (lambda c: c | "bad" >> beam.Map(fails_on(3)), "bad", "3"),
    "a filter": (lambda c: c | "bad" >> beam.Filter(fails_on(3)), "bad", "3"),
    "a flat map": (lambda c: c | "bad" >> beam.FlatMap(lambda x: [fails_on(3)(x)]), "bad", "3"),
    "a generator": (lambda c: c | "bad" >> beam.FlatMap(lists_but_fails_on(3)), "bad", "3"),
    "a DoFn": (lambda c: c | "bad" >> beam.ParDo(Fails()), "bad", "3"),
    "the middle of a run": (
        lambda c: (
            c | beam.Map(lambda x: x * 2) | "bad" >> beam.Map(fails_on(6)) | "after" >> beam.Map(lambda x: x)
        ),
        "bad",
        "6",
    ),
    "a filter in a run": (
        lambda c: (
            c
            | beam.Map(lambda x: x * 2)
            | "bad" >> beam.Filter(fails_on(6))
            | "after" >> beam.Map(lambda x: x)
        ),
        "bad",
        "6",
    ),
    "a generator in a run": (
        lambda c: (
            c
            | beam.Map(lambda x: x * 2)
            | "bad" >> beam.FlatMap(lists_but_fails_on(6))
            | beam.Map(lambda x: x)
        ),
        "bad",
        "6",
    ),
    "behind a generator": (
        lambda c: c | beam.FlatMap(lambda x: (y for y in [x])) | "bad" >> beam.Map(fails_on(3)),
        "bad",
        "3",
    ),
    "a function of parts": (
        lambda c: c | beam.Map(lambda x: (x, x)) | "bad" >> beam.MapTuple(lambda a, b: fails_on(3)(b)),
        "bad",
        r"\(3, 3\)",
    ),
}


@pytest.mark.parametrize("place", FAILURES)
def test_the_note_names_step_and_element(options, place):
    build, label, element = FAILURES[place]
    with pytest.raises(LookupError, match="cannot take") as caught, beam.Pipeline(options=options) as p:
        build(p | beam.Create([1, 2, 3, 4, 5]))
    note, *where = caught.value.__notes__
    assert all(text.startswith("in worker ") for text in where)
    assert f"'{label}'" in note
    assert f"on element {element.replace(chr(92), '')}" in note


def test_the_note_tells_time_and_window(options):
    with pytest.raises(LookupError) as caught, beam.Pipeline(options=options) as p:
        (
            p
            | beam.Create([1, 2, 3])
            | beam.Map(lambda x: TimestampedValue(x, x))
            | beam.WindowInto(FixedWindows(10))
            | "bad" >> beam.Map(fails_on(2))
        )
    assert (
        caught.value.__notes__[0]
        == "while running step 'bad' on element 2 (timestamp Timestamp(2), window [0.0, 10.0))"
    )


def test_the_users_frames_come_first(options):
    with pytest.raises(LookupError) as caught, beam.Pipeline(options=options) as p:
        p | beam.Create([3]) | beam.Map(fails_on(3))
    frames = traceback.extract_tb(caught.value.__traceback__)
    inner = [frame for frame in frames if frame.name == "step"]
    assert inner and inner[-1] is frames[-1]
    assert not [f for f in frames if "/engine/" in f.filename and frames.index(f) > frames.index(inner[0])]


@pytest.mark.parametrize(
    "transform",
    [
        beam.Map(lambda x: next(iter(()))),
        beam.Filter(lambda x: next(iter(()))),
        beam.FlatMap(lambda x: next(iter(()))),
        beam.MapTuple(lambda x: next(iter(()))),
    ],
    ids=["Map", "Filter", "FlatMap", "MapTuple"],
)
@pytest.mark.parametrize("fused", [True, False])
def test_a_stop_iteration_out_of_a_function_loses_no_elements_silently(options, transform, fused):
    with pytest.raises(RuntimeError, match="StopIteration") as caught, beam.Pipeline(options=options) as p:
        stream = p | beam.Create([(1,), (2,)])
        if fused:
            stream |= "before" >> beam.Map(lambda x: x)
        stream | "bad" >> transform
    assert "'bad' on element" in caught.value.__notes__[0]


@pytest.mark.parametrize("given", ["text", b"bytes", {"a": 1}])
@pytest.mark.parametrize("fused", [True, False])
def test_process_may_not_give_text_bytes_or_a_dict(options, given, fused):
    with (
        pytest.raises(TypeError, match=f"'bad' returned a {type(given).__name__}"),
        beam.Pipeline(options=options) as p,
    ):
        stream = p | beam.Create([1])
        if fused:
            stream |= "before" >> beam.Map(lambda x: x)
        stream | "bad" >> beam.FlatMap(lambda x: given)


def test_process_may_not_give_a_number(options):
    with pytest.raises(TypeError, match="'bad' returned 1, a int"), beam.Pipeline(options=options) as p:
        p | beam.Create([1]) | "bad" >> beam.FlatMap(lambda x: x)


def test_group_by_key_refuses_what_is_no_pair(options):
    with (
        pytest.raises(TypeError, match=r"'group' needs \(key, value\) pairs; it got 5"),
        beam.Pipeline(options=options) as p,
    ):
        (
            p
            | beam.Create([0, 1])
            | beam.Map(lambda x: ("a", x) if x else 5).with_output_types(Any)
            | "group" >> beam.GroupByKey()
            | beam.Values()
        )


class Unordered:
    """Has no deterministic encoding."""


def test_a_key_without_a_deterministic_encoding_is_refused(options):
    with pytest.raises((TypeError, ValueError), match="Unordered"), beam.Pipeline(options=options) as p:
        (
            p
            | beam.Create([1])
            | beam.Map(lambda x: (Unordered(), x))
            | "group" >> beam.GroupByKey()
            | beam.Values()
        )


def test_two_elements_for_a_singleton_are_refused(options):
    with pytest.raises(ValueError, match="AsSingleton at 'main'"), beam.Pipeline(options=options) as p:
        two = p | "side" >> beam.Create([1, 2])
        p | beam.Create([1]) | "main" >> beam.Map(lambda x, s: s, beam.pvalue.AsSingleton(two))


def test_finish_bundle_may_give_windowed_values_only(options):
    class Wrong(beam.DoFn):
        def process(self, element):
            pass

        def finish_bundle(self):
            yield 5

    with (
        pytest.raises(TypeError, match="'bad' may emit WindowedValues only"),
        beam.Pipeline(options=options) as p,
    ):
        p | beam.Create([1]) | "bad" >> beam.ParDo(Wrong())


def test_a_failing_combine_fn_names_its_step(options):
    def broken(values):
        raise LookupError("broken")

    with pytest.raises(LookupError) as caught, beam.Pipeline(options=options) as p:
        p | beam.Create([("k", 1)]) | "combine" >> beam.CombinePerKey(broken)
    assert "'combine" in caught.value.__notes__[0]


def test_what_a_run_leaves_of_the_collector(options):
    before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()
    with pytest.raises(LookupError), beam.Pipeline(options=options) as p:
        p | beam.Create([3]) | beam.Map(fails_on(3))
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == before
