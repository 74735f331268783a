"""A crash at every call of scripted and random workloads, several outcomes each; every call failing once."""

from __future__ import annotations

import errno
import threading
from copy import deepcopy

import attrs
import pytest
from storage_checkpoint.model import DIRECTORY, KEY_GROUPS, SMALL, Model, check_recovered, found
from storage_checkpoint.workload import SCRIPT, Workload, random_script
from storage_sim.simdisk import READ_ONLY_CALLS, SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.checkpoint import CheckpointStore
from hornbeam.storage.files import StorageError

PAGE = 64


def crash_everywhere(script: list[str], seed: int, outcomes: int) -> int:
    """Run once; before every call that changes something, check several disks that a crash could leave."""
    disk = SimDisk(seed=seed, page_size=PAGE)
    model = Model()
    tried = 0

    def crash(operation: str, path: str) -> None:
        nonlocal tried
        if operation in READ_ONLY_CALLS:
            return
        for outcome in range(outcomes):
            check_recovered(SimFiles(disk.after_crash(outcome)), attrs.evolve(model), go_on=outcome == 0)
            tried += 1

    disk.on_call = crash
    Workload(SimFiles(disk), model, seed).run(script)
    return tried


def test_a_crash_at_every_call_of_the_script_leaves_the_last_commit_whole() -> None:
    assert crash_everywhere(SCRIPT, seed=1, outcomes=4) > 400


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_every_call_of_a_random_workload(seed: int) -> None:
    assert crash_everywhere(random_script(seed), seed, outcomes=2) > 100


def test_what_an_opening_after_a_kill_has_shown_survives_a_crash_of_the_machine_after_it() -> None:
    disk = SimDisk(seed=5, page_size=PAGE)
    model = Model()
    shown = 0

    def kill_then_crash(operation: str, path: str) -> None:
        nonlocal shown
        if operation in READ_ONLY_CALLS:
            return
        copy = copy_running(disk)
        with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=SimFiles(copy)) as store:
            seen = found(store)
            after = SimFiles(copy.after_crash(0, "lose_all"))
        with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=after) as store:
            assert found(store) == seen
        shown += bool(seen[0])

    disk.on_call = kill_then_crash
    Workload(SimFiles(disk), model, seed=5).run(SCRIPT)
    assert shown > 50


def copy_running(disk: SimDisk) -> SimDisk:
    """The disk as other processes see it after this one was killed: the page cache and all."""
    observer, mutex, released = disk.on_call, disk.mutex, disk.lock_released
    disk.on_call = disk.mutex = disk.lock_released = None  # type: ignore[assignment]
    locks, disk.locks = disk.locks, {}
    copy = deepcopy(disk)
    disk.on_call, disk.mutex, disk.lock_released, disk.locks = observer, mutex, released, locks
    copy.mutex = threading.RLock()
    copy.lock_released = threading.Condition(copy.mutex)
    return copy


def fail_everywhere(script: list[str], number: int, seed: int, sticky: bool = False, stride: int = 1) -> int:
    """Run again and again, the n-th call failing; the process goes on, and ends as if nothing had happened."""
    at, tried = 1, 0
    while True:
        disk = SimDisk(seed=seed, page_size=PAGE)
        files = SimFiles(disk)
        model = Model()
        workload = Workload(files, model, seed=at, patience=3)
        failure = disk.fail(at, number, sticky=sticky)

        def room_again(error: StorageError, disk: SimDisk = disk) -> None:
            if sticky:
                disk.failure = None

        workload.on_error = room_again
        workload.run(script)
        if not failure.fired:
            return tried
        tried += 1
        assert not files.open_handles
        check_recovered(SimFiles(disk.after_crash(at)), model, go_on=False)
        store = workload.store
        assert store is not None
        store.gc()
        store.close()
        check_recovered(files, model)
        at += stride


SHORT = ["open", "commit", "savepoint:a", "commit", "commit", "compact", "delete:a", "reopen", "commit"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_every_call_may_fail_once(number: int) -> None:
    assert fail_everywhere(SHORT, number, seed=2) > 30


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.__getitem__)
def test_a_disk_that_fails_for_a_while(number: int) -> None:
    assert fail_everywhere(SHORT, number, seed=3, sticky=True, stride=2) > 20
