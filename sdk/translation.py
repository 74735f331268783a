"""From the tree of applied transforms to the portable Graph.

A transform says what it is in `to_graph_parts(context)`; coders follow from element types, windowing strategies from
what the PCollections know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hornbeam.coders import registry
from hornbeam.coders.coders import TupleCoder
from hornbeam.display import DisplayData
from hornbeam.error import TransformError
from hornbeam.graph import urns
from hornbeam.graph.build import GraphBuilder
from hornbeam.graph.model import Graph, Spec, Transform
from hornbeam.type_inference import knows_nothing
from hornbeam.user_code import pickle_user_code

if TYPE_CHECKING:
    from hornbeam.applied import AppliedPTransform
    from hornbeam.pipeline import Pipeline
    from hornbeam.pvalue import PCollection
    from hornbeam.transforms.windowing import Windowing


@attrs.frozen
class GraphParts:
    """What a transform puts into the graph about itself."""

    urn: str
    spec: Spec = attrs.field(factory=dict)
    payload: bytes = b""


@attrs.frozen
class StepContext:
    """Where a transform stands: what it may need to know to describe itself."""

    label: str
    step: AppliedPTransform

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of a step that has an input."""
        return self.step.inputs[0].pipeline

    def pickle(self, value: Any) -> bytes:
        """The pickled user code of the step; an error that names the step when it cannot be pickled."""
        return pickle_user_code(value, self.label)


def graph_parts_of(step: AppliedPTransform) -> GraphParts:
    """What the step's transform said about itself when it was applied."""
    if step.graph_parts is None:
        step.graph_parts = step.transform.to_graph_parts(StepContext(step.full_label, step))
    return step.graph_parts


def translate(root: AppliedPTransform) -> Graph:
    """The Graph of a whole tree."""
    return _Translation().graph(root)


class _Translation:
    """One walk over the tree. Ids are handed out in the order in which steps were applied."""

    def __init__(self) -> None:
        self.builder = GraphBuilder()
        self._pcollections: dict[PCollection[Any], str] = {}
        self._windowings: dict[int, str] = {}
        self._coders: dict[Any, str] = {}

    def graph(self, root: AppliedPTransform) -> Graph:
        """All steps, from the root's down."""
        return self.builder.build([self._step(part) for part in root.parts])

    def _step(self, step: AppliedPTransform) -> str:
        id_ = self.builder.reserve_transform()
        inputs = {tag: self._pcollection(pcoll) for tag, pcoll in step.main_inputs.items()}
        sides = {f"side{index}": view for index, view in enumerate(step.side_inputs)}
        for tag, view in sides.items():
            inputs[tag] = self._pcollection(view.pcoll)
        subtransforms = tuple(self._step(part) for part in step.parts)
        parts = graph_parts_of(step)
        outputs = {tag or "out": pcoll for tag, pcoll in step.outputs.items()}
        if parts.urn == urns.COMPOSITE and any(pcoll.producer is step for pcoll in outputs.values()):
            raise TransformError(
                f"expand of {step.full_label!r} returned a PCollection that no step made. A composite returns what "
                "the transforms it applies give; only hornbeam's own primitives make PCollections."
            )
        self.builder.set_transform(
            id_,
            Transform(
                label=step.full_label,
                urn=parts.urn,
                spec=_spec(parts, step),
                payload=parts.payload,
                inputs=inputs,
                outputs={tag: self._pcollection(pcoll) for tag, pcoll in outputs.items()},
                side_inputs={tag: view.to_graph() for tag, view in sides.items()},
                subtransforms=subtransforms,
                display_data=_display_data(step),
                annotations=step.annotations,
                resource_hints=step.resource_hints,
            ),
        )
        return id_

    def _pcollection(self, pcoll: PCollection[Any]) -> str:
        id_ = self._pcollections.get(pcoll)
        if id_ is None:
            id_ = self.builder.add_pcollection(
                self._coder(pcoll), self._windowing(pcoll.windowing), pcoll.is_bounded, _type_name(pcoll)
            )
            self._pcollections[pcoll] = id_
        return id_

    def _windowing(self, windowing: Windowing) -> str:
        id_ = self._windowings.get(id(windowing))
        if id_ is None:
            id_ = self.builder.add_windowing(windowing.to_graph(), windowing.windowfn.get_window_coder())
            self._windowings[id(windowing)] = id_
        return id_

    def _coder(self, pcoll: PCollection[Any]) -> str:
        key = (pcoll.element_type, pcoll.requires_deterministic_key_coder)
        try:
            known = self._coders.get(key)
        except TypeError:
            return self.builder.add_coder(coder_of(pcoll))
        if known is None:
            known = self._coders[key] = self.builder.add_coder(coder_of(pcoll))
        return known


def coder_of(pcoll: PCollection[Any]) -> Any:
    """The coder of a PCollection's elements, by their type.

    Where the elements are about to be grouped, the key's coder is made deterministic; an error that names the
    grouping step when there is no way.
    """
    coder = registry.get_coder(pcoll.element_type)
    grouping = pcoll.requires_deterministic_key_coder
    if grouping is None:
        return coder
    if coder.is_kv_coder():
        key_coder = registry.verify_deterministic(coder.key_coder(), grouping)
        return TupleCoder((key_coder, coder.value_coder()))
    return coder


def _spec(parts: GraphParts, step: AppliedPTransform) -> Spec:
    """The spec, with the output tags that were asked for after the step was applied."""
    if "tags" not in parts.spec:
        return parts.spec
    return {**parts.spec, "tags": [tag for tag in step.outputs if tag is not None]}


def _type_name(pcoll: PCollection[Any]) -> str:
    hint = pcoll.element_type
    if knows_nothing(hint):
        return "Any"
    if isinstance(hint, type) and not getattr(hint, "__args__", None):
        return hint.__name__ if hint.__module__ == "builtins" else f"{hint.__module__}.{hint.__qualname__}"
    return str(hint)


def _display_data(step: AppliedPTransform) -> tuple[Mapping[str, Any], ...]:
    items = step.transform.display_data()
    if not items:
        return ()
    return tuple(DisplayData(step.transform._namespace(), items).to_proto())
