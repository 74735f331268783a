"""What user code that raises looks like: its own type, a note with step and element, and only the user's frames."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.io import iobase
from hornbeam.io.range_trackers import OffsetRangeTracker
from hornbeam.pvalue import AsDict, AsSingleton, TaggedOutput
from hornbeam.runners.engine.failures import note_position
from hornbeam.transforms import window
from hornbeam.transforms.window import GlobalWindow
from hornbeam.utils.windowed_value import WindowedValue

Build = Callable[[beam.Pipeline], Any]


def run(build: Build, *flags: str) -> None:
    p = beam.Pipeline(argv=["--temp_dir", os.environ.get("HORNBEAM_ERRORS_TEMP", "/tmp"), *flags])
    build(p)
    p.run()


def note_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", []))


def failing(name: str, value: Any = None) -> Callable[..., Any]:
    def boom(*args: Any, **kwargs: Any) -> Any:
        raise KeyError(name)

    return boom


def dofn_failing_in(name: str) -> beam.DoFn:
    methods = {"process": lambda self, element: [element], name: failing(name)}
    if name == "process":
        methods["process"] = lambda self, element: failing(name)()
    return type("Failing", (beam.DoFn,), methods)()  # type: ignore[no-any-return]


def combinefn_failing_in(name: str) -> beam.CombineFn:
    methods: dict[str, Any] = {
        "create_accumulator": lambda self: 0,
        "add_input": lambda self, total, value: total + value,
        "merge_accumulators": lambda self, totals: sum(totals),
        "extract_output": lambda self, total: total,
        name: failing(name),
    }
    return type("Failing", (beam.CombineFn,), methods)()  # type: ignore[no-any-return]


class CustomInit(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Slotted(Exception):
    __slots__ = ("code",)


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoTruth:
    def __bool__(self) -> bool:
        raise ArithmeticError("no truth")


class NotAnException(BaseException):
    pass


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def raising(error: BaseException) -> Callable[[Any], Any]:
    # Made from its class and arguments inside, as some of these cannot be pickled.
    kind, args = type(error), error.args

    def fn(element: Any) -> Any:
        raise kind(*args)

    return fn


def raise_custom(element: Any) -> Any:
    raise CustomInit(7, "why")


def raise_frozen(element: Any) -> Any:
    raise Frozen(7)


def recurse(element: Any) -> Any:
    return recurse(element) + 1


def half_way(element: Any) -> Any:
    yield element
    raise ValueError("half way")


def first_of_none(element: Any, *more: Any) -> Any:
    return next(iter([]))


class Echo(beam.DoFn):
    def process(self, element: Any, *more: Any) -> Any:
        return [element]


class FirstOfNone(beam.DoFn):
    def process(self, element: Any) -> Any:
        return [next(iter([]))]


class Returns(beam.DoFn):
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def process(self, element: Any) -> Any:
        return self.result


class AssignFails(window.NonMergingWindowFn):
    def assign(self, context: Any) -> Any:
        raise KeyError("assign")

    def get_window_coder(self) -> Any:
        return beam.coders.IntervalWindowCoder()


class AssignsNoWindow(AssignFails):
    def assign(self, context: Any) -> Any:
        return [5]


class MergeFails(window.Sessions):
    def merge(self, context: Any) -> None:
        raise KeyError("merge")


class FailingSource(iobase.BoundedSource):
    def estimate_size(self) -> int:
        return 1

    def split(self, *args: Any, **kwargs: Any) -> Any:
        yield iobase.SourceBundle(1, self, 0, 10)

    def get_range_tracker(self, start: Any, stop: Any) -> Any:
        return OffsetRangeTracker(0, 10)

    def read(self, range_tracker: Any) -> Any:
        yield 1
        raise KeyError("source")


class Opaque:
    pass


def ints(p: beam.Pipeline, *values: int) -> Any:
    return p | "ints" >> beam.Create(values or (1, 2))


def pairs(p: beam.Pipeline) -> Any:
    return p | "pairs" >> beam.Create([("a", 1), ("b", 2), ("a", 3)])


def as_any(fn: Callable[[Any], Any]) -> Any:
    return beam.Map(fn).with_output_types(beam.typehints.Any)


def side(p: beam.Pipeline, view: Any, *values: Any) -> Any:
    given = p | "side" >> beam.Create(list(values)) | as_any(lambda x: x)
    return ints(p) | "use" >> beam.Map(lambda x, y: (x, y), view(given))


def nested(element: int) -> None:
    with beam.Pipeline() as inner:
        inner | beam.Create([element]) | "inner" >> beam.Map(lambda x: 1 // (x - 1))


CASES: list[tuple[str, Build, type[BaseException], list[str]]] = [
    (
        "lambda",
        lambda p: ints(p, 1, 0) | "div" >> beam.Map(lambda x: 1 // x),
        ZeroDivisionError,
        ["step 'div' on element 0"],
    ),
    (
        "one of fused steps",
        lambda p: (
            ints(p, 1, 0)
            | beam.Map(lambda x: x + 0)
            | "div" >> beam.FlatMap(lambda x: [1 // x])
            | beam.Map(str)
        ),
        ZeroDivisionError,
        ["step 'div' on element 0"],
    ),
    (
        "Filter",
        lambda p: ints(p, 1, 0) | "div" >> beam.Filter(lambda x: 1 // x),
        ZeroDivisionError,
        ["step 'div' on element 0"],
    ),
    (
        "generator half way",
        lambda p: ints(p) | "gen" >> beam.FlatMap(half_way),
        ValueError,
        ["half way", "step 'gen' on element 1"],
    ),
    (
        "FlatMap without a list",
        lambda p: ints(p) | "fm" >> beam.FlatMap(lambda x: x + 1),
        TypeError,
        ["'fm' returned 2", "iterable of elements", "beam.Map"],
    ),
    (
        "process returns a str",
        lambda p: ints(p) | "d" >> beam.ParDo(Returns("abc")),
        TypeError,
        ["'d' returned a str, 'abc'", "['abc']"],
    ),
    (
        "process returns bytes",
        lambda p: ints(p) | "d" >> beam.ParDo(Returns(b"abc")),
        TypeError,
        ["'d' returned a bytes"],
    ),
    (
        "process returns a dict",
        lambda p: ints(p) | "d" >> beam.ParDo(Returns({"a": 1})),
        TypeError,
        ["'d' returned a dict", "[{'a': 1}]"],
    ),
    (
        "process returns an int",
        lambda p: ints(p) | "d" >> beam.ParDo(Returns(3)),
        TypeError,
        ["'d' returned 3"],
    ),
    (
        "StopIteration in Map",
        lambda p: ints(p) | "si" >> beam.Map(first_of_none) | beam.Map(str),
        RuntimeError,
        ["StopIteration", "step 'si' on element 1"],
    ),
    (
        "StopIteration with an argument",
        lambda p: ints(p) | "si" >> beam.Map(first_of_none, 3),
        RuntimeError,
        ["StopIteration", "step 'si' on element 1"],
    ),
    (
        "StopIteration in Filter",
        lambda p: ints(p) | "si" >> beam.Filter(first_of_none),
        RuntimeError,
        ["StopIteration", "step 'si' on element 1"],
    ),
    (
        "StopIteration in process",
        lambda p: ints(p) | "si" >> beam.ParDo(FirstOfNone()),
        RuntimeError,
        ["StopIteration", "step 'si' on element 1"],
    ),
    ("setup", lambda p: ints(p) | "d" >> beam.ParDo(dofn_failing_in("setup")), KeyError, ["step 'd, setup'"]),
    (
        "start_bundle",
        lambda p: ints(p) | "d" >> beam.ParDo(dofn_failing_in("start_bundle")),
        KeyError,
        ["step 'd, start_bundle'"],
    ),
    (
        "process",
        lambda p: ints(p) | "d" >> beam.ParDo(dofn_failing_in("process")),
        KeyError,
        ["step 'd' on element 1"],
    ),
    (
        "finish_bundle",
        lambda p: ints(p) | "d" >> beam.ParDo(dofn_failing_in("finish_bundle")),
        KeyError,
        ["step 'd, finish_bundle'"],
    ),
    (
        "teardown",
        lambda p: ints(p) | "d" >> beam.ParDo(dofn_failing_in("teardown")),
        KeyError,
        ["step 'd, teardown'"],
    ),
    (
        "CombineFn.setup",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("setup")),
        KeyError,
        ["step 'c, setup'"],
    ),
    (
        "CombineFn.create_accumulator",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("create_accumulator")),
        KeyError,
        ["step 'c' on the values of key 'a'"],
    ),
    (
        "CombineFn.add_input",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("add_input")),
        KeyError,
        ["step 'c' on the values of key 'a'"],
    ),
    (
        "CombineFn.compact",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("compact")),
        KeyError,
        ["step 'c' on the values of key 'a'"],
    ),
    (
        "CombineFn.extract_output",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("extract_output")),
        KeyError,
        ["step 'c' on the values of key 'a'"],
    ),
    (
        "CombineFn.teardown",
        lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("teardown")),
        KeyError,
        ["step 'c, teardown'"],
    ),
    (
        "sum of a str",
        lambda p: p | beam.Create([("a", "b")]) | "sum" >> beam.CombinePerKey(sum),
        TypeError,
        ["'int' and 'str'", "step 'sum' on the values of key 'a'"],
    ),
    (
        "WindowFn.assign",
        lambda p: ints(p) | "win" >> beam.WindowInto(AssignFails()) | beam.Map(str),
        KeyError,
        ["assign", "step 'win'"],
    ),
    (
        "WindowFn.assign of an int",
        lambda p: pairs(p) | "win" >> beam.WindowInto(AssignsNoWindow()) | beam.GroupByKey(),
        TypeError,
        ["AssignsNoWindow", "gave 5, of type int", "derives from BoundedWindow", "step 'win'"],
    ),
    (
        "WindowFn.merge",
        lambda p: pairs(p) | beam.WindowInto(MergeFails(5)) | "grp" >> beam.GroupByKey() | beam.Map(str),
        KeyError,
        ["merge", "step 'grp' on the values of key 'a'"],
    ),
    ("a source", lambda p: p | "rd" >> beam.io.Read(FailingSource()), KeyError, ["source", "step 'rd'"]),
    (
        "a timestamp that is a str",
        lambda p: ints(p) | "ts" >> beam.Map(lambda x: window.TimestampedValue(x, "noon")) | beam.Map(str),
        TypeError,
        ["'noon' of type str", "step 'ts' on element 1"],
    ),
    (
        "WithTimestamps of None",
        lambda p: ints(p) | "ts" >> beam.WithTimestamps(lambda x: None),
        TypeError,
        ["None", "step 'ts' on element 1"],
    ),
    (
        "GroupByKey of ints",
        lambda p: ints(p) | as_any(lambda x: x) | "grp" >> beam.GroupByKey() | beam.Map(str),
        TypeError,
        ["GroupByKey at 'grp'", "it got 1", "beam.Map(lambda x: (key, x))"],
    ),
    (
        "GroupByKey of triples",
        lambda p: ints(p) | as_any(lambda x: (x, 2, 3)) | "grp" >> beam.GroupByKey() | beam.Map(str),
        TypeError,
        ["'grp'", "(1, 2, 3)"],
    ),
    (
        "CombinePerKey of ints",
        lambda p: ints(p) | as_any(lambda x: x) | "sum" >> beam.CombinePerKey(sum),
        TypeError,
        ["'sum'", "it got 1"],
    ),
    (
        "a key without an encoding",
        lambda p: ints(p) | beam.Map(lambda x: (Opaque(), x)) | "grp" >> beam.GroupByKey() | beam.Map(str),
        TypeError,
        ["deterministically encode", "Opaque", "key of 'grp'", "register_coder"],
    ),
    (
        "Partition out of range",
        lambda p: ints(p, 5) | "part" >> beam.Partition(lambda x, n: x, 3),
        ValueError,
        ["from 0 to 2", "5 for 5", "'part"],
    ),
    (
        "MapTuple of too many",
        lambda p: p | beam.Create([(1, 2, 3)]) | "mt" >> beam.MapTuple(lambda a, b: a),
        TypeError,
        ["2 positional arguments", "step 'mt' on element (1, 2, 3)"],
    ),
    (
        "AsSingleton of two",
        lambda p: side(p, AsSingleton, 1, 2),
        ValueError,
        ["AsSingleton at 'use'", "more than one", "1 and 2"],
    ),
    ("AsDict of ints", lambda p: side(p, AsDict, 1), TypeError, ["AsDict at 'use'", "it got 1"]),
    (
        "AsDict of lists",
        lambda p: side(p, AsDict, ([1], 2)),
        TypeError,
        ["AsDict at 'use'", "hashed", "'list'"],
    ),
    (
        "a tag that is an int",
        lambda p: ints(p) | "t" >> beam.Map(lambda x: TaggedOutput(3, x)),
        TypeError,
        ["3 (int)", "step 't'"],
    ),
    (
        "custom __init__",
        lambda p: ints(p) | "e" >> beam.Map(raise_custom),
        CustomInit,
        ["7: why", "step 'e' on element 1"],
    ),
    (
        "frozen dataclass",
        lambda p: ints(p) | "e" >> beam.Map(raise_frozen),
        Frozen,
        ["step 'e' on element 1"],
    ),
    ("slots", lambda p: ints(p) | "e" >> beam.Map(raising(Slotted("s"))), Slotted, ["step 'e' on element 1"]),
    (
        "a truth that is none",
        lambda p: ints(p) | "e" >> beam.Filter(lambda x: NoTruth()),
        ArithmeticError,
        ["no truth", "step 'e' on element 1"],
    ),
    (
        "a time beyond all time",
        lambda p: ints(p) | "e" >> beam.Map(lambda x: window.TimestampedValue(x, 10**15)),
        ValueError,
        ["Timestamp(1000000000000000) lies outside of the time", "step 'e' on element 1"],
    ),
    (
        "a WindowedValue beyond all time",
        lambda p: ints(p) | "e" >> beam.Map(lambda x: WindowedValue(x, -(10**15), [GlobalWindow()])),
        ValueError,
        ["Timestamp(-1000000000000000) lies outside of the time", "step 'e'"],
    ),
    (
        "str() that raises",
        lambda p: ints(p) | "e" >> beam.Map(raising(NoText("s"))),
        NoText,
        ["step 'e' on element 1"],
    ),
    (
        "ExceptionGroup",
        lambda p: ints(p) | "e" >> beam.Map(raising(ExceptionGroup("both", [ValueError(1), KeyError(2)]))),
        ExceptionGroup,
        ["both", "step 'e' on element 1"],
    ),
    (
        "BaseException",
        lambda p: ints(p) | "e" >> beam.Map(raising(NotAnException("b"))),
        NotAnException,
        ["step 'e' on element 1"],
    ),
    (
        "MemoryError",
        lambda p: ints(p) | "e" >> beam.Map(raising(MemoryError())),
        MemoryError,
        ["step 'e' on element 1"],
    ),
    (
        "sys.exit",
        lambda p: ints(p) | "e" >> beam.Map(lambda x: sys.exit(3)),
        SystemExit,
        ["3", "step 'e' on element 1"],
    ),
    (
        "deep recursion",
        lambda p: ints(p) | "e" >> beam.Map(recurse),
        RecursionError,
        ["step 'e' on element 1"],
    ),
    (
        "repr() that raises",
        lambda p: ints(p) | beam.Map(lambda x: NoRepr()) | "e" >> beam.Map(lambda x: 1 // 0),
        ZeroDivisionError,
        ["step 'e' on element <NoRepr"],
    ),
    (
        "a pipeline in a pipeline",
        lambda p: ints(p) | "outer" >> beam.Map(nested),
        ZeroDivisionError,
        ["step 'inner' on element 1"],
    ),
]


@pytest.mark.parametrize("bundle_size", ["0", "1"])
@pytest.mark.parametrize(
    ("build", "kind", "fragments"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_failure_names_step_and_element(
    build: Build,
    kind: type[BaseException],
    fragments: list[str],
    bundle_size: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HORNBEAM_ERRORS_TEMP", str(tmp_path))
    with pytest.raises(kind) as caught:
        run(build, f"--bundle_size={bundle_size}", "--memory_limit=1KB")
    text = "".join(traceback.format_exception_only(caught.value))
    assert [fragment for fragment in fragments if fragment not in text] == [], text
    assert note_of(caught.value).count("while running step") == 1
    assert len(text) < 1000
    frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not any(os.sep + "engine" + os.sep in name for name in frames if "runners" in name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "element",
    [
        "x" * 1_000_000,
        {str(i): "y" * 1000 for i in range(1000)},
        list(range(100_000)),
        10**4000,
        "L\n" * 5000,
    ],
    ids=["str", "dict", "list", "int", "lines"],
)
def test_a_large_element_is_shortened(element: Any) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(lambda p: p | beam.Create([element]) | "big" >> beam.Map(lambda x: 1 // 0))
    note = note_of(caught.value)
    assert "step 'big' on element" in note
    assert len(note) < 700
    assert "\n" not in note


def test_the_window_and_the_timestamp_are_named() -> None:
    def build(p: beam.Pipeline) -> Any:
        stamped = ints(p) | beam.WithTimestamps(lambda x: 65) | beam.WindowInto(window.FixedWindows(60))
        return stamped | "div" >> beam.Map(lambda x: x // 0)

    with pytest.raises(ZeroDivisionError) as caught:
        run(build)
    assert "Timestamp(65)" in note_of(caught.value)
    assert "[60" in note_of(caught.value)


def test_a_window_function_that_raises_names_the_element() -> None:
    with pytest.raises(KeyError) as caught:
        run(lambda p: ints(p) | "win" >> beam.WindowInto(AssignFails()) | beam.Map(str))
    assert note_of(caught.value).startswith("while running step 'win' on element ")


def test_merge_accumulators_that_raises_names_the_key() -> None:
    with pytest.raises(KeyError) as caught:
        run(
            lambda p: pairs(p) | "c" >> beam.CombinePerKey(combinefn_failing_in("merge_accumulators")),
            "--bundle_size=1",
        )
    assert "step 'c' on the values of key 'a'" in note_of(caught.value)


def test_an_undeclared_tag_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def build(p: beam.Pipeline) -> None:
        tagged = beam.FlatMap(lambda x: [TaggedOutput("bad", x), TaggedOutput("good", x)])
        ints(p) | "tag" >> tagged.with_outputs("good", "other")

    with caplog.at_level(logging.WARNING):
        run(build)
    assert [record.getMessage() for record in caplog.records] == [
        "Step 'tag' gives outputs with the tag 'bad', which its with_outputs('good', 'other') does not name; "
        "they are dropped."
    ]


def test_a_pipeline_runs_again_and_with_what_was_added() -> None:
    p = beam.Pipeline()
    pcoll = ints(p) | "count" >> beam.Map(lambda x: beam.metrics.Metrics.counter("t", "n").inc())

    def counted(result: Any) -> int:
        return sum(r.committed for r in result.metrics().query()["counters"])

    assert counted(p.run()) == 2
    assert counted(p.run()) == 2
    pcoll | "more" >> beam.Map(lambda x: beam.metrics.Metrics.counter("t", "n").inc())
    assert counted(p.run()) == 4


def test_run_inside_the_with_block_runs_twice() -> None:
    with beam.Pipeline() as p:
        ints(p) | "count" >> beam.Map(lambda x: beam.metrics.Metrics.counter("t", "n").inc())
        assert p.run().state == "DONE"
    assert p.result is not None and p.result.state == "DONE"


def test_an_error_inside_the_with_block_keeps_the_pipeline_from_running(tmp_path: Path) -> None:
    with pytest.raises(KeyError), beam.Pipeline() as p:
        p | beam.Create(["x"]) | beam.io.WriteToText(str(tmp_path / "out"))
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []


def test_where_a_source_was_is_told_of_every_class_of_exceptions() -> None:
    class Source(beam.DoFn):
        def locate_failure(self, micros: int | None) -> str:
            return "offset 7 of events-0"

    for error in (Frozen(7), Slotted("s"), ValueError("v")):
        note_position(error, Source())
        assert note_of(error) == "read at offset 7 of events-0"
        assert error.hornbeam_position == "offset 7 of events-0"  # type: ignore[union-attr]
