"""The machine goes down, a process is killed, or a call fails: at every call to the disk along random workloads."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from storage_log.model import ROOT, Model, Workload, check, check_goes_on
from storage_sim.simdisk import READ_ONLY_CALLS, SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.log import Log

counts = {"machine": 0, "kill": 0, "error": 0}


def crash_machine_everywhere(seed: int, steps: int, every: int = 1, outcomes: int = 1) -> None:
    """One run; at every call that changes the disk, look at what could be found after a crash there."""
    disk = SimDisk(seed=seed, page_size=256)
    model = Model()
    calls = 0

    def look(operation: str, path: str) -> None:
        nonlocal calls
        if operation in READ_ONLY_CALLS:
            return
        calls += 1
        if calls % every:
            return
        for outcome in range(outcomes):
            after = disk.after_crash(seed * 1_000_003 + calls * 7 + outcome)
            log = Log(ROOT, files=SimFiles(after))
            check(log, model, machine_crashed=True)
            counts["machine"] += 1
            if calls % 5 == 0:
                check_goes_on(log, model)

    workload = Workload([SimFiles(disk), SimFiles(disk)], model, seed)
    disk.on_call = look
    workload.run(steps)


@pytest.mark.parametrize("seed", range(3))
def test_machine_crash_at_every_call(seed: int) -> None:
    crash_machine_everywhere(seed, steps=12)


def fail_everywhere(
    seed: int, steps: int, number: int, start: int = 1, step: int = 1, sticky: bool = False
) -> int:
    """Runs with the n-th call failing, for every n; then the log holds what it must, now and after a crash. How
    many runs there were."""
    at = start
    while True:
        disk = SimDisk(seed=seed * 31 + at, page_size=256)
        model = Model()
        processes = [SimFiles(disk), SimFiles(disk)]
        workload = Workload(processes, model, seed)
        failure = disk.fail(at, number, sticky)
        workload.run(steps)
        fired = failure.fired
        disk.failure = None
        for process in processes:
            process.kill()
        check(Log(ROOT, files=SimFiles(disk)), model, True, fsync_failed=number != errno.EMFILE)
        after = disk.after_crash(seed + at)
        log = Log(ROOT, files=SimFiles(after))
        check(log, model, True, fsync_failed=number != errno.EMFILE)
        check_goes_on(log, model)
        counts["error"] += 1
        if not fired:
            return (at - start) // step
        at += step


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=lambda n: errno.errorcode[n])
def test_every_call_may_fail_once(number: int) -> None:
    steps = 5 if number == errno.EIO else 8  # reads can fail with it too: three times as many calls
    assert fail_everywhere(seed=number, steps=steps, number=number) > 90


def test_a_disk_that_fails_from_some_call_on() -> None:
    assert fail_everywhere(seed=3, steps=6, number=errno.ENOSPC, sticky=True) > 40


def kill_everywhere(seed: int, steps: int, step: int = 1, start: int = 1) -> int:
    """One of two processes is killed at its n-th call, for every n; the other lives and everything written is there.
    How many kills there were."""
    at = start
    while True:
        disk = SimDisk(seed=seed, page_size=256)
        model = Model()
        processes = [SimFiles(disk), SimFiles(disk)]
        workload = Workload(processes, model, seed)
        disk.crash_at = at
        try:
            workload.run(steps)
            return (at - start) // step
        except BaseException as crash:
            if type(crash).__name__ != "SimCrash":
                raise
        disk.crash_at, disk.down = None, False
        for process in processes:
            process.kill()
        log = Log(ROOT, files=SimFiles(disk))
        check(log, model, machine_crashed=False)
        check_goes_on(log, model)
        counts["kill"] += 1
        at += step


def test_killed_at_every_call() -> None:
    assert kill_everywhere(seed=5, steps=10) > 200


if __name__ == "__main__":  # python -m ... [seconds]: for ever longer campaigns
    import time

    end = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 60)
    seed = int(os.environ.get("SEED", "1000"))
    while time.monotonic() < end:
        seed += 1
        print("seed", seed, counts, flush=True)
        crash_machine_everywhere(seed, steps=14)
        kill_everywhere(seed, steps=10)
        for number in (errno.EIO, errno.ENOSPC, errno.EMFILE):
            fail_everywhere(seed, steps=8, number=number, sticky=seed % 4 == 0)
    print(counts)
