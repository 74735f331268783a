"""Signals that end a program while it runs a job: they become exceptions, so that the job ends in order before.

Ctrl-C is a KeyboardInterrupt already. SIGTERM and SIGHUP become SystemExit with the status that a shell gives for a
process that died of them (128 + the signal's number), where the program has not decided about them itself.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """What this program does at signals while a job runs."""

    def __init__(self) -> None:
        self._changed: list[signal.Signals] = []

    def raise_as_exits(self) -> None:
        """From now on; does nothing outside the main thread, and for signals that have a handler or are ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit)
                self._changed.append(number)

    def put_back(self) -> None:
        """As it was, where nobody has changed it since."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._changed:
            if signal.getsignal(number) is _exit:
                signal.signal(number, signal.SIG_DFL)
        self._changed = []


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def leave_quietly(error: BaseException) -> None:
    """Nothing more is printed for this exception, should it end the program."""
    before = sys.excepthook

    def hook(kind: type[BaseException], raised: BaseException, where: TracebackType | None) -> None:
        if raised is not error:
            before(kind, raised, where)

    sys.excepthook = hook
