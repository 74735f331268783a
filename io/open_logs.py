"""The logs that the steps of this process have open: one Log a directory, shared by all who use it, closed by the last."""

from __future__ import annotations

import os
import threading

from hornbeam.storage.log import Log

__all__ = ["acquire", "release"]

_lock = threading.Lock()
#: By directory and process (a forked child opens its own): the log, and how many use it.
_open: dict[tuple[str, int], tuple[Log, int]] = {}


def acquire(directory: str) -> Log:
    """The open log of a directory; each call is matched by one of `release`."""
    key = os.path.realpath(directory), os.getpid()
    with _lock:
        log, users = _open.get(key) or (Log(directory), 0)
        _open[key] = log, users + 1
        return log


def release(log: Log) -> None:
    """The caller needs the log no more."""
    key = os.path.realpath(log.directory), os.getpid()
    with _lock:
        found = _open.get(key)
        if found is None or found[0] is not log:
            return
        if found[1] > 1:
            _open[key] = log, found[1] - 1
        else:
            del _open[key]
            log.close()
