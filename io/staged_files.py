"""Files of a stream: each pane of a window is written to files of its own, which get their names with the checkpoint.

    elements ─► grouped by shard and window ─► a pane fires ─► temporary files ─► renamed at commit

Nothing is lost and nothing is overwritten: a later pane of a window goes to files with `-pane-N` in their names, and what
comes too late for its window to files with `-late-…`, instead of being dropped.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from hornbeam.io import temporaries
from hornbeam.io.disk_space import when_there_is_room
from hornbeam.io.filesystem import BeamIOError
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.two_phase import TwoPhaseSink, TwoPhaseWriter, WriteTwoPhase
from hornbeam.pvalue import PCollection
from hornbeam.transforms.core import DoFn, Flatten, GroupByKey, ParDo
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo, WindowedValue

__all__ = ["FileLayout", "PaneOfShard", "StagedFiles", "write_panes"]


class PaneOfShard(NamedTuple):
    """What goes to one file, or several if it is large. `late` is empty but for what came too late for its window."""

    key: Any
    values: Iterable[Any]
    window: Any
    pane: PaneInfo
    late: str = ""


class Finished(NamedTuple):
    """A file that is written under its temporary path; `name` will be its name, `result` is what the step gives for it."""

    temporary: str
    name: str
    result: Any


class FileLayout(Protocol):
    """How elements become files, and how those are named."""

    def place(self, identity: str) -> str:
        """The directory of temporary files, on the same file system as their names."""

    def write(self, place: str, shard: PaneOfShard) -> Iterator[Finished]:
        """Writes a pane's elements; a file is closed when it is given out."""


class StagedFiles(TwoPhaseSink):
    """Writes PaneOfShards as a layout says. Temporary files get their names at commit."""

    batch_size = 1

    def __init__(self, layout: FileLayout, identity: str) -> None:
        self.layout = layout
        self.identity = identity

    def open_writer(self) -> TwoPhaseWriter:
        """A writer of temporary files."""
        return _FilesWriter(self.layout, self.layout.place(self.identity))

    def open_direct_writer(self) -> TwoPhaseWriter:
        """The same; its directory goes when the run ends."""
        place = FileSystems.join(self.layout.place(self.identity), uuid.uuid4().hex)
        temporaries.remove_at_run_end(place)
        return _FilesWriter(self.layout, place, removes_place=True)

    def commit(self, token: Any) -> None:
        """Gives the files their names; one that has no temporary file any more has its name already."""
        pending = {source: target for source, target in token if FileSystems.exists(source)}
        for source, target in token:
            if source not in pending and not FileSystems.exists(target):
                raise BeamIOError(f"{target} cannot be finished: the file written for it, {source}, is gone.")
        FileSystems.rename(list(pending), list(pending.values()))
        # Also where nothing is pending: the renames may be those of a commit that did not come to the syncing.
        for folder in {os.path.dirname(target) or os.curdir for _, target in token}:
            _sync(folder)

    def abort(self, token: Any) -> None:
        """Removes the temporary files."""
        _remove([source for source, _ in token])

    def recover(self, tokens: Sequence[Any]) -> None:
        """Removes the temporary files of earlier runs, but for those of these tokens."""
        kept = {source for token in tokens for source, _ in token}
        place = self.layout.place(self.identity)
        if not kept:
            temporaries.remove(place)
        elif FileSystems.exists(place):
            found = FileSystems.match([FileSystems.join(place, "*")])[0].metadata_list
            _remove([file.path for file in found if file.path not in kept])


class _FilesWriter(TwoPhaseWriter):
    """Writes temporary files into one directory."""

    def __init__(self, layout: FileLayout, place: str, removes_place: bool = False) -> None:
        self._layout = layout
        self._place = place
        self._removes_place = removes_place
        self._finished: list[Finished] = []
        self._outputs: list[WindowedValue[Any]] = []
        FileSystems.mkdirs(place) if not FileSystems.exists(place) else None

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Writes the files of some panes; waits while the disk is full, unless a failure only ends a bundle."""
        for shard in values:
            if self._removes_place:
                files = self._write(shard)
            else:
                files = when_there_is_room(functools.partial(self._write, shard), "The writing of files")
            self._finished += files
            stamp = shard.window.max_timestamp()
            self._outputs += [WindowedValue(f.result, stamp, (shard.window,), shard.pane) for f in files]

    def _write(self, shard: PaneOfShard) -> list[Finished]:
        """All files of a pane, or none."""
        files: list[Finished] = []
        try:
            files.extend(self._layout.write(self._place, shard))
        except BaseException:
            _remove([file.temporary for file in files])
            raise
        return files

    def prepare(self, checkpoint: int) -> list[tuple[str, str]] | None:
        """Temporary paths and names of the files since the last call."""
        finished, self._finished = self._finished, []
        return [(file.temporary, file.name) for file in finished] or None

    def settle(self, token: Any) -> Any:
        """Syncs the files and the directory they lie in."""
        for source, _ in token:
            _sync(source)
        _sync(self._place)
        return token

    def outputs(self) -> Iterable[WindowedValue[Any]]:
        """The names of the files."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def abort(self) -> None:
        """Removes what was not prepared."""
        finished, self._finished = self._finished, []
        self._outputs = []
        _remove([file.temporary for file in finished])

    def close(self) -> None:
        """Removes the directory if it is this writer's own."""
        if self._removes_place:
            temporaries.remove(self._place)
            try:
                os.rmdir(os.path.dirname(self._place))
            except OSError:
                pass  # another writer uses it, or it is of another file system


def write_panes(keyed: PCollection[Any], layout: FileLayout, identity: str) -> PCollection[Any]:
    """Writes (key, element) pairs: each pane of each key and window to files of its own."""
    grouped, late = keyed | "GroupPanes" >> GroupByKey(late_tag="late")
    panes = grouped | "Panes" >> ParDo(_AsPane())
    late_panes = late | "LatePanes" >> ParDo(_LatePanes())
    written: PCollection[Any] = (
        (panes, late_panes)
        | "AllPanes" >> Flatten()
        | "WriteFiles" >> WriteTwoPhase(StagedFiles(layout, identity))
    )
    return written


class _AsPane(DoFn):
    """Puts a group's window and pane beside it."""

    def process(
        self, element: Any, window: Any = DoFn.WindowParam, pane: Any = DoFn.PaneInfoParam
    ) -> Iterable[PaneOfShard]:
        """One PaneOfShard."""
        key, values = element
        return (PaneOfShard(key, values, window, pane),)


class _LatePanes(DoFn):
    """Gathers what came too late for its window, by bundle."""

    def start_bundle(self) -> None:
        """Nothing is gathered."""
        self._gathered: dict[Any, list[Any]] = {}

    def process(self, element: Any, window: Any = DoFn.WindowParam) -> None:
        """Keep the element."""
        key, value = element
        self._gathered.setdefault((key, window), []).append(value)

    def finish_bundle(self) -> Iterator[WindowedValue[PaneOfShard]]:
        """What was gathered, each window's by itself."""
        for (key, window), values in self._gathered.items():
            shard = PaneOfShard(key, values, window, PANE_INFO_UNKNOWN, uuid.uuid4().hex[:12])
            yield WindowedValue(shard, window.max_timestamp(), (window,))
        self._gathered = {}


def _remove(paths: Sequence[str]) -> None:
    there = [path for path in paths if FileSystems.exists(path)]
    if there:
        FileSystems.delete(there)


def _sync(path: str) -> None:
    """Makes a local file or directory durable; other file systems do that when a file is closed."""
    if not os.path.exists(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
