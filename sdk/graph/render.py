"""A graph as people see it: indented text, a Mermaid flowchart, a DOT drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hornbeam.graph.model import Coder, Function, Graph, PCollection, Transform, WindowingStrategy
from hornbeam.graph.validate import primitives

_INDENT = "  "


def to_text(graph: Graph) -> str:
    """The steps, indented by their place in the hierarchy, with the pcollections that join them.

    Below them every pcollection with its type, coder and windowing.
    """
    lines = []
    for transform, depth, parent in _walk(graph):
        name = _INDENT * depth + own_name(transform, parent)
        lines.append(f"{name}  [{kind_of(transform)}]  {_ports(transform)}".rstrip())
    if graph.pcollections:
        lines.append("")
    for id_, pcollection in graph.pcollections.items():
        bounded = "" if pcollection.is_bounded else ", unbounded"
        lines.append(
            f"{id_}: {pcollection.element_type}, {coder_text(graph, pcollection.coder)}, "
            f"{windowing_text(graph.windowings[pcollection.windowing])}{bounded}"
        )
    if graph.requirements:
        lines += ["", f"requires {', '.join(graph.requirements)}"]
    return "\n".join(lines) + "\n" if lines else ""


def to_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart: composites are boxes around their steps, edges bear element types."""
    lines = ["flowchart TD"]

    def box(ids: Iterable[str], parent: Transform | None, depth: int) -> None:
        for id_ in ids:
            transform = graph.transforms[id_]
            pad = "    " * depth
            text = own_name(transform, parent)
            if transform.subtransforms:
                lines.append(f"{pad}subgraph {id_}[{_mermaid_quoted(text)}]")
                box(transform.subtransforms, transform, depth + 1)
                lines.append(f"{pad}end")
            else:
                lines.append(f"{pad}{id_}[{_mermaid_quoted(text)}]")

    box(graph.roots, None, 1)
    for source, target, pcollection, side in _edges(graph):
        arrow = "-.->" if side else "-->"
        lines.append(f"    {source} {arrow}|{_mermaid_quoted(pcollection.element_type)}| {target}")
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph) -> str:
    """A drawing for Graphviz: composites are clusters, side inputs are dashed."""
    lines = ["digraph pipeline {", "  node [shape=box];"]

    def box(ids: Iterable[str], parent: Transform | None, depth: int) -> None:
        for id_ in ids:
            transform = graph.transforms[id_]
            pad = _INDENT * depth
            text = _dot_quoted(own_name(transform, parent))
            if transform.subtransforms:
                lines.append(f"{pad}subgraph cluster_{id_} {{")
                lines.append(f"{pad}  label={text};")
                box(transform.subtransforms, transform, depth + 1)
                lines.append(f"{pad}}}")
            else:
                lines.append(f"{pad}{id_} [label={text}];")

    box(graph.roots, None, 1)
    for source, target, pcollection, side in _edges(graph):
        style = ", style=dashed" if side else ""
        lines.append(f"  {source} -> {target} [label={_dot_quoted(pcollection.element_type)}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


def own_name(transform: Transform, parent: Transform | None) -> str:
    """The transform's label without its parent's."""
    if parent is not None and transform.label.startswith(parent.label + "/"):
        return transform.label[len(parent.label) + 1 :]
    return transform.label


def kind_of(transform: Transform) -> str:
    """What it is, in a word or two: the short form of its URN, and whose function it calls."""
    kind = _short(transform.urn)
    for key in ("dofn", "fn", "source"):
        if isinstance(transform.spec.get(key), str):
            return f"{kind} {transform.spec[key]}"
    return kind


def coder_text(graph: Graph, id_: str) -> str:
    """A coder and its components, such as `kv(string_utf8, varint)`."""
    coder: Coder = graph.coders[id_]
    name = _short(coder.urn)
    if name == "python":
        name = str(coder.spec.get("type", name)).rpartition(".")[2]
    if not coder.components:
        return name
    return f"{name}({', '.join(coder_text(graph, part) for part in coder.components)})"


def windowing_text(windowing: WindowingStrategy) -> str:
    """A windowing strategy: its window function, and what is not as usual about its firing."""
    parts = [_function_text(windowing.window_fn)]
    trigger = _value_text(windowing.trigger)
    if trigger != "default":
        parts.append(f"trigger {trigger}")
        parts.append(windowing.accumulation_mode.lower())
    if windowing.timestamp_combiner != "OUTPUT_AT_EOW":
        parts.append(windowing.timestamp_combiner.lower())
    if windowing.allowed_lateness_micros:
        parts.append(f"lateness {_seconds(windowing.allowed_lateness_micros)}")
    if windowing.on_time_behavior != "FIRE_ALWAYS":
        parts.append(windowing.on_time_behavior.lower())
    if windowing.closing_behavior != "EMIT_IF_NONEMPTY":
        parts.append(windowing.closing_behavior.lower())
    return " ".join(parts)


def _function_text(function: Function) -> str:
    name = _short(function.urn)
    if name == "python":
        return str(function.spec.get("type", function.spec.get("name", name))).rpartition(".")[2]
    parts = [f"{_plain_key(key)}={_field_text(key, value)}" for key, value in function.spec.items() if value]
    return f"{name}({', '.join(parts)})" if parts else name


def _value_text(value: Any) -> str:
    """Plain JSON as short text; an object with a `type` as a call."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_value_text, value)) + "]"
    if not hasattr(value, "items"):
        return str(value)
    rest = [
        f"{_plain_key(key)}={_field_text(key, item)}"
        for key, item in value.items()
        if key != "type" and item is not None
    ]
    name = str(value.get("type", ""))
    return f"{name}({', '.join(rest)})" if rest else name


def _field_text(key: str, value: Any) -> str:
    if key.endswith("_micros") and isinstance(value, int):
        return _seconds(value)
    return _value_text(value)


def _plain_key(key: str) -> str:
    return key.removesuffix("_micros")


def _seconds(micros: int) -> str:
    whole, rest = divmod(abs(micros), 1_000_000)
    sign = "-" if micros < 0 else ""
    return f"{sign}{whole}.{rest:06d}".rstrip("0").rstrip(".") + "s"


def _short(urn: str) -> str:
    """The telling part of a URN: `pardo` of `beam:transform:pardo:v1`."""
    parts = urn.split(":")
    return parts[-2] if len(parts) > 2 else urn


def _ports(transform: Transform) -> str:
    if not transform.inputs and not transform.outputs:
        return ""
    inputs = [
        f"{tag}={pc}" if tag in transform.side_inputs or len(transform.main_inputs()) > 1 else pc
        for tag, pc in transform.inputs.items()
    ]
    outputs = [pc if tag == "out" else f"{tag}={pc}" for tag, pc in transform.outputs.items()]
    return f"{', '.join(inputs) or '-'} -> {', '.join(outputs) or '-'}"


def _walk(graph: Graph) -> Iterator[tuple[Transform, int, Transform | None]]:
    """Each transform with its depth and parent, parents first."""

    def walk(
        ids: Iterable[str], depth: int, parent: Transform | None
    ) -> Iterator[tuple[Transform, int, Transform | None]]:
        for id_ in ids:
            transform = graph.transforms[id_]
            yield transform, depth, parent
            yield from walk(transform.subtransforms, depth + 1, transform)

    return walk(graph.roots, 0, None)


def _edges(graph: Graph) -> Iterator[tuple[str, str, PCollection, bool]]:
    """Producer and consumer of each pcollection, both primitive, and whether it is read as a side input."""
    producers = {pc: id_ for id_, transform in primitives(graph) for pc in transform.outputs.values()}
    for id_, transform in primitives(graph):
        for tag, pc in transform.inputs.items():
            yield producers[pc], id_, graph.pcollections[pc], tag in transform.side_inputs


def _mermaid_quoted(text: str) -> str:
    for char, entity in (("#", "#35;"), ('"', "#quot;"), ("\n", " ")):
        text = text.replace(char, entity)
    return f'"{text}"'


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


DRAWINGS: dict[str, Callable[[Graph], str]] = {"text": to_text, "mermaid": to_mermaid, "dot": to_dot}
