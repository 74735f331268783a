"""Stateful DoFns as their authors meet them: mistakes, life cycle, the transforms that are made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from state.stage import FIXED, GLOBAL, Stage

import hornbeam as beam
from hornbeam import typehints
from hornbeam.coders.coders import FastPrimitivesCoder
from hornbeam.error import NotSupportedError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.deduplicate import Deduplicate, DeduplicatePerKey, _first_of_key
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.dofn_validation import validate_dofn
from hornbeam.transforms.group_into_batches import _Buffer
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    TimerSpec,
    on_timer,
    on_window_expiration,
)
from hornbeam.transforms.window import Sessions

ANY = FastPrimitivesCoder()


class Keeping(DoFn):
    """Keeps its elements."""

    B = BagStateSpec("b", ANY)

    def process(self, element: Any, b: Any = DoFn.StateParam(B)) -> None:
        b.add(element)


class Ending(DoFn):
    """Has a last call, and no state."""

    def process(self, element: Any) -> Any:
        yield element

    @on_window_expiration
    def at_the_end(self, key: Any = DoFn.KeyParam) -> Any:
        yield f"end {key}"


# Mistakes


def test_windows_that_merge_are_refused_when_the_pipeline_is_built() -> None:
    pairs = TestPipeline() | beam.Create([("a", 1)]) | beam.WindowInto(Sessions(10))
    for transform in (beam.ParDo(Keeping()), beam.ParDo(Ending()), DeduplicatePerKey(5)):
        with pytest.raises(
            ValueError, match=r"belong to a key and a window; its input has Sessions.*windows merge"
        ):
            pairs | type(transform).__name__ + str(id(transform)) >> transform


def test_elements_that_are_no_pairs_are_refused() -> None:
    mixed = beam.FlatMap(lambda _: [("a", 1), 3]).with_output_types(Any)
    message = r"'ParDo\(Ending\)' has state or timers.*needs \(key, value\) pairs; it got 3, of type int"
    with pytest.raises(TypeError, match=message), TestPipeline() as p:
        p | beam.Impulse() | mixed | beam.ParDo(Ending())


def test_keys_need_a_deterministic_form() -> None:
    with pytest.raises(Exception, match="deterministic"), TestPipeline() as p:
        p | beam.Create([(object(), 1)]) | beam.ParDo(Keeping())


def test_batches_and_state_do_not_go_together() -> None:
    class Both(Keeping):
        def process_batch(self, batch: list[Any]) -> Iterator[list[Any]]:
            yield batch

    with pytest.raises(NotSupportedError, match="has state or timers and process_batch"), TestPipeline() as p:
        p | beam.Create([("a", 1)]) | beam.ParDo(Both())


def callback(**parameters: Any) -> DoFn:
    """A DoFn whose timer's callback has such a parameter."""
    spec = TimerSpec("t", TimeDomain.WATERMARK)

    class Asking(DoFn):
        def process(self, element: Any, t: Any = DoFn.TimerParam(spec)) -> None:
            pass

        if "element" in parameters:

            @on_timer(spec)
            def fired(self, element: Any = DoFn.ElementParam) -> None:
                pass

        elif "windowed_value" in parameters:

            @on_timer(spec)
            def fired(self, windowed: Any = DoFn.WindowedValueParam) -> None:
                pass

        else:

            @on_timer(spec)
            def fired(self, extra: Any) -> None:
                pass

    return Asking()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("element", r"Asking.fired cannot ask for ElementParam: it is called without an element"),
        ("windowed_value", "cannot ask for WindowedValueParam"),
        ("argument", "cannot ask for 'extra'"),
    ],
)
def test_what_a_callback_cannot_ask_for(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_dofn(callback(**{what: True}))


def test_one_last_call_is_enough() -> None:
    class Two(Ending):
        @on_window_expiration
        def again(self) -> None:
            pass

    with pytest.raises(ValueError, match="several @on_window_expiration methods: again, at_the_end"):
        validate_dofn(Two())
    with pytest.raises(ValueError, match="decorates a method"):
        on_window_expiration(5)  # type: ignore[type-var]


def test_a_last_call_alone_makes_a_dofn_stateful() -> None:
    assert validate_dofn(Ending()).is_stateful
    assert sorted([("a", 1), ("b", 2)] | beam.ParDo(Ending()) | beam.Map(str)) == sorted(
        ["('a', 1)", "('b', 2)", "end a", "end b"]
    )


# Life cycle


JOURNAL: list[str] = []


@contextlib.contextmanager
def noted(what: str) -> Iterator[str]:
    JOURNAL.append(f"enter {what}")
    yield what
    JOURNAL.append(f"exit {what}")


class Living(DoFn):
    """Writes down what is called."""

    T = TimerSpec("t", TimeDomain.WATERMARK)

    def setup(self, context: Any = DoFn.SetupContextParam(noted, ("setup",))) -> None:
        JOURNAL.append("setup")

    def start_bundle(self) -> None:
        JOURNAL.append("start_bundle")

    def process(
        self,
        element: Any,
        t: Any = DoFn.TimerParam(T),
        bundle: Any = DoFn.BundleContextParam(noted, ("bundle",)),
    ) -> None:
        JOURNAL.append(f"process {element[1]} in {bundle}")
        t.set(5)

    @on_timer(T)
    def fired(
        self,
        key: Any = DoFn.KeyParam,
        context: Any = DoFn.SetupContextParam(noted, ("setup",)),
        finalizer: Any = DoFn.BundleFinalizerParam,
    ) -> None:
        JOURNAL.append(f"timer of {key} in {context}")
        finalizer.register(lambda: JOURNAL.append("finalized"))

    def finish_bundle(self) -> None:
        JOURNAL.append("finish_bundle")

    def teardown(self) -> None:
        JOURNAL.append("teardown")


@pytest.mark.parametrize("size", [0, 1])
def test_callbacks_are_called_in_a_bundle(size: int) -> None:
    JOURNAL.clear()
    with TestPipeline(options=PipelineOptions(["--no_progress", f"--bundle_size={size}"])) as p:
        p | beam.Create([("k", 1)]) | beam.ParDo(Living())
    begin, end = ["enter bundle", "start_bundle"], ["finish_bundle", "exit bundle"]
    again = [*end, *begin] if size else []
    assert [
        "enter setup", "setup", *begin, "process 1 in bundle", *again, "timer of k in setup", *end,
        "finalized", "teardown", "exit setup",
    ] == JOURNAL  # fmt: skip


class Watched(beam.CombineFn):
    """Writes down its life."""

    def setup(self) -> None:
        JOURNAL.append("setup")

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, mutable_accumulator: int, element: int) -> int:
        return mutable_accumulator + element

    def extract_output(self, accumulator: int) -> int:
        return accumulator

    def teardown(self) -> None:
        JOURNAL.append("teardown")


WATCHED = CombiningValueStateSpec("c", Watched())


class Adding(DoFn):
    """Adds each value to a watched cell."""

    def process(self, element: Any, c: Any = DoFn.StateParam(WATCHED)) -> Any:
        c.add(element[1])
        JOURNAL.append(str(c.read()))


def test_the_combine_fn_of_a_cell_is_set_up_and_torn_down() -> None:
    JOURNAL.clear()
    with TestPipeline() as p:
        p | beam.Create([("k", 1), ("k", 2)]) | beam.ParDo(Adding())
    assert JOURNAL == ["setup", "1", "3", "teardown"]


def test_a_failing_callback_ends_the_run_and_is_named() -> None:
    class Fails(DoFn):
        T = TimerSpec("late", TimeDomain.WATERMARK)

        def process(self, element: Any, t: Any = DoFn.TimerParam(T)) -> None:
            t.set(5)

        @on_timer(T)
        def fired(self) -> None:
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost") as caught, TestPipeline() as p:
        p | beam.Create([("k", 1)]) | "Step" >> beam.ParDo(Fails())
    assert caught.value.__notes__ == [
        "while running step \"Step, timer 'late'\" for key 'k' (timestamp Timestamp(5))"
    ]


# Transforms


def pairs(*rows: tuple[Any, Any, float]) -> list[Any]:
    return [((key, value), stamp) for key, value, stamp in rows]


def test_batches_of_a_stream_are_full_or_the_end_of_their_window() -> None:
    stage = Stage(_Buffer(2, None, lambda: 0), FIXED)
    assert stage.feed(*pairs(("a", 1, 1), ("b", 2, 2), ("a", 3, 3), ("a", 4, 4), ("a", 5, 14))) == [
        (("a", [1, 3]), 3, 0)
    ]
    assert stage.advance(9.999999) == [(("b", [2]), 9.999999, 0), (("a", [4]), 9.999999, 0)]
    assert stage.end() == [(("a", [5]), 19.999999, 10)]
    assert stage.head.entries() == 0


def test_late_values_make_batches_of_their_own() -> None:
    stage = Stage(_Buffer(3, None, lambda: 0), FIXED, lateness=5)
    stage.feed(*pairs(("a", 1, 1)))
    assert stage.advance(12) == [(("a", [1]), 9.999999, 0)]
    assert stage.feed(*pairs(("a", 2, 2), ("a", 3, 3))) == []
    assert stage.advance(12) == [(("a", [2, 3]), 9.999999, 0)]
    assert stage.head.entries() == 0


def test_a_batch_waits_no_longer_than_it_may() -> None:
    stage = Stage(_Buffer(3, 5, lambda: stage.clock.now_micros() / 1e6), GLOBAL)
    stage.feed(*pairs(("a", 1, 1)))
    stage.advance(0, 3)
    stage.feed(*pairs(("a", 2, 2), ("b", 3, 3)))
    assert stage.advance(0, 2) == [(("a", [1, 2]), 1, None)]
    assert stage.feed(*pairs(("b", 4, 4), ("b", 5, 5))) == [(("b", [3, 4, 5]), 5, None)]
    assert stage.advance(0, 9) == []
    assert stage.head.entries() == 0


def test_unbounded_input_is_batched_in_state() -> None:
    p = TestPipeline()
    endless = p | TestStream().add_elements([("a", 1)])
    endless | "Plain" >> beam.GroupIntoBatches(2)
    endless | "Sharded" >> beam.GroupIntoBatches.WithShardedKey(2)
    stateful = [s.label for s in p.to_graph().transforms.values() if s.spec.get("stateful")]
    assert stateful == ["Plain/Buffer", "Sharded/Buffer"]


@pytest.mark.parametrize(
    ("arguments", "moves", "expected"),
    [
        ((5, None), [(None, 4), (None, 1)], [[], [], ["a"]]),
        ((None, 5), [(5.9, 9), (6, 0)], [[], [], ["a"]]),
        ((5, 50), [(9, 5)], [[], ["a"]]),
        ((50, 5), [(9, 5)], [[], ["a"]]),
    ],
)
def test_a_key_is_let_through_again_when_its_time_is_over(arguments: Any, moves: Any, expected: Any) -> None:
    stage = Stage(_first_of_key(*arguments), GLOBAL)
    stage.advance(0)
    assert stage.values(stage.feed(*pairs(("a", 1, 1), ("b", 2, 2), ("a", 3, 3)))) == [("a", 1), ("b", 2)]
    found = [stage.values(stage.feed(*pairs(("a", 4, 4))))]
    for move in moves:
        assert stage.advance(*move) == []
        found.append(stage.values(stage.feed(*pairs(("a", 4, 4)))))
    assert found == [[(key, 4) for key in keys] for keys in expected]
    stage.end()
    assert stage.head.entries() == 0


@pytest.mark.parametrize("kind", [Deduplicate, DeduplicatePerKey])
def test_deduplicate_needs_to_know_for_how_long(kind: Any) -> None:
    with pytest.raises(
        ValueError, match=f"{kind.__name__} needs processing_time_duration or event_time_duration"
    ):
        kind()
    with pytest.raises(ValueError, match="event_time_duration to be above 0; it is -1"):
        kind(event_time_duration=-1)


def test_types_pass_through_deduplicate() -> None:
    words = TestPipeline() | beam.Create(["a"])
    assert (words | Deduplicate(1)).element_type is str
    counted = TestPipeline() | beam.Create([("a", 1)])
    assert (counted | DeduplicatePerKey(1)).element_type == typehints.Tuple[str, int]
