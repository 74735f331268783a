"""Present: where a stateful step stands in time, and what it is working on; shared by its cells and timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.element_operators import position
from hornbeam.runners.engine.head import BEGINNING_OF_TIME

#: Processing time before anybody has told it.
UNKNOWN = BEGINNING_OF_TIME


class Present:
    """The input watermark, processing time, and the element or firing at hand."""

    __slots__ = ("bundle", "cleared", "expiring", "now", "stamp", "values", "watermark")

    def __init__(self) -> None:
        self.watermark = BEGINNING_OF_TIME
        self.now = UNKNOWN
        #: The elements that are being processed, and the iterator over them that tells how far it has come.
        self.bundle = Bundle([])
        self.values: Iterator[Any] = iter(())
        #: In a callback: the timestamp that its outputs get. None while elements are processed.
        self.stamp: int | None = None
        #: Whether something was emptied, so that a key may have nothing left.
        self.cleared = False
        #: Whether a window's last call is being made, after which no timer can fire.
        self.expiring = False

    def timestamp(self) -> int:
        """The timestamp of the element at hand, or that of the outputs of the callback at hand."""
        if self.stamp is not None:
            return self.stamp
        stamps = self.bundle.timestamps
        if type(stamps) is int:
            return stamps
        return int(stamps[position(self.values, self.bundle)])  # type: ignore[index]
