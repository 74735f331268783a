"""The fork server: a process without threads or user code, from which workers are forked, warm, in milliseconds.

It is a new interpreter, so it is safe however many threads the program has, and never runs the program's main module.
When the program that started it has gone, however it went, it kills the workers and goes too; a worker dies with the
server.

    program ── socket: number of the worker, its connection ──► server ── fork ──► worker
    program ◄── socket: process id
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import NoReturn

from multiprocess.connection import Connection

from hornbeam.error import RunnerError
from hornbeam.runners.log.ends import end_with_parent
from hornbeam.storage.faults import ENVIRONMENT_VARIABLE
from hornbeam.utils.readable import readable

_PROCESS_ID = struct.Struct("<q")
_NUMBER = struct.Struct("<q")
_START = "import sys; sys.path[:] = {path!r}; from hornbeam.runners.log.fork_server import serve; serve({descriptor})"


class ForkServer:
    """This program's fork server; started when first needed, and again should it end. Threads may share it."""

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
                    env={
                        k: v for k, v in os.environ.items() if k != ENVIRONMENT_VARIABLE
                    },  # faults are the program's
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

    def fork(self, number: int) -> tuple[int, Connection]:
        """A new worker's process id, and the connection to it. RunnerError when the server does not answer."""
        ours, theirs = socket.socketpair()
        try:
            pid = self._ask(number, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return pid, Connection(ours.detach())

    def _ask(self, number: int, descriptor: int) -> int:
        with self._lock:
            for last in (False, True):
                self.start()
                try:
                    return self._send(number, descriptor)
                except OSError as error:
                    self.close()  # it has ended; a new one may do better
                    if last:
                        raise RunnerError(
                            f"the process that starts workers ends at once: {error}. Its standard error says why."
                        ) from error
            raise AssertionError("unreachable")

    def _send(self, number: int, descriptor: int) -> int:
        assert self._socket is not None
        socket.send_fds(self._socket, [_NUMBER.pack(number)], [descriptor])
        answer = b""
        while len(answer) < _PROCESS_ID.size:
            part = self._socket.recv(_PROCESS_ID.size - len(answer))
            if not part:
                raise ConnectionResetError("it has closed its connection")
            answer += part
        return int(_PROCESS_ID.unpack(answer)[0])

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


#: The one of this program.
server = ForkServer()
atexit.register(server.close)


# In the server's process


def serve(descriptor: int) -> NoReturn:
    """The life of the server; `descriptor` is its end of the socket."""
    from hornbeam.runners.log.worker import run_worker  # what workers need is loaded here, once

    sys.modules["__main__"] = types.ModuleType("__main__")  # user code's main module is in another process
    with socket.socket(fileno=descriptor) as requests:
        loop = _Serving(requests, run_worker)
        gc.collect()
        gc.freeze()  # what is here is shared by all workers, as long as no collector touches it
        loop.run()
    os._exit(0)


class _Serving:
    def __init__(self, requests: socket.socket, run_worker: Callable[[int, Connection], None]) -> None:
        self._requests = requests
        self._run_worker = run_worker
        self._children: set[int] = set()
        self._wake, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)

    def run(self) -> None:
        while True:
            requests = self._requests.fileno()
            ready = readable([requests, self._wake])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if requests in ready:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._requests, _NUMBER.size, 1)
                except OSError:
                    data, descriptors = b"", []
                if not data:
                    self._end()
                    return
                pid = self._fork(int(_NUMBER.unpack(data)[0]), descriptors[0])
                try:
                    self._requests.sendall(_PROCESS_ID.pack(pid))
                except OSError:
                    pass  # the program has gone; the next receive says so too

    def _fork(self, number: int, connection: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(parent, number, connection)
        os.close(connection)
        self._children.add(pid)
        return pid

    def _become_worker(self, parent: int, number: int, connection: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            end_with_parent(parent)
            self._requests.close()
            os.close(self._wake)
            self._run_worker(number, Connection(connection))
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._children.discard(pid)

    def _end(self) -> None:
        for pid in self._children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for pid in self._children:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                continue
