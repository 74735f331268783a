"""A checkpoint in progress, as its coordinator holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.checkpoint.writer import SnapshotWriter, WriteTicket
from hornbeam.storage.files import Files


class Committer(Protocol):
    """What a checkpoint in progress needs of its store."""

    files: Files

    def commit(
        self, pending: PendingCheckpoint, files: Sequence[StateFile], metadata: Mapping[str, Any]
    ) -> Manifest:
        """Make it the newest checkpoint."""
        ...

    def abort(self, pending: PendingCheckpoint) -> None:
        """Forget it."""
        ...


class PendingCheckpoint:
    """A checkpoint in progress: invisible until `commit` returns, gone without a trace when it never does."""

    def __init__(self, store: Committer, ticket: WriteTicket, incremental: bool) -> None:
        self._store = store
        self.ticket = ticket
        self.incremental = incremental

    @property
    def checkpoint(self) -> int:
        """Its number."""
        return self.ticket.checkpoint

    def writer(self, label: str) -> SnapshotWriter:
        """A writer in this process; other processes use `ticket.writer`."""
        return self.ticket.writer(label, self._store.files)

    def commit(self, files: Sequence[StateFile] = (), metadata: Mapping[str, Any] | None = None) -> Manifest:
        """Make the checkpoint of these files (later ones override earlier ones) and JSON metadata.

        It is durable on return. If it raises, the checkpoint is not committed as far as this process goes on:
        commit again, or abort. If the process dies instead, the next opening may find it either way, but never
        in part.
        """
        return self._store.commit(self, files, metadata or {})

    def abort(self) -> None:
        """Give up: remove what was written. Harmless if it was aborted before."""
        self._store.abort(self)
