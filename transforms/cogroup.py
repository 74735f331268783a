"""CoGroupByKey: a join of several keyed pcollections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hornbeam.error import TransformError
from hornbeam.graph import urns
from hornbeam.transforms.core import Flatten, GroupByKey, Map
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.typehints import Dict, List, Tuple

K = TypeVar("K")
V = TypeVar("V")

#: A key with its values from all inputs, each with the index of its input.
Group = tuple[Any, Iterable[tuple[int, Any]]]


class CoGroupByKey(PTransform[Any, Any]):
    """Groups several keyed pcollections by key: one result for each key that occurs in any of them.

    Applied to a dict of pcollections, a result is (key, {tag: list of values}); applied to a tuple or list,
    it is (key, (list of values, …)) in their order. A pcollection without the key gives an empty list. All
    must be windowed alike. `pipeline` is needed only when there may be no pcollection at all.

    >>> import hornbeam as beam
    >>> from hornbeam.testing.test_pipeline import TestPipeline
    >>> from hornbeam.testing.util import assert_that, equal_to
    >>> with TestPipeline() as p:
    ...     mails = p | "Mails" >> beam.Create([("amy", "amy@x.org"), ("joe", "joe@x.org")])
    ...     phones = p | "Phones" >> beam.Create([("amy", 5551)])
    ...     joined = {"mails": mails, "phones": phones} | beam.CoGroupByKey()
    ...     assert_that(joined, equal_to([
    ...         ("amy", {"mails": ["amy@x.org"], "phones": [5551]}),
    ...         ("joe", {"mails": ["joe@x.org"], "phones": []}),
    ...     ]))
    """

    def __init__(self, *, pipeline: Any = None) -> None:
        super().__init__()
        self.pipeline = pipeline
        self._tags: list[Any] | None = None

    def expand(self, pcolls: Any) -> Any:
        """Mark every value with where it comes from, group all, and sort the values out again."""
        if not isinstance(pcolls, (dict, tuple, list)):
            raise TypeError(
                f"CoGroupByKey needs a dict, tuple or list of PCollections; it got {pcolls}. Write "
                "{'a': first, 'b': second} | beam.CoGroupByKey()."
            )
        tags = self._tags = list(pcolls) if isinstance(pcolls, dict) else None
        parts = list(pcolls.values()) if isinstance(pcolls, dict) else list(pcolls)
        if not parts and self.pipeline is None:
            raise TransformError(
                "CoGroupByKey of no pcollections needs to know the pipeline: write CoGroupByKey(pipeline=p)."
            )
        marked = [
            part | f"Mark[{index if tags is None else tags[index]}]" >> _mark(index)
            for index, part in enumerate(parts)
        ]
        grouped = marked | Flatten(pipeline=self.pipeline) | GroupByKey()
        values = (
            Dict[Any, List[Any]] if tags is not None else Tuple[(List[Any],) * len(parts)] if parts else Any
        )
        sort_out = Map(_sorter(len(parts), tags)).with_input_types(Tuple[K, Any])
        return grouped | "Sort out" >> sort_out.with_output_types(Tuple[K, values])

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """The URN, by which a runner may find a shorter way than the steps inside.

        The payload is the list of the tags of a dict, in the order of the inputs, or None for a tuple of values.
        """
        spec = {"inputs": list(context.step.main_inputs)}
        return GraphParts(urns.CO_GROUP_BY_KEY, spec, context.pickle(self._tags))


def _mark(index: int) -> PTransform[Any, Any]:
    def mark(pair: tuple[Any, Any]) -> tuple[Any, tuple[int, Any]]:
        key, value = pair
        return key, (index, value)

    return Map(mark).with_input_types(Tuple[K, V]).with_output_types(Tuple[K, Tuple[int, V]])


def _sorter(count: int, tags: list[Any] | None) -> Callable[[Group], Any]:
    """The function that sorts a group's values out again."""

    def sort_out(group: Group) -> Any:
        key, marked = group
        values: list[list[Any]] = [[] for _ in range(count)]
        for index, value in marked:
            values[index].append(value)
        return key, tuple(values) if tags is None else dict(zip(tags, values))

    return sort_out
