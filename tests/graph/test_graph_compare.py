from __future__ import annotations

import attrs
import pytest
from graph.graphs import MINUTES, graphs, word_count
from hypothesis import given, settings

from hornbeam.coders import coders as c
from hornbeam.graph import urns
from hornbeam.graph.build import GraphBuilder
from hornbeam.graph.compare import compare
from hornbeam.graph.model import Graph, Transform


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_a_graph_is_like_itself(graph: Graph) -> None:
    result = compare(graph, graph)
    assert result.is_same and len(result.same) == len(graph.transforms)
    assert str(result) == "no differences"


def test_another_function() -> None:
    result = compare(word_count(b"split"), word_count(b"other!"))
    assert [(step.label, step.changed) for step in result.changed] == [("Split", {"payload"})]
    assert not result.added and not result.removed and not result.is_same
    assert str(result) == "~ Split\n    payload: 5 bytes (ad1a6405) -> 6 bytes (c1d225e8)"


def test_another_label() -> None:
    result = compare(word_count(), word_count(label="Cut"))
    assert [step.label for step in result.added] == ["Cut"]
    assert [step.label for step in result.removed] == ["Split"]
    assert [(step.label, step.changed) for step in result.changed] == [("Window", {"inputs"})]
    assert str(result).splitlines() == [
        "+ Cut",
        "~ Window",
        "    inputs: in=Split.out -> in=Cut.out",
        "- Split",
    ]


def test_another_windowing() -> None:
    result = compare(word_count(), word_count(windowing=attrs.evolve(MINUTES, allowed_lateness_micros=0)))
    assert {step.label: step.changed for step in result.changed} == {
        name: {"windowing"} for name in ("Window", "Sum", "Sum/Group", "Sum/Combine")
    }
    (change,) = result.changed[0].changes
    assert change.what == "windowing of out"
    assert "lateness 1.5s" in change.old and "lateness" not in change.new


def one_step(**facts: object) -> Graph:
    b = GraphBuilder()
    w = b.add_windowing(facts.pop("windowing", MINUTES), c.IntervalWindowCoder())  # type: ignore[arg-type]
    pc = b.add_pcollection(
        b.add_coder(facts.pop("coder", c.VarIntCoder())),  # type: ignore[arg-type]
        w,
        facts.pop("is_bounded", True),  # type: ignore[arg-type]
        facts.pop("element_type", "int"),  # type: ignore[arg-type]
    )
    transform = Transform("A", urns.IMPULSE, outputs={"out": pc})
    return b.build([b.add_transform(attrs.evolve(transform, **facts))])


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"coder": c.StrUtf8Coder()}, "coder"),
        ({"coder": c.IterableCoder(c.VarIntCoder())}, "coder"),
        ({"coder": c.SingletonCoder(2)}, "coder"),
        ({"is_bounded": False}, "is_bounded"),
        ({"element_type": "str"}, "element_type"),
        ({"spec": {"a": 1}}, "spec"),
        ({"payload": b"x"}, "payload"),
        ({"resource_hints": {"cpu": b"1"}}, "resource_hints"),
        ({"urn": urns.READ}, "urn"),
    ],
)
def test_what_has_changed(facts: dict[str, object], what: str) -> None:
    (step,) = compare(one_step(), one_step(**facts)).steps
    assert step.changed == {what}


def test_ids_do_not_matter() -> None:
    graph = word_count()
    text = attrs.asdict(graph, recurse=False)
    renamed = {id_: f"x{id_}" for id_ in graph.transforms}
    text["transforms"] = {
        renamed[id_]: attrs.evolve(t, subtransforms=tuple(renamed[part] for part in t.subtransforms))
        for id_, t in graph.transforms.items()
    }
    text["roots"] = tuple(renamed[id_] for id_ in graph.roots)
    assert compare(graph, Graph(**text)).is_same
