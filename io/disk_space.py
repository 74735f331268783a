"""What a long-lived job does when the disk is full: it waits, says so in its log, and goes on when there is room."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from hornbeam.storage.errors import DiskFullError

__all__ = ["is_disk_full", "when_there_is_room"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSE_SECONDS = 0.5
_SAY_SECONDS = 30.0


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or what caused it, says that there is no room."""
    while error is not None:
        if isinstance(error, DiskFullError):
            return True
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def when_there_is_room(action: Callable[[], T], what: str) -> T:
    """What `action` gives; tried again for as long as the disk is full. The action leaves nothing behind when it fails."""
    said = 0.0
    while True:
        try:
            return action()
        except Exception as error:
            if not is_disk_full(error):
                raise
            if time.monotonic() >= said + _SAY_SECONDS:
                said = time.monotonic()
                _log.warning("%s waits, as the disk is full: %s", what, error)
            time.sleep(PAUSE_SECONDS)
