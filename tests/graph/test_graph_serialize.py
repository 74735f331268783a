from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from graph.graphs import graphs, word_count
from hypothesis import given, settings

from hornbeam.graph import urns
from hornbeam.graph.errors import GraphError
from hornbeam.graph.model import Graph, Transform
from hornbeam.graph.serialize import from_json, load, save, to_json

GRAPH = word_count()


def same_order(value: Any) -> Any:
    """The graph with its mappings as lists of pairs, which differ when the order does."""
    if attrs.has(type(value)):
        return [same_order(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, dict):
        return [(key, same_order(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [same_order(item) for item in value]
    return type(value), value


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_round_trip(graph: Graph) -> None:
    text = to_json(graph)
    again = from_json(text)
    assert again == graph
    assert same_order(again) == same_order(graph)
    assert to_json(again) == text


def test_round_trip_by_hand() -> None:
    assert from_json(to_json(GRAPH)) == GRAPH
    assert from_json(to_json(GRAPH, indent=None).encode()) == GRAPH
    assert from_json(to_json(Graph())) == Graph()


def test_files_of_version_1_can_be_read_for_ever() -> None:
    assert load(pathlib.Path(__file__).parent / "fixtures" / "graph_version_1.json") == GRAPH


def test_text_is_readable() -> None:
    document = json.loads(to_json(GRAPH))
    assert document["format"] == "hornbeam.graph" and document["version"] == 1
    assert document["graph"]["transforms"]["t2"] == {
        "label": "Read/Impulse",
        "urn": "beam:transform:impulse:v1",
        "outputs": {"out": "pc1"},
    }
    assert document["graph"]["transforms"]["t4"]["annotations"] == {"team": "d29yZHM="}


def changed(change: Callable[[Any], Any]) -> str:
    document = json.loads(to_json(GRAPH))
    change(document)
    return json.dumps(document)


def put(*path: str | int, value: Any) -> Callable[[Any], Any]:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[Any], Any]:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        del document[path[-1]]

    return change


T4 = ("graph", "transforms", "t4")
WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "not JSON"),
    "no JSON": ("{", "not JSON"),
    "other JSON": ("[1]", "not a graph"),
    "other object": ('{"a": 1}', "not a graph"),
    "later version": (changed(put("version", value=2)), "version 2; this hornbeam reads version 1"),
    "no version": (changed(drop("version")), "version None"),
    "true version": (changed(put("version", value=True)), "version True"),
    "no graph": (changed(drop("graph")), "lacks the field 'graph'"),
    "unknown top field": (changed(put("more", value=1)), "unknown field 'more'"),
    "graph is a list": (changed(put("graph", value=[])), r"graph is an object; found \[\]"),
    "unknown field": (
        changed(put(*T4, "colour", value=1)),
        "graph.transforms.t4 has the unknown field 'colour'",
    ),
    "missing field": (changed(drop(*T4, "label")), "graph.transforms.t4 lacks the field 'label'"),
    "wrong text": (changed(put(*T4, "label", value=5)), "graph.transforms.t4.label is text; found 5"),
    "wrong number": (
        changed(put("graph", "windowings", "w2", "allowed_lateness_micros", value=1.5)),
        "allowed_lateness_micros is a whole number; found 1.5",
    ),
    "wrong truth": (
        changed(put("graph", "pcollections", "pc1", "is_bounded", value=1)),
        "pc1.is_bounded is true or false; found 1",
    ),
    "wrong mapping": (changed(put(*T4, "inputs", value=["pc1"])), "t4.inputs is an object"),
    "wrong spec": (changed(put(*T4, "spec", value=None)), "t4.spec is an object; found null"),
    "wrong list": (changed(put("graph", "roots", value="t1")), 'graph.roots is a list; found "t1"'),
    "wrong item": (changed(put("graph", "roots", 0, value=1)), r"graph.roots\[0\] is text"),
    "bad base64": (changed(put(*T4, "payload", value="a$b=")), "graph.transforms.t4.payload is not base64"),
    "short base64": (changed(put(*T4, "payload", value="abc")), "payload is not base64"),
    "no base64": (changed(put(*T4, "payload", value=5)), "payload is base64 text; found 5"),
    "not valid": (changed(put("graph", "roots", value=["t9"])), "'t9' as a root"),
    "NaN": ('{"format": "hornbeam.graph", "version": NaN}', "NaN is not JSON"),
    "name twice": ('{"format": "hornbeam.graph", "version": 1, "version": 2}', "'version' stands twice"),
    "deep": ("[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_text_is_refused(case: str) -> None:
    text, message = WRONG[case]
    with pytest.raises(GraphError, match=message):
        from_json(text)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"a": (1,)}, r"t1.spec.a is a tuple"),
        ({"a": float("nan")}, "t1.spec.a is nan"),
        ({"a": {1: 2}}, "t1.spec.a has the key 1"),
        ({"a": b""}, "t1.spec.a is a bytes"),
    ],
)
def test_specs_that_would_not_come_back_are_not_written(spec: Any, message: str) -> None:
    graph = Graph(transforms={"t1": Transform("A", urns.COMPOSITE, spec)}, roots=("t1",))
    with pytest.raises(GraphError, match=message):
        to_json(graph)


def test_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pipeline.json"
    save(GRAPH, path)
    assert load(path) == GRAPH
    save(Graph(), str(path))
    assert load(str(path)) == Graph()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipeline.json"]


def test_a_save_that_fails_leaves_the_old_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipeline.json"
    save(GRAPH, path)

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space"):
        save(Graph(), path)
    monkeypatch.undo()
    assert load(path) == GRAPH
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(GraphError):
        save(Graph(transforms={"t1": Transform("A", urns.COMPOSITE, {"a": b""})}, roots=("t1",)), path)
    assert load(path) == GRAPH


def test_files_that_hold_no_graph(tmp_path: pathlib.Path) -> None:
    with pytest.raises(GraphError, match=r"Cannot read the graph in .*none\.json: No such file"):
        load(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_bytes(b"\xff\x00")
    with pytest.raises(GraphError, match=r"broken\.json: .*not JSON"):
        load(broken)


def test_a_graph_is_read_without_the_authors_code(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pipeline.json"
    save(GRAPH, path)
    program = (
        "import sys; from hornbeam.graph.serialize import load; from hornbeam.graph.render import to_text;"
        "print(to_text(load(sys.argv[1])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "group_by_key" in result.stdout
