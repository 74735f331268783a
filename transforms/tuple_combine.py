"""Combine functions made of others: several side by side, or one with its arguments bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from hornbeam.transforms.combinefn import CombineFn

#: Accumulators are merged in batches, since there may be more than fit into memory.
MERGE_BATCH_SIZE = 1000


class _CombineFns(CombineFn):
    """Several combine functions side by side. Accumulator: the `list` of theirs, in order."""

    def __init__(
        self, *combiners: CombineFn | Callable[..., Any], merge_accumulators_batch_size: int | None = None
    ) -> None:
        super().__init__()
        self._combiners = [CombineFn.maybe_from_callable(combiner) for combiner in combiners]
        self._named_combiners = combiners
        self._merge_batch_size = merge_accumulators_batch_size or MERGE_BATCH_SIZE

    def display_data(self) -> dict[str, Any]:
        """The names of the combine functions."""
        return {"combiners": str([_name(combiner) for combiner in self._named_combiners])}

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Set up each."""
        for combiner in self._combiners:
            combiner.setup(*args, **kwargs)

    def create_accumulator(self, *args: Any, **kwargs: Any) -> list[Any]:
        """An accumulator of each."""
        return [combiner.create_accumulator(*args, **kwargs) for combiner in self._combiners]

    def merge_accumulators(self, accumulators: Iterable[list[Any]], *args: Any, **kwargs: Any) -> list[Any]:
        """Merge each function's accumulators, a batch at a time."""
        rest = iter(accumulators)
        merged = next(rest, None)
        if merged is None:
            return self.create_accumulator(*args, **kwargs)
        while batch := list(islice(rest, self._merge_batch_size)):
            merged = [
                combiner.merge_accumulators(parts, *args, **kwargs)
                for combiner, parts in zip(self._combiners, zip(merged, *batch))
            ]
        return merged

    def compact(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Compact each."""
        return [c.compact(part, *args, **kwargs) for c, part in zip(self._combiners, accumulator)]

    def extract_output(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of each, as a tuple."""
        return tuple(c.extract_output(part, *args, **kwargs) for c, part in zip(self._combiners, accumulator))

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Tear down each, the last one first."""
        for combiner in reversed(self._combiners):
            combiner.teardown(*args, **kwargs)


class TupleCombineFn(_CombineFns):
    """Combines tuples part by part: the i-th combine function takes the i-th part of every input.

    >>> import hornbeam as beam
    >>> [(1, 10), (5, 20)] | beam.CombineGlobally(beam.combiners.TupleCombineFn(max, sum))
    [(5, 30)]
    """

    def add_input(
        self, mutable_accumulator: list[Any], element: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Give every function its part of the element."""
        return [
            combiner.add_input(part, value, *args, **kwargs)
            for combiner, part, value in zip(self._combiners, mutable_accumulator, element)
        ]

    def with_common_input(self) -> SingleInputTupleCombineFn:
        """The same combine functions, each taking the whole of every input."""
        return SingleInputTupleCombineFn(
            *self._named_combiners, merge_accumulators_batch_size=self._merge_batch_size
        )


class SingleInputTupleCombineFn(_CombineFns):
    """Gives every input to each of several combine functions; the output is the tuple of theirs.

    >>> import hornbeam as beam
    >>> [1, 5, 3] | beam.CombineGlobally(beam.combiners.SingleInputTupleCombineFn(min, max, sum))
    [(1, 5, 9)]
    """

    def add_input(self, mutable_accumulator: list[Any], element: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Give every function the element."""
        return [
            c.add_input(part, element, *args, **kwargs)
            for c, part in zip(self._combiners, mutable_accumulator)
        ]

    def add_inputs(
        self, mutable_accumulator: list[Any], elements: Iterable[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Give every function a list of elements at a time; an iterator is not held in memory."""
        rest = iter(elements)
        while batch := list(islice(rest, MERGE_BATCH_SIZE)):
            mutable_accumulator = [
                c.add_inputs(part, batch, *args, **kwargs)
                for c, part in zip(self._combiners, mutable_accumulator)
            ]
        return mutable_accumulator


class _CurriedCombineFn(CombineFn):
    """A combine function with further arguments bound."""

    def __init__(self, fn: CombineFn, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self._fn = fn
        self._args = tuple(args)
        self._kwargs = dict(kwargs)

    def display_data(self) -> dict[str, Any]:
        """What the bound function shows."""
        return self._fn.display_data()

    def default_label(self) -> str:
        """The bound function's label."""
        return self._fn.default_label()

    def setup(self) -> None:
        """As the bound function."""
        self._fn.setup(*self._args, **self._kwargs)

    def create_accumulator(self) -> Any:
        """As the bound function."""
        return self._fn.create_accumulator(*self._args, **self._kwargs)

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """As the bound function."""
        return self._fn.add_input(accumulator, element, *self._args, **self._kwargs)

    def add_inputs(self, accumulator: Any, elements: Iterable[Any]) -> Any:
        """As the bound function."""
        return self._fn.add_inputs(accumulator, elements, *self._args, **self._kwargs)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """As the bound function."""
        return self._fn.merge_accumulators(accumulators, *self._args, **self._kwargs)

    def compact(self, accumulator: Any) -> Any:
        """As the bound function."""
        return self._fn.compact(accumulator, *self._args, **self._kwargs)

    def extract_output(self, accumulator: Any) -> Any:
        """As the bound function."""
        return self._fn.extract_output(accumulator, *self._args, **self._kwargs)

    def apply(self, elements: Iterable[Any]) -> Any:
        """As the bound function."""
        return self._fn.apply(elements, *self._args, **self._kwargs)

    def teardown(self) -> None:
        """As the bound function."""
        self._fn.teardown(*self._args, **self._kwargs)


def curry_combine_fn(fn: CombineFn, args: Sequence[Any], kwargs: Mapping[str, Any]) -> CombineFn:
    """`fn` with `args` and `kwargs` passed to every call; `fn` itself when there are none."""
    return _CurriedCombineFn(fn, args, kwargs) if args or kwargs else fn


def _name(combiner: CombineFn | Callable[..., Any]) -> str:
    if isinstance(combiner, CombineFn):
        return type(combiner).__name__
    return getattr(combiner, "__name__", type(combiner).__name__)
