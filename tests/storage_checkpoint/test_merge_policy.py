"""A store keeps its number of runs low by itself, and nothing is lost by it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_checkpoint.model import DIRECTORY, check_no_orphans
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.checkpoint import CheckpointStore, StoreOptions, encode_key
from hornbeam.storage.checkpoint.compaction import choose_files, count_runs, replace_files
from hornbeam.storage.checkpoint.merge import merge
from hornbeam.storage.checkpoint.merger import MergeStoppedError
from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.errors import DiskFullError
from hornbeam.storage.files import OS_FILES

WORKERS = 4


def commit(store: CheckpointStore, number: int) -> None:
    """Every worker changes some of its keys; all that was there is changed in time."""
    pending = store.begin()
    files = []
    for worker in range(WORKERS):
        writer = pending.ticket.writer(f"worker{worker}", store.files)
        for key in (number % 7, number % 5, number):
            writer.put("s", worker, b"%d" % key, b"", b"%d" % number)
        files += writer.finish()
    pending.commit(files, {"number": number})


def expected(count: int) -> dict[tuple[int, bytes], bytes]:
    return {
        (worker, b"%d" % key): b"%d" % number
        for number in range(count)
        for key in (number % 7, number % 5, number)
        for worker in range(WORKERS)
    }


def found(store: CheckpointStore) -> dict[tuple[int, bytes], bytes]:
    with store.snapshot() as snapshot:
        return {(key.key_group, key.key): value for key, value in snapshot.scan()}


@pytest.mark.parametrize("policy", ["background", "commit"])
def test_runs_stay_bounded_and_savepoints_keep_what_was_merged_away(tmp_path: Path, policy: str) -> None:
    options = StoreOptions(runs_max=3, runs_limit=6, retain=2, merge=policy)
    with CheckpointStore(tmp_path, options, key_groups=8) as store:
        for number in range(60):
            commit(store, number)
            if number == 20:
                store.savepoint("early")
            assert store.head is not None
            assert count_runs(store.head.files) <= (3 if policy == "commit" else 7)
        assert found(store) == expected(60)
        assert store.merge_error is None and store.cleanup_error is None
        with store.snapshot("early") as early:
            there = {(key.key_group, key.key): value for key, value in early.scan()}
            assert there == expected(21)
    with CheckpointStore(tmp_path, options, key_groups=8) as store:
        assert found(store) == expected(60)
        check_no_orphans(store, OS_FILES)
        store.delete_savepoint("early")
        check_no_orphans(store, OS_FILES)


@pytest.mark.parametrize("live", [50, 1000, 10**9])
@pytest.mark.parametrize("sizes", [[10], [10, 10, 10, 200], [1, 3, 90]], ids=str)
def test_what_merges_write_and_keep_is_in_proportion(sizes: list[int], live: int) -> None:
    """`live` is what all of the state takes once nothing of it is there twice. (A large run behind small ones was once
    rewritten with every checkpoint: fifty times what was put.)"""
    files: tuple[StateFile, ...] = ()
    put = written = largest = 0
    for number in range(2000):
        size = sizes[number % len(sizes)]
        put += size
        files += (StateFile(f"{number}", size, "", 0, 1, 0, 0, 0, number),)
        inputs = choose_files(files, runs_max=8, full=False)
        if inputs is not None:
            merged = sum(file.size for file in inputs)
            if inputs[0] is files[0]:
                merged = min(live, merged)
            written += merged
            output = StateFile(f"merge-{number}", merged, "", 0, 1, 0, 0, 0, inputs[-1].run)
            files = replace_files(files, inputs, (output,)) or ()
        assert count_runs(files) <= 8
        largest = max(largest, sum(file.size for file in files))
    assert written <= 6 * put
    assert largest <= 2 * live + 8 * max(sizes)


def test_files_of_one_merge_are_read_as_one_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = StoreOptions(file_bytes_max=20_000, block_bytes=2_000, merge="caller")
    with CheckpointStore(tmp_path, options, key_groups=8) as store:
        for start in (0, 4000):
            pending = store.begin()
            writer = pending.writer("worker")
            for number in range(start, start + 5000):
                writer.put("s", number % 3, b"%d" % number, b"", b"%d" % start)
            pending.commit(writer.finish())
        assert store.compact(full=True)
        pending = store.begin()
        writer = pending.writer("worker")
        writer.put("s", 1, b"4", b"", b"new")
        pending.commit(writer.finish())
        assert store.head is not None and len(store.head.files) > 3
        at_once: list[int] = []
        monkeypatch.setattr(
            "hornbeam.storage.checkpoint.snapshot.merge",
            lambda sources, **rest: at_once.append(len(sources)) or merge(sources, **rest),
        )
        assert found(store) == {
            (number % 3, b"%d" % number): b"new" if number == 4 else b"4000" if number >= 4000 else b"0"
            for number in range(9000)
        }
        assert at_once == [2]


def test_without_a_policy_the_caller_merges(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, StoreOptions(runs_max=3, merge="caller"), key_groups=8) as store:
        for number in range(10):
            commit(store, number)
        assert store.head is not None and count_runs(store.head.files) == 10
        assert store.compact() and count_runs(store.head.files) <= 3


def test_a_merge_that_finds_no_room_does_not_fail_the_commit_and_is_tried_again() -> None:
    disk = SimDisk(seed=4)
    files = SimFiles(disk)
    store = CheckpointStore(DIRECTORY, StoreOptions(runs_max=2, merge="commit"), key_groups=8, files=files)

    def no_room_for_merges(operation: str, path: str) -> None:
        if operation == "create" and "-merge-" in path:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.on_call = no_room_for_merges
    for number in range(5):
        commit(store, number)
    assert isinstance(store.merge_error, DiskFullError)
    assert store.head is not None and count_runs(store.head.files) == 5 and found(store) == expected(5)
    disk.on_call = None
    commit(store, 5)
    assert store.merge_error is None and count_runs(store.head.files) <= 2 and found(store) == expected(6)
    check_no_orphans(store, files)


@pytest.mark.parametrize("fails", ["write merge", "rename manifest", "sync_dir manifests"])
def test_merges_that_fail_again_and_again_leave_no_files_behind(fails: str) -> None:
    disk = SimDisk(seed=5)
    files = SimFiles(disk)
    options = StoreOptions(runs_max=2, merge="commit", file_bytes_max=100, block_bytes=30, retain=2)
    store = CheckpointStore(DIRECTORY, options, key_groups=8, files=files)
    merging = False
    operation_that_fails, place = fails.split()

    def fail(operation: str, path: str) -> None:
        nonlocal merging
        if operation == "create" and "-merge-" in path:
            merging = True
        if merging and operation == operation_that_fails and place in path:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.on_call = fail
    for number in range(12):
        merging = False
        commit(store, number)
        assert found(store) == expected(number + 1)
        listed = {file.name for manifest in store.checkpoints() for file in manifest.files}
        left = set(files.listdir(store.layout.state)) - listed
        assert len(left) <= 4, f"after {number} merges that failed: {sorted(left)}"
    assert store.merge_error is not None
    crashed = SimFiles(disk.after_crash(9))
    disk.on_call = None
    store.gc()
    check_no_orphans(store, files)
    with CheckpointStore(DIRECTORY, options, key_groups=8, files=crashed) as again:
        assert found(again) == expected(12)


def test_closing_gives_up_a_merge_and_the_next_opening_clears_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = StoreOptions(runs_max=2, merge="caller", file_bytes_max=20_000, block_bytes=2_000)
    with CheckpointStore(tmp_path, options, key_groups=8) as store:
        for number in range(4):
            pending = store.begin()
            writer = pending.writer("w")
            writer.update({encode_key("s", 1, b"%06d" % key): b"%d" % number for key in range(9_000)})
            pending.commit(writer.finish())
        before = store.head
        steps = iter(range(3))

        def closed_in_the_middle() -> None:
            if next(steps, None) is None:
                raise MergeStoppedError

        monkeypatch.setattr(store._merger, "check", closed_in_the_middle)
        assert not store.compact(full=True) and store.head == before
        assert [name for name in os.listdir(store.layout.state) if "-merge-" in name] == []
    with CheckpointStore(tmp_path, options, key_groups=8) as store:
        check_no_orphans(store, OS_FILES)
        with store.snapshot() as snapshot:
            assert sum(1 for _, value in snapshot.scan() if value == b"3") == 9_000
