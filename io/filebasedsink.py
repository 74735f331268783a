"""`FileBasedSink`: for sinks that write files, one or more per run, under names built from a prefix.

A run writes into a temporary directory beside its target, on the same file system, and renames its files at
the end, so nobody sees a file that is not complete.
"""

from __future__ import annotations

import reprlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hornbeam.coders.coders import Coder
from hornbeam.display import DisplayDataItem
from hornbeam.error import PipelineError
from hornbeam.io import temporaries
from hornbeam.io.compression import CompressionTypes, require_codec, resolve_compression
from hornbeam.io.filebasedsource import as_path_provider
from hornbeam.io.filesystem import BeamIOError, file_error
from hornbeam.io.filesystems import FileSystems
from hornbeam.io.shard_names import (
    DEFAULT_SHARD_NAME_TEMPLATE,
    DEFAULT_WINDOW_SHARD_NAME_TEMPLATE,
    names_windows,
    numbers_shards,
    shard_suffix,
    with_window,
)
from hornbeam.io.sink import Sink, Writer
from hornbeam.options.value_provider import ValueProvider
from hornbeam.transforms.window import BoundedWindow

__all__ = ["FileBasedSink", "FileBasedSinkWriter"]


#: How many values are written at a time.
BATCH_SIZE = 1000


class ShardNamesError(PipelineError, ValueError):
    """Several files of one run would get the same name."""


class FileBasedSink(Sink):
    """Writes records, encoded by the coder, to files named prefix + shard template + suffix.

    A subclass defines `write_encoded_record` (or `write_record`), and `open` and `close` where the file needs a
    frame. `num_shards=0` leaves the number of files to the runner; a template without S means one file.
    """

    def __init__(
        self,
        file_path_prefix: str | ValueProvider,
        coder: Coder | None,
        file_name_suffix: str | ValueProvider = "",
        num_shards: int = 0,
        shard_name_template: str | None = None,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
        *,
        max_records_per_shard: int | None = None,
        max_bytes_per_shard: int | None = None,
        skip_if_empty: bool = False,
        convert_fn: Callable[..., Any] | None = None,
        triggering_frequency: float | None = None,
    ) -> None:
        owner = type(self).__name__
        self.file_path_prefix = as_path_provider(file_path_prefix, "file_path_prefix", owner)
        self.file_name_suffix = as_path_provider(file_name_suffix, "file_name_suffix", owner)
        if not CompressionTypes.is_valid_compression_type(compression_type):
            raise TypeError(f"compression_type must be one of CompressionTypes; found {compression_type!r}.")
        if coder is not None and not isinstance(coder, Coder):
            raise TypeError(f"{owner}: coder must be a Coder object; found {coder!r}.")
        template = DEFAULT_SHARD_NAME_TEMPLATE if shard_name_template is None else shard_name_template
        if not numbers_shards(template):
            if (num_shards or 0) > 1 or max_records_per_shard or max_bytes_per_shard:
                raise ShardNamesError(
                    f"{owner}: the shard name template {template!r} gives every file the same name, as it has no S; "
                    "so num_shards must be 1, and max_records_per_shard and max_bytes_per_shard cannot be used."
                )
            num_shards = 1
        _check_count(owner, "num_shards", num_shards or 0, 0)
        for name, limit in (
            ("max_records_per_shard", max_records_per_shard),
            ("max_bytes_per_shard", max_bytes_per_shard),
        ):
            if limit is not None:
                _check_count(owner, name, limit, 1)
        self.coder = coder
        self.num_shards = num_shards or 0
        self.shard_name_template = template
        self.mime_type = mime_type
        self.compression_type = compression_type
        self.max_records_per_shard = max_records_per_shard
        self.max_bytes_per_shard = max_bytes_per_shard
        self.convert_fn = convert_fn
        self._skip_if_empty = skip_if_empty
        self._triggering_frequency = triggering_frequency
        if self.file_name_suffix.is_accessible():
            require_codec(resolve_compression(self.file_name_suffix.get(), compression_type))

    @property
    def skip_if_empty(self) -> bool:
        """Whether a run without elements writes no file."""
        return self._skip_if_empty

    @property
    def triggering_frequency(self) -> float | None:
        """Over unbounded data: how often, in seconds, files are finished."""
        return self._triggering_frequency

    def display_data(self) -> dict[str, Any]:
        """Names, number and compression of the files."""
        return {
            "shards": DisplayDataItem(self.num_shards, label="Number of Shards").drop_if_default(0),
            "compression": DisplayDataItem(str(self.compression_type)),
            "file_pattern": DisplayDataItem(
                f"{self.file_path_prefix}{self.shard_name_template}{self.file_name_suffix}",
                label="File Pattern",
            ),
        }

    # What a subclass may define.

    def open(self, temp_path: str) -> Any:
        """The file to write a shard to, compressed as asked; `write_record` and `close` get what this returns."""
        file = FileSystems.create(temp_path, self.mime_type, self.compression_type)
        return _CountingFile(file) if self.max_bytes_per_shard else file

    def write_record(self, file_handle: Any, value: Any) -> None:
        """Write one value."""
        assert self.coder is not None, (
            f"{type(self).__name__} has no coder and does not define write_record()"
        )
        self.write_encoded_record(file_handle, self.coder.encode(value))

    def write_records(self, file_handle: Any, values: Sequence[Any]) -> None:
        """Write some values in order; a subclass may know a faster way.

        An error names the value, as it may be another one than the value that arrived last.
        """
        for value in values:
            try:
                self.write_record(file_handle, value)
            except Exception as error:
                if len(values) > 1 and not isinstance(error, OSError):
                    error.add_note(f"The element that could not be written is {reprlib.repr(value)}")
                raise

    def write_encoded_record(self, file_handle: Any, encoded_value: bytes) -> None:
        """Write one value that the coder has encoded."""
        raise NotImplementedError(f"{type(self).__name__} does not define write_encoded_record()")

    def close(self, file_handle: Any) -> None:
        """End the file."""
        if file_handle is not None:
            file_handle.close()

    # The steps of a write.

    def initialize_write(self) -> str:
        """Make the run's temporary directory, beside the target."""
        prefix = self.file_path_prefix.get()
        directory, name = FileSystems.split(prefix)
        place = FileSystems.join(directory, f".hornbeam-temp-{name or 'out'}-{uuid.uuid4().hex}")
        temporaries.remove_at_run_end(place)  # first, or a process that dies in between leaves it behind
        FileSystems.mkdirs(place)
        return place

    def open_writer(self, init_result: str, uid: str) -> FileBasedSinkWriter:
        """A writer to a new file in the temporary directory; its ending is the target's, for the compression."""
        _, name = FileSystems.split(self.file_path_prefix.get())
        path = FileSystems.join(init_result, f"{uid}.{name}{self.file_name_suffix.get()}")
        return FileBasedSinkWriter(self, path)

    def _final_name(self, shard_num: int, num_shards: int) -> str:
        prefix: str = self.file_path_prefix.get()
        suffix: str = self.file_name_suffix.get()
        return prefix + shard_suffix(self.shard_name_template, shard_num, num_shards) + suffix

    def windowed_name(self, window: Any, shard_num: int, num_shards: int, mark: str = "") -> str:
        """The name of a file of a window of unbounded data; `mark` tells further files of the same shard apart."""
        template = self.shard_name_template
        if template == DEFAULT_SHARD_NAME_TEMPLATE:
            template = DEFAULT_WINDOW_SHARD_NAME_TEMPLATE
        prefix: str = self.file_path_prefix.get()
        suffix: str = self.file_name_suffix.get()
        named = with_window(template, window, lambda text: shard_suffix(text, shard_num, num_shards))
        return f"{prefix}{named}{mark}{suffix}"

    def check_windowed_names(self) -> None:
        """ShardNamesError unless the files of different windows get different names."""
        template = self.shard_name_template
        if template != DEFAULT_SHARD_NAME_TEMPLATE and not (
            names_windows(template) and numbers_shards(template)
        ):
            raise ShardNamesError(
                f"{type(self).__name__}: over unbounded data the shard name template must tell windows and shards apart; "
                f"{template!r} does not. Use '-W-SSSSS-of-NNNNN' (seconds) or '-V-SSSSS-of-NNNNN' (UTC)."
            )

    def _renames(self, writer_results: Sequence[str]) -> list[tuple[str, str]]:
        """Each temporary file with its final name."""
        count = len(writer_results)
        return [(path, self._final_name(shard, count)) for shard, path in enumerate(sorted(writer_results))]

    def pre_finalize(self, init_result: str, writer_results: Sequence[str]) -> None:
        """Make sure that every file can get its name, before any of them does."""
        names = [name for _, name in self._renames(writer_results)]
        if len(set(names)) < len(names):
            raise ShardNamesError(
                f"{len(names)} files would get {len(set(names))} names with the shard name template "
                f"{self.shard_name_template!r}. Use one with S, or num_shards=1."
            )

    def finalize_write(
        self, init_result: str, writer_results: Sequence[str], unused_pre_finalize_results: Any
    ) -> Iterator[str]:
        """Give the files their names, over what had them before, and remove the temporary directory.

        Gives the names. Called again, it goes on where it was interrupted; a file that is in place already counts as
        renamed.
        """
        renames = self._renames(writer_results)
        pending = [(source, target) for source, target in renames if FileSystems.exists(source)]
        lost = [
            (source, target)
            for source, target in renames
            if (source, target) not in pending and not FileSystems.exists(target)
        ]
        if lost:
            raise BeamIOError(
                f"{lost[0][1]} cannot be finished: the file written for it, {lost[0][0]}, is gone"
                + (f", and so are those of {len(lost) - 1} more." if len(lost) > 1 else ".")
            )
        FileSystems.rename([source for source, _ in pending], [target for _, target in pending])
        temporaries.remove(init_result)
        yield from (target for _, target in renames)

    def finalize_windowed_write(
        self,
        init_result: Any,
        writer_results: Sequence[Any],
        unused_pre_finalize_results: Any,
        w: BoundedWindow | None = None,
    ) -> Iterator[Any]:
        """As `finalize_write`, for the files of one window."""
        names = [self.windowed_name(w, shard, len(writer_results)) for shard in range(len(writer_results))]
        pairs = list(zip(sorted(writer_results), names))
        pending = [(source, target) for source, target in pairs if FileSystems.exists(source)]
        FileSystems.rename([source for source, _ in pending], [target for _, target in pending])
        yield from names


class FileBasedSinkWriter(Writer):
    """Writes one file of a FileBasedSink. A failure to write names the file."""

    def __init__(self, sink: FileBasedSink, temp_shard_path: str) -> None:
        self.sink = sink
        self.temp_shard_path = temp_shard_path
        self.num_records_written = 0
        try:
            self.temp_handle = sink.open(temp_shard_path)
        except OSError as error:
            raise self._named(error) from error

    @property
    def batch_size(self) -> int:
        """So many that the file cannot get more records than it may have; one by one where bytes are counted."""
        sink = self.sink
        if sink.max_bytes_per_shard:
            return 1
        if sink.max_records_per_shard:
            return min(BATCH_SIZE, max(1, sink.max_records_per_shard - self.num_records_written))
        return BATCH_SIZE

    def write(self, value: Any) -> None:
        """Write one value."""
        self.write_batch((value,))

    def write_batch(self, values: Sequence[Any]) -> None:
        """Write some values in order."""
        convert = self.sink.convert_fn
        if convert is not None:
            values = [convert(value) for value in values]
        try:
            self.sink.write_records(self.temp_handle, values)
        except OSError as error:
            raise self._named(error) from error
        self.num_records_written += len(values)

    def at_capacity(self) -> bool:
        """Whether the file has all the records or bytes that it may have."""
        sink = self.sink
        if sink.max_records_per_shard and self.num_records_written >= sink.max_records_per_shard:
            return True
        return bool(sink.max_bytes_per_shard and self.temp_handle.byte_count >= sink.max_bytes_per_shard)

    def close(self) -> str:
        """End the file; gives its temporary path."""
        try:
            self.sink.close(self.temp_handle)
        except OSError as error:
            raise self._named(error) from error
        return self.temp_shard_path

    def abort(self) -> None:
        """Close and remove the file, whatever state it is in."""
        for attempt in (lambda: self.temp_handle.close(), lambda: FileSystems.delete([self.temp_shard_path])):
            try:
                attempt()
            except Exception:
                continue

    def _named(self, error: OSError) -> OSError:
        """The error with the file's name in it."""
        if isinstance(error, BeamIOError):
            return error
        target = f"{self.sink.file_path_prefix.get()}{self.sink.shard_name_template}{self.sink.file_name_suffix.get()}"
        return file_error("write", self.temp_shard_path, error, f"a temporary file of the output {target}")


class _CountingFile:
    """A file that knows how many bytes were written to it, before any compression."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.byte_count = 0

    def write(self, data: Any) -> Any:
        self.byte_count += len(data)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_file"], name)


def _check_count(owner: str, name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number, {least} or more; it is {value!r}.")
