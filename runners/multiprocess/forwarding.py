"""What user code on a worker says, to the coordinator: log records with their step, and what is printed."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from hornbeam.runners.engine.running import running_step
from hornbeam.runners.multiprocess.task import LogRecord, Text

_CHARS_MAX = 1 << 13
_PLAIN = (int, float, str, bool, type(None))


class ForwardedLogs(logging.Handler):
    """Sends every record on; the coordinator's own handlers decide what becomes of it."""

    def __init__(self, send: Callable[[Any], None], worker: int) -> None:
        super().__init__()
        self._send = send
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record. What it holds that is not plain goes as text."""
        try:
            message = record.getMessage()
            if record.exc_info:
                record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
        except Exception:
            self.handleError(record)
            return
        attributes = {name: value for name, value in vars(record).items() if isinstance(value, _PLAIN)}
        attributes.update(msg=message, args=None, exc_info=None, hornbeam_worker=self._worker)
        attributes["hornbeam_step"] = running_step(sys._getframe())
        self._send(LogRecord(attributes))


class ForwardedStream(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr on a worker. Sends what is written by many lines at once."""

    def __init__(self, send: Callable[[Any], None], name: str) -> None:
        self._send = send
        self._name = name
        self._parts: list[str] = []
        self._size = 0
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8."""
        return "utf-8"

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Takes text; sends it when there is much of it."""
        with self._lock:
            self._parts.append(text)
            self._size += len(text)
            is_full = self._size >= _CHARS_MAX
        if is_full:
            self.flush()
        return len(text)

    def forget(self) -> None:
        """In a process that user code has forked: what was written before is the worker's to send."""
        self._lock = threading.Lock()
        self._parts, self._size = [], 0

    def flush(self) -> None:
        """Sends what was written."""
        with self._lock:
            parts, self._parts, self._size = self._parts, [], 0
        if parts:
            self._send(Text(self._name, "".join(parts)))


def emit_record(record: LogRecord) -> None:
    """Gives a worker's record to the loggers of this process."""
    made = logging.makeLogRecord(record.attributes)
    logger = logging.getLogger(made.name)
    if not logger.isEnabledFor(made.levelno):
        return
    step = getattr(made, "hornbeam_step", None)
    where = f"worker {made.hornbeam_worker}" + (f", step {step!r}" if step else "")  # type: ignore[attr-defined]
    made.msg = f"{made.msg} [{where}]"
    logger.handle(made)


def say_directly(message: LogRecord | Text) -> None:
    """Writes to the process's own output, for one that user code has forked from a worker."""
    if isinstance(message, Text):
        os.write(1 if message.stream == "stdout" else 2, message.text.encode("utf-8", "backslashreplace"))
    else:
        os.write(2, f"{message.attributes['msg']}\n".encode("utf-8", "backslashreplace"))


def print_text(text: Text) -> None:
    """Prints what was printed on a worker."""
    stream = sys.stdout if text.stream == "stdout" else sys.stderr
    if stream is not None:
        stream.write(text.text)
        stream.flush()
