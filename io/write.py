"""`Write`: elements into a sink. Made of primitives, so every runner runs it.

Initialize once; write each bundle with a writer of its own; gather what the writers say; finalize once. The later
steps take the earlier ones' results as side inputs, so that each starts when the one before is complete.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from hornbeam.display import DisplayDataItem
from hornbeam.io.filebasedsink import FileBasedSink
from hornbeam.io.sink import Sink, Writer
from hornbeam.io.windowed_files import UnboundedWriteError, WriteWindows
from hornbeam.pvalue import AsIter, AsSingleton, PCollection
from hornbeam.transforms.core import Create, DoFn, FlatMap, GroupByKey, Map, ParDo, WindowInto
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import GlobalWindow, GlobalWindows
from hornbeam.utils.windowed_value import WindowedValue

__all__ = ["Write"]

_opened = itertools.count()


class Write(PTransform[PCollection[Any], Any]):
    """Write the elements to a sink; gives what the sink's `finalize_write` gives, such as names of files.

    Without `num_shards` each bundle is written where it is. With it, elements are dealt out to so many shards, and
    each shard is one result. Unbounded data is written window by window (`windowed_files.WriteWindows`). Anything else
    than a Sink that is a PTransform is applied as it is.
    """

    def __init__(self, sink: Sink | PTransform[Any, Any]) -> None:
        if not isinstance(sink, Sink | PTransform):
            raise TypeError(f"Write needs a Sink or a PTransform; found {sink!r}.")
        super().__init__()
        self.sink = sink

    def display_data(self) -> dict[str, Any]:
        """The sink and its items."""
        return {"sink": DisplayDataItem(type(self.sink).__name__, label="Write Sink"), "sink_dd": self.sink}

    def expand(self, pcoll: PCollection[Any]) -> Any:
        """The steps of the write."""
        if not isinstance(self.sink, Sink):
            return pcoll | self.sink
        sink = self.sink
        if not pcoll.is_bounded:
            if not isinstance(sink, FileBasedSink):
                raise UnboundedWriteError(
                    f"{self.label!r} writes with {type(sink).__name__}, which needs bounded data; the input {pcoll} is "
                    "unbounded. Make it a TwoPhaseSink (hornbeam.io.two_phase), or a FileBasedSink."
                )
            return pcoll | "WriteWindows" >> WriteWindows(sink)
        once = pcoll.pipeline | "DoOnce" >> Create([None])
        place = once | "InitializeWrite" >> Map(_initialize, sink)
        elements = pcoll | "GlobalWindow" >> WindowInto(GlobalWindows())
        if sink.num_shards:
            written = (
                elements
                | "ShardKeys" >> ParDo(_RoundRobinKeys(sink.num_shards))
                | "GroupShards" >> GroupByKey()
                | "WriteBundles" >> ParDo(_WriteShard(sink), AsSingleton(place))
            )
        else:
            written = (
                elements
                | "WriteBundles" >> ParDo(_WriteBundle(sink), AsSingleton(place))
                | "Pair" >> Map(lambda result: (None, result))
                | "Group" >> GroupByKey()
                | "Extract" >> FlatMap(lambda group: group[1])
            )
        prepared = once | "PreFinalize" >> Map(_prepare, sink, AsSingleton(place), AsIter(written))
        return once | "FinalizeWrite" >> FlatMap(
            _finalize, sink, AsSingleton(place), AsIter(written), AsSingleton(prepared)
        )


def _open(sink: Sink, place: Any, key: int = 0) -> Writer:
    """A new writer; results sort by shard, and within it in the order of opening."""
    return sink.open_writer(place, f"{key:05d}-{next(_opened):08d}-{uuid.uuid4().hex}")


class _RoundRobinKeys(DoFn):
    """Deals elements out to shards, one after the other."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._next = 0

    def process(self, element: Any) -> Iterable[tuple[int, Any]]:
        """The element with the next shard's number."""
        key = self._next
        self._next = key + 1 if key + 1 < self._count else 0
        return ((key, element),)


class _WriteBundle(DoFn):
    """Writes a bundle's elements; a writer that is full is closed and another takes its place.

    Elements are handed to the writer by `Writer.batch_size`.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._writer: Writer | None = None
        self._pending: list[Any] = []
        self._batch_size = 1

    def display_data(self) -> dict[str, Any]:
        """The sink."""
        return {"sink": type(self._sink).__name__}

    def start_bundle(self) -> None:
        """Nothing is open: whatever an earlier bundle left behind has failed."""
        self._abort()

    def process(self, element: Any, place: Any) -> Iterable[Any] | None:
        """Write the element; gives the result of a writer that is full now."""
        writer = self._writer
        if writer is None:
            writer = self._writer = _open(self._sink, place)
            self._batch_size = writer.batch_size
        pending = self._pending
        pending.append(element)
        if len(pending) < self._batch_size:
            return None
        self._flush(writer)
        if not writer.at_capacity():
            return None
        result = writer.close()
        self._writer = None
        return (result,)

    def finish_bundle(self) -> Iterator[WindowedValue[Any]]:
        """The result of the last writer."""
        writer = self._writer
        if writer is not None:
            self._flush(writer)
            result = writer.close()
            self._writer = None
            window = GlobalWindow()
            yield WindowedValue(result, window.max_timestamp(), (window,))

    def teardown(self) -> None:
        """Give up what is still open."""
        self._abort()

    def _flush(self, writer: Writer) -> None:
        pending, self._pending = self._pending, []
        if pending:
            writer.write_batch(pending)
            self._batch_size = writer.batch_size

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        self._pending = []
        if writer is not None:
            writer.abort()


class _WriteShard(DoFn):
    """Writes all elements of a shard."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def display_data(self) -> dict[str, Any]:
        """The sink."""
        return {"sink": type(self._sink).__name__}

    def process(self, element: tuple[int, Iterable[Any]], place: Any) -> Iterator[Any]:
        """The results of the shard's writers, most often one."""
        key, values = element
        remaining = iter(values)
        writer = _open(self._sink, place, key)
        try:
            for first in remaining:
                if writer.at_capacity():
                    yield writer.close()
                    writer = _open(self._sink, place, key)
                writer.write_batch([first, *itertools.islice(remaining, writer.batch_size - 1)])
            result = writer.close()
        except BaseException:
            writer.abort()
            raise
        yield result


def _initialize(_: None, sink: Sink) -> Any:
    """Make the place."""
    return sink.initialize_write()


def _prepare(_: None, sink: Sink, place: Any, results: Iterable[Any]) -> Any:
    """What comes before finalizing."""
    return sink.pre_finalize(place, list(results))


def _finalize(_: None, sink: Sink, place: Any, results: Iterable[Any], prepared: Any) -> Iterator[Any]:
    """Finalize, after empty results were added for shards that no element came to."""
    written = list(results)
    if len(written) < max(1, sink.num_shards) and (written or not sink.skip_if_empty):
        for key in range(len(written), max(1, sink.num_shards)):
            written.append(_open(sink, place, key).close())
    yield from sink.finalize_write(place, written, prepared) or ()
