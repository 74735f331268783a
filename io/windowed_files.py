"""`WriteWindows`: what `Write` does with a FileBasedSink over unbounded data."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from hornbeam.error import PipelineError
from hornbeam.io.filebasedsink import FileBasedSink
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.staged_files import Finished, PaneOfShard, write_panes
from hornbeam.io.step_identity import step_identity
from hornbeam.pvalue import PCollection
from hornbeam.transforms.core import DoFn, ParDo, WindowInto
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.trigger import AccumulationMode, AfterWatermark
from hornbeam.transforms.window import FixedWindows, GlobalWindows

__all__ = ["UnboundedWriteError", "WriteWindows"]


class UnboundedWriteError(PipelineError, ValueError):
    """A sink was applied to unbounded data, which it cannot write, or not in the global window."""


class WriteWindows(PTransform[PCollection[Any], PCollection[str]]):
    """Writes each window of unbounded data to files of its own when it ends; gives their names.

    The windows are those of `triggering_frequency` seconds, if the sink states one, else the input's. A window has
    `num_shards` files (one, if not stated), named by a template with W or V. Further panes of a window, and elements
    that come too late for theirs, go to further files (`staged_files`).
    """

    def __init__(self, sink: FileBasedSink) -> None:
        super().__init__()
        self._sink = sink

    def expand(self, pcoll: PCollection[Any]) -> PCollection[str]:
        """Window, deal out to shards, and write each pane."""
        sink = self._sink
        sink.check_windowed_names()
        if sink.triggering_frequency:
            pcoll = pcoll | "Windows" >> WindowInto(
                FixedWindows(sink.triggering_frequency),
                trigger=AfterWatermark(),
                accumulation_mode=AccumulationMode.DISCARDING,
                allowed_lateness=0,
            )
        elif isinstance(pcoll.windowing.windowfn, GlobalWindows):
            raise UnboundedWriteError(
                f"{self.label!r} writes unbounded data in the global window, which never ends. Pass "
                "triggering_frequency=60 (seconds), or apply beam.WindowInto(beam.window.FixedWindows(60)) before it."
            )
        shards = max(1, sink.num_shards)
        keyed = pcoll | "Shards" >> ParDo(_Shards(shards))
        identity = step_identity(pcoll.pipeline.options, pcoll.pipeline.current_label)
        return write_panes(keyed, _SinkFiles(sink, shards), identity)


class _Shards(DoFn):
    """Deals elements out to shards, one after the other."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._next = 0

    def process(self, element: Any) -> Iterable[tuple[int, Any]]:
        """(shard, element)."""
        self._next = (self._next + 1) % self._count
        return ((self._next, element),)


@attrs.frozen
class _SinkFiles:
    """The layout: files that a FileBasedSink writes and names."""

    sink: FileBasedSink
    shards: int

    def place(self, identity: str) -> str:
        """Beside the files."""
        directory, name = FileSystems.split(self.sink.file_path_prefix.get())
        return FileSystems.join(directory, f".hornbeam-temp-{name or 'out'}-{identity}")

    def write(self, place: str, shard: PaneOfShard) -> Iterator[Finished]:
        """One file, or several if the sink bounds their size."""
        remaining = iter(shard.values)
        for part in itertools.count():
            head = list(itertools.islice(remaining, 1))
            if not head and (part or self.sink.skip_if_empty):
                return  # an empty pane (the end of a window whose elements came in earlier ones) has an empty file
            temporary = self._write_file(place, itertools.chain(head, remaining))
            name = self._name(shard, part)
            yield Finished(temporary, name, name)

    def _write_file(self, place: str, values: Iterator[Any]) -> str:
        """Writes a file, of as many of the values as may go into one."""
        writer = self.sink.open_writer(place, uuid.uuid4().hex)
        try:
            while batch := list(itertools.islice(values, writer.batch_size)):
                writer.write_batch(batch)
                if writer.at_capacity():
                    break
            return writer.close()
        except BaseException:
            writer.abort()
            raise

    def _name(self, shard: PaneOfShard, part: int) -> str:
        mark = f"-late-{shard.late}" if shard.late else ""
        if shard.pane.index > 0:
            mark += f"-pane-{shard.pane.index}"
        if part:
            mark += f"-part-{part}"
        return self.sink.windowed_name(shard.window, shard.key, self.shards, mark)
