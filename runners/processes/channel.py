"""Messages between coordinator and worker: pickles over a connection, which any thread may send."""

from __future__ import annotations

import pickle
import threading
from typing import Any

from multiprocess.connection import Connection


class MessageChannel:
    """One end of a connection. `send` may be called by any thread, `receive` by one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Sends a message. OSError when the other side has gone."""
        data = pickle.dumps(message, 5)
        with self._lock:
            self.connection.send_bytes(data)

    def receive(self) -> Any:
        """The next message. EOFError or OSError when the other side has gone."""
        return pickle.loads(self.connection.recv_bytes())

    def has_message(self, seconds: float = 0) -> bool:
        """Whether there is something to receive (or the other side has gone) within so many seconds."""
        return bool(self.connection.poll(seconds))

    def close(self) -> None:
        """Closes this end."""
        self.connection.close()
