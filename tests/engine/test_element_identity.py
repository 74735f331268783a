"""How elements are known again: by value, whatever they look like, whatever objects they are made of."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import attrs
import pytest

from hornbeam.runners.engine.element_identity import element_identity


@attrs.frozen
class Point:
    x: int
    y: Any = None


class Plain:
    """Neither equal to another one nor shown by its value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Unwilling:
    def __reduce__(self) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


WORD = "word" * 10
SAME = "".join(["word"] * 10)
RING: list[Any] = [1]
RING.append(RING)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((WORD, WORD), (WORD, SAME)),
        (Point(1, [WORD, WORD]), Point(1, [SAME, WORD])),
        (Plain(3), Plain(3)),
        (RING, RING),
        (Unwilling(), Unwilling()),
        (threading.Lock(), threading.Lock()),
    ],
)
def test_what_is_made_alike_is_the_same(one: Any, other: Any) -> None:
    assert element_identity(one) == element_identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        (b"a", "a"),
        (Plain(3), Plain(4)),
        (Point(1), Point(2)),
        ("x" * 9999 + "a", "x" * 9999 + "b"),
        ((1, 2), [1, 2]),
        (None, 0),
    ],
)
def test_what_differs_is_told_apart(one: Any, other: Any) -> None:
    assert element_identity(one) != element_identity(other)


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from hornbeam.runners.engine.element_identity import element_identity as f;"
        f"print(f(('k', [1, {WORD!r}, {{'a': 2.5}}])))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == element_identity(("k", [1, SAME, {"a": 2.5}]))
