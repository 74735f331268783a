"""Unbounded sources: readers that never come to an end, with marks to go on from.

    class Ticks(UnboundedSource):
        def split(self, desired_num_splits, options=None): return [self]
        def create_reader(self, options, checkpoint_mark): return TickReader(checkpoint_mark)
        def get_checkpoint_mark_coder(self): return PickleCoder()

    p | beam.io.Read(Ticks())
    p | ReadFromUnboundedSource(Ticks(), poll_interval=0.1, idle_timeout=60)

A reader is used by one thread at a time. Once started it is kept open, and asked for a mark at the end of each bundle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hornbeam.coders import registry
from hornbeam.coders.coders import Coder
from hornbeam.io.read import Read
from hornbeam.io.source import SourceBase
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.utils.timestamp import Duration, Timestamp, micros_of

__all__ = ["CheckpointMark", "ReadFromUnboundedSource", "UnboundedReader", "UnboundedSource"]


class CheckpointMark:
    """A position in an unbounded source, from which a reader can go on after a restart."""

    def finalize_checkpoint(self) -> None:
        """What was read up to the mark is durable: acknowledge it to where it came from. Does nothing by default.

        Called at most once for a mark, and perhaps never. After a restart a later mark may cover the same records again,
        so acknowledge up to a position, not one by one. What is raised here is logged.
        """


class UnboundedReader:
    """Reads records: `start` once, then `advance` again and again; each says whether there is a record now.

    A reader that has come to the end for ever says so by a watermark of MAX_TIMESTAMP.
    """

    #: What `get_split_backlog_bytes` gives when that cannot be told.
    BACKLOG_UNKNOWN = -1

    def start(self) -> bool:
        """Go to the first record; False when there is none yet."""
        raise NotImplementedError(f"{type(self).__name__} does not define start()")

    def advance(self) -> bool:
        """Go to the next record; False when there is none now. Must not wait for one: other readers would wait too."""
        raise NotImplementedError(f"{type(self).__name__} does not define advance()")

    def get_current(self) -> Any:
        """The record that start or advance has found."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_current()")

    def get_current_timestamp(self) -> Timestamp:
        """The record's event time."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_current_timestamp()")

    def get_watermark(self) -> Timestamp:
        """A time before which no more records are to come; a step back counts as none. MAX_TIMESTAMP is the end."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_watermark()")

    def get_checkpoint_mark(self) -> CheckpointMark | None:
        """Where to go on: behind the current record. None if the reader has no position that would be of use."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_checkpoint_mark()")

    def get_split_backlog_bytes(self) -> int:
        """About how many bytes are there to be read behind the current record, for people; BACKLOG_UNKNOWN by default."""
        return self.BACKLOG_UNKNOWN

    def close(self) -> None:
        """Let go of what the reader holds. Does nothing by default."""


class UnboundedSource(SourceBase):
    """A source of records without an end. Set `idle_timeout` (seconds) to let a silent reader hold time back no longer."""

    idle_timeout: float | None = None

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable[UnboundedSource]:
        """At most so many sources that together are this one and share nothing; `[self]` if it cannot be split.

        Called once, before anything is read.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define split()")

    def resume(self, split: UnboundedSource) -> UnboundedSource:
        """A split as it goes on after a restart; this is the source as the pipeline has it by then, which may have changed.

        As it was, by default. A source may also have `reads()`, which says in a text what positions in it belong to: a
        pipeline that was changed to read something else is not let go on from them.
        """
        return split

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> UnboundedReader:
        """A reader from the beginning, or from behind the last record that the mark covers."""
        raise NotImplementedError(f"{type(self).__name__} does not define create_reader()")

    def get_checkpoint_mark_coder(self) -> Coder:
        """The coder of this source's marks."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define get_checkpoint_mark_coder(): return a Coder of its checkpoint marks."
        )

    def default_output_coder(self) -> Coder:
        """The coder of the records unless the pipeline's author gives another."""
        return registry.get_coder(object)

    def is_bounded(self) -> bool:
        """False."""
        return False


class ReadFromUnboundedSource(PTransform[PBegin, PCollection[Any]]):
    """The records of an unbounded source, at their timestamps. `Read(source)` is the same with the defaults.

    A reader without data is asked again soon, then ever more seldom, at least every `poll_interval` seconds. A turn of a
    reader ends after `max_records_per_bundle` records or `max_read_time_seconds` (engines end it sooner). With
    `idle_timeout` (seconds, ours), a reader that has had no data for so long holds event time no further back than the
    clock less that.
    """

    def __init__(
        self,
        source: UnboundedSource,
        poll_interval: float | Duration = 1.0,
        max_records_per_bundle: int = 10_000,
        max_read_time_seconds: float = 10.0,
        *,
        idle_timeout: float | Duration | None = None,
    ) -> None:
        if not isinstance(source, UnboundedSource):
            raise TypeError(f"ReadFromUnboundedSource needs an UnboundedSource; found {source!r}.")
        super().__init__()
        self._source = source
        self._settings: dict[str, Any] = {
            "poll_interval": _above_zero("poll_interval", poll_interval),
            "max_records_per_bundle": int(_above_zero("max_records_per_bundle", max_records_per_bundle)),
            "max_read_time_seconds": _above_zero("max_read_time_seconds", max_read_time_seconds),
        }
        if idle_timeout is not None:
            self._settings["idle_timeout"] = _above_zero("idle_timeout", idle_timeout)

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """Read the source."""
        records: PCollection[Any] = pbegin | "Read" >> _ReadWithSettings(self._source, self._settings)
        return records


class _ReadWithSettings(Read):
    """A Read whose step also says how the readers are to be asked."""

    def __init__(self, source: UnboundedSource, settings: dict[str, Any]) -> None:
        super().__init__(source)
        self._settings = settings

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """The source, pickled, and the settings."""
        parts = super().to_graph_parts(context)
        return GraphParts(parts.urn, {**parts.spec, **self._settings}, parts.payload)


def _above_zero(name: str, value: Any) -> float:
    """Seconds or a count, above 0. ValueError otherwise."""
    number = micros_of(value) / 1e6 if isinstance(value, Duration) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise ValueError(f"{name} must be a number above 0; found {value!r}.")
    return float(number)
