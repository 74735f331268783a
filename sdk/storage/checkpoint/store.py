"""The checkpoint store: commit, retention, savepoints, restore, clearing away.

Invariants, held at every moment also through crashes and failed calls (with those of `ledger.py`):

* a checkpoint is committed when its manifest is under its name; every file that a manifest lists was synced, and
  the state directory after it, before the manifest was written;
* what no manifest lists and no one is writing in this opening is removed at the next open or `gc`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import attrs

from hornbeam.storage.checkpoint.catalog import Layout, checkpoints_in, find, savepoints_in
from hornbeam.storage.checkpoint.compaction import (
    MERGE_LABEL,
    MergePlan,
    choose_files,
    count_runs,
    replace_files,
)
from hornbeam.storage.checkpoint.ledger import Ledger
from hornbeam.storage.checkpoint.manifest import Manifest, savepoint_file_name
from hornbeam.storage.checkpoint.merger import Merger, MergeStoppedError
from hornbeam.storage.checkpoint.options import StoreOptions
from hornbeam.storage.checkpoint.pending import PendingCheckpoint
from hornbeam.storage.checkpoint.snapshot import Snapshot
from hornbeam.storage.checkpoint.state_file import FOOTER, StateFile
from hornbeam.storage.checkpoint.writer import WriteTicket, parse_file_name
from hornbeam.storage.errors import (
    CorruptionError,
    FileExistsAlreadyError,
    MissingFileError,
    StorageError,
)
from hornbeam.storage.files import OS_FILES, Files

KEY_GROUPS_DEFAULT = 128


class CheckpointStore:
    """A directory of checkpoints, opened by the one process that commits to it.

    Threads may share it. Opening takes the lock (LockTimeoutError while another process has it), finds the
    committed checkpoints and clears away what was left unfinished. It reports damage and never repairs it.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        options: StoreOptions | None = None,
        *,
        key_groups: int | None = None,
        files: Files = OS_FILES,
        lock_timeout_s: float = 1.0,
    ) -> None:
        self.layout = Layout(os.fspath(directory))
        self.options = options or StoreOptions()
        self.files = files
        self.cleanup_error: StorageError | None = None
        self._token = os.urandom(4).hex()
        self._mutex = threading.RLock()
        self._ledger = Ledger(files, self.layout)
        self._pending: dict[int, PendingCheckpoint] = {}
        self._merges = 0
        self._merger = Merger(self.options.merge, self._merge_once)
        self._merge_lock = threading.Lock()
        files.mkdir(self.layout.manifests)
        files.mkdir(self.layout.state)
        self._lock = files.lock(self.layout.lock, timeout=lock_timeout_s)
        try:
            self._open(key_groups)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, key_groups: int | None) -> None:
        self._ledger.load()
        checkpoints = checkpoints_in(self._ledger.manifests)
        self._head = checkpoints[-1] if checkpoints else None
        known = {manifest.key_groups for manifest in self._ledger.manifests.values()}
        self.key_groups = key_groups or (known.pop() if len(known) == 1 else KEY_GROUPS_DEFAULT)
        self._last_number = self._ledger.last_number()
        self.gc()

    # What there is

    @property
    def head(self) -> Manifest | None:
        """What the next incremental checkpoint adds to: the last one committed or restored."""
        return self._head

    def checkpoints(self) -> list[Manifest]:
        """The committed checkpoints, oldest first."""
        with self._mutex:
            return checkpoints_in(self._ledger.manifests)

    def savepoints(self) -> list[Manifest]:
        """The savepoints, by name."""
        with self._mutex:
            return savepoints_in(self._ledger.manifests)

    def snapshot(self, which: int | str | None = None, groups: range | None = None) -> Snapshot:
        """Open a checkpoint (number), savepoint (name) or the newest checkpoint (None) for reading."""
        with self._mutex:
            manifest = find(self._ledger.manifests, which, self.layout.directory)
            return Snapshot(self.files, self.layout.state, manifest, groups)

    def restore(self, which: int | str | None = None) -> Snapshot:
        """As `snapshot`, and go on from there: the next incremental checkpoint adds to this one."""
        with self._mutex:
            if self._pending:
                numbers = ", ".join(map(str, self._pending))
                raise self._misuse("restore", f"commit or abort the checkpoints in progress first: {numbers}")
            snapshot = self.snapshot(which)
            self._check_key_groups(snapshot.manifest)
            self._head = snapshot.manifest
            return snapshot

    # Checkpoints

    def begin(self, incremental: bool = True) -> PendingCheckpoint:
        """Start a checkpoint. Incremental: its files hold what changed since `head` as it is now (what was both
        made and removed since then counts as removed).

        A full one (also the first) holds all the state. Several may be in progress; they are committed in order
        of number, and one that is overtaken can no longer be. Numbers that were never committed may be used
        again after a reopening. Waits for a merge in the background if there are `runs_limit` runs.
        """
        head = self._head
        if head is not None and count_runs(head.files) >= self.options.runs_limit:
            self._merger.catch_up()
        with self._mutex:
            self._check_open()
            if incremental and self._head is not None:
                self._check_key_groups(self._head)
            self._last_number += 1
            ticket = WriteTicket(self.layout.state, self._last_number, self._token, self.options)
            pending = PendingCheckpoint(self, ticket, incremental)
            self._pending[pending.checkpoint] = pending
            return pending

    def commit(
        self, pending: PendingCheckpoint, files: Sequence[StateFile], metadata: Mapping[str, Any]
    ) -> Manifest:
        """See `PendingCheckpoint.commit`."""
        with self._mutex:
            self._check_committable(pending, files)
            base = self._head if pending.incremental else None
            manifest = Manifest(
                checkpoint=pending.checkpoint,
                files=(*(base.files if base else ()), *(file for file in files if file.entries)),
                key_groups=self.key_groups,
                base=base.checkpoint if base else None,
                metadata=metadata,
            )
            self._ledger.settle_doubts(keep=manifest.file_name)
            self.files.fault("checkpoint.commit.begin")
            if files:
                self.files.sync_dir(self.layout.state)
            self._ledger.write(manifest)
            del self._pending[pending.checkpoint]
            self._head = manifest
            self._clean_up()
        self._merger.after_commit()
        return manifest

    def abort(self, pending: PendingCheckpoint) -> None:
        """See `PendingCheckpoint.abort`."""
        with self._mutex:
            if self._pending.get(pending.checkpoint) is not pending:
                return
            self._ledger.settle_doubts()
            written = self.files.listdir(self.layout.state)
            del self._pending[pending.checkpoint]
            self._ledger.discard(filter(pending.ticket.owns, written))
            self._clean_up()

    # Savepoints

    def savepoint(
        self, name: str, which: int | str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Keep a checkpoint (number; None: the newest) or another savepoint under a name until it is deleted.

        Costs nothing but the manifest: state files are shared. Its metadata is the checkpoint's unless given.
        """
        with self._mutex:
            self._check_open()
            if savepoint_file_name(name) in self._ledger.manifests:
                path = self.layout.manifest_path(savepoint_file_name(name))
                raise FileExistsAlreadyError(path, "savepoint", "there is one of that name; delete it first")
            origin = find(self._ledger.manifests, which, self.layout.directory)
            self._ledger.settle_doubts()
            manifest = Manifest(
                checkpoint=origin.checkpoint,
                files=origin.files,
                key_groups=origin.key_groups,
                base=origin.base,
                savepoint=name,
                metadata=origin.metadata if metadata is None else metadata,
            )
            self._ledger.write(manifest)
            return manifest

    def delete_savepoint(self, name: str) -> None:
        """Delete a savepoint and the files that only it needs; durable on return."""
        with self._mutex:
            self._check_open()
            manifest = find(self._ledger.manifests, str(name), self.layout.directory)
            if manifest is self._head:
                raise self._misuse(
                    "delete savepoint", f"{manifest.label} is what the next checkpoint adds to"
                )
            self._ledger.remove(manifest)
            self._ledger.forget_removed()
            self._clean_up()

    # Merging and clearing away

    def plan_merge(self, full: bool = False) -> MergePlan | None:
        """Which files of the head to merge now, or None. Any process may `execute` it; then `apply_merge`."""
        with self._mutex:
            self._check_open()
            if self._head is None or self._head.savepoint is not None:
                return None
            inputs = choose_files(self._head.files, self.options.runs_max, full)
            if inputs is None:
                return None
            self._merges += 1
            ticket = WriteTicket(self.layout.state, self._head.checkpoint, self._token, self.options)
            return MergePlan(inputs, inputs[0] == self._head.files[0], ticket)

    def apply_merge(self, plan: MergePlan, outputs: tuple[StateFile, ...]) -> bool:
        """Put merged files in the place of their inputs; False (they are dropped) if the head has lost those.

        The checkpoint's content stays the same, so nothing depends on whether this survives a crash. False, too, and nothing
        is touched when the store has been closed: the next opening, which may be another process's by now, clears them away.
        """
        with self._mutex:
            self._merges -= 1
            if not self._lock.held:
                return False
            head = self._head
            merged = replace_files(head.files, plan.inputs, outputs) if head else None
            if head is None or merged is None or head.savepoint is not None:
                self._ledger.discard(file.name for file in outputs)
                self._clean_up()
                return False
            manifest = attrs.evolve(head, files=merged)
            self.files.fault("checkpoint.merge.begin")
            try:
                self.files.sync_dir(self.layout.state)
                self._ledger.replace(head, manifest)
            except StorageError:
                self._ledger.discard(file.name for file in outputs)  # kept if a manifest may list them
                raise
            self._head = manifest
            self._clean_up()
            return True

    def abandon_merge(self, plan: MergePlan) -> None:
        """Say that a plan will not be applied; its files are cleared away, unless other merges are under way (then by
        the next `gc`)."""
        with self._mutex:
            self._merges -= 1
            if self._merges == 0 and self._lock.held:
                self._clear_away_merged()

    def compact(self, full: bool = False) -> bool:
        """Merge once if there are too many runs (or, `full`, into one without tombstones); whether it did.

        The lock on the store is not held while merging: commits go on.
        """
        with self._merge_lock:
            return self._merge(full)

    @property
    def merge_error(self) -> StorageError | None:
        """Why the last merge that the store began by itself failed, if it did; the next commit tries again."""
        return self._merger.error

    def _merge_once(self) -> bool:
        return self._lock.held and self.compact()

    def _merge(self, full: bool) -> bool:
        plan = self.plan_merge(full)
        if plan is None:
            return False
        try:
            outputs = plan.execute(self.files, self._merger.check)
        except MissingFileError:
            self.abandon_merge(plan)
            if self._head is None or replace_files(self._head.files, plan.inputs, ()) is None:
                return False  # a full checkpoint has replaced them
            raise
        except MergeStoppedError:
            self.abandon_merge(plan)
            return False
        except BaseException:
            self.abandon_merge(plan)
            raise
        return self.apply_merge(plan, outputs)

    def gc(self) -> list[str]:
        """Retire checkpoints beyond `retain`, and remove every file that nothing refers to; the names removed."""
        with self._mutex:
            self._check_open()
            self._ledger.settle_doubts()
            self._ledger.settle_swaps()
            self._retire()
            removed = self._ledger.remove_unfinished()
            written = self.files.listdir(self.layout.state)
            self._ledger.discard(name for name in written if not self._being_written(name))
            removed += self._ledger.collect()
            self.cleanup_error = None
            return removed

    def close(self) -> None:
        """Give the lock back. Checkpoints in progress are not committed; the next opening clears them away. A merge in
        the background is given up."""
        self._merger.stop()
        with self._mutex:
            self._pending.clear()
            if self._lock.held:
                try:
                    self._ledger.settle_doubts()
                finally:
                    self._lock.release()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Steps

    def _clean_up(self) -> None:
        """Retire and collect after a change that has succeeded: a failure here is kept for `cleanup_error`,
        and the work is done again the next time."""
        try:
            self._retire()
            self._ledger.collect()
            self.cleanup_error = None
        except StorageError as error:
            self.cleanup_error = error

    def _clear_away_merged(self) -> None:
        """Half a merge may be as large as the state: a full disk must not be filled by trying again."""
        try:
            for name in self.files.listdir(self.layout.state):
                parts = parse_file_name(name)
                if parts is not None and parts[2] == MERGE_LABEL and not self._being_written(name):
                    self._ledger.discard([name])
        except StorageError as error:
            self.cleanup_error = error
        else:
            self._clean_up()

    def _retire(self) -> None:
        for manifest in checkpoints_in(self._ledger.manifests)[: -self.options.retain]:
            if manifest is not self._head:
                self._ledger.remove(manifest)
        self._ledger.forget_removed()

    # Checks

    def _check_open(self) -> None:
        if not self._lock.held:
            raise self._misuse("use", "the store has been closed")

    def _check_key_groups(self, manifest: Manifest) -> None:
        if manifest.key_groups != self.key_groups:
            raise self._misuse(
                "open", f"{manifest.label} has {manifest.key_groups} key groups, not {self.key_groups}"
            )

    def _check_committable(self, pending: PendingCheckpoint, files: Sequence[StateFile]) -> None:
        self._check_open()
        if self._pending.get(pending.checkpoint) is not pending:
            raise self._misuse("commit", f"checkpoint {pending.checkpoint} is not in progress")
        newest = max((m.checkpoint for m in self._ledger.manifests.values()), default=0)
        if pending.checkpoint <= newest:
            reason = f"checkpoint {pending.checkpoint} was overtaken by {newest}; abort it"
            raise self._misuse("commit", reason)
        if len({file.name for file in files}) != len(files):
            raise self._misuse("commit", "a file is listed twice")
        for file in files:
            path = self.layout.state_path(file.name)
            if not pending.ticket.owns(file.name):
                reason = f"{file.name} was not written for checkpoint {pending.checkpoint} of this opening"
                raise self._misuse("commit", reason)
            if file.entries and file.last_group >= self.key_groups:
                reason = f"{file.name} has key group {file.last_group}, the store {self.key_groups} groups"
                raise self._misuse("commit", reason)
            with self.files.open_read(path) as handle:
                footer = handle.pread(FOOTER.size, file.size - FOOTER.size)
                whole = handle.size() == file.size and len(footer) == FOOTER.size
                if not whole or FOOTER.unpack(footer)[-2] != file.footer_crc:
                    raise CorruptionError(
                        path, file.size - FOOTER.size, "file is not the one that was written"
                    )

    def _being_written(self, name: str) -> bool:
        parts = parse_file_name(name)
        if parts is None:
            return True  # not a name that we give: not ours to remove
        checkpoint, token, label = parts
        if token != self._token:
            return False
        return checkpoint in self._pending or (self._merges > 0 and label == MERGE_LABEL)

    def _misuse(self, operation: str, reason: str) -> StorageError:
        return StorageError(self.layout.directory, operation, reason)
