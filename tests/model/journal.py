"""A journal on disk: what user code did, in order, whatever process it did it in."""

from __future__ import annotations

import os
import pathlib

import hornbeam as beam


class Journal:
    """Lines appended to a file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)

    def write(self, event: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{os.getpid()}\t{event}\n")

    def events(self) -> list[str]:
        """All events, in order."""
        return [event for _, event in self._rows()]

    def by_process(self) -> list[list[str]]:
        """The events of each process, in order."""
        found: dict[str, list[str]] = {}
        for process, event in self._rows():
            found.setdefault(process, []).append(event)
        return list(found.values())

    def _rows(self) -> list[tuple[str, str]]:
        path = pathlib.Path(self.path)
        lines = path.read_text().splitlines() if path.exists() else []
        return [(process, event) for process, _, event in (line.partition("\t") for line in lines)]

    def count(self, event: str) -> int:
        return self.events().count(event)


class Writes(beam.DoFn):
    """Writes every call of its methods into a journal; may fail in one of them."""

    def __init__(self, journal: Journal, fails_in: str = "", name: str = "") -> None:
        self.journal = journal
        self.fails_in = fails_in
        self.name = name

    def _call(self, method: str, shown: str = "") -> None:
        self.journal.write(f"{self.name}{method}{shown}")
        if method == self.fails_in:
            raise ArithmeticError(f"in {method}")

    def setup(self) -> None:
        self._call("setup")

    def start_bundle(self) -> None:
        self._call("start")

    def process(self, element):
        self._call("process", f" {element}")
        yield element

    def finish_bundle(self) -> None:
        self._call("finish")

    def teardown(self) -> None:
        self._call("teardown")
