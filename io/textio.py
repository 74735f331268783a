"""Text files: `ReadFromText` and its relatives, `WriteToText`. Files that grow are read by `hornbeam.io.tail`."""

from __future__ import annotations

import functools
from typing import Any

from hornbeam.coders.coders import Coder, StrUtf8Coder
from hornbeam.io.compression import CompressionTypes
from hornbeam.io.filebasedsource import DEFAULT_DESIRED_BUNDLE_SIZE
from hornbeam.io.fileio import MatchContinuously
from hornbeam.io.read import Read
from hornbeam.io.read_all import ReadAllFiles
from hornbeam.io.text_sink import TextSink
from hornbeam.io.text_source import TextSource, TextSourceWithFilename
from hornbeam.io.write import Write
from hornbeam.options.value_provider import ValueProvider
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.ptransform import PTransform

__all__ = [
    "ReadAllFromText",
    "ReadAllFromTextContinuously",
    "ReadFromText",
    "ReadFromTextWithFilename",
    "WriteToText",
]

#: The parameters of ReadAllFromTextContinuously that say how to look for files.
_OF_THE_MATCH = (
    "interval",
    "has_deduplication",
    "start_timestamp",
    "stop_timestamp",
    "match_updated_files",
    "apply_windowing",
    "empty_match_treatment",
    "timestamp_cursor",
)


class ReadFromText(PTransform[PBegin, PCollection[Any]]):
    """The lines of the text files that match a pattern.

        lines = p | beam.io.ReadFromText("logs/2024-*.txt.gz", skip_header_lines=1)

    Lines end at `\\n` or `\\r\\n`; `delimiter` (bytes) says otherwise, and a delimiter after `escapechar` (one byte,
    which escapes itself too, and stays in the record) ends nothing. Files are decompressed as their endings say, or
    as `compression_type` does. Each line is decoded by `coder`, UTF-8 by default. Uncompressed files are read in
    parts of `min_bundle_size` bytes or more. With `validate`, no file at all is an OSError here and now.
    """

    _source_class = TextSource

    def __init__(
        self,
        file_pattern: str | ValueProvider | None = None,
        min_bundle_size: int = 0,
        compression_type: str = CompressionTypes.AUTO,
        strip_trailing_newlines: bool = True,
        coder: Coder | None = None,
        validate: bool = True,
        skip_header_lines: int = 0,
        delimiter: bytes | None = None,
        escapechar: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file_pattern is None:
            raise TypeError(f"{type(self).__name__} needs a file_pattern.")
        self._source = self._source_class(
            file_pattern,
            min_bundle_size,
            compression_type,
            strip_trailing_newlines,
            coder if coder is not None else StrUtf8Coder(),
            validate,
            skip_header_lines,
            delimiter,
            escapechar,
        )

    def expand(self, pvalue: PBegin) -> PCollection[Any]:
        """Read the source."""
        lines: PCollection[Any] = pvalue.pipeline | Read(self._source).with_output_types(
            self._source.output_type()
        )
        return lines


class ReadFromTextWithFilename(ReadFromText):
    """The lines of the text files that match a pattern, in pairs with the file's name. See `ReadFromText`."""

    _source_class = TextSourceWithFilename


class ReadAllFromText(PTransform[PCollection[Any], PCollection[Any]]):
    """The lines of the text files that the input's elements name: paths or patterns.

    The parameters are those of `ReadFromText`; files are read in parts of about `desired_bundle_size` bytes. With
    `with_filename` each line comes in a pair with its file's name. With `validate`, an element that names a file
    which does not exist is an error; a pattern that matches none is not.
    """

    DEFAULT_DESIRED_BUNDLE_SIZE = DEFAULT_DESIRED_BUNDLE_SIZE

    def __init__(
        self,
        min_bundle_size: int = 0,
        desired_bundle_size: int = DEFAULT_DESIRED_BUNDLE_SIZE,
        compression_type: str = CompressionTypes.AUTO,
        strip_trailing_newlines: bool = True,
        validate: bool = True,
        coder: Coder | None = None,
        skip_header_lines: int = 0,
        with_filename: bool = False,
        delimiter: bytes | None = None,
        escapechar: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        source_from_file = functools.partial(
            TextSource,
            min_bundle_size=min_bundle_size,
            compression_type=compression_type,
            strip_trailing_newlines=strip_trailing_newlines,
            coder=coder if coder is not None else StrUtf8Coder(),
            validate=False,
            skip_header_lines=skip_header_lines,
            delimiter=delimiter,
            escapechar=escapechar,
        )
        output_type = source_from_file("any").output_type()  # also checks the parameters, here and now
        self._output_type = tuple[str, output_type] if with_filename else output_type  # type: ignore[valid-type]
        self._read_all_files = ReadAllFiles(
            True,
            compression_type,
            desired_bundle_size,
            min_bundle_size,
            source_from_file,
            with_filename,
            validate,
        )

    def expand(self, pvalue: PCollection[Any]) -> PCollection[Any]:
        """Read the files."""
        read = self._read_all_files.with_output_types(self._output_type)
        lines: PCollection[Any] = pvalue | "ReadAllFiles" >> read
        return lines


class ReadAllFromTextContinuously(ReadAllFromText):
    """The lines of the text files that match a pattern, and of those that appear later. Applied to the pipeline itself.

        lines = p | ReadAllFromTextContinuously("uploads/*.txt", interval=30)

    Parameters are those of `ReadAllFromText` and of `fileio.MatchContinuously`. A file is read whole when it is found, so
    it should appear under its name when it is complete; with `match_updated_files` it is read whole again after each
    change. Files that grow line by line are for `hornbeam.io.tail.TailText`.
    """

    def __init__(self, file_pattern: str | ValueProvider, **kwargs: Any) -> None:
        match = {name: kwargs.pop(name) for name in _OF_THE_MATCH if name in kwargs}
        super().__init__(**kwargs)
        self._match = MatchContinuously(file_pattern, **match)

    def expand(self, pvalue: Any) -> PCollection[Any]:
        """Find the files, and read them."""
        lines: PCollection[Any] = super().expand(pvalue | self._match)
        return lines


class WriteToText(PTransform[PCollection[Any], PCollection[str]]):
    """Write each element as a line of text; gives the names of the files written.

        counts | beam.io.WriteToText("out/counts", file_name_suffix=".txt.gz", header="word,count")

    Elements are written as `str` gives them (bytes as they are), or as `coder` encodes them. Files are named prefix +
    `-SSSSS-of-NNNNN` + suffix; `shard_name_template=""` gives one file of just prefix + suffix. `num_shards=0` leaves
    their number to the runner. They are compressed as the suffix says, or as `compression_type` does. Files appear
    under their names only when all are complete, and replace those of an earlier run.
    """

    def __init__(
        self,
        file_path_prefix: str | ValueProvider,
        file_name_suffix: str | ValueProvider = "",
        append_trailing_newlines: bool = True,
        num_shards: int = 0,
        shard_name_template: str | None = None,
        coder: Coder | None = None,
        compression_type: str = CompressionTypes.AUTO,
        header: str | bytes | None = None,
        footer: str | bytes | None = None,
        *,
        max_records_per_shard: int | None = None,
        max_bytes_per_shard: int | None = None,
        skip_if_empty: bool = False,
        triggering_frequency: float | None = None,
    ) -> None:
        super().__init__()
        self._sink = TextSink(
            file_path_prefix,
            file_name_suffix,
            append_trailing_newlines,
            num_shards,
            shard_name_template,
            coder,
            compression_type,
            header,
            footer,
            max_records_per_shard=max_records_per_shard,
            max_bytes_per_shard=max_bytes_per_shard,
            skip_if_empty=skip_if_empty,
            triggering_frequency=triggering_frequency,
        )

    def expand(self, pcoll: PCollection[Any]) -> PCollection[str]:
        """Write to the sink."""
        names: PCollection[str] = pcoll | Write(self._sink).with_output_types(str)
        return names
