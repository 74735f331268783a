"""A worker's snapshots: what is taken at the cut, and what is written of it in the background.

At the cut (the worker's main thread, between bundles; nothing is processed meanwhile):

    what changed in heads, gates and views, pickled · times · a marker into every channel · where each incoming channel is

In the background: the entries go to a state file; then each incoming channel is read from where it was to the
sender's marker, and what lies between (rows under way at the cut) goes to the state file too. No channel waits for
another one (Chandy and Lamport, "Distributed Snapshots", TOCS 1985; the channels' contents are in the log anyhow).
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import attrs

from hornbeam.error import InternalError
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.head import DELETED
from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.copies import ForkedWrite
from hornbeam.runners.log.exchange import Exchange, dumps
from hornbeam.runners.log.keyed_entries import KeyedChanges
from hornbeam.runners.log.room import until_there_is_room
from hornbeam.runners.log.state_names import (
    CHANNELS,
    CLOCK,
    GATE,
    HEAD,
    METRICS,
    TIMES,
    VIEW,
    local_key,
)
from hornbeam.runners.log.task import Task
from hornbeam.storage.checkpoint import StateFile, WriteTicket
from hornbeam.storage.files import OS_FILES

#: So many entries are told and written by a copy of the process; the variable HORNBEAM_FORK_ENTRIES_MIN is for tests.
FORK_ENTRIES_MIN = 2000
_WAIT_SECONDS = 0.05
#: A copy tells so many entries at a time,
_PIECE = 512
#: and writes them to files of about that size.
_FILE_BYTES_MAX = 8 << 20


@attrs.frozen
class LocalChanges:
    """Entries of a worker and one part of a stage; values are pickled (name, content), or None for what is gone."""

    state: str
    worker: int
    part: bytes
    names: list[Any]
    values: list[bytes | None]

    def entries(self) -> dict[bytes, bytes | None]:
        """The values under the keys of the store."""
        return {
            local_key(self.state, self.worker, self.part, name): value
            for name, value in zip(self.names, self.values)
        }


Changes = KeyedChanges | LocalChanges


@attrs.define
class Cut:
    """What was taken at the cut of one checkpoint."""

    checkpoint: int
    ticket: WriteTicket
    changed: list[Changes]
    local: dict[bytes, bytes | None]
    #: Where each incoming channel was; None for one whose marker has come.
    positions: dict[int, int | None]
    pause_seconds: float = 0.0
    #: The copy of the process that writes what is large, if there is one.
    copy: ForkedWrite | None = None
    #: Tokens of sinks: made at the cut, completed by calling them in the background.
    tokens: list[Callable[[], Any]] = attrs.field(factory=list)


@attrs.frozen
class SnapshotReport:
    """What a worker tells the coordinator about its part of a checkpoint."""

    checkpoint: int
    files: tuple[StateFile, ...]
    tokens: tuple[Any, ...]
    pause_ms: float
    write_ms: float
    in_flight_bytes: int


class Snapshots:
    """Takes the cuts of one task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._fork_entries_min = int(os.environ.get("HORNBEAM_FORK_ENTRIES_MIN", FORK_ENTRIES_MIN))
        self._told: dict[bytes, bytes] = {}

    def local(self) -> dict[bytes, bytes | None]:
        """Times, metrics and the clock, where they are others than at the last cut."""
        local: dict[bytes, bytes | None] = {}
        task = self._task
        for name, stage in task.stages.items():
            times = stage.input_watermark, stage.output_watermark, self._marks(name)
            self._tell(local, local_key(stage.label, task.worker, TIMES), pickle.dumps(times, 5))
        metrics = pickle.dumps(task.registry.snapshot(), 5)
        self._tell(local, local_key(METRICS, task.worker, b"r"), metrics)
        if isinstance(task.clock, ManualClock):
            self._tell(local, local_key(CLOCK, task.worker, b"t"), pickle.dumps(task.clock.now_micros()))
        return local

    def forget_keys(self) -> None:
        """Tells nothing of what belongs to keys: the checkpoint has nothing of it, nor has the task."""
        for head in self._task.keyed_heads():
            if head.entries():
                raise InternalError(f"{head.label!r} keeps something of keys at the end of the job")
            head.drop_changes()

    def large(self) -> list[StreamStage]:
        """Stages whose heads have so much to tell that a copy of the process had better do it."""
        stages = [s for s in self._task.stages.values() if s.head is not None and s.head.changes_waiting()]
        waiting = sum(stage.head.changes_waiting() for stage in stages if stage.head is not None)
        return stages if waiting >= self._fork_entries_min else []

    def changed(self, without: list[StreamStage]) -> list[Changes]:
        """What changed in heads, gates and views since the last cut, but for some heads; pickled, so that work can go on."""
        changed: list[Changes] = []
        for name, stage in self._task.stages.items():
            if stage.head is not None and stage not in without:
                if self._task.is_keyed(name):
                    changed += self.changed_in([stage])
                else:
                    self._add(changed, stage.label, HEAD, stage.head.changes())
            if stage.gate is not None:
                self._add(changed, stage.label, GATE, stage.gate.changes())
            for tag, view in stage.views.items():
                self._add(changed, stage.label, VIEW + tag.encode() + b"\0", view.changes())
        return changed

    @staticmethod
    def changed_in(stages: list[StreamStage]) -> Iterator[Changes]:
        """What changed in some heads, which hold what belongs to keys, some at a time."""
        for stage in stages:
            assert stage.head is not None
            for columns in stage.head.changed_columns(_PIECE):
                yield KeyedChanges.of(stage.label, columns)

    def _marks(self, stage: str) -> dict[str, list[int]]:
        return {
            i.edge.tag: list(i.marks) if i.is_remote else [i.at.watermark]
            for i in self._task.inputs
            if i.edge.stage == stage
        }

    def _tell(self, local: dict[bytes, bytes | None], key: bytes, value: bytes) -> None:
        if self._told.get(key) != value:
            self._told[key] = local[key] = value

    def _add(self, changed: list[Changes], state: str, part: bytes, entries: list[tuple[Any, Any]]) -> None:
        if entries:
            names = [name for name, _ in entries]
            changed.append(LocalChanges(state, self._task.worker, part, names, _pickled(entries)))


def _pickled(entries: list[tuple[Any, Any]]) -> list[bytes | None]:
    try:
        return [None if entry[1] is DELETED else pickle.dumps(entry, 5) for entry in entries]
    except (pickle.PicklingError, AttributeError, TypeError):
        return [None if entry[1] is DELETED else dumps(entry) for entry in entries]


def entries_of(changed: list[Changes]) -> dict[bytes, bytes | None]:
    """Changes under the keys of the store."""
    entries: dict[bytes, bytes | None] = {}
    for part in changed:
        entries.update(part.entries())
    return entries


def write_entries(
    ticket: WriteTicket,
    label: str,
    pieces: Iterable[dict[bytes, bytes | None]],
    paused: Callable[[str], None],
) -> tuple[StateFile, ...]:
    """Writes state files of entries that come in pieces; waits while the disk is full."""
    # What is not written yet is in memory, beside all else that a worker has there.
    bytes_max = min(_FILE_BYTES_MAX, ticket.options.file_bytes_max)
    ticket = attrs.evolve(ticket, options=attrs.evolve(ticket.options, file_bytes_max=bytes_max))
    writer = ticket.writer(label)
    for entries in pieces:
        until_there_is_room(partial(writer.update, entries), paused)
    return until_there_is_room(writer.finish, paused)


class SnapshotThread:
    """Writes cuts, one after the other, in a thread of its own."""

    def __init__(
        self,
        worker: int,
        exchange: Exchange | None,
        report: Callable[[SnapshotReport], None],
        failed: Callable[[BaseException], None],
        paused: Callable[[str], None],
        is_restored: bool,
    ) -> None:
        self._worker = worker
        self._exchange = exchange
        self._report = report
        self._failed = failed
        self._paused = paused
        self._queue: queue.SimpleQueue[Cut] = queue.SimpleQueue()
        self._had_rows = is_restored
        threading.Thread(target=self._run, name="hornbeam-snapshots", daemon=True).start()

    def write(self, cut: Cut) -> None:
        """Hands a cut over."""
        self._queue.put(cut)

    def _run(self) -> None:
        while True:
            cut = self._queue.get()
            try:
                self._report(self._write(cut))
            except BaseException as error:
                self._failed(error)
                return

    def _write(self, cut: Cut) -> SnapshotReport:
        began = time.perf_counter()
        entries = {**cut.local, **entries_of(cut.changed)}
        OS_FILES.fault("worker.settle")
        tokens = tuple(complete() for complete in cut.tokens)
        under_way = self._under_way(cut)
        size = sum(len(data) for found in under_way.values() for data in found)
        if size or self._had_rows:
            entries[local_key(CHANNELS, self._worker, b"c")] = pickle.dumps(under_way, 5)
            self._had_rows = bool(size)
        OS_FILES.fault("worker.snapshot.write")
        files = self._written(cut, entries)
        if cut.copy is not None:
            files += cut.copy.files(self._paused)
        OS_FILES.fault("worker.snapshot.written")
        milliseconds = (time.perf_counter() - began) * 1000
        return SnapshotReport(cut.checkpoint, files, tokens, cut.pause_seconds * 1000, milliseconds, size)

    def _written(self, cut: Cut, entries: dict[bytes, bytes | None]) -> tuple[StateFile, ...]:
        return write_entries(cut.ticket, f"w{self._worker}", [entries], self._paused)

    def _under_way(self, cut: Cut) -> dict[int, list[bytes]]:
        """For each sender, the records that were sent before its cut and not taken before ours."""
        return {
            sender: list(self._until_marker(sender, position, cut.checkpoint))
            for sender, position in cut.positions.items()
            if position is not None
        }

    def _until_marker(self, sender: int, position: int, checkpoint: int) -> Iterator[bytes]:
        assert self._exchange is not None
        channel = self._exchange.ins[sender]
        seen = self._exchange.bell_value()
        for record in channel.records_from(position):
            if record is None:
                self._exchange.wait(seen, _WAIT_SECONDS)
                seen = self._exchange.bell_value()
            elif record.marker is None:
                yield record.data
            elif int(record.marker) >= checkpoint:
                break
        channel.kept_from = None
