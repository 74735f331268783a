"""Assertions for unittest's TestCase."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hornbeam.testing.differences import differences, shortened


class ExtraAssertionsMixin:
    """Mix into a TestCase."""

    def assertUnhashableCountEqual(self, data1: Iterable[Any], data2: Iterable[Any]) -> None:
        """Fail unless both hold the same elements, each as often, in any order; they need not be hashable."""
        missing, unexpected = differences(list(data1), list(data2))
        if missing or unexpected:
            raise AssertionError(
                f"only in the first: {shortened(missing)}; only in the second: {shortened(unexpected)}"
            )
