"""The fork server, as the program sees it: it is started when first needed, and forks workers in a few milliseconds.

It is a new interpreter (`serving`), so it is safe however many threads the program has, and never runs the program's main
module. When the program has gone, however it went, it kills the workers and goes too.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping

from multiprocess.connection import Connection

from hornbeam.error import RunnerError
from hornbeam.runners.processes.channel import MessageChannel
from hornbeam.runners.processes.forked_process import ForkedProcess

_START = """
import sys
sys.path[:] = {path!r}
from hornbeam.runners.processes.serving import serve
from {worker} import run_worker
serve({descriptor}, run_worker)
"""


class ForkServer:
    """A fork server for one kind of workers; started when first needed, and again should it end. Threads may share it."""

    def __init__(self, worker: str, variables: Mapping[str, str] | None = None) -> None:
        """`worker` is the module whose `run_worker(number, channel, folder)` is the life of a worker.

        `variables` are for the server's environment, where the program's has others.
        """
        self._worker = worker
        self._variables = variables or {}
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owner = 0
        atexit.register(self.close)

    def start(self) -> None:
        """Starts the server, if it is not there; does not wait until it is warm."""
        with self._lock:
            if self._socket is not None and self._owner == os.getpid():
                return
            ours, theirs = socket.socketpair()
            code = _START.format(path=sys.path, worker=self._worker, descriptor=theirs.fileno())
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**self._variables, **os.environ},
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

    def fork(self, number: int, folder: str = "") -> ForkedProcess:
        """A new worker, which may still be starting. RunnerError when there is no server to be had.

        `folder`, if any, is removed by the server should the program go before it has told it to `forget` it.
        """
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
        return ForkedProcess(number, channel, Connection(status_read, writable=False))

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
        """Ends the server with all workers, and waits for it."""
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
