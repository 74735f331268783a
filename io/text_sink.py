"""The sink behind `WriteToText`: a line for each element, between a header and a footer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hornbeam.coders.coders import Coder, StrUtf8Coder
from hornbeam.io.compression import CompressionTypes
from hornbeam.io.filebasedsink import FileBasedSink
from hornbeam.options.value_provider import ValueProvider


class ToBytesCoder(Coder):
    """Writes any value as text in UTF-8, as `str` gives it; bytes as they are. It cannot decode."""

    def encode(self, value: Any) -> bytes:
        """The value's text in UTF-8."""
        return value if isinstance(value, bytes) else str(value).encode("utf-8")

    def decode(self, encoded: bytes) -> Any:
        """Refused: what the value was before `str` is not known."""
        raise NotImplementedError("ToBytesCoder only encodes.")

    def is_deterministic(self) -> bool:
        """False: `str` of a set, for one, has no fixed order."""
        return False


class TextSink(FileBasedSink):
    """Encoded elements, each followed by a newline unless told otherwise.

    A header and a footer stand in every file, followed by a newline as the elements are.
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
        super().__init__(
            file_path_prefix,
            coder if coder is not None else ToBytesCoder(),
            file_name_suffix,
            num_shards,
            shard_name_template,
            "text/plain",
            compression_type,
            max_records_per_shard=max_records_per_shard,
            max_bytes_per_shard=max_bytes_per_shard,
            skip_if_empty=skip_if_empty,
            triggering_frequency=triggering_frequency,
        )
        self._end = b"\n" if append_trailing_newlines else b""
        self._header = header
        self._footer = footer

    def display_data(self) -> dict[str, Any]:
        """The files, and whether newlines are added."""
        return {**super().display_data(), "append_newline": bool(self._end)}

    def open(self, temp_path: str) -> Any:
        """The file, with the header in it."""
        file = super().open(temp_path)
        try:
            self._write_frame(file, self._header)
        except BaseException:
            file.close()
            raise
        return file

    def close(self, file_handle: Any) -> None:
        """Write the footer and end the file."""
        if file_handle is not None:
            self._write_frame(file_handle, self._footer)
        super().close(file_handle)

    def _write_frame(self, file: Any, text: str | bytes | None) -> None:
        if text is not None:
            file.write(ToBytesCoder().encode(text) + self._end)

    def write_encoded_record(self, file_handle: Any, encoded_value: bytes) -> None:
        """The record, and a newline if asked for."""
        file_handle.write(encoded_value + self._end)

    def write_records(self, file_handle: Any, values: Sequence[Any]) -> None:
        """The records, joined before they are written where the coder is known to give plain UTF-8 text."""
        if type(self).write_record is not FileBasedSink.write_record:
            super().write_records(file_handle, values)
            return
        if type(self).write_encoded_record is not TextSink.write_encoded_record:
            super().write_records(file_handle, values)
            return
        try:
            data = self._joined(values)
        except Exception:
            super().write_records(file_handle, values)  # one by one, to name the value at fault
        else:
            file_handle.write(data)

    def _joined(self, values: Sequence[Any]) -> bytes:
        assert self.coder is not None
        if type(self.coder) in (ToBytesCoder, StrUtf8Coder) and set(map(type, values)) == {str}:
            end = self._end.decode()
            return (end.join(values) + end).encode("utf-8")
        encoded = [*map(self.coder.encode, values), b""]
        return self._end.join(encoded)
