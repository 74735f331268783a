"""Crashes at every call of a workload and failures of every call, on the simulated disk: bounded in the suite, and

    python tests/storage_checkpoint/crash_campaign.py --seconds 600 --seed 1

for as long as one likes.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import sys
import threading
import time
from copy import deepcopy

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import attrs
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


def crash_in_recovery_everywhere(script: list[str], seed: int, one_in: int) -> int:
    """After some of the crashes, the machine goes down again at every call of the opening that follows."""
    disk = SimDisk(seed=seed, page_size=PAGE)
    model = Model()
    rng = random.Random(seed)
    tried = 0

    def crash(operation: str, path: str) -> None:
        if operation not in READ_ONLY_CALLS and rng.randrange(one_in) == 0:
            again = disk.after_crash(rng.randrange(100))
            again.on_call = lambda operation, path: crash_again(again, operation)
            CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=SimFiles(again)).close()

    def crash_again(again: SimDisk, operation: str) -> None:
        nonlocal tried
        if operation not in READ_ONLY_CALLS:
            check_recovered(SimFiles(again.after_crash(rng.randrange(100))), attrs.evolve(model), go_on=False)
            tried += 1

    disk.on_call = crash
    Workload(SimFiles(disk), model, seed).run(script)
    return tried


def crash_after_failures(script: list[str], number: int, seed: int, one_in: int) -> int:
    """Calls fail now and then, the process copes; and the machine may go down at any moment meanwhile."""
    disk = SimDisk(seed=seed, page_size=PAGE)
    files = SimFiles(disk)
    model = Model()
    rng = random.Random(seed)
    tried = 0

    def crash(operation: str, path: str) -> None:
        nonlocal tried
        if disk.failure is None or disk.failure.fired:
            disk.fail(rng.randrange(1, 60), number)
        if operation not in READ_ONLY_CALLS and rng.randrange(one_in) == 0:
            check_recovered(SimFiles(disk.after_crash(rng.randrange(100))), attrs.evolve(model), go_on=False)
            tried += 1

    disk.on_call = crash
    Workload(files, model, seed, patience=6).run(script)
    return tried


def kill_and_crash_everywhere(script: list[str], seed: int) -> int:
    """Before every call: kill the process, open the store again, then take the machine down, losing all it can.

    What the second opening has shown must be what the third one shows.
    """
    disk = SimDisk(seed=seed, page_size=PAGE)
    tried = 0

    def kill_then_crash(operation: str, path: str) -> None:
        nonlocal tried
        if operation in READ_ONLY_CALLS:
            return
        copy = copy_running(disk)
        with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=SimFiles(copy)) as store:
            seen = found(store)
            after = SimFiles(copy.after_crash(0, "lose_all"))
        with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=after) as store:
            assert found(store) == seen
        tried += 1

    disk.on_call = kill_then_crash
    Workload(SimFiles(disk), Model(), seed).run(script)
    return tried


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
        disk.failure = None
        store = workload.store
        assert store is not None
        store.gc()
        store.close()
        check_recovered(files, model)
        at += stride


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    crashes = double = kills = failures = 0
    seed = args.seed
    while time.monotonic() < end:
        script = SCRIPT if seed == args.seed else random_script(seed)
        crashes += crash_everywhere(script, seed, outcomes=4)
        kills += kill_and_crash_everywhere(script, seed)
        double += crash_in_recovery_everywhere(script, seed, one_in=5)
        for number in (errno.ENOSPC, errno.EIO, errno.EMFILE):
            crashes += crash_after_failures(script, number, seed, one_in=1)
            failures += fail_everywhere(script, number, seed)
            failures += fail_everywhere(script, number, seed, sticky=True, stride=3)
        seed += 1
    print(
        f"{crashes} outcomes of crashes, {double} of second crashes during recovery, {kills} kills and then"
    )
    print(f"crashes, {failures} runs with failing calls; seeds {args.seed} to {seed - 1}")


if __name__ == "__main__":
    main()
