"""Checks that complain in full: which step, what it needs, what it got, and what to do."""

from __future__ import annotations

from typing import Any as AnyObject

from hornbeam.error import PipelineError
from hornbeam.typehints.constraint import Hint, hint_name, type_check
from hornbeam.typehints.rules import is_consistent_with, normalize

__all__ = ["TypeCheckError", "check_consistent", "check_value"]


class TypeCheckError(PipelineError, TypeError):
    """The declared types of a pipeline contradict each other, or an element contradicts its type."""


def check_consistent(
    found: Hint, expected: Hint, label: str, what: str = "input", producer: str | None = None
) -> None:
    """Raises TypeCheckError when elements of type `found` certainly are not `expected`.

    Args:
      label: the full label of the step that states what it expects.
      what: which of its inputs, outputs or arguments this is, such as "input" or "argument 'scale'".
      producer: the label of the step that the elements come from.
    """
    if not is_consistent_with(found, expected):
        source = f" (made by {producer!r})" if producer else ""
        raise TypeCheckError(
            f"Type mismatch at {label!r}: its {what} must be {hint_name(expected)};"
            f" found {hint_name(found)}{source}."
            " Correct the declared types or annotations, or convert the elements before."
        )


def check_value(value: AnyObject, hint: Hint, label: str, what: str = "element") -> None:
    """Raises TypeCheckError when a value does not fit its hint; for checks while a pipeline runs."""
    try:
        type_check(normalize(hint, none_as_type=True), value)
    except TypeError as error:
        raise TypeCheckError(
            f"Type mismatch at {label!r}: the {what} is not of its declared type {hint_name(hint)}: {error}."
        ) from None
