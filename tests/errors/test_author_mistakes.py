"""What a mistake in building a pipeline says: name, code, exception type, and fragments that must be in the text.

Every case is raised where the pipeline is built; nothing has run yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import hornbeam as beam
from hornbeam import error
from hornbeam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from hornbeam.transforms import trigger, window
from hornbeam.typehints.decorators import TypeCheckError
from hornbeam.user_code import UserCodeError

Build = Callable[[beam.Pipeline], Any]


class Echo(beam.DoFn):
    def process(self, element: Any) -> Any:
        yield element


class NoProcess(beam.DoFn):
    pass


class AsyncProcess(beam.DoFn):
    async def process(self, element: Any) -> Any:  # type: ignore[override]
        return [element]


class NoExpand(beam.PTransform):
    pass


class ExpandsToInt(beam.PTransform):
    def expand(self, pcoll: Any) -> Any:
        return 3


class ExpandsToNothing(beam.PTransform):
    def expand(self, pcoll: Any) -> None:
        pcoll | "inner" >> beam.Map(print)


async def later(element: Any) -> Any:
    return element


async def later_many(element: Any) -> Any:
    yield element


def one(p: beam.Pipeline, label: str = "one") -> Any:
    return p | label >> beam.Create([1])


def pair(p: beam.Pipeline, label: str = "pair") -> Any:
    return p | label >> beam.Create([("a", 1)])


def twice(p: beam.Pipeline) -> Any:
    pcoll = one(p)
    pcoll | "A" >> beam.Map(str)
    return pcoll | "A" >> beam.Map(str)


def iterate(p: beam.Pipeline) -> None:
    for _ in one(p):
        pass


def fires_early(p: beam.Pipeline) -> Any:
    windows = beam.WindowInto(
        window.FixedWindows(60),
        trigger=trigger.AfterCount(1),
        accumulation_mode=trigger.AccumulationMode.DISCARDING,
    )
    return pair(p) | windows | "grp" >> beam.GroupByKey()


LOCK = threading.Lock()


def holds_a_lock() -> Callable[[Any], Any]:
    lock = threading.Lock()
    return lambda x: (x, lock)


fixed = window.FixedWindows

CASES: list[tuple[str, Build, type[BaseException], list[str]]] = [
    (
        "lambda with too many parameters",
        lambda p: one(p) | beam.Map(lambda a, b: a),
        TypeError,
        ["parameter 'b'", "none was given"],
    ),
    (
        "lambda without parameters",
        lambda p: one(p) | beam.Map(lambda: 1),
        TypeError,
        ["<lambda at", "takes no element"],
    ),
    (
        "a pair given to two parameters",
        lambda p: pair(p) | beam.Map(lambda k, v: k),
        TypeError,
        ["parameter 'v'"],
    ),
    ("Map of no function", lambda p: one(p) | beam.Map(3), TypeError, ["Map needs a callable", "3 (int)"]),
    ("Map of None", lambda p: one(p) | beam.Map(None), TypeError, ["Map needs a callable", "NoneType"]),
    ("Filter of None", lambda p: one(p) | beam.Filter(None), TypeError, ["Filter needs a callable"]),
    (
        "Map of a DoFn",
        lambda p: one(p) | beam.Map(Echo()),
        TypeError,
        ["Echo is a DoFn", "beam.ParDo(Echo(...))"],
    ),
    (
        "Map of a coroutine function",
        lambda p: one(p) | beam.Map(later),
        TypeError,
        ["later is an async function", "asyncio.run"],
    ),
    (
        "FlatMap of an async generator",
        lambda p: one(p) | beam.FlatMap(later_many),
        TypeError,
        ["async function"],
    ),
    ("Filter of a coroutine function", lambda p: one(p) | beam.Filter(later), TypeError, ["async function"]),
    (
        "async process",
        lambda p: one(p) | beam.ParDo(AsyncProcess()),
        TypeError,
        ["AsyncProcess.process is an async function"],
    ),
    (
        "iterating a pcollection",
        iterate,
        TypeError,
        ["PCollection[one", "cannot be iterated", "beam.Map", "AsIter(pcoll)"],
    ),
    ("len of a pcollection", lambda p: len(one(p)), TypeError, ["'PCollection'", "len()"]),
    (
        "a pcollection as an argument",
        lambda p: one(p) | beam.Map(lambda x, y: y, one(p, "s")),
        TypeError,
        ["PCollection[s", "AsList(pcoll)"],
    ),
    ("a DoFn class", lambda p: one(p) | beam.ParDo(Echo), ValueError, ["ParDo(Echo())", "not ParDo(Echo)"]),
    ("a DoFn without ParDo", lambda p: one(p) | Echo(), TypeError, ["beam.ParDo(Echo(...))"]),
    (
        "a DoFn without process",
        lambda p: one(p) | beam.ParDo(NoProcess()),
        ValueError,
        ["NoProcess must define process(self, element)"],
    ),
    ("a function without Map", lambda p: one(p) | (lambda x: x), TypeError, ["beam.Map(fn)"]),
    ("a transform class", lambda p: one(p) | beam.GroupByKey, TypeError, ["pcoll | GroupByKey()"]),
    ("a label without transform", lambda p: p | "a" | beam.Create([1]), TypeError, ["'a' >>"]),
    (
        "a label that is no str",
        lambda p: one(p) | 3 >> beam.Map(str),
        TypeError,
        ["label must be a str", "3 is int"],
    ),
    ("a label twice", twice, RuntimeError, ["label 'A' already exists", "--auto_unique_labels"]),
    (
        "a pcollection of another pipeline",
        lambda p: (one(p), one(beam.Pipeline())) | beam.Flatten(),
        ValueError,
        ["'Flatten' belongs to one pipeline", "another"],
    ),
    (
        "a side input of another pipeline",
        lambda p: one(p) | beam.Map(lambda x, y: x, beam.pvalue.AsList(one(beam.Pipeline()))),
        ValueError,
        ["another", "same Pipeline object"],
    ),
    ("Create of an int", lambda p: p | beam.Create(3), TypeError, ["Create needs an iterable", "got 3"]),
    ("Create of a str", lambda p: p | beam.Create("abc"), TypeError, ["'abc'", "Create(['abc'])"]),
    (
        "Create on a pcollection",
        lambda p: one(p) | beam.Create([2]),
        TypeError,
        ["p | Create(...)", "PCollection[one"],
    ),
    ("Map on the pipeline", lambda p: p | beam.Map(str), TypeError, ["the pipeline itself", "beam.Create"]),
    (
        "GroupByKey of ints",
        lambda p: one(p) | "Group" >> beam.GroupByKey(),
        TypeCheckError,
        ["GroupByKey at 'Group'", "(key, value) pairs", "input is int", "beam.Map(lambda x: (key, x))"],
    ),
    (
        "CombinePerKey of ints",
        lambda p: one(p) | "Sum" >> beam.CombinePerKey(sum),
        TypeCheckError,
        ["CombinePerKey at 'Sum'", "input is int"],
    ),
    (
        "GroupByKey on the pipeline",
        lambda p: p | beam.GroupByKey(),
        TypeError,
        ["needs one PCollection of pairs"],
    ),
    (
        "CoGroupByKey of one pcollection",
        lambda p: pair(p) | beam.CoGroupByKey(),
        TypeError,
        ["dict, tuple or list of PCollections", "PCollection[pair"],
    ),
    (
        "CoGroupByKey of ints",
        lambda p: {"a": one(p), "b": pair(p)} | beam.CoGroupByKey(),
        TypeCheckError,
        ["Mark[a]", "found int"],
    ),
    (
        "Flatten of one pcollection",
        lambda p: one(p) | beam.Flatten(),
        TypeError,
        ["tuple or list of PCollections"],
    ),
    ("Flatten of nothing", lambda p: () | beam.Flatten(), ValueError, ["Flatten(pipeline=p)"]),
    (
        "declared types that do not fit",
        lambda p: one(p) | "t" >> beam.Map(str).with_input_types(str),
        TypeCheckError,
        ["'t'", "expected str", "found int"],
    ),
    (
        "a transform without expand",
        lambda p: one(p) | NoExpand(),
        NotImplementedError,
        ["NoExpand must define expand"],
    ),
    (
        "expand that returns an int",
        lambda p: one(p) | "t" >> ExpandsToInt(),
        TypeError,
        ["expand of 't'", "it returned int"],
    ),
    (
        "a step behind an end",
        lambda p: one(p) | ExpandsToNothing() | "more" >> beam.Map(str),
        ValueError,
        ["'more'", "no output"],
    ),
    (
        "a tag that is not declared",
        lambda p: (one(p) | beam.ParDo(Echo()).with_outputs("a")).bb,
        AttributeError,
        ["no output 'bb'", "'a'"],
    ),
    (
        "Partition with swapped arguments",
        lambda p: one(p) | beam.Partition(3, lambda x, n: 0),
        TypeError,
        ["Partition needs", "got 3"],
    ),
    (
        "a CombineFn class",
        lambda p: one(p) | beam.CombineGlobally(beam.combiners.MeanCombineFn),
        TypeError,
        ["Use MeanCombineFn()"],
    ),
    (
        "a combine of no function",
        lambda p: one(p) | beam.CombineGlobally(3),
        TypeError,
        ["CombineGlobally needs a CombineFn", "3 (int)"],
    ),
    (
        "WindowInto of a number",
        lambda p: one(p) | beam.WindowInto(60),
        TypeError,
        ["FixedWindows(60)", "got 60"],
    ),
    ("WindowInto of a class", lambda p: one(p) | beam.WindowInto(fixed), TypeError, ["got FixedWindows"]),
    ("a negative size", lambda p: fixed(-1), ValueError, ["FixedWindows", "strictly positive", "-1"]),
    ("a size of zero", lambda p: fixed(0), ValueError, ["strictly positive", "it is 0"]),
    (
        "a negative period",
        lambda p: window.SlidingWindows(10, -1),
        ValueError,
        ["period must be strictly positive"],
    ),
    ("a negative gap", lambda p: window.Sessions(-1), ValueError, ["gap_size must be strictly positive"]),
    ("a size that is a str", lambda p: fixed("60"), TypeError, ["'60' of type str"]),  # type: ignore[arg-type]
    (
        "a trigger without accumulation mode",
        lambda p: one(p) | beam.WindowInto(fixed(60), trigger=trigger.AfterCount(1)),
        ValueError,
        ["AfterCount(1)", "accumulation_mode=AccumulationMode.DISCARDING"],
    ),
    (
        "a trigger class",
        lambda p: (
            one(p)
            | beam.WindowInto(
                fixed(60),
                trigger=trigger.AfterWatermark,
                accumulation_mode=trigger.AccumulationMode.DISCARDING,
            )
        ),
        TypeError,
        ["must be a trigger", "it is AfterWatermark"],
    ),
    ("a trigger that may lose data", fires_early, ValueError, ["Unsafe trigger", "'grp'", "Repeatedly"]),
    (
        "CombineGlobally in windows",
        lambda p: one(p) | beam.WindowInto(fixed(60)) | beam.CombineGlobally(sum),
        ValueError,
        ["CombineGlobally(sum)", "without_defaults()"],
    ),
    (
        "an unpicklable closure",
        lambda p: one(p) | "locked" >> beam.Map(holds_a_lock()),
        UserCodeError,
        ["'locked'", "cannot be pickled", "variable 'lock'", "test_author_mistakes.py", "DoFn.setup()"],
    ),
    (
        "an unpicklable value",
        lambda p: p | "mk" >> beam.Create([threading.Lock()]),
        UserCodeError,
        ["'mk", "item 0", "_thread.lock"],
    ),
    (
        "an unpicklable argument",
        lambda p: one(p) | "gen" >> beam.Map(lambda x, g: x, (i for i in range(3))),
        UserCodeError,
        ["'gen'", "generator"],
    ),
    (
        "an unknown runner",
        lambda p: beam.Pipeline(runner="SparkyRunner"),
        ValueError,
        ["Unknown runner 'SparkyRunner'", "DirectRunner"],
    ),
    (
        "a misspelt runner",
        lambda p: beam.Pipeline(argv=["--runner=DirectRuner"]),
        ValueError,
        ["Did you mean 'DirectRunner'?"],
    ),
    (
        "a runner that is not installed",
        lambda p: beam.Pipeline(runner="no_such.pkg.Runner"),
        error.RunnerError,
        ["'no_such.pkg.Runner'", "No module named 'no_such'", "installed"],
    ),
    (
        "a runner that is an int",
        lambda p: beam.Pipeline(runner=3).run(),
        TypeError,
        ["runner must be a name", "it is 3"],
    ),
    (
        "options that are a dict",
        lambda p: beam.Pipeline(options={"a": 1}),
        ValueError,
        ["must be PipelineOptions", "dict"],
    ),
    (
        "options that are a str",
        lambda p: PipelineOptions("--runner=DirectRunner"),
        TypeError,
        ["list of flags"],
    ),
    (
        "an option of the wrong type",
        lambda p: PipelineOptions(["--bundle_size=abc"]).view_as(DirectOptions),
        error.OptionError,
        ["--bundle_size", "'abc'"],
    ),
    (
        "an unknown option",
        lambda p: PipelineOptions([]).view_as(StandardOptions).foo,
        AttributeError,
        ["StandardOptions has no option 'foo'"],
    ),
    (
        "a view that is no class",
        lambda p: PipelineOptions([]).view_as(3),
        TypeError,
        ["subclass of PipelineOptions", "found 3"],
    ),  # type: ignore[type-var]
    (
        "a missing file",
        lambda p: p | beam.io.ReadFromText("/no/such/file.txt"),
        FileNotFoundError,
        ["/no/such/file.txt", "validate=False"],
    ),
    (
        "a list of files",
        lambda p: p | beam.io.ReadFromText(["/no"]),
        TypeError,
        ["file_pattern must be a string", "['/no']"],
    ),  # type: ignore[arg-type]
    (
        "a scheme that nobody knows",
        lambda p: p | beam.io.ReadFromText("gs://b/x"),
        ValueError,
        ["'gs'", "'gs://b/x'"],
    ),
    (
        "a batch size of zero",
        lambda p: pair(p) | beam.GroupIntoBatches(0),
        ValueError,
        ["batch_size", "found 0"],
    ),
    (
        "batch sizes that do not fit",
        lambda p: one(p) | beam.BatchElements(min_batch_size=10, max_batch_size=5),
        ValueError,
        ["10 > 5"],
    ),
]


@pytest.mark.parametrize(
    ("build", "kind", "fragments"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_mistake_is_explained(build: Build, kind: type[BaseException], fragments: list[str]) -> None:
    p = beam.Pipeline()
    with pytest.raises(kind) as caught:
        build(p)
    text = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in text] == [], text
    assert len(text) < 700


def test_a_pcollection_has_a_truth_value_as_any_object_has() -> None:
    assert one(beam.Pipeline())


def test_what_failed_to_be_applied_leaves_its_label_free() -> None:
    p = beam.Pipeline()
    pcoll = one(p)
    with pytest.raises(TypeCheckError):
        pcoll | "Group" >> beam.GroupByKey()
    pcoll | "Group" >> beam.Map(str)
    p.run()
