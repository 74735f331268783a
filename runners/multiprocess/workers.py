"""The coordinator's side of worker processes: the fork server of this program, and a handle for each worker."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading

from multiprocess.connection import Connection

from hornbeam.error import RunnerError
from hornbeam.runners.multiprocess.channel import MessageChannel

_STATUS_BYTES = 4
_ID_BYTES = 8
_START = """
import sys
sys.path[:] = {path!r}
from hornbeam.runners.multiprocess.fork_server import serve
serve({descriptor})
"""


class WorkerProcess:
    """A worker as the coordinator sees it."""

    def __init__(self, number: int, channel: MessageChannel, status: Connection) -> None:
        self.number = number
        self.channel = channel
        self._status = status
        self._pid = 0
        self._ended: int | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 when the process was never there."""
        if not self._pid:
            data = self._read(_ID_BYTES)
            self._pid = int.from_bytes(data, "little")
            if not data:
                self._ended = signal.SIGKILL.value
        return self._pid

    @property
    def sentinel(self) -> Connection:
        """Becomes readable when the process has ended, and once when it begins."""
        return self._status

    def ended(self, seconds: float = 0) -> int | None:
        """The wait status of the process once it has ended; waits for it so long."""
        if self._ended is None and self.pid and self._ended is None and self._status.poll(seconds):
            data = self._read(_STATUS_BYTES)
            # Nothing to read: the server has gone, and with it the worker.
            self._ended = int.from_bytes(data, "little", signed=True) if data else signal.SIGKILL.value
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


class ForkServer:
    """This program's fork server; started when first needed, and again should it end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owner = 0

    def start(self) -> None:
        """Starts the server, if it is not there; does not wait until it is warm."""
        with self._lock:
            if self._socket is not None and self._owner == os.getpid():
                return
            ours, theirs = socket.socketpair()
            code = _START.format(path=sys.path, descriptor=theirs.fileno())
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the program, which ends its workers itself
                )
            except OSError as error:
                ours.close()
                raise RunnerError(
                    f"the workers' process {sys.executable!r} cannot be started: {error}"
                ) from error
            finally:
                theirs.close()
            self._socket, self._owner = ours, os.getpid()

    def fork(self, number: int, folder: str) -> WorkerProcess:
        """A new worker, which may still be starting. RunnerError when there is no server to be had."""
        ours, theirs = socket.socketpair()
        status_read, status_write = os.pipe()
        try:
            self._ask({"worker": number, "folder": folder}, [theirs.fileno(), status_write])
        except BaseException:
            os.close(status_read)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(status_write)
        channel = MessageChannel(Connection(ours.detach()))
        return WorkerProcess(number, channel, Connection(status_read, writable=False))

    def forget(self, folder: str) -> None:
        """The folder of a run is gone."""
        with self._lock:
            if self._socket is not None and self._owner == os.getpid():
                try:
                    self._send({"forget": folder}, [])
                except OSError:
                    self.close()

    def _ask(self, request: dict[str, object], descriptors: list[int]) -> None:
        with self._lock:
            self.start()
            try:
                self._send(request, descriptors)
            except OSError:
                self.close()  # it has ended; a new one may do better
                self.start()
                try:
                    self._send(request, descriptors)
                except OSError as error:
                    raise RunnerError(
                        f"the process that starts workers ends at once: {error}. Its standard error says why."
                    ) from error

    def _send(self, request: dict[str, object], descriptors: list[int]) -> None:
        assert self._socket is not None
        socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], descriptors)

    def close(self) -> None:
        """Ends the server and waits for it."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            process, self._process = self._process, None
            if process is not None and self._owner == os.getpid():
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


#: The one of this program.
server = ForkServer()
atexit.register(server.close)
