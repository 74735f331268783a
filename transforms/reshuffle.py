"""Reshuffle: the same elements, with the freedom to spread the work on them anew."""

from __future__ import annotations

from typing import Any, TypeVar

from hornbeam.graph import urns
from hornbeam.pvalue import PCollection
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.typehints import Tuple

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Reshuffle(PTransform[Any, Any]):
    """Passes on all elements with their timestamps and windows, and keeps the steps around it apart.

    A runner does not fuse the steps before with those after, so that what one element gave (a list of files,
    say) is spread over all workers, and steps with side effects are not run again when later ones fail.
    `num_buckets` bounds into how many parts the elements are spread.

    >>> import hornbeam as beam
    >>> sorted([1, 2, 3] | beam.Reshuffle())
    [1, 2, 3]
    """

    def __init__(self, num_buckets: int | None = None) -> None:
        super().__init__()
        whole = isinstance(num_buckets, int) and not isinstance(num_buckets, bool)
        if num_buckets is not None and not (whole and num_buckets > 0):
            raise ValueError(
                f"Reshuffle needs num_buckets to be an int greater than 0, found {num_buckets!r}"
            )
        self.num_buckets = num_buckets

    def expand(self, pcoll: Any) -> Any:
        """One primitive."""
        return pcoll | "Redistribute" >> _Redistribute({"num_buckets": self.num_buckets})


class ReshufflePerKey(PTransform[Any, Any]):
    """As `Reshuffle` for (key, value) pairs, where the pairs of a key may stay together.

    >>> import hornbeam as beam
    >>> from hornbeam.transforms.util import ReshufflePerKey
    >>> sorted([("a", 1), ("b", 2)] | ReshufflePerKey())
    [('a', 1), ('b', 2)]
    """

    def expand(self, pcoll: Any) -> Any:
        """One primitive."""
        step = _Redistribute({"per_key": True}).with_input_types(Tuple[K, V]).with_output_types(Tuple[K, V])
        return pcoll | "Redistribute" >> step


class _Redistribute(PTransform[Any, Any]):
    """The primitive: every element unchanged, with its timestamp, window and pane."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self._spec = spec

    def expand(self, pcoll: PCollection[Any]) -> PCollection[Any]:
        """A pcollection like the input."""
        return PCollection.from_(pcoll)

    def infer_output_type(self, input_type: Any) -> Any:
        """The input's."""
        return input_type

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """`RESHUFFLE`, with the parameters to be read."""
        return GraphParts(
            urns.RESHUFFLE, {key: value for key, value in self._spec.items() if value is not None}
        )
