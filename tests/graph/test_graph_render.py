from __future__ import annotations

import attrs
from graph.graphs import graphs, word_count
from hypothesis import given, settings

from hornbeam.coders import coders as c
from hornbeam.graph import urns
from hornbeam.graph.build import GraphBuilder
from hornbeam.graph.model import Function, Graph, Transform, WindowingStrategy
from hornbeam.graph.render import coder_text, to_dot, to_mermaid, to_text, windowing_text

GRAPH = word_count()

TEXT = """\
Read  [composite]  - -> pc2
  Impulse  [impulse]  - -> pc1
  Lines  [pardo app.Lines]  pc1 -> pc2
Split  [pardo app.Split]  pc2, side0=pc1 -> pc3, bad=pc4
Window  [window_into]  pc3 -> pc5
Sum  [combine_per_key builtins.sum]  pc5 -> pc7
  Group  [group_by_key]  pc5 -> pc6
  Combine  [combine_grouped_values]  pc6 -> pc7

pc1: bytes, bytes, global_windows
pc2: str, string_utf8, global_windows, unbounded
pc3: KV[str, int], kv(string_utf8, varint), global_windows, unbounded
pc4: str, string_utf8, global_windows, unbounded
pc5: KV[str, int], kv(string_utf8, varint), {minutes}, unbounded
pc6: KV[str, Iterable[int]], kv(string_utf8, iterable(varint)), {minutes}, unbounded
pc7: KV[str, int], kv(string_utf8, varint), {minutes}, unbounded

requires beam:requirement:pardo:stateful:v1
""".replace(
    "{minutes}",
    "fixed_windows(size=60s) trigger after_watermark(late=after_count(count=1)) accumulating lateness 1.5s",
)

MERMAID = """\
flowchart TD
    subgraph t1["Read"]
        t2["Impulse"]
        t3["Lines"]
    end
    t4["Split"]
    t5["Window"]
    subgraph t6["Sum"]
        t7["Group"]
        t8["Combine"]
    end
    t2 -->|"bytes"| t3
    t3 -->|"str"| t4
    t2 -.->|"bytes"| t4
    t4 -->|"KV[str, int]"| t5
    t5 -->|"KV[str, int]"| t7
    t7 -->|"KV[str, Iterable[int]]"| t8
"""

DOT = """\
digraph pipeline {
  node [shape=box];
  subgraph cluster_t1 {
    label="Read";
    t2 [label="Impulse"];
    t3 [label="Lines"];
  }
  t4 [label="Split"];
  t5 [label="Window"];
  subgraph cluster_t6 {
    label="Sum";
    t7 [label="Group"];
    t8 [label="Combine"];
  }
  t2 -> t3 [label="bytes"];
  t3 -> t4 [label="str"];
  t2 -> t4 [label="bytes", style=dashed];
  t4 -> t5 [label="KV[str, int]"];
  t5 -> t7 [label="KV[str, int]"];
  t7 -> t8 [label="KV[str, Iterable[int]]"];
}
"""


def test_text() -> None:
    assert to_text(GRAPH) == TEXT


def test_mermaid() -> None:
    assert to_mermaid(GRAPH) == MERMAID


def test_dot() -> None:
    assert to_dot(GRAPH) == DOT


def test_an_empty_graph_can_be_drawn() -> None:
    assert to_text(Graph()) == ""
    assert to_mermaid(Graph()) == "flowchart TD\n"
    assert to_dot(Graph()) == "digraph pipeline {\n  node [shape=box];\n}\n"


def test_quotes_are_escaped() -> None:
    b = GraphBuilder()
    graph = b.build([b.add_transform(Transform('say "a#1"\nback\\slash', urns.COMPOSITE))])
    assert 't1["say #quot;a#35;1#quot; back\\slash"]' in to_mermaid(graph)
    assert 't1 [label="say \\"a#1\\"\\nback\\\\slash"];' in to_dot(graph)


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_any_graph_can_be_drawn(graph: Graph) -> None:
    for draw in (to_text, to_mermaid, to_dot):
        assert draw(graph).endswith("\n")


def test_a_composite_that_does_nothing_makes_no_edges() -> None:
    b = GraphBuilder()
    w = b.add_windowing(WindowingStrategy(Function(urns.GLOBAL_WINDOWS)), c.GlobalWindowCoder())
    pc = b.add_pcollection(b.add_coder(c.BytesCoder()), w)
    start = b.add_transform(Transform("Start", urns.IMPULSE, outputs={"out": pc}))
    own = Transform("Own", "hornbeam:transform:own:v1", inputs={"in": pc}, outputs={"out": pc})
    assert "-->" not in to_mermaid(b.build([start, b.add_transform(own)]))


def test_windowings() -> None:
    plain = WindowingStrategy(Function(urns.GLOBAL_WINDOWS))
    assert windowing_text(plain) == "global_windows"
    sliding = Function(urns.SLIDING_WINDOWS, {"size_micros": 90_000_000, "period_micros": 250_000})
    assert windowing_text(attrs.evolve(plain, window_fn=sliding)) == "sliding_windows(size=90s, period=0.25s)"
    own = Function(urns.PYTHON_WINDOW_FN, {"type": "app.windows.MyWindows"}, b"pickle")
    assert windowing_text(attrs.evolve(plain, window_fn=own)) == "MyWindows"
    early = attrs.evolve(
        plain, trigger={"type": "after_any", "triggers": [{"type": "default"}, {"type": "never"}]}
    )
    assert windowing_text(early) == "global_windows trigger after_any(triggers=[default, never]) discarding"
    latest = attrs.evolve(plain, timestamp_combiner="OUTPUT_AT_LATEST")
    assert windowing_text(latest) == "global_windows output_at_latest"


def test_coders() -> None:
    class Mine(c.Coder):
        pass

    b = GraphBuilder()
    id_ = b.add_coder(c.TupleCoder([Mine(), c.FastPrimitivesCoder()]))
    assert coder_text(b.build([]), id_) == "kv(Mine, fast_primitives)"
