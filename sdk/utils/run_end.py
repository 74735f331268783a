"""What is to be done when a run ends, however it ends: a runner opens the scope, anything in the run adds to it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar

_log = logging.getLogger(__name__)
_callbacks: ContextVar[list[Callable[[], None]] | None] = ContextVar("hornbeam_run_end", default=None)


@contextlib.contextmanager
def run_scope() -> Iterator[None]:
    """Calls, at the end of the block, what `at_run_end` was given in it by this thread, the latest first.

    A callback that fails is logged; it neither hides the run's own error nor keeps the others from being called.
    """
    callbacks: list[Callable[[], None]] = []
    token = _callbacks.set(callbacks)
    try:
        yield
    finally:
        _callbacks.reset(token)
        for callback in reversed(callbacks):
            try:
                callback()
            except Exception:
                _log.warning("Something could not be tidied up after a run", exc_info=True)


def at_run_end(callback: Callable[[], None]) -> bool:
    """Have the callback called when the run ends; False, and never called, where there is no scope."""
    callbacks = _callbacks.get()
    if callbacks is None:
        return False
    callbacks.append(callback)
    return True
