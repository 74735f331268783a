"""Writing the state files of a checkpoint in progress, from any thread or process that was given its ticket."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

import attrs

from hornbeam.storage.checkpoint.block import Entries
from hornbeam.storage.checkpoint.key import encode_key
from hornbeam.storage.checkpoint.options import StoreOptions
from hornbeam.storage.checkpoint.state_file import SUFFIX, StateFile, StateFileWriter
from hornbeam.storage.errors import FileExistsAlreadyError, StorageError, SyncFailedError
from hornbeam.storage.files import OS_FILES, Files

_SYNC_ATTEMPTS = 3
_LABEL = re.compile(r"[A-Za-z0-9_]{1,60}")
_FILE_NAME = re.compile(r"(\d{12})-([0-9a-f]{8})-([A-Za-z0-9_]{1,60})-(\d+)" + re.escape(SUFFIX))
_ENTRY_OVERHEAD_BYTES = 100


@attrs.frozen
class WriteTicket:
    """Leave to write files for one checkpoint in progress. A plain value: send it to the workers by pickle."""

    state_directory: str
    checkpoint: int
    token: str
    options: StoreOptions = attrs.field(factory=StoreOptions)

    def writer(self, label: str, files: Files = OS_FILES) -> SnapshotWriter:
        """A writer for one worker's share; `label` (letters, digits, _) tells the workers' files apart."""
        return SnapshotWriter(self, label, files)

    def create(self, label: str, files: Files) -> StateFileWriter:
        """Start a state file under a name that is not taken."""
        number = 0
        while True:
            name = f"{self.checkpoint:012d}-{self.token}-{label}-{number}{SUFFIX}"
            try:
                return StateFileWriter(
                    files,
                    os.path.join(self.state_directory, name),
                    run=self.checkpoint,
                    codec=self.options.codec,
                    block_bytes=self.options.block_bytes,
                )
            except FileExistsAlreadyError:
                number += 1

    def owns(self, file_name: str) -> bool:
        """Whether a file of this name was written with this ticket."""
        parts = parse_file_name(file_name)
        return parts is not None and parts[:2] == (self.checkpoint, self.token)


def parse_file_name(name: str) -> tuple[int, str, str] | None:
    """(checkpoint, token, label) of a state file's name, or None when it is not one."""
    match = _FILE_NAME.fullmatch(name)
    return (int(match[1]), match[2], match[3]) if match else None


class SnapshotWriter:
    """One worker's puts and deletes since the checkpoint before, in any order; the last one of a key counts.

    `finish` gives the files to hand to `PendingCheckpoint.commit`. If several writers of a checkpoint touch the
    same key, the file listed last there wins. Not for several threads.
    """

    def __init__(self, ticket: WriteTicket, label: str, files: Files = OS_FILES) -> None:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} cannot label a writer: use up to 60 letters, digits and underscores")
        self._ticket = ticket
        self._label = label
        self._files = files
        self._changes: dict[bytes, bytes | None] = {}
        self._bytes = 0
        self._written: list[StateFile] = []

    def put(self, state: str, key_group: int, key: bytes, window: bytes, value: bytes) -> None:
        """Set one entry."""
        self._note(encode_key(state, key_group, key, window), value)

    def delete(self, state: str, key_group: int, key: bytes, window: bytes) -> None:
        """Remove one entry, whether or not it exists."""
        self._note(encode_key(state, key_group, key, window), None)

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Many changes at once: byte form of the key (`encode_key`) to the value, or None to remove it."""
        self._changes.update(changes)
        self._bytes += sum(map(len, changes)) + sum(map(len, filter(None, changes.values())))
        self._bytes += _ENTRY_OVERHEAD_BYTES * len(changes)
        if self._bytes >= self._ticket.options.file_bytes_max:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered to a file of its own. On an error the changes stay buffered."""
        if not self._changes:
            return
        keys = sorted(self._changes)
        values = list(map(self._changes.__getitem__, keys))
        self._written.append(self._write_again_after_failed_sync(keys, values))
        self._changes, self._bytes = {}, 0

    def write_sorted(self, chunks: Iterable[Entries]) -> None:
        """Stream entries that ascend over all chunks into files; nothing is buffered beyond a block."""
        self.flush()
        written: list[StateFile] = []
        current: StateFileWriter | None = None
        try:
            for keys, values in chunks:
                if current is None:
                    current = self._ticket.create(self._label, self._files)
                current.add_sorted(keys, values)
                if current.size >= self._ticket.options.file_bytes_max:
                    written.append(current.finish())
                    current = None
            if current is not None:
                written.append(current.finish())
        except BaseException:
            if current is not None:
                current.abort()
            raise
        self._written += written

    def finish(self) -> tuple[StateFile, ...]:
        """Write what is left; all files are synced when this returns. May be called again after an error."""
        self.flush()
        return tuple(self._written)

    def _note(self, key: bytes, value: bytes | None) -> None:
        self._changes[key] = value
        self._bytes += len(key) + (len(value) if value else 0) + _ENTRY_OVERHEAD_BYTES
        if self._bytes >= self._ticket.options.file_bytes_max:
            self.flush()

    def _write_again_after_failed_sync(self, keys: list[bytes], values: list[bytes | None]) -> StateFile:
        """After a failed fsync nothing written is trusted: the same entries go to a new file."""
        for attempt in range(1, _SYNC_ATTEMPTS + 1):
            file = self._ticket.create(self._label, self._files)
            try:
                file.add_ascending(keys, values)
                return file.finish()
            except SyncFailedError:
                file.abort()
                if attempt == _SYNC_ATTEMPTS:
                    raise
            except (StorageError, ValueError):
                file.abort()
                raise
        raise AssertionError("unreachable")
