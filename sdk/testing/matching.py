"""Matchers in the manner of hamcrest, without it: they match, describe what they want and what they found.

Wherever a value is wanted, a matcher may stand: anything with a method `matches`, hamcrest's own included.
"""

from __future__ import annotations

from typing import Any, Protocol


class Description(Protocol):
    """What a matcher writes to; hamcrest's descriptions fit."""

    def append_text(self, text: str, /) -> Any:
        """Add to the text."""


class TextDescription:
    """A description that is a string in the end."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def append_text(self, text: str, /) -> TextDescription:
        """Add to the text."""
        self._parts.append(text)
        return self

    def __str__(self) -> str:
        return "".join(self._parts)


class ResultMatcher:
    """A matcher of results: `matches`, and the two descriptions, also as strings."""

    def _matches(self, item: Any) -> bool:
        raise TypeError(f"{type(self).__name__} must define _matches(item)")

    def matches(self, item: Any, mismatch_description: Description | None = None) -> bool:
        """Whether the item is as wanted; if not, it says so to `mismatch_description`."""
        matches = self._matches(item)
        if not matches and mismatch_description is not None:
            self.describe_mismatch(item, mismatch_description)
        return matches

    def describe_to(self, description: Description) -> None:
        """Write what is wanted."""
        description.append_text(type(self).__name__)

    def describe_mismatch(self, item: Any, mismatch_description: Description) -> None:
        """Write what was found instead."""
        mismatch_description.append_text(f"was {item!r}")

    def __str__(self) -> str:
        description = TextDescription()
        self.describe_to(description)
        return str(description)


def is_matcher(wanted: Any) -> bool:
    """Whether `wanted` is a matcher rather than a value."""
    return callable(getattr(wanted, "matches", None))


def value_matches(wanted: Any, found: Any) -> bool:
    """Whether the found value is as wanted: by the matcher, or equal."""
    return bool(wanted.matches(found)) if is_matcher(wanted) else bool(wanted == found)


def mismatch_of(matcher: Any, item: Any) -> str:
    """The matcher's words for what is wrong with the item."""
    description = TextDescription()
    matcher.describe_mismatch(item, description)
    return str(description)
