"""Generated pipelines: the engine gives what the reference interpreter gives, however the work is cut up.

Compared is the multiset of (value, timestamp, window, pane) of each observed stream, values up to the order
inside groups. `CASES` keeps programs that once found a mistake, and some that must always be tried.
"""

from __future__ import annotations

import pathlib
import pickle
import tempfile
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from properties.programs import Program, Step, programs
from properties.vocabulary import canonical
from reference import exploded, interpret

import hornbeam as beam
from hornbeam.graph import serialize
from hornbeam.graph.model import Graph
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.runner import create_runner

#: Value, timestamp in microseconds, window, pane.
Fact = tuple[str, int, str, str]
Facts = dict[str, Counter[Fact]]

MODES = {
    "one element a bundle": ["--bundle_size=1"],
    "two elements a bundle": ["--bundle_size=2"],
    "seven elements a bundle": ["--bundle_size=7"],
    "the engine's own bundles": ["--bundle_size=0"],
    "groups on disk": ["--bundle_size=0", "--memory_limit=1"],
    "small bundles, groups on disk": ["--bundle_size=3", "--memory_limit=1"],
}
EXAMPLES = 50


class Observe(beam.DoFn):
    """Appends each element with its context to a file of the stream's name."""

    def __init__(self, path: str) -> None:
        self.path = path

    def setup(self) -> None:
        self.file = open(self.path, "ab")

    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        in_window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> None:
        pickle.dump((canonical(element), timestamp.micros, repr(in_window), repr(pane)), self.file)

    def teardown(self) -> None:
        self.file.close()


def observed(program: Program, folder: pathlib.Path) -> Graph:
    """The program's graph, with an Observe on the streams that it shows."""
    pipeline = beam.Pipeline()
    streams = program.build(pipeline)
    for index in program.shown(len(streams)):
        streams[index] | f"observe{index}" >> beam.ParDo(Observe(str(folder / f"observe{index}")))
    return pipeline.to_graph()


def expected_of(graph: Graph, bundle_size: int = 0) -> Facts:
    """What the reference interpreter finds in the observed streams."""
    elements = interpret(_without_observers(graph), bundle_size)
    return {
        transform.label: Counter(
            (canonical(e.value), e.timestamp.micros, repr(e.windows[0]), repr(e.pane_info))
            for e in exploded(elements[transform.inputs["in"]])
        )
        for transform in _observers(graph)
    }


def found_by(graph: Graph, folder: pathlib.Path, flags: list[str]) -> Facts:
    """What the engine finds in the observed streams."""
    for file in folder.iterdir():
        file.unlink()
    create_runner("DirectRunner").run(graph, PipelineOptions([*flags, "--no_progress"])).wait_until_finish()
    return {t.label: Counter(_records(folder / t.label)) for t in _observers(graph)}


def _observers(graph: Graph) -> list[Any]:
    return [t for t in graph.transforms.values() if t.label.startswith("observe")]


def _without_observers(graph: Graph) -> Graph:
    roots = tuple(r for r in graph.roots if not graph.transforms[r].label.startswith("observe"))
    return Graph(graph.transforms, graph.pcollections, graph.windowings, graph.coders, roots)


def _records(path: pathlib.Path) -> list[Fact]:
    records: list[Fact] = []
    if path.exists():
        with path.open("rb") as file:
            while file.peek(1):
                records.append(pickle.load(file))
    return records


def check(program: Program, *modes: list[str]) -> None:
    """Run the program in each of the modes and compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        graph = observed(program, folder)
        expected = expected_of(graph)
        for flags in modes:
            found = found_by(graph, folder, flags)
            for label, facts in expected.items():
                assert found[label] == facts, (
                    f"{label}, {flags}: missing {dict(facts - found[label])}, "
                    f"unexpected {dict(found[label] - facts)}"
                )


quietly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("mode", MODES)
@quietly
@given(program=programs())
def test_the_engine_agrees_with_the_reference(mode: str, program: Program) -> None:
    check(program, MODES[mode])


@quietly
@given(program=programs())
def test_a_graph_means_the_same_after_json(program: Program) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        graph = observed(program, folder)
        restored = serialize.from_json(serialize.to_json(graph))
        assert found_by(restored, folder, []) == expected_of(graph)


@quietly
@given(program=programs())
def test_generated_programs_have_one_right_answer(program: Program) -> None:
    with tempfile.TemporaryDirectory() as name:
        graph = observed(program, pathlib.Path(name))
    assert expected_of(graph, bundle_size=1) == expected_of(graph)


EOW = "OUTPUT_AT_EOW"
SOME = tuple((n, float(n)) for n in range(-8, 9))

#: Programs by the name of what they are about.
CASES: dict[str, Program] = {
    "grouping without input": Program(((),), (Step("key_by", (0,), "int"), Step("group_by_key", (1,)))),
    "keys that Python takes for equal": Program(
        (SOME,), (Step("key_by", (0,), "alike"), Step("combine_per_key", (1,), "sum"))
    ),
    "windows at the beginning of time": Program(
        (((1, None), (2, None), (3, 5.0)),),
        (
            Step("window", (0,), (("fixed", 60, 1), EOW)),
            Step("key_by", (1,), "int"),
            Step("group_by_key", (2,)),
        ),
    ),
    "fixed windows past the end of the global window": Program(
        (SOME,),
        (
            Step("key_by", (0,), "int"),
            Step("group_by_key", (1,)),
            Step("window", (2,), (("fixed", 60, 0), EOW)),
            Step("key_by", (3,), "int"),
            Step("group_by_key", (4,)),
        ),
    ),
    "sessions past the end of the global window": Program(
        (SOME,),
        (
            Step("count_globally", (0,)),
            Step("window", (1,), (("sessions", 10), EOW)),
            Step("key_by", (2,), "int"),
            Step("combine_per_key", (3,), "sum"),
        ),
    ),
    "sliding windows with gaps": Program(
        (SOME,),
        (Step("window", (0,), (("sliding", 2, 3, 1), EOW)), Step("combine_globally", (1,), "count")),
    ),
    "sliding windows of an odd offset": Program(
        (SOME + ((9, None),),),
        (Step("window", (0,), (("sliding", 5, 3, 2.5), EOW)), Step("combine_globally", (1,), "sum")),
    ),
    "windowing again what is in several windows": Program(
        (SOME,),
        (Step("window", (0,), (("sliding", 4, 2, 0), EOW)), Step("window", (1,), (("fixed", 3, 0), EOW))),
    ),
    "windowing again what is in no window": Program(
        (SOME,),
        (Step("window", (0,), (("sliding", 2, 6, 0), EOW)), Step("window", (1,), (("global",), EOW))),
    ),
    "grouping what is in no window": Program(
        (((1, 5.0), (2, 5.0)),),
        (
            Step("window", (0,), (("sliding", 2, 6, 0), "OUTPUT_AT_EARLIEST")),
            Step("key_by", (1,), "int"),
            Step("group_by_key", (2,)),
            Step("combine_per_key", (2,), "sum"),
        ),
    ),
    "new timestamps in several windows": Program(
        (SOME,),
        (
            Step("window", (0,), (("sliding", 4, 2, 0), EOW)),
            Step("restamp", (1,)),
            Step("stamp", (1,), 2),
            Step("rewrap", (1,)),
        ),
    ),
    "more elements than a chunk": Program(
        (tuple((n, n / 50) for n in range(1300)),),
        (
            Step("window", (0,), (("sliding", 20, 10, 0), "OUTPUT_AT_EARLIEST")),
            Step("describe", (1,)),
            Step("count_per_element", (2,)),
            Step("group_by_key", (3,)),
        ),
    ),
    "more sessions than a chunk": Program(
        (tuple((n, 2.0 * n) for n in range(1300)),),
        (Step("window", (0,), (("sessions", 1), "OUTPUT_AT_LATEST")), Step("count_per_element", (1,))),
    ),
    "sessions of sessions": Program(
        (SOME,),
        (
            Step("window", (0,), (("sessions", 3), "OUTPUT_AT_EARLIEST")),
            Step("key_by", (1,), "int"),
            Step("group_by_key", (2,)),
            Step("key_by", (3,), "str"),
            Step("group_by_key", (4,)),
        ),
    ),
    "side inputs of sliding windows": Program(
        (SOME,),
        (
            Step("window", (0,), (("sliding", 4, 2, 0), EOW)),
            Step("window", (0,), (("fixed", 3, 0), EOW)),
            Step("with_iter", (2, 1)),
            Step("with_singleton", (2, 1)),
        ),
    ),
    "a stream that is flattened with itself": Program(
        (SOME,),
        (
            Step("key_by", (0,), "str"),
            Step("flatten_pairs", (1, 1)),
            Step("combine_per_key", (2,), "total"),
        ),
    ),
    "a stream that is flattened with what was grouped of it": Program(
        (SOME,),
        (
            Step("key_by", (0,), "int"),
            Step("combine_per_key", (1,), "sum"),
            Step("flatten_pairs", (1, 2)),
            Step("cogroup", (2, 1), "dict"),
            Step("combine_per_key", (3,), "sum"),
        ),
        False,
    ),
    "a stream that is joined with itself": Program(
        (SOME,), (Step("key_by", (0,), "tuple"), Step("cogroup", (1, 1), "tuple"))
    ),
    "a combine whose side input is empty": Program(
        (SOME, ()),
        (Step("key_by", (0,), "int"), Step("combine_scaled_by_side_input", (2, 1))),
    ),
    "a join on disk keeps the timestamps of its outputs": Program(
        (((0, None),),),
        (
            Step("window", (0,), (("global",), "OUTPUT_AT_EARLIEST")),
            Step("key_by", (1,), "alike"),
            Step("cogroup", (2, 2), "dict"),
        ),
    ),
    "a side input of the stream itself": Program((SOME,), (Step("with_list", (0, 0)),)),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    check(CASES[name], *MODES.values())
