"""Transforms on plain Python values: `[1, 2] | beam.Map(f)` runs at once, on the DirectRunner, and gives a list.

Where a structure holds PCollections too, its values become PCollections of the same pipeline instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hornbeam import nested
from hornbeam.pipeline import Pipeline
from hornbeam.pvalue import PCollection, PDone, PValue
from hornbeam.transforms.create import Create
from hornbeam.transforms.pardo import Map
from hornbeam.transforms.ptransform import PTransform

#: What the runs in progress have collected, by a number of their own. The runner works in this process.
_collected: dict[int, list[Any]] = {}
_numbers = itertools.count()


class _Collect:
    """Puts every element into a list of this process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, element: Any) -> None:
        _collected[self.number].append(element)


def run_on_values(transform: PTransform[Any, Any], left: Any, label: str | None) -> Any:
    """The transform's result for plain values: lists in place of PCollections, in the structure that it gives."""
    pipeline = Pipeline("DirectRunner")
    result = pipeline.apply(transform, created(pipeline, transform, left), label)
    numbers: list[int] = []

    def collect(value: Any) -> Callable[[], Any]:
        pcoll = getattr(value, "pcoll", value)
        if not isinstance(pcoll, PCollection):
            return lambda: None
        number = next(_numbers)
        numbers.append(number)
        _collected[number] = []
        pcoll | f"Collect{number}" >> Map(_Collect(number))
        return lambda: _collected[number]

    try:
        found = nested.replace(result, collect)
        pipeline.run().wait_until_finish()
        return nested.replace(found, lambda get: get())
    finally:
        for number in numbers:
            _collected.pop(number, None)


def created(pipeline: Pipeline, transform: PTransform[Any, Any], left: Any) -> Any:
    """The structure with a PCollection in place of each leaf that is none."""
    numbers = itertools.count()

    def create(leaf: Any) -> Any:
        if isinstance(leaf, PValue | Pipeline | PDone):
            return leaf
        return pipeline | f"CreatePInput{next(numbers)}" >> Create(leaf, reshuffle=False)

    return transform.replace_leaves(left, create)


PTransform._on_values = staticmethod(run_on_values)
PTransform._created = staticmethod(created)
