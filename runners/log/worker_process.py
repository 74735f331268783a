"""A worker as the coordinator sees it: its process, the connection to it, and when it last said something."""

from __future__ import annotations

import time
from typing import Any

from multiprocess.connection import Connection

from hornbeam.runners.log.messages import Alive, Begin, Paused, Told
from hornbeam.runners.processes import allocator
from hornbeam.runners.processes.fork_server import ForkServer

#: The one of this program.
server = ForkServer("hornbeam.runners.log.worker", allocator.VARIABLES)

_GONE_SECONDS = 10.0


class WorkerProcess:
    """One worker of an attempt."""

    def __init__(self, begin: Begin) -> None:
        self.number = begin.worker
        self._process = server.fork(begin.worker)
        self.channel = self._process.channel
        self.last_seen = self.last_turn = time.monotonic()
        self._turns = -1
        self.told: Told | None = None
        self.is_ready = False
        self.is_done = False
        #: When it is done: whether it keeps nothing that belongs to keys.
        self.is_empty = False
        self.paused = ""
        #: The author's code that it has been in for some time.
        self.where = ""
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
        if isinstance(message, Paused):
            self.last_turn = self.last_seen  # it waits for room, and says so again and again
        if isinstance(message, Alive):
            self.where = message.where
        if isinstance(message, Told):
            self.told = message

    @property
    def pid(self) -> int:
        """The process id; 0 when the process was never there, or is not known yet."""
        return self._process.pid if self._process.has_begun() else 0

    @property
    def sentinel(self) -> Connection:
        """Becomes readable when the process has ended, and once when it begins."""
        return self._process.sentinel

    def has_ended(self) -> bool:
        """Whether the process has ended. Its connection may tell later: what user code has started may hold it."""
        return self._process.has_begun() and self._process.ended() is not None

    def how_it_ended(self) -> str:
        """How the process ended, in words."""
        return self._process.how_it_ended()

    def forgive(self, seconds: float) -> None:
        """So much of the time since it was last heard nobody has listened."""
        self.last_seen += seconds
        self.last_turn += seconds

    def kill(self) -> None:
        """Ends the process, whatever it does, and waits until it is gone."""
        if self._process.has_begun(_GONE_SECONDS):
            self._process.kill()
            self._process.ended(_GONE_SECONDS)
        else:
            server.close()  # it does not answer: with it goes what it may still fork
        self._process.close()
