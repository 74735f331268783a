"""Waiting for file descriptors, whatever their numbers: select() refuses those from 1024 on."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], timeout_seconds: float | None = None) -> list[int]:
    """Those that can be read without waiting, or are at their end; empty when the time is over. None waits for ever."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_seconds is None else max(0, math.ceil(timeout_seconds * 1000))
    return [descriptor for descriptor, _ in poll.poll(timeout_ms)]
