"""A state machine: whatever is done to a store in whatever order, crashes included, dicts say the same."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from storage_checkpoint.model import (
    DIRECTORY,
    KEY_GROUPS,
    SMALL,
    Changes,
    State,
    apply,
    check_no_orphans,
    checksum,
    contents,
    encode_key,
    found,
    write,
)
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.checkpoint import CheckpointStore, PendingCheckpoint, StoreReader, verify
from hornbeam.storage.files import StorageError

keys = st.builds(
    encode_key,
    st.sampled_from(["a", "b"]),
    st.integers(0, KEY_GROUPS - 1),
    st.sampled_from([b"", b"k", b"kk"]),
)
changes = st.dictionaries(keys, st.none() | st.binary(max_size=40), max_size=12)
names = st.sampled_from(["x", "y", "z"])


class StoreMachine(RuleBasedStateMachine):
    """Checkpoints commit on a job's state; the model keeps each in a dict."""

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.disk = SimDisk(seed=seed, page_size=64)
        self.state: State = {}
        self.checkpoints: dict[int, State] = {}
        self.savepoints: dict[str, State] = {}
        self.pending: PendingCheckpoint | None = None
        self.pending_changes: Changes = {}
        self.open()

    def open(self) -> None:
        self.files = SimFiles(self.disk)
        self.store = CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=self.files)
        self.pending = None
        self.state = self.checkpoints[max(self.checkpoints)] if self.checkpoints else {}
        self.check_retired()
        check_no_orphans(self.store, self.files)

    @rule(changes=changes, workers=st.integers(1, 3), incremental=st.booleans())
    def commit(self, changes: Changes, workers: int, incremental: bool) -> None:
        pending = self.store.begin(incremental)
        state = apply(self.state, changes)
        files = write(pending, self.files, changes if incremental else dict(state), workers)
        pending.commit(files, {"sum": checksum(state)})
        self.state = self.checkpoints[pending.checkpoint] = state

    @precondition(lambda self: self.pending is None)
    @rule(changes=changes)
    def begin(self, changes: Changes) -> None:
        self.pending = self.store.begin()
        write(self.pending, self.files, changes, 2)

    @precondition(lambda self: self.pending is not None)
    @rule()
    def abort(self) -> None:
        assert self.pending is not None
        self.pending.abort()
        self.pending = None

    @precondition(lambda self: self.checkpoints)
    @rule(name=names)
    def savepoint(self, name: str) -> None:
        if name in self.savepoints:
            return
        self.store.savepoint(name)
        self.savepoints[name] = self.checkpoints[max(self.checkpoints)]

    @rule(name=names)
    def delete_savepoint(self, name: str) -> None:
        if name not in self.savepoints:
            return
        head = self.store.head
        if head is not None and head.savepoint == name:
            return
        self.store.delete_savepoint(name)
        del self.savepoints[name]

    @precondition(lambda self: self.pending is None and (self.checkpoints or self.savepoints))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        kept = [m.checkpoint for m in self.store.checkpoints()]
        which = data.draw(st.sampled_from([*kept, *sorted(self.savepoints)]))
        with self.store.restore(which) as snapshot:
            self.state = contents(snapshot)
        assert self.state == (self.checkpoints[which] if isinstance(which, int) else self.savepoints[which])

    @rule(full=st.booleans())
    def compact(self, full: bool) -> None:
        self.store.compact(full)

    @rule()
    def gc(self) -> None:
        self.store.gc()
        self.check_retired()
        if self.pending is None:
            check_no_orphans(self.store, self.files)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def kill(self) -> None:
        self.files.kill()
        self.open()

    @rule(seed=st.integers(0, 1000))
    def crash(self, seed: int) -> None:
        self.disk = self.disk.after_crash(seed)
        self.open()

    @rule(seed=st.integers(0, 1000), calls=st.integers(1, 25), number=st.sampled_from([5, 28]))
    def fail_in_commit(self, seed: int, calls: int, number: int) -> None:
        if self.pending is not None:
            return
        state = {**self.state, encode_key("f", 1, b"%d" % seed): b"v"}
        self.disk.fail(calls, number)
        pending = self.store.begin()
        try:
            files = write(pending, self.files, {encode_key("f", 1, b"%d" % seed): b"v"}, 1)
            pending.commit(files, {"sum": checksum(state)})
        except StorageError:
            self.disk.failure = None
            pending.abort()
            return
        self.disk.failure = None
        self.state = self.checkpoints[pending.checkpoint] = state

    def check_retired(self) -> None:
        """After an opening or gc no more is kept than has to be."""
        head = self.store.head
        kept = {*sorted(self.checkpoints)[-SMALL.retain :]}
        if head is not None and head.savepoint is None:
            kept.add(head.checkpoint)
        assert {m.checkpoint for m in self.store.checkpoints()} == kept

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        checkpoints, savepoints = found(self.store)
        assert checkpoints == {n: self.checkpoints[n] for n in checkpoints}
        assert checkpoints.keys() >= {*sorted(self.checkpoints)[-SMALL.retain :]}
        assert savepoints == self.savepoints
        reader = StoreReader(DIRECTORY, files=self.files)
        assert [m.checkpoint for m in reader.checkpoints()] == sorted(checkpoints)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            assert verify(DIRECTORY, files=self.files).sound


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestStoreMachine = StoreMachine.TestCase
