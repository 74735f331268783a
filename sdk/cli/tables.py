"""Tables and figures for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["print_table", "size_text"]


def print_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as needed; columns of figures to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *body)]
    right = [all(map(_is_figure, column)) for column in zip(*body)] or [False] * len(titles)
    for row in [list(titles), *body]:
        cells = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right))
        print("  ".join(cells).rstrip())


def size_text(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def _is_figure(cell: str) -> bool:
    return cell.partition(" ")[0].replace(".", "").replace(",", "").isdigit() or cell == "-"
