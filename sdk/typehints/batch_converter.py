"""BatchConverter: between single elements and the batches that batch-aware DoFns get and give."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any as AnyObject
from typing import Generic, TypeVar

from hornbeam.typehints.constraint import AnyTypeConstraint, Hint, hint_name
from hornbeam.typehints.containers import ListConstraint
from hornbeam.typehints.rules import normalize

__all__ = ["BatchConverter", "ListBatchConverter"]

B = TypeVar("B")
E = TypeVar("E")

Factory = Callable[[Hint, Hint], "BatchConverter[AnyObject, AnyObject] | None"]


class BatchConverter(Generic[B, E]):
    """Makes batches of one type from elements of another, and takes them apart again."""

    def __init__(self, batch_type: Hint, element_type: Hint) -> None:
        self._batch_type = batch_type
        self._element_type = element_type

    @property
    def batch_type(self) -> Hint:
        """The hint of a batch."""
        return self._batch_type

    @property
    def element_type(self) -> Hint:
        """The hint of an element."""
        return self._element_type

    def produce_batch(self, elements: Sequence[E]) -> B:
        """One batch of these elements."""
        raise NotImplementedError(f"{type(self).__name__} has to make a batch of elements.")

    def explode_batch(self, batch: B) -> Iterator[E]:
        """The elements of a batch, in order."""
        raise NotImplementedError(f"{type(self).__name__} has to take a batch apart.")

    def combine_batches(self, batches: Sequence[B]) -> B:
        """One batch with the elements of all."""
        raise NotImplementedError(f"{type(self).__name__} has to join batches.")

    def get_length(self, batch: B) -> int:
        """The number of elements of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has to count a batch's elements.")

    def estimate_byte_size(self, batch: B) -> int:
        """About how many bytes a batch takes."""
        raise NotImplementedError(f"{type(self).__name__} has to estimate a batch's size.")

    @staticmethod
    def register(*, name: str) -> Callable[[Factory], Factory]:
        """Decorator for a function or class that makes a converter of (element_type, batch_type).

        It answers None, or raises TypeError or ValueError with the reason, when the types are not its own.
        """

        def add(factory: Factory) -> Factory:
            _FACTORIES[name] = factory
            return factory

        return add

    @staticmethod
    def from_typehints(*, element_type: Hint, batch_type: Hint) -> BatchConverter[AnyObject, AnyObject]:
        """The converter for two hints. Raises TypeError, with what each known kind says, without one."""
        element_type = normalize(element_type)
        reasons: list[str] = []
        for name, factory in _FACTORIES.items():
            try:
                found = factory(element_type, batch_type)
            except (TypeError, ValueError) as error:
                reasons.append(f"{name}: {error}")
                continue
            if found is not None:
                return found
            reasons.append(f"{name}: not for these types")
        raise TypeError(
            f"No way is known to make batches of type {hint_name(batch_type)} from elements of type"
            f" {hint_name(element_type)} ({'; '.join(reasons)})."
        )

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and bool(self.batch_type == other.batch_type)
            and bool(self.element_type == other.element_type)
        )

    def __hash__(self) -> int:
        return hash((type(self), repr(self.batch_type), repr(self.element_type)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({hint_name(self.batch_type)}, {hint_name(self.element_type)})"


_FACTORIES: dict[str, Factory] = {}


class ListBatchConverter(BatchConverter[list[AnyObject], AnyObject]):
    """Batches are lists."""

    _SAMPLE = 10

    def produce_batch(self, elements: Sequence[AnyObject]) -> list[AnyObject]:
        return list(elements)

    def explode_batch(self, batch: list[AnyObject]) -> Iterator[AnyObject]:
        return iter(batch)

    def combine_batches(self, batches: Sequence[list[AnyObject]]) -> list[AnyObject]:
        return [element for batch in batches for element in batch]

    def get_length(self, batch: list[AnyObject]) -> int:
        return len(batch)

    def estimate_byte_size(self, batch: list[AnyObject]) -> int:
        if not batch:
            return sys.getsizeof(batch)
        step = max(1, len(batch) // self._SAMPLE)
        sample = batch[::step]
        return sys.getsizeof(batch) + sum(map(sys.getsizeof, sample)) * len(batch) // len(sample)


@BatchConverter.register(name="list")
def list_converter(element_type: Hint, batch_type: Hint) -> ListBatchConverter:
    """The converter when the batch is a list of the elements; TypeError, with the reason, when it is not."""
    batch_type = normalize(batch_type)
    if not isinstance(batch_type, ListConstraint):
        raise TypeError("the batch must be List[...]")
    if not isinstance(batch_type.inner_type, AnyTypeConstraint) and batch_type.inner_type != element_type:
        raise TypeError(f"a batch of type {batch_type!r} has elements of {hint_name(batch_type.inner_type)}")
    return ListBatchConverter(batch_type, element_type)
