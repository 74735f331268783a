"""Comparing elements in any order, and telling the difference in few words."""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

#: How many elements of a list a message shows, and how much of each.
ELEMENTS_SHOWN_MAX = 20
REPR_LENGTH_MAX = 300

Equals = Callable[[Any, Any], bool]


def differences(
    expected: Sequence[Any], actual: Sequence[Any], equals: Equals | None = None
) -> tuple[list[Any], list[Any]]:
    """What is missing from `actual` and what is unexpected in it, each element counted.

    `equals(expected element, actual element)` decides; `==` unless given. Elements may be of any types, and
    need be neither hashable nor comparable with each other.
    """
    if equals is not None:
        return unmatched(expected, actual, equals)
    if _same_counts(expected, actual):
        return [], []
    missing, missing_odd, unexpected, unexpected_odd = _hashed_differences(expected, actual)
    # What cannot be hashed may equal anything; what can be, only what has the same hash.
    if unexpected_odd:
        missing, unexpected_odd = unmatched(missing, unexpected_odd, plain_equals)
    if missing_odd:
        missing_odd, unexpected = unmatched(missing_odd, [*unexpected_odd, *unexpected], plain_equals)
    else:
        unexpected = [*unexpected_odd, *unexpected]
    return [*missing, *missing_odd], unexpected


def unmatched(expected: Sequence[Any], actual: Sequence[Any], matches: Equals) -> tuple[list[Any], list[Any]]:
    """What stays over on both sides when as many as possible are paired off that match."""
    pairs: dict[int, int] = {}  # index in actual -> index in expected

    def assign(wanted: int, tried: set[int]) -> bool:
        """Find a partner for an expected element, moving others to another partner of theirs if need be."""
        for found in range(len(actual)):
            if found not in tried and matches(expected[wanted], actual[found]):
                tried.add(found)
                if found not in pairs or (len(tried) <= 50 and assign(pairs[found], tried)):
                    pairs[found] = wanted
                    return True
        return False

    for wanted in range(len(expected)):
        free = next(
            (i for i in range(len(actual)) if i not in pairs and matches(expected[wanted], actual[i])), None
        )
        if free is not None:
            pairs[free] = wanted
        else:
            assign(wanted, set())
    partnered = set(pairs.values())
    missing = [element for index, element in enumerate(expected) if index not in partnered]
    unexpected = [element for index, element in enumerate(actual) if index not in pairs]
    return missing, unexpected


def plain_equals(left: Any, right: Any) -> bool:
    """`==`, where arrays are equal when all of their parts are."""
    equal = left == right
    try:
        return bool(equal)
    except ValueError:
        return getattr(left, "shape", None) == getattr(right, "shape", None) and bool(equal.all())


def shortened(elements: Iterable[Any]) -> str:
    """The elements as a list, in order where they have one, with long ones and long lists cut."""
    shown = list(elements)
    try:
        shown.sort()
    except Exception:
        shown.sort(key=_type_name)
    texts = [_shortened_repr(element) for element in shown[:ELEMENTS_SHOWN_MAX]]
    if len(shown) > ELEMENTS_SHOWN_MAX:
        texts.append(f"... and {len(shown) - ELEMENTS_SHOWN_MAX} more")
    return f"[{', '.join(texts)}]"


def _shortened_repr(element: Any) -> str:
    text = repr(element)
    if len(text) <= REPR_LENGTH_MAX:
        return text
    return f"{text[: REPR_LENGTH_MAX // 2]}...{text[-REPR_LENGTH_MAX // 4 :]}"


def _type_name(element: Any) -> str:
    return type(element).__name__


def _same_counts(expected: Iterable[Any], actual: Iterable[Any]) -> bool:
    """Whether the elements can all be hashed and are the same, each as often."""
    try:
        return collections.Counter(expected) == collections.Counter(actual)
    except TypeError:
        return False


def _hashed_differences(
    expected: Iterable[Any], actual: Iterable[Any]
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """In linear time: missing, missing but not hashable, unexpected, unexpected but not hashable."""
    waiting: dict[Hashable, list[Any]] = collections.defaultdict(list)
    missing_odd: list[Any] = []
    unexpected: list[Any] = []
    unexpected_odd: list[Any] = []
    for element in expected:
        try:
            waiting[_frozen(element)].append(element)
        except TypeError:
            missing_odd.append(element)
    for element in actual:
        try:
            equal_ones = waiting[_frozen(element)]
        except TypeError:
            unexpected_odd.append(element)
            continue
        if equal_ones:
            equal_ones.pop()
        else:
            unexpected.append(element)
    missing = [element for elements in waiting.values() for element in elements]
    return missing, missing_odd, unexpected, unexpected_odd


def _frozen(element: Any) -> Hashable:
    """A hashable stand-in: equal for equal elements of built-in types; TypeError where there is none."""
    kind: Any = type(element)
    if kind.__eq__ is tuple.__eq__:
        return tuple(map(_frozen, element))
    if kind is list:
        return (list, *map(_frozen, element))
    if kind is dict:
        return (dict, frozenset((key, _frozen(value)) for key, value in element.items()))
    if kind is set:
        return frozenset(element)
    hash(element)
    frozen: Hashable = element
    return frozen
