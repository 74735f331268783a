"""What the store promises to its callers, on real files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import multiprocess
import pytest
from storage_checkpoint.model import check_no_orphans, contents

from hornbeam.storage import files as files_module
from hornbeam.storage.checkpoint import (
    CheckpointStore,
    NoSuchCheckpointError,
    StateFile,
    StoreOptions,
    StoreReader,
    WriteTicket,
    encode_key,
    groups_of_worker,
    verify,
)
from hornbeam.storage.errors import (
    CorruptionError,
    DiskFullError,
    FileExistsAlreadyError,
    LockTimeoutError,
    MissingFileError,
    StorageError,
    SyncFailedError,
)

OPTIONS = StoreOptions(retain=2, block_bytes=500, runs_max=3, merge="caller")


def opened(path: Path, **settings: object) -> CheckpointStore:
    return CheckpointStore(path / "store", OPTIONS, key_groups=16, **settings)  # type: ignore[arg-type]


def commit(store: CheckpointStore, *changes: tuple[str, int, bytes, bytes | None], **metadata: object) -> int:
    pending = store.begin()
    writer = pending.writer("w")
    for state, group, key, value in changes:
        if value is None:
            writer.delete(state, group, key, b"")
        else:
            writer.put(state, group, key, b"", value)
    return pending.commit(writer.finish(), metadata).checkpoint


def test_increments_add_up_and_metadata_comes_along(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.head is None and store.checkpoints() == []
        commit(store, ("s", 1, b"a", b"1"), ("s", 2, b"b", b"2"), offsets={"p0": 10}, watermark=5)
        commit(store, ("s", 1, b"a", b"3"), ("s", 2, b"b", None), ("t", 9, b"", b""), offsets={"p0": 20})
        with store.snapshot() as now, store.snapshot(1) as before:
            assert (now.checkpoint, now.metadata) == (2, {"offsets": {"p0": 20}})
            assert (now.get("s", 1, b"a"), now.get("s", 2, b"b"), now.get("t", 9, b"")) == (b"3", None, b"")
            assert before.get("s", 2, b"b") == b"2" and before.metadata["watermark"] == 5
            assert [key.state for key, _ in now.scan(state="t")] == ["t"]
            assert [value for _, value in now.scan(groups=range(2))] == [b"3"]
        assert store.checkpoints()[-1].base == 1
    with opened(tmp_path) as store, store.snapshot() as now:
        assert now.checkpoint == 2 and len(contents(now)) == 2


def test_all_windows_of_a_key(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        pending = store.begin()
        writer = pending.writer("w")
        for window in (b"", b"\xff\xff", b"w1"):
            writer.put("s", 3, b"k\xff", window, b"v" + window)
        writer.put("s", 3, b"k\xff\xff", b"", b"other")
        writer.put("s", 3, b"l", b"", b"other")
        pending.commit(writer.finish())
        with store.snapshot() as snapshot:
            assert list(snapshot.scan_key("s", 3, b"k\xff")) == [
                (b"", b"v"),
                (b"w1", b"vw1"),
                (b"\xff\xff", b"v\xff\xff"),
            ]


def test_what_is_not_committed_is_not_there(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, ("s", 1, b"a", b"1"))
        pending = store.begin()
        writer = pending.writer("w")
        writer.put("s", 1, b"a", b"", b"2")
        writer.finish()
        assert [m.checkpoint for m in store.checkpoints()] == [1]
        assert [m.checkpoint for m in StoreReader(tmp_path / "store").checkpoints()] == [1]
        assert len(os.listdir(store.layout.state)) == 2
    assert len(verify(str(tmp_path / "store")).orphans) == 1
    with opened(tmp_path) as store, store.snapshot() as snapshot:
        check_no_orphans(store, files_module.OS_FILES)
        assert snapshot.get("s", 1, b"a") == b"1"


def test_retention_keeps_the_last_n_and_savepoints_keep_theirs(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, ("s", 1, b"a", b"1"))
        store.savepoint("first", metadata={"why": "test"})
        for n in range(2, 8):
            pending = store.begin(incremental=n % 3 != 0)
            writer = pending.writer("w")
            writer.put("s", 1, b"a", b"", b"%d" % n)
            pending.commit(writer.finish())
        assert [m.checkpoint for m in store.checkpoints()] == [6, 7]
        with store.snapshot("first") as snapshot:
            assert snapshot.get("s", 1, b"a") == b"1" and snapshot.metadata == {"why": "test"}
        check_no_orphans(store, files_module.OS_FILES)
        with pytest.raises(FileExistsAlreadyError, match="first"):
            store.savepoint("first")
        store.savepoint("second", which="first")
        store.delete_savepoint("first")
        with store.snapshot("second") as snapshot:
            assert snapshot.get("s", 1, b"a") == b"1"
        store.delete_savepoint("second")
        assert store.savepoints() == []
        check_no_orphans(store, files_module.OS_FILES)
        with pytest.raises(
            NoSuchCheckpointError, match=r"savepoint 'first'; there is: checkpoint 6, checkpoint 7"
        ):
            store.snapshot("first")
        with pytest.raises(NoSuchCheckpointError, match="no checkpoint 3"):
            store.snapshot(3)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", "x" * 101, "a\n"])
def test_a_savepoint_needs_a_name_that_can_be_a_file(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as store:
        commit(store)
        with pytest.raises(ValueError, match="savepoint"):
            store.savepoint(name)


def test_going_on_from_an_older_checkpoint_or_a_savepoint(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, ("s", 1, b"a", b"1"))
        store.savepoint("good")
        for n in range(2, 5):
            commit(store, ("s", 1, b"a", b"%d" % n), ("s", 2, b"bad", b"x"))
        with store.restore("good") as snapshot:
            assert len(contents(snapshot)) == 1
        with pytest.raises(StorageError, match="what the next checkpoint adds to"):
            store.delete_savepoint("good")
        assert commit(store, ("s", 3, b"c", b"3")) == 5
        with store.snapshot() as snapshot:
            assert {key.key for key, _ in snapshot.scan()} == {b"a", b"c"}
            assert snapshot.manifest.base == 1
        store.delete_savepoint("good")
        pending = store.begin()
        with pytest.raises(StorageError, match="in progress first: 6"):
            store.restore(4)
        pending.abort()
        store.restore(4).close()
        commit(store)
        with store.snapshot() as snapshot:
            assert snapshot.get("s", 2, b"bad") == b"x"


def write_share(ticket: WriteTicket, worker: int, workers: int) -> tuple[StateFile, ...]:
    writer = ticket.writer(f"worker{worker}")
    for group in groups_of_worker(worker, workers, 16):
        for i in range(20):
            writer.put("s", group, b"%d" % i, b"", b"%d/%d" % (group, i))
    return writer.finish()


def test_several_processes_write_and_any_number_restores(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        pending = store.begin()
        assert pickle.loads(pickle.dumps(pending.ticket)) == pending.ticket
        with multiprocess.get_context("fork").Pool(2) as pool:
            shares = pool.starmap(write_share, [(pending.ticket, i, 3) for i in range(3)])
        pending.commit([file for share in shares for file in share])
    whole = {
        encode_key("s", group, b"%d" % i): b"%d/%d" % (group, i) for group in range(16) for i in range(20)
    }
    reader = StoreReader(tmp_path / "store")
    for workers in (1, 2, 3, 5, 16):
        restored: dict[bytes, bytes] = {}
        for worker in range(workers):
            own = groups_of_worker(worker, workers, 16)
            with reader.snapshot(groups=own) as snapshot:
                share = contents(snapshot)
                assert {key.key_group for key, _ in snapshot.scan()} == set(own)
            assert not restored.keys() & share.keys()
            restored |= share
        assert restored == whole
    with reader.snapshot(groups=range(8)) as half, pytest.raises(ValueError, match="key group 8"):
        half.get("s", 8, b"1")


def test_large_shares_become_several_files_and_the_last_change_of_a_key_counts(tmp_path: Path) -> None:
    options = StoreOptions(file_bytes_max=2000, block_bytes=300)
    with CheckpointStore(tmp_path, options) as store:
        pending = store.begin()
        writer = pending.writer("w")
        for n in range(200):
            writer.put("s", n % 5, b"k%d" % (n % 50), b"", b"%d" % n)
        files = writer.finish()
        assert len(files) > 5
        pending.commit(files)
        with store.snapshot() as snapshot:
            assert {value for _, value in snapshot.scan()} == {b"%d" % n for n in range(150, 200)}
        assert store.compact(full=True)
        with store.snapshot() as snapshot:
            assert {value for _, value in snapshot.scan()} == {b"%d" % n for n in range(150, 200)}
        assert not store.compact(full=True)


def test_overtaken_foreign_and_unfinished_checkpoints_cannot_be_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first, second = store.begin(), store.begin()
        foreign = first.writer("w")
        foreign.put("s", 1, b"a", b"", b"1")
        files = foreign.finish()
        with pytest.raises(StorageError, match="not written for checkpoint 2"):
            second.commit(files)
        with pytest.raises(StorageError, match="listed twice"):
            first.commit(files * 2)
        with pytest.raises(TypeError):
            second.commit((), {"x": object()})
        second.commit()
        with pytest.raises(StorageError, match="overtaken by 2"):
            first.commit(files)
        first.abort()
        first.abort()
        check_no_orphans(store, files_module.OS_FILES)
        with pytest.raises(StorageError, match="not in progress"):
            second.commit()
        third = store.begin()
        wide = third.writer("w")
        wide.put("s", 16, b"a", b"", b"1")
        with pytest.raises(StorageError, match="key group 16"):
            third.commit(wide.finish())
        with pytest.raises(ValueError, match="label"):
            third.writer("../x")
    with pytest.raises(StorageError, match="closed"):
        store.begin()


def test_commit_refuses_a_file_that_is_not_as_written(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        pending = store.begin()
        writer = pending.writer("w")
        writer.put("s", 1, b"a", b"", b"1")
        files = writer.finish()
        path = store.layout.state_path(files[0].name)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[:-10])
        with pytest.raises(CorruptionError):
            pending.commit(files)
        Path(path).write_bytes(whole)
        pending.commit(files)


def test_one_writer_many_readers(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a checkpoint store"):
        StoreReader(tmp_path)
    with opened(tmp_path) as store:
        with pytest.raises(LockTimeoutError):
            opened(tmp_path, lock_timeout_s=0.01)
        commit(store, ("s", 1, b"a", b"1"))
        reader = StoreReader(tmp_path / "store")
        held = reader.snapshot()
        for n in range(5):
            commit(store, ("s", 1, b"a", b"%d" % n))
            store.compact(full=True)
        assert held.get("s", 1, b"a") == b"1"
        assert contents(held) == {encode_key("s", 1, b"a"): b"1"}
        with reader.snapshot() as now:
            assert now.get("s", 1, b"a") == b"4"


def test_merging_keeps_the_number_of_files_low_and_the_content_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        expected: dict[bytes, bytes] = {}
        for n in range(40):
            hot, gone = ("s", 1, b"hot", b"%d" % n), ("s", n % 16, b"%d" % (n - 16), None)
            commit(store, ("s", n % 16, b"%d" % n, b"v"), hot, gone)
            expected[encode_key("s", n % 16, b"%d" % n)] = b"v"
            expected[encode_key("s", 1, b"hot")] = b"%d" % n
            expected.pop(encode_key("s", n % 16, b"%d" % (n - 16)), None)
            store.compact()
            assert store.head is not None and len(store.head.files) <= 3
            with store.snapshot() as snapshot:
                assert contents(snapshot) == expected
        store.compact(full=True)
        assert store.head is not None and sum(file.tombstones for file in store.head.files) == 0
        check_no_orphans(store, files_module.OS_FILES)


def test_a_merge_in_another_process_while_checkpoints_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for n in range(5):
            commit(store, ("s", 1, b"%d" % n, b"v"))
        plan = store.plan_merge()
        assert plan is not None
        with multiprocess.get_context("fork").Pool(1) as pool:
            outputs = pool.apply(plan.execute)
        commit(store, ("s", 1, b"5", b"v"))
        store.gc()
        assert store.apply_merge(plan, outputs)
        with store.snapshot() as snapshot:
            assert len(contents(snapshot)) == 6
        commit(store, ("s", 1, b"6", b"v"))
        stale = store.plan_merge(full=True)
        assert stale is not None
        merged = stale.execute()
        store.compact(full=True)
        assert not store.apply_merge(stale, merged)
        check_no_orphans(store, files_module.OS_FILES)


def test_a_merge_of_files_that_a_full_checkpoint_has_replaced_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for n in range(5):
            commit(store, ("s", 1, b"%d" % n, b"v"))
        plan = store.plan_merge()
        assert plan is not None
        for _ in range(2):
            store.begin(incremental=False).commit()
        with pytest.raises(MissingFileError):
            plan.execute()
        store.abandon_merge(plan)
        store.plan_merge = lambda full: plan  # type: ignore[method-assign]
        assert not store.compact()


def test_a_merge_that_is_through_when_the_store_has_been_closed_touches_nothing(tmp_path: Path) -> None:
    """Who has the store then adds to the checkpoint as it was, and knows nothing of the merged files."""
    store = opened(tmp_path)
    for n in range(5):
        commit(store, ("s", 1, b"%d" % n, b"v"))
    plan = store.plan_merge()
    assert plan is not None
    outputs = plan.execute()
    store.close()
    with opened(tmp_path) as other:
        commit(other, ("s", 1, b"5", b"v"))
        assert not store.apply_merge(plan, outputs)
        with other.snapshot() as snapshot:
            assert len(contents(snapshot)) == 6
        other.gc()
        check_no_orphans(other, files_module.OS_FILES)


@pytest.fixture
def armed() -> object:
    yield files_module.arm
    files_module.arm(None)


def test_after_a_failed_sync_the_file_is_written_anew_under_another_name(tmp_path: Path, armed) -> None:  # type: ignore[no-untyped-def]
    with opened(tmp_path) as store:
        pending = store.begin()
        writer = pending.writer("w")
        writer.put("s", 1, b"a", b"", b"1")
        armed("files.sync:1:eio")
        files = writer.finish()
        armed(None)
        assert files[0].name.endswith("-w-0.state") or files[0].name.endswith("-w-1.state")
        pending.commit(files)
        assert verify(str(tmp_path / "store")).sound
        again = store.begin()
        writer = again.writer("w")
        writer.put("s", 1, b"a", b"", b"2")
        armed("files.sync:1:eio,files.sync:2:eio,files.sync:3:eio")
        with pytest.raises(SyncFailedError):
            writer.finish()
        armed(None)
        again.commit(writer.finish())
        with store.snapshot() as snapshot:
            assert snapshot.get("s", 1, b"a") == b"2"
        check_no_orphans(store, files_module.OS_FILES)


def test_a_full_disk_fails_the_checkpoint_and_not_the_store(tmp_path: Path, armed) -> None:  # type: ignore[no-untyped-def]
    with opened(tmp_path) as store:
        commit(store, ("s", 1, b"a", b"1"))
        pending = store.begin()
        writer = pending.writer("w")
        writer.put("s", 1, b"a", b"", b"2")
        armed("files.write:1:enospc")
        with pytest.raises(DiskFullError):
            writer.finish()
        files = writer.finish()
        armed("files.write:1:enospc")
        with pytest.raises(DiskFullError):
            pending.commit(files)
        assert [m.checkpoint for m in store.checkpoints()] == [1]
        pending.commit(files)
        assert [m.checkpoint for m in store.checkpoints()] == [1, 2]


def test_a_failure_while_clearing_away_does_not_undo_a_commit(tmp_path: Path, armed) -> None:  # type: ignore[no-untyped-def]
    with opened(tmp_path) as store:
        for n in range(2):
            commit(store, ("s", 1, b"a", b"%d" % n))
        armed("files.unlink:1:eio")
        assert commit(store, ("s", 1, b"a", b"3")) == 3
        assert isinstance(store.cleanup_error, StorageError)
        armed(None)
        commit(store)
        assert store.cleanup_error is None
        assert [m.checkpoint for m in store.checkpoints()] == [3, 4]
        check_no_orphans(store, files_module.OS_FILES)


def test_files_that_are_not_the_stores_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        Path(store.layout.state, "notes.txt").write_text("mine")
    with opened(tmp_path) as store:
        assert os.listdir(store.layout.state) == ["notes.txt"]


def test_gc_spares_what_is_being_written_and_takes_what_comes_too_late(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        given_up, going_on = store.begin(), store.begin()
        late, current = given_up.writer("late"), going_on.writer("current")
        late.put("s", 1, b"a", b"", b"1")
        current.put("s", 1, b"a", b"", b"2")
        files = current.finish()
        given_up.abort()
        late_names = [file.name for file in late.finish()]
        assert store.gc() == late_names
        going_on.commit(files)
        check_no_orphans(store, files_module.OS_FILES)


def test_another_number_of_key_groups_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store)
    with CheckpointStore(tmp_path / "store", key_groups=8) as store:
        with pytest.raises(StorageError, match="16 key groups, not 8"):
            store.begin()
        assert store.begin(incremental=False).checkpoint == 2
    with CheckpointStore(tmp_path / "store") as store:
        assert store.key_groups == 16
