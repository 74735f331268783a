"""`WriteToFiles`: elements into files whose destination and format depend on the element."""

from __future__ import annotations

import abc
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import attrs

from hornbeam.io import temporaries
from hornbeam.io.compression import CompressionTypes
from hornbeam.io.file_naming import FileNaming, default_file_naming
from hornbeam.io.filesystem import BeamIOError, file_error
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.staged_files import Finished, PaneOfShard, write_panes
from hornbeam.io.step_identity import step_identity
from hornbeam.options.value_provider import ValueProvider
from hornbeam.pvalue import AsIter, AsSingleton, PCollection, TaggedOutput
from hornbeam.transforms.core import Create, DoFn, Flatten, GroupByKey, Map, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import BoundedWindow
from hornbeam.utils.windowed_value import WindowedValue

__all__ = ["FileMetadata", "FileResult", "FileSink", "TextSink", "WriteToFiles"]


@attrs.frozen
class FileMetadata:
    """How a file is to be created."""

    mime_type: str = "application/octet-stream"
    compression_type: str = CompressionTypes.AUTO


@attrs.frozen
class FileResult:
    """A file that was written."""

    file_name: str
    shard_index: int
    total_shards: int
    window: BoundedWindow
    pane: Any
    destination: Any


class FileSink(abc.ABC):
    """Writes records to one file at a time: `open` once, `write` for each record, `flush` at the end.

    The file itself is opened and closed by `WriteToFiles`.
    """

    def create_metadata(self, destination: Any, full_file_name: str) -> FileMetadata:
        """The MIME type and the compression of a destination's file."""
        return FileMetadata()

    @abc.abstractmethod
    def open(self, fh: BinaryIO) -> None:
        """Begin a file."""

    @abc.abstractmethod
    def write(self, record: Any) -> None:
        """Write a record to the file begun."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Bring all that was written to the file."""


class TextSink(FileSink):
    """A line of UTF-8 text for each record."""

    def open(self, fh: BinaryIO) -> None:
        """Begin a file."""
        self._file = fh

    def write(self, record: str) -> None:
        """The record and a newline."""
        self._file.write(record.encode("utf-8") + b"\n")

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


class WriteToFiles(PTransform[PCollection[Any], PCollection[FileResult]]):
    """Write elements to files under `path`; gives a FileResult for each file.

    `destination(element)` says where an element belongs, and `sink(destination)` in which format it is written (a
    FileSink may be given too). Each destination has files of its own, in each window, named by `file_naming`. A
    bundle writes to at most `max_writers_per_bundle` files at once; elements of further destinations are grouped, into
    `shards` files for each destination. Files appear under their names when all are complete.

    Unbounded data is grouped by destination, window and shard; each pane of it becomes a file when it fires. The namings of
    this module tell later panes of a window apart (`-pane-1`); one of your own has to. Elements that come too late for
    their window go to files of their own, with `-late-…` in their names.
    """

    MAX_NUM_WRITERS_PER_BUNDLE = 20
    DEFAULT_SHARDING = 5

    def __init__(
        self,
        path: str | ValueProvider,
        file_naming: FileNaming | None = None,
        destination: Callable[[Any], Any] | None = None,
        temp_directory: str | ValueProvider | None = None,
        sink: FileSink | Callable[[Any], FileSink] | None = None,
        shards: int | None = None,
        output_fn: Callable[[FileResult], Any] | None = None,
        max_writers_per_bundle: int = MAX_NUM_WRITERS_PER_BUNDLE,
    ) -> None:
        super().__init__()
        if shards is not None and shards < 1:
            raise ValueError(f"shards must be 1 or more; it is {shards}.")
        self._path = path
        self._file_naming = file_naming or default_file_naming("output")
        self._destination = destination or _nowhere_special
        self._temp_directory = temp_directory
        self._sink_of: Callable[[Any], FileSink] = _as_sink_of(sink if sink is not None else TextSink())
        self._shards = shards or self.DEFAULT_SHARDING
        self._output_fn = output_fn
        self._max_writers = max_writers_per_bundle

    def expand(self, pcoll: PCollection[Any]) -> Any:
        """Write temporary files, gather them by destination, give them their names."""
        if not pcoll.is_bounded:
            results = self._write_panes(pcoll)
            return results | "Output" >> Map(self._output_fn) if self._output_fn is not None else results
        once = pcoll.pipeline | "DoOnce" >> Create([None])
        place = AsSingleton(
            once | "MakeTemporary" >> Map(_make_temporary, self._temp_directory or self._path)
        )
        direct = pcoll | "WriteDirectly" >> ParDo(
            _WriteDirectly(self._destination, self._sink_of, self._max_writers, self._shards), place
        ).with_outputs(_SPILLED, main="written")
        grouped = (
            direct[_SPILLED]
            | "GroupSpilled" >> GroupByKey()
            | "WriteSpilled" >> ParDo(_WriteGroup(self._sink_of), place)
        )
        results = (
            (direct["written"], grouped)
            | "AllWritten" >> Flatten()
            | "GroupByDestination" >> GroupByKey()
            | "Move" >> ParDo(_Move(self._path, self._file_naming, self._sink_of), place)
        )
        once | "RemoveTemporary" >> Map(_remove_temporary, place, AsIter(results))
        return results | "Output" >> Map(self._output_fn) if self._output_fn is not None else results

    def _write_panes(self, pcoll: PCollection[Any]) -> PCollection[FileResult]:
        """A stream: each pane of each destination, window and shard gets a file."""
        layout = _DestinationFiles(
            self._path, self._temp_directory, self._file_naming, self._sink_of, self._shards
        )
        keyed = pcoll | "Shards" >> ParDo(_DestinationAndShard(self._destination, self._shards))
        identity = step_identity(pcoll.pipeline.options, pcoll.pipeline.current_label)
        return write_panes(keyed, layout, identity)


_SPILLED = "spilled"


def _nowhere_special(element: Any) -> None:
    """The destination of everything, unless told otherwise."""


def _as_sink_of(sink: Any) -> Callable[[Any], FileSink]:
    """A function from a destination to a new sink, out of a sink, a class of sinks, or such a function."""
    if isinstance(sink, FileSink):
        return lambda destination: sink
    if isinstance(sink, type):
        return lambda destination: sink()
    return sink  # type: ignore[no-any-return]


def _text(path: str | ValueProvider) -> str:
    return path.get() if isinstance(path, ValueProvider) else path


def _make_temporary(_: None, directory: str | ValueProvider) -> str:
    """A directory for this run's temporary files."""
    place = FileSystems.join(_text(directory), f".hornbeam-temp-{uuid.uuid4().hex}")
    temporaries.remove_at_run_end(place)  # first, or a process that dies in between leaves it behind
    FileSystems.mkdirs(place)
    return place


def _remove_temporary(_: None, place: str, results: Iterable[FileResult]) -> None:
    """Remove the directory; the results are waited for, nothing else."""
    temporaries.remove(place)


class _OpenFile:
    """A temporary file being written, with the sink that writes it."""

    def __init__(self, place: str, destination: Any, sink: FileSink) -> None:
        self.path = FileSystems.join(place, uuid.uuid4().hex)
        self._sink = sink
        metadata = sink.create_metadata(destination, self.path)
        self._file = FileSystems.create(self.path, metadata.mime_type, metadata.compression_type)
        sink.open(self._file)

    def write(self, record: Any) -> None:
        try:
            self._sink.write(record)
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> str:
        try:
            self._sink.flush()
            self._file.close()
        except OSError as error:
            raise self._named(error) from error
        return self.path

    def abort(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # What it holds is not wanted.

    def _named(self, error: OSError) -> OSError:
        return error if isinstance(error, BeamIOError) else file_error("write", self.path, error)


class _WriteDirectly(DoFn):
    """Writes the elements of the first destinations and windows seen in a bundle; hands the others on."""

    def __init__(
        self,
        destination: Callable[[Any], Any],
        sink_of: Callable[[Any], FileSink],
        max_writers: int,
        shards: int,
    ) -> None:
        super().__init__()
        self._destination = destination
        self._sink_of = sink_of
        self._max_writers = max_writers
        self._shards = shards
        self._next_shard = 0
        self._files: dict[tuple[Any, BoundedWindow], _OpenFile] = {}

    def start_bundle(self) -> None:
        """No file is open."""
        self.teardown()

    def process(self, element: Any, place: str, w: Any = DoFn.WindowParam) -> Iterable[Any] | None:
        """Write the element; one that has to be handed on comes out in a pair with (destination, shard)."""
        destination = self._destination(element)
        file = self._files.get((destination, w))
        if file is None:
            if len(self._files) >= self._max_writers:
                self._next_shard = (self._next_shard + 1) % self._shards
                return (TaggedOutput(_SPILLED, ((destination, self._next_shard), element)),)
            # A sink writes one file at a time; each file has one of its own.
            file = self._files[(destination, w)] = _OpenFile(
                place, destination, _own(self._sink_of(destination))
            )
        file.write(element)
        return None

    def finish_bundle(self) -> Iterator[WindowedValue[Any]]:
        """The temporary files by destination."""
        while self._files:
            destination, window = next(iter(self._files))
            path = self._files[(destination, window)].close()
            del self._files[(destination, window)]
            yield WindowedValue((destination, path), window.max_timestamp(), (window,))

    def teardown(self) -> None:
        """Give up what is still open."""
        while self._files:
            self._files.popitem()[1].abort()


def _own(sink: FileSink) -> FileSink:
    """The sink as a copy that shares no state with the one given."""
    copy = object.__new__(type(sink))
    copy.__dict__.update(sink.__dict__)
    return copy


class _WriteGroup(DoFn):
    """Writes the elements of one shard of a destination."""

    def __init__(self, sink_of: Callable[[Any], FileSink]) -> None:
        super().__init__()
        self._sink_of = sink_of

    def process(
        self, element: tuple[tuple[Any, int], Iterable[Any]], place: str
    ) -> Iterator[tuple[Any, str]]:
        """The temporary file by destination."""
        (destination, _), records = element
        file = _OpenFile(place, destination, _own(self._sink_of(destination)))
        try:
            for record in records:
                file.write(record)
            path = file.close()
        except BaseException:
            file.abort()
            raise
        yield destination, path


class _Move(DoFn):
    """Gives the files of a destination their names."""

    def __init__(
        self, path: str | ValueProvider, file_naming: FileNaming, sink_of: Callable[[Any], FileSink]
    ) -> None:
        super().__init__()
        self._path = path
        self._file_naming = file_naming
        self._sink_of = sink_of

    def process(
        self,
        element: tuple[Any, Iterable[str]],
        place: str,
        w: Any = DoFn.WindowParam,
        pane: Any = DoFn.PaneInfoParam,
    ) -> list[FileResult]:
        """The results, in the order of their names."""
        destination, found = element
        sources = sorted(found)
        results, targets = [], []
        for index, source in enumerate(sources):
            kind = self._sink_of(destination).create_metadata(destination, source).compression_type
            plain = kind in (CompressionTypes.AUTO, CompressionTypes.UNCOMPRESSED)
            name = self._file_naming(w, pane, index, len(sources), None if plain else kind, destination)
            targets.append(FileSystems.join(_text(self._path), name))
            results.append(FileResult(name, index, len(sources), w, pane, destination))
        if len(set(targets)) < len(targets):
            raise ValueError(f"The file naming gives {len(targets)} files the names {sorted(set(targets))}.")
        pending = [
            (s, t) for s, t in zip(sources, targets) if FileSystems.exists(s) or not FileSystems.exists(t)
        ]
        FileSystems.rename([source for source, _ in pending], [target for _, target in pending])
        return results


class _DestinationAndShard(DoFn):
    """Pairs elements with their destination and, in turn, a shard."""

    def __init__(self, destination: Callable[[Any], Any], shards: int) -> None:
        super().__init__()
        self._destination = destination
        self._shards = shards
        self._next = 0

    def process(self, element: Any) -> Iterable[tuple[tuple[Any, int], Any]]:
        """((destination, shard), element)."""
        self._next = (self._next + 1) % self._shards
        return (((self._destination(element), self._next), element),)


@attrs.frozen
class _DestinationFiles:
    """The layout of WriteToFiles over a stream: a file for each pane of (destination, shard)."""

    path: str | ValueProvider
    temp_directory: str | ValueProvider | None
    naming: FileNaming
    sink_of: Callable[[Any], FileSink]
    shards: int

    def place(self, identity: str) -> str:
        """Beside the files, or in the temporary directory asked for."""
        return FileSystems.join(_text(self.temp_directory or self.path), f".hornbeam-temp-{identity}")

    def write(self, place: str, shard: PaneOfShard) -> Iterator[Finished]:
        """One file."""
        destination, number = shard.key
        sink = _own(self.sink_of(destination))
        file = _OpenFile(place, destination, sink)
        try:
            for record in shard.values:
                file.write(record)
            temporary = file.close()
        except BaseException:
            file.abort()
            raise
        kind = sink.create_metadata(destination, temporary).compression_type
        plain = kind in (CompressionTypes.AUTO, CompressionTypes.UNCOMPRESSED)
        name = self.naming(
            shard.window, shard.pane, number, self.shards, None if plain else kind, destination
        )
        if shard.late:
            stem, dot, ending = name.partition(".")
            name = f"{stem}-late-{shard.late}{dot}{ending}"
        result = FileResult(name, number, self.shards, shard.window, shard.pane, destination)
        yield Finished(temporary, FileSystems.join(_text(self.path), name), result)
