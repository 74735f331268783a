"""Where two graphs differ, step by step: what is new, what is gone, and what has changed about the rest.

Steps are known by their labels, so ids play no part; inputs are known by the label and tag that produce them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from hornbeam.graph.model import Graph, SideInput, Transform
from hornbeam.graph.render import coder_text, windowing_text
from hornbeam.graph.validate import primitives

Kind = Literal["added", "removed", "changed", "same"]


@attrs.frozen
class Change:
    """One thing about a step that is not as it was.

    `what` is urn, spec, payload, inputs, outputs, side_inputs, parts, resource_hints, or one of coder,
    windowing, element_type, is_bounded with the output's tag, such as `coder of out`. Old and new are for
    people to read.
    """

    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.old} -> {self.new}"


@attrs.frozen
class StepDifference:
    """What became of the step with this label."""

    label: str
    kind: Kind
    changes: tuple[Change, ...] = ()

    @property
    def changed(self) -> frozenset[str]:
        """What has changed, without the output's tag."""
        return frozenset(change.what.partition(" of ")[0] for change in self.changes)

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "changed": "~", "same": " "}[self.kind]
        return "\n".join([f"{mark} {self.label}", *(f"    {change}" for change in self.changes)])


@attrs.frozen
class Comparison:
    """All steps of both graphs: those of the new one in its order, then those that are gone."""

    steps: tuple[StepDifference, ...]

    @property
    def added(self) -> tuple[StepDifference, ...]:
        """Steps that only the new graph has."""
        return self._of("added")

    @property
    def removed(self) -> tuple[StepDifference, ...]:
        """Steps that only the old graph has."""
        return self._of("removed")

    @property
    def changed(self) -> tuple[StepDifference, ...]:
        """Steps that both have, but differ."""
        return self._of("changed")

    @property
    def same(self) -> tuple[StepDifference, ...]:
        """Steps that are as they were."""
        return self._of("same")

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return all(step.kind == "same" for step in self.steps)

    def _of(self, kind: Kind) -> tuple[StepDifference, ...]:
        return tuple(step for step in self.steps if step.kind == kind)

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps if step.kind != "same"]
        return "\n".join(lines) if lines else "no differences"


def compare(old: Graph, new: Graph) -> Comparison:
    """What has become of each step between the two graphs."""
    old_facts, new_facts = _facts_by_label(old), _facts_by_label(new)
    steps = []
    for label, facts in new_facts.items():
        if label not in old_facts:
            steps.append(StepDifference(label, "added"))
            continue
        changes = tuple(_changes(old_facts[label], facts))
        steps.append(StepDifference(label, "changed" if changes else "same", changes))
    steps += [StepDifference(label, "removed") for label in old_facts if label not in new_facts]
    return Comparison(tuple(steps))


@attrs.frozen
class _Fact:
    """What is compared of a step, and how it is shown."""

    value: Any
    text: str


def _changes(old: dict[str, _Fact], new: dict[str, _Fact]) -> Iterator[Change]:
    nothing = _Fact(None, "nothing")
    for what in [*old, *(what for what in new if what not in old)]:
        before, after = old.get(what, nothing), new.get(what, nothing)
        if before.value != after.value:
            yield Change(what, before.text, after.text)


def _facts_by_label(graph: Graph) -> dict[str, dict[str, _Fact]]:
    sources = {
        pc: f"{transform.label}.{tag}"
        for _, transform in primitives(graph)
        for tag, pc in transform.outputs.items()
    }
    result = {}

    def walk(ids: tuple[str, ...]) -> None:
        for id_ in ids:
            transform = graph.transforms[id_]
            result[transform.label] = dict(_facts(graph, transform, sources))
            walk(transform.subtransforms)

    walk(graph.roots)
    return result


def _facts(graph: Graph, transform: Transform, sources: dict[str, str]) -> Iterator[tuple[str, _Fact]]:
    yield "urn", _Fact(transform.urn, transform.urn)
    yield "spec", _Fact(dict(transform.spec), str(dict(transform.spec)))
    yield "payload", _bytes_fact(transform.payload)
    inputs = {tag: sources.get(pc, pc) for tag, pc in transform.inputs.items()}
    yield "inputs", _Fact(inputs, _ports_text(inputs))
    sides = {tag: _side(side) for tag, side in transform.side_inputs.items()}
    yield "side_inputs", _Fact(sides, ", ".join(f"{tag}: {side[1]}" for tag, side in sides.items()) or "none")
    parts = [graph.transforms[part].label for part in transform.subtransforms]
    yield "parts", _Fact(parts, ", ".join(parts) or "none")
    hints = dict(transform.resource_hints)
    yield "resource_hints", _Fact(hints, str(hints))
    yield "outputs", _Fact(sorted(transform.outputs), ", ".join(transform.outputs) or "none")
    for tag, pc in transform.outputs.items():
        pcollection = graph.pcollections[pc]
        windowing = graph.windowings[pcollection.windowing]
        strategy = (attrs.evolve(windowing, window_coder=""), _coder(graph, windowing.window_coder))
        yield f"coder of {tag}", _Fact(_coder(graph, pcollection.coder), coder_text(graph, pcollection.coder))
        yield f"windowing of {tag}", _Fact(strategy, windowing_text(windowing))
        yield f"element_type of {tag}", _Fact(pcollection.element_type, pcollection.element_type)
        bounded = "bounded" if pcollection.is_bounded else "unbounded"
        yield f"is_bounded of {tag}", _Fact(pcollection.is_bounded, bounded)


def _coder(graph: Graph, id_: str) -> Any:
    """The coder with its components in place of their ids."""
    coder = graph.coders[id_]
    return coder.urn, dict(coder.spec), coder.payload, [_coder(graph, part) for part in coder.components]


def _side(side: SideInput) -> tuple[str, str, dict[str, Any], bytes]:
    return side.access, side.view, dict(side.spec), side.window_mapping


def _bytes_fact(data: bytes) -> _Fact:
    if not data:
        return _Fact(data, "nothing")
    return _Fact(data, f"{len(data)} bytes ({hashlib.sha256(data).hexdigest()[:8]})")


def _ports_text(ports: dict[str, str]) -> str:
    return ", ".join(f"{tag}={source}" for tag, source in ports.items()) or "none"
