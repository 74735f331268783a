"""Small transforms over keys and values: Keys, Values, KvSwap, WithKeys and Distinct."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, TypeVar

from hornbeam.transforms.core import CombinePerKey, Map
from hornbeam.transforms.counting import CountCombineFn
from hornbeam.transforms.ptransform import PTransform, ptransform_fn
from hornbeam.typehints import Tuple
from hornbeam.typehints.trivial_inference import instance_to_type

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_FIRST = itemgetter(0)
_SECOND = itemgetter(1)
_SWAPPED = itemgetter(1, 0)


def Keys(label: str = "Keys") -> PTransform[Any, Any]:
    """The first part of every (key, value) pair.

    >>> import hornbeam as beam
    >>> [("a", 1), ("b", 2)] | beam.Keys()
    ['a', 'b']
    """
    return _labelled(label, Map(_FIRST).with_input_types(Tuple[K, V]).with_output_types(K))


def Values(label: str = "Values") -> PTransform[Any, Any]:
    """The second part of every (key, value) pair.

    >>> import hornbeam as beam
    >>> [("a", 1), ("b", 2)] | beam.Values()
    [1, 2]
    """
    return _labelled(label, Map(_SECOND).with_input_types(Tuple[K, V]).with_output_types(V))


def KvSwap(label: str = "KvSwap") -> PTransform[Any, Any]:
    """Every (key, value) pair as (value, key).

    >>> import hornbeam as beam
    >>> [("a", 1), ("b", 2)] | beam.KvSwap()
    [(1, 'a'), (2, 'b')]
    """
    return _labelled(label, Map(_SWAPPED).with_input_types(Tuple[K, V]).with_output_types(Tuple[V, K]))


@ptransform_fn
def WithKeys(pcoll: Any, k: Any, *args: Any, **kwargs: Any) -> Any:
    """Pairs every element with a key: `k` itself, or `k(element, *args, **kwargs)` when it is callable.

    The arguments may be plain values or side inputs.

    >>> import hornbeam as beam
    >>> ["fig", "pear"] | beam.WithKeys(len)
    [(3, 'fig'), (4, 'pear')]
    """
    if not callable(k):
        step = Map(lambda element: (k, element)).with_input_types(T)
        return pcoll | step.with_output_types(Tuple[instance_to_type(k), T])
    if not args and not kwargs:
        return pcoll | Map(lambda element: (k(element), element))
    return pcoll | Map(
        lambda element, *args, **kwargs: (k(element, *args, **kwargs), element), *args, **kwargs
    )


@ptransform_fn
def Distinct(pcoll: Any) -> Any:
    """Every different element once, in each window.

    >>> import hornbeam as beam
    >>> sorted([3, 1, 3, 2, 1] | beam.Distinct())
    [1, 2, 3]
    """
    pair = Map(_pair_with_none).with_input_types(T).with_output_types(Tuple[T, None])
    counted = pcoll | "ToPairs" >> pair | "Group" >> CombinePerKey(CountCombineFn())
    return counted | "Distinct" >> Keys()


@ptransform_fn
def RemoveDuplicates(pcoll: Any) -> Any:
    """Another, older name for `Distinct`.

    >>> import hornbeam as beam
    >>> sorted([3, 1, 3] | beam.RemoveDuplicates())
    [1, 3]
    """
    return pcoll | "RemoveDuplicates" >> Distinct()


def _labelled(label: str, transform: PTransform[Any, Any]) -> PTransform[Any, Any]:
    transform.label = label
    return transform


def _pair_with_none(element: Any) -> tuple[Any, None]:
    return element, None
