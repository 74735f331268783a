"""The classes whose instances say more than a value when a user function gives them back.

TimestampedValue, WindowedValue and TaggedOutput are such classes, and so is every subclass; an engine looks for them by
their exact class, in MARKED, since that is the quickest look there is.
"""

from __future__ import annotations

from typing import Any

#: All of the classes, subclasses included.
MARKED: set[type] = set()


class Marked:
    """Mixed into a class, makes it and its subclasses known."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        MARKED.add(cls)
