"""The Plan: steps (primitive transforms) in an order in which inputs come first, and the stages they are fused into.

    stage ──group──► stage       pairs into a grouping step, which is the head of its stage
    stage ──spool──► stage       a pcollection kept whole, because its reader may not start before something else ends
    stage ──side───► stage       a pcollection kept whole, read through a view by window

A stage may begin once every stage that it is `after` has ended (or, in a stream, has got far enough in event time).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Transform

#: Steps that gather by key: the heads of stages, fed by the stages before.
GROUPING_URNS = frozenset({urns.GROUP_BY_KEY, urns.CO_GROUP_BY_KEY, urns.COMBINE_PER_KEY, urns.COMBINE_MERGE})
#: Steps that make elements from nothing.
ROOT_URNS = frozenset({urns.IMPULSE, urns.READ, urns.TEST_STREAM})


@attrs.frozen
class Stage:
    """Steps that run together, without anything kept between them."""

    name: str
    steps: tuple[str, ...]
    after: frozenset[str] = frozenset()


@attrs.frozen
class Plan:
    """What a runner executes. `steps` are by id and in order; `spooled` are the pcollections to keep whole."""

    graph: Graph
    steps: Mapping[str, Transform]
    stages: tuple[Stage, ...] = ()
    spooled: frozenset[str] = frozenset()
    #: URNs of steps that begin a stage of their own, so that what they get is cut into bundles anew.
    cut_before: frozenset[str] = frozenset()

    def producers(self) -> dict[str, str]:
        """For each pcollection, the step that makes it."""
        return {pc: id_ for id_, step in self.steps.items() for pc in step.outputs.values()}

    def consumers(self) -> dict[str, list[tuple[str, str]]]:
        """For each pcollection, the steps that read it as a main input, and the tag of each input that does."""
        readers: dict[str, list[tuple[str, str]]] = {}
        for id_, step in self.steps.items():
            for tag, pc in step.main_inputs().items():
                readers.setdefault(pc, []).append((id_, tag))
        return readers

    def side_consumers(self) -> dict[str, list[str]]:
        """For each pcollection, the steps that read it as a side input."""
        readers: dict[str, list[str]] = {}
        for id_, step in self.steps.items():
            for tag in step.side_inputs:
                readers.setdefault(step.inputs[tag], []).append(id_)
        return readers

    def stage_of(self) -> dict[str, Stage]:
        """For each step, its stage."""
        return {id_: stage for stage in self.stages for id_ in stage.steps}
