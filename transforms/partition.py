"""Partition: one PCollection into several, by a function."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from hornbeam.pvalue import DoOutputsTuple, TaggedOutput
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.labels import label_from_callable
from hornbeam.transforms.pardo import ParDo
from hornbeam.transforms.ptransform import PTransformWithSideInputs
from hornbeam.typehints.decorators import WithTypeHints

__all__ = ["Partition", "PartitionFn"]


class PartitionFn(WithTypeHints):
    """Says which part an element belongs to."""

    def default_label(self) -> str:
        """The class's name."""
        return type(self).__name__

    def partition_for(self, element: Any, num_partitions: int, *args: Any, **kwargs: Any) -> int:
        """The part's number, from 0 to `num_partitions - 1`."""
        raise NotImplementedError(
            f"{type(self).__name__} must define partition_for(self, element, num_partitions)."
        )


class CallableWrapperPartitionFn(PartitionFn):
    """A function `fn(element, num_partitions, ...)` as a PartitionFn."""

    def __init__(self, fn: Callable[..., int]) -> None:
        if not callable(fn):
            raise TypeError(f"Partition needs a PartitionFn or a callable; it got {fn!r}.")
        super().__init__()
        self._fn = fn

    def default_label(self) -> str:
        """The function's name."""
        return label_from_callable(self._fn)

    def partition_for(self, element: Any, num_partitions: int, *args: Any, **kwargs: Any) -> int:
        """What the function says."""
        return self._fn(element, num_partitions, *args, **kwargs)


class Partition(PTransformWithSideInputs):
    """As many PCollections as the second argument says; each element goes to the one that `fn` gives the number of.

    Indexing and unpacking the result gives the parts. Further arguments go to the function.

    >>> import hornbeam as beam
    >>> even, odd = [1, 2, 3, 4] | beam.Partition(lambda x, n: x % n, 2)
    >>> even, odd
    ([2, 4], [1, 3])
    """

    class ApplyPartitionFnFn(DoFn):
        """Sends each element to the output of its part."""

        def process(self, element: Any, partitionfn: Any, n: int, *args: Any, **kwargs: Any) -> Iterator[Any]:
            """One output; ValueError when the number is none of a part."""
            part = partitionfn.partition_for(element, n, *args, **kwargs)
            try:
                if isinstance(part, bool):
                    raise TypeError
                index = operator.index(part)
            except TypeError:
                raise ValueError(
                    f"A partition function must give an int from 0 to {n - 1}; it gave {part!r} "
                    f"({type(part).__name__}) for {element!r}."
                ) from None
            if not 0 <= index < n:
                raise ValueError(
                    f"A partition function must give an int from 0 to {n - 1}; it gave {index} for {element!r}."
                )
            yield TaggedOutput(str(index), element)

    def __init__(self, fn: PartitionFn | Callable[..., int], *args: Any, **kwargs: Any) -> None:
        super().__init__(fn, *args, **kwargs)
        if not args:
            raise TypeError("Partition needs the number of parts: beam.Partition(fn, 3).")
        try:
            self._parts = operator.index(args[0])
        except TypeError:
            raise TypeError(
                f"Partition needs the number of parts as its second argument, as an int; it got {args[0]!r}."
            ) from None
        if self._parts < 1:
            raise ValueError(f"Partition needs at least one part; it got {self._parts}.")
        self.side_inputs = ()  # The ParDo inside has them.

    def make_fn(self, fn: Any, has_side_inputs: bool) -> PartitionFn:
        """A PartitionFn as it is, a callable wrapped as one."""
        return fn if isinstance(fn, PartitionFn) else CallableWrapperPartitionFn(fn)

    def expand(self, pcoll: Any) -> DoOutputsTuple:
        """A ParDo with an output for each part."""
        apply_fn = ParDo(self.ApplyPartitionFnFn(), self.fn, self._parts, *self.args[1:], **self.kwargs)
        tags = [str(index) for index in range(self._parts)]
        result: DoOutputsTuple = pcoll | apply_fn.with_outputs(*tags)
        for part in result:
            part.element_type = pcoll.element_type
        return result
