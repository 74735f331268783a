"""The checkpoint store: consistent snapshots of a job's state, kept on one machine's disk.

    with CheckpointStore("/var/lib/job/checkpoints", key_groups=128) as store:
        pending = store.begin()
        writer = pending.writer("worker0")          # or pickle pending.ticket to other processes
        writer.put("counts", 7, b"user-1", b"", b"42")
        pending.commit(writer.finish(), {"offsets": {"events/0": 1234}})
        store.savepoint("before-upgrade")
        snapshot = store.snapshot()                 # newest; a number or a savepoint's name for another
        snapshot.get("counts", 7, b"user-1")        # b"42"

State files (sorted entries, checksummed blocks) are immutable and shared by all checkpoints that need them; a
manifest per checkpoint lists them, and its atomic appearance is the commit. FORMAT.md gives the bytes. Imports
only `hornbeam.storage` beside it.

To change the entry key, open `key`; the file format, `block`, `state_file`, `state_reader`, `key_filter`; what a checkpoint
consists of, `manifest`; commit, retention and savepoints, `store`, `pending`; what is written and removed in
which order, `ledger`, `references`; what workers write, `writer`; restoring and reading, `snapshot`, `merge`,
`catalog`; merging of files, `compaction`, and when, `merger`; checks and repair, `verify`;
figures, `inspection`.
"""

from hornbeam.storage.checkpoint.block import Entries
from hornbeam.storage.checkpoint.catalog import NoSuchCheckpointError, StoreReader
from hornbeam.storage.checkpoint.compaction import MergePlan
from hornbeam.storage.checkpoint.inspection import describe, list_store
from hornbeam.storage.checkpoint.key import StateKey, decode_key, encode_key, groups_of_worker, key_prefix
from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.checkpoint.options import StoreOptions
from hornbeam.storage.checkpoint.pending import PendingCheckpoint
from hornbeam.storage.checkpoint.snapshot import Snapshot
from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.checkpoint.store import CheckpointStore
from hornbeam.storage.checkpoint.verify import Problem, VerifyReport, verify
from hornbeam.storage.checkpoint.writer import SnapshotWriter, WriteTicket

__all__ = [
    "CheckpointStore",
    "Entries",
    "Manifest",
    "MergePlan",
    "NoSuchCheckpointError",
    "PendingCheckpoint",
    "Problem",
    "Snapshot",
    "SnapshotWriter",
    "StateFile",
    "StateKey",
    "StoreOptions",
    "StoreReader",
    "VerifyReport",
    "WriteTicket",
    "decode_key",
    "describe",
    "encode_key",
    "groups_of_worker",
    "key_prefix",
    "list_store",
    "verify",
]
