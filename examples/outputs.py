"""Reading back what an example has written, to show it and to test it. No example of its own."""

from __future__ import annotations

import glob


def lines(prefix: str) -> list[str]:
    """The lines of all shards that WriteToText made for a prefix, sorted."""
    found = []
    for path in glob.glob(f"{glob.escape(prefix)}-*-of-*"):
        with open(path, encoding="utf-8") as file:
            found.extend(file.read().splitlines())
    return sorted(found)


def show(found: list[str], limit: int = 15) -> None:
    """Prints the first of them."""
    print("\n".join(found[:limit]))
    if len(found) > limit:
        print(f"… and {len(found) - limit:,} more")
