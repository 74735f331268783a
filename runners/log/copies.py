"""A copy of a worker, made by a fork at a cut: it tells what has changed, while the worker changes it further."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from hornbeam.error import InternalError
from hornbeam.runners.log.exchange import dumps
from hornbeam.runners.processes.ends import end_with_parent
from hornbeam.storage.checkpoint import StateFile


class CopyDiedError(InternalError):
    """A copy of the process has gone without a word, as a killed worker would."""


class ForkedWrite:
    """A copy of the process, made at the cut, that tells what changed and writes it, while the process goes on.

    A fork copies no memory until one of the two writes to it, so the cut takes some milliseconds however much has changed.
    """

    def __init__(
        self,
        write: Callable[[Callable[[str], None]], tuple[StateFile, ...]],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`write` is called in the copy, with what tells of a full disk; `ended` here, when the copy has gone."""
        self._ended = ended
        #: What is to be let go of when the copy has gone.
        self.dropped: list[Any] = []
        self._read, writing = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _be_the_copy(parent, writing, write)
        os.close(writing)

    def files(self, paused: Callable[[str], None]) -> tuple[StateFile, ...]:
        """What the copy wrote, once it has. Raises what it failed with."""
        with os.fdopen(self._read, "rb") as told:
            while True:
                try:
                    message = pickle.load(told)
                except (EOFError, pickle.UnpicklingError):  # also in the middle of what it said
                    self._wait()
                    raise CopyDiedError("the copy of a worker that writes its state has died") from None
                if isinstance(message, str):
                    paused(message)
                    continue
                self._wait()
                if isinstance(message, BaseException):
                    raise message
                while self.dropped:
                    self.dropped.pop()  # one by one, so that other threads come between
                files: tuple[StateFile, ...] = message
                return files

    def _wait(self) -> None:
        with contextlib.suppress(ChildProcessError):  # user code may have waited for it, or ignores SIGCHLD
            os.waitpid(self._pid, 0)
        self._ended()


def _be_the_copy(
    parent: int, writing: int, write: Callable[[Callable[[str], None]], tuple[StateFile, ...]]
) -> NoReturn:
    """The life of the copy. It has one thread, and touches nothing that another thread may have held a lock of."""
    gc.disable()  # it would touch, and so copy, everything
    try:
        end_with_parent(parent)
        with os.fdopen(writing, "wb") as told:

            def tell(message: Any) -> None:
                told.write(dumps(message))
                told.flush()

            try:
                tell(write(tell))
            except BaseException as error:
                tell(error)
    finally:
        os._exit(0)
