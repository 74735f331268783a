"""Flatten and FlattenWith: several PCollections as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hornbeam.graph import urns
from hornbeam.pipeline import Pipeline
from hornbeam.pvalue import DoOutputsTuple, PBegin, PCollection, PValue
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.window import WindowFn
from hornbeam.transforms.windowing import DEFAULT_WINDOWING, Windowing
from hornbeam.typehints import typehints


class Flatten(PTransform[Any, Any]):
    """The elements of all the PCollections of a tuple, list or dict, in one.

    They must be windowed by the same window function. For an empty tuple say `pipeline=p`.

    >>> import hornbeam as beam
    >>> sorted(([1, 2], [3]) | beam.Flatten())
    [1, 2, 3]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.pipeline = kwargs.pop("pipeline", None)
        if kwargs:
            raise ValueError(f"Flatten takes only pipeline=; it got {', '.join(kwargs)}.")

    def _input_leaves(self, pvalueish: Any) -> Iterator[Any]:
        return (item for item in _items(pvalueish) if item not in ((), {}))

    def replace_leaves(self, pvalueish: Any, change: Callable[[Any], Any]) -> Any:
        """The items, each changed."""
        return tuple(map(change, self._input_leaves(pvalueish)))

    def prepare_input(self, pvalueish: Any) -> Any:
        """The PCollections as a tuple; a pipeline among them is kept for when there is nothing else."""
        pcolls = []
        for item in self._input_leaves(pvalueish):
            if isinstance(item, Pipeline | PBegin):
                self.pipeline = item.pipeline if isinstance(item, PBegin) else item
            else:
                pcolls.append(item)
        return tuple(pcolls)

    def expand(self, pcolls: Any) -> PCollection[Any]:
        """A primitive."""
        for pcoll in pcolls:
            if not isinstance(pcoll, PCollection):
                advice = " Choose one of its outputs." if isinstance(pcoll, DoOutputsTuple) else ""
                raise TypeError(
                    f"{self.label!r} needs a tuple of PCollections, (pc1, pc2) | beam.Flatten(); one of the items "
                    f"is {pcoll!r}.{advice}"
                )
        pipeline = pcolls[0].pipeline if pcolls else self._some_pipeline()
        return PCollection(pipeline, is_bounded=all(pcoll.is_bounded for pcoll in pcolls))

    def _some_pipeline(self) -> Pipeline:
        if self.pipeline is None:
            raise ValueError("Flatten of nothing needs the pipeline: () | beam.Flatten(pipeline=p).")
        return self.pipeline

    def get_windowing(self, inputs: Sequence[PValue]) -> Windowing:
        """The first input's; ValueError when another input is windowed by another window function."""
        pcolls = [pcoll for pcoll in inputs if isinstance(pcoll, PCollection)]
        if not pcolls:
            return DEFAULT_WINDOWING
        first = pcolls[0].windowing
        for pcoll in pcolls[1:]:
            if not _same_windows(first.windowfn, pcoll.windowing.windowfn):
                raise ValueError(
                    f"{self.label!r} needs inputs that are windowed alike: {pcolls[0]} has {first.windowfn!r}, "
                    f"{pcoll} has {pcoll.windowing.windowfn!r}. Apply beam.WindowInto to one of them first."
                )
        return first

    def infer_output_type(self, input_type: Any) -> Any:
        """The union of the inputs' types."""
        return input_type

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A FLATTEN with the inputs `0`, `1` …"""
        return GraphParts(urns.FLATTEN)


def _items(pvalueish: Any) -> list[Any]:
    """What is to be flattened, out of a structure of any form."""
    if isinstance(pvalueish, dict):
        return list(pvalueish.values())
    if isinstance(pvalueish, Pipeline | PBegin):
        return [pvalueish]
    try:
        return list(pvalueish)
    except TypeError:
        raise TypeError(f"Flatten needs a tuple or list of PCollections; it got {pvalueish!r}.") from None


def _same_windows(one: WindowFn, other: WindowFn) -> bool:
    """Whether two window functions are equal, or of one class with equal attributes."""
    if one == other:
        return True
    attributes = getattr(one, "__dict__", None)
    return type(one) is type(other) and attributes is not None and attributes == vars(other)


class FlattenWith(PTransform[Any, Any]):
    """The input and other PCollections in one; a transform among the others is applied to the pipeline.

    >>> import hornbeam as beam
    >>> sorted([1, 2] | beam.Map(lambda x: x * 10) | beam.FlattenWith(beam.Create([5])))
    [5, 10, 20]
    """

    def __init__(self, *others: PCollection[Any] | PTransform[Any, Any]) -> None:
        super().__init__()
        self._others = others

    def expand(self, pcoll: Any) -> PCollection[Any]:
        """A Flatten of all."""
        pcolls = [pcoll]
        for other in self._others:
            if isinstance(other, PCollection):
                pcolls.append(other)
            elif isinstance(other, PTransform):
                pcolls.append(pcoll.pipeline | other)
            else:
                raise TypeError(
                    f"FlattenWith takes PCollections and transforms; it got {other!r} ({type(other).__name__})."
                )
        flat: PCollection[Any] = tuple(pcolls) | Flatten()
        return flat

    def infer_output_type(self, input_type: Any) -> Any:
        """Unknown where the Flatten inside does not tell."""
        return typehints.Any
