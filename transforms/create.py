"""Create and Impulse: where PCollections come from when they are not read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

from hornbeam.graph import urns
from hornbeam.pipeline import Pipeline
from hornbeam.pvalue import PBegin, PCollection, PValue
from hornbeam.transforms.pardo import FlatMap
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.reshuffle import Reshuffle
from hornbeam.transforms.windowing import DEFAULT_WINDOWING, Windowing
from hornbeam.typehints import typehints

T = TypeVar("T")

#: Among this many values and less, types inside of values are looked for in full depth.
_DEEP_LOOK_MAX = 1000
#: Types of values that say nothing but themselves.
_PLAIN_TYPES = frozenset({int, float, str, bytes, bool, type(None), tuple, list, dict, set, frozenset})
#: Shorter lists of numbers are pickled as they are.
_PACKED_MIN = 100
#: Longer tuples than this are not looked into.
_TUPLE_LENGTH_MAX = 20


class Impulse(PTransform[Any, Any]):
    """One element, `b''`, at the beginning of time in the global window."""

    def expand(self, pbegin: Any) -> PCollection[bytes]:
        """A primitive."""
        _check_begin(self, pbegin)
        return PCollection(pbegin.pipeline, element_type=bytes)

    def get_windowing(self, inputs: Sequence[PValue]) -> Windowing:
        """The global window."""
        return DEFAULT_WINDOWING

    def infer_output_type(self, unused_input_type: Any) -> Any:
        """Bytes."""
        return bytes

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """An IMPULSE."""
        return GraphParts(urns.IMPULSE)


class Values:
    """A function that gives fixed values, whatever it is called with.

    Long lists of ints, or of floats, travel as arrays of 64 bits, which are quicker both ways and take less room; a range
    stays a range.
    """

    __slots__ = ("gives_plain_items", "values")

    def __init__(self, values: Sequence[Any], kinds: Iterable[type]) -> None:
        kinds = frozenset(kinds)
        self.values = _packed(values, kinds)
        #: Whether none of the values can be a TimestampedValue or the like: see the engine's `plain_results`.
        self.gives_plain_items = kinds <= _PLAIN_TYPES

    def __call__(self, unused_element: Any) -> Iterator[Any]:
        return iter(self.values)

    def default_label(self) -> str:
        """`values`."""
        return "values"


def _packed(values: Sequence[Any], kinds: frozenset[type]) -> Sequence[Any]:
    """The same values in an array, where their type allows it and it pays."""
    code = {frozenset({int}): "q", frozenset({float}): "d"}.get(kinds)
    if code is not None and len(values) > _PACKED_MIN and not isinstance(values, range):
        try:
            return array(code, values)
        except OverflowError:
            pass
    return values


class Create(PTransform[Any, Any]):
    """The given values as elements, in the global window at the beginning of time; a dict gives its items.

    With `reshuffle` (and more than one value) the steps after it may run elsewhere and in parallel.

    >>> import hornbeam as beam
    >>> with beam.Pipeline() as p:
    ...     lengths = p | beam.Create(["to", "be", "or not"]) | beam.Map(len)
    """

    def __init__(self, values: Iterable[Any], reshuffle: bool = True) -> None:
        super().__init__()
        if isinstance(values, str | bytes):
            raise TypeError(
                f"Create refuses to take the {type(values).__name__} {values!r} apart into its characters. "
                f"Write Create([{values!r}]) for one element, or Create(list(...)) if it is meant."
            )
        if isinstance(values, PValue):
            raise TypeError(f"Create needs values; {values} is a PCollection already.")
        if isinstance(values, dict):
            values = values.items()
        try:
            self.values: Sequence[Any] = values if isinstance(values, tuple | range) else list(values)
        except TypeError as error:
            raise TypeError(f"Create needs an iterable of values; it got {values!r}: {error}") from None
        self.reshuffle = reshuffle
        self._found_kinds: set[type] | None = None

    def _kinds(self) -> set[type]:
        if self._found_kinds is None:
            self._found_kinds = kinds_of(self.values)
        return self._found_kinds

    def infer_output_type(self, unused_input_type: Any) -> Any:
        """The type of the values, found by looking at all of them."""
        return infer_element_type(self.values, self._kinds())

    def get_output_type(self) -> Any:
        """The declared type, or else the values'."""
        declared = self.get_type_hints().simple_output_type(self.label)
        return self.infer_output_type(None) if declared is None else declared

    def expand(self, pbegin: Any) -> PCollection[Any]:
        """An Impulse that becomes the values."""
        _check_begin(self, pbegin)
        give = FlatMap(Values(self.values, self._kinds())).with_output_types(self.get_output_type())
        created: PCollection[Any] = pbegin | Impulse() | "Values" >> give
        if self.reshuffle and len(self.values) > 1:
            created = created | Reshuffle()
        return created

    def get_windowing(self, inputs: Sequence[PValue]) -> Windowing:
        """The global window."""
        return DEFAULT_WINDOWING

    def as_read(self) -> PTransform[Any, Any]:
        """The same values without reshuffling."""
        return Create(self.values, reshuffle=False)

    def display_data(self) -> dict[str, Any]:
        """How many values there are."""
        return {"values": len(self.values)}


def _check_begin(transform: PTransform[Any, Any], pbegin: Any) -> None:
    if not isinstance(pbegin, PBegin):
        given = pbegin if not isinstance(pbegin, Pipeline) else "a pipeline in a structure"
        raise TypeError(
            f"{transform.label!r} must be applied to the pipeline itself: p | {type(transform).__name__}(...). "
            f"It was applied to {given}."
        )


def kinds_of(values: Iterable[Any]) -> set[type]:
    """The classes of the values."""
    if isinstance(values, range):
        return {int} if values else set()
    return set(map(type, values))


def infer_element_type(values: Iterable[Any], kinds: set[type] | None = None) -> Any:
    """The type hint of some values: a class, a tuple's or list's content, or the union of several.

    Values are looked at once each at C speed; what is inside them in full depth only when there are few.
    """
    values = values if isinstance(values, list | tuple | range) else list(values)
    kinds = set(kinds_of(values) if kinds is None else kinds)
    if not kinds:
        return typehints.Any
    deep = len(values) <= _DEEP_LOOK_MAX
    if len(kinds) == 1:
        return _inside(kinds.pop(), values, deep)
    if deep:
        return typehints.make_union(
            _inside(kind, [value for value in values if type(value) is kind], deep)
            for kind in sorted(kinds, key=lambda kind: kind.__qualname__)
        )
    return typehints.make_union(typehints.normalize(kind) for kind in kinds)


def _inside(kind: type, values: Sequence[Any], deep: bool) -> Any:
    """The hint of values that are all of one class."""
    if kind is tuple:
        lengths = set(map(len, values))
        if len(lengths) == 1 and 0 < (length := lengths.pop()) <= _TUPLE_LENGTH_MAX:
            return typehints.Tuple[
                tuple(infer_element_type(list(map(itemgetter(index), values))) for index in range(length))
            ]
        return typehints.normalize(tuple)
    if not deep:
        return typehints.normalize(kind)
    if kind is list:
        return typehints.List[infer_element_type(list(chain.from_iterable(values)))]
    if kind is set:
        return typehints.Set[infer_element_type(list(chain.from_iterable(values)))]
    if kind is dict:
        keys = infer_element_type([key for value in values for key in value])
        return typehints.Dict[keys, infer_element_type([item for value in values for item in value.values()])]
    return typehints.normalize(kind, none_as_type=True)
