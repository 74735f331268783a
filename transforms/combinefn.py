"""CombineFn: how many values become one, by way of accumulators; and what wraps a plain function as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from hornbeam.coders import registry
from hornbeam.display import HasDisplayData
from hornbeam.transforms.labels import label_from_callable
from hornbeam.typehints import typehints
from hornbeam.typehints.constraint import hint_name
from hornbeam.typehints.decorators import IOTypeHints, TypeCheckError, WithTypeHints, get_type_hints

if TYPE_CHECKING:
    from hornbeam.coders.coder import Coder

__all__ = ["CallableWrapperCombineFn", "CombineFn"]


class CombineFn(WithTypeHints, HasDisplayData):
    """Folds values into an accumulator, merges accumulators, and takes the result out.

    The order in which values are added and accumulators merged is not defined, so the operation must be associative
    and commutative. A runner may change an accumulator that it passes in first place, never another one.
    """

    def default_label(self) -> str:
        """The class's name."""
        return type(self).__name__

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Called once for each copy, before anything else; without arguments when there are side inputs among them."""

    def create_accumulator(self, *args: Any, **kwargs: Any) -> Any:
        """The accumulator of no values."""
        raise NotImplementedError(f"{type(self).__name__} must define create_accumulator(self).")

    def add_input(self, mutable_accumulator: Any, element: Any, *args: Any, **kwargs: Any) -> Any:
        """The accumulator with one more value; it may be the same object, changed."""
        raise NotImplementedError(f"{type(self).__name__} must define add_input(self, accumulator, element).")

    def add_inputs(self, mutable_accumulator: Any, elements: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """The accumulator with more values; define it where many at once are quicker."""
        for element in elements:
            mutable_accumulator = self.add_input(mutable_accumulator, element, *args, **kwargs)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """One accumulator for several; it may be the first one, changed."""
        raise NotImplementedError(
            f"{type(self).__name__} must define merge_accumulators(self, accumulators)."
        )

    def compact(self, accumulator: Any, *args: Any, **kwargs: Any) -> Any:
        """The accumulator in a smaller form, for when it is stored or sent."""
        return accumulator

    def extract_output(self, accumulator: Any, *args: Any, **kwargs: Any) -> Any:
        """The result."""
        raise NotImplementedError(f"{type(self).__name__} must define extract_output(self, accumulator).")

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Called when the copy is no longer needed; best effort."""

    def apply(self, elements: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """The result for some values, without setup and teardown."""
        accumulator = self.add_inputs(self.create_accumulator(*args, **kwargs), elements, *args, **kwargs)
        return self.extract_output(accumulator, *args, **kwargs)

    def for_input_type(self, input_type: Any) -> CombineFn:
        """A CombineFn for values of one type: this one, or one that is quicker for them."""
        return self

    def infer_output_type(self, input_type: Any) -> Any:
        """The type of the result for values of a type, where none is declared."""
        return typehints.Any

    def get_accumulator_coder(self) -> Coder:
        """The coder of the accumulators."""
        coder: Coder = registry.get_coder(object)
        return coder

    @staticmethod
    def from_callable(fn: Callable[..., Any]) -> CombineFn:
        """A CombineFn out of a function from an iterable of values to one value."""
        return CallableWrapperCombineFn(fn)

    @staticmethod
    def maybe_from_callable(fn: Any, has_side_inputs: bool = True) -> CombineFn:
        """A CombineFn as it is, a callable wrapped as one; TypeError for anything else."""
        if isinstance(fn, CombineFn):
            return fn
        if isinstance(fn, type) and issubclass(fn, CombineFn):
            raise TypeError(f"Use {fn.__name__}(), not {fn.__name__}: a CombineFn instance is needed.")
        if callable(fn):
            return _CountingCombineFn(fn) if fn is len else CallableWrapperCombineFn(fn)
        raise TypeError(f"Expected a CombineFn or a callable; got {fn!r} ({type(fn).__name__}).")


class CallableWrapperCombineFn(CombineFn):
    """A function over an iterable of values, such as `sum`, as a CombineFn.

    It is called on some of the values and then on its own results, so it must be associative and commutative. The
    accumulator is a list of values.
    """

    _DEFAULT_BUFFER_SIZE = 10

    def __init__(self, fn: Callable[..., Any], buffer_size: int = _DEFAULT_BUFFER_SIZE) -> None:
        if not callable(fn):
            raise TypeError(f"Expected a callable; got {fn!r} ({type(fn).__name__}).")
        super().__init__()
        self.fn = fn
        self._buffer_size = buffer_size

    def default_label(self) -> str:
        """The function's name."""
        return label_from_callable(self.fn)

    def display_data(self) -> dict[str, Any]:
        """The function."""
        return {"fn_dd": self.default_label()}

    def create_accumulator(self, *args: Any, **kwargs: Any) -> list[Any]:
        """An empty list."""
        return []

    def add_input(self, mutable_accumulator: list[Any], element: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """The list with the value; folded to one value when it has become long."""
        mutable_accumulator.append(element)
        if len(mutable_accumulator) > self._buffer_size:
            return [self.fn(mutable_accumulator, *args, **kwargs)]
        return mutable_accumulator

    def add_inputs(
        self, mutable_accumulator: list[Any], elements: Iterable[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """The values folded at once."""
        held = chain(mutable_accumulator, elements)
        first = next(held, _NOTHING)
        return [] if first is _NOTHING else [self.fn(chain([first], held), *args, **kwargs)]

    def merge_accumulators(self, accumulators: Iterable[list[Any]], *args: Any, **kwargs: Any) -> list[Any]:
        """All their values folded."""
        return self.add_inputs([], chain.from_iterable(accumulators), *args, **kwargs)

    def compact(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """A list of at most one value."""
        return accumulator if len(accumulator) <= 1 else [self.fn(accumulator, *args, **kwargs)]

    def extract_output(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> Any:
        """The function's result."""
        return self.fn(accumulator, *args, **kwargs)

    def default_type_hints(self) -> IOTypeHints:
        """From `fn(Iterable[V]) -> R` to V and R; TypeCheckError when the function takes no iterable."""
        hints = get_type_hints(self.fn)
        if hints.input_types is None or not hints.input_types[0]:
            return hints
        first, *others = hints.input_types[0]
        if not typehints.is_consistent_with(first, typehints.Iterable[typehints.Any]):
            raise TypeCheckError(
                f"A function that combines takes an iterable of values; {self.default_label()} takes "
                f"{hint_name(first)}."
            )
        try:
            element_type = typehints.get_yielded_type(first)
        except ValueError:
            element_type = typehints.Any
        return hints.with_input_types(element_type, *others, **hints.input_types[1])

    def infer_output_type(self, input_type: Any) -> Any:
        """What is known of some built-in functions."""
        if self.fn in (any, all):
            return bool
        if self.fn in (min, max):
            return input_type
        if self.fn is sum:
            return {bool: int, int: int, float: float}.get(input_type, typehints.Any)
        return typehints.Any


_NOTHING = object()


class _CountingCombineFn(CallableWrapperCombineFn):
    """`len`, which is no associative function: the accumulator is a list of counts."""

    def add_input(self, mutable_accumulator: list[Any], element: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [sum(mutable_accumulator) + 1]

    def add_inputs(
        self, mutable_accumulator: list[Any], elements: Iterable[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        return [sum(mutable_accumulator) + sum(1 for _ in elements)]

    def merge_accumulators(self, accumulators: Iterable[list[Any]], *args: Any, **kwargs: Any) -> list[Any]:
        return [sum(map(sum, accumulators))]

    def compact(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return accumulator

    def extract_output(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> int:
        return sum(accumulator)

    def infer_output_type(self, input_type: Any) -> Any:
        return int
