"""Graphs to test with: one by hand, and a strategy that makes any valid one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hornbeam.coders import coders as c
from hornbeam.graph import urns
from hornbeam.graph.build import GraphBuilder
from hornbeam.graph.model import Function, Graph, SideInput, Transform, WindowingStrategy

GLOBAL = WindowingStrategy(Function(urns.GLOBAL_WINDOWS))
MINUTES = WindowingStrategy(
    Function(urns.FIXED_WINDOWS, {"size_micros": 60_000_000, "offset_micros": 0}),
    trigger={"type": "after_watermark", "late": {"type": "after_count", "count": 1}},
    accumulation_mode="ACCUMULATING",
    allowed_lateness_micros=1_500_000,
)
KV = c.TupleCoder([c.StrUtf8Coder(), c.VarIntCoder()])


def word_count(fn: bytes = b"split", label: str = "Split", windowing: WindowingStrategy = MINUTES) -> Graph:
    """Impulse, a read composite, a ParDo with a side input, windows, and a combine."""
    b = GraphBuilder()
    glob = b.add_windowing(GLOBAL, c.GlobalWindowCoder())
    fixed = b.add_windowing(windowing, c.IntervalWindowCoder())
    raw, text, pair = b.add_coder(c.BytesCoder()), b.add_coder(c.StrUtf8Coder()), b.add_coder(KV)
    grouped = b.add_coder(c.TupleCoder([c.StrUtf8Coder(), c.IterableCoder(c.VarIntCoder())]))
    read, impulse, lines = b.reserve_transform(), b.reserve_transform(), b.reserve_transform()
    pc_raw = b.add_pcollection(raw, glob, True, "bytes")
    pc_lines = b.add_pcollection(text, glob, False, "str")
    b.set_transform(impulse, Transform("Read/Impulse", urns.IMPULSE, outputs={"out": pc_raw}))
    b.set_transform(
        lines,
        Transform(
            "Read/Lines",
            urns.PARDO,
            {"dofn": "app.Lines"},
            b"lines",
            inputs={"in": pc_raw},
            outputs={"out": pc_lines},
        ),
    )
    b.set_transform(
        read, Transform("Read", urns.COMPOSITE, outputs={"out": pc_lines}, subtransforms=(impulse, lines))
    )
    pc_pairs = b.add_pcollection(pair, glob, False, "KV[str, int]")
    pc_bad = b.add_pcollection(text, glob, False, "str")
    split = b.add_transform(
        Transform(
            label,
            urns.PARDO,
            {"dofn": "app.Split", "tags": ("bad",)},
            fn,
            inputs={"in": pc_lines, "side0": pc_raw},
            outputs={"out": pc_pairs, "bad": pc_bad},
            side_inputs={"side0": SideInput(urns.SIDE_INPUT_ITERABLE, "AsSingleton", {"default": "None"})},
            display_data=({"key": "limit", "value": 5},),
            annotations={"team": b"words"},
            resource_hints={"cpu": b"2"},
        )
    )
    pc_windowed = b.add_pcollection(pair, fixed, False, "KV[str, int]")
    into = b.add_transform(
        Transform("Window", urns.WINDOW_INTO, inputs={"in": pc_pairs}, outputs={"out": pc_windowed})
    )
    count, group, combine = b.reserve_transform(), b.reserve_transform(), b.reserve_transform()
    pc_grouped = b.add_pcollection(grouped, fixed, False, "KV[str, Iterable[int]]")
    pc_counts = b.add_pcollection(pair, fixed, False, "KV[str, int]")
    b.set_transform(
        group,
        Transform("Sum/Group", urns.GROUP_BY_KEY, inputs={"in": pc_windowed}, outputs={"out": pc_grouped}),
    )
    b.set_transform(
        combine,
        Transform(
            "Sum/Combine",
            urns.COMBINE_GROUPED_VALUES,
            payload=b"sum",
            inputs={"in": pc_grouped},
            outputs={"out": pc_counts},
        ),
    )
    b.set_transform(
        count,
        Transform(
            "Sum",
            urns.COMBINE_PER_KEY,
            {"fn": "builtins.sum"},
            b"sum",
            inputs={"in": pc_windowed},
            outputs={"out": pc_counts},
            subtransforms=(group, combine),
        ),
    )
    b.add_requirement("beam:requirement:pardo:stateful:v1")
    return b.build([read, split, into, count])


NAMES = st.text(min_size=1, max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
SPECS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
CODERS: st.SearchStrategy[c.Coder] = st.recursive(
    st.sampled_from(
        [c.BytesCoder(), c.StrUtf8Coder(), c.VarIntCoder(), c.FastPrimitivesCoder(), c.SingletonCoder("x")]
    ),
    lambda inner: st.lists(inner, max_size=3).map(c.TupleCoder) | inner.map(c.IterableCoder),
    max_leaves=3,
)


@st.composite
def windowings(draw: st.DrawFn) -> WindowingStrategy:
    return WindowingStrategy(
        Function(draw(NAMES), draw(SPECS), draw(st.binary(max_size=4))),
        trigger=draw(SPECS),
        accumulation_mode=draw(st.sampled_from(["DISCARDING", "ACCUMULATING"])),
        allowed_lateness_micros=draw(st.integers(0, 2**60)),
        merging=draw(st.booleans()),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A valid graph of up to eight steps, some of them in composites."""
    b = GraphBuilder()
    roots: list[str] = []
    made: list[str] = []

    def pcollection() -> str:
        windowing = b.add_windowing(draw(windowings()), c.IntervalWindowCoder())
        made.append(b.add_pcollection(b.add_coder(draw(CODERS)), windowing, draw(st.booleans()), draw(NAMES)))
        return made[-1]

    for number in range(draw(st.integers(1, 8))):
        id_, known = b.reserve_transform(), list(made)
        kind = draw(st.sampled_from(["impulse", "pardo", "flatten", "composite"] if known else ["impulse"]))
        label = f"{number}{draw(NAMES)}"
        facts: dict[str, Any] = {
            "spec": draw(SPECS),
            "payload": draw(st.binary(max_size=8)),
            "display_data": tuple(draw(st.lists(SPECS, max_size=2))),
            "annotations": draw(st.dictionaries(NAMES, st.binary(max_size=4), max_size=2)),
            "resource_hints": draw(st.dictionaries(NAMES, st.binary(max_size=4), max_size=2)),
        }
        if kind == "impulse":
            transform = Transform(label, urns.IMPULSE, outputs={"out": pcollection()}, **facts)
        elif kind == "flatten":
            inputs = {str(i): pc for i, pc in enumerate(draw(st.lists(st.sampled_from(known), max_size=3)))}
            transform = Transform(label, urns.FLATTEN, inputs=inputs, outputs={"out": pcollection()}, **facts)
        elif kind == "pardo":
            side = SideInput(urns.SIDE_INPUT_ITERABLE, draw(NAMES), draw(SPECS), draw(st.binary(max_size=4)))
            transform = Transform(
                label,
                urns.PARDO,
                inputs={"in": draw(st.sampled_from(known)), "side0": draw(st.sampled_from(known))},
                outputs={f"o{i}": pcollection() for i in range(draw(st.integers(0, 2)))},
                side_inputs={"side0": side},
                **facts,
            )
        else:
            taken = draw(st.lists(st.sampled_from(roots), max_size=3, unique=True)) if roots else []
            roots = [root for root in roots if root not in taken]
            transform = Transform(label, urns.COMPOSITE, subtransforms=tuple(taken), **facts)
        b.set_transform(id_, transform)
        roots.append(id_)
    for requirement in draw(st.lists(NAMES, max_size=2)):
        b.add_requirement(requirement)
    return b.build(roots)
