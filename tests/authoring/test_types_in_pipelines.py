"""Type hints: how they travel, choose coders, and which contradictions are found before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import pytest

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.pvalue import AsIter, AsSingleton
from hornbeam.typehints import with_input_types, with_output_types
from hornbeam.typehints.decorators import TypeCheckError

T = TypeVar("T")


def parse(line: str) -> int:
    return int(line)


def words(line: str) -> Iterable[str]:
    return line.split()


class Lengths(beam.DoFn):
    def process(self, element: str) -> Iterator[int]:
        yield len(element)


@with_input_types(str)
@with_output_types(float)
class Decorated(beam.DoFn):
    def process(self, element):
        yield float(element)


class Swap(beam.PTransform):
    def expand(self, pcoll: beam.PCollection[tuple[str, int]]) -> beam.PCollection[tuple[int, str]]:
        return pcoll | beam.MapTuple(lambda k, v: (v, k))


@pytest.fixture
def texts():
    return beam.Pipeline() | beam.Create(["a"])


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (beam.Map(parse), "int"),
        (beam.FlatMap(words), "str"),
        (beam.FlatMap(str.split), "str"),
        (beam.Map(len), "int"),
        (beam.Map(float), "float"),
        (beam.Filter(lambda x: True), "str"),
        (beam.ParDo(Lengths()), "int"),
        (beam.ParDo(Decorated()), "float"),
        (beam.Map(lambda x: x), "Any"),
        (beam.Map(lambda x: x).with_output_types(dict[str, int]), "Dict[str, int]"),
        (beam.FlatMap(lambda x: x).with_output_types(int), "int"),
        (beam.WithTimestamps(lambda x: 0), "str"),
        (beam.Reshuffle(), "str"),
        (beam.WindowInto(beam.window.FixedWindows(1)), "str"),
        (beam.Map(lambda x: (x, 1)).with_output_types(tuple[str, int]) | Swap(), "Tuple[int, str]"),
    ],
)
def test_the_type_after_a_step(texts, step, found):
    result = texts | step
    hint = result.element_type
    assert (hint.__name__ if isinstance(hint, type) else str(hint)) == found


def test_type_variables_are_bound(texts):
    def pair(x: T) -> tuple[T, T]:
        return x, x

    assert str((texts | beam.Map(pair)).element_type) == "Tuple[str, str]"


NUMBERS_WRONG = [
    (beam.Map(parse), "Map(parse)", "expected str", "found int"),
    (beam.ParDo(Lengths()), "ParDo(Lengths)", "expected str", "found int"),
    (beam.ParDo(Decorated()), "ParDo(Decorated)", "expected str", "found int"),
    (beam.Map(lambda x: x).with_input_types(str), "Map(<lambda", "expected str", "found int"),
    (Swap(), "Swap", "expected Tuple[str, int]", "found int"),
]


@pytest.mark.parametrize(("step", "label", "expected", "found"), NUMBERS_WRONG)
def test_a_declared_mismatch_names_step_expected_and_found(step, label, expected, found):
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(TypeCheckError) as info:
        numbers | step
    message = str(info.value)
    assert f"Type hint violation for '{label}" in message
    assert expected in message and found in message


@pytest.mark.parametrize("step", [step for step, *_ in NUMBERS_WRONG[:4]])
def test_nothing_is_checked_when_the_option_says_so(step):
    p = beam.Pipeline(options=PipelineOptions(["--no_pipeline_type_check"]))
    p | beam.Create([1]) | step


def test_any_never_fails():
    anything = beam.Pipeline() | beam.Create([1]) | beam.Map(lambda x: x)
    for step, *_ in NUMBERS_WRONG:
        anything | f"On {step.label}" >> step


def test_outputs_of_composites_are_checked():
    class Wrong(beam.PTransform):
        def expand(self, pcoll: beam.PCollection[int]) -> beam.PCollection[str]:
            return pcoll | beam.Map(lambda x: x).with_output_types(int)

    with pytest.raises(TypeCheckError, match=r"'Wrong': expected str.*found int for its output"):
        beam.Pipeline() | beam.Create([1]) | Wrong()


def test_a_composite_declares_what_it_does_not_know():
    class Counted(beam.PTransform):
        def expand(self, pcoll):
            return pcoll | beam.Map(lambda x: x)

    p = beam.Pipeline()
    result = p | beam.Create([1]) | Counted().with_output_types(int)
    assert result.element_type is int


def test_hints_of_structures():
    class Both(beam.PTransform):
        def expand(self, pcolls):
            return (pcolls["a"], pcolls["b"]) | beam.Flatten()

    p = beam.Pipeline()
    one, two = p | "1" >> beam.Create([1]), p | "2" >> beam.Create(["x"])
    {"a": one, "b": two} | "Right" >> Both().with_input_types(a=int, b=str)
    with pytest.raises(TypeCheckError, match=r"expected int.*found str for its input\[b\]"):
        {"a": one, "b": two} | "Wrong" >> Both().with_input_types(a=int, b=int)


def test_arguments_and_side_inputs_are_checked():
    def scaled(x: int, factor: float, names: Iterable[str] = ()) -> float:
        return x * factor

    p = beam.Pipeline()
    numbers = p | "N" >> beam.Create([1])
    texts = p | "T" >> beam.Create(["a"])
    numbers | "Value" >> beam.Map(scaled, 2.5)
    numbers | "Int for float" >> beam.Map(scaled, 2)
    numbers | "Views" >> beam.Map(scaled, AsSingleton(numbers), AsIter(texts))
    with pytest.raises(TypeCheckError, match=r"expected float.*found str for argument 1"):
        numbers | "Text" >> beam.Map(scaled, "2")
    with pytest.raises(
        TypeCheckError, match=r"expected Iterable\[str\].*found Iterable\[int\] for argument 2"
    ):
        numbers | "Wrong view" >> beam.Map(scaled, 1.0, AsIter(numbers))


def test_a_process_that_returns_no_iterable_is_found():
    class Wrong(beam.DoFn):
        def process(self, element: int) -> int:
            return element

    with pytest.raises(ValueError, match=r"Wrong.process must return an iterable of its outputs"):
        beam.Pipeline() | beam.Create([1]) | beam.ParDo(Wrong())


def test_types_choose_coders_and_stand_in_the_graph():
    p = beam.Pipeline()
    p | beam.Create(["a"]) | "Pair" >> beam.Map(lambda w: (w, 1)).with_output_types(tuple[str, int])
    graph = p.to_graph()
    step = next(t for t in graph.transforms.values() if t.label == "Pair")
    pcoll = graph.pcollections[step.outputs["out"]]
    assert pcoll.element_type == "Tuple[str, int]"
    coder = graph.coders[pcoll.coder]
    assert coder.urn == "beam:coder:kv:v1"
    assert [graph.coders[c].urn for c in coder.components] == [
        "beam:coder:string_utf8:v1",
        "beam:coder:varint:v1",
    ]


class Point:
    pass


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], "Any"),
        ([1, 2], "int"),
        ([1, 2.0], {"Union[float, int]", "Union[int, float]"}),
        ([None], "NoneType"),
        ([1, None], {"Optional[int]", "Union[NoneType, int]", "Union[int, None]", "Union[None, int]"}),
        ([("a", 1), ("b", 2)], "Tuple[str, int]"),
        ([("a", 1), ("b", None)], {"Tuple[str, Optional[int]]", "Tuple[str, Union[None, int]]"}),
        ([(1,), (1, 2)], "Tuple[Any, ...]"),
        ([[1], [2]], "List[int]"),
        ([{"a": 1}], "Dict[str, int]"),
        ([{1}], "Set[int]"),
        ([True], "bool"),
        ([Point()], "Point"),
        ([(n, str(n)) for n in range(5000)], "Tuple[int, str]"),
        ([[n] for n in range(5000)], "List[Any]"),
    ],
)
def test_the_type_of_created_values(values: list[Any], found: Any):
    hint = (beam.Pipeline() | beam.Create(values)).element_type
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    assert name in (found if isinstance(found, set) else {found})


def test_values_are_checked_at_run_time_when_the_option_says_so():
    def claims(x) -> int:
        return "text" if x == 2 else x

    def run(*flags: str) -> None:
        with beam.Pipeline(options=PipelineOptions(flags)) as p:
            p | beam.Create([1, 2]) | "Claims" >> beam.Map(claims)

    run()
    with pytest.raises(TypeCheckError, match=r"(?s)'Claims'.*int.*'text'"):
        run("--runtime_type_check")


def test_wrong_elements_are_found_at_run_time():
    class Typed(beam.DoFn):
        def process(self, element: int) -> Iterator[str]:
            yield beam.TaggedOutput("other", 1)
            yield beam.window.TimestampedValue(str(element), 1)

    with beam.Pipeline(options=PipelineOptions(["--runtime_type_check"])) as p:
        p | beam.Create([1]) | beam.Map(lambda x: x) | beam.ParDo(Typed())
    with (
        pytest.raises(TypeCheckError, match=r"(?s)ParDo\(Typed\).*element"),
        beam.Pipeline(options=PipelineOptions(["--runtime_type_check"])) as p,
    ):
        p | beam.Create(["a"]) | beam.Map(lambda x: x) | beam.ParDo(Typed())


def test_types_may_be_required():
    p = beam.Pipeline(options=PipelineOptions(["--type_check_strictness=ALL_REQUIRED"]))
    numbers = p | beam.Create([1])
    numbers | beam.Map(str)
    numbers | "Declared" >> beam.Map(lambda x: x).with_output_types(int)
    with pytest.raises(TypeCheckError, match="no output type is known of 'Unknown'"):
        numbers | "Unknown" >> beam.Map(lambda x: x)
