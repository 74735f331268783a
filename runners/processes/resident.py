"""How much memory processes have that is their own, not pages of files; as Linux tells it."""

from __future__ import annotations

import os

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def anonymous_bytes(pid: int | None = None) -> int:
    """What a process (this one) has, be it shared with those that it was forked from; 0 where nobody tells.

    Some microseconds, however much it is.
    """
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def private_bytes() -> int:
    """What only this process has; 0 where nobody tells. Some milliseconds for each 100 MB."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Private_Dirty:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0
