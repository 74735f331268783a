"""What the store should hold, kept in dicts, and comparing the two."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hornbeam.storage.checkpoint import (
    CheckpointStore,
    Manifest,
    PendingCheckpoint,
    Snapshot,
    StateFile,
    StoreOptions,
    encode_key,
    groups_of_worker,
    verify,
)
from hornbeam.storage.checkpoint.key import key_group_of
from hornbeam.storage.files import Files

State = dict[bytes, bytes]
Changes = dict[bytes, "bytes | None"]

KEY_GROUPS = 8
DIRECTORY = "/store"
SMALL = StoreOptions(retain=2, block_bytes=90, file_bytes_max=3000, runs_max=3, merge="caller")


def apply(state: Mapping[bytes, bytes], changes: Changes) -> State:
    """The state after some changes."""
    merged = {**state, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def contents(snapshot: Snapshot) -> State:
    """All that a snapshot holds."""
    return {encode_key(*key): value for key, value in snapshot.scan()}


def random_changes(rng: random.Random, state: Mapping[bytes, bytes], n: int) -> Changes:
    """Some puts of new and old keys and some deletes."""
    changes: Changes = {}
    for _ in range(n):
        if state and rng.random() < 0.3:
            changes[rng.choice(sorted(state))] = None
            continue
        number = rng.randrange(40)
        key = encode_key(
            rng.choice(["a", "count", "ab"]), number % KEY_GROUPS, b"k%d" % number, b"w" * rng.randrange(3)
        )
        changes[key] = rng.randbytes(rng.choice([0, 3, 30]))
    return changes


def write(pending: PendingCheckpoint, files: Files, changes: Changes, workers: int) -> tuple[StateFile, ...]:
    """Write changes as several workers would, each for its own key groups."""
    written: list[StateFile] = []
    for worker in range(workers):
        own = groups_of_worker(worker, workers, KEY_GROUPS)
        writer = pending.ticket.writer(f"w{worker}", files)
        writer.update({key: value for key, value in changes.items() if key_group_of(key) in own})
        written += writer.finish()
    return tuple(written)


@attrs.define
class Model:
    """What has been acknowledged, and the one operation that may or may not have happened."""

    retain: int = SMALL.retain
    checkpoints: dict[int, State] = attrs.Factory(dict)
    savepoints: dict[str, State] = attrs.Factory(dict)
    doubtful_checkpoint: tuple[int, State] | None = None
    doubtful_savepoint: tuple[str, State | None] | None = None

    @property
    def state(self) -> State:
        """The newest acknowledged state."""
        return self.checkpoints[max(self.checkpoints)] if self.checkpoints else {}

    def allowed_checkpoints(self) -> list[dict[int, State]]:
        """The sets of checkpoints that an opening may find."""
        options = [self.checkpoints]
        if self.doubtful_checkpoint is not None:
            number, state = self.doubtful_checkpoint
            options.append({**self.checkpoints, number: state})
        return [{n: option[n] for n in sorted(option)[-self.retain :]} for option in options]

    def allowed_savepoints(self) -> list[dict[str, State]]:
        """The sets of savepoints that an opening may find."""
        options = [self.savepoints]
        if self.doubtful_savepoint is not None:
            name, state = self.doubtful_savepoint
            changed = {key: value for key, value in self.savepoints.items() if key != name}
            options.append(changed if state is None else {**changed, name: state})
        return options


def found(store: CheckpointStore) -> tuple[dict[int, State], dict[str, State]]:
    """Everything that an open store shows, read completely."""
    checkpoints, savepoints = {}, {}
    for manifest in store.checkpoints():
        with store.snapshot(manifest.checkpoint) as snapshot:
            checkpoints[manifest.checkpoint] = contents(snapshot)
            assert snapshot.metadata == {"sum": checksum(checkpoints[manifest.checkpoint])}
    for manifest in store.savepoints():
        assert manifest.savepoint is not None
        with store.snapshot(manifest.savepoint) as snapshot:
            savepoints[manifest.savepoint] = contents(snapshot)
    return checkpoints, savepoints


def checksum(state: State) -> int:
    """Stored as metadata, so that metadata and state are seen to belong together."""
    return sum(map(len, state)) * 1000 + sum(map(len, state.values()))


def check_no_orphans(store: CheckpointStore, files: Files) -> None:
    """Exactly the files that manifests list are there."""
    manifests: Sequence[Manifest] = [*store.checkpoints(), *store.savepoints()]
    assert set(files.listdir(store.layout.state)) == {f.name for m in manifests for f in m.files}
    assert set(files.listdir(store.layout.manifests)) == {m.file_name for m in manifests}


def check_recovered(files: Files, model: Model, go_on: bool = True, **options: Any) -> None:
    """Open what a crash left: whole, nothing in part, nothing left over, and good to go on with."""
    with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=files, **options) as store:
        checkpoints, savepoints = found(store)
        assert checkpoints in model.allowed_checkpoints()
        assert savepoints in model.allowed_savepoints()
        check_no_orphans(store, files)
        if go_on:
            state = checkpoints[max(checkpoints)] if checkpoints else {}
            key = encode_key("after", 1, b"crash")
            pending = store.begin()
            after = apply(state, {key: b"x"})
            pending.commit(write(pending, files, {key: b"x"}, 1), {"sum": checksum(after)})
            with store.snapshot() as snapshot:
                assert contents(snapshot) == after
            check_no_orphans(store, files)
    report = verify(DIRECTORY, files=files)
    assert report.sound and not report.orphans, report
