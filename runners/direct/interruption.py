"""Breaking off what a thread is at, for a cancelled run whose bundle does not come to an end by itself.

An exception is set in the thread, which raises it at the next step of its Python code: in a timer that sets itself for
ever, a process() without end, the sleep between two elements. A call that does not come back from C is not broken off.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable


class Interrupted(BaseException):
    """The run was cancelled while it was at work. Not an Exception, so that user code lets it through."""


class Interruption:
    """Runs a function that another thread may break off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Calls the function on this thread; returns when it does, or soon after `interrupt`."""
        self._thread = threading.get_ident()
        try:
            try:
                work()
            finally:
                # Whoever interrupts holds the lock, so nothing is raised once this thread has had it.
                with self._lock:
                    self._thread = None
        except Interrupted:
            pass
        finally:
            self._thread = None

    def interrupt(self) -> None:
        """Has Interrupted raised in the function, if it is running. On any other thread."""
        with self._lock:
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(Interrupted)
                )
