"""The processes of a job as the system shows them, and its newest checkpoint as its folder does."""

from __future__ import annotations

import os

from hornbeam.runners.log.job_folder import JobFolder


def children(pid: int) -> list[int]:
    """The process's children now."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def grandchildren(pid: int) -> list[int]:
    """The workers of a coordinator, which are its fork server's children."""
    return [worker for server in children(pid) for worker in children(server)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def own_bytes(pid: int) -> int:
    """The memory of a process and all that it and these have started, but for pages of files; shared pages count once."""
    found, left = 0, [pid]
    while left:
        each = left.pop()
        left += children(each)
        try:
            with open(f"/proc/{each}/smaps_rollup") as file:
                sizes = [line.split()[1] for line in file if line.startswith("Pss_Anon:")]
        except OSError:
            continue  # it has just ended
        found += sum(map(int, sizes)) << 10
    return found


def newest_checkpoint(folder: JobFolder) -> int:
    """Its number; 0 for none."""
    try:
        names = os.listdir(os.path.join(folder.checkpoints, "manifests"))
    except OSError:
        return 0
    numbers = [name.removeprefix("checkpoint-")[:12] for name in names if name.startswith("checkpoint-")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)
