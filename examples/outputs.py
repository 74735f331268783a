"""Reading back what an example has written, to show it and to test it; appending lines of streams. No example of its own."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import hornbeam as beam


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


class AppendLines(beam.DoFn):
    """Appends each line to a file when its bundle ends, so that others can read along while a stream goes on.

    A line is there in full or not at all. After a crash the lines of the last bundles may come again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.pending: list[str] = []

    def start_bundle(self) -> None:
        self.pending = []

    def process(self, line: str) -> None:
        self.pending.append(f"{line}\n")

    def finish_bundle(self) -> None:
        if self.pending:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("".join(self.pending))


def empty(path: str) -> str:
    """Makes an empty file, with its folder, and gives its path."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8"):
        return path


def appended(path: str) -> list[str]:
    """The lines of a file in the order in which they were appended."""
    return Path(path).read_text(encoding="utf-8").splitlines()
