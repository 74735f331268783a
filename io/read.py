"""`Read`: the root of a pipeline that reads a source. A primitive: the runner splits the source and reads it."""

from __future__ import annotations

import math
from typing import Any

from hornbeam.display import DisplayDataItem
from hornbeam.graph import urns
from hornbeam.io.source import SourceBase
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext

__all__ = ["Read"]


class Read(PTransform[PBegin, PCollection[Any]]):
    """The elements of a source. Applied to the pipeline itself."""

    def __init__(self, source: SourceBase) -> None:
        if isinstance(source, type) and issubclass(source, SourceBase):
            raise TypeError(
                f"Read needs a source object: write Read({source.__name__}(...)), with its arguments."
            )
        if not isinstance(source, SourceBase):
            raise TypeError(f"Read needs a BoundedSource or an UnboundedSource; found {source!r}.")
        super().__init__()
        self.source = source

    @staticmethod
    def get_desired_chunk_size(total_size: int | None) -> int:
        """The bytes that a part of a source of that size should have: 1 MiB at least, growing with its root."""
        if total_size:
            return max(1 << 20, 1000 * int(math.sqrt(total_size)))
        return 64 << 20

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """The output, which the runner fills."""
        return PCollection(pbegin.pipeline, is_bounded=self.source.is_bounded())

    def infer_output_type(self, unused_input_type: Any) -> Any:
        """The type that the source's coder is for."""
        coder_of_source = getattr(self.source, "default_output_coder", None)
        if coder_of_source is None:
            return Any
        try:
            return coder_of_source().to_type_hint()
        except NotImplementedError:
            return Any

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """The source, pickled."""
        kind = type(self.source)
        spec = {"bounded": self.source.is_bounded(), "source": f"{kind.__module__}.{kind.__qualname__}"}
        return GraphParts(urns.READ, spec, context.pickle(self.source))

    def display_data(self) -> dict[str, Any]:
        """The source and its items."""
        return {
            "source": DisplayDataItem(type(self.source).__name__, label="Read Source"),
            "source_dd": self.source,
        }
