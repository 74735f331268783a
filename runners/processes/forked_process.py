"""A worker's process as the program sees it: the connection to it, and how it has ended."""

from __future__ import annotations

import os
import signal
import struct

from multiprocess.connection import Connection

from hornbeam.runners.processes.channel import MessageChannel

#: What the server tells of it: its process id when it begins, its wait status when it has ended.
PROCESS_ID = struct.Struct("<q")
STATUS = struct.Struct("<i")


class ForkedProcess:
    """A process that the fork server was asked for; it may still be starting."""

    def __init__(self, number: int, channel: MessageChannel, status: Connection) -> None:
        self.number = number
        self.channel = channel
        self._status = status
        self._pid = 0
        self._ended: int | None = None

    def has_begun(self, seconds: float = 0) -> bool:
        """Whether its process id is known; waits for it so long. The server may be hung."""
        if self._pid or self._ended is not None:
            return True
        return not self._status.closed and self._status.poll(seconds)

    @property
    def pid(self) -> int:
        """The process id, waited for; 0 when the process was never there."""
        if not self._pid and self._ended is None:
            data = self._read(PROCESS_ID.size)
            self._pid = int(PROCESS_ID.unpack(data)[0]) if data else 0
            if not data:
                self._ended = signal.SIGKILL.value
        return self._pid

    @property
    def sentinel(self) -> Connection:
        """Becomes readable when the process has ended, and once when it begins."""
        return self._status

    def ended(self, seconds: float = 0) -> int | None:
        """The wait status of the process once it has ended; waits for it so long."""
        if self._ended is None and self.pid and self._status.poll(seconds):
            data = self._read(STATUS.size)
            # Nothing to read: the server has gone, and with it the worker.
            self._ended = int(STATUS.unpack(data)[0]) if data else signal.SIGKILL.value
        return self._ended

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._status.fileno(), size)
        except OSError:
            return b""

    def kill(self, signal_: int = signal.SIGKILL) -> None:
        """Sends the process a signal, unless it has ended."""
        if self.ended() is None:
            try:
                os.kill(self.pid, signal_)
            except ProcessLookupError:
                pass  # it ends just now

    def close(self) -> None:
        """Closes the connections."""
        self.channel.close()
        self._status.close()

    def how_it_ended(self) -> str:
        """How the process ended, in words."""
        status = self.ended(1.0)
        if status is None:
            return "stopped answering"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
            hint = " (out of memory?)" if number == signal.SIGKILL else ""
            return f"was killed by signal {number}, {name}{hint}"
        return f"exited with status {os.WEXITSTATUS(status)}"
