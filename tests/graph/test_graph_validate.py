from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from graph.graphs import graphs, word_count
from hypothesis import given, settings

from hornbeam.error import PipelineError
from hornbeam.graph import urns
from hornbeam.graph.errors import GraphError
from hornbeam.graph.model import Coder, Graph, PCollection, Transform
from hornbeam.graph.validate import find_problems, validate

GRAPH = word_count()


def step(id_: str, **changes: Any) -> Graph:
    """The graph with one transform changed."""
    return attrs.evolve(
        GRAPH, transforms={**GRAPH.transforms, id_: attrs.evolve(GRAPH.transforms[id_], **changes)}
    )


def added(id_: str, transform: Transform, root: bool = True) -> Graph:
    roots = (*GRAPH.roots, id_) if root else GRAPH.roots
    return attrs.evolve(GRAPH, transforms={**GRAPH.transforms, id_: transform}, roots=roots)


def part(kind: str, id_: str, value: Any) -> Graph:
    """The graph with one pcollection, windowing or coder put in."""
    return attrs.evolve(GRAPH, **{kind: {**getattr(GRAPH, kind), id_: value}})


PAIRS_CODER = GRAPH.pcollections["pc3"].coder

# t1 Read (t2 Impulse -> pc1, t3 Lines -> pc2), t4 Split -> pc3, pc4, t5 Window -> pc5,
# t6 Sum (t7 Group -> pc6, t8 Combine -> pc7)
WRONG: dict[str, tuple[Callable[[], Graph], str]] = {
    "unknown root": (lambda: attrs.evolve(GRAPH, roots=(*GRAPH.roots, "t99")), "'t99' as a root"),
    "unknown part": (lambda: step("t1", subtransforms=("t2", "t3", "t99")), "'Read'.* the part 't99'"),
    "unknown input": (lambda: step("t5", inputs={"in": "pc99"}), "'Window'.* the input 'in' = 'pc99'"),
    "unknown output": (lambda: step("t5", outputs={"out": "pc99"}), "'Window'.* the output 'out' = 'pc99'"),
    "unknown coder": (
        lambda: part("pcollections", "pc3", PCollection("c99", "w1")),
        "pcollection pc3 has the unknown coder 'c99'",
    ),
    "unknown windowing": (
        lambda: part("pcollections", "pc3", PCollection(PAIRS_CODER, "w99")),
        "pcollection pc3 has the unknown windowing strategy 'w99'",
    ),
    "no window coder": (
        lambda: part("windowings", "w1", attrs.evolve(GRAPH.windowings["w1"], window_coder="")),
        "windowing strategy w1 has the unknown window coder ''",
    ),
    "unknown component": (
        lambda: part("coders", "c1", Coder(urns.CODER_ITERABLE, ("c99",))),
        "coder c1 .* unknown component 'c99'",
    ),
    "coder inside itself": (
        lambda: part("coders", "c1", Coder(urns.CODER_ITERABLE, ("c1",))),
        "coder c1 is a component of itself",
    ),
    "side input without input": (
        lambda: step("t4", inputs={"in": "pc2"}),
        "'Split'.* describes the side input 'side0'",
    ),
    "composite inside itself": (
        lambda: step("t3", urn=urns.COMPOSITE, subtransforms=("t1",)),
        "is inside itself",
    ),
    "loose transform": (
        lambda: added("t9", Transform("Loose", urns.COMPOSITE), root=False),
        "'Loose' .* neither a root nor a part",
    ),
    "root twice": (
        lambda: attrs.evolve(GRAPH, roots=(*GRAPH.roots, "t4")),
        "'Split'.* listed in the roots and in",
    ),
    "part of two": (
        lambda: step("t1", subtransforms=("t2", "t3", "t7")),
        "'Sum/Group'.* listed in transform 'Read'.* and in transform 'Sum'",
    ),
    "duplicate label": (
        lambda: step("t5", label="Split"),
        "Two transforms have the label 'Split' .t4 and t5.",
    ),
    "no input": (lambda: step("t7", inputs={}), "'Sum/Group'.* group_by_key and has one main input; found 0"),
    "two inputs": (
        lambda: step("t5", inputs={"0": "pc3", "1": "pc3"}),
        "'Window'.* one main input; found 2. Flatten",
    ),
    "impulse with input": (
        lambda: step("t2", inputs={"in": "pc2"}),
        "'Read/Impulse'.* no main inputs; found 1",
    ),
    "no output": (lambda: step("t5", outputs={}), "'Window'.* has one output; found 0"),
    "side input of a window": (
        lambda: step(
            "t5",
            inputs={"in": "pc3", "side0": "pc1"},
            side_inputs=dict(GRAPH.transforms["t4"].side_inputs),
        ),
        "'Window'.* takes no side inputs",
    ),
    "unknown primitive": (
        lambda: step("t5", urn="my:thing:v1"),
        "'Window'.* 'my:thing:v1', which is no primitive",
    ),
    "combine without parts": (
        lambda: attrs.evolve(
            part("pcollections", "pc9", PCollection(PAIRS_CODER, "w2")),
            transforms={
                **GRAPH.transforms,
                "t9": Transform("C", urns.COMBINE_PER_KEY, inputs={"in": "pc5"}, outputs={"out": "pc9"}),
            },
            roots=(*GRAPH.roots, "t9"),
        ),
        "'C'.* no parts to run instead",
    ),
    "nobody produces": (
        lambda: part("pcollections", "pc9", PCollection(PAIRS_CODER, "w1")),
        "pcollection pc9 is produced by no primitive",
    ),
    "produced twice": (
        lambda: step("t5", outputs={"out": "pc3"}),
        "pc3 is produced twice: by transform 'Split'.* and by transform 'Window'",
    ),
    "foreign output": (
        lambda: step("t6", outputs={"out": "pc4"}),
        "'Sum'.* gives out pc4 as 'out', which none of its parts makes",
    ),
    "undeclared inner input": (
        lambda: step("t6", inputs={}),
        "'Sum/Group' inside transform 'Sum'.* reads pc5 as 'in', which is made outside",
    ),
    "cycle": (lambda: step("t3", inputs={"in": "pc3"}), "needs its own output: .*Read/Lines"),
    "cycle by a side input": (
        lambda: step("t4", inputs={"in": "pc2", "side0": "pc4"}),
        "'Split'.* needs its own output",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_graphs_are_refused(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(GraphError, match=message):
        validate(make())


def test_right_graphs_pass() -> None:
    validate(GRAPH)
    validate(Graph())
    assert find_problems(GRAPH) == []


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_generated_graphs_pass(graph: Graph) -> None:
    assert find_problems(graph) == []


def test_several_problems_are_listed_together() -> None:
    graph = attrs.evolve(step("t5", inputs={"in": "pc99"}), roots=(*GRAPH.roots, "t99"))
    with pytest.raises(GraphError) as caught:
        validate(graph)
    assert isinstance(caught.value, PipelineError) and isinstance(caught.value, ValueError)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The graph is not valid:" and len(lines) == 3


def test_a_flood_of_problems_is_cut() -> None:
    graph = attrs.evolve(GRAPH, roots=tuple(f"x{i}" for i in range(50)))
    with pytest.raises(GraphError, match=r"and 4\d more"):
        validate(graph)


def test_composite_that_passes_its_input_on() -> None:
    validate(added("t9", Transform("Same", urns.COMPOSITE, inputs={"in": "pc3"}, outputs={"out": "pc3"})))
    own = Transform("Own", "hornbeam:transform:own:v1", inputs={"in": "pc3"}, outputs={"out": "pc3"})
    validate(added("t9", own))


def test_composite_may_read_what_it_was_not_given() -> None:
    # An expand() may close over another PCollection, say as a side input.
    composite = Transform("Closure", urns.COMPOSITE, subtransforms=("t5",))
    transforms = {**GRAPH.transforms, "t9": composite}
    roots = tuple("t9" if root == "t5" else root for root in GRAPH.roots)
    validate(attrs.evolve(GRAPH, transforms=transforms, roots=roots))
