"""TimestampedValues: many outputs with their timestamps as one column, for sources that have them so.

A DoFn gives one instead of a TimestampedValue an element: no object is made for each, and the engine takes the columns as
they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils.marked import Marked
from hornbeam.utils.timestamp import timestamp_at

__all__ = ["TimestampedValues"]

V = TypeVar("V")


class TimestampedValues(Marked, Generic[V]):
    """Values, and `micros`, the timestamp of each: an int64 array of microseconds of event time, as long as `values`.

    Given out by a DoFn, each value is an element of its own at its timestamp, as if it came in a TimestampedValue.
    """

    __slots__ = ("micros", "values")

    #: As a type hint of outputs it does not say what the elements are.
    wraps_an_element = True

    def __init__(self, values: list[V], micros: Any) -> None:
        self.values = values
        self.micros = micros

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[TimestampedValue[V]]:
        for value, micros in zip(self.values, self.micros.tolist()):
            yield TimestampedValue(value, timestamp_at(micros))

    def __repr__(self) -> str:
        return f"<TimestampedValues: {len(self.values)}>"
