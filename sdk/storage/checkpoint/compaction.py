"""Merging many state files into fewer: what to merge (size-tiered, as LSM stores do) and doing it.

A *run* is the files of one checkpoint or one merge. Reading costs a look into every run, so their number is
kept under a limit; each merge takes neighbours in age, so that the result can take their place. Small new runs
are merged with each other before they are merged with big old ones, which keeps the bytes rewritten low.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from typing import TypeVar

import attrs

from hornbeam.storage.checkpoint.block import Entries
from hornbeam.storage.checkpoint.merge import merge
from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.checkpoint.state_reader import StateFileReader
from hornbeam.storage.checkpoint.writer import WriteTicket, parse_file_name
from hornbeam.storage.files import OS_FILES, Files

MERGE_LABEL = "merge"

Opened = TypeVar("Opened")

#: All is merged when what was written since the last time comes to as much as that: files take about twice the state.
_GARBAGE_RATIO = 1.0


@attrs.frozen
class MergePlan:
    """Neighbouring files of a manifest (oldest first) to be replaced by their merge. A plain value."""

    inputs: tuple[StateFile, ...]
    drop_tombstones: bool
    ticket: WriteTicket

    @property
    def run(self) -> int:
        """The run of the result: that of the newest input."""
        return self.inputs[-1].run

    def execute(
        self, files: Files = OS_FILES, check: Callable[[], None] = lambda: None
    ) -> tuple[StateFile, ...]:
        """Write the merged files, in this or any other process, and give what `apply_merge` wants. `check` is called
        now and then; what it raises ends the merge."""
        directory = self.ticket.state_directory
        readers = [StateFileReader(files, os.path.join(directory, file.name), file) for file in self.inputs]
        sources = [
            chain.from_iterable(reader.blocks() for reader in part)
            for part in in_order(list(zip(self.inputs, readers)))
        ]
        chunks = merge(sources, self.drop_tombstones)
        writer = self.ticket.writer(MERGE_LABEL, files)
        writer.write_sorted(_rechunk(chunks, check))
        return tuple(attrs.evolve(file, run=self.run) for file in writer.finish())


def choose_files(
    manifest_files: Sequence[StateFile], runs_max: int, full: bool
) -> tuple[StateFile, ...] | None:
    """The neighbouring files to merge next, or None when there are few enough runs.

    With `full` all of them, unless that would change nothing.
    """
    runs = [tuple(run) for _, run in groupby(manifest_files, key=lambda file: file.run)]
    if full:
        return None if not runs or (len(runs) == 1 and _is_merged(runs[0])) else tuple(manifest_files)
    if len(runs) <= runs_max:
        return None
    sizes = [sum(file.size for file in run) for run in runs]
    start = _first_run_to_merge(sizes, runs_max)
    return tuple(file for run in runs[start:] for file in run)


def in_order(files: Sequence[tuple[StateFile, Opened]]) -> list[list[Opened]]:
    """Puts what stands for files together where one goes on after the other: those that one merge has written.

    Who reads them as one stream has a block of one of them in memory, not of each.
    """
    return [
        [opened for _, opened in part] for _, part in groupby(files, key=lambda each: _stream_of(each[0]))
    ]


def _stream_of(file: StateFile) -> object:
    return file.run if (parse_file_name(file.name) or ("", "", ""))[2] == MERGE_LABEL else file.name


def _is_merged(run: tuple[StateFile, ...]) -> bool:
    """Whether merging it alone would change nothing: no tombstones, and no key in two files."""
    labels = [parts[2] for parts in map(parse_file_name, (file.name for file in run)) if parts]
    return not any(file.tombstones for file in run) and (len(run) == 1 or set(labels) == {MERGE_LABEL})


def _first_run_to_merge(sizes: list[int], runs_max: int) -> int:
    if sum(sizes[1:]) >= _GARBAGE_RATIO * sizes[0]:
        return 0
    # So many have to go, and with them those that are no larger than what is written anyway: a run is rewritten once
    # about as much has come behind it. (Begun from the newest run alone, a large one was rewritten for every small one.)
    start = runs_max - 1
    merged = sum(sizes[start:])
    while start > 0 and sizes[start - 1] <= merged:
        start -= 1
        merged += sizes[start]
    return start


def replace_files(
    manifest_files: tuple[StateFile, ...], inputs: tuple[StateFile, ...], outputs: tuple[StateFile, ...]
) -> tuple[StateFile, ...] | None:
    """A manifest's files with the inputs replaced by the outputs; None if they are no longer side by side."""
    if inputs[0] not in manifest_files:
        return None
    start = manifest_files.index(inputs[0])
    if manifest_files[start : start + len(inputs)] != inputs:
        return None
    return manifest_files[:start] + outputs + manifest_files[start + len(inputs) :]


def count_runs(manifest_files: Sequence[StateFile]) -> int:
    """How many sorted runs the files make: what a lookup may have to go through."""
    return sum(1 for _ in groupby(manifest_files, key=lambda file: file.run))


def _rechunk(
    chunks: Iterator[Entries], check: Callable[[], None], entries_min: int = 2000
) -> Iterator[Entries]:
    """Join small chunks, so that the writer is called less often."""
    keys: list[bytes] = []
    values: list[bytes | None] = []
    for chunk in chunks:
        keys += chunk.keys
        values += chunk.values
        if len(keys) >= entries_min:
            check()
            yield Entries(keys, values)
            keys, values = [], []
    if keys:
        yield Entries(keys, values)
