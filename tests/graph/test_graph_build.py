from __future__ import annotations

import enum
from typing import Any

import attrs
import pytest
from graph.graphs import GLOBAL, KV, MINUTES, word_count

from hornbeam.coders import coders as c
from hornbeam.graph import urns
from hornbeam.graph.build import GraphBuilder
from hornbeam.graph.errors import GraphError
from hornbeam.graph.model import Transform


def test_ids_are_short_and_in_order() -> None:
    graph = word_count()
    assert list(graph.transforms) == [f"t{i}" for i in range(1, 9)]
    assert list(graph.pcollections) == [f"pc{i}" for i in range(1, 8)]
    assert list(graph.windowings) == ["w1", "w2"]
    assert graph.roots == ("t1", "t4", "t5", "t6")
    assert graph.requirements == ("beam:requirement:pardo:stateful:v1",)


def test_same_calls_same_graph() -> None:
    assert word_count() == word_count()


def test_equal_coders_are_shared_with_their_parts() -> None:
    b = GraphBuilder()
    pair = b.add_coder(KV)
    assert b.add_coder(c.TupleCoder([c.StrUtf8Coder(), c.VarIntCoder()])) == pair
    assert b.add_coder(c.StrUtf8Coder()) == "c1"
    assert b.add_coder(c.IterableCoder(KV)) != pair


def test_coders_that_are_equal_only_by_their_bytes_are_shared() -> None:
    class Odd(c.Coder):
        def __eq__(self, other: object) -> bool:
            return False

        __hash__ = None  # type: ignore[assignment]

    b = GraphBuilder()
    odd = Odd()
    assert b.add_coder(odd) == b.add_coder(odd)


def test_windowings_are_shared_and_get_their_coder() -> None:
    b = GraphBuilder()
    one = b.add_windowing(MINUTES, c.IntervalWindowCoder())
    assert b.add_windowing(MINUTES, c.IntervalWindowCoder()) == one
    assert b.add_windowing(GLOBAL, c.GlobalWindowCoder()) != one
    assert b.add_windowing(attrs.evolve(MINUTES, merging=True), c.IntervalWindowCoder()) != one
    graph = b.build([])
    assert graph.coders[graph.windowings[one].window_coder].urn == urns.CODER_INTERVAL_WINDOW


class Shade(enum.StrEnum):
    DARK = "dark"


def test_specs_become_plain_json() -> None:
    numpy = pytest.importorskip("numpy")
    b = GraphBuilder()
    spec: dict[str, Any] = {"t": (1, (2,)), "e": Shade.DARK, "f": numpy.float64(1.5), "inf": float("inf")}
    id_ = b.add_transform(Transform("A", urns.COMPOSITE, spec, display_data=({"x": (1,)},)))
    transform = b.build([id_]).transforms[id_]
    assert transform.spec == {"t": [1, [2]], "e": "dark", "f": 1.5, "inf": "inf"}
    assert type(transform.spec["e"]) is str and type(transform.spec["f"]) is float
    assert transform.display_data == ({"x": [1]},)


@pytest.mark.parametrize(
    ("spec", "place"),
    [({"a": {"b": [0, object()]}}, r"a\.b\[1\]"), ({"a": {1: 2}}, "key 1"), ({1: 2}, "key 1")],
)
def test_specs_that_json_cannot_hold(spec: Any, place: str) -> None:
    b = GraphBuilder()
    with pytest.raises(GraphError, match=f"transform 'A/B'.*{place}"):
        b.add_transform(Transform("A/B", urns.COMPOSITE, spec))


def test_reserved_ids_need_content() -> None:
    b = GraphBuilder()
    id_ = b.reserve_transform()
    with pytest.raises(GraphError, match="'t1' was reserved"):
        b.build([id_])
    with pytest.raises(GraphError, match="'t9' of 'A' was not given"):
        b.set_transform("t9", Transform("A", urns.COMPOSITE))


def test_build_validates() -> None:
    b = GraphBuilder()
    id_ = b.add_transform(Transform("A", urns.GROUP_BY_KEY))
    with pytest.raises(GraphError, match="transform 'A'"):
        b.build([id_])
