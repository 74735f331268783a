"""The tree of steps that a Pipeline grows: each application of a transform, with what it took and gave.

Visitors walk it; `hornbeam.translation` makes a Graph of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hornbeam import nested
from hornbeam.pvalue import AsSideInput, PCollection, PValue

if TYPE_CHECKING:
    from hornbeam.transforms.ptransform import PTransform
    from hornbeam.translation import GraphParts


class AppliedPTransform:
    """One application of a transform. The root of the tree has no transform and no label."""

    def __init__(
        self,
        parent: AppliedPTransform | None,
        transform: PTransform[Any, Any] | None,
        full_label: str,
        main_input: Any = None,
        annotations: Mapping[str, bytes] | None = None,
        resource_hints: Mapping[str, bytes] | None = None,
    ) -> None:
        self.parent = parent
        self._transform = transform
        self.full_label = full_label
        self.main_inputs: dict[str, PCollection[Any]] = dict(nested.named_pcollections(main_input, "in"))
        self.side_inputs: tuple[AsSideInput, ...] = tuple(transform.side_inputs) if transform else ()
        self.parts: list[AppliedPTransform] = []
        self.annotations = dict(annotations or {})
        self.resource_hints = dict(resource_hints or {})
        #: What the graph will say of the step; taken when it is applied, so that later changes do not count.
        self.graph_parts: GraphParts | None = None
        self.result: Any = None

    @property
    def transform(self) -> PTransform[Any, Any]:
        """The transform; the root has none and must not be asked."""
        assert self._transform is not None, "the root of a pipeline has no transform"
        return self._transform

    @property
    def is_root(self) -> bool:
        """Whether this is the root of the tree."""
        return self._transform is None

    @property
    def inputs(self) -> tuple[PCollection[Any], ...]:
        """The main inputs, in order."""
        return tuple(self.main_inputs.values())

    @property
    def outputs(self) -> dict[str | None, PCollection[Any]]:
        """The outputs by tag; one that stands alone, and the main output, is called None."""
        return {
            None if tag == "out" else tag: pcoll
            for tag, pcoll in nested.named_pcollections(self.result, "out")
        }

    def add_part(self, part: AppliedPTransform) -> None:
        """A step that was applied inside this one."""
        self.parts.append(part)

    def is_composite(self) -> bool:
        """Whether it is made of other steps (or of none at all), rather than a runner's primitive."""
        return bool(self.parts) or all(pcoll.producer is not self for pcoll in self.outputs.values())

    def visit(self, visitor: PipelineVisitor, visited: set[PValue] | None = None) -> None:
        """Walk this step and the steps in it, in the order in which they were applied."""
        visited = set() if visited is None else visited
        for pval in self.inputs:
            _visit_value(pval, visitor, visited)
        for side_input in self.side_inputs:
            _visit_value(side_input.pcoll, visitor, visited)
        if self.is_root or self.is_composite():
            visitor.enter_composite_transform(self)
            for part in self.parts:
                part.visit(visitor, visited)
            visitor.leave_composite_transform(self)
        else:
            visitor.visit_transform(self)
        for pval in self.outputs.values():
            _visit_value(pval, visitor, visited)

    def __repr__(self) -> str:
        name = type(self._transform).__name__ if self._transform else "root"
        return f"AppliedPTransform({self.full_label}, {name})"


def _visit_value(pval: PValue, visitor: PipelineVisitor, visited: set[PValue]) -> None:
    if pval not in visited:
        visited.add(pval)
        if pval.producer is not None:
            visitor.visit_value(pval, pval.producer)


class PipelineVisitor:
    """Override what is of interest; `Pipeline.visit` calls it for every value and step."""

    def visit_value(self, value: PValue, producer_node: AppliedPTransform) -> None:
        """Called once for every PCollection."""

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        """Called for every primitive step."""

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        """Called before the steps of a composite; the root of the pipeline comes first."""

    def leave_composite_transform(self, transform_node: AppliedPTransform) -> None:
        """Called after the steps of a composite."""
