"""How a pipeline is put together: labels, structures of values, composites, and the mistakes that are refused."""

from __future__ import annotations

import collections
import time
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.error import TransformError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.pipeline import PipelineVisitor
from hornbeam.pvalue import PBegin, PDone
from hornbeam.transforms.labels import label_from_callable


def labels(p: beam.Pipeline) -> list[str]:
    return [transform.label for transform in p.to_graph().transforms.values()]


def double(x: int) -> int:
    return x * 2


class Doubler(beam.DoFn):
    def process(self, element):
        yield element * 2


class SquareAll(beam.PTransform):
    def expand(self, pcoll):
        return pcoll | beam.Map(lambda x: x * x)


def test_default_labels_name_the_function():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    numbers | beam.Map(double)
    numbers | beam.Map(lambda x: x)
    numbers | beam.ParDo(Doubler())
    numbers | beam.CombineGlobally(sum)
    outermost = [label for label in labels(p) if "/" not in label]
    assert outermost[1] == "Map(double)"
    assert outermost[2].startswith("Map(<lambda at test_pipeline_building.py:")
    assert outermost[3:] == ["ParDo(Doubler)", "CombineGlobally(sum)"]


@pytest.mark.parametrize(
    ("fn", "label"),
    [
        (double, "double"),
        (str.upper, "upper"),
        (int, "int"),
        (Doubler(), "Doubler"),
        (collections.Counter(a=1).get, "get"),
    ],
)
def test_label_from_callable(fn: Any, label: str):
    assert label_from_callable(fn) == label


def test_labels_are_scoped_by_composites():
    p = beam.Pipeline()
    p | beam.Create([1]) | "Squares" >> SquareAll()
    found = labels(p)
    assert "Squares" in found
    assert any(label.startswith("Squares/Map(<lambda at ") for label in found)


def test_a_label_twice_is_refused():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    numbers | "Step" >> beam.Map(double)
    with pytest.raises(RuntimeError, match=r"'Step' already exists in the pipeline.*another label"):
        numbers | "Step" >> beam.Map(double)


def test_a_label_may_be_used_again_in_another_composite():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    numbers | "One" >> SquareAll() | "Two" >> SquareAll()
    assert {"One", "Two"} <= set(labels(p))


def test_labels_are_numbered_with_auto_unique_labels():
    p = beam.Pipeline(options=PipelineOptions(["--auto_unique_labels"]))
    numbers = p | beam.Create([1])
    for _ in range(3):
        numbers | "Step" >> beam.Map(double)
    assert [label for label in labels(p) if label.startswith("Step")] == ["Step", "Step_1", "Step_2"]


def test_a_failed_application_leaves_nothing_behind():
    p = beam.Pipeline()
    numbers = p | beam.Create([1]).with_output_types(int)
    before = labels(p)
    with pytest.raises(TypeError):
        numbers | "Group" >> beam.GroupByKey()
    assert labels(p) == before
    numbers | "Group" >> beam.Map(double)  # The label is free again.


def test_a_pcollection_of_another_pipeline_is_refused():
    one, other = beam.Pipeline(), beam.Pipeline()
    numbers = one | beam.Create([1])
    others = other | beam.Create([2])
    with pytest.raises(ValueError, match=r"another.*pipelines cannot be mixed"):
        (numbers, others) | beam.Flatten()
    with pytest.raises(ValueError, match="pipelines cannot be mixed"):
        numbers | beam.Map(lambda x, y: x, beam.pvalue.AsSingleton(others))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (Doubler, "Write pcoll | beam.ParDo(Doubler())"),
        (Doubler(), "Write pcoll | beam.ParDo(Doubler"),
        (SquareAll, "Write pcoll | SquareAll(), not pcoll | SquareAll"),
        (beam.combiners.CountCombineFn(), "CombineGlobally(CountCombineFn"),
        (double, "Write pcoll | beam.Map(fn)"),
        ("label", "A label goes before its transform"),
        (3, "Expected a PTransform"),
    ],
)
def test_what_is_no_transform_is_refused_with_the_right_call(wrong: Any, advice: str):
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(TypeError) as info:
        numbers | wrong
    assert advice in str(info.value)


def test_a_dofn_class_in_pardo_is_refused():
    with pytest.raises(ValueError, match=r"Write ParDo\(Doubler\(\)\), not ParDo\(Doubler\)"):
        beam.ParDo(Doubler)


def test_a_dofn_in_map_is_refused():
    with pytest.raises(TypeError, match=r"Doubler is a DoFn. Write beam.ParDo"):
        beam.Map(Doubler())


def test_a_pardo_on_the_pipeline_itself_is_refused():
    with pytest.raises(TypeError, match="applied to the pipeline itself"):
        beam.Pipeline() | beam.Map(double)


def test_a_root_on_a_pcollection_is_refused():
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(TypeError, match="must be applied to the pipeline itself"):
        numbers | "Again" >> beam.Create([2])


def test_with_outputs_after_a_label_is_explained():
    with pytest.raises(AttributeError, match="belongs to the transform, not to its label"):
        ("label" >> beam.ParDo(Doubler())).with_outputs("x")


def test_chained_transforms_are_one_transform():
    p = beam.Pipeline()
    p | beam.Create([1]) | "Both" >> (beam.Map(double) | beam.Map(str))
    assert {"Both", "Both/Map(double)", "Both/Map(str)"} <= set(labels(p))


def test_ptransform_fn():
    @beam.ptransform_fn
    def LongerThan(words, length):
        return words | beam.Filter(lambda word: len(word) > length)

    p = beam.Pipeline()
    p | beam.Create(["a", "abc"]) | LongerThan(2)
    assert "LongerThan(2)" in labels(p)


def test_ptransform_fn_gets_its_type_hints():
    seen = []

    @beam.ptransform_fn
    def Same(pcoll, type_hints):
        seen.append(type_hints.input_types)
        return pcoll | beam.Map(lambda x: x)

    beam.Pipeline() | beam.Create([1]) | Same().with_input_types(int)
    assert seen == [((int,), {})]


Ends = collections.namedtuple("Ends", ["head", "tail"])


class Structured(beam.PTransform):
    """Gives back what it gets, in the form that it is told."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def expand(self, pcoll):
        head = pcoll | "Head" >> beam.Map(double)
        tail = pcoll | "Tail" >> beam.Map(double)
        return {
            "tuple": (head, tail),
            "list": [head, tail],
            "dict": {"head": head, "tail": tail},
            "named": Ends(head, tail),
            "nested": {"both": (head, tail)},
            "none": None,
        }[self.form]


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("tuple", ["0", "1"]),
        ("list", ["0", "1"]),
        ("dict", ["head", "tail"]),
        ("named", ["head", "tail"]),
        ("nested", ["both.0", "both.1"]),
        ("none", []),
    ],
)
def test_outputs_of_any_structure(form: str, names: list[str]):
    p = beam.Pipeline()
    result = p | beam.Create([1]) | "Step" >> Structured(form)
    step = next(t for t in p.to_graph().transforms.values() if t.label == "Step")
    assert list(step.outputs) == names
    if form == "named":
        assert isinstance(result, Ends)
    if form == "none":
        assert isinstance(result, PDone)


def test_inputs_of_any_structure():
    class Take(beam.PTransform):
        def expand(self, pcolls):
            return (*pcolls["numbers"], pcolls["more"]) | beam.Flatten()

    p = beam.Pipeline()
    one, two, three = (p | f"C{n}" >> beam.Create([n]) for n in range(3))
    {"numbers": [one, two], "more": three} | "Take" >> Take()
    step = next(t for t in p.to_graph().transforms.values() if t.label == "Take")
    assert list(step.inputs) == ["numbers.0", "numbers.1", "more"]


def test_a_wrong_result_of_expand_is_refused():
    class Bad(beam.PTransform):
        def expand(self, pcoll):
            return 3

    with pytest.raises(TypeError, match=r"expand of 'Bad' must return a PCollection.*it returned int"):
        beam.Pipeline() | beam.Create([1]) | Bad()


def test_going_on_after_the_end_of_a_branch_is_refused():
    class Sink(beam.PTransform):
        def expand(self, pcoll):
            pcoll | beam.Map(double)

    done = beam.Pipeline() | beam.Create([1]) | Sink()
    with pytest.raises(ValueError, match="applied to the end of a branch"):
        done | beam.Map(double)


def test_a_composite_may_not_make_pcollections_itself():
    class Fake(beam.PTransform):
        def expand(self, pcoll):
            return beam.PCollection(pcoll.pipeline)

    p = beam.Pipeline()
    p | beam.Create([1]) | Fake()
    with pytest.raises(TransformError, match="'Fake' returned a PCollection that no step made"):
        p.to_graph()


def test_a_composite_that_passes_its_input_on():
    class Same(beam.PTransform):
        def expand(self, pcoll):
            return pcoll

    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    assert (numbers | Same()) is numbers
    p.to_graph()


def test_expand_is_called_once_for_each_application():
    calls = []

    class Counted(beam.PTransform):
        def expand(self, pcoll):
            calls.append(pcoll)
            return pcoll | beam.Map(double)

    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    step = Counted()
    numbers | "One" >> step
    numbers | "Two" >> step
    p.to_graph()
    p.to_graph()
    assert calls == [numbers, numbers]
    assert step.label == "Counted"


def test_iterating_a_pcollection_is_refused():
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(TypeError, match="cannot be iterated while the pipeline is built"):
        list(numbers)


def test_visit_sees_composites_primitives_and_values():
    class Seen(PipelineVisitor):
        def __init__(self):
            self.entered, self.left, self.steps, self.values = [], [], [], []

        def enter_composite_transform(self, node):
            self.entered.append(node.full_label)

        def leave_composite_transform(self, node):
            self.left.append(node.full_label)

        def visit_transform(self, node):
            self.steps.append(node.full_label)

        def visit_value(self, value, producer_node):
            self.values.append(producer_node.full_label)

    p = beam.Pipeline()
    p | beam.Create([1]) | SquareAll()
    seen = Seen()
    p.visit(seen)
    assert seen.entered == ["", "Create", "SquareAll"]
    assert seen.left == ["Create", "SquareAll", ""]
    assert seen.steps[:2] == ["Create/Impulse", "Create/Values"]
    assert len(seen.values) == len(set(seen.values)) == 3


def test_annotations_of_blocks_and_transforms():
    class Annotated(beam.PTransform):
        def annotations(self):
            return {"own": "of the transform"}

        def expand(self, pcoll):
            return pcoll | beam.Map(double)

    p = beam.Pipeline()
    with p.transform_annotations(team="words"), beam.transform_annotations(cost=b"low"):
        numbers = p | beam.Create([1])
    numbers | Annotated()
    steps = {t.label: dict(t.annotations) for t in p.to_graph().transforms.values()}
    assert steps["Create"] == {"team": b"words", "cost": b"low"}
    assert steps["Create/Impulse"] == {"team": b"words", "cost": b"low"}
    assert steps["Annotated"] == {"own": b"of the transform"}


def test_options_must_be_options():
    with pytest.raises(ValueError, match="options must be PipelineOptions"):
        beam.Pipeline(options={"runner": "DirectRunner"})
    with pytest.raises(ValueError, match="argv must be a list"):
        beam.Pipeline(argv="--runner=DirectRunner")


def test_an_exception_in_the_block_keeps_the_pipeline_from_running():
    class Runner:
        def run(self, graph, options):
            raise AssertionError("it ran")

    with pytest.raises(KeyError), beam.Pipeline(runner=Runner()) as p:
        p | beam.Create([1])
        raise KeyError


def test_a_runner_gets_the_graph_and_the_options_and_is_waited_for():
    calls = []

    class Result:
        def wait_until_finish(self, duration=None):
            calls.append("waited")

    class Runner:
        def run(self, graph, options):
            calls.append((len(graph.transforms), options))
            return Result()

    options = PipelineOptions([])
    with beam.Pipeline(runner=Runner, options=options) as p:
        p | beam.Impulse()
    assert calls == [(1, options), "waited"]
    assert isinstance(p.result, Result)


def test_without_waiting_when_the_option_says_so():
    class Result:
        def wait_until_finish(self, duration=None):
            raise AssertionError("waited")

    class Runner:
        def run(self, graph, options):
            return Result()

    with beam.Pipeline(runner=Runner(), argv=["--no_wait_until_finish"]) as p:
        p | beam.Impulse()


def test_replace_all_is_refused_clearly():
    with pytest.raises(NotImplementedError, match="not supported"):
        beam.Pipeline().replace_all([object()])


def test_impulse_on_p_and_on_pbegin():
    p = beam.Pipeline()
    one = p | beam.Impulse()
    two = PBegin(p) | "Again" >> beam.Impulse()
    assert one.element_type is two.element_type is bytes


def test_a_thousand_steps_are_built_quickly():
    start = time.process_time()
    p = beam.Pipeline()
    value = p | beam.Create([1])
    for step in range(1000):
        value = value | f"Step{step}" >> beam.Map(lambda x, step=step: x + step)
    graph = p.to_graph()
    elapsed = time.process_time() - start
    assert len(graph.transforms) == 1003
    assert (
        elapsed < 15
    )  # seconds of the processor; well under one as long as it does not grow with the square


def test_an_unknown_runner_is_refused_when_the_pipeline_is_made():
    with pytest.raises(ValueError, match=r"Unknown runner 'DierctRunner'\. Did you mean 'DirectRunner'"):
        beam.Pipeline("DierctRunner")
    with pytest.raises(ValueError, match="Unknown runner 'Nobody'"):
        beam.Pipeline(options=PipelineOptions(["--runner=Nobody"]))
    with pytest.raises(TypeError, match="runner must be a name, a runner or a runner class"):
        beam.Pipeline(runner=3).run()


def test_mistakes_in_options_are_found_before_anything_runs():
    p = beam.Pipeline(options=PipelineOptions(["--experiments=a,b"]))
    with pytest.raises(ValueError, match="one experiment per flag"):
        p.run()


def test_a_label_stays_free_when_its_input_is_refused():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    for wrong in (3, (numbers, beam.Pipeline() | beam.Create([2]))):
        with pytest.raises((TypeError, ValueError)):
            p.apply(beam.Flatten(), wrong, "Step")
    (numbers,) | "Step" >> beam.Flatten()
