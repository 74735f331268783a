"""Whether a graph makes sense: references lead somewhere, data flows one way, steps have what they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from hornbeam.graph import urns
from hornbeam.graph.errors import GraphError
from hornbeam.graph.model import Graph, Transform

#: How many main inputs a primitive has, and how many outputs at least and at most. None is any number.
_ARITY: Mapping[str, tuple[int | None, int, int | None]] = {
    urns.IMPULSE: (0, 1, 1),
    urns.READ: (0, 1, 1),
    urns.TEST_STREAM: (0, 0, None),
    urns.PARDO: (1, 0, None),
    urns.GROUP_BY_KEY: (1, 1, 2),
    urns.FLATTEN: (None, 1, 1),
    urns.WINDOW_INTO: (1, 1, 1),
    urns.RESHUFFLE: (1, 1, 1),
    urns.COMBINE_GROUPED_VALUES: (1, 1, 1),
    urns.COMBINE_PRECOMBINE: (1, 1, 1),
    urns.COMBINE_MERGE: (1, 1, 1),
    urns.COMBINE_EXTRACT: (1, 1, 1),
}
_TAKES_SIDE_INPUTS = {urns.PARDO, urns.COMBINE_GROUPED_VALUES, urns.COMBINE_EXTRACT}
_SHOWN = 10


def validate(graph: Graph) -> None:
    """GraphError that lists what is wrong with the graph, if anything is."""
    problems = find_problems(graph)
    if not problems:
        return
    shown = problems[:_SHOWN]
    if len(problems) > _SHOWN:
        shown.append(f"… and {len(problems) - _SHOWN} more.")
    if len(shown) == 1:
        raise GraphError(shown[0])
    raise GraphError("The graph is not valid:\n" + "\n".join(f"- {problem}" for problem in shown))


def find_problems(graph: Graph) -> list[str]:
    """All that is wrong, in words. Later checks are left out where earlier ones took their ground away."""
    problems = [*_unknown_references(graph), *_hierarchy(graph)]
    if problems:
        return problems
    problems += [*_labels(graph), *_arity(graph), *_producers(graph), *_scopes(graph)]
    return problems or list(_cycles(graph))


def _named(graph: Graph, id_: str) -> str:
    transform = graph.transforms.get(id_)
    return f"transform '{transform.label}' ({id_})" if transform is not None else f"transform {id_}"


def _unknown_references(graph: Graph) -> Iterator[str]:
    for id_ in graph.roots:
        if id_ not in graph.transforms:
            yield f"The graph names {id_!r} as a root, but has no such transform. Add it, or drop the root."
    for id_, transform in graph.transforms.items():
        who = _named(graph, id_)
        for child in transform.subtransforms:
            if child not in graph.transforms:
                yield f"{who} has the part {child!r}, but the graph has no such transform. Add it."
        for kind, ports in (("input", transform.inputs), ("output", transform.outputs)):
            for tag, pc in ports.items():
                if pc not in graph.pcollections:
                    yield (
                        f"{who} has the {kind} {tag!r} = {pc!r}, but the graph has no such pcollection. "
                        "Add the pcollection, or connect another one."
                    )
        for tag in transform.side_inputs:
            if tag not in transform.inputs:
                yield f"{who} describes the side input {tag!r}, but has no such input. Add it to its inputs."
    for id_, pcollection in graph.pcollections.items():
        if pcollection.coder not in graph.coders:
            yield f"pcollection {id_} has the unknown coder {pcollection.coder!r}. Add it to the graph."
        if pcollection.windowing not in graph.windowings:
            yield (
                f"pcollection {id_} has the unknown windowing strategy {pcollection.windowing!r}. "
                "Add the strategy to the graph."
            )
    for id_, windowing in graph.windowings.items():
        if windowing.window_coder not in graph.coders:
            yield (
                f"windowing strategy {id_} has the unknown window coder {windowing.window_coder!r}. "
                "Add the coder to the graph."
            )
    for id_, coder in graph.coders.items():
        for component in coder.components:
            if component not in graph.coders:
                yield f"coder {id_} ({coder.urn}) has the unknown component {component!r}. Add the coder."
    if cycle := _cycle({id_: set(coder.components) for id_, coder in graph.coders.items()}):
        yield f"coder {cycle[0]} is a component of itself: {' → '.join(cycle)}. Take it out of one of them."


def _hierarchy(graph: Graph) -> Iterator[str]:
    """Every transform is a root or a part of one composite; nothing is inside itself."""
    owners: dict[str, list[str]] = {id_: [] for id_ in graph.transforms}
    for id_ in graph.roots:
        owners.setdefault(id_, []).append("the roots")
    for id_, transform in graph.transforms.items():
        for child in transform.subtransforms:
            owners.setdefault(child, []).append(_named(graph, id_))
    parts = {id_: set(t.subtransforms) & set(graph.transforms) for id_, t in graph.transforms.items()}
    if cycle := _cycle(parts):
        yield f"{_named(graph, cycle[0])} is inside itself: {' → '.join(cycle)}. Take it out of its part."
    for id_, found in owners.items():
        if not found:
            yield f"{_named(graph, id_)} is neither a root nor a part of a composite. Make it one of them."
        elif len(found) > 1:
            yield f"{_named(graph, id_)} is listed in {' and in '.join(found)}. List it once."


def _labels(graph: Graph) -> Iterator[str]:
    first: dict[str, str] = {}
    for id_, transform in graph.transforms.items():
        if transform.label in first:
            yield (
                f"Two transforms have the label '{transform.label}' ({first[transform.label]} and {id_}). "
                "Give one of them another label: 'label' >> transform."
            )
        first.setdefault(transform.label, id_)


def _arity(graph: Graph) -> Iterator[str]:
    for id_, transform in graph.transforms.items():
        who = _named(graph, id_)
        if transform.subtransforms or transform.urn == urns.COMPOSITE:
            continue
        if transform.urn not in _ARITY:
            if not set(transform.outputs.values()) <= set(transform.inputs.values()):
                yield (
                    f"{who} has the URN {transform.urn!r}, which is no primitive, and no parts to run "
                    "instead. Add its subtransforms."
                )
            continue
        inputs, fewest, most = _ARITY[transform.urn]
        found = len(transform.main_inputs())
        if inputs is not None and found != inputs:
            yield (
                f"{who} is a {_short(transform.urn)} and has {_count(inputs, 'main input')}; found {found}. "
                + ("Connect its input." if found < inputs else "Flatten the inputs first.")
            )
        if transform.side_inputs and transform.urn not in _TAKES_SIDE_INPUTS:
            yield f"{who} is a {_short(transform.urn)} and takes no side inputs. Use a ParDo for them."
        outputs = len(transform.outputs)
        if outputs < fewest or (most is not None and outputs > most):
            yield f"{who} is a {_short(transform.urn)} and has {_count(fewest, 'output')}; found {outputs}."


def _producers(graph: Graph) -> Iterator[str]:
    """Every pcollection comes out of one primitive, under one tag."""
    producers: dict[str, list[str]] = {id_: [] for id_ in graph.pcollections}
    for id_, transform in primitives(graph):
        for tag, pc in transform.outputs.items():
            producers[pc].append(f"{_named(graph, id_)} under the tag {tag!r}")
    consumers: dict[str, str] = {}
    for id_, transform in graph.transforms.items():
        for tag, pc in transform.inputs.items():
            consumers.setdefault(pc, f"{_named(graph, id_)} reads it as {tag!r}")
    for pc, found in producers.items():
        if not found:
            why = f"; {consumers[pc]}" if pc in consumers else ""
            yield f"pcollection {pc} is produced by no primitive transform{why}. Add its producer."
        elif len(found) > 1:
            yield f"pcollection {pc} is produced twice: by {' and by '.join(found)}. Give each its own."


def _scopes(graph: Graph) -> Iterator[str]:
    """A composite gives out what it made or was given; a combine reads nothing else than it was given."""
    for id_, transform in graph.transforms.items():
        if not transform.subtransforms:
            continue
        inner = list(_inside(graph, transform))
        made = {pc for part in inner for pc in part.outputs.values()}
        known = made | set(transform.inputs.values())
        who = _named(graph, id_)
        if transform.urn != urns.COMPOSITE:
            for tag, pc in transform.outputs.items():
                if pc not in known:
                    yield (
                        f"{who} gives out {pc} as {tag!r}, which none of its parts makes and which is not "
                        "among its inputs. Produce it inside, or add it to the inputs."
                    )
        if transform.urn == urns.COMBINE_PER_KEY:
            for part in inner:
                for tag, pc in part.inputs.items():
                    if pc not in known:
                        yield (
                            f"transform '{part.label}' inside {who} reads {pc} as {tag!r}, which is made "
                            f"outside and is not among the inputs of '{transform.label}'. Add it to them."
                        )


def _cycles(graph: Graph) -> Iterator[str]:
    producer = {pc: id_ for id_, transform in primitives(graph) for pc in transform.outputs.values()}
    needs = {id_: {producer[pc] for pc in t.inputs.values()} for id_, t in primitives(graph)}
    if cycle := _cycle(needs):
        path = " → ".join(graph.transforms[id_].label for id_ in cycle)
        yield f"{_named(graph, cycle[0])} needs its own output: {path}. Data flows one way; break the cycle."


def primitives(graph: Graph) -> Iterator[tuple[str, Transform]]:
    """The transforms that do something; one without parts that only passes its inputs on does nothing."""
    for id_, transform in graph.transforms.items():
        if not transform.is_composite and transform.urn in _ARITY:
            yield id_, transform


def _inside(graph: Graph, transform: Transform) -> Iterator[Transform]:
    for id_ in transform.subtransforms:
        part = graph.transforms[id_]
        yield part
        yield from _inside(graph, part)


def _cycle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The ids along one cycle, from what comes first to itself again; empty if there is none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _short(urn: str) -> str:
    return urn.split(":")[-2] if urn.count(":") >= 2 else urn


def _count(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else 'one' if number == 1 else number} {noun}{'s' if number == 0 else ''}"
