"""A worker as the coordinator sees it: its process, the connection to it, and when it last said something."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from hornbeam.runners.log.fork_server import server
from hornbeam.runners.log.messages import Alive, Begin, Told
from hornbeam.runners.multiprocess.channel import MessageChannel

_GONE_SECONDS = 10.0


class WorkerProcess:
    """One worker of an attempt."""

    def __init__(self, begin: Begin) -> None:
        self.number = begin.worker
        self.pid, connection = server.fork(begin.worker)
        self.channel = MessageChannel(connection)
        self.last_seen = self.last_turn = time.monotonic()
        self._turns = -1
        self.told: Told | None = None
        self.is_ready = False
        self.is_done = False
        self.paused = ""
        self.channel.send(begin)

    def send(self, message: Any) -> None:
        """Tells it something; nothing happens when it has gone, which its connection says too."""
        try:
            self.channel.send(message)
        except OSError:
            pass

    def heard(self, message: Any) -> None:
        """It has said something."""
        self.last_seen = time.monotonic()
        if isinstance(message, Told | Alive) and message.turns != self._turns:
            self._turns = message.turns
            self.last_turn = self.last_seen
        if isinstance(message, Told):
            self.told = message

    def kill(self) -> None:
        """Ends the process, whatever it does, and waits until it is gone."""
        deadline = time.monotonic() + _GONE_SECONDS
        try:
            os.kill(self.pid, signal.SIGKILL)
            while time.monotonic() < deadline:
                os.kill(self.pid, 0)
                time.sleep(0.001)
        except ProcessLookupError:
            pass
        self.channel.close()
