"""WaitOn and Tee: order between branches, and a branch that leaves the chain unbroken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hornbeam.pvalue import AsIter
from hornbeam.transforms.core import FlatMap, Map
from hornbeam.transforms.ptransform import PTransform, ptransform_fn

T = TypeVar("T")


class WaitOn(PTransform[Any, Any]):
    """Passes elements on only when other pcollections are finished (in the window that belongs to theirs).

    The other pcollections' elements themselves do not matter.

    >>> import hornbeam as beam
    >>> from hornbeam.testing.test_pipeline import TestPipeline
    >>> from hornbeam.testing.util import assert_that, equal_to
    >>> with TestPipeline() as p:
    ...     tables_made = p | "Make tables" >> beam.Create(["made"])
    ...     rows = p | "Rows" >> beam.Create([1, 2]) | beam.WaitOn(tables_made)
    ...     assert_that(rows, equal_to([1, 2]))
    """

    def __init__(self, *to_be_waited_on: Any) -> None:
        super().__init__()
        self._to_be_waited_on = to_be_waited_on

    def expand(self, pcoll: Any) -> Any:
        """Map each element to itself, with an emptied side input for everything to wait on."""
        signals = [
            AsIter(other | f"WaitOn[{index}]" >> FlatMap(_nothing))
            for index, other in enumerate(self._to_be_waited_on)
        ]
        return pcoll | "Pass" >> Map(_first, *signals).with_input_types(T).with_output_types(T)


class Tee(PTransform[Any, Any]):
    """Gives its input on as it is, and to each of `consumers` too.

    A consumer is a PTransform, or a function that takes a pcollection; what comes out of it is not used.

    >>> import hornbeam as beam
    >>> from hornbeam.testing.test_pipeline import TestPipeline
    >>> from hornbeam.testing.util import assert_that, equal_to
    >>> with TestPipeline() as p:
    ...     numbers = p | beam.Create([1, 2]) | beam.Tee(beam.LogElements(level=10)) | beam.Map(lambda n: n + 1)
    ...     assert_that(numbers, equal_to([2, 3]))
    """

    def __init__(self, *consumers: PTransform[Any, Any] | Callable[[Any], Any]) -> None:
        super().__init__()
        self._consumers = consumers

    def expand(self, input: Any) -> Any:
        """Apply every consumer to the input, then return the input."""
        for index, consumer in enumerate(self._consumers):
            transform = consumer if isinstance(consumer, PTransform) else ptransform_fn(consumer)()
            _ = input | f"[{index}] {transform.label}" >> transform
        return input


def _first(element: Any, *signals: Any) -> Any:
    return element


def _nothing(element: Any) -> tuple[()]:
    return ()
