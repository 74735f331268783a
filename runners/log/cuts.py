"""The cuts of a worker: the moments at which it takes its part of a checkpoint, and the markers that it sends and gets then.

    told to, or a marker has come ─► sinks prepare ─► markers to all others ─► where each incoming channel is ─► what changed

What a sender sent before its own cut and had not come by ours is under way, and stored with it; what it sent after its
cut is not taken before ours (Chandy and Lamport's rule). On the worker's main thread.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from functools import partial

from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.copies import ForkedWrite
from hornbeam.runners.log.exchange import Exchange, InRecord
from hornbeam.runners.log.messages import TakeSnapshot
from hornbeam.runners.log.room import WorkerSpace, until_there_is_room
from hornbeam.runners.log.sinks import Sinks
from hornbeam.runners.log.snapshots import Cut, Snapshots, SnapshotThread, write_entries
from hornbeam.runners.log.task import Task
from hornbeam.storage.checkpoint import StateFile, WriteTicket
from hornbeam.storage.files import OS_FILES


class Cuts:
    """Takes the cuts of one worker, and hands them to the thread that writes them."""

    def __init__(
        self,
        task: Task,
        exchange: Exchange,
        sinks: Sinks | None,
        thread: SnapshotThread,
        space: WorkerSpace,
        paused: Callable[[str], None],
    ) -> None:
        """`sinks` are those that commit with checkpoints; `paused` is told of a full disk."""
        self._task = task
        self._exchange = exchange
        self._sinks = sinks
        self._thread = thread
        self._space = space
        self._paused = paused
        self._snapshots = Snapshots(task)
        #: The checkpoint of the last cut.
        self.number = 0
        #: For each sender, the checkpoint of its last marker that has come.
        self._markers: dict[int, int] = {}
        #: By checkpoint, what is to be called when it has been published.
        self._finalizers: dict[int, list[Callable[[], None]]] = {}

    def comes_after(self, sender: int) -> bool:
        """Whether what comes next from that worker was sent after its cut, so that ours has to come first."""
        return self._markers.get(sender, 0) > self.number

    def marked(self, sender: int, record: InRecord) -> TakeSnapshot:
        """A marker has come: the cut that it asks for, which may have been taken."""
        assert record.marker is not None
        self._markers[sender] = int(record.marker)
        wanted: TakeSnapshot = pickle.loads(record.data)
        return wanted

    def take(self, wanted: TakeSnapshot) -> None:
        """Takes the cut, between two bundles; nothing is processed meanwhile."""
        began = time.perf_counter()
        number = wanted.checkpoint
        OS_FILES.fault("worker.cut")
        tokens = [] if self._sinks is None else self._sinks.prepare(number)
        OS_FILES.fault("worker.prepared")
        self._send_markers(wanted)
        positions = self._positions(number)
        if wanted.is_last:
            self._snapshots.forget_keys()
        large = self._snapshots.large()
        copy = self._copy(large, wanted.ticket) if large else None
        changed, local = self._snapshots.changed(large), self._snapshots.local()
        stages = self._task.stages.values()
        self._finalizers[number] = [call for stage in stages for call in stage.take_finalizers()]
        self.number = number
        cut = Cut(number, wanted.ticket, changed, local, positions, 0.0, copy, tokens)
        cut.pause_seconds = time.perf_counter() - began
        OS_FILES.fault("worker.cut.done")
        self._thread.write(cut)

    def _send_markers(self, wanted: TakeSnapshot) -> None:
        marker, data = str(wanted.checkpoint).encode(), pickle.dumps(wanted, 5)
        for out in self._exchange.outs.values():
            until_there_is_room(partial(out.append, data, marker), self._paused)

    def _positions(self, number: int) -> dict[int, int | None]:
        """Where each incoming channel is; None for one whose marker has come, on which nothing is under way."""
        positions: dict[int, int | None] = {}
        for sender, channel in self._exchange.ins.items():
            has_come = self._markers.get(sender, 0) >= number
            positions[sender] = None if has_come else channel.offset
            if not has_come:
                channel.kept_from = channel.offset
        return positions

    def _copy(self, large: list[StreamStage], ticket: WriteTicket) -> ForkedWrite:
        """Has a copy of the process tell and write what is large; here it is forgotten, once the copy has gone."""
        snapshots, worker = self._snapshots, self._task.worker

        def write(paused: Callable[[str], None]) -> tuple[StateFile, ...]:
            OS_FILES.fault("copy.begin")
            pieces = (changes.entries() for changes in snapshots.changed_in(large))
            written = write_entries(ticket, f"w{worker}c", pieces, paused)
            OS_FILES.fault("copy.written")
            return written

        self._space.hold()
        copy = ForkedWrite(write, self._space.release)
        for stage in large:
            assert stage.head is not None
            copy.dropped += stage.head.drop_changes()
        return copy

    def published(self, checkpoint: int) -> None:
        """What the bundles before that cut gave is durable: calls bundle finalizers, all of them also when one raises."""
        failed: BaseException | None = None
        for finalize in self._finalizers.pop(checkpoint, ()):
            try:
                finalize()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
