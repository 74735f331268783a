"""The life of the fork server: a process without threads or user code, from which workers are forked, warm.

It has loaded what its workers need when it forks the first one. It holds no state of runs but the folders that they write
to. When the program that started it has gone, however it went, it kills the workers, removes the folders and goes too; a
worker dies with the server. What user code has started in a worker ends with the worker, unless it has a session of its own.

    program ── socket: a line of JSON, two file descriptors (connection, status pipe) ──► server ── fork ──► worker
    program ◄── status pipe: the process id (8 bytes), and the wait status (4 bytes) once the worker has ended
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import sys
import traceback
import types
from collections.abc import Callable
from typing import NoReturn

import numpy.random as numpy_random  # loaded here, once, or each worker would load it to be seeded
from multiprocess.connection import Connection

from hornbeam.runners.processes.channel import MessageChannel
from hornbeam.runners.processes.ends import end_with_parent
from hornbeam.runners.processes.forked_process import PROCESS_ID, STATUS
from hornbeam.utils.readable import readable

_LINE_MAX = 1 << 16

RunWorker = Callable[[int, MessageChannel, str], None]


def serve(descriptor: int, run_worker: RunWorker) -> NoReturn:
    """The life of the server. `descriptor` is its end of the socket; `run_worker` the life of a worker, after the fork.

    `run_worker` gets the worker's number, its channel to the program, and the folder of the run ("" without one).
    """
    sys.modules["__main__"] = types.ModuleType("__main__")  # user code's main module is in another process
    with socket.socket(fileno=descriptor) as requests:
        server = _Server(requests, run_worker)
        gc.collect()
        gc.freeze()  # what is here is shared by all workers, as long as no collector touches it
        server.run()
    os._exit(0)


class _Server:
    def __init__(self, requests: socket.socket, run_worker: RunWorker) -> None:
        self._requests = requests
        self._run_worker = run_worker
        self._status_of: dict[int, int] = {}
        self._folders: set[str] = set()
        self._descriptors: list[int] = []
        self._rest = b""
        self._wake, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)

    def run(self) -> None:
        while True:
            ready = readable([self._requests.fileno(), self._wake])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if self._requests.fileno() in ready:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._requests, _LINE_MAX, 2)
                except OSError:
                    data, descriptors = b"", []
                if not data:
                    self._end()
                    return
                self._descriptors += descriptors
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._answer(json.loads(line))

    def _answer(self, request: dict[str, str]) -> None:
        if "forget" in request:
            self._folders.discard(request["forget"])
            return
        if request["folder"]:
            self._folders.add(request["folder"])
        connection, status, *self._descriptors = self._descriptors
        self._fork(int(request["worker"]), request["folder"], connection, status)

    def _fork(self, number: int, folder: str, connection: int, status: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(parent, number, folder, connection, status)
        os.close(connection)
        self._status_of[pid] = status
        _tell(status, PROCESS_ID.pack(pid))

    def _become_worker(self, parent: int, number: int, folder: str, connection: int, status: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            end_with_parent(parent)
            os.setpgid(0, 0)
            self._requests.close()
            for descriptor in (self._wake, status, *self._status_of.values(), *self._descriptors):
                os.close(descriptor)
            numpy_random.seed()  # every worker would draw the same numbers
            self._run_worker(number, MessageChannel(Connection(connection)), folder)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.stderr = sys.__stderr__
            traceback.print_exc()
        finally:
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._status_of:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None:
                    return
                _end_group(found.si_pid)  # as long as its id is not given to another one
                pid, status = os.waitpid(found.si_pid, 0)
            except ChildProcessError:
                return
            descriptor = self._status_of.pop(pid, None)
            if descriptor is not None:
                _tell(descriptor, STATUS.pack(status))
                os.close(descriptor)

    def _end(self) -> None:
        for pid in self._status_of:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            _end_group(pid)
        for pid in self._status_of:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                continue
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def _end_group(pid: int) -> None:
    """Kills a worker's process group, if it has come to make one."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left, or they are no longer this user's


def _tell(descriptor: int, data: bytes) -> None:
    try:
        os.write(descriptor, data)
    except OSError:
        pass  # nobody wants to know
